//! A running tracker, as its user holds it.

use std::{ops::Range, sync::Arc, time::Instant};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{timeout, timeout_at},
};

use super::{
    error::TrackError,
    follow::{Follower, Published, Shared},
    ledger::{Counts, Ledger},
    object::{Object, ObjectRecord, Stamp},
    options::TrackOptions,
    request::Collection,
    spec::TrackSpec,
};

/// How a tracker reaches its cluster.
pub enum Access {
    /// With connections of its own, on its own thread: nothing else delays its stamps. Prefer this.
    Config(Box<kube::Config>),
    /// With a client that others use too. Its runtime must outlive the tracker, and a connection it opened
    /// earlier is read by that runtime: when that is busy, stamps are late.
    Client(kube::Client),
}

impl From<kube::Config> for Access {
    fn from(config: kube::Config) -> Self {
        Self::Config(Box::new(config))
    }
}

impl From<kube::Client> for Access {
    fn from(client: kube::Client) -> Self {
        Self::Client(client)
    }
}

impl Access {
    fn client(self) -> Result<kube::Client, kube::Error> {
        match self {
            Self::Client(client) => Ok(client),
            Self::Config(mut config) => {
                // Failures are counted and waited for here, and silence is noticed here.
                config.default_retry = false;
                config.read_timeout = None;
                kube::Client::try_from(*config)
            }
        }
    }
}

/// Objects being tracked. Dropping it ends the watch; [`Tracker::stop`] ends it and keeps the records.
#[derive(Debug)]
pub struct Tracker {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
}

/// What became of a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited {
    /// Whether what was waited for is so; otherwise the deadline came first.
    pub reached: bool,
    /// The counts at that moment.
    pub counts: Counts,
}

/// Which clock durations are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// When this host read the news: nanoseconds, includes the way through the API server.
    Received,
    /// The API's own times: mostly whole seconds, by the clocks of whoever wrote them.
    Api,
}

/// Durations between two milestones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    /// One per object that has both times, in nanoseconds, in the order objects were first seen. Negative
    /// where the second milestone came first.
    pub durations_ns: Vec<i64>,
    /// Objects that lack either time.
    pub lacking: u64,
    /// Objects left out because a stamp is not [`Stamp::exact`]; none by the API's clock.
    pub inexact: u64,
}

/// Objects that never reached a milestone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// How many.
    pub count: u64,
    /// Those asked for.
    pub objects: Vec<ObjectRecord>,
}

/// Says the end even if the thread panics.
struct LastWords(Arc<Shared>);

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.end(TrackError::Lost);
    }
}

impl Tracker {
    /// Starts tracking. Returns when everything that exists is entered (its stamps are
    /// [`Stamp::initial`]) and the watch is open: what happens from now on is seen. Stamps count from
    /// `epoch`. Needs a tokio runtime with time, of any kind.
    ///
    /// # Errors
    /// A spec that cannot be used, a server that refuses, or none that answers within
    /// [`TrackOptions::start`].
    pub async fn start(
        access: impl Into<Access>,
        spec: &TrackSpec,
        options: &TrackOptions,
        epoch: Instant,
    ) -> Result<Self, TrackError> {
        let collection = Collection::new(spec)?;
        let path = collection.path.clone();
        let ledger = Ledger::new(spec, options)?;
        let (published, mut seen) = watch::channel(Published {
            counts: ledger.counts().clone(),
            ready: false,
            ended: None,
        });
        let (stop, stopped) = watch::channel(false);
        let tracker = Self {
            shared: Arc::new(Shared {
                ledger: Mutex::new(ledger),
                published,
            }),
            stop,
        };
        tracker.spawn(
            access.into(),
            spec.name.clone(),
            collection,
            options.clone(),
            epoch,
            stopped,
        )?;
        let begun = seen.wait_for(|now| now.ready || now.ended.is_some());
        match timeout(options.start, begun).await {
            Ok(Ok(now)) => {
                if let Some(error) = &now.ended {
                    return Err(error.clone());
                }
            }
            Ok(Err(_)) => return Err(TrackError::Lost),
            Err(_) => {
                let failure = tracker.counts().last_failure;
                return Err(TrackError::Unavailable {
                    name: spec.name.clone(),
                    path,
                    seconds: options.start.as_secs(),
                    reason: failure.as_deref().unwrap_or("no answer yet").to_owned(),
                });
            }
        }
        Ok(tracker)
    }

    fn spawn(
        &self,
        access: Access,
        name: String,
        collection: Collection,
        options: TrackOptions,
        epoch: Instant,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<(), TrackError> {
        let fail = |name: &str, reason: String| TrackError::Start {
            name: name.to_owned(),
            reason,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| fail(&name, error.to_string()))?;
        let shared = Arc::clone(&self.shared);
        let thread_name = name.clone();
        std::thread::Builder::new()
            .name("track".into())
            .spawn(move || {
                let last_words = LastWords(Arc::clone(&shared));
                let end = runtime.block_on(async {
                    // Within the runtime: the client starts tasks.
                    let client = match access.client() {
                        Ok(client) => client,
                        Err(error) => return fail(&name, error.to_string()),
                    };
                    let follower = Follower::new(
                        name,
                        client,
                        collection,
                        options,
                        Arc::clone(&shared),
                        epoch,
                    );
                    tokio::select! {
                        error = follower.run() => error,
                        // Also when the handle is dropped.
                        _ = stopped.wait_for(|stop| *stop) => TrackError::Stopped,
                    }
                });
                shared.end(end);
                drop(last_words);
                // Name look-ups that are under way are not waited for.
                runtime.shutdown_background();
            })
            .map_err(|error| fail(&thread_name, error.to_string()))?;
        Ok(())
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.published.borrow().counts.clone()
    }

    /// Why the tracker has ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<TrackError> {
        self.shared.published.borrow().ended.clone()
    }

