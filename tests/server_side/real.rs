//! A real API server counts what the client sent.

use std::time::Duration;

use kperf_control_plane::Options;
use kperf_tests::{Kperf, kperf, start_until_first_interval, wait};
use serde_json::{Value, json};

use crate::{finding, metric, simulator::validate, started, text};

fn run(kperf: &Kperf, kubeconfig: &str, what: &str, load: &str) -> Value {
    let mut words = what.split_whitespace();
    let plugin = words.next().expect("a plugin");
    let mut arguments = vec!["run", "--output", "json=r.json", "--plugin", plugin];
    arguments.extend(words.flat_map(|setting| ["--set", setting]));
    arguments.extend(["--kubeconfig", kubeconfig]);
    arguments.extend(load.split_whitespace());
    let ran = kperf.run(&arguments).expect(0);
    let report = kperf.json("r.json");
    validate(&report);
    if finding(&report, "server/metrics-forbidden").is_none() {
        assert!(ran.stdout.contains("server's side"), "{}", ran.stdout);
    }
    report
}

#[test]
fn the_server_counts_what_was_sent() {
    let kperf = kperf!();
    let options = Options::api_server().own();
    let Some(mut plane) = started("the server's own numbers", options) else {
        return;
    };
    let kubeconfig = plane.kubeconfig();
    let kubeconfig = text(&kubeconfig);

    // Nobody else lists these.
    let list = [("verb", "LIST"), ("resource", "podtemplates")];
    let report = run(
        &kperf,
        kubeconfig,
        "quorum_list version=v1 resource=podtemplates",
        "--total 500 --conns 4 --client 16 --server-metrics=ends",
    );
    assert_eq!(report["overall"]["succeeded"], 500);
    assert_eq!(
        metric(&report, "server-requests", &list),
        Some(500.0),
        "{report:#}"
    );
    for name in ["server-cores", "server-cpu", "server-cores-used"] {
        assert!(
            metric(&report, name, &[]).is_some_and(|value| value > 0.0),
            "{name}: {report:#}"
        );
    }
    for when in ["before", "after", "max"] {
        let bytes = metric(&report, "server-memory", &[("when", when)]);
        assert!(bytes.is_some_and(|bytes| bytes > 50e6), "{when}: {bytes:?}");
    }
    let p99 = [&list[..], &[("quantile", "0.99")]].concat();
    assert!(metric(&report, "server-latency", &p99).is_some());
    assert!(
        metric(&report, "server-etcd-requests", &[]).is_some(),
        "{report:#}"
    );
    for code in [
        "server/fewer-requests",
        "server/instance-changed",
        "server/instance-restarted",
    ] {
        assert_eq!(finding(&report, code), None);
    }

    // By code: what is not there.
    let report = run(
        &kperf,
        kubeconfig,
        "stale_get version=v1 resource=podtemplates namespace=default name=none",
        "--total 100 --conns 2 --client 4",
    );
    let get = [("verb", "GET"), ("resource", "podtemplates")];
    assert_eq!(report["overall"]["errors"]["http/404"], 100, "{report:#}");
    assert_eq!(metric(&report, "server-requests", &get), Some(100.0));
    let not_found = [&get[..], &[("code", "404")]].concat();
    assert_eq!(
        metric(&report, "server-requests-failed", &not_found),
        Some(100.0)
    );

    // A verb that changes something.
    let client = plane.client().unwrap();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map-0"}});
    client
        .post("/api/v1/namespaces/default/configmaps", &map)
        .unwrap()
        .success()
        .unwrap();
    let report = run(
        &kperf,
        kubeconfig,
        "put version=v1 resource=configmaps namespace=default name=map keySpaceSize=1 payloadSize=64",
        "--total 50",
    );
    assert_eq!(report["overall"]["succeeded"], 50, "{report:#}");
    let put = [("verb", "PUT"), ("resource", "configmaps")];
    assert_eq!(
        metric(&report, "server-requests", &put),
        Some(50.0),
        "{report:#}"
    );

    without_the_right(
        &kperf,
        text(&plane.kubeconfig_for_user("nobody", &[]).unwrap()),
    );

    // A restart in the middle is said, and nothing is compared.
    let mut command = kperf.command(&[
        "run",
        "--plugin",
        "quorum_list",
        "--set",
        "version=v1",
        "--set",
        "resource=podtemplates",
        "--kubeconfig",
        kubeconfig,
        "--rate",
        "20",
        "--duration",
        "12s",
        "--output",
        "json=r.json",
    ]);
    command.arg("--server-metrics-interval=1s");
    let mut child = start_until_first_interval(command);
    plane.kill_api_server().unwrap();
    plane.start_api_server().unwrap();
    let status = wait(&mut child, Duration::from_secs(60)).expect("an end in time");
    assert_eq!(status.code(), Some(0));
    let report = kperf.json("r.json");
    validate(&report);
    let message =
        finding(&report, "server/instance-restarted").unwrap_or_else(|| panic!("{report:#}"));
    assert!(message.contains("began its counters anew"), "{message}");
    assert_eq!(finding(&report, "server/fewer-requests"), None);
}

/// A user who may list nothing and see no metrics: refusals are results, and so is this.
fn without_the_right(kperf: &Kperf, kubeconfig: &str) {
    for flag in ["", "--server-metrics=ends"] {
        let report = run(
            kperf,
            kubeconfig,
            "quorum_list version=v1 resource=podtemplates",
            &format!("--total 20 {flag}"),
        );
        assert_eq!(report["overall"]["errors"]["http/403"], 20, "{report:#}");
        let message = finding(&report, "server/metrics-forbidden").expect("a finding");
        assert!(
            message.contains("`get` on the non-resource URL `/metrics`")
                && message.contains("nobody"),
            "{message}"
        );
        assert_eq!(metric(&report, "server-cores", &[]), None);
    }
}
