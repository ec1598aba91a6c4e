//! Where the instances of an API server are: every address behind its host name, and those that the cluster
//! itself names in the EndpointSlice of the service `kubernetes`.

use std::{future::Future, io, net::SocketAddr, pin::Pin};

use kperf_load::plan::Target;
use serde_json::Value;

/// Where instances register themselves.
pub(crate) const SLICE: &str =
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";

/// How an instance was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The address, or one of the addresses, of the server's URL.
    Url,
    /// The cluster names it. From outside of the cluster's network it may well not be reachable.
    Cluster,
}

/// One address to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Address and port; through a proxy, the name and port that the proxy resolves.
    pub(crate) name: String,
    /// None = through the proxy.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) origin: Origin,
}

impl Place {
    pub(crate) fn direct(address: SocketAddr, origin: Origin) -> Self {
        Self {
            name: address.to_string(),
            address: Some(address),
            origin,
        }
    }
}

/// Turns a host name into all its addresses.
pub trait Resolve: Send + Sync {
    /// Addresses of a host, in the order of the resolver.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;
}

/// As the machine resolves names.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// The places of the server's URL.
pub(crate) async fn of_url(target: &Target, resolver: &dyn Resolve) -> io::Result<Vec<Place>> {
    if target.proxy.is_some() {
        // The proxy resolves the name; how many addresses it has cannot be known here.
        return Ok(vec![Place {
            name: authority(&target.host, target.port),
            address: None,
            origin: Origin::Url,
        }]);
    }
    let found = if target.addresses.is_empty() {
        resolver.resolve(&target.host, target.port).await?
    } else {
        target.addresses.clone()
    };
    let mut places: Vec<Place> = Vec::new();
    for address in found {
        let place = Place::direct(address, Origin::Url);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Ok(places)
}

/// The addresses in an EndpointSlice, with its port for HTTPS.
pub(crate) fn of_slice(slice: &Value) -> Vec<SocketAddr> {
    let ports = slice["ports"].as_array();
    let port = ports
        .into_iter()
        .flatten()
        .find(|port| port["name"].as_str().unwrap_or_default() == "https")
        .or_else(|| ports.and_then(|ports| ports.first()))
        .and_then(|port| port["port"].as_u64())
        .and_then(|port| u16::try_from(port).ok());
    let Some(port) = port else {
        return Vec::new();
    };
    let endpoints = slice["endpoints"].as_array();
    endpoints
        .into_iter()
        .flatten()
        .filter(|endpoint| endpoint["conditions"]["ready"].as_bool() != Some(false))
        .filter_map(|endpoint| endpoint["addresses"].as_array())
        .flatten()
        .filter_map(|address| address.as_str()?.parse().ok())
        .map(|address| SocketAddr::new(address, port))
        .collect()
}

/// Host and port as they stand in a URL.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slice_names_the_ready_instances() {
        let slice = json!({
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"]},
                {"addresses": ["10.0.0.3"], "conditions": {"ready": false}},
                {"addresses": ["no address"]},
            ],
            "ports": [{"name": "other", "port": 1}, {"name": "https", "port": 6443}],
        });
        let found: Vec<_> = of_slice(&slice).iter().map(SocketAddr::to_string).collect();
        assert_eq!(found, ["10.0.0.1:6443", "10.0.0.2:6443"]);
        assert!(of_slice(&json!({})).is_empty());
        assert!(of_slice(&json!({"ports": [], "endpoints": [{"addresses": ["::1"]}]})).is_empty());
    }
}
