//! Header blocks: RFC 7541, without the dynamic table.
//!
//! Requests are literals and entries of the static table, so that everything but the path is encoded once
//! per template. Our SETTINGS allow the peer no dynamic table, so a response needs no state either: the
//! status and the length are read, the rest is decoded only when somebody asks.

use std::borrow::Cow;

use http::{HeaderMap, Method, header};

use super::{Origin, huffman};

/// RFC 7541, appendix A; entry i stands for index i + 1.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""),
    ("via", ""), ("www-authenticate", ""),
];

/// Indices of the static table.
const AUTHORITY: u32 = 1;
const METHOD: u32 = 2;
const PATH: u32 = 4;
const SCHEME: u32 = 6;
const STATUS_FIRST: u32 = 8;
const STATUS_LAST: u32 = 14;
const CONTENT_LENGTH: u32 = 28;
/// Its name in Huffman's code.
const CODED_CONTENT_LENGTH: &[u8] = &[0x21, 0xea, 0x49, 0x6a, 0x4a, 0xd4, 0x16, 0xa9, 0x93, 0x3f];

/// "Our encoder has no dynamic table": opens the first block of a connection. With it, no setting of the
/// peer can be broken (RFC 7541, section 4.2).
pub(super) const NO_DYNAMIC_TABLE: u8 = 0x20;

/// What the requests of a template have in common, encoded.
#[derive(Debug)]
pub(crate) struct Head {
    before_path: Box<[u8]>,
    after_path: Box<[u8]>,
}

impl Head {
    pub(crate) fn new(origin: &Origin, method: &Method, headers: &HeaderMap) -> Self {
        let mut before_path = Vec::with_capacity(64);
        match method.as_str() {
            "GET" => put_integer(&mut before_path, 0x80, 7, METHOD),
            "POST" => put_integer(&mut before_path, 0x80, 7, METHOD + 1),
            other => put_literal(&mut before_path, NOT_INDEXED, METHOD, other.as_bytes()),
        }
        let scheme = SCHEME + u32::from(origin.scheme == http::uri::Scheme::HTTPS);
        put_integer(&mut before_path, 0x80, 7, scheme);
        let authority = origin.authority.as_str().as_bytes();
        put_literal(&mut before_path, NOT_INDEXED, AUTHORITY, authority);
        let mut after_path = Vec::with_capacity(128);
        for (name, value) in headers {
            // No intermediary may put a secret into its tables either.
            let kind = if value.is_sensitive() || name == header::AUTHORIZATION {
                NEVER_INDEXED
            } else {
                NOT_INDEXED
            };
            match STATIC.iter().position(|entry| entry.0 == name.as_str()) {
                Some(index) => {
                    put_literal(&mut after_path, kind, index as u32 + 1, value.as_bytes());
                }
                None => {
                    after_path.push(kind);
                    put_string(&mut after_path, name.as_str().as_bytes());
                    put_string(&mut after_path, value.as_bytes());
                }
            }
        }
        Self {
            before_path: before_path.into(),
            after_path: after_path.into(),
        }
    }

    /// Appends the block of one request. With a body comes its length.
    pub(super) fn put(&self, out: &mut Vec<u8>, path: &[u8], body_bytes: usize) {
        out.extend_from_slice(&self.before_path);
        put_literal(out, NOT_INDEXED, PATH, path);
        out.extend_from_slice(&self.after_path);
        if body_bytes > 0 {
            let mut digits = [0; 20];
            let length = decimal(body_bytes, &mut digits);
            put_literal(out, NOT_INDEXED, CONTENT_LENGTH, length);
        }
    }
}

/// Kinds of literals, both with a 4-bit index of their name.
const NOT_INDEXED: u8 = 0x00;
const NEVER_INDEXED: u8 = 0x10;

