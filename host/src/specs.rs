//! From a profile to what the engine can run: plugins loaded, configurations checked, each complaint with its line.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use kperf_runtime::{OpenContext, Plugin};
use serde_json::Value;

use crate::{
    exit::{Exit, Failed, OrExit as _},
    load::Spec,
    plugins::Plugins,
    profile::{self, KeyError, Profile, ProfileError, Resolved},
    source::Entry,
};

/// Loads the plugins of every entry and checks every configuration.
///
/// # Errors
/// All refused keys of the profile at once, each with its line.
pub fn specs(
    profile: &Profile,
    resolved: &Resolved,
    plugins: &mut Plugins,
) -> Result<Vec<Spec>, Failed> {
    let mut specs = Vec::with_capacity(resolved.specs.len());
    for (number, spec) in resolved.specs.iter().enumerate() {
        let mut entries = Vec::with_capacity(spec.entries.len());
        for entry in &spec.entries {
            let name = entry.plugin.name();
            let place = if profile.is_from_file() {
                profile.place(&entry.path)
            } else {
                format!("--plugin {name}")
            };
            let plugin = plugins
                .load(&name)
                .with_context(|| place.clone())
                .or_exit(Exit::Plugin)?;
            if !plugin.world().is_generator() {
                return Err(Failed {
                    exit: Exit::Usage,
                    error: anyhow!(
                        "{place}: `{name}` is a {}; load needs a generator (exporters go to --output, benchmarks to --plugin, tools to net)",
                        plugin.world()
                    ),
                });
            }
            // kperf's kinds always bring a configuration, so what kperf requires stays required; a plugin
            // that is given none uses its default.
            let config = plugin
                .resolve_config(entry.config.clone())
                .map_err(|error| {
                    profile.key_errors(
                        entry,
                        error.problems.iter().map(|problem| KeyError {
                            pointer: problem.pointer.clone(),
                            message: problem.message.clone(),
                        }),
                    )
                })
                .map_err(|error| of_flags(profile, &name, error))
                .or_exit(Exit::Usage)?;
            open_once(profile, entry, &plugin, &config)?;
            entries.push(Entry {
                shares: entry.shares,
                plugin,
                config,
                place,
            });
        }
        entries.retain(|entry| entry.shares > 0);
        specs.push(Spec {
            name: if resolved.specs.len() == 1 {
                "load".to_owned()
            } else {
                format!("load-{}", number + 1)
            },
            rate_per_sec: spec.rate,
            total: spec.total,
            duration: spec.duration,
            clients: spec.client,
            max_retries: spec.max_retries,
            entries,
        });
    }
    Ok(specs)
}

/// Opens a generator once, so that a configuration it refuses is known before anything is dialled, with
/// the line where it was written.
fn open_once(
    profile: &Profile,
    entry: &profile::Entry,
    plugin: &Arc<Plugin>,
    config: &Value,
) -> Result<(), Failed> {
    let context = OpenContext {
        shards: 1,
        ..OpenContext::default()
    };
    let Err(error) = plugin.open_generator(context, config) else {
        return Ok(());
    };
    let details = error.details();
    let refused = details
        .plugin_message
        .clone()
        .filter(|_| details.plugin_code.as_deref() == Some("invalid-config"));
    if let Some(message) = refused {
        let problem = KeyError {
            pointer: details
                .config_key
                .as_ref()
                .map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1")))
                .unwrap_or_default(),
            message,
        };
        let error = of_flags(
            profile,
            &entry.plugin.name(),
            profile.key_errors(entry, [problem]),
        );
        return Err(Failed {
            exit: Exit::Usage,
            error,
        });
    }
    let place = if profile.is_from_file() {
        format!("{}: ", profile.place(&entry.path))
    } else {
        String::new()
    };
    Err(Failed {
        exit: Exit::Plugin,
        error: anyhow!("{place}{error}"),
    })
}

/// A file says by itself where a key stands; flags do not.
fn of_flags(profile: &Profile, plugin: &str, error: ProfileError) -> anyhow::Error {
    if profile.is_from_file() {
        error.into()
    } else {
        anyhow!("configuration of plugin `{plugin}` (--set, --config): {error}")
    }
}
