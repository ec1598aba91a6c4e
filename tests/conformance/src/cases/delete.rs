//! Deletion of one object and of many.

use serde_json::json;

use crate::{
    api::{Api, configmap, deployment, idle_pod},
    case::Case,
};

pub(super) const CASES: &[Case] = &[
    Case::new("delete: answers a Status", answers),
    Case::new("delete: a uid that does not fit", other_uid),
    Case::new("delete: a revision that does not fit", other_revision),
    Case::new("delete: preconditions that fit", preconditions),
    Case::new("delete: a finalizer holds on", finalizer),
    Case::new("delete: a pod without a node goes at once", pod),
    Case::new("delete: a pod on a node gets its time", graceful),
    Case::new("delete: a namespace terminates", namespace),
    Case::new("delete: options in the query", query),
    Case::new("delete: a policy that is none", bad_policy),
    Case::new("delete: in the foreground", foreground).limit(
        kperf_sim::limit::FOREGROUND,
        "expected \"ConfigMap\" at /kind\n  got \"Status\"",
    ),
    Case::new("delete: a negative grace period", negative),
    Case::new("delete: dry run", dry_run),
    Case::new("delete: many by selector", many),
    Case::new("delete: many, dry run", many_dry),
];

fn answers(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("delete")?;
    let uid = api
        .post(ns.core("configmaps"), &configmap("a", json!({})))
        .ok(201)?
        .str("/metadata/uid")?;
    api.delete(ns.core("configmaps/a"))
        .ok(200)?
        .is("/kind", "Status")?
        .is("/apiVersion", "v1")?
        .is("/status", "Success")?
        .is("/metadata", json!({}))?
        .is(
            "/details",
            json!({"name": "a", "kind": "configmaps", "uid": uid}),
        )?
        .lacks("/code")?;
    api.get(ns.core("configmaps/a")).refused(404, "NotFound")?;
    let uid = api
        .post(ns.apps("deployments"), &deployment("a"))
        .ok(201)?
        .str("/metadata/uid")?;
    api.delete(ns.apps("deployments/a")).ok(200)?.is(
        "/details",
        json!({"name": "a", "group": "apps", "kind": "deployments", "uid": uid}),
    )?;
    Ok(())
}

fn other_uid(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("delete-uid")?;
    let uid = api
        .post(ns.core("configmaps"), &configmap("a", json!({})))
        .ok(201)?
        .str("/metadata/uid")?;
    api.delete(ns.core("configmaps/a"))
        .json(&json!({"preconditions": {"uid": "other"}}))
        .refused(409, "Conflict")?
        .about("", "ConfigMap", "a")?
        .says(&format!(
            "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (other) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
        ))?;
    api.get(ns.core("configmaps/a")).ok(200)?;
    Ok(())
}

fn other_revision(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("delete-revision")?;
    let revision = api
        .post(ns.core("configmaps"), &configmap("a", json!({})))
        .ok(201)?
        .str("/metadata/resourceVersion")?;
    api.delete(ns.core("configmaps/a"))
        .json(&json!({"preconditions": {"resourceVersion": "1"}}))
        .refused(409, "Conflict")?
        .says(&format!(
            "Operation cannot be fulfilled on ConfigMap \"a\": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ({revision}). The object might have been modified"
        ))?;
    Ok(())
}

fn preconditions(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("preconditions")?;
    let made = api
        .post(ns.core("configmaps"), &configmap("a", json!({})))
        .ok(201)?;
    api.delete(ns.core("configmaps/a"))
        .json(&json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": {
                "uid": made.str("/metadata/uid")?,
                "resourceVersion": made.str("/metadata/resourceVersion")?,
            },
        }))
        .ok(200)?
        .is("/status", "Success")?;
    Ok(())
}

fn finalizer(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("finalizer")?;
    let _held = ns.holds("configmaps/a");
    let mut body = configmap("a", json!({}));
    body["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(ns.core("configmaps"), &body).ok(201)?;
    api.delete(ns.core("configmaps/a"))
        .ok(200)?
        .is("/kind", "ConfigMap")?
        .has("/metadata/deletionTimestamp")?
        .is("/metadata/deletionGracePeriodSeconds", 0)?;
    // Still there, and a second deletion changes nothing.
    let held = api
        .get(ns.core("configmaps/a"))
        .ok(200)?
        .has("/metadata/deletionTimestamp")?
        .str("/metadata/resourceVersion")?;
    api.delete(ns.core("configmaps/a"))
        .ok(200)?
        .is("/metadata/resourceVersion", held)?;
    api.patch(
        "merge",
        ns.core("configmaps/a"),
        &json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}),
    )
    .refused(422, "Invalid")?
    .is("/details/causes/0/reason", "FieldValueForbidden")?
    .is("/details/causes/0/field", "metadata.finalizers")?
    .says("ConfigMap \"a\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"example.com/more\"}")?;
    api.patch(
        "merge",
        ns.core("configmaps/a"),
        &json!({"metadata": {"finalizers": null}}),
    )
    .ok(200)?;
    api.get(ns.core("configmaps/a")).refused(404, "NotFound")?;
    Ok(())
}

fn pod(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("delete-pod")?;
    api.post(ns.core("pods"), &idle_pod("a")).ok(201)?;
    // A pod answers with itself.
    api.delete(ns.core("pods/a"))
        .ok(200)?
        .is("/kind", "Pod")?
        .is("/metadata/name", "a")?
        .has("/metadata/deletionTimestamp")?
        .is("/metadata/deletionGracePeriodSeconds", 0)?;
    api.get(ns.core("pods/a")).refused(404, "NotFound")?;
    Ok(())
}

