//! Runs the table on both servers, and reports.

use std::{
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context as _, bail};
use kperf_control_plane::{Client, Component, ControlPlane, Options, Source};
use kperf_sim::{Seed, Sim, SimConfig};

use crate::{
    api::{Api, on_existing_cluster},
    case::Case,
    cases,
};

/// Cases that run at a time.
const THREADS: usize = 4;
/// The real server forgets a revision one to two of these after it is no longer the newest. Long enough for every
/// case that reads an old revision, short enough to wait for.
const COMPACTION: &str = "--etcd-compaction-interval=10s";

/// Runs every case against the simulator and, where there is one to be had, the real server; writes one line, and one
/// more for each case that fails and each limit of the simulator.
///
/// # Errors
/// A case failed on either server, or a server could not be started.
pub fn run(out: &mut dyn Write) -> anyhow::Result<()> {
    let simulator = on_simulator()?;
    let real = on_real_server()?;

    let (expected, limits): (Vec<Ran>, Vec<Ran>) = simulator
        .into_iter()
        .partition(|ran| ran.case.limit.is_none());
    let mut line = format!("conformance: simulator {}", score(&expected));
    let mut failures = Vec::new();
    failures.extend(failed("simulator", &expected));
    match &real {
        Ok(real) => {
            line.push_str(&format!(", real {}", score(real)));
            failures.extend(failed("real", real));
        }
        Err(why) => line.push_str(&format!(", real skipped: {why}")),
    }
    for ran in &limits {
        let why = ran.case.limit.unwrap_or_default();
        if ran.error.is_none() {
            failures.push(format!(
                "simulator: {}: passes, so it is no limit any more: {why}",
                ran.case.name
            ));
        }
    }
    writeln!(out, "{line}")?;
    for ran in &limits {
        let why = ran.case.limit.unwrap_or_default();
        writeln!(out, "limit of the simulator: {}: {why}", ran.case.name)?;
    }
    for failure in &failures {
        writeln!(out, "failed: {failure}")?;
    }
    if !failures.is_empty() {
        bail!("{} of the conformance cases failed", failures.len());
    }
    Ok(())
}

/// A case that has run.
struct Ran {
    case: Case,
    error: Option<anyhow::Error>,
}

fn score(ran: &[Ran]) -> String {
    let passed = ran.iter().filter(|ran| ran.error.is_none()).count();
    format!("{passed}/{}", ran.len())
}

fn failed<'a>(server: &'a str, ran: &'a [Ran]) -> impl Iterator<Item = String> + 'a {
    ran.iter().filter_map(move |ran| {
        let error = ran.error.as_ref()?;
        Some(format!("{server}: {}: {error:#}", ran.case.name))
    })
}

fn on_simulator() -> anyhow::Result<Vec<Ran>> {
    let sim = Arc::new(Sim::start(SimConfig {
        seed_objects: Seed {
            nodes: 2,
            namespaces: 1,
            pods: 2,
            configmaps: 2,
            secrets: 0,
            services: 0,
            kubevirt: false,
        },
        threads: 2,
        // Nor are there any beside the real server.
        controllers: false,
        ..SimConfig::default()
    })?);
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, sim.kubeconfig())?;
    let compact = {
        let sim = Arc::clone(&sim);
        move || sim.compact()
    };
    let api = Api::new(
        Client::from_kubeconfig(&kubeconfig)?,
        Some(Box::new(compact)),
    );
    Ok(run_table(&api, &cases::table()))
}

/// Why there is none, otherwise.
fn on_real_server() -> anyhow::Result<Result<Vec<Ran>, String>> {
    const WHAT: &str = "conformance on the real server";
    let mut table = cases::table();
    let options = if on_existing_cluster() {
        table.retain(|case| !case.compacts);
        Options::api_server()
    } else {
        Options::api_server().api_server_flag(COMPACTION)
    };
    let Some(plane) = ControlPlane::start_or_skip(WHAT, options)? else {
        let why = Source::find(&[Component::Etcd, Component::ApiServer]).err();
        return Ok(Err(why.unwrap_or_else(|| "it did not start".to_owned())));
    };
    let client = Client::from_kubeconfig(&plane.kubeconfig()).context(WHAT)?;
    let api = Api::new(client, None).controlled(plane.is_external());
    Ok(Ok(run_table(&api, &table)))
}

fn run_table(api: &Api, table: &[Case]) -> Vec<Ran> {
    let (compacting, others): (Vec<usize>, Vec<usize>) =
        (0..table.len()).partition(|i| table.get(*i).is_some_and(|case| case.compacts));
    let mut done = if api.forgets_when_told() {
        // What it forgets, it forgets for all.
        let mut done = run_at_once(api, table, &others, THREADS);
        done.extend(run_at_once(api, table, &compacting, 1));
        done
    } else {
        // Those that wait for the server begin first.
        run_at_once(api, table, &[compacting, others].concat(), THREADS)
    };
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, ran)| ran).collect()
}

fn run_at_once(api: &Api, table: &[Case], order: &[usize], threads: usize) -> Vec<(usize, Ran)> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(case) = table.get(*at) else { continue };
                    let error = (case.run)(api).err();
                    if let Ok(mut done) = done.lock() {
                        done.push((*at, Ran { case: *case, error }));
                    }
                }
            });
        }
    });
    done.into_inner().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn cases_have_names_of_their_own_and_limits_that_the_simulator_documents() {
        let mut names = BTreeSet::new();
        for case in cases::table() {
            assert!(names.insert(case.name), "{} is there twice", case.name);
            if let Some(limit) = case.limit {
                assert!(
                    kperf_sim::limit::ALL.contains(&limit),
                    "{}: the simulator does not document: {limit}",
                    case.name
                );
            }
        }
    }
}
