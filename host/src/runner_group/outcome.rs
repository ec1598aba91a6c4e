//! What came of a group: one report, and who is missing in it.

use anyhow::{Context as _, anyhow};
use kperf_merge::{Merger, Options};
use kperf_runners::{End, Plan, Runner, Start};

use crate::{
    exit::{Exit, Failed, OrExit as _},
    merge::{self, LINES},
    threshold::ThresholdSpec,
};

/// Why a runner is missing: its name, where it ran, what is known.
pub(super) type Why = (String, String, String);

/// One runner of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// From 0.
    pub index: u32,
    /// Of its pod or process; by group and number if it never said a word.
    pub name: String,
    /// Where it ran.
    pub node: String,
    /// Why it has no report; none if it has one.
    pub missing: Option<String>,
}

/// What came of a group.
#[derive(Debug)]
pub struct Outcome {
    /// What its runners agreed on beforehand.
    pub plan: Plan,
    /// The start they agreed on; none if they never did.
    pub start: Option<Start>,
    /// All reports merged; none if there is not a single one.
    pub report: Option<merge::Report>,
    /// All runners, in their order.
    pub lines: Vec<Line>,
}

impl Outcome {
    /// Runners without a report.
    pub fn missing(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.missing.is_some())
    }

    /// The report.
    ///
    /// # Errors
    /// There is none; why, for each runner.
    pub fn into_report(self) -> Result<merge::Report, Failed> {
        if let Some(report) = self.report {
            return Ok(report);
        }
        let why: Vec<String> = self
            .lines
            .iter()
            .take(5)
            .map(|line| {
                let missing = line.missing.as_deref().unwrap_or_default();
                format!("{}: {missing}", line.name)
            })
            .collect();
        Err(anyhow!(
            "no runner of group {} has a report: {}",
            self.plan.name,
            why.join("; ")
        ))
        .or_exit(Exit::Failure)
    }
}

/// Reports as they come in.
pub(super) struct Gathering {
    group: String,
    merger: Merger,
    lines: Vec<Line>,
}

impl Gathering {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            group: plan.name.clone(),
            merger: Merger::new(Options {
                run_id: Some(plan.run.clone()),
                raw_data: plan.raw_data,
                ..Options::default()
            }),
            lines: Vec::new(),
        }
    }

    /// A runner that said how it ended.
    pub(super) fn take(&mut self, runner: Runner) {
        let missing = match &runner.end {
            End::Reported(report) => match self.merger.add(&runner.name, report) {
                Ok(()) => None,
                Err(refused) => {
                    self.merger.skip(&refused);
                    Some(refused.problem.to_string())
                }
            },
            End::Failed(message) => {
                let why = one_line(message);
                self.merger.absent(&runner.name, &why);
                Some(why)
            }
            // Somebody else has to say more.
            End::Silent { .. } => return self.miss(runner, None, true),
        };
        self.lines.push(Line {
            index: runner.index,
            name: runner.name,
            node: runner.node,
            missing,
        });
    }

    /// A runner that did not say how it ended.
    pub(super) fn miss(&mut self, runner: Runner, known: Option<&Why>, is_over: bool) {
        let was_ready = matches!(runner.end, End::Silent { was_ready: true });
        let ended = match (was_ready, is_over || known.is_some()) {
            (true, true) => "ended without a report",
            (false, true) => "was never ready",
            (_, false) => "has no report yet",
        };
        let (name, node, why) = match known {
            Some((name, node, why)) => (
                name.clone(),
                node.clone(),
                format!("{ended}: {}", one_line(why)),
            ),
            None => (runner.name, runner.node, ended.to_owned()),
        };
        let name = if name.is_empty() {
            format!("{}-{}", self.group, runner.index)
        } else {
            name
        };
        self.merger.absent(&name, &why);
        self.lines.push(Line {
            index: runner.index,
            name,
            node,
            missing: Some(why),
        });
    }

    pub(super) fn finish(mut self, plan: Plan, start: Option<Start>) -> Outcome {
        self.lines.sort_by_key(|line| line.index);
        // They were checked before the group was made; what cannot be read now was written by another version.
        let thresholds: Vec<ThresholdSpec> = plan
            .thresholds
            .iter()
            .filter_map(|text| {
                ThresholdSpec::parse(text)
                    .with_context(|| text.clone())
                    .inspect_err(|error| tracing::warn!("threshold not judged: {error:#}"))
                    .ok()
            })
            .collect();
        let report = self
            .merger
            .finish()
            .map(|merged| merge::report(merged, &thresholds, LINES));
        Outcome {
            plan,
            start,
            report,
            lines: self.lines,
        }
    }
}

/// Messages have causes on lines of their own.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
