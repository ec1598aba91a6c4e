//! Pods of a real control plane as processes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{sync::LazyLock, thread, time::Duration};

use kperf_control_plane::{Client, Component, ControlPlane, Options};
use kperf_kubelet::{Kubelet, Nodes};
use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use serde_json::{Value, json};

struct World {
    plane: ControlPlane,
    kubelet: Kubelet,
}

impl World {
    fn client(&self) -> &Client {
        self.plane.client().unwrap()
    }

    /// Creates an object in a namespace of its own, which is made.
    fn create(&self, namespace: &str, resource: &str, object: &Value) {
        let path = match resource {
            "jobs" => format!("/apis/batch/v1/namespaces/{namespace}/jobs"),
            "roles" | "rolebindings" => {
                format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/{resource}")
            }
            _ => format!("/api/v1/namespaces/{namespace}/{resource}"),
        };
        // A pod of a new namespace waits for its service account.
        eventually(&format!("{resource} in {namespace}"), || {
            let answer = self.client().post(&path, object).unwrap();
            (answer.status == 201).then_some(()).ok_or(answer.text)
        });
    }

    fn namespace(&self, name: &str) {
        let object = json!({"metadata": {"name": name}});
        let answer = self.client().post("/api/v1/namespaces", &object).unwrap();
        answer.success().unwrap();
    }

    fn pod(&self, namespace: &str, name: &str) -> Value {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let answer = self.client().get(&path).unwrap();
        if answer.status == 404 {
            return Value::Null;
        }
        answer.success().unwrap().json()
    }

    #[track_caller]
    fn until_phase(&self, namespace: &str, name: &str, phase: &str) -> Value {
        eventually(&format!("{namespace}/{name} is {phase}"), || {
            let pod = self.pod(namespace, name);
            if pod["status"]["phase"] == phase {
                Ok(pod)
            } else {
                Err(pod["status"].to_string())
            }
        })
    }

    fn log(&self, namespace: &str, name: &str) -> String {
        self.kubelet.log(namespace, name, "app").unwrap()
    }
}

fn options() -> Options {
    Options::api_server()
        .with(Component::ControllerManager)
        .with(Component::Scheduler)
        .own()
}

/// One for all tests; it ends with the process.
static WORLD: LazyLock<Option<World>> = LazyLock::new(|| {
    let plane = ControlPlane::start_or_skip("pods as processes", options()).unwrap()?;
    let nodes = Nodes::new(2)
        .label("node-lifecycle", "on-demand")
        .program("say", "/bin/echo");
    let kubelet = Kubelet::start(&plane, nodes).unwrap();
    Some(World { plane, kubelet })
});

#[track_caller]
fn eventually<T>(what: &str, look: impl Fn() -> Result<T, String>) -> T {
    let mut last = String::new();
    for _ in 0..600 {
        match look() {
            Ok(found) => return found,
            Err(why) => last = why,
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("never: {what}: {last}");
}

fn pod(name: &str, command: &[&str]) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "app", "image": "registry.example/app:1", "command": command}],
        },
    })
}

fn shell(name: &str, script: &str) -> Value {
    pod(name, &["/bin/sh", "-ec", script])
}

