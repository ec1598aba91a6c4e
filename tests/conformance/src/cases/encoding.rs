//! Shapes and formats of answers: Table, metadata alone, YAML, protobuf.

use serde_json::{Value, json};

use crate::{
    api::{Api, Reply, configmap, idle_pod, items},
    case::Case,
};

pub(super) const CASES: &[Case] = &[
    Case::new("table: columns of pods", pod_columns),
    Case::new("table: columns of nodes", node_columns),
    Case::new("table: columns of configmaps", configmap_columns),
    Case::new("table: columns of the usual kinds", usual_columns),
    Case::new("table: cells of a pod", pod_cells),
    Case::new("table: one object", one_object),
    Case::new("table: includeObject", include_object),
    Case::new("table: page by page", table_pages),
    Case::new("table: watched", table_watch),
    Case::new("metadata: list, object and watch", metadata),
    Case::new("yaml: list", yaml),
    Case::new("protobuf: only", protobuf)
        .limit(kperf_sim::limit::PROTOBUF, "expected status 200\n  got 406"),
    Case::new("protobuf: or JSON", protobuf_or_json).limit(
        kperf_sim::limit::PROTOBUF,
        "expected header content-type: application/vnd.kubernetes.protobuf\n  got application/json",
    ),
    Case::new("protobuf: body of a creation", protobuf_body),
    Case::new("negotiation: anything will do", anything),
];

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const METADATA: &str =
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json";
const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Compares name, type, format and priority of the columns of a table.
fn columns(api: &Api, path: &str, expected: &[(&str, &str, u8)]) -> anyhow::Result<Reply> {
    let reply = api
        .get(path)
        .accept(TABLE)
        .ok(200)?
        .is("/kind", "Table")?
        .is("/apiVersion", "meta.k8s.io/v1")?;
    let got: Vec<Value> = items(reply.at("/columnDefinitions"))
        .map(|column| {
            json!([
                column["name"],
                column["type"],
                column["format"],
                column["priority"]
            ])
        })
        .collect();
    let expected: Vec<Value> = expected
        .iter()
        .map(|(name, kind, priority)| {
            let format = if *name == "Name" { "name" } else { "" };
            json!([name, kind, format, priority])
        })
        .collect();
    if got == expected {
        Ok(reply)
    } else {
        let got = Value::Array(got);
        Err(reply.differs(&format!("columns {}", Value::Array(expected)), got))
    }
}

fn pod_columns(api: &Api) -> anyhow::Result<()> {
    columns(
        api,
        "/api/v1/pods",
        &[
            ("Name", "string", 0),
            ("Ready", "string", 0),
            ("Status", "string", 0),
            ("Restarts", "string", 0),
            ("Age", "string", 0),
            ("IP", "string", 1),
            ("Node", "string", 1),
            ("Nominated Node", "string", 1),
            ("Readiness Gates", "string", 1),
        ],
    )?;
    Ok(())
}

fn node_columns(api: &Api) -> anyhow::Result<()> {
    columns(
        api,
        "/api/v1/nodes",
        &[
            ("Name", "string", 0),
            ("Status", "string", 0),
            ("Roles", "string", 0),
            ("Age", "string", 0),
            ("Version", "string", 0),
            ("Internal-IP", "string", 1),
            ("External-IP", "string", 1),
            ("OS-Image", "string", 1),
            ("Kernel-Version", "string", 1),
            ("Container-Runtime", "string", 1),
        ],
    )?;
    Ok(())
}

fn configmap_columns(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("configmap-table")?;
    api.post(
        ns.core("configmaps"),
        &configmap("zzz", json!({"k": "1", "l": "2"})),
    )
    .ok(201)?;
    let reply = columns(
        api,
        &ns.core("configmaps?labelSelector=&fieldSelector=metadata.name%3Dzzz"),
        &[
            ("Name", "string", 0),
            ("Data", "string", 0),
            ("Age", "string", 0),
        ],
    )?;
    reply
        .is("/rows/0/cells/0", "zzz")?
        .is("/rows/0/cells/1", 2)?
        .is("/rows/0/object/kind", "PartialObjectMetadata")?
        .is("/rows/0/object/apiVersion", "meta.k8s.io/v1")?
        .is("/rows/0/object/metadata/name", "zzz")?
        .lacks("/rows/0/object/data")?
        .has("/metadata/resourceVersion")?;
    Ok(())
}

