//! kperf's `watchList`: a watch that sends its initial events; it ends, as a success, at the bookmark that closes them.

use kperf_sdk::generator::prelude::*;
use kube_requests::{base_query, list::WatchListConfig, template};

struct WatchList(TemplateId);

impl Generator for WatchList {
    type Config = WatchListConfig;

    fn default_config() -> Option<Value> {
        Some(json!({"version": "v1", "resource": "configmaps"}))
    }

    fn open(
        context: &OpenContext,
        config: WatchListConfig,
        templates: &mut Templates,
    ) -> Result<Self, Failure> {
        let mut query = base_query(context);
        let path = config.check(&mut query)?;
        query
            .set("watch", "true")
            .set("sendInitialEvents", "true")
            .set("resourceVersionMatch", "NotOlderThan")
            .set("allowWatchBookmarks", "true");
        let mut watch = template("WATCHLIST", "GET", &path, &query);
        "watch-list".clone_into(&mut watch.kind);
        Ok(Self(templates.add(watch)))
    }

    fn next(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        batch.fill(self.0);
        Ok(())
    }
}

kperf_sdk::export_generator!(WatchList);

#[cfg(test)]
mod tests {
    use super::*;
    use kperf_sdk::testing;

    #[test]
    fn series_and_path_are_kperfs() {
        let opened = testing::open::<WatchList>(WatchList::default_config().unwrap()).unwrap();
        let path = "/api/v1/configmaps?allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan\
                    &sendInitialEvents=true&timeout=1m0s&watch=true";
        let template = &opened.templates[0];
        assert_eq!(template.series, format!("WATCHLIST {path}"));
        assert_eq!(
            (template.method.as_str(), template.path.as_str()),
            ("GET", path)
        );
        assert_eq!(template.kind, "watch-list");
        assert_eq!(opened.next(7).unwrap().0.len(), 7);
    }

    #[test]
    fn selectors_and_namespace_are_kept() {
        let config =
            json!({"version": "v1", "resource": "pods", "namespace": "a", "seletor": "x=y"});
        let opened = testing::open::<WatchList>(config).unwrap();
        let path = &opened.templates[0].path;
        assert!(path.starts_with(
            "/api/v1/namespaces/a/pods?allowWatchBookmarks=true&labelSelector=x%3Dy&"
        ));
    }

    #[test]
    fn wrong_fields_are_refused() {
        for config in [
            json!({"version": "v1", "resource": "pods", "limit": 5}),
            json!({"version": "v1", "resource": ""}),
        ] {
            let failure = testing::open::<WatchList>(config).err().unwrap();
            assert_eq!(failure.code, "invalid-config");
        }
    }
}
