//! Whatever breaks, nothing is lost that can be known, and nothing is counted twice.

use std::time::{Duration, Instant};

use kperf_cluster::track::{Clock, TrackOptions, Tracker};

use crate::{
    objects::{
        GONE, READY, SEEN, bookmark, configmaps, event, object, page, quick, soon, start, status,
    },
    scripted::{Orders, Server},
};

#[tokio::test]
async fn events_cut_at_every_byte() {
    let server = Server::start();
    server.list(200, page(&[], 1, ""));
    let feed = server.watch();
    let tracker = start(&server.url(), &configmaps()).await.unwrap();
    let length = event("ADDED", "thing-1000", 1000, "ready").len();
    for i in 0..=length {
        let version = 1000 + u32::try_from(i).unwrap();
        let line = event("ADDED", &format!("thing-{version}"), version, "ready");
        feed.send(&line.as_bytes()[..i]);
        feed.send(&line.as_bytes()[i..]);
    }
    for byte in event("ADDED", "bytewise", 2000, "ready").bytes() {
        feed.send([byte]);
    }
    let all = length as u64 + 2;
    let waited = tracker.wait(READY, all, soon()).await.unwrap();
    assert!(waited.reached, "{:?}", waited.counts);
    assert_eq!((waited.counts.seen, waited.counts.events), (all, all));
    assert_eq!((waited.counts.garbage, waited.counts.reconnects), (0, 0));
}

#[tokio::test]
async fn expired_as_an_event_lists_again() {
    expired(false).await;
}

#[tokio::test]
async fn expired_as_a_status_lists_again() {
    expired(true).await;
}

async fn expired(as_status: bool) {
    let server = Server::start();
    let before = [
        object("a", 1, "new"),
        object("b", 2, "new"),
        object("c", 3, "new"),
    ];
    server.list(200, page(&before, 3, ""));
    let first = server.watch();
    let tracker = start(&server.url(), &configmaps()).await.unwrap();
    first.send(event("MODIFIED", "a", 4, "ready"));
    assert!(tracker.wait(READY, 1, soon()).await.unwrap().reached);
    // While the watch is away b becomes ready, c vanishes, d appears.
    let after = [
        object("a", 4, "ready"),
        object("b", 5, "ready"),
        object("d", 6, "new"),
    ];
    let gone = status(410, "too old resource version");
    let last;
    if as_status {
        server.refuse_watch(410, gone);
        last = server.watch();
        server.list(200, page(&after, 9, ""));
        first.cut();
    } else {
        last = server.watch();
        server.list(200, page(&after, 9, ""));
        first.send(format!("{{\"type\":\"ERROR\",\"object\":{gone}}}\n"));
    }
    let waited = tracker.wait(READY, 2, soon()).await.unwrap();
    assert!(waited.reached);
    last.send(event("MODIFIED", "d", 10, "ready"));
    let counts = tracker.wait(READY, 3, soon()).await.unwrap().counts;
    assert_eq!(counts.reached, [4, 3, 1]);
    assert_eq!(counts.now, [3, 3, 1]);
    assert_eq!(
        (counts.seen, counts.alive, counts.relists, counts.events),
        (4, 3, 1, 2)
    );
    let objects = tracker.objects(0..10);
    let names: Vec<_> = objects.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    let stamp = |object: usize, milestone: usize| objects[object].stamps[milestone].unwrap();
    assert!(stamp(0, SEEN).initial && stamp(0, READY).exact());
    assert!(stamp(1, READY).inferred && stamp(2, GONE).inferred && stamp(3, SEEN).inferred);
    assert_eq!(stamp(1, READY).api_unix_us, Some(1_767_323_047_000_000));
    assert!(!objects[2].alive && objects[2].stamps[READY].is_none());
    // Stamps that are no times of events are in no duration, but the API's own times are.
    let pairs = tracker.pairs(SEEN, READY, Clock::Received).unwrap();
    assert_eq!(
        (pairs.durations_ns.len(), pairs.lacking, pairs.inexact),
        (0, 1, 3)
    );
    let pairs = tracker.pairs(SEEN, READY, Clock::Api).unwrap();
    assert_eq!(pairs.durations_ns, [2_000_000_000; 3]);
    assert_eq!(*server.watched_from().last().unwrap(), "9");
}

