//! `get`: one object by name.

use http::StatusCode;

use crate::{answer::Answer, handle::Call, status::Status};

pub(super) fn run(call: &Call<'_>) -> Result<Answer, Status> {
    super::list::check_not_older(call)?;
    let object = call
        .resource
        .collection
        .get(call.namespace, call.name)
        .ok_or_else(|| Status::not_found(&call.resource, call.name))?;
    Ok(super::answer_object(StatusCode::OK, call, &object))
}
