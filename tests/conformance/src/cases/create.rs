//! Creation.

use serde_json::json;

use crate::{
    api::{Api, configmap, deployment, idle_pod},
    case::Case,
};

pub(super) const CASES: &[Case] = &[
    Case::new("create: a name is generated", generate_name),
    Case::new("create: the name exists", exists),
    Case::new("create: no name", no_name),
    Case::new("create: another namespace in the body", other_namespace),
    Case::new("create: a namespace that does not exist", no_namespace),
    Case::new("create: with a revision", with_revision),
    Case::new("create: kind and version may be left out", no_kind),
    Case::new("create: what the server owns is not taken", owned),
    Case::new("create: defaults of a pod", pod_defaults),
    Case::new("create: defaults of a deployment", deployment_defaults),
    Case::new("create: stringData becomes data", string_data),
    Case::new("create: YAML", yaml),
    Case::new("create: dry run", dry_run),
    Case::new("create: a dry run of something else", bad_dry_run),
    Case::new("create: who made it is written down", managed_fields).limit(
        kperf_sim::limit::MANAGED_FIELDS,
        "expected \"maker\" at /metadata/managedFields/0/manager\n  got nothing there",
    ),
    Case::new("create: strict field validation", field_validation)
        .limit(kperf_sim::limit::SCHEMAS, "expected status 400\n  got 201"),
];

fn generate_name(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("generate-name")?;
    let make = || {
        api.post(
            ns.core("configmaps"),
            &json!({"metadata": {"generateName": "made-"}}),
        )
        .ok(201)
    };
    let (one, two) = (make()?, make()?);
    let one = one.is("/metadata/generateName", "made-")?;
    let (first, second) = (one.str("/metadata/name")?, two.str("/metadata/name")?);
    one.check(
        "made- and five characters, another time others",
        first.starts_with("made-") && first.len() == 10 && first != second,
    )?;
    // A name wins over its prefix.
    api.post(
        ns.core("configmaps"),
        &json!({"metadata": {"name": "own", "generateName": "made-"}}),
    )
    .ok(201)?
    .is("/metadata/name", "own")?;
    Ok(())
}

fn exists(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("exists")?;
    api.post(ns.core("configmaps"), &configmap("a", json!({})))
        .ok(201)?;
    api.post(ns.core("configmaps"), &configmap("a", json!({})))
        .refused(409, "AlreadyExists")?
        .says("configmaps \"a\" already exists")?
        .about("", "configmaps", "a")?;
    api.post(ns.apps("deployments"), &deployment("a")).ok(201)?;
    api.post(ns.apps("deployments"), &deployment("a"))
        .refused(409, "AlreadyExists")?
        .says("deployments.apps \"a\" already exists")?
        .about("apps", "deployments", "a")?;
    Ok(())
}

fn no_name(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("no-name")?;
    api.post(ns.core("configmaps"), &json!({"metadata": {}}))
        .refused(422, "Invalid")?
        .says("ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required")?
        .causes(&[("FieldValueRequired", "metadata.name")])?
        .about("", "ConfigMap", "")?;
    Ok(())
}

fn other_namespace(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("other-namespace")?;
    let mut body = configmap("a", json!({}));
    body["metadata"]["namespace"] = json!("default");
    api.post(ns.core("configmaps"), &body)
        .refused(400, "BadRequest")?
        .says(
            "the namespace of the provided object does not match the namespace sent on the request",
        )?;
    Ok(())
}

fn no_namespace(api: &Api) -> anyhow::Result<()> {
    api.post(
        "/api/v1/namespaces/conformance-there-is-none/configmaps",
        &configmap("a", json!({})),
    )
    .refused(404, "NotFound")?
    .says("namespaces \"conformance-there-is-none\" not found")?
    .about("", "namespaces", "conformance-there-is-none")?;
    Ok(())
}

fn with_revision(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("with-revision")?;
    let mut body = configmap("a", json!({}));
    body["metadata"]["resourceVersion"] = json!("1");
    api.post(ns.core("configmaps"), &body)
        .refused(500, "")?
        .says("resourceVersion should not be set on objects to be created")?;
    Ok(())
}

fn no_kind(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("no-kind")?;
    api.post(ns.core("configmaps"), &json!({"metadata": {"name": "a"}}))
        .ok(201)?
        .is("/kind", "ConfigMap")?
        .is("/apiVersion", "v1")?;
    Ok(())
}

