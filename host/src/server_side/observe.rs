//! Looks at the server from a thread of its own, so that nothing of it is on the measured path.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use kperf_cluster::server_metrics::{Buckets, Change, Changes, Scrape, Scraper};
use kperf_load::{Stop, plan::Target};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::ServerMetrics;

/// Servers count a request when its handler returns, which may be after the client has its answer.
const SETTLE: Duration = Duration::from_millis(100);
/// The last look after a signal takes no longer.
const IN_HASTE: Duration = Duration::from_secs(3);
/// More intervals than this are joined, two by two.
const MAX_POINTS: usize = 240;

/// What happened on one instance in one interval.
#[derive(Clone, Debug)]
pub struct Point {
    /// Address and port.
    pub instance: String,
    /// From the first look to the end of the interval.
    pub at: Duration,
    /// Length of the interval.
    pub elapsed: Duration,
    /// CPU time.
    pub cpu_seconds: Option<f64>,
    /// Resident memory, the largest.
    pub resident_bytes: Option<f64>,
    /// Requests for resources, watches left out.
    pub requests: f64,
    /// Their times.
    pub times: Buckets,
}

impl Point {
    fn of(change: &Change, at: Duration) -> Self {
        Self {
            instance: change.instance.clone(),
            at,
            elapsed: change.elapsed,
            cpu_seconds: change.counters.cpu_seconds,
            resident_bytes: change.resident_after,
            requests: change.counters.answered(),
            times: change.counters.times(),
        }
    }

