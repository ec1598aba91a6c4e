//! CPU per request beside h2load and oha.

use std::path::Path;

use anyhow::Context as _;

use crate::{
    measure::{median, on_path, run, words},
    server::Server,
};

const SMALL: &str = "/api/v1/namespaces/bench/configmaps/small";
const LARGE: &str = "/api/v1/namespaces/bench/configmaps/large";

struct Case {
    name: &'static str,
    path: &'static str,
    object: &'static str,
    conns: u64,
    streams: u64,
    requests: u64,
}

pub(crate) fn cost(
    kperf: &Path,
    server: &Server,
    requests: u64,
    rounds: usize,
) -> anyhow::Result<()> {
    let case = |name, path, object, conns, streams, requests| Case {
        name,
        path,
        object,
        conns,
        streams,
        requests,
    };
    let cases = [
        case("small, 10 x 10", SMALL, "small", 10, 10, requests),
        case("small, 10 x 1", SMALL, "small", 10, 1, requests),
        case("64 KiB, 10 x 10", LARGE, "large", 10, 10, requests / 5),
    ];
    println!(
        "server nginx on core 0, clients in turns on core 1, {rounds} rounds, median CPU per request in us (user + system)"
    );
    println!(
        "{:<16} {:<22} {:>20} {:>10} {:>12}",
        "case", "client", "us/request", "x h2load", "requests/s"
    );
    for case in &cases {
        let mut clients: Vec<(&str, Vec<String>)> = Vec::new();
        let url = format!("{}{}", server.url(), case.path);
        let (n, c, m) = (
            case.requests.to_string(),
            case.conns.to_string(),
            case.streams.to_string(),
        );
        if on_path("h2load") {
            clients.push((
                "h2load",
                words(&["h2load", "-n", &n, "-c", &c, "-m", &m, &url]),
            ));
        }
        if on_path("oha") {
            clients.push((
                "oha",
                words(&[
                    "oha",
                    "-n",
                    &n,
                    "-c",
                    &c,
                    "-p",
                    &m,
                    "--http2",
                    "--insecure",
                    "--no-tui",
                    &url,
                ]),
            ));
        }
        let client = (case.conns * case.streams).to_string();
        let total = [
            "--total",
            &n,
            "--conns",
            &c,
            "--client",
            &client,
            "--shards=1",
        ];
        clients.push(("kperf-host", server.kperf(kperf, case.object, &total)));
        let mut off = total.to_vec();
        off.push("--pile-up=0");
        clients.push((
            "kperf-host, no pile-up",
            server.kperf(kperf, case.object, &off),
        ));

        let mut samples: Vec<Vec<(f64, f64, f64)>> = vec![Vec::new(); clients.len()];
        for _ in 0..rounds {
            for ((name, command), samples) in clients.iter().zip(&mut samples) {
                let used = run(command).with_context(|| (*name).to_owned())?;
                samples.push((
                    used.user.as_secs_f64(),
                    used.system.as_secs_f64(),
                    used.wall.as_secs_f64(),
                ));
            }
        }
        let requests = case.requests as f64;
        let mut h2load = None;
        for ((name, _), samples) in clients.iter().zip(&samples) {
            let pick = |of: fn(&(f64, f64, f64)) -> f64| median(samples.iter().map(of).collect());
            let whole = pick(|sample| sample.0 + sample.1) / requests * 1e6;
            let user = pick(|sample| sample.0) / requests * 1e6;
            let system = pick(|sample| sample.1) / requests * 1e6;
            let rate = requests / pick(|sample| sample.2);
            let base = *h2load.get_or_insert(whole);
            let ratio = if clients.first().is_some_and(|first| first.0 == "h2load") {
                format!("{:.2}", whole / base)
            } else {
                "-".to_owned()
            };
            println!(
                "{:<16} {name:<22} {:>20} {ratio:>10} {rate:>12.0}",
                case.name,
                format!("{whole:.2} ({user:.1}+{system:.1})")
            );
        }
    }
    Ok(())
}
