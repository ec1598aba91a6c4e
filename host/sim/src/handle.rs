//! One request: faults, who asks, what for, and the answer as HTTP.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::{
    answer::{Accept, Answer},
    auth::{Credentials, Identity},
    body::{Body, BrokenEnd},
    discovery,
    faults::{Fault, FaultState, mix},
    metrics::{Metrics, Sample},
    registry::Resource,
    route::{Params, ResourcePath, Route, route},
    seed::ContainerLog,
    server::ConnectionState,
    status::Status,
    store::Store,
    verbs,
};

/// Largest body of a request, as kube-apiserver has it.
const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) faults: Arc<FaultState>,
    pub(crate) credentials: Credentials,
    pub(crate) metrics: Metrics,
    pub(crate) log: ContainerLog,
    pub(crate) open: bool,
    pub(crate) max_concurrent_streams: u32,
    pub(crate) url: String,
    pub(crate) threads: usize,
}

/// A request to a resource, ready for its verb.
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) resource: Arc<Resource>,
    /// Empty for cluster-scoped resources and lists over all namespaces.
    pub(crate) namespace: &'a str,
    /// Empty for collections.
    pub(crate) name: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) params: Params,
    pub(crate) accept: Accept,
    pub(crate) headers: &'a HeaderMap,
}

/// Answers a request. Never fails: failures are answers.
pub(crate) async fn handle(
    shared: &Arc<Shared>,
    connection: &Arc<ConnectionState>,
    request: Request<Incoming>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if let Some(answer) = discovery::health(path, head.uri.query().unwrap_or_default()) {
        return respond(answer);
    }
    connection.count(shared.faults.goaway_every());
    let verdict = shared.faults.next();
    let started = Instant::now();
    let mut sample = Sample::default();
    let answer = match verdict.and_then(|v| v.fault) {
        Some(Fault::Reset { mid_body: false }) => {
            connection.reset();
            // The connection is dropped, and this with it.
            std::future::pending().await
        }
        Some(Fault::TooManyRequests { retry_after_secs }) => {
            shared.metrics.reject();
            Status::too_many_requests(retry_after_secs).into()
        }
        Some(Fault::ServerError(500)) => {
            Status::internal("injected by the simulator's faults").into()
        }
        Some(Fault::ServerError(503)) => {
            Status::service_unavailable("injected by the simulator's faults").into()
        }
        Some(Fault::ServerError(_)) => Status::timeout("injected by the simulator's faults").into(),
        Some(Fault::Reset { mid_body: true } | Fault::Truncate) | None => {
            match serve(shared, connection, &head, body, &mut sample).await {
                Ok(answer) => answer,
                Err(status) => status.into(),
            }
        }
    };
    if let Some(verdict) = verdict {
        if !verdict.delay.is_zero() {
            tokio::time::sleep(verdict.delay).await;
        }
        while let Some(until) = shared.faults.stalled_until() {
            tokio::time::sleep_until(until.into()).await;
        }
    }
    shared.metrics.count(
        sample,
        answer.code.as_u16(),
        started.elapsed(),
        answer.body.len().unwrap_or(0),
    );
    let mut response = respond(answer);
    let end = match verdict.and_then(|v| v.fault) {
        Some(Fault::Reset { mid_body: true }) => BrokenEnd::Reset(Arc::clone(connection)),
        Some(Fault::Truncate) => BrokenEnd::Truncate,
        _ => return response,
    };
    let whole = std::mem::replace(response.body_mut(), Body::Whole(Bytes::new()));
    *response.body_mut() = whole.broken(end);
    response
}

