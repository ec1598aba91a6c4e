//! What to send, and what became of it: the seam between whoever decides (a plugin, native code) and the engine.
//!
//! Shapes are declared once as [`Template`]s; requests then come as [`Batch`]es of columns and one byte
//! arena, so that nothing is allocated per request on its way in. The same words stand in the WIT
//! (`kperf:workload/requests`).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, uri::PathAndQuery};

/// A request shape. Its index in [`Source::templates`] is its id.
#[derive(Clone, Debug)]
pub struct Template {
    /// Name of the series this request is measured under.
    pub series: String,
    /// HTTP method.
    pub method: Method,
    /// Used when a request brings no path; without the target's path prefix.
    pub path: PathAndQuery,
    /// Headers of every request of this shape, besides those of the target.
    pub headers: HeaderMap,
    /// Used when a request brings no body.
    pub body: Bytes,
    /// How the exchange runs.
    pub kind: ExchangeKind,
    /// JSON pointers (RFC 6901) read from the answer for [`Source::observe`].
    pub capture: Vec<String>,
}

/// How an exchange runs and when it counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExchangeKind {
    /// One answer, drained to its end.
    #[default]
    Request,
    /// A watch that ends, as a success, at the bookmark that closes the initial events.
    WatchList,
    /// A watch held for a time, then cancelled by us, as a success. Measured to the response headers.
    Watch {
        /// How long to hold it.
        hold: Duration,
    },
}

/// Requests as columns. A column is empty (zero for every request) or has `count` elements.
/// [`Batch::check`] is called by the engine before anything is read from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Number of requests.
    pub count: u32,
    /// Index of the template.
    pub template: Vec<u32>,
    /// Bytes of `arena` that are this request's path; 0 = the template's.
    pub path_len: Vec<u32>,
    /// Bytes of `arena` that are this request's body; 0 = the template's.
    pub body_len: Vec<u32>,
    /// Opaque; comes back in [`Outcomes`].
    pub tag: Vec<u64>,
    /// Path then body of each request in order, used up exactly.
    pub arena: Vec<u8>,
    /// Nothing follows this batch.
    pub done: bool,
}

/// What became of earlier requests, as columns of `count` elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Number of requests.
    pub count: u32,
    /// Tags as the batch gave them.
    pub tag: Vec<u64>,
    /// Template ids.
    pub template: Vec<u32>,
    /// HTTP status; 0 = no answer.
    pub status: Vec<u32>,
    /// Actual send to last byte, nanoseconds.
    pub service_ns: Vec<u64>,
    /// Bytes of the answer's body.
    pub size: Vec<u64>,
    /// Bytes of `arena` with the captured values of this request, a JSON array; 0 = none.
    pub capture_len: Vec<u32>,
    /// Captured values back to back.
    pub arena: Vec<u8>,
}

/// Why a source could not go on. The message is complete: it names plugin, version, phase and limit.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct SourceError {
    /// Slug, for example `trap`, `deadline`, `memory`, `malformed-batch`, `invalid-config`.
    pub code: String,
    /// One sentence for the user, and what to do next.
    pub message: String,
}

/// Where a source lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardContext {
    /// Number of the shard, from 0.
    pub shard: u32,
    /// How many shards share the phase.
    pub shards: u32,
    /// Seed of the run, below 2^53.
    pub seed: u64,
}

/// A stream of requests, owned and called by one shard's thread.
pub trait Source {
    /// The shapes; fixed for the life of the source.
    fn templates(&self) -> &[Template];

    /// Up to `limit` requests. An empty batch that is not `done` means "ask again after the next outcomes".
    ///
    /// # Errors
    /// Ends the phase; what was measured is kept.
    fn next(&mut self, limit: u32) -> Result<Batch, SourceError>;

    /// Whether [`Source::observe`] wants to be called.
    fn wants_outcomes(&self) -> bool {
        false
    }

    /// Hears what came back; batched, never between an answer and the next send.
    ///
    /// # Errors
    /// Ends the phase; what was measured is kept.
    fn observe(&mut self, outcomes: Outcomes) -> Result<(), SourceError> {
        let _ = outcomes;
        Ok(())
    }

    /// Whether [`Source::schedule`] owns the arrival times; the plan's pace is then ignored.
    fn owns_arrivals(&self) -> bool {
        false
    }

    /// Intended send times of the next requests in nanoseconds from the phase's start, ascending, at most `limit`.
    ///
    /// # Errors
    /// Ends the phase; what was measured is kept.
    fn schedule(&mut self, limit: u32) -> Result<Vec<u64>, SourceError> {
        let _ = limit;
        Ok(Vec::new())
    }
}

/// Makes the source of one shard; called on that shard's thread before the phase starts.
pub type SourceFactory =
    Arc<dyn Fn(ShardContext) -> Result<Box<dyn Source>, SourceError> + Send + Sync>;

impl Batch {
    /// Checks everything the engine relies on: column lengths, template indices, use of the arena,
    /// and that every path is one.
    ///
    /// # Errors
    /// `malformed-batch`, naming the request and the rule it breaks.
    pub fn check(&self, templates: &[Template]) -> Result<(), SourceError> {
        self.check_columns(templates.len())?;
        if self.path_len.is_empty() {
            return Ok(());
        }
        let mut start = 0;
        for row in 0..self.count as usize {
            let at = |column: &[u32]| column.get(row).copied().unwrap_or_default() as usize;
            let end = start + at(&self.path_len);
            if end > start {
                let path = self.arena.get(start..end).unwrap_or_default();
                parse_path(row, Bytes::copy_from_slice(path))?;
            }
            start = end + at(&self.body_len);
        }
        Ok(())
    }

