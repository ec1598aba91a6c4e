//! A spec made ready: all its paths in one tree, so that an object is read once, and checks on the values found.

use super::{
    check::{Compiled, Expected, Test},
    error::TrackError,
    path::{Path, Step},
    spec::{Check, Milestone, Op, TrackSpec},
};

/// Milestones at most: one bit of a word each.
const MAX_MILESTONES: usize = 64;
/// Captures at most, and checks of a milestone.
const MAX_PARTS: usize = 64;

/// Slots every object has; the spec's own come behind.
pub(crate) const UID: usize = 0;
pub(crate) const NAME: usize = 1;
pub(crate) const NAMESPACE: usize = 2;
pub(crate) const RESOURCE_VERSION: usize = 3;

/// Places in an object to stop at. A slot gets the JSON text of the value found there.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) slot: Option<usize>,
    pub(crate) fields: Vec<(Box<str>, Node)>,
    /// Fields that are numbers, should the value be an array: element and place in `fields`.
    pub(crate) elements: Vec<(usize, usize)>,
    pub(crate) picks: Vec<PickBy>,
}

/// Elements of an array, picked by one key.
#[derive(Debug)]
pub(crate) struct PickBy {
    pub(crate) key: Box<str>,
    pub(crate) wanted: Vec<(Box<str>, Node)>,
}

impl Node {
    pub(crate) fn is_leaf(&self) -> bool {
        self.fields.is_empty() && self.picks.is_empty()
    }

    fn field(&mut self, name: &str) -> &mut Self {
        let at = self.fields.iter().position(|(known, _)| **known == *name);
        let at = at.unwrap_or_else(|| {
            let at = self.fields.len();
            self.fields.push((name.into(), Self::default()));
            // RFC 6901: digits without leading zeros.
            if let Ok(element) = name.parse::<usize>()
                && element.to_string() == name
            {
                self.elements.push((element, at));
            }
            at
        });
        &mut self.fields[at].1
    }

    fn pick(&mut self, key: &str, value: &str) -> &mut Self {
        let by = self.picks.iter().position(|by| *by.key == *key);
        let by = by.unwrap_or_else(|| {
            self.picks.push(PickBy {
                key: key.into(),
                wanted: Vec::new(),
            });
            self.picks.len() - 1
        });
        let wanted = &mut self.picks[by].wanted;
        let at = wanted.iter().position(|(known, _)| **known == *value);
        let at = at.unwrap_or_else(|| {
            wanted.push((value.into(), Self::default()));
            wanted.len() - 1
        });
        &mut wanted[at].1
    }
}

/// A compiled milestone.
#[derive(Debug)]
pub(crate) struct Goal {
    pub(crate) checks: Vec<Compiled>,
    pub(crate) deleted: bool,
    pub(crate) api_time: Option<usize>,
}

/// A compiled spec.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) root: Node,
    pub(crate) slots: usize,
    pub(crate) goals: Vec<Goal>,
    pub(crate) captures: Vec<usize>,
}

impl Plan {
    pub(crate) fn compile(spec: &TrackSpec) -> Result<Self, TrackError> {
        let mut plan = Self {
            root: Node::default(),
            slots: 0,
            goals: Vec::new(),
            captures: Vec::new(),
        };
        let fail = |reason: String| TrackError::Spec {
            name: spec.name.clone(),
            reason,
        };
        // In the order of the constants.
        for path in [
            "/metadata/uid",
            "/metadata/name",
            "/metadata/namespace",
            "/metadata/resourceVersion",
        ] {
            plan.slot(path).map_err(fail)?;
        }
        if spec.milestones.len() > MAX_MILESTONES {
            return Err(fail(format!(
                "{} milestones; {MAX_MILESTONES} are possible",
                spec.milestones.len()
            )));
        }
        if spec.capture.len() > MAX_PARTS {
            return Err(fail(format!(
                "{} captures; {MAX_PARTS} are possible",
                spec.capture.len()
            )));
        }
        for milestone in &spec.milestones {
            let goal = plan
                .goal(milestone)
                .map_err(|reason| fail(format!("milestone {:?}: {reason}", milestone.name)))?;
            plan.goals.push(goal);
        }
        for (i, path) in spec.capture.iter().enumerate() {
            let slot = plan
                .slot(path)
                .map_err(|reason| fail(format!("capture {i}: {reason}")))?;
            plan.captures.push(slot);
        }
        Ok(plan)
    }

