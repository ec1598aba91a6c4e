//! What a verb gives back, before it becomes an HTTP response; and what the client can read.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::ACCEPT};
use serde_json::Value;

use crate::{body::Body, status::Status};

/// `application/json`.
pub(crate) const JSON: &str = "application/json";
/// `application/yaml`.
pub(crate) const YAML: &str = "application/yaml";
/// Plain text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// Status code, type and body.
pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: Body,
    pub(crate) retry_after_secs: Option<u64>,
}

impl Answer {
    pub(crate) fn new(code: StatusCode, content_type: &'static str, body: Body) -> Self {
        Self {
            code,
            content_type,
            body,
            retry_after_secs: None,
        }
    }

    pub(crate) fn text(code: StatusCode, text: impl Into<Bytes>) -> Self {
        Self::new(code, TEXT, Body::Whole(text.into()))
    }

    pub(crate) fn json(value: &Value) -> Self {
        Self::new(
            StatusCode::OK,
            JSON,
            Body::Whole(Bytes::from(format!("{value}\n"))),
        )
    }

    pub(crate) fn value(code: StatusCode, value: &Value, accept: &Accept) -> Self {
        if accept.yaml {
            let text = serde_yaml::to_string(value).unwrap_or_default();
            return Self::new(code, YAML, Body::Whole(text.into()));
        }
        Self::new(code, JSON, Body::Whole(Bytes::from(format!("{value}\n"))))
    }

    /// What the real server says to paths it does not know.
    pub(crate) fn page_not_found() -> Self {
        Self::text(StatusCode::NOT_FOUND, &b"404 page not found\n"[..])
    }
}

impl From<Status> for Answer {
    fn from(status: Status) -> Self {
        Self {
            code: StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            content_type: JSON,
            body: Body::Whole(status.to_bytes()),
            retry_after_secs: status.retry_after_secs,
        }
    }
}

/// In which shape objects are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    #[default]
    Object,
    /// `meta.k8s.io/v1` Table.
    Table,
    /// `meta.k8s.io/v1` PartialObjectMetadata and its list.
    Metadata,
}

/// What the client can read, of what we can write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accept {
    pub(crate) shape: Shape,
    pub(crate) yaml: bool,
}

impl Accept {
    /// The first acceptable media type of the `accept` headers.
    ///
    /// # Errors
    /// 406 when there is none, as for a client that insists on protobuf.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self, Status> {
        let (mut any, mut routed) = (false, false);
        for header in headers.get_all(ACCEPT) {
            let text = header.to_str().map_err(|_| Status::not_acceptable())?;
            for media in text.split(',') {
                any = true;
                routed |= is_known(media);
                if let Some(accept) = one(media) {
                    return Ok(accept);
                }
            }
        }
        if routed {
            Err(Status::not_acceptable())
        } else if any {
            Err(Status::no_such_representation())
        } else {
            Ok(Self::default())
        }
    }
}

/// Whether the real server's router would let it pass.
fn is_known(media: &str) -> bool {
    let name = media.split(';').next().unwrap_or_default().trim();
    matches!(
        name,
        "*/*" | "application/json" | "application/yaml" | crate::protobuf::MEDIA_TYPE
    )
}

fn one(media: &str) -> Option<Accept> {
    let mut parts = media.split(';').map(str::trim);
    let yaml = match parts.next()? {
        "application/json" | "*/*" | "" => false,
        "application/yaml" => true,
        _ => return None,
    };
    let (mut shape, mut group, mut version) = (Shape::Object, true, true);
    for parameter in parts {
        match parameter.split_once('=').unwrap_or((parameter, "")) {
            ("as", "Table") => shape = Shape::Table,
            ("as", "PartialObjectMetadata" | "PartialObjectMetadataList") => {
                shape = Shape::Metadata
            }
            ("as", _) | ("stream", _) => return None,
            ("g", g) => group = g == "meta.k8s.io",
            ("v", v) => version = v == "v1",
            _ => {}
        }
    }
    (group && version).then_some(Accept { shape, yaml })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &str) -> Result<Accept, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, text.parse().unwrap());
        Accept::from_headers(&headers).map_err(|s| s.code)
    }

    #[test]
    fn negotiation_takes_the_first_that_fits() {
        let plain = Accept::default();
        let table = Accept {
            shape: Shape::Table,
            yaml: false,
        };
        assert_eq!(Accept::from_headers(&HeaderMap::new()), Ok(plain));
        for (text, expected) in [
            ("application/json, */*", Ok(plain)),
            ("application/vnd.kubernetes.protobuf, */*", Ok(plain)),
            (
                "application/vnd.kubernetes.protobuf,application/json",
                Ok(plain),
            ),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                Ok(table),
            ),
            (
                "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                Ok(plain),
            ),
            (
                "application/yaml",
                Ok(Accept {
                    yaml: true,
                    ..plain
                }),
            ),
            ("application/vnd.kubernetes.protobuf", Err(406)),
            ("text/html", Err(406)),
            ("application/*", Err(406)),
        ] {
            assert_eq!(accept(text), expected, "{text}");
        }
    }
}
