//! Builds the guests once per test run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

use kperf_runtime::{Limits, Plugin, Runtime, RuntimeConfig};

/// Bytes of a guest: `generator` or `exporter`.
pub(crate) fn bytes(kind: &str) -> Vec<u8> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(|| {
        let manifest =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/components/Cargo.toml");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("components");
        let status = Command::new(env!("CARGO"))
            .args([
                "build",
                "--release",
                "--locked",
                "--target",
                "wasm32-wasip2",
            ])
            .arg("--manifest-path")
            .arg(manifest)
            .arg("--target-dir")
            .arg(&target)
            // Flags for the host must not reach the guests.
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("RUSTFLAGS")
            .status()
            .unwrap();
        assert!(status.success(), "the guests do not build");
        target.join("wasm32-wasip2/release")
    });
    fs::read(directory.join(format!("hostile_{kind}.wasm"))).unwrap()
}

/// Limits that are reached quickly, and generous deadlines: a busy machine must not fail a test.
pub(crate) fn limits() -> Limits {
    Limits {
        memory_bytes: 64 << 20,
        next_trap: Duration::from_secs(20),
        open_trap: Duration::from_secs(20),
        describe_trap: Duration::from_secs(20),
        ..Limits::default()
    }
}

pub(crate) fn load(kind: &str, limits: Limits) -> Arc<Plugin> {
    runtime(limits)
        .load(&format!("./{kind}.wasm"), &bytes(kind))
        .unwrap()
}

pub(crate) fn runtime(limits: Limits) -> Runtime {
    Runtime::new(RuntimeConfig {
        // Compiled once, not once a test.
        cache_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("code")),
        limits,
    })
    .unwrap()
}
