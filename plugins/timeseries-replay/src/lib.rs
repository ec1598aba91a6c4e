//! kperf's `timeseries_replay`: three phases one after the other by ten runners: calm, a rush of requests, recovery.
//!
//! Not as in kperf: the rush gets its whole rate, where kperf's hidden limit of every connection cuts it to half; and
//! `duration` is that of the whole, where kperf's is that of the first phase. All phases use the connections of the
//! first, as in kperf.

use kperf_scenarios::{
    Load, dry_run,
    end::{self, Work},
    profile::{Of, PODS, Size, profile, quorum_list, spec_of, stale_list},
};
use kperf_sdk::benchmark::prelude::*;

/// What can be set.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(crate = "kperf_sdk::serde", rename_all = "camelCase", default)]
#[schemars(deny_unknown_fields)]
struct Config {
    /// How long all phases take together, in seconds; their shares stay. 80 if absent, or 0: 30, 20 and 30.
    #[schemars(range(max = MAX_SECONDS))]
    duration: Option<u64>,
    /// What to accept.
    content_type: kperf_scenarios::ContentType,
    /// How many runners send; each of them does the whole load. 10 if absent.
    #[schemars(range(min = 1, max = 1000))]
    runners: Option<u32>,
}

const RUNNERS: u32 = 10;
/// kperf's lengths, in seconds.
const SECONDS: u64 = 80;
/// A year; what is longer is a slip of the finger.
const MAX_SECONDS: u64 = 365 * 24 * 60 * 60;

/// One phase: what is done at a time, its seconds of [`SECONDS`], and the shares of lists from cache and from etcd.
const PHASES: [(Size, u64, [u32; 2]); 3] = [
    (size(10, 5, 10), 30, [70, 30]),
    (size(100, 20, 50), 20, [60, 40]),
    (size(25, 10, 20), 30, [80, 20]),
];

const fn size(rate: u32, conns: u32, clients: u32) -> Size {
    Size {
        rate,
        conns,
        clients,
    }
}

fn specs(load: &Load) -> Vec<Value> {
    let whole = load.duration.unwrap_or(SECONDS);
    let page = Of {
        limit: 100,
        ..Of::default()
    };
    PHASES
        .iter()
        .map(|(size, seconds, [stale, quorum])| {
            let requests = vec![
                stale_list(*stale, PODS, Of::default()),
                quorum_list(*quorum, PODS, page),
            ];
            // The schema keeps it far below what would not fit.
            let part = whole.saturating_mul(*seconds) / SECONDS;
            spec_of(load, *size, 0, part.max(1), requests)
        })
        .collect()
}

struct Scenario;

impl Benchmark for Scenario {
    type Config = Config;

    fn wanted_grants() -> Vec<String> {
        vec!["list:pods".to_owned()]
    }

    fn run(context: RunContext, config: Config) -> Result<Verdict, Failure> {
        let duration = config.duration.filter(|seconds| *seconds > 0);
        if duration.is_some_and(|seconds| seconds < 3) {
            return Err(Failure::invalid_config(
                "duration",
                "duration: three phases take 3 seconds at least".to_owned(),
            ));
        }
        let load = Load {
            duration,
            content_type: config.content_type,
            runners: config.runners,
            ..Load::default()
        };
        let text = "Environment: the cluster as it is. Workload: none; lists of pods at 10, 100 and 25 requests a second \
                    from each runner, one after the other";
        run::describe(text);
        if context.dry_run {
            return Ok(dry_run(text));
        }
        let profile = profile("timeseries-replay", specs(&load));
        let phase = load.start(&profile, RUNNERS)?;
        end::wait(&phase, Work::Done(String::new()))
    }
}

kperf_sdk::export_benchmark!(Scenario);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_keep_their_shares_of_the_time() {
        let seconds = |duration| {
            let load = Load {
                duration,
                ..Load::default()
            };
            let specs = specs(&load);
            specs
                .iter()
                .map(|spec| spec["duration"].as_u64().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(seconds(None), [30, 20, 30]);
        assert_eq!(seconds(Some(8)), [3, 2, 3]);
        assert_eq!(seconds(Some(3)), [1, 1, 1]);
        assert_eq!(seconds(Some(u64::MAX)).len(), 3);
    }
}