    /// Whether no more came than was asked for.
    pub(crate) fn check_limit(&self, limit: u32) -> Result<(), SourceError> {
        if self.count > limit {
            return Err(malformed(format!(
                "{} requests came, but at most {limit} were asked for",
                self.count
            )));
        }
        Ok(())
    }

    /// Everything but the text of the paths.
    pub(crate) fn check_columns(&self, templates: usize) -> Result<(), SourceError> {
        let count = self.count as usize;
        for (name, length) in [
            ("template", self.template.len()),
            ("path-len", self.path_len.len()),
            ("body-len", self.body_len.len()),
            ("tag", self.tag.len()),
        ] {
            if length != 0 && length != count {
                return Err(malformed(format!(
                    "column {name} has {length} elements for {count} requests; it must be empty or have {count}"
                )));
            }
        }
        if count > 0 && templates == 0 {
            return Err(malformed("there are requests but no templates".to_owned()));
        }
        for (row, &template) in self.template.iter().enumerate() {
            if template as usize >= templates {
                return Err(malformed(format!(
                    "request {row} names template {template}, but there are only {templates}"
                )));
            }
        }
        let used: u64 = self
            .path_len
            .iter()
            .chain(&self.body_len)
            .map(|&length| u64::from(length))
            .sum();
        if used != self.arena.len() as u64 {
            return Err(malformed(format!(
                "paths and bodies take {used} bytes of the arena, but it has {}; it must be used up exactly",
                self.arena.len()
            )));
        }
        Ok(())
    }
}

/// A request's own path.
pub(crate) fn parse_path(row: usize, bytes: Bytes) -> Result<PathAndQuery, SourceError> {
    if bytes.first() != Some(&b'/') {
        let start = String::from_utf8_lossy(bytes.get(..bytes.len().min(32)).unwrap_or_default())
            .into_owned();
        return Err(malformed(format!(
            "the path of request {row} starts with {start:?}; it must start with '/'"
        )));
    }
    PathAndQuery::from_maybe_shared(bytes)
        .map_err(|error| malformed(format!("the path of request {row} is not one: {error}")))
}

fn malformed(what: String) -> SourceError {
    SourceError {
        code: "malformed-batch".to_owned(),
        message: format!("malformed batch: {what}"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    /// A GET of `/name`.
    pub(crate) fn template(name: &str) -> Template {
        Template {
            series: name.to_owned(),
            method: Method::GET,
            path: PathAndQuery::try_from(format!("/{name}")).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            kind: ExchangeKind::Request,
            capture: Vec::new(),
        }
    }

    /// A source of a fixed number of plain requests.
    pub(crate) struct Fixed {
        templates: Vec<Template>,
        left: u64,
        reactive: bool,
        heard: Rc<RefCell<Vec<Outcomes>>>,
        times: Option<Vec<u64>>,
    }

    impl Fixed {
        pub(crate) fn new(templates: Vec<Template>, count: u64) -> Self {
            Self {
                templates,
                left: count,
                reactive: false,
                heard: Rc::default(),
                times: None,
            }
        }
        pub(crate) fn reactive(mut self) -> Self {
            self.reactive = true;
            self
        }
        pub(crate) fn scheduled(mut self, times: Vec<u64>) -> Self {
            self.times = Some(times);
            self
        }
        pub(crate) fn heard(&self) -> Rc<RefCell<Vec<Outcomes>>> {
            Rc::clone(&self.heard)
        }
    }

    impl Source for Fixed {
        fn templates(&self) -> &[Template] {
            &self.templates
        }
        fn next(&mut self, limit: u32) -> Result<Batch, SourceError> {
            let count = u64::from(limit).min(self.left);
            self.left -= count;
            Ok(Batch {
                count: count as u32,
                template: vec![0; count as usize],
                done: self.left == 0,
                ..Batch::default()
            })
        }
        fn wants_outcomes(&self) -> bool {
            self.reactive
        }
        fn observe(&mut self, outcomes: Outcomes) -> Result<(), SourceError> {
            self.heard.borrow_mut().push(outcomes);
            Ok(())
        }
        fn owns_arrivals(&self) -> bool {
            self.times.is_some()
        }
        fn schedule(&mut self, _: u32) -> Result<Vec<u64>, SourceError> {
            Ok(self.times.as_mut().map(std::mem::take).unwrap_or_default())
        }
    }

    fn check(batch: Batch) -> String {
        match batch.check(&[template("a"), template("b")]) {
            Ok(()) => "ok".to_owned(),
            Err(error) => {
                assert_eq!(error.code, "malformed-batch");
                error.message
            }
        }
    }

    #[test]
    fn lies_of_a_batch_are_found() {
        let good = Batch {
            count: 2,
            template: vec![0, 1],
            path_len: vec![2, 0],
            body_len: vec![1, 3],
            tag: vec![],
            arena: b"/xBCCC".to_vec(),
            done: false,
        };
        assert_eq!(check(good.clone()), "ok");
        assert_eq!(check(Batch::default()), "ok");
        let broken = |change: fn(&mut Batch)| {
            let mut batch = good.clone();
            change(&mut batch);
            check(batch)
        };
        assert!(broken(|b| b.tag = vec![1]).contains("column tag has 1 elements for 2"));
        assert!(broken(|b| b.template = vec![0, 2]).contains("template 2"));
        assert!(broken(|b| b.arena.push(0)).contains("take 6 bytes of the arena, but it has 7"));
        assert!(broken(|b| b.body_len = vec![u32::MAX; 2]).contains("used up exactly"));
        assert!(broken(|b| b.arena[0] = b'x').contains("must start with '/'"));
        assert!(broken(|b| b.arena[1] = b' ').contains("is not one"));
        assert!(broken(|b| b.count = u32::MAX).contains("column template"));
    }
}
