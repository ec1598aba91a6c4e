//! The grouping key as the path of a push.
//!
//! Enters: job and labels. Leaves: `/metrics/job/<job>/<label>/<value>…`, in which every value is one path segment:
//! percent-encoded, or in the gateway's base64 form where percent-encoding is not enough.

use std::{collections::BTreeMap, fmt::Write};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The path of the group below the gateway's URL.
pub(crate) fn path(job: &str, labels: &BTreeMap<String, String>) -> String {
    let mut path = "/metrics".to_owned();
    push_pair(&mut path, "job", job);
    for (name, value) in labels {
        push_pair(&mut path, name, value);
    }
    path
}

/// The labels, and one more where it is not chosen.
pub(crate) fn with_default(
    labels: &BTreeMap<String, String>,
    name: &str,
    value: &str,
) -> BTreeMap<String, String> {
    let mut labels = labels.clone();
    labels
        .entry(name.to_owned())
        .or_insert_with(|| value.to_owned());
    labels
}

fn push_pair(path: &mut String, name: &str, value: &str) {
    path.push('/');
    path.push_str(name);
    if needs_base64(value) {
        path.push_str("@base64/");
        match value {
            // An empty segment would vanish.
            "" => path.push('='),
            _ => path.push_str(&URL_SAFE_NO_PAD.encode(value)),
        }
        return;
    }
    path.push('/');
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
}

/// The gateway decodes `%2F` before it splits the path, an empty segment is lost, and `.` and `..` are cleaned
/// away by anything that handles URLs.
fn needs_base64(value: &str) -> bool {
    value.contains('/') || matches!(value, "" | "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_way_through_a_path() {
        for (value, segment) in [
            ("a", "zone/a"),
            ("a b", "zone/a%20b"),
            ("a/b", "zone@base64/YS9i"),
            ("/var/tmp", "zone@base64/L3Zhci90bXA"),
            ("", "zone@base64/="),
            (".", "zone@base64/Lg"),
            ("..", "zone@base64/Li4"),
            ("...", "zone/..."),
            ("1.2.3", "zone/1.2.3"),
            ("50%", "zone/50%25"),
            ("%2F", "zone/%252F"),
            ("a?b#c&d", "zone/a%3Fb%23c%26d"),
            ("ü", "zone/%C3%BC"),
            ("a\\b\"\n", "zone/a%5Cb%22%0A"),
            // Standard base64 would give `+` and `/`, which the gateway refuses.
            ("/??>", "zone@base64/Lz8_Pg"),
        ] {
            let labels = BTreeMap::from([("zone".to_owned(), value.to_owned())]);
            assert_eq!(
                path("kperf", &labels),
                format!("/metrics/job/kperf/{segment}")
            );
        }
    }

    #[test]
    fn the_job_follows_the_same_rules_and_labels_are_sorted() {
        let labels = BTreeMap::from([
            ("b".to_owned(), "2".to_owned()),
            ("a".to_owned(), "1".to_owned()),
        ]);
        assert_eq!(
            path("kperf/1", &labels),
            "/metrics/job@base64/a3BlcmYvMQ/a/1/b/2"
        );
    }
}
