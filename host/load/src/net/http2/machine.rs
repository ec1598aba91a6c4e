//! The client's side of one HTTP/2 connection, RFC 9113, without I/O and without a clock: bytes from the
//! server go in, bytes for the server pile up in a buffer, and receivers are told what came for them.
//!
//! Nothing is allocated per request; the table of streams keeps its room. Bodies pass through by
//! reference and are never kept. A server that breaks the rules of its connection costs the connection,
//! one that breaks those of a stream costs that stream.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
};

use bytes::Bytes;

use super::{
    frame::{
        DEFAULT_MAX_FRAME_BYTES, DEFAULT_WINDOW_BYTES, ErrorCode, HEADER_BYTES, Header,
        MAX_WINDOW_BYTES, PREFACE, flag, kind, put, read_u32, setting,
    },
    hpack::{self, Head, NO_DYNAMIC_TABLE, Response},
};
use crate::net::drain::Step;

/// Our windows: the largest there is, for streams and connection alike. We count bodies as they come and
/// keep nothing, so there is nothing to hold a server back for.
const WINDOW_BYTES: i64 = MAX_WINDOW_BYTES;
/// A window is filled up again when half of it is used: one WINDOW_UPDATE in a GiB.
const REFILL_BYTES: i64 = WINDOW_BYTES / 2;
/// Header block of one response, all its frames together.
const MAX_BLOCK_BYTES: usize = 256 << 10;
/// Frames of one header block.
const MAX_BLOCK_FRAMES: u32 = 64;
/// Bodies wait when so much is to be written already: what is opened meanwhile shall not queue behind them.
const ENOUGH_OUTPUT_BYTES: usize = 256 << 10;
/// A server that asks for answers and reads none gets no more than so much of them.
const MAX_OUTPUT_BYTES: usize = 16 << 20;
/// The connection is given up this long before its stream numbers run out.
const LAST_STREAM: u32 = (1 << 31) - 1_000_001;
/// What our PINGs carry.
const PING: [u8; 8] = *b"kperf-h2";

/// Where a response goes. Exactly one `end` follows what came before, unless the stream is cancelled.
pub(crate) trait Receiver {
    /// The final headers.
    fn head(&self, response: &Response<'_>);
    /// A piece of the body. `Done`: no more is wanted, the stream is cancelled and `end` comes at once.
    fn data(&self, piece: &[u8]) -> Step;
    /// Nothing more comes.
    fn end(&self, end: End);
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The server ended its response.
    Complete,
    /// The receiver had enough.
    Enough,
    /// The server reset the stream.
    Reset(ErrorCode),
    /// The server said goodbye before it looked at the request.
    Unprocessed,
    /// The response broke a rule.
    Malformed(Violation),
    /// The body is shorter or longer than the headers announced.
    WrongLength,
}

/// A rule that the server broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct Violation {
    pub(crate) code: ErrorCode,
    pub(crate) message: &'static str,
}

const fn broken(code: ErrorCode, message: &'static str) -> Violation {
    Violation { code, message }
}

fn violation<T>(code: ErrorCode, message: &'static str) -> Result<T, Violation> {
    Err(broken(code, message))
}

/// A goodbye.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GoAway {
    pub(crate) last_stream: u32,
    pub(crate) code: ErrorCode,
    /// What the server said beside it; bounded by the size of a frame.
    pub(crate) debug: String,
}

#[derive(Debug)]
struct Stream<R> {
    receiver: R,
    has_head: bool,
    /// Bytes announced by the headers, if they bind: a HEAD or a 304 has none.
    announced: Option<u64>,
    has_body: bool,
    received: u64,
    /// What may still come in before the window is refilled.
    window: i64,
    /// What may still go out, and what waits to.
    send_window: i64,
    unsent: Bytes,
    /// It stands in the queue of those that wait for the connection.
    is_queued: bool,
}

/// A DATA frame of which a part has arrived: it passes through as it comes.
#[derive(Clone, Copy, Debug)]
struct Data {
    stream: u32,
    left: usize,
    padding: usize,
    is_end: bool,
}

