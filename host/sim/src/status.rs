//! `metav1.Status`: every error the server answers with, worded as kube-apiserver words it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::registry::Resource;

/// An error answer. Rendered by [`Status::to_bytes`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    pub(crate) code: u16,
    /// Empty where the real server leaves it out.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// `null` when there are none.
    pub(crate) details: Value,
    pub(crate) retry_after_secs: Option<u64>,
    /// `metadata.continue`, only of an expired list.
    pub(crate) continue_token: Option<String>,
}

/// One `details.causes` entry of an Invalid answer, with the text it contributes to the message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FieldError {
    reason: &'static str,
    field: String,
    text: String,
}

impl FieldError {
    pub(crate) fn required(field: &str, message: &str) -> Self {
        Self::new(
            "FieldValueRequired",
            field,
            if message.is_empty() {
                "Required value".to_owned()
            } else {
                format!("Required value: {message}")
            },
        )
    }

    pub(crate) fn invalid(field: &str, value: &Value, message: &str) -> Self {
        Self::new(
            "FieldValueInvalid",
            field,
            format!("Invalid value: {value}: {message}"),
        )
    }

    pub(crate) fn forbidden(field: &str, message: &str) -> Self {
        Self::new(
            "FieldValueForbidden",
            field,
            format!("Forbidden: {message}"),
        )
    }

    pub(crate) fn unsupported(field: &str, value: &str, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        Self::new(
            "FieldValueNotSupported",
            field,
            format!(
                "Unsupported value: {value:?}: supported values: {}",
                list.join(", ")
            ),
        )
    }

    fn new(reason: &'static str, field: &str, text: String) -> Self {
        Self {
            reason,
            field: field.to_owned(),
            text,
        }
    }
}

