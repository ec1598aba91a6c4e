//! Sockets: accept, TLS, HTTP/1.1 or HTTP/2, and the connection-wide faults (GOAWAY, reset).

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{Notify, mpsc, watch},
};
use tokio_rustls::TlsAcceptor;

use crate::handle::{Shared, handle};

/// What requests share with the connection they came on.
#[derive(Debug, Default)]
pub(crate) struct ConnectionState {
    requests: AtomicU64,
    goaway: Notify,
    reset: AtomicBool,
    reset_now: Notify,
    /// The peer showed a certificate of our authority.
    pub(crate) client_certificate: AtomicBool,
}

impl ConnectionState {
    /// Counts a request; from `goaway_every` on the connection is told to go away.
    pub(crate) fn count(&self, goaway_every: u64) {
        let count = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if goaway_every > 0 && count == goaway_every {
            self.goaway.notify_one();
        }
    }

    /// Ends the connection with a TCP RST.
    pub(crate) fn reset(&self) {
        self.reset.store(true, Ordering::SeqCst);
        self.reset_now.notify_one();
    }
}

/// A socket that is closed by RST when its state says so.
struct Socket {
    tcp: TcpStream,
    state: Arc<ConnectionState>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.state.reset.load(Ordering::SeqCst) {
            // Failing, the peer sees FIN instead.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Accepts connections and deals them to the workers in turn, until `stop`.
pub(crate) async fn accept(
    listener: std::net::TcpListener,
    workers: Vec<mpsc::UnboundedSender<std::net::TcpStream>>,
    mut stop: watch::Receiver<bool>,
) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let mut turn = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        match accepted.and_then(|(tcp, _)| tcp.into_std()) {
            Ok(tcp) => {
                if let Some(worker) = workers.get(turn % workers.len().max(1)) {
                    let _ = worker.send(tcp);
                }
                turn = turn.wrapping_add(1);
            }
            Err(error) => {
                // Out of descriptors, mostly: give connections time to end.
                tracing::warn!(%error, "the simulator could not accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
}

/// Serves the connections dealt to one thread, until `stop`.
pub(crate) async fn work(
    mut connections: mpsc::UnboundedReceiver<std::net::TcpStream>,
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let tcp = tokio::select! {
            tcp = connections.recv() => tcp,
            _ = stop.changed() => None,
        };
        let Some(tcp) = tcp else { return };
        let shared = Arc::clone(&shared);
        let tls = tls.clone();
        tokio::spawn(async move {
            if let Err(error) = connection(tcp, shared, tls).await {
                tracing::debug!(error, "a connection to the simulator ended");
            }
        });
    }
}

async fn connection(
    tcp: std::net::TcpStream,
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let tcp = TcpStream::from_std(tcp)?;
    tcp.set_nodelay(true)?;
    let state = Arc::new(ConnectionState::default());
    let socket = Socket {
        tcp,
        state: Arc::clone(&state),
    };
    match tls {
        Some(tls) => {
            let stream = tls.accept(socket).await?;
            let certified = stream
                .get_ref()
                .1
                .peer_certificates()
                .is_some_and(|chain| !chain.is_empty());
            state.client_certificate.store(certified, Ordering::Relaxed);
            serve(stream, shared, state).await
        }
        None => serve(socket, shared, state).await,
    }
}

async fn serve<S>(
    stream: S,
    shared: Arc<Shared>,
    state: Arc<ConnectionState>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(shared.max_concurrent_streams)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        // A client may cancel many streams at once: load tools do.
        .max_pending_accept_reset_streams(10_000)
        .max_local_error_reset_streams(None)
        .max_send_buf_size(1024 * 1024);
    let service = {
        let state = Arc::clone(&state);
        service_fn(move |request: hyper::Request<Incoming>| {
            let shared = Arc::clone(&shared);
            let state = Arc::clone(&state);
            async move { Ok::<_, Infallible>(handle(&shared, &state, request).await) }
        })
    };
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut leaving = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => return result,
            () = state.reset_now.notified() => return Ok(()),
            () = state.goaway.notified(), if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
