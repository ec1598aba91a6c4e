//! Runs a test step by step. Everything that talks to the host is in here; what it decides by is not.

mod controllers;
mod follow;
mod phases;
mod startup_latency;
mod waits;

use std::collections::BTreeMap;

use kperf_sdk::benchmark::prelude::*;

use crate::cl2::calls::{Action as Asked, Call};
use crate::cl2::test::{StepWork, Test};
use crate::config::Config;
use crate::plan::PlanState;

use controllers::ControllersFollowed;
use startup_latency::PodsFollowed;

/// What can go wrong with a step.
pub(crate) enum Trouble {
    /// The step went wrong; the test goes on, as in ClusterLoader2, and fails.
    Step(String),
    /// The test cannot go on.
    Fatal(String),
    /// The run cannot go on.
    Run(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        let of_run = matches!(
            failure.code.as_str(),
            "interrupted" | "denied" | "unauthorized" | "unreachable" | "invalid-config"
        );
        if of_run {
            Self::Run(failure)
        } else {
            Self::Step(format!("{}: {}", failure.code, failure.message))
        }
    }
}

/// A test being run.
pub(crate) struct Execution<'a> {
    context: &'a RunContext,
    config: &'a Config,
    test: &'a Test,
    /// Namespaces that measurements without one look at.
    namespaces: Vec<String>,
    plan: PlanState,
    startups: BTreeMap<String, PodsFollowed>,
    controllers: BTreeMap<String, ControllersFollowed>,
    /// By identifier and label: when it was started.
    timers: BTreeMap<(String, String), u64>,
    /// By identifier and label, in nanoseconds.
    timed: BTreeMap<(String, String), u64>,
    /// When objects were last changed, and whether some were deleted.
    changed_ns: u64,
    deleted: bool,
    problems: Vec<String>,
    /// What was measured, in a sentence each.
    results: Vec<String>,
}

/// Runs the test.
pub(crate) fn run_test(
    context: &RunContext,
    config: &Config,
    test: &Test,
) -> Result<Verdict, Failure> {
    create_namespaces(test)?;
    let mut execution = Execution {
        context,
        config,
        test,
        namespaces: test.all_namespaces(),
        plan: PlanState::new(context.seed),
        startups: BTreeMap::new(),
        controllers: BTreeMap::new(),
        timers: BTreeMap::new(),
        timed: BTreeMap::new(),
        changed_ns: run::now_ns(),
        deleted: false,
        problems: Vec::new(),
        results: Vec::new(),
    };
    execution.steps()?;
    Ok(execution.verdict())
}

fn create_namespaces(test: &Test) -> Result<(), Failure> {
    for (done, name) in (0..).zip(test.own_namespaces()) {
        run::progress("create namespaces", done, u64::from(test.namespaces));
        match cluster::create_namespace(&name, &[]) {
            Err(failure) if failure.code == "already-exists" && test.enable_existing_namespaces => {
            }
            result => result?,
        }
    }
    Ok(())
}

