//! `resourceVersion` and `resourceVersionMatch` of get and list.

use serde_json::json;

use crate::{
    api::{Api, Reply, configmap},
    case::Case,
    namespace::Namespace,
};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "revision: grows with every change, and only with changes",
        grows,
    ),
    Case::new("revision: get from 0 and from a known one", get),
    Case::new("revision: list from 0", zero),
    Case::new("revision: list of exactly one", exact),
    Case::new("revision: list not older than one", not_older),
    Case::new("revision: a limit and no rule means exactly", legacy_exact),
    Case::new("revision: combinations that are invalid", invalid),
    Case::new("revision: one that is no number", no_number),
    Case::new("revision: too large for a list", too_large_list),
    Case::new("revision: too large for a get", too_large_get),
    Case::new("revision: too large and exact", too_large_exact),
];

/// Makes a Secret.
fn secret(api: &Api, ns: &Namespace<'_>, name: &str) -> anyhow::Result<Reply> {
    api.post(ns.core("secrets"), &json!({"metadata": {"name": name}}))
        .ok(201)
}

fn grows(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("revision-grows")?;
    let made = api
        .post(ns.core("configmaps"), &configmap("a", json!({"k": "1"})))
        .ok(201)?
        .revision()?;
    let patch = json!({"data": {"k": "2"}});
    let changed = api
        .patch("merge", ns.core("configmaps/a"), &patch)
        .ok(200)?;
    let now = changed.revision()?;
    changed.check("a larger resourceVersion", now > made)?;
    // The same again is no change.
    api.patch("merge", ns.core("configmaps/a"), &patch)
        .ok(200)?
        .is("/metadata/resourceVersion", now.to_string())?;
    Ok(())
}

fn get(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("revision-get")?;
    let made = api
        .post(ns.core("configmaps"), &configmap("a", json!({})))
        .ok(201)?
        .str("/metadata/resourceVersion")?;
    // From 0 the cache answers, which may not have it yet; not older than its creation, it must.
    api.get(ns.core("configmaps/a"))
        .query("resourceVersion", &made)
        .ok(200)?
        .is("/metadata/resourceVersion", made.as_str())?;
    api.get(ns.core("configmaps/a"))
        .query("resourceVersion", "0")
        .ok(200)?
        .is("/metadata/name", "a")?;
    Ok(())
}

fn zero(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("revision-zero")?;
    let made = secret(api, &ns, "a")?;
    api.get(ns.core("secrets"))
        .query("resourceVersion", &made.str("/metadata/resourceVersion")?)
        .ok(200)?
        .names(&["a"])?;
    for rule in ["", "NotOlderThan"] {
        let mut call = api.get(ns.core("secrets")).query("resourceVersion", "0");
        if !rule.is_empty() {
            call = call.query("resourceVersionMatch", rule);
        }
        let list = call.ok(200)?.names(&["a"])?;
        let fits = list.revision()? >= made.revision()?;
        list.check("a list not older than what it shows", fits)?;
    }
    Ok(())
}

fn exact(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("revision-exact")?;
    let first = secret(api, &ns, "a")?.str("/metadata/resourceVersion")?;
    secret(api, &ns, "b")?;
    api.delete(ns.core("secrets/a")).ok(200)?;
    api.get(ns.core("secrets"))
        .query("resourceVersion", &first)
        .query("resourceVersionMatch", "Exact")
        .ok(200)?
        .names(&["a"])?
        .is("/metadata/resourceVersion", first.as_str())?;
    api.get(ns.core("secrets")).ok(200)?.names(&["b"])?;
    Ok(())
}

fn not_older(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("revision-not-older")?;
    let first = secret(api, &ns, "a")?;
    let second = secret(api, &ns, "b")?;
    for (revision, rule) in [
        (second.str("/metadata/resourceVersion")?, "NotOlderThan"),
        (second.str("/metadata/resourceVersion")?, ""),
        (first.str("/metadata/resourceVersion")?, "NotOlderThan"),
    ] {
        let mut call = api
            .get(ns.core("secrets"))
            .query("resourceVersion", &revision);
        if !rule.is_empty() {
            call = call.query("resourceVersionMatch", rule);
        }
        // By now the cache has both.
        let list = call.ok(200)?.names(&["a", "b"])?;
        let fits = list.revision()? >= second.revision()?;
        list.check("a list not older than asked", fits)?;
    }
    Ok(())
}

fn legacy_exact(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("revision-legacy")?;
    let first = secret(api, &ns, "a")?.str("/metadata/resourceVersion")?;
    secret(api, &ns, "b")?;
    api.get(ns.core("secrets"))
        .query("resourceVersion", &first)
        .query("limit", "5")
        .ok(200)?
        .names(&["a"])?
        .is("/metadata/resourceVersion", first.as_str())?;
    Ok(())
}

fn invalid(api: &Api) -> anyhow::Result<()> {
    const FORBIDDEN: (&str, &str) = ("FieldValueForbidden", "resourceVersionMatch");
    for (query, causes, part) in [
        (
            "resourceVersionMatch=Exact",
            &[FORBIDDEN][..],
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersionMatch=NotOlderThan",
            &[FORBIDDEN],
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Exact",
            &[FORBIDDEN],
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        (
            "resourceVersion=1&resourceVersionMatch=exactly",
            &[("FieldValueNotSupported", "resourceVersionMatch")],
            "Unsupported value: \"exactly\"",
        ),
        (
            "sendInitialEvents=true",
            &[("FieldValueForbidden", "sendInitialEvents")],
            "sendInitialEvents is forbidden for list",
        ),
    ] {
        api.get(format!("/api/v1/secrets?{query}"))
            .refused(422, "Invalid")?
            .about("meta.k8s.io", "ListOptions", "")?
            .causes(causes)?
            .mentions(part)?;
    }
    Ok(())
}

fn no_number(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("revision-no-number")?;
    api.get(ns.core("secrets"))
        .query("resourceVersion", "one")
        .refused(400, "BadRequest")?
        .says("invalid resource version: resourceVersion: Invalid value: \"one\": strconv.ParseUint: parsing \"one\": invalid syntax")?;
    Ok(())
}

fn too_large_list(api: &Api) -> anyhow::Result<()> {
    api.get("/api/v1/secrets")
        .query("resourceVersion", "9000000000")
        .refused(504, "Timeout")?
        .mentions("Timeout: Too large resource version: 9000000000, current: ")?
        .causes(&[("ResourceVersionTooLarge", "")])?
        .is("/details/retryAfterSeconds", 1)?;
    Ok(())
}

fn too_large_get(api: &Api) -> anyhow::Result<()> {
    api.get("/api/v1/namespaces/default")
        .query("resourceVersion", "9000000000")
        .refused(504, "Timeout")?
        .mentions("Timeout: Too large resource version: 9000000000, current: ")?
        .causes(&[("ResourceVersionTooLarge", "")])?;
    Ok(())
}

fn too_large_exact(api: &Api) -> anyhow::Result<()> {
    api.get("/api/v1/secrets")
        .query("resourceVersion", "9000000000")
        .query("resourceVersionMatch", "Exact")
        .refused(504, "Timeout")?
        .causes(&[("ResourceVersionTooLarge", "")])?;
    Ok(())
}
