//! The plugin as the host sees it.

use kperf_sdk::{exporter::labels, testing};

use super::*;

/// Quantiles as exact as those of a distribution: nearest rank over all values.
fn times(values_ns: &[u64]) -> wit::Histogram {
    let mut sorted = values_ns.to_vec();
    sorted.sort_unstable();
    let at = |q: f64| {
        let rank = (q * sorted.len() as f64).ceil() as usize;
        sorted[rank.saturating_sub(1)]
    };
    wit::Histogram {
        count: sorted.len() as u64,
        min_ns: sorted.first().copied().unwrap_or(0),
        max_ns: sorted.last().copied().unwrap_or(0),
        mean_ns: 0.0,
        stddev_ns: 0.0,
        quantiles: if sorted.is_empty() {
            Vec::new()
        } else {
            [0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0]
                .map(|q| wit::Quantile { q, value_ns: at(q) })
                .to_vec()
        },
        hdr_v2_deflate: Vec::new(),
    }
}

fn series(name: &str, values_ns: &[u64]) -> wit::Series {
    wit::Series {
        name: name.to_owned(),
        labels: Vec::new(),
        response_time: times(values_ns),
        service_time: times(&[]),
        sent: values_ns.len() as u64,
        succeeded: values_ns.len() as u64,
        failed: 0,
        received_bytes: 0,
        errors: Vec::new(),
        counters: Vec::new(),
    }
}

fn distribution(name: &str, labels: Vec<wit::Label>, values_ns: &[u64]) -> wit::Distribution {
    wit::Distribution {
        name: name.to_owned(),
        labels,
        times: times(values_ns),
        missing: 0,
    }
}

fn of_pods(set: &str, name: &str, values_ns: &[u64]) -> wit::Distribution {
    let labels = labels([
        ("measurement", "PodStartupLatency"),
        ("set", set),
        ("definition", "2024"),
        ("test", "test"),
    ]);
    distribution(name, labels, values_ns)
}

fn summary(distributions: Vec<wit::Distribution>) -> Summary {
    Summary {
        run_id: "run-1".to_owned(),
        host_version: "0.1.0".to_owned(),
        description: String::new(),
        labels: Vec::new(),
        start_unix_us: 1_722_281_375_900_000,
        length_ns: 16_700_000_000,
        server: "https://10.0.0.1:443".to_owned(),
        environment: Vec::new(),
        plugins: Vec::new(),
        phases: Vec::new(),
        overall: series("", &[]),
        series: Vec::new(),
        metrics: Vec::new(),
        distributions,
        objects: Vec::new(),
        thresholds: Vec::new(),
        verdict: "certified".to_owned(),
        findings: Vec::new(),
        ended: "completed".to_owned(),
    }
}

/// What ClusterLoader2 reports of ten pods: all, stateless and stateful ones, of which there are none.
fn pod_startup() -> Vec<wit::Distribution> {
    let ms = |values: &[f64]| -> Vec<u64> { values.iter().map(|ms| (ms * 1e6) as u64).collect() };
    let whole = ms(&[1713.206, 3216.244, 3236.155]);
    let ten = |three: &[u64]| -> Vec<u64> {
        // Five of the first, four of the second, one of the third: percentiles 50, 90 and 99.
        let mut ten = vec![three[0]; 5];
        ten.extend([three[1]; 4]);
        ten.push(three[2]);
        ten
    };
    let mut all = Vec::new();
    for set in ["", "Stateless", "Stateful"] {
        for (name, values) in [
            ("create_to_schedule", vec![0; 3]),
            ("schedule_to_run", ms(&[1000.0, 2000.0, 2000.0])),
            ("run_to_watch", ms(&[713.206, 1216.244, 1236.155])),
            ("schedule_to_watch", whole.clone()),
            ("pod_startup", whole.clone()),
        ] {
            let values = if set == "Stateful" {
                vec![]
            } else {
                ten(&values)
            };
            all.push(of_pods(set, name, &values));
        }
    }
    all
}

fn begin(sink_kind: &str, config: Value) -> Result<PerfData, Failure> {
    testing::reset();
    let context = BeginContext {
        run_id: "run-1".to_owned(),
        sink: "out".to_owned(),
        sink_kind: sink_kind.to_owned(),
        labels: Vec::new(),
    };
    PerfData::begin(
        context,
        kperf_sdk::config::parse(&config.to_string()).unwrap(),
    )
}

fn text(name: &str) -> String {
    String::from_utf8(testing::sink(name).unwrap_or_else(|| panic!("{name} was not written")))
        .unwrap()
}

const STATELESS: &str = r#"{
  "version": "1.0",
  "dataItems": [
    {
      "data": {
        "Perc50": 713.206,
        "Perc90": 1216.244,
        "Perc99": 1236.155
      },
      "unit": "ms",
      "labels": {
        "Metric": "run_to_watch"
      }
    },
    {
      "data": {
        "Perc50": 1713.206,
        "Perc90": 3216.244,
        "Perc99": 3236.155
      },
      "unit": "ms",
      "labels": {
        "Metric": "schedule_to_watch"
      }
    },
    {
      "data": {
        "Perc50": 1713.206,
        "Perc90": 3216.244,
        "Perc99": 3236.155
      },
      "unit": "ms",
      "labels": {
        "Metric": "pod_startup"
      }
    },
    {
      "data": {
        "Perc50": 0,
        "Perc90": 0,
        "Perc99": 0
      },
      "unit": "ms",
      "labels": {
        "Metric": "create_to_schedule"
      }
    },
    {
      "data": {
        "Perc50": 1000,
        "Perc90": 2000,
        "Perc99": 2000
      },
      "unit": "ms",
      "labels": {
        "Metric": "schedule_to_run"
      }
    }
  ]
}
"#;

