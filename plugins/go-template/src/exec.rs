//! Renders a parsed template.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use crate::ast::{Branch, Command, Node, Operand, Pipe, Term};
use crate::error::Located;
use crate::print::{self, print};
use crate::printf::quote;
use crate::truth::{integer, is_true, type_name};
use crate::{MissingKey, RenderOptions, Template, builtins};

type Result<T> = std::result::Result<T, Located>;

/// Offsets and expressions of what was printed without a value.
type Missing = BTreeMap<usize, String>;

/// Output, and what had no value.
pub(crate) fn execute(
    template: &Template,
    dot: &Value,
    options: &RenderOptions,
) -> Result<(String, Missing)> {
    let dot = Item::Borrowed(dot);
    let mut run = Run {
        template,
        options,
        out: String::new(),
        variables: vec![("$", dot.clone())],
        depth: 0,
        steps: 0,
        missing: BTreeMap::new(),
    };
    run.walk(&dot, &template.root)?;
    Ok((run.out, run.missing))
}

/// A value of the data, or one that was made on the way.
#[derive(Clone)]
enum Item<'d> {
    Borrowed(&'d Value),
    Made(Rc<Value>),
}

impl<'d> Item<'d> {
    fn of(value: Value) -> Self {
        Self::Made(Rc::new(value))
    }

    fn value(&self) -> &Value {
        match self {
            Self::Borrowed(value) => value,
            Self::Made(value) => value,
        }
    }

    /// What `pick` finds in the value; copied unless it is the data's own.
    fn part(&self, pick: impl Fn(&Value) -> Option<&Value>) -> Option<Self> {
        match self {
            Self::Borrowed(value) => pick(value).map(Item::Borrowed),
            Self::Made(value) => pick(value).cloned().map(Item::of),
        }
    }
}

/// What to do after a node.
#[derive(PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct Run<'t, 'd> {
    template: &'t Template,
    options: &'t RenderOptions,
    out: String,
    /// Innermost last.
    variables: Vec<(&'t str, Item<'d>)>,
    depth: usize,
    steps: u64,
    missing: Missing,
}

