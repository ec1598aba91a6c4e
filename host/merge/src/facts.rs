//! Facts that need not be the same everywhere: labels, the environment, the server. What all say is kept; where they
//! differ, the different values stand side by side, and from a few on they are only counted.

use crate::document::{Pairs, Text};

/// Values that are written out before they are only counted.
const SHOWN: usize = 4;
/// Different keys; later ones are left out.
const MOST_KEYS: usize = 1_000;

/// The different values of one fact, in order of appearance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    shown: Vec<String>,
    /// There are others that are not shown.
    more: bool,
}

impl Values {
    pub(crate) fn add(&mut self, value: &str) {
        if self.shown.iter().any(|known| known == value) {
            return;
        }
        if self.shown.len() < SHOWN {
            self.shown.push(value.to_owned());
        } else {
            self.more = true;
        }
    }

    pub(crate) fn absorb(&mut self, other: &Self) {
        for value in &other.shown {
            self.add(value);
        }
        self.more |= other.more;
    }

    /// The value, if all say the same.
    pub(crate) fn only(&self) -> Option<&str> {
        match self.shown.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = self.shown.join(", ");
        if self.more {
            text.push_str(", …");
        }
        text
    }
}

/// Facts by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts(Vec<(String, Values)>);

impl Facts {
    pub(crate) fn add(&mut self, facts: &Pairs<'_, Text<'_>>) {
        for (at, (key, value)) in facts.iter().enumerate() {
            if let Some(values) = self.values(at, key) {
                values.add(value.as_str());
            }
        }
    }

    pub(crate) fn absorb(&mut self, other: &Self) {
        for (at, (key, theirs)) in other.0.iter().enumerate() {
            if let Some(values) = self.values(at, key) {
                values.absorb(theirs);
            }
        }
    }

    fn values(&mut self, hint: usize, key: &str) -> Option<&mut Values> {
        let at = position(&self.0, hint, |(known, _)| known == key).unwrap_or(self.0.len());
        if at == self.0.len() {
            if at >= MOST_KEYS {
                return None;
            }
            self.0.push((key.to_owned(), Values::default()));
        }
        self.0.get_mut(at).map(|(_, values)| values)
    }

    pub(crate) fn texts(&self) -> Vec<(String, String)> {
        self.0
            .iter()
            .map(|(key, values)| (key.clone(), values.text()))
            .collect()
    }
}

/// Where in a list something is. Documents of one profile have the same things in the same order, so the place in the
/// document is looked at first.
pub(crate) fn position<T>(list: &[T], hint: usize, is_it: impl Fn(&T) -> bool) -> Option<usize> {
    if list.get(hint).is_some_and(&is_it) {
        return Some(hint);
    }
    list.iter().position(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_many_are_counted_out() {
        let mut values = Values::default();
        values.add("a");
        values.add("a");
        assert_eq!(values.only(), Some("a"));
        for value in ["b", "c", "d"] {
            values.add(value);
        }
        assert_eq!(values.text(), "a, b, c, d");
        values.add("e");
        values.add("f");
        assert_eq!(values.text(), "a, b, c, d, …");
        assert_eq!(values.only(), None);
    }
}
