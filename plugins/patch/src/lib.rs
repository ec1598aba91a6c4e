//! kperf's `patch`: patches random objects `<name>-0` to `<name>-<keySpaceSize - 1>`, all with the same body.

use kperf_sdk::generator::prelude::*;
use kube_requests::{KeySpace, Resource, base_query};

/// Which objects to patch, and how.
#[derive(Deserialize, JsonSchema)]
#[serde(
    crate = "kperf_sdk::serde",
    rename_all = "camelCase",
    deny_unknown_fields
)]
struct Config {
    /// API group; empty for the core group.
    #[serde(default)]
    group: String,
    /// API version, for example `v1`.
    #[schemars(length(min = 1))]
    version: String,
    /// Plural lower-case name, for example `configmaps`.
    #[schemars(length(min = 1))]
    resource: String,
    /// Namespace; empty for objects that have none.
    #[serde(default)]
    namespace: String,
    /// Objects are named `<name>-<number>`.
    #[schemars(length(min = 1))]
    name: String,
    /// How many objects there are.
    #[schemars(range(min = 1))]
    key_space_size: i64,
    /// Kind of the patch, which decides the content type.
    #[schemars(extend("enum" = ["json", "merge", "strategic-merge"]))]
    patch_type: String,
    /// The patch, as JSON.
    #[schemars(length(min = 1))]
    body: String,
}

struct Patch {
    template: TemplateId,
    keys: KeySpace,
}

/// The content type of kperf's patch types.
fn content_type(patch_type: &str) -> Result<&'static str, Failure> {
    match patch_type {
        "json" => Ok("application/json-patch+json"),
        "merge" => Ok("application/merge-patch+json"),
        "strategic-merge" => Ok("application/strategic-merge-patch+json"),
        other => Err(Failure::invalid_config(
            "patchType",
            format!("unknown patch type: {other} (valid types: json, merge, strategic-merge)"),
        )),
    }
}

impl Generator for Patch {
    type Config = Config;

    fn default_config() -> Option<Value> {
        Some(json!({
            "version": "v1",
            "resource": "configmaps",
            "namespace": "ns-0",
            "name": "cm",
            "keySpaceSize": 100,
            "patchType": "merge",
            "body": "{\"data\":{\"k\":\"v\"}}"
        }))
    }

    fn open(
        context: &OpenContext,
        config: Config,
        templates: &mut Templates,
    ) -> Result<Self, Failure> {
        let resource = Resource::new(&config.group, &config.version, &config.resource)?;
        if config.name.is_empty() {
            return Err(Failure::invalid_config("name", "name is required"));
        }
        let body = config.body.trim();
        if body.is_empty() {
            return Err(Failure::invalid_config("body", "body is required"));
        }
        let content_type = content_type(&config.patch_type)?;
        if serde_json::from_str::<serde::de::IgnoredAny>(body).is_err() {
            let message = format!("invalid JSON in patch body: {:?}", config.body);
            return Err(Failure::invalid_config("body", message));
        }
        let keys = KeySpace::new(
            context,
            &resource.path(&config.namespace),
            &config.name,
            config.key_space_size,
            &base_query(context),
        )?;
        let template = keys
            .template("PATCH")
            .header("content-type", content_type)
            .body(body);
        Ok(Self {
            template: templates.add(template),
            keys,
        })
    }

    fn next(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        while batch.has_room() {
            let key = self.keys.choose();
            batch.request(self.template).path(self.keys.path(key));
        }
        Ok(())
    }
}

kperf_sdk::export_generator!(Patch);

#[cfg(test)]
mod tests {
    use super::*;
    use kperf_sdk::testing;

    fn with(key: &str, value: Value) -> Value {
        let mut config = Patch::default_config().unwrap();
        config[key] = value;
        config
    }

    #[test]
    fn series_is_masked_and_paths_are_kperfs() {
        let opened = testing::open::<Patch>(with("namespace", json!("ns1"))).unwrap();
        let (requests, _) = opened.next(500).unwrap();
        assert_eq!(requests.len(), 500);
        for request in &requests {
            assert_eq!(
                request.series,
                "PATCH /api/v1/namespaces/ns1/configmaps/:name?timeout=1m0s"
            );
            assert_eq!(request.method, "PATCH");
            assert_eq!(request.body, r#"{"data":{"k":"v"}}"#);
            let key = request
                .path
                .strip_prefix("/api/v1/namespaces/ns1/configmaps/cm-")
                .and_then(|rest| rest.strip_suffix("?timeout=1m0s"))
                .unwrap();
            assert!(key.parse::<u32>().unwrap() < 100);
        }
        let paths: std::collections::BTreeSet<_> = requests.iter().map(|r| &r.path).collect();
        assert!(paths.len() > 95, "{}", paths.len());
    }

    #[test]
    fn the_content_type_follows_the_patch_type() {
        for (patch_type, content_type) in [
            ("json", "application/json-patch+json"),
            ("merge", "application/merge-patch+json"),
            ("strategic-merge", "application/strategic-merge-patch+json"),
        ] {
            let opened = testing::open::<Patch>(with("patchType", json!(patch_type))).unwrap();
            let header = &opened.templates[0].headers[0];
            assert_eq!(
                (header.key.as_str(), header.value.as_str()),
                ("content-type", content_type)
            );
        }
    }

    #[test]
    fn the_body_is_trimmed() {
        let opened = testing::open::<Patch>(with("body", json!("  {\"a\": 1}\n"))).unwrap();
        assert_eq!(opened.templates[0].body, b"{\"a\": 1}");
    }

    #[test]
    fn wrong_fields_are_refused_in_kperfs_words() {
        for (key, value, message) in [
            ("version", json!(""), "kube metadata: version is required"),
            ("resource", json!(""), "kube metadata: resource is required"),
            ("name", json!(""), "name is required"),
            ("body", json!(" \n"), "body is required"),
            (
                "patchType",
                json!("apply"),
                "unknown patch type: apply (valid types: json, merge, strategic-merge)",
            ),
            (
                "body",
                json!("{\"a\""),
                "invalid JSON in patch body: \"{\\\"a\\\"\"",
            ),
            ("keySpaceSize", json!(0), "keySpaceSize must > 0"),
            ("keySpaceSize", json!(-3), "keySpaceSize must > 0"),
        ] {
            let failure = testing::open::<Patch>(with(key, value)).err().unwrap();
            assert_eq!(
                (failure.code.as_str(), failure.message.as_str()),
                ("invalid-config", message)
            );
            assert_eq!(failure.find_hint("key"), Some(key));
        }
    }

    #[test]
    fn keys_repeat_with_the_seed_and_differ_by_shard() {
        let paths = |shard| {
            let context = OpenContext {
                shard,
                shards: 2,
                ..testing::context()
            };
            let opened =
                testing::open_with::<Patch>(&context, Patch::default_config().unwrap()).unwrap();
            let (requests, _) = opened.next(64).unwrap();
            requests
                .into_iter()
                .map(|request| request.path)
                .collect::<Vec<_>>()
        };
        assert_eq!(paths(0), paths(0));
        assert_ne!(paths(0), paths(1));
    }
}
