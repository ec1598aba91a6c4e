//! Lists page by page.

use serde_json::json;

use crate::{api::Api, case::Case, namespace::Namespace};

pub(super) const CASES: &[Case] = &[
    Case::new("pagination: pages of one list", pages),
    Case::new("pagination: pages show the state of the first", consistent),
    Case::new("pagination: a limit that is not reached", not_reached),
    Case::new(
        "pagination: with a selector nobody counts the rest",
        selector,
    ),
    Case::new("pagination: over all namespaces", all_namespaces),
    Case::new("pagination: garbage for a token", garbage),
    Case::new("pagination: token and revision", token_and_revision),
    Case::new("pagination: token and match rule", token_and_match),
    Case::new("pagination: a limit that is no number", no_number),
    Case::new("pagination: a limit below zero", negative),
    Case::new("pagination: from the cache there are pages too", from_cache),
];

fn filled<'a>(api: &'a Api, prefix: &str) -> anyhow::Result<Namespace<'a>> {
    let ns = api.namespace(prefix)?;
    for i in 0..5 {
        let secret = json!({
            "metadata": {"name": format!("s-{i}"), "labels": {"odd": (i % 2 == 1).to_string()}},
        });
        api.post(ns.core("secrets"), &secret).ok(201)?;
    }
    Ok(ns)
}

fn pages(api: &Api) -> anyhow::Result<()> {
    let ns = filled(api, "pages")?;
    let first = api
        .get(ns.core("secrets"))
        .query("limit", "2")
        .ok(200)?
        .names(&["s-0", "s-1"])?
        .is("/metadata/remainingItemCount", 3)?;
    let revision = first.str("/metadata/resourceVersion")?;
    let second = api
        .get(ns.core("secrets"))
        .query("limit", "2")
        .query("continue", &first.str("/metadata/continue")?)
        .ok(200)?
        .names(&["s-2", "s-3"])?
        .is("/metadata/remainingItemCount", 1)?
        .is("/metadata/resourceVersion", revision.as_str())?;
    api.get(ns.core("secrets"))
        .query("limit", "2")
        .query("continue", &second.str("/metadata/continue")?)
        .ok(200)?
        .names(&["s-4"])?
        .lacks("/metadata/remainingItemCount")?
        .lacks("/metadata/continue")?
        .is("/metadata/resourceVersion", revision.as_str())?;
    // The rest in one go, and a token is good for more than one use.
    api.get(ns.core("secrets"))
        .query("continue", &first.str("/metadata/continue")?)
        .ok(200)?
        .names(&["s-2", "s-3", "s-4"])?
        .lacks("/metadata/continue")?;
    Ok(())
}

fn consistent(api: &Api) -> anyhow::Result<()> {
    let ns = filled(api, "consistent")?;
    let first = api.get(ns.core("secrets")).query("limit", "2").ok(200)?;
    let token = first.str("/metadata/continue")?;
    api.delete(ns.core("secrets/s-3")).ok(200)?;
    api.post(ns.core("secrets"), &json!({"metadata": {"name": "s-33"}}))
        .ok(201)?;
    api.patch(
        "merge",
        ns.core("secrets/s-4"),
        &json!({"metadata": {"labels": {"new": "1"}}}),
    )
    .ok(200)?;
    api.get(ns.core("secrets"))
        .query("continue", &token)
        .ok(200)?
        .names(&["s-2", "s-3", "s-4"])?
        .lacks("/items/2/metadata/labels/new")?
        .is(
            "/metadata/resourceVersion",
            first.str("/metadata/resourceVersion")?,
        )?;
    api.get(ns.core("secrets"))
        .ok(200)?
        .names(&["s-0", "s-1", "s-2", "s-33", "s-4"])?;
    Ok(())
}

fn not_reached(api: &Api) -> anyhow::Result<()> {
    let ns = filled(api, "not-reached")?;
    for limit in ["5", "6"] {
        api.get(ns.core("secrets"))
            .query("limit", limit)
            .ok(200)?
            .names(&["s-0", "s-1", "s-2", "s-3", "s-4"])?
            .lacks("/metadata/continue")?
            .lacks("/metadata/remainingItemCount")?;
    }
    Ok(())
}