async fn serve(
    shared: &Arc<Shared>,
    connection: &ConnectionState,
    head: &http::request::Parts,
    body: Incoming,
    sample: &mut Sample,
) -> Result<Answer, Status> {
    let path = head.uri.path();
    let identity = shared
        .credentials
        .identify(
            &head.headers,
            connection.client_certificate.load(Ordering::Relaxed),
        )
        .or(if shared.open {
            Ok(Identity::Admin)
        } else {
            Err(())
        })
        .map_err(|()| Status::unauthorized())?;
    let allowed = identity == Identity::Admin || shared.open;
    let params = Params::parse(head.uri.query().unwrap_or_default())?;
    let asked = match route(path) {
        Route::Resource(asked) => asked,
        Route::Other(_) if !allowed && path != "/version" && path != "/version/" => {
            return Err(Status::forbidden_path(
                path,
                "system:anonymous",
                &head.method.as_str().to_lowercase(),
            ));
        }
        Route::Other(_) => {
            if head.method != Method::GET {
                return Ok(Answer::page_not_found());
            }
            return discovery::serve(shared, path, &head.headers);
        }
    };
    let Some(resource) = shared
        .store
        .resource(&asked.group, &asked.version, &asked.resource)
    else {
        return discovery::nothing_at(shared, path);
    };
    let verb = verb_of(&head.method, &asked, &params).ok_or_else(Status::method_not_allowed)?;
    *sample = Sample::of(
        verb,
        &resource,
        asked.subresource.as_deref(),
        asked.namespace.is_some(),
        asked.name.is_some(),
    );
    if !allowed {
        return Err(verbs::forbidden_anonymous(verb, &resource, &asked));
    }
    if resource.namespaced != asked.namespace.is_some()
        && (asked.namespace.is_some()
            || asked.name.is_some()
            || !matches!(verb, "list" | "watch" | "create"))
    {
        return discovery::nothing_at(shared, path);
    }
    let call = Call {
        shared,
        resource,
        namespace: asked.namespace.as_deref().unwrap_or_default(),
        name: asked.name.as_deref().unwrap_or_default(),
        subresource: asked.subresource.as_deref().unwrap_or_default(),
        params,
        accept: if asked.subresource.as_deref() == Some("log") {
            Accept::default()
        } else {
            Accept::from_headers(&head.headers)?
        },
        headers: &head.headers,
    };
    let body = match verb {
        "get" | "list" | "watch" => Bytes::new(),
        _ => read_body(body).await?,
    };
    verbs::run(verb, &call, &body)
}

fn verb_of(method: &Method, asked: &ResourcePath<'_>, params: &Params) -> Option<&'static str> {
    let named = asked.name.is_some();
    Some(match *method {
        Method::GET | Method::HEAD if named => "get",
        Method::GET | Method::HEAD if params.watch => "watch",
        Method::GET | Method::HEAD => "list",
        Method::POST if !named || asked.subresource.is_some() => "create",
        Method::PUT if named => "update",
        Method::PATCH if named => "patch",
        Method::DELETE if named && asked.subresource.is_none() => "delete",
        Method::DELETE if !named => "deletecollection",
        _ => return None,
    })
}

async fn read_body(body: Incoming) -> Result<Bytes, Status> {
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Status::too_large(MAX_BODY_BYTES)),
        Err(error) => Err(Status::bad_request(format!(
            "unable to read the body of the request: {error}"
        ))),
    }
}

fn respond(answer: Answer) -> Response<Body> {
    static AUDIT: AtomicU64 = AtomicU64::new(1);
    let length = answer.body.len();
    let mut response = Response::new(answer.body);
    *response.status_mut() = answer.code;
    let headers = response.headers_mut();
    headers.reserve(8);
    let n = AUDIT.fetch_add(1, Ordering::Relaxed);
    let (a, b) = (mix(n), mix(!n));
    if let Ok(id) = HeaderValue::from_str(&format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        (b >> 48) & 0xfff,
        b & 0xffff_ffff_ffff
    )) {
        headers.insert("audit-id", id);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if answer.code == StatusCode::NOT_FOUND && answer.content_type == crate::answer::TEXT {
        headers.insert(
            "x-content-type-options",
            HeaderValue::from_static("nosniff"),
        );
    }
    if let Some(seconds) = answer.retry_after_secs {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}
