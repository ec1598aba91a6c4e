//! kperf's `put`: replaces random ConfigMaps `<name>-0` to `<name>-<keySpaceSize - 1>`, each time with a new payload.
//!
//! The ConfigMaps must exist. What is put has no labels: those that were there are gone afterwards.

use kperf_sdk::generator::prelude::*;
use kube_requests::{KeySpace, Resource, base_query};

/// Which ConfigMaps to replace.
#[derive(Deserialize, JsonSchema)]
#[serde(
    crate = "kperf_sdk::serde",
    rename_all = "camelCase",
    deny_unknown_fields
)]
struct Config {
    /// API group: empty, or `core`, which means the same here.
    #[serde(default)]
    #[schemars(extend("enum" = ["", "core"]))]
    group: String,
    /// API version: `v1`.
    #[schemars(extend("enum" = ["v1"]))]
    version: String,
    /// What to replace: `configmaps`.
    #[schemars(extend("enum" = ["configmaps"]))]
    resource: String,
    /// Namespace of the ConfigMaps.
    #[serde(default)]
    namespace: String,
    /// ConfigMaps are named `<name>-<number>`.
    #[schemars(length(min = 1))]
    name: String,
    /// How many ConfigMaps there are.
    #[schemars(range(min = 1))]
    key_space_size: i64,
    /// Bytes of the random payload in `data.payload`. Required.
    #[serde(default)]
    #[schemars(range(min = 1))]
    payload_size: Option<i64>,
    /// Older spelling of `payloadSize`.
    #[serde(default)]
    #[schemars(range(min = 1), extend("deprecated" = true))]
    value_size: Option<i64>,
}

struct Put {
    template: TemplateId,
    keys: KeySpace,
    payload_bytes: usize,
    /// The body up to the key, between key and payload, and after the payload.
    before: String,
    between: String,
}

const AFTER: &str = "\"}}";

impl Config {
    fn payload_bytes(&self) -> Result<usize, Failure> {
        let (key, size) = match (self.payload_size, self.value_size) {
            (Some(size), Some(older)) if size != older => {
                let message =
                    "payloadSize and its older spelling valueSize are both set, and differ";
                return Err(Failure::invalid_config("valueSize", message));
            }
            (None, Some(size)) => ("valueSize", size),
            (size, _) => ("payloadSize", size.unwrap_or(0)),
        };
        match usize::try_from(size) {
            Ok(size) if size > 0 => Ok(size),
            _ => Err(Failure::invalid_config(key, "payloadSize must > 0")),
        }
    }
}

impl Generator for Put {
    type Config = Config;

    fn default_config() -> Option<Value> {
        Some(json!({
            "version": "v1",
            "resource": "configmaps",
            "namespace": "ns-0",
            "name": "cm",
            "keySpaceSize": 100,
            "payloadSize": 1024
        }))
    }

    fn open(
        context: &OpenContext,
        config: Config,
        templates: &mut Templates,
    ) -> Result<Self, Failure> {
        Resource::new(&config.group, &config.version, &config.resource)?;
        for (key, value, known) in [
            ("group", &config.group, ["", "core"]),
            ("version", &config.version, ["v1", "v1"]),
            ("resource", &config.resource, ["configmaps", "configmaps"]),
        ] {
            if !known.contains(&value.as_str()) {
                let message = format!(
                    "put currently only supports core/v1 configmaps, got group={} version={} resource={}",
                    config.group, config.version, config.resource
                );
                return Err(Failure::invalid_config(key, message));
            }
        }
        if config.name.is_empty() {
            return Err(Failure::invalid_config("name", "name pattern is required"));
        }
        let configmaps = Resource::new("", "v1", "configmaps")?;
        let keys = KeySpace::new(
            context,
            &configmaps.path(&config.namespace),
            &config.name,
            config.key_space_size,
            &base_query(context),
        )?;
        let payload_bytes = config.payload_bytes()?;
        if config.namespace.is_empty() {
            kperf_sdk::warn!("put has no namespace; an API server will refuse its requests");
        }
        let name = json_text(&config.name);
        let namespace = json_text(&config.namespace);
        Ok(Self {
            template: templates.add(keys.template("PUT")),
            keys,
            payload_bytes,
            before: format!(
                r#"{{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"{name}-"#
            ),
            between: format!(r#"","namespace":"{namespace}"}},"data":{{"payload":""#),
        })
    }

    fn next(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        while batch.has_room() {
            let key = self.keys.choose();
            let request = batch.request(self.template).path(self.keys.path(key));
            let payload = self.keys.random().alphanumeric(self.payload_bytes);
            request.body((&self.before, key, &self.between, payload, AFTER));
        }
        Ok(())
    }
}

/// Text as it stands between the quotes of a JSON string.
fn json_text(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    let inside = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inside.unwrap_or_default().to_owned()
}

kperf_sdk::export_generator!(Put);

#[cfg(test)]
mod tests {
    use super::*;
    use kperf_sdk::testing;

