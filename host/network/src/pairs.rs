//! Which pairs of workers are measured, and over which paths.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::schedule::WorkerInfo;

/// Where the two ends of a pair are to one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// On one node.
    SameNode,
    /// On two nodes; as a choice, whatever their zones.
    OtherNode,
    /// On two nodes of one zone.
    SameZone,
    /// On two nodes of two zones.
    OtherZone,
}

impl Placement {
    /// Every one, in the order in which they are listed to people.
    pub const ALL: [Self; 4] = [
        Self::SameNode,
        Self::OtherNode,
        Self::SameZone,
        Self::OtherZone,
    ];

    /// That of a pair; none when a node is not known. [`Placement::OtherNode`] when only a zone is not.
    #[must_use]
    pub fn of(client: &WorkerInfo, server: &WorkerInfo) -> Option<Self> {
        if client.hostname.is_empty() || server.hostname.is_empty() {
            return None;
        }
        Some(if client.hostname == server.hostname {
            Self::SameNode
        } else if client.zone.is_empty() || server.zone.is_empty() {
            Self::OtherNode
        } else if client.zone == server.zone {
            Self::SameZone
        } else {
            Self::OtherZone
        })
    }

    /// Whether a pair of this placement is meant by a choice.
    #[must_use]
    pub fn is_in(self, choice: Self) -> bool {
        choice == self || choice == Self::OtherNode && self != Self::SameNode
    }

    /// As labels of results say it, such as `same_node`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::SameNode => "same_node",
            Self::OtherNode => "other_node",
            Self::SameZone => "same_zone",
            Self::OtherZone => "other_zone",
        }
    }

    /// As users write it, such as `same-node`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::SameNode => "same-node",
            Self::OtherNode => "other-node",
            Self::SameZone => "same-zone",
            Self::OtherZone => "other-zone",
        }
    }
}

impl FromStr for Placement {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|placement| placement.word() == word)
            .ok_or_else(|| {
                let words = Self::ALL.map(Self::word).join(", ");
                format!("`{word}` is none of {words}")
            })
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The pairs and paths to measure. An empty list leaves everything in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selection {
    /// Where the ends are to one another.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub placements: Vec<Placement>,
    /// What the traffic takes, such as `pod` or `service`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Nodes that clients run on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_nodes: Vec<String>,
    /// Nodes that servers run on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub server_nodes: Vec<String>,
    /// Workers that run clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_workers: Vec<String>,
    /// Workers that run servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub server_workers: Vec<String>,
}

impl Selection {
    /// Whether a pair is measured, by some path or other. A worker is no pair with itself.
    #[must_use]
    pub fn admits(&self, client: &WorkerInfo, server: &WorkerInfo) -> bool {
        let listed = |list: &[String], name: &String| list.is_empty() || list.contains(name);
        client.name != server.name
            && listed(&self.client_nodes, &client.hostname)
            && listed(&self.server_nodes, &server.hostname)
            && listed(&self.client_workers, &client.name)
            && listed(&self.server_workers, &server.name)
            && (self.placements.is_empty()
                || Placement::of(client, server)
                    .is_some_and(|one| self.placements.iter().any(|choice| one.is_in(*choice))))
    }

