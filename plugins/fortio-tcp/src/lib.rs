//! The tool `fortio_tcp`; what it knows is in the crate `fortio`, with its sibling.

kperf_sdk::export_tool!(net_tool::Component<fortio::FortioTcp>, name = "fortio_tcp");