#[test]
fn a_pod_prints_and_exits() {
    let Some(world) = WORLD.as_ref() else { return };
    let space = "prints";
    world.namespace(space);
    world.create(space, "pods", &pod("good", &["say", "hello", "world"]));
    world.create(space, "pods", &shell("bad", "echo oh; exit 3"));
    world.create(space, "pods", &pod("none", &["/no/such/program"]));
    let mut unpullable = shell("unpullable", "exit 0");
    unpullable["spec"]["containers"][0]["image"] = json!("registry.invalid/app:1");
    world.create(space, "pods", &unpullable);

    let good = world.until_phase(space, "good", "Succeeded");
    assert_eq!(world.log(space, "good"), "hello world\n");
    assert!(
        good["status"]["podIP"]
            .as_str()
            .unwrap()
            .starts_with("127.0.")
    );
    assert!(good["status"]["hostIP"].is_string());
    let bad = world.until_phase(space, "bad", "Failed");
    let exit = &bad["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(
        (&exit["exitCode"], &exit["reason"]),
        (&json!(3), &json!("Error"))
    );
    let none = world.until_phase(space, "none", "Failed");
    let exit = &none["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(exit["reason"], "StartError", "{exit}");
    eventually("an image that cannot be pulled", || {
        let pod = world.pod(space, "unpullable");
        let reason = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
        (reason == "ErrImagePull")
            .then_some(())
            .ok_or(pod.to_string())
    });
}

#[test]
fn variables_and_files_are_brought_to_a_pod() {
    let Some(world) = WORLD.as_ref() else { return };
    let space = "brings";
    world.namespace(space);
    let mut reader = shell(
        "reader",
        "echo $NAME $NAMESPACE $NODE $GREETING $PASSWORD $BOTH \"$1\"; cat /etc/settings/a.txt; cat $SECRETS/key; \
         stat -c %a /etc/secrets/key; echo shared >/scratch/x; cat /scratch/x; test $IP != $HOST; ls /etc/settings",
    );
    let container = &mut reader["spec"]["containers"][0];
    container["args"] = json!(["sh", "--config=/etc/settings/a.txt=$(NAME)"]);
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    container["env"] = json!([
        {"name": "NAME", "valueFrom": field("metadata.name")},
        {"name": "NAMESPACE", "valueFrom": field("metadata.namespace")},
        {"name": "NODE", "valueFrom": field("spec.nodeName")},
        {"name": "IP", "valueFrom": field("status.podIP")},
        {"name": "HOST", "valueFrom": field("status.hostIP")},
        {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "greeting"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "secrets", "key": "key"}}},
        {"name": "BOTH", "value": "$(GREETING)-$(NODE)"},
        {"name": "SECRETS", "value": "/etc/secrets"},
    ]);
    container["volumeMounts"] = json!([
        {"name": "settings", "mountPath": "/etc/settings"},
        {"name": "secrets", "mountPath": "/etc/secrets"},
        {"name": "scratch", "mountPath": "/scratch"},
    ]);
    reader["spec"]["nodeName"] = json!("node-1");
    reader["spec"]["volumes"] = json!([
        {"name": "settings", "configMap": {"name": "settings", "items": [{"key": "a", "path": "a.txt"}]}},
        {"name": "secrets", "secret": {"secretName": "secrets", "defaultMode": 0o400}},
        {"name": "scratch", "emptyDir": {}},
    ]);
    world.create(space, "pods", &reader);
    // It waits for what it needs.
    eventually("it waits", || {
        let pod = world.pod(space, "reader");
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        let message = waiting["message"].as_str().unwrap_or_default();
        message
            .contains("\"settings\" not found")
            .then_some(())
            .ok_or(pod["status"].to_string())
    });
    let settings =
        json!({"metadata": {"name": "settings"}, "data": {"a": "file a\n", "greeting": "hi"}});
    let secrets = json!({"metadata": {"name": "secrets"}, "stringData": {"key": "s3cret"}});
    world.create(space, "configmaps", &settings);
    world.create(space, "secrets", &secrets);
    world.until_phase(space, "reader", "Succeeded");
    let log = world.log(space, "reader");
    let (first, rest) = log.split_once('\n').unwrap();
    assert!(
        first.starts_with("reader brings node-1 hi s3cret hi-node-1 --config=/"),
        "{log}"
    );
    assert!(first.ends_with("/settings/a.txt=reader"), "{log}");
    assert_eq!(rest, "file a\ns3cret400\nshared\na.txt\n");
}

