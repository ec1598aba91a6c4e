//! What a Prometheus may answer, from one that answers just that.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use kperf_tests::{Kperf, Ran, kperf};

use crate::{finding, metric, simulator::validate, text};

/// Answers queries by their text; its URL. The thread ends with the test.
fn prometheus() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            answer(stream);
        }
    });
    format!("http://{address}")
}

fn answer(stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut form = vec![0; length];
    reader.read_exact(&mut form).unwrap();
    let form = String::from_utf8(form).unwrap();
    let query = form.strip_prefix("query=").unwrap().split('&').next();
    let vector = |values: &[&str]| {
        let series: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(number, value)| {
                serde_json::json!({"metric": {"pod": number.to_string()}, "value": [1, value]})
            })
            .collect();
        let data = serde_json::json!({"resultType": "vector", "result": series});
        let answer = serde_json::json!({"status": "success", "data": data});
        ("200 OK", answer.to_string())
    };
    let error = |status, kind| {
        let answer = serde_json::json!({"status": "error", "errorType": kind, "error": "as told"});
        (status, answer.to_string())
    };
    let (status, body) = match query.unwrap() {
        "many" => {
            let mut values = ["1"; 200];
            values[150] = "999";
            vector(&values)
        }
        "infinite" => vector(&["+Inf"]),
        "wrong" => error("400 Bad Request", "bad_data"),
        "slow" => error("503 Service Unavailable", "timeout"),
        // Not a word, as a process that was ended.
        "gone" => return,
        _ => vector(&["1"]),
    };
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    reader.get_mut().write_all(answer.as_bytes()).ok();
}

fn audit(kperf: &Kperf, url: &str, queries: &str) -> Ran {
    let queries = kperf.write("queries.yaml", &format!("queries:\n{queries}"));
    kperf.run(&[
        "audit",
        "--prometheus",
        url,
        "--queries",
        text(&queries),
        "--last",
        "1h",
        "--output",
        "json=a.json",
    ])
}

#[test]
fn limits_see_more_series_than_the_report() {
    let (kperf, url) = (kperf!(), prometheus());
    let query = "  - {name: many, expr: many, thresholds: ['<= 10']}\n";
    audit(&kperf, &url, query).expect(3);
    let report = kperf.json("a.json");
    validate(&report);
    assert_eq!(report["thresholds"][0]["measured"], 999.0);
    assert_eq!(report["metrics"].as_array().unwrap().len(), 100);
    assert_eq!(metric(&report, "many", &[("pod", "150")]), Some(999.0));
    assert!(finding(&report, "prometheus/series-cut").is_some());

    let query = "  - {name: many, expr: many, severity: warning, thresholds: ['<= 10']}\n";
    audit(&kperf, &url, query).expect(0);
    let report = kperf.json("a.json");
    let limit = finding(&report, "prometheus/limit");
    assert!(limit.is_some_and(|message| message.contains("was 999")));
    assert_eq!(report["metrics"].as_array().unwrap().len(), 100);
}

#[test]
fn infinity_is_a_value() {
    let (kperf, url) = (kperf!(), prometheus());
    for (limit, code, word) in [("<= 1", 3, "MISSED"), (">= 1", 0, "kept")] {
        let query = format!("  - {{name: a, expr: infinite, thresholds: ['{limit}']}}\n");
        let ran = audit(&kperf, &url, &query).expect(code);
        assert!(
            ran.stdout.contains(word) && ran.stdout.contains(": +Inf (limit 1)"),
            "{}",
            ran.stdout
        );
        validate(&kperf.json("a.json"));
    }
}

#[test]
fn failures_count_more_than_the_limits_that_they_miss() {
    let (kperf, url) = (kperf!(), prometheus());
    for (query, code) in [("gone", 4), ("slow", 1)] {
        let queries = format!(
            "  - {{name: fine, expr: up, thresholds: ['<= 0']}}\n  - {{name: b, expr: {query}, thresholds: ['<= 1']}}\n"
        );
        let ran = audit(&kperf, &url, &queries).expect(code);
        assert!(ran.stdout.contains("query b: "), "{}", ran.stdout);
        // What was answered is not lost.
        let report = kperf.json("a.json");
        validate(&report);
        assert_eq!(metric(&report, "fine", &[]), Some(1.0));
        assert_eq!(report["thresholds"].as_array().unwrap().len(), 2);
    }
    let queries = "  - {name: fine, expr: up}\n  - {name: b, expr: wrong, thresholds: ['<= 1']}\n";
    let ran = audit(&kperf, &url, queries).expect(2);
    ran.says(&["query b: bad_data: as told"]);
}

#[test]
fn times_beyond_all_time_are_refused_by_name() {
    let (kperf, url) = (kperf!(), prometheus());
    let file = |name: &str, first: &str| {
        let text = format!("{first}\nqueries:\n  - {{name: a, expr: up}}\n");
        text_of(&kperf, name, &text)
    };
    let fine = file("fine.yaml", "settle: 0s");
    let window = |queries: &str, window: &[&str]| {
        let arguments = ["audit", "--prometheus", &url, "--queries", queries];
        kperf.run(&[&arguments[..], window].concat())
    };
    for (flag, value) in [
        ("--last", "3e9"),
        ("--last", "2e9"),
        ("--start", "1969-12-31T23:00:00Z"),
    ] {
        let ran = window(&fine, &[flag, value]).expect(2);
        ran.says(&[&format!("{flag}: the window would begin before 1970")]);
    }
    window(&fine, &["--start", "1970-01-01T00:00:00Z"]).expect(0);
    let far = file("far.yaml", "scrapeInterval: 9000000s");
    window(&far, &["--last", "1h"])
        .expect(2)
        .says(&["far.yaml", "scrapeInterval: must be at most 24h"]);

    let run = |more: &[&str]| {
        let load = ["run", "--plugin", "quorum_list", "--sim", "--total", "20"];
        kperf.run(&[&load[..], more].concat())
    };
    let settle = file("settle.yaml", "settle: 100000s");
    run(&["--prometheus", &url, "--queries", &settle])
        .expect(2)
        .says(&["settle.yaml", "settle: must be at most 24h"]);
    run(&["--server-metrics-interval", "2e5"])
        .expect(2)
        .says(&["--server-metrics-interval", "must be at most 24h"]);
    run(&["--server-metrics=off", "--server-metrics-interval", "1s"])
        .expect(2)
        .says(&["--server-metrics=off", "--server-metrics-interval"]);
}

#[test]
fn keys_of_perfscale_audit_without_a_meaning_are_named() {
    let (kperf, url) = (kperf!(), prometheus());
    let input = r#"{"prometheusURL": "http://elsewhere", "prometheusBearerToken": "s3cret", "prometheusVerifyTLS": false,
        "thresholdExpectations": {"Running-phase-count": {"value": 5}}}"#;
    let input = text_of(&kperf, "input.json", input);
    let ran = kperf
        .run(&[
            "audit",
            "--prometheus",
            &url,
            "--queries",
            &input,
            "--last",
            "1h",
        ])
        .expect(0);
    for output in [&ran.stdout, &ran.stderr] {
        for key in [
            "prometheusURL",
            "prometheusBearerToken",
            "prometheusVerifyTLS",
        ] {
            let line = format!("{key}: is ignored; ");
            assert!(output.contains(&line), "{line}:\n{output}");
        }
        assert!(!output.contains("s3cret"), "{output}");
    }
}

fn text_of(kperf: &Kperf, name: &str, content: &str) -> String {
    text(&kperf.write(name, content)).to_owned()
}
