//! What kperf's `bench` prints: `{description, loadSpec, result, info}`.
//!
//! Enters: what the run told of itself, and its load phases. Leaves: one JSON document on a file or standard output.
//! `result` is written by the exporter `kperf_json`, so that there is one place that knows kperf's numbers; changes that
//! a benchmark made beside its load are no part of it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, anyhow};
use kperf_cluster::server_metrics::Scraper;
use kperf_runtime::{
    BeginContext, BoxFuture, Delivery, Failure, Output, Plugin, Receipt, Sinks, failure,
    report as doc,
};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::reported::{Told, apart};
use crate::sink::{Declared, Destination};

/// Whether, and how, kperf's result is written besides the other outputs.
pub struct KperfResult {
    /// The exporter `kperf_json`.
    pub exporter: Arc<Plugin>,
    /// A file or standard output.
    pub destination: Destination,
    /// Where runners may go, by label of the nodes; shown as it was asked for.
    pub node_affinity: BTreeMap<String, Vec<String>>,
    /// Whether the other outputs get every exchange too.
    pub raw_data: bool,
}

/// What the host says in `info`.
const APISERVER: &str = "apiserver";

/// Cores of each instance of the API server, by its address; none when they could not be read.
pub(super) type Cores = Option<BTreeMap<String, u32>>;

/// Asks every instance.
pub(super) async fn cores(scraper: &Scraper) -> Cores {
    let known: BTreeMap<String, u32> = scraper
        .scrape()
        .await
        .cores()
        .into_iter()
        .filter_map(|(instance, cores)| {
            let address = instance
                .parse::<SocketAddr>()
                .map_or(instance, |address| address.ip().to_string());
            Some((address, cores?))
        })
        .collect();
    (!known.is_empty()).then_some(known)
}

impl KperfResult {
    /// Writes the document. `loads` is the report of the load phases alone.
    pub(super) async fn write(
        &self,
        loads: doc::Summary,
        told: &Told,
        cores: (&Cores, &Cores),
    ) -> anyhow::Result<()> {
        let result = self.result(loads).await?;
        let text = document(
            &told.description,
            &self.load_spec(told),
            &result,
            &info(told, cores),
        );
        let sink = Declared::new(self.destination.clone());
        let mut output = sink
            .open(Declared::NAME, "")
            .map_err(|failure| anyhow!("{}: {}", self.destination, failure.message))?;
        output
            .write(text.as_bytes())
            .and_then(|()| output.finish())
            .map_err(|failure| anyhow!("{}: {}", self.destination, failure.message))
    }

    /// kperf's report of a runner group, as text.
    async fn result(&self, loads: doc::Summary) -> anyhow::Result<String> {
        let config = self
            .exporter
            .resolve_config(Some(json!({"format": "group"})))?;
        let context = BeginContext {
            run_id: loads.run_id.clone(),
            sink: Declared::NAME.to_owned(),
            sink_kind: "stdout".to_owned(),
            labels: Vec::new(),
        };
        let kept = Arc::new(Kept::default());
        let mut exporter = self
            .exporter
            .open_exporter(context, &config, Arc::clone(&kept) as Arc<dyn Sinks>)
            .await?;
        exporter.finish(loads).await?;
        let bytes = std::mem::take(&mut *kept.0.lock());
        String::from_utf8(bytes).context("the exporter wrote no text")
    }

    /// What was asked for, as a runner group. A benchmark of several loads has a list of them, one without any null.
    fn load_spec(&self, told: &Told) -> Value {
        let mut specs: Vec<Value> = told
            .loads
            .iter()
            .map(|load| {
                let mut spec = Map::new();
                spec.insert("count".to_owned(), load.runners.into());
                spec.insert("loadProfile".to_owned(), load.profile.clone());
                if !self.node_affinity.is_empty() {
                    spec.insert("nodeAffinity".to_owned(), json!(self.node_affinity));
                }
                Value::Object(spec)
            })
            .collect();
        match specs.len() {
            0 => Value::Null,
            1 => specs.remove(0),
            _ => Value::Array(specs),
        }
    }
}

fn info(told: &Told, (before, after): (&Cores, &Cores)) -> Value {
    let mut info: Map<String, Value> = told
        .facts
        .iter()
        .map(|(name, fact)| (apart(name, name == APISERVER), fact.clone()))
        .collect();
    info.insert(
        APISERVER.to_owned(),
        json!({"cores": {"before": before, "after": after}}),
    );
    if !told.runners.is_empty() {
        let runners: Vec<Value> = told
            .runners
            .iter()
            .map(|one| {
                json!({
                    "load": one.load, "place": one.place, "count": one.count,
                    "reported": one.reported, "startSkewSeconds": one.start_skew_seconds,
                })
            })
            .collect();
        info.insert("runners".to_owned(), runners.into());
    }
    Value::Object(info)
}

/// kperf's order of keys, and its indentation.
fn document(description: &str, load_spec: &Value, result: &str, info: &Value) -> String {
    let indented = |text: &str| text.trim_end().replace('\n', "\n  ");
    let parts = [
        ("description", format!("{:#}", Value::from(description))),
        ("loadSpec", indented(&format!("{load_spec:#}"))),
        ("result", indented(result)),
        ("info", indented(&format!("{info:#}"))),
    ];
    let lines: Vec<String> = parts
        .iter()
        .map(|(key, value)| format!("  \"{key}\": {value}"))
        .collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// A destination in memory; what was finished last is in it.
#[derive(Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

struct Writing {
    bytes: Vec<u8>,
    into: Arc<Mutex<Vec<u8>>>,
}

impl Sinks for Kept {
    fn open(&self, _: &str, _: &str) -> Result<Box<dyn Output>, Failure> {
        Ok(Box::new(Writing {
            bytes: Vec::new(),
            into: Arc::clone(&self.0),
        }))
    }

    fn send<'a>(&'a self, _: &'a str, _: Delivery) -> BoxFuture<'a, Result<Receipt, Failure>> {
        Box::pin(async { Err(failure("wrong-kind", "this is no URL")) })
    }
}

impl Output for Writing {
    fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        *self.into.lock() = self.bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_json_in_kperfs_order() {
        let told = Told {
            description: "a \"quoted\" text".to_owned(),
            facts: vec![
                ("interval".to_owned(), json!("10s")),
                ("apiserver".to_owned(), json!("mine")),
            ],
            loads: Vec::new(),
            runners: Vec::new(),
        };
        let before = Some(BTreeMap::from([("10.0.0.1".to_owned(), 8)]));
        let text = document(
            &told.description,
            &json!({"count": 10}),
            "{\n  \"total\": 7\n}\n",
            &info(&told, (&before, &None)),
        );
        assert!(
            text.starts_with("{\n  \"description\": \"a \\\"quoted\\\" text\",\n  \"loadSpec\": {\n    \"count\": 10\n  },\n  \"result\": {\n    \"total\": 7\n  },\n"),
            "{text}"
        );
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["info"]["interval"], "10s");
        assert_eq!(value["info"]["benchmark/apiserver"], "mine");
        assert_eq!(value["info"]["apiserver"]["cores"]["before"]["10.0.0.1"], 8);
        assert_eq!(value["info"]["apiserver"]["cores"]["after"], Value::Null);
    }
}