/// A header block of which a part has arrived.
#[derive(Debug)]
struct Block {
    stream: u32,
    is_end: bool,
    bytes: Vec<u8>,
    frames: u32,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Machine<R> {
    out: Vec<u8>,
    /// So much of it is written.
    written: usize,
    /// The start of a frame whose rest has not arrived, unless it is of DATA.
    start: Vec<u8>,
    data: Option<Data>,
    block: Option<Block>,
    streams: HashMap<u32, Stream<R>, BuildHasherDefault<StreamHasher>>,
    next_stream: u32,
    is_first_block: bool,
    max_streams: u32,
    initial_send_window: i64,
    max_frame_bytes: usize,
    send_window: i64,
    window: i64,
    /// Streams with bytes to send that wait for the connection: its window, or room in the output. Those that
    /// wait for their own window are called by its update.
    queue: VecDeque<u32>,
    goaway: Option<GoAway>,
    has_settings: bool,
    pongs: u32,
}

impl<R: Receiver> Machine<R> {
    /// Writes preface, SETTINGS, and a PING whose answer says that the server's SETTINGS are in force.
    pub(crate) fn new() -> Self {
        let mut out = Vec::with_capacity(4096);
        out.extend_from_slice(PREFACE);
        let settings = [
            (setting::HEADER_TABLE_SIZE, 0),
            (setting::ENABLE_PUSH, 0),
            (setting::INITIAL_WINDOW_SIZE, WINDOW_BYTES as u32),
            (setting::MAX_HEADER_LIST_SIZE, MAX_BLOCK_BYTES as u32),
        ];
        let mut payload = Vec::with_capacity(settings.len() * 6);
        for (name, value) in settings {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&u32::to_be_bytes(value));
        }
        put(&mut out, kind::SETTINGS, 0, 0, &payload);
        let more = (WINDOW_BYTES - DEFAULT_WINDOW_BYTES) as u32;
        put(&mut out, kind::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        put(&mut out, kind::PING, 0, 0, &PING);
        Self {
            out,
            written: 0,
            start: Vec::new(),
            data: None,
            block: None,
            streams: HashMap::default(),
            next_stream: 1,
            is_first_block: true,
            // Until the server says otherwise: section 6.5.2 recommends at least 100 to everybody.
            max_streams: 100,
            initial_send_window: DEFAULT_WINDOW_BYTES,
            max_frame_bytes: DEFAULT_MAX_FRAME_BYTES,
            send_window: DEFAULT_WINDOW_BYTES,
            window: WINDOW_BYTES,
            queue: VecDeque::new(),
            goaway: None,
            has_settings: false,
            pongs: 0,
        }
    }

    /// The server's SETTINGS are known and our PING was answered.
    pub(crate) fn is_established(&self) -> bool {
        self.has_settings && self.pongs > 0
    }

    /// Takes new streams: the server has not said goodbye, and there are numbers left.
    pub(crate) fn is_usable(&self) -> bool {
        self.goaway.is_none() && self.next_stream <= LAST_STREAM
    }

    pub(crate) fn goaway(&self) -> Option<&GoAway> {
        self.goaway.as_ref()
    }

    /// Streams that may be opened now.
    pub(crate) fn room(&self) -> usize {
        if self.is_usable() {
            (self.max_streams as usize).saturating_sub(self.streams.len())
        } else {
            0
        }
    }

    pub(crate) fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// What is to be written.
    pub(crate) fn output(&self) -> &[u8] {
        self.out.get(self.written..).unwrap_or_default()
    }

    /// So much of it was written.
    pub(crate) fn written(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written >= self.out.len() {
            self.out.clear();
            self.written = 0;
        } else if self.written > ENOUGH_OUTPUT_BYTES {
            self.out.drain(..self.written);
            self.written = 0;
        }
        self.send_queued();
    }

