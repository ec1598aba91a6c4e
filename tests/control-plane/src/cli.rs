//! The command `control-plane`: for a person who wants a control plane to try things on.

#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::{
    fs,
    path::PathBuf,
    process::{self, ExitCode},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use nix::sys::signal::{SigSet, Signal};

use crate::{Component, ControlPlane, Options, Seed, go_module::GoModule, kubeconfig};

#[derive(Parser)]
#[command(
    name = "control-plane",
    about = "Runs a real Kubernetes control plane on loopback"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a control plane and hold it until Ctrl-C.
    Up {
        /// Write the administrator's kubeconfig here.
        #[arg(long, value_name = "FILE")]
        kubeconfig: PathBuf,
        #[command(flatten)]
        what: What,
    },
    /// Start a control plane, run a command with KUBECONFIG set to it, and end it.
    With {
        #[command(flatten)]
        what: What,
        /// The command and its arguments, after `--`.
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Build the programs from their Go modules, print where they are and what that took.
    Build,
}

/// What is started, and what is in it.
#[derive(clap::Args)]
struct What {
    /// Make this many virtual nodes, `node-<i>`.
    #[arg(long, value_name = "N", default_value_t = 0)]
    kwok_nodes: u32,
    /// Make this many namespaces, `ns-<i>`, labelled `app=sim` as everything that is made here.
    #[arg(long, value_name = "N", default_value_t = 0)]
    namespaces: u32,
    /// Make this many pods in each of them, `pod-<i>`, on the virtual nodes in turn.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pods: u32,
    /// Make this many ConfigMaps in each of them, `cm-<i>`.
    #[arg(long, value_name = "N", default_value_t = 0)]
    configmaps: u32,
    /// A flag for kube-apiserver, such as --goaway-chance=0.02; may be given more than once.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    apiserver_flag: Vec<String>,
    /// Make the kinds of KubeVirt; kwok plays virtual machine instances.
    #[arg(long)]
    kubevirt: bool,
    /// Start etcd and kube-apiserver alone.
    #[arg(long)]
    api_server_only: bool,
}

impl What {
    fn options(self) -> Options {
        let options = if self.api_server_only {
            Options::api_server()
        } else {
            Options::full()
        };
        let options = if self.kubevirt {
            options.kubevirt()
        } else {
            options
        };
        let seed = Seed {
            namespaces: self.namespaces,
            pods: self.pods,
            configmaps: self.configmaps,
        };
        self.apiserver_flag.into_iter().fold(
            options.nodes(self.kwok_nodes).seed(seed),
            Options::api_server_flag,
        )
    }
}

/// Runs the command with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up { kubeconfig, what } => up(&kubeconfig, what.options())?,
        Command::With { what, command } => return with(what.options(), &command),
        Command::Build => build()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends as the command does.
fn with(options: Options, command: &[String]) -> anyhow::Result<ExitCode> {
    let plane = ControlPlane::start(options)?;
    if plane.is_external() {
        bail!(
            "the environment names an existing cluster; nothing was started, and nothing is run on it"
        );
    }
    let (program, arguments) = command.split_first().context("no command")?;
    let status = process::Command::new(program)
        .args(arguments)
        .env("KUBECONFIG", plane.kubeconfig())
        .status()
        .with_context(|| program.clone())?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn up(kubeconfig: &PathBuf, options: Options) -> anyhow::Result<()> {
    refuse_to_overwrite(kubeconfig)?;
    println!("starting a control plane");
    let start = Instant::now();
    let mut plane = ControlPlane::start(options)?;
    if plane.is_external() {
        bail!("the environment names an existing cluster; nothing was started");
    }
    // Before any thread is started, so that no thread is left that a signal could end.
    // A signal until now ended this process, and with it what it had started.
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .collect();
    signals.thread_block()?;
    let (ended, end) = mpsc::channel();
    thread::spawn(move || ended.send(signals.wait()));

    fs::copy(plane.kubeconfig(), kubeconfig).with_context(|| kubeconfig.display().to_string())?;
    println!("ready after {:.1} s", start.elapsed().as_secs_f64());
    println!("server      {}", plane.url());
    println!("kubeconfig  {}", kubeconfig.display());
    if let Some(folder) = plane.folder() {
        println!("logs        {}", folder.join("*.log").display());
    }
    println!("Ctrl-C ends it");
    while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(Duration::from_millis(500)) {
        if let Some(component) = plane.exited() {
            let log = plane.logs(component).unwrap_or_default();
            let from = log.lines().count().saturating_sub(20);
            let tail: Vec<&str> = log.lines().skip(from).collect();
            bail!("{component} ended:\n{}", tail.join("\n"));
        }
    }
    println!("ending it");
    Ok(())
}

/// A person's own kubeconfig is worth more than this one.
fn refuse_to_overwrite(path: &PathBuf) -> anyhow::Result<()> {
    match fs::read_to_string(path) {
        Ok(text) if !text.contains(kubeconfig::NAME) => {
            bail!("{} is there and not from here", path.display())
        }
        _ => Ok(()),
    }
}

fn build() -> anyhow::Result<()> {
    let module = GoModule::open().map_err(anyhow::Error::msg)?;
    for component in Component::ALL {
        let start = Instant::now();
        let path = module.program(component)?;
        println!(
            "{:<23} {:>6.1} s  {}",
            component.program(),
            start.elapsed().as_secs_f64(),
            path.display()
        );
    }
    Ok(())
}
