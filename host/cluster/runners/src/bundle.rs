//! What runners are given: the plan, the profile, and components in parts. In a cluster they are files of mounted
//! ConfigMaps, locally those of a folder; either way they are checked on arrival.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kperf_cluster::parcel::{self, PART_BYTES, Parcel, ParcelError};

use crate::plan::{Plan, SCHEMA};

/// The plan's file.
pub(crate) const PLAN_FILE: &str = "group.json";
/// The profile's file, as given and as unpacked.
pub const PROFILE_FILE: &str = "profile.yaml";
/// Plan and profile go into one object.
const MAX_PROFILE_BYTES: usize = 900 << 10;

/// A component that does not come with the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// As the profile names it: a plain file name.
    pub file: String,
    /// The component.
    pub bytes: Vec<u8>,
}

/// What runners are given, packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Completed with digests.
    pub plan: Plan,
    /// YAML.
    pub profile: String,
    /// File names and parts of components.
    pub parts: Vec<(String, Vec<u8>)>,
}

/// What runners are to be given, or were given, is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It would not fit.
    #[error(
        "the load profile has {0} bytes, and {MAX_PROFILE_BYTES} fit into an object of the cluster; make it shorter"
    )]
    ProfileTooLarge(usize),
    /// A file is missing or unreadable.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The plan is none.
    #[error("{}: {reason}", .path.display())]
    Plan {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file arrived as something else.
    #[error("{file} did not arrive as it was sent: {reason}")]
    Damaged {
        /// Which.
        file: String,
        /// Why.
        reason: ParcelError,
    },
}

impl Bundle {
    /// Packs.
    ///
    /// # Errors
    /// The profile is too large.
    pub fn pack(
        plan: Plan,
        profile: String,
        components: &[Component],
    ) -> Result<Self, BundleError> {
        Self::pack_in(plan, profile, components, PART_BYTES)
    }

    pub(crate) fn pack_in(
        mut plan: Plan,
        profile: String,
        components: &[Component],
        part_bytes: usize,
    ) -> Result<Self, BundleError> {
        if profile.len() > MAX_PROFILE_BYTES {
            return Err(BundleError::ProfileTooLarge(profile.len()));
        }
        plan.profile_sha256 = parcel::sha256(profile.as_bytes());
        let mut parts = Vec::new();
        for component in components {
            let parcel = Parcel::pack_in(&component.bytes, part_bytes);
            plan.components.push(crate::plan::Shipped {
                file: component.file.clone(),
                sha256: parcel.sha256,
                bytes: parcel.bytes,
                parts: u32::try_from(parcel.parts.len()).unwrap_or(u32::MAX),
            });
            let named = parcel.parts.into_iter().enumerate();
            parts.extend(named.map(|(part, bytes)| (part_file(&component.file, part), bytes)));
        }
        Ok(Self {
            plan,
            profile,
            parts,
        })
    }

    /// Writes everything into a folder, as it would be mounted in a pod.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), BundleError> {
        write(&folder.join(PLAN_FILE), self.plan.text().as_bytes())?;
        write(&folder.join(PROFILE_FILE), self.profile.as_bytes())?;
        for (file, bytes) in &self.parts {
            write(&folder.join(file), bytes)?;
        }
        Ok(())
    }
}