    /// The paths by which a pair is measured, in the server's order: those that both ends have. A worker in the network
    /// of its node has no pod network, so it measures with others of its kind.
    pub fn paths<'a>(
        &'a self,
        client: &'a WorkerInfo,
        server: &'a WorkerInfo,
    ) -> impl Iterator<Item = &'a str> {
        server
            .addresses
            .iter()
            .map(|address| &*address.path)
            .filter(|path| client.host(path).is_some())
            .filter(|path| self.paths.is_empty() || self.paths.iter().any(|chosen| chosen == path))
    }

    /// Why these workers leave nothing to measure, or less than was asked for by name; none when all is well.
    #[must_use]
    pub fn problem(&self, workers: &[WorkerInfo]) -> Option<String> {
        let names = |of: fn(&WorkerInfo) -> &String| workers.iter().map(of).collect::<Vec<_>>();
        let nodes = names(|worker| &worker.hostname);
        let known = names(|worker| &worker.name);
        let paths: Vec<_> = workers
            .iter()
            .flat_map(|worker| &worker.addresses)
            .map(|address| &address.path)
            .collect();
        unknown("path", &self.paths, &paths)
            .or_else(|| unknown("client node", &self.client_nodes, &nodes))
            .or_else(|| unknown("server node", &self.server_nodes, &nodes))
            .or_else(|| unknown("client worker", &self.client_workers, &known))
            .or_else(|| unknown("server worker", &self.server_workers, &known))
            .or_else(|| self.emptiness(workers))
    }

    fn emptiness(&self, workers: &[WorkerInfo]) -> Option<String> {
        let pairs = || {
            let clients = move |server| workers.iter().map(move |client| (client, server));
            workers
                .iter()
                .flat_map(clients)
                .filter(|(client, server)| client.name != server.name)
        };
        let admitted: Vec<_> = pairs().filter(|(c, s)| self.admits(c, s)).collect();
        if admitted.is_empty() {
            let mut kinds: Vec<_> = Placement::ALL
                .into_iter()
                .map(|kind| (count(pairs(), Some(kind)), kind.word()))
                .collect();
            kinds.push((count(pairs(), None), "of unknown nodes"));
            let kinds: Vec<_> = kinds
                .into_iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, kind)| format!("{count} {kind}"))
                .collect();
            return Some(format!(
                "no pair of workers is left to measure: {self}; the {} ordered pairs of {} workers are {}",
                pairs().count(),
                workers.len(),
                if kinds.is_empty() {
                    "none".to_owned()
                } else {
                    kinds.join(", ")
                },
            ));
        }
        if admitted
            .iter()
            .all(|(c, s)| self.paths(c, s).next().is_none())
        {
            let of_ends = |worker: &WorkerInfo| {
                let paths: Vec<_> = worker.addresses.iter().map(|one| &*one.path).collect();
                format!("{} has {}", worker.name, paths.join(", "))
            };
            let ends = admitted.first().map(|(client, server)| {
                format!("; for example {}, {}", of_ends(client), of_ends(server))
            });
            return Some(format!(
                "no path is left to measure: none of the {} pairs has {} at both ends{}",
                admitted.len(),
                if self.paths.is_empty() {
                    "the same path".to_owned()
                } else {
                    self.paths.join(" or ")
                },
                ends.unwrap_or_default(),
            ));
        }
        None
    }
}

fn count<'a>(
    pairs: impl Iterator<Item = (&'a WorkerInfo, &'a WorkerInfo)>,
    kind: Option<Placement>,
) -> usize {
    pairs
        .filter(|(client, server)| Placement::of(client, server) == kind)
        .count()
}

fn unknown(what: &str, asked: &[String], known: &[&String]) -> Option<String> {
    let missing = asked.iter().find(|name| !known.contains(name))?;
    let mut known: Vec<_> = known.iter().map(|name| name.as_str()).collect();
    known.sort_unstable();
    known.dedup();
    known.retain(|name| !name.is_empty());
    let there_are = if known.is_empty() {
        "none is known".to_owned()
    } else {
        format!("there are {}", known.join(", "))
    };
    Some(format!("no worker has the {what} `{missing}`: {there_are}"))
}

