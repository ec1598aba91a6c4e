//! A container: a process with whatever it starts, in a group of its own.

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use kperf_control_plane::ProcessGroup;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{api, environment::Variables};

/// Before the first new start; doubled for each further one, up to the last. Kubernetes' own are 10 s and 5 min.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Most of a log that stands in a status, as in Kubernetes.
const LAST_WORDS_BYTES: usize = 2048;

/// What is executed, when everything is looked up.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) words: Vec<String>,
    pub(crate) variables: Variables,
    pub(crate) working_folder: PathBuf,
}

/// How far a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting { reason: String, message: String },
    Running { since: String },
    Terminated(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// As shells have it: 128 and the signal, if it was one.
    pub(crate) code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) started: String,
    pub(crate) finished: String,
}

#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) spec: Value,
    pub(crate) state: State,
    pub(crate) last: Option<Exit>,
    pub(crate) restarts: u32,
    /// When a waiting container may be started again.
    pub(crate) not_before: Option<Instant>,
    process: Option<(Child, ProcessGroup)>,
    log: PathBuf,
}

impl Container {
    pub(crate) fn new(spec: &Value) -> Self {
        Self {
            spec: spec.clone(),
            state: State::Waiting {
                reason: "ContainerCreating".to_owned(),
                message: String::new(),
            },
            last: None,
            restarts: 0,
            not_before: None,
            process: None,
            log: PathBuf::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        api::text(&self.spec["name"])
    }

    pub(crate) fn waits(&mut self, reason: &str, message: impl Into<String>) {
        self.state = State::Waiting {
            reason: reason.to_owned(),
            message: message.into(),
        };
    }

    /// Why it cannot ever be started, as a reason and a message of a real kubelet.
    pub(crate) fn cannot_start(&self) -> Option<(&'static str, String)> {
        let image = api::text(&self.spec["image"]);
        let registry = image.split(['/', ':']).next().unwrap_or_default();
        if registry.ends_with(".invalid") {
            let message = format!("failed to pull image {image:?}: {registry}: no such host");
            return Some(("ErrImagePull", message));
        }
        api::list(&self.spec["command"]).is_empty().then(|| {
            let message = "no command specified, and images are not looked at";
            ("CreateContainerError", message.to_owned())
        })
    }

    /// Starts it. What cannot be executed ends at once, as in a container runtime.
    pub(crate) fn start(&mut self, what: &Invocation, log: &Path, folder: &Path) {
        let started = api::now();
        self.log = log.to_owned();
        match spawn(what, log, folder) {
            Ok(process) => {
                self.process = Some(process);
                self.state = State::Running { since: started };
            }
            Err(why) => self.ended(Exit {
                code: 128,
                reason: "StartError".to_owned(),
                message: format!("{why:#}"),
                started: started.clone(),
                finished: started,
            }),
        }
    }

    /// Looks whether it has ended; true if something changed.
    pub(crate) fn look(&mut self) -> bool {
        let Some((child, _)) = &mut self.process else {
            return false;
        };
        let Ok(Some(status)) = child.try_wait() else {
            return false;
        };
        // Whatever it started ends with it, as with the first process of a container.
        self.process = None;
        let started = match &self.state {
            State::Running { since } => since.clone(),
            _ => api::now(),
        };
        let code = code(status);
        self.ended(Exit {
            code,
            reason: if code == 0 { "Completed" } else { "Error" }.to_owned(),
            message: if code == 0 {
                String::new()
            } else {
                self.last_words()
            },
            started,
            finished: api::now(),
        });
        true
    }

    /// The end of its log, if the manifest wants it in the status.
    fn last_words(&self) -> String {
        if self.spec["terminationMessagePolicy"] != "FallbackToLogsOnError" {
            return String::new();
        }
        let log = fs::read(&self.log).unwrap_or_default();
        let end = &log[log.len().saturating_sub(LAST_WORDS_BYTES)..];
        String::from_utf8_lossy(end).into_owned()
    }

    fn ended(&mut self, exit: Exit) {
        self.state = State::Terminated(exit);
    }

    pub(crate) fn exit(&self) -> Option<&Exit> {
        match &self.state {
            State::Terminated(exit) => Some(exit),
            _ => None,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Has it started again, after a while.
    pub(crate) fn restart_later(&mut self) {
        let (first, last) = BACK_OFF;
        let pause = first.saturating_mul(1 << self.restarts.min(10)).min(last);
        self.last = self.exit().cloned();
        self.restarts += 1;
        self.not_before = Some(Instant::now() + pause);
        let message = format!(
            "back-off {pause:?} restarting failed container={}",
            self.name()
        );
        self.waits("CrashLoopBackOff", message);
    }

    /// Asks its process to end.
    pub(crate) fn terminate(&self) {
        if let Some((child, _)) = &self.process
            && let Ok(id) = i32::try_from(child.id())
        {
            // Not waited for yet, so the number is still its own.
            kill(Pid::from_raw(id), Signal::SIGTERM).ok();
        }
    }

    /// Ends everything of it, and waits.
    pub(crate) fn kill(&mut self) {
        if let Some((child, _)) = &mut self.process {
            child.kill().ok();
            child.wait().ok();
        }
        self.look();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.kill();
    }
}

fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

fn spawn(what: &Invocation, log: &Path, folder: &Path) -> anyhow::Result<(Child, ProcessGroup)> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder)?;
    }
    let output = File::options().create(true).append(true).open(log)?;
    let (program, arguments) = what.words.split_first().context("no command")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(&what.variables)
        .current_dir(&what.working_folder)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    let group = ProcessGroup::start(folder)?;
    let child = group
        .spawn(&mut command)
        .with_context(|| format!("exec: {program:?}"))?;
    Ok((child, group))
}
