//! A small kubelet for tests: it registers nodes with a real control plane, and runs the containers of their pods as
//! processes of this machine.
//!
//! `watch` brings the pods of all nodes → `kubelet` gives each one a thread → `pod` leads it through its life with
//! `volumes` (its files), `environment` (its variables), `container` (its processes) and tells the API server about
//! it with `status`. `node` keeps the nodes alive.
//!
//! ```no_run
//! use kperf_control_plane::{Component, ControlPlane, Options};
//! use kperf_kubelet::{Kubelet, Nodes};
//!
//! let options = Options::api_server()
//!     .with(Component::ControllerManager)
//!     .with(Component::Scheduler)
//!     .own();
//! let Some(plane) = ControlPlane::start_or_skip("pods are processes", options)? else {
//!     return Ok(());
//! };
//! let kubelet = Kubelet::start(&plane, Nodes::new(2).label("node-lifecycle", "on-demand"))?;
//! println!("{}", kubelet.log("default", "hello", "app")?);
//! # anyhow::Ok(())
//! ```
//!
//! Images are not looked at: a container needs a `command`, and [`Nodes::program`] says what a name in it means. (An
//! image of a registry under `.invalid` cannot be pulled, as on a real node.) kwok must not run beside it, since it
//! plays the kubelet of every node there is.
//!
//! # What differs from containers
//!
//! Processes see the files, names and users of this machine, so that what a container would find at fixed places is
//! brought to it otherwise:
//!
//! | in a container | here |
//! | --- | --- |
//! | a volume at its `mountPath` | a folder elsewhere; the `mountPath` is replaced by it wherever it stands in command, arguments, variables and working directory as a path of its own or the beginning of one (`/etc/app`, `--tls=/etc/app/tls.crt`, `sh -c "cat /etc/app/x"`) |
//! | the service account's token, which clients look for in `/var/run/secrets` | as any volume, and in a kubeconfig that the variable `KUBECONFIG` names, unless the container has set that |
//! | cluster DNS | `NAME.NAMESPACE.svc` (and with `.cluster.local`) of a service with a selector is replaced by the address of a running pod, or of the pod itself if it is one of the service; the container starts when there is one |
//! | an address of its own | one of its own on loopback, 127.0.x.y; what listens on 0.0.0.0 listens on those of all pods |
//! | addresses of services | nobody answers: what goes by a name goes straight to the pod |
//! | root file system, user, capabilities, limits, probes, hooks | none; a container is ready when it runs |
//!
//! Logs are files, which outlive their pods ([`Kubelet::log`]); the API server cannot ask for them.

mod address;
mod api;
mod container;
mod environment;
mod kubelet;
mod names;
mod node;
mod paths;
mod pod;
mod status;
mod volumes;
mod watch;

pub use kubelet::Kubelet;
pub use node::Nodes;
