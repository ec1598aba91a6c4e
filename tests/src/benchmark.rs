//! What tests of benchmarks ask of a run.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "support code of tests: a failure here is a failed test"
)]

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Kperf, Ran, build_plugin, repository};

impl Ran {
    /// The run's id, as the first line of a benchmark says it.
    #[must_use]
    #[track_caller]
    pub fn run_id(&self) -> String {
        let line = self.stderr.lines().find(|line| line.starts_with("run r"));
        line.and_then(|line| line.split([' ', ':']).nth(1))
            .unwrap_or_else(|| panic!("no run in\n{}", self.stderr))
            .to_owned()
    }
}

impl Kperf {
    /// Fails unless `cleanup` finds nothing of any run: no namespace, and of this one no object of any kind.
    #[track_caller]
    pub fn assert_clean(&self, kubeconfig: &str, run: Option<&str>) {
        let listed = self
            .run(&["cleanup", "--list", "--kubeconfig", kubeconfig])
            .expect(0);
        assert_eq!(listed.stdout, "", "left behind");
        if let Some(run) = run {
            self.run(&["cleanup", "--run", run, "--kubeconfig", kubeconfig])
                .expect(0)
                .says(&["nothing of it is there"]);
        }
    }

    /// The workload of the example `kubevirt-density` in the folder of this test, changed.
    pub fn density(&self, change: impl Fn(String) -> String) -> PathBuf {
        let example = repository().join("examples/workloads/kubevirt-density");
        let read = |path: &Path| std::fs::read_to_string(path).expect("a file of the example");
        std::fs::create_dir_all(self.path("templates")).expect("a folder");
        self.write(
            "templates/vmi-ephemeral.yaml",
            &read(&example.join("templates/vmi-ephemeral.yaml")),
        );
        self.write(
            "density.yaml",
            &change(read(&example.join("kubevirt-density.yaml"))),
        )
    }
}

/// A distribution of a report.
#[must_use]
#[track_caller]
pub fn distribution<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["distributions"].as_array().expect("distributions");
    let found = all.iter().find(|d| d["name"] == name);
    found.unwrap_or_else(|| panic!("no distribution {name} in {all:#?}"))
}

/// The benchmark that a stranger could have written.
#[must_use]
#[track_caller]
pub fn watch_propagation() -> PathBuf {
    build_plugin(
        &repository().join("examples/benchmark-third-party"),
        "watch_propagation",
    )
}
