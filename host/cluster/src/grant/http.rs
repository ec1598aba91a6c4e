//! What an HTTP request to the API server does, in the words of a grant: as the server itself reads its paths.

use super::{Request, Verb};

/// What an HTTP request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// Something is done to a resource.
    Resource(Request<'a>),
    /// A path that belongs to no resource is read: `/version`, `/readyz`, discovery.
    Fact,
    /// A path or method of another kind. No grant names it.
    Other,
}

impl<'a> Asked<'a> {
    /// Reads a method and a path with its query. What the server might read in another way (escapes, empty or dotted
    /// segments, the old `watch` and `proxy` prefixes) is [`Asked::Other`].
    #[must_use]
    pub fn of(method: &str, path_and_query: &'a str) -> Self {
        let (path, query) = path_and_query
            .split_once('?')
            .unwrap_or((path_and_query, ""));
        let Some(path) = path.strip_prefix('/') else {
            return Self::Other;
        };
        let odd = |segment: &str| matches!(segment, "" | "." | "..") || segment.contains('%');
        let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        if segments.iter().any(|segment| odd(segment)) {
            return Self::Other;
        }
        let (group, rest) = match segments.as_slice() {
            ["api", _version, rest @ ..] => ("", rest),
            ["apis", group, _version, rest @ ..] => (*group, rest),
            _ => ("", [].as_slice()),
        };
        if rest.is_empty() {
            return match method {
                "GET" | "HEAD" => Self::Fact,
                _ => Self::Other,
            };
        }
        let (namespace, rest) = match rest {
            ["watch" | "proxy", ..] => return Self::Other,
            // A Namespace, or what is of it and not in it.
            ["namespaces", _name] | ["namespaces", _name, "status" | "finalize"] => (None, rest),
            ["namespaces", namespace, rest @ ..] => (Some(*namespace), rest),
            rest => (None, rest),
        };
        let (resource, name, subresource) = match rest {
            [resource] => (*resource, None, ""),
            [resource, name] => (*resource, Some(*name), ""),
            [resource, name, subresource, ..] => (*resource, Some(*name), *subresource),
            [] => return Self::Other,
        };
        let watches = query.split('&').any(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "true"));
            // `watch=0` asks for a list; whatever else is there may be read as true.
            key == "watch" && !matches!(value, "0" | "false")
        });
        let verb = match (method, name.is_some()) {
            ("GET" | "HEAD", _) if watches => Verb::Watch,
            ("GET" | "HEAD", true) => Verb::Get,
            ("GET" | "HEAD", false) => Verb::List,
            ("POST", _) => Verb::Create,
            ("PUT", _) => Verb::Update,
            ("PATCH", _) => Verb::Patch,
            ("DELETE", true) => Verb::Delete,
            ("DELETE", false) => Verb::DeleteCollection,
            _ => return Self::Other,
        };
        Self::Resource(Request {
            verb,
            group,
            resource,
            subresource,
            namespace,
            name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_the_server_reads_them() {
        for (method, path, expected) in [
            ("GET", "/api/v1/pods?limit=5", "list  pods   "),
            (
                "GET",
                "/api/v1/namespaces/a/pods?watch=1",
                "watch  pods  a ",
            ),
            (
                "GET",
                "/api/v1/namespaces/a/pods?watch=false",
                "list  pods  a ",
            ),
            (
                "GET",
                "/api/v1/namespaces/a/pods/p/log",
                "get  pods log a p",
            ),
            (
                "POST",
                "/api/v1/namespaces/a/pods/p/exec?command=sh",
                "create  pods exec a p",
            ),
            (
                "GET",
                "/api/v1/namespaces/a/pods/p/proxy/x/y",
                "get  pods proxy a p",
            ),
            (
                "PUT",
                "/apis/apps/v1/namespaces/a/deployments/d/scale",
                "update apps deployments scale a d",
            ),
            (
                "DELETE",
                "/api/v1/namespaces/a/configmaps",
                "deletecollection  configmaps  a ",
            ),
            ("DELETE", "/api/v1/namespaces/a", "delete  namespaces   a"),
            ("GET", "/api/v1/namespaces", "list  namespaces   "),
            (
                "PUT",
                "/api/v1/namespaces/a/finalize",
                "update  namespaces finalize  a",
            ),
            ("PATCH", "/api/v1/nodes/n/", "patch  nodes   n"),
        ] {
            let Asked::Resource(request) = Asked::of(method, path) else {
                panic!("{method} {path}");
            };
            let said = format!(
                "{} {} {} {} {} {}",
                request.verb.as_str(),
                request.group,
                request.resource,
                request.subresource,
                request.namespace.unwrap_or_default(),
                request.name.unwrap_or_default()
            );
            assert_eq!(said, expected, "{method} {path}");
        }
    }

    #[test]
    fn what_belongs_to_no_resource_can_be_read_and_no_more() {
        for path in [
            "/version",
            "/readyz?verbose",
            "/apis",
            "/api/v1",
            "/apis/apps/v1",
            "/metrics",
        ] {
            assert_eq!(Asked::of("GET", path), Asked::Fact, "{path}");
            assert_eq!(Asked::of("POST", path), Asked::Other, "{path}");
        }
        for path in [
            "",
            "api/v1/pods",
            "/api/v1/namespaces/a/../b/pods",
            "/api/v1/namespaces/a/./pods",
            "/api/v1/namespaces/a%2fb/pods",
            "/api/v1/namespaces/a/pods/%2e%2e",
            "/api/v1//pods",
            "/api/v1/watch/pods",
            "/api/v1/proxy/nodes/n",
        ] {
            assert_eq!(Asked::of("GET", path), Asked::Other, "{path}");
        }
        assert_eq!(Asked::of("TRACE", "/api/v1/pods"), Asked::Other);
    }
}
