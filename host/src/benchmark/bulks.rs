//! Bulks as a benchmark has them: operations checked and handed on, the measurements into the report as a phase.

use std::sync::Arc;

use kperf_cluster::{
    Change, Operation as ApiOperation, Session,
    api::PatchType,
    bulk::{self, Bulk},
};
use kperf_load::measure::{Finding, Level, Severity, Verdict};
use kperf_runtime::{
    BoxFuture, Failure, Label,
    benchmark::{Action, BulkHandle, BulkOptions, BulkOutcome, Operation},
    failure,
};

use super::{powers::of_api, reported::Reported};
use crate::report::MeasuredPhase;

/// Messages of failures that a plugin is given.
const MOST_MESSAGES: usize = 20;
/// Late actions from this share on make the pace doubtful.
const LATE_SHARE: f64 = 0.01;

/// A bulk of this run.
pub(crate) struct Changing {
    bulk: Bulk,
    options: BulkOptions,
    reported: Arc<Reported>,
}

/// A bulk that could not be begun: its first call says why.
pub(crate) struct Refused(pub(crate) Failure);

pub(crate) fn patch_type(text: &str) -> Result<PatchType, Failure> {
    text.parse().map_err(|error| of_api(&error))
}

impl Changing {
    pub(crate) fn start(
        session: &Arc<Session>,
        reported: &Arc<Reported>,
        options: BulkOptions,
    ) -> Result<Self, Failure> {
        let bulk = Bulk::start(
            session,
            &bulk::BulkOptions {
                name: options.name.clone(),
                rate_per_sec: options.rate_per_second,
                burst: options.burst,
                in_flight: options.in_flight,
                scheduled: options.scheduled,
                stop_on_failure: options.stop_on_failure,
            },
        )
        .map_err(|error| of_api(&error))?;
        Ok(Self {
            bulk,
            options,
            reported: Arc::clone(reported),
        })
    }
}

fn operation(given: Operation) -> Result<ApiOperation, Failure> {
    let change = match given.verb.as_str() {
        "create" => Change::Create,
        "apply" => Change::Apply,
        "delete" => Change::Delete,
        "patch" => Change::Patch(patch_type(&given.patch_type)?),
        other => {
            return Err(failure(
                "invalid",
                format!("`{other}` is no operation; there are create, apply, patch and delete"),
            ));
        }
    };
    Ok(ApiOperation {
        change,
        api_version: given.of.api_version,
        kind: given.of.kind,
        namespace: given.namespace,
        name: given.name,
        subresource: String::new(),
        body: given.body,
    })
}

impl BulkHandle for Changing {
    fn push(&mut self, actions: Vec<Action>) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let actions = actions
                .into_iter()
                .map(|action| {
                    let operations = action.operations.into_iter().map(operation);
                    Ok(bulk::Action {
                        at_ns: action.at_ns,
                        operations: operations.collect::<Result<_, Failure>>()?,
                    })
                })
                .collect::<Result<_, Failure>>()?;
            self.bulk
                .push(actions)
                .await
                .map_err(|error| of_api(&error))
        })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<BulkOutcome, Failure>> {
        Box::pin(async move {
            let Self {
                bulk,
                options,
                reported,
            } = *self;
            let outcome = bulk.finish().await;
            let seen = seen(&outcome);
            let error = outcome.error.clone();
            reported.phase(MeasuredPhase {
                settings: settings(&options, &outcome),
                verdict: verdict(&outcome),
                result: outcome.phase,
                metrics: None,
            });
            match error {
                Some(error) => Err(of_api(&error)),
                None => Ok(seen),
            }
        })
    }
}

fn seen(outcome: &bulk::BulkOutcome) -> BulkOutcome {
    let phase = &outcome.phase;
    let seconds = phase.length.as_secs_f64();
    let mut errors: Vec<Label> = Vec::new();
    for (class, count) in phase.series.iter().flat_map(|series| &series.errors) {
        errors.push(Label {
            key: class.clone(),
            value: count.to_string(),
        });
    }
    BulkOutcome {
        actions: outcome.actions,
        succeeded: outcome.succeeded,
        failed: outcome.failed,
        errors,
        messages: outcome
            .messages
            .values()
            .flatten()
            .take(MOST_MESSAGES)
            .cloned()
            .collect(),
        length_ns: u64::try_from(phase.length.as_nanos()).unwrap_or(u64::MAX),
        achieved_rate: if seconds > 0.0 {
            (outcome.succeeded + outcome.failed) as f64 / seconds
        } else {
            0.0
        },
        late: outcome.late,
    }
}

fn settings(options: &BulkOptions, outcome: &bulk::BulkOutcome) -> Vec<(String, String)> {
    let mut settings = vec![
        ("kind", "bulk".to_owned()),
        (
            "rate",
            if options.scheduled {
                "scheduled".to_owned()
            } else {
                options.rate_per_second.to_string()
            },
        ),
        ("burst", options.burst.max(1).to_string()),
        ("actions", outcome.actions.to_string()),
    ];
    if options.in_flight > 0 {
        settings.push(("in-flight", options.in_flight.to_string()));
    }
    settings
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// A bulk has no shards to judge; what makes its pace doubtful is that its places were used up.
fn verdict(outcome: &bulk::BulkOutcome) -> Verdict {
    let share = outcome.late as f64 / outcome.actions.max(1) as f64;
    if share < LATE_SHARE {
        return Verdict {
            level: Level::Certified,
            findings: Vec::new(),
        };
    }
    Verdict {
        level: Level::Suspect,
        findings: vec![Finding {
            severity: Severity::Warning,
            code: "bulk-late",
            message: format!(
                "{:.1} % of the actions started late: every place was taken; the server is slower than the pace, or the bulk needs more in flight",
                share * 100.0
            ),
        }],
    }
}

impl BulkHandle for Refused {
    fn push(&mut self, _: Vec<Action>) -> BoxFuture<'_, Result<(), Failure>> {
        let failure = self.0.clone();
        Box::pin(async move { Err(failure) })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<BulkOutcome, Failure>> {
        Box::pin(async move { Err(self.0) })
    }
}
