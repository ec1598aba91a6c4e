//! Requests of a load: decided one by one before they are sent, as they are.

use crate::{
    api::{ApiFailure, Code},
    grant::{Asked, Request, Verb},
    session::Session,
};

impl Session {
    /// Whether a load may send a request of this method to this path and query.
    ///
    /// Besides the grants it needs a namespace of the run for what writes: nobody labels what a load creates, so
    /// elsewhere it would be left behind; and what a load changes elsewhere could get the run's label, and be
    /// deleted with the run.
    ///
    /// # Errors
    /// `denied`, with the missing grant or what to do instead.
    pub fn gate(&self, method: &str, path_and_query: &str) -> Result<(), ApiFailure> {
        let refused = |why: String| {
            let message = format!("the load asks for {method} {path_and_query}: {why}");
            Err(ApiFailure::own(Code::Denied, message))
        };
        let request = match Asked::of(method, path_and_query) {
            Asked::Fact => return Ok(()),
            Asked::Other => {
                return refused("no grant can allow a path or method of this kind".to_owned());
            }
            Asked::Resource(request) => request,
        };
        if let Err(denied) = self.decide(&request) {
            return refused(denied.message);
        }
        let is_inside = request
            .namespace
            .is_some_and(|namespace| self.owns_namespace(namespace));
        match request.verb {
            Verb::Create if !is_inside && !is_review(&request) => refused(
                "a load may create only in namespaces that the run created, as what it creates is not labelled and \
                 would be left elsewhere; create a namespace first, or create the objects with `create` or a bulk"
                    .to_owned(),
            ),
            Verb::Update | Verb::Patch if !is_inside => refused(
                "a load may change objects only in namespaces that the run created; change others with `update`, \
                 `patch` or a bulk"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

/// Questions in the shape of a creation (`SubjectAccessReview`, `TokenReview`): nothing is stored.
fn is_review(request: &Request<'_>) -> bool {
    matches!(
        request.group,
        "authorization.k8s.io" | "authentication.k8s.io"
    )
}