    fn join(&mut self, next: &Self) {
        self.at = next.at;
        self.elapsed += next.elapsed;
        self.requests += next.requests;
        self.times.add(&next.times);
        self.cpu_seconds = match (self.cpu_seconds, next.cpu_seconds) {
            (Some(ours), Some(theirs)) => Some(ours + theirs),
            (ours, theirs) => ours.or(theirs),
        };
        self.resident_bytes = match (self.resident_bytes, next.resident_bytes) {
            (Some(ours), Some(theirs)) => Some(ours.max(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
    }
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Observed {
    /// The first look.
    pub before: Scrape,
    /// The last look.
    pub after: Scrape,
    /// What happened between the two, through the looks in between.
    pub changes: Changes,
    /// One for each interval and instance, in time; joined where they would be too many.
    pub points: Vec<Vec<Point>>,
    /// Whether the server is the simulator in this process: its memory is then ours.
    pub in_process: bool,
    /// Whether the user asked for it.
    pub asked: bool,
    /// Whether it was to begin anew and could not: what was done to get ready is in the numbers.
    pub begins_early: bool,
}

/// Looks at the server while a run goes on.
#[derive(Debug)]
pub struct Observer {
    ready: Option<Receiver<()>>,
    points: Receiver<Vec<Point>>,
    orders: UnboundedSender<Order>,
    thread: JoinHandle<Observed>,
}

#[derive(Debug)]
enum Order {
    /// Begin anew, with a look that is over by then.
    Anew { by: Instant },
    /// The last look, with the longest it may take.
    Finish(Option<Duration>),
}

impl Observer {
    /// Begins with the first look; none when there is nothing to look for. Returns at once.
    #[must_use]
    pub fn begin(target: &Target, in_process: bool, when: ServerMetrics) -> Option<Self> {
        let every = match when {
            ServerMetrics::Off => return None,
            ServerMetrics::Ends { .. } => None,
            ServerMetrics::Every(every) => Some(every.max(Duration::from_millis(100))),
        };
        let (is_ready, ready) = channel();
        let (point, points) = channel();
        let (orders, received) = unbounded_channel();
        let target = target.clone();
        let asked = when.asked();
        let watch = move || {
            let mut observed = Observed {
                in_process,
                asked,
                ..Observed::default()
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(watch(
                        &target,
                        every,
                        &is_ready,
                        &point,
                        received,
                        &mut observed,
                    ));
                }
                Err(error) => tracing::warn!("cannot look at the server: {error}"),
            }
            observed
        };
        let thread = std::thread::Builder::new()
            .name("server-metrics".to_owned())
            .spawn(watch);
        match thread {
            Ok(thread) => Some(Self {
                ready: Some(ready),
                points,
                orders,
                thread,
            }),
            Err(error) => {
                tracing::warn!("cannot look at the server: {error}");
                None
            }
        }
    }

    /// Waits for the end of the first look, which is bounded: from here on the server is left alone.
    pub fn ready(&mut self) {
        if let Some(ready) = self.ready.take() {
            // An error means that the thread is gone, which `finish` sees.
            ready.recv().ok();
        }
    }

    /// Begins anew: who waited for others to be ready does not count the waiting. A look that is not taken `by` then, or
    /// sees less than the first one, is none: what was seen before goes on, and the result says so.
    pub fn anew(&self, by: Instant) {
        self.orders.send(Order::Anew { by }).ok();
    }

    /// Intervals since the last call.
    pub fn news(&self) -> Vec<Vec<Point>> {
        self.points.try_iter().collect()
    }

    /// The last look; a short one when the run is being stopped.
    #[must_use]
    pub fn finish(mut self, stop: &Stop) -> Observed {
        self.ready();
        let limit = stop.is_stopped().then_some(IN_HASTE);
        self.orders.send(Order::Finish(limit)).ok();
        // A thread that panicked has already said so; the run goes on without its numbers.
        self.thread.join().unwrap_or_default()
    }
}

async fn watch(
    target: &Target,
    every: Option<Duration>,
    is_ready: &Sender<()>,
    news: &Sender<Vec<Point>>,
    mut orders: UnboundedReceiver<Order>,
    observed: &mut Observed,
) {
    let scraper = Scraper::find(target).await;
    observed.before = scraper.scrape().await;
    is_ready.send(()).ok();
    let mut first = Instant::now();
    let mut last = observed.before.clone();
    let mut due = tokio::time::Instant::now();
    let limit = loop {
        // None: at no time that there is.
        let next = every
            .and_then(|every| due.checked_add(every))
            // A look that took longer than the interval does not lead to a burst of them.
            .map(|next| next.max(tokio::time::Instant::now()));
        let tick = async {
            match next {
                None => std::future::pending().await,
                Some(next) => tokio::time::sleep_until(next).await,
            }
        };
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::Finish(limit)) => break limit,
                Some(Order::Anew { by }) => {
                    let look = scraper.scrape().await;
                    let before = &observed.before;
                    let sees_less = look.failures.len() > before.failures.len()
                        || look.samples.len() < before.samples.len();
                    // An address that does not answer takes its time, and says nothing about the others.
                    let is_late = look.samples.iter().any(|sample| sample.taken > by);
                    observed.begins_early = sees_less || is_late;
                    if !observed.begins_early {
                        first = Instant::now();
                        due = tokio::time::Instant::now();
                        observed.before = look.clone();
                        observed.changes = Changes::default();
                        observed.points.clear();
                        last = look;
                    }
                }
                // Nobody waits for it.
                None => return,
            },
            () = tick => {
                due = next.unwrap_or(due);
                let look = scraper.scrape().await;
                let changes = Changes::up_to(&mut last, look);
                if changes.instances.is_empty() {
                    // Nobody answered, so that there is no interval yet.
                    observed.changes.add(&changes);
                    continue;
                }
                let at = first.elapsed();
                let points: Vec<Point> = changes
                    .instances
                    .iter()
                    .map(|change| Point::of(change, at))
                    .collect();
                news.send(points.clone()).ok();
                observed.changes.add(&changes);
                push(&mut observed.points, points);
            }
        }
    };
    if every.is_none() && observed.before.samples.is_empty() {
        // Nobody showed anything, as is said already: another look would have nothing to be compared with.
        return;
    }
    tokio::time::sleep(SETTLE).await;
    let scraper = match limit {
        Some(limit) => scraper.with_deadline(limit),
        None => scraper,
    };
    observed.after = scraper.scrape().await;
    let rest = Changes::between(&last, &observed.after);
    if every.is_some() && !observed.points.is_empty() {
        let at = first.elapsed();
        let points = rest.instances.iter().map(|change| Point::of(change, at));
        push(&mut observed.points, points.collect());
    }
    observed.changes.add(&rest);
}

