//! Compiled components on disk, so that a plugin is compiled once per host version and machine.
//!
//! The key of an entry is the digest of the component and a hash of everything that compiled code
//! depends on. Any doubt is a miss: another owner, permissions for others, a link, a digest that does
//! not match. Writing is atomic, reading never fails a run.
#![allow(
    unsafe_code,
    reason = "loading compiled code is unsafe by nature; the argument stands at the call"
)]

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    hash::{Hash, Hasher},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, component::Component};

use crate::inspect::hex;

/// Raised when the layout of an entry changes.
const MAGIC: &[u8; 16] = b"kperf-code-v001\n";
const DIGEST_BYTES: usize = 32;
const EXTENSION: &str = "code";
/// Oldest entries go when all together are larger.
const MAX_BYTES: u64 = 1 << 30;

/// A directory of compiled components.
pub(crate) struct Cache {
    directory: PathBuf,
    /// Hash of compiler, settings and machine.
    compatibility: String,
}

impl Cache {
    /// Opens or makes the directory. `None`, with a line in the log, when it can't be trusted.
    pub(crate) fn open(directory: PathBuf, engine: &Engine) -> Option<Self> {
        let result = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .and_then(|()| fs::symlink_metadata(&directory))
            .and_then(|found| {
                if !found.is_dir() {
                    Err(io::Error::other("it is not a directory"))
                } else if !is_ours_alone(&found) {
                    Err(io::Error::other(
                        "it belongs to, or is writable or readable by, someone else (needs mode 0700)",
                    ))
                } else {
                    Ok(())
                }
            });
        match result {
            Ok(()) => Some(Self {
                compatibility: compatibility(engine),
                directory,
            }),
            Err(reason) => {
                tracing::warn!(
                    "compiled plugins are not cached in {}: {reason}",
                    directory.display()
                );
                None
            }
        }
    }

    fn path(&self, component_sha256: &str) -> PathBuf {
        self.directory.join(format!(
            "{component_sha256}-{}.{EXTENSION}",
            self.compatibility
        ))
    }

    /// The compiled component, if there is one beyond doubt.
    pub(crate) fn load(&self, engine: &Engine, component_sha256: &str) -> Option<Component> {
        let path = self.path(component_sha256);
        let entry = match read_entry(&path) {
            Ok(entry) => entry,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::debug!("cached code {} is not used: {error}", path.display());
                return None;
            }
        };
        let code = entry.get(MAGIC.len() + DIGEST_BYTES..)?;
        // SAFETY: wasmtime demands bytes that `Component::serialize` made, unchanged. `store` below is
        // the only writer of this format; the entry is a regular file, reached without following a
        // link, in a directory and of a mode that nobody but the user running this process (or root)
        // can write, and its digest matches, so it is whole. These are the very bytes that were
        // checked, not a second read. Whoever could forge them can already run code as this user.
        // Wasmtime itself refuses code of another version, machine or configuration.
        match unsafe { Component::deserialize(engine, code) } {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::debug!("cached code {} is not used: {error}", path.display());
                None
            }
        }
    }

    /// Keeps a compiled component; a failure costs the next run a compilation and is only logged.
    pub(crate) fn store(&self, component_sha256: &str, component: &Component) {
        let path = self.path(component_sha256);
        let written = component
            .serialize()
            .map_err(io::Error::other)
            .and_then(|code| self.write_entry(&path, &code));
        match written {
            Ok(()) => self.evict(&path),
            Err(error) => tracing::debug!("code is not cached in {}: {error}", path.display()),
        }
    }

    fn write_entry(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        // Mode 0600 is what tempfile makes.
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(&self.directory)?;
        file.write_all(MAGIC)?;
        file.write_all(&Sha256::digest(code))?;
        file.write_all(code)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes the longest unused entries above the size limit, never `keep`.
    fn evict(&self, keep: &Path) {
        self.evict_above(keep, MAX_BYTES);
    }

    fn evict_above(&self, keep: &Path, max_bytes: u64) {
        let Ok(listing) = fs::read_dir(&self.directory) else {
            return;
        };
        let mut entries = listing
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|e| e == EXTENSION))
            .filter_map(|entry| {
                let found = entry.metadata().ok()?;
                Some((found.modified().ok()?, found.len(), entry.path()))
            })
            .collect::<Vec<_>>();
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in entries {
            if total <= max_bytes {
                break;
            }
            if path != keep && fs::remove_file(&path).is_ok() {
                total = total.saturating_sub(size);
            }
        }
    }
}

/// The whole entry, when its header, digest, owner and mode are right.
fn read_entry(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || !is_ours_alone(&found) {
        return Err(io::Error::other(
            "it belongs to, or is open to, someone else",
        ));
    }
    let mut entry = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0).min(1 << 28));
    file.read_to_end(&mut entry)?;
    let digest = entry.get(MAGIC.len()..MAGIC.len() + DIGEST_BYTES);
    let code = entry.get(MAGIC.len() + DIGEST_BYTES..);
    let intact = entry.starts_with(MAGIC)
        && matches!((digest, code), (Some(digest), Some(code)) if digest == Sha256::digest(code).as_slice());
    if !intact {
        return Err(io::Error::other("it is damaged"));
    }
    mark_used(&file);
    Ok(entry)
}

/// Eviction goes by time of last use.
fn mark_used(file: &File) {
    // Worth nothing more than a wrong order of eviction.
    let _ = file.set_modified(SystemTime::now());
}

fn is_ours_alone(found: &fs::Metadata) -> bool {
    found.uid() == nix::unistd::geteuid().as_raw() && found.mode() & 0o077 == 0
}

fn compatibility(engine: &Engine) -> String {
    struct Sha256Hasher(Sha256);
    impl Hasher for Sha256Hasher {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = Sha256Hasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hex(&hasher.0.finalize()).chars().take(32).collect()
}

#[cfg(test)]
#[path = "cache/tests.rs"]
mod tests;