    /// Opens a stream. The caller has seen to it that there is room.
    pub(crate) fn open(
        &mut self,
        head: &Head,
        path: &[u8],
        body: Bytes,
        expects_body: bool,
        receiver: R,
    ) -> u32 {
        let id = self.next_stream;
        self.next_stream += 2;
        let flags = if body.is_empty() {
            flag::END_HEADERS | flag::END_STREAM
        } else {
            flag::END_HEADERS
        };
        let start = self.out.len();
        self.out.extend_from_slice(&[0; HEADER_BYTES]);
        if std::mem::take(&mut self.is_first_block) {
            self.out.push(NO_DYNAMIC_TABLE);
        }
        head.put(&mut self.out, path, body.len());
        self.seal_headers(start, flags, id);
        let send_window = self.initial_send_window;
        self.streams.insert(
            id,
            Stream {
                receiver,
                has_head: false,
                announced: None,
                has_body: expects_body,
                received: 0,
                window: WINDOW_BYTES,
                send_window,
                unsent: body,
                is_queued: false,
            },
        );
        self.queue(id);
        self.send_queued();
        id
    }

    /// Gives the frame that starts at `start` its header; cuts what is too long into CONTINUATIONs.
    fn seal_headers(&mut self, start: usize, flags: u8, stream: u32) {
        let payload_bytes = self.out.len() - start - HEADER_BYTES;
        let mut header = Header {
            payload_bytes,
            kind: kind::HEADERS,
            flags,
            stream,
        };
        if payload_bytes > self.max_frame_bytes {
            let block = self.out.split_off(start + HEADER_BYTES);
            self.out.truncate(start);
            let mut pieces = block.chunks(self.max_frame_bytes).peekable();
            header.flags &= !flag::END_HEADERS;
            while let Some(piece) = pieces.next() {
                if pieces.peek().is_none() {
                    header.flags |= flag::END_HEADERS;
                }
                put(&mut self.out, header.kind, header.flags, stream, piece);
                header.kind = kind::CONTINUATION;
                header.flags = 0;
            }
        } else if let Some(place) = self.out.get_mut(start..start + HEADER_BYTES) {
            place.copy_from_slice(&header.bytes());
        }
    }

    /// Lets a stream wait for its turn to send of its body.
    fn queue(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.unsent.is_empty()
            && stream.send_window > 0
            && !stream.is_queued
        {
            stream.is_queued = true;
            self.queue.push_back(id);
        }
    }

    /// Sends of the bodies, a frame of each in turn, what the windows and the output let through.
    fn send_queued(&mut self) {
        while self.send_window > 0
            && self.output().len() < ENOUGH_OUTPUT_BYTES
            && let Some(id) = self.queue.pop_front()
        {
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            stream.is_queued = false;
            let window = self.send_window.min(stream.send_window);
            let Ok(window @ 1..) = usize::try_from(window) else {
                continue;
            };
            let bytes = window.min(self.max_frame_bytes).min(stream.unsent.len());
            let piece = stream.unsent.split_to(bytes);
            self.send_window -= bytes as i64;
            stream.send_window -= bytes as i64;
            let flags = if stream.unsent.is_empty() {
                flag::END_STREAM
            } else {
                0
            };
            put(&mut self.out, kind::DATA, flags, id, &piece);
            self.queue(id);
        }
    }

    /// Forgets a stream.
    fn remove(&mut self, id: u32) -> Option<Stream<R>> {
        let stream = self.streams.remove(&id)?;
        if stream.is_queued {
            self.queue.retain(|&queued| queued != id);
        }
        Some(stream)
    }

    /// Ends a stream from our side; its receiver hears nothing more. False when it is over already.
    pub(crate) fn cancel(&mut self, id: u32) -> bool {
        let is_open = self.remove(id).is_some();
        if is_open {
            self.reset(id, ErrorCode::CANCEL);
        }
        is_open
    }

    /// Ends all streams for a reason of the caller's own.
    pub(crate) fn abandon(&mut self) -> Vec<R> {
        self.queue.clear();
        self.streams
            .drain()
            .map(|(_, stream)| stream.receiver)
            .collect()
    }