fn part_file(component: &str, part: usize) -> String {
    format!("{component}.gz.{part}")
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BundleError> {
    fs::write(path, bytes).map_err(|source| BundleError::File {
        path: path.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, BundleError> {
    fs::read(path).map_err(|source| BundleError::File {
        path: path.to_owned(),
        source,
    })
}

/// Unpacks what a runner was given in `from` into `to`: the profile, and its components beside it.
///
/// # Errors
/// Something is missing, or is not what was sent.
pub fn unpack(from: &Path, to: &Path) -> Result<Plan, BundleError> {
    let path = from.join(PLAN_FILE);
    let bad = |reason: String| BundleError::Plan {
        path: path.clone(),
        reason,
    };
    let plan: Plan = serde_json::from_slice(&read(&path)?)
        .map_err(|error| bad(format!("is not the plan of a runner group: {error}")))?;
    if plan.schema != SCHEMA {
        return Err(bad(format!(
            "is of the format {:?}, and this is read here: {SCHEMA}; use the same version of kperf-host for both",
            plan.schema
        )));
    }
    let profile = read(&from.join(PROFILE_FILE))?;
    let found = parcel::sha256(&profile);
    if found != plan.profile_sha256 {
        return Err(BundleError::Damaged {
            file: PROFILE_FILE.to_owned(),
            reason: ParcelError::Digest {
                found,
                expected: plan.profile_sha256,
            },
        });
    }
    write(&to.join(PROFILE_FILE), &profile)?;
    for component in &plan.components {
        if Path::new(&component.file).file_name() != Some(component.file.as_ref()) {
            return Err(bad(format!("{:?} is no name of a file", component.file)));
        }
        let mut packed = Vec::new();
        for part in 0..component.parts as usize {
            packed.extend(read(&from.join(part_file(&component.file, part)))?);
        }
        let bytes =
            parcel::unpack(&packed, component.bytes, &component.sha256).map_err(|reason| {
                BundleError::Damaged {
                    file: component.file.clone(),
                    reason,
                }
            })?;
        write(&to.join(&component.file), &bytes)?;
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(part_bytes: usize) -> Bundle {
        let components: Vec<Component> = ["a.wasm", "b.wasm"]
            .map(|file| Component {
                file: file.to_owned(),
                bytes: (0..5000u32)
                    .flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes())
                    .chain(file.bytes())
                    .collect(),
            })
            .into();
        let plan = Plan::new("g", "r1", 3, 7);
        Bundle::pack_in(plan, "version: 1\n".to_owned(), &components, part_bytes).unwrap()
    }

    #[test]
    fn what_arrives_is_what_was_packed() {
        for (part_bytes, parts) in [(PART_BYTES, 2), (8 << 10, 6)] {
            let bundle = bundle(part_bytes);
            assert_eq!(bundle.parts.len(), parts);
            let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            bundle.write(from.path()).unwrap();
            assert_eq!(unpack(from.path(), to.path()).unwrap(), bundle.plan);
            let component = fs::read(to.path().join("b.wasm")).unwrap();
            assert!(component.ends_with(b"b.wasm") && component.len() == 20_006);
        }
    }

    #[test]
    fn damage_is_noticed() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |file: &str| from.path().join(file);
        let refused = |change: &dyn Fn()| {
            bundle(8 << 10).write(from.path()).unwrap();
            change();
            unpack(from.path(), to.path()).unwrap_err().to_string()
        };
        let message = refused(&|| fs::write(path("profile.yaml"), "version: 2").unwrap());
        assert!(message.contains("profile.yaml did not arrive"), "{message}");
        let message = refused(&|| fs::rename(path("a.wasm.gz.1"), path("b.wasm.gz.1")).unwrap());
        assert!(message.contains("a.wasm.gz.1"), "{message}");
        let message = refused(&|| {
            fs::copy(path("a.wasm.gz.2"), path("b.wasm.gz.2")).unwrap();
        });
        assert!(message.contains("b.wasm did not arrive"), "{message}");
        let message = refused(&|| {
            let text = fs::read_to_string(path(PLAN_FILE)).unwrap();
            fs::write(path(PLAN_FILE), text.replace("group/v1", "group/v2")).unwrap();
        });
        assert!(message.contains("same version"), "{message}");
        let message = refused(&|| {
            let text = fs::read_to_string(path(PLAN_FILE)).unwrap();
            fs::write(path(PLAN_FILE), text.replace("\"a.wasm\"", "\"../a.wasm\"")).unwrap();
        });
        assert!(message.contains("no name of a file"), "{message}");
    }
}
