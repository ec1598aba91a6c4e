//! Events of a watch stream: counted, and searched for the bookmark that ends the initial list and for
//! errors, without parsing the objects.
//!
//! JSON: one event a line. Protobuf: frames of a 4-byte big-endian length and a `WatchEvent` whose first
//! field is the type. Only the start of each event is looked at, and bookmarks and errors are kept whole
//! up to a bound; so an object that merely mentions the annotation is not taken for the bookmark.

use memchr::{memchr, memmem};

use super::failure::Failure;

const INITIAL_END: &[u8] = b"k8s.io/initial-events-end";
/// So much of an event's start tells its type.
const HEAD_BYTES: usize = 64;
/// So much of a bookmark or an error is kept.
const KEPT_BYTES: usize = 64 * 1024;

/// Reads one watch stream in pieces of any size.
#[derive(Debug)]
pub(crate) struct WatchScanner {
    framing: Framing,
    /// Start of the current event; all of it for bookmarks and errors.
    head: Vec<u8>,
    events: u64,
    is_initial_end: bool,
    failure: Option<Failure>,
}

#[derive(Debug)]
enum Framing {
    Lines,
    Frames {
        length: [u8; 4],
        length_known: usize,
        /// Bytes of the frame to come.
        left: usize,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EventType {
    Bookmark,
    Error,
    Other,
    /// JSON that does not begin with its type: told when the event is over.
    NotYet,
}

impl WatchScanner {
    pub(crate) fn new(content_type: &[u8]) -> Self {
        let is_protobuf = memmem::find(content_type, b"protobuf").is_some();
        Self {
            framing: if is_protobuf {
                Framing::Frames {
                    length: [0; 4],
                    length_known: 0,
                    left: 0,
                }
            } else {
                Framing::Lines
            },
            head: Vec::new(),
            events: 0,
            is_initial_end: false,
            failure: None,
        }
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// Whether the initial events are complete.
    pub(crate) fn is_initial_end(&self) -> bool {
        self.is_initial_end
    }

    /// The error event, if one came.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    pub(crate) fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.framing {
                Framing::Lines => self.take_line(bytes),
                Framing::Frames { .. } => self.take_frame(bytes),
            };
        }
    }

    fn take_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match memchr(b'\n', bytes) {
            Some(end) => {
                let (line, rest) = bytes.split_at(end);
                self.keep(line);
                if !self.head.iter().all(u8::is_ascii_whitespace) {
                    self.event_over(false);
                }
                self.head.clear();
                rest.get(1..).unwrap_or_default()
            }
            None => {
                self.keep(bytes);
                &[]
            }
        }
    }

    fn take_frame<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Framing::Frames {
            length,
            length_known,
            left,
        } = &mut self.framing
        else {
            return &[];
        };
        if let Some(place) = length.get_mut(*length_known) {
            *place = bytes.first().copied().unwrap_or_default();
            *length_known += 1;
            if *length_known == length.len() {
                *left = u32::from_be_bytes(*length) as usize;
                if *left == 0 {
                    *length_known = 0;
                }
            }
            return bytes.get(1..).unwrap_or_default();
        }
        let (part, rest) = bytes.split_at((*left).min(bytes.len()));
        *left -= part.len();
        let is_over = *left == 0;
        if is_over {
            *length_known = 0;
        }
        self.keep(part);
        if is_over {
            self.event_over(true);
            self.head.clear();
        }
        rest
    }

    /// Keeps what may matter of the current event.
    fn keep(&mut self, bytes: &[u8]) {
        if self.head.len() < HEAD_BYTES {
            let room = (HEAD_BYTES - self.head.len()).min(bytes.len());
            let (first, rest) = bytes.split_at(room);
            self.head.extend_from_slice(first);
            if self.head.len() == HEAD_BYTES && !rest.is_empty() {
                self.keep(rest);
            }
        } else if self.head.len() < KEPT_BYTES && self.event_type() != EventType::Other {
            let room = (KEPT_BYTES - self.head.len()).min(bytes.len());
            self.head
                .extend_from_slice(bytes.get(..room).unwrap_or_default());
        }
    }

    fn event_type(&self) -> EventType {
        let start = self.head.get(..HEAD_BYTES).unwrap_or(&self.head);
        let has = |words: &[u8]| memmem::find(start, words).is_some();
        match self.framing {
            // kube-apiserver writes the type first, but JSON promises no order.
            Framing::Lines if !start.trim_ascii_start().starts_with(br#"{"type""#) => {
                EventType::NotYet
            }
            // Compact as servers write it, or with a space as people do.
            Framing::Lines if has(br#""type":"BOOKMARK""#) || has(br#""type": "BOOKMARK""#) => {
                EventType::Bookmark
            }
            Framing::Lines if has(br#""type":"ERROR""#) || has(br#""type": "ERROR""#) => {
                EventType::Error
            }
            // Field 1, a string of that length.
            Framing::Frames { .. } if start.starts_with(b"\x0a\x08BOOKMARK") => EventType::Bookmark,
            Framing::Frames { .. } if start.starts_with(b"\x0a\x05ERROR") => EventType::Error,
            _ => EventType::Other,
        }
    }

    fn event_over(&mut self, is_protobuf: bool) {
        self.events += 1;
        let event_type = match self.event_type() {
            EventType::NotYet => json_event_type(&self.head),
            known => known,
        };
        match event_type {
            EventType::Other | EventType::NotYet => {}
            EventType::Bookmark => {
                self.is_initial_end |= memmem::find(&self.head, INITIAL_END).is_some();
            }
            EventType::Error => {
                let code = if is_protobuf {
                    protobuf::status_code(&self.head)
                } else {
                    json_status_code(&self.head)
                };
                self.failure = Some(match code {
                    Some(code) => Failure::http(code),
                    None => Failure::unknown("watch ended with an error event"),
                });
            }
        }
    }
}

