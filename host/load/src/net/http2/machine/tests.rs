//! Transcripts: what a server says, byte for byte, and what must come of it.

use std::{cell::RefCell, rc::Rc};

use http::{HeaderMap, Method};

use super::*;
use crate::net::http2::Origin;

/// Writes down what it is told.
#[derive(Clone, Debug, Default)]
struct Notes {
    lines: Rc<RefCell<Vec<String>>>,
    enough_after: Option<usize>,
}

impl Notes {
    fn lines(&self) -> Vec<String> {
        // Pieces of a body may come in any number.
        let mut out: Vec<String> = Vec::new();
        for line in self.lines.borrow().iter() {
            match (out.last_mut(), line.strip_prefix("data ")) {
                (Some(last), Some(more)) if last.starts_with("data ") => last.push_str(more),
                _ => out.push(line.clone()),
            }
        }
        out
    }
}

impl Receiver for Notes {
    fn head(&self, response: &Response<'_>) {
        self.lines
            .borrow_mut()
            .push(format!("head {}", response.status));
    }

    fn data(&self, piece: &[u8]) -> Step {
        let text = String::from_utf8_lossy(piece).into_owned();
        self.lines.borrow_mut().push(format!("data {text}"));
        match self.enough_after {
            Some(most) if piece.len() >= most => Step::Done,
            _ => Step::More,
        }
    }

    fn end(&self, end: End) {
        self.lines.borrow_mut().push(format!("end {end:?}"));
    }
}

fn head(method: Method) -> Head {
    let origin = Origin {
        scheme: http::uri::Scheme::HTTPS,
        authority: "h".parse().unwrap(),
    };
    Head::new(&origin, &method, &HeaderMap::new())
}

/// A frame of the server.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, kind, flags, stream, payload);
    out
}

fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = values
        .iter()
        .flat_map(|(name, value)| [name.to_be_bytes().as_slice(), &value.to_be_bytes()].concat())
        .collect();
    frame(kind::SETTINGS, 0, 0, &payload)
}

fn pong() -> Vec<u8> {
    frame(kind::PING, flag::ACK, 0, &PING)
}

const END: u8 = flag::END_STREAM;
const WHOLE: u8 = flag::END_HEADERS;
/// `:status 200`.
const OK: u8 = 0x88;

/// A connection past its handshake, its output read.
fn machine(values: &[(u16, u32)]) -> Machine<Notes> {
    let mut machine = Machine::new();
    assert!(machine.output().starts_with(PREFACE));
    assert!(!machine.is_established());
    machine.receive(&settings(values)).unwrap();
    machine.receive(&pong()).unwrap();
    assert!(machine.is_established());
    sent(&mut machine);
    machine
}

/// The frames written since the last look: kind, flags, stream, payload.
fn sent(machine: &mut Machine<Notes>) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let output = machine.output().to_vec();
    machine.written(output.len());
    let mut rest = output.strip_prefix(PREFACE).unwrap_or(&output);
    let mut frames = Vec::new();
    while let Some((header, payload)) = split_header(rest) {
        let (payload, behind) = payload.split_at(header.payload_bytes);
        frames.push((header.kind, header.flags, header.stream, payload.to_vec()));
        rest = behind;
    }
    assert!(rest.is_empty());
    frames
}

fn kinds(machine: &mut Machine<Notes>) -> Vec<(u8, u32)> {
    sent(machine)
        .into_iter()
        .map(|(kind, _, stream, _)| (kind, stream))
        .collect()
}

fn get(machine: &mut Machine<Notes>) -> (u32, Notes) {
    let notes = Notes::default();
    let id = machine.open(&head(Method::GET), b"/", Bytes::new(), true, notes.clone());
    (id, notes)
}

#[test]
fn the_first_words_are_preface_settings_window_and_ping() {
    let mut machine = Machine::new();
    let frames = sent(&mut machine);
    let kinds: Vec<u8> = frames.iter().map(|frame| frame.0).collect();
    assert_eq!(kinds, [kind::SETTINGS, kind::WINDOW_UPDATE, kind::PING]);
    assert_eq!(frames[1].3, 0x7fff_0000_u32.to_be_bytes());
}

