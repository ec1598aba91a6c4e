//! How runners agree on one start, without anybody above them.
//!
//! Each says that it is ready, and looks for the start. The first runner looks at the others, and writes the start when
//! all are ready, or when it has waited long enough. If it is late or dead, the second one does that after a while, then
//! the third. Only one start is ever written: the store sees to that.
//!
//! A start is a time on the wall clock, a little ahead, so that all hear of it before it comes. Whoever hears of it too
//! late does not run: load that begins later than the others' is another load.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kperf_load::Stop;
use tokio::time::{Instant, sleep};

use crate::{
    mail::{Mail, MailState, Start},
    plan::Plan,
    store::{Store, StoreError},
};

/// Waiting for the start once everybody's time is over, for a store that is away meanwhile.
const LAST_WAIT: Duration = Duration::from_secs(60);

/// Why a runner does not run.
#[derive(Debug, thiserror::Error)]
pub enum MeetError {
    /// The others run by now.
    #[error("the others began {} ms ago, before this runner was ready", .0.as_millis())]
    Late(Duration),
    /// Nobody wrote a start.
    #[error("no start was agreed on within {} s", .0.as_secs())]
    NoStart(Duration),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Ended from outside.
    #[error("stopped before the start")]
    Stopped,
}

/// Says that the runner is ready, and waits for the start to be agreed on, not for the start itself.
///
/// # Errors
/// See [`MeetError`].
pub async fn meet(
    store: &Store,
    plan: &Plan,
    runner: u32,
    mail: &Mail,
    stop: &Stop,
) -> Result<Start, MeetError> {
    let mail = Mail {
        state: MailState::Ready,
        ready_unix_us: now_us(),
        ..mail.clone()
    };
    let meeting = async {
        store.post(runner, &mail).await?;
        wait(store, plan, runner).await
    };
    tokio::select! {
        biased;
        () = stop.stopped() => Err(MeetError::Stopped),
        met = meeting => met,
    }
}

async fn wait(store: &Store, plan: &Plan, runner: u32) -> Result<Start, MeetError> {
    let ready = Instant::now();
    let poll = store.poll(plan);
    // The first at once, each further one when those before it had their time.
    let leads_from = match runner {
        0 => ready,
        _ => ready + store.patience() + poll * 2 * runner,
    };
    let ends = ready + plan.ready_timeout() + LAST_WAIT + store.margin(plan);
    // Not all at the same moments.
    sleep(poll.mul_f64(f64::from(runner % 16) / 16.0)).await;
    let mut others = Others::of(plan, runner);
    loop {
        if let Some(start) = store.start().await? {
            return in_time(start);
        }
        if Instant::now() >= leads_from {
            let is_over = ready.elapsed() >= plan.ready_timeout();
            others.look(store, is_over).await?;
            if others.waiting.is_empty() || is_over {
                let start = others.start(plan, runner, now_us() + us(store.margin(plan)));
                store.propose(&start).await?;
                // Whoever was first has written it.
                continue;
            }
        }
        if Instant::now() >= ends {
            return Err(MeetError::NoStart(ready.elapsed()));
        }
        sleep(poll).await;
    }
}

fn in_time(start: Start) -> Result<Start, MeetError> {
    match now_us().checked_sub(start.start_unix_us) {
        None | Some(0) => Ok(start),
        Some(late) => Err(MeetError::Late(Duration::from_micros(late))),
    }
}

/// What a runner that leads knows of the others.
struct Others {
    waiting: BTreeSet<u32>,
    dead: BTreeSet<u32>,
}

impl Others {
    fn of(plan: &Plan, runner: u32) -> Self {
        Self {
            waiting: (0..plan.count).filter(|other| *other != runner).collect(),
            dead: BTreeSet::new(),
        }
    }

    /// Looks for those that were not ready. As long as there is time, the first that is not says enough; nobody is asked
    /// for twice who was ready once.
    async fn look(&mut self, store: &Store, all: bool) -> Result<(), StoreError> {
        let dead = store.dead().await?;
        self.waiting.retain(|other| !dead.contains(other));
        self.dead.extend(dead);
        for other in self.waiting.clone() {
            match store.mail(other).await?.map(|mail| mail.state) {
                Some(MailState::Failed) => {
                    self.dead.insert(other);
                    self.waiting.remove(&other);
                }
                Some(_) => {
                    self.waiting.remove(&other);
                }
                None if all => {}
                None => break,
            }
        }
        Ok(())
    }

