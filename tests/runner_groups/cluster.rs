//! Runner groups on a real control plane: two nodes whose pods are processes of the binary under test.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kperf_control_plane::{Client, Component, ControlPlane, Options, Seed};
use kperf_kubelet::{Kubelet, Nodes};
use kperf_tests::{Kperf, Ran, image, kperf};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{mixed, runners, starts};

const NAMESPACE: &str = "runnergroups-kperf-io";

struct World {
    plane: ControlPlane,
    kubelet: Kubelet,
    _programs: tempfile::TempDir,
}

static WORLD: LazyLock<Option<World>> = LazyLock::new(|| {
    let options = Options::api_server()
        .with(Component::ControllerManager)
        .with(Component::Scheduler)
        .seed(Seed {
            namespaces: 1,
            pods: 0,
            configmaps: 20,
        })
        .own();
    let plane = ControlPlane::start_or_skip("runner groups in a cluster", options).unwrap()?;
    let programs = tempfile::tempdir().unwrap();
    let program = image(programs.path(), env!("CARGO_BIN_EXE_kperf-host-under-test"));
    let nodes = Nodes::new(2)
        .label("pool", "load")
        .program("kperf-host", program);
    let kubelet = Kubelet::start(&plane, nodes).unwrap();
    Some(World {
        plane,
        kubelet,
        _programs: programs,
    })
});

impl World {
    fn client(&self) -> &Client {
        self.plane.client().unwrap()
    }

    fn get(&self, path: &str) -> Value {
        self.client().get(path).unwrap().success().unwrap().json()
    }

    fn list(&self, path: &str) -> Vec<Value> {
        self.get(path)["items"].as_array().unwrap().clone()
    }

    /// Nothing has the label of a group, by the API's own word.
    #[track_caller]
    fn assert_nothing_left(&self) {
        for resource in [
            "/api/v1/configmaps",
            "/api/v1/pods",
            "/api/v1/serviceaccounts",
            "/apis/batch/v1/jobs",
            "/apis/rbac.authorization.k8s.io/v1/roles",
            "/apis/rbac.authorization.k8s.io/v1/rolebindings",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
        ] {
            let path = format!("{resource}?labelSelector=kperf-host.io%2Frunner-group");
            assert_eq!(self.list(&path), Vec::<Value>::new(), "{resource}");
        }
        let namespace = self
            .client()
            .get(&format!("/api/v1/namespaces/{NAMESPACE}"))
            .unwrap();
        assert_eq!(namespace.status, 404, "{}", namespace.text);
    }

    /// What everybody of a group says, for a failure.
    fn logs(&self, group: &str) -> String {
        let selector = format!("labelSelector=kperf-host.io%2Frunner-group%3D{group}");
        let pods = self.list(&format!("/api/v1/namespaces/{NAMESPACE}/pods?{selector}"));
        pods.iter()
            .map(|pod| {
                let name = pod["metadata"]["name"].as_str().unwrap();
                let log = self.kubelet.log(NAMESPACE, name, "runner");
                format!(
                    "--- {name}: {}\n{}\n",
                    pod["status"],
                    log.unwrap_or_default()
                )
            })
            .collect()
    }

    /// The client that a pod with this account would be.
    fn as_account(&self, account: &str, folder: &Path) -> Client {
        Client::from_kubeconfig(&self.kubeconfig_of(NAMESPACE, account, folder)).unwrap()
    }

    fn kubeconfig_of(&self, namespace: &str, account: &str, folder: &Path) -> PathBuf {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let request =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let answer = self.client().post(&path, &request).unwrap();
        let answer = answer.success().unwrap().json();
        let kubeconfig = json!({
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {
                "server": self.plane.url(), "certificate-authority": self.plane.ca_file(),
            }}],
            "users": [{"name": "c", "user": {"token": answer["status"]["token"]}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        });
        let file = folder.join(account);
        fs::write(&file, kubeconfig.to_string()).unwrap();
        file
    }

