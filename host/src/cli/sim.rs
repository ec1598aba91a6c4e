//! `kperf-host sim`: the in-memory API server as a server of its own.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use clap::Args;
use kperf_sim::{Sim, SimConfig};

use crate::{
    exit::{Exit, Failed, OrExit as _},
    live, signals,
    sink::write_private,
};

const HELP: &str = "\
Objects (--objects, and the value of --sim), comma-separated:
  nodes=10        nodes node-<i>
  namespaces=4    namespaces ns-<i>, besides the four of every cluster
  pods=250        pods pod-<i> in each ns-<i>, labelled app=sim; pod i runs on node i mod nodes, its
                  container `app` has logs
  configmaps=100  ConfigMaps cm-<i> in each ns-<i>, labelled app=sim
  secrets=0, services=0
  kubevirt=false  true: the VirtualMachines, VirtualMachineInstances and their replica sets of KubeVirt, which run

Faults (--faults, and --sim-faults), comma-separated:
  latency=5ms     every answer waits so long
  jitter=2ms      every answer waits a random time below this, besides latency
  stall=1s@3s     once, 3 s after the first request, all answers are held until 1 s has passed
  429=0.1:1s      this share is refused with 429 and Retry-After: 1
  5xx=0.01        this share is answered 500, 503 or 504
  reset=0.001     this share loses its TCP connection
  goaway=50       after so many requests a connection says GOAWAY and finishes what is in flight
  truncate=0.01   this share of bodies ends half way
  seed=7          seed of all random choices";

/// The above, and where the simulator differs from the real server.
fn help() -> String {
    let mut text = format!("{HELP}\n\nDifferences from kube-apiserver:");
    for limit in kperf_sim::limit::ALL {
        text.push_str("\n  - ");
        text.push_str(limit);
    }
    text
}

/// Arguments of `sim`.
#[derive(Debug, Args)]
#[command(after_long_help = help())]
pub struct SimArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:6443")]
    pub listen: SocketAddr,
    /// Write a kubeconfig for it to this file (mode 0600).
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Objects to begin with: nodes=10,namespaces=4,pods=250,configmaps=100 (the default).
    #[arg(long, value_name = "OBJECTS", default_value = "")]
    pub objects: String,
    /// Faults to inject, for example latency=5ms,429=0.1:1s,goaway=50.
    #[arg(long, value_name = "FAULTS", default_value = "")]
    pub faults: String,
    /// Threads that serve.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Streams a client may have open on one HTTP/2 connection.
    #[arg(long, value_name = "N")]
    pub max_concurrent_streams: Option<u32>,
}

/// Serves until Ctrl-C.
///
/// # Errors
/// Unreadable objects or faults, an address in use, a file that cannot be written.
pub fn run(args: &SimArgs) -> Result<Exit, Failed> {
    let mut config = SimConfig {
        listen: args.listen,
        seed_objects: args
            .objects
            .parse()
            .with_context(|| format!("--objects {}", args.objects))
            .or_exit(Exit::Usage)?,
        faults: args
            .faults
            .parse()
            .with_context(|| format!("--faults {}", args.faults))
            .or_exit(Exit::Usage)?,
        ..SimConfig::default()
    };
    if let Some(threads) = args.threads {
        config.threads = threads;
    }
    if let Some(streams) = args.max_concurrent_streams {
        config.max_concurrent_streams = streams;
    }
    let sim = Sim::start(config)
        .with_context(|| format!("cannot listen on {}", args.listen))
        .or_exit(Exit::Failure)?;
    if let Some(path) = &args.kubeconfig {
        write_private(path, sim.kubeconfig().as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
            .or_exit(Exit::Failure)?;
        live::say(format_args!(
            "serving {}; kubeconfig in {}",
            sim.url(),
            path.display()
        ));
    } else {
        live::say(format_args!(
            "serving {}; --kubeconfig FILE writes a kubeconfig for it",
            sim.url()
        ));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .or_exit(Exit::Failure)?;
    runtime.block_on(signals::wait());
    sim.stop();
    Ok(Exit::Success)
}