/// An integer with a prefix of `bits` bits: section 5.1.
fn put_integer(out: &mut Vec<u8>, pattern: u8, bits: u32, value: u32) {
    let most = (1_u32 << bits) - 1;
    if value < most {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | most as u8);
    let mut rest = value - most;
    while rest >= 128 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    put_integer(out, 0, 7, text.len() as u32);
    out.extend_from_slice(text);
}

fn put_literal(out: &mut Vec<u8>, kind: u8, name: u32, value: &[u8]) {
    put_integer(out, kind, 4, name);
    put_string(out, value);
}

fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start = index;
        if number == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}

/// A block that breaks the rules, or would need the table that we have not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The headers of a response: what everybody needs, and the block for the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    /// `content-length`.
    pub(crate) announced_bytes: Option<u64>,
    block: &'a [u8],
}

impl<'a> Response<'a> {
    pub(super) fn parse(block: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(block)?;
        let Some(first) = fields.next()? else {
            return Err(Malformed);
        };
        let mut response = Self {
            status: first.status()?,
            announced_bytes: None,
            block,
        };
        while let Some(field) = fields.next()? {
            if field.is_content_length() {
                let (length, _) = field.value.digits().ok_or(Malformed)?;
                if response
                    .announced_bytes
                    .is_some_and(|known| known != length)
                {
                    return Err(Malformed);
                }
                response.announced_bytes = Some(length);
            }
        }
        Ok(response)
    }

    /// The first value of a header, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<Vec<u8>> {
        let mut fields = Fields::new(self.block).ok()?;
        while let Ok(Some(field)) = fields.next() {
            if field
                .name
                .decode()
                .is_ok_and(|known| *known == *name.as_bytes())
            {
                return Some(field.value.decode().ok()?.into_owned());
            }
        }
        None
    }
}

/// Trailers, or an informational response: read for the rules, not kept.
pub(super) fn check(block: &[u8]) -> Result<(), Malformed> {
    let mut fields = Fields::new(block)?;
    while fields.next()?.is_some() {}
    Ok(())
}

/// A string as it stands in the block.
#[derive(Clone, Copy, Debug)]
enum Text<'a> {
    Static(u32, &'static str),
    Plain(&'a [u8]),
    Coded(&'a [u8]),
}

impl<'a> Text<'a> {
    fn decode(self) -> Result<Cow<'a, [u8]>, Malformed> {
        match self {
            Self::Static(_, text) => Ok(Cow::Borrowed(text.as_bytes())),
            Self::Plain(text) => Ok(Cow::Borrowed(text)),
            Self::Coded(coded) => huffman::decode(coded).map(Cow::Owned).ok_or(Malformed),
        }
    }
}

impl Text<'_> {
    /// A number in decimal digits and nothing else, and how many digits it has.
    fn digits(self) -> Option<(u64, usize)> {
        let (mut number, mut count) = (0_u64, 0);
        let mut take = |byte: u8| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            number = number.checked_mul(10)?.checked_add(digit)?;
            count += 1;
            Some(())
        };
        match self {
            Self::Static(_, text) => text.bytes().try_for_each(&mut take)?,
            Self::Plain(text) => text.iter().copied().try_for_each(&mut take)?,
            Self::Coded(coded) => huffman::each(coded, &mut take)?,
        }
        (count > 0).then_some((number, count))
    }
}

struct Field<'a> {
    name: Text<'a>,
    value: Text<'a>,
}

impl Field<'_> {
    /// Compared as it stands: of all the names that a server spells out, none is decoded for this.
    fn is_content_length(&self) -> bool {
        match self.name {
            Text::Static(index, _) => index == CONTENT_LENGTH,
            Text::Plain(name) => name == b"content-length",
            Text::Coded(name) => name == CODED_CONTENT_LENGTH,
        }
    }

    /// The field is a status: three digits.
    fn status(&self) -> Result<u16, Malformed> {
        let is_status = match self.name {
            Text::Static(index, _) => (STATUS_FIRST..=STATUS_LAST).contains(&index),
            name => *name.decode()? == *b":status",
        };
        match self.value.digits() {
            Some((status @ 100..=999, 3)) if is_status => Ok(status as u16),
            _ => Err(Malformed),
        }
    }
}