#[test]
fn requests_are_numbered_and_answered_in_pieces_of_any_size() {
    let transcript = [
        frame(kind::HEADERS, WHOLE, 1, &[0x20, OK, 0x0f, 13, 1, b'5']),
        frame(kind::DATA, 0, 1, b"hel"),
        // Padded, with padding of two.
        frame(kind::DATA, flag::PADDED | END, 1, b"\x02lo\0\0"),
        // Priority and padding before the block; no body.
        frame(
            kind::HEADERS,
            WHOLE | END | flag::PADDED | flag::PRIORITY,
            3,
            &[1, 0, 0, 0, 0, 9, 0x89, 0],
        ),
        // Informational first, then in two frames, then trailers.
        frame(kind::HEADERS, WHOLE, 5, &[0x08, 3, b'1', b'0', b'3']),
        frame(kind::HEADERS, 0, 5, &[OK, 0x00, 1, b'a']),
        frame(kind::CONTINUATION, WHOLE, 5, &[1, b'b']),
        frame(kind::DATA, 0, 5, b""),
        frame(kind::DATA, 0, 5, b"x"),
        frame(kind::HEADERS, WHOLE | END, 5, &[0x00, 1, b't', 1, b'r']),
        frame(2, 0, 5, &[0, 0, 0, 0, 1]),
        frame(0xfe, 0xff, 0, b"of a later standard"),
    ]
    .concat();
    for piece in 1..=transcript.len() {
        let mut machine = machine(&[]);
        let notes: Vec<Notes> = [1, 3, 5]
            .into_iter()
            .map(|expected| {
                let (id, notes) = get(&mut machine);
                assert_eq!(id, expected);
                notes
            })
            .collect();
        let frames = sent(&mut machine);
        assert_eq!(frames.len(), 3);
        assert!(frames.iter().all(|frame| frame.1 == WHOLE | END));
        for bytes in transcript.chunks(piece) {
            machine.receive(bytes).unwrap();
        }
        assert_eq!(
            notes[0].lines(),
            ["head 200", "data hello", "end Complete"],
            "pieces of {piece}"
        );
        assert_eq!(notes[1].lines(), ["head 204", "end Complete"]);
        assert_eq!(notes[2].lines(), ["head 200", "data x", "end Complete"]);
        assert_eq!(machine.open_streams(), 0);
        assert!(sent(&mut machine).is_empty());
    }
}

#[test]
fn the_peers_stream_limit_is_known_and_may_change() {
    let mut machine = machine(&[(setting::MAX_CONCURRENT_STREAMS, 2)]);
    assert_eq!(machine.room(), 2);
    let (first, _) = get(&mut machine);
    get(&mut machine);
    assert_eq!(machine.room(), 0);
    machine
        .receive(&settings(&[(setting::MAX_CONCURRENT_STREAMS, 1)]))
        .unwrap();
    machine.cancel(first);
    assert_eq!(machine.room(), 0);
    machine
        .receive(&settings(&[(setting::MAX_CONCURRENT_STREAMS, 9)]))
        .unwrap();
    assert_eq!(machine.room(), 8);
    // Nothing said means no limit.
    assert!(super::tests::machine(&[]).room() > 1_000_000);
}

#[test]
fn bodies_wait_for_both_windows() {
    let mut machine = machine(&[(setting::INITIAL_WINDOW_SIZE, 4)]);
    let notes = Notes::default();
    let body = Bytes::from_static(b"0123456789");
    machine.open(&head(Method::POST), b"/", body, true, notes.clone());
    let frames = sent(&mut machine);
    assert_eq!(frames[0].0, kind::HEADERS);
    assert_eq!(frames[0].1, WHOLE);
    assert_eq!(frames[1], (kind::DATA, 0, 1, b"0123".to_vec()));
    // A smaller initial window makes the stream's negative: 0 - 2.
    machine
        .receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 2)]))
        .unwrap();
    machine
        .receive(&frame(kind::WINDOW_UPDATE, 0, 1, &3_u32.to_be_bytes()))
        .unwrap();
    let frames = sent(&mut machine);
    assert_eq!(frames[1], (kind::DATA, 0, 1, b"4".to_vec()));
    machine
        .receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 100)]))
        .unwrap();
    // First the acknowledgement, then what it lets through.
    let frames = sent(&mut machine);
    assert_eq!(frames[0].0, kind::SETTINGS);
    assert_eq!(frames[1], (kind::DATA, END, 1, b"56789".to_vec()));
    machine
        .receive(&frame(kind::HEADERS, WHOLE | END, 1, &[OK]))
        .unwrap();
    assert_eq!(notes.lines(), ["head 200", "end Complete"]);
}

