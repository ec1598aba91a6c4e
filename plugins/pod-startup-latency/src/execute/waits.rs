//! `WaitForRunningPods`.

use kperf_sdk::benchmark::prelude::*;

use super::Trouble;
use super::follow::Followed;
use crate::cl2::calls::Selector;
use crate::pods::{CAPTURES, PodStates, READY};

/// The tracker is asked at least this often; it costs the cluster nothing.
const MAX_PAUSE_NS: u64 = 500_000_000;

/// Waits until exactly `desired` pods run and are ready.
pub(super) fn running_pods(
    place: &str,
    selector: &Selector,
    test_namespaces: &[String],
    desired: u32,
    timeout_ns: u64,
    refresh_ns: u64,
) -> Result<(), Trouble> {
    let pods = Followed::start(selector, test_namespaces, |scope| {
        let options = TrackerOptions::new("WaitForRunningPods", Kind::new("v1", "Pod"), scope)
            .milestone(
                Milestone::new(READY)
                    .when(Check::equals("/status/phase", "Running"))
                    .when(Check::condition("Ready")),
            )
            .milestone(Milestone::new("deleted").on_deletion());
        CAPTURES.into_iter().fold(options, TrackerOptions::capture)
    })?;
    let deadline_ns = run::now_ns().saturating_add(timeout_ns);
    let pause_ms = refresh_ns.min(MAX_PAUSE_NS).div_ceil(1_000_000).max(1);
    loop {
        let reached = pods.reached(READY);
        run::progress(place, reached, u64::from(desired));
        let late = run::now_ns() >= deadline_ns;
        // Reading every pod is worth it only when there may be enough of them.
        if reached >= u64::from(desired) || late {
            let mut states = PodStates::default();
            pods.for_each(|pod| states.add(pod));
            if states.are_exactly(desired) {
                pods.stop();
                return Ok(());
            }
            if late {
                pods.stop();
                return Err(Trouble::Step(format!(
                    "timed out; pods: {}",
                    states.describe(desired)
                )));
            }
        }
        run::sleep(pause_ms)?;
    }
}