/// The text of a stored run of ClusterLoader2, to the byte.
#[test]
fn a_summary_is_clusterloader2_s_to_the_byte() {
    begin("directory", json!({}))
        .unwrap()
        .finish(summary(pod_startup()))
        .unwrap();
    let of = |prefix| {
        text(&format!(
            "out/{prefix}PodStartupLatency_PodStartupLatency_test_2024-07-29T19:29:52Z.json"
        ))
    };
    assert_eq!(of("Stateless"), STATELESS);
    assert_eq!(of(""), STATELESS);
    let stateful: Value = serde_json::from_str(&of("Stateful")).unwrap();
    let items = stateful["dataItems"].as_array().unwrap();
    assert_eq!(items.len(), 5, "no pod at all is five latencies of 0");
    assert!(items.iter().all(|item| item["data"]["Perc99"] == 0));
}

#[test]
fn a_file_holds_one_summary_and_says_so() {
    let failure = begin("stdout", json!({}))
        .unwrap()
        .finish(summary(pod_startup()))
        .unwrap_err();
    assert_eq!(failure.code, "several-summaries");
    for name in ["`PodStartupLatency_", "`StatelessPod", "`StatefulPod"] {
        assert!(failure.message.contains(name), "{}", failure.message);
    }
    assert!(failure.find_hint("next").unwrap().contains("summary="));
    assert_eq!(testing::sink("out"), None);

    let config = json!({ "summary": "StatelessPodStartupLatency_PodStartupLatency" });
    begin("file", config)
        .unwrap()
        .finish(summary(pod_startup()))
        .unwrap();
    assert_eq!(text("out"), STATELESS);

    let failure = begin("file", json!({ "summary": "Stateless" }))
        .unwrap()
        .finish(summary(pod_startup()))
        .unwrap_err();
    assert_eq!(failure.code, "no-such-summary");
    assert!(failure.message.contains("`StatefulPodStartupLatency_"));
}

#[test]
fn another_benchmark_has_one_summary_with_its_labels() {
    let mut whole = summary(vec![
        distribution("vmi_running", labels([("set", "a<b")]), &[5_000_000]),
        distribution("vmi_running", labels([("set", "c")]), &[7_000_001]),
        distribution("never", Vec::new(), &[]),
    ]);
    whole.plugins.push(wit::PluginUse {
        name: "vm_density".to_owned(),
        version: "0.1.0".to_owned(),
        sha256: String::new(),
        world: "benchmark".to_owned(),
    });
    whole.series.push(series("GET /x", &[1]));
    begin("directory", json!({}))
        .unwrap()
        .finish(whole)
        .unwrap();
    let text = text("out/vm_density_run-1_2024-07-29T19:29:52Z.json");
    assert!(text.contains("\"set\": \"a\\u003cb\""), "{text}");
    let data: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        data["dataItems"],
        json!([
            {
                "data": { "Perc50": 5, "Perc90": 5, "Perc99": 5 },
                "unit": "ms",
                "labels": { "Metric": "vmi_running", "set": "a<b" },
            },
            {
                "data": { "Perc50": 7.000001, "Perc90": 7.000001, "Perc99": 7.000001 },
                "unit": "ms",
                "labels": { "Metric": "vmi_running", "set": "c" },
            },
        ])
    );
}

#[test]
fn a_load_run_has_the_response_times_of_its_series() {
    let mut whole = summary(Vec::new());
    whole.labels = labels([("test", "nightly")]);
    whole.series = vec![series("LIST /pods", &[2_000_000]), series("GET /x", &[])];
    begin("directory", json!({}))
        .unwrap()
        .finish(whole)
        .unwrap();
    let text = text("out/GenericLatency_nightly_2024-07-29T19:29:52Z.json");
    let data: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(data["dataItems"].as_array().unwrap().len(), 1);
    assert_eq!(data["dataItems"][0]["labels"]["Metric"], "LIST /pods");
}

#[test]
fn nothing_measured_is_an_empty_directory_and_no_file() {
    begin("directory", json!({}))
        .unwrap()
        .finish(summary(Vec::new()))
        .unwrap();
    assert_eq!(testing::logs().len(), 1);
    let failure = begin("file", json!({}))
        .unwrap()
        .finish(summary(Vec::new()))
        .unwrap_err();
    assert_eq!(failure.code, "empty");
}

#[test]
fn values_without_quantiles_are_no_zeros() {
    let mut broken = of_pods("", "pod_startup", &[1]);
    broken.times.quantiles.clear();
    let failure = begin("file", json!({}))
        .unwrap()
        .finish(summary(vec![broken]))
        .unwrap_err();
    assert_eq!(failure.code, "invalid-report");
}

#[test]
fn a_url_is_refused_before_the_run() {
    assert_eq!(begin("http", json!({})).err().unwrap().code, "wrong-kind");
}