#[tokio::test]
async fn a_lost_connection_is_taken_up_where_it_was() {
    let server = Server::start();
    server.list(200, page(&[], 1, ""));
    let (first, second, third) = (server.watch(), server.watch(), server.watch());
    let tracker = start(&server.url(), &configmaps()).await.unwrap();
    first.send(event("ADDED", "a", 5, "new"));
    // Half an event was lost with the connection; it comes again, whole.
    first.send(&event("MODIFIED", "a", 6, "ready").as_bytes()[..40]);
    first.cut();
    second.send(event("MODIFIED", "a", 6, "ready"));
    second.send(bookmark(50));
    assert!(tracker.wait(READY, 1, soon()).await.unwrap().reached);
    assert!(
        tracker
            .wait_for(soon(), |c| c.bookmarks == 1)
            .await
            .unwrap()
            .reached
    );
    // And half an event at an end in peace.
    second.send(&event("DELETED", "a", 51, "ready").as_bytes()[..60]);
    drop(second);
    third.send(event("DELETED", "a", 51, "ready"));
    let counts = tracker.wait_gone(soon()).await.unwrap().counts;
    assert_eq!(counts.reached, [1, 1, 1]);
    assert_eq!(
        (
            counts.events,
            counts.reconnects,
            counts.relists,
            counts.garbage
        ),
        (3, 2, 0, 0)
    );
    assert_eq!(server.watched_from(), ["1", "5", "50"]);
}

#[tokio::test]
async fn garbage_is_counted_and_left_behind() {
    let server = Server::start();
    server.list(200, page(&[], 1, ""));
    let (first, second) = (server.watch(), server.watch());
    let tracker = start(&server.url(), &configmaps()).await.unwrap();
    let good = event("ADDED", "a", 5, "new");
    first.send(format!(
        "{good}\u{1f4a3} no JSON\n{}",
        event("ADDED", "b", 6, "new")
    ));
    second.send(event("ADDED", "b", 6, "ready"));
    let counts = tracker.wait(READY, 1, soon()).await.unwrap().counts;
    assert_eq!(
        (
            counts.seen,
            counts.events,
            counts.garbage,
            counts.reconnects
        ),
        (2, 2, 1, 1)
    );
    assert_eq!(server.watched_from(), ["1", "5"]);
    assert!(counts.last_failure.unwrap().contains("no event"));
}

#[tokio::test]
async fn a_silent_watch_is_dead() {
    let server = Server::start();
    server.list(200, page(&[], 1, ""));
    let (_silent, second) = (server.watch(), server.watch());
    let options = TrackOptions {
        silence: Duration::from_millis(50),
        ..quick()
    };
    let spec = configmaps();
    let config = crate::objects::config(&server.url());
    let tracker = Tracker::start(config, &spec, &options, Instant::now())
        .await
        .unwrap();
    second.send(event("ADDED", "a", 5, "ready"));
    let counts = tracker.wait(READY, 1, soon()).await.unwrap().counts;
    assert!(counts.reconnects >= 1 && counts.relists == 0, "{counts:?}");
    assert!(counts.last_failure.unwrap().contains("silent"));
    // It might have happened while nobody listened.
    assert!(tracker.objects(0..1)[0].stamps[READY].unwrap().resumed);
}

