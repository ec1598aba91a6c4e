//! Grants as text.

use std::{collections::BTreeSet, fmt, str::FromStr};

use super::{Grant, Verb};
use crate::api::request::is_namespace;

/// Why a text is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no grant: {reason}. A grant is VERBS:RESOURCE[.GROUP][@NAMESPACE], for example list,watch:nodes or *:pods@kube-system"
)]
pub struct GrantError {
    text: String,
    reason: String,
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        parse(text).map_err(|reason| GrantError {
            text: text.chars().take(200).collect(),
            reason,
        })
    }
}

fn parse(text: &str) -> Result<Grant, String> {
    let (verbs, rest) = text
        .split_once(':')
        .ok_or("it has no ':' between verbs and resource")?;
    let verbs = if verbs == "*" {
        BTreeSet::new()
    } else {
        verbs.split(',').map(verb).collect::<Result<_, _>>()?
    };
    let (rest, namespace) = match rest.split_once('@') {
        Some((_, "")) => return Err("nothing follows '@'; leave it out for every namespace".into()),
        Some((_, namespace)) if !is_namespace(namespace) => {
            return Err(format!("{namespace:?} cannot be a namespace"));
        }
        Some((rest, namespace)) => (rest, Some(namespace.to_owned())),
        None => (rest, None),
    };
    let (path, group) = match rest.split_once('.') {
        Some((_, "")) => return Err("nothing follows '.'; leave it out for the core group".into()),
        Some((path, group)) => (path, group),
        None => (rest, ""),
    };
    let (resource, subresource) = match path.split_once('/') {
        Some((_, "")) => return Err("nothing follows '/'".into()),
        Some((resource, subresource)) => (resource, subresource),
        None => (path, ""),
    };
    if resource.is_empty() {
        return Err("it names no resource".into());
    }
    for part in [resource, subresource] {
        if !part.is_empty() && part != "*" {
            word(part)?;
        }
    }
    if !group.is_empty() && group != "*" {
        group.split('.').try_for_each(word)?;
    }
    Ok(Grant {
        verbs,
        group: group.to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        namespace,
        names: BTreeSet::new(),
    })
}

fn verb(text: &str) -> Result<Verb, String> {
    Verb::ALL
        .into_iter()
        .find(|verb| verb.as_str() == text)
        .ok_or_else(|| {
            let known: Vec<&str> = Verb::ALL.iter().map(|verb| verb.as_str()).collect();
            format!("{text:?} is no verb; there are {} and *", known.join(", "))
        })
}

fn word(text: &str) -> Result<(), String> {
    let is_word = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if is_word {
        Ok(())
    } else {
        Err(format!(
            "{text:?} is no name of a resource or group: lower-case letters, digits and '-'; resources are plural, as in pods"
        ))
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.verbs.is_empty() {
            f.write_str("*")?;
        }
        for (i, verb) in self.verbs.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            f.write_str(verb.as_str())?;
        }
        write!(f, ":{}", self.resource)?;
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, "@{namespace}"),
            None => Ok(()),
        }
    }
}
