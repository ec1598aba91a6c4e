use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use kperf_runtime::{
    BeginContext, BoxFuture, Delivery, Exporter, Failure, Limits, Output, Phase, PluginError,
    Receipt, Sinks, failure,
    report::{Histogram, Interval, Series, Summary},
};
use serde_json::json;

use crate::components::{limits, load};

/// One destination, `out`, that keeps at most 1 MiB and answers with a large body.
#[derive(Default)]
struct OneSink {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    written: Vec<u8>,
    finished: bool,
    dropped: u32,
}

struct OneOutput(Arc<Mutex<Kept>>);

impl Output for OneOutput {
    fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        let mut kept = self.0.lock().unwrap();
        if kept.written.len() + chunk.len() > 1 << 20 {
            return Err(failure("io", "no space left"));
        }
        kept.written.extend_from_slice(chunk);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        self.0.lock().unwrap().finished = true;
        Ok(())
    }
}

impl Drop for OneOutput {
    fn drop(&mut self) {
        self.0.lock().unwrap().dropped += 1;
    }
}

impl Sinks for OneSink {
    fn open(&self, name: &str, _file: &str) -> Result<Box<dyn Output>, Failure> {
        if name == "out" {
            Ok(Box::new(OneOutput(Arc::clone(&self.kept))))
        } else {
            Err(failure("no-such-sink", format!("`{name}` is not declared")))
        }
    }

    fn send<'a>(
        &'a self,
        _name: &'a str,
        delivery: Delivery,
    ) -> BoxFuture<'a, Result<Receipt, Failure>> {
        Box::pin(async move {
            if delivery.body == b"never answered" {
                pending::<()>().await;
            }
            Ok(Receipt {
                status: 202,
                body: vec![b'x'; 1 << 20],
            })
        })
    }
}

fn histogram() -> Histogram {
    Histogram {
        count: 0,
        min_ns: 0,
        max_ns: 0,
        mean_ns: 0.0,
        stddev_ns: 0.0,
        quantiles: Vec::new(),
        hdr_v2_deflate: Vec::new(),
    }
}

fn series() -> Series {
    Series {
        name: "all".into(),
        labels: Vec::new(),
        response_time: histogram(),
        service_time: histogram(),
        sent: 1000,
        succeeded: 1000,
        failed: 0,
        received_bytes: 0,
        errors: Vec::new(),
        counters: Vec::new(),
    }
}

fn summary() -> Summary {
    Summary {
        run_id: "r1".into(),
        host_version: "0.1.0".into(),
        description: String::new(),
        labels: Vec::new(),
        start_unix_us: 0,
        length_ns: 0,
        server: String::new(),
        environment: Vec::new(),
        plugins: Vec::new(),
        phases: Vec::new(),
        overall: series(),
        series: Vec::new(),
        metrics: Vec::new(),
        distributions: Vec::new(),
        objects: Vec::new(),
        thresholds: Vec::new(),
        verdict: "certified".into(),
        findings: Vec::new(),
        ended: "completed".into(),
    }
}

fn interval() -> Interval {
    Interval {
        phase: "p".into(),
        index: 0,
        start_unix_us: 0,
        length_ns: 1,
        series: vec![series()],
        counters: Vec::new(),
    }
}

async fn begin(
    limits: Limits,
    misbehave: &str,
) -> (Result<Exporter, PluginError>, Arc<Mutex<Kept>>) {
    let sinks = OneSink::default();
    let kept = Arc::clone(&sinks.kept);
    let plugin = load("exporter", limits);
    let context = BeginContext {
        run_id: "r1".into(),
        sink: "out".into(),
        sink_kind: "file".into(),
        labels: Vec::new(),
    };
    let config = plugin
        .resolve_config(Some(json!({"misbehave": misbehave})))
        .unwrap();
    let exporter = plugin
        .open_exporter(context, &config, Arc::new(sinks))
        .await;
    (exporter, kept)
}

fn quick() -> Limits {
    Limits {
        exporter_call: Duration::from_secs(1),
        ..limits()
    }
}

fn assert_says(error: &PluginError, phase: Phase, code: &str, needles: &[&str]) {
    assert_eq!(error.code(), code, "{error}");
    assert_eq!(error.phase(), Some(phase), "{error}");
    let said = error.to_string();
    assert!(
        said.starts_with("plugin hostile-exporter 0.1.0 (exporter, sha256 "),
        "{said}"
    );
    for needle in needles {
        assert!(said.contains(needle), "`{said}` lacks `{needle}`");
    }
}

async fn finish_fails(limits: Limits, misbehave: &str) -> (PluginError, Arc<Mutex<Kept>>) {
    let (exporter, kept) = begin(limits, misbehave).await;
    let mut exporter = exporter.unwrap();
    let error = exporter.finish(summary()).await.unwrap_err();
    drop(exporter);
    (error, kept)
}

