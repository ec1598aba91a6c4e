//! HTTP/2: one exchange on a stream of a connection that others use too.
//!
//! The protocol is our own, because what a request costs and when its bytes leave decides what a load
//! generator measures: [`machine`] is the protocol without I/O, [`connection`] gives it a socket, [`slot`]
//! keeps a connection alive through GOAWAYs and losses, [`receipt`] is where a client waits.

use std::{cell::RefCell, rc::Rc};

use http::uri::{Authority, Scheme};

use super::{
    drain::Drain,
    exchange::{Answer, Call, Client},
};
use crate::request::ExchangeKind;

mod connection;
mod frame;
mod hpack;
mod huffman;
mod machine;
mod receipt;
pub(crate) mod slot;

pub(crate) use hpack::Head;
use receipt::Receipt;
use slot::Slot;

/// Scheme and authority of every request.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

/// What one client sends on.
#[derive(Debug)]
pub(crate) struct Lane {
    slot: Rc<Slot>,
    receipt: Rc<Receipt>,
}

impl Lane {
    pub(crate) fn new(slot: Rc<Slot>) -> Self {
        Self {
            slot,
            receipt: Rc::default(),
        }
    }

    /// Sends a call on the slot's connection and sees it to its end.
    pub(crate) async fn exchange(
        &self,
        call: &Call<'_>,
        kind: ExchangeKind,
        drain: &Rc<RefCell<Drain>>,
        client: &dyn Client,
    ) -> Answer {
        let connection = match self.slot.acquire().await {
            Ok(connection) => connection,
            Err(failure) => return Answer::failed(failure),
        };
        let hold = match kind {
            ExchangeKind::Watch { hold } => Some(hold),
            ExchangeKind::Request | ExchangeKind::WatchList => None,
        };
        let sent = client.depart();
        self.receipt.begin(&connection, drain, sent, hold.is_some());
        let stream = connection.open(call, Rc::clone(&self.receipt));
        match hold {
            // Measured to the headers; then held, and cancelled by us as a success.
            Some(hold) if self.receipt.began_well().await => tokio::select! {
                () = self.receipt.ended() => {}
                () = client.hold(hold) => {}
            },
            _ => self.receipt.ended().await,
        }
        drop(stream);
        self.slot.wake_next();
        self.receipt.answer()
    }
}
