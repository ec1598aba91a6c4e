//! Parse, run, print causes, exit.

use std::process::ExitCode;

use clap::Parser as _;
use kperf_host::{
    cli::{Cli, dispatch, verbosity::without_levels},
    live, open_files,
};

/// TLS, the plugin runtime and the HTTP libraries allocate; what the choice is worth was never measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    open_files::allow_most();
    match dispatch(Cli::parse_from(without_levels(std::env::args_os()))) {
        Ok(exit) => exit.into(),
        Err(failed) => {
            live::say(format_args!("error: {failed}"));
            failed.exit.into()
        }
    }
}
