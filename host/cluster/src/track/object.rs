//! One tracked object: who it is, when it got where.

use std::{fmt, sync::Arc};

/// When an object reached a milestone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When this host read the news, in nanoseconds since the tracker's epoch.
    pub received_ns: u64,
    /// The API's own time, in microseconds since 1970, where the spec names a field and it holds a time.
    pub api_unix_us: Option<i64>,
    /// It held already when tracking began; `received_ns` is the time of the first list.
    pub initial: bool,
    /// Found out by listing again after the watch had lost its place; it happened some time before.
    pub inferred: bool,
    /// Read within a second after the watch had been away; it may have happened during the gap.
    pub resumed: bool,
}

impl Stamp {
    /// Whether `received_ns` is the time of the event, and not only of learning about it.
    #[must_use]
    pub fn exact(&self) -> bool {
        !(self.initial || self.inferred || self.resumed)
    }
}

/// All that is known of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRecord {
    /// Namespace; empty for objects that live in none.
    pub namespace: Arc<str>,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Whether it exists (and is selected).
    pub alive: bool,
    /// A stamp for each milestone of the spec, in its order.
    pub stamps: Vec<Option<Stamp>>,
    /// JSON text of each capture of the spec, in its order; `None` if absent, or if there was no room.
    pub captures: Vec<Option<Arc<str>>>,
}

/// Who an object is. UIDs are UUIDs; anything else is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Uid {
    Uuid(u128),
    Text(Box<str>),
}

/// Lengths of the groups of a UUID.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

impl Uid {
    pub(crate) fn new(text: &str) -> Self {
        uuid(text).map_or_else(|| Self::Text(text.into()), Self::Uuid)
    }
}

/// The number of a UUID in its usual form, lower case; what it prints as is what was read.
fn uuid(text: &str) -> Option<u128> {
    let bytes: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let mut number = 0_u128;
    for (i, byte) in bytes.iter().enumerate() {
        let digit = match (i, byte) {
            (8 | 13 | 18 | 23, b'-') => continue,
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => byte - b'0',
            (_, b'a'..=b'f') => byte - b'a' + 10,
            _ => return None,
        };
        number = number << 4 | u128::from(digit);
    }
    Some(number)
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Uuid(number) => {
                let mut left = 32;
                for (i, digits) in GROUPS.into_iter().enumerate() {
                    left -= digits;
                    let group = number >> (4 * left) & ((1 << (4 * digits)) - 1);
                    if i > 0 {
                        f.write_str("-")?;
                    }
                    write!(f, "{group:0digits$x}")?;
                }
                Ok(())
            }
        }
    }
}

/// A tracked object as it is stored.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) uid: Uid,
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Box<str>,
    pub(crate) alive: bool,
    /// The list that saw it last.
    pub(crate) round: u32,
    /// A bit for each milestone that holds now.
    pub(crate) holds: u64,
    pub(crate) stamps: Box<[Option<Stamp>]>,
    pub(crate) captures: Box<[Option<Arc<str>>]>,
}

impl Object {
    pub(crate) fn record(&self) -> ObjectRecord {
        ObjectRecord {
            namespace: Arc::clone(&self.namespace),
            name: self.name.to_string(),
            uid: self.uid.to_string(),
            alive: self.alive,
            stamps: self.stamps.to_vec(),
            captures: self.captures.to_vec(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use kube::core::{ApiResource, GroupVersionKind};

    use super::*;
    use crate::track::spec::{Check, Milestone, TrackSpec};

    pub(crate) fn pods() -> TrackSpec {
        let kind = GroupVersionKind::gvk("", "v1", "Pod");
        TrackSpec::new("pods", ApiResource::from_gvk(&kind), true)
    }

    pub(crate) fn milestone(name: &str, checks: Vec<Check>) -> Milestone {
        Milestone {
            name: name.into(),
            checks,
            ..Milestone::default()
        }
    }

    #[test]
    fn uids_print_as_they_were_read() {
        for (text, packed) in [
            ("01234567-89ab-cdef-0123-456789abcdef", true),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", true),
            ("00000000-0000-0000-0000-000000000000", true),
            ("01234567-89AB-cdef-0123-456789abcdef", false),
            ("0123456789ab-cdef-0123-456789abcdef--", false),
            ("node/n-1", false),
            ("", false),
        ] {
            let uid = Uid::new(text);
            assert_eq!(uid.to_string(), text);
            assert_eq!(matches!(uid, Uid::Uuid(_)), packed, "{text}");
        }
    }
}
