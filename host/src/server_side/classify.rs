//! What the client sends, in the words of the server's metrics: verb, group, resource, subresource.

use std::{collections::BTreeMap, sync::Arc};

use http::Method;
use kperf_cluster::server_metrics::RequestKey;
use kperf_load::request::{Batch, Outcomes, Source, SourceError, SourceFactory, Template};
use parking_lot::Mutex;

/// What a series was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// All of it is for this.
    One(RequestKey),
    /// Its requests are for several things, or for none that the server counts by resource.
    Several,
}

/// What each series of a run was for.
#[derive(Debug, Default)]
pub struct Classes(Mutex<BTreeMap<String, Class>>);

impl Classes {
    fn learn(&self, series: &str, key: Option<&RequestKey>) {
        let class = key.map_or(Class::Several, |key| Class::One(key.clone()));
        let mut all = self.0.lock();
        match all.get_mut(series) {
            None => {
                all.insert(series.to_owned(), class);
            }
            Some(known) if *known != class => *known = Class::Several,
            Some(_) => {}
        }
    }

    /// What a series was for; none when nothing of it was sent.
    pub(crate) fn of(&self, series: &str) -> Option<Class> {
        self.0.lock().get(series).cloned()
    }
}

/// Sources whose requests are classified as they pass. Each series is looked at once in a batch, not each request.
#[must_use]
pub fn classified(inner: SourceFactory, classes: Arc<Classes>) -> SourceFactory {
    Arc::new(move |shard| {
        let source = inner(shard)?;
        let known: Vec<_> = source.templates().iter().map(|_| None).collect();
        Ok(Box::new(Classified {
            source,
            classes: Arc::clone(&classes),
            looked: vec![false; known.len()],
            known,
        }) as Box<dyn Source>)
    })
}

struct Classified {
    source: Box<dyn Source>,
    classes: Arc<Classes>,
    /// By template: what it was for until now.
    known: Vec<Option<Option<RequestKey>>>,
    /// By template: whether it was looked at in this batch.
    looked: Vec<bool>,
}

impl Classified {
    fn look(&mut self, batch: &Batch) {
        let templates = self.source.templates();
        let mut start = 0;
        // With paths of their own alone, and all of them known, there is nothing new.
        if batch.path_len.is_empty() && self.known.iter().all(Option::is_some) {
            return;
        }
        self.looked.fill(false);
        let mut left = self.looked.len();
        for row in 0..batch.count as usize {
            let at = |column: &[u32]| column.get(row).copied().unwrap_or_default() as usize;
            let template = at(&batch.template);
            let end = start + at(&batch.path_len);
            let path = batch.arena.get(start..end).unwrap_or_default();
            start = end + at(&batch.body_len);
            let (Some(shape), Some(known), Some(looked)) = (
                templates.get(template),
                self.known.get_mut(template),
                self.looked.get_mut(template),
            ) else {
                continue;
            };
            // Its own path never changes; a request's own is looked at once in a batch.
            if *looked || (path.is_empty() && known.is_some()) {
                continue;
            }
            *looked = true;
            left -= 1;
            let path = if path.is_empty() {
                shape.path.as_str()
            } else {
                std::str::from_utf8(path).unwrap_or_default()
            };
            let key = classify(shape, path);
            if known.as_ref() != Some(&key) {
                self.classes.learn(&shape.series, key.as_ref());
                *known = Some(key);
            }
            if left == 0 {
                break;
            }
        }
    }
}

impl Source for Classified {
    fn templates(&self) -> &[Template] {
        self.source.templates()
    }

    fn next(&mut self, limit: u32) -> Result<Batch, SourceError> {
        let batch = self.source.next(limit)?;
        self.look(&batch);
        Ok(batch)
    }

    fn wants_outcomes(&self) -> bool {
        self.source.wants_outcomes()
    }

    fn observe(&mut self, outcomes: Outcomes) -> Result<(), SourceError> {
        self.source.observe(outcomes)
    }

    fn owns_arrivals(&self) -> bool {
        self.source.owns_arrivals()
    }

    fn schedule(&mut self, limit: u32) -> Result<Vec<u64>, SourceError> {
        self.source.schedule(limit)
    }
}

/// What the requests of a series are for that is called as kperf calls them: `LIST /api/v1/pods?limit=500`. A PATCH may be
/// one of two things.
pub(super) fn of_name(series: &str) -> Option<RequestKey> {
    let (verb, path) = series.split_once(' ')?;
    let method = match verb {
        "GET" | "LIST" | "WATCHLIST" => Method::GET,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "DELETE" => Method::DELETE,
        _ => return None,
    };
    of_request(&method, false, path)
}

/// What kube-apiserver counts a request as; none for what is not a resource.
fn classify(template: &Template, path: &str) -> Option<RequestKey> {
    let content_type = template.headers.get(http::header::CONTENT_TYPE);
    let applies =
        content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/apply-patch"));
    of_request(&template.method, applies, path)
}

fn of_request(method: &Method, applies: bool, path: &str) -> Option<RequestKey> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (group, rest) = match parts.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    // A namespace's own subresources are not resources within it.
    let rest = match rest {
        ["namespaces", _, inner, ..] if !matches!(*inner, "status" | "finalize") => {
            rest.get(2..).unwrap_or_default()
        }
        _ => rest,
    };
    let (resource, name, subresource) = match rest {
        [resource] => (*resource, "", ""),
        [resource, name] => (*resource, *name, ""),
        [resource, name, subresource, ..] => (*resource, *name, *subresource),
        [] => return None,
    };
    let watches = form_value(query, "watch").is_some_and(|value| !matches!(value, "0" | "false"));
    let verb = match *method {
        Method::GET | Method::HEAD if watches => "WATCH",
        Method::GET | Method::HEAD if name.is_empty() => "LIST",
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH if applies => "APPLY",
        Method::PATCH => "PATCH",
        Method::DELETE if name.is_empty() => "DELETECOLLECTION",
        Method::DELETE => "DELETE",
        _ => return None,
    };
    Some(RequestKey {
        verb: verb.to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
    })
}

