//! The life of one pod, on a thread of its own.

use std::{
    fs,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    api::{self, Patch},
    container::{Container, Invocation},
    environment::{self, Variables},
    kubelet::{Order, Shared, TICK},
    names,
    status::{self, Place},
    volumes::{self, Volumes},
};

/// Before something that was not there is looked for again.
const RETRY: Duration = Duration::from_millis(200);
/// Where clients look for the token of their service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const LIMIT_OF_GRACE: Duration = Duration::from_secs(3600);

/// Runs a pod until it is deleted.
pub(crate) fn live(shared: &Arc<Shared>, pod: Value, node: Ipv4Addr, orders: &Receiver<Order>) {
    let own_network = pod["spec"]["hostNetwork"] != true;
    let address = if own_network {
        shared.block.take_pod()
    } else {
        Some(node)
    };
    let Some(address) = address else {
        eprintln!(
            "kubelet: no address is left for {}",
            pod["metadata"]["name"]
        );
        return;
    };
    let mut pod = Pod::new(shared, pod, node, address);
    pod.run(orders);
    pod.end();
    if own_network {
        shared.block.give_back(address);
    }
}

struct Pod<'a> {
    shared: &'a Shared,
    object: Value,
    place: Place,
    folder: PathBuf,
    volumes: Option<Volumes>,
    init: Vec<Container>,
    main: Vec<Container>,
    /// What was told last.
    told: Value,
    /// It was over before it was seen here: there is nothing to run and nothing to tell.
    was_over: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Look again after a while.
    Wait(Duration),
    /// Wait for the deletion.
    Over,
}

impl<'a> Pod<'a> {
    fn new(shared: &'a Shared, mut object: Value, node: Ipv4Addr, address: Ipv4Addr) -> Self {
        object["status"]["podIP"] = json!(address);
        object["status"]["hostIP"] = json!(node);
        let containers = |key: &str| {
            api::list(&object["spec"][key])
                .iter()
                .map(Container::new)
                .collect()
        };
        Self {
            shared,
            place: Place {
                node,
                pod: address,
                started: api::now(),
            },
            folder: shared.pod_folder(api::text(&object["metadata"]["uid"])),
            volumes: None,
            init: containers("initContainers"),
            main: containers("containers"),
            told: Value::Null,
            was_over: matches!(
                api::text(&object["status"]["phase"]),
                "Succeeded" | "Failed"
            ),
            object,
        }
    }

    fn name(&self) -> (&str, &str) {
        let metadata = &self.object["metadata"];
        (
            api::text(&metadata["namespace"]),
            api::text(&metadata["name"]),
        )
    }

    fn path(&self) -> String {
        let (namespace, name) = self.name();
        format!("/api/v1/namespaces/{namespace}/pods/{name}")
    }

    fn policy(&self) -> &str {
        self.object["spec"]["restartPolicy"]
            .as_str()
            .unwrap_or("Always")
    }

