//! Loads of a benchmark from runner groups: pods of the cluster, or processes of this machine.
//!
//! Each load is a group of its own. What its runners measured enters the run's report as if this process had measured
//! it, and the group is removed when it is over, or with the run.
//!
//! Requests of runners do not pass this process, so the gate stands before them: the rights that the profile needs
//! must be covered by what the benchmark is granted, or nothing starts; and pods get an account with exactly those.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use kperf_cluster::{OUTER_RUN_LABEL, RunId, Session, cleanup::CleanReport};
use kperf_load::Stop;
use kperf_runners::delete_namespace;
use kperf_runtime::{
    Failure,
    benchmark::{LoadHandle, LoadOutcome},
    failure, report as doc,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    board::Board,
    load_handle::{Running, outcome},
    loads::{self, wrong},
    merged,
    powers::of_api,
    reported::{LoadUse, Reported, RunnersUse},
    room::Taken,
    say_clean,
};
use crate::{
    exit::{Exit, Failed},
    export::Feed,
    live::Live,
    plugins::Plugins,
    profile::{self, Resolved},
    runner_group::{Group, GroupOptions, Outcome, Placement, prepare},
};

/// Most exchanges of a load that are kept one by one, so that kperf's result can list errors: of all runners together,
/// and of one. Of longer loads errors are counted by class alone, unless raw data is asked for.
const KEPT_EXCHANGES: (u64, u64) = (1_000_000, 100_000);
/// Exchanges that fit into one part of a runner's report, by far.
const EXCHANGES_PER_PART: u64 = 20_000;
/// Longest first part of a group's name, of 40; the rest tells runs and loads apart.
const NAME_BYTES: usize = 26;

/// Starts groups, and removes them.
pub(crate) struct Groups {
    pub(crate) placement: Placement,
    pub(crate) session: Arc<Session>,
    pub(crate) reported: Arc<Reported>,
    pub(crate) feed: Feed,
    /// Intervals handed to the exporters, over all loads.
    pub(crate) intervals: Arc<AtomicU32>,
    pub(crate) board: Arc<Board>,
    pub(crate) seed: u64,
    pub(crate) raw_data: bool,
    pub(crate) keep: bool,
    /// Longest that removing a group may take.
    pub(crate) cleanup_timeout: Duration,
    pub(crate) started: Mutex<Vec<(Stop, JoinHandle<Removed>)>>,
    pub(crate) count: AtomicU32,
}

/// What is left of a group.
pub(crate) struct Removed {
    run: RunId,
    clean: CleanReport,
    kept: Option<String>,
}

impl Groups {
    /// Checks profile and rights, and returns once the runners have begun.
    pub(super) async fn start(
        &self,
        plugins: &Arc<Mutex<Plugins>>,
        name: String,
        profile: &str,
        runners: u32,
        taken: Taken,
    ) -> Result<Box<dyn LoadHandle>, Failure> {
        let asked = LoadUse::new(profile, runners);
        let group = self.prepare(plugins, &name, profile, runners).await?;
        for grant in &group.grants {
            self.session.covers(grant).map_err(|error| of_api(&error))?;
        }
        self.reported.load(asked);
        let stop = Stop::new();
        let (begun, has_begun) = oneshot::channel();
        let (done, outcome) = oneshot::channel();
        let one = One {
            name,
            group,
            placement: self.placement.clone(),
            session: Arc::clone(&self.session),
            reported: Arc::clone(&self.reported),
            feed: self.feed.clone(),
            intervals: Arc::clone(&self.intervals),
            board: Arc::clone(&self.board),
            keep: self.keep,
            cleanup_timeout: self.cleanup_timeout,
            stop: stop.clone(),
            taken: Some(taken),
        };
        let task = tokio::spawn(one.run(begun, done));
        self.started.lock().push((stop.clone(), task));
        Running::begun(stop, has_begun, outcome, &self.session, Stop::stop).await
    }

