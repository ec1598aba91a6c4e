//! A group as processes of this machine: the same runners, the same way to meet and to report, files in place of
//! ConfigMaps. Nothing of it outlives this process.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    num::NonZero,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use kperf_cluster::TargetSource;
use kperf_load::Stop;
use kperf_runners::{DirectoryStore, MailState, Plan, Store};
use kperf_sim::Sim;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{Group, Running};
use crate::{
    cli::TargetArgs,
    exit::{Exit, Failed, OrExit as _},
    server_side::{Observer, ServerMetrics},
    sink::write_private,
    target::{self, TargetChoice},
};

/// What the folder of a group is called, before what is drawn.
pub(super) const FOLDER_PREFIX: &str = "kperf-runners-";
/// How long a process that was told to end may take, as long as a pod may: what hangs is killed then.
const GRACE: Duration = Duration::from_secs(30);
/// Between two looks at the processes.
const POLL: Duration = Duration::from_millis(50);
/// Most of a log that is read for its last words.
const LAST_WORDS_BYTES: usize = 4096;

/// Where the load of local runners goes: flags they are given, and a simulator if they share one.
pub struct LocalTarget {
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    /// The same for this process.
    choice: TargetChoice,
    /// Serves as long as it lives.
    sim: Option<(Sim, TempDir)>,
}

impl LocalTarget {
    /// What the flags of this process mean to the runners. `--sim` starts one simulator for all of them.
    ///
    /// # Errors
    /// The simulator cannot be started, or there is no target.
    pub fn new(args: &TargetArgs) -> Result<Self, Failed> {
        let choice = args.choice().or_exit(Exit::Usage)?;
        if let TargetChoice::Sim(config) = &choice {
            let sim = Sim::start((**config).clone())
                .context("cannot start the simulator")
                .or_exit(Exit::Target)?;
            let folder = tempfile::tempdir()
                .context("cannot make a folder for the simulator's kubeconfig")
                .or_exit(Exit::Failure)?;
            let kubeconfig = folder.path().join("kubeconfig");
            write_private(&kubeconfig, sim.kubeconfig().as_bytes())
                .context("cannot write the simulator's kubeconfig")
                .or_exit(Exit::Failure)?;
            return Ok(Self {
                arguments: vec!["--kubeconfig".into(), kubeconfig.clone().into()],
                environment: Vec::new(),
                choice: TargetChoice::Cluster(TargetSource::Kubeconfig {
                    path: Some(kubeconfig),
                    context: None,
                }),
                sim: Some((sim, folder)),
            });
        }
        let mut arguments: Vec<OsString> = Vec::new();
        let paths = [
            ("--kubeconfig", &args.kubeconfig),
            ("--token-file", &args.token_file),
            ("--ca-file", &args.ca_file),
            ("--client-certificate", &args.client_certificate),
            ("--client-key", &args.client_key),
        ];
        for (flag, path) in paths {
            if let Some(path) = path {
                arguments.extend([flag.into(), path.clone().into()]);
            }
        }
        for (flag, text) in [("--context", &args.context), ("--server", &args.server)] {
            if let Some(text) = text {
                arguments.extend([flag.into(), text.into()]);
            }
        }
        for (flag, is_set) in [
            ("--in-cluster", args.in_cluster),
            ("--insecure-skip-tls-verify", args.insecure_skip_tls_verify),
        ] {
            if is_set {
                arguments.push(flag.into());
            }
        }
        // Everybody can read the arguments of a process.
        let token = args.token.iter();
        Ok(Self {
            arguments,
            environment: token.map(|token| ("KPERF_TOKEN", token.into())).collect(),
            choice,
            sim: None,
        })
    }

    /// Begins to look at what the runners load.
    ///
    /// # Errors
    /// It cannot be found.
    pub fn observe(&self, when: ServerMetrics) -> Result<Option<Observer>, Failed> {
        if when == ServerMetrics::Off {
            return Ok(None);
        }
        let resolved = target::resolve(&self.choice).or_exit(Exit::Target)?;
        let in_process = self.sim.is_some();
        Ok(Observer::begin(&resolved.target, in_process, when))
    }

    /// Where this process finds what the runners load.
    #[must_use]
    pub fn choice(&self) -> &TargetChoice {
        &self.choice
    }
}

/// A local group at work. Its processes and files go with the value.
pub struct Locally {
    plan: Plan,
    store: DirectoryStore,
    runners: Vec<Process>,
    folder: TempDir,
}

