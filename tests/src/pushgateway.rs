//! A real Pushgateway for tests.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::have;

/// A real Pushgateway on a free port; ends with the value.
pub struct Pushgateway {
    child: Child,
    address: String,
}

impl Pushgateway {
    /// Starts one and waits until it is ready; none, with the skipped line, where it is not installed.
    #[must_use]
    #[allow(clippy::expect_used, reason = "support code of tests")]
    pub fn start() -> Option<Self> {
        if !have("prometheus-pushgateway", "pushing to a real Pushgateway") {
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .expect("a free port, a started process")
            .local_addr()
            .expect("a free port, a started process")
            .port();
        let address = format!("127.0.0.1:{port}");
        let child = Command::new("prometheus-pushgateway")
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a free port, a started process");
        let gateway = Self { child, address };
        let end = Instant::now() + Duration::from_secs(20);
        while !gateway.get("/-/ready").starts_with("HTTP/1.0 200") {
            assert!(Instant::now() < end, "the Pushgateway is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(gateway)
    }

    /// The value of `--output` that pushes to it.
    #[must_use]
    pub fn output(&self) -> String {
        format!("pushgateway=http://{}", self.address)
    }

    /// What it answers to a GET, head and body; empty when it does not.
    #[must_use]
    pub fn get(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(&self.address) else {
            return String::new();
        };
        // 1.0, so that the body comes in one piece.
        let asked = write!(
            stream,
            "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n",
            self.address
        );
        if asked.is_err() {
            return String::new();
        }
        let mut text = String::new();
        stream.read_to_string(&mut text).ok();
        text
    }
}

impl Drop for Pushgateway {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
