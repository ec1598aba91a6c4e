//! A server in front of the simulator that forbids some requests, and can do something after one.

use std::{net::SocketAddr, sync::Arc};

use kperf_cluster::{TargetSource, api::Cluster, resolve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

/// What happens to a request.
pub(crate) enum Verdict {
    Pass,
    Forbid,
    /// It passes, and its answer waits until the other side of the channel has answered.
    Hold(mpsc::UnboundedSender<oneshot::Sender<()>>),
}

/// A cluster whose requests are judged by method and path, such as `GET /api/v1/pods?limit=5`.
pub(crate) async fn judged(
    server: SocketAddr,
    kubeconfig: &str,
    judge: impl Fn(&str) -> Verdict + Send + Sync + 'static,
) -> Cluster {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap();
    let judge = Arc::new(judge);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let judge = Arc::clone(&judge);
            // A client that went away is no failure of a test.
            tokio::spawn(async move { serve(client, server, &*judge).await.ok() });
        }
    });
    let kubeconfig = kubeconfig.replace(&server.to_string(), &own.to_string());
    let source = TargetSource::from_kubeconfig_text(&kubeconfig).unwrap();
    Cluster::new(resolve(&source).await.unwrap().config).unwrap()
}

/// One request, then the connection is closed.
async fn serve(
    mut client: TcpStream,
    server: SocketAddr,
    judge: &(impl Fn(&str) -> Verdict + Send + Sync),
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let head_end = loop {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        if let Some(at) = request.windows(4).position(|end| end == b"\r\n\r\n") {
            break at;
        }
    };
    let head = String::from_utf8_lossy(&request[..head_end]).into_owned();
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().unwrap());
    while request.len() < head_end + 4 + length {
        client.read_buf(&mut request).await?;
    }
    let line = head.lines().next().unwrap_or_default();
    let asked = line.strip_suffix(" HTTP/1.1").unwrap_or(line);
    let hold = match judge(asked) {
        Verdict::Forbid => {
            let body =
                r#"{"kind":"Status","reason":"Forbidden","message":"not for you","code":403}"#;
            let answer = format!(
                "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            return client.write_all(answer.as_bytes()).await;
        }
        Verdict::Pass => None,
        Verdict::Hold(hold) => Some(hold),
    };
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(&request[..head_end]).await?;
    upstream.write_all(b"\r\nconnection: close").await?;
    upstream.write_all(&request[head_end..]).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    if let Some(hold) = hold {
        let (done, is_done) = oneshot::channel();
        if hold.send(done).is_ok() {
            is_done.await.ok();
        }
    }
    client.write_all(&answer).await
}
