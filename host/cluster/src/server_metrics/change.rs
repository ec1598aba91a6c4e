//! What happened on every instance between two looks.

use std::time::Duration;

use super::{
    sample::{Counters, InstanceSample},
    scrape::{Scrape, ScrapeFailure},
};

/// One instance between two looks, or over several.
#[derive(Clone, Debug)]
pub struct Change {
    /// Address and port it was asked at, last.
    pub instance: String,
    /// Between the looks.
    pub elapsed: Duration,
    /// Cores it may use at once.
    pub cores: Option<u32>,
    /// Resident memory at the first look.
    pub resident_before: Option<f64>,
    /// Resident memory at the last look.
    pub resident_after: Option<f64>,
    /// Largest at any of the looks.
    pub resident_max: Option<f64>,
    /// Whether its counters began anew: what came before that is not in them.
    pub restarted: bool,
    /// What was added.
    pub counters: Counters,
    /// Start of its process at the first and at the last look.
    processes: (Option<f64>, Option<f64>),
}

impl Change {
    fn between(before: &InstanceSample, after: &InstanceSample) -> Self {
        let same = before.is_same_process(after);
        let (counters, anew) = if same {
            after.counters.since(&before.counters)
        } else {
            (after.counters.clone(), true)
        };
        Self {
            instance: after.instance.clone(),
            elapsed: after.taken.saturating_duration_since(before.taken),
            cores: after.cores(),
            resident_before: before.resident_bytes,
            resident_after: after.resident_bytes,
            resident_max: larger(before.resident_bytes, after.resident_bytes),
            restarted: anew,
            counters,
            processes: (before.start_time, after.start_time),
        }
    }

    /// Whether `next` begins where this one ends.
    fn goes_on_in(&self, next: &Self) -> bool {
        match (self.processes.1, next.processes.0) {
            (Some(ours), Some(theirs)) => ours.total_cmp(&theirs).is_eq(),
            _ => self.instance == next.instance,
        }
    }

    /// Adds what happened next on the same instance.
    pub fn add(&mut self, next: &Self) {
        self.instance.clone_from(&next.instance);
        self.elapsed += next.elapsed;
        self.cores = next.cores.or(self.cores);
        self.resident_after = next.resident_after.or(self.resident_after);
        self.resident_max = larger(self.resident_max, next.resident_max);
        self.restarted |= next.restarted;
        self.counters.add(&next.counters);
        self.processes.1 = next.processes.1;
    }

    /// Cores in use on average; none without a time.
    #[must_use]
    pub fn cores_used(&self) -> Option<f64> {
        let seconds = self.elapsed.as_secs_f64();
        (seconds > 0.0)
            .then(|| self.counters.cpu_seconds.map(|cpu| cpu / seconds))
            .flatten()
    }
}

fn larger(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}

/// All instances between two looks.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Instances seen at both.
    pub instances: Vec<Change>,
    /// Instances seen at the second look only; what they did before is not known.
    pub came: Vec<String>,
    /// Instances seen at the first look only.
    pub went: Vec<String>,
}

impl Changes {
    /// Matches instances by the start of their process, so that a load balancer that answers with another one is
    /// not taken for a restart; then by address, where the process is younger than the first look.
    #[must_use]
    pub fn between(before: &Scrape, after: &Scrape) -> Self {
        let mut changes = Self::default();
        let mut earlier: Vec<&InstanceSample> = before.samples.iter().collect();
        let mut strangers = Vec::new();
        for sample in &after.samples {
            match earlier
                .iter()
                .position(|known| known.is_same_process(sample))
            {
                Some(at) => changes
                    .instances
                    .push(Change::between(earlier.swap_remove(at), sample)),
                None => strangers.push(sample),
            }
        }
        for sample in strangers {
            let restarted = earlier.iter().position(|known| {
                known.instance == sample.instance && started_after(sample, known)
            });
            match restarted {
                Some(at) => changes
                    .instances
                    .push(Change::between(earlier.swap_remove(at), sample)),
                None => changes.came.push(sample.instance.clone()),
            }
        }
        changes.went = earlier
            .iter()
            .map(|sample| sample.instance.clone())
            .collect();
        changes
            .instances
            .sort_by(|one, other| one.instance.cmp(&other.instance));
        changes
    }