    /// Says goodbye, with the reason if the server is to blame.
    pub(crate) fn say_goodbye(&mut self, violation: Option<Violation>) {
        let code = violation.map_or(ErrorCode::NO_ERROR, |violation| violation.code);
        let message = violation.map_or("", |violation| violation.message);
        // The server opens no streams, so the last one of its is 0.
        let mut payload = vec![0; 4];
        payload.extend_from_slice(&code.0.to_be_bytes());
        payload.extend_from_slice(message.as_bytes());
        put(&mut self.out, kind::GOAWAY, 0, 0, &payload);
    }

    fn reset(&mut self, id: u32, code: ErrorCode) {
        put(
            &mut self.out,
            kind::RST_STREAM,
            0,
            id,
            &code.0.to_be_bytes(),
        );
    }

    fn end(&mut self, id: u32, end: End) {
        if let Some(stream) = self.remove(id) {
            stream.receiver.end(end);
        }
    }

    /// Ends a stream with a RST_STREAM for what the server did.
    fn abort(&mut self, id: u32, violation: Violation) {
        self.end(id, End::Malformed(violation));
        self.reset(id, violation.code);
    }

    /// Takes what the server sent, in pieces of any size.
    pub(crate) fn receive(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        loop {
            if self.data.is_some() {
                bytes = self.data_piece(bytes);
                if self.data.is_some() {
                    return Ok(());
                }
            } else if self.start.is_empty() {
                match self.whole_frame(bytes)? {
                    Some(rest) => bytes = rest,
                    None => {
                        self.start.extend_from_slice(bytes);
                        return Ok(());
                    }
                }
            } else {
                let wanted = missing(&self.start)?;
                let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
                self.start.extend_from_slice(taken);
                bytes = rest;
                if missing(&self.start)? == 0 {
                    let mut frame = std::mem::take(&mut self.start);
                    let result = self.whole_frame(&frame).map(|_| ());
                    // Keeps the room for the next one.
                    frame.clear();
                    self.start = frame;
                    result?;
                } else if bytes.is_empty() {
                    return Ok(());
                }
            }
        }
    }

    /// Takes one frame off the front, of DATA its header; returns what follows. None when it is not there
    /// whole.
    fn whole_frame<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, Violation> {
        let Some((header, payload)) = split_header(bytes) else {
            return Ok(None);
        };
        check_size(header)?;
        if header.kind == kind::DATA {
            // The first byte may be the length of the padding.
            if header.has(flag::PADDED) && payload.is_empty() {
                return Ok(None);
            }
            return self.data_begins(header, payload).map(Some);
        }
        let Some((payload, rest)) = payload.split_at_checked(header.payload_bytes) else {
            return Ok(None);
        };
        self.frame(header, payload)?;
        Ok(Some(rest))
    }

