//! Files that appear whole or not at all, and standard output that is written in one piece.
//!
//! Enters: chunks. Leaves: after `finish`, the file under its name: synced, renamed from a temporary file in the same
//! directory, and the directory synced. Dropped before that, nothing remains. What is there already is only replaced
//! by a whole successor. Something that is not a file (a pipe, `/dev/null`) is written to at the end, never replaced.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use kperf_runtime::{Failure, Output, failure};
use tempfile::{NamedTempFile, SpooledTempFile};

/// Most bytes of one output. Raw data of a hundred million requests fits; a plugin that writes for ever does not.
const MAX_OUTPUT_BYTES: u64 = 16 << 30;
/// Standard output waits in memory up to here, above it in an unnamed file.
const SPOOL_BYTES: usize = 4 << 20;
/// What kperf gives the directories it makes.
const DIRECTORY_MODE: u32 = 0o750;

/// Counts what goes through and stops at a limit.
#[derive(Debug)]
struct Budget {
    left_bytes: u64,
}

impl Budget {
    fn new() -> Self {
        Self {
            left_bytes: MAX_OUTPUT_BYTES,
        }
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        let left = self.left_bytes.checked_sub(chunk.len() as u64);
        self.left_bytes = left.ok_or_else(|| {
            failure(
                "io",
                format!("more than {MAX_OUTPUT_BYTES} bytes for one output"),
            )
        })?;
        Ok(())
    }
}

/// A file being written.
pub(super) struct File {
    /// As the user wrote it, for messages.
    path: PathBuf,
    target: Target,
    budget: Budget,
}

enum Target {
    /// To be renamed to the path, with symbolic links followed.
    Regular {
        temporary: NamedTempFile,
        path: PathBuf,
    },
    /// Pipes and devices: collected and written at the end.
    Special {
        spool: SpooledTempFile,
        path: PathBuf,
    },
}

impl File {
    /// Makes the parent directories and a temporary file beside the target, so that a place that cannot be written
    /// is known early.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let target = Target::create(path).map_err(|error| cannot_write(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            target,
            budget: Budget::new(),
        })
    }
}

impl File {
    /// A file by a name that a plugin chose. What it could reach through a link, or write into a pipe, lies outside of
    /// the directory that the user gave it.
    pub(super) fn create_in(directory: &Path, name: &str) -> Result<Self, Failure> {
        let path = directory.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            let error = io::Error::other("something is there that is not a file");
            return Err(cannot_write(&path, &error));
        }
        Self::create(&path)
    }
}

impl Target {
    fn create(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(io::Error::other("it is a directory")),
            Ok(found) if !found.is_file() => {
                return Ok(Self::Special {
                    spool: SpooledTempFile::new(SPOOL_BYTES),
                    path: path.to_owned(),
                });
            }
            // Renaming onto a symbolic link would replace the link.
            Ok(_) => return Self::regular(fs::canonicalize(path)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if path.file_name().is_none() {
            return Err(io::Error::other("it is not the name of a file"));
        }
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(parent(path))?;
        Self::regular(path.to_owned())
    }

    fn regular(path: PathBuf) -> io::Result<Self> {
        // 0666 and not tempfile's 0600: the umask decides, as with any other file. A file that is already there
        // keeps its own mode.
        let mode = fs::metadata(&path).map_or(0o666, |found| found.permissions().mode() & 0o777);
        let temporary = tempfile::Builder::new()
            .prefix(".kperf-")
            .suffix(".partial")
            .permissions(fs::Permissions::from_mode(mode))
            .tempfile_in(parent(&path))?;
        Ok(Self::Regular { temporary, path })
    }

    fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        match self {
            Self::Regular { temporary, .. } => temporary.write_all(chunk),
            Self::Special { spool, .. } => spool.write_all(chunk),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Regular { temporary, path } => {
                temporary.as_file().sync_all()?;
                temporary.persist(&path).map_err(|error| error.error)?;
                sync_directory(parent(&path))
            }
            Self::Special { spool, path } => {
                pour(spool, OpenOptions::new().write(true).open(path)?)
            }
        }
    }
}

impl Output for File {
    fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        self.budget.take(chunk)?;
        self.target
            .write(chunk)
            .map_err(|error| cannot_write(&self.path, &error))
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        let Self { path, target, .. } = *self;
        target.finish().map_err(|error| cannot_write(&path, &error))
    }
}

/// Standard output: nothing is seen of it before `finish`, so that two outputs, or an output and a failure, never mix.
pub(super) struct Stdout {
    spool: SpooledTempFile,
    budget: Budget,
}

impl Stdout {
    pub(super) fn new() -> Self {
        Self {
            spool: SpooledTempFile::new(SPOOL_BYTES),
            budget: Budget::new(),
        }
    }
}

