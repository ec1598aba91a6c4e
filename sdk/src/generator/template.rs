//! The shapes of a generator's requests, declared once at `open`.

use std::time::Duration;

use super::{Template, TemplateId};
use crate::failure::{Failure, Label};

/// Most templates a generator may declare.
const MOST: usize = 10_000;

/// The templates a generator declares; [`add`](Templates::add) gives the number that requests are made with.
#[derive(Debug, Default)]
pub struct Templates(Vec<Template>);

impl Templates {
    /// Declares a shape of request.
    pub fn add(&mut self, template: Template) -> TemplateId {
        let index = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.push(template);
        TemplateId(index)
    }

    pub(crate) fn into_wit(self) -> Result<Vec<Template>, Failure> {
        match self.0.len() {
            1..=MOST => Ok(self.0),
            n => Err(Failure::new(
                "bad-templates",
                format!("a generator declares 1 to {MOST} templates in `open`, this one {n}"),
            )),
        }
    }
}

impl Template {
    /// A request with this method, measured under the name `series`.
    ///
    /// `path` is percent-encoded, from the root of the API server, query included; it is used when a request
    /// brings no path. Keep the number of distinct series names small: mask what varies, as in
    /// `GET /api/v1/pods/:name`.
    pub fn new(
        series: impl Into<String>,
        method: impl Into<String>,
        path: impl Into<String>,
    ) -> Self {
        Self {
            series: series.into(),
            method: method.into(),
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            kind: String::new(),
            capture: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// A `GET`.
    pub fn get(series: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(series, "GET", path)
    }

    /// A watch that ends, as a success, at the bookmark that closes the initial events.
    pub fn watch_list(series: impl Into<String>, path: impl Into<String>) -> Self {
        let mut template = Self::get(series, path);
        "watch-list".clone_into(&mut template.kind);
        template
    }

    /// A watch held for a while, then cancelled, a success.
    pub fn watch(series: impl Into<String>, path: impl Into<String>, hold: Duration) -> Self {
        let mut template = Self::get(series, path);
        "watch".clone_into(&mut template.kind);
        template.hint("hold-ms", hold.as_millis().to_string())
    }

    /// Adds a header to every request of this shape.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(Label {
            key: name.into(),
            value: value.into(),
        });
        self
    }

    /// Sets the body used when a request brings none.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Asks for a value of JSON answers by its pointer (RFC 6901); it comes back in the outcome.
    #[must_use]
    pub fn capture(mut self, pointer: impl Into<String>) -> Self {
        self.capture.push(pointer.into());
        self
    }

    /// Adds a wish by name; the host ignores those it doesn't know.
    #[must_use]
    pub fn hint(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.hints.push(Label {
            key: name.into(),
            value: value.into(),
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_and_none_is_a_failure() {
        let mut templates = Templates::default();
        assert_eq!(templates.add(Template::get("a", "/a")).index(), 0);
        let watch = Template::watch("b", "/b", Duration::from_secs(2));
        assert_eq!(templates.add(watch).index(), 1);
        let templates = templates.into_wit().unwrap();
        assert_eq!(templates[1].kind, "watch");
        assert_eq!(templates[1].hints[0].value, "2000");
        let failure = Templates::default().into_wit().unwrap_err();
        assert_eq!(failure.code, "bad-templates");
    }
}
