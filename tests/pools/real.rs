//! A real control plane, real kwok, and pods of its controllers as processes.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use kperf_control_plane::{Client, Component, ControlPlane, Options, Source, skip};
use kperf_kubelet::{Kubelet, Nodes};
use kperf_tests::{finish, have, image, kperf};
use serde_json::{Value, json};

use crate::{User, data};

const NODES: &str = "/api/v1/nodes?labelSelector=type%3Dkperf-virtualnodes";
const NAMESPACE: &str = "virtualnodes-kperf-io";

pub(crate) struct World {
    pub(crate) plane: ControlPlane,
    kubelet: Kubelet,
    _programs: tempfile::TempDir,
}

/// One for all, used by one test at a time: pools are looked for in the whole cluster.
static WORLD: LazyLock<Option<Mutex<World>>> = LazyLock::new(|| {
    let what = "node pools";
    let options = Options::api_server()
        .with(Component::ControllerManager)
        .with(Component::Scheduler)
        .own();
    let plane = ControlPlane::start_or_skip(what, options).unwrap()?;
    let kwok = match Source::find(&[Component::Kwok]) {
        Ok(Source::Programs(programs)) => programs.get(Component::Kwok).unwrap().to_owned(),
        Ok(Source::Existing(_)) => unreachable!("it has started a control plane"),
        Err(why) => {
            skip(what, &why).unwrap();
            return None;
        }
    };
    let programs = tempfile::tempdir().unwrap();
    let runner = image(programs.path(), env!("CARGO_BIN_EXE_kperf-host-under-test"));
    let nodes = Nodes::new(1)
        .label("pool", "load")
        .program("kwok", kwok)
        .program("kperf-host", runner);
    let kubelet = Kubelet::start(&plane, nodes).unwrap();
    Some(Mutex::new(World {
        plane,
        kubelet,
        _programs: programs,
    }))
});

pub(crate) fn world() -> Option<MutexGuard<'static, World>> {
    let world = WORLD.as_ref()?;
    Some(world.lock().unwrap_or_else(PoisonError::into_inner))
}

impl World {
    pub(crate) fn client(&self) -> &Client {
        self.plane.client().unwrap()
    }

    pub(crate) fn items(&self, path: &str) -> Vec<Value> {
        let list = self.client().get(path).unwrap().success().unwrap().json();
        list["items"].as_array().unwrap().clone()
    }

    #[track_caller]
    fn create(&self, path: &str, object: &Value) {
        self.client().post(path, object).unwrap().success().unwrap();
    }

    /// What pods of a namespace said, for a failure.
    pub(crate) fn logs(&self, namespace: &str) -> String {
        let pods = self.items(&format!("/api/v1/namespaces/{namespace}/pods"));
        pods.iter()
            .map(|pod| {
                let name = pod["metadata"]["name"].as_str().unwrap();
                let log = self.kubelet.log(namespace, name, "runner");
                format!(
                    "--- {name}: {}\n{}\n",
                    pod["status"],
                    log.unwrap_or_default()
                )
            })
            .collect()
    }

    /// Nothing of any pool.
    #[track_caller]
    pub(crate) fn assert_nothing_of_pools(&self) {
        assert_eq!(self.items(NODES).len(), 0);
        for path in [
            "/apis/apps/v1/statefulsets",
            "/api/v1/configmaps",
            "/api/v1/serviceaccounts",
            "/api/v1/pods",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
            "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
        ] {
            let selector = "labelSelector=app.kubernetes.io%2Fmanaged-by%3Dkperf-host";
            let left = self.items(&format!("{path}?{selector}"));
            assert_eq!(left.len(), 0, "{left:#?}");
        }
        eventually("the namespace is gone", || {
            let path = format!("/api/v1/namespaces/{NAMESPACE}");
            let answer = self.client().get(&path).unwrap();
            (answer.status == 404).then_some(()).ok_or(answer.text)
        });
    }
}

