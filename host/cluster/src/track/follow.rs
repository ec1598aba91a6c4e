//! List, watch, and keep at it: the loop that feeds a ledger from an API server.
//!
//! ```text
//! list ──► watch ──► the watch ends in peace ──► watch from the last revision
//!   ▲        ├─ 410, or refuses to go on ──► list
//!   └────────┴─ anything else ──► wait a little, watch from the last revision
//! ```

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::client::Body;
use parking_lot::Mutex;
use tokio::{sync::watch, time::timeout};

use super::{
    batch::read_batch,
    error::TrackError,
    ledger::{Counts, Ledger, LineError, Origin},
    lines::{LineTooLong, Lines},
    options::TrackOptions,
    request::Collection,
    retry::{Backoff, random_share},
};

/// A gap up to this long moves no stamp by more than tolerable, and is not marked.
const TOLERATED_GAP: Duration = Duration::from_millis(50);
/// How long after a gap stamps are marked: the server sends what was missed at once.
const RESUMED_FOR: Duration = Duration::from_secs(1);
/// A watch that ends sooner was not meant to.
const SHORT_WATCH: Duration = Duration::from_secs(1);
/// Answers of the server in a row that led nowhere before its revisions are no longer trusted.
const FUTILE_ANSWERS: u32 = 5;
/// Of an error's body.
const MAX_STATUS_BYTES: usize = 64 * 1024;

/// What the thread and the handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) published: watch::Sender<Published>,
}

/// What waiters look at.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) counts: Counts,
    /// The first list is entered and its watch is open.
    pub(crate) ready: bool,
    /// Why there is no more to come.
    pub(crate) ended: Option<TrackError>,
}

impl Shared {
    fn publish(&self, ledger: &Ledger) {
        self.published
            .send_modify(|published| published.counts.clone_from(ledger.counts()));
    }

    /// Changes the counts and shows them.
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut ledger = self.ledger.lock();
        change(&mut ledger.counts);
        self.publish(&ledger);
    }

    /// Says the end. The first reason stays.
    pub(crate) fn end(&self, why: TrackError) {
        self.published.send_modify(|published| {
            published.ended.get_or_insert(why);
        });
    }
}

/// Why a step did not succeed.
enum Failure {
    /// Nothing can go on.
    Ends(TrackError),
    /// The server says no.
    Refused(TrackError),
    /// The revision is too old.
    Expired(String),
    /// The server answered, but not as it should.
    Answer(String, Option<Duration>),
    /// There was no answer.
    Connection(String),
}

pub(crate) struct Follower {
    pub(crate) name: String,
    client: kube::Client,
    collection: Collection,
    options: TrackOptions,
    shared: Arc<Shared>,
    epoch: Instant,
    backoff: Backoff,
    ready: bool,
    listed: bool,
    refused_since: Option<Instant>,
    futile_answers: u32,
    /// When news was last certain to arrive, if no watch is open.
    away_since: Instant,
}

impl Follower {
    pub(crate) fn new(
        name: String,
        client: kube::Client,
        collection: Collection,
        options: TrackOptions,
        shared: Arc<Shared>,
        epoch: Instant,
    ) -> Self {
        Self {
            name,
            client,
            collection,
            backoff: Backoff::new(options.first_backoff, options.max_backoff),
            options,
            shared,
            epoch,
            ready: false,
            listed: false,
            refused_since: None,
            futile_answers: 0,
            away_since: epoch,
        }
    }