    /// The header of a DATA frame, and its padding length if it has one; returns what follows.
    fn data_begins<'a>(
        &mut self,
        header: Header,
        payload: &'a [u8],
    ) -> Result<&'a [u8], Violation> {
        self.expect_no_block()?;
        self.expect_opened(header.stream)?;
        let (padding, left, payload) = match payload.split_first() {
            Some((&padding, rest)) if header.has(flag::PADDED) => {
                let left = header
                    .payload_bytes
                    .checked_sub(1 + usize::from(padding))
                    .ok_or(broken(
                        ErrorCode::PROTOCOL_ERROR,
                        "padding longer than its frame",
                    ))?;
                (usize::from(padding), left, rest)
            }
            _ => (0, header.payload_bytes, payload),
        };
        self.count_received(header)?;
        self.data = Some(Data {
            stream: header.stream,
            left,
            padding,
            is_end: header.has(flag::END_STREAM),
        });
        Ok(payload)
    }

    /// Flow control of what comes in. The padding counts.
    fn count_received(&mut self, header: Header) -> Result<(), Violation> {
        let bytes = header.payload_bytes as i64;
        self.window -= bytes;
        if self.window < 0 {
            return violation(ErrorCode::FLOW_CONTROL_ERROR, "more DATA than the window");
        }
        if self.window < REFILL_BYTES {
            let more = (WINDOW_BYTES - self.window) as u32;
            self.window = WINDOW_BYTES;
            put(
                &mut self.out,
                kind::WINDOW_UPDATE,
                0,
                0,
                &more.to_be_bytes(),
            );
        }
        let id = header.stream;
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        stream.window -= bytes;
        if stream.window < 0 {
            let why = "more DATA than the window of the stream";
            self.abort(id, broken(ErrorCode::FLOW_CONTROL_ERROR, why));
        } else if stream.window < REFILL_BYTES && !header.has(flag::END_STREAM) {
            let more = (WINDOW_BYTES - stream.window) as u32;
            stream.window = WINDOW_BYTES;
            put(
                &mut self.out,
                kind::WINDOW_UPDATE,
                0,
                id,
                &more.to_be_bytes(),
            );
        }
        Ok(())
    }

    /// Part of a DATA frame; returns what follows it.
    fn data_piece<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(mut data) = self.data.take() else {
            return bytes;
        };
        let (piece, rest) = bytes.split_at(data.left.min(bytes.len()));
        data.left -= piece.len();
        let skipped = if data.left == 0 {
            data.padding.min(rest.len())
        } else {
            0
        };
        data.padding -= skipped;
        if !piece.is_empty() {
            self.deliver(data.stream, piece);
        }
        if data.left > 0 || data.padding > 0 {
            self.data = Some(data);
        } else if data.is_end {
            self.complete(data.stream);
        }
        rest.get(skipped..).unwrap_or_default()
    }

    fn deliver(&mut self, id: u32, piece: &[u8]) {
        // A stream that we have cancelled: what was under way.
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if !stream.has_head {
            let why = "a body before its headers";
            return self.abort(id, broken(ErrorCode::PROTOCOL_ERROR, why));
        }
        stream.received += piece.len() as u64;
        if stream.announced.is_some_and(|most| stream.received > most) {
            self.end(id, End::WrongLength);
            return self.reset(id, ErrorCode::PROTOCOL_ERROR);
        }
        if stream.receiver.data(piece) == Step::Done {
            self.end(id, End::Enough);
            self.reset(id, ErrorCode::CANCEL);
        }
    }

    /// The server has ended its side of a stream.
    fn complete(&mut self, id: u32) {
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        let end = if !stream.has_head {
            End::Malformed(broken(
                ErrorCode::PROTOCOL_ERROR,
                "an end before the headers",
            ))
        } else if stream.announced.is_some_and(|all| stream.received != all) {
            End::WrongLength
        } else {
            End::Complete
        };
        let is_body_left = !stream.unsent.is_empty();
        self.end(id, end);
        if is_body_left {
            // The answer needs no more of our body.
            self.reset(id, ErrorCode::NO_ERROR);
        }
    }

    fn expect_no_block(&self) -> Result<(), Violation> {
        match self.block {
            None => Ok(()),
            Some(_) => violation(
                ErrorCode::PROTOCOL_ERROR,
                "another frame within a header block",
            ),
        }
    }

    /// Streams are ours, odd, and opened by us.
    fn expect_opened(&self, id: u32) -> Result<(), Violation> {
        if id.is_multiple_of(2) || id >= self.next_stream {
            violation(ErrorCode::PROTOCOL_ERROR, "a frame on an idle stream")
        } else {
            Ok(())
        }
    }

    /// A whole frame other than DATA.
    fn frame(&mut self, header: Header, payload: &[u8]) -> Result<(), Violation> {
        if header.kind == kind::CONTINUATION {
            return self.continuation(header, payload);
        }
        self.expect_no_block()?;
        if !self.has_settings && header.kind != kind::SETTINGS {
            return violation(ErrorCode::PROTOCOL_ERROR, "the first frame is not SETTINGS");
        }
        match header.kind {
            kind::HEADERS => self.headers(header, payload),
            kind::RST_STREAM => self.rst_stream(header, payload),
            kind::SETTINGS => self.settings(header, payload),
            kind::PUSH_PROMISE => violation(ErrorCode::PROTOCOL_ERROR, "PUSH_PROMISE"),
            kind::PING => self.ping(header, payload),
            kind::GOAWAY => self.goodbye(header, payload),
            kind::WINDOW_UPDATE => self.window_update(header, payload),
            // PRIORITY, and what later standards add.
            _ => Ok(()),
        }
    }

    fn headers(&mut self, header: Header, payload: &[u8]) -> Result<(), Violation> {
        self.expect_opened(header.stream)?;
        let why = "HEADERS too short for its flags";
        let too_short = broken(ErrorCode::FRAME_SIZE_ERROR, why);
        let (mut block, mut padding) = (payload, 0);
        if header.has(flag::PADDED) {
            let (first, rest) = block.split_first().ok_or(too_short)?;
            (block, padding) = (rest, usize::from(*first));
        }
        if header.has(flag::PRIORITY) {
            block = block.get(5..).ok_or(too_short)?;
        }
        let bytes = block.len().checked_sub(padding).ok_or(broken(
            ErrorCode::PROTOCOL_ERROR,
            "padding longer than its frame",
        ))?;
        block = block.get(..bytes).unwrap_or_default();
        let is_end = header.has(flag::END_STREAM);
        if header.has(flag::END_HEADERS) {
            return self.block(header.stream, is_end, block);
        }
        self.block = Some(Block {
            stream: header.stream,
            is_end,
            bytes: block.to_vec(),
            frames: 1,
        });
        Ok(())
    }

    fn continuation(&mut self, header: Header, payload: &[u8]) -> Result<(), Violation> {
        let Some(mut block) = self.block.take() else {
            return violation(ErrorCode::PROTOCOL_ERROR, "CONTINUATION of nothing");
        };
        if block.stream != header.stream {
            return violation(
                ErrorCode::PROTOCOL_ERROR,
                "CONTINUATION of another stream's headers",
            );
        }
        block.frames += 1;
        if block.frames > MAX_BLOCK_FRAMES || block.bytes.len() + payload.len() > MAX_BLOCK_BYTES {
            return violation(
                ErrorCode::ENHANCE_YOUR_CALM,
                "a header block of more than 256 KiB or 64 frames",
            );
        }
        block.bytes.extend_from_slice(payload);
        if header.has(flag::END_HEADERS) {
            return self.block(block.stream, block.is_end, &block.bytes);
        }
        self.block = Some(block);
        Ok(())
    }

    /// A whole header block: an informational response, the response, or trailers.
    fn block(&mut self, id: u32, is_end: bool, block: &[u8]) -> Result<(), Violation> {
        let why = "a header block that cannot be read";
        let not_readable = broken(ErrorCode::COMPRESSION_ERROR, why);
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        if stream.has_head {
            hpack::check(block).map_err(|_| not_readable)?;
            if is_end {
                self.complete(id);
            } else {
                let why = "trailers that do not end the stream";
                self.abort(id, broken(ErrorCode::PROTOCOL_ERROR, why));
            }
            return Ok(());
        }
        let Ok(response) = Response::parse(block) else {
            hpack::check(block).map_err(|_| not_readable)?;
            // Readable, but no response.
            let why = "response headers without a status or with two lengths";
            self.abort(id, broken(ErrorCode::PROTOCOL_ERROR, why));
            return Ok(());
        };
        if (100..200).contains(&response.status) {
            if is_end {
                let why = "an informational response that ends the stream";
                self.abort(id, broken(ErrorCode::PROTOCOL_ERROR, why));
            }
            return Ok(());
        }
        stream.has_head = true;
        if stream.has_body && response.status != 304 {
            stream.announced = response.announced_bytes;
        }
        stream.receiver.head(&response);
        if is_end {
            self.complete(id);
        }
        Ok(())
    }

    fn rst_stream(&mut self, header: Header, payload: &[u8]) -> Result<(), Violation> {
        self.expect_opened(header.stream)?;
        let code = fixed_u32(payload, "RST_STREAM of a wrong size")?;
        let id = header.stream;
        let Some(stream) = self.streams.get(&id) else {
            return Ok(());
        };
        // The whole answer was there, only its end was not said: the server has no use for our body.
        let is_whole = stream.has_head
            && ErrorCode(code) == ErrorCode::NO_ERROR
            && stream.announced == Some(stream.received);
        self.end(
            id,
            if is_whole {
                End::Complete
            } else {
                End::Reset(ErrorCode(code))
            },
        );
        Ok(())
    }

    fn settings(&mut self, header: Header, payload: &[u8]) -> Result<(), Violation> {
        if header.stream != 0 {
            return violation(ErrorCode::PROTOCOL_ERROR, "SETTINGS on a stream");
        }
        if header.has(flag::ACK) {
            return if payload.is_empty() {
                Ok(())
            } else {
                violation(ErrorCode::FRAME_SIZE_ERROR, "SETTINGS ACK with a payload")
            };
        }
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return violation(ErrorCode::FRAME_SIZE_ERROR, "SETTINGS of a wrong size");
        }
        let mut is_window_changed = false;
        for &[n0, n1, v0, v1, v2, v3] in settings {
            let value = u32::from_be_bytes([v0, v1, v2, v3]);
            match u16::from_be_bytes([n0, n1]) {
                setting::ENABLE_PUSH if value != 0 => {
                    return violation(ErrorCode::PROTOCOL_ERROR, "a server that enables push");
                }
                setting::MAX_CONCURRENT_STREAMS => self.max_streams = value,
                setting::INITIAL_WINDOW_SIZE => {
                    self.set_initial_window(i64::from(value))?;
                    is_window_changed = true;
                }
                setting::MAX_FRAME_SIZE => {
                    let bytes = value as usize;
                    if !(DEFAULT_MAX_FRAME_BYTES..1 << 24).contains(&bytes) {
                        return violation(ErrorCode::PROTOCOL_ERROR, "a wrong MAX_FRAME_SIZE");
                    }
                    self.max_frame_bytes = bytes;
                }
                _ => {}
            }
        }
        if !self.has_settings {
            self.has_settings = true;
            let names = settings.iter().map(|&[n0, n1, ..]| [n0, n1]);
            let is_limited = names
                .map(u16::from_be_bytes)
                .any(|name| name == setting::MAX_CONCURRENT_STREAMS);
            if !is_limited {
                self.max_streams = u32::MAX;
            }
        }
        self.reply(kind::SETTINGS, &[])?;
        // After the acknowledgement: only now does the server know that its new window counts.
        if is_window_changed {
            let ids: Vec<u32> = self.streams.keys().copied().collect();
            for id in ids {
                self.queue(id);
            }
            self.send_queued();
        }
        Ok(())
    }

    /// Applies to open streams too, whose windows may become negative by it: section 6.9.2.
    fn set_initial_window(&mut self, bytes: i64) -> Result<(), Violation> {
        if bytes > MAX_WINDOW_BYTES {
            return violation(ErrorCode::FLOW_CONTROL_ERROR, "a wrong INITIAL_WINDOW_SIZE");
        }
        let change = bytes - self.initial_send_window;
        self.initial_send_window = bytes;
        for stream in self.streams.values_mut() {
            stream.send_window += change;
            if stream.send_window > MAX_WINDOW_BYTES {
                return violation(ErrorCode::FLOW_CONTROL_ERROR, "a window beyond 2^31 - 1");
            }
        }
        Ok(())
    }

    fn ping(&mut self, header: Header, payload: &[u8]) -> Result<(), Violation> {
        if header.stream != 0 {
            return violation(ErrorCode::PROTOCOL_ERROR, "PING on a stream");
        }
        if payload.len() != PING.len() {
            return violation(ErrorCode::FRAME_SIZE_ERROR, "PING of a wrong size");
        }
        if header.has(flag::ACK) {
            self.pongs = self.pongs.saturating_add(u32::from(payload == PING));
            return Ok(());
        }
        self.reply(kind::PING, payload)
    }

    /// Acknowledges.
    fn reply(&mut self, kind: u8, payload: &[u8]) -> Result<(), Violation> {
        if self.output().len() > MAX_OUTPUT_BYTES {
            return violation(
                ErrorCode::ENHANCE_YOUR_CALM,
                "a flood of PING or SETTINGS that reads no answers",
            );
        }
        put(&mut self.out, kind, flag::ACK, 0, payload);
        Ok(())
    }

    fn goodbye(&mut self, header: Header, payload: &[u8]) -> Result<(), Violation> {
        if header.stream != 0 {
            return violation(ErrorCode::PROTOCOL_ERROR, "GOAWAY on a stream");
        }
        let (Some(last_stream), Some(code), Some(debug)) = (
            read_u32(payload),
            payload.get(4..).and_then(read_u32),
            payload.get(8..),
        ) else {
            return violation(ErrorCode::FRAME_SIZE_ERROR, "GOAWAY of a wrong size");
        };
        let last_stream = last_stream & 0x7fff_ffff;
        self.goaway = Some(GoAway {
            last_stream,
            code: ErrorCode(code),
            debug: String::from_utf8_lossy(debug).into_owned(),
        });
        let beyond: Vec<u32> = self
            .streams
            .keys()
            .copied()
            .filter(|&id| id > last_stream)
            .collect();
        for id in beyond {
            self.end(id, End::Unprocessed);
        }
        Ok(())
    }

    fn window_update(&mut self, header: Header, payload: &[u8]) -> Result<(), Violation> {
        let more = fixed_u32(payload, "WINDOW_UPDATE of a wrong size")? & 0x7fff_ffff;
        let more = i64::from(more);
        if header.stream == 0 {
            self.send_window += more;
            if more == 0 {
                return violation(ErrorCode::PROTOCOL_ERROR, "WINDOW_UPDATE by nothing");
            }
            if self.send_window > MAX_WINDOW_BYTES {
                return violation(ErrorCode::FLOW_CONTROL_ERROR, "a window beyond 2^31 - 1");
            }
            self.send_queued();
            return Ok(());
        }
        self.expect_opened(header.stream)?;
        let id = header.stream;
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        stream.send_window += more;
        if more == 0 {
            let why = "WINDOW_UPDATE by nothing";
            self.abort(id, broken(ErrorCode::PROTOCOL_ERROR, why));
        } else if stream.send_window > MAX_WINDOW_BYTES {
            let why = "a window beyond 2^31 - 1";
            self.abort(id, broken(ErrorCode::FLOW_CONTROL_ERROR, why));
        } else {
            self.queue(id);
            self.send_queued();
        }
        Ok(())
    }
}

