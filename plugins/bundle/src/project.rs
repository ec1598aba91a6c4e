//! A new plugin project: a template, and the SDK beside it, so that it builds wherever it stands.

use std::path::{Path, PathBuf};
use std::{fs, io};

type File = (&'static str, &'static [u8]);

static SDK: &[File] = include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));
static GENERATOR: &[File] = include!(concat!(env!("OUT_DIR"), "/template_generator.rs"));
static EXPORTER: &[File] = include!(concat!(env!("OUT_DIR"), "/template_exporter.rs"));

static BENCHMARK: &[File] = include!(concat!(env!("OUT_DIR"), "/template_benchmark.rs"));

/// Where the name of the project goes in the files of a template.
const NAME: &str = "{{name}}";
/// Ends the name of a template's manifest, which would otherwise be taken for a package of this repository.
const MANIFEST_SUFFIX: &str = ".template";

/// What kind of plugin a new project makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// Says which requests to send.
    Generator,
    /// Writes results in a format.
    Exporter,
    /// Does something to a cluster and measures it.
    Benchmark,
}

/// The SDK's sources and the WIT packages, paths relative to its folder, with `/`.
pub fn sdk_files() -> impl Iterator<Item = File> {
    SDK.iter().copied()
}

/// The files of a project, paths relative to its folder, with `/`; `{{name}}` stands for its name.
pub fn template_files(world: World) -> impl Iterator<Item = File> {
    let files = match world {
        World::Generator => GENERATOR,
        World::Exporter => EXPORTER,
        World::Benchmark => BENCHMARK,
    };
    files.iter().map(|&(path, bytes)| {
        let path = path.strip_suffix(MANIFEST_SUFFIX).unwrap_or(path);
        (path, bytes)
    })
}

/// Writes a new project into `dir`, which must not exist or be empty: the template under the name `name`, and the SDK
/// in `kperf-sdk`. Returns what was written.
///
/// # Errors
///
/// `InvalidInput` if the name is none for a plugin (lower-case words joined by `-` or `_`), `AlreadyExists`
/// if the folder holds something, and whatever the file system says.
pub fn new_project(dir: &Path, name: &str, world: World) -> io::Result<Vec<PathBuf>> {
    check_name(name)?;
    fs::create_dir_all(dir)?;
    if fs::read_dir(dir)?.next().is_some() {
        let message = format!("{} is not empty; name a new folder", dir.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let mut written = Vec::new();
    for (path, bytes) in template_files(world) {
        let text = String::from_utf8_lossy(bytes).replace(NAME, name);
        written.push(write(&dir.join(path), text.as_bytes())?);
    }
    for (path, bytes) in sdk_files() {
        written.push(write(&dir.join("kperf-sdk").join(path), bytes)?);
    }
    Ok(written)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes)?;
    Ok(path.to_owned())
}

fn check_name(name: &str) -> io::Result<()> {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase());
    if starts_well && name.len() <= 64 && name.split(['-', '_']).all(word) {
        return Ok(());
    }
    let message = format!(
        "`{name}` is no name for a plugin: use lower-case words joined by `-` or `_`, such as `hot-pods`"
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_whole_and_stands_alone() {
        for world in [World::Generator, World::Exporter, World::Benchmark] {
            let folder = tempfile::tempdir().unwrap();
            let dir = folder.path().join("hot-pods");
            let written = new_project(&dir, "hot-pods", world).unwrap();
            for file in [
                "Cargo.toml",
                "src/lib.rs",
                "README.md",
                "kperf-sdk/Cargo.toml",
            ] {
                assert!(written.contains(&dir.join(file)), "{file}");
            }
            assert!(dir.join("kperf-sdk/wit/deps/kperf-core/core.wit").is_file());
            for path in written {
                let text = fs::read_to_string(&path).unwrap();
                assert!(!text.contains(NAME), "{}", path.display());
                // A copied manifest can't inherit from a workspace it is no longer part of.
                let inherits = path.ends_with("Cargo.toml") && text.contains("workspace = true");
                assert!(!inherits, "{}", path.display());
            }
            let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
            assert!(manifest.contains("name = \"hot-pods\""));
        }
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine"), "x").unwrap();
        let error = new_project(folder.path(), "a", World::Generator).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_are_checked_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "-a", "a-", "a--b", "A", "a b", "../a", "1a", "a/b", "é"] {
            let dir = folder.path().join("new");
            let error = new_project(&dir, name, World::Exporter).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
            assert!(!dir.exists());
        }
    }
}