/// Reads a block field by field.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Starts behind changes of the table's size, of which only zero is allowed.
    fn new(block: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Self { rest: block };
        while let Some(first) = fields.rest.first() {
            if first & 0xe0 != 0x20 {
                break;
            }
            if fields.integer(5)? != 0 {
                return Err(Malformed);
            }
        }
        Ok(fields)
    }

    fn next(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        let Some(&first) = self.rest.first() else {
            return Ok(None);
        };
        if first & 0x80 != 0 {
            let index = self.integer(7)?;
            let (name, value) = entry(index)?;
            return Ok(Some(Field {
                name: Text::Static(index, name),
                value: Text::Static(index, value),
            }));
        }
        // With incremental indexing, without, never: the same to us, who have no table.
        let bits = match first {
            _ if first & 0x40 != 0 => 6,
            _ if first & 0x20 != 0 => return Err(Malformed),
            _ => 4,
        };
        let index = self.integer(bits)?;
        let name = if index == 0 {
            self.string()?
        } else {
            Text::Static(index, entry(index)?.0)
        };
        let value = self.string()?;
        Ok(Some(Field { name, value }))
    }

    fn integer(&mut self, bits: u32) -> Result<u32, Malformed> {
        let most = (1_u32 << bits) - 1;
        let (first, mut rest) = self.rest.split_first().ok_or(Malformed)?;
        let mut value = u32::from(*first) & most;
        if value == most {
            let mut shift = 0;
            loop {
                let (byte, behind) = rest.split_first().ok_or(Malformed)?;
                rest = behind;
                // Larger numbers than a block can mean are refused before they overflow.
                if shift > 21 {
                    return Err(Malformed);
                }
                value += u32::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        self.rest = rest;
        Ok(value)
    }

    fn string(&mut self) -> Result<Text<'a>, Malformed> {
        let is_coded = self.rest.first().is_some_and(|first| first & 0x80 != 0);
        let bytes = self.integer(7)? as usize;
        let (text, rest) = self.rest.split_at_checked(bytes).ok_or(Malformed)?;
        self.rest = rest;
        Ok(if is_coded {
            Text::Coded(text)
        } else {
            Text::Plain(text)
        })
    }
}

