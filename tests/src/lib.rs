//! Support for tests that drive the real binary: run it, keep its output, start a simulator beside it.
//!
//! Every run gets an environment without the developer's own kubeconfig and home, so that a test can never
//! reach a cluster by accident.

pub mod benchmark;
pub mod pushgateway;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Path of the binary under test; only usable in integration tests of this crate.
#[macro_export]
macro_rules! kperf {
    () => {
        $crate::Kperf::new(env!("CARGO_BIN_EXE_kperf-host-under-test"))
    };
}

/// The binary with a folder of its own.
pub struct Kperf {
    binary: PathBuf,
    dir: TempDir,
}

/// What a run printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; none after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Fails with everything that was printed unless the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "exit code\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Fails unless standard error holds every one of `parts`.
    #[track_caller]
    pub fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "stderr lacks `{part}`:\n{}",
                self.stderr
            );
        }
    }
}

impl Kperf {
    /// For [`kperf!`].
    #[must_use]
    #[allow(
        clippy::expect_used,
        reason = "support code of tests: a failure here is a failed test"
    )]
    pub fn new(binary: &str) -> Self {
        Self {
            binary: binary.into(),
            dir: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// The folder of this test.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file in the folder of this test.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file in the folder of this test.
    #[allow(clippy::expect_used, reason = "support code of tests")]
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("a folder for it");
        }
        std::fs::write(&path, text).expect("a written file");
        path
    }

    /// Reads a JSON file from the folder of this test.
    #[must_use]
    #[allow(clippy::expect_used, reason = "support code of tests")]
    pub fn json(&self, name: &str) -> Value {
        let text = std::fs::read_to_string(self.path(name)).expect("a result file");
        serde_json::from_str(&text).expect("JSON in the result file")
    }

    /// The command, not yet run, working in the folder of this test.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .env_remove("KUBECONFIG")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .env_remove("RUST_LOG")
            .env("HOME", self.dir.path())
            .env("KPERF_CACHE_DIR", cache());
        command
    }

    /// Runs it to its end; fails after two minutes.
    #[must_use]
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.command(arguments), Duration::from_secs(120))
    }

    /// Starts `kperf-host sim` on a free port.
    #[must_use]
    #[track_caller]
    #[allow(clippy::expect_used, clippy::panic, reason = "support code of tests")]
    pub fn sim(&self, arguments: &[&str]) -> SimServer {
        let kubeconfig = self.path("sim.kubeconfig");
        let mut command = self.command(&["sim", "--listen", "127.0.0.1:0", "--kubeconfig"]);
        command
            .arg(&kubeconfig)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = Started(command.spawn().expect("a started simulator"));
        let stderr = child.stderr.take().expect("its stderr");
        let mut lines = BufReader::new(stderr);
        let mut line = String::new();
        lines
            .read_line(&mut line)
            .expect("a line from the simulator");
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http"))
            .unwrap_or_else(|| panic!("the simulator said: {line}"))
            .trim_end_matches(';')
            .to_owned();
        // Keep reading, so that it never waits for us.
        std::thread::spawn(move || {
            let mut rest = String::new();
            lines.read_to_string(&mut rest).ok();
        });
        SimServer {
            child,
            url,
            kubeconfig,
        }
    }
}

/// What `kperf-host` is in the image of a runner, for a kubelet that runs programs: the one under test. Compiled plugins
/// are kept, as they would be with a volume for them.
#[must_use]
#[allow(clippy::expect_used, reason = "support code of tests")]
pub fn image(folder: &Path, under_test: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let program = folder.join("kperf-host");
    let script = format!(
        "#!/bin/sh\nexport KPERF_CACHE_DIR={}\nexec {under_test} \"$@\"\n",
        target().join("test-cache").display(),
    );
    std::fs::write(&program, script).expect("a program");
    let may_run = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, may_run).expect("a program that runs");
    program
}

/// A started process; killed with the value, so that a test that fails leaves nothing running.
pub struct Started(Child);

impl Started {
    /// Takes a child over.
    #[must_use]
    pub fn new(child: Child) -> Self {
        Self(child)
    }
}

