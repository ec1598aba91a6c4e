//! A process group, and the guardian that ends it with us. All components of a control plane share one.
//!
//! The guardian leads the group and reads from a pipe whose other end only this process holds. However this
//! process ends (return, panic, SIGKILL, a control plane kept in a `static`), the kernel closes the pipe, and the
//! guardian kills the group and removes its folder. A parent-death signal would need `unsafe`, and would already
//! fire when the thread that started a component ends.

use std::{
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// Ends the others first (one may be stopped, hence CONT), so that nothing writes to the folder any more.
const GUARDIAN: &str = r#"
trap '' HUP INT TERM
while read -r _; do :; done
kill -TERM 0
kill -CONT 0
sleep 1
rm -rf -- "$1"
kill -KILL 0
"#;

/// A process group; everything in it is killed when the value goes.
#[derive(Debug)]
pub struct ProcessGroup {
    guardian: Child,
    id: i32,
}

impl ProcessGroup {
    /// Starts the guardian; `folder` is removed if it has to act.
    ///
    /// # Errors
    /// There is no `/bin/sh`, or no process can be started.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let guardian = Command::new("/bin/sh")
            .args(["-c", GUARDIAN, "guardian-of-group"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()
            .context("starting the guardian of a process group with /bin/sh")?;
        let id = i32::try_from(guardian.id())?;
        Ok(Self { guardian, id })
    }

    /// Starts a process in the group.
    ///
    /// # Errors
    /// As [`Command::spawn`].
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        command.process_group(self.id).spawn()
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // The guardian is waited for after the signal, so its number cannot be another group's by now.
        killpg(Pid::from_raw(self.id), Signal::SIGKILL).ok();
        self.guardian.wait().ok();
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        fs,
        io::{BufRead as _, BufReader},
        thread,
        time::Duration,
    };

    use super::*;

    const FOLDER: &str = "KPERF_TEST_GROUP_FOLDER";

    /// The process that [`nothing_outlives_a_killed_process`] kills; by itself it does nothing.
    #[test]
    fn hold_a_group() {
        let Some(folder) = std::env::var_os(FOLDER) else {
            return;
        };
        let group = ProcessGroup::start(Path::new(&folder)).unwrap();
        let mut sleeper = group.spawn(Command::new("sleep").arg("60")).unwrap();
        eprintln!("sleeper {}", sleeper.id());
        sleeper.wait().unwrap();
    }

    #[test]
    fn nothing_outlives_a_killed_process() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let mut holder = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "group::tests::hold_a_group", "--nocapture"])
            .env(FOLDER, &folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let sleeper: u32 = BufReader::new(holder.stderr.take().unwrap())
            .lines()
            .find_map(|line| line.unwrap().strip_prefix("sleeper ")?.parse().ok())
            .unwrap();
        assert!(is_alive(sleeper));
        holder.kill().unwrap();
        holder.wait().unwrap();
        for _ in 0..200 {
            if !is_alive(sleeper) && !folder.exists() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("{sleeper} or {} is still there", folder.display());
    }

    /// Whether it is there and no zombie: when those are collected is up to their new parent.
    fn is_alive(id: u32) -> bool {
        fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }
}
