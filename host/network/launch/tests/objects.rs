//! What is created, for each setting.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod support {
    pub(super) mod spec;
}

use std::path::Path;

use kperf_launch::{Credentials, LaunchSpec, SpecError, TaskPath, objects};
use serde_json::{Value, json};
use support::spec::spec;

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn count(objects: &[Value], kind: &str) -> usize {
    objects
        .iter()
        .filter(|object| object["kind"] == kind)
        .count()
}

fn args(pod: &Value) -> String {
    let args = pod["spec"]["containers"][0]["args"].as_array().unwrap();
    let words: Vec<&str> = args.iter().map(|arg| arg.as_str().unwrap()).collect();
    words.join(" ")
}

#[test]
fn everything_is_there_once_and_labelled() {
    let objects = objects(&spec("ns"));
    for (kind, expected) in [
        ("Namespace", 1),
        ("ServiceAccount", 2),
        ("Role", 1),
        ("RoleBinding", 1),
        ("Secret", 2),
        // The configuration, the index of results, and their parts.
        ("ConfigMap", 1 + 1 + 32),
        ("Service", 1 + 2),
        ("Pod", 1 + 2),
    ] {
        assert_eq!(count(&objects, kind), expected, "{kind}");
    }
    assert_eq!(objects[0]["kind"], "Namespace");
    for object in &objects {
        assert_eq!(
            object["metadata"]["labels"]["kperf-host.io/run"], "run-ns",
            "{object}"
        );
        let is_inside = object["kind"] == "Namespace" || object["metadata"]["namespace"] == "ns";
        assert!(is_inside, "{object}");
    }
    let first = |kind: &str| {
        objects
            .iter()
            .position(|object| object["kind"] == kind)
            .unwrap()
    };
    assert!(first("Pod") > first("Service") && first("Pod") > first("Secret"));
}

#[test]
fn rights_are_the_least() {
    let objects = objects(&spec("ns"));
    let rules = &find(&objects, "Role", "kperf-orchestrator")["rules"];
    assert_eq!(rules.as_array().unwrap().len(), 1);
    assert_eq!(rules[0]["verbs"], json!(["patch"]));
    assert_eq!(rules[0]["resources"], json!(["configmaps"]));
    assert_eq!(rules[0]["resourceNames"].as_array().unwrap().len(), 33);
    for name in ["kperf-orchestrator", "kperf-worker"] {
        let account = find(&objects, "ServiceAccount", name);
        assert_eq!(account["automountServiceAccountToken"], false);
    }
    let worker = find(&objects, "Pod", "kperf-worker-0");
    assert_eq!(worker["spec"]["automountServiceAccountToken"], false);
    // No side has the other's key.
    for (name, keys) in [
        (
            "kperf-orchestrator",
            ["ca.pem", "orchestrator.key", "orchestrator.pem"],
        ),
        ("kperf-worker", ["ca.pem", "worker.key", "worker.pem"]),
    ] {
        let data = find(&objects, "Secret", name)["data"].as_object().unwrap();
        assert_eq!(data.keys().collect::<Vec<_>>(), keys);
    }
    for pod in objects.iter().filter(|object| object["kind"] == "Pod") {
        assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
        let context = &pod["spec"]["containers"][0]["securityContext"];
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(context["readOnlyRootFilesystem"], true);
    }
}