#[test]
fn the_window_of_the_connection_is_shared_in_order() {
    let mut machine = machine(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]);
    for _ in 0..2 {
        let body = Bytes::from(vec![b'x'; 65_535]);
        machine.open(&head(Method::PUT), b"/", body, true, Notes::default());
    }
    let bytes = |machine: &mut Machine<Notes>, id: u32| -> usize {
        sent(machine)
            .iter()
            .filter(|frame| frame.0 == kind::DATA && frame.2 == id)
            .map(|frame| frame.3.len())
            .sum()
    };
    assert_eq!(bytes(&mut machine, 1), 65_535);
    for expected in [1000, 64_535] {
        let more = u32::try_from(expected).unwrap().to_be_bytes();
        machine
            .receive(&frame(kind::WINDOW_UPDATE, 0, 0, &more))
            .unwrap();
        assert_eq!(bytes(&mut machine, 3), expected);
    }
    // An answer before the body is out: the rest is not sent.
    let notes = Notes::default();
    let body = Bytes::from(vec![b'x'; 10]);
    machine.open(&head(Method::PUT), b"/", body, true, notes.clone());
    machine
        .receive(&frame(kind::HEADERS, WHOLE | END, 5, &[OK]))
        .unwrap();
    assert_eq!(notes.lines(), ["head 200", "end Complete"]);
    assert_eq!(
        kinds(&mut machine),
        [(kind::HEADERS, 5), (kind::RST_STREAM, 5)]
    );
    machine
        .receive(&frame(kind::WINDOW_UPDATE, 0, 0, &10_u32.to_be_bytes()))
        .unwrap();
    assert!(sent(&mut machine).is_empty());
}

#[test]
fn windows_are_refilled_once_in_a_gib() {
    let mut machine = machine(&[]);
    let (_, notes) = get(&mut machine);
    sent(&mut machine);
    machine
        .receive(&frame(kind::HEADERS, WHOLE, 1, &[OK]))
        .unwrap();
    let piece = frame(kind::DATA, 0, 1, &[b'x'; DEFAULT_MAX_FRAME_BYTES]);
    let mut updates = 0;
    for _ in 0..(3_usize << 30) / DEFAULT_MAX_FRAME_BYTES {
        machine.receive(&piece).unwrap();
        notes.lines.borrow_mut().clear();
        updates += sent(&mut machine).len();
    }
    // Two for the connection, two for the stream.
    assert_eq!(updates, 4);
}

#[test]
fn goaway_spares_what_the_server_has_seen() {
    let mut machine = machine(&[]);
    let (_, first) = get(&mut machine);
    let (_, second) = get(&mut machine);
    let goaway = |last: u32| {
        let payload = [&last.to_be_bytes()[..], &0_u32.to_be_bytes(), b"drain"].concat();
        frame(kind::GOAWAY, 0, 0, &payload)
    };
    // As graceful servers do it: first everything, then what they will finish.
    machine.receive(&goaway(0x7fff_ffff)).unwrap();
    assert!(!machine.is_usable());
    assert_eq!(machine.room(), 0);
    assert!(second.lines().is_empty());
    machine.receive(&goaway(1)).unwrap();
    assert_eq!(second.lines(), ["end Unprocessed"]);
    machine
        .receive(&frame(kind::HEADERS, WHOLE | END, 1, &[OK]))
        .unwrap();
    assert_eq!(first.lines(), ["head 200", "end Complete"]);
    assert_eq!(machine.goaway().unwrap().debug, "drain");
}

#[test]
fn resets_end_their_stream_alone() {
    for (head_first, code, expected) in [
        (false, 7, "end Reset(ErrorCode(7))"),
        (false, 0, "end Reset(ErrorCode(0))"),
        // Without a length, nobody can tell that the answer was whole.
        (true, 0, "end Reset(ErrorCode(0))"),
        (true, 2, "end Reset(ErrorCode(2))"),
    ] {
        let mut machine = machine(&[]);
        let (_, notes) = get(&mut machine);
        if head_first {
            machine
                .receive(&frame(kind::HEADERS, WHOLE, 1, &[OK]))
                .unwrap();
        }
        let code = u32::to_be_bytes(code);
        machine
            .receive(&frame(kind::RST_STREAM, 0, 1, &code))
            .unwrap();
        assert_eq!(notes.lines().last().unwrap(), expected);
        // Late frames of it, and a second reset, are nobody's business.
        for late in [
            frame(kind::HEADERS, WHOLE, 1, &[OK]),
            frame(kind::DATA, END, 1, b"late"),
            frame(kind::RST_STREAM, 0, 1, &code),
            frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        ] {
            machine.receive(&late).unwrap();
        }
        assert_eq!(notes.lines().last().unwrap(), expected);
    }
}

