//! What a launch asks of a real control plane, and what it grants there. Launches as a whole are tests of the command.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod support {
    pub(super) mod spec;
}

use std::{fs, path::Path, sync::LazyLock, thread, time::Duration};

use kperf_cluster::{TargetSource, api::Cluster, kube_config};
use kperf_control_plane::{Client, Component, ControlPlane, Options};
use kperf_kubelet::{Kubelet, Nodes};
use kperf_launch::{check_rights, find_nodes, launch, objects};
use kperf_load::Stop;
use serde_json::{Value, json};
use support::spec::spec;

struct World {
    plane: ControlPlane,
    kubelet: Kubelet,
}

static WORLD: LazyLock<Option<World>> = LazyLock::new(|| {
    let options = Options::api_server()
        .with(Component::ControllerManager)
        .with(Component::Scheduler)
        .own();
    let plane = ControlPlane::start_or_skip("launching network benchmarks", options).unwrap()?;
    let nodes = Nodes::new(2).label("node-lifecycle", "on-demand");
    let kubelet = Kubelet::start(&plane, nodes).unwrap();
    Some(World { plane, kubelet })
});

async fn cluster(kubeconfig: &Path) -> Cluster {
    let source = TargetSource::Kubeconfig {
        path: Some(kubeconfig.to_owned()),
        context: None,
    };
    Cluster::new(kube_config(&source).await.unwrap()).unwrap()
}

impl World {
    fn client(&self) -> &Client {
        self.plane.client().unwrap()
    }

    fn is_there(&self, namespace: &str) -> bool {
        let path = format!("/api/v1/namespaces/{namespace}");
        self.client().get(&path).unwrap().status == 200
    }
}

#[tokio::test]
async fn nodes_are_found_by_their_labels() {
    let Some(world) = WORLD.as_ref() else { return };
    let cluster = cluster(&world.plane.kubeconfig()).await;
    let names: Vec<String> = world.kubelet.node_names();
    for (selector, expected) in [
        ("node-lifecycle=on-demand", 2),
        ("", 2),
        ("kubernetes.io/hostname=node-0", 1),
        ("node-lifecycle=spot", 0),
    ] {
        let choice = find_nodes(&cluster, selector, &[]).await.unwrap();
        let found: Vec<_> = choice.nodes.iter().map(|node| node.name.clone()).collect();
        assert_eq!(found, names[..expected], "{selector}");
        assert_eq!(
            choice.enough(2, selector).is_ok(),
            expected >= 2,
            "{selector}"
        );
    }
}

#[tokio::test]
async fn a_namespace_of_somebody_else_stays() {
    let Some(world) = WORLD.as_ref() else { return };
    let cluster = cluster(&world.plane.kubeconfig()).await;
    let spec = spec("net-taken");
    let taken = json!({"metadata": {"name": spec.namespace}});
    let answer = world.client().post("/api/v1/namespaces", &taken).unwrap();
    answer.success().unwrap();
    let launched = launch(&cluster, &spec, &Stop::new(), &|_| {}).await;
    let error = launched.outcome.unwrap_err().to_string();
    assert!(
        error.starts_with("creating Namespace net-taken: "),
        "{error}"
    );
    assert!(
        launched.clean.is_complete() && launched.clean.deleted.is_empty(),
        "{:?}",
        launched.clean
    );
    assert!(world.is_there(&spec.namespace));
}

#[tokio::test]
async fn who_may_not_launch_is_told_what_is_missing() {
    let Some(world) = WORLD.as_ref() else { return };
    let kubeconfig = world.plane.kubeconfig_for_user("visitor", &[]).unwrap();
    let cluster = cluster(&kubeconfig).await;
    let error = check_rights(&cluster, "net-none")
        .await
        .unwrap_err()
        .to_string();
    for part in [
        "list nodes",
        "create/get/list/delete namespaces",
        "create/list/deletecollection rolebindings.rbac.authorization.k8s.io in net-none",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// Creates the objects by hand, and asks with the pods' own tokens.
#[test]
fn accounts_may_do_what_they_need_and_nothing_else() {
    let Some(world) = WORLD.as_ref() else { return };
    let space = "net-rights";
    let spec = spec(space);
    for object in objects(&spec) {
        let kind = object["kind"].as_str().unwrap();
        let plural = format!("{}s", kind.to_lowercase());
        let path = match kind {
            "Namespace" => "/api/v1/namespaces".to_owned(),
            "Role" | "RoleBinding" => {
                format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{space}/{plural}")
            }
            // They are not to run here.
            "Pod" => continue,
            _ => format!("/api/v1/namespaces/{space}/{plural}"),
        };
        world
            .client()
            .post(&path, &object)
            .unwrap()
            .success()
            .unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let results = ("patch", "", "configmaps", "kperf-results");
    let part = ("patch", "", "configmaps", "kperf-results-3");
    let refused = [
        ("get", "", "configmaps", "kperf-results"),
        ("update", "", "configmaps", "kperf-results"),
        ("patch", "", "configmaps", "kperf-config"),
        ("create", "", "configmaps", ""),
        ("list", "", "configmaps", ""),
        ("delete", "", "configmaps", "kperf-results"),
        ("get", "", "secrets", "kperf-orchestrator"),
        ("list", "", "secrets", ""),
        ("list", "", "pods", ""),
        ("create", "", "pods", ""),
        ("list", "", "nodes", ""),
        ("create", "", "namespaces", ""),
        ("create", "rbac.authorization.k8s.io", "rolebindings", ""),
    ];
    for (account, allowed) in [("kperf-orchestrator", true), ("kperf-worker", false)] {
        let client = as_account(world, space, account, folder.path());
        for (case, expected) in [(results, allowed), (part, allowed)]
            .into_iter()
            .chain(refused.map(|case| (case, false)))
        {
            let (verb, group, resource, name) = case;
            // Roles take a moment to be known to the authoriser.
            let mut answer = may(&client, space, verb, group, resource, name);
            for _ in 0..50 {
                if answer == expected {
                    break;
                }
                thread::sleep(Duration::from_millis(100));
                answer = may(&client, space, verb, group, resource, name);
            }
            assert_eq!(answer, expected, "{account}: {case:?}");
        }
        // And in fact.
        for path in ["secrets", "configmaps/kperf-results", "pods"] {
            let path = format!("/api/v1/namespaces/{space}/{path}");
            assert_eq!(client.get(&path).unwrap().status, 403, "{account}: {path}");
        }
    }
    world
        .client()
        .delete(&format!("/api/v1/namespaces/{space}"))
        .unwrap();
}

fn as_account(world: &World, space: &str, account: &str, folder: &Path) -> Client {
    let path = format!("/api/v1/namespaces/{space}/serviceaccounts/{account}/token");
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let answer = world
        .client()
        .post(&path, &request)
        .unwrap()
        .success()
        .unwrap()
        .json();
    let kubeconfig = json!({
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {
            "server": world.plane.url(), "certificate-authority": world.plane.ca_file(),
        }}],
        "users": [{"name": "c", "user": {"token": answer["status"]["token"]}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    });
    let file = folder.join(account);
    fs::write(&file, kubeconfig.to_string()).unwrap();
    Client::from_kubeconfig(&file).unwrap()
}

fn may(client: &Client, space: &str, verb: &str, group: &str, resource: &str, name: &str) -> bool {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "namespace": space, "verb": verb, "group": group, "resource": resource, "name": name,
        }},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer: Value = client
        .post(path, &review)
        .unwrap()
        .success()
        .unwrap()
        .json();
    answer["status"]["allowed"] == true
}
