//! From parameters to commands.

use iperf3_tcp::{Iperf3Tcp, Params};
use net_tool::{Host, Mesh, ParamError, Plan, Ready, Tool};

fn plan(params: &Params) -> Result<Plan, ParamError> {
    Iperf3Tcp::plan(params, &Host::new("10.0.0.2")?)
}

#[test]
fn nothing_asked_for_is_ten_seconds_over_one_connection() {
    let plan = plan(&Params::default()).unwrap();
    assert_eq!(plan.server.program, "iperf3");
    assert_eq!(plan.server.args.join(" "), "-s -p 5201 --forceflush");
    assert_eq!(plan.client.program, "iperf3");
    assert_eq!(
        plan.client.args.join(" "),
        "-c 10.0.0.2 -p 5201 -J -t 10 -O 1 --connect-timeout 5000"
    );
    assert_eq!(plan.client.env, [("LC_ALL".to_owned(), "C".to_owned())]);
    assert_eq!(plan.time_limit_seconds, 1 + 10 + 5 + 5);
    let text = "Server listening on 5201".to_owned();
    assert_eq!(plan.ready, Ready::Line { text });
    assert_eq!(plan.mesh, Mesh::Allowed);
    assert!(plan.one_client_at_a_time);
}

#[test]
fn everything_asked_for_is_passed_on() {
    let params = serde_json::from_str(
        r#"{"bytes": 1000, "streams": 4, "direction": "bidirectional", "bitrateBitsPerSecond": 10000000,
            "writeSizeBytes": 8192, "windowBytes": 65536, "mssBytes": 1400, "congestionControl": "cubic",
            "noDelay": true, "connectTimeoutSeconds": 2, "port": 6000, "durationSeconds": 30}"#,
    )
    .unwrap();
    let plan = plan(&params).unwrap();
    assert_eq!(
        plan.client.args.join(" "),
        "-c 10.0.0.2 -p 6000 -J -n 1000 --connect-timeout 2000 -P 4 -b 10000000 -l 8192 -w 65536 -M 1400 -C cubic --bidir -N"
    );
    assert_eq!(plan.time_limit_seconds, 30 + 2 + 5);
    assert_eq!(plan.ports[0].number, 6000);
}

#[test]
fn mistakes_name_their_parameter() {
    for (json, key) in [
        (r#"{"streams": 0}"#, "streams"),
        (r#"{"streams": 129}"#, "streams"),
        (r#"{"durationSeconds": 0}"#, "durationSeconds"),
        (r#"{"durationSeconds": 4294967295}"#, "durationSeconds"),
        (r#"{"omitSeconds": 61}"#, "omitSeconds"),
        (r#"{"connectTimeoutSeconds": 0}"#, "connectTimeoutSeconds"),
        (r#"{"bytes": 0}"#, "bytes"),
        (r#"{"mssBytes": 1}"#, "mssBytes"),
        (r#"{"port": 0}"#, "port"),
        (r#"{"congestionControl": "-F"}"#, "congestionControl"),
        (r#"{"congestionControl": ""}"#, "congestionControl"),
    ] {
        let params = serde_json::from_str(json).unwrap();
        assert_eq!(plan(&params).unwrap_err().key, key, "{json}");
    }
    assert!(serde_json::from_str::<Params>(r#"{"parallel": 4}"#).is_err());
}
