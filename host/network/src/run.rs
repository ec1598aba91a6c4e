//! A finished run, and what its samples say together.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::{
    pairs::Placement,
    schedule::WorkerInfo,
    stats::{Estimate, estimate},
    task::{TaskRecord, TaskState},
};

/// Everything that came out of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkRun {
    /// Name of the benchmark.
    pub benchmark: String,
    /// The reading to show in tables; empty when not known.
    pub main_metric: String,
    /// Who took part.
    pub workers: Vec<WorkerInfo>,
    /// Names of the workers that were lost and did not come back.
    pub lost: Vec<String>,
    /// All tasks in the order in which they ended; those that never began come last and are cancelled.
    pub tasks: Vec<TaskRecord>,
    /// Why it ended.
    pub end: RunEnd,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// Every task had its turn.
    Complete,
    /// Its total time was over.
    Deadline,
    /// It was told to stop.
    Stopped,
}

/// One metric of one pair, over its samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Worker of the client.
    pub client: String,
    /// Worker of the server.
    pub server: String,
    /// What the traffic took.
    pub path: String,
    /// The tool's parameters.
    pub variant: String,
    /// Name of the metric.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// Labels of its readings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Mean and interval.
    #[serde(flatten)]
    pub estimate: Estimate,
}

impl NetworkRun {
    /// A worker of the run.
    #[must_use]
    pub fn worker(&self, name: &str) -> Option<&WorkerInfo> {
        self.workers.iter().find(|worker| worker.name == name)
    }

    /// Where the ends of a pair are to one another, as far as that is known.
    #[must_use]
    pub fn placement(&self, client: &str, server: &str) -> Option<Placement> {
        Placement::of(self.worker(client)?, self.worker(server)?)
    }

    /// How many tasks are in a state.
    #[must_use]
    pub fn count(&self, state: TaskState) -> usize {
        self.tasks.iter().filter(|task| task.state == state).count()
    }

    /// Mean and 95 % confidence interval of every metric of every pair, path and variant, over its samples, in the
    /// order in which they first came up.
    #[must_use]
    pub fn summaries(&self) -> Vec<Summary> {
        let mut order = Vec::new();
        let mut samples: HashMap<_, Vec<f64>> = HashMap::new();
        for task in &self.tasks {
            let key = &task.key;
            for reading in &task.readings {
                let series = (
                    (&key.client, &key.server, &key.path, &key.variant),
                    (&reading.name, &reading.unit, &reading.labels),
                );
                let values = samples.entry(series).or_insert_with(|| {
                    order.push(series);
                    Vec::new()
                });
                values.push(reading.value);
            }
        }
        let summary = |series @ ((client, server, path, variant), (metric, unit, labels))| {
            Some(Summary {
                client: String::clone(client),
                server: String::clone(server),
                path: String::clone(path),
                variant: String::clone(variant),
                metric: String::clone(metric),
                unit: String::clone(unit),
                labels: BTreeMap::clone(labels),
                estimate: estimate(samples.get(&series)?)?,
            })
        };
        order.into_iter().filter_map(summary).collect()
    }
}
