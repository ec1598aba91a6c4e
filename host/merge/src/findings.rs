//! What runners want to say, each thing once: who said it first, and how many said the same.
//!
//! Findings of one code differ in their numbers. The first few texts of a code are kept whole; runners whose text is
//! another one are counted.

use std::fmt::Write as _;

/// Texts kept of one code.
const TEXTS: usize = 3;
/// Names kept with one text.
const NAMES: usize = 3;
/// Different codes; later ones are left out.
const MOST_CODES: usize = 1_000;

/// Something the merged report wants to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `info`, `warning` or `error`.
    pub severity: String,
    /// Slug, for example `self-check/shard-cpu`.
    pub code: String,
    /// One sentence, with the names of the runners.
    pub message: String,
}

/// The worst of a scale that any runner reached, and who did.
#[derive(Clone, Debug)]
pub(crate) struct Worst {
    scale: [&'static str; 3],
    reached: usize,
    by: Names,
}

impl Worst {
    /// `scale` goes from good to bad. A word that is not on it counts as the middle.
    pub(crate) fn new(scale: [&'static str; 3]) -> Self {
        Self {
            scale,
            reached: 0,
            by: Names::default(),
        }
    }

    pub(crate) fn add(&mut self, by: &str, word: &str) {
        let reached = self.scale.iter().position(|known| *known == word);
        self.put(reached.unwrap_or(1), &Names::one(by));
    }

    pub(crate) fn absorb(&mut self, other: &Self) {
        self.put(other.reached, &other.by);
    }

    fn put(&mut self, reached: usize, by: &Names) {
        match reached.cmp(&self.reached) {
            std::cmp::Ordering::Greater => (self.reached, self.by) = (reached, by.clone()),
            std::cmp::Ordering::Equal => self.by.absorb(by),
            std::cmp::Ordering::Less => {}
        }
    }

    pub(crate) fn word(&self) -> &'static str {
        self.scale.get(self.reached).copied().unwrap_or_default()
    }

    /// Who reached the worst, unless it is the best of the scale.
    pub(crate) fn who(&self) -> Option<&Names> {
        (self.reached > 0).then_some(&self.by)
    }
}

/// All findings, by severity and code.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings(Vec<Code>);

#[derive(Clone, Debug)]
struct Code {
    severity: String,
    code: String,
    texts: Vec<Said>,
    /// Runners whose text is none of those.
    alike: Names,
}

#[derive(Clone, Debug)]
struct Said {
    message: String,
    by: Names,
}

/// Who said something: the first few by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    first: Vec<String>,
    count: u64,
}

impl Names {
    pub(crate) fn one(name: &str) -> Self {
        Self {
            first: vec![name.to_owned()],
            count: 1,
        }
    }

    pub(crate) fn absorb(&mut self, other: &Self) {
        for name in &other.first {
            if self.first.len() < NAMES {
                self.first.push(name.clone());
            }
        }
        self.count += other.count;
    }
}

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.first.join(", "))?;
        match self.count - self.first.len() as u64 {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl Findings {
    pub(crate) fn add(&mut self, by: &str, severity: &str, code: &str, message: &str) {
        self.put(severity, code, message, &Names::one(by));
    }

    pub(crate) fn absorb(&mut self, other: &Self) {
        for theirs in &other.0 {
            for said in &theirs.texts {
                self.put(&theirs.severity, &theirs.code, &said.message, &said.by);
            }
            if theirs.alike.count > 0
                && let Some(ours) = self.code(&theirs.severity, &theirs.code)
            {
                ours.alike.absorb(&theirs.alike);
            }
        }
    }

    fn put(&mut self, severity: &str, code: &str, message: &str, by: &Names) {
        let Some(of_code) = self.code(severity, code) else {
            return;
        };
        if let Some(said) = of_code
            .texts
            .iter_mut()
            .find(|said| said.message == message)
        {
            said.by.absorb(by);
        } else if of_code.texts.len() < TEXTS {
            of_code.texts.push(Said {
                message: message.to_owned(),
                by: by.clone(),
            });
        } else {
            of_code.alike.absorb(by);
        }
    }

    fn code(&mut self, severity: &str, code: &str) -> Option<&mut Code> {
        let is_it = |known: &Code| known.code == code && known.severity == severity;
        let at = self.0.iter().position(is_it).unwrap_or(self.0.len());
        if at == self.0.len() {
            if at >= MOST_CODES {
                return None;
            }
            self.0.push(Code {
                severity: severity.to_owned(),
                code: code.to_owned(),
                texts: Vec::new(),
                alike: Names::default(),
            });
        }
        self.0.get_mut(at)
    }

    /// As sentences. What all of `runners` say in the same words needs no names.
    pub(crate) fn sentences(&self, runners: u64) -> Vec<Finding> {
        let mut all = Vec::new();
        for of_code in &self.0 {
            for (at, said) in of_code.texts.iter().enumerate() {
                let mut message = if runners > 1 && said.by.count >= runners {
                    format!("{} (all {runners})", said.message)
                } else {
                    format!("{}: {}", said.by, said.message)
                };
                if at + 1 == of_code.texts.len() && of_code.alike.count > 0 {
                    // Writing to a String cannot fail.
                    write!(message, " (and so, in other words, {})", of_code.alike).ok();
                }
                all.push(Finding {
                    severity: of_code.severity.clone(),
                    code: of_code.code.clone(),
                    message,
                });
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_findings_become_one_and_many_texts_are_counted() {
        let mut findings = Findings::default();
        let mut other = Findings::default();
        for runner in 0..10 {
            let name = format!("r{runner}");
            let into = if runner < 5 {
                &mut findings
            } else {
                &mut other
            };
            into.add(&name, "info", "self-check/closed-loop", "a closed loop");
            let message = format!("a shard used {runner} %");
            into.add(&name, "warning", "self-check/shard-cpu", &message);
        }
        findings.add("r3", "error", "plugin/trap", "it trapped");
        findings.absorb(&other);
        let said: Vec<String> = findings
            .sentences(10)
            .into_iter()
            .map(|finding| finding.message)
            .collect();
        assert_eq!(
            said,
            [
                "a closed loop (all 10)",
                "r0: a shard used 0 %",
                "r1: a shard used 1 %",
                "r2: a shard used 2 % (and so, in other words, r3, r4, r5 and 4 more)",
                "r3: it trapped",
            ]
        );
    }
}
