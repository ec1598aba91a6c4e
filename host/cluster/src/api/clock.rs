//! How far the clock of this machine is from the server's, as far as its answers tell.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, header::DATE};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

use super::{
    ApiFailure, Cluster,
    transport::{JSON, MAX_BODY_BYTES, Outgoing},
};

impl Cluster {
    /// How far the clock of this machine is ahead of the server's, milliseconds; negative when it is behind, none when
    /// the server does not say. The server says it in whole seconds, so it is true to half a second and half the time of
    /// the request. Behind a load balancer it is the clock of one of several servers.
    ///
    /// # Errors
    /// All that a request can meet.
    pub async fn clock_ahead_ms(&self) -> Result<Option<i64>, ApiFailure> {
        let before = SystemTime::now();
        let (headers, _) = self
            .transport
            .exchange(&Outgoing {
                method: Method::GET,
                path: "/version",
                accept: JSON,
                content_type: "",
                body: Bytes::new(),
                max_body_bytes: MAX_BODY_BYTES,
            })
            .await?;
        let after = SystemTime::now();
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        Ok(date.and_then(|date| ahead_ms(before, after, date)))
    }
}

/// The middle of the exchange against the middle of the second that the server named.
fn ahead_ms(before: SystemTime, after: SystemTime, date: &str) -> Option<i64> {
    let took = after.duration_since(before).unwrap_or_default();
    let here = Timestamp::try_from(before + took / 2).ok()?;
    let there = DateTimeParser::new().parse_timestamp(date).ok()?;
    let there = there.as_millisecond() + Duration::from_millis(500).as_millis() as i64;
    here.as_millisecond().checked_sub(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_second_is_meant() {
        let at = |ms: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_000 + ms);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(ahead_ms(at(400), at(600), date), Some(0));
        assert_eq!(ahead_ms(at(5_500), at(5_500), date), Some(5_000));
        assert_eq!(
            ahead_ms(
                at(0) - Duration::from_secs(9),
                at(0) - Duration::from_secs(9),
                date
            ),
            Some(-9_500)
        );
        assert_eq!(ahead_ms(at(0), at(0), "yesterday"), None);
    }
}