fn graceful(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("delete-graceful")?;
    for (name, grace) in [("default", None), ("own", Some("7"))] {
        let mut pod = idle_pod(name);
        pod["spec"]["nodeName"] = json!("nowhere");
        // It holds the pod for us to see, whoever plays the node.
        pod["metadata"]["finalizers"] = json!(["example.com/hold"]);
        let path = format!("pods/{name}");
        let _held = ns.holds(&path);
        api.post(ns.core("pods"), &pod).ok(201)?;
        let mut call = api.delete(ns.core(&path));
        if let Some(grace) = grace {
            call = call.query("gracePeriodSeconds", grace);
        }
        let expected: i64 = grace.unwrap_or("30").parse()?;
        call.ok(200)?
            .is("/kind", "Pod")?
            .has("/metadata/deletionTimestamp")?
            .is("/metadata/deletionGracePeriodSeconds", expected)?;
    }
    Ok(())
}

fn namespace(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("terminates")?;
    let _held = ns.holds("configmaps/a");
    // It holds the namespace for us to see.
    let mut body = configmap("a", json!({}));
    body["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(ns.core("configmaps"), &body).ok(201)?;
    let path = format!("/api/v1/namespaces/{}", ns.name);
    api.delete(path.clone())
        .ok(200)?
        .is("/kind", "Namespace")?
        .is("/status/phase", "Terminating")?
        .has("/metadata/deletionTimestamp")?;
    api.get(path).ok(200)?.is("/status/phase", "Terminating")?;
    api.post(ns.core("secrets"), &json!({"metadata": {"name": "late"}}))
        .refused(403, "Forbidden")?
        .about("", "secrets", "late")?
        .is("/details/causes/0/reason", "NamespaceTerminating")?
        .says(&format!(
            "secrets \"late\" is forbidden: unable to create new content in namespace {} because it is being terminated",
            ns.name
        ))?;
    Ok(())
}

fn query(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("delete-query")?;
    api.post(ns.core("configmaps"), &configmap("a", json!({})))
        .ok(201)?;
    api.delete(ns.core("configmaps/a"))
        .query("propagationPolicy", "Background")
        .query("gracePeriodSeconds", "5")
        .ok(200)?
        .is("/status", "Success")?;
    Ok(())
}

fn bad_policy(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("bad-policy")?;
    api.post(ns.core("configmaps"), &configmap("a", json!({})))
        .ok(201)?;
    api.delete(ns.core("configmaps/a"))
        .json(&json!({"propagationPolicy": "Sideways"}))
        .refused(422, "Invalid")?
        .about("meta.k8s.io", "DeleteOptions", "")?
        .causes(&[("FieldValueNotSupported", "propagationPolicy")])?;
    Ok(())
}

fn foreground(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("foreground")?;
    api.post(ns.core("configmaps"), &configmap("a", json!({})))
        .ok(201)?;
    // The object stays, for the garbage collector to remove after what depends on it.
    api.delete(ns.core("configmaps/a"))
        .json(&json!({"propagationPolicy": "Foreground"}))
        .ok(200)?
        .is("/kind", "ConfigMap")?
        .is("/metadata/finalizers", json!(["foregroundDeletion"]))?
        .has("/metadata/deletionTimestamp")?;
    Ok(())
}

fn negative(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("negative-grace")?;
    let _held = ns.holds("pods/a");
    let mut pod = idle_pod("a");
    pod["spec"]["nodeName"] = json!("nowhere");
    pod["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(ns.core("pods"), &pod).ok(201)?;
    // Below zero means one.
    api.delete(ns.core("pods/a"))
        .json(&json!({"gracePeriodSeconds": -1}))
        .ok(200)?
        .is("/metadata/deletionGracePeriodSeconds", 1)?;
    Ok(())
}

fn dry_run(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("delete-dry")?;
    api.post(ns.core("configmaps"), &configmap("a", json!({})))
        .ok(201)?;
    api.delete(ns.core("configmaps/a"))
        .query("dryRun", "All")
        .ok(200)?
        .is("/status", "Success")?
        .is("/details/name", "a")?;
    api.delete(ns.core("configmaps/a"))
        .json(&json!({"dryRun": ["All"]}))
        .ok(200)?;
    api.get(ns.core("configmaps/a"))
        .ok(200)?
        .lacks("/metadata/deletionTimestamp")?;
    Ok(())
}

fn many(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("delete-many")?;
    for (name, on) in [("a", "yes"), ("b", "no"), ("c", "yes"), ("d", "yes")] {
        let secret = json!({"metadata": {"name": name, "labels": {"on": on}}});
        api.post(ns.core("secrets"), &secret).ok(201)?;
    }
    // The list of what is deleted.
    api.delete(ns.core("secrets"))
        .query("labelSelector", "on=yes")
        .query("fieldSelector", "metadata.name!=d")
        .ok(200)?
        .is("/kind", "SecretList")?
        .names(&["a", "c"])?;
    api.get(ns.core("secrets")).ok(200)?.names(&["b", "d"])?;
    api.delete(ns.core("secrets")).ok(200)?.names(&["b", "d"])?;
    api.get(ns.core("secrets")).ok(200)?.names(&[])?;
    api.delete(ns.core("secrets")).ok(200)?.names(&[])?;
    Ok(())
}

fn many_dry(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("delete-many-dry")?;
    api.post(ns.core("secrets"), &json!({"metadata": {"name": "a"}}))
        .ok(201)?;
    api.delete(ns.core("secrets"))
        .query("dryRun", "All")
        .ok(200)?
        .names(&["a"])?;
    api.get(ns.core("secrets")).ok(200)?.names(&["a"])?;
    Ok(())
}
