//! Which rights the requests of a profile need: exactly for kperf's kinds, whose configuration says it, and from a sample
//! of its requests for any other generator, which must be granted.

use std::collections::BTreeSet;

use anyhow::anyhow;
use kperf_cluster::grant::{Asked, Grant, GrantError, decide_by_grants};
use kperf_load::request::ShardContext;
use serde_json::Value;

use crate::source::{self, Entry, PhaseContext};

/// Requests of a sample, and how many are asked for at once.
const SAMPLE: (u32, u32) = (2048, 128);

/// The rights that a bundled generator needs with its configuration; none for one that is not kperf's.
///
/// # Errors
/// The configuration names something that cannot be a resource or namespace.
pub(super) fn of_kperf(plugin: &str, config: &Value) -> Option<Result<Grant, GrantError>> {
    let text = |key: &str| config[key].as_str().unwrap_or_default();
    let (verbs, resource) = match plugin {
        "stale_list" | "quorum_list" => ("list", text("resource")),
        // The server authorises a watch that begins with a list as a watch; others ask for both.
        "watch_list" => ("list,watch", text("resource")),
        "stale_get" | "quorum_get" => ("get", text("resource")),
        "put" => ("update", "configmaps"),
        "patch" => ("patch", text("resource")),
        "get_pod_log" => ("get", "pods/log"),
        "post_del" => ("create,delete", text("resource")),
        _ => return None,
    };
    let mut grant = format!("{verbs}:{resource}");
    // `core` is a group that no server has, but it is what is asked for; put alone takes it for the core group.
    let group = match (plugin, text("group")) {
        ("put" | "get_pod_log", _) => "",
        (_, group) => group,
    };
    if !group.is_empty() {
        grant.push_str(&format!(".{group}"));
    }
    if !text("namespace").is_empty() {
        grant.push_str(&format!("@{}", text("namespace")));
    }
    // One object, by its name: the rights of the others are not needed.
    let name = match plugin {
        "stale_get" | "quorum_get" | "get_pod_log" => text("name"),
        _ => "",
    };
    Some(grant.parse().map(|grant: Grant| match name {
        "" => grant,
        name => grant.of_objects([name.to_owned()]),
    }))
}

/// What a sample of an entry's requests needs and `granted` does not cover: the missing grants, and paths that no
/// grant can name.
///
/// # Errors
/// The generator cannot be opened or fails.
pub(super) fn missing(entry: &Entry, granted: &[Grant]) -> anyhow::Result<Missing> {
    let context = PhaseContext {
        run_id: String::new(),
        phase: String::new(),
        deadline: None,
    };
    let shard = ShardContext {
        shard: 0,
        shards: 1,
        seed: 1,
    };
    let failed =
        |error: kperf_load::request::SourceError| anyhow!("{}: {}", entry.place, error.message);
    let mut source = source::open(std::slice::from_ref(entry), &context, shard).map_err(failed)?;
    let templates: Vec<(String, String)> = source
        .templates()
        .iter()
        .map(|template| (template.method.to_string(), template.path.to_string()))
        .collect();
    let mut missing = Missing::default();
    let mut seen = 0;
    while seen < SAMPLE.0 {
        let batch = source.next(SAMPLE.1).map_err(failed)?;
        batch.check(source.templates()).map_err(failed)?;
        let mut start = 0;
        for row in 0..batch.count as usize {
            let at = |column: &[u32]| column.get(row).copied().unwrap_or_default() as usize;
            let Some((method, own_path)) = templates.get(at(&batch.template)) else {
                continue;
            };
            let end = start + at(&batch.path_len);
            let path = if end == start {
                own_path.as_str().into()
            } else {
                String::from_utf8_lossy(batch.arena.get(start..end).unwrap_or_default())
            };
            missing.look(method, &path, granted);
            start = end + at(&batch.body_len);
        }
        seen += batch.count;
        // One that waits for answers gets none here.
        if batch.done || batch.count == 0 {
            break;
        }
    }
    Ok(missing)
}

/// What is not granted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    /// As for `--grant`.
    pub(super) grants: BTreeSet<String>,
    /// Requests that no grant names: method and path.
    pub(super) others: BTreeSet<String>,
}

impl Missing {
    fn look(&mut self, method: &str, path: &str, granted: &[Grant]) {
        match Asked::of(method, path) {
            Asked::Fact => {}
            Asked::Resource(request) => match decide_by_grants(granted, &request) {
                Ok(()) => {}
                Err(denied) => match denied.missing {
                    Some(grant) => {
                        self.grants.insert(grant.to_string());
                    }
                    None => {
                        self.other(method, path);
                    }
                },
            },
            Asked::Other => self.other(method, path),
        }
    }

    fn other(&mut self, method: &str, path: &str) {
        if self.others.len() < 3 {
            let path = path.split('?').next().unwrap_or_default();
            self.others.insert(format!("{method} {path}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kperfs_kinds_need_what_they_say() {
        for (plugin, config, expected) in [
            ("stale_list", json!({"resource": "pods"}), "list:pods"),
            (
                "quorum_list",
                json!({"resource": "deployments", "group": "apps", "namespace": "a"}),
                "list:deployments.apps@a",
            ),
            (
                "watch_list",
                json!({"resource": "configmaps", "namespace": "a"}),
                "list,watch:configmaps@a",
            ),
            (
                "stale_get",
                json!({"resource": "nodes", "name": "n"}),
                "get:nodes",
            ),
            (
                "put",
                json!({"group": "core", "resource": "configmaps", "namespace": "a"}),
                "update:configmaps@a",
            ),
            (
                "patch",
                json!({"resource": "configmaps", "namespace": "a"}),
                "patch:configmaps@a",
            ),
            (
                "get_pod_log",
                json!({"namespace": "a", "name": "p"}),
                "get:pods/log@a",
            ),
            (
                "post_del",
                json!({"resource": "pods", "namespace": "a"}),
                "create,delete:pods@a",
            ),
        ] {
            let grant = of_kperf(plugin, &config).unwrap().unwrap();
            assert_eq!(grant.to_string(), expected);
        }
        assert!(of_kperf("somebody_elses", &json!({})).is_none());
        let named = json!({"resource": "secrets", "namespace": "a", "name": "p"});
        let rule = of_kperf("quorum_get", &named).unwrap().unwrap().rule();
        assert_eq!(rule.unwrap()["resourceNames"], json!(["p"]));
        of_kperf("stale_list", &json!({"resource": "Pods"}))
            .unwrap()
            .unwrap_err();
    }

    #[test]
    fn a_strangers_namespaces_are_not_for_free() {
        let mut missing = Missing::default();
        missing.look("POST", "/api/v1/namespaces", &[]);
        assert_eq!(missing.grants, ["create:namespaces".to_owned()].into());
    }
}
