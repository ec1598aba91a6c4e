//! A benchmark that misbehaves the way its configuration says, after it has created something: a namespace, ten
//! ConfigMaps in it, and a Deployment.

use kperf_sdk::benchmark::prelude::*;

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "kperf_sdk::serde", deny_unknown_fields)]
struct Config {
    misbehave: String,
    #[serde(default)]
    ms: u64,
}

struct Hostile;

impl Benchmark for Hostile {
    type Config = Config;

    fn wanted_grants() -> Vec<String> {
        vec!["list:secrets".to_owned(), "get:nodes".to_owned()]
    }

    fn run(context: RunContext, config: Config) -> Result<Verdict, Failure> {
        let namespace = context.name("hostile");
        cluster::create_namespace(&namespace, &[])?;
        run::report_metric("before", 1.0, "objects", &[]);
        let bulk = Bulk::new(&BulkOptions::unpaced("create", 4));
        for number in 0..10 {
            bulk.push(&[Action::of(Operation::create(&configmap(
                &namespace,
                &format!("c-{number}"),
            )))])?;
        }
        bulk.finish()?;
        cluster::create(&deployment(&namespace).to_string())?;
        match config.misbehave.as_str() {
            "trap" => panic!("the moon is not full"),
            "loop" => loop {
                std::hint::black_box(config.ms);
            },
            "clock" => loop {
                std::hint::black_box(run::now_ns());
            },
            "grow" => {
                let mut hoard: Vec<Vec<u8>> = Vec::new();
                loop {
                    hoard.push(vec![1; 1 << 20]);
                    std::hint::black_box(hoard.len());
                }
            }
            "secrets" => {
                let all = Scope::everywhere();
                cluster::list(&Kind::new("v1", "Secret"), &all)?;
            }
            "own-secrets" => {
                cluster::list(&Kind::new("v1", "Secret"), &Scope::namespace(&namespace))?;
            }
            "foreign-namespace" => {
                cluster::create(&configmap("default", "stranger").to_string())?;
            }
            "foreign-bulk" => {
                let bulk = Bulk::new(&BulkOptions::unpaced("abroad", 1));
                bulk.push(&[Action::of(Operation::delete(
                    Kind::new("v1", "Pod"),
                    "ns-0",
                    "pod-0",
                ))])?;
                bulk.finish()?;
            }
            "take-namespace" => cluster::create_namespace("default", &[])?,
            "delete-namespace" => cluster::delete_namespace("kube-system")?,
            "watch-all" => {
                Tracker::start(
                    &TrackerOptions::new("all", Kind::new("v1", "Pod"), Scope::everywhere())
                        .milestone(Milestone::new("seen")),
                )?;
            }
            "climb" => {
                run::read_file("../../../etc/passwd")?;
            }
            "bad-path" => {
                Tracker::start(
                    &TrackerOptions::new(
                        "bad",
                        Kind::new("v1", "Pod"),
                        Scope::namespace(&namespace),
                    )
                    .milestone(Milestone::new("m").when(Check::exists("no/slash"))),
                )?;
            }
            "no-kind" => {
                cluster::get(&Kind::new("nobody.example/v1", "Nothing"), "", "x")?;
            }
            "bad-profile" => {
                load::Phase::start("load", r#"{"version": 1, "specs": [{"requests": []}]}"#, 1)?;
            }
            "load-abroad" => {
                let profile = json!({"version": 1, "specs": [{"total": 10, "requests": [
                    {"shares": 1, "quorumList": {"version": "v1", "resource": "secrets"}},
                ]}]});
                let outcome = load::Phase::start("abroad", &profile.to_string(), 1)?.wait()?;
                return Err(Failure::new("load", format!("{} sent: {}", outcome.sent, outcome.reason)));
            }
            "fail" => return Err(Failure::new("moon", "the moon is not full")),
            "verdict" => return Ok(Verdict::failed("the moon is not full")),
            // Goes on after the host has said that the run is being stopped.
            "deaf" => loop {
                run::sleep(50).ok();
            },
            "sleep" => run::sleep(config.ms)?,
            _ => {}
        }
        Ok(Verdict::passed("behaved"))
    }
}

fn configmap(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "namespace": namespace, "name": name },
    })
}

fn deployment(namespace: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "namespace": namespace, "name": "d" },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "d" } },
            "template": {
                "metadata": { "labels": { "app": "d" } },
                "spec": { "containers": [{ "name": "c", "image": "pause" }] },
            },
        },
    })
}

kperf_sdk::export_benchmark!(Hostile);
