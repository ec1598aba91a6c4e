//! Asks every instance for its numbers, each at its own address under the name of the server.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use kperf_load::plan::Target;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use super::{
    find::{self, Origin, Place, Resolve, SystemResolver},
    sample::{InstanceSample, wanted},
    text::{Reader, TextError},
};

/// For one instance, from dialling to its last line.
const DEADLINE: Duration = Duration::from_secs(10);
/// For dialling an address that only the cluster names.
const CLUSTER_DIAL: Duration = Duration::from_secs(1);
/// For finding the instances.
const FIND: Duration = Duration::from_secs(5);
/// Before a busy instance is asked again.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];
/// More text than any API server has.
const MAX_TEXT_BYTES: usize = 512 << 20;
/// More than an EndpointSlice or a Status has.
const MAX_JSON_BYTES: usize = 1 << 20;
/// An answer of a proxy has no more.
const MAX_PROXY_ANSWER_BYTES: usize = 16 << 10;

/// Why an instance gave no numbers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The right is missing.
    #[error(
        "the server does not show its metrics to this user (403{of_server}); they need the right `get` on the non-resource URL `/metrics`: \
         kubectl create clusterrole metrics-reader --verb=get --non-resource-url=/metrics, bound to the user"
    )]
    Forbidden {
        /// What the server said, with `: ` before it, or nothing.
        of_server: String,
    },
    /// Any other answer but a success.
    #[error("`/metrics` answers {0}")]
    Status(StatusCode),
    /// The text is not that of an API server.
    #[error("what `/metrics` shows is not what an API server shows")]
    NotAnApiServer,
    /// The text is not Prometheus' format.
    #[error("`/metrics` is not in Prometheus' text format: {0}")]
    Text(#[from] TextError),
    /// No connection, or it broke.
    #[error("{0}")]
    Connection(String),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Deadline(Duration),
}

impl ScrapeError {
    /// Whether the server answered, but not with numbers.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::Status(_))
    }
}

/// An instance without numbers.
#[derive(Clone, Debug)]
pub struct ScrapeFailure {
    /// Address and port.
    pub instance: String,
    /// How it was found.
    pub origin: Origin,
    /// Why.
    pub error: ScrapeError,
}

/// All instances at one moment.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// One for each process, however many addresses it has.
    pub samples: Vec<InstanceSample>,
    /// Addresses without numbers.
    pub failures: Vec<ScrapeFailure>,
}

impl Scrape {
    /// Cores by instance; none where an instance did not say.
    #[must_use]
    pub fn cores(&self) -> Vec<(String, Option<u32>)> {
        let failed = self
            .failures
            .iter()
            .filter(|failure| failure.origin == Origin::Url)
            .map(|failure| (failure.instance.clone(), None));
        self.samples
            .iter()
            .map(|sample| (sample.instance.clone(), sample.cores()))
            .chain(failed)
            .collect()
    }
}

/// Knows the instances of a server and asks them.
///
/// ```no_run
/// # async fn example(target: &kperf_load::plan::Target) {
/// use kperf_cluster::server_metrics::{Changes, Scraper};
/// let scraper = Scraper::find(target).await;
/// let before = scraper.scrape().await;
/// let after = scraper.scrape().await;
/// for change in Changes::between(&before, &after).instances {
///     println!("{}: {:?} CPU seconds", change.instance, change.counters.cpu_seconds);
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Scraper {
    target: Arc<Target>,
    places: Vec<Place>,
    /// Why the name could not be resolved, if so.
    unresolved: Option<String>,
    deadline: Duration,
}

impl fmt::Debug for Scraper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scraper")
            .field("url", &self.target.url())
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

impl Scraper {
    /// Finds the instances: all addresses of the host name, and, where certificates are verified, those that the
    /// cluster names if it lets us read them. Takes five seconds at most; a server that cannot be found fails when it is scraped.
    pub async fn find(target: &Target) -> Self {
        Self::find_with(target, &SystemResolver).await
    }

