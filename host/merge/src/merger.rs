//! Takes documents one at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use libdeflater::Decompressor;

use crate::{
    counts::Reader,
    decoded::Decoded,
    document::{self, Document, Histogram},
    error::{Problem, Refused},
    findings::Finding,
    merged::{self, Merged},
    open, raw,
    reference::Reference,
    sum::Sum,
};

/// Absent runners that are named each.
const NAMED: usize = 100;

/// How to merge.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Merge documents of different profiles too: other phases, settings, plugins.
    pub mixed: bool,
    /// Keep every exchange of documents that have them; memory grows with their number.
    pub raw_data: bool,
    /// Id of the merged run; by default it is made from those of its parts.
    pub run_id: Option<String>,
}

/// Adds up documents. Each is in the sum wholly or not at all.
pub struct Merger {
    options: Options,
    shared: Arc<Shared>,
    inflate: Decompressor,
    inflated: Vec<u8>,
    reader: Reader,
    decoded: Decoded,
    sum: Sum,
    absent: Vec<(String, String)>,
    absent_count: u64,
}

/// What mergers that work on parts of the same documents must agree on.
#[derive(Default)]
struct Shared {
    reference: OnceLock<Reference>,
    /// Who brought each run.
    runs: Mutex<HashMap<String, Arc<str>>>,
}

impl Shared {
    /// Notes the run, and those it was merged from, unless one of them is there already.
    fn take_run(&self, runner: &str, document: &Document<'_>) -> Result<(), Problem> {
        let inner = document
            .metrics
            .iter()
            .filter(|metric| metric.name.as_str() == "runner_sent")
            .filter_map(|metric| metric.labels.get("run"));
        let ids: Vec<&str> = std::iter::once(document.run_id.as_str())
            .chain(inner.map(document::Text::as_str))
            .collect();
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((run, first)) = ids.iter().find_map(|id| runs.get_key_value(*id)) {
            return Err(Problem::Twice {
                run: run.clone(),
                first: first.to_string(),
            });
        }
        let runner: Arc<str> = Arc::from(runner);
        for id in ids {
            runs.insert(id.to_owned(), Arc::clone(&runner));
        }
        Ok(())
    }
}

impl Merger {
    /// One that has merged nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self::sharing(options, Arc::default())
    }

    fn sharing(options: Options, shared: Arc<Shared>) -> Self {
        let raw_data = options.raw_data;
        Self {
            options,
            shared,
            inflate: Decompressor::new(),
            inflated: Vec::new(),
            reader: Reader::new(),
            decoded: Decoded::default(),
            sum: Sum::new(raw_data),
            absent: Vec::new(),
            absent_count: 0,
        }
    }

    /// Another one for a part of the same documents, on another thread; [`Merger::absorb`] brings the parts together.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self::sharing(self.options.clone(), Arc::clone(&self.shared))
    }

    /// How many documents were added.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.sum.documents
    }

    /// Adds a document: JSON as the `json` exporter writes it, or that compressed with gzip. `runner` names it in
    /// messages and in the result.
    ///
    /// # Errors
    /// It is damaged, of another version or profile, or the run was added already. The sum is as it was; who wants the
    /// others to count goes on, after [`Merger::skip`].
    pub fn add(&mut self, runner: &str, document: &[u8]) -> Result<(), Refused> {
        self.try_add(runner, document).map_err(|problem| Refused {
            name: runner.to_owned(),
            problem: Box::new(problem),
        })
    }

    fn try_add(&mut self, runner: &str, bytes: &[u8]) -> Result<(), Problem> {
        let text = open::open(bytes, &mut self.inflate, &mut self.inflated)?;
        let document = document::parse(text)?;
        check_sums(&document)?;
        self.decoded.clear();
        decode(&document, &mut self.reader, &mut self.decoded)?;
        let reference = self
            .shared
            .reference
            .get_or_init(|| Reference::new(runner, &document));
        if !self.options.mixed {
            reference.check(&document)?;
        }
        self.shared.take_run(runner, &document)?;
        self.sum.add(runner, &document, &self.decoded);
        Ok(())
    }

    /// Says in the result that a document was left out.
    pub fn skip(&mut self, refused: &Refused) {
        self.absent(&refused.name, &format!("left out: {}", refused.problem));
    }

    /// Says in the result that a runner has no document, and why.
    pub fn absent(&mut self, runner: &str, why: &str) {
        self.absent_count += 1;
        if self.absent.len() < NAMED {
            self.absent.push((runner.to_owned(), why.to_owned()));
        }
    }

    /// Adds what a sibling added up.
    pub fn absorb(&mut self, sibling: Self) {
        self.sum.absorb(sibling.sum);
        self.absent_count += sibling.absent_count;
        let room = NAMED.saturating_sub(self.absent.len());
        self.absent.extend(sibling.absent.into_iter().take(room));
    }

    /// The result; none when no document was added.
    #[must_use]
    pub fn finish(self) -> Option<Merged> {
        if self.sum.documents == 0 {
            return None;
        }
        let warning = |message| Finding {
            severity: "warning".to_owned(),
            code: "merge/absent".to_owned(),
            message,
        };
        let unnamed = self.absent_count - self.absent.len() as u64;
        let mut findings: Vec<Finding> = self
            .absent
            .into_iter()
            .map(|(runner, why)| warning(format!("{runner}: {why}")))
            .collect();
        if unnamed > 0 {
            findings.push(warning(format!("and {unnamed} more are missing")));
        }
        let is_incomplete = !findings.is_empty();
        Some(merged::merged(
            self.sum,
            self.options.run_id,
            findings,
            is_incomplete,
        ))
    }
}

