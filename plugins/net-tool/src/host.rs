//! Where the server is.

use std::fmt;
use std::net::IpAddr;

use crate::ParamError;

/// Address or name of the server, safe as a command line argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(String);

impl Host {
    /// An IPv4 or IPv6 address or a DNS name.
    ///
    /// # Errors
    /// If it is neither, names the parameter `server`.
    pub fn new(text: impl Into<String>) -> Result<Self, ParamError> {
        let text = text.into();
        let name = |text: &str| {
            text.len() <= 253
                && text.split('.').all(|label| {
                    (1..=63).contains(&label.len())
                        && label
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                })
        };
        if text.parse::<IpAddr>().is_ok() || name(&text) {
            return Ok(Self(text));
        }
        let message = format!("`{text}` is neither an IP address nor a DNS name");
        Err(ParamError::new("server", message))
    }

    /// As given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// With a port, IPv6 addresses in brackets.
    pub fn with_port(&self, port: u16) -> String {
        if self.is_ipv6() {
            format!("[{}]:{port}", self.0)
        } else {
            format!("{}:{port}", self.0)
        }
    }

    /// Whether it is an IPv4 address.
    pub fn is_ipv4(&self) -> bool {
        matches!(self.0.parse(), Ok(IpAddr::V4(_)))
    }

    /// Whether it is an IPv6 address.
    pub fn is_ipv6(&self) -> bool {
        matches!(self.0.parse(), Ok(IpAddr::V6(_)))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_option_passes_for_a_host() {
        for good in ["10.0.0.1", "fd00::1", "worker-1.net.svc", "localhost"] {
            assert!(Host::new(good).is_ok(), "{good}");
        }
        for bad in [
            "", "-F", "--file=x", "a b", "a;b", "a..b", "http://x", "a/b", "[::1]", "x:80", "ä",
        ] {
            assert!(Host::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_beside_ipv6() {
        assert_eq!(Host::new("::1").unwrap().with_port(80), "[::1]:80");
        assert_eq!(Host::new("a").unwrap().with_port(80), "a:80");
    }
}
