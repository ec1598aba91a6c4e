//! Which proxy to dial through: the cluster's `proxy-url`, else the environment as Go reads it
//! (`HTTPS_PROXY` or `HTTP_PROXY` by scheme, `NO_PROXY`, never for loopback).

use std::net::IpAddr;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use kperf_load::plan::Proxy;

use crate::{TargetError, source::Environment};

/// The proxy for `server`, and its URL for kube's own client.
pub(crate) fn choose(
    environment: &Environment,
    proxy_url: Option<&str>,
    server: &Uri,
    origin: &str,
) -> Result<Option<(Proxy, Uri)>, TargetError> {
    let (key, matcher, raw) = match proxy_url {
        Some(url) => (
            "proxy-url",
            Matcher::builder().all(url.to_owned()).build(),
            url,
        ),
        None => {
            if is_loopback(server.host().unwrap_or_default()) {
                return Ok(None);
            }
            let (key, url) = if server.scheme_str() == Some("http") {
                ("HTTP_PROXY", environment.http_proxy.as_deref())
            } else {
                ("HTTPS_PROXY", environment.https_proxy.as_deref())
            };
            let Some(url) = url else { return Ok(None) };
            // Told apart from "does not apply to this host" by trying without the exceptions first.
            if Matcher::builder()
                .all(url.to_owned())
                .build()
                .intercept(server)
                .is_none()
            {
                return Err(unusable(origin, key));
            }
            let exceptions = environment.no_proxy.clone().unwrap_or_default();
            let matcher = Matcher::builder()
                .all(url.to_owned())
                .no(exceptions)
                .build();
            if matcher.intercept(server).is_none() {
                return Ok(None);
            }
            (key, matcher, url)
        }
    };
    let intercept = matcher
        .intercept(server)
        .ok_or_else(|| unusable(origin, key))?;
    let address = intercept.uri();
    if address.scheme_str() != Some("http") {
        return Err(unusable(origin, key));
    }
    let host = address.host().ok_or_else(|| unusable(origin, key))?;
    let proxy = Proxy {
        host: bare(host).to_owned(),
        port: address.port_u16().unwrap_or(80),
        authorization: intercept.basic_auth().cloned(),
    };
    let full = if raw.contains("://") {
        raw.parse()
    } else {
        format!("http://{raw}").parse()
    };
    let full = full.map_err(|_| unusable(origin, key))?;
    Ok(Some((proxy, full)))
}

// The value is not repeated: it may hold a password.
fn unusable(origin: &str, key: &str) -> TargetError {
    TargetError::Setting {
        origin: origin.into(),
        key: key.into(),
        reason: "is not the URL of an HTTP proxy, as http://[USER:PASSWORD@]HOST:PORT (https:// and socks5:// proxies are not supported)".into(),
    }
}

/// Host without the brackets of an IPv6 address.
pub(crate) fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn is_loopback(host: &str) -> bool {
    let host = bare(host);
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(
        environment: &Environment,
        url: Option<&str>,
        server: &str,
    ) -> Result<Option<Proxy>, String> {
        choose(environment, url, &server.parse().unwrap(), "cluster \"c\"")
            .map(|found| found.map(|(proxy, _)| proxy))
            .map_err(|error| error.to_string())
    }

    fn variables(https: &str, no: &str) -> Environment {
        Environment {
            https_proxy: Some(https.into()),
            no_proxy: Some(no.into()),
            ..Environment::default()
        }
    }

    #[test]
    fn the_clusters_proxy_wins_and_keeps_its_password_to_itself() {
        let environment = variables("http://other:1", "*");
        let proxy = pick(
            &environment,
            Some("http://me:s3cret@proxy:3128"),
            "https://a:6443",
        )
        .unwrap()
        .unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy", 3128));
        assert_eq!(proxy.authorization.as_ref().unwrap(), "Basic bWU6czNjcmV0");
        let shown = format!("{proxy:?}");
        assert!(
            !shown.contains("bWU6") && !shown.contains("s3cret"),
            "{shown}"
        );
    }

    #[test]
    fn the_environment_is_read_as_go_reads_it() {
        let environment = variables("proxy:3128", "10.0.0.0/8,.internal, other.example");
        for (server, proxied) in [
            ("https://192.0.2.1:6443", true),
            ("https://10.1.2.3:6443", false),
            ("https://api.internal", false),
            ("https://other.example", false),
            ("https://another.example", true),
            ("https://localhost:6443", false),
            ("https://127.0.0.1:6443", false),
            ("https://[::1]:6443", false),
            // HTTPS_PROXY is not for plain HTTP.
            ("http://192.0.2.1", false),
        ] {
            assert_eq!(
                pick(&environment, None, server).unwrap().is_some(),
                proxied,
                "{server}"
            );
        }
    }

    #[test]
    fn other_kinds_of_proxies_are_refused_without_repeating_the_url() {
        for url in [
            "socks5://me:s3cret@proxy:1080",
            "https://me:s3cret@proxy",
            "ftp://me:s3cret@proxy",
            "http://me:s3cret@",
        ] {
            let message = pick(&Environment::default(), Some(url), "https://a").unwrap_err();
            assert!(message.contains("cluster \"c\": proxy-url"), "{message}");
            assert!(!message.contains("s3cret"), "{message}");
            let message = pick(&variables(url, ""), None, "https://a").unwrap_err();
            assert!(message.contains("HTTPS_PROXY"), "{message}");
            assert!(!message.contains("s3cret"), "{message}");
        }
    }
}
