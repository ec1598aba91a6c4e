//! Runs a client on a core of its own and takes what it used.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::bail;
use nix::sys::resource::{UsageWho, getrusage};

/// What a process used.
pub(crate) struct Used {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
    pub(crate) wall: Duration,
}

/// Runs a client on core 1 and takes its CPU from the wait status: nothing else is reaped meanwhile.
pub(crate) fn run(command: &[String]) -> anyhow::Result<Used> {
    let before = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let started = Instant::now();
    let output = pinned(1, command.to_vec()).stdin(Stdio::null()).output()?;
    let wall = started.elapsed();
    let after = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    if !output.status.success() {
        bail!(
            "{} ended with {}:\n{}{}",
            command.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let delta = |after: nix::sys::time::TimeVal, before: nix::sys::time::TimeVal| {
        let micros =
            (after.tv_sec() - before.tv_sec()) * 1_000_000 + (after.tv_usec() - before.tv_usec());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    Ok(Used {
        user: delta(after.user_time(), before.user_time()),
        system: delta(after.system_time(), before.system_time()),
        wall,
    })
}

pub(crate) fn pinned(core: u32, command: Vec<String>) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", &core.to_string()]).args(command);
    pinned
}

pub(crate) fn resident_kib(process: u32) -> Option<u64> {
    status_kib(process, "VmRSS:")
}

/// The most that was resident so far.
pub(crate) fn peak_kib(process: u32) -> Option<u64> {
    status_kib(process, "VmHWM:")
}

fn status_kib(process: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}
