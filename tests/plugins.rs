//! Plugins as their authors and users meet them: listed, inspected, started, built, configured, mixed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use kperf_tests::{build_plugin, kperf, repository};
use serde_json::Value;

#[test]
fn all_first_party_plugins_are_bundled() {
    let kperf = kperf!();
    let ran = kperf.run(&["plugin", "list", "--output", "json"]).expect(0);
    let list: Value = serde_json::from_str(&ran.stdout).unwrap();
    let names: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|plugin| plugin["name"].as_str().unwrap())
        .collect();
    for name in [
        "stale_list",
        "quorum_list",
        "watch_list",
        "stale_get",
        "quorum_get",
        "get_pod_log",
        "patch",
        "put",
        "post_del",
        "json",
        "kperf_json",
        "perf_data",
        "junit",
        "pushgateway",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
}

#[test]
fn inspect_tells_world_interfaces_and_configuration() {
    let kperf = kperf!();
    let ran = kperf
        .run(&["plugin", "inspect", "post-del.wasm", "--output", "json"])
        .expect(0);
    let plugin: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(plugin["name"], "post_del");
    assert_eq!(plugin["world"], "reactive-generator");
    assert_eq!(plugin["bundled"], true);
    assert!(plugin["config_schema"]["properties"]["deleteRatio"].is_object());
    let ran = kperf.run(&["plugin", "inspect", "quorum_list"]).expect(0);
    assert!(ran.stdout.contains("fieldSelector"), "{}", ran.stdout);
}

#[test]
fn configuration_is_checked_before_anything_runs() {
    let kperf = kperf!();
    let run = |more: &[&str]| {
        kperf.run(
            &[
                &["run", "--plugin", "quorum_list", "--sim", "--total", "1"][..],
                more,
            ]
            .concat(),
        )
    };
    run(&["--set", "limt=5"])
        .expect(2)
        .says(&["limt", "quorum_list"]);
    run(&[
        "--set",
        "version=v1",
        "--set",
        "resource=pods",
        "--set",
        "limit=many",
    ])
    .expect(2)
    .says(&["limit"]);
    run(&[
        "--set",
        "version=v1",
        "--set",
        "resource=pods",
        "--set",
        "limit=-1",
    ])
    .expect(2)
    .says(&["limit"]);
}

