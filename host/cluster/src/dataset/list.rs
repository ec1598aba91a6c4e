//! What sets there are.

use std::collections::{BTreeMap, HashSet};

use kperf_load::Stop;
use serde::Serialize;

use super::{
    DataKind, check_namespace,
    object::payload_bytes,
    work::{DataError, each_member},
};
use crate::{
    api::{Cluster, Code},
    session::Session,
};

/// A set as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSet {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub namespace: String,
    /// Bytes of payload of its first object.
    pub size: u64,
    /// Objects of one group, as far as labels tell.
    pub group_size: u64,
    /// Objects.
    pub total: u64,
}

#[derive(Default)]
struct Counted {
    indices: HashSet<u64>,
    /// Smallest start of a group but the first.
    second_group: Option<u64>,
    first: Option<(u64, String)>,
}

/// Sets of a kind in a namespace, by name; `names` empty = all of them.
///
/// # Errors
/// See [`DataError`].
pub async fn list(
    cluster: &Cluster,
    kind: DataKind,
    namespace: &str,
    names: &[String],
    stop: &Stop,
) -> Result<Vec<DataSet>, DataError> {
    check_namespace(namespace)?;
    let session = Session::upkeep(cluster.clone(), stop.clone());
    let what = format!("listing {}", kind.plural());
    let mut sets: BTreeMap<String, Counted> = BTreeMap::new();
    each_member(&session, kind, namespace, |set, index, metadata| {
        if !names.is_empty() && !names.iter().any(|name| name == set) {
            return;
        }
        let counted = sets.entry(set.to_owned()).or_default();
        counted.indices.insert(index);
        let owner = metadata["labels"]["ownerID"].as_str();
        if let Some(start) = owner
            .and_then(|text| text.parse().ok())
            .filter(|start| *start > 0)
        {
            counted.second_group = Some(counted.second_group.map_or(start, |s| s.min(start)));
        }
        if counted
            .first
            .as_ref()
            .is_none_or(|(first, _)| index < *first)
        {
            let name = metadata["name"].as_str().unwrap_or_default();
            counted.first = Some((index, name.to_owned()));
        }
    })
    .await
    .map_err(DataError::api(&what))?;
    let mut found = Vec::with_capacity(sets.len());
    for (name, counted) in sets {
        let total = counted.indices.len() as u64;
        let first = counted.first.map(|(_, name)| name).unwrap_or_default();
        let size = match session
            .get(kind.api_version(), kind.kind(), namespace, &first)
            .await
        {
            Ok(object) => payload_bytes(kind, &object),
            // It went since.
            Err(failure) if failure.code == Code::NotFound => 0,
            Err(failure) => return Err(DataError::api(&what)(failure)),
        };
        found.push(DataSet {
            name,
            namespace: namespace.to_owned(),
            size,
            group_size: counted.second_group.unwrap_or(total),
            total,
        });
    }
    Ok(found)
}