/// The host writes the whole as the sum of its phases; a document in which it is not was cut or edited.
fn check_sums(document: &Document<'_>) -> Result<(), Problem> {
    let series = || document.phases.iter().flat_map(|phase| &phase.series);
    let sum = |of: fn(&document::Series<'_>) -> u64| series().map(of).fold(0, u64::saturating_add);
    for (what, of_phases, of_whole) in [
        ("sent", sum(|one| one.sent), document.overall.sent),
        ("failed", sum(|one| one.failed), document.overall.failed),
    ] {
        if of_phases != of_whole {
            return Err(Problem::Sums {
                what,
                of_phases,
                of_whole,
            });
        }
    }
    Ok(())
}

/// Decodes every histogram, so that nothing is added of a document of which one is damaged.
fn decode(
    document: &Document<'_>,
    reader: &mut Reader,
    decoded: &mut Decoded,
) -> Result<(), Problem> {
    let mut one = |times: &Histogram<'_>, is_needed: bool, place: &dyn Fn() -> String| {
        let read = match &times.hdr_v2_deflate_base64 {
            Some(text) => decoded.push(reader, text.as_str(), times.count),
            None if times.count == 0 || !is_needed => {
                decoded.push_empty();
                Ok(())
            }
            None => Err(format!("{} values, but no histogram of them", times.count)),
        };
        read.map_err(|why| Problem::Histogram {
            place: place(),
            why,
        })
    };
    for phase in &document.phases {
        for series in &phase.series {
            let place = |clock: &str| {
                format!(
                    "phase `{}`, series `{}`, {clock} time",
                    phase.name.as_str(),
                    series.name.as_str()
                )
            };
            one(&series.response_time, true, &|| place("response"))?;
            one(&series.service_time, true, &|| place("service"))?;
        }
        if let Some(raw) = &phase.raw {
            raw::check(raw, phase.series.len()).map_err(Problem::Damaged)?;
        }
    }
    for distribution in &document.distributions {
        let name = distribution.name.as_str();
        one(&distribution.times, true, &|| {
            format!("distribution `{name}`")
        })?;
    }
    for interval in document.intervals.iter().flatten() {
        for series in &interval.series {
            let place = || {
                format!(
                    "interval {} of `{}`",
                    interval.index,
                    interval.phase.as_str()
                )
            };
            one(&series.response_time, false, &place)?;
            one(&series.service_time, false, &place)?;
        }
    }
    Ok(())
}