/// `--set` changes what it names: the rest is the plugin's default, or what `--config` says.
#[test]
fn set_goes_on_top_of_the_default_configuration() {
    let kperf = kperf!();
    let requests = |more: &[&str]| {
        kperf
            .run(
                &[
                    &[
                        "run",
                        "--plugin",
                        "quorum_list.wasm",
                        "--sim",
                        "--total",
                        "1",
                        "--output",
                        "json=r.json",
                    ][..],
                    more,
                ]
                .concat(),
            )
            .expect(0);
        let report = kperf.json("r.json");
        report["series"][0]["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        requests(&["--set", "limit=500"]),
        "LIST /api/v1/pods?limit=500&timeout=1m0s"
    );
    kperf.write("config.yaml", "version: v1\nresource: nodes\n");
    assert_eq!(
        requests(&["--config", "config.yaml", "--set", "limit=5"]),
        "LIST /api/v1/nodes?limit=5&timeout=1m0s"
    );
    // A file says all of it, and in a profile kperf's required fields stay required.
    kperf.write("part.yaml", "limit: 5\n");
    kperf
        .run(&[
            "run",
            "--plugin",
            "quorum_list",
            "--sim",
            "--config",
            "part.yaml",
            "--set",
            "version=v1",
        ])
        .expect(2)
        .says(&["resource: is required"]);
    kperf.write(
        "p.yaml",
        "version: 1\nspecs:\n- {total: 1, requests: [{shares: 1, quorumList: {limit: 5}}]}\n",
    );
    kperf
        .run(&["validate", "p.yaml"])
        .expect(2)
        .says(&["version: is required", "resource: is required"]);
}

#[test]
fn choices_and_defaults_can_be_discovered() {
    let kperf = kperf!();
    for (plugin, parts) in [
        (
            "pushgateway",
            &[
                "histogram|summary",
                "[default: histogram]",
                "PUT|POST",
                "[default: PUT]",
                "[default: kperf]",
            ][..],
        ),
        (
            "kperf_json",
            &[
                "envelope|flat",
                "[default: envelope]",
                "map|classic",
                "[default: map]",
            ],
        ),
        ("patch", &["json|merge|strategic-merge"]),
    ] {
        let ran = kperf.run(&["plugin", "inspect", plugin]).expect(0);
        for part in parts {
            assert!(ran.stdout.contains(part), "no `{part}` in\n{}", ran.stdout);
        }
    }
    kperf
        .run(&[
            "run",
            "--plugin",
            "stale_get",
            "--sim",
            "--output",
            "pushgateway=push.txt",
            "--output-set",
            "pushgateway.latency=percentiles",
        ])
        .expect(2)
        .says(&["latency", "must be one of histogram, summary"]);
    kperf
        .run(&["run", "--plugin", "patch", "--sim", "--set", "patchType=no"])
        .expect(2)
        .says(&["patchType", "must be one of json, merge, strategic-merge"]);
}

/// A stranger's generator, built as strangers build, alone and in a mix; shares move the counts.
#[test]
fn a_third_partys_generator() {
    let kperf = kperf!();
    let component = build_plugin(
        &repository().join("examples/plugin-third-party"),
        "hot_configmaps",
    );
    let component = component.to_str().unwrap();
    kperf
        .run(&[
            "run",
            "--plugin",
            component,
            "--sim",
            "--total",
            "200",
            "--output",
            "json=r.json",
        ])
        .expect(0);
    assert_eq!(kperf.json("r.json")["overall"]["succeeded"], 200);

    let listed = |ours: u32, theirs: u32| {
        let profile = kperf.write(
            "mix.yaml",
            &format!(
                "version: 1\nspecs:\n- total: 400\n  client: 4\n  requests:\n  \
                 - {{shares: {ours}, staleList: {{version: v1, resource: nodes}}}}\n  \
                 - {{shares: {theirs}, plugin: {component}}}\n"
            ),
        );
        kperf
            .run(&[
                "run",
                "--profile",
                profile.to_str().unwrap(),
                "--sim",
                "--seed",
                "1",
                "--output",
                "json=r.json",
            ])
            .expect(0);
        let report = kperf.json("r.json");
        assert_eq!(report["overall"]["succeeded"], 400);
        report["series"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|series| {
                series["name"]
                    .as_str()
                    .unwrap()
                    .starts_with("LIST /api/v1/nodes?")
            })
            .map(|series| series["sent"].as_u64().unwrap())
            .sum::<u64>()
    };
    let few = listed(1, 9);
    let many = listed(9, 1);
    assert!((15..=75).contains(&few), "a tenth of 400: {few}");
    assert!((325..=385).contains(&many), "nine tenths of 400: {many}");
}

/// What `plugin new` writes builds and runs as it is.
#[test]
fn a_new_project_builds_and_runs() {
    let kperf = kperf!();
    kperf
        .run(&["plugin", "new", "my-generator", "--world", "generator"])
        .expect(0);
    let component = build_plugin(&kperf.path("my-generator"), "my_generator");
    kperf
        .run(&[
            "run",
            "--plugin",
            component.to_str().unwrap(),
            "--sim",
            "--total",
            "50",
            "--output",
            "json=r.json",
        ])
        .expect(0);
    assert_eq!(kperf.json("r.json")["overall"]["sent"], 50);

    kperf
        .run(&["plugin", "new", "my-exporter", "--world", "exporter"])
        .expect(0);
    let component = build_plugin(&kperf.path("my-exporter"), "my_exporter");
    let output = format!("{}=out.txt", component.display());
    kperf
        .run(&[
            "run",
            "--plugin",
            "stale_get",
            "--sim",
            "--total",
            "50",
            "--output",
            &output,
        ])
        .expect(0);
    assert!(!std::fs::read(kperf.path("out.txt")).unwrap().is_empty());

    kperf
        .run(&["plugin", "new", "my-generator"])
        .expect(2)
        .says(&["my-generator"]);
    kperf.run(&["plugin", "new", "../Bad Name"]).expect(2);
}
