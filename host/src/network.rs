//! Network benchmarks: tools as components behind `kperf_network`, and what a run comes to as a report.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::SystemTime};

use kperf_load::result::Ended;
use kperf_network as net;
use kperf_runtime::{self as runtime, report as doc};

use crate::{
    report::{self, Results, RunFacts},
    summary,
    threshold::ThresholdSpec,
};

/// A tool plugin as the orchestrator wants it.
pub struct PluginTool(pub runtime::Tool);

impl net::Tool for PluginTool {
    fn plan(&self, server_host: &str) -> Result<net::Plan, net::ToolError> {
        let plan = self
            .0
            .plan(server_host)
            .map_err(|error| net::ToolError::new("plan", error.to_string()))?;
        Ok(net::Plan {
            server: command(plan.server),
            client: command(plan.client),
            ready: plan.ready,
            min_time_limit_ms: plan.min_time_limit_ms,
            main_metric: plan.main_metric,
            ports: plan
                .ports
                .into_iter()
                .map(|port| net::Port {
                    number: port.number,
                    protocol: port.protocol,
                    purpose: port.purpose,
                })
                .collect(),
            one_client_at_a_time: plan.one_client_at_a_time,
            mesh_refused: plan.mesh_refused,
        })
    }

    fn parse(&self, output: net::Output) -> Result<Vec<net::Reading>, net::ToolError> {
        let parsed = self.0.parse(runtime::ToolOutput {
            arguments: output.arguments,
            stdout: output.stdout,
            stderr: output.stderr,
            exit_code: output.exit_code,
            signal: output.signal,
            timed_out: output.timed_out,
            clipped: output.clipped,
        });
        match parsed {
            Ok(readings) => Ok(readings
                .into_iter()
                .map(|reading| net::Reading {
                    name: reading.name,
                    value: reading.value,
                    unit: reading.unit,
                    labels: reading
                        .labels
                        .into_iter()
                        .map(|label| (label.key, label.value))
                        .collect(),
                })
                .collect()),
            Err(error) => Err(net::ToolError::new(&error.class, error.message)),
        }
    }
}

fn command(command: runtime::ToolCommand) -> net::Command {
    net::Command {
        program: command.program,
        arguments: command.arguments,
        environment: command
            .environment
            .into_iter()
            .map(|label| (label.key, label.value))
            .collect(),
    }
}

/// The report of a run. Means of the samples are metrics named `network-…`, by pair; failures are findings and
/// `network-error`.
#[must_use]
pub fn summary(facts: &RunFacts, run: &net::NetworkRun, limits: &[ThresholdSpec]) -> doc::Summary {
    let mut results = Results {
        ended: Some(match run.end {
            net::RunEnd::Complete => Ended::Completed,
            net::RunEnd::Deadline | net::RunEnd::Stopped => Ended::Interrupted,
        }),
        length: facts.start.elapsed().ok(),
        ..Results::default()
    };
    for of in run.summaries() {
        let mut labels = pair(run, &of.client, &of.server, &of.path, &of.variant);
        // A tool's own label of that name says more than ours.
        for (key, value) in &of.labels {
            labels.retain(|label| label.key != *key);
            labels.push(label(key, value));
        }
        let mut metric = |name: String, value: f64| {
            results.metrics.push(doc::Metric {
                name,
                value,
                unit: of.unit.clone(),
                labels: labels.clone(),
            });
        };
        metric(format!("network-{}", of.metric), of.estimate.mean);
        if let Some(half) = of.estimate.ci95 {
            metric(format!("network-{}_ci95", of.metric), half);
        }
    }
    let mut pairs: BTreeMap<_, (bool, Option<&net::ToolError>)> = BTreeMap::new();
    for task in &run.tasks {
        let key = &task.key;
        let key = (&key.client, &key.server, &key.path, &key.variant);
        let known = pairs.entry(key).or_insert((true, None));
        known.0 &= task.state == net::TaskState::Done && task.error.is_none();
        known.1 = known.1.or(task.error.as_ref());
    }
    for ((client, server, path, variant), (succeeded, error)) in pairs {
        let labels = pair(run, client, server, path, variant);
        results.metrics.push(doc::Metric {
            name: "network-success".to_owned(),
            value: f64::from(u8::from(succeeded)),
            unit: String::new(),
            labels: labels.clone(),
        });
        let Some(error) = error else { continue };
        let mut labels = labels;
        labels.push(label("class", &error.class));
        results.metrics.push(doc::Metric {
            name: "network-error".to_owned(),
            value: 1.0,
            unit: String::new(),
            labels,
        });
        results.findings.push(doc::Finding {
            severity: "error".to_owned(),
            code: format!("network/{}", error.class),
            message: format!(
                "{client} → {server} by {path}: {}: {}",
                error.class, error.message
            ),
        });
    }
    for worker in &run.lost {
        results.findings.push(doc::Finding {
            severity: "error".to_owned(),
            code: "network/worker-lost".to_owned(),
            message: format!("worker {worker} was lost and did not come back"),
        });
    }
    report::summary(facts, &[], results, limits)
}

