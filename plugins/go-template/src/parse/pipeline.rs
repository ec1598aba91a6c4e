//! Pipelines: declarations, commands and their operands.

use serde_json::Value;

use super::{KEYWORDS, Parser};
use crate::ast::{Command, Operand, Pipe, Term};
use crate::error::Located;
use crate::lex::Kind;
use crate::{builtins, literal};

impl Parser<'_> {
    pub(super) fn pipe(&mut self, context: &'static str, end: Kind) -> Result<Pipe, Located> {
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
