//! From parameters to commands.

use fortio::{FortioHttp, FortioTcp, HttpParams, TcpParams};
use net_tool::{Host, Mesh, Ready, Tool};

#[test]
fn tcp() {
    let host = Host::new("10.0.0.2").unwrap();
    let plan = FortioTcp::plan(&TcpParams::default(), &host).unwrap();
    assert_eq!(
        plan.server.args.join(" "),
        "server -tcp-port 8078 -http-port disabled -grpc-port disabled -udp-port disabled -redirect-port disabled -ui-path "
    );
    assert_eq!(
        plan.client.args.join(" "),
        "load -loglevel error -json - -qps 1000 -c 4 -t 10s -r 0.00001 -p 50,75,90,99,99.9 -timeout 3s tcp://10.0.0.2:8078"
    );
    assert_eq!(plan.ready, Ready::Connect { port: 8_078 });
    assert_eq!(plan.mesh, Mesh::Allowed);
    assert!(!plan.one_client_at_a_time);
    assert_eq!(plan.time_limit_seconds, 10 + 2 * 3 + 5);
}

#[test]
fn http_with_everything_before_the_url() {
    let params: HttpParams = serde_json::from_str(
        r#"{"requests": 50, "requestsPerSecond": 0, "connections": 2, "payloadBytes": 1024, "uniform": true,
            "jitter": true, "catchUp": false, "keepAlive": false, "http2": true, "path": "/echo?status=503:20"}"#,
    )
    .unwrap();
    let host = Host::new("fd00::2").unwrap();
    let plan = FortioHttp::plan(&params, &host).unwrap();
    assert_eq!(
        plan.client.args.join(" "),
        "load -loglevel error -json - -qps 0 -c 2 -n 50 -r 0.00001 -p 50,75,90,99,99.9 -timeout 3s -payload-size 1024 \
         -uniform -jitter -nocatchup -keepalive=false -h2 http://[fd00::2]:8080/echo?status=503:20"
    );
}

#[test]
fn mistakes_name_their_parameter() {
    let host = Host::new("worker-b").unwrap();
    for (json, key) in [
        (r#"{"durationSeconds": 0}"#, "durationSeconds"),
        (r#"{"requests": 0}"#, "requests"),
        (r#"{"requestsPerSecond": -1}"#, "requestsPerSecond"),
        (r#"{"connections": 0}"#, "connections"),
        (r#"{"percentiles": []}"#, "percentiles"),
        (r#"{"percentiles": [50, 100]}"#, "percentiles[1]"),
        (r#"{"resolutionSeconds": 0}"#, "resolutionSeconds"),
        (r#"{"timeoutSeconds": 0}"#, "timeoutSeconds"),
        (r#"{"payloadBytes": 0}"#, "payloadBytes"),
        (r#"{"port": 0}"#, "port"),
        (r#"{"path": "echo"}"#, "path"),
        (r#"{"path": "/a b"}"#, "path"),
    ] {
        let params: HttpParams = serde_json::from_str(json).unwrap();
        assert_eq!(
            FortioHttp::plan(&params, &host).unwrap_err().key,
            key,
            "{json}"
        );
    }
    assert!(serde_json::from_str::<TcpParams>(r#"{"path": "/"}"#).is_err());
}