impl Output for Stdout {
    fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        self.budget.take(chunk)?;
        self.spool
            .write_all(chunk)
            .map_err(|error| cannot_write(Path::new("stdout"), &error))
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        pour(self.spool, io::stdout().lock())
            .map_err(|error| cannot_write(Path::new("stdout"), &error))
    }
}

fn pour(mut spool: SpooledTempFile, mut to: impl Write) -> io::Result<()> {
    spool.rewind()?;
    // Not io::copy: it would hand an unnamed file to sendfile, which terminals refuse.
    let mut buffer = vec![0; 64 << 10];
    loop {
        match spool.read(&mut buffer)? {
            0 => return to.flush(),
            read => to.write_all(buffer.get(..read).unwrap_or_default())?,
        }
    }
}

/// Writes a file that only its owner may read, atomically, for kubeconfigs and the like.
///
/// # Errors
/// What the file system says.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(parent(path))?;
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return OpenOptions::new()
            .write(true)
            .mode(0o600)
            .open(path)?
            .write_all(bytes);
    }
    // 0600 is how tempfile makes its files.
    let mut temporary = NamedTempFile::new_in(parent(path))?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    sync_directory(parent(path))
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Without this a crash right after could lose the rename. File systems that cannot do it say so; the file is there.
fn sync_directory(path: &Path) -> io::Result<()> {
    match fs::File::open(path).and_then(|directory| directory.sync_all()) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    failure("io", format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, symlink};

    use super::*;

    fn entries(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_at_finish_with_its_directories() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/report.json");
        let mut file = Box::new(File::create(&path).unwrap());
        file.write(b"one ").unwrap();
        file.write(b"two").unwrap();
        assert!(!path.exists());
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one two");
        assert_eq!(entries(&root.path().join("a/b")), ["report.json"]);
        let mode = fs::metadata(root.path().join("a"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777 & !0o750, 0, "no more than 0750");
    }

    #[test]
    fn without_finish_nothing_remains_and_the_old_file_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("report.json");
        fs::write(&path, "old").unwrap();
        let mut file = File::create(&path).unwrap();
        file.write(b"half of the new").unwrap();
        drop(file);
        assert_eq!(entries(root.path()), ["report.json"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_symbolic_link_stays_one_and_a_mode_stays_too() {
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("real"), root.path().join("link"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        let mut file = Box::new(File::create(&link).unwrap());
        file.write(b"new").unwrap();
        file.finish().unwrap();
        assert!(
            fs::symlink_metadata(&link)
                .unwrap()
                .file_type()
                .is_symlink()
        );
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&real).unwrap().permissions().mode() & 0o777,
            0o640
        );
    }

    #[test]
    fn in_a_directory_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("results");
        let outside = root.path().join("outside");
        fs::create_dir(&directory).unwrap();
        fs::write(&outside, "kept").unwrap();
        symlink(&outside, directory.join("link")).unwrap();
        fs::create_dir(directory.join("below")).unwrap();
        for name in ["link", "below"] {
            let failure = File::create_in(&directory, name).err().unwrap();
            assert_eq!(failure.code, "io", "{}", failure.message);
        }
        assert_eq!(fs::read(&outside).unwrap(), b"kept");
        fs::write(directory.join("old"), "old").unwrap();
        let mut file = Box::new(File::create_in(&directory, "old").unwrap());
        file.write(b"new").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(directory.join("old")).unwrap(), b"new");
    }

    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        let mut file = Box::new(File::create(Path::new("/dev/null")).unwrap());
        file.write(b"gone").unwrap();
        file.finish().unwrap();
        assert!(
            fs::metadata("/dev/null")
                .unwrap()
                .file_type()
                .is_char_device()
        );
    }

    #[test]
    fn places_that_cannot_be_written_are_named() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        for path in [
            root.path().to_owned(),
            root.path().join("file/below"),
            PathBuf::from(".."),
        ] {
            let failure = File::create(&path).err().unwrap();
            assert_eq!(failure.code, "io");
            assert!(
                failure.message.contains(path.to_str().unwrap()),
                "{}",
                failure.message
            );
        }
    }

    #[test]
    fn an_output_has_an_end() {
        let mut budget = Budget { left_bytes: 3 };
        budget.take(b"abc").unwrap();
        assert_eq!(budget.take(b"d").unwrap_err().code, "io");
    }

    #[test]
    fn poured_text_is_whole_in_memory_and_from_disk() {
        for size in [0, 10, SPOOL_BYTES + 100_000] {
            let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let mut spool = SpooledTempFile::new(SPOOL_BYTES);
            spool.write_all(&bytes).unwrap();
            let mut poured = Vec::new();
            pour(spool, &mut poured).unwrap();
            assert!(poured == bytes, "{size} bytes");
        }
    }

    #[test]
    fn private_files_are_for_their_owner() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("sub/kubeconfig");
        write_private(&path, b"secret").unwrap();
        write_private(&path, b"secret 2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"secret 2");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
