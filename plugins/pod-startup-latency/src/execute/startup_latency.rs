//! `PodStartupLatency`: start and gather.

use kperf_sdk::benchmark::prelude::*;

use super::follow::Followed;
use super::{Execution, Trouble, not_started};
use crate::cl2::calls::{Selector, Thresholds};
use crate::cl2::duration::go_duration;
use crate::config::Limits;
use crate::startup::{
    Definition, Latencies, POD_STARTUP, PodSet, Reading, ScheduledAt, Startup, unix_us,
};

/// So many pods at most are named in a finding.
const MAX_NAMED: usize = 10;

/// What was waited for was seen by a watch of its own, which may be ahead of the one that stamps.
const CATCH_UP_NS: u64 = 2_000_000_000;
const LOOK_AGAIN_MS: u64 = 20;

/// Pods that are followed from `start` on.
pub(super) struct PodsFollowed {
    pods: Followed,
    selector: Selector,
    limits: Limits,
}

fn tracker_options(identifier: &str, definition: Definition, scope: Scope) -> TrackerOptions {
    // The order is that of `startup::CREATE`, `SCHEDULE` and `RUN`, and of `VOLUMES` and `CONTAINER_STATUSES`.
    let options = TrackerOptions::new(identifier, Kind::new("v1", "Pod"), scope)
        .milestone(Milestone::new("create").api_time("/metadata/creationTimestamp"))
        .milestone(
            Milestone::new("schedule")
                .when(Check::exists("/spec/nodeName"))
                .api_time("/status/conditions/[type=PodScheduled]/lastTransitionTime"),
        )
        .milestone(
            Milestone::new("run")
                .when(Check::equals("/status/phase", "Running"))
                .api_time("/status/containerStatuses/0/state/running/startedAt"),
        )
        .capture("/spec/volumes");
    match definition {
        Definition::Api2024 => options.capture("/status/containerStatuses"),
        Definition::Watch2026 => options,
    }
}

/// Waits a moment while there are pods that were not seen to run; some may never.
fn catch_up(pods: &Followed) -> Result<(), Failure> {
    let until_ns = run::now_ns() + CATCH_UP_NS;
    while pods.reached("run") < pods.reached("create") && run::now_ns() < until_ns {
        run::sleep(LOOK_AGAIN_MS)?;
    }
    Ok(())
}

