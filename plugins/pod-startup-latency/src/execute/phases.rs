//! Steps with phases: from the plan to bulks.

use kperf_sdk::benchmark::prelude::*;

use super::{Execution, Trouble};
use crate::cl2::duration::go_duration;
use crate::cl2::objects::{kind_of, merge_patch_of};
use crate::cl2::reconcile::{Unit, Verb};
use crate::cl2::test::TestPhase;
use crate::plan::StepPlan;

/// Actions handed over in one call.
const CHUNK: usize = 50;

/// A bulk, and what is still to be handed to it: phase, unit and time.
struct Stream<'a> {
    bulk: Bulk,
    left: Box<dyn Iterator<Item = (u32, u32, u64)> + 'a>,
}

impl Execution<'_> {
    /// Brings about the objects of a step. The paced phases are one bulk, because only one schedule over all of them
    /// starts each action in time; every phase with a tuning set of workers is a bulk of its own.
    pub(super) fn phases(&mut self, name: &str, phases: &[TestPhase]) -> Result<(), Trouble> {
        self.look_up_unknown(phases)?;
        let plan = self
            .plan
            .step(phases, run::now_ns())
            .map_err(Trouble::Step)?;
        let result = self.run_plan(name, phases, &plan);
        self.changed_ns = run::now_ns();
        self.deleted = plan.deletes();
        result
    }

    fn run_plan(
        &mut self,
        name: &str,
        phases: &[TestPhase],
        plan: &StepPlan,
    ) -> Result<(), Trouble> {
        let mut streams = Vec::new();
        if !plan.paced.is_empty() {
            let slots = plan.paced.iter();
            streams.push(Stream {
                bulk: Bulk::new(&BulkOptions::scheduled(name).in_flight(self.config.in_flight)),
                left: Box::new(slots.map(|slot| (slot.phase, slot.unit, slot.at_ns))),
            });
        }
        for &(phase, limit) in &plan.closed {
            let units = plan.units.get(phase as usize).map_or(0, Vec::len) as u32;
            if units > 0 {
                let name = format!("{name} [phase {phase}]");
                streams.push(Stream {
                    bulk: Bulk::new(&BulkOptions::unpaced(name, limit)),
                    left: Box::new((0..units).map(move |unit| (phase, unit, 0))),
                });
            }
        }
        self.push_all(name, phases, plan, &mut streams)?;
        let mut problems = Vec::new();
        for stream in streams {
            let outcome = stream.bulk.finish()?;
            problems.extend(judge(&outcome, plan.only_creates()));
            if outcome.late > 0 {
                run::report_finding(
                    "warning",
                    "late-actions",
                    &format!(
                        "{name}: {} of {} actions started late because all places in flight were taken; \
                         the rate was not that of the tuning set",
                        outcome.late, outcome.actions
                    ),
                );
            }
            kperf_sdk::info!(
                "{name}: {} actions in {}, {} operations/s",
                outcome.actions,
                go_duration(outcome.length_ns),
                outcome.achieved_rate
            );
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Trouble::Step(problems.join("; ")))
        }
    }

    /// Hands over actions to all bulks in turn, so that none waits for another to be done.
    fn push_all(
        &self,
        name: &str,
        phases: &[TestPhase],
        plan: &StepPlan,
        streams: &mut [Stream<'_>],
    ) -> Result<(), Failure> {
        let total = plan.actions() as u64;
        let mut pushed = 0;
        loop {
            let mut none_left = true;
            for stream in &mut *streams {
                let mut actions = Vec::with_capacity(CHUNK);
                for (phase, unit, at_ns) in stream.left.by_ref().take(CHUNK) {
                    let found = phases.get(phase as usize).zip(
                        plan.units
                            .get(phase as usize)
                            .and_then(|units| units.get(unit as usize)),
                    );
                    if let Some((phase, unit)) = found {
                        actions.push(Action::all(operations(phase, *unit)?).at_ns(at_ns));
                    }
                }
                if actions.is_empty() {
                    continue;
                }
                none_left = false;
                stream.bulk.push(&actions)?;
                pushed += actions.len() as u64;
                run::progress(name, pushed, total);
            }
            if none_left {
                return Ok(());
            }
        }
    }

    /// Counts what is there of objects that the test has not met and that ask for it.
    fn look_up_unknown(&mut self, phases: &[TestPhase]) -> Result<(), Failure> {
        for phase in phases {
            let members = phase.bundle.iter().zip(phase.identities());
            for ((template, selector), identity) in members {
                let (Some(selector), Some(kind)) = (selector, template.kinds().first()) else {
                    continue;
                };
                for namespace in &phase.namespaces {
                    if self.plan.reconciler.known(namespace, &identity).is_none() {
                        let scope = Scope::namespace(namespace).labels(selector);
                        let there = cluster::list(kind, &scope)?.len();
                        self.plan.reconciler.set(namespace, &identity, there as u32);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What one bundle takes.
fn operations(phase: &TestPhase, unit: Unit) -> Result<Vec<Operation>, Failure> {
    let namespace = phase
        .namespaces
        .get(unit.namespace as usize)
        .map_or("", String::as_str);
    let mut operations = Vec::new();
    if unit.verb == Verb::Delete {
        for (template, _) in phase.bundle.iter().rev() {
            for kind in template.kinds().iter().rev() {
                let name = template.name(unit.index);
                operations.push(Operation::delete(kind.clone(), namespace, name));
            }
        }
        return Ok(operations);
    }
    for (template, _) in &phase.bundle {
        // Values that are missing have been told of when the test was loaded.
        for manifest in template.manifests(namespace, unit.index, &mut Vec::new())? {
            operations.push(match unit.verb {
                Verb::Patch => Operation::merge_patch(
                    kind_of(&manifest),
                    namespace,
                    template.name(unit.index),
                    &merge_patch_of(&manifest),
                ),
                _ => Operation::create(&manifest),
            });
        }
    }
    Ok(operations)
}

/// What is wrong with an outcome. That an object to be created is there already is no error in ClusterLoader2: a
/// request that was retried may have done it.
fn judge(outcome: &BulkOutcome, only_creates: bool) -> Option<String> {
    let there_already: u64 = outcome
        .errors
        .iter()
        .filter(|class| only_creates && class.key == "http/409")
        .filter_map(|class| class.value.parse::<u64>().ok())
        .sum();
    if outcome.failed <= there_already {
        return None;
    }
    Some(format!(
        "{} of {} operations failed: {}",
        outcome.failed - there_already,
        outcome.succeeded + outcome.failed,
        outcome.messages.join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_already_is_no_error() {
        let outcome = |errors: &[(&str, &str)], failed| BulkOutcome {
            actions: 5,
            succeeded: 5 - failed,
            failed,
            errors: errors
                .iter()
                .map(|(key, value)| Label {
                    key: (*key).to_owned(),
                    value: (*value).to_owned(),
                })
                .collect(),
            messages: vec!["first".to_owned()],
            length_ns: 0,
            achieved_rate: 0.0,
            late: 0,
        };
        assert_eq!(judge(&outcome(&[], 0), true), None);
        assert_eq!(judge(&outcome(&[("http/409", "2")], 2), true), None);
        let of_both = outcome(&[("http/409", "2"), ("http/403", "1")], 3);
        assert_eq!(
            judge(&of_both, true).unwrap(),
            "1 of 5 operations failed: first"
        );
        assert!(judge(&outcome(&[("http/409", "2")], 2), false).is_some());
    }
}
