//! Builds the first-party plugins for `wasm32-wasip2` and writes what `src/lib.rs` embeds: the components, and
//! the sources that `plugin new` hands out.
//!
//! A plugin is any package in `plugins/` with a `cdylib`; it is bundled under `[package.metadata.kperf] name`, else
//! under its package's name. All are built by one cargo, which shares their dependencies, in a target folder of
//! its own, which keeps it clear of the outer cargo's lock.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::{env, fs};

use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const TARGET: &str = "wasm32-wasip2";
const PROFILE: &str = "plugin";

/// One plugin to build.
struct Plugin {
    package: String,
    /// What it is bundled as, with `_`.
    name: String,
    /// Of the file cargo makes, without extension.
    library: String,
}

fn main() -> ExitCode {
    match bundle() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Returned from `main` it would be shown as `Debug`, in one line.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn bundle() -> Result<()> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let root = here.join("../..").canonicalize()?;
    for path in ["plugins", "sdk", "wit", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }

    let plugins = discover(&root)?;
    let target_dir = target_root(&out).join("plugins");
    build(&root, &target_dir, &plugins)?;

    let mut bundled = String::from("&[\n");
    for plugin in &plugins {
        let built = target_dir
            .join(TARGET)
            .join(PROFILE)
            .join(format!("{}.wasm", plugin.library));
        let kept = out.join(format!("{}.wasm", plugin.name));
        write_if_changed(&kept, &read(&built)?)?;
        writeln!(
            bundled,
            "    Bundled {{ name: {:?}, wasm: include_bytes!({:?}) }},",
            plugin.name, kept
        )?;
    }
    bundled.push(']');
    write_if_changed(&out.join("bundled.rs"), bundled.as_bytes())?;

    let sdk = root.join("sdk");
    let files = embed(
        &sdk,
        &[
            "Cargo.toml",
            "build.rs",
            "src",
            "wit/worlds.wit",
            "wit/deps",
        ],
    )?;
    write_if_changed(&out.join("sdk_files.rs"), files.as_bytes())?;
    for world in ["generator", "exporter", "benchmark"] {
        let files = embed(&sdk.join("template").join(world), &["."])?;
        write_if_changed(&out.join(format!("template_{world}.rs")), files.as_bytes())?;
    }
    Ok(())
}

/// A cargo that builds for itself: the outer one's flags, wrappers and target must not reach the plugins.
fn cargo(root: &Path) -> Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    for (name, _) in env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let of_outer_build = [
            "CARGO_FEATURE_",
            "CARGO_CFG_",
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_PROFILE_",
            "CARGO_BUILD_",
            "CARGO_TARGET_",
            "CLIPPY_",
            "DEP_",
        ];
        if of_outer_build.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTDOCFLAGS",
        "CARGO_ENCODED_RUSTDOCFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "TARGET",
        "HOST",
        "PROFILE",
        "OPT_LEVEL",
        "DEBUG",
        "OUT_DIR",
        "NUM_JOBS",
        "LLVM_PROFILE_FILE",
    ] {
        command.env_remove(name);
    }
    Ok(command)
}

fn run(mut command: Command, what: &str) -> Result<Output> {
    let output = command
        .output()
        .map_err(|error| format!("cannot start cargo to {what}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    // What rustc says about a target whose standard library is not installed.
    let no_target = stderr.contains("target may not be installed")
        || stderr.contains("can't find crate for `std`")
        || stderr.contains("can't find crate for `core`");
    let advice = if no_target {
        "\nThe first-party plugins are WebAssembly components; their target is missing. Install it with\n\n    \
         rustup target add wasm32-wasip2\n"
    } else {
        ""
    };
    Err(format!(
        "cargo failed to {what} ({}):\n{stderr}{advice}",
        output.status
    )
    .into())
}

fn discover(root: &Path) -> Result<Vec<Plugin>> {
    let mut command = cargo(root)?;
    command.args(["metadata", "--no-deps", "--format-version=1"]);
    let output = run(command, "list the workspace's packages")?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let folder = root.join("plugins");
    let mut plugins = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if !Path::new(&text(&package["manifest_path"])).starts_with(&folder) {
            continue;
        }
        let targets = package["targets"].as_array();
        let library = targets.into_iter().flatten().find(|target| {
            let kinds = target["kind"].as_array();
            kinds.into_iter().flatten().any(|kind| kind == "cdylib")
        });
        let Some(library) = library else { continue };
        let package_name = text(&package["name"]);
        let name = match &package["metadata"]["kperf"]["name"] {
            Value::String(name) => name.clone(),
            _ => package_name.clone(),
        };
        plugins.push(Plugin {
            package: package_name,
            name: name.replace('-', "_"),
            library: text(&library["name"]).replace('-', "_"),
        });
    }
    plugins.sort_by(|a, b| a.name.cmp(&b.name));
    if let [first, second] = plugins
        .windows(2)
        .find(|pair| matches!(pair, [a, b] if a.name == b.name))
        .unwrap_or_default()
    {
        let message = format!(
            "packages `{}` and `{}` would both be bundled as `{}`",
            first.package, second.package, first.name
        );
        return Err(message.into());
    }
    Ok(plugins)
}

fn build(root: &Path, target_dir: &Path, plugins: &[Plugin]) -> Result<()> {
    if plugins.is_empty() {
        return Ok(());
    }
    let mut command = cargo(root)?;
    command
        .args(["build", "--quiet", "--profile", PROFILE, "--target", TARGET])
        .arg("--target-dir")
        .arg(target_dir);
    for plugin in plugins {
        command.args(["--package", &plugin.package]);
    }
    run(command, "build the first-party plugins")?;
    Ok(())
}

/// The outer target folder, so that all its profiles share the plugins. `OUT_DIR` is
/// `<root>[/<triple>]/<profile>/build/<package>/out`.
fn target_root(out: &Path) -> PathBuf {
    let marked = out
        .ancestors()
        .find(|folder| folder.join(".rustc_info.json").is_file());
    marked
        .or_else(|| out.ancestors().nth(4))
        .unwrap_or(out)
        .to_owned()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()).into())
}

/// Leaves a file alone that is already right: its time stamp decides what is compiled again.
fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(path, bytes)
        .map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

/// A Rust expression: a slice of `(path, bytes)` of the files below some entries of a folder.
fn embed(folder: &Path, entries: &[&str]) -> Result<String> {
    let mut files = Vec::new();
    for entry in entries {
        collect(&folder.join(entry), Path::new(entry), &mut files)?;
    }
    files.sort();
    let mut source = String::from("&[\n");
    for (name, path) in files {
        writeln!(source, "    ({name:?}, include_bytes!({path:?})),")?;
    }
    source.push(']');
    Ok(source)
}

/// Symbolic links are followed: `sdk/wit` is one.
fn collect(path: &Path, name: &Path, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    if path.is_file() {
        let name = name
            .components()
            .map(|part| part.as_os_str().to_string_lossy());
        let name: Vec<_> = name.filter(|part| part != ".").collect();
        files.push((name.join("/"), path.canonicalize()?));
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_name() != "target" {
            collect(&entry.path(), &name.join(entry.file_name()), files)?;
        }
    }
    Ok(())
}