fn json_event_type(event: &[u8]) -> EventType {
    // One that was cut at the bound does not parse; neither bookmarks nor errors are that long.
    let event: serde_json::Value = serde_json::from_slice(event).unwrap_or_default();
    match event.get("type").and_then(serde_json::Value::as_str) {
        Some("BOOKMARK") => EventType::Bookmark,
        Some("ERROR") => EventType::Error,
        _ => EventType::Other,
    }
}

fn json_status_code(event: &[u8]) -> Option<u16> {
    let event: serde_json::Value = serde_json::from_slice(event).ok()?;
    u16::try_from(event.pointer("/object/code")?.as_u64()?).ok()
}

/// The few fields of Kubernetes' protobuf that an error event needs.
mod protobuf {
    /// `WatchEvent.object(2).raw(1)` → magic → `Unknown.raw(2)` → `Status.code(6)`.
    pub(super) fn status_code(event: &[u8]) -> Option<u16> {
        let object = bytes_field(event, 2)?;
        let raw = bytes_field(object, 1)?;
        let unknown = raw.strip_prefix(b"k8s\0")?;
        let status = bytes_field(unknown, 2)?;
        let mut rest = status;
        while let Some((number, value, tail)) = field(rest) {
            if let (6, Value::Number(code)) = (number, value) {
                return u16::try_from(code).ok();
            }
            rest = tail;
        }
        None
    }

    enum Value<'a> {
        Number(u64),
        Bytes(&'a [u8]),
        Fixed,
    }

    fn bytes_field(mut message: &[u8], wanted: u64) -> Option<&[u8]> {
        while let Some((number, value, rest)) = field(message) {
            if let (true, Value::Bytes(bytes)) = (number == wanted, value) {
                return Some(bytes);
            }
            message = rest;
        }
        None
    }

    fn field(message: &[u8]) -> Option<(u64, Value<'_>, &[u8])> {
        let (key, rest) = varint(message)?;
        let (value, rest) = match key & 7 {
            0 => {
                let (number, rest) = varint(rest)?;
                (Value::Number(number), rest)
            }
            1 => (Value::Fixed, rest.get(8..)?),
            2 => {
                let (length, rest) = varint(rest)?;
                let length = usize::try_from(length).ok()?;
                (Value::Bytes(rest.get(..length)?), rest.get(length..)?)
            }
            5 => (Value::Fixed, rest.get(4..)?),
            _ => return None,
        };
        Some((key >> 3, value, rest))
    }

    fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
        let mut value = 0_u64;
        for (index, &byte) in bytes.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
            if byte & 0x80 == 0 {
                return Some((value, bytes.get(index + 1..)?));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDED: &str = r#"{"type":"ADDED","object":{"metadata":{"annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
    const BOOKMARK: &str = r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
    const PLAIN_BOOKMARK: &str =
        r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9"}}}"#;
    const GONE: &str =
        r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#;

    fn scan(content_type: &[u8], bytes: &[u8], piece: usize) -> WatchScanner {
        let mut scanner = WatchScanner::new(content_type);
        for part in bytes.chunks(piece) {
            scanner.take(part);
        }
        scanner
    }

    #[test]
    fn the_type_may_come_last() {
        let bookmark = r#"{"object":{"metadata":{"annotations":{"k8s.io/initial-events-end":"true"},"name":"a-name-that-fills-the-head"}},"type":"BOOKMARK"}"#;
        let added = r#"{"object":{"metadata":{"annotations":{"k8s.io/initial-events-end":"true"},"name":"a-name-that-fills-the-head"}},"type":"ADDED"}"#;
        let gone = r#"{"object":{"kind":"Status","code":410,"reason":"Expired"},"type":"ERROR"}"#;
        for piece in [1, 7, 4096] {
            let scanner = scan(b"", format!("{added}\n").as_bytes(), piece);
            assert!(!scanner.is_initial_end());
            let scanner = scan(b"", format!("{added}\n{bookmark}\n").as_bytes(), piece);
            assert!(scanner.is_initial_end());
            assert_eq!(scanner.events(), 2);
            let scanner = scan(b"", format!("{gone}\n").as_bytes(), piece);
            assert_eq!(scanner.failure(), Some(&Failure::http(410)));
        }
    }

    #[test]
    fn lines_are_found_however_they_are_split() {
        let text = format!("{ADDED}\n{ADDED}\n{PLAIN_BOOKMARK}\n{BOOKMARK}\n");
        for piece in 1..text.len() {
            let scanner = scan(b"", text.as_bytes(), piece);
            assert_eq!(scanner.events(), 4, "pieces of {piece}");
            assert!(scanner.is_initial_end(), "pieces of {piece}");
        }
        let without = format!("{ADDED}\n{PLAIN_BOOKMARK}\n");
        assert!(!scan(b"", without.as_bytes(), 7).is_initial_end());
    }

    #[test]
    fn an_error_event_is_its_status() {
        let text = format!("{ADDED}\n{GONE}\n");
        let scanner = scan(b"", text.as_bytes(), 5);
        assert_eq!(scanner.failure().unwrap().key(), "http/410");
        let scanner = scan(b"", b"{\"type\":\"ERROR\",]\n", 5);
        assert!(scanner.failure().unwrap().key().starts_with("unknown/"));
    }

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        assert!(bytes.len() < 128);
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    fn frame(event_type: &str, object: &[u8]) -> Vec<u8> {
        let unknown = [b"k8s\0".as_slice(), &field(2, object)].concat();
        let event = [
            field(1, event_type.as_bytes()),
            field(2, &field(1, &unknown)),
        ]
        .concat();
        [(event.len() as u32).to_be_bytes().as_slice(), &event].concat()
    }

    #[test]
    fn protobuf_frames_are_read() {
        let content_type = b"application/vnd.kubernetes.protobuf;stream=watch";
        let status = [field(2, b"Failure"), vec![6 << 3, 0x9a, 0x03]].concat();
        let stream = [
            frame("ADDED", b"x k8s.io/initial-events-end x"),
            frame("BOOKMARK", b"k8s.io/initial-events-end"),
            frame("ERROR", &status),
        ]
        .concat();
        for piece in 1..stream.len() {
            let scanner = scan(content_type, &stream, piece);
            assert_eq!(scanner.events(), 3);
            assert!(scanner.is_initial_end());
            assert_eq!(scanner.failure().unwrap().key(), "http/410");
        }
        let first = frame("ADDED", b"k8s.io/initial-events-end");
        assert!(!scan(content_type, &first, 3).is_initial_end());
        // Hostile lengths must neither panic nor allocate.
        let scanner = scan(content_type, &[0xff; 4096], 11);
        assert_eq!(scanner.events(), 0);
    }
}
