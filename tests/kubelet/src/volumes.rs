//! The files of a pod: each volume is a folder.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kperf_control_plane::Client;
use serde_json::{Value, json};

use crate::{api, environment::field, paths::Mounts};

const DEFAULT_MODE: u32 = 0o644;

/// Where a pod's volumes are, by name.
pub(crate) type Volumes = BTreeMap<String, PathBuf>;

/// Makes all volumes of a pod in a folder; what is there already is written again.
///
/// # Errors
/// Something that they are made of is not there (yet), or a kind of volume that is not played here.
pub(crate) fn make(client: &Client, pod: &Value, folder: &Path) -> anyhow::Result<Volumes> {
    let mut volumes = Volumes::new();
    for volume in api::list(&pod["spec"]["volumes"]) {
        let name = api::text(&volume["name"]);
        let place = folder.join(name);
        fs::create_dir_all(&place)?;
        fill(client, pod, volume, &place).with_context(|| format!("volume {name:?}"))?;
        volumes.insert(name.to_owned(), place);
    }
    Ok(volumes)
}

/// The mounts of a container.
///
/// # Errors
/// A volume that the pod does not have.
pub(crate) fn mounts(container: &Value, volumes: &Volumes) -> anyhow::Result<Mounts> {
    let mounts = api::list(&container["volumeMounts"]).iter().map(|mount| {
        let name = api::text(&mount["name"]);
        let volume = volumes
            .get(name)
            .with_context(|| format!("there is no volume {name:?}"))?;
        let place = inside(volume, api::text(&mount["subPath"]))?;
        let path = api::text(&mount["mountPath"]).trim_end_matches('/');
        Ok((path.to_owned(), place))
    });
    Ok(Mounts::new(mounts.collect::<anyhow::Result<_>>()?))
}

fn fill(client: &Client, pod: &Value, volume: &Value, place: &Path) -> anyhow::Result<()> {
    if volume["emptyDir"].is_object() {
        return Ok(());
    }
    if volume["projected"].is_object() {
        let mode = mode(&volume["projected"]["defaultMode"]);
        return api::list(&volume["projected"]["sources"])
            .iter()
            .try_for_each(|source| project(client, pod, source, mode, place));
    }
    for kind in ["configMap", "secret", "downwardAPI"] {
        if volume[kind].is_object() {
            let mode = mode(&volume[kind]["defaultMode"]);
            return project(client, pod, &json!({kind: volume[kind]}), mode, place);
        }
    }
    bail!("only configMap, secret, emptyDir, downwardAPI and projected are played here");
}

fn mode(value: &Value) -> u32 {
    value
        .as_u64()
        .and_then(|mode| u32::try_from(mode).ok())
        .unwrap_or(DEFAULT_MODE)
}

/// One source of a projected volume, or one that is the whole volume.
fn project(
    client: &Client,
    pod: &Value,
    source: &Value,
    mode: u32,
    place: &Path,
) -> anyhow::Result<()> {
    let namespace = api::text(&pod["metadata"]["namespace"]);
    for (kind, resource) in [("configMap", "configmaps"), ("secret", "secrets")] {
        let source = &source[kind];
        if source.is_object() {
            // A volume says secretName, a projection says name.
            let name = source["name"].as_str().or(source["secretName"].as_str());
            let optional = source["optional"] == true;
            let name = name.context("a name is missing")?;
            let data = data(client, namespace, resource, name, optional)?;
            return keys(&data, source, mode, place);
        }
    }
    let token = &source["serviceAccountToken"];
    if token.is_object() {
        let path = inside(place, api::text(&token["path"]))?;
        let seconds = token["expirationSeconds"].as_u64().unwrap_or(3600);
        return write(
            &path,
            request_token(client, pod, &token["audience"], seconds)?.as_bytes(),
            0o600,
        );
    }
    if source["downwardAPI"].is_object() {
        for item in api::list(&source["downwardAPI"]["items"]) {
            let path = inside(place, api::text(&item["path"]))?;
            let value = field(pod, api::text(&item["fieldRef"]["fieldPath"]))?;
            write(&path, value.as_bytes(), mode)?;
        }
        return Ok(());
    }
    bail!("an unknown source: {source}");
}

/// The keys of a ConfigMap or Secret, or those that `items` selects, as files.
fn keys(data: &Data, source: &Value, mode: u32, place: &Path) -> anyhow::Result<()> {
    if source["items"].is_array() {
        for item in api::list(&source["items"]) {
            let key = api::text(&item["key"]);
            let bytes = data
                .get(key)
                .with_context(|| format!("there is no key {key:?}"))?;
            let mode = item["mode"]
                .as_u64()
                .and_then(|mode| u32::try_from(mode).ok())
                .unwrap_or(mode);
            write(&inside(place, api::text(&item["path"]))?, bytes, mode)?;
        }
        return Ok(());
    }
    for (key, bytes) in data {
        write(&inside(place, key)?, bytes, mode)?;
    }
    Ok(())
}

/// What a ConfigMap or Secret holds.
pub(crate) type Data = BTreeMap<String, Vec<u8>>;

/// Reads a ConfigMap or Secret; one that is not there is empty if it is `optional`.
pub(crate) fn data(
    client: &Client,
    namespace: &str,
    resource: &str,
    name: &str,
    optional: bool,
) -> anyhow::Result<Data> {
    let answer = client.get(&format!("/api/v1/namespaces/{namespace}/{resource}/{name}"))?;
    if answer.status == 404 {
        ensure!(optional, "{resource} {name:?} not found");
        return Ok(Data::new());
    }
    let object = answer.success()?.json();
    let entries = |key: &str| object[key].as_object().cloned().unwrap_or_default();
    let mut data = Data::new();
    for (key, value) in entries("data") {
        let text = api::text(&value);
        let bytes = if resource == "secrets" {
            STANDARD.decode(text)?
        } else {
            text.as_bytes().to_vec()
        };
        data.insert(key, bytes);
    }
    for (key, value) in entries("binaryData") {
        data.insert(key, STANDARD.decode(api::text(&value))?);
    }
    Ok(data)
}

fn request_token(
    client: &Client,
    pod: &Value,
    audience: &Value,
    seconds: u64,
) -> anyhow::Result<String> {
    let metadata = &pod["metadata"];
    let namespace = api::text(&metadata["namespace"]);
    let account = api::text(&pod["spec"]["serviceAccountName"]);
    let mut request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "expirationSeconds": seconds,
            "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod",
                "name": metadata["name"], "uid": metadata["uid"],
            },
        },
    });
    if audience.is_string() {
        request["spec"]["audiences"] = json!([audience]);
    }
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let answer = client.post(&path, &request)?.success()?.json();
    let token = answer["status"]["token"].as_str();
    Ok(token.context("an answer without a token")?.to_owned())
}

/// A path in a volume, which must not lead out of it.
fn inside(place: &Path, path: &str) -> anyhow::Result<PathBuf> {
    let stays = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    ensure!(stays, "{path:?} leads out of its volume");
    // Joined with nothing, it would end in a slash.
    Ok(if path.is_empty() {
        place.to_owned()
    } else {
        place.join(path)
    })
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Not readable by others at any time.
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| path.display().to_string())?;
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_their_volume() {
        let place = Path::new("/volumes/a");
        assert_eq!(inside(place, "x/y").unwrap(), Path::new("/volumes/a/x/y"));
        assert_eq!(inside(place, "").unwrap().as_os_str(), "/volumes/a");
        for path in ["..", "x/../../y", "/etc"] {
            inside(place, path).expect_err(path);
        }
    }
}
