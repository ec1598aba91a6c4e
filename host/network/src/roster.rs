//! Who takes part in a run, who is connected, and who is busy.

use tonic::Status;
use tracing::{info, warn};

use crate::{
    grpc::{Joining, Orders},
    proto::{Order, Welcome, order},
    schedule::WorkerInfo,
};

/// The workers of a run.
#[derive(Debug)]
pub(crate) struct Roster {
    benchmark: String,
    /// Whether names that are not known yet may join.
    open: bool,
    /// How many may join.
    expected: usize,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    info: WorkerInfo,
    connection: Option<(u64, Orders)>,
    busy: bool,
}

impl Roster {
    pub(crate) fn new(benchmark: &str, expected: usize) -> Self {
        Self {
            benchmark: benchmark.to_owned(),
            open: true,
            expected,
            members: Vec::new(),
        }
    }

    /// Those who took part before the orchestrator was started again. Nobody else joins them.
    pub(crate) fn resume(&mut self, workers: Vec<WorkerInfo>) {
        self.open = false;
        self.members = workers
            .into_iter()
            .map(|info| Member {
                info,
                connection: None,
                busy: false,
            })
            .collect();
    }

    /// From now on only known names join.
    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    /// Those who came and went before the run begins do not take part.
    pub(crate) fn forget_absent(&mut self) {
        self.members.retain(|member| member.connection.is_some());
    }

    /// All who take part, by name.
    pub(crate) fn workers(&self) -> Vec<WorkerInfo> {
        let mut workers: Vec<_> = self.members.iter().map(|m| m.info.clone()).collect();
        workers.sort_by(|a, b| a.name.cmp(&b.name));
        workers
    }

    pub(crate) fn connected(&self) -> usize {
        self.members
            .iter()
            .filter(|member| member.connection.is_some())
            .count()
    }

    /// Names of those who are not connected.
    pub(crate) fn absent(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .members
            .iter()
            .filter(|member| member.connection.is_none())
            .map(|member| member.info.name.clone())
            .collect();
        names.sort();
        names
    }

    /// Takes a worker in, or says why not. Under a known name it replaces the one who had it, unless that one is busy.
    pub(crate) fn join(&mut self, joining: Joining) {
        let name = joining.info.name.clone();
        let result = self.admit(&joining.info);
        if let Err(status) = &result {
            warn!(worker = name, "refused: {}", status.message());
        } else {
            info!(worker = name, "registered");
            let welcome = Order {
                order: Some(order::Order::Welcome(Welcome {
                    benchmark: self.benchmark.clone(),
                })),
            };
            // The channel is new, so there is room.
            let _ = joining.orders.try_send(Ok(welcome));
            let connection = Some((joining.connection, joining.orders));
            match self.members.iter_mut().find(|m| m.info.name == name) {
                Some(member) => {
                    member.info = joining.info;
                    member.connection = connection;
                }
                None => self.members.push(Member {
                    info: joining.info,
                    connection,
                    busy: false,
                }),
            }
        }
        // One who is gone already says so by the end of its stream.
        let _ = joining.answer.send(result);
    }

    fn admit(&self, info: &WorkerInfo) -> Result<(), Status> {
        match self.members.iter().find(|m| m.info.name == info.name) {
            Some(member) if member.busy => Err(Status::already_exists(format!(
                "{} is busy with a task",
                info.name
            ))),
            Some(member) if paths(&member.info) != paths(info) && !self.open => {
                Err(Status::failed_precondition(format!(
                    "{} was registered with other paths",
                    info.name
                )))
            }
            Some(_) => Ok(()),
            None if !self.open => Err(Status::failed_precondition(format!(
                "registration is closed, and {} does not belong to this run",
                info.name
            ))),
            // One that came and went before the run begins does not take part, so it takes no place either.
            None if self.connected() >= self.expected => Err(Status::failed_precondition(format!(
                "there are {} workers already",
                self.expected
            ))),
            None => Ok(()),
        }
    }

    /// A stream is closed. Gives the name of the worker, unless another has taken its place.
    pub(crate) fn left(&mut self, connection: u64) -> Option<String> {
        let member = self
            .members
            .iter_mut()
            .find(|member| matches!(&member.connection, Some((id, _)) if *id == connection))?;
        member.connection = None;
        Some(member.info.name.clone())
    }

    /// Ends the stream of a worker that does not answer.
    pub(crate) fn expel(&mut self, name: &str) {
        if let Some(member) = self.members.iter_mut().find(|m| m.info.name == name) {
            warn!(worker = name, "does not answer, its connection is closed");
            member.connection = None;
        }
    }

    pub(crate) fn info(&self, name: &str) -> Option<&WorkerInfo> {
        self.members
            .iter()
            .map(|member| &member.info)
            .find(|info| info.name == name)
    }

