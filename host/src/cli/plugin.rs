//! `kperf-host plugin`: list, inspect, start a new one.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use kperf_plugins::World;
use kperf_runtime::{Inspection, Limits, Plugin};
use serde_json::{Value, json};

use crate::{
    exit::{Exit, Failed, OrExit as _},
    live,
    plugins::{self, Plugins},
};

/// What to do with plugins.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// The plugins bundled with this binary.
    List(ListArgs),
    /// What a plugin is: identity, world, interfaces, configuration.
    Inspect(InspectArgs),
    /// Start a plugin project in Rust: a folder that builds as it is.
    New(NewArgs),
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Arguments of `plugin list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// How to print.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub output: Format,
}

/// Arguments of `plugin inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Path, or name of a bundled plugin.
    pub plugin: String,
    /// How to print.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub output: Format,
}

/// Arguments of `plugin new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Name of the plugin and of its folder: lower-case words joined by `-` or `_`.
    pub name: String,
    /// What kind of plugin.
    #[arg(long, value_name = "WORLD", default_value = "generator")]
    pub world: NewWorld,
    /// Folder to create [default: ./NAME].
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
}

/// Worlds with a project template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NewWorld {
    /// Says which requests to send.
    Generator,
    /// Writes results in a format.
    Exporter,
    /// Does something to a cluster and measures it.
    Benchmark,
}

/// Runs the command.
///
/// # Errors
/// The plugin cannot be found or loaded, or the folder cannot be written.
pub fn run(command: &PluginCommand) -> Result<Exit, Failed> {
    match command {
        PluginCommand::List(args) => list(args),
        PluginCommand::Inspect(args) => inspect(args),
        PluginCommand::New(args) => new(args),
    }
}

fn list(args: &ListArgs) -> Result<Exit, Failed> {
    let mut loaded = Plugins::new(Limits::default()).or_exit(Exit::Failure)?;
    let mut rows = Vec::new();
    for bundled in kperf_plugins::all() {
        let plugin = loaded.load(bundled.name).or_exit(Exit::Plugin)?;
        rows.push((
            plugin.info().name.clone(),
            plugin.info().version.clone(),
            plugin.world().to_string(),
            plugin.info().summary.clone(),
        ));
    }
    rows.sort_by(|a, b| (&a.2, &a.0).cmp(&(&b.2, &b.0)));
    match args.output {
        Format::Json => print_json(&Value::from_iter(rows.into_iter().map(
            |(name, version, world, summary)| {
                json!({ "name": name, "version": version, "world": world, "summary": summary })
            },
        ))),
        Format::Text => {
            let width = |pick: fn(&(String, String, String, String)) -> &str| {
                rows.iter().map(|row| pick(row).len()).max().unwrap_or(0)
            };
            let (names, versions, worlds) =
                (width(|row| &row.0), width(|row| &row.1), width(|row| &row.2));
            let mut text = String::new();
            for (name, version, world, summary) in &rows {
                text.push_str(&format!(
                    "{name:<names$}  {version:<versions$}  {world:<worlds$}  {summary}\n"
                ));
            }
            print(&text);
        }
    }
    Ok(Exit::Success)
}

fn inspect(args: &InspectArgs) -> Result<Exit, Failed> {
    let found = plugins::find(&args.plugin).or_exit(Exit::Plugin)?;
    let bundled = found.bundled;
    let size_bytes = found.bytes.len();
    drop(found);
    let mut loaded = Plugins::new(Limits::default()).or_exit(Exit::Failure)?;
    let plugin = loaded.load(&args.plugin).or_exit(Exit::Plugin)?;
    match args.output {
        Format::Json => print_json(&describe(&plugin, bundled, size_bytes)),
        Format::Text => print(&describe_text(&plugin, bundled, size_bytes)),
    }
    Ok(Exit::Success)
}

fn describe(plugin: &Plugin, bundled: bool, size_bytes: usize) -> Value {
    let info = plugin.info();
    let inspection = plugin.inspection();
    json!({
        "name": info.name,
        "version": info.version,
        "summary": info.summary,
        "world": plugin.world().to_string(),
        "bundled": bundled,
        "sha256": plugin.sha256(),
        "size_bytes": size_bytes,
        "exports": interfaces(inspection, true),
        "imports": interfaces(inspection, false),
        "wasi_imports": inspection.wasi_imports,
        "wanted_grants": info.wanted_grants,
        "config_schema": info.config_schema,
    })
}

