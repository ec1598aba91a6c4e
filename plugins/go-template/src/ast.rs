//! A parsed template.

use serde_json::Value;

/// One step of a template's output.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    /// `{{template "name" pipe}}`.
    Call {
        at: usize,
        name: String,
        pipe: Option<Pipe>,
    },
    Break,
    Continue,
}

/// `{{if pipe}} body {{else}} otherwise {{end}}`, and its like.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub(crate) at: usize,
    pub(crate) pipe: Pipe,
    pub(crate) body: Vec<Node>,
    pub(crate) otherwise: Vec<Node>,
}

/// `$a, $b := command | command`.
#[derive(Clone, Debug)]
pub(crate) struct Pipe {
    pub(crate) at: usize,
    /// As written, for notes about what it lacks.
    pub(crate) source: String,
    /// With the `$`.
    pub(crate) variables: Vec<String>,
    /// `=`, not `:=`.
    pub(crate) assigns: bool,
    pub(crate) commands: Vec<Command>,
}

/// A function or a value, and what it is given.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) first: Operand,
    pub(crate) arguments: Vec<Operand>,
}

/// One word of a command.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) at: usize,
    pub(crate) term: Term,
}

#[derive(Clone, Debug)]
pub(crate) enum Term {
    Dot,
    Nil,
    Literal(Value),
    /// `.a.b`.
    Field(Vec<String>),
    /// `$x.a.b`.
    Variable(String, Vec<String>),
    Function(String),
    /// `( … )`.
    Parenthesised(Box<Pipe>),
    /// `( … ).a.b`.
    Chain(Box<Operand>, Vec<String>),
}
