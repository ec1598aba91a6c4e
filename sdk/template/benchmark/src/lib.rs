//! Creates pods at a pace, and measures how long they take to run.

use kperf_sdk::benchmark::prelude::*;

/// What to create.
#[derive(Deserialize, JsonSchema)]
#[serde(
    crate = "kperf_sdk::serde",
    rename_all = "camelCase",
    deny_unknown_fields
)]
struct Config {
    /// How many pods.
    #[serde(default = "ten")]
    #[schemars(range(min = 1))]
    pods: u64,
    /// Pods created per second.
    #[serde(default = "five")]
    rate_per_second: f64,
}

fn ten() -> u64 {
    10
}

fn five() -> f64 {
    5.0
}

struct Plugin;

impl Benchmark for Plugin {
    type Config = Config;

    fn run(context: RunContext, config: Config) -> Result<Verdict, Failure> {
        let namespace = context.name("pods");
        if context.dry_run {
            let what = format!("would create {} pods in {namespace}", config.pods);
            run::report_finding("info", "dry-run", &what);
            return Ok(Verdict::passed(""));
        }
        cluster::create_namespace(&namespace, &[])?;
        let tracker = Tracker::start(
            &TrackerOptions::new("pods", Kind::new("v1", "Pod"), Scope::namespace(&namespace))
                .milestone(Milestone::new("scheduled").when(Check::exists("/spec/nodeName")))
                .milestone(
                    Milestone::new("running").when(Check::equals("/status/phase", "Running")),
                ),
        )?;

        let bulk = Bulk::new(&BulkOptions::rate("create pods", config.rate_per_second));
        for number in 0..config.pods {
            bulk.push(&[Action::of(Operation::create(&pod(&namespace, number)))])?;
            run::progress("create pods", number + 1, config.pods);
        }
        let created = bulk.finish()?;

        tracker.wait("running", created.succeeded, 120_000)?;
        tracker.report_latency("scheduling", &[], "sent", "scheduled", clock::RECEIVED)?;
        let startup =
            tracker.report_latency("startup", &[], "sent", "running", clock::RECEIVED)?;
        Ok(Verdict::passed_if(
            startup.count == config.pods,
            format!("{} of {} pods ran", startup.count, config.pods),
        ))
    }
}

fn pod(namespace: &str, number: u64) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "namespace": namespace, "name": format!("pod-{number}") },
        "spec": { "containers": [{ "name": "pause", "image": "registry.k8s.io/pause:3.10" }] },
    })
}

kperf_sdk::export_benchmark!(Plugin);
