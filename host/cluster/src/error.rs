//! Why there is no target. Each message names where the setting stands and what to do next; none repeats
//! a value that may be secret.

use std::path::PathBuf;

/// Why a target could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Nothing says which cluster to use.
    #[error(
        "no cluster given: {looked}. Pass --kubeconfig FILE, set KUBECONFIG, or pass --server URL; --sim needs no cluster"
    )]
    NoTarget {
        /// What was looked for and not found.
        looked: String,
    },
    /// A file cannot be read.
    #[error("{origin}: cannot read {}: {source}", path.display())]
    Read {
        /// What asked for the file.
        origin: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A kubeconfig is not YAML of a kubeconfig's shape.
    #[error(
        "{}{}: not a valid kubeconfig: {reason}. `kubectl config view --kubeconfig FILE` shows whether kubectl reads it",
        path.display(),
        position.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default()
    )]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line and column, from 1.
        position: Option<(u64, u64)>,
        /// What kind of mistake; never the text itself.
        reason: String,
    },
    /// No context was asked for and the kubeconfig has no `current-context`.
    #[error("{origin}: current-context is not set; pass --context NAME ({available})")]
    NoCurrentContext {
        /// The kubeconfig.
        origin: String,
        /// The contexts there are.
        available: String,
    },
    /// A context or cluster is named that is not there.
    #[error("{origin}: {kind} {name:?} does not exist; there is {available}")]
    Unknown {
        /// The kubeconfig, and the context that names it.
        origin: String,
        /// `context` or `cluster`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The names there are.
        available: String,
    },
    /// A setting is unusable.
    #[error("{origin}: {key}: {reason}")]
    Setting {
        /// File, context, and the user or cluster the key belongs to.
        origin: String,
        /// The key as it is spelt in a kubeconfig, or the flag.
        key: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A credential plugin gave no credentials.
    #[error("{origin}: exec: {command}: {reason}")]
    Exec {
        /// File, context and user.
        origin: String,
        /// Name of the program, without its arguments and environment.
        command: String,
        /// What happened and what to do.
        reason: String,
    },
    /// The TLS settings do not fit together.
    #[error("{origin}: TLS: {reason}")]
    Tls {
        /// File and context, or flags.
        origin: String,
        /// What is wrong.
        reason: String,
    },
}