    /// [`Self::find`] with another resolver.
    pub async fn find_with(target: &Target, resolver: &dyn Resolve) -> Self {
        let mut scraper = Self {
            target: Arc::new(target.clone()),
            places: Vec::new(),
            unresolved: None,
            deadline: DEADLINE,
        };
        match tokio::time::timeout(FIND, find::of_url(target, resolver)).await {
            Ok(Ok(places)) if !places.is_empty() => scraper.places = places,
            Ok(Ok(_)) => scraper.unresolved = Some("the name has no address".to_owned()),
            Ok(Err(error)) => scraper.unresolved = Some(error.to_string()),
            Err(_) => scraper.unresolved = Some("the name was not resolved in time".to_owned()),
        }
        // The credentials go along, and only a certificate proves that who is at such an address is of this cluster:
        // not over plain HTTP, and not where certificates are not verified. A proxy has its own view.
        let is_proven = target.tls.as_ref().is_some_and(|tls| tls.is_verified);
        if is_proven && target.proxy.is_none() {
            let named = tokio::time::timeout(FIND, scraper.named_by_cluster()).await;
            for address in named.unwrap_or_default() {
                if scraper
                    .places
                    .iter()
                    .all(|place| place.address != Some(address))
                {
                    scraper.places.push(Place::direct(address, Origin::Cluster));
                }
            }
        }
        tracing::debug!(places = ?scraper.places, "instances of the API server");
        scraper
    }

    /// With another limit for one instance; 10 s unless told.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Addresses that are asked.
    #[must_use]
    pub fn addresses(&self) -> Vec<&str> {
        self.places
            .iter()
            .map(|place| place.name.as_str())
            .collect()
    }

    /// Asks all instances at once. An instance that has several addresses comes once.
    pub async fn scrape(&self) -> Scrape {
        let mut scrape = Scrape::default();
        if let Some(reason) = &self.unresolved {
            scrape.failures.push(ScrapeFailure {
                instance: find::authority(&self.target.host, self.target.port),
                origin: Origin::Url,
                error: ScrapeError::Connection(format!("{}: {reason}", self.target.host)),
            });
        }
        let mut asked = JoinSet::new();
        for (number, place) in self.places.iter().cloned().enumerate() {
            let (target, deadline) = (Arc::clone(&self.target), self.deadline);
            asked.spawn(async move {
                let answer = tokio::time::timeout(deadline, numbers(&target, &place))
                    .await
                    .unwrap_or(Err(ScrapeError::Deadline(deadline)));
                (number, place, answer)
            });
        }
        let mut answers = Vec::new();
        while let Some(answer) = asked.join_next().await {
            // A task that panicked has already said so.
            answers.extend(answer.ok());
        }
        // Addresses of the URL first: they name the instance when the cluster names it too.
        answers.sort_by_key(|(number, ..)| *number);
        for (_, place, answer) in answers {
            match answer {
                Ok(sample) => {
                    if !scrape
                        .samples
                        .iter()
                        .any(|known| known.start_time.is_some() && known.is_same_process(&sample))
                    {
                        scrape.samples.push(sample);
                    }
                }
                Err(error) => scrape.failures.push(ScrapeFailure {
                    instance: place.name,
                    origin: place.origin,
                    error,
                }),
            }
        }
        scrape
    }

    /// The instances by the cluster's own word; nothing where that cannot be read.
    async fn named_by_cluster(&self) -> Vec<SocketAddr> {
        for place in &self.places {
            match get(&self.target, place, find::SLICE, "application/json").await {
                Ok((response, _)) if response.status().is_success() => {
                    let slice = json(response).await;
                    return slice.map_or_else(Vec::new, |slice| find::of_slice(&slice));
                }
                Ok((response, _)) => {
                    let status = response.status();
                    tracing::debug!(%status, "the instances of the API server cannot be read");
                    return Vec::new();
                }
                Err(error) => {
                    tracing::debug!(%error, place = place.name, "an address does not answer");
                }
            }
        }
        Vec::new()
    }
}

/// The numbers of one instance; asked again when it has too much to do, as others are asked to.
async fn numbers(target: &Target, place: &Place) -> Result<InstanceSample, ScrapeError> {
    for pause in PAUSES {
        match look(target, place).await {
            Err(ScrapeError::Status(
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE,
            )) => tokio::time::sleep(pause).await,
            answer => return answer,
        }
    }
    look(target, place).await
}

