//! Values of pipelines: fields, variables, functions.

use serde_json::Value;

use super::{Item, Result, Run};
use crate::ast::{Command, Operand, Pipe, Term};
use crate::error::Located;
use crate::truth::{is_true, type_name};
use crate::{MissingKey, Template, builtins};

impl<'t, 'd> Run<'t, 'd> {
    /// The value of a pipeline, whose variables are set.
    pub(super) fn pipe(&mut self, dot: &Item<'d>, pipe: &'t Pipe) -> Result<Item<'d>> {
        let value = self.commands(dot, pipe)?;
        for name in &pipe.variables {
            if pipe.assigns {
                self.assign(name, value.clone());
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    pub(super) fn commands(&mut self, dot: &Item<'d>, pipe: &'t Pipe) -> Result<Item<'d>> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?);
        }
        Ok(value.unwrap_or_else(|| Item::of(Value::Null)))
    }

    /// `piped` is the value of the command before, and becomes the last argument.
    fn command(
        &mut self,
        dot: &Item<'d>,
        command: &'t Command,
        piped: Option<Item<'d>>,
    ) -> Result<Item<'d>> {
        let first = &command.first;
        if let Term::Function(name) = &first.term {
            return self.call(dot, first.at, name, &command.arguments, piped);
        }
        if matches!(first.term, Term::Nil) {
            return Err(Located::new(first.at, "nil is not a command"));
        }
        if !command.arguments.is_empty() || piped.is_some() {
            return Err(Located::new(
                first.at,
                "can't give an argument to what is not a function",
            ));
        }
        self.operand(dot, first)
    }

    fn operand(&mut self, dot: &Item<'d>, operand: &'t Operand) -> Result<Item<'d>> {
        let at = operand.at;
        match &operand.term {
            Term::Dot => Ok(dot.clone()),
            Term::Nil => Ok(Item::of(Value::Null)),
            Term::Literal(value) => Ok(Item::of(value.clone())),
            Term::Field(path) => self.fields(at, "", dot.clone(), path),
            Term::Variable(name, path) => {
                let variable = self.variables.iter().rev().find(|(n, _)| n == name);
                let Some((_, value)) = variable else {
                    let message = format!("undefined variable {name:?}");
                    return Err(Located::new(at, message));
                };
                let value = value.clone();
                self.fields(at, name, value, path)
            }
            Term::Function(name) => self.call(dot, at, name, &[], None),
            Term::Parenthesised(pipe) => {
                self.enter(at)?;
                let value = self.pipe(dot, pipe)?;
                self.depth -= 1;
                Ok(value)
            }
            Term::Chain(inner, path) => {
                let value = self.operand(dot, inner)?;
                self.fields(at, "( … )", value, path)
            }
        }
    }

    /// `.a.b` of a value; what is missing is nil, and so is everything in it.
    fn fields(
        &mut self,
        at: usize,
        of: &str,
        mut item: Item<'d>,
        path: &[String],
    ) -> Result<Item<'d>> {
        for (index, key) in path.iter().enumerate() {
            let next = match item.value() {
                Value::Object(_) => item.part(|value| value.get(key)),
                Value::Null if matches!(item, Item::Made(_)) => None,
                // Of the data itself; Go calls it a nil pointer.
                Value::Null => {
                    let message = format!("can't evaluate field {key} of null");
                    return Err(Located::new(at, message));
                }
                other => {
                    let message =
                        format!("can't evaluate field {key} in type {}", type_name(other));
                    return Err(Located::new(at, message));
                }
            };
            if next.is_none() && self.options.missing_key == MissingKey::Error {
                let shown = path.get(..=index).unwrap_or_default().join(".");
                let message = format!("{of}.{shown} has no value");
                return Err(Located::new(at, message));
            }
            if matches!(next, Some(Item::Made(_))) {
                let cost = next.as_ref().map_or(0, |next| cost(next.value()));
                self.step(at, cost)?;
            }
            item = next.unwrap_or_else(|| Item::of(Value::Null));
        }
        Ok(item)
    }

    fn call(
        &mut self,
        dot: &Item<'d>,
        at: usize,
        name: &str,
        arguments: &'t [Operand],
        piped: Option<Item<'d>>,
    ) -> Result<Item<'d>> {
        self.step(at, 1)?;
        let template: &'t Template = self.template;
        let registered = template.functions.get(name);
        let arity = registered
            .map(|(arity, _)| arity)
            .or_else(|| builtins::arity(name));
        let count = arguments.len() + usize::from(piped.is_some());
        let Some(arity) = arity else {
            let message = format!("function {name:?} not defined");
            return Err(Located::new(at, message));
        };
        arity
            .check(name, count)
            .map_err(|message| Located::new(at, message))?;
        if registered.is_none() && matches!(name, "and" | "or") {
            let mut value = None;
            for argument in arguments {
                let item = self.operand(dot, argument)?;
                if is_true(item.value()) == (name == "or") {
                    return Ok(item);
                }
                value = Some(item);
            }
            return Ok(piped.or(value).unwrap_or_else(|| Item::of(Value::Null)));
        }
        let mut items = Vec::with_capacity(count);
        for argument in arguments {
            let item = self.operand(dot, argument)?;
            self.note_missing(name, argument, &item);
            items.push(item);
        }
        items.extend(piped);
        let failed = |message: String| Located::new(at, format!("error calling {name}: {message}"));
        let max_bytes = self.options.max_output_bytes;
        let value = match registered {
            None => {
                let values: Vec<&Value> = items.iter().map(Item::value).collect();
                builtins::call(name, &values, max_bytes).map_err(failed)?
            }
            Some((_, function)) => {
                let values: Vec<Value> = items.iter().map(|item| item.value().clone()).collect();
                let copied = values.iter().map(cost).sum();
                self.step(at, copied)?;
                function(&values).map_err(failed)?
            }
        };
        if value.as_str().is_some_and(|text| text.len() > max_bytes) {
            return Err(failed(format!("text longer than {max_bytes} bytes")));
        }
        self.step(at, cost(&value))?;
        Ok(Item::of(value))
    }

    /// What is printed by a function is printed, too.
    fn note_missing(&mut self, function: &str, argument: &Operand, item: &Item<'d>) {
        let prints = matches!(
            function,
            "print" | "printf" | "println" | "html" | "urlquery"
        );
        if !prints || !item.value().is_null() {
            return;
        }
        let expression = match &argument.term {
            Term::Field(path) => format!(".{}", path.join(".")),
            Term::Variable(name, path) => std::iter::once(name.as_str())
                .chain(path.iter().map(String::as_str))
                .collect::<Vec<_>>()
                .join("."),
            _ => return,
        };
        self.missing.insert(argument.at, expression);
    }
}

/// What it costs to make a value, in steps.
fn cost(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64 / 16,
        Value::Array(items) => items.iter().map(|item| 2 + cost(item)).sum(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, item)| 8 + key.len() as u64 / 16 + cost(item))
            .sum(),
        _ => 0,
    }
}