    async fn prepare(
        &self,
        plugins: &Arc<Mutex<Plugins>>,
        name: &str,
        text: &str,
        runners: u32,
    ) -> Result<Group, Failure> {
        let (_, resolved) = loads::read(name, text)?;
        let mut options = GroupOptions {
            seed: Some(self.seed),
            take_sampled: true,
            ..self.placement.options()
        };
        let parts = parts(&resolved, runners);
        options.raw_data = self.raw_data || parts.is_some();
        let profile: Value = serde_json::from_str(text)
            .or_else(|_| serde_yaml::from_str(text))
            .map_err(|error| wrong(name, error))?;
        let mut file = json!({
            "count": runners,
            "loadProfile": profile,
            // What is left of it when this process is killed is found by it.
            "labels": {OUTER_RUN_LABEL: self.session.run().as_str()},
        });
        if let Some(parts) = parts.filter(|_| !self.raw_data) {
            file["reportParts"] = parts.into();
        }
        let file = profile::group(&file.to_string(), Path::new("profile"), false)
            .map_err(|error| wrong(name, error))?;
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let group_name = group_name(name, self.session.run().as_str(), number);
        let plugins = Arc::clone(plugins);
        // It compiles plugins, and may run them.
        let prepared = tokio::task::spawn_blocking(move || {
            prepare(file, &group_name, options, &mut plugins.lock())
        });
        let group = match prepared.await {
            Ok(group) => group.map_err(|failed| wrong(name, failed))?,
            Err(error) => return Err(failure("failed", format!("load `{name}`: {error}"))),
        };
        for warning in &group.warnings {
            self.reported.finding(
                "warning",
                "load/profile".to_owned(),
                format!("{name}: {warning}"),
            );
        }
        Ok(group)
    }

    /// Ends what still runs, and says what was removed; whether something is left that should not.
    pub(super) async fn finish(&self, live: &Live) -> bool {
        let started = std::mem::take(&mut *self.started.lock());
        for (stop, _) in &started {
            stop.stop();
        }
        let mut left = false;
        let mut kept = false;
        for (_, task) in started {
            let removed = match task.await {
                Ok(removed) => removed,
                Err(error) => {
                    live.say(&format!("a runner group was lost: {error}"));
                    left = true;
                    continue;
                }
            };
            say_clean(&removed.clean, &removed.run, live);
            left |= !removed.clean.is_complete();
            if let Some(group) = removed.kept {
                kept = true;
                self.reported.finding(
                    "info",
                    "cleanup/kept".to_owned(),
                    format!(
                        "runner group {group} was kept; `kperf-host rg delete {group}` deletes it"
                    ),
                );
            }
        }
        if let Placement::Cluster { namespace, .. } = &self.placement
            && !kept
        {
            let cluster = self.session.cluster();
            match delete_namespace(cluster, namespace, self.cleanup_timeout).await {
                Ok(true) => live.say(&format!("deleted namespace {namespace}")),
                Ok(false) => {}
                Err(error) => {
                    live.say(&error.to_string());
                    left = true;
                }
            }
        }
        if left {
            self.reported.finding(
                "error",
                "cleanup/left".to_owned(),
                "something of a runner group is left; `kperf-host rg delete` tries again"
                    .to_owned(),
            );
        }
        left
    }
}

/// Parts of a report with every exchange; none when there are too many of them.
fn parts(resolved: &Resolved, runners: u32) -> Option<u64> {
    let totals: Option<Vec<u64>> = resolved.specs.iter().map(|spec| spec.total).collect();
    let of_one = totals?
        .iter()
        .fold(0_u64, |sum, total| sum.saturating_add(*total));
    let of_all = of_one.saturating_mul(runners.into());
    let fits = of_all <= KEPT_EXCHANGES.0 && of_one <= KEPT_EXCHANGES.1;
    fits.then_some(1 + of_one / EXCHANGES_PER_PART)
}

/// Unlike that of any other load and run, as a group can be called.
fn group_name(load: &str, run: &str, number: u32) -> String {
    let mut name: String = load
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphabetic())
        .take(NAME_BYTES)
        .collect();
    if name.is_empty() {
        name.push_str("load");
    }
    let noise = run.rsplit('-').next().unwrap_or_default();
    name.push('-');
    name.extend(noise.chars().take(6));
    if number > 0 {
        name.push_str(&format!("-{number}"));
    }
    name
}

fn of_failed(failed: &Failed) -> Failure {
    let code = match failed.exit {
        Exit::Usage => "invalid",
        Exit::Target => "unreachable",
        Exit::Interrupted => "interrupted",
        _ => "failed",
    };
    failure(code, failed.to_string())
}

/// One load, from the start of its group to the end of it.
struct One {
    name: String,
    group: Group,
    placement: Placement,
    session: Arc<Session>,
    reported: Arc<Reported>,
    feed: Feed,
    intervals: Arc<AtomicU32>,
    board: Arc<Board>,
    keep: bool,
    cleanup_timeout: Duration,
    stop: Stop,
    taken: Option<Taken>,
}