impl Execution<'_> {
    pub(super) fn start_startup(
        &mut self,
        identifier: &str,
        selector: &Selector,
        thresholds: &Thresholds,
    ) -> Result<(), Trouble> {
        if self.startups.contains_key(identifier) {
            return Ok(());
        }
        let definition = self.config.definition;
        let pods = Followed::start(selector, &self.namespaces, |scope| {
            tracker_options(identifier, definition, scope)
        })?;
        let followed = PodsFollowed {
            pods,
            selector: selector.clone(),
            limits: self.config.limits(thresholds)?,
        };
        self.startups.insert(identifier.to_owned(), followed);
        Ok(())
    }

    pub(super) fn gather_startup(
        &mut self,
        identifier: &str,
        scheduler: &str,
    ) -> Result<(), Trouble> {
        // Taken out: after a gather it can be started anew.
        let Some(followed) = self.startups.remove(identifier) else {
            return Err(not_started());
        };
        catch_up(&followed.pods)?;
        followed.pods.stop();
        if self.config.report_pods {
            followed.pods.report_objects();
        }
        let scheduled_at = match self.config.definition {
            Definition::Api2024 => self.scheduled_at(&followed.selector, scheduler)?,
            Definition::Watch2026 => ScheduledAt::new(),
        };
        let reading = Reading {
            definition: self.config.definition,
            scheduled_at: &scheduled_at,
            start_unix_us: self.context.start_unix_us,
        };
        let mut startup = Startup::default();
        followed.pods.for_each(|pod| startup.add(pod, &reading));
        self.report(identifier, &startup, &followed.limits);
        Ok(())
    }

    /// When the scheduler says that it placed the pods.
    fn scheduled_at(&self, selector: &Selector, scheduler: &str) -> Result<ScheduledAt, Failure> {
        let of_pods = Selector {
            namespace: selector.namespace.clone(),
            labels: String::new(),
            fields: format!("involvedObject.kind=Pod,source={scheduler}"),
        };
        let events = Followed::start(&of_pods, &self.namespaces, |scope| {
            TrackerOptions::new("scheduler events", Kind::new("v1", "Event"), scope)
                .milestone(Milestone::new("seen"))
                .capture("/involvedObject/name")
                .capture("/reason")
                .capture("/eventTime")
                .capture("/firstTimestamp")
        })?;
        events.stop();
        let mut scheduled_at = ScheduledAt::new();
        events.for_each(|event| {
            let text = |at: usize| -> Option<String> {
                serde_json::from_str(event.captures.get(at)?).ok()
            };
            if text(1).as_deref() != Some("Scheduled") {
                return;
            }
            let time = |at: usize| unix_us(&text(at)?);
            // The older kind of event has no time in microseconds.
            if let (Some(pod), Some(at_us)) = (text(0), time(2).or_else(|| time(3))) {
                scheduled_at.insert((event.namespace.clone(), pod), at_us);
            }
        });
        if scheduled_at.is_empty() {
            run::report_finding(
                "warning",
                "no-scheduler-events",
                &format!(
                    "no Event of {scheduler} says when a pod was scheduled: by the definition {} there are no times \
                     from or to it (Events last an hour; name the scheduler with schedulerName, or use {})",
                    Definition::Api2024.name(),
                    Definition::Watch2026.name()
                ),
            );
        }
        Ok(scheduled_at)
    }

    fn report(&mut self, identifier: &str, startup: &Startup, limits: &Limits) {
        let definition = self.config.definition;
        let base = [
            self.label("measurement", identifier),
            self.label("test", &self.test.name),
            self.label("definition", definition.name()),
        ];
        let mut lacking = Vec::new();
        for set in PodSet::EACH {
            let of_set = [&base[..], &[self.label("set", set.prefix())]].concat();
            for count in startup.counts(definition, set) {
                let transition = count.transition.map(|name| self.label("transition", name));
                let labels: Vec<Label> = of_set.iter().cloned().chain(transition).collect();
                run::report_metric(count.name, count.pods as f64, "objects", &labels);
            }
            for transition in definition.transitions() {
                let latencies = startup.latencies(transition, set);
                let values: Vec<u64> = latencies.sorted.iter().map(|(ns, _)| *ns).collect();
                run::report_distribution(transition.name, &of_set, &values);
                log(set, startup, &latencies, limits);
                if latencies.missing > 0 && set == PodSet::All {
                    lacking.push(format!("{} {}", transition.name, latencies.missing));
                }
                if transition.name == POD_STARTUP {
                    self.check(identifier, set, startup, &latencies, limits);
                }
            }
        }
        if !lacking.is_empty() {
            let message = format!(
                "{identifier}: of {} pods some lack a moment and are not in the percentiles of {}",
                startup.count(PodSet::All),
                lacking.join(", ")
            );
            run::report_finding("warning", "pods-without-times", &message);
        }
        for (percentile, ns) in [
            ("50", limits.perc50_ns),
            ("90", limits.perc90_ns),
            ("99", limits.perc99_ns),
        ] {
            let labels = [&base[..], &[self.label("percentile", percentile)]].concat();
            run::report_metric("threshold", ns as f64 / 1e9, "seconds", &labels);
        }
        let never_ran = startup.never_ran();
        if never_ran.len() > 0 {
            run::report_metric("pods_never_ran", never_ran.len() as f64, "objects", &base);
            let (all, count) = (startup.count(PodSet::All), never_ran.len());
            let named: Vec<&str> = never_ran.take(MAX_NAMED).collect();
            self.problem(
                "pods-never-ran",
                format!(
                    "{identifier}: {count} of {all} pods never ran: {}{}",
                    named.join(", "),
                    if count > named.len() { ", …" } else { "" }
                ),
            );
        }
    }

    /// Compares `pod_startup` with its limits, and names the slowest pods.
    fn check(
        &mut self,
        identifier: &str,
        set: PodSet,
        startup: &Startup,
        latencies: &Latencies,
        limits: &Limits,
    ) {
        let name = format!("{}{identifier}", set.prefix());
        if set == PodSet::All {
            run::report_finding(
                "info",
                "worst-pods",
                &format!("{name}: {}", worst(startup, latencies)),
            );
            self.results.push(format!(
                "{identifier}: {} pods, {POD_STARTUP} {} ({})",
                latencies.sorted.len(),
                percentiles(latencies),
                self.config.definition.name()
            ));
        }
        for violation in violations(latencies, limits) {
            self.problem("threshold-exceeded", format!("{name}: {violation}"));
        }
    }
}

