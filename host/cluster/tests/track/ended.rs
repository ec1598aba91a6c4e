//! When there is no going on, waits say why.

use std::time::{Duration, Instant};

use kperf_cluster::track::{TrackError, TrackOptions, Tracker};

use crate::{
    objects::{READY, config, configmaps, event, object, page, quick, soon, start, status},
    scripted::Server,
};

#[tokio::test]
async fn a_refusal_at_the_start_keeps_its_words() {
    for code in [400, 401, 403, 404, 405, 422] {
        let server = Server::start();
        server.list(code, status(code, "cannot list resource \"configmaps\""));
        let error = start(&server.url(), &configmaps()).await.unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, TrackError::Refused { status, .. } if status == code),
            "{text}"
        );
        for part in [
            "cannot list resource",
            "\"things\"",
            "/api/v1/namespaces/ns-0/configmaps",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[tokio::test]
async fn a_refusal_that_stays_ends_the_tracker() {
    let server = Server::start();
    server.list(200, page(&[object("a", 1, "new")], 3, ""));
    let first = server.watch();
    let tracker = start(&server.url(), &configmaps()).await.unwrap();
    for _ in 0..1000 {
        server.refuse_watch(403, status(403, "cannot watch"));
    }
    first.cut();
    let error = tracker.wait(READY, 1, soon()).await.unwrap_err();
    assert!(error.to_string().contains("cannot watch"), "{error}");
    assert_eq!(tracker.ended(), Some(error));
    // What was reached before is still true.
    assert!(tracker.wait(0, 1, soon()).await.unwrap().reached);
}

#[tokio::test]
async fn nobody_answers() {
    let options = TrackOptions {
        start: Duration::from_millis(100),
        ..quick()
    };
    let server = Server::start();
    server.silent_list();
    let spec = configmaps();
    let silent = Tracker::start(config(&server.url()), &spec, &options, Instant::now()).await;
    assert!(
        matches!(silent, Err(TrackError::Unavailable { .. })),
        "{silent:?}"
    );
    let url = server.url();
    drop(server);
    let error = Tracker::start(config(&url), &spec, &options, Instant::now())
        .await
        .unwrap_err();
    let text = error.to_string().to_lowercase();
    assert!(text.contains("refused"), "{text}");
}

#[tokio::test]
async fn an_event_without_end_is_an_error() {
    let server = Server::start();
    server.list(200, page(&[], 1, ""));
    let first = server.watch();
    let options = TrackOptions {
        max_line_bytes: 1000,
        ..quick()
    };
    let config = config(&server.url());
    let tracker = Tracker::start(config, &configmaps(), &options, Instant::now())
        .await
        .unwrap();
    for _ in 0..11 {
        first.send([b'x'; 100]);
    }
    let error = tracker.wait(READY, 1, soon()).await.unwrap_err();
    assert!(
        matches!(
            error,
            TrackError::TooLong {
                limit_bytes: 1000,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_page_without_end_is_an_error() {
    let server = Server::start();
    server.list(200, page(&[object("a", 1, "new")], 3, ""));
    let options = TrackOptions {
        max_page_bytes: 100,
        ..quick()
    };
    let config = config(&server.url());
    let error = Tracker::start(config, &configmaps(), &options, Instant::now())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("a page"), "{error}");
}

#[tokio::test]
async fn a_deadline_gives_the_counts() {
    let server = Server::start();
    server.list(200, page(&[object("a", 1, "new")], 3, ""));
    let tracker = start(&server.url(), &configmaps()).await.unwrap();
    let waited = tracker
        .wait(READY, 1, Instant::now() + Duration::from_millis(10))
        .await
        .unwrap();
    assert!(!waited.reached);
    assert_eq!((waited.counts.seen, waited.counts.reached[READY]), (1, 0));
    let gone = tracker.wait_gone(Instant::now()).await.unwrap();
    assert!(!gone.reached);
    assert_eq!(
        tracker.wait(3, 1, soon()).await.unwrap_err(),
        TrackError::NoMilestone { index: 3, count: 3 }
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_keeps_its_records() {
    let server = Server::start();
    server.list(
        200,
        page(&[object("a", 1, "ready"), object("b", 2, "new")], 3, ""),
    );
    let first = server.watch();
    let tracker = start(&server.url(), &configmaps()).await.unwrap();
    first.send(event("ADDED", "c", 4, "new"));
    assert!(tracker.wait(0, 3, soon()).await.unwrap().reached);
    tracker.stop().await;
    assert_eq!(tracker.ended(), Some(TrackError::Stopped));
    assert_eq!(
        tracker.wait(READY, 2, soon()).await,
        Err(TrackError::Stopped)
    );
    let missing = tracker.missing(READY, 0..10).unwrap();
    let names: Vec<_> = missing.objects.iter().map(|o| o.name.as_str()).collect();
    assert_eq!((missing.count, names), (2, vec!["b", "c"]));
    let rest = tracker.missing(READY, 1..2).unwrap();
    assert_eq!((rest.count, rest.objects[0].name.as_str()), (2, "c"));
}

#[tokio::test]
async fn a_spec_that_cannot_be_is_said_at_once() {
    let mut spec = configmaps();
    spec.milestones[1].checks[0].path = "data/phase".into();
    let error = start("http://127.0.0.1:1", &spec)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"ready\"") && error.contains("data/phase"),
        "{error}"
    );
}
