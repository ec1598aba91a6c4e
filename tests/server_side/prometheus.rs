//! A real Prometheus that looks at an API server answers the queries of a run: at the simulator, and at a real one.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use kperf_control_plane::Options;
use kperf_tests::{Kperf, Ran, have, kperf, repository};

use crate::{finding, metric, simulator::validate, started, text};

/// A running Prometheus; ends with the value.
struct Prometheus {
    child: Child,
    url: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Prometheus {
    /// Looks at the API server once a second.
    fn start(folder: &Path, url: &str, token_text: &str, ca_file: Option<&Path>) -> Self {
        let token = folder.join("token");
        fs::write(&token, token_text).unwrap();
        let target = url.trim_start_matches("https://");
        let config = folder.join("prometheus.yml");
        let tls = ca_file.map_or("insecure_skip_verify: true".to_owned(), |file| {
            format!("ca_file: {}", file.display())
        });
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n  - job_name: apiserver\n    scheme: https\n    \
             authorization: {{credentials_file: {}}}\n    tls_config: {{{tls}}}\n    static_configs: [{{targets: ['{target}']}}]\n",
            token.display(),
        );
        fs::write(&config, text).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("tsdb").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("prometheus.log")).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
        }
    }
}

fn file(name: &str, kperf: &Kperf, queries: &str) -> String {
    let text = format!("scrapeInterval: 1s\nsettle: 2s\nqueries:\n{queries}");
    text_of(&kperf.write(name, &text))
}

fn text_of(path: &Path) -> String {
    text(path).to_owned()
}

#[test]
fn a_profile_of_queries_decides_about_the_exit_code() {
    if !have("prometheus", "limits by Prometheus") {
        return;
    }
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let kubeconfig = fs::read_to_string(&sim.kubeconfig).unwrap();
    let token = kubeconfig
        .lines()
        .find_map(|line| line.trim().strip_prefix("token: "))
        .unwrap();
    let prometheus = Prometheus::start(kperf.dir(), &sim.url, token, None);
    decides(&kperf, prometheus, &sim.kubeconfig, "nodes");
}

#[test]
fn a_profile_of_queries_about_a_real_api_server() {
    if !have("prometheus", "limits by Prometheus") {
        return;
    }
    let kperf = kperf!();
    let Some(plane) = started("limits by Prometheus", Options::api_server().own()) else {
        return;
    };
    let (url, token, ca) = (plane.url(), plane.token().unwrap(), plane.ca_file());
    let prometheus = Prometheus::start(kperf.dir(), url, token, ca.as_deref());
    // Nobody else lists these.
    decides(&kperf, prometheus, &plane.kubeconfig(), "podtemplates");
}

