//! `--output NAME[=DEST]` and `--output-set NAME.KEY=VALUE`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use kperf_runtime::World;
use serde_json::{Map, Value};

use crate::{
    exit::{Exit, Failed, OrExit as _},
    export::Output,
    plugins::Plugins,
    sink::Destination,
};

/// Where results go besides the terminal.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Results")]
pub struct OutputArgs {
    /// Hand the results to an exporter: a bundled one (json, kperf-json, perf-data, junit, pushgateway) or a path to a
    /// component. DEST is a file, a directory (ending in /), an http(s) URL, or - for stdout (the default).
    /// Repeatable.
    #[arg(short, long = "output", value_name = "NAME[=DEST]")]
    pub outputs: Vec<String>,
    /// Configure an exporter, for example kperf-json.format=flat. Repeatable.
    #[arg(long = "output-set", value_name = "NAME.KEY=VALUE")]
    pub output_sets: Vec<String>,
    /// Keep every exchange and hand them to the exporters; memory grows with the run.
    #[arg(long)]
    pub raw_data: bool,
}

/// Loads the exporters and checks their configuration and destinations.
///
/// # Errors
/// An unreadable argument, an unknown exporter, a configuration its schema refuses.
pub fn prepare(args: &OutputArgs, plugins: &mut Plugins) -> Result<Vec<Output>, Failed> {
    let mut used = vec![false; args.output_sets.len()];
    let mut outputs = Vec::with_capacity(args.outputs.len());
    for text in &args.outputs {
        let (name, destination) = match text.split_once('=') {
            Some((name, destination)) => (name, destination),
            None => (text.as_str(), "-"),
        };
        let destination = Destination::parse(destination)
            .with_context(|| format!("--output {name}"))
            .or_exit(Exit::Usage)?;
        let plugin = plugins
            .load(name)
            .with_context(|| format!("--output {name}"))
            .or_exit(Exit::Plugin)?;
        if plugin.world() != World::Exporter {
            return Err(Failed {
                exit: Exit::Usage,
                error: anyhow!(
                    "--output {name}: `{}` is a {}; an output needs an exporter (generators and benchmarks go to --plugin)",
                    plugin.info().name,
                    plugin.world()
                ),
            });
        }
        let mut config = None;
        for (set, used) in args.output_sets.iter().zip(&mut used) {
            if let Some(setting) = set
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('.'))
            {
                let base = config.get_or_insert_with(|| match plugin.default_config() {
                    Value::Object(base) => base,
                    _ => Map::new(),
                });
                assign(base, setting)
                    .with_context(|| format!("--output-set {set}"))
                    .or_exit(Exit::Usage)?;
                *used = true;
            }
        }
        let config = plugin
            .resolve_config(config.map(Value::Object))
            .with_context(|| format!("--output {name}: its configuration (--output-set)"))
            .or_exit(Exit::Usage)?;
        outputs.push(Output {
            name: name.to_owned(),
            plugin,
            config,
            destination,
        });
    }
    if let Some((set, _)) = args.output_sets.iter().zip(used).find(|(_, used)| !used) {
        return Err(Failed {
            exit: Exit::Usage,
            error: anyhow!("--output-set {set}: no --output has that name"),
        });
    }
    let on_stdout = outputs
        .iter()
        .filter(|output| output.destination.is_stdout())
        .count();
    if on_stdout > 1 {
        return Err(Failed {
            exit: Exit::Usage,
            error: anyhow!(
                "{on_stdout} outputs go to stdout; give all but one a destination (NAME=FILE)"
            ),
        });
    }
    if let Some((one, other)) = same_file(&outputs) {
        return Err(Failed {
            exit: Exit::Usage,
            error: anyhow!(
                "--output {} and --output {} go to the same file, {}: the second would take the place of the first",
                one.name,
                other.name,
                other.destination
            ),
        });
    }
    Ok(outputs)
}

/// Two outputs to one file, if there are any.
fn same_file(outputs: &[Output]) -> Option<(&Output, &Output)> {
    let files: Vec<_> = outputs
        .iter()
        .filter_map(|output| match &output.destination {
            Destination::File(path) => Some((output, whole(path))),
            _ => None,
        })
        .collect();
    files
        .iter()
        .enumerate()
        .find_map(|(number, (output, file))| {
            files
                .iter()
                .take(number)
                .find(|(_, before)| before == file)
                .map(|(before, _)| (*before, *output))
        })
}

/// A path in full, links in it followed as far as it exists: `a.json` and `./b/../a.json` are one.
fn whole(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => whole(parent).join(name),
        _ => path,
    }
}

/// `a.b=VALUE` into an object: VALUE is JSON where it reads as such, else text.
///
/// # Errors
/// No `=`, an empty key, or a key below something that is not an object.
pub fn assign(object: &mut Map<String, Value>, setting: &str) -> anyhow::Result<()> {
    let Some((path, text)) = setting.split_once('=') else {
        bail!("`{setting}` is not KEY=VALUE");
    };
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    let mut keys: Vec<&str> = path.split('.').collect();
    let Some(last) = keys.pop().filter(|last| !last.is_empty()) else {
        bail!("`{setting}` has an empty key");
    };
    let mut at = object;
    for key in keys {
        if key.is_empty() {
            bail!("`{setting}` has an empty key");
        }
        at = match at.entry(key).or_insert_with(|| Value::Object(Map::new())) {
            Value::Object(inner) => inner,
            _ => bail!("`{key}` in `{path}` is already set to something that has no keys"),
        };
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_json_where_they_read_as_such() {
        let mut object = Map::new();
        for setting in [
            "limit=500",
            "namespace=ns-1",
            "virtualNodes=true",
            "grouping.zone=a/b",
            "selector=app=sim",
            "name=\"7\"",
        ] {
            assign(&mut object, setting).unwrap();
        }
        assert_eq!(
            Value::Object(object),
            json!({
                "limit": 500, "namespace": "ns-1", "virtualNodes": true,
                "grouping": {"zone": "a/b"}, "selector": "app=sim", "name": "7",
            })
        );
    }

    #[test]
    fn bad_settings_say_why() {
        let mut object = Map::new();
        assert!(
            assign(&mut object, "limit")
                .unwrap_err()
                .to_string()
                .contains("KEY=VALUE")
        );
        assert!(
            assign(&mut object, "=1")
                .unwrap_err()
                .to_string()
                .contains("empty key")
        );
        assert!(
            assign(&mut object, "a..b=1")
                .unwrap_err()
                .to_string()
                .contains("empty key")
        );
        assign(&mut object, "a=1").unwrap();
        assert!(
            assign(&mut object, "a.b=1")
                .unwrap_err()
                .to_string()
                .contains("no keys")
        );
    }
}
