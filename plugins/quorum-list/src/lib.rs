//! kperf's `quorumList`: lists a collection with a consistent read. One page; its continue token is not followed.

use kperf_sdk::generator::prelude::*;
use kube_requests::{base_query, list::ListConfig, template};

struct QuorumList(TemplateId);

impl Generator for QuorumList {
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
        if config.limit > 0 {
            query.set("limit", config.limit.to_string());
        }
        Ok(Self(templates.add(template("LIST", "GET", &path, &query))))
    }

    fn next(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        batch.fill(self.0);
        Ok(())
    }
}

kperf_sdk::export_generator!(QuorumList);

#[cfg(test)]
mod tests {
    use super::*;
    use kperf_sdk::testing;

    #[test]
    fn series_and_path_are_kperfs() {
        let config =
            json!({"group": "apps", "version": "v1", "resource": "deployments", "limit": 500});
        let opened = testing::open::<QuorumList>(config).unwrap();
        let path = "/apis/apps/v1/deployments?limit=500&timeout=1m0s";
        let (requests, done) = opened.next(3).unwrap();
        assert_eq!((requests.len(), done), (3, false));
        for request in requests {
            assert_eq!(request.series, format!("LIST {path}"));
            assert_eq!(
                (request.method.as_str(), request.path.as_str()),
                ("GET", path)
            );
            assert_eq!(request.body, "");
        }
    }

    #[test]
    fn the_default_lists_all_pods_in_one_page() {
        let opened = testing::open::<QuorumList>(QuorumList::default_config().unwrap()).unwrap();
        assert_eq!(opened.templates[0].path, "/api/v1/pods?timeout=1m0s");
    }

    #[test]
    fn selectors_are_escaped() {
        let config = json!({
            "version": "v1", "resource": "pods", "namespace": "ns1",
            "seletor": "app=a", "fieldSelector": "spec.nodeName=n1"
        });
        let opened = testing::open::<QuorumList>(config).unwrap();
        assert_eq!(
            opened.templates[0].series,
            "LIST /api/v1/namespaces/ns1/pods?fieldSelector=spec.nodeName%3Dn1&labelSelector=app%3Da&timeout=1m0s"
        );
    }

    #[test]
    fn wrong_fields_are_refused() {
        for config in [
            json!({"version": "", "resource": "pods"}),
            json!({"version": "v1", "resource": "pods", "limit": -1}),
            json!({"version": "v1", "resource": "pods", "labelSelector": "a"}),
            json!({"version": "v1"}),
        ] {
            let failure = testing::open::<QuorumList>(config).err().unwrap();
            assert_eq!(failure.code, "invalid-config");
        }
    }
}
