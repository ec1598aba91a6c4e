//! Pods of the cluster, as they come, change and go.

use std::{
    io::{BufRead as _, BufReader},
    sync::{Arc, atomic::Ordering, mpsc::Sender},
    thread,
    time::Duration,
};

use anyhow::bail;
use serde_json::Value;

use crate::{api, kubelet::Shared};

/// How long a watch lasts before it is begun anew, and thus how long its thread may outlive the kubelet.
const WATCH_SECONDS: u64 = 2;

/// What has happened to pods.
#[derive(Debug)]
pub(crate) enum Event {
    /// All there are: those not among them are gone.
    Listed(Vec<Value>),
    /// New or changed.
    Changed(Value),
    /// No longer there.
    Gone(Value),
    /// Not of the API: the test wants the containers of this pod to die, by namespace and name.
    Crash((String, String)),
}

/// Sends events until nobody wants them any more.
pub(crate) fn follow(shared: &Arc<Shared>, events: &Sender<Event>) {
    while !shared.is_stopped() {
        // A server that is away, or a revision that is too old: begin again.
        if let Err(why) = list_and_watch(shared, events) {
            if shared.is_stopped() {
                return;
            }
            eprintln!("kubelet: watching pods: {why:#}");
            thread::sleep(Duration::from_millis(300));
        }
    }
}

fn list_and_watch(shared: &Shared, events: &Sender<Event>) -> anyhow::Result<()> {
    let pods = shared.client.get("/api/v1/pods")?.success()?.json();
    let mut revision = api::text(&pods["metadata"]["resourceVersion"]).to_owned();
    events.send(Event::Listed(api::list(&pods["items"]).to_vec()))?;
    while !shared.stop.load(Ordering::Relaxed) {
        let path = format!(
            "/api/v1/pods?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={revision}"
        );
        let limit = Duration::from_secs(WATCH_SECONDS + 10);
        let opened = shared.client.open("GET", &path, &[], None, limit)?;
        if opened.status != 200 {
            bail!("status {}", opened.status);
        }
        for line in BufReader::new(opened.body).lines() {
            let mut event: Value = serde_json::from_str(&line?)?;
            let object = event["object"].take();
            let kind = api::text(&event["type"]);
            if kind == "ERROR" {
                bail!("{object}");
            }
            revision = api::text(&object["metadata"]["resourceVersion"]).to_owned();
            match kind {
                "ADDED" | "MODIFIED" => events.send(Event::Changed(object))?,
                "DELETED" => events.send(Event::Gone(object))?,
                _ => {}
            }
        }
    }
    Ok(())
}
