//! Programs kept between runs, outside the repository; made once however many processes ask.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// A folder of the cache: everything in it was made by the same recipe.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Opens the folder of a recipe; `key` must change with everything that changes what is made.
    pub(crate) fn open(key: &str) -> anyhow::Result<Self> {
        Self::at(home()?.join(key))
    }

    fn at(folder: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self { folder })
    }

    /// The file called `name`; `make` writes it to the path it is given if it is not there yet.
    pub(crate) fn get_or_make(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
        // One lock for the folder: two builds at once would only take each other's cores.
        let lock = File::create(self.folder.join("lock")).context("lock of the cache")?;
        lock.lock().context("lock of the cache")?;
        if path.is_file() {
            return Ok(path);
        }
        // Beside its final place, so that it arrives there whole or not at all.
        let unfinished = tempfile::Builder::new()
            .prefix("unfinished-")
            .tempdir_in(&self.folder)?;
        let made = unfinished.path().join(name);
        make(&made)?;
        fs::rename(&made, &path).with_context(|| path.display().to_string())?;
        Ok(path)
    }
}

/// Where everything of this crate is cached.
pub(crate) fn home() -> anyhow::Result<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => env::home_dir()
            .context("neither XDG_CACHE_HOME nor a home folder")?
            .join(".cache"),
    };
    Ok(cache.join("kperf-host").join("control-plane"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn many_ask_one_makes() {
        let folder = tempfile::tempdir().unwrap();
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let cache = Cache::at(folder.path().join("key")).unwrap();
                    let path = cache
                        .get_or_make("program", |path| {
                            made.fetch_add(1, Ordering::Relaxed);
                            Ok(fs::write(path, "whole")?)
                        })
                        .unwrap();
                    assert_eq!(fs::read_to_string(path).unwrap(), "whole");
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn what_failed_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().to_owned()).unwrap();
        cache
            .get_or_make("program", |path| {
                fs::write(path, "half")?;
                anyhow::bail!("stopped")
            })
            .unwrap_err();
        assert!(!folder.path().join("program").exists());
        let names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["lock"]);
    }
}
