//! The tool `netperf_tcp_stream`; what it knows is in the crate `netperf`, with its sibling.

kperf_sdk::export_tool!(
    net_tool::Component<netperf::TcpStream>,
    name = "netperf_tcp_stream"
);
