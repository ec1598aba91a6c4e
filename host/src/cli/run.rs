//! `kperf-host run`: from flags and a profile to a job.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, anyhow};
use clap::Args;
use http::HeaderValue;
use kperf_load::plan::Protocol;
use kperf_runtime::{Limits, OpenContext, Plugin};
use serde_json::{Map, Value};

use crate::{
    cli::{
        ContentType, EngineArgs, LoadArgs, TargetArgs,
        output::{self, OutputArgs},
    },
    exit::{Exit, Failed, OrExit as _},
    live::Live,
    plugins::Plugins,
    profile::{self, KeyError, Overrides, Profile, ProfileError, Resolved},
    run::{self, Job, Spec},
    source::Entry,
    target::TargetChoice,
};

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  kperf-host run --plugin quorum_list.wasm --sim --total 1000
  kperf-host run --plugin stale_get --set name=node-1 --sim --rate 500 --duration 10s
  kperf-host run --profile nine-kinds.yaml --kubeconfig ~/.kube/config --output json=report.json
  kperf-host run --plugin ./mine.wasm --sim --output pushgateway=http://127.0.0.1:9091
")]
pub struct RunArgs {
    /// Drive load with this plugin: a path, or the name of a bundled one (see `plugin list`).
    #[arg(
        long,
        value_name = "PLUGIN",
        required_unless_present = "profile",
        conflicts_with = "profile"
    )]
    pub plugin: Option<String>,
    /// Set one key of the plugin's configuration; VALUE is JSON where it reads as such. Goes on top of
    /// --config, else of the configuration the plugin uses by itself (see `plugin inspect`). Repeatable.
    #[arg(
        long = "set",
        value_name = "KEY=VALUE",
        requires = "plugin",
        conflicts_with = "profile"
    )]
    pub sets: Vec<String>,
    /// The plugin's configuration, YAML or JSON; --set goes on top of it.
    #[arg(
        long,
        value_name = "FILE",
        requires = "plugin",
        conflicts_with = "profile"
    )]
    pub config: Option<PathBuf>,
    /// Drive load with this profile (kperf's load profiles, and `plugin:` entries).
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Ignore unknown keys of the profile, with a warning.
    #[arg(long, requires = "profile", conflicts_with = "plugin")]
    pub lenient: bool,
    /// A label of the run, kept in the report. Repeatable.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// Memory that one instance of a plugin may use.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub plugin_memory: u64,
    /// Load flags.
    #[command(flatten)]
    pub load: LoadArgs,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Engine flags.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Result flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// Bad input, a plugin or a target that cannot be used.
pub fn run(args: RunArgs, live: Live) -> Result<Exit, Failed> {
    let mut plugins = Plugins::new(limits(args.plugin_memory)).or_exit(Exit::Failure)?;
    let profile = match (&args.plugin, &args.profile) {
        (Some(name), _) => {
            let mut config = args.config.as_deref().map(read_config).transpose()?;
            if !args.sets.is_empty() {
                let plugin = plugins
                    .load(name)
                    .with_context(|| format!("--plugin {name}"))
                    .or_exit(Exit::Plugin)?;
                let base = config.unwrap_or_else(|| plugin.default_config());
                config = Some(set_keys(base, &args.sets)?);
            }
            Profile::of_plugin(name, config)
        }
        (None, Some(path)) => read_profile(path, args.lenient, &live)?,
        (None, None) => {
            return Err(Failed {
                exit: Exit::Usage,
                error: anyhow!("give --plugin or --profile"),
            });
        }
    };
    let labels = args
        .labels
        .iter()
        .map(|label| {
            label
                .split_once('=')
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .ok_or_else(|| anyhow!("--label {label}: not KEY=VALUE"))
        })
        .collect::<anyhow::Result<Vec<_>>>()
        .or_exit(Exit::Usage)?;
    let outputs = output::prepare(&args.output, &mut plugins)?;
    let summary_on_stderr = outputs.iter().any(|output| output.destination.is_stdout());
    let mut job = job(
        &profile,
        &args.load,
        &args.engine,
        args.target.choice().or_exit(Exit::Usage)?,
        &mut plugins,
        &live,
    )?;
    job.labels = labels;
    job.outputs = outputs;
    job.raw = args.output.raw_data;
    job.summary_on_stderr = summary_on_stderr;
    run::run(job, live)
}

/// Limits of plugins from the flag.
#[must_use]
pub fn limits(memory_mib: u64) -> Limits {
    Limits {
        memory_bytes: memory_mib << 20,
        ..Limits::default()
    }
}

