//! Every way to a server, against a simulator of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use kperf_tests::{Kperf, kperf};

/// What the kubeconfig of the simulator holds under a key.
fn field(kubeconfig: &str, key: &str) -> String {
    kubeconfig
        .lines()
        .find_map(|line| {
            line.trim()
                .trim_start_matches("- ")
                .strip_prefix(&format!("{key}: "))
        })
        .map(|value| value.trim_matches('"').to_owned())
        .unwrap_or_else(|| panic!("no {key} in {kubeconfig}"))
}

fn get_a_node(kperf: &Kperf, target: &[&str]) -> kperf_tests::Ran {
    kperf.run(
        &[
            &[
                "run",
                "--plugin",
                "stale_get",
                "--total",
                "5",
                "--output",
                "json=r.json",
            ][..],
            target,
        ]
        .concat(),
    )
}

#[test]
fn every_credential() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let kubeconfig = std::fs::read_to_string(&sim.kubeconfig).unwrap();
    let token = field(&kubeconfig, "token");
    let ca = field(&kubeconfig, "certificate-authority-data");
    let succeeded = |target: &[&str]| {
        get_a_node(&kperf, target).expect(0);
        assert_eq!(
            kperf.json("r.json")["overall"]["succeeded"],
            5,
            "{target:?}"
        );
    };

    succeeded(&["--kubeconfig", sim.kubeconfig()]);
    succeeded(&[
        "--server",
        &sim.url,
        "--insecure-skip-tls-verify",
        "--token",
        &token,
    ]);
    let token_file = kperf.write("token", &format!("{token}\n"));
    succeeded(&[
        "--server",
        &sim.url,
        "--insecure-skip-tls-verify",
        "--token-file",
        token_file.to_str().unwrap(),
    ]);

    // An exec plugin, in a second context.
    let script = kperf.write(
        "credential.sh",
        &format!(
            "#!/bin/sh\necho '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"{token}\"}}}}'\n"
        ),
    );
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let exec = kperf.write(
        "exec.kubeconfig",
        &format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: nowhere\n\
             clusters:\n- name: sim\n  cluster: {{server: '{}', certificate-authority-data: {ca}}}\n\
             - name: nowhere\n  cluster: {{server: 'https://127.0.0.1:1'}}\n\
             users:\n- name: exec\n  user:\n    exec: {{apiVersion: client.authentication.k8s.io/v1, command: '{}', interactiveMode: Never}}\n\
             contexts:\n- name: exec\n  context: {{cluster: sim, user: exec}}\n\
             - name: nowhere\n  context: {{cluster: nowhere, user: exec}}\n",
            sim.url,
            script.display()
        ),
    );
    succeeded(&["--kubeconfig", exec.to_str().unwrap(), "--context", "exec"]);

    // Denials: the server is not trusted, the token is wrong, the context is not there.
    get_a_node(&kperf, &["--server", &sim.url, "--token", &token])
        .expect(4)
        .says(&["certificate"]);
    let ran = get_a_node(
        &kperf,
        &[
            "--server",
            &sim.url,
            "--insecure-skip-tls-verify",
            "--token",
            "sesame",
        ],
    )
    .expect(0);
    let report = kperf.json("r.json");
    assert_eq!(report["overall"]["errors"]["http/401"], 5);
    assert_eq!(report["findings"][0]["code"], "target/unauthorized");
    assert!(
        ran.stdout
            .contains("every request was refused with 401: check the credentials"),
        "{}",
        ran.stdout
    );
    assert!(!ran.stderr.contains("sesame") && !ran.stdout.contains("sesame"));
    get_a_node(
        &kperf,
        &[
            "--kubeconfig",
            exec.to_str().unwrap(),
            "--context",
            "missing",
        ],
    )
    .expect(4)
    .says(&["missing"]);
}

/// A flag that the chosen target cannot take is refused, not ignored.
#[test]
fn flags_of_another_target_are_refused() {
    let kperf = kperf!();
    for target in [
        &["--kubeconfig", "sim.kc"][..],
        &["--context", "dev"],
        &["--in-cluster"],
        &["--sim"],
    ] {
        for (flag, value) in [
            ("--token", Some("x")),
            ("--token-file", Some("nofile")),
            ("--ca-file", Some("nofile")),
            ("--insecure-skip-tls-verify", None),
        ] {
            let mut arguments = target.to_vec();
            arguments.push(flag);
            arguments.extend(value);
            get_a_node(&kperf, &arguments).expect(2).says(&[flag]);
        }
        let mut arguments = target.to_vec();
        arguments.extend(["--client-certificate", "a", "--client-key", "b"]);
        get_a_node(&kperf, &arguments)
            .expect(2)
            .says(&["--client-certificate"]);
        if target != ["--sim"] {
            let mut arguments = target.to_vec();
            arguments.extend(["--sim-faults", "goaway=50"]);
            get_a_node(&kperf, &arguments)
                .expect(2)
                .says(&["--sim-faults"]);
        }
    }
    get_a_node(&kperf, &["--token", "x"])
        .expect(2)
        .says(&["--server"]);
}

/// `KPERF_TOKEN` is the token of `--server` and of nothing else.
#[test]
fn the_token_of_the_environment_stays_out_of_the_way() {
    let kperf = kperf!();
    let sim = kperf.sim(&[]);
    let token = field(&std::fs::read_to_string(&sim.kubeconfig).unwrap(), "token");
    let token_file = kperf.write("token", &token);
    let get = |variable: &str, target: &[&str]| {
        let mut command = kperf.command(
            &[
                &["run", "--plugin", "stale_get", "--total", "5"][..],
                target,
            ]
            .concat(),
        );
        command
            .env("KPERF_TOKEN", variable)
            .env("KUBECONFIG", &sim.kubeconfig);
        let ran = kperf_tests::finish(command, std::time::Duration::from_secs(60)).expect(0);
        assert!(
            ran.stdout.contains("5 sent, 5 succeeded"),
            "{target:?}\n{}",
            ran.stdout
        );
    };
    let server = ["--server", sim.url.as_str(), "--insecure-skip-tls-verify"];
    let with = |more: [&'static str; 1], value| [&server[..], &more[..], &[value][..]].concat();
    get("sesame", &[]);
    get("sesame", &["--sim"]);
    get(&token, &server);
    get("sesame", &with(["--token"], token.as_str()));
    get(
        "sesame",
        &with(["--token-file"], token_file.to_str().unwrap()),
    );
}
