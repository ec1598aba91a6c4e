//! An API server that answers lists and watches as it was told, in that order, over plain HTTP/1.1.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    ops::Deref,
    sync::{Arc, Mutex},
    thread,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

/// What is sent on an open watch.
pub(crate) enum Piece {
    /// One chunk.
    Bytes(Vec<u8>),
    /// The connection is lost.
    Cut,
}

pub(crate) enum Reply {
    Whole(u16, String),
    /// Pieces; the watch ends in peace when the sender is gone.
    Stream(mpsc::UnboundedReceiver<Piece>),
    /// No answer, ever.
    Silence,
}

/// The other end of an open watch.
#[derive(Clone)]
pub(crate) struct Feed(mpsc::UnboundedSender<Piece>);

impl Feed {
    pub(crate) fn send(&self, text: impl Into<Vec<u8>>) {
        self.0.send(Piece::Bytes(text.into())).unwrap();
    }

    pub(crate) fn cut(self) {
        self.0.send(Piece::Cut).unwrap();
    }
}

/// What the server is told, before it starts or while it runs.
#[derive(Clone, Default)]
pub(crate) struct Orders(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    lists: VecDeque<Reply>,
    watches: VecDeque<Reply>,
    requests: Vec<String>,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    orders: Orders,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), Orders::default())
    }

    pub(crate) fn start_at(at: SocketAddr, orders: Orders) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, address) = std::sync::mpsc::channel();
        let shared = Arc::clone(&orders.0);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind(at).await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                let accept = async {
                    loop {
                        let (stream, _) = listener.accept().await.unwrap();
                        stream.set_nodelay(true).unwrap();
                        tokio::spawn(serve(stream, Arc::clone(&shared)));
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: address.recv().unwrap(),
            orders,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Deref for Server {
    type Target = Orders;

    fn deref(&self) -> &Orders {
        &self.orders
    }
}

impl Orders {
    /// The next list is answered so. Lists beyond the script get 500.
    pub(crate) fn list(&self, code: u16, body: impl Into<String>) -> &Self {
        let reply = Reply::Whole(code, body.into());
        self.0.lock().unwrap().lists.push_back(reply);
        self
    }

    /// The next list gets no answer.
    pub(crate) fn silent_list(&self) -> &Self {
        self.0.lock().unwrap().lists.push_back(Reply::Silence);
        self
    }

    /// The next watch is refused so.
    pub(crate) fn refuse_watch(&self, code: u16, body: impl Into<String>) -> &Self {
        let reply = Reply::Whole(code, body.into());
        self.0.lock().unwrap().watches.push_back(reply);
        self
    }

    /// The next watch is fed by hand. Watches beyond the script stay open and silent.
    pub(crate) fn watch(&self) -> Feed {
        let (feed, pieces) = mpsc::unbounded_channel();
        let reply = Reply::Stream(pieces);
        self.0.lock().unwrap().watches.push_back(reply);
        Feed(feed)
    }

    /// Everything asked for so far, as path and query.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().requests.clone()
    }

    /// The revisions watches were asked to begin at.
    pub(crate) fn watched_from(&self) -> Vec<String> {
        let revision = |request: &String| {
            let (_, rest) = request.split_once("resourceVersion=")?;
            Some(rest.split('&').next().unwrap().to_owned())
        };
        self.requests().iter().filter_map(revision).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>) {
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else {
                return;
            };
            head.push(byte);
        }
        let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
        assert!(text.to_lowercase().contains("accept: application/json"));
        let target = text.split(' ').nth(1).unwrap().to_owned();
        let reply = {
            let mut script = script.lock().unwrap();
            script.requests.push(target.clone());
            if target.contains("watch=true") {
                script.watches.pop_front().unwrap_or_else(|| {
                    // The sender is leaked, so that the watch never ends.
                    let (feed, pieces) = mpsc::unbounded_channel();
                    std::mem::forget(feed);
                    Reply::Stream(pieces)
                })
            } else {
                let none = || Reply::Whole(500, "beyond the script".into());
                script.lists.pop_front().unwrap_or_else(none)
            }
        };
        match reply {
            Reply::Silence => std::future::pending().await,
            Reply::Whole(code, body) => {
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
                );
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Reply::Stream(mut pieces) => {
                let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                if stream.write_all(head).await.is_err() {
                    return;
                }
                while let Some(piece) = pieces.recv().await {
                    match piece {
                        Piece::Cut => return,
                        Piece::Bytes(bytes) if bytes.is_empty() => {}
                        Piece::Bytes(bytes) => {
                            let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
                            chunk.extend_from_slice(&bytes);
                            chunk.extend_from_slice(b"\r\n");
                            if stream.write_all(&chunk).await.is_err() {
                                return;
                            }
                        }
                    }
                }
                if stream.write_all(b"0\r\n\r\n").await.is_err() {
                    return;
                }
            }
        }
    }
}
