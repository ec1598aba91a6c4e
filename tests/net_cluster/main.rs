//! Network benchmarks in a cluster, from the launcher to the results: a real control plane, pods as processes, real
//! measuring programs. Without a control plane (see the README), each test says in a line that it was skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod by_hand;
mod ends;
mod mistakes;
mod outage;
mod whole;

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    process::{ChildStderr, Command, Stdio},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use kperf_control_plane::{Client, Component, ControlPlane, Options};
use kperf_kubelet::{Kubelet, Nodes};
use kperf_launch::required_rights;
use kperf_tests::{Kperf, Started, wait};
use serde_json::{Value, json};

const ORCHESTRATOR: &str = "kperf-orchestrator";
/// Nothing here should take so long; it only says that nothing hangs.
const NOT_HANGING: Duration = Duration::from_secs(180);

struct World {
    plane: ControlPlane,
    kubelet: Kubelet,
    /// Of a user who has the rights that a launch asks for, and no others.
    kubeconfig: String,
}

/// One for all tests, with three nodes.
static WORLD: LazyLock<Option<World>> = LazyLock::new(|| {
    let options = Options::api_server()
        .with(Component::ControllerManager)
        .with(Component::Scheduler)
        .own();
    let plane = ControlPlane::start_or_skip("network benchmarks in a cluster", options).unwrap()?;
    let nodes = Nodes::new(3)
        .label("node-lifecycle", "on-demand")
        .program("kperf-host", env!("CARGO_BIN_EXE_kperf-host-under-test"));
    let kubelet = Kubelet::start(&plane, nodes).unwrap();
    let kubeconfig = launcher(&plane);
    Some(World {
        plane,
        kubelet,
        kubeconfig,
    })
});

/// A user with the rights of the table.
fn launcher(plane: &ControlPlane) -> String {
    let rbac = "rbac.authorization.k8s.io";
    let rules: Vec<Value> = required_rights()
        .iter()
        .map(|right| {
            json!({"apiGroups": [right.group], "resources": [right.resource], "verbs": right.verbs})
        })
        .collect();
    let role = json!({"metadata": {"name": "net-launcher"}, "rules": rules});
    let binding = json!({
        "metadata": {"name": "net-launcher"},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "net-launcher"},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": "net-launcher"}],
    });
    for (resource, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let path = format!("/apis/{rbac}/v1/{resource}");
        let answer = plane.client().unwrap().post(&path, &object).unwrap();
        answer.success().unwrap();
    }
    let kubeconfig = plane.kubeconfig_for_user("net-launcher", &[]).unwrap();
    let client = Client::from_kubeconfig(&kubeconfig).unwrap();
    // Roles take a moment to be known to the authoriser.
    eventually("the launcher's rights", || {
        let answer = client.get("/api/v1/nodes").unwrap();
        (answer.status == 200).then_some(()).ok_or(answer.text)
    });
    kubeconfig.to_str().unwrap().to_owned()
}

#[track_caller]
fn eventually<T>(what: &str, look: impl Fn() -> Result<T, String>) -> T {
    let end = Instant::now() + NOT_HANGING;
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < end, "never: {what}: {why}"),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

impl World {
    fn client(&self) -> &Client {
        self.plane.client().unwrap()
    }

    fn get(&self, path: &str) -> Value {
        self.client().get(path).unwrap().success().unwrap().json()
    }

    fn is_there(&self, namespace: &str) -> bool {
        let path = format!("/api/v1/namespaces/{namespace}");
        self.client().get(&path).unwrap().status == 200
    }

    fn log(&self, namespace: &str, pod: &str) -> String {
        self.kubelet
            .log(namespace, pod, "kperf-host")
            .unwrap_or_default()
    }

    /// Waits until the orchestrator of a namespace has written a line.
    #[track_caller]
    fn until_said(&self, namespace: &str, text: &str) {
        eventually(&format!("{text} in {namespace}"), || {
            let log = self.log(namespace, ORCHESTRATOR);
            log.contains(text).then_some(()).ok_or(log)
        });
    }

