//! A tool as a process: alone in its process group, with nothing but `PATH` and `LC_ALL=C` in its environment, nothing
//! on its standard input, and each of its streams kept apart and bounded. However it ends, nothing of its group is left.

use std::{
    future::Future,
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, killpg},
    },
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Child,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::tool::{Command, ToolError};

/// Between TERM and KILL.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// How long the streams of a dead group may stay open: only a process that left the group can hold them.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Kept of each stream of a client.
pub(crate) const CLIENT_BYTES: usize = 16 << 20;
/// Kept of each stream of a server, of which only the beginning is looked at.
pub(crate) const SERVER_BYTES: usize = 64 << 10;

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Group,
    stdout: Stream,
    stderr: Stream,
    started: Instant,
}

/// How a process ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) exit_code: Option<i32>,
    /// Such as `SIGTERM`; empty when none.
    pub(crate) signal: String,
    /// Ended at its limit.
    pub(crate) timed_out: bool,
    pub(crate) clipped: bool,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) elapsed: Duration,
}

impl Process {
    /// Starts a command that has passed the allow list.
    pub(crate) fn start(command: &Command, keep_bytes: usize) -> Result<Self, ToolError> {
        let mut builder = std::process::Command::new(&command.program);
        builder
            .args(&command.arguments)
            .env_clear()
            .envs(
                command
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(path) = std::env::var_os("PATH") {
            builder.env("PATH", path);
        }
        std::os::unix::process::CommandExt::process_group(&mut builder, 0);
        end_with_parent(&mut builder);
        let mut child = tokio::process::Command::from(builder)
            .spawn()
            .map_err(|error| not_started(&command.program, &error))?;
        let group = Group(child.id().and_then(|id| i32::try_from(id).ok()));
        let stdout = Stream::of(child.stdout.take(), keep_bytes);
        let stderr = Stream::of(child.stderr.take(), keep_bytes);
        Ok(Self {
            child,
            group,
            stdout,
            stderr,
            started: Instant::now(),
        })
    }

    /// Standard output so far, to wait on.
    pub(crate) fn stdout(&self) -> watch::Receiver<Arc<Kept>> {
        self.stdout.kept.clone()
    }

    /// Waits until it has exited by itself. Can be dropped and called again.
    pub(crate) async fn exited(&mut self) {
        // An error means that there is nothing to wait for.
        let _ = self.child.wait().await;
    }

    /// Whether it has exited already; asks the system, which knows it before [`Self::exited`] is woken.
    pub(crate) fn has_exited(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Lets it run to its end, its limit or `stop`, and gives what is left of it. TERM first, KILL after [`GRACE`].
    pub(crate) async fn finish(
        mut self,
        limit: Option<Duration>,
        stop: impl Future<Output = ()>,
    ) -> Ended {
        let at_limit = async {
            match limit {
                Some(limit) => sleep(limit.saturating_sub(self.started.elapsed())).await,
                None => std::future::pending().await,
            }
        };
        let mut timed_out = false;
        let exited = tokio::select! {
            biased;
            status = self.child.wait() => Some(status),
            () = at_limit => { timed_out = true; None }
            () = stop => None,
        };
        let status = match exited {
            Some(status) => status,
            None => {
                self.group.signal(Signal::SIGTERM);
                match timeout(GRACE, self.child.wait()).await {
                    Ok(status) => status,
                    Err(_) => {
                        self.group.signal(Signal::SIGKILL);
                        self.child.wait().await
                    }
                }
            }
        };
        let elapsed = self.started.elapsed();
        // Its children must not outlive it, nor keep its streams open.
        self.group.signal(Signal::SIGKILL);
        let (stdout, stderr) = tokio::join!(self.stdout.end(), self.stderr.end());
        let (exit_code, signal) = describe(status);
        Ended {
            exit_code,
            signal,
            timed_out,
            clipped: stdout.clipped || stderr.clipped,
            stdout: stdout.bytes.clone(),
            stderr: stderr.bytes.clone(),
            elapsed,
        }
    }
}

impl Ended {
    /// In one sentence, with the last two lines it wrote: many programs say why, and then that they end.
    pub(crate) fn sentence(&self) -> String {
        let how = match (&*self.signal, self.exit_code) {
            ("", Some(code)) => format!("it exited with {code}"),
            ("", None) => "it is not known how it ended".to_owned(),
            (signal, _) => format!("it was ended by {signal}"),
        };
        let last = [&self.stderr, &self.stdout].into_iter().find_map(|stream| {
            let text = String::from_utf8_lossy(stream);
            let mut lines: Vec<String> = text
                .lines()
                .rev()
                .map(|line| line.trim().chars().filter(|char| !char.is_control()))
                .map(|line| line.take(300).collect())
                .filter(|line: &String| !line.is_empty())
                .take(2)
                .collect();
            lines.reverse();
            (!lines.is_empty()).then(|| lines.join("; "))
        });
        match last {
            Some(lines) => format!("{how}: {lines}"),
            None => how,
        }
    }
}

fn describe(status: io::Result<ExitStatus>) -> (Option<i32>, String) {
    let Ok(status) = status else {
        return (None, String::new());
    };
    let signal = status.signal().map(|number| {
        Signal::try_from(number)
            .map_or_else(|_| format!("signal {number}"), |s| s.as_str().to_owned())
    });
    (status.code(), signal.unwrap_or_default())
}

fn not_started(program: &str, error: &io::Error) -> ToolError {
    if error.kind() == io::ErrorKind::NotFound {
        return ToolError::new(
            "not_installed",
            format!("{program} is not in the worker's PATH; install it there"),
        );
    }
    ToolError::new(
        "not_started",
        format!("{program} cannot be started: {error}"),
    )
}

/// A killed worker must not leave its tools behind, where they would hold ports and make traffic. The kernel ties this
/// to the thread that starts the process: workers start tools only from threads of their runtime, which last.
#[allow(
    unsafe_code,
    reason = "what runs between fork and exec is one system call"
)]
fn end_with_parent(builder: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: prctl is a bare system call; nothing is allocated and no lock is taken in the forked child.
    unsafe {
        builder.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
    }
}

