//! kperf's spec files of runner groups: a load profile, how many run it, and where. Read as strictly as profiles.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde_json::Value;
use serde_yaml::{Mapping, Value as Yaml};

use super::{
    Problem, Profile,
    document::{Document, to_json},
    fields::{Reader, given},
    locate, parse,
    problem::ProfileError,
};

const TOP: &[&str] = &[
    "count",
    "loadProfile",
    "nodeAffinity",
    "serviceAccount",
    "ownerReference",
    "name",
    "image",
    "imagePullPolicy",
    "tolerations",
    "resources",
    "labels",
    "grants",
    "readyTimeout",
    "reportParts",
];
/// Kubernetes counts failures by index up to here.
const MAX_COUNT: i64 = 100_000;
const MAX_PARTS: i64 = 64;

/// A spec file of a runner group, as written. Everything from `name` on is not kperf's.
#[derive(Clone, Debug)]
pub struct GroupFile {
    /// Runners.
    pub count: u32,
    /// What each of them does.
    pub profile: Profile,
    /// Required labels of nodes, each with the values it may have.
    pub affinity: Vec<(String, Vec<String>)>,
    /// An account that is there already.
    pub service_account: Option<String>,
    /// `apiVersion:kind:name:uid`.
    pub owner: Option<String>,
    /// Name of the group.
    pub name: Option<String>,
    /// Image with `kperf-host`.
    pub image: Option<String>,
    /// `Always`, `IfNotPresent` or `Never`; or empty.
    pub image_pull_policy: String,
    /// As in a manifest.
    pub tolerations: Vec<Value>,
    /// As in a manifest; null = none.
    pub resources: Value,
    /// Of the Job and its pods.
    pub labels: BTreeMap<String, String>,
    /// Rights of the runners that cannot be told from the profile.
    pub grants: Vec<String>,
    /// How long those that are ready wait for the others.
    pub ready_timeout: Option<Duration>,
    /// Parts of 700 KiB that one report may have.
    pub report_parts: Option<u32>,
    /// What was ignored.
    pub warnings: Vec<Problem>,
    document: Document,
}

impl GroupFile {
    /// For messages: `group.yaml:3:1: nodeAffinity`.
    #[must_use]
    pub fn place(&self, path: &str) -> String {
        self.document.problem(path, "").place()
    }
}

