//! How much load a benchmark may drive at once: a plugin says how much it wants, and what it is wrong about must not cost
//! this process its memory, or this machine or the cluster more runners than there is room for.

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

/// Runners of all loads that run side by side, as pods of the cluster.
const MAX_PODS: u64 = MAX_RUNNERS;
/// The same, as processes of this machine: each is a whole program here.
const MAX_PROCESSES: u64 = 64;

/// What is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    loads: u64,
    conns: u64,
    clients: u64,
    /// Those that are not this process.
    runners: u64,
    started: u64,
}

/// Who sends a load.
#[derive(Clone, Copy, Debug)]
pub(super) enum Senders {
    /// This process, with so many connections and clients.
    Own {
        /// Of all runners together.
        conns: u32,
        /// Of all runners together.
        clients: u32,
    },
    /// Processes of this machine, one for each runner.
    Processes,
    /// Pods of the cluster, one for each runner.
    Pods,
}

/// What the loads of a run share.
#[derive(Default)]
pub(super) struct Room(Arc<Mutex<Used>>);

/// A load's part, until it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    of: Arc<Mutex<Used>>,
    part: Used,
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
        senders: Senders,
    ) -> Result<Taken, Failure> {
        let mut used = self.0.lock();
        let one = Used {
            loads: 1,
            started: 1,
            ..Used::default()
        };
        let runners = u64::from(runners);
        let (part, runners_at_once) = match senders {
            Senders::Own { conns, clients } => {
                let part = Used {
                    conns: conns.into(),
                    clients: clients.into(),
                    ..one
                };
                (part, ("runners at once", MAX_PODS))
            }
            Senders::Processes => (
                Used { runners, ..one },
                (
                    "runners at once as processes of this machine",
                    MAX_PROCESSES,
                ),
            ),
            Senders::Pods => (Used { runners, ..one }, ("runners at once", MAX_PODS)),
        };
        let checks = [
            ("runners in one load", 0, runners, MAX_RUNNERS),
            ("loads in one run", used.started, part.started, MAX_STARTED),
            ("loads at once", used.loads, part.loads, MAX_LOADS),
            (
                runners_at_once.0,
                used.runners,
                part.runners,
                runners_at_once.1,
            ),
            (
                "connections at once",
                used.conns,
                part.conns,
                MAX_CONNS.into(),
            ),
            (
                "clients at once",
                used.clients,
                part.clients,
                MAX_CLIENTS.into(),
            ),
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
        used.started += part.started;
        used.loads += part.loads;
        used.conns += part.conns;
        used.clients += part.clients;
        used.runners += part.runners;
        Ok(Taken {
            of: Arc::clone(&self.0),
            part,
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut used = self.of.lock();
        used.loads -= self.part.loads;
        used.conns -= self.part.conns;
        used.clients -= self.part.clients;
        used.runners -= self.part.runners;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(conns: u32, clients: u32) -> Senders {
        Senders::Own { conns, clients }
    }

    #[test]
    fn loads_share_what_there_is() {
        let room = Room::default();
        let half = room.take("a", 1, own(MAX_CONNS / 2, 10)).unwrap();
        for (runners, conns, clients, said) in [
            (1, MAX_CONNS, 1, "connections at once"),
            (u32::MAX, 1, 1, "runners in one load"),
            (1, 1, u32::MAX, "clients at once"),
            (1, u32::MAX, 1, "connections at once"),
        ] {
            let error = room.take("b", runners, own(conns, clients)).unwrap_err();
            assert_eq!(error.code, "invalid");
            assert!(error.message.contains(said), "{}", error.message);
        }
        drop(half);
        room.take("b", 1, own(MAX_CONNS, 1)).unwrap();
        let all: Vec<_> = (0..MAX_LOADS)
            .map(|_| room.take("c", 1, own(1, 1)))
            .collect();
        assert!(all.iter().all(Result::is_ok));
        assert!(room.take("c", 1, own(1, 1)).is_err());
        assert!(room.take("c", 1, Senders::Pods).is_err());
    }

    #[test]
    fn runners_are_counted_and_processes_of_this_machine_are_few() {
        let room = Room::default();
        let some = room.take("a", 60, Senders::Processes).unwrap();
        let error = room.take("b", 5, Senders::Processes).unwrap_err();
        assert_eq!(
            error.message,
            "load `b`: 65 runners at once as processes of this machine are wanted, at most 64 are possible"
        );
        drop(some);
        room.take("b", 64, Senders::Processes).unwrap();
        let pods = room.take("c", 9_999, Senders::Pods).unwrap();
        assert!(room.take("d", 2, Senders::Pods).is_err());
        drop(pods);
        assert!(room.take("d", 10_001, Senders::Pods).is_err());
        room.take("d", 10_000, Senders::Pods).unwrap();
    }
}
