//! A group as it is to be made.

use std::{collections::BTreeMap, fmt, str::FromStr};

use kperf_cluster::{RunId, grant::Grant};
use serde_json::{Value, json};

use crate::bundle::Bundle;

/// Longest name: the names of pods begin with it.
const MAX_NAME: usize = 40;

/// A group of runners in a cluster.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// Name of the Job, and the beginning of all other names.
    pub name: String,
    /// Where; made if it is not there.
    pub namespace: String,
    /// Whose objects they are.
    pub run: RunId,
    /// Image with `kperf-host`.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`; empty = the cluster's rule.
    pub image_pull_policy: String,
    /// What runners are given.
    pub bundle: Bundle,
    /// What their requests need.
    pub grants: Vec<Grant>,
    /// An account that is there already, whose rights are the user's business; none = one for this group.
    pub service_account: Option<String>,
    /// Whose objects they become.
    pub owner: Option<Owner>,
    /// Required labels of nodes, each with the values it may have.
    pub affinity: Vec<(String, Vec<String>)>,
    /// As in a manifest.
    pub tolerations: Vec<Value>,
    /// As in a manifest; null = none.
    pub resources: Value,
    /// Further labels of the Job and its pods.
    pub labels: BTreeMap<String, String>,
    /// Which priority requests get.
    pub flow: FlowControl,
    /// kperf's `-v` of the runners.
    pub verbosity: u32,
}

/// Settings that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A name that would not be accepted.
    #[error(
        "{0:?} cannot be the name of a runner group: 1 to {MAX_NAME} lower-case letters, digits and '-', with a letter first and a letter or digit at the end"
    )]
    Name(String),
    /// A namespace that would not be accepted.
    #[error(
        "{0:?} cannot be the name of a namespace: 1 to 63 lower-case letters, digits and '-', with a letter or digit at both ends"
    )]
    Namespace(String),
    /// Nobody runs.
    #[error("a runner group needs at least one runner; count is 0")]
    NoRunners,
    /// A grant that RBAC cannot express without giving more.
    #[error(
        "the grant {0} cannot be given to runners: RBAC's * would give them subresources such as exec and proxy too; name the resources"
    )]
    Wildcard(String),
    /// A grant that RBAC cannot express at all.
    #[error(
        "the grant {grant} cannot be given to runners: RBAC has no rule for every subresource of {resource}; name them, \
         as in get:{resource}/status"
    )]
    EverySubresource {
        /// The grant.
        grant: String,
        /// Its resource.
        resource: String,
    },
}

impl GroupSpec {
    /// Whether the settings go together.
    ///
    /// # Errors
    /// The first that does not, with the reason.
    pub fn check(&self) -> Result<(), SpecError> {
        check_name(&self.name)?;
        if !is_name(&self.namespace, 63) {
            return Err(SpecError::Namespace(self.namespace.clone()));
        }
        if self.bundle.plan.count == 0 {
            return Err(SpecError::NoRunners);
        }
        match self.grants.iter().find(|grant| grant.rule().is_none()) {
            Some(grant) => Err(match grant.every_subresource_of() {
                Some(resource) if resource != "*" => SpecError::EverySubresource {
                    grant: grant.to_string(),
                    resource: resource.to_owned(),
                },
                _ => SpecError::Wildcard(grant.to_string()),
            }),
            None => Ok(()),
        }
    }

    /// Name of the account that runners have.
    #[must_use]
    pub fn account(&self) -> &str {
        self.service_account.as_deref().unwrap_or(&self.name)
    }
}

/// Whether a text can name a group.
///
/// # Errors
/// What it must be.
pub(crate) fn check_name(name: &str) -> Result<(), SpecError> {
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if begins && is_name(name, MAX_NAME) {
        Ok(())
    } else {
        Err(SpecError::Name(name.to_owned()))
    }
}

fn is_name(text: &str, longest: usize) -> bool {
    let is_end = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.len() <= longest
        && is_end(text.bytes().next())
        && is_end(text.bytes().last())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Priority and fairness of a group's requests: `PRIORITY-LEVEL:MATCHING-PRECEDENCE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowControl {
    /// A PriorityLevelConfiguration that is there.
    pub priority_level: String,
    /// 1 to 10 000; the lowest that matches decides.
    pub precedence: u32,
}

impl Default for FlowControl {
    /// kperf's: `workload-low:1000`.
    fn default() -> Self {
        Self {
            priority_level: "workload-low".to_owned(),
            precedence: 1000,
        }
    }
}

impl FromStr for FlowControl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("expected PriorityLevel:MatchingPrecedence format, but got {text}");
        let (level, precedence) = text.split_once(':').ok_or_else(bad)?;
        let precedence: u32 = precedence.parse().map_err(|_| bad())?;
        if level.is_empty() {
            return Err(bad());
        }
        if !(1..=10_000).contains(&precedence) {
            return Err(format!(
                "the matching precedence {precedence} must be from 1 to 10000"
            ));
        }
        Ok(Self {
            priority_level: level.to_owned(),
            precedence,
        })
    }
}

impl fmt::Display for FlowControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.priority_level, self.precedence)
    }
}

/// An object that the group's objects belong to, and go with: `apiVersion:kind:name:uid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split(':').collect::<Vec<_>>().as_slice() {
            [api_version, kind, name, uid]
                if [api_version, kind, name, uid]
                    .iter()
                    .all(|part| !part.is_empty()) =>
            {
                Ok(Self {
                    api_version: (*api_version).to_owned(),
                    kind: (*kind).to_owned(),
                    name: (*name).to_owned(),
                    uid: (*uid).to_owned(),
                })
            }
            _ => Err(format!(
                "{text} own reference is not apiVersion:kind:name:uid format"
            )),
        }
    }
}

impl Owner {
    pub(crate) fn reference(&self) -> Value {
        json!({
            "apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": self.uid,
            "controller": true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flow_control_is_kperfs() {
        let flow: FlowControl = "exempt:5".parse().unwrap();
        assert_eq!(
            (flow.priority_level.as_str(), flow.precedence),
            ("exempt", 5)
        );
        assert_eq!(FlowControl::default().to_string(), "workload-low:1000");
        for bad in ["", "exempt", ":5", "exempt:", "exempt:x", "a:b:5"] {
            let error = bad.parse::<FlowControl>().unwrap_err();
            assert!(
                error.starts_with("expected PriorityLevel:MatchingPrecedence format, but got"),
                "{error}"
            );
        }
        "exempt:0".parse::<FlowControl>().unwrap_err();
    }

    #[test]
    fn owners_and_names() {
        let owner: Owner = "apps/v1:Deployment:d:123-4".parse().unwrap();
        assert_eq!(owner.reference()["apiVersion"], "apps/v1");
        for bad in ["", "v1:Pod:p", "v1:Pod:p:", "v1:Pod:p:u:x"] {
            bad.parse::<Owner>().unwrap_err();
        }
        for good in ["a", "list-1", &"a".repeat(40)] {
            check_name(good).unwrap();
        }
        for bad in ["", "1a", "-a", "a-", "A", "a_b", "a.b", &"a".repeat(41)] {
            check_name(bad).unwrap_err();
        }
    }
}