    /// Moves `last` on to a look in the middle, and says what happened in between. An instance that only failed this
    /// time stays in `last` as it was: the next look that it answers brings all of it, so that nothing is lost.
    pub fn up_to(last: &mut Scrape, mut look: Scrape) -> Self {
        let (silent, answered): (Vec<_>, Vec<_>) = std::mem::take(&mut last.samples)
            .into_iter()
            .partition(|known| {
                let failed = |failure: &ScrapeFailure| failure.instance == known.instance;
                !look
                    .samples
                    .iter()
                    .any(|sample| known.is_same_process(sample))
                    && look.failures.iter().any(failed)
            });
        last.samples = answered;
        let changes = Self::between(last, &look);
        look.samples.extend(silent);
        *last = look;
        changes
    }

    /// Whether every instance was seen at both looks, and none began anew: only then is nothing missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.came.is_empty()
            && self.went.is_empty()
            && !self.instances.is_empty()
            && self.instances.iter().all(|change| !change.restarted)
    }

    /// All instances together.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut all = Counters::default();
        for change in &self.instances {
            all.add(&change.counters);
        }
        all
    }

    /// Adds what happened next.
    pub fn add(&mut self, next: &Self) {
        for change in &next.instances {
            match self
                .instances
                .iter_mut()
                .find(|known| known.goes_on_in(change))
            {
                Some(known) => known.add(change),
                None => self.instances.push(change.clone()),
            }
        }
        for (ours, theirs) in [(&mut self.came, &next.came), (&mut self.went, &next.went)] {
            for instance in theirs {
                if !ours.contains(instance) {
                    ours.push(instance.clone());
                }
            }
        }
    }
}

