//! From parameters to commands.

use net_tool::{Host, Mesh, Ready, Tool};
use netperf::{Direction, RrParams, StreamParams, TcpRr, TcpStream};

#[test]
fn transactions() {
    let host = Host::new("10.0.0.2").unwrap();
    let plan = TcpRr::plan(&RrParams::default(), &host).unwrap();
    assert_eq!(plan.server.program, "netserver");
    assert_eq!(plan.server.args.join(" "), "-D -p 12865");
    assert_eq!(plan.client.program, "netperf");
    assert_eq!(
        plan.client.args.join(" "),
        "-H 10.0.0.2 -p 12865 -4 -t TCP_RR -l 10 -P 0 -- -r 1,1 -P ,12866 -k THROUGHPUT,THROUGHPUT_UNITS,MIN_LATENCY,\
         MEAN_LATENCY,P50_LATENCY,P90_LATENCY,P99_LATENCY,MAX_LATENCY,STDDEV_LATENCY,TRANSACTION_RATE,ELAPSED_TIME,\
         LOCAL_TRANSPORT_RETRANS,REMOTE_TRANSPORT_RETRANS,PROTOCOL"
    );
    assert_eq!(plan.time_limit_seconds, 10 + 10 + 5);
    assert_eq!(plan.ready, Ready::Connect { port: 12_865 });
    assert!(matches!(plan.mesh, Mesh::Refused(_)));
}

#[test]
fn a_stream_the_other_way_over_ipv6() {
    let params = StreamParams {
        direction: Direction::Reverse,
        message_bytes: Some(1_024),
        socket_buffer_bytes: Some(65_536),
        no_delay: true,
        cpu: true,
        duration_seconds: 3,
        ..StreamParams::default()
    };
    let host = Host::new("fd00::2").unwrap();
    let plan = TcpStream::plan(&params, &host).unwrap();
    assert_eq!(
        plan.client.args.join(" "),
        "-H fd00::2 -p 12865 -6 -t TCP_MAERTS -l 3 -P 0 -c -C -f m -- -P ,12866 -M 1024 -s 65536 -S 65536 -D -k \
         THROUGHPUT,THROUGHPUT_UNITS,ELAPSED_TIME,LOCAL_TRANSPORT_RETRANS,REMOTE_TRANSPORT_RETRANS,LOCAL_SEND_SIZE,\
         LOCAL_CPU_UTIL,REMOTE_CPU_UTIL,PROTOCOL"
    );
}

#[test]
fn mistakes_name_their_parameter() {
    let host = Host::new("worker-b").unwrap();
    let rr = RrParams::default;
    for (params, key) in [
        (
            RrParams {
                duration_seconds: 0,
                ..rr()
            },
            "durationSeconds",
        ),
        (
            RrParams {
                request_bytes: 0,
                ..rr()
            },
            "requestBytes",
        ),
        (
            RrParams {
                response_bytes: 0,
                ..rr()
            },
            "responseBytes",
        ),
        (RrParams { port: 0, ..rr() }, "port"),
        (
            RrParams {
                data_port: 12_865,
                ..rr()
            },
            "dataPort",
        ),
    ] {
        assert_eq!(TcpRr::plan(&params, &host).unwrap_err().key, key);
    }
    let stream = StreamParams::default;
    for (params, key) in [
        (
            StreamParams {
                duration_seconds: 86_401,
                ..stream()
            },
            "durationSeconds",
        ),
        (
            StreamParams {
                message_bytes: Some(0),
                ..stream()
            },
            "messageBytes",
        ),
        (
            StreamParams {
                socket_buffer_bytes: Some(0),
                ..stream()
            },
            "socketBufferBytes",
        ),
        (
            StreamParams {
                data_port: 0,
                ..stream()
            },
            "dataPort",
        ),
    ] {
        assert_eq!(TcpStream::plan(&params, &host).unwrap_err().key, key);
    }
}
