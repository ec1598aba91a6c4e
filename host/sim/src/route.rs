//! URL → what is asked for.

use std::{borrow::Cow, time::Duration};

use percent_encoding::percent_decode_str;

use crate::status::Status;

/// The path of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Route<'a> {
    Resource(ResourcePath<'a>),
    /// Discovery, health, anything else.
    Other(&'a str),
}

/// `/api/v1/namespaces/<namespace>/<resource>/<name>/<subresource>` and its shorter forms.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ResourcePath<'a> {
    pub(crate) group: Cow<'a, str>,
    pub(crate) version: Cow<'a, str>,
    pub(crate) namespace: Option<Cow<'a, str>>,
    pub(crate) resource: Cow<'a, str>,
    pub(crate) name: Option<Cow<'a, str>>,
    pub(crate) subresource: Option<Cow<'a, str>>,
}

fn decode(segment: &str) -> Cow<'_, str> {
    if segment.contains('%') {
        percent_decode_str(segment).decode_utf8_lossy()
    } else {
        Cow::Borrowed(segment)
    }
}

/// Splits a path. Never fails: what fits no pattern is [`Route::Other`].
pub(crate) fn route(path: &str) -> Route<'_> {
    let mut segments = path.split('/').filter(|s| !s.is_empty());
    let (group, version) = match segments.next() {
        Some("api") => ("", segments.next()),
        Some("apis") => (segments.next().unwrap_or_default(), segments.next()),
        _ => return Route::Other(path),
    };
    let Some(version) = version else {
        return Route::Other(path);
    };
    let (mut namespace, mut resource, mut name, mut subresource) =
        (None, segments.next(), segments.next(), segments.next());
    let mut rest = segments.next();
    if resource == Some("namespaces")
        && let (Some(in_namespace), Some(inner)) = (name, subresource)
        && !matches!(inner, "status" | "finalize")
    {
        namespace = Some(in_namespace);
        resource = Some(inner);
        name = rest;
        subresource = segments.next();
        rest = segments.next();
    }
    match (resource, rest) {
        (Some(resource), None) => Route::Resource(ResourcePath {
            group: decode(group),
            version: decode(version),
            namespace: namespace.map(decode),
            resource: decode(resource),
            name: name.map(decode),
            subresource: subresource.map(decode),
        }),
        _ => Route::Other(path),
    }
}

/// Query parameters of all verbs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Params {
    pub(crate) watch: bool,
    pub(crate) limit: usize,
    pub(crate) continue_token: String,
    pub(crate) resource_version: String,
    pub(crate) resource_version_match: String,
    pub(crate) label_selector: String,
    pub(crate) field_selector: String,
    pub(crate) send_initial_events: Option<bool>,
    pub(crate) allow_watch_bookmarks: bool,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) dry_run: bool,
    /// A value of `dryRun` that is none.
    pub(crate) bad_dry_run: Option<String>,
    pub(crate) field_manager: String,
    pub(crate) force: Option<bool>,
    pub(crate) include_object: String,
    pub(crate) grace_period_seconds: Option<i64>,
    pub(crate) propagation_policy: String,
    pub(crate) container: String,
    pub(crate) tail_lines: Option<i64>,
    pub(crate) limit_bytes: Option<i64>,
    pub(crate) previous: bool,
    pub(crate) timestamps: bool,
}

impl Params {
    /// Reads a query string.
    ///
    /// # Errors
    /// 400 for numbers and durations that are none.
    pub(crate) fn parse(query: &str) -> Result<Self, Status> {
        let mut params = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let text = || value.clone().into_owned();
            match key.as_ref() {
                "watch" => params.watch = flag(&value),
                "limit" => params.limit = usize::try_from(integer(&value)?).unwrap_or(0),
                "continue" => params.continue_token = text(),
                "resourceVersion" => params.resource_version = text(),
                "resourceVersionMatch" => params.resource_version_match = text(),
                "labelSelector" => params.label_selector = text(),
                "fieldSelector" => params.field_selector = text(),
                "sendInitialEvents" => params.send_initial_events = Some(flag(&value)),
                "allowWatchBookmarks" => params.allow_watch_bookmarks = flag(&value),
                "timeoutSeconds" => {
                    params.timeout_seconds = u64::try_from(integer(&value)?).ok().filter(|n| *n > 0)
                }
                "timeout" => {
                    go_duration(&value).map_err(|e| {
                        Status::bad_request(format!(
                            "invalid timeout specified in the request URL - {e}"
                        ))
                    })?;
                }
                "dryRun" => {
                    if value != "All" {
                        params.bad_dry_run = Some(text());
                    }
                    params.dry_run = true;
                }
                "fieldManager" => params.field_manager = text(),
                "force" => params.force = Some(flag(&value)),
                "includeObject" => params.include_object = text(),
                "gracePeriodSeconds" => params.grace_period_seconds = Some(integer(&value)?),
                "propagationPolicy" => params.propagation_policy = text(),
                "container" => params.container = text(),
                "tailLines" => params.tail_lines = Some(integer(&value)?),
                "limitBytes" => params.limit_bytes = Some(integer(&value)?),
                "previous" => params.previous = flag(&value),
                "timestamps" => params.timestamps = flag(&value),
                _ => {}
            }
        }
        Ok(params)
    }
}

