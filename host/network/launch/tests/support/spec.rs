//! A benchmark that everything is filled in of.

use std::{fs, time::Duration};

use kperf_launch::{ChosenNode, Credentials, LaunchSpec, TaskPath, ToolPort};

/// With two nodes and one port.
pub(crate) fn spec(namespace: &str) -> LaunchSpec {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "ca.pem",
        "orchestrator.pem",
        "orchestrator.key",
        "worker.pem",
        "worker.key",
    ] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let node = |name: &str, zone: &str| ChosenNode {
        name: name.to_owned(),
        zone: zone.to_owned(),
    };
    LaunchSpec {
        run: format!("run-{namespace}").parse().unwrap(),
        namespace: namespace.to_owned(),
        benchmark: "iperf3-tcp".to_owned(),
        plugin: None,
        programs: Vec::new(),
        orchestrator_image: "registry.example/kperf-host:1".to_owned(),
        worker_image: "registry.example/kperf-host-tools:1".to_owned(),
        image_pull_policy: String::new(),
        config: "seconds: 10\n".to_owned(),
        nodes: vec![node("node-0", "zone-a"), node("node-1", "zone-b")],
        workers_per_node: 1,
        credentials: Credentials::in_directory(folder.path()).unwrap(),
        ports: vec![ToolPort {
            name: "tcp-iperf3".to_owned(),
            port: 5201,
            protocol: "TCP".to_owned(),
        }],
        paths: vec![TaskPath::Pod],
        inject: false,
        mesh_refused: String::new(),
        tolerations: Vec::new(),
        worker_cpu: String::new(),
        worker_memory: String::new(),
        orchestrator_port: 6000,
        deadline: Duration::from_secs(120),
        timeout: Duration::from_secs(30),
        keep: false,
    }
}
