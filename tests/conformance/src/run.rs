//! Runs the table on both servers, and reports.

use std::{
    io::Write,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context as _, bail};
use kperf_control_plane::{Client, Component, ControlPlane, Options, Source, Unsupported, skip};
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
        .ran
        .into_iter()
        .partition(|ran| ran.case.limit.is_none());
    let mut line = format!("conformance: simulator {}", score(&expected));
    let mut failures = Vec::new();
    failures.extend(failed("simulator", &expected));
    failures.extend(limits.iter().filter_map(beside_its_limit));
    failures.extend(left_behind("simulator", &simulator.left_behind));
    match &real {
        Ok(real) => {
            line.push_str(&format!(", real {}", score(&real.ran)));
            failures.extend(failed("real", &real.ran));
            failures.extend(left_behind("real", &real.left_behind));
        }
        Err(why) => line.push_str(&format!(", real skipped: {why}")),
    }
    writeln!(out, "{line}")?;
    for ran in &limits {
        let why = ran.case.limit.map_or("", |limit| limit.why);
        writeln!(out, "limit of the simulator: {}: {why}", ran.case.name)?;
    }
    for failure in &failures {
        writeln!(out, "failed: {failure}")?;
    }
    if !failures.is_empty() {
        bail!("{} failures in the conformance cases", failures.len());
    }
    Ok(())
}

/// A case that has run.
struct Ran {
    case: Case,
    error: Option<anyhow::Error>,
}

/// The table after it has run.
struct Done {
    ran: Vec<Ran>,
    /// What should have been removed and was not.
    left_behind: Vec<String>,
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

/// What is wrong about a case that the simulator is known to fail.
fn beside_its_limit(ran: &Ran) -> Option<String> {
    let limit = ran.case.limit?;
    let name = ran.case.name;
    let why = limit.why;
    match &ran.error {
        None => Some(format!(
            "simulator: {name}: passes, so it is no limit any more: {why}"
        )),
        Some(error) => {
            let error = format!("{error:#}");
            let fits = error.contains(limit.fails_with);
            (!fits).then(|| {
                format!(
                    "simulator: {name}: not by its limit ({why}), of which comes {:?}, but: {error}",
                    limit.fails_with
                )
            })
        }
    }
}

fn left_behind<'a>(server: &'a str, what: &'a [String]) -> impl Iterator<Item = String> + 'a {
    what.iter()
        .map(move |what| format!("{server}: left behind: {what}"))
}

fn on_simulator() -> anyhow::Result<Done> {
    Ok(run_table(&simulator()?, &cases::table()))
}

/// A simulator of its own; it ends with the value.
pub(crate) fn simulator() -> anyhow::Result<Api> {
    let sim = Sim::start(SimConfig {
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
    })?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, sim.kubeconfig())?;
    let client = Client::from_kubeconfig(&kubeconfig)?;
    let compact = move || sim.compact();
    Ok(Api::new(client, Some(Box::new(compact))))
}

/// Why there is none, otherwise.
fn on_real_server() -> anyhow::Result<Result<Done, String>> {
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
    let client = match Client::from_kubeconfig(&plane.kubeconfig()) {
        Err(error) if plane.is_external() && error.is::<Unsupported>() => {
            let why = error.to_string();
            skip(WHAT, &why)?;
            return Ok(Err(why));
        }
        client => client.context(WHAT)?,
    };
    let api = Api::new(client, None).controlled(plane.is_external());
    Ok(Ok(run_table(&api, &table)))
}

fn run_table(api: &Api, table: &[Case]) -> Done {
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
    Done {
        ran: done.into_iter().map(|(_, ran)| ran).collect(),
        left_behind: api.left_behind(),
    }
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
                    kperf_sim::limit::ALL.contains(&limit.why),
                    "{}: the simulator does not document: {}",
                    case.name,
                    limit.why
                );
            }
        }
    }

    #[test]
    fn a_limit_explains_the_failure_that_it_names_and_no_other() {
        let told = |error: Option<&'static str>| {
            beside_its_limit(&Ran {
                case: Case::new("case", |_| Ok(())).limit("why", "got 201"),
                error: error.map(anyhow::Error::msg),
            })
        };
        assert_eq!(told(Some("expected status 400\n  got 201")), None);
        let other = told(Some("no answer")).unwrap();
        assert!(
            other.contains("got 201") && other.contains("no answer"),
            "{other}"
        );
        assert!(told(None).unwrap().contains("no limit any more"));
    }
}
