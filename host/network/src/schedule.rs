//! Which tasks a run has, and in which order. The orchestrator runs them one after another, so that no pair disturbs
//! another.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{pairs::Selection, task::TaskKey};

/// A worker of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Unique in the run, such as the name of its pod.
    pub name: String,
    /// Where its server can be reached, at least one; the first is its own address.
    pub addresses: Vec<Address>,
    /// Name of its node.
    pub hostname: String,
    /// Zone of its node; empty when not known.
    pub zone: String,
    /// Equal for workers whose ports collide; empty when not known.
    pub network_namespace: String,
}

/// One way to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// What the traffic takes, such as `pod`, `service` or `loopback`.
    pub path: String,
    /// IP address or DNS name.
    pub host: String,
}

impl WorkerInfo {
    /// The host of a path to it.
    #[must_use]
    pub fn host(&self, path: &str) -> Option<&str> {
        self.addresses
            .iter()
            .find(|address| address.path == path)
            .map(|address| &*address.host)
    }
}

/// Every ordered pair of workers that is chosen, by every chosen path that both have, with every variant, `samples`
/// times.
///
/// All pairs have their first sample before any has its second: a run that is cut short has measured them all alike,
/// and what drifts with time does not look like a difference between pairs. For the same reason the paths of a pair
/// follow one another.
#[must_use]
pub fn tasks(
    workers: &[WorkerInfo],
    selection: &Selection,
    variants: &[String],
    samples: u32,
) -> Vec<TaskKey> {
    let mut tasks = Vec::new();
    for sample in 1..=samples {
        for variant in variants {
            for server in workers {
                for client in workers {
                    if !selection.admits(client, server) {
                        continue;
                    }
                    tasks.extend(selection.paths(client, server).map(|path| TaskKey {
                        client: client.name.clone(),
                        server: server.name.clone(),
                        path: path.to_owned(),
                        variant: variant.clone(),
                        sample,
                    }));
                }
            }
        }
    }
    tasks
}

/// One combination of parameters, name and value.
pub type Combination = Vec<(String, Value)>;

/// Every combination of the values of some parameters, such as streams 1 and 4 with message sizes 64 and 1024: the last
/// parameter changes fastest. One empty combination when there are no parameters.
#[must_use]
pub fn matrix(axes: &[(String, Vec<Value>)]) -> Vec<Combination> {
    let mut combinations = vec![Vec::new()];
    for (name, values) in axes {
        combinations = combinations
            .iter()
            .flat_map(|combination| {
                values.iter().map(|value| {
                    let mut longer = combination.clone();
                    longer.push((name.clone(), value.clone()));
                    longer
                })
            })
            .collect();
    }
    combinations
}

/// The name of a combination, such as `streams=4 writeSizeBytes=1024`; empty for the empty one.
#[must_use]
pub fn variant_name(combination: &[(String, Value)]) -> String {
    let words: Vec<_> = combination
        .iter()
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}={text}"),
            other => format!("{name}={other}"),
        })
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn worker(name: &str, paths: &[&str]) -> WorkerInfo {
        WorkerInfo {
            name: name.to_owned(),
            addresses: paths
                .iter()
                .map(|path| Address {
                    path: (*path).to_owned(),
                    host: format!("{name}.{path}"),
                })
                .collect(),
            hostname: String::new(),
            zone: String::new(),
            network_namespace: String::new(),
        }
    }

    #[test]
    fn every_ordered_pair_once() {
        let workers = ["a", "b", "c"].map(|name| worker(name, &["pod"]));
        let tasks = tasks(&workers, &Selection::default(), &[String::new()], 1);
        let pairs: HashSet<_> = tasks.iter().map(|t| (&*t.client, &*t.server)).collect();
        assert_eq!((tasks.len(), pairs.len()), (6, 6));
        assert!(pairs.iter().all(|(client, server)| client != server));
    }

    #[test]
    fn paths_variants_and_samples_multiply_and_samples_come_last() {
        let workers = ["a", "b"].map(|name| worker(name, &["pod", "service"]));
        let variants = ["x".to_owned(), "y".to_owned()];
        let tasks = tasks(&workers, &Selection::default(), &variants, 3);
        assert_eq!(tasks.len(), 2 * 2 * 2 * 3);
        assert!(tasks.is_sorted_by_key(|task| task.sample));
        let distinct: HashSet<_> = tasks.iter().collect();
        assert_eq!(distinct.len(), tasks.len());
    }

    #[test]
    fn a_matrix_has_every_combination() {
        let axes = [
            ("streams".to_owned(), vec![1.into(), 4.into()]),
            ("size".to_owned(), vec!["64".into(), "1k".into()]),
        ];
        let names: Vec<_> = matrix(&axes).iter().map(|c| variant_name(c)).collect();
        assert_eq!(
            names,
            [
                "streams=1 size=64",
                "streams=1 size=1k",
                "streams=4 size=64",
                "streams=4 size=1k"
            ]
        );
        assert_eq!(matrix(&[]), [Combination::new()]);
        assert!(matrix(&[("none".to_owned(), Vec::new())]).is_empty());
    }
}
