//! kperf's `staleList`: lists a collection from the API server's watch cache (`resourceVersion=0`).

use kperf_sdk::generator::prelude::*;
use kube_requests::{base_query, list::ListConfig, template};

struct StaleList(TemplateId);

impl Generator for StaleList {
    type Config = ListConfig;

    fn default_config() -> Option<Value> {
        Some(json!({"version": "v1", "resource": "pods"}))
    }

    fn open(
        context: &OpenContext,
        config: ListConfig,
        templates: &mut Templates,
    ) -> Result<Self, Failure> {
        let mut query = base_query(context);
        let path = config.check(&mut query)?;
        if config.limit != 0 {
            return Err(Failure::invalid_config(
                "limit",
                "stale list doesn't support pagination option: \
                 https://github.com/kubernetes/kubernetes/issues/108003",
            ));
        }
        query.set("resourceVersion", "0");
        Ok(Self(templates.add(template("LIST", "GET", &path, &query))))
    }

    fn next(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        batch.fill(self.0);
        Ok(())
    }
}

kperf_sdk::export_generator!(StaleList);

#[cfg(test)]
mod tests {
    use super::*;
    use kperf_sdk::testing;

    #[test]
    fn series_and_path_are_kperfs() {
        let config = json!({
            "version": "v1", "resource": "pods", "namespace": "ns1",
            "selector": "app=a", "fieldSelector": "spec.nodeName=n1"
        });
        let opened = testing::open::<StaleList>(config).unwrap();
        let path = "/api/v1/namespaces/ns1/pods?fieldSelector=spec.nodeName%3Dn1&labelSelector=app%3Da\
                    &resourceVersion=0&timeout=1m0s";
        let (requests, _) = opened.next(2).unwrap();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[1].series, format!("LIST {path}"));
        assert_eq!(
            (requests[1].method.as_str(), requests[1].path.as_str()),
            ("GET", path)
        );
    }

    #[test]
    fn pages_are_refused() {
        let config = json!({"version": "v1", "resource": "pods", "limit": 5});
        let failure = testing::open::<StaleList>(config).err().unwrap();
        assert!(
            failure
                .message
                .starts_with("stale list doesn't support pagination option")
        );
        assert_eq!(failure.find_hint("key"), Some("limit"));
        let config = json!({"version": "v1", "resource": "pods", "limit": -5});
        let failure = testing::open::<StaleList>(config).err().unwrap();
        assert_eq!(failure.message, "limit must >= 0");
    }

    #[test]
    fn the_default_opens() {
        let opened = testing::open::<StaleList>(StaleList::default_config().unwrap()).unwrap();
        assert_eq!(
            opened.templates[0].path,
            "/api/v1/pods?resourceVersion=0&timeout=1m0s"
        );
    }
}
