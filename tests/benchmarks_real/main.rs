//! Benchmarks on a real control plane: what they measure agrees with what others see there, and nothing of them is
//! left, however they end. Without one (see the README), each test says in a line that it was skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod density;
mod ends;
mod in_cluster;
mod pod_startup;
mod recorded;
mod scenario;

use std::sync::{Mutex, MutexGuard, PoisonError};

use kperf_control_plane::{ControlPlane, Options};

/// One control plane for all, used by one test at a time: a run is looked for in the whole cluster.
static PLANE: Mutex<Option<ControlPlane>> = Mutex::new(None);

/// The control plane with virtual nodes and KubeVirt's kinds; none when there is no way to start one.
fn plane(what: &str) -> Option<Plane> {
    let mut plane = PLANE.lock().unwrap_or_else(PoisonError::into_inner);
    if plane.is_none() {
        let options = Options::full().nodes(2).kubevirt().own();
        *plane = ControlPlane::start_or_skip(what, options).unwrap();
    }
    plane.is_some().then_some(Plane(plane))
}

struct Plane(MutexGuard<'static, Option<ControlPlane>>);

impl Plane {
    fn get(&mut self) -> &mut ControlPlane {
        self.0.as_mut().expect("a control plane")
    }

    fn kubeconfig(&mut self) -> String {
        let path = self.get().kubeconfig();
        path.to_str().unwrap().to_owned()
    }

    /// Nothing of any run, by the API's own word.
    #[track_caller]
    fn assert_nothing_labelled(&mut self) {
        let client = self.get().client().unwrap();
        for resource in [
            "/api/v1/namespaces",
            "/api/v1/configmaps",
            "/api/v1/pods",
            "/apis/apps/v1/deployments",
            "/apis/kubevirt.io/v1/virtualmachineinstances",
        ] {
            let path = format!("{resource}?labelSelector=kperf-host.io%2Frun");
            let left = client.get(&path).unwrap().success().unwrap().json();
            assert_eq!(left["items"].as_array().unwrap().len(), 0, "{left:#}");
        }
    }
}
