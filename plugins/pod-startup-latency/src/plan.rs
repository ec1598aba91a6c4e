//! What a step with phases does and when: pure, so that a dry run shows what a run would do.

use std::collections::BTreeMap;

use kperf_sdk::random::Random;

use crate::cl2::reconcile::{MAX_ACTIONS, Reconciler, Unit, Verb};
use crate::cl2::test::TestPhase;
use crate::cl2::tuning::{Load, TokenBucket, schedule};

/// What planning remembers from step to step.
#[derive(Clone, Debug)]
pub struct PlanState {
    /// How many objects there are.
    pub reconciler: Reconciler,
    buckets: BTreeMap<String, TokenBucket>,
    random: Random,
}

/// An action at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// From the start of the step.
    pub at_ns: u64,
    /// Place among the step's phases.
    pub phase: u32,
    /// Place among the phase's units.
    pub unit: u32,
}

/// What a step does.
#[derive(Clone, Debug, Default)]
pub struct StepPlan {
    /// Of each phase.
    pub units: Vec<Vec<Unit>>,
    /// Actions of all paced phases, by time.
    pub paced: Vec<Slot>,
    /// Phases that run as fast as so many workers go.
    pub closed: Vec<(u32, u32)>,
}

impl PlanState {
    /// Nothing is there yet; random times are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            reconciler: Reconciler::default(),
            buckets: BTreeMap::new(),
            random: Random::of(&[seed, kperf_sdk::random::digest(b"tuning sets")]),
        }
    }

    /// Plans the phases of one step, which begins at `now_ns`.
    ///
    /// # Errors
    /// Bundles that do not fit what is there, and too many actions.
    pub fn step(&mut self, phases: &[TestPhase], now_ns: u64) -> Result<StepPlan, String> {
        let mut plan = StepPlan::default();
        let mut shared: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (at, phase) in phases.iter().enumerate() {
            let at = at as u32;
            let units = self.reconciler.plan(
                &phase.namespaces,
                &phase.identities(),
                phase.replicas_per_namespace,
            )?;
            match &phase.load {
                Load::ParallelismLimited { limit } => plan.closed.push((at, *limit)),
                Load::GlobalQps { qps, burst } => {
                    self.buckets
                        .entry(phase.tuning_set.clone())
                        .or_insert_with(|| TokenBucket::new(*qps, *burst));
                    shared.entry(&phase.tuning_set).or_default().push(at);
                }
                load => {
                    let times = schedule(load, units.len(), &mut self.random);
                    plan.paced
                        .extend((0..).zip(times).map(|(unit, at_ns)| Slot {
                            at_ns,
                            phase: at,
                            unit,
                        }));
                }
            }
            plan.units.push(units);
        }
        if plan.units.iter().map(Vec::len).sum::<usize>() as u64 > MAX_ACTIONS {
            return Err(format!("a step has more than {MAX_ACTIONS} actions"));
        }
        for (tuning_set, sharing) in shared {
            let turns = in_turns(&plan.units, &sharing);
            if let Some(bucket) = self.buckets.get_mut(tuning_set) {
                let times = bucket.take(turns.len(), now_ns);
                let slots = times.into_iter().zip(turns);
                plan.paced
                    .extend(slots.map(|(at_ns, (phase, unit))| Slot { at_ns, phase, unit }));
            }
        }
        plan.paced.sort_unstable();
        Ok(plan)
    }
}

/// The units of phases that share a bucket, each phase in its turn.
fn in_turns(units: &[Vec<Unit>], phases: &[u32]) -> Vec<(u32, u32)> {
    let of = |phase: u32| units.get(phase as usize).map_or(0, Vec::len) as u32;
    let most = phases.iter().map(|&phase| of(phase)).max().unwrap_or(0);
    (0..most)
        .flat_map(|unit| phases.iter().map(move |&phase| (phase, unit)))
        .filter(|&(phase, unit)| unit < of(phase))
        .collect()
}

impl StepPlan {
    /// How many actions there are.
    pub fn actions(&self) -> usize {
        self.units.iter().map(Vec::len).sum()
    }

    /// From the start to the last intended time of the paced phases.
    pub fn length_ns(&self) -> u64 {
        self.paced.last().map_or(0, |slot| slot.at_ns)
    }

    /// Whether something is deleted.
    pub fn deletes(&self) -> bool {
        self.units
            .iter()
            .flatten()
            .any(|unit| unit.verb == Verb::Delete)
    }