fn entry(index: u32) -> Result<(&'static str, &'static str), Malformed> {
    let position = (index as usize).checked_sub(1).ok_or(Malformed)?;
    STATIC.get(position).copied().ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn origin() -> Origin {
        Origin {
            scheme: http::uri::Scheme::HTTPS,
            authority: "h:6443".parse().unwrap(),
        }
    }

    /// All fields of a block, by the reader above.
    fn fields(block: &[u8]) -> Vec<(String, String)> {
        let text = |text: Text| String::from_utf8(text.decode().unwrap().into_owned()).unwrap();
        let mut fields = Fields::new(block).unwrap();
        let mut out = Vec::new();
        while let Some(field) = fields.next().unwrap() {
            out.push((text(field.name), text(field.value)));
        }
        out
    }

    #[test]
    fn a_request_reads_back_as_it_was() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let mut token = HeaderValue::from_str(&format!("Bearer {}", "t".repeat(300))).unwrap();
        token.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, token);
        headers.insert("x-mine", HeaderValue::from_static("1"));
        for method in [Method::GET, Method::POST, Method::PATCH] {
            let head = Head::new(&origin(), &method, &headers);
            let mut block = vec![NO_DYNAMIC_TABLE];
            head.put(&mut block, b"/api/v1/pods?limit=5", 1234);
            let expected: Vec<(String, String)> = [
                (":method", method.as_str()),
                (":scheme", "https"),
                (":authority", "h:6443"),
                (":path", "/api/v1/pods?limit=5"),
                ("accept", "application/json"),
                ("authorization", &format!("Bearer {}", "t".repeat(300))),
                ("x-mine", "1"),
                ("content-length", "1234"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
            assert_eq!(fields(&block), expected);
            let secret = block.iter().position(|&byte| byte == 0x1f).unwrap();
            // 4 bits of 15 and the rest of 23: the index of `authorization`, never to be indexed.
            assert_eq!(block[secret + 1], 23 - 15);
        }
    }

    /// RFC 7541, appendix C.6.1, the first response, and the same with lengths.
    #[test]
    fn a_coded_response_is_read() {
        let mut block = vec![
            0x48, 0x82, 0x64, 0x02, 0x58, 0x85, 0xae, 0xc3, 0x77, 0x1a, 0x4b, 0x61, 0x96, 0xd0,
            0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81,
            0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
        ];
        let response = Response::parse(&block).unwrap();
        assert_eq!((response.status, response.announced_bytes), (302, None));
        assert_eq!(response.header("cache-control").unwrap(), b"private");
        assert_eq!(
            response.header("date").unwrap(),
            b"Mon, 21 Oct 2013 20:13:21 GMT"
        );
        assert_eq!(response.header("retry-after"), None);
        put_literal(&mut block, NOT_INDEXED, CONTENT_LENGTH, b"70000");
        assert_eq!(
            Response::parse(&block).unwrap().announced_bytes,
            Some(70_000)
        );
        put_literal(&mut block, NOT_INDEXED, CONTENT_LENGTH, b"70001");
        assert!(Response::parse(&block).is_err(), "two lengths");
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        for (block, why) in [
            (&[][..], "no status"),
            (&[0x0f, 0x0d, 0x01, b'1'], "not a status first"),
            (&[0xbe], "an entry of a dynamic table"),
            (&[0x80], "index zero"),
            (&[0x88, 0x20], "a change of the table in the middle"),
            (&[0x3f, 0x01, 0x88], "a table where none is allowed"),
            (&[0x48, 0x03, b'2', b'0'], "a string beyond the block"),
            (&[0x48, 0x02, b'2', b'0'], "two digits"),
            (&[0x48, 0x03, b'2', b'x', b'0'], "no digit"),
            (
                &[0x48, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff],
                "a number without end",
            ),
            (&[0x88, 0x0f, 0x0d, 0x01, b'x'], "a length that is none"),
        ] {
            assert!(Response::parse(block).is_err(), "{why}");
        }
        assert_eq!(Response::parse(&[0x20, 0x88]).unwrap().status, 200);
    }

    #[test]
    fn the_length_is_found_however_it_is_spelt() {
        assert_eq!(
            huffman::decode(CODED_CONTENT_LENGTH).unwrap(),
            b"content-length"
        );
        let coded = [&[0x00, 0x80 | 10][..], CODED_CONTENT_LENGTH].concat();
        let plain = [&[0x00, 14][..], b"content-length"].concat();
        // `302` in Huffman's code, and plain.
        for value in [&[0x82, 0x64, 0x02][..], &[3, b'3', b'0', b'2']] {
            for name in [&coded[..], &plain, &[0x0f, 13]] {
                let block = [&[0x88][..], name, value].concat();
                let response = Response::parse(&block).unwrap();
                assert_eq!(response.announced_bytes, Some(302), "{block:x?}");
            }
        }
        for value in [&[2, b'+', b'5'][..], &[0], &[21; 22]] {
            let block = [&[0x88, 0x0f, 13][..], value].concat();
            assert!(Response::parse(&block).is_err(), "{value:?}");
        }
    }

    #[test]
    fn garbage_never_panics() {
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let block: Vec<u8> = (0..state % 40)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (state >> 33) as u8
                })
                .collect();
            state = state.wrapping_add(1);
            if let Ok(response) = Response::parse(&block) {
                let _ = response.header("date");
            }
            let _ = check(&block);
        }
    }

    #[test]
    fn numbers_are_written_as_decimals() {
        for number in [0, 7, 10, 65_536, usize::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
