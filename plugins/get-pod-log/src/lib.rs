//! kperf's `getPodLog`: reads the log of one pod.

use kperf_sdk::generator::prelude::*;
use kube_requests::{base_query, join_path, template};

/// Which log to read.
#[derive(Deserialize, JsonSchema)]
#[serde(
    crate = "kperf_sdk::serde",
    rename_all = "camelCase",
    deny_unknown_fields
)]
struct Config {
    /// Namespace of the pod.
    #[schemars(length(min = 1))]
    namespace: String,
    /// Name of the pod.
    #[schemars(length(min = 1))]
    name: String,
    /// Container; may be empty if the pod has one only.
    #[serde(default)]
    container: String,
    /// Lines from the end of the log; everything without it.
    #[serde(default)]
    tail_lines: Option<i64>,
    /// Most bytes of the answer; unlimited without it.
    #[serde(default)]
    limit_bytes: Option<i64>,
}

struct GetPodLog(TemplateId);

impl Generator for GetPodLog {
    type Config = Config;

    fn default_config() -> Option<Value> {
        Some(json!({"namespace": "ns-0", "name": "pod-0", "container": "app", "tailLines": 100}))
    }

    fn open(
        context: &OpenContext,
        config: Config,
        templates: &mut Templates,
    ) -> Result<Self, Failure> {
        for (key, value) in [("namespace", &config.namespace), ("name", &config.name)] {
            if value.is_empty() {
                return Err(Failure::invalid_config(key, format!("{key} is required")));
            }
        }
        let mut query = base_query(context);
        query.set("container", config.container);
        if let Some(lines) = config.tail_lines {
            query.set("tailLines", lines.to_string());
        }
        if let Some(bytes) = config.limit_bytes {
            query.set("limitBytes", bytes.to_string());
        }
        let pods = ["/api/v1/namespaces", &config.namespace, "pods"].join("/");
        let path = join_path(&[&pods, &config.name, "log"]);
        Ok(Self(
            templates.add(template("POD_LOG", "GET", &path, &query)),
        ))
    }

    fn next(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        batch.fill(self.0);
        Ok(())
    }
}

kperf_sdk::export_generator!(GetPodLog);

#[cfg(test)]
mod tests {
    use super::*;
    use kperf_sdk::testing;

    #[test]
    fn series_and_path_are_kperfs() {
        let config = json!({
            "namespace": "ns1", "name": "p1", "container": "c", "tailLines": 100, "limitBytes": 4096
        });
        let opened = testing::open::<GetPodLog>(config).unwrap();
        let path = "/api/v1/namespaces/ns1/pods/p1/log?container=c&limitBytes=4096&tailLines=100&timeout=1m0s";
        let (requests, _) = opened.next(1).unwrap();
        assert_eq!(requests[0].series, format!("POD_LOG {path}"));
        assert_eq!(
            (requests[0].method.as_str(), requests[0].path.as_str()),
            ("GET", path)
        );
    }

    #[test]
    fn what_is_not_said_is_not_sent() {
        let config = json!({"namespace": "a", "name": "b", "tailLines": 0, "limitBytes": null});
        let opened = testing::open::<GetPodLog>(config).unwrap();
        assert_eq!(
            opened.templates[0].path,
            "/api/v1/namespaces/a/pods/b/log?tailLines=0&timeout=1m0s"
        );
    }

    #[test]
    fn wrong_fields_are_refused() {
        for (config, key) in [
            (json!({"namespace": "", "name": "b"}), "namespace"),
            (json!({"namespace": "a", "name": ""}), "name"),
        ] {
            let failure = testing::open::<GetPodLog>(config).err().unwrap();
            assert_eq!(failure.message, format!("{key} is required"));
            assert_eq!(failure.find_hint("key"), Some(key));
        }
        let config = json!({"namespace": "a", "name": "b", "version": "v1"});
        assert!(testing::open::<GetPodLog>(config).is_err());
    }

    #[test]
    fn the_default_opens() {
        testing::open::<GetPodLog>(GetPodLog::default_config().unwrap()).unwrap();
    }
}