    /// Its connection, while it has one.
    pub(crate) fn connection(&self, name: &str) -> Option<u64> {
        self.members
            .iter()
            .find(|member| member.info.name == name)?
            .connection
            .as_ref()
            .map(|(id, _)| *id)
    }

    /// Marks both ends of a pair as busy: false, and nothing changed, when anybody is busy.
    pub(crate) fn occupy(&mut self, client: &str, server: &str) -> bool {
        if self.members.iter().any(|member| member.busy) {
            return false;
        }
        for member in &mut self.members {
            member.busy = member.info.name == client || member.info.name == server;
        }
        true
    }

    /// Nobody is busy any more.
    pub(crate) fn release(&mut self) {
        for member in &mut self.members {
            member.busy = false;
        }
    }

    /// Whether ports of two workers collide.
    pub(crate) fn share_ports(&self) -> bool {
        let mut namespaces: Vec<_> = self
            .members
            .iter()
            .map(|member| &member.info.network_namespace)
            .filter(|namespace| !namespace.is_empty())
            .collect();
        namespaces.sort();
        namespaces
            .windows(2)
            .any(|pair| pair.first() == pair.last())
    }

    /// Gives an order to a worker; without a connection it is lost, as the worker is.
    pub(crate) fn order(&self, name: &str, order: order::Order) {
        let orders = self
            .members
            .iter()
            .find(|member| member.info.name == name)
            .and_then(|member| member.connection.as_ref());
        if let Some((_, orders)) = orders {
            let _ = orders.try_send(Ok(Order { order: Some(order) }));
        }
    }
}

fn paths(info: &WorkerInfo) -> Vec<&str> {
    info.addresses
        .iter()
        .map(|address| &*address.path)
        .collect()
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::schedule::Address;

    fn join(roster: &mut Roster, name: &str, connection: u64) -> Result<(), tonic::Code> {
        let (orders, kept) = mpsc::channel(4);
        std::mem::forget(kept);
        let (answer, mut answered) = oneshot::channel();
        roster.join(Joining {
            connection,
            info: WorkerInfo {
                name: name.to_owned(),
                addresses: vec![Address {
                    path: "pod".to_owned(),
                    host: "10.0.0.1".to_owned(),
                }],
                hostname: String::new(),
                zone: String::new(),
                network_namespace: String::new(),
            },
            orders,
            answer,
        });
        answered.try_recv().unwrap().map_err(|status| status.code())
    }

    #[test]
    fn a_replacement_waits_for_the_end_of_the_task() {
        let mut roster = Roster::new("b", 3);
        for (connection, name) in (1..).zip(["a", "b", "c"]) {
            assert_eq!(join(&mut roster, name, connection), Ok(()));
        }
        roster.close();
        assert!(roster.occupy("a", "b"));
        assert_eq!(join(&mut roster, "a", 4), Err(tonic::Code::AlreadyExists));
        assert_eq!(join(&mut roster, "c", 5), Ok(()));
        roster.release();
        assert_eq!(join(&mut roster, "a", 6), Ok(()));
        // The end of the old stream says nothing about the new one.
        assert_eq!(roster.left(1), None);
        assert_eq!(roster.connection("a"), Some(6));
        assert_eq!(roster.left(6).as_deref(), Some("a"));
        assert_eq!(roster.absent(), ["a"]);
    }

    #[test]
    fn no_more_and_no_others_than_expected() {
        let mut roster = Roster::new("b", 2);
        assert_eq!(join(&mut roster, "a", 1), Ok(()));
        assert_eq!(join(&mut roster, "b", 2), Ok(()));
        let refused = Err(tonic::Code::FailedPrecondition);
        assert_eq!(join(&mut roster, "c", 3), refused);
        assert_eq!(roster.left(1).as_deref(), Some("a"));
        assert_eq!(join(&mut roster, "c", 3), Ok(()));
        assert_eq!(join(&mut roster, "d", 4), refused);
        roster.forget_absent();
        let workers = roster.workers();
        let mut resumed = Roster::new("b", 9);
        resumed.resume(workers);
        assert_eq!(resumed.absent(), ["b", "c"]);
        assert_eq!(join(&mut resumed, "a", 1), refused);
        assert_eq!(join(&mut resumed, "b", 2), Ok(()));
        assert_eq!(resumed.connected(), 1);
    }

    #[test]
    fn never_more_than_one_pair_is_busy() {
        let mut roster = Roster::new("b", 3);
        for (connection, name) in (1..).zip(["a", "b", "c"]) {
            join(&mut roster, name, connection).unwrap();
        }
        assert!(roster.occupy("a", "b"));
        assert!(!roster.occupy("b", "c"));
        assert!(!roster.occupy("c", "a"));
        roster.release();
        assert!(roster.occupy("c", "a"));
    }
}