#[test]
fn a_job_is_done() {
    let Some(world) = WORLD.as_ref() else { return };
    let space = "job";
    world.namespace(space);
    let mut template = shell("unnamed", "echo worked");
    template["metadata"] = json!({});
    let job = json!({"metadata": {"name": "work"}, "spec": {"completions": 2, "parallelism": 2, "template": template}});
    world.create(space, "jobs", &job);
    eventually("the job is complete", || {
        let path = format!("/apis/batch/v1/namespaces/{space}/jobs/work");
        let job = world.client().get(&path).unwrap().json();
        let conditions = job["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let is_complete = conditions
            .iter()
            .any(|c| c["type"] == "Complete" && c["status"] == "True");
        is_complete.then_some(()).ok_or(job["status"].to_string())
    });
}

#[test]
fn containers_are_started_again_by_their_policy() {
    let Some(world) = WORLD.as_ref() else { return };
    let space = "again";
    world.namespace(space);
    let mut third = shell("third", "echo x >>/count/n; test $(wc -l </count/n) -ge 3");
    third["spec"]["restartPolicy"] = json!("OnFailure");
    third["spec"]["volumes"] = json!([{"name": "count", "emptyDir": {}}]);
    third["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "count", "mountPath": "/count"}]);
    third["spec"]["initContainers"] = json!([{
        "name": "first", "image": "i", "command": ["/bin/sh", "-c", "echo init"],
    }]);
    world.create(space, "pods", &third);
    let third = world.until_phase(space, "third", "Succeeded");
    assert_eq!(third["status"]["containerStatuses"][0]["restartCount"], 2);
    assert_eq!(
        world.kubelet.log(space, "third", "first").unwrap(),
        "init\n"
    );

    let mut never = shell("loop", "exit 1");
    never["spec"]["restartPolicy"] = json!("Always");
    world.create(space, "pods", &never);
    eventually("a crash loop", || {
        let status = world.pod(space, "loop")["status"]["containerStatuses"][0].clone();
        let is_back_off = status["state"]["waiting"]["reason"] == "CrashLoopBackOff";
        let exit = &status["lastState"]["terminated"]["exitCode"];
        (is_back_off && *exit == 1)
            .then_some(())
            .ok_or(status.to_string())
    });
}

/// Process numbers that a pod has written to its log, two of them. (In a command, `$$$$` is the shell's `$$`.)
fn ids(kubelet: &Kubelet, space: &str, name: &str) -> Vec<Pid> {
    eventually("numbers of processes", || {
        let log = kubelet
            .log(space, name, "app")
            .map_err(|why| why.to_string())?;
        let ids: Vec<Pid> = log
            .split_whitespace()
            .filter_map(|word| word.parse().ok().map(Pid::from_raw))
            .collect();
        if ids.len() >= 2 { Ok(ids) } else { Err(log) }
    })
}

#[track_caller]
fn are_gone(ids: &[Pid]) {
    for id in ids {
        eventually("processes are gone", || match kill(*id, None) {
            Err(Errno::ESRCH) => Ok(()),
            other => Err(format!("{id}: {other:?}")),
        });
    }
}

#[test]
fn a_deleted_pod_is_asked_to_end_and_then_killed() {
    let Some(world) = WORLD.as_ref() else { return };
    let space = "deleted";
    world.namespace(space);
    let polite = "trap 'echo bye; exit 0' TERM; sleep 600 & echo $$$$ $!; wait";
    let deaf = "trap '' TERM; sleep 600 & echo $$$$ $!; while :; do sleep 1; done";
    let mut ids_of_all = Vec::new();
    for (name, script) in [("polite", polite), ("deaf", deaf)] {
        let mut pod = shell(name, script);
        pod["metadata"]["labels"] = json!({"which": name});
        world.create(space, "pods", &pod);
        let pod = world.until_phase(space, name, "Running");
        let conditions = pod["status"]["conditions"].as_array().unwrap();
        assert!(
            conditions
                .iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True"),
            "{pod}"
        );
        ids_of_all.extend(ids(&world.kubelet, space, name));
        let path = format!("/api/v1/namespaces/{space}/pods/{name}");
        world.client().delete(&path).unwrap().success().unwrap();
        eventually("the pod is gone", || {
            let pod = world.pod(space, name);
            pod.is_null().then_some(()).ok_or(pod.to_string())
        });
    }
    assert!(world.log(space, "polite").ends_with("bye\n"));
    are_gone(&ids_of_all);
}

#[test]
fn the_token_of_a_service_account_is_let_in() {
    let Some(world) = WORLD.as_ref() else { return };
    let space = "token";
    world.namespace(space);
    let rbac = "rbac.authorization.k8s.io";
    world.create(
        space,
        "serviceaccounts",
        &json!({"metadata": {"name": "reader"}}),
    );
    world.create(
        space,
        "roles",
        &json!({
            "metadata": {"name": "reader"},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}],
        }),
    );
    world.create(
        space,
        "rolebindings",
        &json!({
            "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": space}],
        }),
    );
    let account = "/var/run/secrets/kubernetes.io/serviceaccount";
    let script = format!(
        "A={account}; ask() {{ curl -s -o /dev/null -w '%{{http_code}}\\n' --cacert $A/ca.crt \
         -H \"Authorization: Bearer $(cat $A/token)\" \
         https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/$(cat $A/namespace)/$1; }}; \
         ask configmaps/kube-root-ca.crt; ask secrets; test -f $KUBECONFIG && echo kubeconfig"
    );
    let mut pod = shell("reader", &script);
    pod["spec"]["serviceAccountName"] = json!("reader");
    world.create(space, "pods", &pod);
    world.until_phase(space, "reader", "Succeeded");
    assert_eq!(world.log(space, "reader"), "200\n403\nkubeconfig\n");
}

