//! kperf's `quorumGet`: gets one object with a consistent read.

use kperf_sdk::generator::prelude::*;
use kube_requests::{base_query, get::GetConfig, template};

struct QuorumGet(TemplateId);

impl Generator for QuorumGet {
    type Config = GetConfig;

    fn default_config() -> Option<Value> {
        Some(json!({"version": "v1", "resource": "pods", "namespace": "ns-0", "name": "pod-0"}))
    }

    fn open(
        context: &OpenContext,
        config: GetConfig,
        templates: &mut Templates,
    ) -> Result<Self, Failure> {
        let path = config.check()?;
        let query = base_query(context);
        Ok(Self(templates.add(template("GET", "GET", &path, &query))))
    }

    fn next(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        batch.fill(self.0);
        Ok(())
    }
}

kperf_sdk::export_generator!(QuorumGet);

#[cfg(test)]
mod tests {
    use super::*;
    use kperf_sdk::testing;

    #[test]
    fn series_and_path_are_kperfs() {
        for (config, path) in [
            (
                json!({"version": "v1", "resource": "nodes", "name": "n1"}),
                "/api/v1/nodes/n1?timeout=1m0s",
            ),
            (
                json!({"version": "v1", "resource": "pods", "namespace": "ns1", "name": "p1"}),
                "/api/v1/namespaces/ns1/pods/p1?timeout=1m0s",
            ),
        ] {
            let opened = testing::open::<QuorumGet>(config).unwrap();
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
        let opened = testing::open::<QuorumGet>(QuorumGet::default_config().unwrap()).unwrap();
        assert_eq!(
            opened.templates[0].path,
            "/api/v1/namespaces/ns-0/pods/pod-0?timeout=1m0s"
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
            let failure = testing::open::<QuorumGet>(config).err().unwrap();
            assert_eq!(
                (failure.code.as_str(), failure.message.as_str()),
                ("invalid-config", message)
            );
        }
    }
}
