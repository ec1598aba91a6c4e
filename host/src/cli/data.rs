//! `kperf-host data`: sets of objects that fill a server, with kperf's names and flags.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kperf_cluster::dataset::{self, DataError, DataKind, DataSpec};
use serde_json::json;

use crate::{
    cli::{
        TargetArgs,
        opened::{exit_of, open},
        table::{self, ListFormat},
    },
    exit::{Exit, Failed, OrExit as _},
    live::Live,
};

/// The kinds of sets.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// ConfigMaps runkperf-cm-NAME-<i>.
    #[command(visible_alias = "cm")]
    Configmap(KindArgs<PayloadArgs>),
    /// DaemonSets NAME-<i> for virtual nodes.
    #[command(visible_alias = "ds")]
    Daemonset(KindArgs<CountArgs>),
    /// Secrets runkperf-secret-NAME-<i>.
    Secret(KindArgs<PayloadArgs>),
    /// Events runkperf-event-NAME-<i>; the server forgets them after a while.
    Event(KindArgs<EventArgs>),
}

/// Where, and what to do.
#[derive(Debug, Args)]
pub struct KindArgs<A: Args> {
    /// As after the command; kperf has it here.
    #[arg(long, value_name = "FILE", hide = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace; made if it is not there.
    #[arg(
        long,
        short,
        value_name = "NAME",
        default_value = "default",
        global = true
    )]
    pub namespace: String,
    /// What to do.
    #[command(subcommand)]
    pub command: SetCommand<A>,
}

/// What is done to sets.
#[derive(Debug, Subcommand)]
pub enum SetCommand<A: Args> {
    /// Make a set; what is there of it is brought to the same content.
    Add(Box<AddArgs<A>>),
    /// Remove a set. Objects are known by their names, also when a PUT took their labels.
    #[command(visible_alias = "del")]
    Delete(DeleteArgs),
    /// Show sets.
    List(ListArgs),
}

/// Arguments of `add`.
#[derive(Debug, Args)]
pub struct AddArgs<A: Args> {
    /// Name of the set.
    pub name: String,
    /// What the set is like.
    #[command(flatten)]
    pub set: A,
    /// Objects created a second, 0 = as fast as the server answers [default: 30; events 100].
    #[arg(long, value_name = "PER_SECOND", allow_negative_numbers = true, value_parser = super::rate)]
    pub qps: Option<f64>,
    /// Objects that are due at once at the start [default: 10; events 200].
    #[arg(long, value_name = "N")]
    pub burst: Option<u32>,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Sets of ConfigMaps and Secrets.
#[derive(Debug, Args)]
pub struct PayloadArgs {
    /// Bytes of payload of each object.
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub size: u64,
    /// Objects with the same ownerID, created side by side.
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub group_size: u64,
    /// Objects.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub total: u64,
}

/// Sets of DaemonSets.
#[derive(Debug, Args)]
pub struct CountArgs {
    /// DaemonSets.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub count: u64,
}

/// Sets of Events.
#[derive(Debug, Args)]
pub struct EventArgs {
    /// Bytes of the message of each.
    #[arg(long, value_name = "BYTES", default_value_t = 5000)]
    pub size: u64,
    /// Events with the same ownerID, created side by side.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub group_size: u64,
    /// Events.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub total: u64,
    /// Why it happened.
    #[arg(long, value_name = "WORD", default_value = "KperfGenerated")]
    pub reason: String,
    /// Normal or Warning.
    #[arg(long = "type", value_name = "TYPE", default_value = "Normal")]
    pub event_type: String,
    /// What they are about, in the same namespace.
    #[arg(long, value_name = "KIND/NAME", default_value = "Pod/fake-pod", value_parser = kind_and_name)]
    pub involved_object: (String, String),
}

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Names of sets.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Objects deleted a second, 0 = as fast as the server answers.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 0.0, allow_negative_numbers = true, value_parser = super::rate)]
    pub qps: f64,
    /// Objects that are due at once at the start.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub burst: u32,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Names of sets [default: all].
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// How to print it.
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: ListFormat,
    /// Target flags.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// What a kind's own flags make of a set.
trait Shape {
    fn apply(self, spec: &mut DataSpec);
}

impl Shape for PayloadArgs {
    fn apply(self, spec: &mut DataSpec) {
        spec.size = self.size;
        spec.group_size = self.group_size;
        spec.total = self.total;
    }
}

impl Shape for CountArgs {
    fn apply(self, spec: &mut DataSpec) {
        spec.total = self.count;
    }
}

impl Shape for EventArgs {
    fn apply(self, spec: &mut DataSpec) {
        spec.size = self.size;
        spec.group_size = self.group_size;
        spec.total = self.total;
        spec.reason = self.reason;
        spec.event_type = self.event_type;
        spec.involved = self.involved_object;
    }
}

/// Runs the command.
///
/// # Errors
/// Bad flags, a target that cannot be used, or a set that could not be made or removed.
pub fn run(command: DataCommand, live: &Live) -> Result<Exit, Failed> {
    match command {
        DataCommand::Configmap(args) => of_kind(DataKind::ConfigMap, args, live),
        DataCommand::Daemonset(args) => of_kind(DataKind::DaemonSet, args, live),
        DataCommand::Secret(args) => of_kind(DataKind::Secret, args, live),
        DataCommand::Event(args) => of_kind(DataKind::Event, args, live),
    }
}

