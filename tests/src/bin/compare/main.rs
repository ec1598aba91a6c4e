//! What a request costs the load client, beside h2load and oha, in turns against the same server.
//!
//! Question it answers: how much CPU (user + system) does kperf-host spend per request, with a plugin and
//! both histograms on, as a ratio to its peers in the same run? Wall time is not compared: client and server
//! share two cores here. The server is nginx, one process on core 0; clients run one after the other on
//! core 1, several rounds, medians.
//!
//!     cargo build --release && cargo run --release -p kperf-tests --bin compare -- cost
//!
//! `memory` samples the resident memory of a run at full speed; `start` times a run of one request;
//! `pile-up` prints percentiles with pile-up on and off, and with and without kernel stamps, at a fixed rate;
//! `track` takes CPU and memory of a benchmark that follows objects of the simulator;
//! `profile` says where the cycles go (needs `perf`).

#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

mod cost;
mod measure;
mod profile;
mod server;
mod steady;
mod track;

use server::Server;

#[derive(Parser)]
struct Arguments {
    /// The binary to measure.
    #[arg(long, default_value = "target/release/kperf-host")]
    kperf: PathBuf,
    #[command(subcommand)]
    question: Question,
}

#[derive(Subcommand)]
enum Question {
    /// CPU per request beside h2load and oha.
    Cost {
        /// Requests per run with small bodies; a fifth of it with 64 KiB ones.
        #[arg(long, default_value_t = 200_000)]
        requests: u64,
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// Resident memory over a run at full speed.
    Memory {
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Wall time of a run of one request, process start to end, warm.
    Start {
        #[arg(long, default_value_t = 11)]
        rounds: usize,
    },
    /// Percentiles with pile-up and kernel stamps on and off at a fixed rate.
    PileUp {
        #[arg(long, default_value_t = 10_000)]
        rate: u64,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Runs of each kind, in turns; medians are printed.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// CPU per event and memory per object of a benchmark that follows virtual machine instances.
    Track {
        #[arg(long, default_value_t = 2000)]
        objects: u64,
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// Where the cycles go: a sampling profile by part, by `perf`.
    Profile {
        #[arg(long, default_value_t = 200_000)]
        requests: u64,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let kperf = fs::canonicalize(&arguments.kperf).with_context(|| {
        format!(
            "{} is not there; run `cargo build --release` first",
            arguments.kperf.display()
        )
    })?;
    let server = match arguments.question {
        // Its server is the simulator.
        Question::Track { objects, rounds } => return track::track(&kperf, objects, rounds),
        _ => Server::start()?,
    };
    match arguments.question {
        Question::Cost { requests, rounds } => cost::cost(&kperf, &server, requests, rounds),
        Question::Memory { seconds } => steady::memory(&kperf, &server, seconds),
        Question::Start { rounds } => steady::start(&kperf, &server, rounds),
        Question::PileUp {
            rate,
            seconds,
            rounds,
        } => steady::pile_up(&kperf, &server, rate, seconds, rounds),
        Question::Track { objects, rounds } => track::track(&kperf, objects, rounds),
        Question::Profile { requests } => profile::profile(&kperf, &server, requests),
    }
}
