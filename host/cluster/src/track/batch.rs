//! Bytes off a watch, stamped as they are read.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use kube::client::Body;

use super::follow::chain;

/// Bytes read and stamped in one go before any is parsed.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// Frames of it.
const MAX_BATCH_FRAMES: usize = 256;
/// Waits for bytes, then takes all that are there, each frame stamped as it comes: nothing is parsed in
/// between. `Some` is how the body ended. What was taken stays in `batch` if this is dropped.
pub(crate) async fn read_batch(
    body: &mut Body,
    batch: &mut Vec<(Bytes, Instant)>,
) -> Option<Result<(), String>> {
    let mut frame = body.frame().await;
    let mut bytes = 0;
    let mut yielded = false;
    loop {
        match frame {
            None => return Some(Ok(())),
            Some(Err(error)) => return Some(Err(format!("a watch broke off: {}", chain(&error)))),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    bytes += data.len();
                    batch.push((data, Instant::now()));
                    yielded = false;
                }
            }
        }
        if bytes >= MAX_BATCH_BYTES || batch.len() >= MAX_BATCH_FRAMES {
            return None;
        }
        frame = loop {
            let ready = poll_fn(|context| {
                let mut frame = body.frame();
                Poll::Ready(match Pin::new(&mut frame).poll(context) {
                    Poll::Ready(frame) => Some(frame),
                    Poll::Pending => None,
                })
            })
            .await;
            match ready {
                Some(frame) => break frame,
                None if yielded => return None,
                None => {
                    // The connection is a task on this thread: it reads on when it gets a turn.
                    tokio::task::yield_now().await;
                    yielded = true;
                }
            }
        };
    }
}
