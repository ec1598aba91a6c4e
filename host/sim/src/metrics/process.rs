//! What the simulator says of its own process.
//!
//! CPU time is that of its threads alone: in the process of a load generator the rest is not the server's.

use std::{
    fmt::Write as _,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;

/// Threads of the server and when it started.
#[derive(Debug)]
pub(crate) struct Process {
    started: SystemTime,
    /// `/proc/PID/task/TID` of each.
    threads: Mutex<Vec<PathBuf>>,
}

impl Process {
    pub(crate) fn new() -> Self {
        Self {
            started: SystemTime::now(),
            threads: Mutex::default(),
        }
    }

    /// Counts the calling thread as one of the server's. Without `/proc` there is nothing to count.
    pub(crate) fn join(&self) {
        if let Ok(task) = std::fs::read_link("/proc/thread-self") {
            self.threads.lock().push(PathBuf::from("/proc").join(task));
        }
    }

    /// Seconds of CPU time of the threads; none where the system does not say.
    fn cpu_seconds(&self) -> Option<f64> {
        let threads = self.threads.lock();
        let mut nanoseconds = 0_u64;
        for task in threads.iter() {
            let text = std::fs::read_to_string(task.join("schedstat")).ok()?;
            nanoseconds += text.split_whitespace().next()?.parse::<u64>().ok()?;
        }
        (!threads.is_empty()).then_some(nanoseconds as f64 / 1e9)
    }

    /// Prometheus text exposition.
    pub(crate) fn render(&self, out: &mut String) {
        let mut family = |name: &str, help: &str, kind: &str, value: f64| {
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
            );
        };
        if let Some(seconds) = self.cpu_seconds() {
            family(
                "process_cpu_seconds_total",
                "User and system CPU time of the simulator's threads, in seconds.",
                "counter",
                seconds,
            );
        }
        if let Some(bytes) = resident_bytes() {
            family(
                "process_resident_memory_bytes",
                "Resident memory of the process the simulator is in, in bytes.",
                "gauge",
                bytes,
            );
        }
        if let Ok(started) = self.started.duration_since(UNIX_EPOCH) {
            family(
                "process_start_time_seconds",
                "Start of the simulator, in seconds since 1970.",
                "gauge",
                started.as_secs_f64(),
            );
        }
    }
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024.0)
}
