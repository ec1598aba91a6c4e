//! Server-side apply.

use serde_json::{Value, json};

use crate::{
    api::{Api, Call, configmap},
    case::Case,
    namespace::Namespace,
};

pub(super) const CASES: &[Case] = &[
    Case::new("apply: creates", creates),
    Case::new("apply: the same again changes nothing", again),
    Case::new("apply: what is left out is removed", removes),
    Case::new("apply: a conflict", conflict),
    Case::new("apply: several conflicts", conflicts),
    Case::new("apply: force takes over", force),
    Case::new("apply: the same value is shared", shared),
    Case::new("apply: lists by key", lists),
    Case::new("apply: with an update", with_update).limit(
        kperf_sim::limit::MANAGED_FIELDS,
        "expected status 409\n  got 200",
    ),
    Case::new("apply: no manager", no_manager),
    Case::new("apply: no kind", no_kind),
    Case::new("apply: with managed fields", managed_fields),
    Case::new("apply: force is not for other patches", force_elsewhere),
    Case::new("apply: dry run", dry_run),
];

/// Applies a ConfigMap `a` of this data.
fn apply<'a>(api: &'a Api, ns: &Namespace<'_>, manager: &str, data: Value) -> Call<'a> {
    api.apply(ns.core("configmaps/a"), manager, &configmap("a", data))
}

fn creates(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("apply")?;
    apply(api, &ns, "one", json!({"k": "v"}))
        .ok(201)?
        .is("/data/k", "v")?
        .has("/metadata/uid")?
        .is("/metadata/managedFields/0/manager", "one")?
        .is("/metadata/managedFields/0/operation", "Apply")?
        .is("/metadata/managedFields/0/apiVersion", "v1")?
        .is("/metadata/managedFields/0/fieldsType", "FieldsV1")?
        .has("/metadata/managedFields/0/time")?
        .is(
            "/metadata/managedFields/0/fieldsV1",
            json!({"f:data": {"f:k": {}}}),
        )?
        .lacks("/metadata/managedFields/1")?;
    Ok(())
}

fn again(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("apply-again")?;
    let apply = || apply(api, &ns, "one", json!({"k": "v"}));
    let first = apply().ok(201)?.str("/metadata/resourceVersion")?;
    apply().ok(200)?.is("/metadata/resourceVersion", first)?;
    Ok(())
}

fn removes(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("apply-removes")?;
    let apply = |data: Value| apply(api, &ns, "one", data).send();
    apply(json!({"k": "1", "l": "1"}))?.is("/data", json!({"k": "1", "l": "1"}))?;
    apply(json!({"k": "2"}))?.is("/data", json!({"k": "2"}))?;
    Ok(())
}

fn conflict(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("apply-conflict")?;
    apply(api, &ns, "one", json!({"k": "1"})).ok(201)?;
    apply(api, &ns, "two", json!({"k": "2"}))
        .refused(409, "Conflict")?
        .says("Apply failed with 1 conflict: conflict with \"one\": .data.k")?
        .causes(&[("FieldManagerConflict", ".data.k")])?
        .is("/details/causes/0/message", "conflict with \"one\"")?
        .lacks("/details/kind")?;
    api.get(ns.core("configmaps/a"))
        .ok(200)?
        .is("/data/k", "1")?;
    Ok(())
}

fn conflicts(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("apply-conflicts")?;
    apply(api, &ns, "one", json!({"k": "1", "l": "1"})).ok(201)?;
    apply(api, &ns, "two", json!({"k": "2", "l": "2"}))
        .refused(409, "Conflict")?
        .says("Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.k\n- .data.l")?
        .causes(&[
            ("FieldManagerConflict", ".data.k"),
            ("FieldManagerConflict", ".data.l"),
        ])?;
    Ok(())
}

fn force(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("apply-force")?;
    apply(api, &ns, "one", json!({"k": "1"})).ok(201)?;
    apply(api, &ns, "two", json!({"k": "2"}))
        .query("force", "true")
        .ok(200)?
        .is("/data/k", "2")?
        .is("/metadata/managedFields/0/manager", "two")?
        .lacks("/metadata/managedFields/1")?;
    Ok(())
}

fn shared(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("apply-shared")?;
    for manager in ["one", "two"] {
        apply(api, &ns, manager, json!({"k": "1"}))
            .send()?
            .is("/data/k", "1")?;
    }
    // It goes with its last owner.
    apply(api, &ns, "one", json!({}))
        .ok(200)?
        .is("/data/k", "1")?;
    apply(api, &ns, "two", json!({}))
        .ok(200)?
        .lacks("/data/k")?;
    Ok(())
}

fn lists(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("apply-lists")?;
    let apply = |manager: &str, containers: Value| {
        let mut body = crate::api::deployment("a");
        body["spec"]["template"]["spec"]["containers"] = containers;
        api.apply(ns.apps("deployments/a"), manager, &body).send()
    };
    apply(
        "one",
        json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]),
    )?;
    let path = "/spec/template/spec/containers";
    apply("one", json!([{"name": "b", "image": "2"}]))?
        .is(&format!("{path}/0/name"), "b")?
        .is(&format!("{path}/0/image"), "2")?
        .lacks(&format!("{path}/1"))?;
    apply("two", json!([{"name": "b", "image": "3"}]))?
        .is("/code", 409)?
        .says("Apply failed with 1 conflict: conflict with \"one\": .spec.template.spec.containers[name=\"b\"].image")?;
    Ok(())
}

fn with_update(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("apply-update")?;
    api.post(ns.core("configmaps"), &configmap("a", json!({"k": "1"})))
        .query("fieldManager", "maker")
        .ok(201)?;
    apply(api, &ns, "one", json!({"k": "2"}))
        .refused(409, "Conflict")?
        .mentions("conflict with \"maker\"")?;
    Ok(())
}

fn no_manager(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("apply-no-manager")?;
    api.call("PATCH", ns.core("configmaps/a"))
        .bytes(
            "application/apply-patch+yaml",
            configmap("a", json!({})).to_string().into_bytes(),
        )
        .refused(422, "Invalid")?
        .about("meta.k8s.io", "PatchOptions", "")?
        .causes(&[("FieldValueRequired", "fieldManager")])?
        .says("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch")?;
    Ok(())
}

fn no_kind(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("apply-no-kind")?;
    api.apply(
        ns.core("configmaps/a"),
        "one",
        &json!({"metadata": {"name": "a"}}),
    )
    .refused(400, "BadRequest")?;
    Ok(())
}

fn managed_fields(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("apply-managed")?;
    let mut body = configmap("a", json!({}));
    body["metadata"]["managedFields"] =
        json!([{"manager": "x", "operation": "Apply", "apiVersion": "v1"}]);
    api.apply(ns.core("configmaps/a"), "one", &body)
        .refused(400, "BadRequest")?
        .says("metadata.managedFields must be nil")?;
    Ok(())
}

fn force_elsewhere(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("force-elsewhere")?;
    api.post(ns.core("configmaps"), &configmap("a", json!({})))
        .ok(201)?;
    api.patch("merge", ns.core("configmaps/a"), &json!({}))
        .query("force", "true")
        .refused(422, "Invalid")?
        .about("meta.k8s.io", "PatchOptions", "")?
        .causes(&[("FieldValueForbidden", "force")])?
        .says("PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch")?;
    Ok(())
}

fn dry_run(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("apply-dry")?;
    apply(api, &ns, "one", json!({"k": "v"}))
        .query("dryRun", "All")
        .ok(201)?
        .is("/data/k", "v")?;
    api.get(ns.core("configmaps/a")).refused(404, "NotFound")?;
    Ok(())
}
