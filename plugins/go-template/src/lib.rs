//! Go's `text/template`, as far as the templates of Kubernetes workloads use it.
//!
//! Enters: a template's text and a value. Leaves: text, or an error that names the template, line and column.
//! Nothing is escaped. Rendering does no I/O and ends however hostile the template: depth, work and output are
//! bounded by [`RenderOptions`].
//!
//! ```
//! use go_template::{Functions, RenderOptions, Template};
//! use serde_json::json;
//!
//! let template = Template::parse("pod.yaml", "name: {{.name}}-{{.replica}}", &Functions::new())?;
//! let text = template.render(&json!({"name": "pod", "replica": 3}), &RenderOptions::default())?;
//! assert_eq!(text, "name: pod-3");
//! # Ok::<(), go_template::TemplateError>(())
//! ```
//!
//! What differs from Go, on purpose: values are JSON, so a number is an `int` or a `float64` and nothing else, and
//! there are no methods and no structs; complex numbers, hexadecimal floats, `call` and `js` are missing, and `printf`
//! has no `*`, no `[n]` and no `%#v`. A comparison of an integer with a float is an error, as in Go.

mod ast;
mod builtins;
mod error;
mod exec;
pub mod functions;
mod lex;
mod literal;
mod parse;
mod print;
mod printf;
mod truth;

use std::collections::BTreeMap;

use serde_json::Value;

pub use error::TemplateError;
pub use functions::{Arity, Functions};

/// What a key stands for that the data does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// Printed as `<no value>`, as Go does by default.
    #[default]
    NoValue,
    /// Printed as nothing, as Go's `html/template` and so KubeVirt's load generator do.
    Empty,
    /// An error that names the key wherever it is used, as Go's `missingkey=error`; also in `{{if .key}}`.
    Error,
}

/// How to render, and how much rendering may cost.
#[derive(Clone, Debug)]
pub struct RenderOptions {
    /// What a missing key stands for.
    pub missing_key: MissingKey,
    /// How long the output may be, and any text a function makes.
    pub max_output_bytes: usize,
    /// How many actions and rounds of loops may be run in all; 16 bytes of what a function returns count as one.
    pub max_steps: u64,
    /// How deep blocks, parentheses and calls of templates may nest; above 200 the stack may not suffice.
    pub max_depth: usize,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self {
            missing_key: MissingKey::default(),
            max_output_bytes: 16 * 1024 * 1024,
            max_steps: 10_000_000,
            max_depth: 200,
        }
    }
}

/// A key the data lacked where the template printed it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingValue {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// As the template writes it: `.containerImg`.
    pub expression: String,
}

/// Text, and what it lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The output.
    pub text: String,
    /// What was printed and has no value, each place once, in the order of the template.
    pub missing: Vec<MissingValue>,
}

/// A template, ready to be rendered any number of times.
#[derive(Clone, Debug)]
pub struct Template {
    name: String,
    text: String,
    root: Vec<ast::Node>,
    /// By `{{define}}` and `{{block}}`.
    defined: BTreeMap<String, Vec<ast::Node>>,
    functions: Functions,
}

impl Template {
    /// Parses; `name` is what errors call the template, usually its file.
    ///
    /// # Errors
    /// Wrong syntax, and functions and variables that are not defined.
    pub fn parse(name: &str, text: &str, functions: &Functions) -> Result<Self, TemplateError> {
        let parsed =
            parse::parse(name, text, functions).map_err(|error| error.within(name, text))?;
        Ok(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            root: parsed.root,
            defined: parsed.defined,
            functions: functions.clone(),
        })
    }

    /// The name it was parsed under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Renders with `dot` as `.` and `$`.
    ///
    /// # Errors
    /// Values of the wrong type, functions that fail, missing keys where these are errors, and exceeded limits.
    pub fn render(&self, dot: &Value, options: &RenderOptions) -> Result<String, TemplateError> {
        Ok(self.render_with_notes(dot, options)?.text)
    }

    /// Renders, and says what had no value where it was printed.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render_with_notes(
        &self,
        dot: &Value,
        options: &RenderOptions,
    ) -> Result<Rendered, TemplateError> {
        let (text, missing) = exec::execute(self, dot, options)
            .map_err(|error| error.within(&self.name, &self.text))?;
        let missing = missing
            .into_iter()
            .map(|(at, expression)| {
                let (line, column) = error::line_and_column(&self.text, at);
                MissingValue {
                    line,
                    column,
                    expression,
                }
            })
            .collect();
        Ok(Rendered { text, missing })
    }
}