fn form_value<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == key).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
    use kperf_load::request::{ExchangeKind, ShardContext};

    use super::*;

    fn template(method: Method, path: &'static str) -> Template {
        Template {
            series: format!("{method} {path}"),
            method,
            path: http::uri::PathAndQuery::from_static(path),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            kind: ExchangeKind::Request,
            capture: Vec::new(),
        }
    }

    fn said(method: Method, path: &'static str) -> String {
        let template = template(method, path);
        classify(&template, path).map_or_else(
            || "none".to_owned(),
            |key| format!("{} {}", key.verb, key.what()),
        )
    }

    #[test]
    fn requests_are_classified_as_the_server_does() {
        for (method, path, expected) in [
            (Method::GET, "/api/v1/pods?limit=500", "LIST pods"),
            (Method::GET, "/api/v1/namespaces/a/pods", "LIST pods"),
            (Method::GET, "/api/v1/namespaces/a/pods/b", "GET pods"),
            (
                Method::GET,
                "/api/v1/namespaces/a/pods/b/log",
                "GET pods/log",
            ),
            (Method::GET, "/api/v1/namespaces", "LIST namespaces"),
            (Method::GET, "/api/v1/namespaces/a", "GET namespaces"),
            (
                Method::PUT,
                "/api/v1/namespaces/a/finalize",
                "PUT namespaces/finalize",
            ),
            (Method::GET, "/api/v1/pods?watch=true&x=1", "WATCH pods"),
            (Method::GET, "/api/v1/pods?watch=0", "LIST pods"),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/a/deployments/b",
                "PATCH deployments.apps",
            ),
            (
                Method::DELETE,
                "/api/v1/namespaces/a/pods",
                "DELETECOLLECTION pods",
            ),
            (Method::DELETE, "/api/v1/namespaces/a/pods/b", "DELETE pods"),
            (Method::POST, "/api/v1/namespaces/a/pods", "POST pods"),
            (Method::GET, "/healthz", "none"),
            (Method::GET, "/apis/apps", "none"),
            (Method::GET, "/api/v1", "none"),
        ] {
            assert_eq!(said(method, path), expected, "{path}");
        }
        let mut apply = template(Method::PATCH, "/api/v1/namespaces/a/pods/b");
        let yaml = HeaderValue::from_static("application/apply-patch+yaml");
        apply.headers.insert(CONTENT_TYPE, yaml);
        assert_eq!(
            classify(&apply, "/api/v1/namespaces/a/pods/b")
                .unwrap()
                .verb,
            "APPLY"
        );
    }

    #[test]
    fn series_are_classified_by_their_names() {
        for (name, expected) in [
            (
                "LIST /api/v1/pods?limit=500&timeout=1m0s",
                Some("LIST pods"),
            ),
            ("GET /api/v1/nodes/node-1?timeout=1m0s", Some("GET nodes")),
            (
                "WATCHLIST /api/v1/namespaces/a/configmaps?watch=true",
                Some("WATCH configmaps"),
            ),
            ("POST /api/v1/namespaces/a/pods", Some("POST pods")),
            ("PATCH /api/v1/namespaces/a/pods/b", None),
            ("GET /healthz", None),
            ("hot configmaps", None),
            ("LIST", None),
        ] {
            let said = of_name(name).map(|key| format!("{} {}", key.verb, key.what()));
            assert_eq!(said.as_deref(), expected, "{name}");
        }
    }

    /// Hands out one batch.
    struct Once(Vec<Template>, Option<Batch>);

    impl Source for Once {
        fn templates(&self) -> &[Template] {
            &self.0
        }

        fn next(&mut self, _: u32) -> Result<Batch, SourceError> {
            Ok(self.1.take().unwrap_or_default())
        }
    }

    fn passed(paths: &[&str]) -> Classes {
        let classes = Arc::new(Classes::default());
        for path in paths {
            let path = (*path).to_owned();
            let factory: SourceFactory = Arc::new(move |_| {
                let batch = Batch {
                    count: 1,
                    path_len: vec![u32::try_from(path.len()).unwrap()],
                    arena: path.clone().into_bytes(),
                    ..Batch::default()
                };
                Ok(Box::new(Once(
                    vec![template(Method::GET, "/")],
                    Some(batch),
                )))
            });
            let shard = ShardContext {
                shard: 0,
                shards: 1,
                seed: 0,
            };
            let mut source = classified(factory, Arc::clone(&classes))(shard).unwrap();
            source.next(1).unwrap();
        }
        Arc::into_inner(classes).unwrap()
    }

    #[test]
    fn a_series_for_several_things_is_not_taken_for_one() {
        let one = passed(&["/api/v1/pods", "/api/v1/namespaces/a/pods"]);
        assert!(matches!(one.of("GET /"), Some(Class::One(key)) if key.what() == "pods"));
        let two = passed(&["/api/v1/pods", "/api/v1/nodes"]);
        assert_eq!(two.of("GET /"), Some(Class::Several));
        assert_eq!(passed(&["/version"]).of("GET /"), Some(Class::Several));
        assert_eq!(one.of("other"), None);
    }
}
