//! Load profiles as kperf writes them: with every key, so that what is printed as `loadSpec` has kperf's shape.

use kperf_sdk::benchmark::prelude::*;

use crate::{Load, pool::KWOK_NAMESPACE};

/// What each runner does at a time.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Requests per second.
    pub rate: u32,
    /// Connections.
    pub conns: u32,
    /// Clients.
    pub clients: u32,
}

/// A resource of one of the groups: `("", "v1", "pods")`.
pub type Resource = (&'static str, &'static str, &'static str);

/// Pods.
pub const PODS: Resource = ("", "v1", "pods");
/// ConfigMaps.
pub const CONFIG_MAPS: Resource = ("", "v1", "configmaps");

/// Which objects a list is of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Of<'a> {
    /// Empty = all.
    pub namespace: &'a str,
    /// 0 = all at once.
    pub limit: u32,
    /// By label.
    pub selector: &'a str,
    /// By field.
    pub field_selector: &'a str,
}

/// A list from the watch cache.
pub fn stale_list(shares: u32, resource: Resource, of: Of<'_>) -> Value {
    json!({"shares": shares, "staleList": list(resource, of)})
}

/// A list from etcd; one page of it.
pub fn quorum_list(shares: u32, resource: Resource, of: Of<'_>) -> Value {
    json!({"shares": shares, "quorumList": list(resource, of)})
}

fn list((group, version, resource): Resource, of: Of<'_>) -> Value {
    json!({
        "group": group, "version": version, "resource": resource, "namespace": of.namespace,
        "limit": of.limit, "selector": of.selector, "fieldSelector": of.field_selector,
    })
}

/// An object from the watch cache.
pub fn stale_get(shares: u32, resource: Resource, namespace: &str, name: &str) -> Value {
    let (group, version, resource) = resource;
    json!({"shares": shares, "staleGet": {
        "group": group, "version": version, "resource": resource,
        "namespace": namespace, "name": name,
    }})
}

/// The mix of the scenarios with one Job: lists of all pods, and of all events.
pub fn lists_of_everything() -> Vec<Value> {
    let page = Of {
        limit: 1000,
        ..Of::default()
    };
    vec![
        stale_list(1000, PODS, Of::default()),
        quorum_list(100, PODS, page),
        quorum_list(100, ("", "v1", "events"), page),
    ]
}

/// The mix of the scenarios that read single objects: of a Job, its namespace, and the pool of its nodes.
pub fn reads(namespace: &str, pool: &str, nodes: u32, job: &str) -> Vec<Value> {
    const JOBS: Resource = ("batch", "v1", "jobs");
    const NODES: Resource = ("", "v1", "nodes");
    const NAMESPACES: Resource = ("", "v1", "namespaces");
    let pods = Of {
        namespace,
        ..Of::default()
    };
    // kperf's fourth; the last of fewer.
    let node = format!("{pool}-{}", nodes.saturating_sub(1).min(3));
    vec![
        stale_list(10, PODS, pods),
        stale_get(300, PODS, KWOK_NAMESPACE, &format!("{pool}-0")),
        stale_list(10, JOBS, Of::default()),
        stale_get(300, JOBS, namespace, job),
        stale_list(10, NODES, Of::default()),
        stale_list(10, NAMESPACES, Of::default()),
        stale_get(300, NODES, "", &node),
        stale_get(300, NAMESPACES, "", namespace),
    ]
}

/// What [`reads`] needs, with virtual nodes.
pub const GRANTS_OF_READS: [&str; 5] = [
    "create:nodes",
    "get:pods@virtualnodes-kperf-io",
    "list:jobs.batch",
    "get,list:nodes",
    "list:namespaces",
];

/// One spec. The load decides between total and duration; `total` is kperf's.
pub fn spec(load: &Load, size: Size, total: u64, requests: Vec<Value>) -> Value {
    // As in kperf, 0 is as good as nothing.
    let given = |number: Option<u64>| number.filter(|number| *number > 0);
    let (total, duration) = match (given(load.total), given(load.duration)) {
        (None, Some(duration)) => (0, duration),
        (given, _) => (given.unwrap_or(total), 0),
    };
    spec_of(load, size, total, duration, requests)
}

/// One spec of so many requests, or seconds.
pub fn spec_of(load: &Load, size: Size, total: u64, duration: u64, requests: Vec<Value>) -> Value {
    json!({
        "rate": size.rate, "total": total, "duration": duration,
        "conns": size.conns, "client": size.clients,
        "contentType": load.content_type.as_str(), "disableHTTP2": false, "maxRetries": 0,
        "requests": requests,
    })
}

/// The whole profile.
pub fn profile(description: &str, specs: Vec<Value>) -> Value {
    json!({"version": 1, "description": description, "specs": specs})
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        rate: 10,
        conns: 10,
        clients: 100,
    };

    #[test]
    fn total_wins_over_duration_and_kperfs_total_is_the_last_resort() {
        let spec = |total, duration| {
            let load = Load {
                total,
                duration,
                ..Load::default()
            };
            let spec = spec(&load, SIZE, 1000, Vec::new());
            (spec["total"].as_u64(), spec["duration"].as_u64())
        };
        assert_eq!(spec(None, None), (Some(1000), Some(0)));
        assert_eq!(spec(Some(7), None), (Some(7), Some(0)));
        assert_eq!(spec(Some(7), Some(9)), (Some(7), Some(0)));
        assert_eq!(spec(None, Some(9)), (Some(0), Some(9)));
        assert_eq!(spec(Some(0), Some(9)), (Some(0), Some(9)));
        assert_eq!(spec(Some(7), Some(0)), (Some(7), Some(0)));
        assert_eq!(spec(Some(0), Some(0)), (Some(1000), Some(0)));
    }

    #[test]
    fn requests_have_every_key_of_kperfs() {
        let requests = lists_of_everything();
        let keys: Vec<&String> = requests[0]["staleList"]
            .as_object()
            .unwrap()
            .keys()
            .collect();
        assert_eq!(
            keys,
            [
                "fieldSelector",
                "group",
                "limit",
                "namespace",
                "resource",
                "selector",
                "version"
            ]
        );
        assert_eq!(requests[1]["quorumList"]["limit"], 1000);
    }
}
