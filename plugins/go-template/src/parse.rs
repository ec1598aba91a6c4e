//! Tokens into a tree; the grammar is that of Go's `text/template/parse`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::ast::{Branch, Command, Node, Operand, Pipe, Term};
use crate::error::Located;
use crate::functions::Functions;
use crate::lex::{Kind, Token, lex};
use crate::{builtins, literal};

/// Blocks and parentheses may nest so deep.
const MAX_DEPTH: usize = 100;

const KEYWORDS: [&str; 10] = [
    "block", "break", "continue", "define", "else", "end", "if", "range", "template", "with",
];

pub(crate) struct Parsed {
    pub(crate) root: Vec<Node>,
    pub(crate) defined: BTreeMap<String, Vec<Node>>,
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    End,
    Else,
    /// The keyword is still to be read.
    ElseIf,
    ElseWith,
}

pub(crate) fn parse(name: &str, text: &str, functions: &Functions) -> Result<Parsed, Located> {
    let mut parser = Parser {
        text,
        tokens: lex(text)?,
        at: 0,
        functions,
        variables: vec!["$".to_owned()],
        range_depth: 0,
        depth: 0,
        defined: BTreeMap::new(),
    };
    let mut root = Vec::new();
    while parser.peek().kind != Kind::End {
        if parser.define()? {
            continue;
        }
        match parser.node()? {
            Step::Node(node) => root.push(node),
            Step::Ending(at, ending) => {
                let word = if ending == Ending::End { "end" } else { "else" };
                return Err(Located::new(at, format!("unexpected {{{{{word}}}}}")));
            }
        }
    }
    // A template may define, and call, what has its own name.
    if parser.defined.contains_key(name) {
        parser.add_definition(0, name.to_owned(), root.clone())?;
        root = parser.defined.get(name).cloned().unwrap_or_default();
    } else if calls(&root, name) {
        parser.defined.insert(name.to_owned(), root.clone());
    }
    let defined = parser.defined;
    Ok(Parsed { root, defined })
}

/// Whether the template calls `name`, itself.
fn calls(nodes: &[Node], name: &str) -> bool {
    nodes.iter().any(|node| match node {
        Node::Call { name: called, .. } => called == name,
        Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
            calls(&branch.body, name) || calls(&branch.otherwise, name)
        }
        _ => false,
    })
}

enum Step {
    Node(Node),
    Ending(usize, Ending),
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token<'t>>,
    at: usize,
    functions: &'t Functions,
    /// In scope, with the `$`.
    variables: Vec<String>,
    range_depth: usize,
    depth: usize,
    defined: BTreeMap<String, Vec<Node>>,
}

