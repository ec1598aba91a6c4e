//! The addresses of lists and watches.

use http::{Request, header};
use kube::client::Body;

use super::{error::TrackError, options::TrackOptions, spec::TrackSpec};

/// Where the objects of a spec are served, with the query that selects them.
#[derive(Clone, Debug)]
pub(crate) struct Collection {
    /// For messages.
    pub(crate) path: String,
    selectors: Vec<(&'static str, String)>,
}

impl Collection {
    pub(crate) fn new(spec: &TrackSpec) -> Result<Self, TrackError> {
        let fail = |reason: String| TrackError::Spec {
            name: spec.name.clone(),
            reason,
        };
        let resource = &spec.resource;
        // Nothing of these may lead to another path than it seems to.
        for (what, text, required) in [
            ("group", &resource.group, false),
            ("version", &resource.version, true),
            ("resource", &resource.plural, true),
            (
                "namespace",
                spec.namespace.as_ref().unwrap_or(&String::new()),
                spec.namespace.is_some(),
            ),
        ] {
            let clean = text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.');
            if !clean || (required && text.is_empty()) || text.starts_with('.') {
                return Err(fail(format!(
                    "{what} {text:?} is not a name of lower-case letters, digits, '-' and '.'"
                )));
            }
        }
        let mut path = if resource.group.is_empty() {
            format!("/api/{}", resource.version)
        } else {
            format!("/apis/{}/{}", resource.group, resource.version)
        };
        if let Some(namespace) = &spec.namespace {
            if !spec.namespaced {
                return Err(fail(format!(
                    "{} live in no namespace, and {namespace:?} is asked for",
                    resource.plural
                )));
            }
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(&resource.plural);
        let mut selectors = Vec::new();
        for (key, selector) in [
            ("labelSelector", &spec.label_selector),
            ("fieldSelector", &spec.field_selector),
        ] {
            if !selector.is_empty() {
                selectors.push((key, selector.clone()));
            }
        }
        Ok(Self { path, selectors })
    }

    /// A page of a consistent list.
    pub(crate) fn list(
        &self,
        options: &TrackOptions,
        next: &str,
    ) -> Result<Request<Body>, http::Error> {
        let limit = options.page_items.max(1).to_string();
        let mut query = vec![("limit", &*limit)];
        if !next.is_empty() {
            query.push(("continue", next));
        }
        self.get(&query)
    }

    /// Everything after a revision.
    pub(crate) fn watch(
        &self,
        resource_version: &str,
        seconds: u64,
    ) -> Result<Request<Body>, http::Error> {
        self.get(&[
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resource_version),
            ("timeoutSeconds", &seconds.to_string()),
        ])
    }

    fn get(&self, query: &[(&str, &str)]) -> Result<Request<Body>, http::Error> {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(query)
            .extend_pairs(&self.selectors)
            .finish();
        Request::get(format!("{}?{query}", self.path))
            .header(header::ACCEPT, "application/json")
            // A compressed watch would be stamped when a whole block is there.
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Body::empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::object::tests::pods;

    #[test]
    fn paths_and_queries() {
        let mut spec = pods();
        assert_eq!(Collection::new(&spec).unwrap().path, "/api/v1/pods");
        spec.namespace = Some("ns-1".into());
        spec.label_selector = "app in (a,b),x!=y".into();
        let collection = Collection::new(&spec).unwrap();
        let uri = collection.watch("12", 300).unwrap().uri().to_string();
        assert_eq!(
            uri,
            "/api/v1/namespaces/ns-1/pods?watch=true&allowWatchBookmarks=true&resourceVersion=12\
             &timeoutSeconds=300&labelSelector=app+in+%28a%2Cb%29%2Cx%21%3Dy"
        );
        let list = collection.list(&TrackOptions::default(), "a=b").unwrap();
        assert!(
            list.uri()
                .to_string()
                .contains("?limit=500&continue=a%3Db&")
        );
        spec.resource.group = "kubevirt.io".into();
        spec.namespace = None;
        assert_eq!(
            Collection::new(&spec).unwrap().path,
            "/apis/kubevirt.io/v1/pods"
        );
    }

    #[test]
    fn names_cannot_lead_elsewhere() {
        for namespace in ["../x", "a/b", "", "a?b", "A", "..", "a%2fb"] {
            let mut spec = pods();
            spec.namespace = Some(namespace.into());
            assert!(Collection::new(&spec).is_err(), "{namespace}");
        }
        for plural in ["pods/log", "", "../secrets"] {
            let mut spec = pods();
            spec.resource.plural = plural.into();
            assert!(Collection::new(&spec).is_err(), "{plural}");
        }
        let mut spec = pods();
        spec.namespaced = false;
        spec.namespace = Some("ns".into());
        let error = Collection::new(&spec).unwrap_err().to_string();
        assert!(error.contains("no namespace"), "{error}");
    }
}