fn decides(kperf: &Kperf, prometheus: Prometheus, kubeconfig: &Path, resource: &str) {
    let audit = |queries: &str, more: &[&str]| -> Ran {
        let arguments = [
            "audit",
            "--prometheus",
            &prometheus.url,
            "--queries",
            queries,
        ];
        kperf.run(&[&arguments[..], more].concat())
    };
    let up = file(
        "up.yaml",
        kperf,
        "  - {name: up, expr: 'up{job=\"apiserver\"}', thresholds: ['== 1']}\n  \
         - {name: seen, expr: 'count_over_time(process_start_time_seconds[1m])', thresholds: ['>= 3']}\n",
    );
    let end = Instant::now() + Duration::from_secs(60);
    while audit(&up, &["--last", "5s"]).code != Some(0) {
        assert!(
            Instant::now() < end,
            "{}",
            fs::read_to_string(kperf.path("prometheus.log")).unwrap()
        );
        thread::sleep(Duration::from_millis(300));
    }

    let resource_setting = format!("resource={resource}");
    let run = |queries: &str| -> Ran {
        kperf.run(&[
            "run",
            "--plugin",
            "quorum_list",
            "--set",
            "version=v1",
            "--set",
            &resource_setting,
            "--kubeconfig",
            text(kubeconfig),
            "--rate",
            "100",
            "--duration",
            "4s",
            "--output",
            "json=r.json",
            "--prometheus",
            &prometheus.url,
            "--queries",
            queries,
        ])
    };
    let count = format!(
        "increase(apiserver_request_total{{verb=\"LIST\",resource=\"{resource}\"}}[$window])"
    );
    let kept = file(
        "kept.yaml",
        kperf,
        &format!(
            "  - {{name: lists, expr: 'sum({count})', unit: requests, thresholds: ['>= 100', '<= 800']}}\n  \
             - {{name: p99, expr: 'histogram_quantile(0.99, sum by (le) (increase(apiserver_request_duration_seconds_bucket{{resource=\"{resource}\"}}[$window])))', unit: seconds, thresholds: ['<= 30s']}}\n  \
             - {{name: memory, expr: 'process_resident_memory_bytes', aggregate: max, unit: bytes, thresholds: ['> 1000000']}}\n  \
             - {{name: warned, expr: 'vector(5)', severity: warning, thresholds: ['<= 1']}}\n  \
             - {{name: nothing, expr: 'no_such_metric', empty: pass, thresholds: ['<= 1']}}\n"
        ),
    );
    let ran = run(&kept).expect(0);
    assert!(ran.stdout.contains("kept"), "{}", ran.stdout);
    let report = kperf.json("r.json");
    validate(&report);
    // Prometheus extrapolates; what the server says by itself is exact.
    let lists = metric(&report, "lists", &[]).unwrap();
    assert!((100.0..=800.0).contains(&lists), "{lists}");
    let exact = [("verb", "LIST"), ("resource", resource)];
    assert_eq!(
        metric(&report, "server-requests", &exact),
        report["overall"]["succeeded"].as_f64()
    );
    assert!(metric(&report, "p99", &[]).is_some() && metric(&report, "memory", &[]).is_some());
    assert!(finding(&report, "prometheus/limit").is_some_and(|message| message.contains("warned")));
    assert!(
        finding(&report, "prometheus/empty").is_some_and(|message| message.contains("nothing"))
    );

    // One limit is missed.
    let missed = file(
        "missed.yaml",
        kperf,
        &format!("  - {{name: lists, expr: 'sum({count})', thresholds: ['<= 10']}}\n"),
    );
    let ran = run(&missed).expect(3);
    assert!(ran.stdout.contains("MISSED"), "{}", ran.stdout);
    assert_eq!(kperf.json("r.json")["thresholds"][0]["passed"], false);

    // No values are no pass.
    let empty = file(
        "empty.yaml",
        kperf,
        "  - {name: gone, expr: no_such_metric, thresholds: ['<= 1']}\n",
    );
    let ran = audit(&empty, &["--last", "1m", "--output", "json=a.json"]).expect(3);
    assert!(
        ran.stdout.contains("query gone: no values"),
        "{}",
        ran.stdout
    );
    validate(&kperf.json("a.json"));

    // What Prometheus does not understand is known before anything runs, by name.
    let bad = file(
        "bad.yaml",
        kperf,
        "  - {name: fine, expr: up}\n  - {name: wrong, expr: 'sum(', thresholds: ['<= 1']}\n",
    );
    run(&bad).expect(2).says(&["query wrong", "parse error"]);
    audit(&bad, &["--last", "1m"])
        .expect(2)
        .says(&["query wrong", "parse error"]);

    // The example is understood by a real one.
    let example = repository().join("examples/queries/api-server.yaml");
    let ran = audit(text(&example), &["--last", "1m"]);
    assert!(!ran.stdout.contains("parse error"), "{}", ran.stdout);
    assert!(ran.stdout.contains("api_latency_p99"), "{}", ran.stdout);

    // perfscale-audit's input: none of KubeVirt's metrics are here, so its limits are missed.
    let input = kperf.write(
        "perf-audit-input.json",
        r#"{"prometheusScrapeInterval": 1000000000, "thresholdExpectations": {"vmiCreationToRunningSecondsP50": {"value": 45}}}"#,
    );
    let ran = audit(text(&input), &["--last", "1m"]).expect(3);
    assert!(
        ran.stdout.contains("vmiCreationToRunningSecondsP50"),
        "{}",
        ran.stdout
    );

    // Nobody there.
    let url = prometheus.url.clone();
    drop(prometheus);
    let gone = [
        "audit",
        "--prometheus",
        &url,
        "--queries",
        &up,
        "--last",
        "1m",
    ];
    kperf
        .run(&gone)
        .expect(4)
        .says(&["cannot reach Prometheus"]);
}
