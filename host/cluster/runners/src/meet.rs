//! How runners agree on one start, without anybody above them.
//!
//! Each says that it is ready, and looks for the start. The first runner looks at the others, and writes the start when
//! all are ready, or when it has waited long enough. If it is late or dead, the second one does that after a while, then
//! the third. Only one start is ever written: the store sees to that.
//!
//! A start is a time on the wall clock, a little ahead, so that all hear of it before it comes. Whoever hears of it too
//! late does not run: load that begins later than the others' is another load. Nobody waits for a start that is further
//! ahead than anybody proposes: then clocks differ.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kperf_load::Stop;
use tokio::time::{Instant, sleep};

use crate::{
    mail::{Mail, MailState, Start},
    plan::Plan,
    store::{Proposed, Store, StoreError},
};

/// Waiting for the start once everybody's time is over, for a store that is away meanwhile.
const LAST_WAIT: Duration = Duration::from_secs(60);

/// How far ahead a start may be, in margins: one is the proposal's, the others are for clocks.
const MARGINS: u32 = 3;

/// Why a runner does not run.
#[derive(Debug, thiserror::Error)]
pub enum MeetError {
    /// The others run by now.
    #[error(
        "the others began {} ms ago: this runner heard of it too late, or its clock is ahead of theirs",
        .0.as_millis()
    )]
    Late(Duration),
    /// The start is further ahead than anybody proposes.
    #[error(
        "the others begin in {} s, and starts are agreed on at most {} s ahead: this runner's clock is behind theirs",
        .ahead.as_secs(), .margin.as_secs_f32().ceil()
    )]
    FarAhead {
        /// How far.
        ahead: Duration,
        /// How far it may be.
        margin: Duration,
    },
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
    let leads_from = ready + leads_after(plan, runner, poll, store.patience());
    let ends = ready + plan.ready_timeout() + LAST_WAIT + store.margin(plan);
    // Not all at the same moments.
    sleep(poll.mul_f64(f64::from(runner % 16) / 16.0)).await;
    let mut others = Others::of(plan, runner);
    loop {
        if let Some(start) = store.start().await? {
            return in_time(start, now_us(), store.margin(plan));
        }
        if Instant::now() >= leads_from {
            let is_over = ready.elapsed() >= plan.ready_timeout();
            others.look(store, is_over).await?;
            if others.waiting.is_empty() || is_over {
                // The time is that of this try: what is written late would be over when the others read it.
                let margin = store.margin(plan);
                let start = others.start(plan, runner, now_us() + us(margin));
                match store.propose(&start, margin / 2).await? {
                    // Whoever was first has written it.
                    Proposed::Written | Proposed::Another => continue,
                    Proposed::Unheard => {}
                }
            }
        }
        if Instant::now() >= ends {
            return Err(MeetError::NoStart(ready.elapsed()));
        }
        sleep(poll).await;
    }
}

/// When a runner takes the lead: the first at once, each further one when those before it had their time. Of many, the last
/// would never come to it; so once nobody waits for the missing any more they follow in classes of twice the size each, the
/// lowest first, within the time in which a start is still waited for.
fn leads_after(plan: &Plan, runner: u32, poll: Duration, patience: Duration) -> Duration {
    if runner == 0 {
        return Duration::ZERO;
    }
    let class = |runner: u32| u32::BITS - runner.leading_zeros();
    let classes = class(plan.count) + 1;
    let one_by_one = patience + poll * 2 * runner;
    one_by_one.min(plan.ready_timeout() + LAST_WAIT * class(runner) / classes)
}

