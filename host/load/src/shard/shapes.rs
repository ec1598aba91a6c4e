//! From the templates of a source to what is sent: checked once, completed with headers whenever
//! credentials change.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{phase::Prepared, worker};
use crate::{
    net::{
        capture::{MAX_POINTERS, Pointers},
        exchange::Common,
        http2::{Head, Origin},
    },
    plan::PhasePlan,
    request::{SourceError, Template},
};

/// A template, checked, without the headers that may change.
pub(super) struct Shape {
    template: Template,
    series: u32,
    pointers: Rc<Pointers>,
}

/// Templates a source may have.
const MAX_TEMPLATES: usize = 10_000;
/// Headers that belong to the connection, not to a request.
const REFUSED_HEADERS: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Checks the templates and numbers their series by name.
pub(super) fn shapes(
    templates: &[Template],
    path_prefix: &str,
) -> Result<(Vec<Arc<str>>, Vec<Shape>), SourceError> {
    let malformed = |message: String| SourceError {
        code: "malformed-template".to_owned(),
        message,
    };
    if templates.is_empty() || templates.len() > MAX_TEMPLATES {
        return Err(malformed(format!(
            "the source has {} templates; it must have 1 to {MAX_TEMPLATES}",
            templates.len()
        )));
    }
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut known = HashMap::<&str, u32>::new();
    let mut shapes = Vec::with_capacity(templates.len());
    for (index, template) in templates.iter().enumerate() {
        let refused = |name: &HeaderName| {
            REFUSED_HEADERS.contains(name)
                || matches!(name.as_str(), "keep-alive" | "proxy-connection")
        };
        if let Some(name) = template.headers.keys().find(|name| refused(name)) {
            return Err(malformed(format!(
                "template {index} ({:?}) sets the header {name}, which belongs to the connection; leave it out",
                template.series
            )));
        }
        if template.capture.len() > MAX_POINTERS {
            return Err(malformed(format!(
                "template {index} captures {} values; at most {MAX_POINTERS} can be",
                template.capture.len()
            )));
        }
        let pointers = Pointers::parse(&template.capture).map_err(|pointer| {
            malformed(format!(
                "template {index} captures {pointer:?}, which is not a JSON pointer: it must be empty or start with '/'"
            ))
        })?;
        let mut template = template.clone();
        template.path = worker::prefixed(path_prefix, &template.path)
            .map_err(|failure| malformed(format!("template {index}: {}", failure.key())))?;
        shapes.push(Shape {
            template,
            series: 0,
            pointers: Rc::new(pointers),
        });
    }
    for (template, shape) in templates.iter().zip(&mut shapes) {
        shape.series = *known.entry(template.series.as_str()).or_insert_with(|| {
            names.push(template.series.as_str().into());
            names.len() as u32 - 1
        });
    }
    Ok((names, shapes))
}

/// Headers of every request, those of templates and target apart.
pub(super) fn base_headers(plan: &PhasePlan, user_agent: &HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::ACCEPT, plan.accept.clone());
    headers.insert(header::USER_AGENT, user_agent.clone());
    headers
}

/// A template's headers win over the plan's; the target's (credentials) win over all.
pub(super) fn merge_headers(
    shapes: &[Shape],
    origin: &Origin,
    base: &HeaderMap,
    target: &HeaderMap,
) -> Vec<Rc<Prepared>> {
    shapes
        .iter()
        .map(|shape| {
            let template = &shape.template;
            let mut headers = base.clone();
            for from in [&template.headers, target] {
                for name in from.keys() {
                    headers.remove(name);
                    for value in from.get_all(name) {
                        headers.append(name.clone(), value.clone());
                    }
                }
            }
            Rc::new(Prepared {
                series: shape.series,
                common: Common {
                    method: template.method.clone(),
                    path: template.path.clone(),
                    head: Head::new(origin, &template.method, &headers),
                    headers,
                    body: template.body.clone(),
                },
                kind: template.kind,
                pointers: Rc::clone(&shape.pointers),
            })
        })
        .collect()
}
