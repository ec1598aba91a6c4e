//! `kperf-host bench NAME`: kperf's scenarios, or anybody's benchmark, with flags from the plugin's schema.
//!
//! A scenario is a benchmark plugin like any other. What is kperf's here are the flags, the grants that a bundled
//! scenario gets because its name was typed, and the result: `{description, loadSpec, result, info}`.

mod flags;

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use clap::{
    Arg, ArgMatches, Args, Command, FromArgMatches, builder::ValueParser, error::ErrorKind,
    parser::ValueSource,
};
use kperf_cluster::{grant::Grant, nodepool::KWOK_IMAGE};
use kperf_runtime::{Plugin, World};
use serde_json::Value;

use crate::{
    benchmark::{self, Benchmark, KperfResult, PoolPlacement},
    cli::{
        EngineArgs, TargetArgs,
        audit::PrometheusArgs,
        output::{self, OutputArgs},
        run::{self, BenchmarkArgs, HostKeys},
        runners::RunnersArgs,
        server::ServerArgs,
        vc,
    },
    exit::{Exit, Failed, OrExit as _},
    export::Output,
    live::Live,
    plugins::{self, Plugins},
    run::Job,
    runner_group::Placement,
    sink::Destination,
};

/// kperf's scenarios, all bundled.
pub const SCENARIOS: [&str; 9] = [
    "node10_job1_pod100",
    "node10_job1_pod1k",
    "node100_job1_pod3k",
    "node100_job10_pod10k",
    "node100_pod10k",
    "list_configmaps",
    "cilium_cr_list",
    "read_update",
    "timeseries_replay",
];