fn in_time(start: Start, now_us: u64, margin: Duration) -> Result<Start, MeetError> {
    let late = Duration::from_micros(now_us.saturating_sub(start.start_unix_us));
    let ahead = Duration::from_micros(start.start_unix_us.saturating_sub(now_us));
    if !late.is_zero() {
        Err(MeetError::Late(late))
    } else if ahead > margin * MARGINS {
        Err(MeetError::FarAhead { ahead, margin })
    } else {
        Ok(start)
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
            let state = match store.mail(other).await {
                Ok(mail) => mail.map(|mail| mail.state),
                // What one left that cannot be read is no reason for the others not to run.
                Err(error) if error.is_of_one => {
                    tracing::warn!("runner {other} is taken as not ready: {error}");
                    None
                }
                Err(error) => return Err(error),
            };
            match state {
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

    #[test]
    fn every_runner_would_lead_in_time() {
        for count in [1, 2, 31, 32, 1_000, 10_000, 100_000] {
            let plan = Plan::new("g", "r", count, 1);
            let (poll, patience) = (plan.poll(), Duration::from_secs(3));
            let after = |runner| leads_after(&plan, runner, poll, patience);
            let all: Vec<Duration> = (0..count).map(after).collect();
            assert!(all.is_sorted(), "{count}");
            assert_eq!(all[0], Duration::ZERO);
            let ends = plan.ready_timeout() + LAST_WAIT;
            assert!(all.iter().all(|after| *after < ends), "{count}");
        }
        let plan = Plan::new("g", "r", 5, 1);
        let second = leads_after(&plan, 1, plan.poll(), Duration::from_secs(3));
        assert!(second < Duration::from_secs(10), "{second:?}");
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
        let store = Store::Directory(store);
        sleep(store.margin(&plan) + Duration::from_millis(100)).await;
        let late = meet(&store, &plan, 1, &mail(), &Stop::new()).await;
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

    #[test]
    fn a_start_far_ahead_is_another_clocks() {
        let start = |start_unix_us| Start {
            start_unix_us,
            ready: 1,
            missing: Vec::new(),
            by: 0,
        };
        let margin = Duration::from_secs(2);
        let at = |ms: u64| in_time(start(1_000_000_000 + ms * 1000), 1_000_000_000, margin);
        at(2_000).unwrap();
        at(5_000).unwrap();
        let error = at(3_600_000).unwrap_err().to_string();
        assert!(error.contains("clock is behind"), "{error}");
        let error = in_time(start(1), 2_000_001, margin).unwrap_err();
        assert!(error.to_string().contains("clock is ahead"), "{error}");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_ready() {
        let (folder, store, plan) = world(2, 600);
        std::fs::write(folder.path().join("runner-1.json"), "{").unwrap();
        let starts = all(&store, &plan, [0]).await;
        let start = starts[0].as_ref().unwrap();
        assert_eq!((start.ready, &start.missing), (1, &vec![1]));
    }

    #[tokio::test]
    async fn a_stop_ends_the_wait() {
        let (_folder, store, plan) = world(2, 60_000);
        let stop = Stop::new();
        stop.stop();
        let met = meet(&Store::Directory(store), &plan, 0, &mail(), &stop).await;
        assert!(matches!(met, Err(MeetError::Stopped)), "{met:?}");
    }

    /// A server with one ConfigMap that asks to come back for a while before it is written.
    struct BusyServer {
        listener: tokio::net::TcpListener,
        since: Instant,
        busy: Duration,
        data: serde_json::Value,
        version: u32,
    }

    impl BusyServer {
        async fn serve(mut self) {
            use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
            loop {
                let (stream, _) = self.listener.accept().await.unwrap();
                let mut stream = tokio::io::BufReader::new(stream);
                let (mut head, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await.unwrap();
                    let lower = line.to_ascii_lowercase();
                    if let Some(text) = lower.strip_prefix("content-length:") {
                        length = text.trim().parse().unwrap();
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                    head.push_str(&line);
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).await.unwrap();
                let (status, answer) = self.answer(&head, &body);
                let text = answer.to_string();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nRetry-After: 1\r\n\
                     Connection: close\r\nContent-Length: {}\r\n\r\n{text}",
                    text.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.ok();
            }
        }

        fn answer(&mut self, head: &str, body: &[u8]) -> (&'static str, serde_json::Value) {
            use serde_json::json;
            for (path, version, plural, kind) in [
                ("GET /api/v1 ", "v1", "configmaps", "ConfigMap"),
                ("GET /apis/batch/v1 ", "batch/v1", "jobs", "Job"),
            ] {
                if head.starts_with(path) {
                    let resources = json!([{
                        "name": plural, "singularName": "", "namespaced": true, "kind": kind,
                        "verbs": ["get", "patch"],
                    }]);
                    let list = json!({
                        "kind": "APIResourceList", "groupVersion": version, "resources": resources,
                    });
                    return ("200 OK", list);
                }
            }
            if head.starts_with("PATCH ") {
                if self.since.elapsed() < self.busy {
                    let status = json!({"kind": "Status", "status": "Failure", "code": 429});
                    return ("429 Too Many Requests", status);
                }
                let patch: serde_json::Value = serde_json::from_slice(body).unwrap();
                self.data = patch["data"].clone();
                self.version += 1;
            }
            let object = json!({
                "metadata": {"name": "g.start", "resourceVersion": self.version.to_string()},
                "data": self.data,
            });
            ("200 OK", object)
        }
    }

    #[tokio::test]
    async fn a_start_that_is_written_late_is_still_ahead() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = BusyServer {
            listener,
            since: Instant::now(),
            // Longer than the margin.
            busy: Duration::from_millis(2_500),
            data: serde_json::json!({}),
            version: 1,
        };
        let config = kube::Config::new(url.parse().unwrap());
        let cluster = kperf_cluster::api::Cluster::new(config).unwrap();
        let store = crate::store::ClusterStore::new(cluster, "n", "g", Stop::new());
        let plan = Plan::new("g", "r", 1, 1);
        let serving = tokio::spawn(server.serve());
        let start = wait(&Store::Cluster(store), &plan, 0).await.unwrap();
        assert_eq!((start.by, start.ready), (0, 1));
        serving.abort();
    }
}
