//! The tool `netperf_tcp_rr`; what it knows is in the crate `netperf`, with its sibling.

kperf_sdk::export_tool!(net_tool::Component<netperf::TcpRr>, name = "netperf_tcp_rr");
