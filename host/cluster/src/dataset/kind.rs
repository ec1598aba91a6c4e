//! What sets are made of, and how their members are called.

/// The kinds of sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataKind {
    /// Payload in `data.data`.
    ConfigMap,
    /// The same, of type Opaque.
    Secret,
    /// For virtual nodes.
    DaemonSet,
    /// Payload in `message`; the server forgets them after a while, an hour by default.
    Event,
}

impl DataKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ConfigMap, Self::Secret, Self::DaemonSet, Self::Event];

    /// As in manifests.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::DaemonSet => "DaemonSet",
            Self::Event => "Event",
        }
    }

    /// As in manifests.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::DaemonSet => "apps/v1",
            _ => "v1",
        }
    }

    /// For messages: `configmaps`.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
            Self::DaemonSet => "daemonsets",
            Self::Event => "events",
        }
    }

    /// The i-th member of a set.
    pub(super) fn member(self, set: &str, index: u64) -> String {
        format!("{}{set}-{index}", self.prefix())
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::ConfigMap => "runkperf-cm-",
            Self::Secret => "runkperf-secret-",
            Self::DaemonSet => "",
            Self::Event => "runkperf-event-",
        }
    }

    /// Set and index of a member, by its name.
    pub(super) fn parse(self, name: &str) -> Option<(&str, u64)> {
        let (set, index) = name.strip_prefix(self.prefix())?.rsplit_once('-')?;
        // `007` and `+7` are nobody's.
        let number: u64 = index.parse().ok()?;
        (!set.is_empty() && number.to_string() == index).then_some((set, number))
    }

    /// Value of the label `app`.
    pub(super) fn app(self) -> &'static str {
        match self {
            Self::DaemonSet => "fake-daemonset",
            _ => "runkperf",
        }
    }

    /// The label that names the set.
    pub(super) fn set_label(self) -> &'static str {
        match self {
            Self::ConfigMap => "cmName",
            Self::Secret => "secretName",
            Self::DaemonSet => "dsName",
            Self::Event => "eventName",
        }
    }

    /// Whether a name alone makes a member. Those of DaemonSets are anybody's, so that they must have the label too.
    pub(super) fn is_known_by_name(self) -> bool {
        !self.prefix().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_set() {
        for kind in DataKind::ALL {
            for set in ["a", "a-1", "a-b-c", "7"] {
                let name = kind.member(set, 12);
                assert_eq!(kind.parse(&name), Some((set, 12)), "{name}");
            }
        }
        let cm = DataKind::ConfigMap;
        assert_eq!(cm.member("x", 0), "runkperf-cm-x-0");
        for name in [
            "runkperf-cm-x",
            "runkperf-cm-x-",
            "runkperf-cm-x-01",
            "runkperf-cm--1",
            "runkperf-secret-x-1",
            "kube-root-ca.crt",
        ] {
            assert_eq!(cm.parse(name), None, "{name}");
        }
    }
}