    fn run(&mut self, orders: &Receiver<Order>) {
        let mut over = self.was_over;
        loop {
            let pause = if over {
                TICK * 5
            } else {
                match self.step() {
                    Step::Wait(pause) => pause,
                    Step::Over => {
                        over = true;
                        TICK
                    }
                }
            };
            if self.shared.is_stopped() {
                return;
            }
            match orders.recv_timeout(pause) {
                Ok(Order::Terminate(grace)) => return self.terminate(grace, orders),
                Ok(Order::Kill) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Order::Crash) => self.containers().for_each(Container::kill),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn step(&mut self) -> Step {
        if let Err(why) = self.prepare() {
            for container in self.init.iter_mut().chain(&mut self.main) {
                container.waits("ContainerCreating", format!("{why:#}"));
            }
            self.tell();
            return Step::Wait(RETRY);
        }
        let mut pause = TICK;
        for index in 0..self.init.len() {
            pause = pause.max(self.lead(Which::Init(index)));
            let is_done = self.init[index].exit().is_some_and(|exit| exit.code == 0);
            if !is_done {
                return self.told_step(pause);
            }
        }
        for index in 0..self.main.len() {
            pause = pause.max(self.lead(Which::Main(index)));
        }
        self.told_step(pause)
    }

    fn told_step(&mut self, pause: Duration) -> Step {
        self.tell();
        match status::phase(&self.init, &self.main, self.policy()) {
            "Succeeded" | "Failed" if self.told != Value::Null => Step::Over,
            _ => Step::Wait(pause),
        }
    }

    /// Starts a container, looks at it, has it restarted.
    fn lead(&mut self, which: Which) -> Duration {
        let policy = self.policy().to_owned();
        let invocation = {
            let container = self.container(which);
            container.look();
            if container.is_running() {
                return TICK;
            }
            if let Some(exit) = container.exit() {
                let again = match policy.as_str() {
                    "Never" => false,
                    "OnFailure" => exit.code != 0,
                    // An init container that is done stays so.
                    _ => exit.code != 0 || matches!(which, Which::Main(_)),
                };
                if again {
                    container.restart_later();
                }
                return TICK;
            }
            if container.not_before.is_some_and(|at| at > Instant::now()) {
                return TICK;
            }
            if let Some((reason, message)) = container.cannot_start() {
                container.waits(reason, message);
                return RETRY;
            }
            let spec = container.spec.clone();
            self.invocation(&spec)
        };
        match invocation {
            Ok(invocation) => {
                let (namespace, name) = self.name();
                let log = self
                    .shared
                    .log_file(namespace, name, self.container_ref(which).name());
                let folder = self.folder.clone();
                self.container(which).start(&invocation, &log, &folder);
                TICK
            }
            Err(why) => {
                let message = format!("{why:#}");
                self.container(which)
                    .waits("CreateContainerConfigError", message);
                RETRY
            }
        }
    }

    fn container(&mut self, which: Which) -> &mut Container {
        match which {
            Which::Init(index) => &mut self.init[index],
            Which::Main(index) => &mut self.main[index],
        }
    }

    fn container_ref(&self, which: Which) -> &Container {
        match which {
            Which::Init(index) => &self.init[index],
            Which::Main(index) => &self.main[index],
        }
    }

    fn prepare(&mut self) -> anyhow::Result<()> {
        if self.volumes.is_none() {
            let folder = self.folder.join("volumes");
            fs::create_dir_all(&folder)?;
            self.volumes = Some(volumes::make(&self.shared.client, &self.object, &folder)?);
        }
        Ok(())
    }

    /// Looks everything up that a container's command needs.
    fn invocation(&self, container: &Value) -> anyhow::Result<Invocation> {
        let client = &self.shared.client;
        let volumes = self.volumes.as_ref().context("no volumes")?;
        let mounts = volumes::mounts(container, volumes)?;
        let mut given = self.given();
        if let Some(account) = mounts.real(SERVICE_ACCOUNT) {
            let kubeconfig = self.folder.join("kubeconfig");
            fs::write(&kubeconfig, self.kubeconfig(&account))?;
            given.insert("KUBECONFIG".to_owned(), kubeconfig.display().to_string());
        }
        let variables = environment::variables(client, &self.object, container, given)?;
        let here = |text: &str| names::resolve(client, &self.object, &mounts.rewrite(text));
        let words = ["command", "args"]
            .into_iter()
            .flat_map(|key| api::list(&container[key]))
            .map(|word| here(&environment::expand(api::text(word), &variables)))
            .collect::<anyhow::Result<_>>()?;
        // Only what the manifest says is about the container; what is given here is about this machine.
        let given = self.given();
        let variables = variables
            .iter()
            .map(|(name, value)| {
                let is_given = given.get(name) == Some(value) || name == "KUBECONFIG";
                let value = if is_given {
                    value.clone()
                } else {
                    here(value)?
                };
                Ok((name.clone(), value))
            })
            .collect::<anyhow::Result<_>>()?;
        let working_folder = match container["workingDir"].as_str() {
            Some(path) => mounts.real(path).unwrap_or_else(|| path.into()),
            None => self.folder.clone(),
        };
        Ok(Invocation {
            words,
            variables,
            working_folder,
        })
    }

    /// Variables that every container has.
    fn given(&self) -> Variables {
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", self.shared.programs().display());
        let server = self.shared.url.trim_start_matches("https://");
        let (host, port) = server.rsplit_once(':').unwrap_or((server, "443"));
        [
            ("PATH", path.as_str()),
            ("HOME", "/"),
            ("HOSTNAME", self.name().1),
            ("KUBERNETES_SERVICE_HOST", host),
            ("KUBERNETES_SERVICE_PORT", port),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn kubeconfig(&self, account: &std::path::Path) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "pod",
            "clusters": [{"name": "pod", "cluster": {
                "server": self.shared.url,
                "certificate-authority": account.join("ca.crt"),
            }}],
            "users": [{"name": "pod", "user": {"tokenFile": account.join("token")}}],
            "contexts": [{"name": "pod", "context": {
                "cluster": "pod", "user": "pod", "namespace": self.name().0,
            }}],
        })
        .to_string()
    }

    /// Tells the API server, if there is something new. What could not be told is told with the next step.
    fn tell(&mut self) {
        let phase = status::phase(&self.init, &self.main, self.policy());
        let status = status::status(&self.place, &self.init, &self.main, phase);
        // The times of conditions differ always.
        let mut news = status.clone();
        news["status"]["conditions"] = Value::Null;
        if news == self.told || self.was_over {
            return;
        }
        let path = format!("{}/status", self.path());
        let told = api::patch(&self.shared.client, &path, Patch::Strategic, &status)
            .and_then(kperf_control_plane::Answer::success);
        match told {
            Ok(_) => self.told = news,
            Err(why) => {
                self.told = Value::Null;
                eprintln!("kubelet: status of {:?}: {why:#}", self.name());
            }
        }
    }

    /// TERM, the grace, KILL, and the news that the pod is no longer.
    fn terminate(&mut self, grace: Duration, orders: &Receiver<Order>) {
        let mut end = Instant::now() + grace.min(LIMIT_OF_GRACE);
        for container in self.containers() {
            container.terminate();
        }
        loop {
            for container in self.containers() {
                container.look();
            }
            let is_running = self.containers().any(|container| container.is_running());
            if !is_running || Instant::now() >= end || self.shared.is_stopped() {
                break;
            }
            match orders.recv_timeout(TICK) {
                // A second deletion may shorten the grace.
                Ok(Order::Terminate(grace)) => {
                    end = end.min(Instant::now() + grace.min(LIMIT_OF_GRACE))
                }
                Ok(Order::Kill) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Order::Crash) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
        for container in self.containers() {
            container.kill();
        }
        while !self.shared.is_stopped() {
            self.tell();
            let options = json!({
                "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0,
                "preconditions": {"uid": self.object["metadata"]["uid"]},
            });
            match api::delete(&self.shared.client, &self.path(), &options) {
                // Another pod has its name by now.
                Ok(answer) if matches!(answer.status, 404 | 409) => return,
                Ok(answer) if answer.status < 300 => return,
                Ok(answer) => eprintln!("kubelet: deleting {:?}: {}", self.name(), answer.text),
                Err(why) => eprintln!("kubelet: deleting {:?}: {why:#}", self.name()),
            }
            if orders.recv_timeout(RETRY) == Ok(Order::Kill) {
                return;
            }
        }
    }

    fn containers(&mut self) -> impl Iterator<Item = &mut Container> {
        self.init.iter_mut().chain(&mut self.main)
    }

    /// Ends what still runs, and removes the volumes.
    fn end(&mut self) {
        for container in self.containers() {
            container.kill();
        }
        fs::remove_dir_all(&self.folder).ok();
    }
}

#[derive(Clone, Copy, Debug)]
enum Which {
    Init(usize),
    Main(usize),
}
