//! `kperf-host sim`: the in-memory API server as a server of its own.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use clap::Args;
use kperf_sim::{Sim, SimConfig};

use crate::{
    exit::{Exit, Failed, OrExit as _},
    signals,
    sink::write_private,
};

/// Arguments of `sim`.
#[derive(Debug, Args)]
#[command(after_long_help = kperf_sim::HELP)]
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
        eprintln!("serving {}; kubeconfig in {}", sim.url(), path.display());
    } else {
        eprintln!("serving {}; --kubeconfig FILE writes a kubeconfig for it", sim.url());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .or_exit(Exit::Failure)?;
    runtime.block_on(signals::wait());
    sim.stop();
    Ok(Exit::Success)
}