#[test]
fn the_announced_length_is_kept() {
    let response = |length: &[u8]| {
        let block = [&[OK, 0x0f, 13, length.len() as u8], length].concat();
        frame(kind::HEADERS, WHOLE, 1, &block)
    };
    for (body, expected) in [
        (&b"123"[..], "end Complete"),
        (b"12", "end WrongLength"),
        (b"1234", "end WrongLength"),
    ] {
        let mut machine = machine(&[]);
        let (_, notes) = get(&mut machine);
        machine.receive(&response(b"3")).unwrap();
        machine.receive(&frame(kind::DATA, END, 1, body)).unwrap();
        assert_eq!(notes.lines().last().unwrap(), expected);
    }
    // The answer to a HEAD announces what it does not bring.
    let mut machine = machine(&[]);
    let notes = Notes::default();
    machine.open(
        &head(Method::HEAD),
        b"/",
        Bytes::new(),
        false,
        notes.clone(),
    );
    machine.receive(&response(b"3")).unwrap();
    machine.receive(&frame(kind::DATA, END, 1, b"")).unwrap();
    assert_eq!(notes.lines(), ["head 200", "end Complete"]);
}

#[test]
fn a_receiver_that_has_enough_cancels() {
    let mut machine = machine(&[]);
    let notes = Notes {
        enough_after: Some(3),
        ..Notes::default()
    };
    machine.open(&head(Method::GET), b"/", Bytes::new(), true, notes.clone());
    machine
        .receive(&frame(kind::HEADERS, WHOLE, 1, &[OK]))
        .unwrap();
    machine.receive(&frame(kind::DATA, 0, 1, b"ab")).unwrap();
    machine.receive(&frame(kind::DATA, 0, 1, b"cde")).unwrap();
    machine.receive(&frame(kind::DATA, END, 1, b"f")).unwrap();
    assert_eq!(notes.lines(), ["head 200", "data abcde", "end Enough"]);
    let last = sent(&mut machine).pop().unwrap();
    assert_eq!(last.0, kind::RST_STREAM);
    assert_eq!(last.3, ErrorCode::CANCEL.0.to_be_bytes());
}

#[test]
fn pings_and_settings_are_acknowledged_and_floods_are_not() {
    let mut machine = machine(&[]);
    machine
        .receive(&frame(kind::PING, 0, 0, b"12345678"))
        .unwrap();
    machine.receive(&settings(&[])).unwrap();
    assert_eq!(
        sent(&mut machine),
        [
            (kind::PING, flag::ACK, 0, b"12345678".to_vec()),
            (kind::SETTINGS, flag::ACK, 0, Vec::new())
        ]
    );
    let ping = frame(kind::PING, 0, 0, b"12345678");
    let most = MAX_OUTPUT_BYTES / ping.len();
    let flood = (0..most * 2).position(|_| machine.receive(&ping).is_err());
    assert_eq!(flood, Some(most + 1));
}

#[test]
fn uploads_take_turns_and_wait_for_the_socket() {
    let mut machine = machine(&[(setting::INITIAL_WINDOW_SIZE, MAX_WINDOW_BYTES as u32)]);
    let more = ((1 << 30) as u32).to_be_bytes();
    machine
        .receive(&frame(kind::WINDOW_UPDATE, 0, 0, &more))
        .unwrap();
    let body = Bytes::from(vec![b'x'; 1 << 20]);
    for _ in 0..50 {
        let body = body.clone();
        machine.open(&head(Method::PUT), b"/", body, true, Notes::default());
    }
    // What the windows would allow is 50 MiB.
    assert!(machine.output().len() < 2 * ENOUGH_OUTPUT_BYTES);
    let cancelled = 99;
    assert!(machine.cancel(cancelled));
    let mut written = Vec::new();
    while !machine.output().is_empty() {
        let piece = machine.output().len().min(50_000);
        written.extend_from_slice(&machine.output()[..piece]);
        machine.written(piece);
        assert!(machine.out.len() < 4 * ENOUGH_OUTPUT_BYTES);
    }
    let mut sent = HashMap::<u32, usize>::new();
    let (mut rest, mut is_first_ended) = (&written[..], false);
    while let Some((header, payload)) = split_header(rest) {
        rest = &payload[header.payload_bytes..];
        if header.kind == kind::DATA {
            *sent.entry(header.stream).or_default() += header.payload_bytes;
            if header.has(flag::END_STREAM) && !is_first_ended {
                is_first_ended = true;
                assert!(sent.len() > 40, "one after the other, not in turns");
            }
        }
    }
    assert_eq!(sent.remove(&cancelled).unwrap_or(0) % (1 << 20), 0);
    assert_eq!(sent.len(), 49);
    assert!(sent.values().all(|&bytes| bytes == 1 << 20));
    assert!(machine.queue.is_empty());
}

