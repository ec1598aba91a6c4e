//! What came of a group: one report, and who is missing in it.

use anyhow::{Context as _, anyhow};
use kperf_merge::{Merger, Options};
use kperf_runners::{End, Plan, Runner, Start};
use kperf_runtime::report::Finding;

use crate::{
    exit::{Exit, Failed, OrExit as _},
    merge::{self, LINES},
    threshold::ThresholdSpec,
};

/// Clocks that differ by more than this do not differ because of how they were read.
const CLOCKS_APART_MS: u64 = 2_000;

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
    /// That their clocks differ, if they do; also in the report.
    pub clocks: Option<String>,
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
        let clocks = self.clocks.map(|text| format!("; {text}"));
        Err(anyhow!(
            "no runner of group {} has a report: {}{}",
            self.plan.name,
            why.join("; "),
            clocks.unwrap_or_default()
        ))
        .or_exit(Exit::Failure)
    }
}

/// Reports as they come in.
pub(super) struct Gathering {
    group: String,
    merger: Merger,
    lines: Vec<Line>,
    clocks: Vec<(String, i64)>,
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
            clocks: Vec::new(),
        }
    }

    fn note_clock(&mut self, runner: &Runner) {
        let ahead = runner.clock_ahead_ms;
        self.clocks
            .extend(ahead.map(|ahead| (runner.name.clone(), ahead)));
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
        self.note_clock(&runner);
        self.lines.push(Line {
            index: runner.index,
            name: runner.name,
            node: runner.node,
            missing,
        });
    }

    /// A runner that did not say how it ended.
    pub(super) fn miss(&mut self, runner: Runner, known: Option<&Why>, is_over: bool) {
        self.note_clock(&runner);
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
        let clocks = differing(&self.clocks);
        let report = self.merger.finish().map(|merged| {
            let mut report = merge::report(merged, &thresholds, LINES);
            report
                .summary
                .findings
                .extend(clocks.iter().map(|text| Finding {
                    severity: "warning".to_owned(),
                    code: "runner-group/clocks".to_owned(),
                    message: text.clone(),
                }));
            report
        });
        Outcome {
            plan,
            start,
            report,
            lines: self.lines,
            clocks,
        }
    }
}

/// Whether clocks are further apart than their being read to half a second explains.
fn differing(clocks: &[(String, i64)]) -> Option<String> {
    let (behind, least) = clocks.iter().min_by_key(|(_, ahead)| *ahead)?;
    let (before, most) = clocks.iter().max_by_key(|(_, ahead)| *ahead)?;
    let apart = most.abs_diff(*least);
    (apart > CLOCKS_APART_MS).then(|| {
        let seconds = |ms: i64| ms as f64 / 1000.0;
        format!(
            "the clocks of the runners differ by some {:.1} s, and with them the moments at which they began: that of \
             {before} is {:+.1} s from the API server's, that of {behind} {:+.1} s; set the clocks of their nodes",
            apart as f64 / 1000.0,
            seconds(*most),
            seconds(*least)
        )
    })
}

/// Messages have causes on lines of their own.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_named() {
        let clocks = |all: &[(&str, i64)]| {
            let all: Vec<_> = all
                .iter()
                .map(|(name, ms)| ((*name).to_owned(), *ms))
                .collect();
            differing(&all)
        };
        assert_eq!(clocks(&[]), None);
        assert_eq!(clocks(&[("a", 3_600_000), ("b", 3_599_000)]), None);
        let text = clocks(&[("a", -400), ("b", 9_000), ("c", 100)]).unwrap();
        for part in ["9.4 s", "b is +9.0 s", "a -0.4 s"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_missing_runners_clock_counts() {
        let plan = Plan::new("g", "r", 2, 1);
        let mut gathering = Gathering::new(&plan);
        for (index, clock_ahead_ms) in [(0, Some(0)), (1, Some(60_000))] {
            gathering.take(Runner {
                index,
                name: format!("g-{index}"),
                node: String::new(),
                clock_ahead_ms,
                end: End::Failed("the others began 60000 ms ago".to_owned()),
            });
        }
        let error = gathering.finish(plan, None).into_report().unwrap_err();
        assert!(
            error.to_string().contains("clocks of the runners differ"),
            "{error}"
        );
    }
}
