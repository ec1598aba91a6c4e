//! The API server, spoken to as JSON: discovery, and one method for each verb.
//!
//! Nothing here asks for grants or retries: [`crate::session`] does. What can go wrong stands in one
//! table, at [`Code`].

mod clock;
mod discovery;
mod failure;
pub(crate) mod request;
pub(crate) mod retry;
mod transport;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kperf_load::Stop;
use serde_json::Value;

pub use discovery::Resource;
pub use failure::{ApiFailure, Code};
pub use request::{DeleteOptions, FIELD_MANAGER, Manifest, PatchType, Prepared, Scope};
pub use retry::RetryLimits;

use discovery::Discovery;
use retry::Repeatable;
use transport::{MAX_BODY_BYTES, Transport};

/// Objects asked for with one request.
const PAGE: u32 = 500;

/// Most a list may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListBounds {
    /// Objects.
    pub objects: usize,
    /// Bytes of JSON.
    pub bytes: usize,
}

impl Default for ListBounds {
    /// 10 000 objects, 16 MiB.
    fn default() -> Self {
        Self {
            objects: 10_000,
            bytes: 16 << 20,
        }
    }
}

/// A page of objects' metadata.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetadataPage {
    /// Each item's `metadata`.
    pub(crate) items: Vec<Value>,
    /// Where the next page begins; empty on the last.
    pub(crate) continue_token: String,
}

/// A cluster. Clones share connections and what discovery said.
#[derive(Clone)]
pub struct Cluster {
    transport: Transport,
    discovery: Arc<Discovery>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// From the `config` of a [`crate::ResolvedTarget`]. Connects to nothing yet. Needs a tokio runtime.
    ///
    /// # Errors
    /// TLS or credentials that cannot be used.
    pub fn new(config: kube::Config) -> Result<Self, ApiFailure> {
        Ok(Self {
            transport: Transport::new(config)?,
            discovery: Arc::default(),
        })
    }