impl<'t, 'd> Run<'t, 'd> {
    fn step(&mut self, at: usize, steps: u64) -> Result<()> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > self.options.max_steps {
            let message = format!("more than {} steps", self.options.max_steps);
            return Err(Located::new(at, message));
        }
        Ok(())
    }

    fn enter(&mut self, at: usize) -> Result<()> {
        self.depth += 1;
        if self.depth > self.options.max_depth {
            let message = format!("nested deeper than {} levels", self.options.max_depth);
            return Err(Located::new(at, message));
        }
        Ok(())
    }

    fn check_output(&self, at: usize) -> Result<()> {
        if self.out.len() > self.options.max_output_bytes {
            let message = format!("output longer than {} bytes", self.options.max_output_bytes);
            return Err(Located::new(at, message));
        }
        Ok(())
    }

    fn walk(&mut self, dot: &Item<'d>, nodes: &'t [Node]) -> Result<Flow> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.out.push_str(text);
                    // Text has no place of its own; what made it long has.
                    self.check_output(0)?;
                    Flow::Next
                }
                Node::Action(pipe) => {
                    self.step(pipe.at, 1)?;
                    let value = self.pipe(dot, pipe)?;
                    if pipe.variables.is_empty() {
                        self.print(pipe, &value)?;
                    }
                    Flow::Next
                }
                Node::If(branch) => self.conditional(dot, branch, false)?,
                Node::With(branch) => self.conditional(dot, branch, true)?,
                Node::Range(branch) => self.range(dot, branch)?,
                Node::Call { at, name, pipe } => {
                    self.call_template(dot, *at, name, pipe.as_ref())?;
                    Flow::Next
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, pipe: &Pipe, value: &Item<'d>) -> Result<()> {
        if value.value().is_null() {
            self.missing.insert(pipe.at, pipe.source.clone());
            if self.options.missing_key != MissingKey::Empty {
                self.out.push_str("<no value>");
            }
            return self.check_output(pipe.at);
        }
        let max_bytes = self.options.max_output_bytes;
        // The check says how long is too long.
        let _ = print(&mut self.out, value.value(), max_bytes);
        self.check_output(pipe.at)
    }

    fn conditional(&mut self, dot: &Item<'d>, branch: &'t Branch, with: bool) -> Result<Flow> {
        self.step(branch.at, 1)?;
        self.enter(branch.at)?;
        let scope = self.variables.len();
        let value = self.pipe(dot, &branch.pipe)?;
        let flow = if !is_true(value.value()) {
            self.walk(dot, &branch.otherwise)?
        } else if with {
            self.walk(&value, &branch.body)?
        } else {
            self.walk(dot, &branch.body)?
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(flow)
    }

    fn range(&mut self, dot: &Item<'d>, branch: &'t Branch) -> Result<Flow> {
        self.step(branch.at, 1)?;
        self.enter(branch.at)?;
        let scope = self.variables.len();
        let over = self.commands(dot, &branch.pipe)?;
        let mut rounds = 0_usize;
        match over.value() {
            Value::Null => {}
            Value::Array(items) => {
                for index in 0..items.len() {
                    rounds += 1;
                    let item = over.part(|value| value.get(index));
                    if !self.round(branch, Some(index.into()), item)? {
                        break;
                    }
                }
            }
            Value::Object(entries) => {
                let keys: Vec<String> = print::sorted(entries)
                    .into_iter()
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in keys {
                    rounds += 1;
                    let item = over.part(|value| value.get(&key));
                    if !self.round(branch, Some(key.into()), item)? {
                        break;
                    }
                }
            }
            value => {
                let Some(count) = integer(value) else {
                    let mut text = String::new();
                    let _ = print(&mut text, value, 80);
                    let message = format!("range can't iterate over {text}");
                    return Err(Located::new(branch.pipe.at, message));
                };
                if branch.pipe.variables.len() > 1 {
                    let message =
                        format!("can't use {count} to iterate over more than one variable");
                    return Err(Located::new(branch.pipe.at, message));
                }
                let count = u64::try_from(count).unwrap_or(0);
                for index in 0..count {
                    rounds += 1;
                    if !self.round(branch, None, Some(Item::of(index.into())))? {
                        break;
                    }
                }
            }
        }
        let mut flow = Flow::Next;
        if rounds == 0 {
            if !branch.pipe.assigns {
                for name in &branch.pipe.variables {
                    self.variables.push((name, over.clone()));
                }
            }
            flow = self.walk(dot, &branch.otherwise)?;
        }
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(flow)
    }

    /// One round of a loop; false after a `break`.
    fn round(
        &mut self,
        branch: &'t Branch,
        index: Option<Value>,
        item: Option<Item<'d>>,
    ) -> Result<bool> {
        self.step(branch.at, 1)?;
        let item = item.unwrap_or_else(|| Item::of(Value::Null));
        let index = Item::of(index.unwrap_or_default());
        let scope = self.variables.len();
        let values = match branch.pipe.variables.as_slice() {
            [] => Vec::new(),
            [only] => vec![(only, item.clone())],
            [first, second, ..] => vec![(first, index), (second, item.clone())],
        };
        for (name, value) in values {
            if branch.pipe.assigns {
                self.assign(name, value);
            } else {
                self.variables.push((name, value));
            }
        }
        let flow = self.walk(&item, &branch.body)?;
        self.variables.truncate(scope);
        Ok(flow != Flow::Break)
    }

    fn call_template(
        &mut self,
        dot: &Item<'d>,
        at: usize,
        name: &str,
        pipe: Option<&'t Pipe>,
    ) -> Result<()> {
        self.step(at, 1)?;
        let template: &'t Template = self.template;
        let Some(body) = template.defined.get(name) else {
            let message = format!("template {} not defined", quote(name, false));
            return Err(Located::new(at, message));
        };
        self.enter(at)?;
        let dot = match pipe {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Item::of(Value::Null),
        };
        let outer = std::mem::replace(&mut self.variables, vec![("$", dot.clone())]);
        self.walk(&dot, body)?;
        self.variables = outer;
        self.depth -= 1;
        Ok(())
    }

    fn assign(&mut self, name: &str, value: Item<'d>) {
        let variable = self.variables.iter_mut().rev().find(|(n, _)| *n == name);
        if let Some((_, slot)) = variable {
            *slot = value;
        }
    }

    /// The value of a pipeline, whose variables are set.
    fn pipe(&mut self, dot: &Item<'d>, pipe: &'t Pipe) -> Result<Item<'d>> {
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

    fn commands(&mut self, dot: &Item<'d>, pipe: &'t Pipe) -> Result<Item<'d>> {
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
