//! Completions and manual pages, from the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::process::Command;

use kperf_tests::kperf;

/// Names of the subcommands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| {
            let name = line.strip_prefix("  ")?;
            let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
            begins.then(|| name.split_whitespace().next().unwrap().to_owned())
        })
        .filter(|name| name != "help")
        .collect()
}

#[test]
fn every_command_has_a_manual_page() {
    let kperf = kperf!();
    kperf.run(&["man", "pages"]).expect(0);
    let mut open = vec![Vec::<String>::new()];
    let mut seen = 0;
    while let Some(path) = open.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = kperf.run(&arguments).expect(0).stdout;
        let name = std::iter::once("kperf-host")
            .chain(path.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join("-");
        let page = kperf.path(&format!("pages/{name}.1"));
        let page = std::fs::read_to_string(&page).unwrap_or_else(|_| panic!("no page {name}.1"));
        assert!(
            page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"),
            "{name}"
        );
        seen += 1;
        open.extend(subcommands(&help).into_iter().map(|one| {
            let mut path = path.clone();
            path.push(one);
            path
        }));
    }
    assert!(seen > 10, "{seen} commands");
    let first = kperf.run(&["man"]).expect(0).stdout;
    assert!(
        first.contains("Exit codes") && first.contains("kperf\\-host"),
        "{first}"
    );
}

#[test]
fn shells_take_their_completions() {
    let kperf = kperf!();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = kperf.run(&["completions", shell]).expect(0).stdout;
        assert!(
            text.contains("kperf-host") && text.contains("merge"),
            "{shell}"
        );
        if shell == "bash" {
            let file = kperf.write("completions.bash", &text);
            let checked = Command::new("bash").arg("-n").arg(&file).output().unwrap();
            assert!(
                checked.status.success(),
                "{}",
                String::from_utf8_lossy(&checked.stderr)
            );
            // What a user gets who presses Tab.
            let function = text
                .split_whitespace()
                .skip_while(|word| *word != "-F")
                .nth(1)
                .unwrap();
            let script = format!(
                ". {} && COMP_WORDS=(kperf-host mer) COMP_CWORD=1 && {function} kperf-host mer kperf-host && \
                 echo \"${{COMPREPLY[@]}}\"",
                file.display()
            );
            let offered = Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(
                String::from_utf8_lossy(&offered.stdout).trim(),
                "merge",
                "{offered:?}"
            );
        }
    }
    kperf
        .run(&["completions", "tcsh"])
        .expect(2)
        .says(&["bash, elvish, fish"]);
}
