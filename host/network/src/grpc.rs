//! The orchestrator's gRPC service: turns the streams of workers into events, which one place handles one by one.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    proto::{self, Order, orchestrator_server::Orchestrator, report::Report},
    schedule::WorkerInfo,
};

/// How long a new stream may take to register.
const REGISTRATION: Duration = Duration::from_secs(10);
/// Orders that may wait for a slow worker; there is never more than a handful.
const ORDERS: usize = 16;

/// Where orders of a worker go; dropped, the worker's stream ends.
pub(crate) type Orders = mpsc::Sender<Result<Order, Status>>;

/// What happens at the workers.
#[derive(Debug)]
pub(crate) enum Event {
    /// A worker wants to join.
    Joining(Joining),
    /// One of its reports.
    Report { connection: u64, report: Report },
    /// Its stream is closed.
    Left { connection: u64 },
}

/// A worker that wants to join.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) connection: u64,
    pub(crate) info: WorkerInfo,
    pub(crate) orders: Orders,
    pub(crate) answer: oneshot::Sender<Result<(), Status>>,
}

/// The service of one run.
#[derive(Debug)]
pub(crate) struct Service {
    events: mpsc::UnboundedSender<Event>,
    connections: AtomicU64,
}

impl Service {
    pub(crate) fn new(events: mpsc::UnboundedSender<Event>) -> Self {
        Self {
            events,
            connections: AtomicU64::new(1),
        }
    }
}

/// Says that the worker left, however its stream came to its end.
struct Leaving {
    connection: u64,
    events: mpsc::UnboundedSender<Event>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // Nobody listens once the run is over.
        let _ = self.events.send(Event::Left {
            connection: self.connection,
        });
    }
}

#[tonic::async_trait]
impl Orchestrator for Service {
    type WorkStream = ReceiverStream<Result<Order, Status>>;

    async fn work(
        &self,
        request: Request<Streaming<proto::Report>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let over = || Status::unavailable("the run is over");
        let mut reports = request.into_inner();
        let first = timeout(REGISTRATION, reports.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no registration came"))??;
        let Some(Report::Registration(registration)) = first.and_then(|first| first.report) else {
            return Err(Status::invalid_argument(
                "the first report is not a registration",
            ));
        };
        let info = WorkerInfo::try_from(registration).map_err(Status::invalid_argument)?;
        let leaving = Leaving {
            connection: self.connections.fetch_add(1, Ordering::Relaxed),
            events: self.events.clone(),
        };
        let (orders, orders_out) = mpsc::channel(ORDERS);
        let (answer, answered) = oneshot::channel();
        self.events
            .send(Event::Joining(Joining {
                connection: leaving.connection,
                info,
                orders,
                answer,
            }))
            .map_err(|_| over())?;
        answered.await.map_err(|_| over())??;
        tokio::spawn(async move {
            // An error is a worker that is gone; so is the end of the stream.
            while let Ok(Some(report)) = reports.message().await {
                let Some(report) = report.report else {
                    continue;
                };
                let event = Event::Report {
                    connection: leaving.connection,
                    report,
                };
                if leaving.events.send(event).is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(orders_out)))
    }
}
