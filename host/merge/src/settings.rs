//! What was asked of a phase, by name. What each runner was asked must agree; the merged phase was asked the sum of it.

use crate::{
    document::{Pairs, Text},
    facts::{Values, position},
};

/// Add up over runners: ten runners of 100/s are asked for 1 000/s.
const SUMMED: [&str; 6] = ["rate", "total", "conns", "clients", "shards", "max_backlog"];
/// Must agree. Of these the summed ones are compared for one runner.
const AGREEING: [&str; 9] = [
    "rate",
    "total",
    "duration_ns",
    "conns",
    "clients",
    "http",
    "content_type",
    "max_retries",
    "deadline",
];
/// How many runners a merged document is of.
pub(crate) const RUNNERS: &str = "runners";
/// Different names; later ones are left out.
const MOST_KEYS: usize = 1_000;

/// What one runner was asked, of the settings that must agree.
#[derive(Debug)]
pub(crate) struct Asked(Vec<Option<String>>);

impl Asked {
    pub(crate) fn of(settings: &Pairs<'_, Text<'_>>) -> Self {
        let runners = runners(settings);
        let asked = AGREEING.iter().map(|key| {
            let text = settings.get(key)?.as_str();
            match text.parse::<f64>() {
                Ok(sum) if runners > 1 && SUMMED.contains(key) => {
                    Some((sum / runners as f64).to_string())
                }
                _ => Some(text.to_owned()),
            }
        });
        Self(asked.collect())
    }
}

/// How many runners a phase is of; more than one only in a merged document.
pub(crate) fn runners(settings: &Pairs<'_, Text<'_>>) -> u64 {
    let given = settings.get(RUNNERS);
    given
        .and_then(|text| text.as_str().parse().ok())
        .filter(|runners| *runners > 0)
        .unwrap_or(1)
}

/// The first setting that differs: its name, its value in `one` and in `other`.
pub(crate) fn difference(one: &Asked, other: &Asked) -> Option<(&'static str, String, String)> {
    let pairs = AGREEING.iter().zip(one.0.iter().zip(&other.0));
    let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
    pairs
        .filter(|(_, (one, other))| one != other)
        .map(|(key, (one, other))| (*key, said(one), said(other)))
        .next()
}

/// The settings of a merged phase.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    named: Vec<(String, Setting)>,
    runners: u64,
}

#[derive(Clone, Debug)]
enum Setting {
    Sum(f64),
    Values(Values),
}

impl Settings {
    pub(crate) fn add(&mut self, settings: &Pairs<'_, Text<'_>>) {
        self.runners += runners(settings);
        for (at, (key, value)) in settings.iter().enumerate() {
            if key != RUNNERS {
                self.put(at, key, value.as_str());
            }
        }
    }

    fn put(&mut self, hint: usize, key: &str, value: &str) {
        let number = SUMMED
            .contains(&key)
            .then(|| value.parse::<f64>().ok())
            .flatten();
        let Some(at) = position(&self.named, hint, |(known, _)| known == key) else {
            if self.named.len() < MOST_KEYS {
                let setting = number.map_or_else(
                    || {
                        let mut values = Values::default();
                        values.add(value);
                        Setting::Values(values)
                    },
                    Setting::Sum,
                );
                self.named.push((key.to_owned(), setting));
            }
            return;
        };
        match (self.named.get_mut(at), number) {
            (Some((_, Setting::Sum(sum))), Some(number)) => *sum += number,
            (Some((_, Setting::Values(values))), _) => values.add(value),
            // A number before, a text now: no sum has a meaning.
            (Some((_, setting @ Setting::Sum(_))), None) => {
                let mut values = Values::default();
                if let Setting::Sum(sum) = setting {
                    values.add(&sum.to_string());
                }
                values.add(value);
                *setting = Setting::Values(values);
            }
            (None, _) => {}
        }
    }

    pub(crate) fn absorb(&mut self, other: &Self) {
        self.runners += other.runners;
        for (at, (key, setting)) in other.named.iter().enumerate() {
            match setting {
                Setting::Sum(sum) => self.put(at, key, &sum.to_string()),
                Setting::Values(theirs) => {
                    let found = position(&self.named, at, |(known, _)| known == key);
                    match found.and_then(|at| self.named.get_mut(at)) {
                        Some((_, Setting::Values(ours))) => ours.absorb(theirs),
                        Some((_, ours)) => *ours = setting.clone(),
                        None => self.named.push((key.clone(), setting.clone())),
                    }
                }
            }
        }
    }

    pub(crate) fn texts(&self) -> Vec<(String, String)> {
        let mut texts: Vec<(String, String)> = self
            .named
            .iter()
            .map(|(key, setting)| {
                let text = match setting {
                    Setting::Sum(sum) => sum.to_string(),
                    Setting::Values(values) => values.text(),
                };
                (key.clone(), text)
            })
            .collect();
        texts.push((RUNNERS.to_owned(), self.runners.to_string()));
        texts
    }
}
