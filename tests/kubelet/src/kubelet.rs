//! What tests hold, and the thread that gives every pod its own.

use std::{
    collections::HashMap,
    fs,
    net::Ipv4Addr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use kperf_control_plane::{Client, ControlPlane, ProcessGroup};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    address::Block,
    api,
    node::{self, Node, Nodes},
    pod,
    watch::{self, Event},
};

/// Between two signs of life of the nodes.
const RENEWAL: Duration = Duration::from_secs(10);
/// How often threads look whether they are to end.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// Runs the pods of its nodes; their processes end with the value, and also with the process of the test.
#[derive(Debug)]
pub struct Kubelet {
    shared: Arc<Shared>,
    nodes: Vec<Node>,
    events: Sender<Event>,
    thread: Option<JoinHandle<()>>,
}

/// What the threads of a kubelet share. Its folder goes when the last one does.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) client: Client,
    /// URL of the API server.
    pub(crate) url: String,
    pub(crate) block: Block,
    pub(crate) stop: AtomicBool,
    /// Removes the folder when the process of the test is killed.
    _guardian: ProcessGroup,
    folder: TempDir,
}

impl Shared {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Where the programs that every image has are.
    pub(crate) fn programs(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// A folder for what a pod needs as long as it is there.
    pub(crate) fn pod_folder(&self, uid: &str) -> PathBuf {
        self.folder.path().join("pods").join(uid)
    }

    pub(crate) fn log_file(&self, namespace: &str, pod: &str, container: &str) -> PathBuf {
        let folder = self.folder.path().join("logs");
        folder
            .join(namespace)
            .join(pod)
            .join(format!("{container}.log"))
    }
}

impl Kubelet {
    /// Registers the nodes, waits until they can be used, and begins to run what is bound to them. Needs a controller
    /// manager.
    ///
    /// # Errors
    /// An existing cluster (its nodes are real), or the nodes cannot be registered or do not get usable.
    pub fn start(plane: &ControlPlane, nodes: Nodes) -> anyhow::Result<Self> {
        ensure!(
            !plane.is_external(),
            "an existing cluster has kubelets of its own"
        );
        let folder = tempfile::Builder::new().prefix("kubelet-").tempdir()?;
        let shared = Arc::new(Shared {
            client: Client::from_kubeconfig(&plane.kubeconfig())?,
            url: plane.url().to_owned(),
            block: Block::take()?,
            stop: AtomicBool::new(false),
            _guardian: ProcessGroup::start(folder.path())?,
            folder,
        });
        fs::create_dir_all(shared.programs())?;
        for (name, path) in &nodes.programs {
            symlink(path, shared.programs().join(name))
                .with_context(|| format!("installing {name}"))?;
        }
        let registered = node::register(&shared.client, &nodes, &shared.block)?;
        node::until_usable(&shared.client, &registered)?;
        let (events, inbox) = mpsc::channel();
        let for_watch = Arc::clone(&shared);
        // Not waited for: it ends at the end of its present watch at the latest, and has no processes.
        let for_kubelet = events.clone();
        thread::spawn(move || watch::follow(&for_watch, &events));
        let mut dispatcher = Dispatcher {
            shared: Arc::clone(&shared),
            nodes: registered.clone(),
            pods: HashMap::new(),
        };
        let thread = thread::spawn(move || dispatcher.run(&inbox));
        Ok(Self {
            shared,
            nodes: registered,
            events: for_kubelet,
            thread: Some(thread),
        })
    }

    /// Names of its nodes.
    #[must_use]
    pub fn node_names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }

    /// All addresses that its pods may get, for certificates: names of services become these.
    #[must_use]
    pub fn pod_addresses(&self) -> Vec<Ipv4Addr> {
        self.shared.block.of_pods()
    }

    /// What a container has written to its standard output and error so far, over all its starts and those of its
    /// namesakes.
    ///
    /// # Errors
    /// It was never started.
    pub fn log(&self, namespace: &str, pod: &str, container: &str) -> anyhow::Result<String> {
        let path = self.shared.log_file(namespace, pod, container);
        let bytes = fs::read(path)
            .with_context(|| format!("{namespace}/{pod} has no log of {container:?}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Kills the containers of a pod without a word, as when memory runs out; the pod's restart policy holds.
    pub fn crash(&self, namespace: &str, pod: &str) {
        let name = (namespace.to_owned(), pod.to_owned());
        // Without its thread there is nothing to kill.
        self.events.send(Event::Crash(name)).ok();
    }

    /// Where it keeps logs and volumes.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.shared.folder.path()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// What a pod is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// To end within the grace.
    Terminate(Duration),
    /// It is no longer there.
    Kill,
    /// Its containers die.
    Crash,
}

struct Running {
    /// Namespace and name.
    name: (String, String),
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

struct Dispatcher {
    shared: Arc<Shared>,
    nodes: Vec<Node>,
    /// By uid.
    pods: HashMap<String, Running>,
}

impl Dispatcher {
    fn run(&mut self, inbox: &Receiver<Event>) {
        let mut renewed = Instant::now();
        while !self.shared.is_stopped() {
            match inbox.recv_timeout(TICK) {
                Ok(Event::Listed(pods)) => self.listed(&pods),
                Ok(Event::Changed(pod)) => self.changed(&pod),
                Ok(Event::Gone(pod)) => self.order(uid(&pod), Order::Kill),
                Ok(Event::Crash(name)) => {
                    for pod in self.pods.values().filter(|pod| pod.name == name) {
                        pod.orders.send(Order::Crash).ok();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.pods.retain(|_, pod| !pod.thread.is_finished());
            if renewed.elapsed() >= RENEWAL {
                renewed = Instant::now();
                if let Err(why) = node::renew(&self.shared.client, &self.nodes) {
                    eprintln!("kubelet: renewing leases: {why:#}");
                }
            }
        }
        for (_, pod) in self.pods.drain() {
            drop(pod.orders);
            pod.thread.join().ok();
        }
    }

    fn listed(&mut self, pods: &[Value]) {
        for known in self.pods.keys() {
            if !pods.iter().any(|pod| uid(pod) == known) {
                self.order(known, Order::Kill);
            }
        }
        for pod in pods {
            self.changed(pod);
        }
    }

    fn changed(&mut self, pod: &Value) {
        let name = api::text(&pod["spec"]["nodeName"]);
        let Some(node) = self.nodes.iter().find(|node| node.name == name) else {
            return;
        };
        if !self.pods.contains_key(uid(pod)) {
            let running = self.run_pod(pod, node.address);
            self.pods.insert(uid(pod).to_owned(), running);
        }
        if pod["metadata"]["deletionTimestamp"].is_string() {
            let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_u64();
            let grace = Duration::from_secs(grace.unwrap_or_default());
            self.order(uid(pod), Order::Terminate(grace));
        }
    }

    fn run_pod(&self, pod: &Value, node: Ipv4Addr) -> Running {
        let (orders, inbox) = mpsc::channel();
        let (shared, pod) = (Arc::clone(&self.shared), pod.clone());
        let text = |key: &str| api::text(&pod["metadata"][key]).to_owned();
        let name = (text("namespace"), text("name"));
        let thread = thread::spawn(move || pod::live(&shared, pod, node, &inbox));
        Running {
            name,
            orders,
            thread,
        }
    }

    fn order(&self, uid: &str, order: Order) {
        if let Some(pod) = self.pods.get(uid) {
            pod.orders.send(order).ok();
        }
    }
}

fn uid(pod: &Value) -> &str {
    api::text(&pod["metadata"]["uid"])
}
