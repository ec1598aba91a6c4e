//! How long a watch takes to tell of an object, while other clients list.

use kperf_sdk::benchmark::prelude::*;

/// What to create, and what goes on meanwhile.
#[derive(Deserialize, JsonSchema)]
#[serde(
    crate = "kperf_sdk::serde",
    rename_all = "camelCase",
    deny_unknown_fields,
    default
)]
struct Config {
    /// ConfigMaps to create.
    #[schemars(range(min = 1, max = 100_000))]
    objects: u64,
    /// ConfigMaps created per second.
    rate_per_second: f64,
    /// Size of each one's data.
    #[schemars(range(max = 500_000))]
    bytes: usize,
    /// Lists per second that other clients make meanwhile; 0 = none.
    list_rate: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            objects: 200,
            rate_per_second: 100.0,
            bytes: 256,
            list_rate: 0.0,
        }
    }
}

struct WatchPropagation;

impl Benchmark for WatchPropagation {
    type Config = Config;

    fn run(context: RunContext, config: Config) -> Result<Verdict, Failure> {
        let namespace = context.name("watch-propagation");
        if context.dry_run {
            run::report_finding(
                "info",
                "dry-run",
                &format!("would create {} ConfigMaps in {namespace}", config.objects),
            );
            return Ok(Verdict::passed(""));
        }
        cluster::create_namespace(&namespace, &[])?;
        let configmap = || Kind::new("v1", "ConfigMap");
        let tracker = Tracker::start(
            &TrackerOptions::new(
                "configmaps",
                configmap(),
                Scope::namespace(&namespace).labels("watched=true"),
            )
            .milestone(Milestone::new("seen").api_time("/metadata/creationTimestamp"))
            .milestone(Milestone::new("deleted").on_deletion()),
        )?;
        let listing = match config.list_rate {
            rate if rate > 0.0 => Some(load::Phase::start("lists", &lists(&namespace, rate), 1)?),
            _ => None,
        };

        let bulk = Bulk::new(&BulkOptions::rate("create ConfigMaps", config.rate_per_second));
        let data = "x".repeat(config.bytes);
        for number in 0..config.objects {
            let manifest = json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "namespace": namespace,
                    "name": format!("watched-{number}"),
                    "labels": { "watched": "true" },
                },
                "data": { "data": data },
            });
            bulk.push(&[Action::of(Operation::create(&manifest))])?;
            run::progress("create ConfigMaps", number + 1, config.objects);
        }
        let created = bulk.finish()?;
        tracker.wait("seen", created.succeeded, 60_000)?;
        let propagation =
            tracker.report_latency("propagation", &[], "sent", "seen", clock::RECEIVED)?;

        let bulk = Bulk::new(&BulkOptions::rate("delete ConfigMaps", config.rate_per_second));
        for number in 0..config.objects {
            let name = format!("watched-{number}");
            bulk.push(&[Action::of(Operation::delete(configmap(), &namespace, name))])?;
        }
        bulk.finish()?;
        tracker.wait("gone", created.succeeded, 60_000)?;
        tracker.report_latency("lifetime", &[], "seen", "deleted", clock::RECEIVED)?;
        if let Some(listing) = listing {
            let lists = listing.stop()?;
            run::report_metric("lists", lists.succeeded as f64, "requests", &[]);
        }
        run::report_metric(
            "creation-rate",
            created.succeeded_per_sec(),
            "objects-per-second",
            &[],
        );
        // What a watch tells only after it was away has no time, and is missing from the latencies.
        Ok(Verdict::passed_if(
            propagation.count + propagation.missing == config.objects,
            format!(
                "the watch told of {} of {} ConfigMaps, of {} in time",
                propagation.count + propagation.missing,
                config.objects,
                propagation.count
            ),
        ))
    }
}

/// A load profile with one spec, as `kperf-host run --profile` takes it.
fn lists(namespace: &str, rate: f64) -> String {
    json!({
        "version": 1,
        "specs": [{
            "rate": rate,
            "duration": 3600,
            "conns": 2,
            "client": 8,
            "requests": [{
                "shares": 1,
                "quorumList": { "version": "v1", "resource": "configmaps", "namespace": namespace },
            }],
        }],
    })
    .to_string()
}

kperf_sdk::export_benchmark!(WatchPropagation);