/// Everything but `false` and `0` is true, as query conversion has it.
fn flag(value: &str) -> bool {
    !matches!(value, "false" | "0" | "False" | "FALSE" | "f" | "F")
}

fn integer(value: &str) -> Result<i64, Status> {
    value.parse().map_err(|_| {
        Status::bad_request(format!(
            "strconv.ParseInt: parsing {value:?}: invalid syntax"
        ))
    })
}

/// Go's `time.ParseDuration` for non-negative values: `1m0s`, `1.5h`, `0`.
pub(crate) fn go_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("time: invalid duration {text:?}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| format!("time: missing unit in duration {text:?}"))?;
        let (number, tail) = rest.split_at_checked(digits).ok_or_else(bad)?;
        let unit_len = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_len).ok_or_else(bad)?;
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            other => return Err(format!("time: unknown unit {other:?} in duration {text:?}")),
        };
        let number: f64 = number.parse().map_err(|_| bad())?;
        total = Duration::try_from_secs_f64(number * seconds)
            .ok()
            .and_then(|part| total.checked_add(part))
            .ok_or_else(bad)?;
        rest = tail;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let Route::Resource(pod) = route("/api/v1/namespaces/ns/pods/p/log") else {
            panic!()
        };
        assert_eq!(
            (
                pod.group.as_ref(),
                pod.version.as_ref(),
                pod.namespace.as_deref(),
                pod.resource.as_ref()
            ),
            ("", "v1", Some("ns"), "pods")
        );
        assert_eq!(
            (pod.name.as_deref(), pod.subresource.as_deref()),
            (Some("p"), Some("log"))
        );
        let Route::Resource(all) = route("/apis/apps/v1/deployments") else {
            panic!()
        };
        assert_eq!(
            (all.group.as_ref(), all.resource.as_ref(), all.name),
            ("apps", "deployments", None)
        );
        let Route::Resource(status) = route("/api/v1/namespaces/a/status") else {
            panic!()
        };
        assert_eq!(
            (
                status.resource.as_ref(),
                status.name.as_deref(),
                status.subresource.as_deref()
            ),
            ("namespaces", Some("a"), Some("status"))
        );
        let Route::Resource(role) =
            route("/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode")
        else {
            panic!()
        };
        assert_eq!(role.name.as_deref(), Some("system:node"));
        for other in [
            "/",
            "/api",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/api/v1",
            "/healthz",
            "",
            "//",
            "/api/v1/namespaces/a/pods/b/proxy/x",
        ] {
            assert_eq!(route(other), Route::Other(other));
        }
    }

    #[test]
    fn durations_as_go_writes_them() {
        assert_eq!(go_duration("1m0s"), Ok(Duration::from_secs(60)));
        assert_eq!(go_duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(go_duration("0"), Ok(Duration::ZERO));
        for bad in [
            "",
            "5",
            "x",
            "1x",
            "-1s",
            "1e400s",
            "..s",
            "9999999999999999999999h",
        ] {
            assert!(go_duration(bad).is_err(), "{bad}");
        }
        let error = Params::parse("timeout=abc").unwrap_err();
        assert_eq!(error.code, 400);
        assert!(
            error
                .message
                .starts_with("invalid timeout specified in the request URL")
        );
    }

    #[test]
    fn params_are_decoded() {
        let params = Params::parse(
            "labelSelector=app%3Dsim&limit=5&watch=1&timeout=1m0s&sendInitialEvents=true",
        )
        .unwrap();
        assert_eq!(
            (params.label_selector.as_str(), params.limit, params.watch),
            ("app=sim", 5, true)
        );
        assert_eq!(params.send_initial_events, Some(true));
        assert_eq!(Params::parse("limit=x").unwrap_err().code, 400);
    }
}
