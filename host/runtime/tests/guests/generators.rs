use std::{sync::Arc, time::Duration};

use kperf_runtime::{Batch, Generator, Limits, OpenContext, Outcomes, Phase, Plugin, PluginError};
use serde_json::json;

use crate::components::{limits, load};

fn open_with(plugin: &Arc<Plugin>, misbehave: &str, seed: u64) -> Result<Generator, PluginError> {
    let config = plugin
        .resolve_config(Some(json!({"misbehave": misbehave})))
        .unwrap();
    let context = OpenContext {
        seed,
        shards: 1,
        deadline: Duration::from_secs(60),
        ..OpenContext::default()
    };
    plugin.open_generator(context, &config)
}

fn open(misbehave: &str) -> Generator {
    open_with(&load("generator", limits()), misbehave, 1).unwrap()
}

/// Asserts what every error must say, and the rest that this one must.
fn assert_says(error: &PluginError, phase: Phase, code: &str, needles: &[&str]) {
    assert_eq!(error.code(), code, "{error}");
    assert_eq!(error.phase(), Some(phase), "{error}");
    let said = error.to_string();
    assert!(
        said.starts_with("plugin hostile-generator 0.1.0 (replay-generator, sha256 "),
        "{said}"
    );
    assert!(said.contains(&format!("failed in {phase}: ")), "{said}");
    assert!(!said.contains("0x"), "no addresses: {said}");
    assert!(!said.chars().any(char::is_control), "{said:?}");
    for needle in needles {
        assert!(said.contains(needle), "`{said}` lacks `{needle}`");
    }
}

fn assert_next_fails(misbehave: &str, code: &str, needles: &[&str]) {
    let mut generator = open(misbehave);
    let error = generator.next(8).unwrap_err();
    assert_says(&error, Phase::Next, code, needles);
    // Spent: the same error, no call.
    let again = generator.next(8).unwrap_err();
    assert_eq!(error.to_string(), again.to_string());
    assert!(generator.templates().is_empty());
}

fn assert_open_fails(misbehave: &str, code: &str, needles: &[&str]) {
    let error = open_with(&load("generator", limits()), misbehave, 1).unwrap_err();
    assert_says(&error, Phase::Open, code, needles);
}

#[test]
fn a_plain_source_gives_what_was_asked_for() {
    let mut generator = open("no");
    assert_eq!(generator.templates().len(), 1);
    let batch = generator.next(64).unwrap();
    assert_eq!(batch.count, 64);
    assert!(batch.template.is_empty() && batch.tag.is_empty());
    assert!(batch.arena.starts_with(b"/api/v1/namespaces/ns-"));
    assert_eq!(generator.next(0).unwrap(), Batch::default());
    // Whoever asks for more than a batch may hold gets a full one.
    assert_eq!(
        generator.next(u32::MAX).unwrap().count,
        limits().batch_items
    );
}

#[test]
fn the_seed_decides_every_choice() {
    let plugin = load("generator", limits());
    for misbehave in ["no", "random"] {
        let batch = |seed| {
            open_with(&plugin, misbehave, seed)
                .unwrap()
                .next(16)
                .unwrap()
        };
        assert_eq!(batch(1), batch(1), "{misbehave}");
        assert_ne!(batch(1), batch(4), "{misbehave}");
    }
}

#[test]
fn an_endless_loop_ends_at_the_deadline() {
    let limits = Limits {
        next_trap: Duration::from_millis(250),
        ..limits()
    };
    let mut generator = open_with(&load("generator", limits), "loop", 1).unwrap();
    let error = generator.next(8).unwrap_err();
    assert_says(&error, Phase::Next, "deadline", &["limit of 250 ms"]);
}

#[test]
fn an_endless_loop_in_open_ends_at_its_own_deadline() {
    let limits = Limits {
        open_trap: Duration::from_millis(300),
        ..limits()
    };
    let error = open_with(&load("generator", limits), "open-loop", 1).unwrap_err();
    assert_says(&error, Phase::Open, "deadline", &["limit of 300 ms"]);
}

#[test]
fn noise_on_stderr_is_bounded_and_ends_at_the_deadline() {
    let limits = Limits {
        next_trap: Duration::from_millis(250),
        ..limits()
    };
    let kept = limits.stderr_bytes;
    let mut generator = open_with(&load("generator", limits), "stderr-endlessly", 1).unwrap();
    let error = generator.next(8).unwrap_err();
    assert_says(&error, Phase::Next, "deadline", &["noise"]);
    assert!(error.stderr().len() <= kept);
}

#[test]
fn growth_above_the_limit_is_memory() {
    assert_next_fails("grow", "memory", &["limit is 64 MiB", "--plugin-memory"]);
}

#[test]
fn the_other_traps_have_their_own_codes() {
    assert_next_fails("recurse", "stack", &["stack"]);
    assert_next_fails("out-of-bounds", "out-of-bounds", &["outside its memory"]);
    assert_next_fails("exit", "exit", &["exited with status"]);
}

#[test]
fn a_panic_carries_its_message() {
    assert_next_fails("panic", "trap", &["gave up", "the moon is not full"]);
}

#[test]
fn a_failure_carries_code_text_and_hint() {
    assert_next_fails(
        "fail",
        "failure",
        &["the moon is not full", "[moon]", "do something else"],
    );
}

#[test]
fn a_trap_midway_keeps_the_batches_before_it() {
    let mut generator = open("trap-midway");
    for _ in 0..3 {
        assert_eq!(generator.next(8).unwrap().count, 8);
    }
    let error = generator.next(8).unwrap_err();
    assert_says(&error, Phase::Next, "trap", &["gave up"]);
    generator.reopen().unwrap();
    assert_eq!(generator.next(8).unwrap().count, 8);
}

