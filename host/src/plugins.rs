//! From the name of a plugin to a loaded one.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, anyhow};
use kperf_runtime::{Limits, Plugin, Runtime, RuntimeConfig};

/// Finds and loads plugins, each component once.
pub struct Plugins {
    runtime: Runtime,
    loaded: HashMap<String, Arc<Plugin>>,
}

/// A component that was found but not looked at.
#[derive(Debug)]
pub struct Found {
    /// Path or bundled name, as messages say it.
    pub label: String,
    /// The component.
    pub bytes: std::borrow::Cow<'static, [u8]>,
    /// Whether it came with the binary.
    pub bundled: bool,
}

impl Plugins {
    /// A runtime with the user's cache of compiled code.
    ///
    /// # Errors
    /// The engine cannot be made on this machine.
    pub fn new(limits: Limits) -> anyhow::Result<Self> {
        let runtime = Runtime::new(RuntimeConfig {
            cache_dir: cache_dir(),
            limits,
        })?;
        Ok(Self {
            runtime,
            loaded: HashMap::new(),
        })
    }

    /// Loads what `name` stands for; see [`find`].
    ///
    /// # Errors
    /// Not found, unreadable, or refused by the runtime.
    pub fn load(&mut self, name: &str) -> anyhow::Result<Arc<Plugin>> {
        if let Some(plugin) = self.loaded.get(name) {
            return Ok(Arc::clone(plugin));
        }
        let found = find(name)?;
        let plugin = self.runtime.load(&found.label, &found.bytes)?;
        self.loaded.insert(name.to_owned(), Arc::clone(&plugin));
        Ok(plugin)
    }
}

/// Finds a component: an existing file of that name wins, then the bundled plugins, whose names may be
/// written `quorum_list`, `quorum-list` or with `.wasm` at the end.
///
/// # Errors
/// There is neither; the message lists the bundled names.
pub fn find(name: &str) -> anyhow::Result<Found> {
    let path = Path::new(name);
    if path.is_file() {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read plugin file {name}"))?;
        return Ok(Found {
            label: name.to_owned(),
            bytes: bytes.into(),
            bundled: false,
        });
    }
    if let Some(bundled) = kperf_plugins::find(name) {
        return Ok(Found {
            label: bundled.name.to_owned(),
            bytes: bundled.wasm.into(),
            bundled: true,
        });
    }
    let names: Vec<_> = kperf_plugins::all()
        .iter()
        .map(|bundled| bundled.name)
        .collect();
    Err(anyhow!(
        "no plugin `{name}`: there is no such file, and the bundled plugins are {}",
        names.join(", ")
    ))
}

/// `$XDG_CACHE_HOME/kperf-host/plugins`, else `~/.cache/kperf-host/plugins`; none without a home. `KPERF_CACHE_DIR`
/// wins; set to nothing it turns the cache off. A folder of its own: it must be nobody else's, and others keep things
/// beside it.
fn cache_dir() -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os("KPERF_CACHE_DIR") {
        return (!dir.is_empty()).then(|| PathBuf::from(dir));
    }
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))?;
    Some(base.join("kperf-host").join("plugins"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_bundled_plugin_are_one() {
        for name in [
            "quorum_list",
            "quorum-list",
            "quorum_list.wasm",
            "quorum-list.wasm",
        ] {
            assert_eq!(find(name).unwrap().label, "quorum_list");
        }
    }

    #[test]
    fn an_unknown_name_lists_what_there_is() {
        let message = find("qorum_list").unwrap_err().to_string();
        assert!(
            message.contains("`qorum_list`") && message.contains("quorum_list"),
            "{message}"
        );
    }

    #[test]
    fn a_file_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("quorum_list");
        std::fs::write(&path, b"mine").unwrap();
        let found = find(path.to_str().unwrap()).unwrap();
        assert!(!found.bundled);
        assert_eq!(&*found.bytes, b"mine");
    }
}