#[test]
fn command_lines_are_as_agreed() {
    let objects = objects(&spec("ns"));
    let orchestrator = find(&objects, "Pod", "kperf-orchestrator");
    assert_eq!(
        orchestrator["spec"]["containers"][0]["command"],
        json!(["kperf-host", "net"])
    );
    assert_eq!(
        args(orchestrator),
        "orchestrator --benchmark iperf3-tcp --config /etc/kperf-host/config/config.yaml --listen [::]:6000 \
         --tls /etc/kperf-host/tls --state /var/lib/kperf-host --workers 2 --deadline 120s --timeout 30s \
         --results-to kube:ns/kperf-results"
    );
    let worker = find(&objects, "Pod", "kperf-worker-1");
    assert_eq!(
        args(worker),
        "worker --orchestrator kperf-orchestrator.ns.svc:6000 --name $(POD_NAME) --node $(NODE_NAME) --zone zone-b \
         --address pod=$(POD_IP) --tls /etc/kperf-host/tls --timeout 210s --deadline 210s"
    );
    let terms = &worker["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        ["nodeSelectorTerms"];
    assert_eq!(terms[0]["matchFields"][0]["values"], json!(["node-1"]));
    assert_eq!(terms.as_array().unwrap().len(), 1);
}

#[test]
fn settings_change_what_they_are_about() {
    let base = || spec("ns");
    let plain = objects(&base());
    let namespace = find(&plain, "Namespace", "ns");
    assert_eq!(
        namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
        "restricted"
    );
    assert!(namespace["metadata"]["labels"]["istio-injection"].is_null());

    let injected = objects(&LaunchSpec {
        inject: true,
        ..base()
    });
    let labels = &find(&injected, "Namespace", "ns")["metadata"]["labels"];
    assert_eq!(labels["istio-injection"], "enabled");
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "privileged");
    let worker = find(&injected, "Pod", "kperf-worker-0");
    assert_eq!(
        worker["metadata"]["labels"]["sidecar.istio.io/inject"],
        "true"
    );
    let service = find(&injected, "Service", "kperf-worker-0");
    assert_eq!(
        service["spec"]["ports"][0],
        json!({"name": "tcp-iperf3", "port": 5201, "targetPort": 5201, "protocol": "TCP"})
    );
    assert_eq!(
        service["spec"]["selector"]["kperf-host.io/worker"],
        worker["metadata"]["labels"]["kperf-host.io/worker"]
    );

    let service = objects(&LaunchSpec {
        paths: vec![TaskPath::Service],
        ..base()
    });
    let worker = args(find(&service, "Pod", "kperf-worker-0"));
    // Its own address comes first: there it looks whether its server is ready.
    assert!(
        worker.contains("--address pod=$(POD_IP) --address service=kperf-worker-0.ns.svc "),
        "{worker}"
    );

    let dynamic = objects(&LaunchSpec {
        ports: vec![],
        ..base()
    });
    assert_eq!(count(&dynamic, "Service"), 1);

    let host = objects(&LaunchSpec {
        paths: vec![TaskPath::Host],
        ..base()
    });
    let worker = find(&host, "Pod", "kperf-host-worker-0");
    assert_eq!(worker["spec"]["hostNetwork"], true);
    assert!(args(worker).contains("--address host=$(POD_IP) "));
    // It would be a port of the node, which nobody else could have.
    assert!(worker["spec"]["containers"][0]["ports"].is_null());
    assert!(find(&host, "Pod", "kperf-orchestrator")["spec"]["hostNetwork"].is_null());
    assert_eq!((count(&host, "Pod"), count(&host, "Service")), (3, 1));

    let both = objects(&LaunchSpec {
        paths: vec![TaskPath::Pod, TaskPath::Host],
        ..base()
    });
    assert_eq!(count(&both, "Pod"), 5);
    assert!(find(&both, "Pod", "kperf-worker-1")["spec"]["hostNetwork"].is_null());
    assert!(args(find(&both, "Pod", "kperf-orchestrator")).contains("--workers 4 "));
    let labels = &find(&both, "Namespace", "ns")["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "privileged");

    let twice = objects(&LaunchSpec {
        workers_per_node: 2,
        ..base()
    });
    let node = |pod: &str| {
        let affinity = &find(&twice, "Pod", pod)["spec"]["affinity"]["nodeAffinity"];
        let terms =
            &affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
        terms[0]["matchFields"][0]["values"][0].clone()
    };
    assert_eq!((count(&twice, "Pod"), count(&twice, "Service")), (5, 5));
    assert_eq!(node("kperf-worker-0"), node("kperf-worker-2"));
    assert_ne!(node("kperf-worker-2"), node("kperf-worker-3"));

    let theirs = objects(&LaunchSpec {
        plugin: Some(b"component".to_vec()),
        programs: vec!["nuttcp".to_owned()],
        ..base()
    });
    let config = find(&theirs, "ConfigMap", "kperf-config");
    assert_eq!(config["binaryData"]["tool.wasm"], "Y29tcG9uZW50");
    let orchestrator = args(find(&theirs, "Pod", "kperf-orchestrator"));
    assert!(
        orchestrator.contains("--benchmark /etc/kperf-host/config/tool.wasm "),
        "{orchestrator}"
    );
    assert!(args(find(&theirs, "Pod", "kperf-worker-0")).ends_with(" --allow nuttcp"));

    let toleration = json!({"key": "gpu", "operator": "Exists"});
    let others = objects(&LaunchSpec {
        tolerations: vec![toleration.clone()],
        worker_cpu: "2".to_owned(),
        image_pull_policy: "Always".to_owned(),
        ..base()
    });
    let worker = &find(&others, "Pod", "kperf-worker-0")["spec"];
    assert_eq!(worker["tolerations"], json!([toleration]));
    assert_eq!(
        worker["containers"][0]["resources"]["requests"],
        json!({"cpu": "2"})
    );
    assert_eq!(worker["containers"][0]["imagePullPolicy"], "Always");
}

#[test]
fn settings_that_do_not_go_together_say_why() {
    base_is_fine();
    let large = LaunchSpec {
        plugin: Some(vec![0; 1 << 20]),
        ..spec("ns")
    };
    let none = LaunchSpec {
        paths: vec![],
        ..spec("ns")
    };
    let dynamic = || LaunchSpec {
        benchmark: "qperf-tcp".to_owned(),
        ports: vec![],
        ..spec("ns")
    };
    for (spec, expected) in [
        (large, "the plugin has 1048576 bytes"),
        (none, "no path"),
        (
            LaunchSpec {
                inject: true,
                mesh_refused: "qperf opens data connections".to_owned(),
                ..dynamic()
            },
            "--inject cannot be used with qperf-tcp: qperf opens data connections, and Istio's",
        ),
        (
            LaunchSpec {
                paths: vec![TaskPath::Service],
                ..dynamic()
            },
            "qperf-tcp cannot be measured through Services",
        ),
        (
            LaunchSpec {
                inject: true,
                paths: vec![TaskPath::Pod, TaskPath::Host],
                ..spec("ns")
            },
            "no sidecar",
        ),
        (
            LaunchSpec {
                nodes: vec![],
                ..spec("ns")
            },
            "at least two are needed",
        ),
        (
            LaunchSpec {
                namespace: "No".to_owned(),
                ..spec("ns")
            },
            "cannot be the name of a namespace",
        ),
    ] {
        let error: SpecError = spec.check().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

fn base_is_fine() {
    spec("ns").check().unwrap();
    let shown = format!("{:?}", spec("ns"));
    assert!(!shown.contains("108, 101"), "bytes of a key: {shown}");
    Credentials::in_directory(Path::new("/no/such")).expect_err("no files");
}