    /// Nothing of the run is there, by the API's word and by that of `cleanup`.
    #[track_caller]
    fn assert_gone(&self, kperf: &Kperf, namespace: &str) {
        assert!(!self.is_there(namespace), "{namespace}");
        let admin = self.plane.kubeconfig();
        let listed = kperf
            .run(&["cleanup", "--list", "--kubeconfig", admin.to_str().unwrap()])
            .expect(0);
        assert!(!listed.stdout.contains(namespace), "{}", listed.stdout);
    }
}

/// A launch in a namespace, by the user with the least rights. It measures briefly, with ports of its own: the pods of
/// all tests share those of this machine.
struct Launch {
    kperf: Kperf,
    words: Vec<String>,
}

fn free_port() -> String {
    let listener = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    listener.local_addr().unwrap().port().to_string()
}

impl Launch {
    fn new(world: &World, kperf: Kperf, namespace: &str, benchmark: &str) -> Self {
        let orchestrator_port = free_port();
        let words = [
            "net",
            "launch",
            "--benchmark",
            benchmark,
            "--namespace",
            namespace,
            "--worker-image",
            "registry.example/kperf-host-worker:1",
            "--kubeconfig",
            &world.kubeconfig,
            "--output-directory",
            "results",
            "--orchestrator-port",
            &orchestrator_port,
            "--set",
            "durationSeconds=1",
        ];
        Self {
            kperf,
            words: words.map(str::to_owned).into(),
        }
    }

    fn iperf3(world: &World, kperf: Kperf, namespace: &str) -> Self {
        let port = format!("port={}", free_port());
        Self::new(world, kperf, namespace, "iperf3-tcp").with(&[
            "--set",
            "omitSeconds=0",
            "--set",
            &port,
        ])
    }

    fn with(mut self, words: &[&str]) -> Self {
        self.words
            .extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    fn command(&self) -> Command {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        self.kperf.command(&words)
    }

    fn start(&self) -> Launcher {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Started::new(command.spawn().unwrap());
        let stderr = read(child.stderr.take().unwrap());
        let mut stdout = child.stdout.take().unwrap();
        let stdout = thread::spawn(move || std::io::read_to_string(&mut stdout).unwrap());
        Launcher {
            child,
            stdout,
            stderr,
        }
    }

    /// The one results file.
    fn results(&self) -> Value {
        let folder = self.kperf.path("results");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        let text = std::fs::read(files.remove(0)).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

fn read(stderr: ChildStderr) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut whole = String::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            whole.push_str(&line);
            whole.push('\n');
        }
        whole
    })
}

/// A launcher at work.
struct Launcher {
    child: Started,
    stdout: thread::JoinHandle<String>,
    stderr: thread::JoinHandle<String>,
}

impl Launcher {
    fn signal(&self) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).unwrap();
    }

    /// Waits for its end; standard output and error.
    #[track_caller]
    fn end(mut self, code: i32) -> (String, String) {
        let status = wait(&mut self.child, NOT_HANGING);
        let (stdout, stderr) = (self.stdout.join().unwrap(), self.stderr.join().unwrap());
        let code_there = status.expect("an end in time").code();
        assert_eq!(
            code_there,
            Some(code),
            "exit code\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---"
        );
        (stdout, stderr)
    }
}

/// How many results have a state, by its number.
fn count(results: &Value, status: i64) -> usize {
    let results = results["results"].as_array().unwrap();
    results
        .iter()
        .filter(|result| result["task"]["status"] == status)
        .count()
}

/// Client, server, path of every result.
fn keys(results: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut keys: Vec<_> = results["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            let task = &result["task"];
            (
                text(&task["client"]["worker"]),
                text(&task["server"]["worker"]),
                text(&result["path"]),
            )
        })
        .collect();
    keys.sort();
    keys
}
