//! The recipe of the images agrees with what the orchestrator asks of workers. Nothing is built here.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests"
)]

use std::{fs, path::Path};

use kperf_network::PROGRAMS;

/// A stage: the image it begins with, its name, its instructions.
struct Stage {
    base: String,
    name: String,
    instructions: Vec<String>,
}

/// Instructions with continued lines joined and comments left out.
fn stages() -> (Vec<String>, Vec<Stage>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/Containerfile");
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty())
        .collect();
    let (mut before, mut stages) = (Vec::new(), Vec::<Stage>::new());
    let mut whole = String::new();
    for line in lines {
        if let Some(continued) = line.strip_suffix('\\') {
            whole.push_str(continued);
            continue;
        }
        whole.push_str(line);
        let instruction = whole.split_whitespace().collect::<Vec<_>>().join(" ");
        whole.clear();
        let words: Vec<&str> = instruction.split(' ').collect();
        match (words.as_slice(), stages.last_mut()) {
            (["FROM", base, "AS", name], _) => stages.push(Stage {
                base: (*base).to_owned(),
                name: (*name).to_owned(),
                instructions: Vec::new(),
            }),
            (_, Some(stage)) => stage.instructions.push(instruction),
            (_, None) => before.push(instruction),
        }
    }
    assert!(whole.is_empty(), "a line that goes on: {whole}");
    (before, stages)
}

fn stage(name: &str) -> Stage {
    let (_, stages) = stages();
    let mut of_name = stages.into_iter().filter(|stage| stage.name == name);
    of_name.next().unwrap()
}

impl Stage {
    /// Debian packages it installs, also those of a condition.
    fn packages(&self) -> Vec<String> {
        let commands = self.instructions.iter().flat_map(|line| line.split("&&"));
        commands
            .filter_map(|command| command.split_once("apt-get install"))
            .flat_map(|(_, packages)| packages.split(';').next().unwrap().split(' '))
            .filter(|word| !word.is_empty() && !word.starts_with('-'))
            .map(str::to_owned)
            .collect()
    }

    /// Files that are copied from another stage, with that stage's name.
    fn copied(&self) -> Vec<(String, String)> {
        let from = |line: &String| {
            let (stage, rest) = line.strip_prefix("COPY --from=")?.split_once(' ')?;
            let (_, to) = rest.rsplit_once(' ')?;
            Some((stage.to_owned(), to.to_owned()))
        };
        self.instructions.iter().filter_map(from).collect()
    }
}

#[test]
fn the_worker_has_every_program_it_may_run() {
    let worker = stage("worker");
    let (packages, copied) = (worker.packages(), worker.copied());
    for program in PROGRAMS {
        let package = match program {
            "netserver" => "netperf",
            other => other,
        };
        let is_copied = copied
            .iter()
            .any(|(_, to)| *to == format!("/usr/local/bin/{program}"));
        assert!(
            is_copied || packages.iter().any(|name| name == package),
            "{program} is in neither {packages:?} nor {copied:?}"
        );
    }
    // What is copied is made in that stage.
    for (name, to) in worker
        .copied()
        .iter()
        .chain(&stage("orchestrator").copied())
    {
        let program = to.rsplit('/').next().unwrap();
        let made = stage(name).instructions.join("\n");
        let installed = made.contains(&format!("/out/{program}"))
            || made.contains("GOBIN=/out") && made.contains(&format!("/{program}@"));
        assert!(installed, "{program} of {name}: {made}");
    }
}

#[test]
fn images_are_of_one_release_and_run_as_nobody() {
    for name in ["orchestrator", "worker"] {
        let stage = stage(name);
        assert_eq!(stage.base, "docker.io/library/debian:bookworm-slim");
        let last = |keyword: &str| {
            let of = |line: &&String| line.starts_with(keyword);
            stage.instructions.iter().rfind(of).unwrap().clone()
        };
        // The user of the pods that the launcher makes.
        assert_eq!(last("USER"), "USER 65532:65532", "{name}");
        assert_eq!(last("ENTRYPOINT"), "ENTRYPOINT [\"kperf-host\"]", "{name}");
    }
}

#[test]
fn the_build_has_the_toolchain_and_the_whole_workspace() {
    let (before, _) = stages();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let value = |key: &str| {
        let line = manifest.lines().find(|line| line.starts_with(key)).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    let version = format!("ARG RUST_VERSION={}", value("rust-version"));
    assert!(before.contains(&version), "{before:?} lacks {version}");
    let build = stage("build").instructions;
    let members = manifest
        .split_once("members = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .unwrap()
        .0;
    for member in members.split('"').skip(1).step_by(2) {
        let top = member.split('/').next().unwrap();
        let copy = format!("COPY {top} {top}");
        assert!(build.contains(&copy), "{member}: {build:?}");
    }
}