fn owned(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("owned")?;
    let mut body = deployment("a");
    body["metadata"]["uid"] = json!("mine");
    body["metadata"]["generation"] = json!(7);
    body["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
    body["metadata"]["deletionTimestamp"] = json!("2001-01-01T00:00:00Z");
    body["status"] = json!({"replicas": 5});
    let reply = api
        .post(ns.apps("deployments"), &body)
        .ok(201)?
        .is("/metadata/generation", 1)?
        .lacks("/metadata/deletionTimestamp")?
        .is("/status", json!({}))?;
    let fits = reply.str("/metadata/uid")? != "mine"
        && !reply
            .str("/metadata/creationTimestamp")?
            .starts_with("2001");
    reply.check("uid and time of the server", fits)?;
    Ok(())
}

fn pod_defaults(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("pod-defaults")?;
    let mut pod = idle_pod("a");
    pod["spec"]["containers"][0]["image"] = json!("one:1.0");
    pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80}]);
    let reply = api.post(ns.core("pods"), &pod).ok(201)?;
    let mut reply = reply.lacks("/spec/nodeName")?;
    for (pointer, value) in [
        ("/status/phase", json!("Pending")),
        ("/status/qosClass", json!("BestEffort")),
        ("/spec/restartPolicy", json!("Always")),
        ("/spec/dnsPolicy", json!("ClusterFirst")),
        ("/spec/terminationGracePeriodSeconds", json!(30)),
        ("/spec/enableServiceLinks", json!(true)),
        ("/spec/schedulerName", json!("nobody")),
        ("/spec/securityContext", json!({})),
        ("/spec/containers/0/imagePullPolicy", json!("IfNotPresent")),
        ("/spec/containers/0/ports/0/protocol", json!("TCP")),
        ("/spec/containers/0/resources", json!({})),
        (
            "/spec/containers/0/terminationMessagePath",
            json!("/dev/termination-log"),
        ),
        ("/spec/containers/0/terminationMessagePolicy", json!("File")),
        ("/metadata/generation", json!(1)),
    ] {
        reply = reply.is(pointer, value)?;
    }
    api.post(ns.core("pods"), &idle_pod("latest"))
        .ok(201)?
        .is("/spec/containers/0/imagePullPolicy", "Always")?;
    Ok(())
}

fn deployment_defaults(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("deployment-defaults")?;
    let mut body = deployment("a");
    // One is the default, and nothing makes its pods before they are counted here.
    if let Some(spec) = body["spec"].as_object_mut() {
        spec.remove("replicas");
        spec.insert("paused".to_owned(), json!(true));
    }
    api.post(ns.apps("deployments"), &body)
        .ok(201)?
        .is("/spec/replicas", 1)?
        .is("/spec/revisionHistoryLimit", 10)?
        .is("/spec/progressDeadlineSeconds", 600)?
        .is("/spec/strategy/type", "RollingUpdate")?
        .is(
            "/spec/strategy/rollingUpdate",
            json!({"maxSurge": "25%", "maxUnavailable": "25%"}),
        )?
        .is("/spec/template/spec/restartPolicy", "Always")?
        .is("/metadata/generation", 1)?
        .is("/status", json!({}))?;
    Ok(())
}

fn string_data(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("string-data")?;
    api.post(
        ns.core("secrets"),
        &json!({"metadata": {"name": "a"}, "stringData": {"k": "v"}, "data": {"l": "dw=="}}),
    )
    .ok(201)?
    .is("/data", json!({"k": "dg==", "l": "dw=="}))?
    .lacks("/stringData")?;
    Ok(())
}

fn yaml(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("yaml")?;
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: v\n";
    api.call("POST", ns.core("configmaps"))
        .bytes("application/yaml", body.into())
        .ok(201)?
        .is("/data/k", "v")?;
    Ok(())
}

fn dry_run(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("create-dry")?;
    let made = || {
        api.post(ns.core("configmaps"), &configmap("a", json!({"k": "v"})))
            .query("dryRun", "All")
    };
    made()
        .ok(201)?
        .is("/data/k", "v")?
        .has("/metadata/uid")?
        .lacks("/metadata/resourceVersion")?;
    api.get(ns.core("configmaps/a")).refused(404, "NotFound")?;
    api.post(ns.core("configmaps"), &configmap("a", json!({})))
        .ok(201)?;
    made().refused(409, "AlreadyExists")?;
    Ok(())
}

fn bad_dry_run(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("bad-dry")?;
    api.post(ns.core("configmaps"), &configmap("a", json!({})))
        .query("dryRun", "Some")
        .refused(422, "Invalid")?
        .about("meta.k8s.io", "CreateOptions", "")?
        .causes(&[("FieldValueNotSupported", "dryRun")])?;
    Ok(())
}

fn managed_fields(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("managed-fields")?;
    api.post(ns.core("configmaps"), &configmap("a", json!({"k": "v"})))
        .query("fieldManager", "maker")
        .ok(201)?
        .is("/metadata/managedFields/0/manager", "maker")?
        .is("/metadata/managedFields/0/operation", "Update")?
        .is("/metadata/managedFields/0/apiVersion", "v1")?
        .is("/metadata/managedFields/0/fieldsType", "FieldsV1")?
        .is(
            "/metadata/managedFields/0/fieldsV1",
            json!({"f:data": {".": {}, "f:k": {}}}),
        )?;
    Ok(())
}

fn field_validation(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("field-validation")?;
    let mut body = configmap("a", json!({}));
    body["color"] = json!("red");
    api.post(ns.core("configmaps"), &body)
        .query("fieldValidation", "Strict")
        .refused(400, "BadRequest")?
        .mentions("unknown field \"color\"")?;
    Ok(())
}