/// A process group, killed when nobody waits for it any more.
#[derive(Debug)]
struct Group(Option<i32>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(id) = self.0 {
            // No such group is what is wanted.
            let _ = killpg(Pid::from_raw(id), signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// The kept part of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) bytes: Vec<u8>,
    clipped: bool,
}

#[derive(Debug)]
struct Stream {
    kept: watch::Receiver<Arc<Kept>>,
    reader: JoinHandle<()>,
}

impl Stream {
    fn of(source: Option<impl AsyncRead + Unpin + Send + 'static>, keep_bytes: usize) -> Self {
        let (sender, kept) = watch::channel(Arc::new(Kept::default()));
        let reader = tokio::spawn(async move {
            if let Some(source) = source {
                read(source, keep_bytes, &sender).await;
            }
        });
        Self { kept, reader }
    }

    async fn end(mut self) -> Arc<Kept> {
        let ended = timeout(LAST_WORDS, &mut self.reader).await.is_ok();
        self.reader.abort();
        let mut kept = Arc::clone(&self.kept.borrow());
        if !ended {
            Arc::make_mut(&mut kept).clipped = true;
        }
        kept
    }
}

/// Reads to the end, so that the writer never waits, and keeps the beginning.
async fn read(
    mut source: impl AsyncRead + Unpin,
    keep_bytes: usize,
    kept: &watch::Sender<Arc<Kept>>,
) {
    let mut chunk = vec![0; 64 << 10];
    loop {
        let Ok(read @ 1..) = source.read(&mut chunk).await else {
            return;
        };
        let Some(new) = chunk.get(..read) else { return };
        kept.send_modify(|kept| {
            // Shared only for moments, by whoever looks for a line.
            let kept = Arc::make_mut(kept);
            let room = keep_bytes.saturating_sub(kept.bytes.len());
            kept.clipped |= new.len() > room;
            let fitting = new.get(..room).unwrap_or(new);
            kept.bytes.extend_from_slice(fitting);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        Command {
            program: "sh".to_owned(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: Vec::new(),
        }
    }

    async fn run(script: &str, limit: Option<Duration>, keep_bytes: usize) -> Ended {
        let process = Process::start(&shell(script), keep_bytes).unwrap();
        process.finish(limit, std::future::pending()).await
    }

    fn is_alive(pid: &str) -> bool {
        // A zombie that nobody has reaped yet is dead.
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
    }

    /// A signal that was sent takes a moment to arrive.
    async fn dies(pid: Vec<u8>) {
        let pid = String::from_utf8(pid).unwrap();
        timeout(Duration::from_secs(60), async {
            while is_alive(pid.trim()) {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn streams_exit_code_and_environment() {
        let ended = run("echo out; echo err >&2; env; exit 3", None, 10_000).await;
        let stdout = String::from_utf8(ended.stdout).unwrap();
        assert!(stdout.starts_with("out\n"), "{stdout}");
        assert!(stdout.contains("LC_ALL=C\n"), "{stdout}");
        assert!(!stdout.contains("CARGO"), "{stdout}");
        assert_eq!(ended.stderr, b"err\n");
        assert_eq!((ended.exit_code, &*ended.signal), (Some(3), ""));
        assert!(!ended.timed_out && !ended.clipped);
    }

    #[tokio::test]
    async fn standard_input_is_empty() {
        let ended = run("cat; echo end", None, 100).await;
        assert_eq!(ended.stdout, b"end\n");
    }

    #[tokio::test]
    async fn more_output_than_is_kept_does_not_block() {
        let ended = run("head -c 1000000 /dev/zero; echo x >&2", None, 1_000).await;
        assert_eq!((ended.stdout.len(), ended.clipped), (1_000, true));
        assert_eq!(ended.exit_code, Some(0));
    }

    /// Waits for the script's first line before it is given up: until then it may not have set its traps.
    async fn run_until_stopped(script: &str) -> Ended {
        let process = Process::start(&shell(script), 100).unwrap();
        let mut stdout = process.stdout();
        let written = async move {
            let line = stdout.wait_for(|kept| kept.bytes.ends_with(b"\n")).await;
            assert!(line.is_ok());
        };
        process.finish(None, written).await
    }

    #[tokio::test]
    async fn at_its_limit_it_is_ended() {
        let ended = run("sleep 1000", Some(Duration::from_millis(100)), 100).await;
        assert_eq!((ended.timed_out, &*ended.signal), (true, "SIGTERM"));
    }

    #[tokio::test]
    async fn it_is_asked_to_end_first() {
        let script = "trap 'echo asked; exit 0' TERM; echo on; while :; do sleep 0.01; done";
        let ended = run_until_stopped(script).await;
        assert!(!ended.timed_out);
        assert_eq!(ended.stdout, b"on\nasked\n");
    }

    #[tokio::test]
    async fn who_does_not_listen_is_killed_with_all_its_children() {
        // The child sets no trap of its own: what is ignored is so in children too.
        let script = "trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000";
        let ended = run_until_stopped(script).await;
        assert_eq!(&*ended.signal, "SIGKILL");
        dies(ended.stdout).await;
    }

    #[tokio::test]
    async fn children_left_behind_are_killed_and_do_not_hold_the_output() {
        let ended = run("sleep 1000 & echo $!", None, 100).await;
        assert_eq!(ended.exit_code, Some(0));
        dies(ended.stdout).await;
    }

    #[tokio::test]
    async fn dropped_means_killed() {
        let process = Process::start(&shell("echo $$; exec sleep 1000"), 100).unwrap();
        let mut stdout = process.stdout();
        stdout
            .wait_for(|kept| kept.bytes.ends_with(b"\n"))
            .await
            .unwrap();
        drop(process);
        let pid = stdout.borrow().bytes.clone();
        dies(pid).await;
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let mut command = shell("");
        command.program = "no-such-program".to_owned();
        let error = Process::start(&command, 1).unwrap_err();
        assert_eq!(error.class, "not_installed");
        assert!(error.message.contains("no-such-program"), "{error:?}");
    }
}
