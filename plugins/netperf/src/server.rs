//! What the plans of all tests have in common.

use net_tool::{Command, Host, Mesh, ParamError, Plan, Port, Purpose, Ready};

/// Where the server listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) control: u16,
    pub(crate) data: u16,
}

/// netperf has no option for how long to wait for a connection, in seconds.
const CONNECT_SECONDS: u32 = 10;

/// Between what the tool takes and what it is given, in seconds.
const MARGIN_SECONDS: u32 = 5;

/// A plan whose client lacks the test's own arguments.
pub(crate) fn plan(
    server: &Host,
    test: &str,
    duration_seconds: u32,
    cpu: bool,
    ports: Ports,
) -> Plan {
    let control = ports.control.to_string();
    let mut client = Command::new("netperf", ["-H", server.as_str(), "-p", &control]);
    if server.is_ipv4() {
        client.args(["-4"]);
    } else if server.is_ipv6() {
        client.args(["-6"]);
    }
    client.args(["-t", test, "-l", &duration_seconds.to_string(), "-P", "0"]);
    if cpu {
        client.args(["-c", "-C"]);
    }
    Plan {
        server: Command::new("netserver", ["-D", "-p", &control]),
        client,
        ports: vec![
            Port {
                number: ports.control,
                purpose: Purpose::Control,
            },
            Port {
                number: ports.data,
                purpose: Purpose::Data,
            },
        ],
        ready: Ready::Connect {
            port: ports.control,
        },
        time_limit_seconds: duration_seconds + CONNECT_SECONDS + MARGIN_SECONDS,
        // netserver forks for each client, but the data port is one.
        one_client_at_a_time: true,
        mesh: Mesh::Refused("netperf opens data connections beside its control connection"),
    }
}

impl Ports {
    pub(crate) fn check(self) -> Result<(), ParamError> {
        ParamError::within("port", self.control, 1, u16::MAX)?;
        ParamError::within("dataPort", self.data, 1, u16::MAX)?;
        if self.control == self.data {
            let message = format!(
                "dataPort must differ from port, which is {} as well",
                self.data
            );
            return Err(ParamError::new("dataPort", message));
        }
        Ok(())
    }
}