/// Whether a process began after another sample was taken, by the server's own clock: ours may be off.
fn started_after(sample: &InstanceSample, earlier: &InstanceSample) -> bool {
    /// `date` has whole seconds.
    const SLACK_SECONDS: f64 = 1.5;
    match (sample.start_time, earlier.server_time) {
        (Some(start), Some(then)) => start >= then - SLACK_SECONDS,
        // Nothing speaks against it, and it is the same address.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_metrics::{Origin, ScrapeError, sample::tests::sample};

    /// An instance that started at a time and has answered so many requests.
    fn instance(address: &str, start: f64, requests: u32, now: f64) -> InstanceSample {
        let mut sample = sample(
            address,
            &format!(
                "process_start_time_seconds {start}\nprocess_resident_memory_bytes {requests}\n\
                 apiserver_request_total{{verb=\"GET\",resource=\"pods\",code=\"200\"}} {requests}\n"
            ),
        );
        sample.server_time = Some(now);
        sample
    }

    fn scrape(samples: Vec<InstanceSample>) -> Scrape {
        Scrape {
            samples,
            failures: Vec::new(),
        }
    }

    #[test]
    fn instances_are_known_by_their_process() {
        let before = scrape(vec![
            instance("a", 10.0, 100, 1000.0),
            instance("b", 20.0, 200, 1000.0),
        ]);
        // A load balancer answers at the same addresses with the other one.
        let after = scrape(vec![
            instance("a", 20.0, 250, 1010.0),
            instance("b", 10.0, 101, 1010.0),
        ]);
        let changes = Changes::between(&before, &after);
        assert!(changes.is_whole());
        assert_eq!(changes.counters().answered(), 51.0);
        let counts: Vec<_> = changes
            .instances
            .iter()
            .map(|change| (change.instance.as_str(), change.counters.answered()))
            .collect();
        assert_eq!(counts, [("a", 50.0), ("b", 1.0)]);
        assert_eq!(changes.instances[1].resident_max, Some(101.0));
    }

    #[test]
    fn a_restart_is_not_another_instance() {
        let before = scrape(vec![instance("a", 10.0, 100, 1000.0)]);
        let restarted = scrape(vec![instance("a", 1003.5, 5, 1010.0)]);
        let changes = Changes::between(&before, &restarted);
        assert!(changes.instances[0].restarted && !changes.is_whole());
        assert_eq!(changes.counters().answered(), 5.0);

        // It started long before we first looked: we had looked at somebody else.
        let other = scrape(vec![instance("a", 12.0, 5000, 1010.0)]);
        let changes = Changes::between(&before, &other);
        assert_eq!(
            (&changes.came[..], &changes.went[..]),
            (&["a".to_owned()][..], &["a".to_owned()][..])
        );
        assert!(changes.instances.is_empty() && !changes.is_whole());
    }

    #[test]
    fn who_comes_and_goes_is_named() {
        let before = scrape(vec![
            instance("a", 10.0, 1, 0.0),
            instance("b", 20.0, 2, 0.0),
        ]);
        let after = scrape(vec![
            instance("b", 20.0, 3, 5.0),
            instance("c", 30.0, 9, 5.0),
        ]);
        let changes = Changes::between(&before, &after);
        assert_eq!(
            (&changes.came[..], &changes.went[..]),
            (&["c".to_owned()][..], &["a".to_owned()][..])
        );
        assert_eq!(changes.counters().answered(), 1.0);
    }

    #[test]
    fn an_instance_that_misses_a_look_is_not_gone() {
        let a = |requests| instance("a", 10.0, requests, 1000.0);
        let b = |requests| instance("b", 20.0, requests, 1000.0);
        let before = scrape(vec![a(100), b(200)]);
        let mut last = before.clone();
        let mut all = Changes::default();
        let b_fails = Scrape {
            samples: vec![a(110)],
            failures: vec![ScrapeFailure {
                instance: "b".to_owned(),
                origin: Origin::Url,
                error: ScrapeError::Deadline(Duration::from_secs(10)),
            }],
        };
        let a_fails_too = Scrape {
            samples: Vec::new(),
            failures: ["a", "b"]
                .map(|instance| ScrapeFailure {
                    instance: instance.to_owned(),
                    ..b_fails.failures[0].clone()
                })
                .to_vec(),
        };
        for look in [b_fails, a_fails_too, scrape(vec![a(120), b(207)])] {
            all.add(&Changes::up_to(&mut last, look));
        }
        let after = scrape(vec![a(121), b(208)]);
        all.add(&Changes::between(&last, &after));
        assert!(all.is_whole(), "{all:?}");
        let counts: Vec<_> = all
            .instances
            .iter()
            .map(|change| (change.instance.as_str(), change.counters.answered()))
            .collect();
        assert_eq!(counts, [("a", 21.0), ("b", 8.0)]);

        // One that is not even asked any more is gone.
        let mut last = before;
        let changes = Changes::up_to(&mut last, scrape(vec![a(101)]));
        assert_eq!((changes.went.len(), last.samples.len()), (1, 1));
    }

    #[test]
    fn intervals_add_up_through_a_restart() {
        let looks = [
            instance("a", 10.0, 100, 1000.0),
            instance("a", 10.0, 150, 1001.0),
            instance("a", 1001.5, 20, 1002.0),
            instance("a", 1001.5, 30, 1003.0),
        ];
        let mut all = Changes::default();
        for pair in looks.windows(2) {
            let one = |at: usize| scrape(vec![pair[at].clone()]);
            all.add(&Changes::between(&one(0), &one(1)));
        }
        assert_eq!(all.counters().answered(), 80.0);
        assert!(all.instances[0].restarted);
        assert_eq!(all.instances[0].resident_before, Some(100.0));
        assert_eq!(all.instances[0].resident_max, Some(150.0));
        assert_eq!(all.instances[0].resident_after, Some(30.0));
    }
}
