//! How much load a benchmark may drive at once: a plugin says how much it wants, and what it is wrong about must not cost
//! this process its memory.

use std::sync::Arc;

use kperf_runtime::{Failure, failure};
use parking_lot::Mutex;

use crate::profile::{MAX_CLIENTS, MAX_CONNS};

/// Loads that run side by side.
const MAX_LOADS: u64 = 64;
/// Loads of one run, one after the other or not.
const MAX_STARTED: u64 = 10_000;
/// Runners of one load.
const MAX_RUNNERS: u64 = 10_000;

/// What is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    loads: u64,
    conns: u64,
    clients: u64,
    started: u64,
}

/// What the loads of a run share.
#[derive(Default)]
pub(super) struct Room(Arc<Mutex<Used>>);

/// A load's part, until it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    of: Arc<Mutex<Used>>,
    conns: u64,
    clients: u64,
}

impl Room {
    /// Takes a load's part of it.
    ///
    /// # Errors
    /// `invalid`: there is not that much.
    pub(super) fn take(
        &self,
        load: &str,
        runners: u32,
        conns: u32,
        clients: u32,
    ) -> Result<Taken, Failure> {
        let mut used = self.0.lock();
        let (conns, clients) = (u64::from(conns), u64::from(clients));
        let checks = [
            ("runners in one load", 0, u64::from(runners), MAX_RUNNERS),
            ("loads in one run", used.started, 1, MAX_STARTED),
            ("loads at once", used.loads, 1, MAX_LOADS),
            ("connections at once", used.conns, conns, MAX_CONNS.into()),
            ("clients at once", used.clients, clients, MAX_CLIENTS.into()),
        ];
        for (what, used, more, most) in checks {
            let wanted = used.saturating_add(more);
            if wanted > most {
                return Err(failure(
                    "invalid",
                    format!(
                        "load `{load}`: {wanted} {what} are wanted, at most {most} are possible"
                    ),
                ));
            }
        }
        used.started += 1;
        used.loads += 1;
        used.conns += conns;
        used.clients += clients;
        Ok(Taken {
            of: Arc::clone(&self.0),
            conns,
            clients,
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut used = self.of.lock();
        used.loads -= 1;
        used.conns -= self.conns;
        used.clients -= self.clients;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_share_what_there_is() {
        let room = Room::default();
        let half = room.take("a", 1, MAX_CONNS / 2, 10).unwrap();
        for (runners, conns, clients, said) in [
            (1, MAX_CONNS, 1, "connections at once"),
            (u32::MAX, 1, 1, "runners in one load"),
            (1, 1, u32::MAX, "clients at once"),
            (1, u32::MAX, 1, "connections at once"),
        ] {
            let error = room.take("b", runners, conns, clients).unwrap_err();
            assert_eq!(error.code, "invalid");
            assert!(error.message.contains(said), "{}", error.message);
        }
        drop(half);
        room.take("b", 1, MAX_CONNS, 1).unwrap();
        let all: Vec<_> = (0..MAX_LOADS).map(|_| room.take("c", 1, 1, 1)).collect();
        assert!(all.iter().all(Result::is_ok));
        assert!(room.take("c", 1, 1, 1).is_err());
    }
}
