//! One running component.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};

use crate::{Component, group::ProcessGroup};

/// A started component; killed and waited for when the value goes.
#[derive(Debug)]
pub(crate) struct Process {
    component: Component,
    child: Child,
    /// Its end was seen, so its number may be another process's by now.
    ended: bool,
    log: PathBuf,
}

impl Process {
    /// Starts `program` in `folder`; its log is appended to, so that it survives a restart.
    pub(crate) fn start(
        component: Component,
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        folder: &Path,
        group: &ProcessGroup,
    ) -> anyhow::Result<Self> {
        let log = log_file(folder, component);
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| log.display().to_string())?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            // ETCD_*, proxies, KUBECONFIG, ~/.kwok: the developer's settings must not reach it.
            .env_clear()
            .env("HOME", folder)
            .env("PATH", "/usr/bin:/bin")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let child = group
            .spawn(&mut command)
            .with_context(|| format!("starting {component} ({})", program.display()))?;
        Ok(Self {
            component,
            child,
            ended: false,
            log,
        })
    }

    pub(crate) fn component(&self) -> Component {
        self.component
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten();
        self.ended |= status.is_some();
        status
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        ensure!(!self.ended, "{} has ended", self.component);
        kill(self.pid()?, signal).with_context(|| format!("{signal} to {}", self.component))
    }

    /// Stops it in its tracks (SIGSTOP), and returns when none of its threads runs any more: until then it may
    /// answer.
    pub(crate) fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)?;
        // The kernel tells the parent when the last thread has stopped. What is told stays to be told: the child's end is
        // for `Child` to learn.
        let news = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let status = waitid(Id::Pid(self.pid()?), news)
            .with_context(|| format!("waiting for {} to stop", self.component))?;
        ensure!(
            matches!(status, WaitStatus::Stopped(..)),
            "{} has ended",
            self.component
        );
        Ok(())
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }

    /// Asks it to end, and kills it when it has not after `grace`.
    pub(crate) fn stop(mut self, grace: Duration) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM)?;
        let end = Instant::now() + grace;
        while self.exited().is_none() && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The end of its log, for error messages.
    pub(crate) fn tail(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Whether it ended because another process had its port.
    pub(crate) fn lost_its_port(&mut self) -> bool {
        self.exited().is_some() && self.tail().contains("address already in use")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Where a component of the control plane in `folder` logs to.
pub(crate) fn log_file(folder: &Path, component: Component) -> PathBuf {
    folder.join(format!("{component}.log"))
}
