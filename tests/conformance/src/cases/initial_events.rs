//! Watches that begin with a consistent state: `sendInitialEvents`.

use serde_json::{Value, json};

use crate::{
    api::{Api, Call},
    case::Case,
    namespace::Namespace,
};

pub(super) const CASES: &[Case] = &[
    Case::new("initial events: what there is, then a bookmark", whole),
    Case::new("initial events: of nothing", nothing),
    Case::new("initial events: not older than a revision", not_older),
    Case::new("initial events: of a selection", selection),
    Case::new("initial events: declined", declined),
    Case::new("initial events: without a match rule", no_rule),
    Case::new("initial events: with another match rule", other_rule),
    Case::new("initial events: without bookmarks", no_bookmarks),
    Case::new("initial events: a revision that is too large", too_large),
];

fn list_watch<'a>(api: &'a Api, ns: &Namespace<'_>) -> Call<'a> {
    api.get(ns.core("secrets"))
        .query("sendInitialEvents", "true")
        .query("resourceVersionMatch", "NotOlderThan")
        .query("allowWatchBookmarks", "true")
        .query("timeoutSeconds", "30")
}

fn is_end(object: &Value) -> anyhow::Result<u64> {
    anyhow::ensure!(
        object["kind"] == "Secret"
            && object["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true",
        "expected the bookmark that ends the initial events, got {object}"
    );
    let revision = object["metadata"]["resourceVersion"].as_str();
    Ok(revision.unwrap_or_default().parse()?)
}

fn whole(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("initial-events")?;
    let mut last = 0;
    for name in ["a", "b"] {
        last = api
            .post(ns.core("secrets"), &json!({"metadata": {"name": name}}))
            .ok(201)?
            .revision()?;
    }
    let mut events = list_watch(api, &ns).watch()?;
    events.expect("ADDED", "a")?;
    events.expect("ADDED", "b")?;
    let revision = is_end(&events.expect("BOOKMARK", "")?)?;
    anyhow::ensure!(
        revision >= last,
        "expected a state not older than {last}, got {revision}"
    );
    api.delete(ns.core("secrets/a")).ok(200)?;
    events.expect_change("DELETED", "a")?;
    Ok(())
}

fn nothing(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("initial-nothing")?;
    let mut events = list_watch(api, &ns).watch()?;
    is_end(&events.expect("BOOKMARK", "")?)?;
    Ok(())
}

fn not_older(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("initial-not-older")?;
    let made = api
        .post(ns.core("secrets"), &json!({"metadata": {"name": "a"}}))
        .ok(201)?
        .str("/metadata/resourceVersion")?;
    let mut events = list_watch(api, &ns)
        .query("resourceVersion", &made)
        .watch()?;
    events.expect("ADDED", "a")?;
    is_end(&events.expect("BOOKMARK", "")?)?;
    Ok(())
}

fn selection(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("initial-selection")?;
    for name in ["a", "b"] {
        let secret = json!({"metadata": {"name": name, "labels": {"name": name}}});
        api.post(ns.core("secrets"), &secret).ok(201)?;
    }
    let mut events = list_watch(api, &ns)
        .query("labelSelector", "name=b")
        .watch()?;
    events.expect("ADDED", "b")?;
    is_end(&events.expect("BOOKMARK", "")?)?;
    Ok(())
}

fn declined(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("initial-declined")?;
    let made = api
        .post(ns.core("secrets"), &json!({"metadata": {"name": "a"}}))
        .ok(201)?
        .str("/metadata/resourceVersion")?;
    let mut events = api
        .get(ns.core("secrets"))
        .query("sendInitialEvents", "false")
        .query("resourceVersionMatch", "NotOlderThan")
        .query("resourceVersion", &made)
        .query("allowWatchBookmarks", "true")
        .query("timeoutSeconds", "30")
        .watch()?;
    api.post(ns.core("secrets"), &json!({"metadata": {"name": "b"}}))
        .ok(201)?;
    events.expect_change("ADDED", "b")?;
    Ok(())
}

fn no_rule(api: &Api) -> anyhow::Result<()> {
    for initial in ["true", "false"] {
        api.get("/api/v1/secrets")
            .query("watch", "true")
            .query("sendInitialEvents", initial)
            .query("allowWatchBookmarks", "true")
            .query("timeoutSeconds", "5")
            .refused(422, "Invalid")?
            .about("meta.k8s.io", "ListOptions", "")?
            .causes(&[("FieldValueForbidden", "resourceVersionMatch")])?
            .says("ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")?;
    }
    Ok(())
}

fn other_rule(api: &Api) -> anyhow::Result<()> {
    api.get("/api/v1/secrets")
        .query("watch", "true")
        .query("sendInitialEvents", "true")
        .query("resourceVersion", "1")
        .query("resourceVersionMatch", "Exact")
        .query("allowWatchBookmarks", "true")
        .query("timeoutSeconds", "5")
        .refused(422, "Invalid")?
        .causes(&[
            ("FieldValueForbidden", "resourceVersionMatch"),
            ("FieldValueNotSupported", "resourceVersionMatch"),
        ])?;
    Ok(())
}

fn no_bookmarks(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("initial-no-bookmarks")?;
    api.post(ns.core("secrets"), &json!({"metadata": {"name": "a"}}))
        .ok(201)?;
    // Allowed: the state comes, and its end goes unmarked.
    let mut events = api
        .get(ns.core("secrets"))
        .query("sendInitialEvents", "true")
        .query("resourceVersionMatch", "NotOlderThan")
        .query("timeoutSeconds", "3")
        .watch()?;
    events.expect("ADDED", "a")?;
    let next = events.next()?;
    anyhow::ensure!(
        next.is_none(),
        "expected the end of the watch, got {next:?}"
    );
    Ok(())
}

fn too_large(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("initial-too-large")?;
    // The answer has begun by the time the server gives up waiting.
    let mut events = list_watch(api, &ns)
        .query("resourceVersion", "9000000000")
        .watch()?;
    let status = events.expect("ERROR", "")?;
    let fits = status["code"] == 504
        && status["reason"] == "Timeout"
        && status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
        && status["message"].as_str().is_some_and(|message| {
            message.starts_with("Timeout: Too large resource version: 9000000000, current: ")
        });
    anyhow::ensure!(fits, "expected a Status 504 Timeout, got {status}");
    events.expect_end()
}
