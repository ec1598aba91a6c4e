//! Compares the WIT of a release with the present one, package by package, by the rules of
//! `wit/VERSIONING.md`: what breaks a compiled plugin needs a step of the minor version (the major
//! one from 1.0), what only adds needs at least a step of the patch version.
//!
//! Two directories enter; a list of [`Finding`]s leaves, empty when all is well. Names of parameters,
//! documentation and order of items do not matter; order of fields and cases does.

mod signature;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};

pub use signature::{Item, Package, ReadError, Tree, Version, read};

/// One change that the versions do not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Package, for example `kperf:core`.
    pub package: String,
    /// Item within it, for example `logging/emit`; empty for the package itself.
    pub item: String,
    /// What happened to it and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.item.is_empty() { "" } else { " " };
        write!(
            f,
            "{}{separator}{}: {}",
            self.package, self.item, self.message
        )
    }
}

/// Reads both directories and compares them.
///
/// # Errors
/// When one of them is not a WIT package with its dependencies under `deps/`.
pub fn check(released: &Path, present: &Path) -> Result<Vec<Finding>, ReadError> {
    Ok(compare(&read(released)?, &read(present)?))
}

/// All findings, by package and item.
#[must_use]
pub fn compare(released: &Tree, present: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, old) in &released.packages {
        match present.packages.get(name) {
            Some(new) => compare_package(name, old, new, present, &mut findings),
            None => findings.push(Finding {
                package: name.clone(),
                item: String::new(),
                message: format!("was released as {} and is gone", old.version),
            }),
        }
    }
    findings
}

/// What happened between two versions of a package.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Back,
    None,
    /// Additions are allowed.
    Patch,
    /// Everything is.
    Breaking,
}

fn step(old: &Version, new: &Version) -> Step {
    let track = |v: &Version| {
        if v.major == 0 {
            (0, v.minor)
        } else {
            (v.major, 0)
        }
    };
    if (new.major, new.minor, new.patch) < (old.major, old.minor, old.patch) {
        Step::Back
    } else if track(old) != track(new) {
        Step::Breaking
    } else if old == new {
        Step::None
    } else {
        Step::Patch
    }
}

fn compare_package(
    name: &str,
    old: &Package,
    new: &Package,
    present: &Tree,
    findings: &mut Vec<Finding>,
) {
    let mut find = |item: &str, message: String| {
        findings.push(Finding {
            package: name.to_owned(),
            item: item.to_owned(),
            message,
        });
    };
    let step = step(&old.version, &new.version);
    match step {
        Step::Breaking => return,
        Step::Back => {
            find(
                "",
                format!("went back from {} to {}", old.version, new.version),
            );
            return;
        }
        Step::None | Step::Patch => {}
    }
    let keys = old
        .items
        .keys()
        .chain(new.items.keys())
        .collect::<BTreeSet<_>>();
    for key in keys {
        let change = match (old.items.get(key), new.items.get(key)) {
            (Some(_), None) => Some("was removed".to_owned()),
            (Some(before), Some(after)) => difference(before, after),
            (None, Some(added)) => match breaking_addition(added, key, present, old, name) {
                Some(why) => Some(why.to_owned()),
                None if step == Step::None => {
                    find(
                        key,
                        format!(
                            "was added; step the patch version of {} above {}, so that an older host \
                             can say what it lacks",
                            name, old.version
                        ),
                    );
                    None
                }
                None => None,
            },
            (None, None) => None,
        };
        if let Some(change) = change {
            find(
                key,
                format!(
                    "{change}, which breaks plugins built for {}; step {}",
                    old.version,
                    if old.version.major == 0 {
                        "the minor version and keep the old generation loadable"
                    } else {
                        "the major version and keep the old generation loadable"
                    }
                ),
            );
        }
    }
}

fn difference(before: &Item, after: &Item) -> Option<String> {
    match (before, after) {
        (Item::World(before), Item::World(after)) => {
            if before == after {
                return None;
            }
            let list =
                |set: BTreeSet<&String>| set.into_iter().cloned().collect::<Vec<_>>().join(", ");
            let lost = list(before.difference(after).collect());
            let won = list(after.difference(before).collect());
            Some(match (lost.as_str(), won.as_str()) {
                ("", won) => format!("gained `{won}` (make it a world of its own)"),
                (lost, "") => format!("lost `{lost}`"),
                (lost, won) => format!("lost `{lost}` and gained `{won}`"),
            })
        }
        _ if before == after => None,
        _ => Some(format!("changed from `{before}` to `{after}`")),
    }
}

/// Why a new item breaks plugins: only a function that existing plugins would have to export does.
fn breaking_addition(
    added: &Item,
    key: &str,
    present: &Tree,
    old: &Package,
    package: &str,
) -> Option<&'static str> {
    let Item::Function(_) = added else {
        return None;
    };
    let (interface, _) = key.split_once('/')?;
    let is_exported = present
        .exported_by_plugins
        .contains(&format!("{package}/{interface}"));
    let is_new_interface = !old.items.contains_key(interface);
    (is_exported && !is_new_interface)
        .then_some("was added to an interface that plugins export (make it a new interface)")
}

/// Items of a package by name: `interface`, `interface/item`, or `world name`.
pub type Items = BTreeMap<String, Item>;
