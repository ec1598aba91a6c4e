//! kperf's `staleGet`: gets one object from the API server's watch cache (`resourceVersion=0`).

use kperf_sdk::generator::prelude::*;
use kube_requests::{base_query, get::GetConfig, template};

struct StaleGet(TemplateId);

impl Generator for StaleGet {
    type Config = GetConfig;

    fn default_config() -> Option<Value> {
        Some(json!({"version": "v1", "resource": "nodes", "name": "node-0"}))
    }

    fn open(
        context: &OpenContext,
        config: GetConfig,
        templates: &mut Templates,
    ) -> Result<Self, Failure> {
        let path = config.check()?;
        let mut query = base_query(context);
        query.set("resourceVersion", "0");
        Ok(Self(templates.add(template("GET", "GET", &path, &query))))
    }

    fn next(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        batch.fill(self.0);
        Ok(())
    }
}

kperf_sdk::export_generator!(StaleGet);

#[cfg(test)]
mod tests {
    use super::*;
    use kperf_sdk::testing;

    #[test]
    fn series_and_path_are_kperfs() {
        for (config, path) in [
            (
                json!({"version": "v1", "resource": "nodes", "name": "n1"}),
                "/api/v1/nodes/n1?resourceVersion=0&timeout=1m0s",
            ),
            (
                json!({"version": "v1", "resource": "pods", "namespace": "ns1", "name": "p1"}),
                "/api/v1/namespaces/ns1/pods/p1?resourceVersion=0&timeout=1m0s",
            ),
        ] {
            let opened = testing::open::<StaleGet>(config).unwrap();
            let (requests, _) = opened.next(2).unwrap();
            assert_eq!(requests.len(), 2);
            assert_eq!(requests[0].series, format!("GET {path}"));
            assert_eq!(
                (requests[0].method.as_str(), requests[0].path.as_str()),
                ("GET", path)
            );
        }
    }

    #[test]
    fn the_default_opens() {
        let opened = testing::open::<StaleGet>(StaleGet::default_config().unwrap()).unwrap();
        assert_eq!(
            opened.templates[0].path,
            "/api/v1/nodes/node-0?resourceVersion=0&timeout=1m0s"
        );
    }

    #[test]
    fn wrong_fields_are_refused() {
        for (config, message) in [
            (
                json!({"version": "v1", "resource": "nodes", "name": ""}),
                "name is required",
            ),
            (
                json!({"version": "", "resource": "nodes", "name": "a"}),
                "kube metadata: version is required",
            ),
            (
                json!({"version": "v1", "resource": "", "name": "a"}),
                "kube metadata: resource is required",
            ),
        ] {
            let failure = testing::open::<StaleGet>(config).err().unwrap();
            assert_eq!(
                (failure.code.as_str(), failure.message.as_str()),
                ("invalid-config", message)
            );
        }
    }
}
