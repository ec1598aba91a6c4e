//! Watches.

use serde_json::json;

use crate::{
    api::{Api, configmap},
    case::Case,
};

pub(super) const CASES: &[Case] = &[
    Case::new("watch: from a revision", from_revision),
    Case::new(
        "watch: without a revision it begins with what there is",
        from_nothing,
    ),
    Case::new("watch: deletions carry the last state", deletion),
    Case::new(
        "watch: an object enters and leaves the selection",
        selection,
    ),
    Case::new("watch: one object by name", by_name),
    Case::new("watch: over all namespaces", all_namespaces),
    Case::new("watch: bookmarks", bookmarks),
    Case::new("watch: ends in time", ends),
    Case::new("watch: objects have their kind", kinds),
    Case::new("watch: a revision that is no number", no_number),
    Case::new("watch: a selector that is none", bad_selector),
    Case::new("watch: a match rule without initial events", match_rule),
];

fn from_revision(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("watch-from")?;
    let first = api
        .post(ns.core("secrets"), &json!({"metadata": {"name": "a"}}))
        .ok(201)?;
    api.post(ns.core("secrets"), &json!({"metadata": {"name": "b"}}))
        .ok(201)?;
    let patch = json!({"metadata": {"labels": {"l": "1"}}});
    let patched = api.patch("merge", ns.core("secrets/a"), &patch).ok(200)?;
    api.delete(ns.core("secrets/b")).ok(200)?;
    let mut events = api
        .get(ns.core("secrets"))
        .query("resourceVersion", &first.str("/metadata/resourceVersion")?)
        .query("timeoutSeconds", "30")
        .watch()?;
    events.expect("ADDED", "b")?;
    let modified = events.expect("MODIFIED", "a")?;
    patched.check(
        "the same object in the watch",
        modified["metadata"]["resourceVersion"].as_str().is_some()
            && modified["metadata"]["labels"]["l"] == "1",
    )?;
    events.expect("DELETED", "b")?;
    // And what comes now.
    api.post(ns.core("secrets"), &json!({"metadata": {"name": "c"}}))
        .ok(201)?;
    events.expect("ADDED", "c")?;
    Ok(())
}

