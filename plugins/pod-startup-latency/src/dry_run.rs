//! What a test would do, in sentences; nothing is created and nothing is looked up.

use kperf_sdk::Failure;

use crate::cl2::duration::go_duration;
use crate::cl2::test::{StepWork, Test, TestPhase};
use crate::plan::{PlanState, StepPlan};

/// So many namespaces of a step are named at most.
const MAX_NAMED: usize = 10;

/// One line per namespace range, step, kind and namespace.
///
/// # Errors
/// A step that cannot be planned, by its name.
pub fn describe(test: &Test, seed: u64) -> Result<Vec<String>, Failure> {
    let mut lines = vec![format!(
        "namespaces: {} ({}-1 to {}-{})",
        test.namespaces, test.prefix, test.prefix, test.namespaces
    )];
    let mut state = PlanState::new(seed);
    // As if every step began when the last action of the one before is due.
    let mut now_ns = 0_u64;
    for step in &test.steps {
        match &step.work {
            StepWork::Measurements(calls) => {
                let called: Vec<String> = calls
                    .iter()
                    .map(|call| format!("{} {}", call.action.method(), call.identifier))
                    .collect();
                lines.push(format!("{}: {}", step.name, called.join(", ")));
            }
            StepWork::Phases(phases) => {
                let plan = state.step(phases, now_ns).map_err(|message| {
                    Failure::invalid_config("testConfig", format!("{}: {message}", step.name))
                })?;
                now_ns = now_ns.saturating_add(plan.length_ns());
                lines.extend(of_step(&step.name, phases, &plan));
            }
        }
    }
    Ok(lines)
}

fn of_step(name: &str, phases: &[TestPhase], plan: &StepPlan) -> Vec<String> {
    let mut head = format!(
        "{name}: {} actions, the last one due after {}",
        plan.actions(),
        go_duration(plan.length_ns())
    );
    if !plan.closed.is_empty() {
        head.push_str(", and as fast as workers go");
    }
    let mut lines = vec![head];
    let objects = plan.objects(phases);
    for ((verb, kind, namespace), count) in objects.iter().take(MAX_NAMED) {
        let place = if namespace.is_empty() {
            "without a namespace".to_owned()
        } else {
            format!("in {namespace}")
        };
        lines.push(format!("{name}: {verb} {count} {kind} {place}"));
    }
    if objects.len() > MAX_NAMED {
        let rest: u64 = objects.values().skip(MAX_NAMED).sum();
        lines.push(format!(
            "{name}: and {rest} objects more in {} other namespaces or kinds",
            objects.len() - MAX_NAMED
        ));
    }
    lines
}
