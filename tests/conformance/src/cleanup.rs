//! What cases leave behind: nothing, or it is said.
//!
//! Guards call this when they go, so it happens however a case ends, and an error has nowhere to go but here.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::api::{Api, items};

/// For everything that was deleted to be gone.
const PATIENCE: Duration = Duration::from_secs(120);

/// What has been removed, and what could not be.
#[derive(Default)]
pub(crate) struct CleanUp(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    deleted: Vec<String>,
    failures: Vec<String>,
}

impl CleanUp {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deleted(&self, path: &str) {
        self.noted().deleted.push(path.to_owned());
    }

    fn failed(&self, what: impl Into<String>) {
        self.noted().failures.push(what.into());
    }
}

impl Api {
    /// Deletes an object that may take its time to go, such as a namespace.
    pub(crate) fn remove(&self, path: &str) {
        match self.delete(path).send() {
            Ok(reply) => match reply.status {
                // A namespace that is going already is in conflict with being told to.
                200 | 202 | 409 => self.clean_up().deleted(path),
                404 => {}
                _ => {
                    let error = reply.differs("its deletion", reply.status);
                    self.clean_up().failed(format!("{error:#}"));
                }
            },
            Err(error) => self.clean_up().failed(format!("{path}: {error:#}")),
        }
    }

    /// Takes an object's finalizers off and deletes it without the grace that its node, if there is one, would need.
    pub(crate) fn remove_now(&self, path: &str) {
        let unheld = json!({"metadata": {"finalizers": null}});
        let calls = [
            self.patch("merge", path, &unheld),
            self.delete(path).query("gracePeriodSeconds", "0"),
        ];
        for call in calls {
            match call.send() {
                Ok(reply) if matches!(reply.status, 200 | 202 | 404) => {}
                Ok(reply) => {
                    let error = reply.differs("its removal", reply.status);
                    self.clean_up().failed(format!("{error:#}"));
                }
                Err(error) => self.clean_up().failed(format!("{path}: {error:#}")),
            }
        }
    }

    /// What cases could not remove, and, where controllers run, what has not gone in time.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let Noted {
            deleted,
            mut failures,
        } = std::mem::take(&mut *self.clean_up().noted());
        if self.is_controlled() {
            let end = Instant::now() + PATIENCE;
            failures.extend(deleted.iter().filter_map(|path| self.remains(path, end)));
        }
        failures
    }

    /// Waits for an object to be gone; otherwise, why it is not.
    fn remains(&self, path: &str, end: Instant) -> Option<String> {
        loop {
            let answer = self.get(path).send();
            if answer.as_ref().is_ok_and(|reply| reply.status == 404) {
                return None;
            }
            if Instant::now() >= end {
                let why = match answer {
                    // What a namespace says that it waits for.
                    Ok(reply) => items(reply.at("/status/conditions"))
                        .filter(|condition| condition["status"] == "True")
                        .filter_map(|condition| condition["message"].as_str())
                        .collect::<Vec<_>>()
                        .join("; "),
                    Err(error) => format!("{error:#}"),
                };
                return Some(format!("{path} is still there: {why}"));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::configmap, run::simulator};

    fn fails(api: &Api, made: &mut String) -> anyhow::Result<()> {
        let ns = api.namespace("fails")?;
        let _held = ns.holds("configmaps/a");
        *made = ns.core("configmaps/a");
        let mut held = configmap("a", json!({}));
        held["metadata"]["finalizers"] = json!(["example.com/hold"]);
        api.post(ns.core("configmaps"), &held).ok(201)?;
        api.delete(ns.core("configmaps/a")).ok(200)?;
        // Held.
        api.get(ns.core("configmaps/a")).ok(200)?;
        api.get(ns.core("configmaps/b")).ok(200)?;
        Ok(())
    }

    #[test]
    fn what_a_failing_case_made_is_removed() {
        let api = simulator().unwrap();
        let mut made = String::new();
        let error = fails(&api, &mut made).unwrap_err().to_string();
        assert!(error.contains("configmaps/b"), "{error}");
        assert_eq!(api.get(made).send().unwrap().status, 404);
        assert_eq!(api.left_behind(), [""; 0]);
    }

    #[test]
    fn what_cannot_be_removed_is_told() {
        let api = simulator().unwrap();
        // No address, so no answer.
        api.remove("/a b");
        let told = api.left_behind();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("/a b: "), "{told:?}");
        assert_eq!(api.left_behind(), [""; 0]);
    }

    #[test]
    fn what_does_not_go_is_told() {
        let api = simulator().unwrap();
        let why = api.remains("/api/v1/namespaces/default", Instant::now());
        assert!(why.unwrap().contains("is still there"));
        let why = api.remains("/api/v1/namespaces/none", Instant::now());
        assert_eq!(why, None);
    }
}
