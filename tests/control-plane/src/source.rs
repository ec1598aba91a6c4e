//! Where the control plane comes from: an existing cluster, a folder of binaries, or Go modules.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::{Component, go_module::GoModule};

/// Names a kubeconfig of an existing cluster to test against.
pub const KUBECONFIG_VARIABLE: &str = "KPERF_TEST_KUBECONFIG";

/// Names a folder with `etcd` and `kube-apiserver`, as envtest lays it out.
pub const ASSETS_VARIABLE: &str = "KUBEBUILDER_ASSETS";

/// Where a control plane comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A cluster that was there before and stays after: nothing is started.
    Existing(PathBuf),
    /// Programs to start.
    Programs(Programs),
}

/// Programs of a control plane, by component.
#[derive(Clone, Debug, Default)]
pub struct Programs(BTreeMap<Component, PathBuf>);

impl Programs {
    /// The program of a component, if it is there.
    #[must_use]
    pub fn get(&self, component: Component) -> Option<&Path> {
        self.0.get(&component).map(PathBuf::as_path)
    }
}

impl FromIterator<(Component, PathBuf)> for Programs {
    fn from_iter<I: IntoIterator<Item = (Component, PathBuf)>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl Source {
    /// Finds a source that has the `needed` components, building them when that is the way.
    ///
    /// # Errors
    /// Says in one line why there is none.
    pub fn find(needed: &[Component]) -> Result<Self, String> {
        if let Some(kubeconfig) = variable(KUBECONFIG_VARIABLE) {
            return existing(located(Path::new(&kubeconfig)));
        }
        if let Some(folder) = variable(ASSETS_VARIABLE) {
            return assets(&located(Path::new(&folder)), needed).map(Self::Programs);
        }
        let module = GoModule::open().map_err(|why| {
            format!("{why}; without Go, set {ASSETS_VARIABLE} or {KUBECONFIG_VARIABLE}")
        })?;
        needed
            .iter()
            .map(|component| Ok((*component, module.program(*component)?)))
            .collect::<anyhow::Result<Programs>>()
            .map(Self::Programs)
            .map_err(|error| format!("{error:#}"))
    }
}

/// An empty variable is an unset one, as for the tools these come from.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// An absolute path. A relative one is meant from the current folder or, as cargo runs a package's tests in the folder
/// of that package, from the workspace's.
fn located(path: &Path) -> PathBuf {
    let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let from_workspace = workspace.join(path);
    let found = if !path.exists() && from_workspace.exists() {
        &from_workspace
    } else {
        path
    };
    std::path::absolute(found).unwrap_or_else(|_| found.to_owned())
}

fn existing(kubeconfig: PathBuf) -> Result<Source, String> {
    if kubeconfig.is_file() {
        Ok(Source::Existing(kubeconfig))
    } else {
        Err(format!(
            "{KUBECONFIG_VARIABLE} names {}, which is not a file",
            kubeconfig.display()
        ))
    }
}

fn assets(folder: &Path, needed: &[Component]) -> Result<Programs, String> {
    let programs: Programs = Component::ALL
        .into_iter()
        .map(|component| (component, folder.join(component.program())))
        .filter(|(_, path)| path.is_file())
        .collect();
    let missing: Vec<&str> = needed
        .iter()
        .filter(|component| programs.get(**component).is_none())
        .map(|component| component.program())
        .collect();
    if missing.is_empty() {
        Ok(programs)
    } else {
        Err(format!(
            "{ASSETS_VARIABLE} has no {} in {}",
            missing.join(", "),
            folder.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_binaries_lacks_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["etcd", "kube-apiserver"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let programs = assets(folder.path(), &[Component::Etcd, Component::ApiServer]).unwrap();
        assert!(programs.get(Component::ApiServer).is_some());
        assert!(programs.get(Component::Kwok).is_none());
        let why = assets(folder.path(), &Component::ALL).unwrap_err();
        assert!(
            why.contains("no kube-controller-manager, kube-scheduler, kwok in"),
            "{why}"
        );
    }

    #[test]
    fn a_kubeconfig_must_be_there() {
        let why = existing(PathBuf::from("/nowhere/config")).unwrap_err();
        assert!(why.contains(KUBECONFIG_VARIABLE), "{why}");
    }

    #[test]
    fn relative_paths_are_those_of_the_workspace() {
        // Of this package, where its tests run, and of the workspace, where they were asked for.
        for path in ["src/source.rs", "tests/control-plane/src/source.rs"] {
            let located = located(Path::new(path));
            assert!(located.is_absolute() && located.is_file(), "{located:?}");
        }
        assert!(located(Path::new("no/such/file")).is_absolute());
    }
}