impl Status {
    fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
            retry_after_secs: None,
            continue_token: None,
        }
    }

    fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details = object_details(name, &resource.group, &resource.plural);
        self
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        Self::plain(
            404,
            "NotFound",
            format!("{} {name:?} not found", resource.qualified()),
        )
        .about(resource, name)
    }

    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        Self::plain(
            409,
            "AlreadyExists",
            format!("{} {name:?} already exists", resource.qualified()),
        )
        .about(resource, name)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        Self::plain(
            409,
            "Conflict",
            format!(
                "Operation cannot be fulfilled on {} {name:?}: {why}",
                resource.qualified()
            ),
        )
        .about(resource, name)
    }

    /// A precondition of a deletion does not hold: about the kind, not the resource.
    pub(crate) fn precondition(resource: &Resource, name: &str, why: &str) -> Self {
        Self::conflict_about(&resource.group, &resource.kind, name, why)
    }

    pub(crate) fn conflict_about(group: &str, what: &str, name: &str, why: &str) -> Self {
        let dot = if group.is_empty() { "" } else { "." };
        let mut status = Self::plain(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {what}{dot}{group} {name:?}: {why}"),
        );
        status.details = object_details(name, group, what);
        status
    }

    pub(crate) fn stale(resource: &Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// Server-side apply met fields of other managers. `conflicts` are (manager, field path).
    pub(crate) fn apply_conflict(conflicts: &[(String, String)]) -> Self {
        let mut by_manager: Vec<(&str, Vec<&str>)> = Vec::new();
        for (manager, field) in conflicts {
            match by_manager.iter_mut().find(|(m, _)| m == manager) {
                Some((_, fields)) => fields.push(field),
                None => by_manager.push((manager, vec![field])),
            }
        }
        let text: Vec<String> = by_manager
            .iter()
            .map(|(manager, fields)| match fields.as_slice() {
                [one] => format!("conflict with {manager:?}: {one}"),
                many => format!("conflicts with {manager:?}:\n- {}", many.join("\n- ")),
            })
            .collect();
        let plural = if conflicts.len() == 1 { "" } else { "s" };
        let mut status = Self::plain(
            409,
            "Conflict",
            format!(
                "Apply failed with {} conflict{plural}: {}",
                conflicts.len(),
                text.join("\n")
            ),
        );
        let causes: Vec<Value> = conflicts
            .iter()
            .map(|(manager, field)| {
                json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager:?}"), "field": field})
            })
            .collect();
        status.details = json!({ "causes": causes });
        status
    }

    pub(crate) fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let texts: Vec<String> = errors
            .iter()
            .map(|e| format!("{}: {}", e.field, e.text))
            .collect();
        let text = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut status = Self::plain(
            422,
            "Invalid",
            format!("{qualified} {name:?} is invalid: {text}"),
        );
        status.details = object_details(name, group, kind);
        if let Value::Object(details) = &mut status.details {
            let causes: Vec<Value> = errors
                .iter()
                .map(|e| json!({"reason": e.reason, "message": e.text, "field": e.field}))
                .collect();
            details.insert("causes".to_owned(), Value::Array(causes));
        }
        status
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::plain(401, "Unauthorized", "Unauthorized")
    }

    /// `what` is `pods` or `""` for a path; `why` completes the sentence "`x` is forbidden: …".
    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let quoted = if name.is_empty() {
            String::new()
        } else {
            format!(" {name:?}")
        };
        Self::plain(
            403,
            "Forbidden",
            format!("{}{quoted} is forbidden: {why}", resource.qualified()),
        )
        .about(resource, name)
    }

    pub(crate) fn forbidden_path(path: &str, user: &str, verb: &str) -> Self {
        let mut status = Self::plain(
            403,
            "Forbidden",
            format!("forbidden: User {user:?} cannot {verb} path {path:?}"),
        );
        status.details = json!({});
        status
    }

    pub(crate) fn method_not_allowed() -> Self {
        let mut status = Self::plain(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        status.details = json!({});
        status
    }

    /// What the router says to a path below a group it serves.
    pub(crate) fn nothing_there() -> Self {
        let mut status = Self::plain(
            404,
            "NotFound",
            "the server could not find the requested resource",
        );
        status.details = json!({});
        status
    }

    /// What the router says before the resource is asked: it knows media types, not their parameters.
    pub(crate) fn no_such_representation() -> Self {
        let mut status = Self::plain(
            406,
            "NotAcceptable",
            "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml",
        );
        status.details = json!({});
        status
    }

    /// What the router says to a patch of no known type.
    pub(crate) fn no_such_patch() -> Self {
        let mut status = Self::plain(415, "UnsupportedMediaType", "415: Unsupported Media Type");
        status.details = json!({});
        status
    }

    pub(crate) fn not_acceptable() -> Self {
        Self::plain(
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json, application/yaml",
        )
    }

    pub(crate) fn unsupported_media_type(accepted: &str) -> Self {
        Self::plain(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {accepted}"
            ),
        )
    }

    pub(crate) fn too_large(limit_bytes: usize) -> Self {
        Self::plain(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit_bytes}"),
        )
    }

    /// A resourceVersion, a watch start or an exact list that history no longer covers.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::plain(410, "Expired", message)
    }

    pub(crate) fn too_large_revision(asked: u64, current: u64) -> Self {
        let mut status = Self::plain(
            504,
            "Timeout",
            format!("Timeout: Too large resource version: {asked}, current: {current}"),
        );
        status.details = json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        });
        status.retry_after_secs = Some(1);
        status
    }

    pub(crate) fn too_many_requests(retry_after_secs: u64) -> Self {
        let mut status = Self::plain(
            429,
            "TooManyRequests",
            "Too many requests, please try again later.",
        );
        status.details = json!({"retryAfterSeconds": retry_after_secs});
        status.retry_after_secs = Some(retry_after_secs);
        status
    }

    pub(crate) fn internal(message: &str) -> Self {
        let mut status = Self::plain(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        );
        status.details = json!({"causes": [{"message": message}]});
        status
    }

    pub(crate) fn service_unavailable(message: &str) -> Self {
        Self::plain(503, "ServiceUnavailable", message)
    }

    pub(crate) fn timeout(message: &str) -> Self {
        Self::plain(504, "Timeout", format!("Timeout: {message}"))
    }

    /// An error kube-apiserver has no Status for: code 500 and no reason.
    pub(crate) fn unclassified(message: impl Into<String>) -> Self {
        Self::plain(500, "", message)
    }

    /// Adds causes without a field, as admission and subresources do.
    pub(crate) fn with_cause(mut self, reason: &str, message: &str, field: &str) -> Self {
        if !self.details.is_object() {
            self.details = json!({});
        }
        if let Value::Object(details) = &mut self.details {
            details.insert(
                "causes".to_owned(),
                json!([{"reason": reason, "message": message, "field": field}]),
            );
        }
        self
    }

    /// The Status object.
    pub(crate) fn to_value(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(token) = &self.continue_token {
            metadata.insert("continue".to_owned(), Value::String(token.clone()));
        }
        let mut map = Map::new();
        map.insert("kind".to_owned(), json!("Status"));
        map.insert("apiVersion".to_owned(), json!("v1"));
        map.insert("metadata".to_owned(), Value::Object(metadata));
        map.insert("status".to_owned(), json!("Failure"));
        map.insert("message".to_owned(), Value::String(self.message.clone()));
        if !self.reason.is_empty() {
            map.insert("reason".to_owned(), json!(self.reason));
        }
        if !self.details.is_null() {
            map.insert("details".to_owned(), self.details.clone());
        }
        map.insert("code".to_owned(), json!(self.code));
        Value::Object(map)
    }

    /// The Status object as JSON.
    pub(crate) fn to_bytes(&self) -> Bytes {
        Bytes::from(format!("{}\n", self.to_value()))
    }
}

/// `{"kind":"Status","status":"Success"}` of a finished deletion.
pub(crate) fn deleted(resource: &Resource, name: &str, uid: &str) -> Value {
    let mut details = object_details(name, &resource.group, &resource.plural);
    if let Value::Object(details) = &mut details {
        details.insert("uid".to_owned(), json!(uid));
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

fn object_details(name: &str, group: &str, kind: &str) -> Value {
    let mut details = Map::new();
    if !name.is_empty() {
        details.insert("name".to_owned(), json!(name));
    }
    if !group.is_empty() {
        details.insert("group".to_owned(), json!(group));
    }
    details.insert("kind".to_owned(), json!(kind));
    Value::Object(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_names_group_kind_and_every_field() {
        let status = Status::invalid(
            "apps",
            "Deployment",
            "x",
            &[
                FieldError::required("metadata.name", "name or generateName is required"),
                FieldError::forbidden("spec", "no"),
            ],
        );
        assert_eq!(
            status.message,
            "Deployment.apps \"x\" is invalid: [metadata.name: Required value: name or generateName is required, spec: Forbidden: no]"
        );
        assert_eq!(status.details["causes"][1]["field"], "spec");
        assert_eq!(status.details["group"], "apps");
    }

    #[test]
    fn one_apply_conflict_reads_as_the_real_one() {
        let status = Status::apply_conflict(&[("alice".to_owned(), ".data.k".to_owned())]);
        assert_eq!(
            status.message,
            "Apply failed with 1 conflict: conflict with \"alice\": .data.k"
        );
    }
}