#[test]
fn long_headers_are_cut_into_continuations() {
    let mut machine = machine(&[]);
    let path = vec![b'p'; 40_000];
    machine.open(
        &head(Method::GET),
        &path,
        Bytes::new(),
        true,
        Notes::default(),
    );
    let frames = sent(&mut machine);
    let outline: Vec<(u8, u8)> = frames.iter().map(|frame| (frame.0, frame.1)).collect();
    assert_eq!(
        outline,
        [
            (kind::HEADERS, END),
            (kind::CONTINUATION, 0),
            (kind::CONTINUATION, WHOLE)
        ]
    );
    let block: usize = frames.iter().map(|frame| frame.3.len()).sum();
    assert!(block > 40_000);
}

#[test]
fn what_breaks_a_stream_leaves_the_connection() {
    let too_much = 0x7fff_ffff_u32.to_be_bytes();
    for (frames, why) in [
        (frame(kind::DATA, 0, 1, b"early"), "a body before"),
        (frame(kind::DATA, END, 1, b""), "an end before"),
        (
            frame(kind::HEADERS, WHOLE, 1, &[0x0f, 13, 1, b'1']),
            "without a status",
        ),
        (
            frame(kind::HEADERS, WHOLE | END, 1, &[0x08, 3, b'1', b'0', b'0']),
            "informational",
        ),
        (
            [
                frame(kind::HEADERS, WHOLE, 1, &[OK]),
                frame(kind::HEADERS, WHOLE, 1, &[0x00, 1, b't', 1, b'r']),
            ]
            .concat(),
            "trailers",
        ),
        (frame(kind::WINDOW_UPDATE, 0, 1, &[0; 4]), "by nothing"),
        (frame(kind::WINDOW_UPDATE, 0, 1, &too_much), "2^31"),
    ] {
        let mut machine = machine(&[]);
        let (_, notes) = get(&mut machine);
        let (_, other) = get(&mut machine);
        sent(&mut machine);
        machine.receive(&frames).unwrap();
        let last = notes.lines().pop().unwrap();
        assert!(last.contains(why), "{why}: {last}");
        machine
            .receive(&frame(kind::HEADERS, WHOLE | END, 3, &[OK]))
            .unwrap();
        assert_eq!(other.lines(), ["head 200", "end Complete"], "{why}");
    }
}

