use super::*;
use kperf_sdk::benchmark::tracking::Stamp;

const SEC: u64 = 1_000_000_000;
/// 2024-07-29T19:29:46Z, a little after which the run starts.
const START_US: u64 = 1_722_281_386_250_000;

fn stamp(received_ns: u64, api_unix_us: u64) -> Stamp {
    Stamp {
        received_ns,
        api_unix_us,
        exact: true,
    }
}

fn pod(name: &str, stamps: [Stamp; 3], captures: [&str; 2]) -> Tracked {
    Tracked {
        namespace: "test-1".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        sent_ns: 0,
        answered_ns: 0,
        stamps: stamps.into(),
        captures: captures.map(str::to_owned).into(),
    }
}

const NEVER: Stamp = Stamp {
    received_ns: 0,
    api_unix_us: 0,
    exact: false,
};

/// Two pods that ran and one that was scheduled only.
fn pods() -> [Tracked; 3] {
    let second = |seconds: u64| (START_US / 1_000_000 + seconds) * 1_000_000;
    [
        // Created 0.75 s after the start of the second that the API server names.
        pod(
            "a",
            [
                stamp(SEC / 2, second(0)),
                stamp(SEC / 2 + 40_000_000, second(0)),
                stamp(3 * SEC, second(2)),
            ],
            ["", "[{\"state\":{\"running\":{}}}]"],
        ),
        pod(
            "b",
            [
                stamp(SEC, second(1)),
                stamp(SEC, second(1)),
                stamp(2 * SEC, second(3)),
            ],
            [
                "[{\"name\":\"d\",\"persistentVolumeClaim\":{\"claimName\":\"x\"}}]",
                "",
            ],
        ),
        pod(
            "c",
            [stamp(SEC, second(1)), stamp(2 * SEC, second(2)), NEVER],
            ["[{\"name\":\"t\",\"projected\":{}}]", ""],
        ),
    ]
}

fn startup(definition: Definition) -> Startup {
    let at = |micros: u64| START_US as i64 / 1_000_000 * 1_000_000 + micros as i64;
    let scheduled_at: ScheduledAt = [("a", at(900_000)), ("c", at(1_900_000))]
        .into_iter()
        .map(|(name, at_us)| (("test-1".to_owned(), name.to_owned()), at_us))
        .collect();
    let reading = Reading {
        definition,
        scheduled_at: &scheduled_at,
        start_unix_us: START_US,
    };
    let mut startup = Startup::default();
    for pod in pods() {
        startup.add(&pod, &reading);
    }
    startup
}

/// Milliseconds, ascending, and how many are missing.
fn millis(startup: &Startup, definition: Definition, name: &str, set: PodSet) -> (Vec<u64>, usize) {
    let transition = definition
        .transitions()
        .find(|transition| transition.name == name)
        .unwrap();
    let latencies = startup.latencies(transition, set);
    let times = latencies.sorted.iter().map(|(ns, _)| ns / 1_000_000);
    (times.collect(), latencies.missing)
}

#[test]
fn since_2026_every_moment_is_a_receipt() {
    let definition = Definition::Watch2026;
    let startup = startup(definition);
    for (name, expected) in [
        ("create_to_schedule", (vec![0, 40, 1000], 0)),
        ("schedule_to_run", (vec![1000, 2460], 1)),
        ("run_to_watch", (vec![0, 0], 1)),
        ("schedule_to_watch", (vec![1000, 2460], 1)),
        ("pod_startup", (vec![1000, 2500], 1)),
        ("create_to_run", (vec![1000, 2500], 1)),
    ] {
        assert_eq!(
            millis(&startup, definition, name, PodSet::All),
            expected,
            "{name}"
        );
    }
    assert_eq!(definition.transitions().count(), 6);
}

#[test]
fn until_2026_four_clocks_are_mixed() {
    let definition = Definition::Api2024;
    let startup = startup(definition);
    for (name, expected) in [
        // a: the scheduler's 0.9 s against second 0. b has no Event, c never ran.
        ("create_to_schedule", (vec![900], 2)),
        // a: second 2 against 0.9 s.
        ("schedule_to_run", (vec![1100], 2)),
        // a: received at 0.25 + 3 s against second 2. b: at 2.25 s against second 3, which is before it.
        ("run_to_watch", (vec![0, 1250], 1)),
        ("schedule_to_watch", (vec![2350], 2)),
        // a: 3.25 s against second 0. b: 2.25 s against second 1.
        ("pod_startup", (vec![1250, 3250], 1)),
    ] {
        assert_eq!(
            millis(&startup, definition, name, PodSet::All),
            expected,
            "{name}"
        );
    }
    assert!(
        definition
            .transitions()
            .all(|transition| transition.name != "create_to_run")
    );
}