struct Process {
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

/// Starts a group as processes of this machine.
///
/// # Errors
/// A process cannot be started; those that were are ended.
pub fn start_locally(group: &Group, target: &LocalTarget) -> Result<Running, Failed> {
    let plan = group.bundle.plan.clone();
    let started = start(group, target, &plan)
        .with_context(|| format!("runner group {}", group.name))
        .or_exit(Exit::Failure)?;
    Ok(Running::Local(Box::new(started)))
}

fn start(group: &Group, target: &LocalTarget, plan: &Plan) -> anyhow::Result<Locally> {
    let folder = tempfile::Builder::new()
        .prefix(FOLDER_PREFIX)
        .tempdir()
        .context("cannot make a folder for the runners")?;
    let of = |name: &str| -> anyhow::Result<PathBuf> {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    };
    let (given, left, logs) = (of("group")?, of("store")?, of("logs")?);
    group.bundle.write(&given)?;
    let program = std::env::current_exe().context("cannot find this program")?;
    // All of them share the cores of this machine.
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let shards = (cores / plan.count.max(1) as usize).max(1);
    let node = node_name();
    let mut local = Locally {
        plan: plan.clone(),
        store: DirectoryStore::new(&left),
        runners: Vec::new(),
        folder,
    };
    for index in 0..plan.count {
        let log = logs.join(format!("{index}.log"));
        let output = File::create(&log).with_context(|| log.display().to_string())?;
        let mut command = Command::new(&program);
        command
            .args(["runner", "pod", "--from"])
            .arg(&given)
            .arg("--work")
            .arg(local.folder.path().join(format!("runner-{index}")))
            .arg("--store")
            .arg(format!("dir:{}", left.display()))
            .args(["--index", &index.to_string()])
            .args(["--name", &format!("{}-{index}", plan.name)])
            .args(["--node", &node])
            .args(["--shards", &shards.to_string()])
            .args(["--parent", &std::process::id().to_string()])
            .arg(format!("-v={}", group.verbosity()))
            .args(&target.arguments)
            .envs(target.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("cannot keep a log")?)
            .stderr(output);
        // A Ctrl-C on the terminal is this process's to hand on, once.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start runner {index}"))?;
        local.runners.push(Process {
            child,
            log,
            ended: None,
        });
    }
    Ok(local)
}

fn node_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}

impl Locally {
    /// Ids of its processes, in the order of the runners.
    #[must_use]
    pub fn process_ids(&self) -> Vec<u32> {
        self.runners
            .iter()
            .map(|runner| runner.child.id())
            .collect()
    }

    pub(super) fn name(&self) -> &str {
        &self.plan.name
    }

    /// Where its runners leave word.
    pub(super) fn store(&self) -> Store {
        Store::Directory(self.store.clone())
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// `stop`, and the end of the time, end the runners, which then report what they have.
    pub(super) async fn until_over(
        &mut self,
        within: Option<Duration>,
        stop: &Stop,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<(), Failed> {
        let deadline = within.map(|within| Instant::now() + within);
        let (mut told_to_stop, mut told_to_abort) = (None, false);
        let mut said = (usize::MAX, usize::MAX);
        let store = self.store();
        loop {
            self.look().await?;
            let over = self
                .runners
                .iter()
                .filter(|runner| runner.ended.is_some())
                .count();
            let mut ready = 0;
            for index in 0..self.plan.count {
                let mail = self.mail(&store, index).await?;
                ready += usize::from(mail.is_some_and(|state| state != MailState::Failed));
            }
            let all = self.runners.len();
            if (ready, over) != said && (ready == all || over == all) {
                say(&format!(
                    "{}: {ready} of {} runners ready, {over} over",
                    self.plan.name,
                    self.runners.len()
                ));
                said = (ready, over);
            }
            if over == self.runners.len() {
                return Ok(());
            }
            let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            match told_to_stop {
                None if stop.is_stopped() || is_late => {
                    if is_late {
                        say(&format!(
                            "{}: not over within {} s; its runners are stopped and report what they have",
                            self.plan.name,
                            within.unwrap_or_default().as_secs()
                        ));
                    }
                    told_to_stop = Some(Instant::now());
                    self.signal(Signal::SIGTERM);
                }
                Some(told) if told.elapsed() >= GRACE => self.signal(Signal::SIGKILL),
                _ => {}
            }
            if stop.is_aborted() && !told_to_abort {
                told_to_abort = true;
                self.signal(Signal::SIGTERM);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn mail(&self, store: &Store, index: u32) -> Result<Option<MailState>, Failed> {
        match store.mail(index).await {
            Ok(mail) => Ok(mail.map(|mail| mail.state)),
            // It is missing in the end, and no reason to leave the others alone.
            Err(error) if error.is_of_one => Ok(None),
            Err(error) => Err(error).or_exit(Exit::Failure),
        }
    }

    /// Looks who has ended, and says so of those that others would wait for.
    async fn look(&mut self) -> Result<(), Failed> {
        for (index, runner) in (0..).zip(&mut self.runners) {
            if runner.ended.is_some() {
                continue;
            }
            runner.ended = runner
                .child
                .try_wait()
                .map_err(|error| anyhow!("cannot wait for runner {index}: {error}"))
                .or_exit(Exit::Failure)?;
            if runner.ended.is_some() {
                self.store.note_dead(index).or_exit(Exit::Failure)?;
            }
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        for runner in self.runners.iter().filter(|runner| runner.ended.is_none()) {
            if let Ok(id) = i32::try_from(runner.child.id()) {
                // Not waited for yet, so the number is still its own.
                kill(Pid::from_raw(id), signal).ok();
            }
        }
    }

    pub(super) fn why(&self) -> BTreeMap<u32, super::outcome::Why> {
        let node = node_name();
        (0..)
            .zip(&self.runners)
            .map(|(index, runner)| {
                let status = runner
                    .ended
                    .map_or_else(String::new, |status| status.to_string());
                let words = last_words(&runner.log);
                let why = if words.is_empty() {
                    status
                } else {
                    format!("{status}: {words}")
                };
                let name = format!("{}-{index}", self.plan.name);
                (index, (name, node.clone(), why))
            })
            .collect()
    }
}

impl Drop for Locally {
    fn drop(&mut self) {
        for runner in &mut self.runners {
            if runner.ended.is_none() {
                runner.child.kill().ok();
                runner.child.wait().ok();
            }
        }
    }
}

fn last_words(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let end = bytes
        .get(bytes.len().saturating_sub(LAST_WORDS_BYTES)..)
        .unwrap_or_default();
    let text = String::from_utf8_lossy(end);
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .to_owned()
}