fn split_header(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    Some((Header::parse(*header), rest))
}

/// Bytes that the start of a frame still lacks. Of DATA, only the header and the padding length are
/// collected; the rest passes through.
fn missing(start: &[u8]) -> Result<usize, Violation> {
    let whole = match split_header(start) {
        None => HEADER_BYTES,
        Some((header, _)) => {
            check_size(header)?;
            HEADER_BYTES
                + if header.kind == kind::DATA {
                    usize::from(header.has(flag::PADDED))
                } else {
                    header.payload_bytes
                }
        }
    };
    Ok(whole.saturating_sub(start.len()))
}

fn check_size(header: Header) -> Result<(), Violation> {
    // We allow no larger frames than everybody must take.
    if header.payload_bytes > DEFAULT_MAX_FRAME_BYTES {
        return violation(ErrorCode::FRAME_SIZE_ERROR, "a frame of more than 16 KiB");
    }
    if header.kind == kind::DATA && header.has(flag::PADDED) && header.payload_bytes == 0 {
        return violation(ErrorCode::FRAME_SIZE_ERROR, "DATA too short for its flags");
    }
    Ok(())
}

fn fixed_u32(payload: &[u8], message: &'static str) -> Result<u32, Violation> {
    match <[u8; 4]>::try_from(payload) {
        Ok(bytes) => Ok(u32::from_be_bytes(bytes)),
        Err(_) => violation(ErrorCode::FRAME_SIZE_ERROR, message),
    }
}

/// Stream numbers are small and ours: a multiplication spreads them well enough.
#[derive(Debug, Default)]
pub(crate) struct StreamHasher(u64);

impl Hasher for StreamHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

#[cfg(test)]
mod tests;
