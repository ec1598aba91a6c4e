//! Every way to a target, with real files, a real exec plugin and real certificates.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::header::AUTHORIZATION;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;

const SECRET: &str = "s3cret-value";

struct Home {
    directory: TempDir,
    environment: Environment,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let environment = Environment {
            home: Some(directory.path().to_owned()),
            service_account: directory.path().join("account"),
            ..Environment::default()
        };
        Self {
            directory,
            environment,
        }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn script(&self, name: &str, body: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.file(name, &format!("#!/bin/sh\n{body}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    async fn resolve(&self, source: &TargetSource) -> Result<ResolvedTarget, String> {
        let result = resolve_in(&self.environment, source).await;
        // Whatever is resolved or refused, no secret shows.
        let shown = match &result {
            Ok(resolved) => format!(
                "{resolved:?} {:?} {}",
                resolved.target,
                resolved.warnings.join(" ")
            ),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains(SECRET), "{shown}");
        assert!(!format!("{source:?}").contains(SECRET));
        result.map_err(|error| error.to_string())
    }

    async fn kubeconfig(
        &self,
        text: &str,
        context: Option<&str>,
    ) -> Result<ResolvedTarget, String> {
        let path = self.file("config", text);
        self.resolve(&TargetSource::Kubeconfig {
            path: Some(path),
            context: context.map(str::to_owned),
        })
        .await
    }
}

fn config(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: dev\n\
         contexts: [{{name: dev, context: {{cluster: c, user: u, namespace: ns-1}}}}]\n\
         clusters: [{{name: c, cluster: {{{cluster}}}}}]\n\
         users: [{{name: u, user: {{{user}}}}}]\n"
    )
}

fn certificate() -> (String, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

const INSECURE: &str = "server: 'https://192.0.2.1:6443', insecure-skip-tls-verify: true";

fn authorization(resolved: &ResolvedTarget) -> Option<String> {
    let headers = resolved.target.headers.headers();
    let value = headers.get(AUTHORIZATION)?;
    assert!(value.is_sensitive());
    Some(value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_token() {
    let resolved = Home::new()
        .kubeconfig(&config(INSECURE, &format!("token: {SECRET}")), None)
        .await
        .unwrap();
    assert_eq!(
        authorization(&resolved).unwrap(),
        format!("Bearer {SECRET}")
    );
    assert_eq!(resolved.target.url(), "https://192.0.2.1:6443");
    assert_eq!(resolved.namespace, "ns-1");
    assert!(
        resolved.description.contains("context \"dev\" of "),
        "{}",
        resolved.description
    );
    assert!(resolved.target.tls.is_some());
}

#[tokio::test]
async fn a_user_name_and_password() {
    let resolved = Home::new()
        .kubeconfig(
            &config(INSECURE, &format!("username: me, password: {SECRET}")),
            None,
        )
        .await
        .unwrap();
    let expected = STANDARD.encode(format!("me:{SECRET}"));
    assert_eq!(
        authorization(&resolved).unwrap(),
        format!("Basic {expected}")
    );
}

#[tokio::test]
async fn a_token_file_beside_the_kubeconfig_wins_over_a_token() {
    let home = Home::new();
    home.file("tok", &format!("{SECRET}\n"));
    let resolved = home
        .kubeconfig(&config(INSECURE, "tokenFile: tok, token: other"), None)
        .await
        .unwrap();
    assert_eq!(
        authorization(&resolved).unwrap(),
        format!("Bearer {SECRET}")
    );
    // kube's client gets the token without the line break it would refuse.
    assert_eq!(
        resolved
            .config
            .auth_info
            .token
            .as_ref()
            .unwrap()
            .expose_secret(),
        SECRET
    );
}

#[tokio::test]
async fn a_client_certificate_as_data_and_as_files() {
    let home = Home::new();
    let (certificate, key) = certificate();
    home.file("ca.pem", &certificate);
    home.file("user.pem", &certificate);
    home.file("user.key", &key);
    let resolved = home
        .kubeconfig(
            &config(
                "server: 'https://localhost', certificate-authority: ca.pem",
                "client-certificate: user.pem, client-key: user.key",
            ),
            None,
        )
        .await
        .unwrap();
    assert!(
        resolved
            .target
            .tls
            .as_ref()
            .unwrap()
            .config
            .client_auth_cert_resolver
            .has_certs()
    );
    assert_eq!(resolved.target.port, 443);
    assert!(resolved.target.headers.headers().is_empty());

    let resolved = home
        .kubeconfig(
            &config(
                &format!(
                    "server: 'https://localhost', certificate-authority-data: {}, tls-server-name: other.example",
                    STANDARD.encode(&certificate)
                ),
                &format!(
                    "client-certificate-data: {}, client-key-data: {}",
                    STANDARD.encode(&certificate),
                    STANDARD.encode(&key)
                ),
            ),
            None,
        )
        .await
        .unwrap();
    let tls = resolved.target.tls.unwrap();
    assert!(tls.config.client_auth_cert_resolver.has_certs());
    assert_eq!(tls.server_name.to_str(), "other.example");
}

fn exec(command: &Path, extra: &str) -> String {
    format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: {}, \
         args: [--secret={SECRET}], env: [{{name: PLUGIN_SECRET, value: {SECRET}}}]{extra}}}",
        command.display()
    )
}

fn credential(status: &str) -> String {
    format!(
        r#"{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{{status}}}}}"#
    )
}

#[tokio::test]
async fn an_exec_plugin_with_a_token_runs_once() {
    let home = Home::new();
    let runs = home.directory.path().join("runs");
    let json = credential(r#""token":"'"$PLUGIN_SECRET"'""#);
    let plugin = home.script(
        "plugin",
        &format!("echo run >> {}\necho '{json}'", runs.display()),
    );
    let resolved = home
        .kubeconfig(&config(INSECURE, &exec(&plugin, "")), None)
        .await
        .unwrap();
    assert_eq!(
        authorization(&resolved).unwrap(),
        format!("Bearer {SECRET}")
    );
    assert_eq!(fs::read_to_string(runs).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn an_exec_plugins_expired_token_is_asked_for_again() {
    let home = Home::new();
    let runs = home.directory.path().join("runs");
    let json = credential(r#""token":"token-'"$n"'","expirationTimestamp":"2020-01-01T00:00:00Z""#);
    let plugin = home.script(
        "plugin",
        &format!(
            "echo run >> {0}\nn=$(grep -c run {0})\necho '{json}'",
            runs.display()
        ),
    );
    let resolved = home
        .kubeconfig(&config(INSECURE, &exec(&plugin, "")), None)
        .await
        .unwrap();
    assert_eq!(authorization(&resolved).unwrap(), "Bearer token-2");
}

#[tokio::test]
async fn an_exec_plugin_with_a_certificate() {
    let home = Home::new();
    let (certificate, key) = certificate();
    let json = credential(&format!(
        r#""clientCertificateData":{},"clientKeyData":{}"#,
        json_text(&certificate),
        json_text(&key)
    ));
    home.file("answer", &json);
    let plugin = home.script(
        "plugin",
        &format!("cat {}/answer", home.directory.path().display()),
    );
    let resolved = home
        .kubeconfig(&config(INSECURE, &exec(&plugin, "")), None)
        .await
        .unwrap();
    assert!(
        resolved
            .target
            .tls
            .unwrap()
            .config
            .client_auth_cert_resolver
            .has_certs()
    );
}

fn json_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\n', "\\n"))
}

#[tokio::test]
async fn exec_plugins_that_give_nothing() {
    let home = Home::new();
    let fails = home.script(
        "fails",
        "echo secret was $PLUGIN_SECRET | cut -c1-10 >&2\necho please log in >&2\nexit 3",
    );
    let silent = home.script("silent", "exit 4");
    let leaks = home.script("leaks", "echo \"not json: [$PLUGIN_SECRET\"");
    let empty = home.script(
        "empty",
        "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\"}'",
    );
    let expiry = home.script(
        "expiry",
        &format!(
            "echo '{}'",
            credential(r#""token":"t","expirationTimestamp":"tomorrow""#)
        ),
    );
    home.file("unsendable", &credential(r#""token":"a\u0007b""#));
    let broken = home.script(
        "broken",
        &format!("cat {}/unsendable", home.directory.path().display()),
    );
    let nothing = home.script("nothing", &format!("echo '{}'", credential("")));
    let missing = home.directory.path().join("missing");
    for (plugin, expected) in [
        (fails, "please log in"),
        (silent, "exit status: 4"),
        (leaks, "not an ExecCredential"),
        (empty, "without status"),
        (expiry, "not RFC 3339"),
        (broken, "cannot be sent as a header"),
        (nothing, "neither a token nor a certificate"),
        (missing, "get-it-here"),
    ] {
        let text = config(INSECURE, &exec(&plugin, ", installHint: get-it-here"));
        let message = home.kubeconfig(&text, None).await.unwrap_err();
        assert!(message.contains(expected), "{message}");
        assert!(
            message.contains("context \"dev\": user \"u\": exec: "),
            "{message}"
        );
        assert!(message.contains(&plugin.display().to_string()), "{message}");
    }
}

#[tokio::test]
async fn authentication_providers_that_are_gone() {
    let message = Home::new()
        .kubeconfig(&config(INSECURE, "auth-provider: {name: azure}"), None)
        .await
        .unwrap_err();
    assert!(
        message.contains("auth-provider azure") && message.contains("kubelogin"),
        "{message}"
    );
}

#[tokio::test]
async fn impersonation_becomes_headers() {
    let resolved = Home::new()
        .kubeconfig(
            &config(
                INSECURE,
                "token: t, as: someone, as-groups: [a, b], as-uid: '7'",
            ),
            None,
        )
        .await
        .unwrap();
    let headers = resolved.target.headers.headers();
    assert_eq!(headers.get("impersonate-user").unwrap(), "someone");
    assert_eq!(headers.get("impersonate-uid").unwrap(), "7");
    assert_eq!(headers.get_all("impersonate-group").iter().count(), 2);
    assert_eq!(headers.get(AUTHORIZATION).unwrap(), "Bearer t");
}

#[tokio::test]
async fn servers_as_they_are_written() {
    for (server, url, tls) in [
        ("https://a.example", "https://a.example:443", true),
        ("https://a.example:6443/", "https://a.example:6443", true),
        (
            "https://a.example/k8s//clusters/c-1/",
            "https://a.example:443/k8s/clusters/c-1",
            true,
        ),
        (
            "https://[2001:db8::1]:6443",
            "https://[2001:db8::1]:6443",
            true,
        ),
        ("https://[::1]", "https://[::1]:443", true),
        ("http://127.0.0.1:8001", "http://127.0.0.1:8001", false),
        ("http://127.0.0.1", "http://127.0.0.1:80", false),
    ] {
        let cluster = if tls {
            format!("server: '{server}', insecure-skip-tls-verify: true")
        } else {
            format!("server: '{server}'")
        };
        let resolved = Home::new()
            .kubeconfig(&config(&cluster, "token: t"), None)
            .await
            .unwrap();
        assert_eq!(resolved.target.url(), url);
        assert_eq!(resolved.target.tls.is_some(), tls, "{server}");
    }
}

#[tokio::test]
async fn a_server_without_scheme_is_http_unless_tls_is_set_up() {
    let plain = Home::new()
        .kubeconfig(&config("server: '127.0.0.1:8080'", ""), None)
        .await
        .unwrap();
    assert_eq!(plain.target.url(), "http://127.0.0.1:8080");
    let secure = Home::new()
        .kubeconfig(
            &config(
                "server: '127.0.0.1:6443', insecure-skip-tls-verify: true",
                "",
            ),
            None,
        )
        .await
        .unwrap();
    assert_eq!(secure.target.url(), "https://127.0.0.1:6443");
}

#[tokio::test]
async fn credentials_stay_off_plain_http() {
    let resolved = Home::new()
        .kubeconfig(
            &config(
                "server: 'http://192.0.2.1'",
                &format!("token: {SECRET}, as: me"),
            ),
            None,
        )
        .await
        .unwrap();
    let headers = resolved.target.headers.headers();
    assert!(headers.get(AUTHORIZATION).is_none());
    assert_eq!(headers.get("impersonate-user").unwrap(), "me");
    assert!(
        resolved
            .warnings
            .join(" ")
            .contains("not sent over plain http")
    );
}

#[tokio::test]
async fn a_proxy_of_the_cluster() {
    let resolved = Home::new()
        .kubeconfig(
            &config(
                &format!("{INSECURE}, proxy-url: 'http://me:{SECRET}@proxy:3128'"),
                "token: t",
            ),
            None,
        )
        .await
        .unwrap();
    let proxy = resolved.target.proxy.unwrap();
    assert_eq!((proxy.host.as_str(), proxy.port), ("proxy", 3128));
    assert!(proxy.authorization.unwrap().is_sensitive());
    assert_eq!(resolved.config.proxy_url.unwrap().host(), Some("proxy"));
}

#[tokio::test]
async fn settings_that_cannot_be_used() {
    let home = Home::new();
    let (certificate, key) = certificate();
    let (other_certificate, _) = self::certificate();
    let encoded = STANDARD.encode(&certificate);
    home.file("cert.pem", &certificate);
    home.file("other.pem", &other_certificate);
    home.file("key.pem", &key);
    home.file("junk.pem", SECRET);
    for (cluster, user, expected) in [
        ("", "", "cluster \"c\": server: is missing"),
        ("server: ''", "", "server: is missing"),
        ("server: 'ftp://a'", "", "not an http:// or https:// URL"),
        ("server: 'https://a:b:c'", "", "server: is not a URL"),
        (
            "server: 'https://me:s3cret-value@a', insecure-skip-tls-verify: true",
            "",
            "user name or password",
        ),
        (
            "server: 'https://a?x=y', insecure-skip-tls-verify: true",
            "",
            "has a query",
        ),
        (
            "server: 'https://a', certificate-authority-data: '%%'",
            "",
            "cluster \"c\": certificate-authority-data: is not base64",
        ),
        (
            "server: 'https://a', certificate-authority-data: aGVsbG8=",
            "",
            "certificate-authority-data: holds no certificate",
        ),
        (
            "server: 'https://a', certificate-authority: nowhere.pem",
            "",
            "certificate-authority: cannot read",
        ),
        (
            "server: 'https://a', certificate-authority: junk.pem",
            "",
            "junk.pem holds no certificate",
        ),
        (
            &format!("{INSECURE}, tls-server-name: 'a b'"),
            "",
            "tls-server-name: \"a b\" is neither",
        ),
        (
            &format!("{INSECURE}, proxy-url: 'socks5://p:1'"),
            "",
            "cluster \"c\": proxy-url",
        ),
        (
            INSECURE,
            "client-certificate: cert.pem",
            "user \"u\": client-key: is missing",
        ),
        (
            INSECURE,
            "client-key: key.pem",
            "user \"u\": client-certificate: is missing",
        ),
        (
            INSECURE,
            "client-certificate: cert.pem, client-key: junk.pem",
            "client-key: ",
        ),
        (
            INSECURE,
            &format!("client-certificate-data: {encoded}, client-key-data: s3cret-value"),
            "client-key-data: is not base64",
        ),
        (
            INSECURE,
            "client-certificate: other.pem, client-key: key.pem",
            "user \"u\": TLS: ",
        ),
        (
            INSECURE,
            "tokenFile: nowhere",
            "user \"u\": tokenFile: cannot read",
        ),
        (
            INSECURE,
            "token: \"s3cret-value\\nx\"",
            "user \"u\": token: cannot be sent",
        ),
        (INSECURE, "as: \"a\\nb\"", "user \"u\": as: cannot be sent"),
    ] {
        let message = home
            .kubeconfig(&config(cluster, user), None)
            .await
            .unwrap_err();
        assert!(
            message.contains(expected),
            "expected {expected:?} in {message:?}"
        );
        assert!(
            message.contains("config") && message.contains("context \"dev\""),
            "{message}"
        );
    }
}

#[tokio::test]
async fn contexts_are_chosen_and_missed_by_name() {
    let home = Home::new();
    let text = "apiVersion: v1\nkind: Config\n\
        contexts:\n- {name: one, context: {cluster: c}}\n- {name: two, context: {cluster: gone}}\n- {name: three, context: {cluster: c, user: gone}}\n\
        clusters:\n- {name: c, cluster: {server: 'http://192.0.2.1'}}\n";
    let message = home.kubeconfig(text, None).await.unwrap_err();
    assert!(
        message.contains("current-context is not set; pass --context NAME (\"one\", \"two\""),
        "{message}"
    );
    let message = home.kubeconfig(text, Some("four")).await.unwrap_err();
    assert!(
        message.contains("context \"four\" does not exist; there is \"one\", \"two\""),
        "{message}"
    );
    let message = home.kubeconfig(text, Some("two")).await.unwrap_err();
    assert!(
        message.contains("context \"two\": cluster \"gone\" does not exist; there is \"c\""),
        "{message}"
    );
    home.kubeconfig(text, Some("one")).await.unwrap();
    let resolved = home.kubeconfig(text, Some("three")).await.unwrap();
    assert!(resolved.warnings.join(" ").contains("user \"gone\""));
}

#[tokio::test]
async fn files_that_are_no_kubeconfig_are_not_quoted() {
    let home = Home::new();
    for text in [
        format!("users:\n- name: u\n  user: {{token: {SECRET}\n"),
        format!("users: {SECRET}\n"),
        format!("clusters:\n- name: [{SECRET}]\n"),
    ] {
        let message = home.kubeconfig(&text, None).await.unwrap_err();
        assert!(
            message.contains("config:") && message.contains("not a valid kubeconfig"),
            "{message}"
        );
    }
    let message = home.kubeconfig("", None).await.unwrap_err();
    assert!(message.contains("current-context is not set"), "{message}");
    let missing = TargetSource::Kubeconfig {
        path: Some(home.directory.path().join("nowhere")),
        context: None,
    };
    let message = home.resolve(&missing).await.unwrap_err();
    assert!(
        message.contains("kubeconfig: cannot read") && message.contains("nowhere"),
        "{message}"
    );
}

#[tokio::test]
async fn the_files_of_the_variable_are_merged_and_missing_ones_skipped() {
    let mut home = Home::new();
    let first = home.file(
        "a",
        "current-context: x\ncontexts:\n- {name: x, context: {cluster: c, user: u}}\n",
    );
    let second = home.file(
        "b",
        "current-context: y\nclusters:\n- {name: c, cluster: {server: 'https://192.0.2.1', insecure-skip-tls-verify: true}}\nusers:\n- {name: u, user: {token: t}}\n",
    );
    let absent = home.directory.path().join("absent");
    home.environment.kubeconfig = Some(std::env::join_paths([&first, &absent, &second]).unwrap());
    let source = TargetSource::Kubeconfig {
        path: None,
        context: None,
    };
    let resolved = home.resolve(&source).await.unwrap();
    assert_eq!(authorization(&resolved).unwrap(), "Bearer t");
    assert!(resolved.description.contains("context \"x\""));

    home.environment.kubeconfig = Some(absent.clone().into());
    let message = home.resolve(&source).await.unwrap_err();
    assert!(
        message.contains("absent, which does not exist"),
        "{message}"
    );
}

#[tokio::test]
async fn the_service_account_of_a_pod() {
    let mut home = Home::new();
    let (certificate, _) = certificate();
    let account = home.environment.service_account.clone();
    let message = home.resolve(&TargetSource::InCluster).await.unwrap_err();
    assert!(
        message.contains("KUBERNETES_SERVICE_HOST: is not set"),
        "{message}"
    );
    home.environment.service_host = Some("fd00::1".into());
    home.environment.service_port = Some("443".into());
    let message = home.resolve(&TargetSource::InCluster).await.unwrap_err();
    assert!(message.contains("ca.crt: cannot read"), "{message}");
    fs::create_dir(&account).unwrap();
    fs::write(account.join("ca.crt"), &certificate).unwrap();
    let message = home.resolve(&TargetSource::InCluster).await.unwrap_err();
    assert!(message.contains("tokenFile: cannot read"), "{message}");
    fs::write(account.join("token"), SECRET).unwrap();
    fs::write(account.join("namespace"), "mine").unwrap();
    let resolved = home.resolve(&TargetSource::InCluster).await.unwrap();
    assert_eq!(resolved.target.url(), "https://[fd00::1]:443");
    assert_eq!(
        authorization(&resolved).unwrap(),
        format!("Bearer {SECRET}")
    );
    assert_eq!(resolved.namespace, "mine");
}

fn flags(url: &str) -> TargetSource {
    TargetSource::Server {
        url: url.into(),
        token: None,
        token_file: None,
        ca_file: None,
        client_certificate: None,
        client_key: None,
        insecure_skip_tls_verify: false,
    }
}

#[tokio::test]
async fn a_server_given_by_flags() {
    let home = Home::new();
    let (certificate, key) = certificate();
    let files = (
        home.file("ca.pem", &certificate),
        home.file("cert.pem", &certificate),
        home.file("key.pem", &key),
    );
    let source = TargetSource::Server {
        url: "localhost:6443".into(),
        token: Some(SECRET.into()),
        token_file: None,
        ca_file: Some(files.0),
        client_certificate: Some(files.1.clone()),
        client_key: Some(files.2),
        insecure_skip_tls_verify: false,
    };
    let resolved = home.resolve(&source).await.unwrap();
    assert_eq!(resolved.target.url(), "https://localhost:6443");
    assert_eq!(
        authorization(&resolved).unwrap(),
        format!("Bearer {SECRET}")
    );
    assert!(
        resolved
            .target
            .tls
            .unwrap()
            .config
            .client_auth_cert_resolver
            .has_certs()
    );

    let change = |change: &dyn Fn(&mut TargetSource)| {
        let mut source = flags("https://192.0.2.1");
        change(&mut source);
        source
    };
    for (source, expected) in [
        (
            change(&|source| {
                if let TargetSource::Server {
                    token, token_file, ..
                } = source
                {
                    (*token, *token_file) = (Some(SECRET.into()), Some("x".into()));
                }
            }),
            "--token: cannot be given together",
        ),
        (
            change(&|source| {
                if let TargetSource::Server {
                    ca_file,
                    insecure_skip_tls_verify,
                    ..
                } = source
                {
                    (*ca_file, *insecure_skip_tls_verify) = (Some("x".into()), true);
                }
            }),
            "--insecure-skip-tls-verify: cannot",
        ),
        (
            change(&|source| {
                if let TargetSource::Server { token, .. } = source {
                    *token = Some("  ".into());
                }
            }),
            "--token: is empty",
        ),
        (
            change(&|source| {
                if let TargetSource::Server {
                    client_certificate, ..
                } = source
                {
                    *client_certificate = Some(files.1.clone());
                }
            }),
            "client-key: is missing",
        ),
        (
            change(&|source| {
                if let TargetSource::Server { ca_file, .. } = source {
                    *ca_file = Some("/nowhere".into());
                }
            }),
            "--ca-file: cannot read /nowhere",
        ),
        (
            flags(&format!("https://me:{SECRET}@a")),
            "user name or password",
        ),
        (flags("https://"), "--server: is not a URL"),
    ] {
        let message = home.resolve(&source).await.unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn a_kubeconfig_that_is_no_file() {
    let source =
        TargetSource::from_kubeconfig_text(&config(INSECURE, &format!("token: {SECRET}"))).unwrap();
    let resolved = Home::new().resolve(&source).await.unwrap();
    assert_eq!(
        authorization(&resolved).unwrap(),
        format!("Bearer {SECRET}")
    );
    let error = TargetSource::from_kubeconfig_text(&format!("users: {SECRET}")).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(SECRET));
}

#[tokio::test]
async fn without_an_authority_the_systems_roots_are_used() {
    // On a machine without any roots this is a clear error, not a panic.
    match Home::new().resolve(&flags("https://192.0.2.1")).await {
        Ok(resolved) => assert!(resolved.target.tls.is_some()),
        Err(message) => assert!(message.contains("TLS: "), "{message}"),
    }
}

#[tokio::test]
async fn kubes_client_accepts_the_same_configuration() {
    let home = Home::new();
    let resolved = home
        .kubeconfig(
            &config(
                &format!("{INSECURE}, proxy-url: 'http://proxy:3128'"),
                &format!("token: '{SECRET} '"),
            ),
            None,
        )
        .await
        .unwrap();
    kube::Client::try_from(resolved.config).unwrap();
}
