//! What all pools share and no pool owns: the namespace and the priority level. Whoever comes first makes them, whoever
//! goes last removes them, and what was there before, kperf's for example, is neither changed nor removed.

use serde_json::{Value, json};

use super::{
    error::PoolError,
    names::{NAMESPACE, OWNER, OWNER_LABEL, PRIORITY_LEVEL, is_unserved},
};
use crate::{
    api::{ApiFailure, Code, DeleteOptions, Scope},
    session::Session,
};

const FLOW_CONTROL: &str = "flowcontrol.apiserver.k8s.io/v1";

fn namespace() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {OWNER_LABEL: OWNER}},
    })
}

fn priority_level() -> Value {
    json!({
        "apiVersion": FLOW_CONTROL,
        "kind": "PriorityLevelConfiguration",
        "metadata": {"name": PRIORITY_LEVEL, "labels": {OWNER_LABEL: OWNER}},
        "spec": {
            "type": "Limited",
            "limited": {
                "lendablePercent": 30,
                "limitResponse": {
                    "type": "Queue", "queuing": {"queues": 64, "handSize": 6, "queueLengthLimit": 50},
                },
            },
        },
    })
}

/// Makes what is not there.
pub(super) async fn ensure(session: &Session) -> Result<(), PoolError> {
    for object in [namespace(), priority_level()] {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let api_version = object["apiVersion"].as_str().unwrap_or_default();
        let what = || format!("{kind} {name}");
        match session.get(api_version, &kind, "", name).await {
            Ok(there) if there["metadata"]["labels"][OWNER_LABEL] != OWNER => {}
            Ok(_) => {
                // Ours, perhaps of an earlier version.
                session
                    .apply(&object.to_string())
                    .await
                    .map_err(PoolError::api(what()))?;
            }
            Err(failure) if failure.code == Code::NotFound => {
                session
                    .apply(&object.to_string())
                    .await
                    .map_err(PoolError::api(what()))?;
            }
            // An API server without priority and fairness works as well.
            Err(failure) if is_unserved(&failure) => {
                tracing::debug!(%failure, "no priority level for the controllers");
            }
            Err(failure) => return Err(PoolError::api(what())(failure)),
        }
    }
    Ok(())
}

/// Whether the namespace is going away, so that nothing can be made in it.
pub(super) async fn is_terminating(session: &Session) -> Result<bool, ApiFailure> {
    match session.get("v1", "Namespace", "", NAMESPACE).await {
        Ok(namespace) => Ok(!namespace["metadata"]["deletionTimestamp"].is_null()),
        Err(failure) if failure.code == Code::NotFound => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Removes what was made here and what nobody uses any more.
pub(super) async fn release(session: &Session) -> Result<(), PoolError> {
    let what = "what the pools shared";
    if is_namespace_unused(session)
        .await
        .map_err(PoolError::api(what))?
    {
        remove(session, "v1", "Namespace", NAMESPACE)
            .await
            .map_err(PoolError::api(what))?;
    }
    match is_level_unused(session).await {
        Ok(true) => remove(
            session,
            FLOW_CONTROL,
            "PriorityLevelConfiguration",
            PRIORITY_LEVEL,
        )
        .await
        .map_err(PoolError::api(what)),
        Ok(false) => Ok(()),
        Err(failure) if is_unserved(&failure) => Ok(()),
        Err(failure) => Err(PoolError::api(what)(failure)),
    }
}

async fn remove(
    session: &Session,
    api_version: &str,
    kind: &str,
    name: &str,
) -> Result<(), ApiFailure> {
    let resource = session.resource(api_version, kind).await?;
    let options = DeleteOptions::default();
    let cluster = session.cluster();
    match session
        .read(|| cluster.delete(&resource, "", name, &options))
        .await
    {
        Err(failure) if failure.code != Code::NotFound => Err(failure),
        _ => Ok(()),
    }
}

/// The namespace is ours, and there is nothing in it but what every namespace has.
async fn is_namespace_unused(session: &Session) -> Result<bool, ApiFailure> {
    match session.get("v1", "Namespace", "", NAMESPACE).await {
        Ok(there) if is_ours(&there) && there["metadata"]["deletionTimestamp"].is_null() => {}
        Ok(_) => return Ok(false),
        Err(failure) if failure.code == Code::NotFound => return Ok(false),
        Err(failure) => return Err(failure),
    }
    let here = Scope {
        namespace: NAMESPACE.to_owned(),
        ..Scope::default()
    };
    for (api_version, kind, of_every_namespace) in [
        ("apps/v1", "StatefulSet", ""),
        ("apps/v1", "Deployment", ""),
        ("batch/v1", "Job", ""),
        ("v1", "ConfigMap", "kube-root-ca.crt"),
        // Of helm, with which kperf keeps its pools.
        ("v1", "Secret", ""),
        ("v1", "ServiceAccount", "default"),
    ] {
        let objects = match session.list(api_version, kind, &here).await {
            Err(failure) if failure.code == Code::TooLarge => return Ok(false),
            objects => objects?,
        };
        if objects
            .iter()
            .any(|object| object["metadata"]["name"] != of_every_namespace)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The level is ours, and no schema leads to it.
async fn is_level_unused(session: &Session) -> Result<bool, ApiFailure> {
    let level = session
        .get(
            FLOW_CONTROL,
            "PriorityLevelConfiguration",
            "",
            PRIORITY_LEVEL,
        )
        .await;
    match level {
        Ok(there) if is_ours(&there) => {}
        Ok(_) => return Ok(false),
        Err(failure) if failure.code == Code::NotFound => return Ok(false),
        Err(failure) => return Err(failure),
    }
    let schemas = session
        .list(FLOW_CONTROL, "FlowSchema", &Scope::default())
        .await?;
    Ok(schemas
        .iter()
        .all(|schema| schema["spec"]["priorityLevelConfiguration"]["name"] != PRIORITY_LEVEL))
}

fn is_ours(object: &Value) -> bool {
    object["metadata"]["labels"][OWNER_LABEL] == OWNER
}
