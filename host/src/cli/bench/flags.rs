//! A flag for every key of a benchmark's configuration, from its JSON Schema.
//!
//! `maxPods` is `--max-pods`; `--maxPods` is understood too. Keys that hold objects or lists, and keys whose flag `bench`
//! has itself, are set with `--set`.

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, builder::Str, parser::ValueSource};
use kperf_runtime::Plugin;
use serde_json::{Map, Value};

use super::{BenchFlags, SCENARIOS};

/// `bench NAME` with all flags.
pub(super) fn command(plugin: &Plugin, name: &str) -> Command {
    let info = plugin.info();
    let common = BenchFlags::augment_args(
        Command::new("bench")
            .bin_name(format!("kperf-host bench {name}"))
            .args_override_self(true),
    )
    // After the flags, which bring a text of their own.
    .about(info.summary.clone())
    .long_about(None::<&'static str>);
    let taken: Vec<String> = common
        .get_arguments()
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect();
    let flags = of_schema(&info.config_schema)
        .into_iter()
        .filter(|flag| !taken.contains(&flag.long));
    let command = flags.fold(common, |command, flag| command.arg(flag.arg()));
    let is_known = |command: &Command, long: &str| {
        let mut all = command.get_arguments();
        all.any(|arg| arg.get_long() == Some(long))
    };
    let idle = KPERFS.into_iter().filter(|_| SCENARIOS.contains(&name));
    idle.fold(command, |command, long| {
        if is_known(&command, long) {
            return command;
        }
        let arg = Arg::new(Str::from(idle_id(long)))
            .long(long)
            .action(ArgAction::Set)
            .allow_negative_numbers(true)
            .hide(true);
        command.arg(arg)
    })
}

/// The flags that were given, and mean nothing to the scenario.
pub(super) fn without_effect(matches: &ArgMatches) -> impl Iterator<Item = &'static str> {
    KPERFS.into_iter().filter(move |long| {
        let id = idle_id(long);
        matches.try_contains_id(&id).unwrap_or(false)
    })
}

/// Flags that kperf takes with every scenario, also with those that they mean nothing to.
const KPERFS: [&str; 6] = [
    "total",
    "duration",
    "cpu",
    "memory",
    "max-pods",
    "content-type",
];

fn idle_id(long: &str) -> String {
    format!("idle/{long}")
}

/// The keys that flags set, over a configuration.
pub(super) fn on_top(plugin: &Plugin, mut config: Value, matches: &ArgMatches) -> Value {
    let Value::Object(object) = &mut config else {
        return config;
    };
    for flag in of_schema(&plugin.info().config_schema) {
        let id = flag.id();
        // A flag that `bench` has itself is none of the scenario's.
        let is_given = matches.try_contains_id(&id).is_ok()
            && matches.value_source(&id) == Some(ValueSource::CommandLine);
        if let Some(text) = is_given.then(|| matches.get_one::<String>(&id)).flatten() {
            object.insert(flag.key.clone(), flag.value(text));
        }
    }
    config
}

/// One key that has a flag.
struct Flag {
    key: String,
    long: String,
    help: String,
    /// What may be written; empty = anything.
    choices: Vec<String>,
    is_text: bool,
    is_switch: bool,
}

fn of_schema(schema: &Value) -> Vec<Flag> {
    let empty = Map::new();
    let properties = schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    properties
        .iter()
        .filter_map(|(key, property)| Flag::of(schema, key, property))
        .collect()
}

impl Flag {
    fn of(document: &Value, key: &str, property: &Value) -> Option<Self> {
        let choices = kperf_runtime::choices(document, property);
        let types: Vec<&str> = match property.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ if choices.is_empty() => return None,
            _ => vec!["string"],
        };
        if types.iter().any(|kind| matches!(*kind, "object" | "array")) {
            return None;
        }
        let described = property
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .replace('\n', " ");
        let default = match property.get("default") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) if text.is_empty() => String::new(),
            Some(Value::String(text)) => format!(" [default: {text}]"),
            Some(value) => format!(" [default: {value}]"),
        };
        Some(Self {
            key: key.to_owned(),
            long: kebab(key),
            help: format!("{described}{default}"),
            is_text: types.contains(&"string"),
            is_switch: types.contains(&"boolean"),
            choices,
        })
    }

    /// Unlike the ids of `bench` itself.
    fn id(&self) -> String {
        format!("key/{}", self.key)
    }

    fn arg(&self) -> Arg {
        let mut arg = Arg::new(Str::from(self.id()))
            .long(Str::from(self.long.clone()))
            .action(ArgAction::Set)
            .allow_negative_numbers(true)
            .help(self.help.clone())
            .help_heading("Scenario");
        if self.key != self.long {
            arg = arg.alias(Str::from(self.key.clone()));
        }
        if self.is_switch {
            arg = arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_name("BOOL");
        } else if self.choices.is_empty() {
            arg = arg.value_name(if self.is_text { "TEXT" } else { "N" });
        } else {
            arg = arg.value_name(Str::from(self.choices.join("|")));
        }
        arg
    }

    /// What the schema says is wrong with it, the schema says best.
    fn value(&self, text: &str) -> Value {
        if self.is_text {
            return Value::from(text);
        }
        serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
    }
}

/// `maxPods` → `max-pods`.
fn kebab(key: &str) -> String {
    let mut long = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        match c {
            '_' => long.push('-'),
            c if c.is_ascii_uppercase() => {
                if !long.is_empty() && !long.ends_with('-') {
                    long.push('-');
                }
                long.push(c.to_ascii_lowercase());
            }
            c => long.push(c),
        }
    }
    long
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_become_flags_as_kperf_spells_them() {
        for (key, flag) in [
            ("total", "total"),
            ("maxPods", "max-pods"),
            ("numCiliumIdentities", "num-cilium-identities"),
            ("read_ratio", "read-ratio"),
        ] {
            assert_eq!(kebab(key), flag);
        }
    }

    #[test]
    fn values_are_what_the_schema_takes() {
        let schema = json!({"properties": {
            "a": {"type": "integer", "description": "How\nmany.", "default": 5},
            "b": {"type": ["string", "null"]},
            "c": {"type": "boolean"},
            "d": {"enum": ["json", "protobuf"]},
            "e": {"type": "object"},
            "f": {"type": "array"},
        }});
        let flags = of_schema(&schema);
        let keys: Vec<&str> = flags.iter().map(|flag| flag.key.as_str()).collect();
        assert_eq!(keys, ["a", "b", "c", "d"]);
        assert_eq!(flags[0].help, "How many. [default: 5]");
        assert_eq!(flags[0].value("7"), json!(7));
        assert_eq!(flags[0].value("seven"), json!("seven"));
        assert_eq!(flags[1].value("7"), json!("7"));
        assert_eq!(flags[2].value("false"), json!(false));
        assert_eq!(flags[3].value("json"), json!("json"));
        assert_eq!(flags[3].choices, ["json", "protobuf"]);
    }
}
