//! Orchestrator or worker as a process of its own, for tests that kill it:
//! `worker HOST PORT NUMBER CERTIFICATES REJOIN ALLOW…` and `orchestrator PORT CERTIFICATES DIRECTORY CLIENT-SCRIPT`.
#![allow(missing_docs, reason = "it is part of the tests")]

#[path = "mod.rs"]
mod support;

use std::{error::Error, future::pending, path::Path, time::Duration};

use kperf_network::{
    AllowList, RunCertificates, local, orchestrator,
    worker::{self, WorkerOptions},
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    match words.as_slice() {
        [
            "worker",
            host,
            port,
            number,
            certificates,
            rejoin,
            allow @ ..,
        ] => {
            let options = WorkerOptions {
                host: (*host).to_owned(),
                port: port.parse()?,
                certificates: Some(RunCertificates::in_directory(Path::new(certificates))),
                info: local::info(number.parse()?),
                allow: AllowList {
                    further: allow.iter().map(|word| (*word).to_owned()).collect(),
                },
                timeout: Duration::from_secs(120),
                deadline: Duration::from_secs(600),
                rejoin: *rejoin == "rejoin",
            };
            runtime.block_on(worker::run(options, pending()))?;
        }
        ["orchestrator", port, certificates, directory, script] => {
            let mut options = support::options(Path::new(directory), 3);
            options.listen.set_port(port.parse()?);
            options.certificates = Some(RunCertificates::in_directory(Path::new(certificates)));
            let variants = support::Scripts::client(script).variants();
            runtime.block_on(orchestrator::run(options, variants, pending()))?;
        }
        _ => return Err("neither a worker nor an orchestrator".into()),
    }
    Ok(())
}
