//! What outlived its revision: 410, and how a client goes on.

use serde_json::json;

use crate::{api::Api, case::Case};

pub(super) const CASES: &[Case] = &[
    Case::new("expiry: a token goes on with the newest state", token).compacts(),
    Case::new("expiry: an exact list", exact).compacts(),
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
