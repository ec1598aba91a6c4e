//! From parameters to commands.

use net_tool::{Host, Mesh, Ready, Tool};
use qperf_tcp::{Params, QperfTcp, Test};

#[test]
fn nothing_asked_for_is_both_tests_in_the_smallest_units() {
    let host = Host::new("10.0.0.2").unwrap();
    let plan = QperfTcp::plan(&Params::default(), &host).unwrap();
    assert_eq!(plan.server.args.join(" "), "-lp 19765");
    assert_eq!(
        plan.client.args.join(" "),
        "-lp 19765 10.0.0.2 -ip 19766 -t 10 -to 5 -ws 5 -uu -v -vvs -m 65536 tcp_bw -m 1 tcp_lat"
    );
    assert_eq!(plan.time_limit_seconds, 2 * (10 + 5) + 5 + 5);
    assert_eq!(plan.ready, Ready::Connect { port: 19_765 });
    assert!(matches!(plan.mesh, Mesh::Refused(_)));
    assert!(plan.one_client_at_a_time);
    let ports: Vec<_> = plan.ports.iter().map(|port| port.number).collect();
    assert_eq!(ports, [19_765, 19_766]);
}

#[test]
fn one_test_alone() {
    let params = Params {
        tests: vec![Test::Latency],
        latency_message_bytes: 256,
        duration_seconds: 3,
        ..Params::default()
    };
    let plan = QperfTcp::plan(&params, &Host::new("::1").unwrap()).unwrap();
    assert!(plan.client.args.join(" ").ends_with("-m 256 tcp_lat"));
    assert!(!plan.client.args.contains(&"tcp_bw".to_owned()));
    assert_eq!(plan.time_limit_seconds, 3 + 5 + 5 + 5);
}

#[test]
fn mistakes_name_their_parameter() {
    let host = Host::new("10.0.0.2").unwrap();
    let defaults = Params::default;
    for (params, key) in [
        (
            Params {
                tests: vec![],
                ..defaults()
            },
            "tests",
        ),
        (
            Params {
                tests: vec![Test::Latency, Test::Latency],
                ..defaults()
            },
            "tests",
        ),
        (
            Params {
                duration_seconds: 0,
                ..defaults()
            },
            "durationSeconds",
        ),
        (
            Params {
                latency_message_bytes: 0,
                ..defaults()
            },
            "latencyMessageBytes",
        ),
        (
            Params {
                answer_timeout_seconds: 601,
                ..defaults()
            },
            "answerTimeoutSeconds",
        ),
        (
            Params {
                port: 0,
                ..defaults()
            },
            "port",
        ),
        (
            Params {
                data_port: 19_765,
                ..defaults()
            },
            "dataPort",
        ),
    ] {
        assert_eq!(QperfTcp::plan(&params, &host).unwrap_err().key, key);
    }
}
