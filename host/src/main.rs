//! Parse, run, print causes, exit.

use std::process::ExitCode;

use clap::Parser as _;
use kperf_host::cli::{Cli, dispatch};

/// The HTTP/2 library allocates for every request; what the choice is worth here is not measured yet.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match dispatch(Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(failed) => {
            eprintln!("error: {failed}");
            failed.exit.into()
        }
    }
}