fn label(key: &str, value: &str) -> doc::Label {
    doc::Label {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// The labels of network-tools metrics: who, where, and by which way; addresses stay out.
fn pair(
    run: &net::NetworkRun,
    client: &str,
    server: &str,
    path: &str,
    variant: &str,
) -> Vec<doc::Label> {
    let of = |name: &str| {
        run.worker(name)
            .map_or(("", ""), |worker| (&*worker.hostname, &*worker.zone))
    };
    let (client_host, client_zone) = of(client);
    let (server_host, server_zone) = of(server);
    let same_node = !client_host.is_empty() && client_host == server_host;
    let mut labels = vec![
        label("benchmark", &run.benchmark),
        label("client_worker", client),
        label("client_host", client_host),
        label("client_zone", client_zone),
        label("server_worker", server),
        label("server_host", server_host),
        label("server_zone", server_zone),
        label("same_node", if same_node { "true" } else { "false" }),
        label("path", path),
        label("variant", variant),
    ];
    labels.retain(|label| !label.value.is_empty());
    labels
}

/// The main metric as a matrix of pairs, a table for each path and variant.
#[must_use]
pub fn table(run: &net::NetworkRun, main_metric: &str) -> String {
    let mut out = String::new();
    let summaries = run.summaries();
    let mut groups: Vec<(&str, &str)> = Vec::new();
    for task in &run.tasks {
        let group = (task.key.path.as_str(), task.key.variant.as_str());
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let names: Vec<&str> = run.workers.iter().map(|worker| &*worker.name).collect();
    let width = names
        .iter()
        .map(|name| name.len())
        .max()
        .unwrap_or(0)
        .max(16);
    for (path, variant) in groups {
        // Writing to a String cannot fail.
        let _ = write!(out, "{} {main_metric} by {path}", run.benchmark);
        if !variant.is_empty() {
            let _ = write!(out, ", {variant}");
        }
        let _ = write!(out, "\n{:<width$}", "client \\ server");
        for name in &names {
            let _ = write!(out, " {name:>width$}");
        }
        out.push('\n');
        for client in &names {
            let _ = write!(out, "{client:<width$}");
            for server in &names {
                let cell = cell(
                    run,
                    &summaries,
                    (client, server, path, variant),
                    main_metric,
                );
                let _ = write!(out, " {cell:>width$}");
            }
            out.push('\n');
        }
        out.push('\n');
    }
    out
}

fn cell(
    run: &net::NetworkRun,
    summaries: &[net::Summary],
    (client, server, path, variant): (&str, &str, &str, &str),
    metric: &str,
) -> String {
    if client == server {
        return "-".to_owned();
    }
    let found = summaries.iter().find(|of| {
        of.client == client
            && of.server == server
            && of.path == path
            && of.variant == variant
            && of.metric == metric
    });
    if let Some(of) = found {
        let mean = in_unit(of.estimate.mean, &of.unit);
        return match of.estimate.ci95 {
            Some(half) => format!("{mean} ±{}", in_unit(half, &of.unit)),
            None => mean,
        };
    }
    let failed = run.tasks.iter().find(|task| {
        let key = &task.key;
        key.client == client && key.server == server && key.path == path && key.variant == variant
    });
    failed
        .and_then(|task| task.error.as_ref())
        .map_or("?", |error| &error.class)
        .to_owned()
}

fn in_unit(value: f64, unit: &str) -> String {
    match unit {
        "s" => summary::time((value * 1e9) as u64),
        "bit/s" if value >= 1e9 => format!("{:.2} Gbit/s", value / 1e9),
        "bit/s" if value >= 1e6 => format!("{:.1} Mbit/s", value / 1e6),
        "1/s" => format!("{value:.0} /s"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// Facts of a run on this machine.
#[must_use]
pub fn facts(
    run_id: String,
    plugin: &runtime::Plugin,
    server: &str,
    labels: Vec<(String, String)>,
) -> RunFacts {
    RunFacts {
        run_id,
        description: String::new(),
        labels,
        server: server.to_owned(),
        environment: crate::run::environment(server),
        plugins: crate::run::plugin_uses([plugin].into_iter()),
        start: SystemTime::now(),
    }
}

/// The tool with every combination of the parameters that vary.
///
/// # Errors
/// A configuration that the plugin refuses, by key.
pub fn variants(
    plugin: &Arc<runtime::Plugin>,
    base: &serde_json::Value,
    axes: &[(String, Vec<serde_json::Value>)],
) -> anyhow::Result<Vec<net::orchestrator::Variant>> {
    net::matrix(axes)
        .into_iter()
        .map(|combination| {
            let mut config = base.clone();
            if let Some(keys) = config.as_object_mut() {
                for (key, value) in &combination {
                    keys.insert(key.clone(), value.clone());
                }
            }
            let config = plugin.resolve_config(Some(config))?;
            let name = net::variant_name(&combination);
            Ok(net::orchestrator::Variant {
                name,
                tool: Arc::new(PluginTool(plugin.open_tool(&config)?)),
            })
        })
        .collect()
}
