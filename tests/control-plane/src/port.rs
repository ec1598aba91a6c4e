//! Free ports that stay ours while nothing listens on them.
//!
//! The API server can be stopped and started again on its port, so a port must survive a while without a
//! listener. Two things keep others away: it lies below the range that the kernel hands out to outgoing
//! connections, and a lock file, there as long as the port is taken, tells other control planes of this user.

use std::{
    fs::{self, File},
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::cache;

/// Below every kernel's default range for outgoing connections (Linux begins at 32768).
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A port on loopback that nobody listened on when it was taken.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    lock: PathBuf,
    /// Locked for as long as it is open.
    _taken: File,
}

impl Port {
    /// Takes one.
    pub(crate) fn take() -> anyhow::Result<Self> {
        let folder = cache::home()?.join("ports");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        remove_abandoned(&folder);
        for attempt in 0..200_u32 {
            let offset = RandomState::new().hash_one(attempt) % u64::from(RANGE.end - RANGE.start);
            let number = RANGE.start + u16::try_from(offset)?;
            let lock = folder.join(number.to_string());
            let taken = File::create(&lock).with_context(|| lock.display().to_string())?;
            if !is_locked(&taken, &lock) {
                continue;
            }
            let port = Self {
                number,
                lock,
                _taken: taken,
            };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(port);
            }
        }
        bail!("no free port in {RANGE:?}")
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // Still locked, so the file at this path is ours.
        fs::remove_file(&self.lock).ok();
    }
}

/// Whether the lock on this file is ours, and it is still the one that others find at its path: between our opening
/// and our locking it, its last owner may have removed it.
fn is_locked(file: &File, path: &Path) -> bool {
    let identity = |of: &fs::Metadata| (of.dev(), of.ino());
    file.try_lock().is_ok()
        && match (file.metadata(), fs::metadata(path)) {
            (Ok(ours), Ok(theirs)) => identity(&ours) == identity(&theirs),
            _ => false,
        }
}

/// Removes the lock files of processes that were killed.
fn remove_abandoned(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if File::open(&path).is_ok_and(|file| is_locked(&file, &path)) {
            fs::remove_file(&path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_not_given_twice() {
        let ports: Vec<Port> = (0..20).map(|_| Port::take().unwrap()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ports.len());
    }

    #[test]
    fn a_lock_file_goes_with_its_port_or_with_the_next_one() {
        let port = Port::take().unwrap();
        let (lock, folder) = (port.lock.clone(), port.lock.parent().unwrap().to_owned());
        assert!(lock.is_file());
        drop(port);
        assert!(!lock.exists());

        // No port of that name is ever taken, so nobody else makes this file.
        let abandoned = folder.join("19999");
        fs::write(&abandoned, "").unwrap();
        let port = Port::take().unwrap();
        assert!(!abandoned.exists() && port.lock.is_file());
    }

    #[test]
    fn a_lock_on_a_removed_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let old = File::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!is_locked(&old, &path));
        let new = File::create(&path).unwrap();
        assert!(!is_locked(&old, &path) && is_locked(&new, &path));
    }
}