    /// Follows until nothing can go on; says why. Dropping it stops it.
    pub(crate) async fn run(mut self) -> TrackError {
        // Whether there is a revision to watch from.
        let mut placed = false;
        loop {
            let step = if placed {
                self.watch().await
            } else {
                self.list().await
            };
            let (reason, wish) = match step {
                Ok(()) => {
                    placed = true;
                    continue;
                }
                Err(Failure::Ends(error)) => return error,
                Err(Failure::Refused(error)) => {
                    let since = *self.refused_since.get_or_insert_with(Instant::now);
                    if !self.ready || since.elapsed() >= self.options.refusal_grace {
                        return error;
                    }
                    (error.to_string(), None)
                }
                Err(Failure::Expired(reason)) => {
                    placed = false;
                    (reason, None)
                }
                Err(Failure::Answer(reason, wish)) => {
                    self.futile_answers += 1;
                    if self.futile_answers >= FUTILE_ANSWERS {
                        self.futile_answers = 0;
                        placed = false;
                    }
                    (reason, wish)
                }
                Err(Failure::Connection(reason)) => (reason, None),
            };
            let wait = self.backoff.wait(wish);
            tracing::debug!(track = self.name, reason, ?wait, "list or watch failed");
            self.shared.count(|counts| {
                counts.failures += 1;
                counts.last_failure = Some(reason.into());
            });
            tokio::time::sleep(wait).await;
        }
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Enters everything there is.
    async fn list(&mut self) -> Result<(), Failure> {
        let origin = if self.ready {
            Origin::Relist
        } else {
            Origin::Initial
        };
        self.shared.ledger.lock().begin_list();
        let mut next = String::new();
        loop {
            let request = self.collection.list(&self.options, &next);
            let answer = self.options.answer;
            let (body, stamp) = timeout(answer, self.page(request))
                .await
                .map_err(|_| silent("a list", answer))??;
            let mut ledger = self.shared.ledger.lock();
            let meta = match ledger.page(&body, self.nanos(stamp), origin) {
                Ok(meta) => meta,
                Err(error) => return Err(self.line_failure(&mut ledger, error)),
            };
            if meta.next.is_empty() {
                ledger.end_list(meta.resource_version, self.nanos(stamp));
                ledger.counts.relists += u64::from(self.listed);
                self.listed = true;
                self.away_since = stamp;
                self.refused_since = None;
                self.shared.publish(&ledger);
                return Ok(());
            }
            next = meta.next;
            self.shared.publish(&ledger);
        }
    }

    /// One page, and when it was read.
    async fn page(
        &self,
        request: Result<Request<Body>, http::Error>,
    ) -> Result<(Bytes, Instant), Failure> {
        let response = self.send(request).await?;
        let limit = self.options.max_page_bytes;
        let body = Limited::new(response.into_body(), limit)
            .collect()
            .await
            .map_err(|error| {
                if error.is::<LengthLimitError>() {
                    self.too_long("a page", limit)
                } else {
                    Failure::Connection(format!("a list broke off: {}", chain(&*error)))
                }
            })?;
        Ok((body.to_bytes(), Instant::now()))
    }

    /// One watch from the last revision to its end.
    async fn watch(&mut self) -> Result<(), Failure> {
        let length = self.options.watch_length.mul_f64(1.0 + random_share());
        let seconds = length.as_secs().max(1);
        let version = self.shared.ledger.lock().resource_version.clone();
        let request = self.collection.watch(&version, seconds);
        let answer = self.options.answer;
        let response = timeout(answer, self.send(request))
            .await
            .map_err(|_| silent("a watch", answer))??;
        let opened = Instant::now();
        // A server that does not end the watch by itself is not waited for much longer.
        let ends = opened + Duration::from_secs(seconds) + Duration::from_secs(30);
        let gap = opened.saturating_duration_since(self.away_since);
        let resumed_until = (self.ready && gap > TOLERATED_GAP).then(|| opened + RESUMED_FOR);
        self.refused_since = None;
        self.opened();

        let mut body = response.into_body();
        let mut lines = Lines::new(self.options.max_line_bytes);
        let mut batch = Vec::new();
        let mut understood = 0_u64;
        loop {
            let patience = self
                .options
                .silence
                .min(ends.saturating_duration_since(Instant::now()));
            let end = match timeout(patience, read_batch(&mut body, &mut batch)).await {
                Ok(end) => end,
                Err(_) => Some(Err(format!(
                    "a watch was silent for {} s",
                    patience.as_secs()
                ))),
            };
            if let Some((_, stamp)) = batch.last() {
                self.away_since = *stamp;
            }
            let before = understood;
            let entered = self.enter(&mut lines, &mut batch, resumed_until, &mut understood);
            if understood > before {
                self.backoff.went_well();
                self.futile_answers = 0;
            }
            entered?;
            match end {
                None => {}
                Some(Err(reason)) => return Err(Failure::Connection(reason)),
                Some(Ok(())) => {
                    let lasted = opened.elapsed();
                    if lasted < SHORT_WATCH {
                        return Err(Failure::Answer(
                            format!("the server ended a watch after {} ms", lasted.as_millis()),
                            None,
                        ));
                    }
                    self.away_since = Instant::now();
                    self.backoff.went_well();
                    return Ok(());
                }
            }
        }
    }

    fn opened(&mut self) {
        if self.ready {
            self.shared.count(|counts| counts.reconnects += 1);
        } else {
            self.ready = true;
            self.shared
                .published
                .send_modify(|published| published.ready = true);
        }
    }

    /// Enters the lines of a batch.
    fn enter(
        &self,
        lines: &mut Lines,
        batch: &mut Vec<(Bytes, Instant)>,
        resumed_until: Option<Instant>,
        understood: &mut u64,
    ) -> Result<(), Failure> {
        let mut ledger = self.shared.ledger.lock();
        let mut result = Ok(());
        for (bytes, stamp) in batch.drain(..) {
            let origin = if resumed_until.is_some_and(|until| stamp < until) {
                Origin::Resumed
            } else {
                Origin::Live
            };
            let received_ns = self.nanos(stamp);
            result = lines.feed(&bytes, |line| {
                ledger.line(line, received_ns, origin)?;
                *understood += 1;
                Ok(())
            });
            if result.is_err() {
                break;
            }
        }
        let result = result.map_err(|stop| match stop {
            Stop::TooLong => self.too_long("an event", self.options.max_line_bytes),
            Stop::Line(error) => self.line_failure(&mut ledger, error),
        });
        self.shared.publish(&ledger);
        result
    }

    fn line_failure(&self, ledger: &mut Ledger, error: LineError) -> Failure {
        match error {
            LineError::Garbage(reason) => {
                ledger.counts.garbage += 1;
                Failure::Answer(
                    format!("the server sent what is no event or list: {reason}"),
                    None,
                )
            }
            LineError::Limit(error) => Failure::Ends(error),
            LineError::Status { code, message } => {
                let status =
                    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                self.status_failure(status, message, None)
            }
        }
    }

    fn too_long(&self, what: &'static str, limit_bytes: usize) -> Failure {
        Failure::Ends(TrackError::TooLong {
            name: self.name.clone(),
            what,
            limit_bytes,
        })
    }

    /// Sends a request; an answer other than 200 is a failure.
    async fn send(
        &self,
        request: Result<Request<Body>, http::Error>,
    ) -> Result<Response<Body>, Failure> {
        let request = request.map_err(|error| {
            Failure::Ends(TrackError::Spec {
                name: self.name.clone(),
                reason: format!("makes no request: {error}"),
            })
        })?;
        let response = self
            .client
            .send(request)
            .await
            .map_err(|error| Failure::Connection(chain(&error)))?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let wish = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let body = Limited::new(response.into_body(), MAX_STATUS_BYTES)
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        Err(self.status_failure(status, message_of(&body), wish))
    }

    fn status_failure(
        &self,
        status: StatusCode,
        message: String,
        wish: Option<Duration>,
    ) -> Failure {
        match status.as_u16() {
            410 => Failure::Expired(format!("the server answered 410: {message}")),
            code @ (400 | 401 | 403 | 404 | 405 | 422) => Failure::Refused(TrackError::Refused {
                name: self.name.clone(),
                status: code,
                path: self.collection.path.clone(),
                message,
            }),
            code => Failure::Answer(format!("the server answered {code}: {message}"), wish),
        }
    }
}

/// Why the lines of a batch were not all entered.
enum Stop {
    TooLong,
    Line(LineError),
}

impl From<LineTooLong> for Stop {
    fn from(_: LineTooLong) -> Self {
        Self::TooLong
    }
}

impl From<LineError> for Stop {
    fn from(error: LineError) -> Self {
        Self::Line(error)
    }
}

fn silent(what: &str, patience: Duration) -> Failure {
    Failure::Connection(format!(
        "no answer to {what} within {} s",
        patience.as_secs()
    ))
}

/// The server's words: the message of a Status, or the beginning of whatever it sent.
fn message_of(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Status {
        message: String,
    }
    serde_json::from_slice::<Status>(body).map_or_else(
        |_| {
            let text = String::from_utf8_lossy(body);
            text.trim().chars().take(200).collect()
        },
        |status| status.message,
    )
}

/// An error with its causes; many libraries say only in the last what happened.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