#[tokio::test]
async fn a_plain_exporter_writes_what_it_was_given() {
    let (exporter, kept) = begin(limits(), "no").await;
    let mut exporter = exporter.unwrap();
    exporter.intervals(vec![interval()]).await.unwrap();
    exporter.finish(summary()).await.unwrap();
    let kept = kept.lock().unwrap();
    assert_eq!(kept.written, b"run r1, 1000 sent\n");
    assert!(kept.finished);
}

#[tokio::test]
async fn an_undeclared_sink_is_the_plugins_failure() {
    let (exporter, _) = begin(limits(), "undeclared-sink").await;
    let error = exporter.unwrap_err();
    assert_says(
        &error,
        Phase::Begin,
        "failure",
        &["`/etc/passwd` is not declared", "[no-such-sink]"],
    );
    assert_eq!(error.details().plugin_code.as_deref(), Some("no-such-sink"));
}

#[tokio::test]
async fn a_failure_leaves_the_exporter_usable() {
    let (exporter, kept) = begin(limits(), "intervals-fail-once").await;
    let mut exporter = exporter.unwrap();
    let error = exporter.intervals(vec![interval()]).await.unwrap_err();
    assert_says(&error, Phase::Intervals, "failure", &["not this one"]);
    exporter
        .intervals(vec![interval(), interval()])
        .await
        .unwrap();
    exporter.finish(summary()).await.unwrap();
    assert!(kept.lock().unwrap().finished);
}

#[tokio::test]
async fn traps_in_finish_spend_the_instance() {
    let (exporter, _) = begin(limits(), "trap").await;
    let mut exporter = exporter.unwrap();
    let error = exporter.finish(summary()).await.unwrap_err();
    assert_says(&error, Phase::Finish, "trap", &["gave up"]);
    let again = exporter.finish(summary()).await.unwrap_err();
    assert_eq!(error.to_string(), again.to_string());
    let (error, _) = finish_fails(limits(), "panic").await;
    assert_says(&error, Phase::Finish, "trap", &["no paper"]);
}

#[tokio::test]
async fn loops_end_at_the_wall_clock() {
    let (exporter, _) = begin(quick(), "begin-loop").await;
    let error = exporter.unwrap_err();
    assert_says(&error, Phase::Begin, "deadline", &["limit of 1000 ms"]);
    let (error, _) = finish_fails(quick(), "loop").await;
    assert_says(&error, Phase::Finish, "deadline", &["limit of 1000 ms"]);
}

#[tokio::test]
async fn waiting_for_a_sink_counts_towards_the_deadline() {
    let (exporter, _) = begin(quick(), "wait-endlessly").await;
    let mut exporter = exporter.unwrap();
    let error = exporter.finish(summary()).await.unwrap_err();
    assert_says(&error, Phase::Finish, "deadline", &["limit of 1000 ms"]);
    // The instance was left in the middle of a call.
    let again = exporter.intervals(Vec::new()).await.unwrap_err();
    assert_eq!(again.code(), "deadline");
}

#[tokio::test]
async fn endless_writing_ends_where_the_sink_says_so() {
    let (error, kept) = finish_fails(limits(), "write-endlessly").await;
    assert_says(&error, Phase::Finish, "failure", &["no space left"]);
    let kept = kept.lock().unwrap();
    assert!(!kept.finished && kept.dropped == 1);
}

#[tokio::test]
async fn chunks_bodies_and_outputs_are_bounded() {
    let cases = [
        (
            "huge-chunk",
            "chunk of 1048577 bytes is above the limit of 1048576",
        ),
        ("huge-body", "above the limit of 33554432"),
        ("open-endlessly", "16 outputs are open"),
        ("write-after-finish", "the output is finished"),
        ("big-receipt", "65536 bytes, status 202"),
    ];
    for (misbehave, said) in cases {
        let (error, _) = finish_fails(limits(), misbehave).await;
        assert_says(&error, Phase::Finish, "failure", &[said]);
    }
    let roomy = Limits {
        memory_bytes: 128 << 20,
        ..limits()
    };
    let (error, _) = finish_fails(roomy, "flood").await;
    assert_says(
        &error,
        Phase::Finish,
        "too-much-data",
        &["more than 34 MiB"],
    );
}

#[tokio::test]
async fn outputs_of_a_dropped_exporter_are_dropped() {
    let (_, kept) = finish_fails(limits(), "open-endlessly").await;
    let kept = kept.lock().unwrap();
    assert_eq!(kept.dropped, 16);
    assert!(!kept.finished);
}

#[tokio::test]
async fn an_exporter_does_not_generate() {
    let error = load("exporter", limits())
        .open_generator(kperf_runtime::OpenContext::default(), &json!({}))
        .unwrap_err();
    assert_says(&error, Phase::Open, "wrong-world", &["not a generator"]);
}