fn selector(api: &Api) -> anyhow::Result<()> {
    let ns = filled(api, "limit-selector")?;
    let first = api
        .get(ns.core("secrets"))
        .query("limit", "2")
        .query("labelSelector", "odd=false")
        .ok(200)?
        .names(&["s-0", "s-2"])?
        .lacks("/metadata/remainingItemCount")?;
    api.get(ns.core("secrets"))
        .query("limit", "2")
        .query("labelSelector", "odd=false")
        .query("continue", &first.str("/metadata/continue")?)
        .ok(200)?
        .names(&["s-4"])?
        .lacks("/metadata/continue")?;
    Ok(())
}

fn all_namespaces(api: &Api) -> anyhow::Result<()> {
    let (one, two) = (filled(api, "every-one")?, filled(api, "every-two")?);
    let mut token = String::new();
    let mut seen = 0;
    loop {
        let mut call = api.get("/api/v1/secrets").query("limit", "3");
        if !token.is_empty() {
            call = call.query("continue", &token);
        }
        let page = call.ok(200)?;
        for item in crate::api::items(page.at("/items")) {
            let namespace = item["metadata"]["namespace"].as_str().unwrap_or_default();
            seen += u32::from([&one.name, &two.name].iter().any(|name| *name == namespace));
        }
        match page.at("/metadata/continue").as_str() {
            Some(next) => token = next.to_owned(),
            None => {
                page.check(
                    "the ten secrets of this case on all pages together",
                    seen == 10,
                )?;
                return Ok(());
            }
        }
    }
}

fn garbage(api: &Api) -> anyhow::Result<()> {
    let ns = api.namespace("garbage")?;
    for token in ["garbage", "!!", "bm9uc2Vuc2U", "e30"] {
        api.get(ns.core("secrets"))
            .query("limit", "2")
            .query("continue", token)
            .refused(400, "BadRequest")?
            .mentions("continue key is not valid")?;
    }
    Ok(())
}

fn token_and_revision(api: &Api) -> anyhow::Result<()> {
    let ns = filled(api, "token-revision")?;
    let first = api.get(ns.core("secrets")).query("limit", "2").ok(200)?;
    let token = first.str("/metadata/continue")?;
    api.get(ns.core("secrets"))
        .query("continue", &token)
        .query("resourceVersion", &first.str("/metadata/resourceVersion")?)
        .refused(400, "BadRequest")?
        .says("specifying resource version is not allowed when using continue")?;
    // 0 is let pass, for clients that always send it.
    api.get(ns.core("secrets"))
        .query("continue", &token)
        .query("resourceVersion", "0")
        .ok(200)?
        .names(&["s-2", "s-3", "s-4"])?;
    Ok(())
}

fn token_and_match(api: &Api) -> anyhow::Result<()> {
    let ns = filled(api, "token-match")?;
    let first = api.get(ns.core("secrets")).query("limit", "2").ok(200)?;
    api.get(ns.core("secrets"))
        .query("continue", &first.str("/metadata/continue")?)
        .query("resourceVersion", "0")
        .query("resourceVersionMatch", "NotOlderThan")
        .refused(422, "Invalid")?
        .about("meta.k8s.io", "ListOptions", "")?
        .causes(&[("FieldValueForbidden", "resourceVersionMatch")])?
        .mentions("resourceVersionMatch is forbidden when continue is provided")?;
    Ok(())
}

fn no_number(api: &Api) -> anyhow::Result<()> {
    api.get("/api/v1/secrets")
        .query("limit", "many")
        .refused(400, "BadRequest")?
        .mentions("strconv.ParseInt: parsing \"many\": invalid syntax")?;
    Ok(())
}

fn negative(api: &Api) -> anyhow::Result<()> {
    let ns = filled(api, "negative")?;
    api.get(ns.core("secrets"))
        .query("limit", "-1")
        .ok(200)?
        .names(&["s-0", "s-1", "s-2", "s-3", "s-4"])?
        .lacks("/metadata/continue")?;
    Ok(())
}

fn from_cache(api: &Api) -> anyhow::Result<()> {
    let ns = filled(api, "from-cache")?;
    // The cache may be a moment behind, and any state is good for revision 0: wait until it has the last secret.
    let now = api.get(ns.core("secrets")).ok(200)?;
    api.get(ns.core("secrets"))
        .query("resourceVersion", &now.str("/metadata/resourceVersion")?)
        .query("resourceVersionMatch", "NotOlderThan")
        .ok(200)?;
    // A list from the cache has always been whole, whatever the limit.
    api.get(ns.core("secrets"))
        .query("limit", "2")
        .query("resourceVersion", "0")
        .ok(200)?
        .names(&["s-0", "s-1", "s-2", "s-3", "s-4"])?
        .lacks("/metadata/continue")?;
    Ok(())
}