#[test]
fn what_breaks_the_connection_is_named() {
    let large = vec![0; DEFAULT_MAX_FRAME_BYTES + 1];
    for (frames, code, why) in [
        (frame(kind::DATA, 0, 0, b"x"), 1, "stream 0"),
        (frame(kind::DATA, 0, 2, b"x"), 1, "a stream of the server's"),
        (frame(kind::HEADERS, WHOLE, 9, &[OK]), 1, "idle"),
        (frame(kind::RST_STREAM, 0, 9, &[0; 4]), 1, "idle reset"),
        (frame(kind::RST_STREAM, 0, 1, &[0; 3]), 6, "reset size"),
        (frame(kind::DATA, 0, 1, &large), 6, "large"),
        (frame(kind::SETTINGS, 0, 1, &[]), 1, "settings on a stream"),
        (frame(kind::SETTINGS, 0, 0, &[0; 5]), 6, "settings size"),
        (frame(kind::SETTINGS, flag::ACK, 0, &[0]), 6, "ack payload"),
        (settings(&[(2, 1)]), 1, "push enabled"),
        (settings(&[(4, 1 << 31)]), 3, "window"),
        (settings(&[(5, 1)]), 1, "frame size"),
        (settings(&[(5, 1 << 24)]), 1, "frame size"),
        (frame(kind::PUSH_PROMISE, WHOLE, 1, &[0; 5]), 1, "push"),
        (frame(kind::PING, 0, 0, &[0; 7]), 6, "ping size"),
        (frame(kind::PING, 0, 1, &[0; 8]), 1, "ping on a stream"),
        (frame(kind::GOAWAY, 0, 0, &[0; 7]), 6, "goaway size"),
        (frame(kind::GOAWAY, 0, 1, &[0; 8]), 1, "goaway on a stream"),
        (frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]), 1, "zero"),
        (
            frame(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255]),
            3,
            "overflow",
        ),
        (frame(kind::WINDOW_UPDATE, 0, 0, &[0; 5]), 6, "update size"),
        (frame(kind::CONTINUATION, WHOLE, 1, &[OK]), 1, "of nothing"),
        (frame(kind::HEADERS, WHOLE, 1, &[0xbe]), 9, "dynamic entry"),
        (
            frame(kind::HEADERS, WHOLE | flag::PADDED, 1, &[9, OK]),
            1,
            "padding",
        ),
        (
            frame(kind::HEADERS, WHOLE | flag::PRIORITY, 1, &[OK]),
            6,
            "short",
        ),
        (frame(kind::DATA, flag::PADDED, 1, &[9, 1]), 1, "padding"),
        (frame(kind::DATA, flag::PADDED, 1, &[]), 6, "padding"),
        (
            [
                frame(kind::HEADERS, 0, 1, &[OK]),
                frame(kind::PING, 0, 0, &[0; 8]),
            ]
            .concat(),
            1,
            "within a block",
        ),
        (
            [
                frame(kind::HEADERS, 0, 1, &[OK]),
                frame(kind::DATA, 0, 1, b"x"),
            ]
            .concat(),
            1,
            "data within a block",
        ),
        (
            [
                frame(kind::HEADERS, 0, 1, &[OK]),
                frame(kind::CONTINUATION, WHOLE, 3, &[]),
            ]
            .concat(),
            1,
            "another stream's block",
        ),
        (
            [
                frame(kind::HEADERS, 0, 1, &[OK]),
                frame(kind::CONTINUATION, 0, 1, &[]).repeat(100),
            ]
            .concat(),
            11,
            "endless block",
        ),
    ] {
        for piece in [1, frames.len()] {
            let mut machine = machine(&[]);
            get(&mut machine);
            get(&mut machine);
            let broken = frames
                .chunks(piece)
                .find_map(|bytes| machine.receive(bytes).err());
            assert_eq!(broken.map(|broken| broken.code.0), Some(code), "{why}");
        }
    }
    let mut machine = Machine::<Notes>::new();
    let first = machine
        .receive(&frame(kind::PING, 0, 0, &[0; 8]))
        .unwrap_err();
    assert!(first.message.contains("SETTINGS"));
}

#[test]
fn stream_numbers_end_in_time() {
    let mut machine = machine(&[]);
    machine.next_stream = LAST_STREAM;
    assert!(machine.is_usable());
    get(&mut machine);
    assert!(!machine.is_usable());
    assert_eq!(machine.room(), 0);
}

#[test]
fn the_whole_connection_can_be_given_up() {
    let mut machine = machine(&[]);
    get(&mut machine);
    get(&mut machine);
    assert_eq!(machine.abandon().len(), 2);
    assert_eq!(machine.open_streams(), 0);
    sent(&mut machine);
    machine.say_goodbye(Some(Violation {
        code: ErrorCode::PROTOCOL_ERROR,
        message: "why",
    }));
    let goodbye = sent(&mut machine).pop().unwrap();
    assert_eq!(goodbye.0, kind::GOAWAY);
    assert_eq!(goodbye.3, b"\0\0\0\0\0\0\0\x01why");
}

/// Frames of random kinds, flags, streams and payloads: no panic, and each receiver ends at most once.
#[test]
fn garbage_never_panics() {
    let mut state = 7_u64;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..3_000 {
        let mut machine = machine(&[]);
        let notes: Vec<Notes> = (0..3).map(|_| get(&mut machine).1).collect();
        for _ in 0..30 {
            let payload: Vec<u8> = (0..random(24)).map(|_| random(256) as u8).collect();
            let mut bytes = frame(
                random(11) as u8,
                random(256) as u8,
                random(8) as u32,
                &payload,
            );
            if random(20) == 0 {
                let flipped = random(bytes.len() as u64) as usize;
                bytes[flipped] ^= 1 << random(8);
            }
            let cut = random(bytes.len() as u64) as usize;
            let (front, back) = bytes.split_at(cut);
            if machine.receive(front).is_err() || machine.receive(back).is_err() {
                break;
            }
        }
        for notes in notes {
            let lines = notes.lines();
            let ends = lines.iter().filter(|line| line.starts_with("end")).count();
            assert!(ends <= 1, "{lines:?}");
        }
    }
}