#[track_caller]
pub(crate) fn eventually<T>(what: &str, look: impl Fn() -> Result<T, String>) -> T {
    let mut last = String::new();
    // Five minutes: the machine may be busy.
    for _ in 0..3000 {
        match look() {
            Ok(found) => return found,
            Err(why) => last = why,
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("never: {what}: {last}");
}

/// As kperf's scenarios have it: on virtual nodes, and only there.
fn deployment(replicas: u32) -> Value {
    json!({
        "metadata": {"name": "benchmark"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "benchmark"}},
            "template": {
                "metadata": {"labels": {"app": "benchmark"}},
                "spec": {
                    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [
                            {"key": "type", "operator": "In", "values": ["kperf-virtualnodes"]},
                        ]}],
                    }}},
                    "tolerations": [{"key": "kperf.io/nodepool", "operator": "Exists", "effect": "NoSchedule"}],
                    "containers": [{"name": "fake-container", "image": "fake-image"}],
                },
            },
        },
    })
}

#[test]
fn two_hundred_nodes_live_carry_pods_and_go() {
    let kperf = kperf!();
    let Some(world) = world() else { return };
    let kubeconfig = world.plane.kubeconfig();
    let user = User {
        kperf: &kperf,
        kubeconfig: kubeconfig.to_str().unwrap(),
    };
    let added = user.types("vc nodepool add example --nodes=200").expect(0);
    added.says(&["200 nodes created, 200 are ready"]);
    let listed = user.types("vc nodepool list").expect(0);
    assert!(
        listed.stdout.contains("example   200 / 200   8"),
        "{}",
        listed.stdout
    );
    if have("kubectl", "kubectl and node pools") {
        let mut command = Command::new("kubectl");
        command.args([
            "--kubeconfig",
            user.kubeconfig,
            "get",
            "nodes",
            "--no-headers",
        ]);
        command.args(["-l", "type=kperf-virtualnodes"]);
        let shown = finish(command, Duration::from_secs(60)).expect(0).stdout;
        let ready = shown.lines().filter(|line| line.contains(" Ready "));
        assert_eq!(ready.count(), 200, "{shown}");
    }
    for node in world.items(NODES) {
        let room = json!({"cpu": "8", "memory": "16Gi", "pods": "110"});
        assert_eq!(node["status"]["capacity"], room, "{node:#}");
        assert_eq!(node["spec"]["taints"][0]["key"], "kperf.io/nodepool");
    }
    // One controller for all, and each node has its lease.
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    assert_eq!(world.items(&pods).len(), 1);
    eventually("each node has its lease", || {
        let leases = world.items("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases");
        let of_pool = leases.iter().filter(|lease| {
            let name = lease["metadata"]["name"].as_str().unwrap();
            name.starts_with("example-")
        });
        let count = of_pool.count();
        (count == 200)
            .then_some(())
            .ok_or(format!("{count} leases"))
    });

    let started = std::time::Instant::now();
    user.types("vc nodepool add example --nodes=200")
        .expect(0)
        .says(&["was there; 200 nodes are ready"]);
    println!("added again in {:?}", started.elapsed());
    user.types("vc nodepool add other --nodes=5 --nodes-per-controller=2")
        .expect(0);
    assert_eq!(world.items(&pods).len(), 1 + 3);

    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    world.create(deployments, &deployment(400));
    let available = |what: &str| {
        eventually(what, || {
            let path = format!("{deployments}/benchmark");
            let set = world.client().get(&path).unwrap().success().unwrap().json();
            let status = &set["status"];
            (status["availableReplicas"] == 400)
                .then_some(())
                .ok_or(status.to_string())
        });
    };
    available("the deployment runs");
    let on_pools = || {
        world
            .items("/api/v1/namespaces/default/pods?labelSelector=app%3Dbenchmark")
            .iter()
            .filter_map(|pod| pod["spec"]["nodeName"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert!(on_pools().iter().any(|node| node.starts_with("example-")));

    let uids_of_other = |path: &str| {
        let objects = world.items(path).into_iter().map(|object| {
            let metadata = &object["metadata"];
            let text = |key: &str| metadata[key].as_str().unwrap().to_owned();
            (text("name"), text("uid"))
        });
        let others = objects.filter(|(name, _)| name.starts_with("other-"));
        others.collect::<BTreeMap<_, _>>()
    };
    let others = || (uids_of_other(NODES), uids_of_other(&pods));
    let before = others();
    assert_eq!((before.0.len(), before.1.len()), (5, 3));
    let deleted = user.types("vc nodepool delete example").expect(0);
    deleted.says(&["deleted 200 nodes"]);
    println!("{}", deleted.stderr);
    // The other is untouched: its nodes and controllers are the same ones, ready and running, and pods move there.
    assert_eq!(others(), before);
    let pools = user.reads("vc nodepool list");
    assert_eq!(pools.as_array().unwrap().len(), 1);
    assert_eq!(
        (
            &pools[0]["name"],
            &pools[0]["ready"],
            &pools[0]["controllersReady"]
        ),
        (&json!("other"), &json!(5), &json!(3)),
        "{pools:#}"
    );
    let eventually_on = |what: &str, is_so: &dyn Fn(&[String]) -> bool| {
        eventually(what, || {
            let nodes = on_pools();
            is_so(&nodes).then_some(()).ok_or(format!("{nodes:?}"))
        });
    };
    eventually_on("all pods are on the other pool", &|nodes| {
        nodes.iter().all(|node| node.starts_with("other-"))
    });
    available("the deployment runs on what is left");

    user.types("vc nodepool delete other").expect(0);
    eventually_on("no pod is on a node", &|nodes| nodes.is_empty());
    world
        .client()
        .delete(&format!("{deployments}/benchmark"))
        .unwrap();
    world.assert_nothing_of_pools();
}

#[test]
fn a_batch_of_pools_comes_and_goes() {
    let kperf = kperf!();
    let Some(world) = world() else { return };
    let kubeconfig = world.plane.kubeconfig();
    let user = User {
        kperf: &kperf,
        kubeconfig: kubeconfig.to_str().unwrap(),
    };
    user.types("vc nodepool batch-add batch --nodes=5 --batch-size=3")
        .expect(0);
    let pools = user.reads("vc nodepool list");
    let ready: Vec<_> = pools
        .as_array()
        .unwrap()
        .iter()
        .map(|pool| &pool["ready"])
        .collect();
    assert_eq!(ready, [3, 2]);
    user.types("vc nodepool delete batch-0 batch-1").expect(0);
    world.assert_nothing_of_pools();
}

/// What kperf, or anybody, made under the names that all pools share stays as it is.
#[test]
fn what_was_there_before_is_left_as_it_was() {
    let kperf = kperf!();
    let Some(world) = world() else { return };
    let kubeconfig = world.plane.kubeconfig();
    let user = User {
        kperf: &kperf,
        kubeconfig: kubeconfig.to_str().unwrap(),
    };
    world.create(
        "/api/v1/namespaces",
        &json!({"metadata": {"name": NAMESPACE}}),
    );
    let levels = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
    let level = json!({
        "metadata": {"name": "custom-system"},
        "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 7, "limitResponse": {"type": "Reject"}}},
    });
    world.create(levels, &level);
    user.types("vc nodepool add example --nodes=2").expect(0);
    user.types("vc nodepool delete example").expect(0);
    let get = |path: &str| world.client().get(path).unwrap().success().unwrap().json();
    let level = get(&format!("{levels}/custom-system"));
    assert_eq!(
        level["spec"]["limited"]["nominalConcurrencyShares"], 7,
        "{level:#}"
    );
    let namespace = get(&format!("/api/v1/namespaces/{NAMESPACE}"));
    assert!(namespace["metadata"]["deletionTimestamp"].is_null());
    for path in [
        format!("{levels}/custom-system"),
        format!("/api/v1/namespaces/{NAMESPACE}"),
    ] {
        world.client().delete(&path).unwrap().success().unwrap();
    }
    world.assert_nothing_of_pools();
}

#[test]
fn sets_on_a_real_server() {
    let kperf = kperf!();
    let Some(world) = world() else { return };
    let kubeconfig = world.plane.kubeconfig();
    data::every_kind_by_its_defaults(&User {
        kperf: &kperf,
        kubeconfig: kubeconfig.to_str().unwrap(),
    });
}
