//! Virtual machine instances that kwok plays.

use kperf_tests::{Kperf, Ran, benchmark::distribution, kperf};
use serde_json::Value;

use crate::plane;

pub(crate) const PHASES: [&str; 4] = ["pending", "scheduling", "scheduled", "running"];

/// The arguments of a run of the example, its wait at the end cut short; its report is in `r.json`.
pub(crate) fn arguments(kperf: &Kperf, kubeconfig: &str) -> Vec<String> {
    let config = kperf.density(|text| {
        assert!(text.contains("waitWhenFinished: 30s"));
        text.replace("waitWhenFinished: 30s", "waitWhenFinished: 100ms")
    });
    let words = [
        "run",
        "--plugin",
        "kubevirt_density",
        "--config",
        config.to_str().unwrap(),
        "--kubeconfig",
        kubeconfig,
        "--output",
        "json=r.json",
    ];
    words.map(str::to_owned).into()
}

pub(crate) fn run(kperf: &Kperf, arguments: &[String]) -> Ran {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    kperf.run(&arguments).expect(0)
}

pub(crate) fn numbers(column: &Value) -> Vec<u64> {
    let numbers = column.as_array().unwrap().iter();
    numbers.map(|number| number.as_u64().unwrap()).collect()
}

#[test]
fn the_seeds_example_runs_and_goes() {
    let kperf = kperf!();
    let Some(mut plane) = plane("kubevirt-density") else {
        return;
    };
    let kubeconfig = plane.kubeconfig();
    let ran = run(&kperf, &arguments(&kperf, &kubeconfig));
    println!("{}", ran.stdout);
    let report = kperf.json("r.json");
    let mut expected = vec!["created_to_running".to_owned(), "deletion".to_owned()];
    expected.extend(PHASES.map(|phase| format!("sent_to_{phase}")));
    for name in expected {
        let found = distribution(&report, &name);
        assert_eq!(found["times"]["count"], 100, "{name}: {found}");
        assert_eq!(found["missing"], 0, "{name}: {found}");
    }

    // kwok wrote the time of each phase, and no news of it can be older.
    let table = &report["objects"][0];
    assert_eq!(table["kind"], "VirtualMachineInstance", "{table}");
    let start_unix_us = report["start_unix_us"].as_u64().unwrap();
    let mut before = vec![0; 100];
    for phase in PHASES {
        let milestones = table["milestones"].as_array().unwrap();
        let column = milestones.iter().find(|m| m["name"] == phase).unwrap();
        let received_ns = numbers(&column["received_ns"]);
        let written_us = numbers(&column["api_unix_us"]);
        assert_eq!(received_ns.len(), 100);
        for i in 0..100 {
            let received_us = start_unix_us + received_ns[i] / 1000;
            assert!(
                written_us[i] > 0 && received_us >= written_us[i],
                "{phase}, object {i}: written at {}, received at {received_us}",
                written_us[i]
            );
            assert!(written_us[i] > before[i], "{phase}, object {i}");
        }
        before = written_us;
    }

    // Created, four phases, asked to go, succeeded, gone: a watch tells of each, once.
    let metrics = report["metrics"].as_array().unwrap();
    let events = metrics.iter().find(|m| m["name"] == "watch_events");
    assert_eq!(events.unwrap()["value"], 800.0, "{metrics:#?}");

    plane.assert_nothing_labelled();
    let client = plane.get().client().unwrap();
    let namespace = "/api/v1/namespaces/kubevirt-density-1";
    assert_eq!(client.get(namespace).unwrap().status, 404);
    kperf.assert_clean(&kubeconfig, Some(&ran.run_id()));
}