fn usual_columns(api: &Api) -> anyhow::Result<()> {
    for (path, expected) in [
        (
            "/api/v1/namespaces",
            &[
                ("Name", "string", 0),
                ("Status", "string", 0),
                ("Age", "string", 0),
            ][..],
        ),
        (
            "/api/v1/secrets",
            &[
                ("Name", "string", 0),
                ("Type", "string", 0),
                ("Data", "string", 0),
                ("Age", "string", 0),
            ],
        ),
        (
            "/api/v1/services",
            &[
                ("Name", "string", 0),
                ("Type", "string", 0),
                ("Cluster-IP", "string", 0),
                ("External-IP", "string", 0),
                ("Port(s)", "string", 0),
                ("Age", "string", 0),
                ("Selector", "string", 1),
            ],
        ),
        (
            "/apis/apps/v1/deployments",
            &[
                ("Name", "string", 0),
                ("Ready", "string", 0),
                ("Up-to-date", "string", 0),
                ("Available", "string", 0),
                ("Age", "string", 0),
                ("Containers", "string", 1),
                ("Images", "string", 1),
                ("Selector", "string", 1),
            ],
        ),
        (
            "/apis/apps/v1/replicasets",
            &[
                ("Name", "string", 0),
                ("Desired", "integer", 0),
                ("Current", "integer", 0),
                ("Ready", "integer", 0),
                ("Age", "string", 0),
                ("Containers", "string", 1),
                ("Images", "string", 1),
                ("Selector", "string", 1),
            ],
        ),
        (
            "/apis/batch/v1/jobs",
            &[
                ("Name", "string", 0),
                ("Status", "string", 0),
                ("Completions", "string", 0),
                ("Duration", "string", 0),
                ("Age", "string", 0),
                ("Containers", "string", 1),
                ("Images", "string", 1),
                ("Selector", "string", 1),
            ],
        ),
        (
            "/apis/coordination.k8s.io/v1/leases",
            &[
                ("Name", "string", 0),
                ("Holder", "string", 0),
                ("Age", "string", 0),
            ],
        ),
    ] {
        columns(api, path, expected)?;
    }
    Ok(())
}

fn pod_cells(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("pod-table")?;
    api.post(ns.core("pods"), &idle_pod("a")).ok(201)?;
    api.get(ns.core("pods"))
        .accept(TABLE)
        .ok(200)?
        .is("/rows/0/cells/0", "a")?
        .is("/rows/0/cells/1", "0/1")?
        .is("/rows/0/cells/2", "Pending")?
        .is("/rows/0/cells/3", "0")?
        .is("/rows/0/cells/5", "<none>")?
        .is("/rows/0/cells/6", "<none>")?
        .is("/rows/0/cells/7", "<none>")?
        .is("/rows/0/cells/8", "<none>")?;
    Ok(())
}

fn one_object(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("table-one")?;
    let made = api.post(ns.core("pods"), &idle_pod("a")).ok(201)?;
    api.get(ns.core("pods/a"))
        .accept(TABLE)
        .ok(200)?
        .header("content-type", "application/json")?
        .is("/kind", "Table")?
        .is("/rows/0/cells/0", "a")?
        .lacks("/rows/1")?
        .is(
            "/metadata/resourceVersion",
            made.str("/metadata/resourceVersion")?,
        )?;
    // An error is a Status all the same.
    api.get(ns.core("pods/none"))
        .accept(TABLE)
        .refused(404, "NotFound")?;
    Ok(())
}

fn include_object(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("include-object")?;
    api.post(
        ns.core("secrets"),
        &json!({"metadata": {"name": "a"}, "stringData": {"k": "v"}}),
    )
    .ok(201)?;
    let ask = |include: &str| {
        api.get(ns.core("secrets"))
            .accept(TABLE)
            .query("includeObject", include)
    };
    ask("None")
        .ok(200)?
        .is("/rows/0/cells/0", "a")?
        .is("/rows/0/object", Value::Null)?;
    ask("Metadata")
        .ok(200)?
        .is("/rows/0/object/kind", "PartialObjectMetadata")?
        .lacks("/rows/0/object/data")?;
    ask("Object")
        .ok(200)?
        .is("/rows/0/object/kind", "Secret")?
        .is("/rows/0/object/apiVersion", "v1")?
        .has("/rows/0/object/data/k")?;
    ask("Everything").refused(400, "BadRequest")?;
    Ok(())
}

fn table_pages(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("table-pages")?;
    for name in ["a", "b", "c"] {
        api.post(ns.core("secrets"), &json!({"metadata": {"name": name}}))
            .ok(201)?;
    }
    let first = api
        .get(ns.core("secrets"))
        .accept(TABLE)
        .query("limit", "2")
        .ok(200)?
        .is("/rows/1/cells/0", "b")?
        .is("/metadata/remainingItemCount", 1)?;
    api.get(ns.core("secrets"))
        .accept(TABLE)
        .query("limit", "2")
        .query("continue", &first.str("/metadata/continue")?)
        .ok(200)?
        .is("/rows/0/cells/0", "c")?
        .lacks("/rows/1")?;
    Ok(())
}

