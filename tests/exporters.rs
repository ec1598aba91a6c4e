//! Exporters are swapped without rebuilding, and none of them can hurt the run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::net::TcpListener;

use kperf_tests::{kperf, pushgateway::Pushgateway};

#[test]
fn the_same_run_into_a_file_or_a_pushgateway() {
    let kperf = kperf!();
    let arguments = ["run", "--plugin", "stale_get", "--sim", "--total", "100"];
    kperf
        .run(&[&arguments[..], &["--output", "json=a.json"]].concat())
        .expect(0);
    assert_eq!(kperf.json("a.json")["overall"]["sent"], 100);

    let Some(gateway) = Pushgateway::start() else {
        return;
    };
    let push = gateway.output();
    kperf
        .run(
            &[
                &arguments[..],
                &["--output", &push, "--output-set", "pushgateway.job=a/b"],
            ]
            .concat(),
        )
        .expect(0);
    let metrics = gateway.get("/metrics");
    let pushed: Vec<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("kperf_"))
        .collect();
    assert!(
        pushed.iter().any(|line| line.contains(r#"job="a/b""#)
            && line.contains("/api/v1/nodes/")
            && line.ends_with(" 100")),
        "{pushed:#?}"
    );
    assert!(
        pushed
            .iter()
            .any(|line| line.contains("_seconds_bucket") && line.contains(r#"le="+Inf""#)),
        "{pushed:#?}"
    );
}

#[test]
fn exporters_name_their_files_in_a_directory() {
    let kperf = kperf!();
    let arguments = ["run", "--plugin", "stale_get", "--sim", "--total", "20"];
    let outputs = ["--output", "perf-data=out/", "--output", "junit=out/"];
    kperf.run(&[&arguments[..], &outputs].concat()).expect(0);
    let mut names: Vec<String> = std::fs::read_dir(kperf.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let [perf_data, junit] = names.as_slice() else {
        panic!("not two files but {names:?}");
    };
    assert!(
        perf_data.starts_with("GenericLatency_") && perf_data.ends_with("Z.json"),
        "{perf_data}"
    );
    let data = kperf.json(&format!("out/{perf_data}"));
    assert_eq!(data["dataItems"][0]["unit"], "ms");
    assert_eq!(junit, "junit.xml");

    // `out` is a directory now, and a document does not go into one.
    kperf
        .run(&[&arguments[..], &["--output", "json=out"]].concat())
        .expect(5)
        .says(&["json", "directory"]);
}

#[test]
fn a_dead_gateway_costs_an_exit_code_and_nothing_else() {
    let kperf = kperf!();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let push = format!("pushgateway=http://127.0.0.1:{port}");
    let ran = kperf
        .run(&[
            "run",
            "--plugin",
            "stale_get",
            "--sim",
            "--total",
            "100",
            "--output",
            &push,
            "--output",
            "json=a.json",
        ])
        .expect(6);
    ran.says(&["pushgateway", "refused", "attempt"]);
    assert!(
        ran.stdout.contains("100 sent, 100 succeeded"),
        "{}",
        ran.stdout
    );
    assert_eq!(kperf.json("a.json")["overall"]["sent"], 100);
}

#[test]
fn data_alone_on_stdout() {
    let kperf = kperf!();
    let ran = kperf
        .run(&[
            "run",
            "--plugin",
            "stale_get",
            "--sim",
            "--total",
            "10",
            "--output",
            "json",
        ])
        .expect(0);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["overall"]["sent"], 10);
    ran.says(&["10 sent, 10 succeeded", "verdict"]);
    kperf
        .run(&[
            "run",
            "--plugin",
            "stale_get",
            "--sim",
            "--total",
            "10",
            "--output",
            "json",
            "--output",
            "kperf-json",
        ])
        .expect(2)
        .says(&["2 outputs go to stdout"]);
}

#[test]
fn wrong_outputs_are_known_before_the_run() {
    let kperf = kperf!();
    let arguments = ["run", "--plugin", "stale_get", "--sim", "--total", "10"];
    let run = |more: &[&str]| kperf.run(&[&arguments[..], more].concat());
    run(&["--output", "jsn=a"])
        .expect(5)
        .says(&["`jsn`", "json"]);
    run(&["--output", "quorum_list=a"])
        .expect(2)
        .says(&["quorum_list", "generator"]);
    run(&["--output", "json=a", "--output-set", "json.colour=red"])
        .expect(2)
        .says(&["colour"]);
    run(&["--output", "json=a", "--output-set", "jsn.compact=true"])
        .expect(2)
        .says(&["jsn.compact"]);
}

/// The pre-0.3.5 form of kperf.
#[test]
fn kperfs_older_forms() {
    let kperf = kperf!();
    kperf
        .run(&[
            "run",
            "--plugin",
            "quorum_get",
            "--set",
            "version=v1",
            "--set",
            "resource=nodes",
            "--set",
            "name=nobody",
            "--sim",
            "--total",
            "10",
            "--output",
            "kperf-json=r.json",
            "--output-set",
            "kperf-json.format=flat",
            "--output-set",
            "kperf-json.errorStats=classic",
        ])
        .expect(0);
    let result = kperf.json("r.json");
    assert_eq!(result["total"], 10);
    assert_eq!(result["errorStats"]["responseCodes"]["404"], 10);
}
