//! What is wrong with a template, and where.

use std::fmt;

/// Why a template cannot be parsed or rendered: `density.yaml:3:14: function "foo" not defined`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The name the template was parsed under.
    pub name: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong, in one sentence.
    pub message: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            line,
            column,
            message,
        } = self;
        write!(f, "{name}:{line}:{column}: {message}")
    }
}

impl std::error::Error for TemplateError {}

/// An error whose place is still an offset into the text.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) at_byte: usize,
    pub(crate) message: String,
}

impl Located {
    pub(crate) fn new(at_byte: usize, message: impl Into<String>) -> Self {
        Self {
            at_byte,
            message: message.into(),
        }
    }

    pub(crate) fn within(self, name: &str, text: &str) -> TemplateError {
        let (line, column) = line_and_column(text, self.at_byte);
        TemplateError {
            name: name.to_owned(),
            line,
            column,
            message: self.message,
        }
    }
}

/// Both from 1; an offset past the end is the end.
pub(crate) fn line_and_column(text: &str, at_byte: usize) -> (usize, usize) {
    let before = text
        .char_indices()
        .take_while(|(offset, _)| *offset < at_byte)
        .map(|(_, character)| character);
    let (mut line, mut column) = (1, 1);
    for character in before {
        if character == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
    (line, column)
}
