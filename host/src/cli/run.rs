//! `kperf-host run`: from flags and a profile to a job.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use clap::Args;
use http::HeaderValue;
use kperf_load::plan::Protocol;
use kperf_runtime::{Limits, Plugin, World};
use serde_json::{Map, Value};

use crate::{
    benchmark::{self, Benchmark, PoolPlacement},
    cli::{
        ContentType, EngineArgs, LoadArgs, TargetArgs,
        audit::PrometheusArgs,
        output::{self, OutputArgs},
        server::ServerArgs,
    },
    exit::{Exit, Failed, OrExit as _},
    live::Live,
    load::{LoadConfig, Spec},
    plugins::Plugins,
    profile::{self, Overrides, Profile, Resolved},
    run::{self, Job},
    server_side::ServerMetrics,
    specs::specs,
    target::TargetChoice,
    threshold::ThresholdSpec,
};

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  kperf-host run --plugin quorum_list.wasm --sim --total 1000
  kperf-host run --plugin stale_get --set name=node-1 --sim --rate 500 --duration 10s
  kperf-host run --profile nine-kinds.yaml --kubeconfig ~/.kube/config --output json=report.json
  kperf-host run --plugin ./mine.wasm --sim --output pushgateway=http://127.0.0.1:9091
  kperf-host run --plugin kubevirt_density --config density.yaml --sim kubevirt=true
  kperf-host run --plugin pod_startup_latency --sim --threshold 'pod_startup p99 <= 5s'
")]
pub struct RunArgs {
    /// Run this generator or benchmark: a path, or the name of a bundled one (see `plugin list`).
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
    /// The plugin's configuration, YAML or JSON; --set goes on top of it. That of a benchmark may have
    /// `thresholds` and `grants` at its top, which are for the host, and names files relative to itself.
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
    /// A limit that decides about the exit code: METRIC [QUANTILE] OP LIMIT, for example
    /// `response p99 < 1s` or `pod_startup p99 <= 5s`. Goes on top of the profile's. Repeatable.
    #[arg(long = "threshold", value_name = "EXPRESSION")]
    pub thresholds: Vec<String>,
    /// Benchmark flags.
    #[command(flatten)]
    pub benchmark: BenchmarkArgs,
    /// Load flags.
    #[command(flatten)]
    pub load: LoadArgs,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Flags about the server's own numbers.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Flags about Prometheus.
    #[command(flatten)]
    pub prometheus: PrometheusArgs,
    /// Engine flags.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Result flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Flags of benchmarks.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Benchmark")]
pub struct BenchmarkArgs {
    /// What the benchmark may do outside the namespaces it creates: VERBS:RESOURCE[.GROUP][@NAMESPACE],
    /// for example `list,watch:nodes`. `plugin inspect` shows what it asks for. Repeatable.
    #[arg(long = "grant", value_name = "GRANT")]
    pub grants: Vec<String>,
    /// Leave what the run created; `cleanup --run ID` deletes it later.
    #[arg(long)]
    pub keep: bool,
    /// Say what would be created, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Longest time the benchmark may take; what it created is deleted afterwards all the same.
    #[arg(long, value_name = "TIME", value_parser = super::seconds_or_duration)]
    pub timeout: Option<Duration>,
    /// Longest time for deleting what the run created.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = super::seconds_or_duration)]
    pub cleanup_timeout: Duration,
}

impl BenchmarkArgs {
    /// A flag of these that was given, for messages.
    fn given(&self) -> Option<&'static str> {
        [
            (!self.grants.is_empty(), "--grant"),
            (self.keep, "--keep"),
            (self.dry_run, "--dry-run"),
            (self.timeout.is_some(), "--timeout"),
        ]
        .into_iter()
        .find_map(|(given, flag)| given.then_some(flag))
    }
}

