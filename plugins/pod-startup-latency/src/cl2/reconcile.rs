//! From how many objects there are and shall be to what has to be done.

use std::collections::BTreeMap;

/// What is counted per namespace: objects of one kind with one basename.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Names without their index.
    pub basename: String,
    /// For example `Deployment`.
    pub kind: String,
    /// For example `apps`; empty for the core group.
    pub group: String,
}

/// What to do with a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Make every member, in order.
    Create,
    /// Merge every member's manifest into it, in order.
    Patch,
    /// Delete every member, in reverse order.
    Delete,
}

impl Verb {
    /// As the report writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// One bundle: an action of its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Place in the phase's list of namespaces.
    pub namespace: u32,
    /// The bundle's number.
    pub index: u32,
    /// What to do.
    pub verb: Verb,
}

/// More actions than this in one phase are a mistake, or need more memory than a plugin has.
pub const MAX_ACTIONS: u64 = 2_000_000;

/// How many bundles there are, as far as the test knows.
#[derive(Clone, Debug, Default)]
pub struct Reconciler {
    counts: BTreeMap<(String, Identity), u32>,
}

impl Reconciler {
    /// How many there are; `None` when the test has not met them yet.
    pub fn known(&self, namespace: &str, identity: &Identity) -> Option<u32> {
        self.counts
            .get(&(namespace.to_owned(), identity.clone()))
            .copied()
    }

    /// Notes how many there are.
    pub fn set(&mut self, namespace: &str, identity: &Identity, count: u32) {
        self.counts
            .insert((namespace.to_owned(), identity.clone()), count);
    }

    /// What makes `replicas` bundles in each namespace; afterwards that many are known.
    ///
    /// # Errors
    /// Members of the bundle with different counts, and more than [`MAX_ACTIONS`].
    pub fn plan(
        &mut self,
        namespaces: &[String],
        bundle: &[Identity],
        replicas: u32,
    ) -> Result<Vec<Unit>, String> {
        let mut units = Vec::new();
        let Some(first) = bundle.first() else {
            return Ok(units);
        };
        for (at, namespace) in namespaces.iter().enumerate() {
            let there = self.known(namespace, first).unwrap_or(0);
            for member in bundle {
                let of_member = self.known(namespace, member).unwrap_or(0);
                if of_member != there {
                    return Err(format!(
                        "members of a bundle need equal counts, but in {namespace} there are {there} of `{}` and \
                         {of_member} of `{}`",
                        first.basename, member.basename
                    ));
                }
            }
            let (indices, verb) = match there.cmp(&replicas) {
                std::cmp::Ordering::Greater => (replicas..there, Verb::Delete),
                std::cmp::Ordering::Equal => (0..replicas, Verb::Patch),
                std::cmp::Ordering::Less => (there..replicas, Verb::Create),
            };
            if units.len() as u64 + indices.len() as u64 > MAX_ACTIONS {
                return Err(format!("a phase has more than {MAX_ACTIONS} actions"));
            }
            units.extend(indices.map(|index| Unit {
                namespace: at as u32,
                index,
                verb,
            }));
        }
        for namespace in namespaces {
            for member in bundle {
                self.set(namespace, member, replicas);
            }
        }
        Ok(units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(basename: &str) -> Identity {
        Identity {
            basename: basename.to_owned(),
            kind: "Deployment".to_owned(),
            group: "apps".to_owned(),
        }
    }

    fn shown(units: &[Unit]) -> Vec<(u32, u32, &'static str)> {
        units
            .iter()
            .map(|unit| (unit.namespace, unit.index, unit.verb.name()))
            .collect()
    }

    #[test]
    fn counts_decide_the_verb() {
        let mut state = Reconciler::default();
        let namespaces = ["t-1".to_owned(), "t-2".to_owned()];
        let bundle = [identity("a")];
        let units = state.plan(&namespaces, &bundle, 2).unwrap();
        assert_eq!(
            shown(&units),
            [
                (0, 0, "create"),
                (0, 1, "create"),
                (1, 0, "create"),
                (1, 1, "create")
            ]
        );
        let units = state.plan(&namespaces[..1], &bundle, 3).unwrap();
        assert_eq!(shown(&units), [(0, 2, "create")]);
        // The first namespace has three of them now, the second two.
        let units = state.plan(&namespaces, &bundle, 2).unwrap();
        assert_eq!(
            shown(&units),
            [(0, 2, "delete"), (1, 0, "patch"), (1, 1, "patch")]
        );
        let units = state.plan(&namespaces, &bundle, 0).unwrap();
        assert_eq!(
            shown(&units),
            [
                (0, 0, "delete"),
                (0, 1, "delete"),
                (1, 0, "delete"),
                (1, 1, "delete")
            ]
        );
        assert!(state.plan(&namespaces, &bundle, 0).unwrap().is_empty());
    }

    #[test]
    fn a_bundle_stays_together() {
        let mut state = Reconciler::default();
        let namespaces = ["t-1".to_owned()];
        state.plan(&namespaces, &[identity("a")], 1).unwrap();
        let error = state
            .plan(&namespaces, &[identity("a"), identity("b")], 2)
            .unwrap_err();
        assert!(error.contains("`b`"), "{error}");
        assert!(state.plan(&namespaces, &[], 5).unwrap().is_empty());
    }

    #[test]
    fn what_was_there_before_counts() {
        let mut state = Reconciler::default();
        assert_eq!(state.known("t-1", &identity("a")), None);
        state.set("t-1", &identity("a"), 4);
        let units = state
            .plan(&["t-1".to_owned()], &[identity("a")], 5)
            .unwrap();
        assert_eq!(shown(&units), [(0, 4, "create")]);
    }

    #[test]
    fn too_many_actions_are_refused() {
        let mut state = Reconciler::default();
        let error = state
            .plan(&["t-1".to_owned()], &[identity("a")], u32::MAX)
            .unwrap_err();
        assert!(error.contains("2000000"), "{error}");
    }
}