#[test]
fn pods_that_never_ran_do_not_vanish() {
    let startup = startup(Definition::Watch2026);
    assert_eq!(startup.never_ran().collect::<Vec<_>>(), ["test-1/c"]);
}

#[test]
fn stateless_and_stateful_are_told_apart() {
    let definition = Definition::Watch2026;
    let startup = startup(definition);
    assert_eq!(
        PodSet::EACH.map(|set| startup.count(set)),
        [3, 2, 1],
        "all, stateless, stateful"
    );
    let times = |set| millis(&startup, definition, POD_STARTUP, set);
    assert_eq!(times(PodSet::Stateless), (vec![2500], 1));
    assert_eq!(times(PodSet::Stateful), (vec![1000], 0));

    assert!(is_stateless(""));
    assert!(is_stateless(
        "[{\"emptyDir\":{}},{\"configMap\":{\"name\":\"x\"}},{\"secret\":{}}]"
    ));
    assert!(is_stateless("[{\"downwardAPI\":{}}]"));
    assert!(!is_stateless(
        "[{\"emptyDir\":{}},{\"hostPath\":{\"path\":\"/\"}}]"
    ));
    assert!(!is_stateless("[{\"name\":\"x\",\"emptyDir\":null}]"));
}

#[test]
fn only_pods_that_lack_a_time_are_counted() {
    let definition = Definition::Watch2026;
    let startup = startup(definition);
    let counts = |set| -> Vec<(&str, Option<&str>, usize)> {
        let counts = startup.counts(definition, set);
        counts
            .iter()
            .map(|count| (count.name, count.transition, count.pods))
            .collect()
    };
    assert_eq!(
        counts(PodSet::All),
        [
            ("pods", None, 3),
            ("pods_without_times", Some("schedule_to_run"), 1),
            ("pods_without_times", Some("run_to_watch"), 1),
            ("pods_without_times", Some("schedule_to_watch"), 1),
            ("pods_without_times", Some("pod_startup"), 1),
            ("pods_without_times", Some("create_to_run"), 1),
        ]
    );
    assert_eq!(counts(PodSet::Stateful), [("pods", None, 1)]);
    let none = Startup::default().counts(definition, PodSet::All);
    assert_eq!(none.len(), 1, "how many there were is always said");
}

#[test]
fn the_latest_container_counts() {
    let statuses = r#"[{"state":{"running":{"startedAt":"2024-07-29T19:29:50Z"}}},
                       {"state":{"running":{"startedAt":"2024-07-29T19:29:52Z"}}},
                       {"state":{"waiting":{}}}]"#;
    let of_first = 1_722_281_390_000_000;
    let of = |captured: &str, api_us: u64| {
        let stamps = [stamp(1, 1), stamp(1, 1), stamp(1, api_us)];
        started_at_ns(&pod("a", stamps, ["", captured]))
    };
    assert_eq!(of(statuses, of_first), Some(1_722_281_392_000_000_000));
    assert_eq!(of("", of_first), Some(1_722_281_390_000_000_000));
    assert_eq!(of("[{\"state\":{}}]", 0), None);
    assert_eq!(of("[]", 0), None);
}

#[test]
fn percentiles_are_nearest_ranks() {
    let of = |count: u64| Latencies {
        transition: POD_STARTUP,
        sorted: (1..=count).map(|ns| (ns, ns as usize)).collect(),
        missing: 0,
    };
    let percentiles = |count| [50, 90, 99].map(|percent| of(count).percentile_ns(percent));
    // ceil(n p / 100), counted from 1.
    assert_eq!(percentiles(0), [0, 0, 0]);
    assert_eq!(percentiles(1), [1, 1, 1]);
    assert_eq!(percentiles(10), [5, 9, 10]);
    assert_eq!(percentiles(3), [2, 3, 3]);
    assert_eq!(percentiles(101), [51, 91, 100]);
    assert_eq!(of(20).worst(3), [(18, 18), (19, 19), (20, 20)]);
    assert_eq!(of(1).worst(10).len(), 1);
}

#[test]
fn the_seeds_percentiles_come_out() {
    // The ten run_to_watch times of the run of July 2024, in microseconds.
    let times = [
        602_367, 626_701, 641_564, 1_368_008, 1_368_478, 1_374_463, 1_376_180, 1_378_102,
        1_382_020, 1_405_402,
    ];
    let latencies = Latencies {
        transition: "run_to_watch",
        sorted: times
            .iter()
            .enumerate()
            .map(|(at, us)| (us * 1_000, at))
            .collect(),
        missing: 0,
    };
    assert_eq!(
        [50, 90, 99].map(|percent| latencies.percentile_ns(percent) / 1_000),
        [1_368_478, 1_382_020, 1_405_402]
    );
}