    /// The same with another longest wait for an answer; 60 s unless told.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.transport.set_deadline(deadline);
        self
    }

    /// kube's own client on the same connections, for watches.
    #[must_use]
    pub fn client(&self) -> &kube::Client {
        self.transport.client()
    }

    /// Where objects of a kind live: `kind("apps/v1", "Deployment")`. Asked once and kept; what is not
    /// known is asked for again each time.
    ///
    /// # Errors
    /// `no-such-kind`, with what there is instead; and all that a request can meet.
    pub async fn kind(&self, api_version: &str, kind: &str) -> Result<Arc<Resource>, ApiFailure> {
        self.discovery
            .kind(&self.transport, api_version, kind)
            .await
    }

    /// Every resource the server serves, in the version it prefers.
    ///
    /// # Errors
    /// All that a request can meet.
    pub async fn resources(&self) -> Result<Vec<Resource>, ApiFailure> {
        discovery::everything(&self.transport).await
    }

    /// Sends a prepared request once; the body of the answer.
    ///
    /// # Errors
    /// All that a request can meet.
    pub async fn send(&self, prepared: &Prepared) -> Result<Bytes, ApiFailure> {
        self.send_bounded(prepared, MAX_BODY_BYTES).await
    }

    async fn send_bounded(
        &self,
        prepared: &Prepared,
        max_body_bytes: usize,
    ) -> Result<Bytes, ApiFailure> {
        let uri = prepared.uri();
        self.transport
            .send(&prepared.outgoing(&uri, max_body_bytes))
            .await
    }

    async fn send_json(&self, prepared: &Prepared) -> Result<Value, ApiFailure> {
        let body = self.send(prepared).await?;
        transport::parse(prepared.series(), &body)
    }

    /// An object as stored. `namespace` is empty for kinds without one, as for all of these.
    ///
    /// # Errors
    /// All that a request can meet, as for all of these.
    pub async fn get(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Value, ApiFailure> {
        self.send_json(&Prepared::get(resource, namespace, name)?)
            .await
    }

    /// Objects as stored, all pages, each with its `apiVersion` and `kind`.
    ///
    /// # Errors
    /// `too-large` beyond the bounds.
    pub async fn list(
        &self,
        resource: &Resource,
        scope: &Scope,
        bounds: ListBounds,
    ) -> Result<Vec<Value>, ApiFailure> {
        let mut restarted = false;
        let mut objects = Vec::new();
        let mut bytes_left = bounds.bytes;
        let mut continue_token = String::new();
        let too_large = || {
            ApiFailure::own(
                Code::TooLarge,
                format!(
                    "there are more than {} {resource} or {} bytes of them; narrow it by namespace or selector, or track them",
                    bounds.objects, bounds.bytes
                ),
            )
        };
        loop {
            let page = Prepared::list(resource, scope, PAGE, &continue_token)?;
            let body = match self.send_bounded(&page, bytes_left).await {
                Err(failure) if failure.code == Code::TooLarge => return Err(too_large()),
                // The list took so long that its revision is gone: begin again, once.
                Err(failure) if failure.status == 410 && !restarted => {
                    restarted = true;
                    objects.clear();
                    bytes_left = bounds.bytes;
                    continue_token.clear();
                    continue;
                }
                answer => answer?,
            };
            bytes_left = bytes_left.saturating_sub(body.len());
            let mut list = transport::parse(page.series(), &body)?;
            continue_token = continue_token_of(&list);
            if let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) {
                objects.extend(items);
            }
            if objects.len() > bounds.objects {
                return Err(too_large());
            }
            if continue_token.is_empty() {
                break;
            }
        }
        // Items of built-in kinds do not say what they are.
        for object in &mut objects {
            if let Value::Object(fields) = object {
                fields
                    .entry("apiVersion")
                    .or_insert_with(|| resource.api_version().into());
                fields
                    .entry("kind")
                    .or_insert_with(|| resource.kind.clone().into());
            }
        }
        Ok(objects)
    }

    /// One page of a list, of each item all or its metadata, and where the next one begins; empty on the last.
    pub(crate) async fn page(
        &self,
        resource: &Resource,
        scope: &Scope,
        continue_token: &str,
        metadata_only: bool,
    ) -> Result<(Vec<Value>, String), ApiFailure> {
        let mut request = Prepared::list(resource, scope, PAGE, continue_token)?;
        if metadata_only {
            request = request.metadata_only();
        }
        let mut list = self.send_json(&request).await?;
        let continue_token = continue_token_of(&list);
        let items = match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        Ok((items, continue_token))
    }

    /// The `metadata` of objects, all pages.
    ///
    /// # Errors
    /// All that a request can meet.
    pub async fn metadata(
        &self,
        resource: &Resource,
        scope: &Scope,
    ) -> Result<Vec<Value>, ApiFailure> {
        let mut all = Vec::new();
        let mut continue_token = String::new();
        loop {
            let page = self
                .list_metadata(resource, scope, PAGE, &continue_token)
                .await?;
            all.extend(page.items);
            continue_token = page.continue_token;
            if continue_token.is_empty() {
                return Ok(all);
            }
        }
    }

    pub(crate) async fn list_metadata(
        &self,
        resource: &Resource,
        scope: &Scope,
        limit: u32,
        continue_token: &str,
    ) -> Result<MetadataPage, ApiFailure> {
        let request = Prepared::list(resource, scope, limit, continue_token)?.metadata_only();
        let mut list = self.send_json(&request).await?;
        let continue_token = continue_token_of(&list);
        let items = match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        Ok(MetadataPage {
            items: items
                .into_iter()
                .map(|mut item| item["metadata"].take())
                .collect(),
            continue_token,
        })
    }

    /// Creates an object; as stored.
    ///
    /// # Errors
    /// See [`Cluster::get`].
    pub async fn create(
        &self,
        resource: &Resource,
        namespace: &str,
        object: &Value,
    ) -> Result<Value, ApiFailure> {
        self.send_json(&Prepared::create(resource, namespace, object.to_string())?)
            .await
    }

    /// Server-side apply, by force, as [`FIELD_MANAGER`]; as stored.
    ///
    /// # Errors
    /// See [`Cluster::get`].
    pub async fn apply(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<Value, ApiFailure> {
        self.send_json(&Prepared::apply(
            resource,
            namespace,
            name,
            object.to_string(),
        )?)
        .await
    }

    /// Replaces an object, or its subresource; as stored.
    ///
    /// # Errors
    /// See [`Cluster::get`].
    pub async fn update(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        object: &Value,
    ) -> Result<Value, ApiFailure> {
        self.send_json(&Prepared::update(
            resource,
            namespace,
            name,
            subresource,
            object.to_string(),
        )?)
        .await
    }

    /// Changes an object, or its subresource; as stored.
    ///
    /// # Errors
    /// See [`Cluster::get`].
    pub async fn patch(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        patch_type: PatchType,
        patch: impl Into<Bytes>,
    ) -> Result<Value, ApiFailure> {
        self.send_json(&Prepared::patch(
            resource,
            namespace,
            name,
            subresource,
            patch_type,
            patch,
        )?)
        .await
    }

    /// Deletes an object in the background.
    ///
    /// # Errors
    /// See [`Cluster::get`].
    pub async fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<(), ApiFailure> {
        self.send(&Prepared::delete(resource, namespace, name, options)?)
            .await
            .map(drop)
    }

    /// Deletes what a label selector matches, in the background. Namespaced kinds need the namespace.
    ///
    /// # Errors
    /// See [`Cluster::get`]; `invalid` without a label selector.
    pub async fn delete_collection(
        &self,
        resource: &Resource,
        scope: &Scope,
        options: &DeleteOptions,
    ) -> Result<(), ApiFailure> {
        self.send(&Prepared::delete_collection(resource, scope, options)?)
            .await
            .map(drop)
    }
}

/// A call that may be repeated, tried again where that helps: for half a minute or so, or until `stop`.
///
/// # Errors
/// The last failure.
pub async fn patiently<T, F>(stop: &Stop, call: impl FnMut() -> F) -> Result<T, ApiFailure>
where
    F: Future<Output = Result<T, ApiFailure>>,
{
    retry::with_retries(&RetryLimits::default(), Repeatable::Yes, stop, call)
        .await
        .result
}

/// One try of a call, within a time: for what is only worth saying now. None when it came to nothing and another try may
/// do better.
///
/// # Errors
/// A failure that another try will not mend.
pub async fn once<T>(
    within: Duration,
    call: impl Future<Output = Result<T, ApiFailure>>,
) -> Result<Option<T>, ApiFailure> {
    match tokio::time::timeout(within, call).await {
        Ok(Ok(answer)) => Ok(Some(answer)),
        Ok(Err(failure)) if retry::may_pass(&failure) => Ok(None),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Ok(None),
    }
}

fn continue_token_of(list: &Value) -> String {
    list["metadata"]["continue"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
