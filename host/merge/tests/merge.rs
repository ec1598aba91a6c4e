//! Documents in, sums out: what was split comes together as if it had never been apart, and what is damaged says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod support;

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use kperf_load::measure::{encode, quantile};
use kperf_merge::{Merged, Merger, Options, Problem, Series, Times, merge_all};
use serde_json::{Value, json};
use support::{Exchange, Random, Run, document, exchanges};

const START_US: u64 = 1_795_000_000_000_000;
const LENGTH_NS: u64 = 60_000_000_000;

fn of(id: &str, exchanges: &[Exchange]) -> Value {
    document(&Run {
        id,
        start_unix_us: START_US,
        length_ns: LENGTH_NS,
        exchanges,
        derived: false,
    })
}

fn bytes(document: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(document).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn merge(documents: &[Value]) -> Merged {
    let mut merger = Merger::new(Options::default());
    for (at, document) in documents.iter().enumerate() {
        merger
            .add(&format!("runner-{at}"), &bytes(document))
            .unwrap();
    }
    merger.finish().unwrap()
}

fn refused(documents: &[Value]) -> Problem {
    let mut merger = Merger::new(Options::default());
    let (last, before) = documents.split_last().unwrap();
    for (at, document) in before.iter().enumerate() {
        merger
            .add(&format!("runner-{at}"), &bytes(document))
            .unwrap();
    }
    let error = merger.add("last.json", &bytes(last)).unwrap_err();
    assert!(error.to_string().starts_with("last.json: "), "{error}");
    assert_eq!(merger.documents(), before.len() as u64);
    *error.problem
}

#[track_caller]
fn same_times(one: &Times, other: &Times) {
    assert_eq!(one.histogram, other.histogram);
    assert_eq!(encode(&one.histogram), encode(&other.histogram));
    for q in [0.0, 0.1, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0] {
        assert_eq!(
            quantile(&one.histogram, q),
            quantile(&other.histogram, q),
            "{q}"
        );
    }
    assert_eq!(one.histogram.mean(), other.histogram.mean());
    assert_eq!(one.histogram.stdev(), other.histogram.stdev());
    assert_eq!(
        (one.count, one.min_ns, one.max_ns),
        (other.count, other.min_ns, other.max_ns)
    );
}

#[track_caller]
fn same_series(one: &Series, other: &Series) {
    let counts = |series: &Series| {
        (
            series.sent,
            series.succeeded,
            series.failed,
            series.received_bytes,
        )
    };
    assert_eq!(counts(one), counts(other), "{}", one.name);
    let sorted = |mut pairs: Vec<(String, u64)>| {
        pairs.sort();
        pairs
    };
    assert_eq!(sorted(one.errors.clone()), sorted(other.errors.clone()));
    assert_eq!(sorted(one.counters.clone()), sorted(other.counters.clone()));
    same_times(&one.response_time, &other.response_time);
    same_times(&one.service_time, &other.service_time);
}

#[track_caller]
fn same_measurements(one: &Merged, other: &Merged) {
    same_series(&one.overall, &other.overall);
    assert_eq!(one.series.len(), other.series.len());
    for (ours, theirs) in one.series.iter().zip(&other.series) {
        assert_eq!(ours.name, theirs.name);
        same_series(ours, theirs);
    }
    assert_eq!(one.phases.len(), other.phases.len());
    for (ours, theirs) in one.phases.iter().zip(&other.phases) {
        same_series(&ours.overall, &theirs.overall);
        for (ours, theirs) in ours.series.iter().zip(&theirs.series) {
            same_series(ours, theirs);
        }
    }
}

fn metric(merged: &Merged, name: &str) -> f64 {
    let found = merged.metrics.iter().find(|metric| metric.name == name);
    found.unwrap_or_else(|| panic!("no {name}")).value
}

/// However the requests are dealt out, the merged report is that of one runner that had made them all.
#[test]
fn any_split_merges_to_the_whole() {
    let mut random = Random::new(11);
    for round in 0..6 {
        let count = 1 + random.below(4_000) as usize;
        let all = exchanges(&mut random, count);
        let whole = merge(&[of("whole", &all)]);
        let runners = 1 + random.below(9) as usize;
        let mut parts = vec![Vec::new(); runners];
        for exchange in &all {
            parts[random.below(runners as u64) as usize].push(*exchange);
        }
        let documents: Vec<Value> = parts
            .iter()
            .enumerate()
            .map(|(at, part)| {
                let mut document = of(&format!("run-{round}-{at}"), part);
                // What each runner was asked for is its own total; it must be the same for all.
                document["phases"][0]["settings"]["total"] = "1000".into();
                document
            })
            .collect();
        let merged = merge(&documents);
        same_measurements(&merged, &whole);
        assert_eq!(merged.overall.sent, count as u64);
        let sum: u64 = merged.runners.iter().map(|line| line.sent).sum();
        assert_eq!(sum, count as u64);
    }
}

#[test]
fn threads_order_and_compression_change_nothing() {
    let mut random = Random::new(5);
    let documents: Vec<Vec<u8>> = (0..23)
        .map(|at| {
            let part = exchanges(&mut random, 300);
            let text = bytes(&of(&format!("run-{at}"), &part));
            if at % 2 == 0 { gzip(&text) } else { text }
        })
        .collect();
    let with = |threads: usize, order: &[usize]| {
        let outcome = merge_all(
            Options::default(),
            order,
            threads,
            |at| format!("r{at}"),
            |at, buffer| {
                buffer.extend_from_slice(&documents[*at]);
                Ok(())
            },
        );
        assert!(outcome.refused.is_empty(), "{:?}", outcome.refused);
        outcome.merged.unwrap()
    };
    let forward: Vec<usize> = (0..23).collect();
    let backward: Vec<usize> = (0..23).rev().collect();
    let one = with(1, &forward);
    for (threads, order) in [(2, &forward), (7, &forward), (64, &forward), (3, &backward)] {
        let other = with(threads, order);
        same_measurements(&one, &other);
        assert_eq!(one.run_id, other.run_id);
        assert_eq!(other.runners.len(), 23);
        assert_eq!(other.findings.len(), one.findings.len());
    }
    assert_eq!(one.runners[3].name, "r3");
    assert_eq!(
        one.findings[0].message,
        "a closed loop: service time only (all 23)"
    );
}

#[test]
fn what_was_asked_for_adds_up_and_lengths_do_not() {
    let mut random = Random::new(3);
    let documents: Vec<Value> = (0..3)
        .map(|at| {
            let part = exchanges(&mut random, 100);
            document(&Run {
                id: &format!("run-{at}"),
                start_unix_us: START_US + at * 20_000,
                length_ns: LENGTH_NS - at * 1_000_000_000,
                exchanges: &part,
                derived: true,
            })
        })
        .collect();
    let merged = merge(&documents);
    let phase = &merged.phases[0];
    let setting = |name: &str| {
        let found = phase.settings.iter().find(|(key, _)| key == name);
        found.unwrap().1.clone()
    };
    assert_eq!(setting("rate"), "300");
    assert_eq!(setting("total"), "300");
    assert_eq!(setting("conns"), "30");
    assert_eq!(setting("runners"), "3");
    assert_eq!(setting("content-type"), "json");
    assert_eq!(phase.length_ns, LENGTH_NS);
    assert_eq!(merged.length_ns, LENGTH_NS);
    assert_eq!(phase.start_unix_us, START_US);
    assert!((metric(&merged, "start-skew") - 0.04).abs() < 1e-9);
    assert!((metric(&merged, "longest-runner") - 60.0).abs() < 1e-9);
    assert!((metric(&merged, "achieved-rate") - 5.0).abs() < 1e-9);
    assert_eq!(merged.runners[2].start_offset_ns, 40_000_000);
    let of_phase = |name: &str| {
        let found = phase.metrics.iter().find(|metric| metric.name == name);
        found.unwrap().clone()
    };
    assert!((of_phase("cpu").value - 300.0 * 2e-5).abs() < 1e-12);
    assert!((of_phase("cpu-per-request").value - 2e-5).abs() < 1e-12);
    assert_eq!(of_phase("send-lag-p99").labels[0].0, "runner");
    assert_eq!(merged.server, "https://10.0.0.1:443");
}

#[test]
fn runs_of_different_days_have_no_nights_in_their_rate() {
    let mut random = Random::new(4);
    let day_us = 86_400_000_000;
    let documents: Vec<Value> = (0..3)
        .map(|day| {
            let part = exchanges(&mut random, 600);
            document(&Run {
                id: &format!("day-{day}"),
                start_unix_us: START_US + day * day_us,
                length_ns: LENGTH_NS,
                exchanges: &part,
                derived: false,
            })
        })
        .collect();
    let merged = merge(&documents);
    assert_eq!(merged.length_ns, 3 * LENGTH_NS);
    assert!((metric(&merged, "achieved-rate") - 10.0).abs() < 1e-9);
    assert!(
        merged
            .findings
            .iter()
            .any(|finding| finding.code == "merge/apart")
    );
}

#[test]
fn missing_runners_are_named_and_make_the_verdict_suspect() {
    let mut random = Random::new(6);
    let part = exchanges(&mut random, 50);
    let mut merger = Merger::new(Options::default());
    merger.add("pod-0", &bytes(&of("a", &part))).unwrap();
    merger.absent("pod-1", "its container was killed (exit code 137)");
    let error = merger
        .add("pod-2", b"{\"schema\": \"kperf-host/rep")
        .unwrap_err();
    merger.skip(&error);
    let merged = merger.finish().unwrap();
    assert_eq!(merged.verdict, "suspect");
    assert_eq!(merged.overall.sent, 50);
    let said: Vec<&str> = merged
        .findings
        .iter()
        .map(|one| one.message.as_str())
        .collect();
    assert_eq!(said[0], "pod-1: its container was killed (exit code 137)");
    assert!(
        said[1].starts_with("pod-2: left out: is cut or damaged"),
        "{said:?}"
    );
}

#[test]
fn the_worst_verdict_and_end_count_and_say_whose_they_are() {
    let mut random = Random::new(7);
    let part = exchanges(&mut random, 50);
    let (mut one, mut two) = (of("a", &part), of("b", &part));
    one["verdict"] = "suspect".into();
    two["verdict"] = "invalid".into();
    two["ended"] = "interrupted".into();
    two["phases"][0]["ended"] = "interrupted".into();
    let merged = merge(&[of("c", &part), one, two]);
    assert_eq!(
        (merged.verdict.as_str(), merged.ended.as_str()),
        ("invalid", "interrupted")
    );
    let said: Vec<&str> = merged
        .findings
        .iter()
        .map(|one| one.message.as_str())
        .collect();
    assert_eq!(said[0], "the verdict `invalid` is that of runner-2");
    assert!(said[1].starts_with("interrupted: runner-2"), "{said:?}");
    assert_eq!(merged.phases[0].ended, "interrupted");
}

#[test]
fn raw_data_is_concatenated_in_the_order_exchanges_ended() {
    let mut random = Random::new(8);
    let with_raw = |id: &str, random: &mut Random, failure: &str| {
        let part = exchanges(random, 3);
        let mut document = of(id, &part);
        document["phases"][0]["raw"] = json!({
            "series": [2, 0, 1],
            "intended_unix_us": [random.below(100), random.below(100), 50],
            "response_ns": [random.below(99_999), 7, 8],
            "service_ns": [1, 2, 3],
            "failure": [0, 1, 0],
            "failures": [{"class": "http", "status": 429, "message": failure}],
        });
        document
    };
    let (one, two) = (
        with_raw("a", &mut random, ""),
        with_raw("b", &mut random, "other"),
    );
    let merged_with = |raw_data: bool, documents: &[&Value]| {
        let mut merger = Merger::new(Options {
            raw_data,
            ..Options::default()
        });
        for (at, document) in documents.iter().enumerate() {
            merger.add(&at.to_string(), &bytes(document)).unwrap();
        }
        merger.finish().unwrap()
    };
    let merged = merged_with(true, &[&one, &two]);
    let raw = merged.phases[0].raw.as_ref().unwrap();
    assert_eq!(raw.failures.len(), 2);
    assert_eq!(raw.series.len(), 6);
    let ends: Vec<u64> = raw
        .intended_unix_us
        .iter()
        .zip(&raw.response_ns)
        .map(|(intended, response)| intended * 1_000 + response)
        .collect();
    assert!(ends.is_sorted(), "{ends:?}");
    let mut failures = raw.failure.clone();
    failures.sort_unstable();
    assert_eq!(failures, [0, 0, 0, 0, 1, 2]);
    for (failure, series) in raw.failure.iter().zip(&raw.series) {
        assert_eq!(*failure > 0, *series == 0, "rows stay whole");
    }

    let not_asked = merged_with(false, &[&one, &two]);
    assert!(not_asked.phases[0].raw.is_none());
    assert!(
        not_asked
            .findings
            .iter()
            .any(|one| one.message.contains("--raw-data"))
    );
    let plain = of("c", &exchanges(&mut random, 3));
    let mixed = merged_with(true, &[&one, &plain]);
    assert!(mixed.phases[0].raw.is_none());
    assert!(
        mixed
            .findings
            .iter()
            .any(|one| one.code == "merge/raw-data")
    );
}

#[test]
fn intervals_of_the_same_second_come_together() {
    let mut random = Random::new(9);
    let with_intervals = |id: &str, random: &mut Random, count: u64| {
        let mut document = of(id, &exchanges(random, 30));
        let each = |index: u64| {
            let mut series = document["phases"][0]["series"][0].clone();
            for clock in ["response_time", "service_time"] {
                series[clock]
                    .as_object_mut()
                    .unwrap()
                    .remove("hdr_v2_deflate_base64");
            }
            json!({"phase": "load", "index": index, "start_unix_us": START_US + index * 1_000_000,
                "length_ns": 1_000_000_000_u64, "counters": {"sent": 10, "in_flight": 1}, "series": [series]})
        };
        let intervals: Vec<Value> = (0..count).map(each).collect();
        document["intervals"] = intervals.into();
        document["intervals_dropped"] = 0.into();
        document
    };
    let (one, two) = (
        with_intervals("a", &mut random, 2),
        with_intervals("b", &mut random, 3),
    );
    let merged = merge(&[one.clone(), two]);
    assert_eq!(merged.intervals.len(), 3);
    let first = &merged.intervals[0];
    assert_eq!(
        first.counters,
        [("in-flight".to_owned(), 2), ("sent".to_owned(), 20)]
    );
    let times = &first.series[0].response_time;
    assert!(times.histogram.is_empty() && times.count > 0 && times.max_ns >= times.min_ns);
    assert_eq!(merged.intervals[2].counters[1].1, 10);
    let without = of("c", &exchanges(&mut random, 30));
    assert!(merge(&[one, without]).intervals.is_empty());
}

#[test]
fn distributions_merge_and_keep_exact_extremes() {
    let mut random = Random::new(10);
    let with = |id: &str, random: &mut Random, min: u64| {
        let part = exchanges(random, 200);
        let mut document = of(id, &part);
        let mut times = document["phases"][0]["series"][0]["service_time"].clone();
        times["min_ns"] = min.into();
        document["distributions"] =
            json!([{"name": "pod_startup", "labels": {"set": "a"}, "times": times, "missing": 2}]);
        document["objects"] = json!([{"name": "pods", "api_version": "v1", "kind": "Pod", "namespaces": ["a", "a"],
            "names": ["x", "y"], "milestones": []}]);
        document
    };
    let merged = merge(&[
        with("a", &mut random, 123_457),
        with("b", &mut random, 123_456),
    ]);
    let one = &merged.distributions[0];
    assert_eq!((one.missing, one.times.min_ns), (4, 123_456));
    assert_eq!(one.times.histogram.len(), one.times.count);
    assert!(
        merged
            .findings
            .iter()
            .any(|one| one.code == "merge/objects" && one.message.starts_with("4 "))
    );
}

#[test]
fn what_does_not_belong_together_is_refused_with_the_reason() {
    let mut random = Random::new(12);
    let part = exchanges(&mut random, 20);
    let first = of("a", &part);
    let other = |change: &dyn Fn(&mut Value)| {
        let mut document = of("b", &part);
        change(&mut document);
        refused(&[first.clone(), document]).to_string()
    };
    for (said, change) in [
        (
            "which came with runner-0 already",
            &(|document: &mut Value| document["run_id"] = "a".into()) as &dyn Fn(&mut Value),
        ),
        ("rate = 200, in runner-0 it is 100", &|document| {
            document["phases"][0]["settings"]["rate"] = "200".into()
        }),
        ("content_type = protobuf", &|document| {
            document["phases"][0]["settings"]["content_type"] = "protobuf".into();
        }),
        (
            "ran other phases than runner-0: other instead of load",
            &|document| {
                document["phases"][0]["name"] = "other".into();
            },
        ),
        ("ran with plugin quorum_list 0.1.0 (ffff", &|document| {
            document["plugins"][0]["sha256"] = "f".repeat(64).into();
        }),
        (
            "is `kperf-host/report/v2`; this program merges `kperf-host/report/v1`",
            &|document| {
                document["schema"] = "kperf-host/report/v2".into();
                document["phases"] = "unlike v1".into();
            },
        ),
        (
            "its phases have 20 sent requests, the whole says 21",
            &|document| document["overall"]["sent"] = 21.into(),
        ),
        ("but no histogram of them", &|document| {
            let times = &mut document["phases"][0]["series"][0]["response_time"];
            times
                .as_object_mut()
                .unwrap()
                .remove("hdr_v2_deflate_base64");
        }),
        ("is cut or damaged: missing field `run_id`", &|document| {
            document.as_object_mut().unwrap().remove("run_id");
        }),
        ("(no `schema`)", &|document| {
            *document = json!({"kind": "List"})
        }),
        ("kperf's JSON, which has no histograms", &|document| {
            *document = json!({"perSpecResults": [], "aggregated": {}});
        }),
        ("is cut or damaged", &|document| *document = json!([1, 2])),
    ] {
        let text = other(change);
        assert!(text.contains(said), "`{said}` is not in `{text}`");
    }
}

#[test]
fn documents_of_different_profiles_merge_when_that_is_asked_for() {
    let mut random = Random::new(13);
    let part = exchanges(&mut random, 20);
    let mut other = of("b", &part);
    other["phases"][0]["name"] = "other".into();
    other["plugins"][0]["sha256"] = "f".repeat(64).into();
    let mut merger = Merger::new(Options {
        mixed: true,
        ..Options::default()
    });
    merger.add("a", &bytes(&of("a", &part))).unwrap();
    merger.add("b", &bytes(&other)).unwrap();
    let merged = merger.finish().unwrap();
    assert_eq!(merged.phases.len(), 2);
    assert_eq!(merged.plugins.len(), 2);
    assert_eq!(merged.series.len(), 3);
    assert_eq!(merged.overall.sent, 40);
}

#[test]
fn a_run_that_was_cut_short_still_counts() {
    let mut random = Random::new(14);
    let part = exchanges(&mut random, 20);
    let mut whole = of("a", &part);
    let mut second = whole["phases"][0].clone();
    second["name"] = "load-2".into();
    whole["phases"].as_array_mut().unwrap().push(second);
    whole["overall"]["sent"] = 40.into();
    whole["overall"]["failed"] = (whole["overall"]["failed"].as_u64().unwrap() * 2).into();
    let mut cut = of("b", &part);
    cut["ended"] = "interrupted".into();
    for order in [[&whole, &cut], [&cut, &whole]] {
        let merged = merge(&order.map(Clone::clone));
        assert_eq!(merged.overall.sent, 60);
        assert_eq!(merged.phases.len(), 2);
        assert_eq!(merged.ended, "interrupted");
    }
    let unfinished_but_completed = of("c", &part);
    assert!(matches!(
        refused(&[whole, unfinished_but_completed]),
        Problem::Phases { .. }
    ));
}

/// Whatever is cut or flipped: an error or a document, never a panic, and never a part of a document in the sum.
#[test]
fn damaged_documents_add_nothing() {
    let mut random = Random::new(15);
    let part = exchanges(&mut random, 40);
    let good = bytes(&of("good", &part));
    let plain = serde_json::to_vec(&of("bad", &part)).unwrap();
    let packed = gzip(&plain);
    let alone = merge(&[of("good", &part)]);
    let mut added = 0;
    for bytes in [&plain, &packed] {
        for round in 0..50 {
            let at = random.below(bytes.len() as u64) as usize;
            let mut damaged = bytes.clone();
            if random.below(2) == 0 {
                damaged.truncate(at);
            } else {
                damaged[at] ^= 1 << random.below(8);
            }
            let mut merger = Merger::new(Options::default());
            // A flipped bit in a number is another number; nothing in JSON tells.
            match merger.add("bad", &damaged) {
                Ok(()) => added += 1,
                Err(error) => {
                    assert_eq!(merger.documents(), 0, "{error}");
                    merger.add("good", &good).unwrap();
                    if round % 20 == 0 {
                        same_measurements(&merger.finish().unwrap(), &alone);
                    }
                }
            }
        }
    }
    assert!(
        added < 50,
        "most damage is seen: {added} of 100 went through"
    );
}

#[test]
fn empty_and_foreign_files_say_what_they_are() {
    for (bytes, said) in [
        (&b""[..], "is empty"),
        (b"  \n", "is empty"),
        (b"total: 5", "is cut or damaged"),
        (&[0x1f, 0x8b, 8, 0], "its gzip data ends or breaks"),
        (&[0xff, 0xfe, 0, 1], "is cut or damaged"),
    ] {
        let error = Merger::new(Options::default()).add("x", bytes).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    assert!(Merger::new(Options::default()).finish().is_none());
}
