//! kperf's scenarios through the real binary against the simulator, each in a shortened form: the shape of what is
//! printed, that the workload beside the load happened, and that nothing of it is left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod each;
mod ends;
mod flags;
mod runners;

use std::collections::BTreeSet;

use kperf_tests::{Kperf, Ran, SimServer};
use serde_json::{Value, json};

/// What a scenario left: kperf's result, our report, and what was printed.
struct Outcome {
    result: Value,
    report: Value,
    ran: Ran,
}

impl Outcome {
    #[track_caller]
    fn metric(&self, name: &str) -> f64 {
        let metrics = self.report["metrics"].as_array().unwrap();
        let found = metrics.iter().find(|metric| metric["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {metrics:#?}"))["value"]
            .as_f64()
            .unwrap()
    }

    /// Sent by the phases of this name, by the report.
    fn sent(&self, name: &str) -> u64 {
        let phases = self.report["phases"].as_array().unwrap().iter();
        let named = phases.filter(|phase| phase["name"].as_str().unwrap().starts_with(name));
        named
            .map(|phase| phase["overall"]["sent"].as_u64().unwrap())
            .sum()
    }

    /// Requests that succeeded, and that failed, by kperf's result.
    fn answered(&self) -> (u64, usize) {
        let result = &self.result["result"];
        let failed = result["errors"].as_array().map_or(0, Vec::len);
        (result["total"].as_u64().unwrap(), failed)
    }
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object
        .as_object()
        .unwrap_or_else(|| panic!("no object: {object}"))
        .keys()
        .map(String::as_str)
        .collect()
}

/// Runs a scenario; its result has kperf's shape, and afterwards the cluster is as it was.
#[track_caller]
fn bench(kperf: &Kperf, sim: &SimServer, name: &str, flags: &[&str]) -> Outcome {
    let mut arguments = vec!["bench", "--kubeconfig", sim.kubeconfig(), name];
    arguments.extend(flags);
    arguments.extend(["--result", "result.json", "--output", "json=report.json"]);
    let ran = kperf.run(&arguments).expect(0);
    let outcome = Outcome {
        result: kperf.json("result.json"),
        report: kperf.json("report.json"),
        ran,
    };
    assert_shape(&outcome.result, sim);
    assert_clean(kperf, sim, &outcome.ran);
    outcome
}

#[track_caller]
fn assert_shape(whole: &Value, sim: &SimServer) {
    let top = ["description", "info", "loadSpec", "result"];
    assert_eq!(keys(whole), BTreeSet::from(top), "{whole:#}");
    assert!(!whole["description"].as_str().unwrap().is_empty());
    let cores = &whole["info"]["apiserver"]["cores"];
    assert_eq!(keys(cores), BTreeSet::from(["before", "after"]));
    for when in ["before", "after"] {
        let each = cores[when].as_object().unwrap();
        assert!(!each.is_empty(), "{cores:#}");
        assert!(each.values().all(|cores| cores.as_u64() > Some(0)));
    }

    let specs = whole["loadSpec"]["loadProfile"]["specs"]
        .as_array()
        .unwrap();
    for spec in specs {
        let all = [
            "rate",
            "total",
            "duration",
            "conns",
            "client",
            "contentType",
            "disableHTTP2",
            "maxRetries",
            "requests",
        ];
        assert_eq!(keys(spec), BTreeSet::from(all), "{spec:#}");
        let list = json!({
            "group": "", "version": "", "resource": "", "namespace": "",
            "limit": 0, "selector": "", "fieldSelector": "",
        });
        for request in spec["requests"].as_array().unwrap() {
            for kind in ["staleList", "quorumList"] {
                if let Some(request) = request.get(kind) {
                    assert_eq!(keys(request), keys(&list), "{request:#}");
                }
            }
        }
    }

    let result = &whole["result"];
    assert!(result["duration"].as_str().unwrap().ends_with('s'));
    assert!(result["totalReceivedBytes"].as_u64().unwrap() > 0);
    assert_eq!(result["percentileLatencies"].as_array().unwrap().len(), 6);
    assert!(result.get("latenciesByURL").is_none());
    let by_url = keys(&result["percentileLatenciesByURL"]);
    assert!(
        by_url.iter().all(|key| key.contains(&sim.url)),
        "{by_url:?}"
    );
}

/// No object of the run, and no pool of virtual nodes.
#[track_caller]
fn assert_clean(kperf: &Kperf, sim: &SimServer, ran: &Ran) {
    kperf.assert_clean(sim.kubeconfig(), Some(&ran.run_id()));
    assert_no_pool(kperf, sim);
}

#[track_caller]
fn assert_no_pool(kperf: &Kperf, sim: &SimServer) {
    let listed = kperf
        .run(&[
            "vc",
            "nodepool",
            "--kubeconfig",
            sim.kubeconfig(),
            "list",
            "--output",
            "json",
        ])
        .expect(0);
    let pools: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(pools.as_array().unwrap().len(), 0, "{pools:#}");
}
