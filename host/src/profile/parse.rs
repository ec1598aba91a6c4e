//! A document to a profile, strictly: unknown keys and wrong types are problems, and all are found.

use std::path::Path;

use serde_json::{Map, Value};
use serde_yaml::{Mapping, Value as Yaml};

use super::{
    ContentType, Entry, PluginRef, Profile, Read, Spec,
    document::{Document, to_json},
    fields::{Reader, given},
    kind::{KINDS, Kind},
    locate,
    problem::ProfileError,
};

const TOP: &[&str] = &["version", "description", "thresholds", "specs", "spec"];
const SPEC: &[&str] = &[
    "rate",
    "total",
    "duration",
    "conns",
    "client",
    "contentType",
    "disableHTTP2",
    "maxRetries",
    "requests",
];

pub(super) fn profile(document: Document, lenient: bool) -> Result<Read, ProfileError> {
    let mut reader = Reader {
        document: &document,
        lenient,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let (description, specs) = reader.top(&document.value);
    let thresholds = reader.thresholds(&document.value);
    let Reader {
        problems, warnings, ..
    } = reader;
    if !problems.is_empty() {
        return Err(ProfileError::new(problems));
    }
    Ok(Read {
        profile: Profile {
            description,
            thresholds,
            specs,
            document: Some(document),
        },
        warnings,
    })
}

impl Reader<'_> {
    fn top(&mut self, value: &Yaml) -> (String, Vec<Spec>) {
        let top = match value {
            Yaml::Mapping(top) => top,
            Yaml::Null => {
                self.problem(
                    "",
                    "the profile is empty; it needs `version: 1` and `specs`",
                );
                return Default::default();
            }
            _ => {
                self.problem("", "a profile is a mapping with `version: 1` and `specs`");
                return Default::default();
            }
        };
        self.known_keys("", top, TOP);
        let before = self.problems.len();
        let version = self.whole("", top, "version").unwrap_or(0);
        if version != 1 && self.problems.len() == before {
            self.problem("version", "version should be 1");
        }
        let description = self.text("", top, "description").unwrap_or_default();
        let specs = match (given(top, "specs"), given(top, "spec")) {
            (Some(_), Some(_)) => {
                self.problem(
                    "spec",
                    "`spec` is the older name of `specs`; keep one of them",
                );
                Vec::new()
            }
            (Some(Yaml::Sequence(items)), None) => items
                .iter()
                .enumerate()
                .filter_map(|(index, value)| self.spec(&locate::item("specs", index), value))
                .collect(),
            (Some(_), None) => {
                self.problem("specs", "must be a list of specs");
                return (description, Vec::new());
            }
            (None, Some(value)) => self.spec("spec", value).into_iter().collect(),
            (None, None) => Vec::new(),
        };
        if specs.is_empty() && self.problems.is_empty() {
            self.problem("specs", "specs must be provided");
        }
        (description, specs)
    }

    fn thresholds(&mut self, value: &Yaml) -> Vec<String> {
        let Yaml::Mapping(top) = value else {
            return Vec::new();
        };
        let Some(list) = given(top, "thresholds") else {
            return Vec::new();
        };
        let texts = list.as_sequence().map(|items| {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>()
        });
        if let Some(Some(texts)) = texts {
            return texts;
        }
        self.problem(
            "thresholds",
            "must be a list of texts such as `response p99 < 1s`",
        );
        Vec::new()
    }

    fn spec(&mut self, path: &str, value: &Yaml) -> Option<Spec> {
        let Yaml::Mapping(map) = value else {
            self.problem(path, "must be a mapping with `requests`");
            return None;
        };
        self.known_keys(path, map, SPEC);
        let spec = Spec {
            rate: self.number(path, map, "rate"),
            total: self.whole(path, map, "total"),
            duration: self.whole(path, map, "duration"),
            conns: self.whole(path, map, "conns"),
            client: self.whole(path, map, "client"),
            content_type: self.content_type(path, map),
            disable_http2: self.boolean(path, map, "disableHTTP2"),
            max_retries: self.whole(path, map, "maxRetries"),
            entries: self.entries(path, map),
            path: path.to_owned(),
        };
        Some(spec)
    }

    fn content_type(&mut self, path: &str, map: &Mapping) -> Option<ContentType> {
        let text = self.text(path, map, "contentType")?;
        match text.as_str() {
            "" => None,
            "json" => Some(ContentType::Json),
            "protobuf" => Some(ContentType::Protobuf),
            other => {
                self.problem(
                    &locate::child(path, "contentType"),
                    format!("unsupported content type {other}; give json or protobuf"),
                );
                None
            }
        }
    }

    fn entries(&mut self, path: &str, map: &Mapping) -> Vec<Entry> {
        let path = locate::child(path, "requests");
        let items = match given(map, "requests") {
            Some(Yaml::Sequence(items)) if !items.is_empty() => items,
            None | Some(Yaml::Sequence(_)) => {
                self.problem(&path, "there are no requests; give at least one");
                return Vec::new();
            }
            Some(_) => {
                self.problem(&path, "must be a list of requests");
                return Vec::new();
            }
        };
        let before = self.problems.len();
        let entries: Vec<_> = items
            .iter()
            .enumerate()
            .filter_map(|(index, value)| self.entry(&locate::item(&path, index), value))
            .collect();
        if self.problems.len() == before && entries.iter().all(|entry| entry.shares == 0) {
            self.problem(
                &path,
                "all shares are 0, so nothing would be sent; give at least one request a share above 0",
            );
        }
        entries
    }

    fn entry(&mut self, path: &str, value: &Yaml) -> Option<Entry> {
        let Yaml::Mapping(map) = value else {
            self.problem(path, "empty request value; give `shares` and one request");
            return None;
        };
        let mut known = vec!["shares"];
        known.extend(KINDS.iter().map(|kind| kind.key));
        known.extend(["plugin", "config"]);
        let all_known = self.known_keys(path, map, &known);
        let shares = self.shares(path, map);

        let kinds: Vec<_> = KINDS
            .iter()
            .filter(|kind| given(map, kind.key).is_some())
            .collect();
        let plugin = given(map, "plugin");
        let mut names: Vec<_> = kinds.iter().map(|kind| kind.key).collect();
        names.extend(plugin.map(|_| "plugin"));
        let mut entry = match (kinds.as_slice(), plugin) {
            ([kind], None) => self.kind_entry(path, map, kind)?,
            ([], Some(plugin)) => self.plugin_entry(path, map, plugin)?,
            ([], None) => {
                // A misspelt kind is reported as that, once.
                if all_known || self.lenient {
                    self.problem(
                        path,
                        "empty request value; give one of kperf's requests, or `plugin`",
                    );
                }
                return None;
            }
            _ => {
                self.problem(
                    path,
                    format!(
                        "{} in one entry; an entry has one request, make it several entries",
                        names.join(" and ")
                    ),
                );
                return None;
            }
        };
        if plugin.is_none() && given(map, "config").is_some() {
            self.problem(
                &locate::child(path, "config"),
                "belongs to a `plugin`; the keys of a kperf request stand under its name",
            );
        }
        entry.shares = shares;
        Some(entry)
    }

    fn shares(&mut self, path: &str, map: &Mapping) -> u32 {
        let shares = self.whole(path, map, "shares").unwrap_or(0);
        u32::try_from(shares).unwrap_or_else(|_| {
            let message = if shares < 0 {
                format!("shares({shares}) requires >= 0")
            } else {
                format!("shares({shares}) must be at most {}", u32::MAX)
            };
            self.problem(&locate::child(path, "shares"), message);
            0
        })
    }

    fn plugin_entry(&mut self, path: &str, map: &Mapping, plugin: &Yaml) -> Option<Entry> {
        let name = match plugin {
            Yaml::String(name) if !name.trim().is_empty() => name.clone(),
            _ => {
                self.problem(
                    &locate::child(path, "plugin"),
                    "must be the name of a bundled plugin or the path of a component",
                );
                return None;
            }
        };
        let config_path = locate::child(path, "config");
        let config = match given(map, "config") {
            None => None,
            Some(value @ Yaml::Mapping(_)) => match to_json(&config_path, value) {
                Ok(config) => Some(config),
                Err((path, message)) => {
                    self.problem(&path, message);
                    None
                }
            },
            Some(_) => {
                self.problem(&config_path, "must be a mapping");
                None
            }
        };
        Some(Entry {
            shares: 0,
            plugin: self.plugin_ref(&name),
            config,
            path: path.to_owned(),
            config_path,
            renamed: Vec::new(),
            kind: None,
            written: name,
        })
    }

    /// A name with a separator is a path; so is one of a file beside the profile.
    fn plugin_ref(&self, name: &str) -> PluginRef {
        let folder = self.document.file.parent().unwrap_or(Path::new(""));
        let path = folder.join(name);
        if name.contains(['/', '\\']) || path.is_file() {
            PluginRef::Path(path)
        } else {
            PluginRef::Bundled(name.to_owned())
        }
    }

    fn kind_entry(&mut self, path: &str, map: &Mapping, kind: &'static Kind) -> Option<Entry> {
        let config_path = locate::child(path, kind.key);
        let Some(Yaml::Mapping(fields)) = given(map, kind.key) else {
            self.problem(&config_path, "must be a mapping");
            return None;
        };
        let known = kind.keys();
        self.known_keys(&config_path, fields, &known);
        let mut config = Map::new();
        let mut renamed = Vec::new();
        for &key in &known {
            // Null is unset, as in kperf.
            let Some(value) = given(fields, key) else {
                continue;
            };
            let field_path = locate::child(&config_path, key);
            let now = kind.older.iter().find(|(then, _)| *then == key);
            let name = now.map_or(key, |(_, now)| now);
            let value = if kind.texts.contains(&name) {
                self.text(&config_path, fields, key).map(Value::String)
            } else {
                match to_json(&field_path, value) {
                    Ok(value) => Some(value),
                    Err((path, message)) => {
                        self.problem(&path, message);
                        None
                    }
                }
            };
            if now.is_some() && config.contains_key(name) {
                self.problem(
                    &field_path,
                    format!("is the older name of `{name}`; keep one of them"),
                );
            }
            if let Some(&(then, now)) = now {
                renamed.push((now, then));
            }
            if let Some(value) = value {
                config.insert(name.to_owned(), value);
            }
        }
        Some(Entry {
            shares: 0,
            plugin: PluginRef::Bundled(kind.plugin.to_owned()),
            config: Some(Value::Object(config)),
            path: path.to_owned(),
            config_path,
            renamed,
            kind: Some(kind.key),
            written: kind.plugin.to_owned(),
        })
    }
}