    fn with(key: &str, value: Value) -> Value {
        let mut config = Put::default_config().unwrap();
        config[key] = value;
        config
    }

    #[test]
    fn series_is_masked_and_bodies_are_kperfs() {
        for group in ["", "core"] {
            let opened = testing::open::<Put>(with("group", json!(group))).unwrap();
            assert!(opened.templates[0].headers.is_empty());
            let (requests, _) = opened.next(50).unwrap();
            assert_eq!(requests.len(), 50);
            let mut payloads = std::collections::BTreeSet::new();
            for request in requests {
                assert_eq!(
                    request.series,
                    "PUT /api/v1/namespaces/ns-0/configmaps/:name?timeout=1m0s"
                );
                let body: Value = serde_json::from_str(&request.body).unwrap();
                let name = body["metadata"]["name"].as_str().unwrap();
                assert_eq!(
                    request.path,
                    format!("/api/v1/namespaces/ns-0/configmaps/{name}?timeout=1m0s")
                );
                assert!(name.strip_prefix("cm-").unwrap().parse::<u64>().unwrap() < 100);
                assert_eq!(body["kind"], "ConfigMap");
                assert_eq!(body["metadata"]["namespace"], "ns-0");
                assert_eq!(body["metadata"].as_object().unwrap().len(), 2);
                let payload = body["data"]["payload"].as_str().unwrap();
                assert_eq!(payload.len(), 1024);
                assert!(payload.bytes().all(|byte| byte.is_ascii_alphanumeric()));
                payloads.insert(payload.to_owned());
            }
            assert_eq!(payloads.len(), 50);
        }
    }

    #[test]
    fn odd_names_stay_inside_their_strings() {
        let opened = testing::open::<Put>(with("name", json!("a\"}b\""))).unwrap();
        let (requests, _) = opened.next(1).unwrap();
        let body: Value = serde_json::from_str(&requests[0].body).unwrap();
        assert!(
            body["metadata"]["name"]
                .as_str()
                .unwrap()
                .starts_with("a\"}b\"-")
        );
        assert!(
            requests[0]
                .path
                .starts_with("/api/v1/namespaces/ns-0/configmaps/a%22%7Db%22-")
        );
    }

    #[test]
    fn the_older_spelling_of_the_size_counts() {
        let mut config = with("valueSize", json!(7));
        config.as_object_mut().unwrap().remove("payloadSize");
        let opened = testing::open::<Put>(config).unwrap();
        let body: Value = serde_json::from_str(&opened.next(1).unwrap().0[0].body).unwrap();
        assert_eq!(body["data"]["payload"].as_str().unwrap().len(), 7);
        let failure = testing::open::<Put>(with("valueSize", json!(7)))
            .err()
            .unwrap();
        assert_eq!(failure.find_hint("key"), Some("valueSize"));
        assert!(testing::open::<Put>(with("valueSize", json!(1024))).is_ok());
    }

    #[test]
    fn wrong_fields_are_refused_in_kperfs_words() {
        let only = |group: &str, version: &str, resource: &str| {
            format!(
                "put currently only supports core/v1 configmaps, got group={group} version={version} resource={resource}"
            )
        };
        for (key, value, message) in [
            (
                "version",
                json!(""),
                "kube metadata: version is required".to_owned(),
            ),
            (
                "resource",
                json!(""),
                "kube metadata: resource is required".to_owned(),
            ),
            ("group", json!("apps"), only("apps", "v1", "configmaps")),
            ("version", json!("v2"), only("", "v2", "configmaps")),
            ("resource", json!("pods"), only("", "v1", "pods")),
            ("name", json!(""), "name pattern is required".to_owned()),
            ("keySpaceSize", json!(0), "keySpaceSize must > 0".to_owned()),
            ("payloadSize", json!(0), "payloadSize must > 0".to_owned()),
            ("payloadSize", json!(-1), "payloadSize must > 0".to_owned()),
            (
                "payloadSize",
                Value::Null,
                "payloadSize must > 0".to_owned(),
            ),
        ] {
            let failure = testing::open::<Put>(with(key, value)).err().unwrap();
            assert_eq!(
                (failure.code.as_str(), &failure.message),
                ("invalid-config", &message)
            );
            assert_eq!(failure.find_hint("key"), Some(key));
        }
    }
}
