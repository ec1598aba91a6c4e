//! Label and field selectors.

use serde_json::json;

use crate::{
    api::{Api, idle_pod},
    case::Case,
    namespace::Namespace,
};

pub(super) const CASES: &[Case] = &[
    Case::new("selector: labels", labels),
    Case::new("selector: labels that are no selector", bad_labels),
    Case::new("selector: metadata fields of any kind", metadata_fields),
    Case::new("selector: fields of pods", pod_fields),
    Case::new("selector: type of secrets", secret_type),
    Case::new("selector: fields that are not supported", bad_fields),
    Case::new("selector: fields that are no selector", no_fields),
    Case::new("selector: both kinds at once", both),
];

fn labelled<'a>(api: &'a Api, prefix: &str) -> anyhow::Result<Namespace<'a>> {
    let ns = api.namespace(prefix)?;
    for (name, labels) in [
        ("a", json!({"app": "web", "tier": "front", "n": "1"})),
        ("b", json!({"app": "db", "n": "20"})),
        ("c", json!({"app": "web", "tier": ""})),
        ("d", json!({})),
    ] {
        let secret = json!({"metadata": {"name": name, "labels": labels}});
        api.post(ns.core("secrets"), &secret).ok(201)?;
    }
    Ok(ns)
}

fn labels(api: &Api) -> anyhow::Result<()> {
    let ns = labelled(api, "labels")?;
    for (selector, expected) in [
        ("app=web", &["a", "c"][..]),
        ("app==web", &["a", "c"]),
        ("app!=web", &["b", "d"]),
        ("app = web , tier = front", &["a"]),
        ("app in (web, db)", &["a", "b", "c"]),
        ("app in (web)", &["a", "c"]),
        ("app notin (web)", &["b", "d"]),
        ("tier", &["a", "c"]),
        ("!tier", &["b", "d"]),
        ("tier=", &["c"]),
        ("tier in ()", &["c"]),
        ("app,!tier", &["b"]),
        ("n>1", &["b"]),
        ("n<5", &["a"]),
        ("app=none", &[]),
        ("", &["a", "b", "c", "d"]),
    ] {
        api.get(ns.core("secrets"))
            .query("labelSelector", selector)
            .ok(200)?
            .names(expected)?;
    }
    Ok(())
}

fn bad_labels(api: &Api) -> anyhow::Result<()> {
    for (selector, part) in [
        ("app in web", "found 'web' expected: '('"),
        ("app in (web", "found '', expected: ',' or ')'"),
        (
            "app web",
            "found 'web', expected: in, notin, =, ==, !=, gt, lt",
        ),
        (
            "=web",
            "found '=', expected: !, identifier, or 'end of string'",
        ),
        ("app=we_b!", "found '!', expected: ',' or 'end of string'"),
        ("app=-web", "Invalid value: \"-web\""),
        ("-app", "Invalid value: \"-app\""),
        (
            "n>x",
            "for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        ("app,", "found '', expected: identifier after ','"),
    ] {
        api.get("/api/v1/secrets")
            .query("labelSelector", selector)
            .refused(400, "BadRequest")?
            .mentions(part)?;
    }
    Ok(())
}

fn metadata_fields(api: &Api) -> anyhow::Result<()> {
    let ns = labelled(api, "metadata-fields")?;
    for (selector, expected) in [
        ("metadata.name=b", &["b"][..]),
        ("metadata.name==b", &["b"]),
        ("metadata.name!=b", &["a", "c", "d"]),
        ("metadata.name!=b,metadata.name!=c", &["a", "d"]),
        ("metadata.name=none", &[]),
    ] {
        api.get(ns.core("secrets"))
            .query("fieldSelector", selector)
            .ok(200)?
            .names(expected)?;
    }
    api.get("/api/v1/secrets")
        .query("fieldSelector", &format!("metadata.namespace={}", ns.name))
        .ok(200)?
        .names(&["a", "b", "c", "d"])?;
    Ok(())
}

fn pod_fields(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("pod-fields")?;
    for (name, policy) in [("a", "Always"), ("b", "Never")] {
        let mut pod = idle_pod(name);
        pod["spec"]["restartPolicy"] = json!(policy);
        api.post(ns.core("pods"), &pod).ok(201)?;
    }
    for (selector, expected) in [
        ("status.phase=Pending", &["a", "b"][..]),
        ("status.phase!=Pending", &[]),
        ("spec.nodeName=", &["a", "b"]),
        ("spec.nodeName=nowhere", &[]),
        ("spec.restartPolicy=Never", &["b"]),
        ("spec.schedulerName=nobody", &["a", "b"]),
        ("spec.restartPolicy=Never,status.phase=Pending", &["b"]),
        ("spec.hostNetwork=false", &["a", "b"]),
    ] {
        api.get(ns.core("pods"))
            .query("fieldSelector", selector)
            .ok(200)?
            .names(expected)?;
    }
    Ok(())
}

fn secret_type(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("secret-type")?;
    let own = json!({"metadata": {"name": "own"}, "type": "example.com/own"});
    api.post(ns.core("secrets"), &own).ok(201)?;
    api.post(ns.core("secrets"), &json!({"metadata": {"name": "plain"}}))
        .ok(201)?
        .is("/type", "Opaque")?;
    api.get(ns.core("secrets"))
        .query("fieldSelector", "type=Opaque")
        .ok(200)?
        .names(&["plain"])?;
    Ok(())
}

fn bad_fields(api: &Api) -> anyhow::Result<()> {
    for (resource, selector, message) in [
        (
            "pods",
            "spec.color=red",
            "field label not supported: spec.color",
        ),
        (
            "configmaps",
            "data.k=v",
            "\"data.k\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        (
            "nodes",
            "status.phase=Ready",
            "field label not supported: status.phase",
        ),
    ] {
        api.get(format!("/api/v1/{resource}"))
            .query("fieldSelector", selector)
            .refused(400, "BadRequest")?
            .mentions(message)?;
    }
    Ok(())
}

fn no_fields(api: &Api) -> anyhow::Result<()> {
    api.get("/api/v1/pods")
        .query("fieldSelector", "spec.nodeName")
        .refused(400, "BadRequest")?
        .mentions("invalid selector: 'spec.nodeName'; can't understand 'spec.nodeName'")?;
    Ok(())
}

fn both(api: &Api) -> anyhow::Result<()> {
    let ns = labelled(api, "both-selectors")?;
    api.get(ns.core("secrets"))
        .query("labelSelector", "app=web")
        .query("fieldSelector", "metadata.name!=a")
        .ok(200)?
        .names(&["c"])?;
    Ok(())
}
