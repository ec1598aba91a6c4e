//! Asking a server, and comparing what it answers; every failure shows the request, what was expected, and the answer.

use std::{
    io::Read as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use kperf_control_plane::{Client, Opened};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::{cleanup::CleanUp, namespace::Namespace, stream::Stream};

const JSON: &str = "application/json";
/// For an answer, and for a watch from its start to its end.
const LIMIT: Duration = Duration::from_secs(60);
/// For what a server does in its own time.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server under test.
pub(crate) struct Api {
    client: Client,
    /// Makes the server forget revisions at once; without it, it does so by itself after a while.
    compact: Option<Box<dyn Fn() + Send + Sync>>,
    /// Controllers run there: they have to be done with a namespace before pods are admitted to it.
    controlled: bool,
    clean_up: CleanUp,
}

impl Api {
    pub(crate) fn new(client: Client, compact: Option<Box<dyn Fn() + Send + Sync>>) -> Self {
        Self {
            client,
            compact,
            controlled: false,
            clean_up: CleanUp::default(),
        }
    }

    pub(crate) fn controlled(mut self, controlled: bool) -> Self {
        self.controlled = controlled;
        self
    }

    pub(crate) fn is_controlled(&self) -> bool {
        self.controlled
    }

    pub(crate) fn clean_up(&self) -> &CleanUp {
        &self.clean_up
    }

    /// A new namespace for a case.
    pub(crate) fn namespace(&self, prefix: &str) -> anyhow::Result<Namespace<'_>> {
        let namespace = Namespace::create(self, prefix)?;
        let account = namespace.core("serviceaccounts/default");
        let end = Instant::now() + PATIENCE;
        while self.controlled && self.get(account.clone()).send()?.status != 200 {
            ensure!(
                Instant::now() < end,
                "{account} is not there after {PATIENCE:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(namespace)
    }

    pub(crate) fn get(&self, path: impl Into<String>) -> Call<'_> {
        self.call("GET", path.into())
    }

    pub(crate) fn post(&self, path: impl Into<String>, body: &Value) -> Call<'_> {
        self.call("POST", path.into()).json(body)
    }

    pub(crate) fn put(&self, path: impl Into<String>, body: &Value) -> Call<'_> {
        self.call("PUT", path.into()).json(body)
    }

    /// `kind` is `json`, `merge` or `strategic-merge`.
    pub(crate) fn patch(&self, kind: &str, path: impl Into<String>, body: &Value) -> Call<'_> {
        self.call("PATCH", path.into())
            .json(body)
            .content_type(&format!("application/{kind}-patch+json"))
    }

    /// Server-side apply.
    pub(crate) fn apply(&self, path: impl Into<String>, manager: &str, body: &Value) -> Call<'_> {
        self.call("PATCH", path.into())
            .json(body)
            .content_type("application/apply-patch+yaml")
            .query("fieldManager", manager)
    }

    pub(crate) fn delete(&self, path: impl Into<String>) -> Call<'_> {
        self.call("DELETE", path.into())
    }

    pub(crate) fn call(&self, method: &'static str, path: String) -> Call<'_> {
        Call {
            api: self,
            method,
            path,
            accept: JSON.to_owned(),
            content_type: None,
            body: None,
        }
    }

    pub(crate) fn forgets_when_told(&self) -> bool {
        self.compact.is_some()
    }

    /// Makes the server forget old revisions now, if it can be told to.
    pub(crate) fn forget(&self) {
        if let Some(compact) = &self.compact {
            compact();
        }
    }

    /// Makes the server forget old revisions, and asks until the answer fits.
    pub(crate) fn until_compacted(
        &self,
        mut fits: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        self.forget();
        let end = Instant::now() + PATIENCE;
        while !fits()? {
            ensure!(
                Instant::now() < end,
                "old revisions are still there after {PATIENCE:?}"
            );
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }
}

/// A request being put together.
#[must_use]
pub(crate) struct Call<'a> {
    api: &'a Api,
    method: &'static str,
    path: String,
    accept: String,
    content_type: Option<String>,
    body: Option<Vec<u8>>,
}

impl<'a> Call<'a> {
    pub(crate) fn query(mut self, key: &str, value: &str) -> Self {
        self.path
            .push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(key);
        self.path.push('=');
        self.path
            .extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        self
    }

    pub(crate) fn accept(mut self, accept: &str) -> Self {
        accept.clone_into(&mut self.accept);
        self
    }