    fn goal(&mut self, milestone: &Milestone) -> Result<Goal, String> {
        if milestone.deleted && !milestone.checks.is_empty() {
            return Err("a milestone is either `deleted` or has checks; make two of it".into());
        }
        if milestone.checks.len() > MAX_PARTS {
            return Err(format!(
                "{} checks; {MAX_PARTS} are possible",
                milestone.checks.len()
            ));
        }
        let mut checks = Vec::with_capacity(milestone.checks.len());
        for (i, check) in milestone.checks.iter().enumerate() {
            checks.push(
                self.check(check).map_err(|reason| {
                    format!("check {i} ({} {}): {reason}", check.path, check.op)
                })?,
            );
        }
        let api_time = milestone
            .api_time
            .as_deref()
            .map(|path| self.slot(path))
            .transpose()
            .map_err(|reason| format!("api_time: {reason}"))?;
        Ok(Goal {
            checks,
            deleted: milestone.deleted,
            api_time,
        })
    }

    fn check(&mut self, check: &Check) -> Result<Compiled, String> {
        let slot = self.slot(&check.path)?;
        let value = &check.value;
        let one = || {
            if value.is_null() {
                Err("needs a value; for a field that is not there use absent".to_owned())
            } else {
                Ok(Expected::new(value))
            }
        };
        let number = || {
            value
                .as_f64()
                .ok_or_else(|| format!("needs a number, not {value}"))
        };
        let mut other = || {
            let path = value
                .as_str()
                .ok_or_else(|| format!("needs the path of another field, not {value}"))?;
            self.slot(path)
        };
        let test = match check.op {
            Op::Exists | Op::Absent if !value.is_null() => {
                return Err(format!("takes no value, and there is {value}"));
            }
            Op::Exists => Test::Exists,
            Op::Absent => Test::Absent,
            Op::Equals => Test::Equals(one()?),
            Op::NotEquals => Test::NotEquals(one()?),
            Op::OneOf => {
                let values = value
                    .as_array()
                    .filter(|values| !values.is_empty() && !values.iter().any(|v| v.is_null()))
                    .ok_or_else(|| format!("needs an array of values, not {value}"))?;
                Test::OneOf(values.iter().map(Expected::new).collect())
            }
            Op::AtLeast => Test::AtLeast(number()?),
            Op::AtMost => Test::AtMost(number()?),
            Op::EqualsField => Test::EqualsField(other()?),
            Op::AtLeastField => Test::AtLeastField(other()?),
        };
        Ok(Compiled { slot, test })
    }

    /// The slot of a path; equal paths share one.
    fn slot(&mut self, path: &str) -> Result<usize, String> {
        let path: Path = path
            .parse()
            .map_err(|error: super::path::PathError| error.to_string())?;
        let node = path
            .steps
            .iter()
            .fold(&mut self.root, |node, step| match step {
                Step::Field(name) => node.field(name),
                Step::Pick { key, value } => node.pick(key, value),
            });
        Ok(*node.slot.get_or_insert_with(|| {
            self.slots += 1;
            self.slots - 1
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::track::object::tests::{milestone, pods};

    fn error(check: Check) -> String {
        let mut spec = pods();
        spec.milestones = vec![milestone("ready", vec![check])];
        Plan::compile(&spec).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_milestone_check_and_path() {
        for (check, part) in [
            (
                Check::new("status", Op::Exists, Value::Null),
                "begin with '/'",
            ),
            (Check::new("/a", Op::Exists, json!(1)), "takes no value"),
            (Check::new("/a", Op::Equals, Value::Null), "absent"),
            (Check::new("/a", Op::OneOf, json!("x")), "array"),
            (Check::new("/a", Op::OneOf, json!([])), "array"),
            (Check::new("/a", Op::AtLeast, json!("3")), "number"),
            (
                Check::new("/a", Op::EqualsField, json!(3)),
                "path of another",
            ),
            (
                Check::new("/a", Op::EqualsField, json!("b")),
                "begin with '/'",
            ),
        ] {
            let (path, op) = (check.path.clone(), check.op.to_string());
            let error = error(check);
            for part in [part, &path, &op, "\"ready\"", "check 0", "\"pods\""] {
                assert!(error.contains(part), "{error}: {part}");
            }
        }
    }

    #[test]
    fn deleted_stands_alone_and_counts_are_bounded() {
        let mut spec = pods();
        let mut both = milestone("gone", vec![Check::new("/a", Op::Exists, Value::Null)]);
        both.deleted = true;
        spec.milestones = vec![both];
        assert!(Plan::compile(&spec).is_err());
        spec.milestones = vec![Milestone::default(); 65];
        assert!(Plan::compile(&spec).is_err());
        spec.milestones.clear();
        spec.capture = vec![String::new(); 65];
        assert!(Plan::compile(&spec).is_err());
        spec.capture = vec!["nope".into()];
        let error = Plan::compile(&spec).unwrap_err().to_string();
        assert!(error.contains("capture 0"), "{error}");
    }

    #[test]
    fn equal_paths_share_a_slot() {
        let mut spec = pods();
        spec.capture = vec!["/metadata/uid".into(), "/x".into(), "/x".into()];
        let plan = Plan::compile(&spec).unwrap();
        assert_eq!(plan.captures, [UID, 4, 4]);
        assert_eq!(plan.slots, 5);
    }
}
