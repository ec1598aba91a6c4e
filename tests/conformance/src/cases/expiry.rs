//! What outlived its revision: 410, and how a client goes on.

use anyhow::Context as _;
use serde_json::json;

use crate::{api::Api, case::Case};

pub(super) const CASES: &[Case] = &[
    Case::new("expiry: a token goes on with the newest state", token).compacts(),
    Case::new("expiry: an exact list", exact).compacts(),
    Case::new("expiry: a watch from before the beginning", watch),
];

fn token(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("expired-token")?;
    for name in ["a", "b", "c"] {
        api.post(ns.core("secrets"), &json!({"metadata": {"name": name}}))
            .ok(201)?;
    }
    let first = api
        .get(ns.core("secrets"))
        .query("limit", "1")
        .ok(200)?
        .names(&["a"])?;
    let token = first.str("/metadata/continue")?;
    api.post(ns.core("secrets"), &json!({"metadata": {"name": "d"}}))
        .ok(201)?;
    let old = || api.get(ns.core("secrets")).query("continue", &token);
    api.until_compacted(|| Ok(old().send()?.status != 200))?;
    let refused = old().refused(410, "Expired")?.mentions(
        "The provided continue parameter is too old to display a consistent list result.",
    )?;
    let list = api
        .get(ns.core("secrets"))
        .query("continue", &refused.str("/metadata/continue")?)
        .ok(200)?
        .names(&["b", "c", "d"])?;
    let fits = list.revision()? > first.revision()?;
    list.check("a newer resourceVersion than the first page", fits)?;
    Ok(())
}

fn exact(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("expired-exact")?;
    let made = api
        .post(ns.core("secrets"), &json!({"metadata": {"name": "a"}}))
        .ok(201)?
        .str("/metadata/resourceVersion")?;
    api.delete(ns.core("secrets/a")).ok(200)?;
    let old = || {
        api.get(ns.core("secrets"))
            .query("resourceVersion", &made)
            .query("resourceVersionMatch", "Exact")
    };
    api.until_compacted(|| Ok(old().send()?.status != 200))?;
    old()
        .refused(410, "Expired")?
        .says("The resourceVersion for the provided list is too old.")?;
    Ok(())
}

fn watch(api: &Api) -> anyhow::Result<()> {
    // The first revisions are from before the server had a cache of anything.
    let mut events = api
        .get("/api/v1/namespaces")
        .query("resourceVersion", "1")
        .query("timeoutSeconds", "5")
        .watch()?;
    let status = events.expect("ERROR", "")?;
    let fits = status["kind"] == "Status"
        && status["code"] == 410
        && status["reason"] == "Expired"
        && status["status"] == "Failure"
        && status["message"]
            .as_str()
            .is_some_and(|message| message.starts_with("too old resource version: 1 ("));
    anyhow::ensure!(fits, "expected a Status 410 Expired, got {status}");
    events.expect_end().context("after the error")
}