/// Reads a profile; what `lenient` ignores is said.
///
/// # Errors
/// Unreadable, or not a profile; the message names file, line and key.
pub fn read_profile(path: &Path, lenient: bool, live: &Live) -> Result<Profile, Failed> {
    let read = profile::read(path, lenient).or_exit(Exit::Usage)?;
    for warning in &read.warnings {
        live.say(&format!("warning: {warning}"));
    }
    Ok(read.profile)
}

/// The job that a profile and the flags describe: defaults resolved, plugins loaded, configurations checked.
///
/// # Errors
/// The profile's rules, a plugin that cannot be loaded, a configuration its plugin refuses.
pub fn job(
    profile: &Profile,
    load: &LoadArgs,
    engine: &EngineArgs,
    target: TargetChoice,
    plugins: &mut Plugins,
    live: &Live,
) -> Result<Job, Failed> {
    let resolved = profile.resolve(&overrides(load)).or_exit(Exit::Usage)?;
    for warning in &resolved.warnings {
        live.say(&format!("warning: {warning}"));
    }
    let specs = specs(profile, &resolved, plugins)?;
    let user_agent = load.user_agent.clone().unwrap_or_else(|| {
        format!(
            "kperf-host/{} ({}/{})",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::OS,
            std::env::consts::ARCH
        )
    });
    Ok(Job {
        description: resolved.description.clone(),
        labels: Vec::new(),
        specs,
        target,
        conns: resolved.conns,
        protobuf: resolved.content_type == profile::ContentType::Protobuf,
        protocol: if resolved.disable_http2 {
            Protocol::Http1
        } else {
            Protocol::Http2
        },
        user_agent: HeaderValue::from_str(&user_agent)
            .with_context(|| format!("--user-agent {user_agent:?}"))
            .or_exit(Exit::Usage)?,
        seed: engine
            .seed
            .map(|seed| {
                (seed < 1 << 53)
                    .then_some(seed)
                    .ok_or_else(|| anyhow!("--seed {seed}: must be below 2^53"))
            })
            .transpose()
            .or_exit(Exit::Usage)?,
        shards: engine.shards,
        deadline: (!engine.deadline.is_zero()).then_some(engine.deadline),
        tick: engine.tick,
        pile_up: engine.pile_up,
        kernel_timestamps: !engine.no_kernel_timestamps,
        max_backlog: engine.max_backlog,
        interval: engine.interval,
        raw: false,
        outputs: Vec::new(),
        summary_on_stderr: false,
    })
}

fn overrides(load: &LoadArgs) -> Overrides {
    Overrides {
        rate: load.rate,
        total: load.total,
        duration: load.duration,
        conns: load.conns,
        client: load.client,
        content_type: load.content_type.map(|content_type| match content_type {
            ContentType::Json => profile::ContentType::Json,
            ContentType::Protobuf => profile::ContentType::Protobuf,
        }),
        disable_http2: load.disable_http2,
        max_retries: load.max_retries,
    }
}

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
                        "{place}: `{name}` is an exporter; load needs a generator (exporters go to --output)"
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

/// Everything of a profile that can be checked without a target; returns it as resolved.
///
/// # Errors
/// What is wrong, with file, line and key.
pub fn prepare_profile(
    path: &Path,
    lenient: bool,
    live: &Live,
) -> Result<(Profile, Resolved), Failed> {
    let profile = read_profile(path, lenient, live)?;
    let resolved = profile
        .resolve(&Overrides::default())
        .or_exit(Exit::Usage)?;
    let mut plugins = Plugins::new(Limits::default()).or_exit(Exit::Failure)?;
    specs(&profile, &resolved, &mut plugins)?;
    Ok((profile, resolved))
}

fn read_config(path: &Path) -> Result<Value, Failed> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read --config {}", path.display()))
        .or_exit(Exit::Usage)?;
    profile::yaml_value(&text)
        .with_context(|| format!("--config {}", path.display()))
        .or_exit(Exit::Usage)
}

fn set_keys(mut config: Value, sets: &[String]) -> Result<Value, Failed> {
    // An empty file is a configuration without keys.
    if config.is_null() {
        config = Value::Object(Map::new());
    }
    let Value::Object(object) = &mut config else {
        return Err(Failed {
            exit: Exit::Usage,
            error: anyhow!("--set needs a configuration with keys, and there is one without"),
        });
    };
    for set in sets {
        output::assign(object, set)
            .with_context(|| format!("--set {set}"))
            .or_exit(Exit::Usage)?;
    }
    Ok(config)
}
