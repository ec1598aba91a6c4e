use kperf_network::Placement;
use kperf_runtime::Limits as PluginLimits;
use serde_json::json;

use super::*;

fn plugins() -> Plugins {
    Plugins::new(PluginLimits::default()).unwrap()
}

fn measurement(text: &str) -> Measurement {
    Measurement::parse(text, "m.yaml").unwrap()
}

/// One for a test, as compiling a component takes a while.
fn refused(plugins: &mut Plugins, text: &str) -> String {
    match measurement(text).prepare(plugins) {
        Ok(_) => panic!("taken: {text}"),
        Err(failed) => {
            assert_eq!(failed.exit, Exit::Usage, "{failed}");
            failed.to_string()
        }
    }
}

const WHOLE: &str = "
benchmark: iperf3-tcp
parameters: {durationSeconds: 5}
vary:
  - {parameter: streams, values: [1, 4]}
  - {parameter: writeSizeBytes, values: [1024, 131072]}
samples: 3
taskLimitSeconds: 60
pairs:
  placements: [other-node, same-node]
  paths: [pod, host]
  clientNodes: [a]
tolerances: [pod within 10% of host]
thresholds: [network-bandwidth_bits_per_second >= 1]
allow: [nuttcp]
";

#[test]
fn a_document_is_read_and_written_again() {
    let read = measurement(WHOLE);
    assert_eq!(read.samples, 3);
    assert_eq!(read.vary[1].values, [json!(1024), json!(131_072)]);
    assert_eq!(
        read.pairs.placements,
        [Placement::OtherNode, Placement::SameNode]
    );
    assert_eq!(read.tolerances[0].ratio, 0.1);
    assert_eq!(measurement(&read.to_text()), read);
    let least = measurement("benchmark: qperf-tcp");
    assert_eq!((least.samples, least.task_limit_seconds), (1, 10));
    assert_eq!(measurement(&least.to_text()), least);
}

#[test]
fn what_is_no_document_is_said_with_its_place() {
    for (text, says) in [
        ("benchmark: x\nsample: 3", "unknown field `sample`"),
        (
            "benchmark: x\npairs: {placements: [next-door]}",
            "next-door",
        ),
        ("benchmark: x\npairs: {path: [pod]}", "unknown field `path`"),
        (
            "benchmark: x\ntolerances: [pod near host]",
            "`within` is missing",
        ),
        ("benchmark: x\nsamples: -1", "samples"),
        ("samples: 1", "missing field `benchmark`"),
        ("[]", "sequence"),
        ("", "m.yaml"),
    ] {
        let error = Measurement::parse(text, "m.yaml").unwrap_err().to_string();
        assert!(error.starts_with("m.yaml: "), "{error}");
        assert!(error.contains(says), "{text}: {error}");
    }
    let error = Measurement::read(Path::new("/none/m.yaml")).unwrap_err();
    assert!(error.to_string().starts_with("/none/m.yaml: "), "{error}");
}

#[test]
fn a_matrix_is_prepared() {
    let prepared = measurement(WHOLE).prepare(&mut plugins()).ok().unwrap();
    let names: Vec<_> = prepared.variants.iter().map(|one| &*one.name).collect();
    assert_eq!(
        names,
        [
            "streams=1 writeSizeBytes=1024",
            "streams=1 writeSizeBytes=131072",
            "streams=4 writeSizeBytes=1024",
            "streams=4 writeSizeBytes=131072"
        ]
    );
    assert_eq!(prepared.benchmark, "iperf3-tcp");
    assert_eq!(prepared.main_metric, "bandwidth_bits_per_second");
    assert_eq!(prepared.plans.len(), 4);
    assert_eq!(prepared.plans[0].ports[0].number, 5201);
    let options = prepared.options(3, Path::new("/state"));
    assert_eq!((options.samples, options.workers), (3, 3));
    assert_eq!(options.task_limit, Duration::from_secs(60));
}

#[test]
fn what_cannot_be_measured_is_refused_before() {
    let mut plugins = plugins();
    for (more, says) in [
        ("parameters: {stream: 1}", "stream"),
        ("parameters: {streams: many}", "streams"),
        ("vary: [{parameter: stream, values: [1]}]", "stream"),
        ("vary: [{parameter: streams, values: []}]", "no values"),
        (
            "vary: [{parameter: streams, values: [1, 4, 1]}]",
            "1 stands there twice",
        ),
        (
            "vary: [{parameter: streams, values: [1]}, {parameter: streams, values: [2]}]",
            "varied twice",
        ),
        (
            "parameters: {streams: 2}\nvary: [{parameter: streams, values: [1]}]",
            "set to one value as well",
        ),
        ("samples: 0", "0 samples"),
        ("thresholds: [nonsense]", "--threshold nonsense"),
        (
            "pairs: {paths: [pod]}\ntolerances: [pod within 1% of host]",
            "`host` is not among the paths to measure, pod",
        ),
    ] {
        let said = refused(&mut plugins, &format!("benchmark: iperf3-tcp\n{more}"));
        assert!(said.contains(says), "{more}: {said}");
    }
    let failed = measurement("benchmark: iperf9").prepare(&mut plugins);
    assert_eq!(failed.err().unwrap().exit, Exit::Plugin);
    assert!(refused(&mut plugins, "benchmark: quorum-list").contains("not a tool"));
}