#[tokio::test]
async fn a_list_in_pages_begins_anew_when_its_place_is_lost() {
    let server = Server::start();
    server.list(200, page(&[object("a", 1, "new")], 3, "more"));
    server.list(
        410,
        status(410, "the provided continue parameter is too old"),
    );
    server.list(200, page(&[object("a", 1, "new")], 4, "more"));
    server.list(503, "try later");
    server.list(200, page(&[object("a", 1, "new")], 5, "a b&c"));
    server.list(200, page(&[object("b", 2, "new")], 5, ""));
    let tracker = start(&server.url(), &configmaps()).await.unwrap();
    let counts = tracker.counts();
    assert_eq!(
        (counts.seen, counts.alive, counts.relists, counts.failures),
        (2, 2, 0, 2)
    );
    assert!(
        tracker
            .objects(0..2)
            .iter()
            .all(|o| o.stamps[SEEN].unwrap().initial)
    );
    let requests = server.requests();
    assert!(requests[5].contains("continue=a+b%26c"), "{requests:?}");
    assert_eq!(server.watched_from(), ["5"]);
}

#[tokio::test]
async fn a_server_that_starts_again_is_taken_up() {
    let server = Server::start();
    server.list(200, page(&[object("a", 1, "new")], 3, ""));
    let first = server.watch();
    let tracker = start(&server.url(), &configmaps()).await.unwrap();
    first.send(event("MODIFIED", "a", 4, "new"));
    assert!(
        tracker
            .wait_for(soon(), |c| c.events == 1)
            .await
            .unwrap()
            .reached
    );
    let address = server.address;
    drop(server);
    assert!(
        tracker
            .wait_for(soon(), |c| c.failures > 2)
            .await
            .unwrap()
            .reached
    );
    // It may say such things while it starts.
    let orders = Orders::default();
    orders.refuse_watch(403, status(403, "roles not read yet"));
    orders.refuse_watch(429, "busy");
    let watch = orders.watch();
    let server = Server::start_at(address, orders);
    watch.send(event("MODIFIED", "a", 5, "ready"));
    watch.send(event("ADDED", "b", 6, "new"));
    let counts = tracker.wait(SEEN, 2, soon()).await.unwrap().counts;
    assert_eq!(counts.reached, [2, 1, 0]);
    assert_eq!(
        (counts.events, counts.relists, counts.reconnects),
        (3, 0, 1)
    );
    assert_eq!(server.watched_from(), ["4", "4", "4"]);
}

#[tokio::test]
async fn a_revision_the_server_never_accepts_is_given_up() {
    let server = Server::start();
    server.list(200, page(&[object("a", 1, "new")], 900, ""));
    let first = server.watch();
    let tracker = start(&server.url(), &configmaps()).await.unwrap();
    // A server set back to an old state: its revisions are far below ours.
    for _ in 0..5 {
        server.refuse_watch(504, status(504, "Too large resource version"));
    }
    server.list(200, page(&[object("b", 7, "new")], 8, ""));
    first.cut();
    let counts = tracker.wait(GONE, 1, soon()).await.unwrap().counts;
    assert_eq!((counts.seen, counts.alive, counts.relists), (2, 1, 1));
    // Duplicates after it change nothing.
    assert!(
        tracker
            .wait_for(soon(), |c| c.reconnects == 1)
            .await
            .unwrap()
            .reached
    );
    assert_eq!(*server.watched_from().last().unwrap(), "8");
}

#[tokio::test]
async fn events_that_come_twice_count_once() {
    let server = Server::start();
    server.list(200, page(&[object("a", 1, "ready")], 3, ""));
    let first = server.watch();
    let tracker = start(&server.url(), &configmaps()).await.unwrap();
    for _ in 0..3 {
        first.send(event("ADDED", "a", 4, "ready"));
        first.send(event("ADDED", "b", 5, "ready"));
    }
    let counts = tracker
        .wait_for(soon(), |c| c.events == 6)
        .await
        .unwrap()
        .counts;
    assert_eq!(counts.reached, [2, 2, 0]);
    assert_eq!((counts.seen, counts.alive), (2, 2));
}