fn from_nothing(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("watch-initial")?;
    for name in ["a", "b"] {
        api.post(ns.core("secrets"), &json!({"metadata": {"name": name}}))
            .ok(201)?;
    }
    for revision in ["", "0"] {
        let mut call = api.get(ns.core("secrets")).query("timeoutSeconds", "30");
        if !revision.is_empty() {
            call = call.query("resourceVersion", revision);
        }
        let mut events = call.watch()?;
        let mut names = Vec::new();
        for _ in 0..2 {
            let object = events.expect("ADDED", "")?;
            names.push(
                object["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
        // In no order.
        names.sort();
        anyhow::ensure!(names == ["a", "b"], "expected a and b, got {names:?}");
        let name = format!("new-{revision}");
        let name = name.trim_end_matches('-');
        api.post(ns.core("secrets"), &json!({"metadata": {"name": name}}))
            .ok(201)?;
        events.expect("ADDED", name)?;
        api.delete(ns.core(&format!("secrets/{name}"))).ok(200)?;
        events.expect("DELETED", name)?;
    }
    Ok(())
}

fn deletion(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("watch-delete")?;
    let made = api
        .post(ns.core("configmaps"), &configmap("a", json!({"k": "v"})))
        .ok(201)?;
    let before = made.revision()?;
    let mut events = api
        .get(ns.core("configmaps"))
        .query("resourceVersion", &before.to_string())
        .query("timeoutSeconds", "30")
        .query("fieldSelector", "metadata.name=a")
        .watch()?;
    api.delete(ns.core("configmaps/a")).ok(200)?;
    let gone = events.expect("DELETED", "a")?;
    // With the revision of its deletion, so that a watch can go on from there.
    let after: u64 = gone["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default()
        .parse()?;
    anyhow::ensure!(
        after > before && gone["data"] == json!({"k": "v"}),
        "expected the last state at a revision after {before}, got {gone}"
    );
    Ok(())
}

fn selection(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("watch-selection")?;
    let made = api
        .post(ns.core("secrets"), &json!({"metadata": {"name": "a"}}))
        .ok(201)?;
    let mut events = api
        .get(ns.core("secrets"))
        .query("labelSelector", "on=yes")
        .query("resourceVersion", &made.str("/metadata/resourceVersion")?)
        .query("timeoutSeconds", "30")
        .watch()?;
    let set = |value: serde_json::Value| {
        api.patch(
            "merge",
            ns.core("secrets/a"),
            &json!({"metadata": {"labels": {"on": value}}}),
        )
        .ok(200)
    };
    set(json!("yes"))?;
    events.expect("ADDED", "a")?;
    api.patch(
        "merge",
        ns.core("secrets/a"),
        &json!({"stringData": {"k": "v"}}),
    )
    .ok(200)?;
    events.expect("MODIFIED", "a")?;
    let left = set(json!("no"))?.str("/metadata/resourceVersion")?;
    let gone = events.expect("DELETED", "a")?;
    // The state before, at the revision at which it left.
    anyhow::ensure!(
        gone["metadata"]["resourceVersion"] == left.as_str()
            && gone["metadata"]["labels"]["on"] == "yes",
        "expected label on=yes at {left}, got {gone}"
    );
    api.delete(ns.core("secrets/a")).ok(200)?;
    api.post(
        ns.core("secrets"),
        &json!({"metadata": {"name": "b", "labels": {"on": "yes"}}}),
    )
    .ok(201)?;
    events.expect("ADDED", "b")?;
    Ok(())
}

fn by_name(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("watch-name")?;
    for name in ["a", "b"] {
        api.post(ns.core("secrets"), &json!({"metadata": {"name": name}}))
            .ok(201)?;
    }
    let mut events = api
        .get(ns.core("secrets"))
        .query("fieldSelector", "metadata.name=b")
        .query("timeoutSeconds", "30")
        .watch()?;
    events.expect("ADDED", "b")?;
    api.delete(ns.core("secrets/a")).ok(200)?;
    api.delete(ns.core("secrets/b")).ok(200)?;
    events.expect("DELETED", "b")?;
    Ok(())
}

fn all_namespaces(api: &Api) -> anyhow::Result<()> {
    let (one, two) = (api.namespace("watch-one")?, api.namespace("watch-two")?);
    let label = one.name.as_str();
    let mut events = api
        .get("/api/v1/secrets")
        .query("labelSelector", &format!("case={label}"))
        .query("timeoutSeconds", "30")
        .watch()?;
    for ns in [&one, &two] {
        let secret = json!({"metadata": {"name": "a", "labels": {"case": label}}});
        api.post(ns.core("secrets"), &secret).ok(201)?;
        let seen = events.expect("ADDED", "a")?;
        anyhow::ensure!(
            seen["metadata"]["namespace"] == ns.name.as_str(),
            "expected namespace {}, got {seen}",
            ns.name
        );
    }
    Ok(())
}

fn bookmarks(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("watch-bookmarks")?;
    let made = api
        .post(ns.core("secrets"), &json!({"metadata": {"name": "a"}}))
        .ok(201)?;
    // A server sends one shortly before the time is up.
    let mut events = api
        .get(ns.core("secrets"))
        .query("resourceVersion", &made.str("/metadata/resourceVersion")?)
        .query("allowWatchBookmarks", "true")
        .query("timeoutSeconds", "5")
        .watch()?;
    let object = events.expect("BOOKMARK", "")?;
    let revision: u64 = object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default()
        .parse()?;
    let fits = object["kind"] == "Secret"
        && object["apiVersion"] == "v1"
        && revision >= made.revision()?
        && object["metadata"].get("annotations").is_none()
        && object["metadata"].get("name").is_none();
    anyhow::ensure!(fits, "expected a Secret with a revision only, got {object}");
    events.expect_end()
}

fn ends(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("watch-ends")?;
    let mut events = api
        .get(ns.core("secrets"))
        .query("timeoutSeconds", "1")
        .watch()?;
    events.expect_end()
}

fn kinds(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("watch-kinds")?;
    api.post(ns.apps("deployments"), &crate::api::deployment("a"))
        .ok(201)?;
    let mut events = api
        .get(ns.apps("deployments"))
        .query("timeoutSeconds", "30")
        .watch()?;
    let object = events.expect("ADDED", "a")?;
    anyhow::ensure!(
        object["kind"] == "Deployment" && object["apiVersion"] == "apps/v1",
        "expected kind and version, got {object}"
    );
    Ok(())
}

fn no_number(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("watch-no-number")?;
    api.get(ns.core("secrets"))
        .query("watch", "true")
        .query("resourceVersion", "one")
        .query("timeoutSeconds", "5")
        .refused(500, "")?
        .says("resourceVersion: Invalid value: \"one\": strconv.ParseUint: parsing \"one\": invalid syntax")?;
    Ok(())
}

fn bad_selector(api: &Api) -> anyhow::Result<()> {
    api.get("/api/v1/pods")
        .query("watch", "true")
        .query("fieldSelector", "spec.color=red")
        .query("timeoutSeconds", "5")
        .refused(400, "BadRequest")?
        .mentions("field label not supported: spec.color")?;
    Ok(())
}

fn match_rule(api: &Api) -> anyhow::Result<()> {
    api.get("/api/v1/pods")
        .query("watch", "true")
        .query("resourceVersion", "1")
        .query("resourceVersionMatch", "NotOlderThan")
        .query("timeoutSeconds", "5")
        .refused(422, "Invalid")?
        .about("meta.k8s.io", "ListOptions", "")?
        .causes(&[("FieldValueForbidden", "resourceVersionMatch")])?
        .mentions(
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        )?;
    Ok(())
}
