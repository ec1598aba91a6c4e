//! Node pools, sets of objects, warm-ups, and scenarios whose load comes from runners, by the commands that users type: on the simulator, and on a real control
//! plane with real kwok. Without one (see the README), those tests say in a line that they were skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod data;
mod real;
mod runners;
mod simulator;
mod warmup;

use kperf_tests::{Kperf, Ran};
use serde_json::Value;

/// A user at a cluster.
struct User<'a> {
    kperf: &'a Kperf,
    kubeconfig: &'a str,
}

impl User<'_> {
    /// Types `kperf-host WORDS --kubeconfig …`.
    #[track_caller]
    fn types(&self, words: &str) -> Ran {
        let mut words: Vec<&str> = words.split_whitespace().collect();
        words.extend(["--kubeconfig", self.kubeconfig]);
        self.kperf.run(&words)
    }

    /// The same for lists, as programs read them.
    #[track_caller]
    fn reads(&self, words: &str) -> Value {
        let ran = self.types(&format!("{words} --output json")).expect(0);
        serde_json::from_str(&ran.stdout).expect("JSON")
    }
}