    /// Whether nothing but creating is done.
    pub fn only_creates(&self) -> bool {
        self.units
            .iter()
            .flatten()
            .all(|unit| unit.verb == Verb::Create)
    }

    /// How many objects per verb, kind and namespace.
    pub fn objects(&self, phases: &[TestPhase]) -> BTreeMap<(&'static str, String, String), u64> {
        let mut objects = BTreeMap::new();
        for (phase, units) in phases.iter().zip(&self.units) {
            for unit in units {
                let namespace = phase.namespaces.get(unit.namespace as usize);
                for kind in phase
                    .bundle
                    .iter()
                    .flat_map(|(template, _)| template.kinds())
                {
                    let key = (
                        unit.verb.name(),
                        kind.kind.clone(),
                        namespace.cloned().unwrap_or_default(),
                    );
                    *objects.entry(key).or_insert(0) += 1;
                }
            }
        }
        objects
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cl2::source::Sources;
    use crate::cl2::test::{StepWork, Test};
    use std::sync::Arc;

    const SEC: u64 = 1_000_000_000;

    /// A test whose phases are given as tuning set and replicas.
    fn phases(of: &[(&str, u32)]) -> Vec<TestPhase> {
        let phases: Vec<String> = of
            .iter()
            .enumerate()
            .map(|(at, (set, replicas))| {
                format!(
                    "  - {{namespaceRange: {{min: 1, max: 1}}, replicasPerNamespace: {replicas}, tuningSet: {set}, \
                     objectBundle: [{{basename: o{at}, objectTemplatePath: o.yaml}}]}}"
                )
            })
            .collect();
        let config = format!(
            "name: t\ntuningSets:\n- {{name: even, qpsLoad: {{qps: 1}}}}\n- {{name: shared, globalQPSLoad: {{qps: 2, burst: 1}}}}\n\
             - {{name: closed, parallelismLimitedLoad: {{parallelismLimit: 3}}}}\nsteps:\n- phases:\n{}\n",
            phases.join("\n")
        );
        let read = move |path: &str| match path {
            "c.yaml" => Ok(config.clone()),
            _ => Ok("apiVersion: v1\nkind: ConfigMap\n".to_owned()),
        };
        let sources = Sources::new(Arc::new(read), "", 1, serde_json::Map::new());
        let test = Test::load(&sources, "c.yaml", "t").unwrap();
        match &test.steps[0].work {
            StepWork::Phases(phases) => phases.clone(),
            StepWork::Measurements(_) => panic!("it has phases"),
        }
    }

    fn shown(plan: &StepPlan) -> Vec<(u64, u32, u32)> {
        plan.paced
            .iter()
            .map(|slot| (slot.at_ns, slot.phase, slot.unit))
            .collect()
    }

    #[test]
    fn phases_of_a_step_run_side_by_side() {
        let phases = phases(&[("even", 2), ("even", 3), ("closed", 5)]);
        let mut state = PlanState::new(1);
        let plan = state.step(&phases, 0).unwrap();
        assert_eq!(
            shown(&plan),
            [
                (0, 0, 0),
                (0, 1, 0),
                (SEC, 0, 1),
                (SEC, 1, 1),
                (2 * SEC, 1, 2)
            ]
        );
        assert_eq!(plan.closed, [(2, 3)]);
        assert_eq!((plan.actions(), plan.length_ns()), (10, 2 * SEC));
        assert!(plan.only_creates() && !plan.deletes());
        let key = ("create", "ConfigMap".to_owned(), "t-1".to_owned());
        assert_eq!(plan.objects(&phases), [(key, 10)].into());
        // The same phases again find everything there.
        let again = state.step(&phases, 0).unwrap();
        assert!(
            again
                .units
                .iter()
                .flatten()
                .all(|unit| unit.verb == Verb::Patch)
        );
    }

    #[test]
    fn a_global_rate_is_shared_by_phases_and_steps() {
        let phases = phases(&[("shared", 1), ("shared", 3)]);
        let mut state = PlanState::new(1);
        let plan = state.step(&phases, 0).unwrap();
        assert_eq!(
            shown(&plan),
            [(0, 0, 0), (SEC / 2, 1, 0), (SEC, 1, 1), (3 * SEC / 2, 1, 2)]
        );
        // At 1 s one token is still owed.
        let plan = state.step(&phases, SEC).unwrap();
        assert_eq!(plan.paced.first().unwrap().at_ns, SEC);
    }
}
