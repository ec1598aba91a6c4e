//! One exchange on a stream of an HTTP/2 connection.

use std::{future::poll_fn, rc::Rc};

use http::{
    HeaderMap, Request, Uri,
    header::CONTENT_LENGTH,
    uri::{Authority, Scheme},
};

use super::{
    drain::{Drain, Step},
    exchange::{Answer, Call, Client, retry_after, verdict},
    failure::Failure,
    slot::{Permit, Slot},
};
use crate::request::ExchangeKind;

/// Scheme and authority of every request.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

/// Sends a call on the slot's connection and sees it to its end.
pub(crate) async fn exchange(
    slot: &Rc<Slot>,
    origin: &Origin,
    call: &Call,
    kind: ExchangeKind,
    drain: &mut Drain<'_>,
    client: &dyn Client,
) -> Answer {
    let permit = match slot.acquire().await {
        Ok(permit) => permit,
        Err(failure) => return Answer::failed(failure),
    };
    let request = match request(origin, call) {
        Ok(request) => request,
        Err(error) => return Answer::failed(Failure::unknown(error.to_string())),
    };
    let sent = client.depart();
    let (response, mut body) = match permit.send(request, call.body.is_empty()) {
        Ok(stream) => stream,
        Err(error) => {
            // Not even sent: the connection had said goodbye, or had failed, before we noticed.
            permit.retire(&error);
            return Answer::unprocessed(Failure::from_h2(&error, false));
        }
    };
    if !call.body.is_empty() {
        // The library holds it until the peer's window lets it go. An error shows in the response too.
        let _ = body.send_data(call.body.clone(), true);
    }
    let stamp = |permit: &Permit| permit.stamp().received_after(sent);
    let response = match response.await {
        Ok(response) => response,
        Err(error) => {
            let is_unprocessed = is_unprocessed(&error);
            return Answer {
                is_unprocessed,
                ended: stamp(&permit),
                ..Answer::failed(Failure::from_h2(&error, false))
            };
        }
    };
    let (head, mut stream) = response.into_parts();
    let status = head.status.as_u16();
    let is_success = head.status.is_success();
    let mut answer = Answer {
        status,
        retry_after: if is_success {
            None
        } else {
            retry_after(&head.headers)
        },
        ended: stamp(&permit),
        bytes: 0,
        failure: None,
        is_unprocessed: false,
    };
    if is_success {
        drain.begin(&head.headers);
    }
    if let (true, ExchangeKind::Watch { hold }) = (is_success, kind) {
        // Measured to the headers; then held, and cancelled by us as a success.
        let result = tokio::select! {
            result = read_body(&mut stream, drain, true, &mut answer.bytes) => result,
            () = client.hold(hold) => Ok(()),
        };
        answer.failure = match result {
            Err(error) if !is_complete(&error, &head.headers, answer.bytes) => {
                Some(Failure::from_h2(&error, true))
            }
            _ => drain.finish(),
        };
        return answer;
    }
    let result = read_body(&mut stream, drain, is_success, &mut answer.bytes).await;
    answer.ended = stamp(&permit);
    answer.failure = match result {
        Err(error) if is_success && !is_complete(&error, &head.headers, answer.bytes) => {
            Some(Failure::from_h2(&error, true))
        }
        // kperf counts a status even when its body was cut off.
        _ => verdict(status, drain),
    };
    answer
}

fn request(origin: &Origin, call: &Call) -> Result<Request<()>, http::Error> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(origin.scheme.clone());
    parts.authority = Some(origin.authority.clone());
    parts.path_and_query = Some(call.path.clone());
    let mut request = Request::new(());
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = Uri::from_parts(parts)?;
    *request.headers_mut() = (*call.headers).clone();
    Ok(request)
}

/// Reads to the end of the body, or until the drain has seen enough.
async fn read_body(
    stream: &mut h2::RecvStream,
    drain: &mut Drain<'_>,
    is_success: bool,
    bytes: &mut u64,
) -> Result<(), h2::Error> {
    while let Some(piece) = poll_fn(|cx| stream.poll_data(cx)).await {
        let piece = piece?;
        *bytes += piece.len() as u64;
        // Gives the window back; fails only when the stream is gone, which the next read says better.
        let _ = stream.flow_control().release_capacity(piece.len());
        if is_success && drain.take(&piece) == Step::Done {
            return Ok(());
        }
    }
    Ok(())
}

/// The server says that it has not begun with the request.
fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote()
        && (error.is_go_away()
            || (error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)))
}

/// A reset with NO_ERROR after the whole answer: the server only had no use for the rest of our body.
fn is_complete(error: &h2::Error, headers: &HeaderMap, bytes: u64) -> bool {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    error.is_reset()
        && error.reason() == Some(h2::Reason::NO_ERROR)
        && announced.is_none_or(|announced| announced == bytes)
}
