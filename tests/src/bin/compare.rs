//! What a request costs the load client, beside h2load and oha, in turns against the same server.
//!
//! Question it answers: how much CPU (user + system) does kperf-host spend per request, with a plugin and
//! both histograms on, as a ratio to its peers in the same run? Wall time is not compared: client and server
//! share two cores here. The server is nginx, one process on core 0; clients run one after the other on
//! core 1, several rounds, medians.
//!
//!     cargo build --release && cargo run --release -p kperf-tests --bin compare -- cost
//!
//! `memory` samples the resident memory of a run at full speed; `start` times a run of one request;
//! `pile-up` prints percentiles with pile-up on and off, and with and without kernel stamps, at a fixed rate.

#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;

#[derive(Parser)]
struct Arguments {
    /// The binary to measure.
    #[arg(long, default_value = "target/release/kperf-host")]
    kperf: PathBuf,
    #[command(subcommand)]
    question: Question,
}

#[derive(Subcommand)]
enum Question {
    /// CPU per request beside h2load and oha.
    Cost {
        /// Requests per run with small bodies; a fifth of it with 64 KiB ones.
        #[arg(long, default_value_t = 200_000)]
        requests: u64,
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// Resident memory over a run at full speed.
    Memory {
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Wall time of a run of one request, process start to end, warm.
    Start {
        #[arg(long, default_value_t = 11)]
        rounds: usize,
    },
    /// Percentiles with pile-up and kernel stamps on and off at a fixed rate.
    PileUp {
        #[arg(long, default_value_t = 10_000)]
        rate: u64,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
}

const SMALL: &str = "/api/v1/namespaces/bench/configmaps/small";
const LARGE: &str = "/api/v1/namespaces/bench/configmaps/large";

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let kperf = fs::canonicalize(&arguments.kperf).with_context(|| {
        format!(
            "{} is not there; run `cargo build --release` first",
            arguments.kperf.display()
        )
    })?;
    let server = Server::start()?;
    match arguments.question {
        Question::Cost { requests, rounds } => cost(&kperf, &server, requests, rounds),
        Question::Memory { seconds } => memory(&kperf, &server, seconds),
        Question::Start { rounds } => start(&kperf, &server, rounds),
        Question::PileUp { rate, seconds } => pile_up(&kperf, &server, rate, seconds),
    }
}

/// A server on core 0; ends with the value.
struct Server {
    child: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        if !on_path("nginx") {
            bail!("nginx is not installed; install the package nginx-light");
        }
        let command = Self::nginx(dir.path(), port)?;
        let child = pinned(0, command)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start the server")?;
        let server = Self { child, dir, port };
        let end = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > end {
                bail!("the server does not listen");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn nginx(dir: &Path, port: u16) -> anyhow::Result<Vec<String>> {
        let key = rcgen::generate_simple_self_signed(vec![
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
        ])?;
        fs::write(dir.join("cert.pem"), key.cert.pem())?;
        fs::write(dir.join("key.pem"), key.signing_key.serialize_pem())?;
        let root = dir.join("root");
        let objects = root.join("api/v1/namespaces/bench/configmaps");
        fs::create_dir_all(&objects)?;
        let small = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"small"},"data":{"k":"v"}}"#;
        fs::write(objects.join("small"), small)?;
        fs::write(objects.join("large"), vec![b'x'; 64 * 1024])?;
        let d = dir.display();
        fs::write(
            dir.join("nginx.conf"),
            format!(
                "daemon off;\nmaster_process off;\nworker_processes 1;\npid {d}/pid;\nerror_log stderr error;\nevents {{ worker_connections 4096; }}\n\
                 http {{\n  access_log off;\n  client_body_temp_path {d};\n  proxy_temp_path {d};\n  fastcgi_temp_path {d};\n  \
                 uwsgi_temp_path {d};\n  scgi_temp_path {d};\n  keepalive_requests 100000000;\n  http2_max_concurrent_streams 256;\n  \
                 open_file_cache max=16;\n  default_type application/json;\n  \
                 server {{\n    listen 127.0.0.1:{port} ssl http2;\n    ssl_certificate {d}/cert.pem;\n    \
                 ssl_certificate_key {d}/key.pem;\n    ssl_protocols TLSv1.2 TLSv1.3;\n    root {d}/root;\n  }}\n}}\n"
            ),
        )?;
        Ok(vec![
            "nginx".to_owned(),
            "-c".to_owned(),
            format!("{d}/nginx.conf"),
            "-p".to_owned(),
            d.to_string(),
            "-g".to_owned(),
            "user root;".to_owned(),
        ])
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn kperf(&self, kperf: &Path, object: &str, more: &[&str]) -> Vec<String> {
        let mut arguments = vec![
            kperf.display().to_string(),
            "run".to_owned(),
            "--plain".to_owned(),
            "--plugin=quorum_get".to_owned(),
            "--set=version=v1".to_owned(),
            "--set=resource=configmaps".to_owned(),
            "--set=namespace=bench".to_owned(),
            format!("--set=name={object}"),
            format!("--server={}", self.url()),
            "--insecure-skip-tls-verify".to_owned(),
        ];
        arguments.extend(more.iter().map(|text| (*text).to_owned()));
        arguments
    }
}

struct Case {
    name: &'static str,
    path: &'static str,
    object: &'static str,
    conns: u64,
    streams: u64,
    requests: u64,
}

fn cost(kperf: &Path, server: &Server, requests: u64, rounds: usize) -> anyhow::Result<()> {
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

fn memory(kperf: &Path, server: &Server, seconds: u64) -> anyhow::Result<()> {
    let duration = format!("--duration={seconds}");
    let command = server.kperf(
        kperf,
        "small",
        &[&duration, "--conns=100", "--client=1000", "--shards=1"],
    );
    let mut child = pinned(1, command)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let started = Instant::now();
    let mut samples = Vec::new();
    println!("resident memory of 1000 clients on 100 connections at full speed, a sample a second");
    loop {
        std::thread::sleep(Duration::from_secs(1));
        if child.try_wait()?.is_some() {
            break;
        }
        // `taskset` has replaced itself by the client: the process is the one we started.
        if let Some(kib) = resident_kib(child.id()) {
            samples.push(kib);
        }
        if started.elapsed() > Duration::from_secs(seconds + 30) {
            child.kill()?;
            bail!("the run did not end");
        }
    }
    let mib = |kib: u64| kib as f64 / 1024.0;
    let at = |index: usize| samples.get(index).copied().unwrap_or(0);
    println!(
        "after 5 s {:.1} MiB, in the middle {:.1} MiB, at the end {:.1} MiB, most {:.1} MiB",
        mib(at(5.min(samples.len().saturating_sub(1)))),
        mib(at(samples.len() / 2)),
        mib(at(samples.len().saturating_sub(2))),
        mib(samples.iter().copied().max().unwrap_or(0)),
    );
    Ok(())
}

fn start(kperf: &Path, server: &Server, rounds: usize) -> anyhow::Result<()> {
    let command = server.kperf(kperf, "small", &["--total=1"]);
    run(&command)?;
    let mut walls = Vec::new();
    for _ in 0..rounds {
        walls.push(run(&command)?.wall.as_secs_f64() * 1e3);
    }
    println!(
        "a run of one request, process start to end, compiled plugin cached: median {:.1} ms of {rounds} (the request is sent before that)",
        median(walls)
    );
    Ok(())
}

fn pile_up(kperf: &Path, server: &Server, rate: u64, seconds: u64) -> anyhow::Result<()> {
    println!("service time at {rate}/s for {seconds} s, 10 connections, 100 clients, in us");
    println!(
        "{:<34} {:>8} {:>8} {:>8} {:>8}",
        "", "p50", "p90", "p99", "p99.9"
    );
    for (name, flags) in [
        ("pile-up 100 us, kernel stamps", &[][..]),
        ("no pile-up, kernel stamps", &["--pile-up=0"][..]),
        (
            "pile-up 100 us, stamped at read",
            &["--no-kernel-timestamps"][..],
        ),
        (
            "no pile-up, stamped at read",
            &["--pile-up=0", "--no-kernel-timestamps"][..],
        ),
    ] {
        let file = server.dir.path().join("report.json");
        let output = format!("--output=json={}", file.display());
        let (rate, duration) = (format!("--rate={rate}"), format!("--duration={seconds}"));
        let mut more = vec![
            rate.as_str(),
            duration.as_str(),
            "--conns=10",
            "--client=100",
            "--shards=1",
            output.as_str(),
        ];
        more.extend(flags);
        run(&server.kperf(kperf, "small", &more))?;
        let report: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
        let percentiles = report
            .pointer("/overall/service_time/percentiles_ns")
            .context("the report has no percentiles")?;
        let at = |name: &str| {
            percentiles
                .get(name)
                .and_then(Value::as_f64)
                .map_or_else(|| "-".to_owned(), |ns| format!("{:.0}", ns / 1e3))
        };
        println!(
            "{name:<34} {:>8} {:>8} {:>8} {:>8}",
            at("p50"),
            at("p90"),
            at("p99"),
            at("p99.9")
        );
    }
    Ok(())
}

struct Used {
    user: Duration,
    system: Duration,
    wall: Duration,
}

/// Runs a client on core 1 and takes its CPU from the wait status: nothing else is reaped meanwhile.
fn run(command: &[String]) -> anyhow::Result<Used> {
    let before = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let started = Instant::now();
    let output = pinned(1, command.to_vec()).stdin(Stdio::null()).output()?;
    let wall = started.elapsed();
    let after = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    if !output.status.success() {
        bail!(
            "{} ended with {}:\n{}{}",
            command.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let delta = |after: nix::sys::time::TimeVal, before: nix::sys::time::TimeVal| {
        let micros =
            (after.tv_sec() - before.tv_sec()) * 1_000_000 + (after.tv_usec() - before.tv_usec());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    Ok(Used {
        user: delta(after.user_time(), before.user_time()),
        system: delta(after.system_time(), before.system_time()),
        wall,
    })
}

fn pinned(core: u32, command: Vec<String>) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", &core.to_string()]).args(command);
    pinned
}

fn resident_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}