/// Runs the command.
///
/// # Errors
/// Bad input, a plugin or a target that cannot be used.
pub fn run(args: RunArgs, live: Live) -> Result<Exit, Failed> {
    let mut plugins = Plugins::new(limits(args.plugin_memory)).or_exit(Exit::Failure)?;
    let labels = labels(&args.labels)?;
    let profile = match (&args.plugin, &args.profile) {
        (Some(name), _) => {
            let plugin = plugins
                .load(name)
                .with_context(|| format!("--plugin {name}"))
                .or_exit(Exit::Plugin)?;
            let mut config = args.config.as_deref().map(read_config).transpose()?;
            if plugin.world() == World::Benchmark {
                return benchmark(args, &plugin, config, labels, plugins, &live);
            }
            if !args.sets.is_empty() {
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
    if let Some(flag) = args.benchmark.given() {
        return Err(Failed {
            exit: Exit::Usage,
            error: anyhow!("{flag} is for benchmarks; this is a load of requests"),
        });
    }
    let outputs = output::prepare(&args.output, &mut plugins)?;
    let summary_on_stderr = outputs.iter().any(|output| output.destination.is_stdout());
    let (mut job, specs) = job(
        &profile,
        &args.load,
        &args.engine,
        args.target.choice().or_exit(Exit::Usage)?,
        &mut plugins,
        &live,
    )?;
    job.thresholds
        .extend(thresholds("--threshold", &args.thresholds)?);
    job.labels = labels;
    job.server = args.server.when()?;
    job.prometheus = args.prometheus.source()?;
    job.outputs = outputs;
    job.load.raw = args.output.raw_data;
    job.summary_on_stderr = summary_on_stderr;
    run::run(job, &specs, live)
}

/// The plugin is a benchmark: it says itself what is done, and flags of loads mean nothing to it.
fn benchmark(
    args: RunArgs,
    plugin: &Arc<Plugin>,
    config: Option<Value>,
    labels: Vec<(String, String)>,
    mut plugins: Plugins,
    live: &Live,
) -> Result<Exit, Failed> {
    if let Some(flag) = args.load.given() {
        return Err(Failed {
            exit: Exit::Usage,
            error: anyhow!(
                "{flag} is for loads of requests; {} is a benchmark, which is configured with --config and --set",
                plugin.info().name
            ),
        });
    }
    let mut config = config;
    let in_config = config.as_mut().map(HostKeys::take).transpose()?;
    let HostKeys {
        thresholds: limits,
        grants,
    } = in_config.unwrap_or_default();
    if !args.sets.is_empty() {
        let base = config.unwrap_or_else(|| plugin.default_config());
        config = Some(set_keys(base, &args.sets)?);
    }
    let config = plugin
        .resolve_config(config)
        .map_err(|error| match &args.config {
            Some(path) => anyhow!("{}: {error}", path.display()),
            None => anyhow!(error),
        })
        .or_exit(Exit::Usage)?;
    let of_file = args
        .config
        .as_ref()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let grants = grants
        .iter()
        .map(|text| (format!("{of_file}: grants: {text}"), text))
        .chain(
            args.benchmark
                .grants
                .iter()
                .map(|text| (format!("--grant {text}"), text)),
        )
        .map(|(place, text)| text.parse().with_context(|| place))
        .collect::<anyhow::Result<Vec<_>>>()
        .or_exit(Exit::Usage)?;
    let mut load = load_config(&args.engine, args.load.user_agent.as_deref())?;
    load.raw = args.output.raw_data;
    let outputs = output::prepare(&args.output, &mut plugins)?;
    let job = Job {
        description: String::new(),
        labels,
        target: args.target.choice().or_exit(Exit::Usage)?,
        seed: seed(&args.engine)?,
        load,
        server: args.server.when()?,
        prometheus: args.prometheus.source()?,
        thresholds: thresholds(&format!("{of_file}: thresholds:"), &limits)?
            .into_iter()
            .chain(thresholds("--threshold", &args.thresholds)?)
            .collect(),
        summary_on_stderr: outputs.iter().any(|output| output.destination.is_stdout()),
        outputs,
    };
    let files = folder_of(args.config.as_deref());
    benchmark::run(
        job,
        Benchmark {
            plugin: Arc::clone(plugin),
            config,
            files: files.to_owned(),
            grants,
            keep: args.benchmark.keep,
            dry_run: args.benchmark.dry_run,
            timeout: args.benchmark.timeout,
            cleanup_timeout: args.benchmark.cleanup_timeout,
            plain: live.is_plain(),
            pools: PoolPlacement::default(),
            runners: None,
            raw_data: false,
            kperf: None,
        },
        plugins,
        live,
    )
}

/// The folder below which a benchmark may read files: that of its configuration file, else the working directory.
pub(super) fn folder_of(config: Option<&Path>) -> &Path {
    config
        .and_then(Path::parent)
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// What a benchmark's configuration says to the host.
#[derive(Default)]
pub(super) struct HostKeys {
    pub(super) thresholds: Vec<String>,
    pub(super) grants: Vec<String>,
}

impl HostKeys {
    /// Takes the keys out of a configuration.
    pub(super) fn take(config: &mut Value) -> Result<Self, Failed> {
        let mut texts = |key: &str| {
            let Some(value) = config.as_object_mut().and_then(|keys| keys.remove(key)) else {
                return Ok(Vec::new());
            };
            serde_json::from_value(value)
                .with_context(|| format!("`{key}` of --config must be a list of texts"))
                .or_exit(Exit::Usage)
        };
        Ok(Self {
            thresholds: texts("thresholds")?,
            grants: texts("grants")?,
        })
    }
}

pub(super) fn thresholds(place: &str, texts: &[String]) -> Result<Vec<ThresholdSpec>, Failed> {
    texts
        .iter()
        .map(|text| ThresholdSpec::parse(text).with_context(|| format!("{place} {text}")))
        .collect::<anyhow::Result<_>>()
        .or_exit(Exit::Usage)
}

/// Labels of `--label`.
///
/// # Errors
/// One that is not KEY=VALUE.
pub fn labels(texts: &[String]) -> Result<Vec<(String, String)>, Failed> {
    texts
        .iter()
        .map(|label| {
            label
                .split_once('=')
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .ok_or_else(|| anyhow!("--label {label}: not KEY=VALUE"))
        })
        .collect::<anyhow::Result<_>>()
        .or_exit(Exit::Usage)
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
) -> Result<(Job, Vec<Spec>), Failed> {
    let resolved = profile.resolve(&overrides(load)).or_exit(Exit::Usage)?;
    for warning in &resolved.warnings {
        live.say(&format!("warning: {warning}"));
    }
    let specs = specs(profile, &resolved, plugins)?;
    let mut config = load_config(engine, load.user_agent.as_deref())?;
    config.take(&resolved);
    let thresholds = profile
        .thresholds
        .iter()
        .map(|text| {
            ThresholdSpec::parse(text)
                .with_context(|| format!("{}: {text}", profile.place("thresholds")))
        })
        .collect::<anyhow::Result<Vec<_>>>()
        .or_exit(Exit::Usage)?;
    Ok((
        Job {
            description: resolved.description.clone(),
            labels: Vec::new(),
            target,
            seed: seed(engine)?,
            load: config,
            server: ServerMetrics::Off,
            prometheus: None,
            thresholds,
            outputs: Vec::new(),
            summary_on_stderr: false,
        },
        specs,
    ))
}

/// The seed of the flag.
///
/// # Errors
/// It is above what every plugin can hold.
pub fn seed(engine: &EngineArgs) -> Result<Option<u64>, Failed> {
    engine
        .seed
        .map(|seed| {
            (seed < 1 << 53)
                .then_some(seed)
                .ok_or_else(|| anyhow!("--seed {seed}: must be below 2^53"))
        })
        .transpose()
        .or_exit(Exit::Usage)
}

/// How loads use their connections, as far as flags decide; a profile says the rest.
///
/// # Errors
/// A user agent that is no header.
pub fn load_config(engine: &EngineArgs, user_agent: Option<&str>) -> Result<LoadConfig, Failed> {
    let user_agent = user_agent.map_or_else(
        || {
            format!(
                "kperf-host/{} ({}/{})",
                env!("CARGO_PKG_VERSION"),
                std::env::consts::OS,
                std::env::consts::ARCH
            )
        },
        str::to_owned,
    );
    Ok(LoadConfig {
        conns: 1,
        protobuf: false,
        protocol: Protocol::Http2,
        user_agent: HeaderValue::from_str(&user_agent)
            .with_context(|| format!("--user-agent {user_agent:?}"))
            .or_exit(Exit::Usage)?,
        shards: engine.shards,
        deadline: (!engine.deadline.is_zero()).then_some(engine.deadline),
        tick: engine.tick,
        pile_up: engine.pile_up,
        kernel_timestamps: !engine.no_kernel_timestamps,
        max_backlog: engine.max_backlog,
        interval: engine.interval,
        raw: false,
        failures: false,
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

pub(super) fn read_config(path: &Path) -> Result<Value, Failed> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read --config {}", path.display()))
        .or_exit(Exit::Usage)?;
    profile::yaml_value(&text)
        .with_context(|| format!("--config {}", path.display()))
        .or_exit(Exit::Usage)
}

pub(super) fn set_keys(mut config: Value, sets: &[String]) -> Result<Value, Failed> {
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