fn table_watch(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("table-watch")?;
    api.post(ns.core("secrets"), &json!({"metadata": {"name": "a"}}))
        .ok(201)?;
    let mut events = api
        .get(ns.core("secrets"))
        .accept(TABLE)
        .query("timeoutSeconds", "30")
        .watch()?;
    let first = events.expect("ADDED", "")?;
    api.delete(ns.core("secrets/a")).ok(200)?;
    let second = events.expect("DELETED", "")?;
    // The columns come once.
    let fits = first["kind"] == "Table"
        && first["rows"][0]["cells"][0] == "a"
        && first["columnDefinitions"]
            .as_array()
            .is_some_and(|c| c.len() == 4)
        && second["columnDefinitions"]
            .as_array()
            .is_none_or(Vec::is_empty)
        && second["rows"][0]["object"]["metadata"]["name"] == "a";
    anyhow::ensure!(fits, "expected two tables, got {first} and {second}");
    Ok(())
}

fn metadata(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("metadata")?;
    api.post(
        ns.core("secrets"),
        &json!({"metadata": {"name": "a"}, "stringData": {"k": "v"}}),
    )
    .ok(201)?;
    api.get(ns.core("secrets"))
        .accept(METADATA_LIST)
        .ok(200)?
        .is("/kind", "PartialObjectMetadataList")?
        .is("/apiVersion", "meta.k8s.io/v1")?
        .has("/metadata/resourceVersion")?
        .names(&["a"])?
        .lacks("/items/0/data")?;
    api.get(ns.core("secrets/a"))
        .accept(METADATA)
        .ok(200)?
        .is("/kind", "PartialObjectMetadata")?
        .is("/apiVersion", "meta.k8s.io/v1")?
        .is("/metadata/name", "a")?
        .lacks("/data")?;
    let mut events = api
        .get(ns.core("secrets"))
        .accept(METADATA)
        .query("timeoutSeconds", "30")
        .watch()?;
    let object = events.expect("ADDED", "a")?;
    anyhow::ensure!(
        object["kind"] == "PartialObjectMetadata" && object.get("data").is_none(),
        "expected metadata only, got {object}"
    );
    Ok(())
}

fn yaml(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("yaml-list")?;
    let reply = api
        .get(ns.core("secrets"))
        .accept("application/yaml")
        .ok(200)?
        .header("content-type", "application/yaml")?;
    let text = reply.text();
    reply.check(
        "YAML of a SecretList",
        text.contains("kind: SecretList\n") && text.contains("apiVersion: v1\n"),
    )?;
    Ok(())
}

fn protobuf(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("protobuf")?;
    let reply = api
        .get(ns.core("secrets"))
        .accept(PROTOBUF)
        .ok(200)?
        .header("content-type", PROTOBUF)?;
    let fits = reply.body.starts_with(b"k8s\0");
    reply.check("the magic number k8s\\0", fits)?;
    Ok(())
}

fn protobuf_or_json(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("protobuf-or-json")?;
    api.get(ns.core("secrets"))
        .accept(&format!("{PROTOBUF},application/json"))
        .ok(200)?
        .header("content-type", PROTOBUF)?;
    Ok(())
}

/// A field of wire type 2, shorter than 128 bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    [&[(number << 3) | 2, length][..], content].concat()
}

fn protobuf_body(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("protobuf-body")?;
    let kind = [field(1, b"v1"), field(2, b"ConfigMap")].concat();
    let entry = [field(1, b"k"), field(2, b"v")].concat();
    let object = [field(1, &field(1, b"a")), field(2, &entry)].concat();
    let body = [b"k8s\0".to_vec(), field(1, &kind), field(2, &object)].concat();
    api.call("POST", ns.core("configmaps"))
        .bytes(PROTOBUF, body)
        .ok(201)?
        .is("/metadata/name", "a")?
        .is("/data", json!({"k": "v"}))?;
    api.call("POST", ns.core("configmaps"))
        .bytes(PROTOBUF, b"no protobuf".to_vec())
        .refused(400, "BadRequest")?;
    Ok(())
}

fn anything(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("anything")?;
    for accept in ["*/*", "text/html, application/json;q=0.5"] {
        api.get(ns.core("secrets"))
            .accept(accept)
            .ok(200)?
            .header("content-type", "application/json")?
            .is("/kind", "SecretList")?;
    }
    Ok(())
}