fn describe_text(plugin: &Plugin, bundled: bool, size_bytes: usize) -> String {
    let info = plugin.info();
    let inspection = plugin.inspection();
    let mut text = format!(
        "{} {}\n  {}\n\nworld      {}\nfrom       {}\nsha256     {}\nsize       {}\nexports    {}\nimports    {}\n",
        info.name,
        info.version,
        info.summary,
        plugin.world(),
        if bundled { "this binary" } else { "a file" },
        plugin.sha256(),
        crate::summary::bytes(size_bytes as u64),
        join(&interfaces(inspection, true)),
        join(&interfaces(inspection, false)),
    );
    if plugin.world() == kperf_runtime::World::Benchmark {
        text.push_str(&format!("asks for   {}\n", join(&info.wanted_grants)));
    }
    let properties = info
        .config_schema
        .get("properties")
        .and_then(Value::as_object);
    let required: Vec<&str> = info
        .config_schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    match properties.filter(|properties| !properties.is_empty()) {
        None => text.push_str("\nno configuration\n"),
        Some(properties) => {
            text.push_str("\nconfiguration (--set KEY=VALUE, or a file with --config)\n");
            for (key, schema) in properties {
                let kind = kind(&info.config_schema, schema);
                let summary = schema
                    .get("description")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                text.push_str(&format!(
                    "  {key:<16} {kind:<8} {}{}{}\n",
                    if required.contains(&key.as_str()) {
                        "(required) "
                    } else {
                        ""
                    },
                    summary.replace('\n', " "),
                    default_of(schema),
                ));
            }
        }
    }
    if let Some(default) = info.config_schema.get("default") {
        text.push_str(&format!("\nused when none is given\n  {default}\n"));
    }
    text
}

/// What a key takes: `integer`, `histogram|summary`, …
fn kind(document: &Value, schema: &Value) -> String {
    let choices = kperf_runtime::choices(document, schema);
    if !choices.is_empty() {
        return choices.join("|");
    }
    match schema.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => kinds
            .iter()
            .filter_map(Value::as_str)
            .filter(|kind| *kind != "null")
            .collect::<Vec<_>>()
            .join(" or "),
        _ => "value".to_owned(),
    }
}

/// ` [default: …]`; nothing where the default is nothing.
fn default_of(schema: &Value) -> String {
    match schema.get("default") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if text.is_empty() => String::new(),
        Some(Value::Object(keys)) if keys.is_empty() => String::new(),
        Some(Value::Array(items)) if items.is_empty() => String::new(),
        Some(Value::String(text)) => format!(" [default: {text}]"),
        Some(value) => format!(" [default: {value}]"),
    }
}

/// `kperf:workload/generator@0.1.0`, …
fn interfaces(inspection: &Inspection, exported: bool) -> Vec<String> {
    inspection
        .interfaces
        .iter()
        .filter(|interface| interface.exported == exported)
        .map(|interface| format!("{}@{}", interface.name, interface.version))
        .collect()
}

fn join(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join("\n           ")
    }
}

fn new(args: &NewArgs) -> Result<Exit, Failed> {
    let world = match args.world {
        NewWorld::Generator => World::Generator,
        NewWorld::Exporter => World::Exporter,
        NewWorld::Benchmark => World::Benchmark,
    };
    let dir = args
        .path
        .clone()
        .unwrap_or_else(|| PathBuf::from(&args.name));
    let written = kperf_plugins::new_project(&dir, &args.name, world)
        .with_context(|| format!("cannot make the project {}", dir.display()))
        .or_exit(Exit::Usage)?;
    let file = args.name.replace('-', "_");
    live::say(format_args!(
        "{} files in {dir}. Build and use it:\n  cd {dir}\n  cargo build --release --target wasm32-wasip2\n  kperf-host {use_it} target/wasm32-wasip2/release/{file}.wasm",
        written.len(),
        dir = dir.display(),
        use_it = match args.world {
            NewWorld::Generator => "run --sim --total 100 --plugin",
            NewWorld::Benchmark => "run --sim --plugin",
            NewWorld::Exporter => "run --sim --total 100 --plugin quorum_list --output",
        },
    ));
    Ok(Exit::Success)
}

/// Data goes to stdout; a closed pipe is the reader's choice.
fn print(text: &str) {
    use std::io::Write as _;
    std::io::stdout().write_all(text.as_bytes()).ok();
}

fn print_json(value: &Value) {
    print(&format!("{value:#}\n"));
}
