//! Programs built from pinned Go modules: the control plane from the one beside this crate, and others.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use crate::{Component, cache::Cache};

/// A Go module whose programs are built once: the folder of its `go.mod`, the toolchain, and the cache of what was built.
#[derive(Debug)]
pub struct GoModule {
    folder: PathBuf,
    linker_flags: String,
    cache: Cache,
}

impl GoModule {
    /// Opens the module of the control plane; the error says in one line why it cannot be built here.
    pub(crate) fn open() -> Result<Self, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
        let module = read(&folder.join("go.mod"))?;
        let release = release(&module, "k8s.io/kubernetes")
            .ok_or("the Go module pins no k8s.io/kubernetes")?;
        Self::with_flags(&folder, release, linker_flags(release))
    }

    /// Opens the module in a folder; its programs are kept under a name.
    ///
    /// # Errors
    /// Says in one line why it cannot be built here.
    pub fn at(folder: &Path, name: &str) -> Result<Self, String> {
        Self::with_flags(folder, name, "-s -w".to_owned())
    }

    fn with_flags(folder: &Path, name: &str, linker_flags: String) -> Result<Self, String> {
        let module = read(&folder.join("go.mod"))?;
        let sums = read(&folder.join("go.sum"))?;
        let toolchain = toolchain(folder)?;

        let mut digest = Sha256::new();
        for part in [
            &module,
            &sums,
            &toolchain,
            &arguments(&linker_flags).join(" "),
        ] {
            digest.update(part);
            digest.update([0]);
        }
        let key: String = digest.finalize()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let cache = Cache::open(&format!("{name}-{key}"))
            .map_err(|error| format!("no cache for built programs: {error:#}"))?;
        Ok(Self {
            folder: folder.to_owned(),
            linker_flags,
            cache,
        })
    }

    /// The program of a component, built if the cache has none.
    pub(crate) fn program(&self, component: Component) -> anyhow::Result<PathBuf> {
        self.build_once(component.program(), component.package())
    }

    /// The program called `name` that a package of the module is, built if the cache has none.
    ///
    /// # Errors
    /// It cannot be built; the end of what Go said is in the message.
    pub fn build_once(&self, name: &str, package: &str) -> anyhow::Result<PathBuf> {
        self.cache
            .get_or_make(name, |path| self.build(name, package, path))
    }

    fn build(&self, name: &str, package: &str, path: &Path) -> anyhow::Result<()> {
        // Not with eprintln!, which tests capture: whoever waits for minutes shall see why.
        let mut stderr = io::stderr();
        writeln!(
            stderr,
            "building {name} from its Go module; only the first run does this, and it takes minutes"
        )
        .ok();
        let start = Instant::now();
        let output = go(&self.folder)
            .args(arguments(&self.linker_flags))
            .arg("-o")
            .arg(path)
            .arg(package)
            .output()
            .context("running go")?;
        if !output.status.success() {
            bail!(
                "building {name}: {}",
                last_lines(&String::from_utf8_lossy(&output.stderr))
            );
        }
        writeln!(
            stderr,
            "built {name} in {:.1} s",
            start.elapsed().as_secs_f64()
        )
        .ok();
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Go in the module's folder, for this machine and as the module says, whatever else is set.
fn go(folder: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(folder)
        .stdin(Stdio::null())
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env_remove("GOOS")
        .env_remove("GOARCH");
    go
}

fn toolchain(folder: &Path) -> Result<String, String> {
    let output = match go(folder).arg("version").output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err("`go` is not installed".to_owned());
        }
        Err(error) => return Err(format!("running `go version`: {error}")),
    };
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(format!(
            "`go version`: {}",
            last_lines(&String::from_utf8_lossy(&output.stderr))
        ))
    }
}

fn arguments(linker_flags: &str) -> Vec<String> {
    [
        "build",
        "-mod=readonly",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        linker_flags,
    ]
    .map(str::to_owned)
    .to_vec()
}

/// No symbols, and the release that `/version` and the user agents name: Kubernetes takes both from its linker.
fn linker_flags(release: &str) -> String {
    let mut numbers = release.trim_start_matches('v').split('.');
    let values = [
        ("gitVersion", release),
        ("gitMajor", numbers.next().unwrap_or_default()),
        ("gitMinor", numbers.next().unwrap_or_default()),
        ("gitTreeState", "clean"),
    ];
    let mut flags = "-s -w".to_owned();
    for package in [
        "k8s.io/component-base/version",
        "k8s.io/client-go/pkg/version",
    ] {
        for (name, value) in values {
            flags.push_str(&format!(" -X {package}.{name}={value}"));
        }
    }
    flags
}

/// The version that a go.mod requires of a module.
fn release<'a>(module: &'a str, path: &str) -> Option<&'a str> {
    module.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(path)).then(|| words.next()).flatten()
    })
}

/// The end of what a tool printed, as one line.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().map(str::trim).collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_comes_from_the_module() {
        let module = include_str!("../go/go.mod");
        let release = release(module, "k8s.io/kubernetes").unwrap();
        assert!(release.starts_with("v1."), "{release}");
        // Staging modules carry the same minor and patch.
        let staging = release.replacen("v1.", "v0.", 1);
        for line in module.lines().filter(|line| line.contains("=>")) {
            assert!(line.ends_with(&staging), "{line}");
        }
        assert!(linker_flags("v1.36.3").contains(" -X k8s.io/component-base/version.gitMinor=36"));
    }

    #[test]
    fn every_component_is_a_tool_of_the_module() {
        let module = include_str!("../go/go.mod");
        for component in Component::ALL {
            assert!(
                module
                    .lines()
                    .any(|line| line.trim() == component.package()),
                "{component}"
            );
        }
    }
}
