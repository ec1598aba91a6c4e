//! The connections of a shard, and which client uses which: client i works on connection i mod conns.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::{
    HeaderValue,
    uri::{Authority, PathAndQuery, Scheme},
};
use tokio::task::JoinSet;

use crate::{
    net::{
        dial::{ConnectError, Dialer, Stage},
        drain::Drain,
        exchange::{Answer, Call, Client},
        failure::Failure,
        http1,
        http2::{self, Origin, slot::Slot},
        redial::ConnectionCounts,
    },
    plan::{EngineConfig, Protocol, Target},
    request::ExchangeKind,
};

/// Handshakes under way at once on a shard: more would only wait for its core.
const CONCURRENT_DIALS: usize = 16;

/// All connections of one shard.
#[derive(Debug)]
pub(crate) struct Lanes {
    dialer: Rc<Dialer>,
    protocol: Protocol,
    conns: u32,
    origin: Origin,
    host: HeaderValue,
    pub(crate) counts: Rc<ConnectionCounts>,
    slots: BTreeMap<u32, Rc<Slot>>,
    sockets: RefCell<HashMap<u32, http1::Lane>>,
}

/// What one client sends on.
#[derive(Debug)]
pub(crate) enum Lane {
    Http2(http2::Lane),
    Http1(Box<http1::Lane>),
}

impl Lane {
    pub(crate) async fn exchange(
        &mut self,
        call: &Call<'_>,
        kind: ExchangeKind,
        drain: &Rc<RefCell<Drain>>,
        client: &dyn Client,
    ) -> Answer {
        match self {
            Self::Http2(lane) => lane.exchange(call, kind, drain, client).await,
            Self::Http1(lane) => lane.exchange(call, kind, drain, client).await,
        }
    }

    /// The exchange was given up half way.
    pub(crate) fn given_up(&mut self) {
        if let Self::Http1(lane) = self {
            lane.discard();
        }
    }
}

impl Lanes {
    /// Opens the given connections; returns how long each took.
    pub(crate) async fn open(
        target: Arc<Target>,
        config: &EngineConfig,
        connections: &[u32],
    ) -> Result<(Self, Vec<Duration>), ConnectError> {
        let invalid = |what: &str| {
            ConnectError::new(
                target.url(),
                Stage::Resolve,
                what,
                Failure::unknown("invalid target"),
            )
        };
        let host = if target.host.contains(':') {
            format!("[{}]", target.host)
        } else {
            target.host.clone()
        };
        let (scheme, default_port) = match target.tls {
            Some(_) => (Scheme::HTTPS, 443),
            None => (Scheme::HTTP, 80),
        };
        // As Go's client writes it: the port only where it is not the scheme's own.
        let authority = if target.port == default_port {
            host
        } else {
            format!("{host}:{}", target.port)
        };
        let origin = Origin {
            scheme,
            authority: Authority::try_from(authority.as_str())
                .map_err(|error| invalid(&format!("{authority:?} is no host: {error}")))?,
        };
        let host = HeaderValue::try_from(authority.as_str())
            .map_err(|error| invalid(&format!("{authority:?} is no host: {error}")))?;
        if !target.path_prefix.is_empty() {
            PathAndQuery::try_from(target.path_prefix.as_str())
                .map_err(|error| invalid(&format!("{:?}: {error}", target.path_prefix)))?;
        }
        let mut lanes = Self {
            dialer: Rc::new(Dialer::new(target, config)),
            protocol: config.protocol,
            conns: config.conns.max(1),
            origin,
            host,
            counts: Rc::default(),
            slots: BTreeMap::new(),
            sockets: RefCell::default(),
        };
        let took = match config.protocol {
            Protocol::Http1 => lanes.open_sockets(connections).await?,
            Protocol::Http2 => {
                let opened = concurrently(connections, |_| {
                    Slot::open(Rc::clone(&lanes.dialer), Rc::clone(&lanes.counts))
                })
                .await?;
                let mut took = Vec::with_capacity(opened.len());
                for (connection, (slot, time)) in opened {
                    lanes.slots.insert(connection, slot);
                    took.push(time);
                }
                took
            }
        };
        Ok((lanes, took))
    }

    async fn open_sockets(&self, clients: &[u32]) -> Result<Vec<Duration>, ConnectError> {
        let opened = concurrently(clients, |_| {
            http1::Lane::open(
                Rc::clone(&self.dialer),
                Rc::clone(&self.counts),
                self.host.clone(),
            )
        })
        .await?;
        let mut sockets = self.sockets.borrow_mut();
        let mut took = Vec::with_capacity(opened.len());
        for (client, (lane, time)) in opened {
            sockets.insert(client, lane);
            took.push(time);
        }
        Ok(took)
    }

    /// Sees to it that every client has what it needs before the phase starts.
    pub(crate) async fn prepare(&self, clients: &[u32]) -> Result<(), ConnectError> {
        if self.protocol == Protocol::Http2 {
            return Ok(());
        }
        let missing: Vec<u32> = {
            let sockets = self.sockets.borrow();
            clients
                .iter()
                .copied()
                .filter(|client| !sockets.contains_key(client))
                .collect()
        };
        self.open_sockets(&missing).await.map(|_| ())
    }

    /// The lane of a client, until it is given back.
    pub(crate) fn take(&self, client: u32) -> Option<Lane> {
        match self.protocol {
            Protocol::Http2 => self
                .slots
                .get(&(client % self.conns))
                .map(|slot| Lane::Http2(http2::Lane::new(Rc::clone(slot)))),
            Protocol::Http1 => self
                .sockets
                .borrow_mut()
                .remove(&client)
                .map(|lane| Lane::Http1(Box::new(lane))),
        }
    }

    pub(crate) fn give_back(&self, client: u32, lane: Lane) {
        if let Lane::Http1(lane) = lane {
            self.sockets.borrow_mut().insert(client, *lane);
        }
    }

    /// Connections in use by the given clients.
    pub(crate) fn used_by(&self, clients: &[u32]) -> u32 {
        match self.protocol {
            Protocol::Http1 => clients.len() as u32,
            Protocol::Http2 => (clients.len() as u32).min(self.slots.len() as u32),
        }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn target(&self) -> &Target {
        self.dialer.target()
    }

    pub(crate) fn close(&self) {
        for slot in self.slots.values() {
            slot.close();
        }
        self.sockets.borrow_mut().clear();
    }
}

/// Runs one job per number, a few at a time; the first error ends it.
async fn concurrently<T: 'static, F>(
    numbers: &[u32],
    job: impl Fn(u32) -> F,
) -> Result<Vec<(u32, T)>, ConnectError>
where
    F: Future<Output = Result<T, ConnectError>> + 'static,
{
    let mut left = numbers.iter().copied();
    let mut running = JoinSet::new();
    let mut out = Vec::with_capacity(numbers.len());
    loop {
        while running.len() < CONCURRENT_DIALS
            && let Some(number) = left.next()
        {
            let work = job(number);
            running.spawn_local(async move { (number, work.await) });
        }
        match running.join_next().await {
            None => return Ok(out),
            Some(Ok((number, result))) => out.push((number, result?)),
            Some(Err(error)) => {
                return Err(ConnectError::new(
                    "the server",
                    Stage::Dial,
                    format!("a dial ended in a panic: {error}"),
                    Failure::unknown("panic"),
                ));
            }
        }
    }
}
