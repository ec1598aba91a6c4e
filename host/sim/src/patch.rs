//! The four ways to change an object: JSON patch, merge patch, strategic merge patch, apply.
//!
//! Each takes the current object and a patch and returns the patched object; none touches the store.

pub(crate) mod apply;
pub(crate) mod strategic;

use serde_json::Value;

use crate::status::Status;

/// RFC 6902.
///
/// # Errors
/// 400 when the patch is none, 422 when it does not fit the object (a failed `test` too).
pub(crate) fn json(mut object: Value, patch: &[u8]) -> Result<Value, Status> {
    let patch: json_patch::Patch = serde_json::from_slice(patch)
        .map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))?;
    json_patch::patch(&mut object, &patch).map_err(|_| rejected())?;
    Ok(object)
}

/// RFC 7386.
///
/// # Errors
/// 400 when the patch is no JSON object.
pub(crate) fn merge(mut object: Value, patch: &[u8]) -> Result<Value, Status> {
    let patch: Value = serde_json::from_slice(patch)
        .map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))?;
    if !patch.is_object() {
        return Err(Status::bad_request(
            "error decoding patch: json: cannot unmarshal into a map",
        ));
    }
    json_patch::merge(&mut object, &patch);
    Ok(object)
}

fn rejected() -> Status {
    let mut status = Status::invalid("", "", "", &[]);
    status.message = "the server rejected our request due to an error in our request".to_owned();
    status.details = serde_json::json!({});
    status
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    #[test]
    fn json_patch_answers_400_or_422() {
        let object = value!({"data": {"a": "1"}});
        let patched = json(
            object.clone(),
            br#"[{"op":"replace","path":"/data/a","value":"2"}]"#,
        )
        .unwrap();
        assert_eq!(patched, value!({"data": {"a": "2"}}));
        assert_eq!(json(object.clone(), b"{}").unwrap_err().code, 400);
        assert_eq!(
            json(
                object.clone(),
                br#"[{"op":"test","path":"/data/a","value":"9"}]"#
            )
            .unwrap_err()
            .code,
            422
        );
        assert_eq!(
            json(object, br#"[{"op":"remove","path":"/x"}]"#)
                .unwrap_err()
                .code,
            422
        );
    }

    #[test]
    fn merge_patch_removes_with_null() {
        let object = value!({"data": {"a": "1", "b": "2"}});
        assert_eq!(
            merge(object.clone(), br#"{"data":{"a":null}}"#).unwrap(),
            value!({"data": {"b": "2"}})
        );
        assert_eq!(merge(object.clone(), b"[]").unwrap_err().code, 400);
        assert_eq!(merge(object, b"{").unwrap_err().code, 400);
    }
}
