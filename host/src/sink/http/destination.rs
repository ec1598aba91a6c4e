//! A URL as a place to send to, and what lies below it.
//!
//! Enters: the URL the user wrote; then paths that plugins write. Leaves: addresses that are the declared URL or
//! below it, and nothing else: a path that climbs, however encoded, is denied. Credentials are taken out of the URL
//! when it is read and shown nowhere.

use std::fmt;

use ::http::{HeaderValue, Uri};
use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;

use super::SendError;
use crate::sink::DestinationError;

/// An `http://` or `https://` URL as a place to send to.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpDestination {
    pub(super) is_https: bool,
    /// Host and port, no credentials.
    authority: String,
    /// Without a slash at its end; may be empty.
    path: String,
    /// Stays with every request.
    query: Option<String>,
    /// Value of the header `authorization`.
    pub(super) authorization: Option<HeaderValue>,
}

/// Without credentials and query.
impl fmt::Display for HttpDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

impl fmt::Debug for HttpDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpDestination({self})")
    }
}

impl HttpDestination {
    pub(in crate::sink) fn parse(text: &str) -> Result<Self, DestinationError> {
        let unusable = |why: &str| DestinationError::Url(why.to_owned());
        if text.contains('#') {
            return Err(unusable("a `#` cannot be sent; write it as %23"));
        }
        let uri: Uri = text
            .parse()
            .map_err(|error: ::http::uri::InvalidUri| unusable(&error.to_string()))?;
        let authority = uri.authority().ok_or_else(|| unusable("it has no host"))?;
        if authority.host().is_empty() {
            return Err(unusable("it has no host"));
        }
        let (user_info, host_and_port) = match authority.as_str().rsplit_once('@') {
            Some((user_info, host_and_port)) => (Some(user_info), host_and_port),
            None => (None, authority.as_str()),
        };
        // The parser of URLs takes anything for a port.
        let port = host_and_port
            .strip_prefix(authority.host())
            .unwrap_or_default();
        if !port.is_empty()
            && port
                .strip_prefix(':')
                .is_none_or(|digits| digits.parse::<u16>().is_err())
        {
            return Err(unusable("its port is not a number from 0 to 65535"));
        }
        let path = uri.path().trim_end_matches('/');
        if !path.is_empty() {
            check_path(path).map_err(|denial| unusable(&format!("its path {denial}")))?;
        }
        Ok(Self {
            is_https: uri
                .scheme_str()
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            authority: host_and_port.to_owned(),
            path: path.to_owned(),
            query: uri.query().map(str::to_owned),
            authorization: user_info.map(basic).transpose()?,
        })
    }

    /// The address of a delivery: the declared URL with the delivery's path below it.
    pub(super) fn uri(&self, path: &str) -> Result<Uri, SendError> {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        if path
            .split('/')
            .next()
            .is_some_and(|first| first.contains(':'))
        {
            return Err(SendError::Denied(
                "the path looks like a URL of its own".to_owned(),
            ));
        }
        let separated = if path.is_empty() || path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        if !separated.is_empty() {
            check_path(&separated).map_err(|why| SendError::Denied(format!("the path {why}")))?;
        }
        if query.is_some_and(|query| !query.bytes().all(is_url_byte)) {
            return Err(SendError::Denied(
                "the query holds characters that must be percent-encoded".to_owned(),
            ));
        }
        let mut full = format!("{}{separated}", self.path);
        if full.is_empty() {
            full.push('/');
        }
        let mut separator = '?';
        for part in [self.query.as_deref(), query].into_iter().flatten() {
            full.push(separator);
            full.push_str(part);
            separator = '&';
        }
        Uri::builder()
            .scheme(if self.is_https { "https" } else { "http" })
            .authority(self.authority.as_str())
            .path_and_query(full)
            .build()
            .map_err(|error| SendError::Denied(format!("the path cannot be used: {error}")))
    }
}

fn basic(user_info: &str) -> Result<HeaderValue, DestinationError> {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let mut plain: Vec<u8> = percent_decode_str(user).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(plain)))
        .map_err(|_| DestinationError::Url("its credentials cannot be sent".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A path from `/` on that stays where it is: percent-encoded, no empty segment, no `.` or `..`, however encoded, and
/// nothing that a server could read as a separator after decoding. (A server that decodes twice is on its own.)
fn check_path(path: &str) -> Result<(), String> {
    if !path.bytes().all(is_url_byte) {
        return Err("holds characters that must be percent-encoded".to_owned());
    }
    let segments = path.strip_prefix('/').unwrap_or(path);
    let trimmed = segments.strip_suffix('/').unwrap_or(segments);
    for segment in trimmed.split('/') {
        if segment.is_empty() && !segments.is_empty() {
            return Err("holds an empty segment (`//`)".to_owned());
        }
        if !well_encoded(segment) {
            return Err(format!(
                "holds a % that is not followed by two hexadecimal digits: `{segment}`"
            ));
        }
        let decoded: Vec<u8> = percent_decode_str(segment).collect();
        if decoded
            .split(|byte| matches!(byte, b'/' | b'\\'))
            .any(|part| matches!(part, b"." | b".."))
        {
            return Err(format!("climbs: `{segment}`"));
        }
        if decoded.contains(&0) {
            return Err(format!("holds a zero byte: `{segment}`"));
        }
    }
    Ok(())
}

fn well_encoded(segment: &str) -> bool {
    segment.split('%').skip(1).all(|after| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// What may stand in a path or query as it is.
fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}
