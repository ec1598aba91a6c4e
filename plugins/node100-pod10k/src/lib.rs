//! kperf's `node100_pod10k`: lists of pods by ten runners, of one node, of all, and of one namespace as a DaemonSet asks
//! for them, while the Deployments that the pods belong to are restarted one after the other on 100 virtual nodes.

use kperf_scenarios::{
    Load, dry_run,
    end::{self, Work},
    pool::{NodeShape, pod_spec},
    profile::{Of, PODS, Size, profile, quorum_list, spec, stale_list},
};
use kperf_sdk::benchmark::prelude::*;
use kperf_sdk::random::Random;

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
    /// How many Deployments, each in a namespace of its own, `benchmark-<i>`.
    #[schemars(range(min = 1, max = 10_000))]
    deployments: u32,
    /// Pods of all Deployments together.
    #[schemars(range(min = 1, max = 1_000_000))]
    pods: u32,
    /// Bytes that are added to every pod, as an annotation.
    #[schemars(range(max = 200_000))]
    padding_bytes: u32,
    /// Between two restarts, for example `10s` or `1m`.
    interval: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            load: Load::default(),
            nodes: NodeShape::default(),
            deployments: 20,
            pods: 10_000,
            padding_bytes: 0,
            interval: "10s".to_owned(),
        }
    }
}

impl Config {
    /// Pods of a Deployment: all have as many, and the first ones one more where that does not come out even.
    fn replicas(&self, number: u32) -> u32 {
        let deployments = self.deployments.max(1);
        let more = u32::from(number < self.pods % deployments);
        (self.pods / deployments + more).max(1)
    }
}

const POOL: &str = "node100pod10k";
const NODES: u32 = 100;
const RUNNERS: u32 = 10;
const TOTAL: u64 = 36_000;
const SIZE: Size = Size {
    rate: 10,
    conns: 10,
    clients: 100,
};
const LABEL: &str = "benchmark";
/// Longest time for all pods to run, or for a restart; kperf's.
const PATIENCE_MS: u64 = 10 * 60 * 1_000;
/// Between two looks at a Deployment.
const LOOK_MS: u64 = 500;

struct Scenario;

impl Benchmark for Scenario {
    type Config = Config;

    fn wanted_grants() -> Vec<String> {
        ["create:nodes", "list:pods"].map(str::to_owned).into()
    }

    fn run(context: RunContext, config: Config) -> Result<Verdict, Failure> {
        let interval_ms = milliseconds(&config.interval)?;
        let nodes = config.nodes.nodes.unwrap_or(NODES);
        let text = format!(
            "Environment: {nodes} virtual nodes managed by kwok. Workload: {} Deployments of {} pods in all, restarted one \
             after the other every {}",
            config.deployments, config.pods, config.interval,
        );
        run::describe(&text);
        if context.dry_run {
            return Ok(dry_run(&text));
        }
        config.nodes.add(POOL, NODES)?;
        deploy(&config, context.seed)?;
        for number in 0..config.deployments {
            run::progress(
                "Deployments available",
                number.into(),
                config.deployments.into(),
            );
            if !settled(number, None)? {
                return Err(Failure::new(
                    "timeout",
                    format!("not all pods of benchmark-{number} ran within 10 minutes"),
                ));
            }
        }
        run::report_fact("interval", &json!(config.interval).to_string());
        run::report_fact("podSizeInBytes", &pod_size()?.to_string());

        let profile = profile(
            "node100-pod10k",
            vec![spec(&config.load, SIZE, TOTAL, requests(nodes))],
        );
        let phase = config.load.start(&profile, RUNNERS)?;
        let work = Work::of(restarts(&phase, config.deployments, interval_ms))?;
        end::wait(&phase, work)
    }
}

fn requests(nodes: u32) -> Vec<Value> {
    // kperf's node 49 of 100; the middle one of fewer.
    let of_node = format!(
        "spec.nodeName={POOL}-{}",
        nodes.div_ceil(2).saturating_sub(1)
    );
    vec![
        stale_list(
            1000,
            PODS,
            Of {
                field_selector: &of_node,
                ..Of::default()
            },
        ),
        stale_list(100, PODS, Of::default()),
        quorum_list(
            200,
            PODS,
            Of {
                namespace: "benchmark-0",
                limit: 100,
                selector: "app=benchmark",
                ..Of::default()
            },
        ),
    ]
}

fn kind() -> Kind {
    Kind::new("apps/v1", "Deployment")
}

fn name(number: u32) -> String {
    format!("benchmark-{number}")
}

fn deploy(config: &Config, seed: u64) -> Result<(), Failure> {
    let mut random = Random::new(seed);
    let mut padding = Vec::new();
    random.fill_alphanumeric(config.padding_bytes as usize, &mut padding);
    let padding = String::from_utf8_lossy(&padding);
    for number in 0..config.deployments {
        run::progress(
            "create Deployments",
            number.into(),
            config.deployments.into(),
        );
        cluster::create_namespace(&name(number), &[])?;
        cluster::create(&manifest(number, config.replicas(number), &padding).to_string())?;
    }
    Ok(())
}

fn manifest(number: u32, replicas: u32, padding: &str) -> Value {
    let labels = json!({"app": LABEL, "index": number.to_string()});
    let mut template = json!({"metadata": {"labels": labels}, "spec": pod_spec(POOL)});
    if let (false, Some(metadata)) = (
        padding.is_empty(),
        template.get_mut("metadata").and_then(Value::as_object_mut),
    ) {
        metadata.insert("annotations".to_owned(), json!({"data": padding}));
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": name(number), "name": name(number), "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 100}},
            "template": template,
        },
    })
}

