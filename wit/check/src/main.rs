//! `kperf-wit-check RELEASED PRESENT`: exit 0 when PRESENT keeps the promises of every release below
//! RELEASED, 1 with a line per broken one, 2 when a directory cannot be read.
//!
//! RELEASED is the folder of releases (`wit/released`, one folder each) or one release.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::{env, fs, path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let arguments = env::args_os()
        .skip(1)
        .map(PathBuf::from)
        .collect::<Vec<_>>();
    let [released, present] = arguments.as_slice() else {
        eprintln!("usage: kperf-wit-check RELEASED PRESENT");
        return ExitCode::from(2);
    };
    let releases = match releases(released) {
        Ok(releases) => releases,
        Err(error) => {
            eprintln!("{}: {error}", released.display());
            return ExitCode::from(2);
        }
    };
    if releases.is_empty() {
        println!(
            "{}: nothing is released yet, so nothing can break",
            released.display()
        );
        return ExitCode::SUCCESS;
    }
    let mut broken = false;
    for release in releases {
        match kperf_wit_check::check(&release, present) {
            Ok(findings) => {
                for finding in &findings {
                    println!("{}: {finding}", release.display());
                }
                broken |= !findings.is_empty();
            }
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        }
    }
    if broken {
        println!("see wit/VERSIONING.md");
        return ExitCode::FAILURE;
    }
    println!("{}: compatible", present.display());
    ExitCode::SUCCESS
}

/// The releases in a folder: itself if it holds WIT, else its subfolders.
fn releases(folder: &PathBuf) -> std::io::Result<Vec<PathBuf>> {
    let mut subfolders = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wit") {
            return Ok(vec![folder.clone()]);
        }
        if path.is_dir() {
            subfolders.push(path);
        }
    }
    subfolders.sort();
    Ok(subfolders)
}