/// Reads a spec file from its text. `file` is for messages, and what plugin paths are relative to.
///
/// # Errors
/// All that is wrong with it, or with its profile.
pub fn group(text: &str, file: &Path, lenient: bool) -> Result<GroupFile, ProfileError> {
    let document = Document::parse(text, file)?;
    let mut reader = Reader {
        document: &document,
        lenient,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let read = reader.group(&document);
    let Reader {
        mut problems,
        mut warnings,
        ..
    } = reader;
    let profile = document
        .below("loadProfile")
        .map(|below| parse::profile(below, lenient));
    let profile = match profile {
        Some(Ok(read)) => {
            warnings.extend(read.warnings);
            Some(read.profile)
        }
        Some(Err(error)) => {
            problems.extend(error.problems);
            None
        }
        None => None,
    };
    match (profile, read) {
        (Some(profile), Some(read)) if problems.is_empty() => Ok(GroupFile {
            profile,
            warnings,
            document: document.clone(),
            ..read
        }),
        _ => Err(ProfileError::new(problems)),
    }
}

impl Reader<'_> {
    /// Everything but the profile, which is empty.
    fn group(&mut self, document: &Document) -> Option<GroupFile> {
        let Yaml::Mapping(top) = &document.value else {
            self.problem(
                "",
                "a runner group is a mapping with `count` and `loadProfile`",
            );
            return None;
        };
        self.known_keys("", top, TOP);
        if given(top, "loadProfile").is_none() {
            self.problem("loadProfile", "a runner group needs a load profile");
        }
        let count = self.whole("", top, "count");
        let count = self.within("count", count.unwrap_or(0), 1, MAX_COUNT);
        let ready_timeout = self.number("", top, "readyTimeout").and_then(|seconds| {
            let timeout = Duration::try_from_secs_f64(seconds).ok();
            if timeout.is_none() {
                self.problem("readyTimeout", "must be a number of seconds");
            }
            timeout
        });
        let report_parts = self
            .whole("", top, "reportParts")
            .map(|parts| self.within("reportParts", parts, 1, MAX_PARTS));
        let image_pull_policy = self.text("", top, "imagePullPolicy").unwrap_or_default();
        if !["", "Always", "IfNotPresent", "Never"].contains(&image_pull_policy.as_str()) {
            self.problem("imagePullPolicy", "must be Always, IfNotPresent or Never");
        }
        Some(GroupFile {
            count,
            profile: Profile::of_plugin("", None),
            affinity: self.affinity(top),
            service_account: self.text("", top, "serviceAccount"),
            owner: self.text("", top, "ownerReference"),
            name: self.text("", top, "name"),
            image: self.text("", top, "image"),
            image_pull_policy,
            tolerations: match self.json(top, "tolerations") {
                Some(Value::Array(tolerations)) => tolerations,
                None => Vec::new(),
                Some(_) => {
                    self.problem("tolerations", "must be a list, as in a pod");
                    Vec::new()
                }
            },
            resources: match self.json(top, "resources") {
                Some(resources @ Value::Object(_)) => resources,
                None => Value::Null,
                Some(_) => {
                    self.problem(
                        "resources",
                        "must be a mapping with `requests` and `limits`, as in a pod",
                    );
                    Value::Null
                }
            },
            labels: self.labels(top),
            grants: self.texts("grants", given(top, "grants")),
            ready_timeout,
            report_parts,
            warnings: Vec::new(),
            document: document.clone(),
        })
    }

    fn within(&mut self, key: &str, value: i64, least: i64, most: i64) -> u32 {
        if !(least..=most).contains(&value) {
            self.problem(key, format!("must be from {least} to {most}: {value}"));
        }
        u32::try_from(value.clamp(least, most)).unwrap_or(1)
    }

    fn json(&mut self, top: &Mapping, key: &str) -> Option<Value> {
        match to_json(key, given(top, key)?) {
            Ok(value) => Some(value),
            Err((path, message)) => {
                self.problem(&path, message);
                None
            }
        }
    }

    fn affinity(&mut self, top: &Mapping) -> Vec<(String, Vec<String>)> {
        let entries = match given(top, "nodeAffinity") {
            None => return Vec::new(),
            Some(Yaml::Mapping(entries)) => entries,
            Some(_) => {
                self.problem(
                    "nodeAffinity",
                    "must be a mapping of labels, each with a list of values",
                );
                return Vec::new();
            }
        };
        entries
            .iter()
            .filter_map(|(key, values)| {
                let key = key.as_str()?.to_owned();
                let path = locate::child("nodeAffinity", &key);
                let values = self.texts(&path, Some(values));
                Some((key, values))
            })
            .collect()
    }

    fn labels(&mut self, top: &Mapping) -> BTreeMap<String, String> {
        let entries = match given(top, "labels") {
            None => return BTreeMap::new(),
            Some(Yaml::Mapping(entries)) => entries,
            Some(_) => {
                self.problem("labels", "must be a mapping of texts");
                return BTreeMap::new();
            }
        };
        entries
            .keys()
            .filter_map(Yaml::as_str)
            .filter_map(|key| Some((key.to_owned(), self.text("labels", entries, key)?)))
            .collect()
    }

    fn texts(&mut self, path: &str, value: Option<&Yaml>) -> Vec<String> {
        let Some(value) = value else {
            return Vec::new();
        };
        let texts = value.as_sequence().map(|items| {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>()
        });
        match texts {
            Some(Some(texts)) if !texts.is_empty() => texts,
            _ => {
                self.problem(path, "must be a list of texts");
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<GroupFile, String> {
        group(text, Path::new("group.yaml"), false).map_err(|error| error.to_string())
    }

    const PROFILE: &str = "
loadProfile:
  version: 1
  description: lists
  specs:
    - rate: 10
      total: 100
      conns: 2
      client: 4
      requests:
        - shares: 1
          staleList: {version: v1, resource: pods}
";

    #[test]
    fn kperfs_file_is_read() {
        let file = read(&format!(
            "count: 10\nnodeAffinity:\n  node-pool: [a, b]\nserviceAccount: sa\nownerReference: v1:Pod:p:u{PROFILE}"
        ))
        .unwrap();
        assert_eq!(file.count, 10);
        assert_eq!(
            file.affinity,
            [("node-pool".to_owned(), vec!["a".to_owned(), "b".to_owned()])]
        );
        assert_eq!(file.service_account.as_deref(), Some("sa"));
        assert_eq!(file.owner.as_deref(), Some("v1:Pod:p:u"));
        assert_eq!(file.profile.specs[0].rate, Some(10.0));
        assert_eq!(file.place("count"), "group.yaml:1:1: count");
    }

    #[test]
    fn ours_is_read() {
        let file = read(&format!(
            "name: lists\ncount: 2\nlabels: {{team: a}}\ntolerations: [{{operator: Exists}}]\n\
             resources: {{requests: {{cpu: 1}}}}\ngrants: ['get:pods']\nreadyTimeout: 1.5\nreportParts: 3{PROFILE}"
        ))
        .unwrap();
        assert_eq!(file.name.as_deref(), Some("lists"));
        assert_eq!(file.labels["team"], "a");
        assert_eq!(file.tolerations.len(), 1);
        assert_eq!(file.resources["requests"]["cpu"], 1);
        assert_eq!(file.ready_timeout, Some(Duration::from_millis(1500)));
        assert_eq!(file.report_parts, Some(3));
    }

    #[test]
    fn all_that_is_wrong_is_said_with_its_line() {
        let wrong = PROFILE
            .replace("rate: 10", "rat: 10")
            .replace("conns: 2", "conns: x");
        let message = read(&format!("cuont: 10\nnodeAffinity: [a]{wrong}")).unwrap_err();
        for part in [
            "group.yaml:1:1: cuont: unknown key; did you mean `count`?",
            "group.yaml:2:1: nodeAffinity: must be a mapping",
            "count: must be from 1 to 100000: 0",
            "group.yaml:7:7: specs[0].rat: unknown key; did you mean `rate`?",
            "group.yaml:9:7: specs[0].conns: must be a whole number",
        ] {
            assert!(message.contains(part), "{part}\n---\n{message}");
        }
        let message = read("count: 1").unwrap_err();
        assert!(message.contains("needs a load profile"), "{message}");
        let message = read("[]").unwrap_err();
        assert!(message.contains("a mapping with `count`"), "{message}");
    }
}