impl Execution<'_> {
    fn steps(&mut self) -> Result<(), Failure> {
        let test = self.test;
        for step in &test.steps {
            run::progress(&step.name, 0, 0);
            let fatal = match &step.work {
                StepWork::Phases(phases) => {
                    let result = self.phases(&step.name, phases);
                    self.note(&step.name, result)?
                }
                StepWork::Measurements(calls) => {
                    let mut fatal = false;
                    for call in calls {
                        let place = format!(
                            "{}, {} {}",
                            step.name,
                            call.action.method(),
                            call.identifier
                        );
                        let result = self.call(call, &place);
                        fatal |= self.note(&place, result)?;
                    }
                    fatal
                }
            };
            if fatal {
                break;
            }
        }
        Ok(())
    }

    /// Keeps what went wrong; true if the test must end.
    fn note(&mut self, place: &str, result: Result<(), Trouble>) -> Result<bool, Failure> {
        let (message, fatal) = match result {
            Ok(()) => return Ok(false),
            Err(Trouble::Step(message)) => (message, false),
            Err(Trouble::Fatal(message)) => (message, true),
            Err(Trouble::Run(failure)) => return Err(failure),
        };
        self.problem("step-failed", format!("{place}: {message}"));
        Ok(fatal)
    }

    /// Something that makes the test fail.
    fn problem(&mut self, code: &str, message: String) {
        run::report_finding("error", code, &message);
        self.problems.push(message);
    }

    fn call(&mut self, call: &Call, place: &str) -> Result<(), Trouble> {
        let timer = |label: &String| (call.identifier.clone(), label.clone());
        match &call.action {
            Asked::StartupStart {
                selector,
                thresholds,
            } => self.start_startup(&call.identifier, selector, thresholds),
            Asked::StartupGather { scheduler } => self.gather_startup(&call.identifier, scheduler),
            Asked::ControlledStart {
                api_version,
                kind,
                selector,
                operation_timeout_ns,
                check_updated,
                count_error_margin,
            } => {
                if !self.controllers.contains_key(&call.identifier) {
                    let followed = ControllersFollowed::start(
                        Kind::new(api_version, kind),
                        selector,
                        &self.namespaces,
                        *operation_timeout_ns,
                        crate::controlled::Wanted {
                            updated: *check_updated,
                            margin: u64::from(*count_error_margin),
                        },
                    )?;
                    self.controllers.insert(call.identifier.clone(), followed);
                }
                Ok(())
            }
            Asked::ControlledGather { sync_timeout_ns } => {
                match self.controllers.get_mut(&call.identifier) {
                    Some(followed) => {
                        followed.gather(place, *sync_timeout_ns, self.changed_ns, self.deleted)
                    }
                    None => Err(not_started()),
                }
            }
            Asked::ControlledStop => {
                if let Some(followed) = self.controllers.remove(&call.identifier) {
                    followed.stop();
                }
                Ok(())
            }
            Asked::RunningPods {
                selector,
                desired,
                timeout_ns,
                refresh_ns,
                fatal,
            } => {
                let result = waits::running_pods(
                    place,
                    selector,
                    &self.namespaces,
                    *desired,
                    *timeout_ns,
                    *refresh_ns,
                );
                match result {
                    Err(Trouble::Step(message)) if *fatal => Err(Trouble::Fatal(message)),
                    result => result,
                }
            }
            Asked::Sleep { duration_ns } => Ok(run::sleep(duration_ns.div_ceil(1_000_000))?),
            Asked::TimerStart { label } => {
                self.timers.insert(timer(label), run::now_ns());
                Ok(())
            }
            Asked::TimerStop { label } => match self.timers.remove(&timer(label)) {
                Some(started_ns) => {
                    let ns = run::now_ns().saturating_sub(started_ns);
                    self.timed.insert(timer(label), ns);
                    Ok(())
                }
                None => Err(Trouble::Step(format!("the timer {label} was not started"))),
            },
            Asked::TimerGather => {
                for ((_, label), ns) in self
                    .timed
                    .iter()
                    .filter(|((identifier, _), _)| *identifier == call.identifier)
                {
                    run::report_metric(
                        "timer",
                        *ns as f64 / 1e9,
                        "seconds",
                        &[
                            self.label("measurement", &call.identifier),
                            self.label("test", &self.test.name),
                            self.label("timer", label),
                        ],
                    );
                }
                Ok(())
            }
        }
    }

    fn label(&self, key: &str, value: &str) -> Label {
        Label {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    fn verdict(self) -> Verdict {
        match self.problems.as_slice() {
            [] => Verdict::passed(self.results.join("; ")),
            [only] => Verdict::failed(only.clone()),
            [first, rest @ ..] => Verdict::failed(format!("{first} (and {} more)", rest.len())),
        }
    }
}

fn not_started() -> Trouble {
    Trouble::Step("it has not been started, or could not be".to_owned())
}
