//! A control plane of our own, from its first process to its last.

use std::{
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;

use crate::{
    Client, Component, Options, Programs, arguments, files::Files, group::ProcessGroup, kubevirt,
    nodes, port::Port, process::Process,
};

/// The administrator: his user, and the group that may do everything.
const ADMIN: &str = "kubernetes-admin";
const MASTERS: &str = "system:masters";

/// How often another port is tried when a foreign process was quicker.
const ATTEMPTS: usize = 5;

/// How long the API server may take to end when asked to; then it is killed.
const GRACE: Duration = Duration::from_secs(15);

/// Fields are dropped in this order: processes, then whatever else is in their group, then their files.
pub(crate) struct Running {
    processes: Vec<Process>,
    group: ProcessGroup,
    pub(crate) files: Files,
    pub(crate) client: Client,
    pub(crate) url: String,
    options: Options,
    programs: Programs,
    etcd_port: Port,
    port: Port,
    /// Held as long as kwok runs.
    kubelet_port: Option<Port>,
}

impl Running {
    /// Starts everything and waits until it can be used.
    pub(crate) fn start(programs: Programs, options: Options) -> anyhow::Result<Self> {
        let deadline = Instant::now() + options.deadline;
        let files = Files::create(options.kubevirt)?;
        let group = ProcessGroup::start(files.folder())?;
        let (etcd, etcd_port) = start_etcd(&programs, &files, &group, deadline)?;
        let (api_server, port, url, client) = {
            let api_server = |port: &Port| {
                let arguments =
                    arguments::api_server(&files, &options, etcd_port.number(), port.number());
                start(&programs, Component::ApiServer, &arguments, &files, &group)
            };
            start_api_server(&files, api_server, deadline)?
        };
        let mut running = Self {
            processes: vec![etcd, api_server],
            group,
            files,
            client,
            url,
            options,
            programs,
            etcd_port,
            port,
            kubelet_port: None,
        };
        running.start_others(deadline)?;
        Ok(running)
    }

    fn start_others(&mut self, deadline: Instant) -> anyhow::Result<()> {
        // A server that says it is ready may still have to make them.
        self.wait("system namespaces", deadline, has_system_namespaces)?;
        if self.options.kubevirt {
            kubevirt::create(&self.client)?;
            self.wait("kinds of KubeVirt", deadline, kubevirt::is_served)?;
        }
        let users: [(Component, &str, &[&str]); 3] = [
            (
                Component::ControllerManager,
                arguments::CONTROLLER_MANAGER_USER,
                &[],
            ),
            (Component::Scheduler, arguments::SCHEDULER_USER, &[]),
            (Component::Kwok, arguments::KWOK_USER, &[MASTERS]),
        ];
        for (component, user, groups) in users {
            if self.options.has(component) {
                self.files.write_kubeconfig(&self.url, user, groups)?;
                let arguments = match component {
                    Component::ControllerManager => arguments::controller_manager(&self.files),
                    Component::Scheduler => arguments::scheduler(&self.files),
                    _ => {
                        let port = Port::take()?;
                        let arguments = arguments::kwok(&self.files, port.number());
                        self.kubelet_port = Some(port);
                        arguments
                    }
                };
                let process = start(
                    &self.programs,
                    component,
                    &arguments,
                    &self.files,
                    &self.group,
                )?;
                self.processes.push(process);
            }
        }
        if self.options.has(Component::ControllerManager) {
            // Until then, no pod is admitted.
            let account = "/api/v1/namespaces/default/serviceaccounts/default";
            self.wait("the default service account", deadline, |client| {
                Ok(client.get(account)?.status == 200)
            })?;
        }
        if self.options.nodes > 0 {
            let count = self.options.nodes;
            nodes::create(&self.client, count)?;
            self.wait("ready virtual nodes", deadline, |client| {
                Ok(nodes::ready(client)? >= usize::try_from(count)?)
            })?;
        }
        let seed = self.options.seed;
        seed.create(&self.client, self.options.nodes)?;
        if self.options.has(Component::Kwok) {
            self.wait("running pods", deadline, |client| seed.is_running(client))?;
        }
        Ok(())
    }

    /// Waits until `ready` says so, while all components live.
    fn wait(
        &mut self,
        what: &str,
        deadline: Instant,
        ready: impl Fn(&Client) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        loop {
            let answer = ready(&self.client);
            if let Ok(true) = answer {
                return Ok(());
            }
            if let Some(process) = self.processes.iter_mut().find_map(ended) {
                bail!("{} ended:\n{}", process.component(), process.tail());
            }
            if Instant::now() >= deadline {
                let tails: Vec<String> = self
                    .processes
                    .iter()
                    .map(|process| format!("--- {}\n{}", process.component(), process.tail()))
                    .collect();
                let last = answer.map_or_else(|error| format!(" ({error:#})"), |_| String::new());
                bail!("no {what} in time{last}:\n{}", tails.join("\n"));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn position(&self, component: Component) -> anyhow::Result<usize> {
        self.processes
            .iter()
            .position(|process| process.component() == component)
            .with_context(|| format!("{component} is not running"))
    }

    pub(crate) fn signal(&self, component: Component, signal: Signal) -> anyhow::Result<()> {
        self.processes[self.position(component)?].signal(signal)
    }

    /// Stops a component in its tracks; [`Signal::SIGCONT`] lets it go on.
    pub(crate) fn pause(&self, component: Component) -> anyhow::Result<()> {
        self.processes[self.position(component)?].pause()
    }

    /// Takes a component out, to be stopped.
    fn take(&mut self, component: Component) -> anyhow::Result<Process> {
        let index = self.position(component)?;
        Ok(self.processes.remove(index))
    }

    /// Lets the API server end in its own way: it stops listening, and finishes what it is answering.
    pub(crate) fn stop_api_server(&mut self) -> anyhow::Result<()> {
        self.take(Component::ApiServer)?.stop(GRACE)
    }

    /// Kills the API server, as a crash would.
    pub(crate) fn kill_api_server(&mut self) -> anyhow::Result<()> {
        drop(self.take(Component::ApiServer)?);
        Ok(())
    }

    /// Starts the API server again, on its port.
    pub(crate) fn start_api_server(&mut self) -> anyhow::Result<()> {
        if self.position(Component::ApiServer).is_ok() {
            bail!("kube-apiserver is running");
        }
        let deadline = Instant::now() + self.options.deadline;
        let arguments = arguments::api_server(
            &self.files,
            &self.options,
            self.etcd_port.number(),
            self.port.number(),
        );
        let process = start(
            &self.programs,
            Component::ApiServer,
            &arguments,
            &self.files,
            &self.group,
        )?;
        self.processes.push(process);
        self.wait("ready API server", deadline, is_ready)
    }

    pub(crate) fn ids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::id).collect()
    }

    pub(crate) fn exited(&mut self) -> Option<Component> {
        let ended = self.processes.iter_mut().find_map(ended);
        ended.map(|process| process.component())
    }
}

fn start(
    programs: &Programs,
    component: Component,
    arguments: &[String],
    files: &Files,
    group: &ProcessGroup,
) -> anyhow::Result<Process> {
    let program = programs
        .get(component)
        .with_context(|| format!("no program for {component}"))?;
    Process::start(component, program, arguments, files.folder(), group)
}

fn start_etcd(
    programs: &Programs,
    files: &Files,
    group: &ProcessGroup,
    deadline: Instant,
) -> anyhow::Result<(Process, Port)> {
    for _ in 0..ATTEMPTS {
        let port = Port::take()?;
        let arguments = arguments::etcd(port.number());
        let mut process = start(programs, Component::Etcd, &arguments, files, group)?;
        let address = (Ipv4Addr::LOCALHOST, port.number());
        let listens = || TcpStream::connect(address).is_ok();
        if until_ready(&mut process, deadline, listens)? {
            return Ok((process, port));
        }
    }
    bail!("etcd lost its port {ATTEMPTS} times")
}

fn start_api_server(
    files: &Files,
    start: impl Fn(&Port) -> anyhow::Result<Process>,
    deadline: Instant,
) -> anyhow::Result<(Process, Port, String, Client)> {
    for _ in 0..ATTEMPTS {
        let port = Port::take()?;
        let url = format!("https://127.0.0.1:{}", port.number());
        let admin = files.target(&url, ADMIN, &[MASTERS])?;
        let client = Client::new(&admin)?;
        let mut process = start(&port)?;
        let ready = || is_ready(&client).unwrap_or(false);
        if until_ready(&mut process, deadline, ready)? {
            admin.write(&files.kubeconfig(ADMIN))?;
            return Ok((process, port, url, client));
        }
    }
    bail!("kube-apiserver lost its port {ATTEMPTS} times")
}

/// Waits for one process; false when it lost its port to another.
fn until_ready(
    process: &mut Process,
    deadline: Instant,
    ready: impl Fn() -> bool,
) -> anyhow::Result<bool> {
    loop {
        let answers = ready();
        // After the question: who answered could be another, and ours have ended.
        if let Some(status) = process.exited() {
            if process.lost_its_port() {
                return Ok(false);
            }
            bail!(
                "{} ended ({status}):\n{}",
                process.component(),
                process.tail()
            );
        }
        if answers {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            bail!(
                "{} not ready in time:\n{}",
                process.component(),
                process.tail()
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn is_ready(client: &Client) -> anyhow::Result<bool> {
    Ok(client.get("/readyz")?.status == 200)
}

fn has_system_namespaces(client: &Client) -> anyhow::Result<bool> {
    let list = client.get("/api/v1/namespaces")?.success()?.json();
    let namespaces = list["items"].as_array().into_iter().flatten();
    let names: Vec<_> = namespaces
        .filter_map(|namespace| namespace["metadata"]["name"].as_str())
        .collect();
    let all = ["default", "kube-node-lease", "kube-public", "kube-system"];
    Ok(all.iter().all(|name| names.contains(name)))
}

fn ended(process: &mut Process) -> Option<&Process> {
    process.exited().is_some().then_some(process)
}

/// The administrator's kubeconfig.
pub(crate) fn admin_kubeconfig(files: &Files) -> PathBuf {
    files.kubeconfig(ADMIN)
}