async fn look(target: &Target, place: &Place) -> Result<InstanceSample, ScrapeError> {
    let (response, sent) = get(target, place, "/metrics", "text/plain;version=0.0.4").await?;
    let taken = Instant::now();
    match response.status() {
        StatusCode::FORBIDDEN => {
            let status = json(response).await;
            let message = status
                .as_ref()
                .and_then(|status| status["message"].as_str());
            return Err(ScrapeError::Forbidden {
                of_server: message.map_or_else(String::new, |message| {
                    let message: String = message.chars().take(300).collect();
                    format!(": {message}")
                }),
            });
        }
        status if !status.is_success() => return Err(ScrapeError::Status(status)),
        _ => {}
    }
    let server_time = response
        .headers()
        .get(header::DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(|date| jiff::fmt::rfc2822::parse(date).ok())
        .map(|date| date.timestamp().as_second() as f64);
    let mut sample = InstanceSample::new(place.name.clone(), taken, server_time);
    let mut reader = Reader::default();
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        bytes += data.len();
        if bytes > MAX_TEXT_BYTES {
            return Err(ScrapeError::NotAnApiServer);
        }
        reader.feed(&data, wanted, |line| sample.take(line))?;
    }
    reader.finish()?;
    if sample.is_empty() {
        return Err(ScrapeError::NotAnApiServer);
    }
    sample.took = sent.elapsed();
    Ok(sample)
}

async fn json(response: Response<Incoming>) -> Option<Value> {
    let body = http_body_util::Limited::new(response.into_body(), MAX_JSON_BYTES);
    let body = body.collect().await.ok()?.to_bytes();
    serde_json::from_slice(&body).ok()
}

fn broken(error: &hyper::Error) -> ScrapeError {
    use std::error::Error as _;
    ScrapeError::Connection(match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })
}

/// Sends one GET on a connection of its own; the answer's body is still to be read. Also when it was sent.
async fn get(
    target: &Target,
    place: &Place,
    path: &str,
    accept: &'static str,
) -> Result<(Response<Incoming>, Instant), ScrapeError> {
    let failed = |stage: &str, error: &dyn fmt::Display| {
        ScrapeError::Connection(format!("{stage}: {error}"))
    };
    let tcp = match place.address {
        Some(address) => dial(address, place.origin).await,
        None => tunnel(target, &place.name).await,
    }
    .map_err(|error| failed("cannot connect", &error))?;
    let request = Request::get(format!("{}{path}", target.path_prefix))
        .header(header::ACCEPT, accept)
        .header(header::HOST, host(target))
        .header(
            header::USER_AGENT,
            concat!(
                "kperf-host/",
                env!("CARGO_PKG_VERSION"),
                " (server-metrics)"
            ),
        )
        .body(Empty::<Bytes>::new());
    let mut request = request.map_err(|error| failed("the request", &error))?;
    request.headers_mut().extend(target.headers.headers());
    let sent = Instant::now();
    let response = match &target.tls {
        None => exchange(tcp, request).await?,
        Some(tls) => {
            let mut config = (*tls.config).clone();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            let stream = TlsConnector::from(Arc::new(config))
                .connect(tls.server_name.clone(), tcp)
                .await
                .map_err(|error| failed("TLS", &error))?;
            exchange(stream, request).await?
        }
    };
    Ok((response, sent))
}

async fn exchange<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, ScrapeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut send, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    // Ends with the body, or when the caller gives up.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection for metrics ended");
        }
    });
    send.send_request(request)
        .await
        .map_err(|error| broken(&error))
}

/// As it stands in the URL; the port only where it is not the scheme's own.
fn host(target: &Target) -> String {
    let usual = if target.tls.is_some() { 443 } else { 80 };
    let whole = find::authority(&target.host, target.port);
    if target.port == usual {
        whole
            .strip_suffix(&format!(":{usual}"))
            .unwrap_or(&whole)
            .to_owned()
    } else {
        whole
    }
}

async fn dial(address: SocketAddr, origin: Origin) -> io::Result<TcpStream> {
    let limit = match origin {
        Origin::Url => FIND,
        Origin::Cluster => CLUSTER_DIAL,
    };
    let stream = tokio::time::timeout(limit, TcpStream::connect(address))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection to `authority` through the target's proxy.
async fn tunnel(target: &Target, authority: &str) -> io::Result<TcpStream> {
    let Some(proxy) = &target.proxy else {
        return Err(io::Error::other("no address and no proxy"));
    };
    let mut stream = TcpStream::connect((proxy.host.as_str(), proxy.port)).await?;
    stream.set_nodelay(true)?;
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(authorization) = &proxy.authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the headers belongs to TLS.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MAX_PROXY_ANSWER_BYTES {
            return Err(io::Error::other("the proxy's answer has no end"));
        }
        answer.push(stream.read_u8().await?);
    }
    let line = String::from_utf8_lossy(&answer);
    let line = line.lines().next().unwrap_or_default();
    let mut words = line.split(' ');
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    if is_http && words.next().is_some_and(|code| code.starts_with('2')) {
        Ok(stream)
    } else {
        Err(io::Error::other(format!("the proxy answered {line:?}")))
    }
}
