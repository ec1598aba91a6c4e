//! Carries a plan out: everything that talks to the host.
//!
//! What is measured, for each kind of object of each workload (and of each iteration, when there are several):
//!
//! | kind | name | labels |
//! | --- | --- | --- |
//! | distribution | `sent_to_<milestone>`: from the request that created the object to the news of it | `workload`, `kind`, `iteration` |
//! | distribution | `created_to_<milestone>`: by the times the objects carry themselves | the same, and `clock` |
//! | distribution | `deletion`: from the request that deletes them all to the news of each | the same |
//! | metric | `creation-rate`, objects per second that were really created | the same |
//! | metric | `watch_events` received, `watch_reconnects` | the same |
//!
//! The milestones of a VirtualMachineInstance are its phases: `pending`, `scheduling`, `scheduled`, `running`, `ready`.
//!
//! Unlike perfscale-load-generator, a namespace that was deleted is not used again before it is gone: there the next
//! iteration raced with the deletion when `iterationDeletionWait` was off, and the server refused its objects.

mod entry;

use std::collections::BTreeSet;

use kperf_sdk::benchmark::prelude::*;

use crate::plan::{Plan, WorkloadPlan};
use crate::workload::Pace;
use entry::Entry;

/// What went wrong so far, in a sentence each; the verdict fails with the first.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, code: &str, message: String) {
        run::report_finding("error", code, &message);
        self.0.push(message);
    }
}

/// Runs every workload, one after another.
pub(crate) fn run_plan(plan: &Plan) -> Result<Verdict, Failure> {
    for warning in &plan.warnings {
        run::report_finding("warning", "workload", warning);
    }
    let mut problems = Problems::default();
    let mut going = BTreeSet::new();
    let mut objects = 0;
    for workload in &plan.workloads {
        objects += run_workload(plan, workload, &mut going, &mut problems)?;
        if !problems.0.is_empty() {
            break;
        }
    }
    Ok(match problems.0.first() {
        None => Verdict::passed(format!("{objects} objects came up")),
        Some(first) => Verdict::failed(first.clone()),
    })
}

/// Says what would be created, and creates nothing.
pub(crate) fn describe(plan: &Plan) -> Result<Verdict, Failure> {
    for warning in &plan.warnings {
        run::report_finding("warning", "workload", warning);
    }
    for workload in &plan.workloads {
        let settings = &workload.workload;
        let pace = pace(plan, workload).map_or_else(
            || "as fast as the server takes them".to_owned(),
            |pace| format!("{} a second, {} at once", pace.per_sec, pace.burst),
        );
        let line = format!(
            "workload {}: {} iteration(s), objects {pace}",
            workload.title, settings.iterations
        );
        run::report_finding("info", "dry-run", &line);
        for object in &workload.objects {
            let line = format!(
                "  {} {} in each iteration, the first in namespace {}: running means {}",
                object.object.replicas,
                object.kind.kind,
                object.namespace(1),
                object.readiness.running
            );
            run::report_finding("info", "dry-run", &line);
            let first = object.manifest(1, 1)?;
            run::report_finding("info", "dry-run", &format!("  {}", first.object));
        }
    }
    Ok(Verdict::passed("nothing was created"))
}

/// The tighter of the workload's own pace and that of all requests.
fn pace(plan: &Plan, workload: &WorkloadPlan) -> Option<Pace> {
    match (workload.workload.pace, plan.global_limit) {
        (Some(own), Some(global)) if global.per_sec < own.per_sec => Some(global),
        (Some(own), _) => Some(own),
        (None, global) => global,
    }
}

fn bulk(name: String, pace: Option<Pace>) -> Bulk {
    match pace {
        Some(pace) => Bulk::new(
            &BulkOptions::rate(name, pace.per_sec)
                .burst(u32::try_from(pace.burst).unwrap_or(u32::MAX)),
        ),
        None => Bulk::new(&BulkOptions::unpaced(name, 50)),
    }
}

fn ms(ns: u64) -> u64 {
    ns.div_ceil(1_000_000)
}

fn run_workload(
    plan: &Plan,
    workload: &WorkloadPlan,
    going: &mut BTreeSet<String>,
    problems: &mut Problems,
) -> Result<u64, Failure> {
    let settings = &workload.workload;
    let mut objects = 0;
    for iteration in 1..=settings.iterations {
        objects += run_iteration(plan, workload, iteration, going, problems)?;
        if !problems.0.is_empty() {
            return Ok(objects);
        }
        if settings.interval_ns > 0 {
            run::progress("wait between iterations", 0, 0);
            run::sleep(ms(settings.interval_ns))?;
        }
    }
    if settings.wait_when_finished_ns > 0 {
        run::progress("wait when finished", 0, 0);
        run::sleep(ms(settings.wait_when_finished_ns))?;
    }
    Ok(objects)
}