fn of_kind<A: Args + Shape>(
    kind: DataKind,
    args: KindArgs<A>,
    live: &Live,
) -> Result<Exit, Failed> {
    let KindArgs {
        kubeconfig,
        namespace,
        command,
    } = args;
    let with = |mut target: TargetArgs| {
        if target.kubeconfig.is_none() {
            target.kubeconfig = kubeconfig;
        }
        target
    };
    match command {
        SetCommand::Add(args) => {
            let AddArgs {
                name,
                set,
                qps,
                burst,
                target,
            } = *args;
            let mut spec = DataSpec {
                namespace,
                ..DataSpec::new(kind, name)
            };
            set.apply(&mut spec);
            let (own_qps, own_burst) = match kind {
                DataKind::Event => (100.0, 200),
                _ => (30.0, 10),
            };
            let pace = (qps.unwrap_or(own_qps), burst.unwrap_or(own_burst));
            add(&spec, pace, &with(target), live)
        }
        SetCommand::Delete(mut args) => {
            args.target = with(args.target);
            delete(kind, &namespace, &args, live)
        }
        SetCommand::List(mut args) => {
            args.target = with(args.target);
            list(kind, &namespace, &args)
        }
    }
}

fn add(
    spec: &DataSpec,
    (qps, burst): (f64, u32),
    target: &TargetArgs,
    live: &Live,
) -> Result<Exit, Failed> {
    spec.validate().or_exit(Exit::Usage)?;
    let opened = open(target)?;
    let steps = live.steps();
    let what = format!("{} {}", spec.kind.plural(), spec.name);
    let news = |done| steps.count(&what, done, spec.total);
    opened
        .runtime
        .block_on(dataset::add(
            &opened.cluster,
            spec,
            qps,
            burst,
            &opened.stop,
            &news,
        ))
        .map_err(failed)?;
    // A larger set may have been there.
    let sets = opened.runtime.block_on(dataset::list(
        &opened.cluster,
        spec.kind,
        &spec.namespace,
        std::slice::from_ref(&spec.name),
        &opened.stop,
    ));
    // Who may not list has been told of no failure.
    let there = sets.ok().and_then(|sets| Some(sets.first()?.total));
    let there = there.unwrap_or(spec.total);
    let more = match there.saturating_sub(spec.total) {
        0 => String::new(),
        more => format!(" ({more} more than asked for were there already)"),
    };
    steps.say(&format!(
        "{what}: {there} are there, in namespace {}{more}",
        spec.namespace
    ));
    Ok(Exit::Success)
}

fn delete(kind: DataKind, namespace: &str, args: &DeleteArgs, live: &Live) -> Result<Exit, Failed> {
    let opened = open(&args.target)?;
    for name in &args.names {
        let steps = live.steps();
        let what = format!("{} {name}", kind.plural());
        let news = |done, total| steps.count(&format!("deleting {what}"), done, total);
        let deleted = opened
            .runtime
            .block_on(dataset::delete(
                &opened.cluster,
                kind,
                namespace,
                name,
                args.qps,
                args.burst,
                &opened.stop,
                &news,
            ))
            .map_err(failed)?;
        steps.say(&match deleted {
            0 => format!("{what}: nothing of it is in namespace {namespace}"),
            _ => format!("{what}: {deleted} deleted"),
        });
    }
    Ok(Exit::Success)
}

fn list(kind: DataKind, namespace: &str, args: &ListArgs) -> Result<Exit, Failed> {
    let opened = open(&args.target)?;
    let sets = opened
        .runtime
        .block_on(dataset::list(
            &opened.cluster,
            kind,
            namespace,
            &args.names,
            &opened.stop,
        ))
        .map_err(failed)?;
    let rows: Vec<Vec<String>> = sets
        .iter()
        .map(|set| match kind {
            DataKind::DaemonSet => vec![
                set.name.clone(),
                set.namespace.clone(),
                set.total.to_string(),
            ],
            _ => vec![
                set.name.clone(),
                set.size.to_string(),
                set.group_size.to_string(),
                set.total.to_string(),
            ],
        })
        .collect();
    let columns: &[&str] = match kind {
        DataKind::DaemonSet => &["NAME", "NAMESPACE", "COUNT"],
        _ => &["NAME", "SIZE", "GROUP_SIZE", "TOTAL"],
    };
    table::print(args.output, &json!(sets), columns, &rows)?;
    Ok(Exit::Success)
}

fn failed(error: DataError) -> Failed {
    let exit = match &error {
        DataError::Invalid(_) => Exit::Usage,
        DataError::Api { source, .. } => exit_of(source),
    };
    Failed {
        exit,
        error: error.into(),
    }
}

fn kind_and_name(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => {
            Ok((kind.to_owned(), name.to_owned()))
        }
        _ => Err("write KIND/NAME, for example Pod/fake-pod".to_owned()),
    }
}
