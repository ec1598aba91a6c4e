//! One entry of a workload in one iteration: a tracker, and the bulks that create and delete what it follows.

use kperf_sdk::benchmark::prelude::*;

use super::{Problems, bulk, ms};
use crate::manifest::{ENTRY_LABEL, WORKLOAD_LABEL, entry_name, labelled};
use crate::plan::{ObjectPlan, WorkloadPlan};
use crate::readiness::Readiness;
use crate::workload::{Churn, Pace};

/// Manifests handed over in one call.
const BATCH: usize = 64;
/// Between two looks at objects that may have failed while others are waited for.
const LOOK_MS: u64 = 2_000;

/// One entry of a workload in one iteration, while it is followed.
pub(super) struct Entry<'p> {
    pub(super) plan: &'p ObjectPlan,
    /// The value of its label.
    name: String,
    selector: String,
    /// Empty for objects that live in none.
    namespace: String,
    pub(super) tracker: Tracker,
    labels: Vec<Label>,
    /// Where its latencies begin: `sent`, or `created` where the server makes the names.
    base: &'static str,
    pub(super) created: u64,
}

impl<'p> Entry<'p> {
    pub(super) fn start(
        workload: &WorkloadPlan,
        plan: &'p ObjectPlan,
        index: usize,
        iteration: u64,
    ) -> Result<Self, Failure> {
        let settings = &workload.workload;
        let entry = entry_name(&settings.name, workload.index, index, iteration);
        // Objects without a namespace stand beside those of other runs.
        let selector = format!(
            "{WORKLOAD_LABEL}={},{ENTRY_LABEL}={entry}",
            workload.run_id()
        );
        let mut labels = vec![
            label("workload", &workload.title),
            label("kind", &plan.kind.kind),
        ];
        if settings.iterations > 1 {
            labels.push(label("iteration", iteration.to_string()));
        }
        if workload.objects.len() > 1 {
            labels.push(label("object", index.to_string()));
        }
        let name = format!("{} of {}", plan.kind.kind, workload.title);
        let (tracker, namespace) = follow(&name, plan, &plan.namespace(iteration), &selector)?;
        let named = plan.manifest(iteration, 1)?.name().is_some();
        Ok(Self {
            plan,
            name: entry,
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
    pub(super) fn create(
        &mut self,
        iteration: u64,
        first: u64,
        count: u64,
        pace: Option<Pace>,
        problems: &mut Problems,
    ) -> Result<(), Failure> {
        let what = format!("create {}", self.plan.kind.kind);
        let bulk = bulk(what.clone(), pace);
        let mut batch = Vec::with_capacity(BATCH);
        let mut pushed = 0;
        for manifest in self.plan.manifests(iteration).numbered(first, count) {
            let manifest = manifest?;
            let object = labelled(manifest.object, &self.name, &self.namespace);
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
            outcome.succeeded_per_sec(),
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

    /// Deletes its objects and returns when that was asked for, in nanoseconds from the start of the run.
    pub(super) fn delete_all(&self) -> Result<u64, Failure> {
        run::progress("delete objects", 0, self.created);
        let asked_ns = run::now_ns();
        if self.plan.kind.to_string() == "v1 Namespace" {
            // The server does not delete these by selector.
            self.for_each_object(|object| cluster::delete_namespace(&object.name))?;
        } else {
            let within = Scope::namespace(&self.namespace).labels(&self.selector);
            cluster::delete_all(&self.kind(), &within)?;
        }
        Ok(asked_ns)
    }

    fn for_each_object(
        &self,
        mut each: impl FnMut(&Tracked) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut offset = 0;
        loop {
            let page = self.tracker.objects(offset);
            if page.is_empty() {
                return Ok(());
            }
            offset += page.len() as u64;
            page.iter().try_for_each(&mut each)?;
        }
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
    pub(super) fn wait_running(
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

    pub(super) fn wait_deleted(
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
    pub(super) fn churn(
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
                    &self.namespace,
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
    pub(super) fn report_creation(&self) -> Result<(), Failure> {
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
    pub(super) fn report_watch(&self) {
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
    pub(super) fn report_deletion(&self, asked_ns: u64) -> Result<(), Failure> {
        let milestones = &self.plan.readiness.milestones;
        let Some(deleted) = milestones
            .iter()
            .position(|milestone| milestone.on_deletion)
        else {
            return Ok(());
        };
        let mut values = Vec::new();
        self.for_each_object(|object| {
            let stamp = object.stamps.get(deleted);
            // What churn deleted went before.
            let after = stamp.filter(|stamp| stamp.exact && stamp.received_ns >= asked_ns);
            values.extend(after.map(|stamp| stamp.received_ns - asked_ns));
            Ok(())
        })?;
        run::report_distribution("deletion", &self.labels, &values);
        Ok(())
    }
}

/// Begins to follow what carries the label, and says where: in the namespace, or in none for kinds that live in none.
fn follow(
    name: &str,
    plan: &ObjectPlan,
    namespace: &str,
    selector: &str,
) -> Result<(Tracker, String), Failure> {
    let start = |namespace: &str| {
        let kind = Kind::new(&plan.kind.api_version, &plan.kind.kind);
        let within = Scope::namespace(namespace).labels(selector);
        let options = tracker_options(TrackerOptions::new(name, kind, within), &plan.readiness);
        Tracker::start(&options)
    };
    match start(namespace) {
        Ok(tracker) => Ok((tracker, namespace.to_owned())),
        Err(failure) if failure.code == "no-such-kind" => Err(failure.hint(
            "next",
            "install what defines the kind (for KubeVirt its operator), or try --sim kubevirt=true",
        )),
        // Only the host knows which kinds live in no namespace: it refuses to look for them in one.
        Err(refused) if refused.code == "invalid" => match start("") {
            Ok(tracker) => Ok((tracker, String::new())),
            Err(failure) if failure.code == "denied" => {
                let next = format!(
                    "{}; outside of namespaces list, watch, create and deletecollection need a grant, and delete for a steady state",
                    failure.message
                );
                Err(refused.hint("next", next))
            }
            Err(failure) if failure.code == "invalid" => Err(refused),
            Err(failure) => Err(failure),
        },
        Err(failure) => Err(failure),
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
