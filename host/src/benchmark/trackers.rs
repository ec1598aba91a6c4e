//! Trackers as a benchmark has them: the native ones, with their names, and with what they put into the report.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kperf_cluster::{
    Session,
    api::Resource,
    track::{self, ObjectRecord, TrackError, TrackSpec},
};
use kperf_runtime::{
    BoxFuture, Failure,
    benchmark::{
        Latency, MilestoneCount, Stamp, Tracked, TrackerCounts, TrackerHandle, TrackerOptions,
    },
    failure, report as doc,
};

use super::reported::Reported;

/// Objects handed over in one call, and looked at under one lock.
const PAGE: usize = 1000;
/// Most milestones of a tracker.
const MOST_MILESTONES: usize = 32;
/// Most captures of a tracker.
const MOST_CAPTURES: usize = 16;

/// A tracker of this run.
pub(crate) struct Following {
    name: String,
    resource: Arc<Resource>,
    milestones: Vec<String>,
    tracker: track::Tracker,
    session: Arc<Session>,
    reported: Arc<Reported>,
}

/// What to watch for, checked.
pub(crate) fn spec(options: &TrackerOptions, resource: &Resource) -> Result<TrackSpec, Failure> {
    let wrong =
        |message: String| failure("invalid", format!("tracker `{}`: {message}", options.name));
    let count = options.milestones.len();
    if count == 0 || count > MOST_MILESTONES {
        return Err(wrong(format!(
            "it has {count} milestones, 1 to {MOST_MILESTONES} are possible"
        )));
    }
    if options.capture.len() > MOST_CAPTURES {
        return Err(wrong(format!(
            "it captures {} fields, at most {MOST_CAPTURES} are possible",
            options.capture.len()
        )));
    }
    let mut milestones: Vec<track::Milestone> = Vec::with_capacity(count);
    for milestone in &options.milestones {
        let name = &milestone.name;
        if matches!(name.as_str(), "" | "gone" | "present" | "sent" | "answered") {
            return Err(wrong(format!("`{name}` cannot be the name of a milestone")));
        }
        if milestones.iter().any(|known| known.name == *name) {
            return Err(wrong(format!("milestone `{name}` is there twice")));
        }
        let checks = milestone
            .checks
            .iter()
            .map(|check| {
                let of =
                    |what: String| wrong(format!("milestone `{name}`, {}: {what}", check.path));
                Ok(track::Check {
                    path: check.path.clone(),
                    op: check.op.parse().map_err(of)?,
                    value: if check.value.is_empty() {
                        serde_json::Value::Null
                    } else {
                        serde_json::from_str(&check.value)
                            .map_err(|error| of(format!("its value is not JSON: {error}")))?
                    },
                })
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        milestones.push(track::Milestone {
            name: name.clone(),
            checks,
            deleted: milestone.on_deletion,
            api_time: (!milestone.api_time.is_empty()).then(|| milestone.api_time.clone()),
        });
    }
    let within = &options.within;
    Ok(TrackSpec {
        namespace: (!within.namespace.is_empty()).then(|| within.namespace.clone()),
        label_selector: within.label_selector.clone(),
        field_selector: within.field_selector.clone(),
        milestones,
        capture: options.capture.clone(),
        ..TrackSpec::new(&options.name, resource.api_resource(), resource.namespaced)
    })
}

impl Following {
    pub(crate) async fn start(
        config: kube::Config,
        spec: &TrackSpec,
        resource: Arc<Resource>,
        session: Arc<Session>,
        reported: Arc<Reported>,
        epoch: Instant,
    ) -> Result<Self, Failure> {
        let tracker = track::Tracker::start(config, spec, &track::TrackOptions::default(), epoch)
            .await
            .map_err(|error| of_tracker(&error))?;
        Ok(Self {
            name: spec.name.clone(),
            resource,
            milestones: spec
                .milestones
                .iter()
                .map(|milestone| milestone.name.clone())
                .collect(),
            tracker,
            session,
            reported,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// `created 120, scheduled 100, running 80`.
    pub(crate) fn progress(&self) -> (u64, String) {
        let counts = self.tracker.counts();
        let reached: Vec<String> = self
            .milestones
            .iter()
            .zip(&counts.reached)
            .map(|(name, reached)| format!("{name} {reached}"))
            .collect();
        (counts.seen, reached.join(", "))
    }

    fn index(&self, milestone: &str) -> Result<usize, Failure> {
        self.milestones
            .iter()
            .position(|name| name == milestone)
            .ok_or_else(|| {
                failure(
                    "invalid",
                    format!(
                        "tracker `{}` has no milestone `{milestone}`; it has {}",
                        self.name,
                        self.milestones.join(", ")
                    ),
                )
            })
    }

    /// When the run asked for an object, if it did.
    fn created(&self, object: &ObjectRecord) -> Option<kperf_cluster::Stamp> {
        self.session
            .stamps()
            .get(&self.resource, &object.namespace, &object.name, &object.uid)
    }

    /// Every object, a page at a time.
    fn for_each(&self, mut what: impl FnMut(&ObjectRecord)) {
        for first in (0..).step_by(PAGE) {
            let page = self.tracker.objects(first..first + PAGE);
            page.iter().for_each(&mut what);
            if page.len() < PAGE {
                return;
            }
        }
    }

    async fn waited(&self, milestone: &str, count: u64, timeout_ms: u64) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms.min(30 * 86_400_000));
        let waited = match milestone {
            "present" => {
                self.tracker
                    .wait_for(deadline, |counts| counts.alive <= count)
                    .await
            }
            "gone" => {
                self.tracker
                    .wait_for(deadline, |counts| counts.seen - counts.alive >= count)
                    .await
            }
            name => self.tracker.wait(self.index(name)?, count, deadline).await,
        }
        .map_err(|error| of_tracker(&error))?;
        if waited.reached {
            return Ok(());
        }
        let counts = waited.counts;
        let mut message = format!(
            "tracker `{}`: waited {:.1} s for {count} at `{milestone}`: {} seen, {} there",
            self.name,
            timeout_ms as f64 / 1000.0,
            counts.seen,
            counts.alive
        );
        for (name, reached) in self.milestones.iter().zip(&counts.reached) {
            message.push_str(&format!(", {name} {reached}"));
        }
        if let Some(last) = &counts.last_failure {
            message.push_str(&format!("; the watch last failed with: {last}"));
        }
        Err(failure("timeout", message))
    }
}

fn of_tracker(error: &TrackError) -> Failure {
    let code = match error {
        TrackError::Spec { .. } | TrackError::NoMilestone { .. } => "invalid",
        TrackError::Refused { status: 401, .. } => "unauthorized",
        TrackError::Refused { status: 403, .. } => "forbidden",
        TrackError::Refused { status: 404, .. } => "not-found",
        TrackError::Refused { .. } => "failed",
        TrackError::Unavailable { .. } => "unreachable",
        TrackError::TooManyObjects { .. } => "too-large",
        TrackError::Stopped => "interrupted",
        _ => "failed",
    };
    failure(code, error.to_string())
}

/// Where a latency begins.
enum From {
    Sent,
    Answered,
    Milestone(usize),
}

impl TrackerHandle for Following {
    fn counts(&self) -> TrackerCounts {
        let counts = self.tracker.counts();
        TrackerCounts {
            seen: counts.seen,
            present: counts.alive,
            milestones: self
                .milestones
                .iter()
                .zip(&counts.reached)
                .map(|(name, reached)| MilestoneCount {
                    name: name.clone(),
                    reached: *reached,
                })
                .collect(),
            events: counts.events,
            reconnects: counts.reconnects,
            relists: counts.relists,
        }
    }

    fn wait(
        &self,
        milestone: String,
        count: u64,
        timeout_ms: u64,
    ) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = self.session.stop().stopped() => Err(super::interrupted()),
                result = self.waited(&milestone, count, timeout_ms) => result,
            }
        })
    }

    fn objects(&self, offset: u64) -> Vec<Tracked> {
        let first = usize::try_from(offset).unwrap_or(usize::MAX);
        let page = self.tracker.objects(first..first.saturating_add(PAGE));
        page.iter()
            .map(|object| {
                let created = self.created(object);
                Tracked {
                    namespace: object.namespace.to_string(),
                    name: object.name.clone(),
                    uid: object.uid.clone(),
                    sent_ns: created.map_or(0, |stamp| stamp.sent_ns),
                    answered_ns: created.map_or(0, |stamp| stamp.answered_ns),
                    stamps: object.stamps.iter().map(stamp).collect(),
                    captures: object
                        .captures
                        .iter()
                        .map(|value| value.as_deref().unwrap_or_default().to_owned())
                        .collect(),
                }
            })
            .collect()
    }

    fn report_latency(
        &self,
        name: String,
        labels: Vec<doc::Label>,
        from: &str,
        to: &str,
        clock: &str,
    ) -> Result<Latency, Failure> {
        let to = self.index(to)?;
        let from = match from {
            "sent" => From::Sent,
            "answered" => From::Answered,
            milestone => From::Milestone(self.index(milestone)?),
        };
        let received = match (clock, &from) {
            ("received", _) => true,
            ("api", From::Milestone(_)) => false,
            ("api", _) => {
                return Err(failure(
                    "invalid",
                    "`sent` and `answered` are times of this host: use the clock `received`",
                ));
            }
            _ => {
                return Err(failure(
                    "invalid",
                    format!("`{clock}` is no clock; there are `received` and `api`"),
                ));
            }
        };
        let mut values_ns = Vec::new();
        let mut missing = 0;
        self.for_each(|object| {
            let latency_ns = time_ns(object, to, received).and_then(|ended| match from {
                From::Sent | From::Answered => {
                    let created = self.created(object)?;
                    // What was there before it was asked for is not of this request (an apply that found the
                    // object there): no latency, rather than one of 0.
                    let since_sent = ended.checked_sub(created.sent_ns)?;
                    Some(match from {
                        // The news of an object may overtake the answer to its request.
                        From::Answered => ended.saturating_sub(created.answered_ns),
                        _ => since_sent,
                    })
                }
                From::Milestone(index) => {
                    time_ns(object, index, received).map(|begun| ended.saturating_sub(begun))
                }
            });
            match latency_ns {
                Some(latency_ns) => values_ns.push(latency_ns),
                None => missing += 1,
            }
        });
        let times = self
            .reported
            .distribution(name, labels, values_ns, missing)
            .times;
        let at = |q: f64| {
            let known = times
                .quantiles
                .iter()
                .find(|known| (known.q - q).abs() < 1e-9);
            known.map_or(0, |known| known.value_ns)
        };
        Ok(Latency {
            count: times.count,
            missing,
            min_ns: times.min_ns,
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p95_ns: at(0.95),
            p99_ns: at(0.99),
            max_ns: times.max_ns,
            mean_ns: times.mean_ns,
        })
    }

    fn report_objects(&self) {
        let mut objects = Vec::new();
        self.for_each(|object| {
            let stamps: Vec<Stamp> = object.stamps.iter().map(stamp).collect();
            objects.push(doc::ObjectRow {
                namespace: object.namespace.to_string(),
                name: object.name.clone(),
                received_ns: stamps.iter().map(|stamp| stamp.received_ns).collect(),
                api_unix_us: stamps.iter().map(|stamp| stamp.api_unix_us).collect(),
            });
        });
        self.reported.objects(doc::ObjectTable {
            name: self.name.clone(),
            api_version: self.resource.api_version(),
            kind: self.resource.kind.clone(),
            milestones: self.milestones.clone(),
            objects,
        });
    }

    fn stop(&self) {
        self.tracker.stop_soon();
    }
}

/// A stamp in nanoseconds, by one of the clocks; none when it is not exact.
fn time_ns(object: &ObjectRecord, milestone: usize, received: bool) -> Option<u64> {
    let stamp = object.stamps.get(milestone)?.as_ref()?;
    if received {
        return stamp.exact().then_some(stamp.received_ns);
    }
    let micros = u64::try_from(stamp.api_unix_us?).ok()?;
    micros.checked_mul(1000)
}

fn stamp(stamp: &Option<track::Stamp>) -> Stamp {
    stamp.as_ref().map_or(
        Stamp {
            received_ns: 0,
            api_unix_us: 0,
            exact: false,
        },
        |stamp| Stamp {
            // 0 means never.
            received_ns: stamp.received_ns.max(1),
            api_unix_us: stamp
                .api_unix_us
                .and_then(|at| u64::try_from(at).ok())
                .unwrap_or(0),
            exact: stamp.exact(),
        },
    )
}