/// Flags that every scenario has, before or after its name.
#[derive(Clone, Debug, Args)]
pub struct BenchFlags {
    /// File for kperf's result; its folder is made [default: stdout].
    #[arg(long, value_name = "FILE")]
    pub result: Option<PathBuf>,
    /// Where kwok, which plays the virtual nodes, may run: nodes with one of these labels. kperf's default, its own
    /// test machines, is no default here. Repeatable.
    #[arg(long, value_name = "KEY=VALUE[,VALUE]", value_parser = vc::key_values)]
    pub vc_affinity: Vec<(String, Vec<String>)>,
    /// Image of kwok.
    #[arg(long, value_name = "IMAGE", default_value = KWOK_IMAGE)]
    pub kwok_image: String,
    /// Longest time until the virtual nodes are ready.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = super::seconds_or_duration)]
    pub nodes_timeout: Duration,
    /// Flags about runners.
    #[command(flatten)]
    pub runners: RunnersArgs,
    /// Give virtual nodes the provider ID of an EKS node, so that EKS leaves them alone.
    #[arg(long, hide = true)]
    pub eks: bool,
    /// The scenario's configuration, YAML or JSON; its flags go on top of it. May have `thresholds` and `grants`
    /// at its top, which are for the host.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one key of the configuration, as a flag of the scenario does. Repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// A label of the run, kept in the report. Repeatable.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// A limit that decides about the exit code: METRIC [QUANTILE] OP LIMIT. Repeatable.
    #[arg(long = "threshold", value_name = "EXPRESSION")]
    pub thresholds: Vec<String>,
    /// Seed of every random choice [default: drawn; the summary says which].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Benchmark flags.
    #[command(flatten)]
    pub benchmark: BenchmarkArgs,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Flags about the server's own numbers.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Flags about a Prometheus.
    #[command(flatten)]
    pub prometheus: PrometheusArgs,
    /// Result flags.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `bench`: which flags there are depends on the scenario, so they are read once its name is known.
#[derive(Clone, Debug)]
pub struct BenchArgs {
    scenario: String,
    /// All flags, as written.
    flags: Vec<OsString>,
}

const WORDS: &str = "words";

impl BenchArgs {
    /// Without a name there is nothing to run.
    fn without_scenario(first: Option<&OsString>) -> clap::Error {
        let mut command = Self::augment_args(Command::new("bench")).bin_name("kperf-host bench");
        let message = match first {
            Some(flag) => format!(
                "unexpected argument '{}' before the scenario's name; flags of a scenario go after it",
                flag.display()
            ),
            None => format!(
                "which scenario? There are {}. (--sim goes after it)",
                SCENARIOS.join(", ")
            ),
        };
        command.error(ErrorKind::MissingRequiredArgument, message)
    }
}

impl Args for BenchArgs {
    fn augment_args(command: Command) -> Command {
        // From the name on nothing is read here: a flag may be the scenario's, or have its value in the next word.
        let words = Arg::new(WORDS)
            .value_name("NAME> [FLAGS")
            .num_args(0..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true)
            .value_parser(ValueParser::os_string())
            .help("A scenario of kperf's, or a path to a benchmark component; then its own flags (see `bench NAME --help`), and any of those below");
        let examples = format!(
            "Scenarios:\n  {}\n\nExamples:\n  \
             kperf-host bench node10_job1_pod100 --sim --total 200\n  \
             kperf-host bench --kubeconfig ~/.kube/config list_configmaps --size 2000 --duration 60\n  \
             kperf-host bench ./mine.wasm --help\n",
            SCENARIOS.join("\n  ")
        );
        BenchFlags::augment_args(command.after_help(examples)).arg(words)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for BenchArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut words = matches.get_many::<OsString>(WORDS).into_iter().flatten();
        let first = words.next();
        let scenario = first
            .and_then(|name| name.to_str())
            .filter(|name| !name.starts_with('-'))
            .ok_or_else(|| Self::without_scenario(first))?;
        let mut flags = as_written(matches);
        flags.extend(words.cloned());
        Ok(Self {
            scenario: scenario.to_owned(),
            flags,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The flags of [`BenchFlags`] that were given, as words again.
fn as_written(matches: &ArgMatches) -> Vec<OsString> {
    let known = BenchFlags::augment_args(Command::new("bench"));
    let mut words = Vec::new();
    for arg in known.get_arguments() {
        let id = arg.get_id().as_str();
        let (Some(long), Some(ValueSource::CommandLine)) =
            (arg.get_long(), matches.value_source(id))
        else {
            continue;
        };
        if !arg.get_action().takes_values() {
            words.push(format!("--{long}").into());
            continue;
        }
        for value in matches.get_raw(id).into_iter().flatten() {
            let mut word = OsString::from(format!("--{long}="));
            word.push(value);
            words.push(word);
        }
    }
    words
}

/// Runs the command.
///
/// # Errors
/// Bad input, a plugin or a target that cannot be used.
pub fn run(args: &BenchArgs, live: &Live) -> Result<Exit, Failed> {
    let name = &args.scenario;
    let is_bundled = plugins::find(name).or_exit(Exit::Plugin)?.bundled;
    let mut plugins = Plugins::new(run::limits(256)).or_exit(Exit::Failure)?;
    let plugin = plugins.load(name).or_exit(Exit::Plugin)?;
    if plugin.world() != World::Benchmark {
        return Err(Failed {
            exit: Exit::Usage,
            error: anyhow!(
                "`{name}` is a {}, not a benchmark; scenarios are {}",
                plugin.world(),
                SCENARIOS.join(", ")
            ),
        });
    }
    let matches = match flags::command(&plugin, name).try_get_matches_from(
        [OsString::from("bench")]
            .into_iter()
            .chain(args.flags.iter().cloned()),
    ) {
        Ok(matches) => matches,
        Err(error) => {
            // Help goes to stdout, complaints to stderr; a closed pipe is the reader's choice.
            error.print().ok();
            return Ok(if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Success
            });
        }
    };
    let mut common = BenchFlags::from_arg_matches(&matches).or_exit(Exit::Usage)?;
    common.target.empty_kubeconfig_is_in_cluster();
    for flag in flags::without_effect(&matches) {
        live.say(&format!("warning: --{flag} means nothing to {name}"));
    }
    scenario(&plugin, is_bundled, &common, &matches, plugins, live)
}

fn scenario(
    plugin: &Arc<Plugin>,
    is_bundled: bool,
    common: &BenchFlags,
    matches: &ArgMatches,
    mut plugins: Plugins,
    live: &Live,
) -> Result<Exit, Failed> {
    let (config, keys) = config(plugin, common, matches)?;
    let grants = grants(plugin, is_bundled, common, &keys)?;
    let outputs = output::prepare(&common.output, &mut plugins)?;
    let kperf = kperf_result(common, &outputs, &mut plugins)?;
    let runners = common.runners.placement(&common.target)?;
    let mut load = run::load_config(&engine(common.seed)?, None)?;
    // The errors of the result, one by one.
    load.failures = true;
    load.raw = common.output.raw_data;
    let job = Job {
        description: String::new(),
        labels: run::labels(&common.labels)?,
        target: match &runners {
            Some(Placement::Locally(local)) => local.choice().clone(),
            _ => common.target.choice().or_exit(Exit::Usage)?,
        },
        seed: run::seed(&engine(common.seed)?)?,
        load,
        server: common.server.when()?,
        prometheus: common.prometheus.source()?,
        thresholds: run::thresholds("--config: thresholds:", &keys.thresholds)?
            .into_iter()
            .chain(run::thresholds("--threshold", &common.thresholds)?)
            .collect(),
        summary_on_stderr: kperf.destination.is_stdout()
            || outputs.iter().any(|output| output.destination.is_stdout()),
        outputs,
    };
    benchmark::run(
        job,
        Benchmark {
            plugin: Arc::clone(plugin),
            config,
            files: run::folder_of(common.config.as_deref()).to_owned(),
            grants,
            keep: common.benchmark.keep,
            dry_run: common.benchmark.dry_run,
            timeout: common.benchmark.timeout,
            cleanup_timeout: common.benchmark.cleanup_timeout,
            plain: live.is_plain(),
            pools: PoolPlacement {
                affinity: vc::affinity(&common.vc_affinity),
                kwok_image: common.kwok_image.clone(),
                timeout: common.nodes_timeout,
                eks: common.eks,
            },
            runners,
            raw_data: common.output.raw_data,
            kperf: Some(kperf),
        },
        plugins,
        live,
    )
}

/// File, then flags, then `--set`; checked against the schema.
fn config(
    plugin: &Plugin,
    common: &BenchFlags,
    matches: &ArgMatches,
) -> Result<(Value, HostKeys), Failed> {
    let mut config = match &common.config {
        Some(path) => run::read_config(path)?,
        None => plugin.default_config(),
    };
    let keys = HostKeys::take(&mut config)?;
    let config = run::set_keys(config, &common.sets)?;
    let config = flags::on_top(plugin, config, matches);
    let config = plugin
        .resolve_config(Some(config))
        .map_err(|error| match &common.config {
            Some(path) => anyhow!("{}: {error}", path.display()),
            None => anyhow!(error),
        })
        .or_exit(Exit::Usage)?;
    Ok((config, keys))
}

/// What comes with this program may do what it asks for: the user typed its name. A stranger's component gets what
/// the user grants it, word by word.
fn grants(
    plugin: &Plugin,
    is_bundled: bool,
    common: &BenchFlags,
    keys: &HostKeys,
) -> Result<Vec<Grant>, Failed> {
    let wanted = if is_bundled {
        plugin.info().wanted_grants.as_slice()
    } else {
        &[]
    };
    wanted
        .iter()
        .map(|text| ("the scenario".to_owned(), text))
        .chain(
            keys.grants
                .iter()
                .map(|text| (format!("--config: grants: {text}"), text)),
        )
        .chain(
            common
                .benchmark
                .grants
                .iter()
                .map(|text| (format!("--grant {text}"), text)),
        )
        .map(|(place, text)| text.parse().with_context(|| place))
        .collect::<anyhow::Result<_>>()
        .or_exit(Exit::Usage)
}

fn kperf_result(
    common: &BenchFlags,
    outputs: &[Output],
    plugins: &mut Plugins,
) -> Result<KperfResult, Failed> {
    let destination = common
        .result
        .clone()
        .map_or(Destination::Stdout, Destination::File);
    if destination.is_stdout()
        && let Some(output) = outputs.iter().find(|output| output.destination.is_stdout())
    {
        return Err(Failed {
            exit: Exit::Usage,
            error: anyhow!(
                "--output {}: kperf's result goes to stdout; give the output a destination (NAME=FILE), or the result one (--result FILE)",
                output.name
            ),
        });
    }
    Ok(KperfResult {
        exporter: plugins.load("kperf_json").or_exit(Exit::Plugin)?,
        destination,
        node_affinity: vc::affinity(&common.runners.rg_affinity),
        raw_data: common.output.raw_data,
    })
}

/// The engine as it is without flags: what a scenario asks for decides.
fn engine(seed: Option<u64>) -> Result<EngineArgs, Failed> {
    let matches = EngineArgs::augment_args(Command::new("engine"))
        .try_get_matches_from(["engine"])
        .or_exit(Exit::Failure)?;
    let mut engine = EngineArgs::from_arg_matches(&matches).or_exit(Exit::Failure)?;
    engine.seed = seed;
    Ok(engine)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;

    use super::*;
    use crate::cli::{self, Cli};

    fn parse(words: &[&str]) -> BenchArgs {
        let words = ["kperf-host", "bench"].iter().chain(words);
        match Cli::try_parse_from(words).unwrap().command {
            cli::Command::Bench(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_go_before_and_after_the_name() {
        let args = parse(&[
            "--cleanup-timeout",
            "9s",
            "--eks",
            "--label",
            "a=b",
            "--label=c=d",
            "node10_job1_pod100",
            "--sim",
            "--total",
            "5",
            "--result",
            "r.json",
        ]);
        assert_eq!(args.scenario, "node10_job1_pod100");
        let (before, after) = args.flags.split_at(4);
        let mut before = before.to_vec();
        before.sort();
        assert_eq!(
            before,
            [
                "--cleanup-timeout=9s",
                "--eks",
                "--label=a=b",
                "--label=c=d"
            ]
        );
        assert_eq!(after, ["--sim", "--total", "5", "--result", "r.json"]);
    }

    #[test]
    fn help_is_that_of_the_scenario_once_there_is_a_name() {
        assert_eq!(parse(&["x", "--help"]).flags, ["--help"]);
        let general = Cli::try_parse_from(["kperf-host", "bench", "--help"]).unwrap_err();
        assert_eq!(general.kind(), ErrorKind::DisplayHelp);
        assert!(general.to_string().contains("read_update"), "{general}");
        let none = Cli::try_parse_from(["kperf-host", "bench"]).unwrap_err();
        assert!(none.to_string().contains("read_update"), "{none}");
        assert_eq!(none.exit_code(), i32::from(Exit::Usage as u8));
        let early = Cli::try_parse_from(["kperf-host", "bench", "--total", "5", "x"]).unwrap_err();
        assert!(early.to_string().contains("after it"), "{early}");
    }

    #[test]
    fn folder_of_a_file_in_the_working_directory() {
        assert_eq!(run::folder_of(Some(Path::new("a.yaml"))), Path::new("."));
        assert_eq!(run::folder_of(Some(Path::new("b/a.yaml"))), Path::new("b"));
        assert_eq!(run::folder_of(None), Path::new("."));
    }
}