    fn start(&self, plan: &Plan, by: u32, start_unix_us: u64) -> Start {
        let missing: Vec<u32> = self.waiting.union(&self.dead).copied().collect();
        Start {
            start_unix_us,
            ready: plan
                .count
                .saturating_sub(u32::try_from(missing.len()).unwrap_or(u32::MAX)),
            missing,
            by,
        }
    }
}

fn now_us() -> u64 {
    us(SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default())
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DirectoryStore;

    fn world(count: u32, timeout_ms: u64) -> (tempfile::TempDir, DirectoryStore, Plan) {
        let folder = tempfile::tempdir().unwrap();
        let store = DirectoryStore::new(folder.path());
        let mut plan = Plan::new("g", "r", count, 1);
        plan.ready_timeout_ms = timeout_ms;
        (folder, store, plan)
    }

    fn mail() -> Mail {
        Mail::new(MailState::Ready, "r", "n")
    }

    async fn all(
        store: &DirectoryStore,
        plan: &Plan,
        runners: impl IntoIterator<Item = u32>,
    ) -> Vec<Result<Start, MeetError>> {
        let mut met = tokio::task::JoinSet::new();
        for runner in runners {
            let (store, plan) = (Store::Directory(store.clone()), plan.clone());
            met.spawn(async move { meet(&store, &plan, runner, &mail(), &Stop::new()).await });
        }
        met.join_all().await
    }

    #[tokio::test]
    async fn all_get_one_start_that_is_ahead() {
        let (_folder, store, plan) = world(5, 10_000);
        let before = now_us();
        let starts = all(&store, &plan, 0..5).await;
        let first = starts[0].as_ref().unwrap();
        assert!(first.start_unix_us > before && first.missing.is_empty());
        assert_eq!((first.ready, first.by), (5, 0));
        assert!(starts.iter().all(|start| start.as_ref().unwrap() == first));
    }

    #[tokio::test]
    async fn the_next_leads_when_the_first_is_dead() {
        let (_folder, store, plan) = world(4, 10_000);
        store.note_dead(0).unwrap();
        let starts = all(&store, &plan, 1..4).await;
        for start in starts {
            let start = start.unwrap();
            assert_eq!((start.ready, start.missing, start.by), (3, vec![0], 1));
        }
    }

    #[tokio::test]
    async fn who_does_not_come_is_left_behind_and_does_not_run() {
        let (_folder, store, plan) = world(3, 1_500);
        let starts = all(&store, &plan, [0, 2]).await;
        for start in starts {
            let start = start.unwrap();
            assert_eq!((start.ready, start.missing), (2, vec![1]));
        }
        sleep(Duration::from_millis(400)).await;
        let late = meet(&Store::Directory(store), &plan, 1, &mail(), &Stop::new()).await;
        assert!(matches!(late, Err(MeetError::Late(_))), "{late:?}");
    }

    #[tokio::test]
    async fn one_that_failed_is_not_waited_for() {
        let (_folder, store, plan) = world(3, 60_000);
        let failed = Mail::new(MailState::Failed, "r", "n");
        let as_store = Store::Directory(store.clone());
        as_store.post(1, &failed).await.unwrap();
        let later = tokio::spawn({
            let (store, plan) = (as_store, plan.clone());
            async move {
                sleep(Duration::from_millis(300)).await;
                meet(&store, &plan, 2, &mail(), &Stop::new()).await
            }
        });
        let starts = all(&store, &plan, [0]).await;
        assert_eq!(starts[0].as_ref().unwrap().missing, [1]);
        assert_eq!(later.await.unwrap().unwrap().ready, 2);
    }

    #[tokio::test]
    async fn a_stop_ends_the_wait() {
        let (_folder, store, plan) = world(2, 60_000);
        let stop = Stop::new();
        stop.stop();
        let met = meet(&Store::Directory(store), &plan, 0, &mail(), &stop).await;
        assert!(matches!(met, Err(MeetError::Stopped)), "{met:?}");
    }
}
