//! The command line of each component.

use crate::{Component, Options, files::Files};

/// Users of the components, as Kubernetes' own roles name them.
pub(crate) const CONTROLLER_MANAGER_USER: &str = "system:kube-controller-manager";
pub(crate) const SCHEDULER_USER: &str = "system:kube-scheduler";
pub(crate) const KWOK_USER: &str = "kwok";

pub(crate) fn etcd(port: u16) -> Vec<String> {
    vec![
        "--name=default".to_owned(),
        "--data-dir=etcd".to_owned(),
        format!("--listen-client-urls=http://127.0.0.1:{port}"),
        format!("--advertise-client-urls=http://127.0.0.1:{port}"),
        // It has no peers; any port will do.
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        // Nothing here is to survive a crash of the machine.
        "--unsafe-no-fsync".to_owned(),
    ]
}

pub(crate) fn api_server(
    files: &Files,
    options: &Options,
    etcd_port: u16,
    port: u16,
) -> Vec<String> {
    let mut arguments = vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        // No endpoints of the `kubernetes` service: they may not be on loopback, and nobody looks them up here.
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--cert-dir=certificates".to_owned(),
        format!("--tls-cert-file={}", files.server_certificate().display()),
        format!("--tls-private-key-file={}", files.server_key().display()),
        format!("--client-ca-file={}", files.ca().display()),
        format!("--token-auth-file={}", files.tokens().display()),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!(
            "--service-account-key-file={}",
            files.service_account_public_key().display()
        ),
        format!(
            "--service-account-signing-key-file={}",
            files.service_account_key().display()
        ),
        "--allow-privileged=true".to_owned(),
        // The kubelets are played by kwok, and their names resolve nowhere.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
    ];
    if !options.has(Component::ControllerManager) {
        // Nobody makes service accounts, without which no pod would be admitted.
        arguments.push("--disable-admission-plugins=ServiceAccount".to_owned());
    }
    arguments.extend(options.api_server_flags.iter().cloned());
    arguments
}

pub(crate) fn controller_manager(files: &Files) -> Vec<String> {
    let mut arguments = client_of(files, CONTROLLER_MANAGER_USER);
    arguments.extend([
        format!(
            "--service-account-private-key-file={}",
            files.service_account_key().display()
        ),
        format!("--root-ca-file={}", files.ca().display()),
        "--use-service-account-credentials=true".to_owned(),
    ]);
    arguments
}

pub(crate) fn scheduler(files: &Files) -> Vec<String> {
    client_of(files, SCHEDULER_USER)
}

/// Its port is that of every node's kubelet, which serves the logs of pods.
pub(crate) fn kwok(files: &Files, port: u16) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", files.kubeconfig(KWOK_USER).display()),
        format!("--config={}", files.stages().display()),
        // There are no other nodes here, so those that a test makes come to life too.
        "--manage-all-nodes=true".to_owned(),
        "--node-ip=127.0.0.1".to_owned(),
        format!("--node-port={port}"),
        format!("--server-address=127.0.0.1:{port}"),
        format!("--tls-cert-file={}", files.server_certificate().display()),
        format!("--tls-private-key-file={}", files.server_key().display()),
        "--cidr=10.244.0.1/16".to_owned(),
        "--node-lease-duration-seconds=40".to_owned(),
    ]
}

/// Kubernetes' own clients: alone, without a port of their own, and not slowed down by their default limits,
/// which are made for clusters and would dominate what a test waits for.
fn client_of(files: &Files, user: &str) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", files.kubeconfig(user).display()),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        "--kube-api-qps=500".to_owned(),
        "--kube-api-burst=1000".to_owned(),
    ]
}
