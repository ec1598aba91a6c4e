//! kperf's `node100_job10_pod10k`: reads of single objects and short lists by ten runners, while 10 Jobs of 1000 pods
//! each run to their end on 100 virtual nodes.
//!
//! Not as in kperf: finished Jobs stay unless `ttlSecondsAfterFinished` says otherwise, so that reads of one are answered
//! until the end; kperf has a flag of that name, ignores it, and lets them vanish at once. The pod that is read in
//! `virtualnodes-kperf-io` is the first one there.

use kperf_scenarios::{
    Load, dry_run,
    end::{self, Work},
    jobs::{self, JobShape},
    pool::NodeShape,
    profile::{GRANTS_OF_READS, Size, profile, reads, spec},
};
use kperf_sdk::benchmark::prelude::*;

/// What can be set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(crate = "kperf_sdk::serde", rename_all = "camelCase", default)]
#[schemars(deny_unknown_fields)]
struct Config {
    /// The load.
    #[serde(flatten)]
    load: Load,
    /// The nodes.
    #[serde(flatten)]
    nodes: NodeShape,
    /// How many Jobs.
    #[schemars(range(min = 6, max = 10_000))]
    jobs: u32,
    /// Pods of each Job.
    #[schemars(range(min = 1, max = 100_000))]
    pods_per_job: u32,
    /// How many pods of each Job run at once.
    #[schemars(range(min = 1))]
    parallelism: u32,
    /// Seconds that a finished Job stays, with its pods; until the end of the run if absent.
    ttl_seconds_after_finished: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            load: Load::default(),
            nodes: NodeShape::default(),
            jobs: 10,
            pods_per_job: 1000,
            parallelism: 100,
            ttl_seconds_after_finished: None,
        }
    }
}

const POOL: &str = "node100job10pod10k";
const NODES: u32 = 100;
const NAMESPACE: &str = "job10pod10k";
/// The Job that is read; there are at least so many.
const READ: &str = "benchmark-jobs-5";
const RUNNERS: u32 = 10;
const SIZE: Size = Size {
    rate: 10,
    conns: 10,
    clients: 10,
};

struct Scenario;

impl Benchmark for Scenario {
    type Config = Config;

    fn wanted_grants() -> Vec<String> {
        GRANTS_OF_READS.map(str::to_owned).into()
    }

    fn run(context: RunContext, config: Config) -> Result<Verdict, Failure> {
        let nodes = config.nodes.nodes.unwrap_or(NODES);
        let text = format!(
            "Environment: {nodes} virtual nodes managed by kwok. Workload: {} Jobs of {} pods; the parallelism of each is {}",
            config.jobs, config.pods_per_job, config.parallelism,
        );
        run::describe(&text);
        if context.dry_run {
            return Ok(dry_run(&text));
        }
        config.nodes.add(POOL, NODES)?;
        cluster::create_namespace(NAMESPACE, &[])?;
        let tracker = jobs::track(NAMESPACE)?;
        deploy(&config)?;
        let spec = spec(
            &config.load,
            SIZE,
            1000,
            reads(NAMESPACE, POOL, nodes, READ),
        );
        let phase = config
            .load
            .start(&profile("node100-job10-pod10k", vec![spec]), RUNNERS)?;
        let work = Work::of(follow(&phase, &tracker, &config))?;
        let verdict = end::wait(&phase, work)?;
        tracker.report_latency(
            "job_completion",
            &[],
            "created",
            "complete",
            clock::RECEIVED,
        )?;
        Ok(verdict)
    }
}

fn deploy(config: &Config) -> Result<(), Failure> {
    let bulk = Bulk::new(&BulkOptions::unpaced("create Jobs", 10).stop_on_failure());
    for number in 0..config.jobs {
        let name = format!("benchmark-jobs-{number}");
        let job = JobShape {
            namespace: NAMESPACE,
            name: &name,
            pods: config.pods_per_job,
            parallelism: config.parallelism,
            pool: POOL,
            ttl_seconds: config.ttl_seconds_after_finished,
        };
        bulk.push(&[Action::of(Operation::create(&job.manifest()))])?;
    }
    bulk.finish().map(drop)
}

/// Until the Jobs are complete or the load has ended, whichever is first.
fn follow(phase: &load::Phase, tracker: &Tracker, config: &Config) -> Result<String, Failure> {
    jobs::reached(phase, tracker, "complete", config.jobs.into())?;
    let counts = tracker.counts();
    let complete = counts.milestones.iter().find(|one| one.name == "complete");
    let completed = complete.map_or(0, |complete| complete.reached);
    run::report_metric("jobs_begun", f64::from(config.jobs), "objects", &[]);
    run::report_metric("jobs_completed", completed as f64, "objects", &[]);
    Ok(format!(
        "beside them {completed} of {} Jobs were completed",
        config.jobs
    ))
}

kperf_sdk::export_benchmark!(Scenario);