#[test]
fn a_million_items_are_refused() {
    assert_next_fails(
        "million",
        "malformed-batch",
        &["1000000 requests, at most 8"],
    );
    assert_next_fails("one-more", "malformed-batch", &["9 requests, at most 8"]);
}

#[test]
fn more_data_than_allowed_is_not_even_copied() {
    assert_next_fails("flood", "too-much-data", &["more than 24 MiB in one call"]);
}

#[test]
fn lies_about_columns_and_arena_are_named() {
    assert_next_fails("arena-short", "malformed-batch", &["`arena` has", "use"]);
    assert_next_fails("arena-long", "malformed-batch", &["`arena` has", "use"]);
    assert_next_fails("column", "malformed-batch", &["`tag` has 1 elements for 8"]);
    assert_next_fails(
        "template",
        "malformed-batch",
        &["names template 7", "last one is 0"],
    );
    assert_next_fails("relative", "malformed-batch", &["path of request 0"]);
}

#[test]
fn opening_is_checked_too() {
    assert_open_fails(
        "open-fails",
        "failure",
        &["the moon is not full", "[invalid-config]"],
    );
    assert_open_fails("open-no-templates", "malformed-template", &["0 templates"]);
    assert_open_fails(
        "open-many-templates",
        "malformed-template",
        &["10001 templates"],
    );
    assert_open_fails(
        "open-bad-header",
        "malformed-template",
        &["`authorization`"],
    );
    let error = open_with(&load("generator", limits()), "open-bad-header", 1).unwrap_err();
    assert!(!format!("{error:?}").contains("s3cret"));
}

#[test]
fn there_is_no_network_no_file_and_no_time() {
    assert_open_fails("connect", "failure", &["[network]", "PermissionDenied"]);
    assert_open_fails("read-files", "failure", &["not readable", "0 variables"]);
    assert_open_fails("clock", "failure", &["unix time Ok(0)"]);
}

#[test]
fn a_log_without_end_is_cut_and_harmless() {
    let mut generator = open("open-log-endlessly");
    assert_eq!(generator.next(8).unwrap().count, 8);
}

/// Streams of a guest must not start a runtime inside the shard's own.
#[test]
fn guests_can_be_called_from_within_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut generator = open("stderr");
        assert_eq!(generator.next(8).unwrap().count, 8);
        let mut generator = open("panic");
        let error = generator.next(8).unwrap_err();
        assert_says(&error, Phase::Next, "trap", &["the moon is not full"]);
        let error = open_with(&load("generator", limits()), "connect", 1).unwrap_err();
        assert_eq!(error.code(), "failure");
    });
}

#[test]
fn outcomes_reach_the_source_they_belong_to() {
    let mut generator = open("seen");
    assert!(generator.wants_outcomes());
    let outcomes = Outcomes {
        count: 2,
        tag: vec![1, 2],
        status: vec![200, 0],
        capture_len: vec![4, 0],
        arena: b"[42]".to_vec(),
        ..Outcomes::default()
    };
    generator.observe(outcomes).unwrap();
    assert_eq!(generator.next(1).unwrap().tag, [6]);
    let mut generator = open("observe-panics");
    let error = generator.observe(Outcomes::default()).unwrap_err();
    assert_says(&error, Phase::Observe, "trap", &["seen too much"]);
}

#[test]
fn arrival_times_are_checked_over_calls() {
    let mut generator = open("no");
    assert!(generator.owns_arrivals());
    assert_eq!(generator.schedule(3).unwrap(), [0, 1, 2]);
    let cases = [
        ("schedule-backwards", "arrival time 1 is 1 ns"),
        ("schedule-many", "5 arrival times, at most 4"),
    ];
    for (misbehave, said) in cases {
        let error = open(misbehave).schedule(4).unwrap_err();
        assert_says(&error, Phase::Schedule, "malformed-schedule", &[said]);
    }
    let mut generator = open("schedule-restarts");
    assert_eq!(generator.schedule(1).unwrap(), [10]);
    let error = generator.schedule(1).unwrap_err();
    assert_says(&error, Phase::Schedule, "malformed-schedule", &["9 ns"]);
}

#[test]
fn what_a_plugin_says_of_itself_is_safe_to_print() {
    let plugin = load("generator", limits());
    assert_eq!(plugin.info().summary, "Misbehaves\u{fffd}[31m on request");
    assert_eq!(
        plugin.resolve_config(None).unwrap(),
        json!({"misbehave": "no"})
    );
    let error = plugin
        .resolve_config(Some(json!({"misbehaev": "no"})))
        .unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("configuration of plugin hostile-generator 0.1.0: "),
        "{said}"
    );
    assert!(said.contains("did you mean `misbehave`?"), "{said}");
}

#[tokio::test]
async fn a_generator_does_not_export() {
    struct None;
    impl kperf_runtime::Sinks for None {
        fn open(
            &self,
            _: &str,
            _: &str,
        ) -> Result<Box<dyn kperf_runtime::Output>, kperf_runtime::Failure> {
            Err(kperf_runtime::failure("no-such-sink", "none"))
        }
        fn send<'a>(
            &'a self,
            _: &'a str,
            _: kperf_runtime::Delivery,
        ) -> kperf_runtime::BoxFuture<'a, Result<kperf_runtime::Receipt, kperf_runtime::Failure>>
        {
            Box::pin(async { Err(kperf_runtime::failure("no-such-sink", "none")) })
        }
    }
    let error = load("generator", limits())
        .open_exporter(
            kperf_runtime::BeginContext::default(),
            &json!({}),
            Arc::new(None),
        )
        .await
        .unwrap_err();
    assert_says(&error, Phase::Begin, "wrong-world", &["not an exporter"]);
}