/// Adds an interval; joins neighbours when there are too many, so that the whole run stays covered.
fn push(points: &mut Vec<Vec<Point>>, next: Vec<Point>) {
    points.push(next);
    if points.len() <= MAX_POINTS {
        return;
    }
    let mut joined: Vec<Vec<Point>> = Vec::with_capacity(MAX_POINTS);
    for (number, interval) in points.drain(..).enumerate() {
        match joined.last_mut().filter(|_| number % 2 == 1) {
            None => joined.push(interval),
            Some(before) => {
                for point in interval {
                    match before
                        .iter_mut()
                        .find(|known| known.instance == point.instance)
                    {
                        Some(known) => known.join(&point),
                        None => before.push(point),
                    }
                }
            }
        }
    }
    *points = joined;
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpListener},
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
    };

    use super::*;

    fn target(addresses: Vec<SocketAddr>) -> Target {
        Target {
            host: "api.example".to_owned(),
            port: 80,
            addresses,
            path_prefix: String::new(),
            tls: None,
            headers: Arc::new(http::HeaderMap::new()),
            proxy: None,
        }
    }

    /// An instance that counts its looks as requests, and fails the `failing`th.
    fn instance(start: u32, failing: u64) -> (SocketAddr, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let looks = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&looks);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
                let status = if number == failing {
                    "500 Internal Server Error"
                } else {
                    "200 OK"
                };
                let body = format!(
                    "process_start_time_seconds {start}\n\
                     apiserver_request_total{{verb=\"GET\",resource=\"pods\",code=\"200\"}} {number}\n"
                );
                let length = body.len();
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (address, looks)
    }

    #[test]
    fn an_instance_that_misses_a_look_stays_in_the_sum() {
        let (steady, _) = instance(10, 0);
        let (failing, looks) = instance(20, 3);
        let target = target(vec![steady, failing]);
        let every = ServerMetrics::Every(Duration::from_millis(100));
        let observer = Observer::begin(&target, false, every).unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while looks.load(Ordering::SeqCst) < 6 {
            assert!(Instant::now() < end, "{looks:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let observed = observer.finish(&Stop::new());
        assert!(observed.changes.is_whole(), "{:?}", observed.changes);
        // From the first look to the last, the failed one among them.
        let all = looks.load(Ordering::SeqCst) - 1;
        let change = &observed.changes.instances;
        let change = change
            .iter()
            .find(|change| change.instance == failing.to_string());
        assert_eq!(change.unwrap().counters.answered(), all as f64);
        let of_points: f64 = observed
            .points
            .iter()
            .flatten()
            .filter(|point| point.instance == failing.to_string())
            .map(|point| point.requests)
            .sum();
        assert_eq!(of_points, all as f64);
    }

    #[test]
    fn an_interval_without_an_end_is_none() {
        let (address, looks) = instance(10, 0);
        let target = target(vec![address]);
        let every = ServerMetrics::Every(Duration::MAX);
        let mut observer = Observer::begin(&target, false, every).unwrap();
        observer.ready();
        let observed = observer.finish(&Stop::new());
        assert!(observed.changes.is_whole(), "{:?}", observed.changes);
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn what_was_before_a_new_beginning_does_not_count() {
        for (in_time, counted) in [(true, 1.0), (false, 2.0)] {
            let (address, looks) = instance(10, 0);
            let target = target(vec![address]);
            let ends = ServerMetrics::Ends { asked: true };
            let mut observer = Observer::begin(&target, false, ends).unwrap();
            observer.ready();
            let now = Instant::now();
            observer.anew(if in_time {
                now + Duration::from_secs(60)
            } else {
                now
            });
            let observed = observer.finish(&Stop::new());
            assert_eq!(looks.load(Ordering::SeqCst), 3);
            assert!(observed.changes.is_whole(), "{:?}", observed.changes);
            let change = &observed.changes.instances[0];
            assert_eq!(change.counters.answered(), counted, "{in_time}");
            assert_eq!(observed.begins_early, !in_time);
        }
    }

    #[test]
    fn who_shows_nothing_is_not_asked_twice() {
        let (address, looks) = instance(10, 1);
        let ends = ServerMetrics::Ends { asked: false };
        let mut observer = Observer::begin(&target(vec![address]), false, ends).unwrap();
        observer.ready();
        let observed = observer.finish(&Stop::new());
        assert_eq!(looks.load(Ordering::SeqCst), 1);
        assert_eq!(observed.before.failures.len(), 1);
        assert!(observed.after.failures.is_empty());
    }

    #[test]
    fn many_intervals_are_joined_and_nothing_is_lost() {
        let mut points = Vec::new();
        for second in 1..=1000_u64 {
            let point = Point {
                instance: "a".to_owned(),
                at: Duration::from_secs(second),
                elapsed: Duration::from_secs(1),
                cpu_seconds: Some(0.5),
                resident_bytes: Some(second as f64),
                requests: 3.0,
                times: Buckets::default(),
            };
            push(&mut points, vec![point]);
        }
        assert!(points.len() <= MAX_POINTS, "{}", points.len());
        let all: Vec<&Point> = points.iter().flatten().collect();
        let sum = |of: fn(&Point) -> f64| all.iter().map(|point| of(point)).sum::<f64>();
        assert_eq!(sum(|point| point.requests), 3000.0);
        assert_eq!(sum(|point| point.cpu_seconds.unwrap()), 500.0);
        assert_eq!(sum(|point| point.elapsed.as_secs_f64()), 1000.0);
        assert!(all.is_sorted_by_key(|point| point.at));
        assert_eq!(all.last().unwrap().at, Duration::from_secs(1000));
    }
}