    /// Waits until `at_least` objects have reached a milestone.
    ///
    /// # Errors
    /// [`TrackError::NoMilestone`], or why the tracker ended before.
    pub async fn wait(
        &self,
        milestone: usize,
        at_least: u64,
        deadline: Instant,
    ) -> Result<Waited, TrackError> {
        self.known(milestone)?;
        self.wait_for(deadline, |counts| {
            sum(&counts.reached, milestone) >= at_least
        })
        .await
    }

    /// Waits until a milestone holds for `at_least` objects at the same time.
    ///
    /// # Errors
    /// As [`Tracker::wait`].
    pub async fn wait_now(
        &self,
        milestone: usize,
        at_least: u64,
        deadline: Instant,
    ) -> Result<Waited, TrackError> {
        self.known(milestone)?;
        self.wait_for(deadline, |counts| sum(&counts.now, milestone) >= at_least)
            .await
    }

    /// Waits until no object is left.
    ///
    /// # Errors
    /// Why the tracker ended before.
    pub async fn wait_gone(&self, deadline: Instant) -> Result<Waited, TrackError> {
        self.wait_for(deadline, |counts| counts.alive == 0).await
    }

    /// Waits until the counts are as wanted; they are looked at when they have changed.
    ///
    /// # Errors
    /// Why the tracker ended before.
    pub async fn wait_for(
        &self,
        deadline: Instant,
        mut wanted: impl FnMut(&Counts) -> bool,
    ) -> Result<Waited, TrackError> {
        let mut published = self.shared.published.subscribe();
        let mut reached = false;
        let wait = published.wait_for(|now| {
            reached = wanted(&now.counts);
            reached || now.ended.is_some()
        });
        let (counts, ended) = match timeout_at(deadline.into(), wait).await {
            Ok(Ok(now)) => (now.counts.clone(), now.ended.clone()),
            Ok(Err(_)) => return Err(TrackError::Lost),
            Err(_) => (self.counts(), None),
        };
        match ended {
            Some(error) if !reached => Err(error),
            _ => Ok(Waited { reached, counts }),
        }
    }

    /// Objects by the order in which they were first seen. A range beyond the end is cut; take pieces of
    /// some thousands, since nothing is entered meanwhile.
    #[must_use]
    pub fn objects(&self, range: Range<usize>) -> Vec<ObjectRecord> {
        self.shared.ledger.lock().objects(range)
    }

    /// Objects that never reached a milestone: how many, and those at `range` among them.
    ///
    /// # Errors
    /// [`TrackError::NoMilestone`].
    pub fn missing(&self, milestone: usize, range: Range<usize>) -> Result<Missing, TrackError> {
        self.known(milestone)?;
        let ledger = self.shared.ledger.lock();
        let mut missing = Missing::default();
        for object in ledger.all() {
            if stamp(object, milestone).is_none() {
                if range.contains(&usize::try_from(missing.count).unwrap_or(usize::MAX)) {
                    missing.objects.push(object.record());
                }
                missing.count += 1;
            }
        }
        Ok(missing)
    }

    /// How long objects took from one milestone to another.
    ///
    /// # Errors
    /// [`TrackError::NoMilestone`].
    pub fn pairs(&self, from: usize, to: usize, clock: Clock) -> Result<Pairs, TrackError> {
        self.known(from)?;
        self.known(to)?;
        let ledger = self.shared.ledger.lock();
        let mut pairs = Pairs::default();
        for object in ledger.all() {
            let Some((from, to)) = stamp(object, from).zip(stamp(object, to)) else {
                pairs.lacking += 1;
                continue;
            };
            match clock {
                Clock::Received if !(from.exact() && to.exact()) => pairs.inexact += 1,
                Clock::Received => pairs
                    .durations_ns
                    .push(to.received_ns.wrapping_sub(from.received_ns).cast_signed()),
                Clock::Api => match from.api_unix_us.zip(to.api_unix_us) {
                    Some((from, to)) => pairs
                        .durations_ns
                        .push(to.saturating_sub(from).saturating_mul(1000)),
                    None => pairs.lacking += 1,
                },
            }
        }
        Ok(pairs)
    }

    /// Ends the watch without waiting for its end; otherwise as [`Tracker::stop`].
    pub fn stop_soon(&self) {
        self.stop.send_replace(true);
    }

    /// Ends the watch and waits until it has ended. Records and counts stay; waits that are not fulfilled
    /// fail with [`TrackError::Stopped`].
    pub async fn stop(&self) {
        self.stop_soon();
        let mut published = self.shared.published.subscribe();
        // The sender lives as long as this handle.
        let _ = published.wait_for(|now| now.ended.is_some()).await;
    }

    fn known(&self, milestone: usize) -> Result<(), TrackError> {
        let count = self.shared.ledger.lock().milestones();
        if milestone < count {
            Ok(())
        } else {
            Err(TrackError::NoMilestone {
                index: milestone,
                count,
            })
        }
    }
}

fn sum(sums: &[u64], milestone: usize) -> u64 {
    sums.get(milestone).copied().unwrap_or_default()
}

fn stamp(object: &Object, milestone: usize) -> Option<Stamp> {
    object.stamps.get(milestone).copied().flatten()
}
