//! The server that all clients are run against: nginx, one process on core 0, a small and a large body.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::measure::{on_path, pinned};

/// A server on core 0; ends with the value.
pub(crate) struct Server {
    child: Child,
    pub(crate) dir: tempfile::TempDir,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    pub(crate) fn start() -> anyhow::Result<Self> {
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

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// A run of ours against one of its objects.
    pub(crate) fn kperf(&self, kperf: &Path, object: &str, more: &[&str]) -> Vec<String> {
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
