//! Opening a generator in a test, and reading its batches back.

use crate::bindings::kperf::workload::requests as wit;
use crate::failure::{Failure, Label};
use crate::generator::{
    Generator, OpenContext, ReactiveGenerator, ReplayGenerator, Source, Template, TemplateId,
};

/// A context: seed 1, shard 0 of 1, a deadline of one minute, `run-id` = `test-run`. Change what matters.
pub fn context() -> OpenContext {
    OpenContext {
        seed: 1,
        shard: 0,
        shards: 1,
        deadline_ms: 60_000,
        labels: vec![Label {
            key: "run-id".to_owned(),
            value: "test-run".to_owned(),
        }],
    }
}

/// Opens a generator with [`context`] and a configuration, as the host does.
pub fn open<G: Generator>(config: serde_json::Value) -> Result<Opened<G>, Failure> {
    open_with(&context(), config)
}

/// Opens a generator as the host does.
pub fn open_with<G: Generator>(
    context: &OpenContext,
    config: serde_json::Value,
) -> Result<Opened<G>, Failure> {
    let (source, templates) = Source::open(context, &config.to_string())?;
    Ok(Opened { templates, source })
}

/// An opened generator.
pub struct Opened<G> {
    /// What it declared.
    pub templates: Vec<Template>,
    source: Source<G>,
}

/// A request as the host would send it: what it brings itself, and its template's for the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The template's number.
    pub template: TemplateId,
    /// Name of the series.
    pub series: String,
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Body, lossily as text.
    pub body: String,
    /// The tag.
    pub tag: u64,
}

impl<G: Generator> Opened<G> {
    /// The next requests, at most `limit`, and whether the generator is done.
    pub fn next(&self, limit: u32) -> Result<(Vec<Request>, bool), Failure> {
        let batch = self.source.next_batch(limit)?;
        let mut rest = batch.arena.as_slice();
        let mut cut = |column: &[u32], index: usize| {
            let length = column.get(index).map_or(0, |&length| length as usize);
            let (part, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(part)
        };
        let mut requests = Vec::new();
        for index in 0..batch.count as usize {
            let template = batch.template.get(index).copied().unwrap_or(0);
            let parts = (|| {
                let path = cut(&batch.path_len, index)?;
                let body = cut(&batch.body_len, index)?;
                Some((self.templates.get(template as usize)?, path, body))
            })();
            let Some((shape, path, body)) = parts else {
                return Err(Failure::new(
                    "bad-batch",
                    format!("request {index} does not fit"),
                ));
            };
            let or = |own: &[u8], shared: &[u8]| {
                let bytes = if own.is_empty() { shared } else { own };
                String::from_utf8_lossy(bytes).into_owned()
            };
            requests.push(Request {
                template: TemplateId(template),
                series: shape.series.clone(),
                method: shape.method.clone(),
                path: or(path, shape.path.as_bytes()),
                body: or(body, &shape.body),
                tag: batch.tag.get(index).copied().unwrap_or(0),
            });
        }
        if !rest.is_empty() {
            return Err(Failure::new(
                "bad-batch",
                format!("{} bytes are left over", rest.len()),
            ));
        }
        Ok((requests, batch.done))
    }
}

impl<G: ReactiveGenerator> Opened<G> {
    /// Tells the generator what became of requests; status 0 means no answer.
    pub fn observe(&self, outcomes: &[(&Request, u32)]) {
        self.source.observe_outcomes(wit::Outcomes {
            count: u32::try_from(outcomes.len()).unwrap_or(u32::MAX),
            tag: outcomes.iter().map(|(request, _)| request.tag).collect(),
            template: outcomes
                .iter()
                .map(|(request, _)| request.template.0)
                .collect(),
            status: outcomes.iter().map(|&(_, status)| status).collect(),
            service_ns: vec![1_000_000; outcomes.len()],
            size: Vec::new(),
            capture_len: Vec::new(),
            arena: Vec::new(),
        });
    }
}

impl<G: ReplayGenerator> Opened<G> {
    /// The next arrival times.
    pub fn schedule(&self, limit: u32) -> Result<Vec<u64>, Failure> {
        self.source.next_arrivals(limit)
    }
}
