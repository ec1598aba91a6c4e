//! The tool `fortio_http`; what it knows is in the crate `fortio`, with its sibling.

kperf_sdk::export_tool!(
    net_tool::Component<fortio::FortioHttp>,
    name = "fortio_http"
);
