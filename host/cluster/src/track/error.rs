//! Why tracking cannot begin or go on.

/// Why a tracker could not start, or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrackError {
    /// The spec cannot be used.
    #[error("track {name:?}: {reason}")]
    Spec {
        /// Name of the tracker.
        name: String,
        /// Which part is wrong, and what to write instead.
        reason: String,
    },
    /// The server says no, and asking again would not help.
    #[error(
        "track {name:?}: the server answered {status} to GET {path}: {message}{}",
        advice(*status)
    )]
    Refused {
        /// Name of the tracker.
        name: String,
        /// HTTP status: 400, 401, 403, 404, 405 or 422.
        status: u16,
        /// Path of the request.
        path: String,
        /// What the server said.
        message: String,
    },
    /// The first list and watch did not succeed in time.
    #[error("track {name:?}: no list and watch of GET {path} within {seconds} s: {reason}")]
    Unavailable {
        /// Name of the tracker.
        name: String,
        /// Path of the request.
        path: String,
        /// How long was tried.
        seconds: u64,
        /// The last failure.
        reason: String,
    },
    /// A single event or page is larger than anything the API serves.
    #[error(
        "track {name:?}: the server sent {what} of more than {limit_bytes} bytes; it is not what it should be"
    )]
    TooLong {
        /// Name of the tracker.
        name: String,
        /// `an event` or `a page`.
        what: &'static str,
        /// The limit.
        limit_bytes: usize,
    },
    /// More objects than memory is meant for.
    #[error("track {name:?}: more than {limit} objects; select fewer, or raise the limit")]
    TooManyObjects {
        /// Name of the tracker.
        name: String,
        /// The limit.
        limit: usize,
    },
    /// A client could not be made of the configuration, or no thread.
    #[error("track {name:?}: cannot start: {reason}")]
    Start {
        /// Name of the tracker.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A milestone is asked for that the spec does not have.
    #[error("there is no milestone {index}; the spec has {count}, counted from 0")]
    NoMilestone {
        /// What was asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// The thread of the tracker is gone.
    #[error("the tracker's thread ended unexpectedly; please report this with the log")]
    Lost,
    /// The tracker was stopped.
    #[error("the tracker was stopped")]
    Stopped,
}

fn advice(status: u16) -> &'static str {
    match status {
        401 => ". Check the credentials of this context",
        403 => ". Ask for the verbs list and watch on this resource",
        404 => ". `kubectl api-resources` shows what the server has",
        _ => "",
    }
}
