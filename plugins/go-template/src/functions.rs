//! Functions that templates may call besides the built-in ones.

pub mod cluster_loader;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// A function of a template; `Err` says what is wrong with the arguments.
pub type Function = dyn Fn(&[Value]) -> Result<Value, String> + Send + Sync;

/// How many arguments a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arity {
    /// At least so many.
    pub min: usize,
    /// At most so many.
    pub max: usize,
}

impl Arity {
    /// Exactly `count`.
    pub const fn exactly(count: usize) -> Self {
        Self {
            min: count,
            max: count,
        }
    }

    /// `min` or more.
    pub const fn at_least(min: usize) -> Self {
        Self {
            min,
            max: usize::MAX,
        }
    }

    /// In Go's words, when `count` arguments are given to `name`.
    pub(crate) fn check(self, name: &str, count: usize) -> Result<(), String> {
        let Self { min, max } = self;
        if (min..=max).contains(&count) {
            Ok(())
        } else if min == max {
            Err(format!(
                "wrong number of args for {name}: want {min} got {count}"
            ))
        } else if count < min {
            Err(format!(
                "wrong number of args for {name}: want at least {min} got {count}"
            ))
        } else {
            Err(format!(
                "wrong number of args for {name}: want at most {max} got {count}"
            ))
        }
    }
}

/// Functions by name. Cloning shares the functions, with whatever state they hold.
#[derive(Clone, Default)]
pub struct Functions {
    by_name: BTreeMap<String, (Arity, Arc<Function>)>,
}

impl Functions {
    /// None besides the built-in ones.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function, in place of one of that name; a built-in name is thereby given another meaning.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        arity: Arity,
        function: impl Fn(&[Value]) -> Result<Value, String> + Send + Sync + 'static,
    ) {
        self.by_name
            .insert(name.into(), (arity, Arc::new(function)));
    }

    pub(crate) fn get(&self, name: &str) -> Option<(Arity, &Function)> {
        self.by_name
            .get(name)
            .map(|(arity, function)| (*arity, function.as_ref()))
    }

    /// Sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