impl One {
    async fn run(
        mut self,
        begun: oneshot::Sender<()>,
        done: oneshot::Sender<Result<LoadOutcome, Failure>>,
    ) -> Removed {
        let mut removed = Removed {
            run: self.group.run().clone(),
            clean: CleanReport::default(),
            kept: None,
        };
        let cluster = self.session.cluster();
        let started = self.placement.start(&self.group, cluster, &self.stop).await;
        let mut running = match started {
            Ok(running) => running,
            Err(failed) => {
                if failed.exit == Exit::LeftBehind {
                    removed.clean.errors.push(failed.to_string());
                }
                // Whoever started it may be gone.
                done.send(Err(of_failed(&failed))).ok();
                return removed;
            }
        };
        let mut begun = Some(begun);
        let mut has_begun = || {
            if let Some(begun) = begun.take() {
                begun.send(()).ok();
            }
        };
        let say = |text: &str| self.board.step(text.to_owned(), 0, 0);
        let ended = running.to_the_end(&self.stop, &mut has_begun, &say).await;
        let result = ended.and_then(|outcome| self.take(outcome));
        if let Err(failed) = &result {
            self.reported.finding(
                "error",
                "load/runners".to_owned(),
                format!("{}: {failed}", self.name),
            );
        }
        if result.is_ok() {
            // All have ended, and whoever hears so may start as many at once. Where something failed, some may still
            // be there until they are removed.
            self.taken = None;
        }
        done.send(result.map_err(|failed| of_failed(&failed))).ok();
        if self.keep && matches!(self.placement, Placement::Cluster { .. }) {
            removed.kept = Some(self.group.name.clone());
        } else {
            removed.clean = running.delete(self.cleanup_timeout).await;
        }
        removed
    }

    /// What the runners measured becomes the run's.
    fn take(&self, ended: Outcome) -> Result<LoadOutcome, Failed> {
        let count = ended.plan.count;
        let missing: Vec<String> = ended
            .missing()
            .map(|line| {
                let why = line.missing.as_deref().unwrap_or_default();
                format!("{}: {why}", line.name)
            })
            .collect();
        let report = ended.into_report()?;
        let merged = report.summary;
        let phases = merged::phases(&self.name, &merged);
        let mut outcome = outcome(&phases);
        if !missing.is_empty() && outcome.ended == "completed" {
            "failed".clone_into(&mut outcome.ended);
            outcome.reason = format!(
                "{} of {count} runners are missing: {}",
                missing.len(),
                missing.join("; ")
            );
        }
        let skew = merged
            .metrics
            .iter()
            .find(|metric| metric.name == "start-skew");
        self.reported.runners(RunnersUse {
            load: self.name.clone(),
            place: self.placement.as_str(),
            count,
            reported: count as usize - missing.len(),
            start_skew_seconds: skew.map(|metric| metric.value),
        });
        for mut interval in report.intervals {
            let of = merged
                .phases
                .iter()
                .position(|phase| phase.name == interval.phase);
            if let Some(phase) = of.and_then(|at| phases.get(at)) {
                interval.phase.clone_from(&phase.result.name);
            }
            interval.index = self.intervals.fetch_add(1, Ordering::Relaxed);
            self.feed.interval(interval);
        }
        for phase in phases {
            self.reported.phase(phase);
        }
        for finding in merged.findings {
            if !finding.code.starts_with(merged::FAILED) {
                let message = format!("{}: {}", self.name, finding.message);
                self.reported
                    .finding(&finding.severity, finding.code, message);
            }
        }
        for metric in merged.metrics {
            // The run has rates of its own.
            if matches!(metric.name.as_str(), "achieved-rate" | "received-rate") {
                continue;
            }
            let mut labels = metric.labels;
            labels.push(doc::Label {
                key: "load".to_owned(),
                value: self.name.clone(),
            });
            self.reported
                .metric(metric.name, metric.value, metric.unit, labels);
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_loads_and_runs_have_names_of_their_own() {
        for (load, number, expected) in [
            ("load", 0, "load-0f00ba"),
            (
                "1_Long name of a load, longer than any",
                2,
                "long-name-of-a-load--longe-0f00ba-2",
            ),
            ("", 0, "load-0f00ba"),
        ] {
            let name = group_name(load, "r66aabbcc-0f00ba", number);
            assert_eq!(name, expected);
            assert!(name.len() <= 40);
        }
    }

    #[test]
    fn exchanges_are_kept_when_there_are_not_too_many() {
        let of = |spec: &str, runners| {
            let text = format!(
                "version: 1\nspecs: [{{{spec}, requests: [{{shares: 1, staleList: {{version: v1, resource: pods}}}}]}}]"
            );
            let (_, resolved) = loads::read("x", &text).unwrap();
            parts(&resolved, runners)
        };
        assert_eq!(of("total: 1000", 10), Some(1));
        assert_eq!(of("total: 100000", 10), Some(6));
        assert_eq!(of("total: 100000", 11), None);
        assert_eq!(of("total: 100001", 1), None);
        assert_eq!(of("duration: 5", 1), None);
    }
}