/// Waits until every pod of a Deployment is of its latest template and available, as `kubectl rollout status` does;
/// false when the load ended before, or when it took too long.
fn settled(number: u32, phase: Option<&load::Phase>) -> Result<bool, Failure> {
    for _ in 0..PATIENCE_MS / LOOK_MS {
        let text = cluster::get(&kind(), &name(number), &name(number))?;
        let deployment: Value = serde_json::from_str(&text).unwrap_or_default();
        if is_settled(&deployment) {
            return Ok(true);
        }
        match phase {
            Some(phase) if phase.ended_within(LOOK_MS)? => return Ok(false),
            Some(_) => {}
            None => run::sleep(LOOK_MS)?,
        }
    }
    Ok(false)
}

fn is_settled(deployment: &Value) -> bool {
    let number = |path: &str| {
        deployment
            .pointer(path)
            .and_then(Value::as_u64)
            .unwrap_or(0)
    };
    let wanted = number("/spec/replicas");
    number("/status/observedGeneration") >= number("/metadata/generation")
        && number("/status/updatedReplicas") >= wanted
        && number("/status/availableReplicas") >= wanted
        && number("/status/replicas") <= wanted
}

/// Restarts one Deployment after the other, waiting for each, until the load has ended.
fn restarts(phase: &load::Phase, deployments: u32, interval_ms: u64) -> Result<String, Failure> {
    let mut done = 0_u64;
    'all: loop {
        if phase.ended_within(interval_ms)? {
            break;
        }
        for number in 0..deployments {
            let at = format!("{} ns after the start", run::now_ns());
            let patch = json!({"spec": {"template": {"metadata": {"annotations": {
                "kubectl.kubernetes.io/restartedAt": at,
            }}}}});
            cluster::patch(
                &kind(),
                &name(number),
                &name(number),
                "strategic",
                "",
                &patch.to_string(),
            )?;
            if !settled(number, Some(phase))? {
                if phase.ended_within(0)? {
                    break 'all;
                }
                return Err(Failure::new(
                    "timeout",
                    format!("the restart of benchmark-{number} took more than 10 minutes"),
                ));
            }
            done += 1;
            run::progress("restarts beside the load", done, 0);
        }
    }
    run::report_metric("restarts_completed", done as f64, "objects", &[]);
    Ok(format!("beside them {done} restarts were completed"))
}

/// Of one pod as JSON, in whole KiB as kperf has it. A tracker tells its name: a list would have all pods of the
/// namespace in it, which can be more than a benchmark is given at once.
fn pod_size() -> Result<usize, Failure> {
    let pods = Kind::new("v1", "Pod");
    let scope = Scope::namespace(name(0)).labels(format!("app={LABEL}"));
    let options =
        TrackerOptions::new("pod to weigh", pods.clone(), scope).milestone(Milestone::new("seen"));
    let tracker = Tracker::start(&options)?;
    tracker.stop();
    let seen = tracker.objects(0);
    let size = match seen.first() {
        Some(pod) => cluster::get(&pods, &pod.namespace, &pod.name)?.len(),
        None => 0,
    };
    Ok(size - size % 1024)
}

/// `10s`, `500ms`, `1m`, `1h`.
fn milliseconds(text: &str) -> Result<u64, Failure> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let of_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(of_unit))
        .filter(|ms| *ms > 0)
        .ok_or_else(|| {
            Failure::invalid_config(
                "interval",
                format!(
                    "interval: `{text}` is no time above 0; write for example 10s, 500ms or 1m"
                ),
            )
        })
}

kperf_sdk::export_benchmark!(Scenario);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        assert_eq!(milliseconds("10s").unwrap(), 10_000);
        assert_eq!(milliseconds("500ms").unwrap(), 500);
        for wrong in ["", "10", "0s", "s", "1d", "99999999999999999999s"] {
            assert_eq!(
                milliseconds(wrong).unwrap_err().code,
                "invalid-config",
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_deployment_has_settled_when_no_old_pod_is_left() {
        let mut deployment = json!({
            "metadata": {"generation": 2},
            "spec": {"replicas": 3},
            "status": {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3},
        });
        assert!(is_settled(&deployment));
        deployment["status"]["replicas"] = json!(4);
        assert!(!is_settled(&deployment));
        deployment["status"]["replicas"] = json!(3);
        deployment["metadata"]["generation"] = json!(3);
        assert!(!is_settled(&deployment));
    }

    #[test]
    fn deployments_have_all_pods_together() {
        let config = Config {
            deployments: 3,
            pods: 11,
            ..Config::default()
        };
        let all: Vec<u32> = (0..3).map(|number| config.replicas(number)).collect();
        assert_eq!(all, [4, 4, 3]);
    }

    #[test]
    fn padding_is_an_annotation_of_the_pods() {
        let deployment = manifest(1, 5, "xxx");
        let template = &deployment["spec"]["template"]["metadata"];
        assert_eq!(template["annotations"]["data"], "xxx");
        assert_eq!(
            deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"],
            100
        );
        let bare = manifest(1, 5, "");
        assert!(
            bare["spec"]["template"]["metadata"]
                .get("annotations")
                .is_none()
        );
    }
}
