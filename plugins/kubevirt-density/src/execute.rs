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

use kperf_sdk::benchmark::prelude::*;

use crate::plan::{ObjectPlan, Plan, WorkloadPlan};
use crate::readiness::Readiness;
use crate::workload::{Churn, Pace};

/// Tells the objects of one entry and iteration from all others of the run.
const ENTRY_LABEL: &str = "kubevirt-density/entry";
/// Manifests handed over in one call.
const BATCH: usize = 64;
/// Between two looks at objects that may have failed while others are waited for.
const LOOK_MS: u64 = 2_000;

/// What went wrong so far, in a sentence each; the verdict fails with the first.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, code: &str, message: String) {
        run::report_finding("error", code, &message);
        self.0.push(message);
    }
}

/// One entry of a workload in one iteration, while it is followed.
struct Entry<'p> {
    plan: &'p ObjectPlan,
    selector: String,
    namespace: String,
    tracker: Tracker,
    labels: Vec<Label>,
    /// Where its latencies begin: `sent`, or `created` where the server makes the names.
    base: &'static str,
    created: u64,
}

/// Runs every workload, one after another.
pub(crate) fn run_plan(plan: &Plan) -> Result<Verdict, Failure> {
    for warning in &plan.warnings {
        run::report_finding("warning", "workload", warning);
    }
    let mut problems = Problems::default();
    let mut objects = 0;
    for workload in &plan.workloads {
        objects += run_workload(plan, workload, &mut problems)?;
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
            settings.name, settings.iterations
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
    problems: &mut Problems,
) -> Result<u64, Failure> {
    let settings = &workload.workload;
    let mut objects = 0;
    for iteration in 1..=settings.iterations {
        objects += run_iteration(plan, workload, iteration, problems)?;
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

fn run_iteration(
    plan: &Plan,
    workload: &WorkloadPlan,
    iteration: u64,
    problems: &mut Problems,
) -> Result<u64, Failure> {
    let settings = &workload.workload;
    let namespaces: Vec<String> = workload.namespaces(iteration).into_iter().collect();
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
        .map(|entry| {
            run::progress("delete objects", 0, entry.created);
            let asked_ns = run::now_ns();
            let within = Scope::namespace(&entry.namespace).labels(&entry.selector);
            cluster::delete_all(&entry.kind(), &within)?;
            Ok(asked_ns)
        })
        .collect::<Result<_, Failure>>()?;
    if settings.deletion_wait {
        for (entry, asked_ns) in entries.iter().zip(begun) {
            entry.wait_deleted(deadline, settings.max_wait_ns, problems)?;
            entry.report_deletion(asked_ns);
        }
    }
    for namespace in namespaces {
        cluster::delete_namespace(namespace)?;
    }
    if settings.deletion_wait {
        run::progress("wait for namespaces to go", 0, namespaces.len() as u64);
        let left_ms = ms(deadline.saturating_sub(run::now_ns()));
        match cluster::wait_namespaces_gone(namespaces, left_ms) {
            Err(failure) if failure.code == "timeout" => {
                problems.add("deletion-timeout", failure.message);
            }
            result => result?,
        }
    }
    Ok(())
}

impl<'p> Entry<'p> {
    fn start(
        workload: &WorkloadPlan,
        plan: &'p ObjectPlan,
        index: usize,
        iteration: u64,
    ) -> Result<Self, Failure> {
        let settings = &workload.workload;
        let entry = entry_name(settings.name.as_str(), index, iteration);
        let selector = format!("{ENTRY_LABEL}={entry}");
        let namespace = plan.namespace(iteration);
        let mut labels = vec![
            label("workload", &settings.name),
            label("kind", &plan.kind.kind),
        ];
        if settings.iterations > 1 {
            labels.push(label("iteration", iteration.to_string()));
        }
        if workload.objects.len() > 1 {
            labels.push(label("object", index.to_string()));
        }
        let name = format!("{} of {}", plan.kind.kind, settings.name);
        let kind = Kind::new(&plan.kind.api_version, &plan.kind.kind);
        let within = Scope::namespace(&namespace).labels(&selector);
        let options = tracker_options(TrackerOptions::new(name, kind, within), &plan.readiness);
        let tracker = Tracker::start(&options).map_err(|failure| {
            if failure.code == "no-such-kind" {
                return failure.hint(
                    "next",
                    "install what defines the kind (for KubeVirt its operator), or try --sim kubevirt=true",
                );
            }
            failure
        })?;
        let named = plan.manifest(iteration, 1)?.name().is_some();
        Ok(Self {
            plan,
            selector,
            namespace,
            tracker,
            labels,
            base: if named { "sent" } else { "created" },
            created: 0,
        })
    }

    fn kind(&self) -> Kind {
        Kind::new(&self.plan.kind.api_version, &self.plan.kind.kind)
    }

    /// Creates replicas `first` and on, `count` of them.
    fn create(
        &mut self,
        iteration: u64,
        first: u64,
        count: u64,
        pace: Option<Pace>,
        problems: &mut Problems,
    ) -> Result<(), Failure> {
        let what = format!("create {}", self.plan.kind.kind);
        let bulk = bulk(what.clone(), pace);
        let entry = self.selector.rsplit('=').next().unwrap_or_default();
        let mut batch = Vec::with_capacity(BATCH);
        let mut pushed = 0;
        for manifest in self.plan.manifests(iteration).numbered(first, count) {
            let manifest = manifest?;
            let object = labelled(manifest.object, entry, &manifest.namespace);
            batch.push(Action::of(Operation::create(&object)));
            pushed += 1;
            if batch.len() == BATCH || pushed == count {
                bulk.push(&std::mem::take(&mut batch))?;
                run::progress(&what, pushed, count);
            }
        }
        let outcome = bulk.finish()?;
        self.created += outcome.succeeded;
        run::report_metric(
            "creation-rate",
            outcome.achieved_rate,
            "objects-per-second",
            &self.labels,
        );
        if outcome.failed > 0 {
            let why = outcome.messages.first().map_or("", String::as_str);
            problems.add(
                "creation-failed",
                format!(
                    "{} of {count} {} could not be created: {why}",
                    outcome.failed, self.plan.kind.kind
                ),
            );
        }
        Ok(())
    }

    /// How many objects reached a milestone.
    fn reached(&self, milestone: &str) -> u64 {
        let counts = self.tracker.counts();
        let found = counts
            .milestones
            .iter()
            .find(|count| count.name == milestone);
        found.map_or(0, |count| count.reached)
    }

    /// Waits until all that was created runs, or some of it never will.
    fn wait_running(
        &self,
        deadline: u64,
        max_wait_ns: u64,
        problems: &mut Problems,
    ) -> Result<(), Failure> {
        let readiness = &self.plan.readiness;
        let kind = &self.plan.kind.kind;
        loop {
            run::progress(
                &format!("wait for {kind} to run"),
                self.reached(&readiness.running),
                self.created,
            );
            let left_ms = ms(deadline.saturating_sub(run::now_ns()));
            match self
                .tracker
                .wait(&readiness.running, self.created, left_ms.min(LOOK_MS))
            {
                Ok(()) => return Ok(()),
                Err(failure) if failure.code != "timeout" => return Err(failure),
                Err(_) => {}
            }
            let running = self.reached(&readiness.running);
            let failed: u64 = readiness.failed.iter().map(|name| self.reached(name)).sum();
            let message = if failed > 0 && running + failed >= self.created {
                format!("{failed} of {} {kind} failed", self.created)
            } else if run::now_ns() >= deadline {
                format!(
                    "{running} of {} {kind} ran within {} s",
                    self.created,
                    max_wait_ns / 1_000_000_000
                )
            } else {
                continue;
            };
            self.name_those_that_do_not_run();
            problems.add("creation-timeout", message);
            return Ok(());
        }
    }

    /// The first ten, with how far they came.
    fn name_those_that_do_not_run(&self) {
        let milestones = &self.plan.readiness.milestones;
        let Some(running) = milestones
            .iter()
            .position(|milestone| milestone.name == self.plan.readiness.running)
        else {
            return;
        };
        let mut named = Vec::new();
        let mut offset = 0;
        loop {
            let page = self.tracker.objects(offset);
            if page.is_empty() || named.len() == 10 {
                break;
            }
            offset += page.len() as u64;
            for object in page {
                let at = |index: usize| object.stamps.get(index).is_some_and(|s| s.received_ns > 0);
                if at(running) || named.len() == 10 {
                    continue;
                }
                let last = (0..milestones.len()).rev().find(|&index| at(index));
                let last = last.and_then(|index| milestones.get(index));
                let last = last.map_or("nothing", |milestone| milestone.name.as_str());
                named.push(format!("{} ({last})", object.name));
            }
        }
        if !named.is_empty() {
            let message = format!("not running, and how far they came: {}", named.join(", "));
            run::report_finding("warning", "not-running", &message);
        }
    }

    fn wait_deleted(
        &self,
        deadline: u64,
        max_wait_ns: u64,
        problems: &mut Problems,
    ) -> Result<(), Failure> {
        run::progress("wait for objects to go", 0, self.created);
        let left_ms = ms(deadline.saturating_sub(run::now_ns()));
        match self.tracker.wait("present", 0, left_ms) {
            Err(failure) if failure.code == "timeout" => {
                problems.add(
                    "deletion-timeout",
                    format!(
                        "{} {} are still there after {} s",
                        self.tracker.counts().present,
                        self.plan.kind.kind,
                        max_wait_ns / 1_000_000_000
                    ),
                );
                Ok(())
            }
            result => result,
        }
    }

    /// Replaces objects in cycles for as long as the churn lasts; how many were created on top.
    fn churn(
        &mut self,
        churn: &Churn,
        iteration: u64,
        pace: Option<Pace>,
        max_wait_ns: u64,
        problems: &mut Problems,
    ) -> Result<u64, Failure> {
        let before = self.created;
        let end = run::now_ns().saturating_add(churn.duration_ns);
        let (mut oldest, mut next) = (1, self.plan.object.replicas + 1);
        let mut cycles = 0_u32;
        loop {
            let left_ns = end.saturating_sub(run::now_ns());
            if left_ns <= churn.pause_ns || churn.replaced == 0 {
                run::progress("hold the steady state", 0, 0);
                run::sleep(ms(left_ns))?;
                break;
            }
            run::sleep(ms(churn.pause_ns))?;
            let what = format!("delete {}", self.plan.kind.kind);
            let bulk = bulk(what, pace);
            for manifest in self
                .plan
                .manifests(iteration)
                .numbered(oldest, churn.replaced)
            {
                let manifest = manifest?;
                let Some(name) = manifest.name() else {
                    return Err(Failure::invalid_config(
                        "object.templateFile",
                        "a steady state needs objects with names of their own, not generateName",
                    ));
                };
                bulk.push(&[Action::of(Operation::delete(
                    self.kind(),
                    &manifest.namespace,
                    name,
                ))])?;
            }
            bulk.finish()?;
            self.create(iteration, next, churn.replaced, pace, problems)?;
            let deadline = run::now_ns().saturating_add(max_wait_ns);
            self.wait_running(deadline, max_wait_ns, problems)?;
            if !problems.0.is_empty() {
                break;
            }
            oldest += churn.replaced;
            next += churn.replaced;
            cycles += 1;
        }
        run::report_metric("churn-cycles", f64::from(cycles), "cycles", &self.labels);
        Ok(self.created - before)
    }

    /// From the request, or the creation, to every milestone that is not the end.
    fn report_creation(&self) -> Result<(), Failure> {
        let milestones = &self.plan.readiness.milestones;
        for milestone in milestones.iter().filter(|milestone| !milestone.on_deletion) {
            let name = &milestone.name;
            if self.base == name || self.reached(name) == 0 {
                continue;
            }
            self.tracker.report_latency(
                &format!("{}_to_{name}", self.base),
                &self.labels,
                self.base,
                name,
                clock::RECEIVED,
            )?;
            if name != "created" && milestone.api_time.is_some() {
                let mut labels = self.labels.clone();
                labels.push(label("clock", "api"));
                self.tracker.report_latency(
                    &format!("created_to_{name}"),
                    &labels,
                    "created",
                    name,
                    clock::API,
                )?;
            }
        }
        Ok(())
    }

    /// How much was watched, and how often the watch was away: what it missed has no time of receipt.
    fn report_watch(&self) {
        let counts = self.tracker.counts();
        run::report_metric("watch_events", counts.events as f64, "events", &self.labels);
        run::report_metric(
            "watch_reconnects",
            counts.reconnects as f64,
            "connections",
            &self.labels,
        );
    }

    /// From the request that deleted them all.
    fn report_deletion(&self, asked_ns: u64) {
        let milestones = &self.plan.readiness.milestones;
        let Some(deleted) = milestones
            .iter()
            .position(|milestone| milestone.on_deletion)
        else {
            return;
        };
        let mut values = Vec::new();
        let mut offset = 0;
        loop {
            let page = self.tracker.objects(offset);
            if page.is_empty() {
                break;
            }
            offset += page.len() as u64;
            values.extend(
                page.iter()
                    .filter_map(|object| object.stamps.get(deleted))
                    // What churn deleted went before.
                    .filter(|stamp| stamp.exact && stamp.received_ns >= asked_ns)
                    .map(|stamp| stamp.received_ns - asked_ns),
            );
        }
        run::report_distribution("deletion", &self.labels, &values);
    }
}

fn tracker_options(mut options: TrackerOptions, readiness: &Readiness) -> TrackerOptions {
    for known in &readiness.milestones {
        let mut milestone = Milestone::new(&known.name);
        for check in &known.checks {
            milestone = milestone.when(match &check.value {
                Some(value) => Check::new(&check.path, check.op.name(), value),
                None => Check {
                    path: check.path.clone(),
                    op: check.op.name().to_owned(),
                    value: String::new(),
                },
            });
        }
        if let Some(path) = &known.api_time {
            milestone = milestone.api_time(path);
        }
        if known.on_deletion {
            milestone = milestone.on_deletion();
        }
        options = options.milestone(milestone);
    }
    options
}

fn label(key: &str, value: impl Into<String>) -> Label {
    Label {
        key: key.to_owned(),
        value: value.into(),
    }
}

/// A label value: what is not allowed in one becomes `-`, and it is no longer than 63.
fn entry_name(workload: &str, index: usize, iteration: u64) -> String {
    let name: String = workload
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    format!("{}-o{index}-i{iteration}", name.trim_matches('-'))
        .trim_start_matches('-')
        .to_owned()
}

/// With the label of its entry, and in its namespace if the template names none.
fn labelled(mut object: Value, entry: &str, namespace: &str) -> Value {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return object;
    };
    metadata
        .entry("namespace")
        .or_insert_with(|| Value::from(namespace));
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if let Some(labels) = labels.as_object_mut() {
        labels.insert(ENTRY_LABEL.to_owned(), Value::from(entry));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_label_value() {
        assert_eq!(
            entry_name("kubevirt-density-100", 0, 1),
            "kubevirt-density-100-o0-i1"
        );
        assert_eq!(entry_name("", 2, 3), "o2-i3");
        assert_eq!(entry_name("ä b/c", 0, 1), "b-c-o0-i1");
        assert!(entry_name(&"x".repeat(200), 1000, 1_000_000).len() <= 63);
    }

    #[test]
    fn an_object_gets_its_label_and_keeps_its_own() {
        let object = json!({"metadata": {"name": "a", "labels": {"mine": "1"}}});
        let object = labelled(object, "e", "ns");
        assert_eq!(
            object["metadata"],
            json!({"name": "a", "namespace": "ns", "labels": {"mine": "1", ENTRY_LABEL: "e"}})
        );
        let elsewhere = labelled(json!({"metadata": {"namespace": "other"}}), "e", "ns");
        assert_eq!(elsewhere["metadata"]["namespace"], "other");
    }
}