impl<'t> Parser<'t> {
    /// The token `ahead` of the present one; the last one for ever after.
    fn look(&self, ahead: usize) -> Token<'t> {
        let end = Token {
            kind: Kind::End,
            at: self.text.len(),
            text: "",
        };
        self.tokens.get(self.at + ahead).copied().unwrap_or(end)
    }

    fn peek(&self) -> Token<'t> {
        self.look(0)
    }

    fn next(&mut self) -> Token<'t> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn skip_spaces(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    fn peek_word(&mut self) -> Token<'t> {
        self.skip_spaces();
        self.peek()
    }

    fn next_word(&mut self) -> Token<'t> {
        self.skip_spaces();
        self.next()
    }

    fn unexpected(token: Token<'_>, context: &str) -> Located {
        let what = match token.kind {
            Kind::End => "end of the template".to_owned(),
            _ => format!("{:?}", token.text),
        };
        Located::new(token.at, format!("unexpected {what} in {context}"))
    }

    fn expect_close(&mut self, context: &str) -> Result<(), Located> {
        let token = self.next_word();
        if token.kind == Kind::Close {
            return Ok(());
        }
        Err(Self::unexpected(token, context))
    }

    fn enter(&mut self, at: usize) -> Result<(), Located> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Located::new(
                at,
                format!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        Ok(())
    }

    /// `{{define "name"}} … {{end}}`, which may stand at the top only.
    fn define(&mut self) -> Result<bool, Located> {
        let start = self.at;
        if self.next().kind == Kind::Open {
            let word = self.next_word();
            if word.kind == Kind::Identifier && word.text == "define" {
                let (at, name) = self.template_name("define clause")?;
                self.expect_close("define clause")?;
                let body = self.own_scope("define clause")?;
                self.add_definition(at, name, body)?;
                return Ok(true);
            }
        }
        self.at = start;
        Ok(false)
    }

    /// The body of a `define` or `block`, which sees no variables but `$`.
    fn own_scope(&mut self, context: &str) -> Result<Vec<Node>, Located> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let (body, at, ending) = self.list(context)?;
        if ending != Ending::End {
            return Err(Located::new(
                at,
                format!("unexpected {{{{else}}}} in {context}"),
            ));
        }
        self.variables = variables;
        self.range_depth = range_depth;
        Ok(body)
    }

    fn add_definition(&mut self, at: usize, name: String, body: Vec<Node>) -> Result<(), Located> {
        let empty = |nodes: &[Node]| {
            nodes
                .iter()
                .all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
        };
        match self.defined.get(&name) {
            Some(old) if !empty(old) && !empty(&body) => {
                let message = format!("multiple definition of template {name:?}");
                Err(Located::new(at, message))
            }
            // An empty definition does not replace another.
            Some(_) if empty(&body) => Ok(()),
            _ => {
                self.defined.insert(name, body);
                Ok(())
            }
        }
    }

    /// Nodes up to an `end` or `else`, whose place comes along.
    fn list(&mut self, context: &str) -> Result<(Vec<Node>, usize, Ending), Located> {
        self.enter(self.peek().at)?;
        let mut nodes = Vec::new();
        loop {
            if self.peek().kind == Kind::End {
                let message =
                    format!("unexpected end of the template in {context}: {{{{end}}}} is missing");
                return Err(Located::new(self.text.len(), message));
            }
            match self.node()? {
                Step::Node(node) => nodes.push(node),
                Step::Ending(at, ending) => {
                    self.depth -= 1;
                    return Ok((nodes, at, ending));
                }
            }
        }
    }

    fn node(&mut self) -> Result<Step, Located> {
        let token = self.next();
        match token.kind {
            Kind::Text => Ok(Step::Node(Node::Text(token.text.to_owned()))),
            Kind::Open => self.action(token.at),
            _ => Err(Self::unexpected(token, "template")),
        }
    }

    fn action(&mut self, open: usize) -> Result<Step, Located> {
        let word = self.peek_word();
        if word.kind != Kind::Identifier || !KEYWORDS.contains(&word.text) {
            let pipe = self.pipe("command", Kind::Close)?;
            return Ok(Step::Node(Node::Action(pipe)));
        }
        self.next();
        let node = match word.text {
            "end" => {
                self.expect_close("end")?;
                return Ok(Step::Ending(open, Ending::End));
            }
            "else" => {
                let next = self.peek_word();
                let ending = match (next.kind, next.text) {
                    (Kind::Identifier, "if") => Ending::ElseIf,
                    (Kind::Identifier, "with") => Ending::ElseWith,
                    _ => {
                        self.expect_close("else")?;
                        Ending::Else
                    }
                };
                return Ok(Step::Ending(open, ending));
            }
            "break" | "continue" => {
                let context = format!("{{{{{}}}}}", word.text);
                self.expect_close(&context)?;
                if self.range_depth == 0 {
                    return Err(Located::new(
                        word.at,
                        format!("{context} outside {{{{range}}}}"),
                    ));
                }
                if word.text == "break" {
                    Node::Break
                } else {
                    Node::Continue
                }
            }
            "if" => Node::If(self.branch("if", word.at)?),
            "with" => Node::With(self.branch("with", word.at)?),
            "range" => Node::Range(self.branch("range", word.at)?),
            "template" => {
                let (at, name) = self.template_name("template clause")?;
                let pipe = if self.peek_word().kind == Kind::Close {
                    self.next();
                    None
                } else {
                    Some(self.pipe("template clause", Kind::Close)?)
                };
                Node::Call { at, name, pipe }
            }
            "block" => {
                let (at, name) = self.template_name("block clause")?;
                let pipe = Some(self.pipe("block clause", Kind::Close)?);
                let body = self.own_scope("block clause")?;
                self.add_definition(at, name.clone(), body)?;
                Node::Call { at, name, pipe }
            }
            _ => {
                let message = format!(
                    "{{{{{}}}}} may stand at the top of a template only",
                    word.text
                );
                return Err(Located::new(word.at, message));
            }
        };
        Ok(Step::Node(node))
    }

    fn template_name(&mut self, context: &str) -> Result<(usize, String), Located> {
        let token = self.next_word();
        match token.kind {
            Kind::Quoted => literal::quoted(token.text)
                .map(|name| (token.at, name))
                .map_err(|message| Located::new(token.at, message)),
            Kind::Raw => Ok((token.at, literal::raw(token.text))),
            _ => Err(Self::unexpected(token, context)),
        }
    }

    /// `pipe}} body {{else}} otherwise {{end}}`; an `else if` is a branch within `otherwise`, and shares its end.
    fn branch(&mut self, context: &'static str, at: usize) -> Result<Branch, Located> {
        self.enter(at)?;
        let scope = self.variables.len();
        let pipe = self.pipe(context, Kind::Close)?;
        self.range_depth += usize::from(context == "range");
        let (body, ended, ending) = self.list(context)?;
        self.range_depth -= usize::from(context == "range");
        let otherwise = match ending {
            Ending::End => Vec::new(),
            Ending::ElseIf if context == "if" => {
                let word = self.next_word();
                vec![Node::If(self.branch("if", word.at)?)]
            }
            Ending::ElseWith if context == "with" => {
                let word = self.next_word();
                vec![Node::With(self.branch("with", word.at)?)]
            }
            Ending::ElseIf | Ending::ElseWith => {
                let message = format!("{{{{else {}}}}} in {context}", self.peek_word().text);
                return Err(Located::new(ended, format!("unexpected {message}")));
            }
            Ending::Else => {
                let (otherwise, at, ending) = self.list(context)?;
                if ending != Ending::End {
                    return Err(Located::new(at, "expected {{end}}, found another {{else}}"));
                }
                otherwise
            }
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(Branch {
            at,
            pipe,
            body,
            otherwise,
        })
    }

    fn pipe(&mut self, context: &'static str, end: Kind) -> Result<Pipe, Located> {
        let at = self.peek_word().at;
        let mut pipe = Pipe {
            at,
            source: String::new(),
            variables: Vec::new(),
            assigns: false,
            commands: Vec::new(),
        };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.peek_word();
            if token.kind == end {
                self.next();
                let source = self.text.get(at..token.at).unwrap_or_default();
                pipe.source = source.trim().to_owned();
                break;
            }
            if pipe.commands.len() > 1_000 {
                return Err(Located::new(
                    token.at,
                    "more than 1000 commands in a pipeline",
                ));
            }
            let command = self.command(context)?;
            let executable =
                !matches!(command.first.term, Term::Literal(_) | Term::Dot | Term::Nil);
            if !pipe.commands.is_empty() && !executable {
                let stage = pipe.commands.len() + 1;
                let message = format!("non executable command in pipeline stage {stage}");
                return Err(Located::new(command.first.at, message));
            }
            pipe.commands.push(command);
        }
        if pipe.commands.is_empty() {
            return Err(Located::new(at, format!("missing value for {context}")));
        }
        Ok(pipe)
    }

    /// `$x :=`, `$x =`, and in a range `$i, $v :=` too.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Result<(), Located> {
        while self.peek_word().kind == Kind::Variable {
            let variable = self.peek();
            let spaces = (1..)
                .take_while(|ahead| self.look(*ahead).kind == Kind::Space)
                .count();
            let after = self.look(1 + spaces);
            let declared = match after.kind {
                Kind::Assign | Kind::Declare => true,
                Kind::Comma => false,
                _ => return Ok(()),
            };
            self.at += spaces + 2;
            if !declared && (context != "range" || !pipe.variables.is_empty()) {
                let message = format!("too many declarations in {context}");
                return Err(Located::new(after.at, message));
            }
            pipe.variables.push(variable.text.to_owned());
            if after.kind == Kind::Assign {
                pipe.assigns = true;
                for name in &pipe.variables {
                    self.defined_variable(variable.at, name)?;
                }
            }
            if declared {
                self.variables.extend(pipe.variables.iter().cloned());
                return Ok(());
            }
            let next = self.peek_word();
            if next.kind != Kind::Variable {
                return Err(Located::new(next.at, "range can only initialize variables"));
            }
        }
        Ok(())
    }

    fn defined_variable(&self, at: usize, name: &str) -> Result<(), Located> {
        if self.variables.iter().any(|variable| variable == name) {
            return Ok(());
        }
        Err(Located::new(at, format!("undefined variable {name:?}")))
    }

    fn command(&mut self, context: &str) -> Result<Command, Located> {
        let mut operands = Vec::new();
        loop {
            let word = self.peek_word();
            if matches!(word.kind, Kind::Close | Kind::CloseParenthesis | Kind::Pipe)
                && !operands.is_empty()
            {
                break;
            }
            operands.push(self.operand(context)?);
            let token = self.peek();
            match token.kind {
                Kind::Space | Kind::Close | Kind::CloseParenthesis | Kind::Pipe => {}
                _ => return Err(Self::unexpected(token, "operand")),
            }
        }
        let token = self.peek();
        if token.kind == Kind::Pipe {
            self.next();
        }
        let mut operands = operands.into_iter();
        let Some(first) = operands.next() else {
            return Err(Located::new(token.at, "empty command"));
        };
        Ok(Command {
            first,
            arguments: operands.collect(),
        })
    }

    fn operand(&mut self, context: &str) -> Result<Operand, Located> {
        let token = self.next();
        let at = token.at;
        let located = |message: String| Located::new(at, message);
        let term = match token.kind {
            Kind::Identifier => match token.text {
                "true" => Term::Literal(Value::Bool(true)),
                "false" => Term::Literal(Value::Bool(false)),
                "nil" => Term::Nil,
                keyword if KEYWORDS.contains(&keyword) => {
                    return Err(Self::unexpected(token, context));
                }
                name => {
                    self.known_function(at, name)?;
                    Term::Function(name.to_owned())
                }
            },
            Kind::Dot => Term::Dot,
            Kind::Variable => {
                self.defined_variable(at, token.text)?;
                Term::Variable(token.text.to_owned(), Vec::new())
            }
            Kind::Field => Term::Field(vec![token.text[1..].to_owned()]),
            Kind::Number => Term::Literal(literal::number(token.text).map_err(located)?),
            Kind::Character => {
                Term::Literal(literal::character(token.text).map_err(located)?.into())
            }
            Kind::Quoted => Term::Literal(literal::quoted(token.text).map_err(located)?.into()),
            Kind::Raw => Term::Literal(literal::raw(token.text).into()),
            Kind::OpenParenthesis => {
                self.enter(at)?;
                let pipe = self.pipe("parenthesized pipeline", Kind::CloseParenthesis)?;
                self.depth -= 1;
                Term::Parenthesised(Box::new(pipe))
            }
            _ => return Err(Self::unexpected(token, context)),
        };
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            fields.push(self.next().text[1..].to_owned());
        }
        if fields.is_empty() {
            return Ok(Operand { at, term });
        }
        let term = match term {
            Term::Field(mut first) => {
                first.extend(fields);
                Term::Field(first)
            }
            Term::Variable(name, _) => Term::Variable(name, fields),
            Term::Literal(_) | Term::Dot | Term::Nil => {
                let message = format!("unexpected . after term {:?}", token.text);
                return Err(Located::new(at, message));
            }
            other => Term::Chain(Box::new(Operand { at, term: other }), fields),
        };
        Ok(Operand { at, term })
    }

    fn known_function(&self, at: usize, name: &str) -> Result<(), Located> {
        if self.functions.get(name).is_some() || builtins::is_builtin(name) {
            return Ok(());
        }
        let message = match name {
            "call" | "js" => format!("function {name:?} of Go's templates is not supported"),
            _ => format!("function {name:?} not defined"),
        };
        Err(Located::new(at, message))
    }
}