impl fmt::Display for Selection {
    /// What was chosen, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let placements: Vec<String> = self.placements.iter().map(ToString::to_string).collect();
        let mut words = Vec::new();
        for (what, list) in [
            ("pairs", &placements),
            ("paths", &self.paths),
            ("client nodes", &self.client_nodes),
            ("server nodes", &self.server_nodes),
            ("client workers", &self.client_workers),
            ("server workers", &self.server_workers),
        ] {
            if !list.is_empty() {
                words.push(format!("{what} {}", list.join(", ")));
            }
        }
        if words.is_empty() {
            return f.write_str("everything is chosen");
        }
        write!(f, "chosen are {}", words.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Address;

    fn worker(name: &str, node: &str, zone: &str, paths: &[&str]) -> WorkerInfo {
        WorkerInfo {
            name: name.to_owned(),
            addresses: paths
                .iter()
                .map(|path| Address {
                    path: (*path).to_owned(),
                    host: "10.0.0.1".to_owned(),
                })
                .collect(),
            hostname: node.to_owned(),
            zone: zone.to_owned(),
            network_namespace: String::new(),
        }
    }

    fn cluster() -> Vec<WorkerInfo> {
        vec![
            worker("a1", "a", "x", &["pod"]),
            worker("a2", "a", "x", &["pod"]),
            worker("b", "b", "x", &["pod", "service"]),
            worker("c", "c", "y", &["pod", "service"]),
            worker("d", "d", "", &["host"]),
        ]
    }

    fn admitted(selection: &Selection, workers: &[WorkerInfo]) -> Vec<String> {
        let mut pairs = Vec::new();
        for client in workers {
            for server in workers {
                if selection.admits(client, server) {
                    pairs.push(format!("{}{}", client.name, server.name));
                }
            }
        }
        pairs
    }

    #[test]
    fn pairs_by_where_they_are() {
        let workers = cluster();
        let of = |placements: &[Placement]| {
            let selection = Selection {
                placements: placements.to_vec(),
                ..Selection::default()
            };
            admitted(&selection, &workers)
        };
        assert_eq!(of(&[]).len(), 20);
        assert_eq!(of(&[Placement::SameNode]), ["a1a2", "a2a1"]);
        assert_eq!(of(&[Placement::SameZone]), ["a1b", "a2b", "ba1", "ba2"]);
        assert_eq!(of(&[Placement::OtherZone]).len(), 6);
        // Zones that are not known are not other ones, but a node of such a zone is another node.
        assert_eq!(of(&[Placement::OtherNode]).len(), 18);
        assert_eq!(of(&[Placement::SameNode, Placement::OtherNode]).len(), 20);
    }

    #[test]
    fn nodes_and_workers_at_either_end() {
        let workers = cluster();
        let selection = Selection {
            client_nodes: vec!["a".to_owned()],
            server_workers: vec!["a2".to_owned(), "c".to_owned()],
            ..Selection::default()
        };
        assert_eq!(admitted(&selection, &workers), ["a1a2", "a1c", "a2c"]);
        assert_eq!(selection.problem(&workers), None);
    }

    #[test]
    fn a_path_needs_both_ends() {
        let workers = cluster();
        let selection = Selection::default();
        let paths = |client: usize, server: usize| -> Vec<_> {
            selection
                .paths(&workers[client], &workers[server])
                .collect()
        };
        assert_eq!(paths(2, 3), ["pod", "service"]);
        assert_eq!(paths(0, 3), ["pod"]);
        assert!(paths(3, 4).is_empty());
    }

    #[test]
    fn an_empty_choice_says_why() {
        let workers = cluster();
        let problem = |change: fn(&mut Selection)| {
            let mut selection = Selection::default();
            change(&mut selection);
            selection.problem(&workers).unwrap()
        };
        let said = problem(|s| s.paths = vec!["pdo".to_owned()]);
        assert!(
            said.contains("path `pdo`: there are host, pod, service"),
            "{said}"
        );
        let said = problem(|s| s.client_nodes = vec!["z".to_owned()]);
        assert!(
            said.contains("client node `z`: there are a, b, c, d"),
            "{said}"
        );
        let said = problem(|s| {
            s.placements = vec![Placement::SameNode];
            s.client_nodes = vec!["b".to_owned()];
        });
        assert!(said.contains("pairs same-node; client nodes b"), "{said}");
        assert!(
            said.contains("the 20 ordered pairs of 5 workers are 2 same-node"),
            "{said}"
        );
        let said = problem(|s| {
            s.client_workers = vec!["d".to_owned()];
        });
        assert!(said.contains("the same path at both ends"), "{said}");
        assert!(said.contains("d has host"), "{said}");
        let alone = Selection::default().problem(&workers[..1]).unwrap();
        assert!(alone.contains("no pair"), "{alone}");
    }
}
