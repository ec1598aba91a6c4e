//! HTTP/1.1: a socket per client, redialled when the server closed it.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request,
    header::{CONTENT_TYPE, HOST, RETRY_AFTER},
};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::{
    dial::{ConnectError, Dialer, Stage},
    drain::{Drain, Step},
    exchange::{Answer, Call, Client, parse_retry_after, verdict},
    failure::Failure,
    redial::{ConnectionCounts, backoff},
    socket::Stamp,
};
use crate::request::ExchangeKind;

/// One client's socket.
#[derive(Debug)]
pub(crate) struct Lane {
    dialer: Rc<Dialer>,
    counts: Rc<ConnectionCounts>,
    host: HeaderValue,
    live: Option<Live>,
    failed_dials: u32,
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Live {
    send: SendRequest<Full<Bytes>>,
    stamp: Rc<Stamp>,
}

impl Lane {
    /// Opens the socket; returns how long it took.
    pub(crate) async fn open(
        dialer: Rc<Dialer>,
        counts: Rc<ConnectionCounts>,
        host: HeaderValue,
    ) -> Result<(Self, Duration), ConnectError> {
        let started = Instant::now();
        let mut lane = Self {
            dialer,
            counts,
            host,
            live: None,
            failed_dials: 0,
            not_before: None,
        };
        lane.live = Some(lane.dial().await?);
        Ok((lane, started.elapsed()))
    }

    async fn dial(&self) -> Result<Live, ConnectError> {
        let dialed = self.dialer.dial().await?;
        let (send, connection) = http1::handshake(TokioIo::new(dialed.stream))
            .await
            .map_err(|error| {
                ConnectError::new(
                    &dialed.address,
                    Stage::Dial,
                    &error,
                    Failure::from_http1(&error, false),
                )
            })?;
        tokio::task::spawn_local(async move {
            // What goes wrong here reaches the exchange as its own error.
            let _ = connection.await;
        });
        Ok(Live {
            send,
            stamp: dialed.stamp,
        })
    }

    /// A usable socket, dialled anew if need be; waits out the pause after failed dials.
    async fn ready(&mut self) -> Result<&mut Live, Failure> {
        let is_usable = match &mut self.live {
            Some(live) => live.send.ready().await.is_ok(),
            None => false,
        };
        if !is_usable {
            self.live = None;
            if let Some(moment) = self.not_before {
                tokio::time::sleep_until(moment.into()).await;
            }
            match self.dial().await {
                Ok(live) => {
                    self.live = Some(live);
                    self.failed_dials = 0;
                    self.not_before = None;
                    self.counts.redials.set(self.counts.redials.get() + 1);
                }
                Err(error) => {
                    self.not_before = Some(Instant::now() + backoff(self.failed_dials));
                    self.failed_dials = self.failed_dials.saturating_add(1);
                    return Err(error.failure);
                }
            }
        }
        self.live
            .as_mut()
            .ok_or_else(|| Failure::unknown("no connection"))
    }

    /// Gives the socket up: what is left of an answer nobody waits for must not meet the next request.
    pub(crate) fn discard(&mut self) {
        self.live = None;
    }

    /// Sends a call and sees it to its end.
    pub(crate) async fn exchange(
        &mut self,
        call: &Call<'_>,
        kind: ExchangeKind,
        drain: &RefCell<Drain>,
        client: &dyn Client,
    ) -> Answer {
        let host = self.host.clone();
        let live = match self.ready().await {
            Ok(live) => live,
            Err(failure) => return Answer::failed(failure),
        };
        let mut request = Request::new(Full::new(call.body().clone()));
        *request.method_mut() = call.common.method.clone();
        *request.uri_mut() = call.path().clone().into();
        *request.headers_mut() = call.common.headers.clone();
        request.headers_mut().insert(HOST, host);
        let sent = client.depart();
        let stamp = Rc::clone(&live.stamp);
        let response = match live.send.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => {
                let is_unsent = error.take_message().is_some();
                let failure = Failure::from_http1(error.error(), false);
                self.discard();
                return Answer {
                    is_unprocessed: is_unsent,
                    ..Answer::failed(failure)
                };
            }
        };
        let (head, mut body) = response.into_parts();
        let status = head.status.as_u16();
        let is_success = head.status.is_success();
        let mut answer = Answer {
            status,
            retry_after: if is_success {
                None
            } else {
                let value = head.headers.get(RETRY_AFTER);
                value.and_then(|value| parse_retry_after(value.as_bytes()))
            },
            ended: stamp.received_after(sent),
            bytes: 0,
            failure: None,
            is_unprocessed: false,
        };
        if is_success {
            drain.borrow_mut().begin(|| {
                let value = head.headers.get(CONTENT_TYPE);
                value.map(|value| value.as_bytes().to_vec())
            });
        }
        let hold = match kind {
            ExchangeKind::Watch { hold } if is_success => Some(hold),
            _ => None,
        };
        let read = async {
            while let Some(frame) = body.frame().await {
                let Ok(piece) = frame?.into_data() else {
                    continue;
                };
                answer.bytes += piece.len() as u64;
                if is_success && drain.borrow_mut().take(&piece) == Step::Done {
                    return Ok(false);
                }
            }
            Ok::<bool, hyper::Error>(true)
        };
        let result = match hold {
            None => read.await,
            Some(hold) => tokio::select! {
                result = read => result,
                () = client.hold(hold) => Ok(false),
            },
        };
        if hold.is_none() {
            answer.ended = stamp.received_after(sent);
        }
        match result {
            Ok(is_whole) => {
                if !is_whole {
                    self.discard();
                }
                answer.failure = verdict(status, &drain.borrow());
            }
            Err(error) => {
                self.discard();
                // Nothing was received that would stamp it.
                answer.ended = Instant::now();
                answer.failure = if is_success {
                    Some(Failure::from_http1(&error, true))
                } else {
                    Some(Failure::http(status))
                };
            }
        }
        answer
    }
}