    pub(crate) fn content_type(mut self, content_type: &str) -> Self {
        self.content_type = Some(content_type.to_owned());
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.bytes(JSON, body.to_string().into_bytes())
    }

    pub(crate) fn bytes(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self.content_type(content_type)
    }

    fn open(&self) -> anyhow::Result<Opened> {
        let mut headers = vec![("accept", self.accept.as_str())];
        if let Some(content_type) = &self.content_type {
            headers.push(("content-type", content_type));
        }
        self.api.client.open(
            self.method,
            &self.path,
            &headers,
            self.body.as_deref(),
            LIMIT,
        )
    }

    /// The request as a failure shows it.
    fn shown(&self) -> String {
        let mut text = format!("{} {}", self.method, self.path);
        if self.accept != JSON {
            text.push_str(&format!("\n  accept {}", self.accept));
        }
        if let Some(content_type) = self.content_type.as_ref().filter(|t| *t != JSON) {
            text.push_str(&format!("\n  content-type {content_type}"));
        }
        if let Some(body) = &self.body {
            text.push_str(&format!(
                "\n  body {}",
                short(&String::from_utf8_lossy(body))
            ));
        }
        text
    }

    /// The answer, whatever it is.
    pub(crate) fn send(self) -> anyhow::Result<Reply> {
        let mut opened = self.open()?;
        let mut body = Vec::new();
        opened
            .body
            .read_to_end(&mut body)
            .with_context(|| format!("the body of the answer to {}", self.shown()))?;
        Ok(Reply {
            asked: self.shown(),
            status: opened.status,
            headers: opened.headers,
            value: serde_json::from_slice(&body).unwrap_or_default(),
            body,
        })
    }

    /// The answer, which must have this status.
    pub(crate) fn ok(self, status: u16) -> anyhow::Result<Reply> {
        let reply = self.send()?;
        if reply.status != status {
            return Err(reply.differs(&format!("status {status}"), reply.status));
        }
        Ok(reply)
    }

    /// The answer, which must be a Status with this code and reason.
    pub(crate) fn refused(self, code: u16, reason: &str) -> anyhow::Result<Reply> {
        let reply = self
            .ok(code)?
            .is("/kind", "Status")?
            .is("/apiVersion", "v1")?
            .is("/status", "Failure")?
            .is("/code", code)?;
        if reason.is_empty() {
            reply.lacks("/reason")
        } else {
            reply.is("/reason", reason)
        }
    }

    /// The events of a watch.
    pub(crate) fn watch(self) -> anyhow::Result<Stream> {
        let call = self.query("watch", "true");
        let asked = call.shown();
        let opened = call.open()?;
        if opened.status != 200 {
            let mut body = String::new();
            let mut opened = opened;
            opened.body.read_to_string(&mut body)?;
            bail!(
                "{asked}\n  expected a watch\n  got {}: {body}",
                opened.status
            );
        }
        Ok(Stream::new(asked, opened.body))
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    asked: String,
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The body as JSON; null when it is none.
    pub(crate) value: Value,
}

impl Reply {
    /// What a case fails with.
    pub(crate) fn differs(&self, expected: &str, got: impl std::fmt::Display) -> anyhow::Error {
        anyhow::anyhow!(
            "{}\n  expected {expected}\n  got {got}\n  in {} {}",
            self.asked,
            self.status,
            self.quoted()
        )
    }

