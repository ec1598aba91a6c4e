//! Request shapes as a plugin declares them, checked once so that nothing needs checking per request.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, uri::PathAndQuery};

use crate::{
    limits::Limits, report::Label, text::one_line, v0_1::kperf::workload::requests::Template,
};

/// A request shape whose parts are known to be valid HTTP.
#[derive(Clone, Debug)]
pub struct TemplateSpec {
    /// Name of the series; not empty, one line.
    pub series: String,
    /// HTTP method.
    pub method: Method,
    /// Used when a request brings no path.
    pub path: PathAndQuery,
    /// Lower-case names; none of them about the connection or the user's identity.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Used when a request brings no body.
    pub body: Vec<u8>,
    /// How the exchange runs.
    pub kind: ExchangeKind,
    /// JSON pointers (RFC 6901), valid.
    pub capture: Vec<String>,
    /// Hints besides those that `kind` holds already.
    pub hints: Vec<Label>,
}

/// How an exchange runs and when it counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// One answer, drained to its end.
    Request,
    /// A watch that ends, as a success, at the bookmark that closes the initial events.
    WatchList,
    /// A watch held for a time, then cancelled, a success.
    Watch {
        /// How long to hold it.
        hold: Duration,
    },
}

/// Headers of the connection, of the body's framing, and of who is asking: all the host's business.
const FORBIDDEN_HEADERS: [&str; 14] = [
    "authorization",
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];
/// Kubernetes' headers for acting as somebody else.
const FORBIDDEN_PREFIX: &str = "impersonate-";

const MAX_SERIES_BYTES: usize = 1024;
const MAX_CAPTURES: usize = 16;
/// A watch that is to be held longer than this is a mistake in units.
const MAX_HOLD: Duration = Duration::from_secs(7 * 24 * 3600);

/// All templates of an `open`, or which one is wrong and why.
pub(crate) fn check_all(
    templates: Vec<Template>,
    limits: &Limits,
) -> Result<Vec<TemplateSpec>, String> {
    let count = templates.len();
    if count == 0 || count > limits.templates {
        return Err(format!(
            "it declared {count} templates, 1 to {} are allowed",
            limits.templates
        ));
    }
    templates
        .into_iter()
        .enumerate()
        .map(|(index, template)| {
            let series = one_line(&template.series, 100);
            check(template).map_err(|why| format!("template {index} (`{series}`): {why}"))
        })
        .collect()
}

fn check(template: Template) -> Result<TemplateSpec, String> {
    if template.series.trim().is_empty() || template.series.len() > MAX_SERIES_BYTES {
        return Err(format!(
            "the series name must have 1 to {MAX_SERIES_BYTES} bytes"
        ));
    }
    if template.series.chars().any(char::is_control) {
        return Err("the series name has control characters".to_owned());
    }
    let method = Method::from_bytes(template.method.as_bytes())
        .ok()
        .filter(|_| template.method.bytes().all(|b| !b.is_ascii_lowercase()))
        .filter(|method| *method != Method::CONNECT)
        .ok_or_else(|| {
            format!(
                "`{}` is not an HTTP method in upper case",
                one_line(&template.method, 40)
            )
        })?;
    let kind = kind(&template)?;
    Ok(TemplateSpec {
        path: path(&template.path)?,
        headers: template
            .headers
            .iter()
            .map(header)
            .collect::<Result<_, _>>()?,
        capture: captures(template.capture)?,
        series: template.series,
        method,
        body: template.body,
        kind,
        hints: template.hints,
    })
}

fn path(path: &str) -> Result<PathAndQuery, String> {
    let shown = || one_line(path, 100);
    if !path.starts_with('/') {
        return Err(format!("the path `{}` does not start with `/`", shown()));
    }
    if path.contains('#') {
        return Err(format!("the path `{}` has a fragment", shown()));
    }
    PathAndQuery::try_from(path)
        .map_err(|error| format!("the path `{}` is not one: {error}", shown()))
}

fn header(label: &Label) -> Result<(HeaderName, HeaderValue), String> {
    let shown = one_line(&label.key, 60);
    let name =
        HeaderName::try_from(&label.key).map_err(|_| format!("`{shown}` is not a header name"))?;
    if FORBIDDEN_HEADERS.contains(&name.as_str()) || name.as_str().starts_with(FORBIDDEN_PREFIX) {
        return Err(format!("the header `{name}` is the host's to set"));
    }
    // The value may be secret.
    let value = HeaderValue::try_from(&label.value)
        .map_err(|_| format!("the value of the header `{name}` has bytes that are not allowed"))?;
    Ok((name, value))
}

fn kind(template: &Template) -> Result<ExchangeKind, String> {
    match template.kind.as_str() {
        "" | "request" => Ok(ExchangeKind::Request),
        "watch-list" => Ok(ExchangeKind::WatchList),
        "watch" => {
            let hold = template
                .hints
                .iter()
                .find(|hint| hint.key == "hold-ms")
                .ok_or("the kind `watch` needs the hint `hold-ms`")?;
            let hold = hold
                .value
                .parse()
                .map(Duration::from_millis)
                .ok()
                .filter(|hold| !hold.is_zero() && *hold <= MAX_HOLD)
                .ok_or_else(|| {
                    format!(
                        "the hint `hold-ms` is `{}`, allowed are 1 to {} milliseconds",
                        one_line(&hold.value, 40),
                        MAX_HOLD.as_millis()
                    )
                })?;
            Ok(ExchangeKind::Watch { hold })
        }
        other => Err(format!(
            "the kind `{}` is not known to this host; it knows request, watch-list and watch",
            one_line(other, 40)
        )),
    }
}

fn captures(pointers: Vec<String>) -> Result<Vec<String>, String> {
    if pointers.len() > MAX_CAPTURES {
        return Err(format!(
            "it captures {} values, at most {MAX_CAPTURES} are allowed",
            pointers.len()
        ));
    }
    match pointers.iter().find(|pointer| !is_json_pointer(pointer)) {
        Some(wrong) => Err(format!(
            "`{}` is not a JSON pointer (RFC 6901)",
            one_line(wrong, 100)
        )),
        None => Ok(pointers),
    }
}

/// RFC 6901, section 3: segments after `/`, `~` only as `~0` or `~1`.
fn is_json_pointer(text: &str) -> bool {
    (text.is_empty() || text.starts_with('/'))
        && text
            .split('~')
            .skip(1)
            .all(|rest| rest.starts_with('0') || rest.starts_with('1'))
}

#[cfg(test)]
#[path = "template/tests.rs"]
mod tests;
