//! What an HTTP request to the API server does, in the words of a grant: as the server itself reads its paths.

use super::{Request, Verb};

/// What an HTTP request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// Something is done to a resource.
    Resource(Request<'a>),
    /// What everybody may know is read: `/version`, `/readyz`, discovery, `/openapi`.
    Fact,
    /// A path or method of another kind, such as `/metrics` and `/debug/pprof`. No grant names it.
    Other,
}

impl<'a> Asked<'a> {
    /// Reads a method and a path with its query. What might be sent or read in another way (escapes, empty or dotted
    /// segments, the old `watch` and `proxy` prefixes, fragments, two answers to whether it watches) is
    /// [`Asked::Other`].
    #[must_use]
    pub fn of(method: &str, path_and_query: &'a str) -> Self {
        // A client cuts what follows.
        if path_and_query.contains('#') {
            return Self::Other;
        }
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
                "GET" | "HEAD" if is_fact(&segments) => Self::Fact,
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
        let Some(watches) = watches(query) else {
            return Self::Other;
        };
        let verb = match (method, name.is_some()) {
            // One object is not watched in this way, whatever the query says.
            ("GET" | "HEAD", true) => Verb::Get,
            ("GET" | "HEAD", false) if watches => Verb::Watch,
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

/// Whether a path below no resource tells only what every client needs. Others tell more (`/metrics`, `/logs`,
/// `/configz`) or make work (`/debug/pprof/profile`).
fn is_fact(segments: &[&str]) -> bool {
    matches!(
        segments,
        ["version"]
            | ["healthz" | "livez" | "readyz" | "openapi", ..]
            | ["api"]
            | ["api", _]
            | ["apis"]
            | ["apis", _]
            | ["apis", _, _]
    )
}

/// Whether a list is a watch; `None` where servers could differ.
fn watches(query: &str) -> Option<bool> {
    let escapes_are_whole = query.split('%').skip(1).all(|rest| {
        let mut digits = rest.bytes().take(2);
        digits.len() == 2 && digits.all(|digit| digit.is_ascii_hexdigit())
    });
    // A pair with `;` or half an escape is dropped by some and read by others.
    if query.contains(';') || !escapes_are_whole {
        return None;
    }
    let mut values = form_urlencoded::parse(query.as_bytes())
        .filter_map(|(key, value)| (key == "watch").then_some(value));
    let first = values.next();
    if values.next().is_some() {
        return None;
    }
    // `watch=0` asks for a list; whatever else is there is read as true.
    Some(first.is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false")))
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
            ("GET", "/api/v1/pods?wat%63h=1", "watch  pods   "),
            ("GET", "/api/v1/pods?limit=5&watch", "watch  pods   "),
            ("GET", "/api/v1/pods?watch=%46alse", "list  pods   "),
            ("GET", "/api/v1/pods?x=watch", "list  pods   "),
            (
                "GET",
                "/api/v1/namespaces/a/pods/p?watch=1",
                "get  pods  a p",
            ),
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
    fn what_every_client_needs_can_be_read_and_no_more() {
        for path in [
            "/version",
            "/version/",
            "/healthz",
            "/livez/ping",
            "/readyz?verbose",
            "/api",
            "/api/v1",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/openapi/v2",
            "/openapi/v3/apis/apps/v1",
        ] {
            assert_eq!(Asked::of("GET", path), Asked::Fact, "{path}");
            assert_eq!(Asked::of("POST", path), Asked::Other, "{path}");
        }
        for path in [
            "/",
            "/metrics",
            "/metrics/cadvisor",
            "/debug/pprof/profile?seconds=60",
            "/logs",
            "/logs/audit.log",
            "/configz",
            "/version/x",
            "/healthzz",
            "/openid/v1/jwks",
            "/.well-known/openid-configuration",
            "/version#x",
            "/api/v1/namespaces/a#/pods",
            "/api/v1/namespaces/a/pods/p#/log",
            "/api/v1/pods?limit=1#&watch=1",
            "/api/v1/pods?watch=0&watch=1",
            "/api/v1/pods?watch=1;x",
            "/api/v1/pods?%zz=1&watch=1",
            "/api/v1/pods?watch=1%4",
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