    /// The body, unless it may hold secrets of somebody's own cluster.
    fn quoted(&self) -> String {
        if on_existing_cluster() {
            format!("{} bytes", self.body.len())
        } else {
            short(&self.text())
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value at a JSON pointer; null when there is none.
    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.value.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The text at a JSON pointer, which must be there.
    pub(crate) fn str(&self, pointer: &str) -> anyhow::Result<String> {
        match self.at(pointer).as_str() {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(self.differs(&format!("text at {pointer}"), self.at(pointer))),
        }
    }

    /// `metadata.resourceVersion`.
    pub(crate) fn revision(&self) -> anyhow::Result<u64> {
        let text = self.str("/metadata/resourceVersion")?;
        text.parse()
            .map_err(|_| self.differs("a number as resourceVersion", text))
    }

    /// Compares the value at a JSON pointer.
    pub(crate) fn is(self, pointer: &str, expected: impl Into<Value>) -> anyhow::Result<Self> {
        let expected = expected.into();
        match self.value.pointer(pointer) {
            Some(got) if *got == expected => Ok(self),
            Some(got) => Err(self.differs(&format!("{expected} at {pointer}"), got)),
            None => Err(self.differs(&format!("{expected} at {pointer}"), "nothing there")),
        }
    }

    /// Fails if there is something at a JSON pointer.
    pub(crate) fn lacks(self, pointer: &str) -> anyhow::Result<Self> {
        match self.value.pointer(pointer) {
            None => Ok(self),
            Some(got) => Err(self.differs(&format!("nothing at {pointer}"), got)),
        }
    }

    /// Fails unless there is something at a JSON pointer.
    pub(crate) fn has(self, pointer: &str) -> anyhow::Result<Self> {
        match self.at(pointer) {
            Value::Null => Err(self.differs(&format!("something at {pointer}"), "nothing there")),
            _ => Ok(self),
        }
    }

    /// Compares the message of a Status.
    pub(crate) fn says(self, message: &str) -> anyhow::Result<Self> {
        self.is("/message", message)
    }

    /// Compares a part of the message of a Status.
    pub(crate) fn mentions(self, part: &str) -> anyhow::Result<Self> {
        match self.at("/message").as_str() {
            Some(message) if message.contains(part) => Ok(self),
            _ => Err(self.differs(&format!("{part:?} in the message"), self.at("/message"))),
        }
    }

    /// Compares what a Status is about.
    pub(crate) fn about(self, group: &str, kind: &str, name: &str) -> anyhow::Result<Self> {
        let mut reply = self.is("/details/kind", kind)?;
        for (pointer, value) in [("/details/group", group), ("/details/name", name)] {
            reply = if value.is_empty() {
                reply.lacks(pointer)?
            } else {
                reply.is(pointer, value)?
            };
        }
        Ok(reply)
    }

    /// Compares the causes of a Status: reason and field of each, in order.
    pub(crate) fn causes(self, expected: &[(&str, &str)]) -> anyhow::Result<Self> {
        let part = |cause: &Value, key: &str| cause[key].as_str().unwrap_or_default().to_owned();
        let got: Vec<(String, String)> = items(self.at("/details/causes"))
            .map(|cause| (part(cause, "reason"), part(cause, "field")))
            .collect();
        let same = got.len() == expected.len()
            && got
                .iter()
                .zip(expected)
                .all(|(got, expected)| (got.0.as_str(), got.1.as_str()) == *expected);
        if same {
            Ok(self)
        } else {
            Err(self.differs(&format!("causes {expected:?}"), format!("{got:?}")))
        }
    }

    /// Compares the names of a list's items, in order.
    pub(crate) fn names(self, expected: &[&str]) -> anyhow::Result<Self> {
        let got: Vec<&str> = items(self.at("/items"))
            .map(|item| item["metadata"]["name"].as_str().unwrap_or_default())
            .collect();
        if got == expected {
            Ok(self)
        } else {
            let got = format!("{got:?}");
            Err(self.differs(&format!("the items {expected:?}"), got))
        }
    }

    /// Compares a header; parameters of a media type count.
    pub(crate) fn header(self, name: &str, expected: &str) -> anyhow::Result<Self> {
        let got = self.headers.iter().find(|(key, _)| key == name);
        match got.map(|(_, value)| value.as_str()) {
            Some(value) if value == expected => Ok(self),
            got => {
                let got = got.unwrap_or("none").to_owned();
                Err(self.differs(&format!("header {name}: {expected}"), got))
            }
        }
    }

    /// Fails with `expected` unless `fits`.
    pub(crate) fn check(self, expected: &str, fits: bool) -> anyhow::Result<Self> {
        if fits {
            Ok(self)
        } else {
            Err(self.differs(expected, "otherwise"))
        }
    }
}

/// The items of an array; none of anything else.
pub(crate) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A ConfigMap.
pub(crate) fn configmap(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// A pod that no scheduler takes, so that nothing but its case changes it.
pub(crate) fn idle_pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "app", "image": "one"}]},
    })
}

/// A Deployment of no pods.
pub(crate) fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": "one"}]},
            },
        },
    })
}

/// As much of a text as fits a report.
fn short(text: &str) -> String {
    const MOST: usize = 1500;
    let text = text.trim_end();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Whether the environment names a cluster that was there before.
pub(crate) fn on_existing_cluster() -> bool {
    std::env::var_os(kperf_control_plane::KUBECONFIG_VARIABLE).is_some_and(|path| !path.is_empty())
}
