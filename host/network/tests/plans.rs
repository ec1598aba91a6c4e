//! What our own tools plan, workers run.
#![allow(clippy::unwrap_used, reason = "tests")]

use fortio::{FortioHttp, FortioTcp};
use iperf3_tcp::{Direction, Iperf3Tcp};
use kperf_network::{AllowList, Command};
use net_tool::{Host, Tool};
use netperf::{TcpRr, TcpStream};
use qperf_tcp::QperfTcp;

fn command(command: net_tool::Command) -> Command {
    Command {
        program: command.program,
        arguments: command.args,
        environment: command.env,
    }
}

fn check<T: Tool>(params: &T::Params) {
    for host in ["10.0.0.2", "fd00::2", "server.ns.svc"] {
        let plan = T::plan(params, &Host::new(host).unwrap()).unwrap();
        let list = AllowList::default();
        list.check_client(&command(plan.client.clone()), host)
            .unwrap();
        list.check_server(&command(plan.server)).unwrap();
        assert!(
            list.check_client(&command(plan.client), "10.0.0.3")
                .is_err()
        );
    }
}

#[test]
fn plans_pass_the_allow_list_for_their_own_server_only() {
    for direction in [
        Direction::Forward,
        Direction::Reverse,
        Direction::Bidirectional,
    ] {
        check::<Iperf3Tcp>(&iperf3_tcp::Params {
            direction,
            ..iperf3_tcp::Params::default()
        });
    }
    check::<QperfTcp>(&qperf_tcp::Params::default());
    check::<TcpRr>(&netperf::RrParams::default());
    check::<TcpStream>(&netperf::StreamParams::default());
    check::<FortioTcp>(&fortio::TcpParams::default());
    check::<FortioHttp>(&fortio::HttpParams::default());
}