/// Percentiles of `pod_startup` above their limits, in a sentence each.
fn violations(latencies: &Latencies, limits: &Limits) -> Vec<String> {
    [
        (50, limits.perc50_ns),
        (90, limits.perc90_ns),
        (99, limits.perc99_ns),
    ]
    .into_iter()
    .filter_map(|(percent, limit_ns)| {
        let ns = latencies.percentile_ns(percent);
        (ns > limit_ns).then(|| {
            format!(
                "perc{percent} of {POD_STARTUP} is {}, above its threshold of {}",
                go_duration(ns),
                go_duration(limit_ns)
            )
        })
    })
    .collect()
}

fn percentiles(latencies: &Latencies) -> String {
    let of = |percent| go_duration(latencies.percentile_ns(percent));
    format!("perc50: {}, perc90: {}, perc99: {}", of(50), of(90), of(99))
}

/// The slowest pods, in ClusterLoader2's words.
fn worst(startup: &Startup, latencies: &Latencies) -> String {
    let worst = latencies.worst(MAX_NAMED);
    let named: Vec<String> = worst
        .iter()
        .map(|(ns, pod)| {
            let name = startup.pods.get(*pod).map_or("", String::as_str);
            format!("{{{name} {}}}", go_duration(*ns))
        })
        .collect();
    format!(
        "{} worst {} latencies: [{}]",
        worst.len(),
        latencies.transition,
        named.join(" ")
    )
}

fn log(set: PodSet, startup: &Startup, latencies: &Latencies, limits: &Limits) {
    let name = format!("{}PodStartupLatency", set.prefix());
    kperf_sdk::info!("{name}: {}", worst(startup, latencies));
    let limits = if latencies.transition == POD_STARTUP {
        format!(
            "; thresholds {}, {}, {}",
            go_duration(limits.perc50_ns),
            go_duration(limits.perc90_ns),
            go_duration(limits.perc99_ns)
        )
    } else {
        String::new()
    };
    kperf_sdk::info!("{name}: {}{limits}", percentiles(latencies));
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: u64 = 1_000_000_000;

    #[test]
    fn each_percentile_has_its_limit() {
        let latencies = Latencies {
            transition: POD_STARTUP,
            sorted: (1..=10).map(|second| (second * SEC, 0)).collect(),
            missing: 0,
        };
        let limits = |perc50_ns, perc90_ns, perc99_ns| Limits {
            perc50_ns,
            perc90_ns,
            perc99_ns,
        };
        assert!(violations(&latencies, &limits(5 * SEC, 9 * SEC, 10 * SEC)).is_empty());
        assert_eq!(
            violations(&latencies, &limits(5 * SEC, 9 * SEC, 8 * SEC)),
            ["perc99 of pod_startup is 10s, above its threshold of 8s"]
        );
        assert_eq!(violations(&latencies, &limits(1, 1, 1)).len(), 3);
    }

    #[test]
    fn nothing_measured_exceeds_nothing() {
        let none = Latencies {
            transition: POD_STARTUP,
            sorted: Vec::new(),
            missing: 0,
        };
        let limits = Limits {
            perc50_ns: 0,
            perc90_ns: 0,
            perc99_ns: 0,
        };
        assert!(violations(&none, &limits).is_empty());
        assert_eq!(
            worst(&Startup::default(), &none),
            "0 worst pod_startup latencies: []"
        );
    }
}