#[test]
fn names_of_services_lead_to_pods() {
    let Some(world) = WORLD.as_ref() else { return };
    let space = "names";
    world.namespace(space);
    world.create(
        space,
        "services",
        &json!({
            "metadata": {"name": "server"},
            "spec": {"clusterIP": "None", "selector": {"app": "server"}, "ports": [{"port": 80}]},
        }),
    );
    world.create(
        space,
        "services",
        &json!({
            "metadata": {"name": "with-address"},
            "spec": {"selector": {"app": "server"}, "ports": [{"port": 80}]},
        }),
    );
    world.create(
        space,
        "pods",
        &pod(
            "client",
            &["echo", "server.names.svc:80", "with-address.names.svc"],
        ),
    );
    // Its own name does not wait for itself.
    let mut server = shell("server", "echo with-address.names.svc; sleep 600");
    server["metadata"]["labels"] = json!({"app": "server"});
    world.create(space, "pods", &server);
    let server = world.until_phase(space, "server", "Running");
    world.until_phase(space, "client", "Succeeded");
    let address = server["status"]["podIP"].as_str().unwrap();
    assert_eq!(
        world.log(space, "client"),
        format!("{address}:80 {address}\n")
    );
    assert_eq!(world.log(space, "server"), format!("{address}\n"));
}

#[test]
fn containers_die_on_request_and_are_started_again() {
    let Some(world) = WORLD.as_ref() else { return };
    let space = "crash";
    world.namespace(space);
    let mut pod = shell("victim", "sleep 600 & echo $$$$ $!; wait");
    pod["spec"]["restartPolicy"] = json!("OnFailure");
    world.create(space, "pods", &pod);
    world.until_phase(space, "victim", "Running");
    let ids = ids(&world.kubelet, space, "victim");
    world.kubelet.crash(space, "victim");
    are_gone(&ids);
    eventually("a new start", || {
        let pod = world.pod(space, "victim");
        let status = &pod["status"]["containerStatuses"][0];
        let died = status["lastState"]["terminated"]["exitCode"] == 137;
        (died && status["state"]["running"].is_object())
            .then_some(())
            .ok_or(status.to_string())
    });
}

#[test]
fn processes_end_with_the_kubelet() {
    let Some(world) = WORLD.as_ref() else { return };
    let space = "ends";
    world.namespace(space);
    let kubelet = Kubelet::start(
        &world.plane,
        Nodes::new(1).named("short").taint("short", "yes"),
    )
    .unwrap();
    assert_eq!(kubelet.node_names(), ["short-0"]);
    let mut pod = shell(
        "long",
        "trap '' TERM; sleep 600 & echo $$$$ $!; wait; sleep 600",
    );
    pod["spec"]["nodeName"] = json!("short-0");
    world.create(space, "pods", &pod);
    world.until_phase(space, "long", "Running");
    let ids = ids(&kubelet, space, "long");
    drop(kubelet);
    are_gone(&ids);
}