impl Deref for Started {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Started {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A running simulator; ends with the value.
pub struct SimServer {
    child: Started,
    /// Its URL.
    pub url: String,
    /// A kubeconfig for it.
    pub kubeconfig: PathBuf,
}

impl SimServer {
    /// The kubeconfig as an argument.
    #[must_use]
    pub fn kubeconfig(&self) -> &str {
        self.kubeconfig.to_str().unwrap_or_default()
    }

    /// Its process, for signals and accounting.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

/// Runs a command to its end and keeps what it printed; kills it, and fails, at the limit.
#[must_use]
#[track_caller]
#[allow(clippy::expect_used, clippy::panic, reason = "support code of tests")]
pub fn finish(mut command: Command, limit: Duration) -> Ran {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a started process");
    let stdout = read_all(child.stdout.take().expect("its stdout"));
    let stderr = read_all(child.stderr.take().expect("its stderr"));
    let status = wait(&mut child, limit);
    let stdout = stdout.join().unwrap_or_default();
    let stderr = stderr.join().unwrap_or_default();
    match status {
        Some(status) => Ran {
            code: status.code(),
            stdout,
            stderr,
        },
        None => panic!("not over after {limit:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"),
    }
}

/// Starts a run and returns when it has reported its first interval: load is flowing.
#[must_use]
#[track_caller]
#[allow(
    clippy::expect_used,
    clippy::panic,
    reason = "support code of tests: a failure here is a failed test"
)]
pub fn start_until_first_interval(mut command: Command) -> Started {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = Started(command.spawn().expect("a started process"));
    let mut lines = BufReader::new(child.stderr.take().expect("its stderr"));
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap_or(0) == 0 {
            panic!("the run ended before its first interval:\n{seen}");
        }
        seen.push_str(&line);
        if line.starts_with("load ") {
            break;
        }
    }
    // Keep reading, so that it never waits for us.
    std::thread::spawn(move || {
        let mut rest = String::new();
        lines.read_to_string(&mut rest).ok();
    });
    child
}

/// Waits for the end of a process; none when it had to be killed at the limit.
#[must_use]
pub fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= end {
            child.kill().ok();
            child.wait().ok();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn read_all(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).ok();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// One cache of compiled plugins for all tests of a build.
fn cache() -> PathBuf {
    target().join("test-cache")
}

/// The target folder that this build uses.
#[must_use]
pub fn target() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|exe| {
            exe.ancestors()
                .find(|dir| dir.join("CACHEDIR.TAG").is_file())
                .map(Path::to_path_buf)
        })
        .unwrap_or_else(|| repository().join("target"))
}

/// Builds a plugin project outside the workspace as its author would, and returns the component.
///
/// # Panics
/// The build fails; what cargo printed is in the message.
#[must_use]
#[track_caller]
#[allow(clippy::panic, reason = "support code of tests")]
pub fn build_plugin(project: &Path, name: &str) -> PathBuf {
    let target = target().join("plugins-of-strangers");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["build", "--release", "--target", "wasm32-wasip2"])
        .current_dir(project)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    let ran = finish(command, Duration::from_secs(600));
    assert!(
        ran.code == Some(0),
        "building {}:\n{}",
        project.display(),
        ran.stderr
    );
    let component = target.join(format!("wasm32-wasip2/release/{name}.wasm"));
    if !component.is_file() {
        panic!("cargo built no {}", component.display());
    }
    component
}

/// The folder of a measuring program built from the pinned module `tests/tools/go`; prints the skipped line, with the
/// reason, when it cannot be built here.
#[must_use]
pub fn built_tool(program: &str, package: &str, what: &str) -> Option<PathBuf> {
    let folder = repository().join("tests/tools/go");
    let built = kperf_control_plane::GoModule::at(&folder, "tools").and_then(|module| {
        module
            .build_once(program, package)
            .map_err(|error| format!("{error:#}"))
    });
    match built {
        Ok(path) => path.parent().map(Path::to_path_buf),
        Err(why) => {
            eprintln!("skipped: {what} needs `{program}`, which cannot be built: {why}");
            None
        }
    }
}

/// Whether a program is on the PATH; prints the skipped line when it is not.
#[must_use]
pub fn have(program: &str, what: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    if !found {
        eprintln!("skipped: {what} needs `{program}`, which is not installed");
    }
    found
}