/// `going` are namespaces that were deleted and not waited for.
fn run_iteration(
    plan: &Plan,
    workload: &WorkloadPlan,
    iteration: u64,
    going: &mut BTreeSet<String>,
    problems: &mut Problems,
) -> Result<u64, Failure> {
    let settings = &workload.workload;
    let namespaces: Vec<String> = workload.namespaces(iteration).into_iter().collect();
    let reused = taken(going, &namespaces);
    if !reused.is_empty() {
        let deadline = run::now_ns().saturating_add(settings.max_wait_ns);
        wait_gone(&reused, deadline, problems)?;
        if !problems.0.is_empty() {
            return Ok(0);
        }
    }
    for manifest in workload.namespace_manifests(iteration) {
        create_namespace(&manifest)?;
    }
    // All watches stand before anything is created.
    let mut entries = workload
        .objects
        .iter()
        .enumerate()
        .map(|(index, object)| Entry::start(workload, object, index, iteration))
        .collect::<Result<Vec<_>, _>>()?;
    let pace = pace(plan, workload);
    for entry in &mut entries {
        let (first, count) = (1, entry.plan.object.replicas);
        entry.create(iteration, first, count, pace, problems)?;
    }
    let mut total = entries.iter().map(|entry| entry.created).sum();

    if settings.creation_wait || settings.churn.is_some() {
        let deadline = run::now_ns().saturating_add(settings.max_wait_ns);
        for entry in &entries {
            entry.wait_running(deadline, settings.max_wait_ns, problems)?;
        }
    }
    if let Some(churn) = &settings.churn
        && problems.0.is_empty()
    {
        for entry in &mut entries {
            total += entry.churn(churn, iteration, pace, settings.max_wait_ns, problems)?;
        }
    }
    for entry in &entries {
        entry.report_creation()?;
    }
    if settings.cleanup {
        clean_up(workload, &namespaces, &entries, problems)?;
        if !settings.deletion_wait {
            going.extend(namespaces);
        }
    }
    for entry in &entries {
        entry.tracker.report_objects();
        entry.report_watch();
        entry.tracker.stop();
    }
    Ok(total)
}

fn create_namespace(manifest: &Value) -> Result<(), Failure> {
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
    let labels: Vec<Label> = manifest
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| {
            Some(Label {
                key: key.clone(),
                value: value.as_str()?.to_owned(),
            })
        })
        .collect();
    let name = text("/metadata/name").unwrap_or_default();
    cluster::create_namespace(name, &labels).map_err(|failure| {
        if failure.code == "already-exists" {
            let message = format!(
                "namespace {name} is there already and not this run's: delete it, or change inputVars.namespace"
            );
            return Failure::new("already-exists", message);
        }
        failure
    })
}

/// Deletes objects, then namespaces, and waits for both if the workload does.
fn clean_up(
    workload: &WorkloadPlan,
    namespaces: &[String],
    entries: &[Entry<'_>],
    problems: &mut Problems,
) -> Result<(), Failure> {
    let settings = &workload.workload;
    let deadline = run::now_ns().saturating_add(settings.max_wait_ns);
    let begun: Vec<u64> = entries
        .iter()
        .map(Entry::delete_all)
        .collect::<Result<_, Failure>>()?;
    if settings.deletion_wait {
        for (entry, asked_ns) in entries.iter().zip(begun) {
            entry.wait_deleted(deadline, settings.max_wait_ns, problems)?;
            entry.report_deletion(asked_ns)?;
        }
    }
    for namespace in namespaces {
        cluster::delete_namespace(namespace)?;
    }
    if settings.deletion_wait {
        wait_gone(namespaces, deadline, problems)?;
    }
    Ok(())
}

/// Takes those of `namespaces` out of `going`.
fn taken(going: &mut BTreeSet<String>, namespaces: &[String]) -> Vec<String> {
    let found = namespaces.iter().filter(|name| going.remove(*name));
    found.cloned().collect()
}

fn wait_gone(namespaces: &[String], deadline: u64, problems: &mut Problems) -> Result<(), Failure> {
    run::progress("wait for namespaces to go", 0, namespaces.len() as u64);
    let left_ms = ms(deadline.saturating_sub(run::now_ns()));
    match cluster::wait_namespaces_gone(namespaces, left_ms) {
        Err(failure) if failure.code == "timeout" => {
            problems.add("deletion-timeout", failure.message);
            Ok(())
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_goes_is_waited_for_once() {
        let names =
            |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.to_owned()).collect() };
        let mut going: BTreeSet<String> = names(&["a-1", "b-1"]).into_iter().collect();
        assert_eq!(taken(&mut going, &names(&["c-1", "a-1"])), ["a-1"]);
        assert!(taken(&mut going, &names(&["c-1", "a-1"])).is_empty());
        assert!(going.iter().eq(["b-1"]));
    }
}
