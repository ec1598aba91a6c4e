//! Names of created objects: `kperf-<run>-<shard>-<number>`.
//!
//! kperf takes the time for the first part; a component has no clock. `<run>` is a digest of the run's id, the
//! seed, and the profile's phase and entry, so that neither two runs nor two entries of one run meet; the shard
//! keeps instances apart, the number requests.

use kperf_sdk::generator::OpenContext;
use kperf_sdk::random::digest;

/// Names of one instance.
#[derive(Debug)]
pub(crate) struct Names {
    prefix: String,
    run_label: String,
    next: u64,
}

impl Names {
    pub(crate) fn new(context: &OpenContext) -> Self {
        let label = |key| context.label(key).unwrap_or_default();
        let run = label("run-id");
        let words = [
            run,
            &context.seed.to_string(),
            label("phase"),
            label("entry"),
        ];
        let digest = digest(words.join("\n").as_bytes());
        let run_label = if is_label_value(run) {
            run.to_owned()
        } else {
            format!("{digest:016x}")
        };
        Self {
            prefix: format!("kperf-{digest:016x}-{}-", context.shard),
            run_label,
            next: 0,
        }
    }

    /// What all names of this instance start with; a number follows.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The value of the label `kperf.io/run`: the run's id, if it can be a label's value, else the digest.
    pub(crate) fn run_label(&self) -> &str {
        &self.run_label
    }

    /// The number of the next name.
    pub(crate) fn take(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }
}

/// Kubernetes' rule for the values of labels; the empty value is left out, as it would tell nothing.
fn is_label_value(text: &str) -> bool {
    let ends_well = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && ends_well(text.bytes().next())
        && ends_well(text.bytes().last())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kperf_sdk::exporter::labels;
    use kperf_sdk::testing::context;

    fn names(shard: u32, pairs: &[(&str, &str)]) -> Names {
        let labels = labels(pairs.iter().copied());
        Names::new(&OpenContext {
            shard,
            labels,
            ..context()
        })
    }

    #[test]
    fn runs_entries_and_shards_do_not_meet() {
        let all = [
            names(0, &[]),
            names(1, &[]),
            names(0, &[("run-id", "a")]),
            names(0, &[("run-id", "b")]),
            names(0, &[("run-id", "a"), ("entry", "1")]),
            names(0, &[("run-id", "a"), ("phase", "1")]),
        ];
        let prefixes: std::collections::BTreeSet<_> = all.iter().map(Names::prefix).collect();
        assert_eq!(prefixes.len(), all.len());
        assert_eq!(names(0, &[("run-id", "a")]).prefix(), all[2].prefix());
        for prefix in prefixes {
            assert!(prefix.len() < 60);
            let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            assert!(prefix.bytes().all(fits), "{prefix}");
        }
    }

    #[test]
    fn the_label_is_always_a_valid_value() {
        assert_eq!(
            names(0, &[("run-id", "2026-11-22_a.b")]).run_label(),
            "2026-11-22_a.b"
        );
        for bad in ["", "a b", "-a", "a/b", "é", &"x".repeat(64)] {
            let names = names(0, &[("run-id", bad)]);
            assert!(is_label_value(names.run_label()), "{bad}");
            assert_ne!(names.run_label(), bad);
        }
    }
}