    /// An account that may remove groups whose load stays in one namespace, and nothing beyond that.
    fn remover(&self, folder: &Path) -> PathBuf {
        let make = |path: &str, object: Value| {
            self.client()
                .post(path, &object)
                .unwrap()
                .success()
                .unwrap();
        };
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        let remove = json!(["get", "list", "deletecollection"]);
        let subject =
            json!([{"kind": "ServiceAccount", "name": "remover", "namespace": "default"}]);
        let metadata = json!({"name": "remover"});
        make(
            "/api/v1/namespaces/default/serviceaccounts",
            json!({"metadata": metadata}),
        );
        let group = "rbac.authorization.k8s.io";
        let of_rbac = json!({
            "apiGroups": [group], "resources": ["roles", "rolebindings"], "verbs": remove,
        });
        let own = json!([
            {"apiGroups": [""], "resources": ["configmaps", "pods", "serviceaccounts"], "verbs": remove},
            {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": remove},
            of_rbac,
        ]);
        for (namespace, rules) in [(NAMESPACE, own), ("ns-0", json!([of_rbac]))] {
            let place = format!("{rbac}/namespaces/{namespace}");
            make(
                &format!("{place}/roles"),
                json!({"metadata": metadata, "rules": rules}),
            );
            let role = json!({"apiGroup": group, "kind": "Role", "name": "remover"});
            make(
                &format!("{place}/rolebindings"),
                json!({"metadata": metadata, "roleRef": role, "subjects": subject}),
            );
        }
        let rules = json!([{
            "apiGroups": ["flowcontrol.apiserver.k8s.io"], "resources": ["flowschemas"],
            "verbs": remove,
        }]);
        make(
            &format!("{rbac}/clusterroles"),
            json!({"metadata": metadata, "rules": rules}),
        );
        let role = json!({"apiGroup": group, "kind": "ClusterRole", "name": "remover"});
        make(
            &format!("{rbac}/clusterrolebindings"),
            json!({"metadata": metadata, "roleRef": role, "subjects": subject}),
        );
        self.kubeconfig_of("default", "remover", folder)
    }
}

/// `rg` with kperf's flag in front of the subcommand.
fn run(kperf: &Kperf, world: &World, words: &[&str]) -> Ran {
    let kubeconfig = world.plane.kubeconfig();
    let before = ["rg", "--kubeconfig", kubeconfig.to_str().unwrap()];
    let words: Vec<&str> = before.iter().chain(words).copied().collect();
    kperf.run(&words)
}

fn status(kperf: &Kperf, world: &World, group: &str) -> Value {
    let ran = run(kperf, world, &["status", group, "--output", "json"]).expect(0);
    let statuses: Value = serde_json::from_str(&ran.stdout).unwrap();
    statuses[0].clone()
}

#[test]
fn two_groups_one_of_which_loses_a_runner() {
    let kperf = kperf!();
    let Some(world) = WORLD.as_ref() else { return };
    // Six seconds, so that there is time to look and to kill.
    mixed(&kperf, |text| {
        text.replace("rate: 40", "rate: 20")
            .replace("total: 200", "total: 120")
    });
    kperf.write(
        "nodes.yaml",
        "count: 2\nnodeAffinity: {pool: [load]}\nloadProfile:\n  version: 1\n  specs:\n    - rate: 20\n      total: 60\n      conns: 1\n      client: 4\n      requests:\n        - {shares: 1, staleList: {version: v1, resource: nodes}}\n",
    );
    let made = run(
        &kperf,
        world,
        &[
            "run",
            "--runner-image",
            "kperf-host:test",
            "--runnergroup",
            "mixed.yaml",
            "--runnergroup",
            "nodes.yaml",
            "--runner-flowcontrol",
            "workload-low:500",
        ],
    )
    .expect(0);
    made.says(&["runner group mixed is made", "runner group nodes is made"]);

    // A second one of the name is refused, and the first one stays.
    run(
        &kperf,
        world,
        &["run", "--runner-image=x", "--runnergroup=mixed.yaml"],
    )
    .expect(2)
    .says(&["there is a runner group mixed in runnergroups-kperf-io already"]);

    // One is killed when all have begun.
    let end = Instant::now() + Duration::from_secs(90);
    loop {
        let status = status(&kperf, world, "mixed");
        if status["ready"] == 5 {
            assert_eq!(status["state"], "running", "{status:#}");
            break;
        }
        assert!(Instant::now() < end, "{status:#}\n{}", world.logs("mixed"));
        thread::sleep(Duration::from_millis(200));
    }
    let start = loop {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/mixed.start");
        if let Some(text) = world.get(&path)["data"]["start"].as_str() {
            break serde_json::from_str::<Value>(text).unwrap();
        }
        assert!(Instant::now() < end, "no start\n{}", world.logs("mixed"));
        thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(start["ready"], 5, "{start}");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let begins = Duration::from_micros(start["start_unix_us"].as_u64().unwrap());
    thread::sleep(begins.saturating_sub(now) + Duration::from_millis(500));
    let killed = runners("mixed-3-");
    let [killed] = killed.as_slice() else {
        panic!("{killed:?}\n{}", world.logs("mixed"));
    };
    kill(Pid::from_raw(killed.id), Signal::SIGKILL).unwrap();

    let table = run(&kperf, world, &["status"]).expect(0).stdout;
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        [
            "NAME",
            "COUNT",
            "SUCCEEDED",
            "FAILED",
            "STATE",
            "START",
            "READY"
        ]
    );
    assert_eq!((lines[2][0], lines[2][1]), ("nodes", "2"));
    assert_eq!((lines[1][0], lines[1][1]), ("mixed", "5"));

    // Four reports are the result, the fifth is missed.
    let result = run(
        &kperf,
        world,
        &["result", "mixed", "--wait", "--output", "json=merged.json"],
    );
    let result = result.expect(1);
    result.says(&[
        &format!("runner {}", killed.name),
        "is missing: ended without a report",
        "1 of 5 runners of group mixed are missing",
    ]);
    assert!(
        result.stdout.contains("4 runner(s), start skew"),
        "{}",
        result.stdout
    );
    let merged = kperf.json("merged.json");
    assert_eq!(merged["overall"]["sent"], 480, "{}", world.logs("mixed"));
    assert_eq!(merged["overall"]["failed"], 0, "{merged:#}");
    starts(&merged, 4);
    assert_eq!(by_hand(&kperf, world, "mixed"), numbers(&merged));

    let status = status(&kperf, world, "mixed");
    assert_eq!(status["state"], "finished", "{status:#}");
    assert_eq!(
        (&status["succeeded"], &status["failed"]),
        (&json!(4), &json!(1))
    );

    // kperf's own output of the other group.
    let flat = run(
        &kperf,
        world,
        &["result", "nodes", "--timeout=1m", "--output=kperf-json"],
    )
    .expect(0);
    let flat: Value = serde_json::from_str(&flat.stdout).unwrap();
    assert_eq!(flat["total"], 120, "{flat:#}\n{}", world.logs("nodes"));
    assert!(flat["percentileLatenciesByURL"].is_object(), "{flat:#}");

    rights(&kperf, world);
    pods(world);
    waited_for(&kperf, world);

    // Each goes alone, and the namespace with the last.
    run(&kperf, world, &["delete", "nodes"]).expect(0);
    assert_eq!(status_names(&kperf, world), ["mixed"]);
    // Nobody needs rights in the whole cluster for a load that stays in a namespace, and its rights there go with it.
    let remover = world.remover(kperf.dir());
    kperf
        .run(&[
            "rg",
            "delete",
            "mixed",
            "--kubeconfig",
            remover.to_str().unwrap(),
        ])
        .expect(0);
    let selector = "labelSelector=kperf-host.io%2Frunner-group";
    for resource in ["roles", "rolebindings"] {
        let place = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/ns-0/{resource}");
        let left = world.list(&format!("{place}?{selector}"));
        assert_eq!(left, Vec::<Value>::new(), "{resource}");
    }
    run(&kperf, world, &["del"])
        .expect(0)
        .says(&["deleted namespace runnergroups-kperf-io"]);
    world.assert_nothing_left();
    assert!(runners("mixed-").is_empty() && runners("nodes-").is_empty());
    let seeded = world.list("/api/v1/namespaces/ns-0/configmaps?labelSelector=app%3Dsim");
    assert_eq!(seeded.len(), 20, "what is not of the group stays");
}

/// Who waits for the end looks at the server as well.
fn waited_for(kperf: &Kperf, world: &World) {
    kperf.write(
        "waited.yaml",
        "count: 2\nloadProfile:\n  version: 1\n  specs:\n    - {rate: 20, total: 60, conns: 1, client: 4, requests: [{shares: 1, staleList: {version: v1, resource: serviceaccounts}}]}\n",
    );
    run(
        kperf,
        world,
        &[
            "run",
            "--wait",
            "--runner-image=kperf-host:test",
            "--runnergroup=waited.yaml",
            "--server-metrics=intervals",
            "--output=json=waited.json",
        ],
    )
    .expect(0);
    let report = kperf.json("waited.json");
    assert_eq!(report["overall"]["sent"], 120, "{report:#}");
    let all = report["metrics"].as_array().unwrap().iter();
    let counted: f64 = all
        .filter(|one| {
            one["name"] == "server_requests"
                && one["labels"]["verb"] == "LIST"
                && one["labels"]["resource"] == "serviceaccounts"
        })
        .map(|one| one["value"].as_f64().unwrap())
        .sum();
    // Nobody else lists them: controllers did when they began, and watch since then.
    assert_eq!(counted, 120.0, "{:#}", report["metrics"]);
    // Making the group is not in it, unless that is said.
    let all = report["metrics"].as_array().unwrap().iter();
    let made = all
        .filter(|one| one["name"] == "server_requests" && one["labels"]["resource"] == "jobs")
        .any(|one| one["labels"]["verb"] == "POST");
    let findings = report["findings"].to_string();
    assert_eq!(
        made,
        findings.contains("server/window-begins-early"),
        "{report:#}"
    );
    run(kperf, world, &["delete", "waited"]).expect(0);
}

fn status_names(kperf: &Kperf, world: &World) -> Vec<String> {
    let ran = run(kperf, world, &["status", "-o", "json"]).expect(0);
    let statuses: Value = serde_json::from_str(&ran.stdout).unwrap();
    let names = statuses.as_array().unwrap().iter();
    names
        .map(|status| status["name"].as_str().unwrap().to_owned())
        .collect()
}

/// The reports as they lie in the cluster, merged by the command for files.
fn by_hand(kperf: &Kperf, world: &World, group: &str) -> Value {
    let selector = format!(
        "labelSelector=kperf-host.io%2Frunner-group%3D{group},kperf-host.io%2Fpart%3Dreport"
    );
    let boxes = world.list(&format!(
        "/api/v1/namespaces/{NAMESPACE}/configmaps?{selector}"
    ));
    assert_eq!(boxes.len(), 5);
    let mut words = vec!["merge".to_owned()];
    for config_map in &boxes {
        let Some(report) = config_map["binaryData"]["gz"].as_str() else {
            continue;
        };
        let name = config_map["metadata"]["name"].as_str().unwrap();
        let file = kperf.path(&format!("{name}.json.gz"));
        fs::write(&file, STANDARD.decode(report).unwrap()).unwrap();
        words.push(file.to_str().unwrap().to_owned());
    }
    assert_eq!(words.len(), 5, "four reports");
    words.push("--output=json=by-hand.json".to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    kperf.run(&words).expect(0);
    numbers(&kperf.json("by-hand.json"))
}

/// What was measured, histograms included.
fn numbers(report: &Value) -> Value {
    let phases: Vec<Value> = report["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|phase| {
            json!([
                phase["name"],
                phase["overall"],
                phase["series"],
                phase["counters"]
            ])
        })
        .collect();
    json!([report["overall"], report["series"], phases])
}

/// What the account of a group may do, and what not; asked with its own token.
fn rights(kperf: &Kperf, world: &World) {
    let client = world.as_account("mixed", kperf.dir());
    let own = format!("/api/v1/namespaces/{NAMESPACE}");
    for (path, expected) in [
        (format!("{own}/configmaps/mixed.runner-0"), 200),
        (format!("{own}/configmaps/mixed.start"), 200),
        ("/api/v1/namespaces/ns-0/configmaps".to_owned(), 200),
        ("/api/v1/namespaces/ns-0/configmaps/cm-1".to_owned(), 200),
        (format!("{own}/secrets"), 403),
        ("/api/v1/secrets".to_owned(), 403),
        ("/api/v1/namespaces/kube-system/secrets".to_owned(), 403),
        ("/api/v1/namespaces/ns-0/secrets".to_owned(), 403),
        (format!("{own}/configmaps"), 403),
        (format!("{own}/configmaps/mixed"), 403),
        (format!("{own}/configmaps/nodes.runner-0"), 403),
        (format!("{own}/pods"), 403),
        ("/api/v1/configmaps".to_owned(), 403),
        ("/api/v1/nodes".to_owned(), 403),
    ] {
        let answer = client.get(&path).unwrap();
        assert_eq!(answer.status, expected, "GET {path}: {}", answer.text);
    }
    let object = json!({"metadata": {"name": "x"}});
    for path in [
        format!("{own}/configmaps"),
        format!("{own}/pods"),
        "/api/v1/namespaces/ns-0/configmaps".to_owned(),
        "/api/v1/namespaces".to_owned(),
    ] {
        let answer = client.post(&path, &object).unwrap();
        assert_eq!(answer.status, 403, "POST {path}: {}", answer.text);
    }
    let secret = format!("{own}/configmaps/mixed.runner-0");
    let answer = client.delete(&secret).unwrap();
    assert_eq!(answer.status, 403, "DELETE {secret}: {}", answer.text);
}

/// The Job's pods are on both nodes, restricted, and carry what the file says.
fn pods(world: &World) {
    let selector = "labelSelector=kperf-host.io%2Frunner-group%3Dmixed";
    let pods = world.list(&format!("/api/v1/namespaces/{NAMESPACE}/pods?{selector}"));
    assert_eq!(pods.len(), 5);
    let mut nodes: Vec<&str> = pods
        .iter()
        .map(|pod| pod["spec"]["nodeName"].as_str().unwrap())
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!(nodes.len(), 2, "spread over the nodes");
    for pod in &pods {
        assert_eq!(pod["metadata"]["labels"]["team"], "load");
        assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["spec"]["serviceAccountName"], "mixed");
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["resources"]["requests"]["cpu"], "100m");
    }
    let schema = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/kperf-runners.runnergroups-kperf-io.mixed";
    let schema = world.get(schema);
    assert_eq!(schema["spec"]["matchingPrecedence"], 500);
    assert_eq!(
        schema["spec"]["priorityLevelConfiguration"]["name"],
        "workload-low"
    );
}
