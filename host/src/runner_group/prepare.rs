//! From a spec file to a group that can be started: profile and plugins checked, components packed, rights derived. Needs
//! no cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, anyhow};
use kperf_cluster::{RunId, grant::Grant};
use kperf_runners::{Bundle, Component, FlowControl, GroupSpec, Plan};

use super::needs;
use crate::{
    exit::{Exit, Failed, OrExit as _},
    plugins::{self, Plugins},
    profile::{GroupFile, Overrides, Resolved},
    run,
    specs::specs,
    threshold::ThresholdSpec,
};

/// Parts of 700 KiB for a report: of histograms, and of every exchange.
const REPORT_PARTS: (u32, u32) = (1, 16);
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// What is asked of a group besides its file.
#[derive(Clone, Debug, Default)]
pub struct GroupOptions {
    /// In place of the file's, if there is any.
    pub affinity: Vec<(String, Vec<String>)>,
    /// On top of the file's.
    pub grants: Vec<Grant>,
    /// Priority of the requests.
    pub flow: FlowControl,
    /// In place of the file's; needed in a cluster.
    pub image: Option<String>,
    /// kperf's `-v` of the runners.
    pub verbosity: u32,
    /// Keep every exchange.
    pub raw_data: bool,
    /// In place of the file's; a minute unless told.
    pub ready_timeout: Option<Duration>,
    /// Seed below 2^53; none = drawn.
    pub seed: Option<u64>,
    /// Runners in place of the file's.
    pub count: Option<u32>,
    /// What a sample of a stranger's requests needs is taken as granted: the caller judges [`Group::grants`].
    pub take_sampled: bool,
    /// Requests go with whatever credentials the user has, and no rights are derived.
    pub locally: bool,
}

/// A group that can be started.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// What its runners are given.
    pub bundle: Bundle,
    /// What their requests need.
    pub grants: Vec<Grant>,
    /// What the user should know, though it is no error.
    pub warnings: Vec<String>,
    run: RunId,
    file: GroupFile,
    options: GroupOptions,
}

/// Checks a spec file, and packs what its runners need.
///
/// # Errors
/// What is wrong with the profile, a plugin or a grant, with its line; a missing grant with how to give it.
pub fn prepare(
    file: GroupFile,
    default_name: &str,
    options: GroupOptions,
    plugins: &mut Plugins,
) -> Result<Group, Failed> {
    let name = file.name.clone().unwrap_or_else(|| default_name.to_owned());
    let mut resolved = file
        .profile
        .resolve(&Overrides::default())
        .or_exit(Exit::Usage)?;
    let warnings = file.warnings.iter().chain(&resolved.warnings);
    let mut warnings: Vec<String> = warnings.map(ToString::to_string).collect();
    for text in &file.profile.thresholds {
        ThresholdSpec::parse(text)
            .with_context(|| format!("{}: {text}", file.profile.place("thresholds")))
            .or_exit(Exit::Usage)?;
    }
    let loads = specs(&file.profile, &resolved, plugins)?;

    let grants = if options.locally {
        Vec::new()
    } else {
        grants(&file, &options, &loads, &mut warnings)?
    };
    let components = components(&mut resolved, plugins)?;
    let mut profile = file.profile.clone();
    // They are for the whole, not for each runner.
    profile.thresholds.clear();
    let profile = profile
        .to_yaml(&resolved)
        .context("cannot write the load profile for the runners")
        .or_exit(Exit::Failure)?;

    let seed = options.seed.unwrap_or_else(run::drawn_seed);
    let run: RunId = run::run_id(SystemTime::now(), seed)
        .parse()
        .or_exit(Exit::Failure)?;
    let count = options.count.unwrap_or(file.count);
    let mut plan = Plan::new(&name, run.as_str(), count, seed);
    plan.description.clone_from(&resolved.description);
    plan.thresholds.clone_from(&file.profile.thresholds);
    plan.raw_data = options.raw_data;
    plan.report_parts = file.report_parts.unwrap_or(if options.raw_data {
        REPORT_PARTS.1
    } else {
        REPORT_PARTS.0
    });
    let ready_timeout = options
        .ready_timeout
        .or(file.ready_timeout)
        .unwrap_or(READY_TIMEOUT);
    plan.ready_timeout_ms = u64::try_from(ready_timeout.as_millis()).unwrap_or(u64::MAX);
    Ok(Group {
        name,
        bundle: Bundle::pack(plan, profile, &components).or_exit(Exit::Usage)?,
        grants,
        warnings,
        run,
        file,
        options,
    })
}

/// Each component that does not come with the program, once; the profile then names it beside itself.
fn components(resolved: &mut Resolved, plugins: &mut Plugins) -> Result<Vec<Component>, Failed> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut components: Vec<Component> = Vec::new();
    for entry in resolved.specs.iter().flat_map(|spec| &spec.entries) {
        let name = entry.plugin.name();
        let found = plugins::find(&name).or_exit(Exit::Plugin)?;
        if found.bundled || files.contains_key(&name) {
            continue;
        }
        let plugin = plugins.load(&name).or_exit(Exit::Plugin)?;
        let digest = plugin.sha256();
        let file = format!(
            "{}-{}.wasm",
            plain(&plugin.info().name),
            digest.get(..12).unwrap_or(digest)
        );
        if components.iter().all(|known| known.file != file) {
            components.push(Component {
                file: file.clone(),
                bytes: found.bytes.into_owned(),
            });
        }
        files.insert(name, file);
    }
    resolved.rename_plugins(|entry| {
        let file = files.get(&entry.plugin.name())?;
        Some(format!("./{file}"))
    });
    Ok(components)
}

/// As a key of a ConfigMap.
fn plain(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .take(60)
        .collect()
}

/// What the runners' account is to be allowed.
fn grants(
    file: &GroupFile,
    options: &GroupOptions,
    loads: &[crate::load::Spec],
    warnings: &mut Vec<String>,
) -> Result<Vec<Grant>, Failed> {
    let mut given: Vec<Grant> = file
        .grants
        .iter()
        .map(|text| text.parse().with_context(|| file.place("grants")))
        .collect::<anyhow::Result<_>>()
        .or_exit(Exit::Usage)?;
    given.extend(options.grants.iter().cloned());
    // The rights of somebody else's account are somebody else's business.
    if file.service_account.is_some() {
        return Ok(given);
    }
    let mut others = Vec::new();
    let mut derived: BTreeSet<Grant> = BTreeSet::new();
    for entry in loads.iter().flat_map(|load| &load.entries) {
        let name = &entry.plugin.info().name;
        // One that is called like a bundled one is another all the same.
        let is_bundled = kperf_plugins::find(name).is_some_and(|bundled| {
            kperf_cluster::parcel::sha256(bundled.wasm) == entry.plugin.sha256()
        });
        match needs::of_kperf(name, &entry.config).filter(|_| is_bundled) {
            Some(grant) => {
                derived.insert(
                    grant
                        .with_context(|| entry.place.clone())
                        .or_exit(Exit::Usage)?,
                );
            }
            None => others.push(entry),
        }
    }
    given.extend(derived);
    given.sort();
    given.dedup();
    let mut missing = BTreeSet::new();
    let mut places = Vec::new();
    for entry in others {
        let of_entry = needs::missing(entry, &given).or_exit(Exit::Plugin)?;
        if options.take_sampled {
            if let Some(other) = of_entry.others.first() {
                return Err(Failed {
                    exit: Exit::Usage,
                    error: anyhow!("{}: asks for {other}, which no grant can name", entry.place),
                });
            }
            for text in &of_entry.grants {
                given.push(
                    text.parse()
                        .with_context(|| entry.place.clone())
                        .or_exit(Exit::Usage)?,
                );
            }
            continue;
        }
        if let Some(other) = of_entry.others.first() {
            warnings.push(format!(
                "{}: asks for {other}, which the runners' account is not allowed to do and no grant can name",
                entry.place
            ));
        }
        if !of_entry.grants.is_empty() {
            places.push(entry.place.clone());
            missing.extend(of_entry.grants);
        }
    }
    if missing.is_empty() {
        return Ok(given);
    }
    let flags: Vec<String> = missing
        .iter()
        .map(|grant| format!("--grant '{grant}'"))
        .collect();
    Err(Failed {
        exit: Exit::Usage,
        error: anyhow!(
            "{}: the runners' account may not do what its requests ask for; add {} (or `grants` in the group's file)",
            places.join(", "),
            flags.join(" ")
        ),
    })
}

impl Group {
    /// Id of its run, which is the label of all its objects.
    #[must_use]
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// kperf's `-v` of its runners.
    pub(super) fn verbosity(&self) -> u32 {
        self.options.verbosity
    }

    /// The group as it is made in a cluster.
    ///
    /// # Errors
    /// There is no image, or settings that do not go together.
    pub fn in_namespace(&self, namespace: &str) -> Result<GroupSpec, Failed> {
        let (file, options) = (&self.file, &self.options);
        let image = options.image.clone().or_else(|| file.image.clone());
        let spec = GroupSpec {
            name: self.name.clone(),
            namespace: namespace.to_owned(),
            run: self.run.clone(),
            image: image
                .with_context(|| {
                    format!(
                        "runner group {}: there is no image for its pods; give --runner-image, or `image` in its file",
                        self.name
                    )
                })
                .or_exit(Exit::Usage)?,
            image_pull_policy: file.image_pull_policy.clone(),
            bundle: self.bundle.clone(),
            grants: self.grants.clone(),
            service_account: file.service_account.clone(),
            owner: file
                .owner
                .as_deref()
                .map(|text| {
                    text.parse()
                        .map_err(|error| anyhow!("{}: {error}", file.place("ownerReference")))
                })
                .transpose()
                .or_exit(Exit::Usage)?,
            affinity: if options.affinity.is_empty() {
                file.affinity.clone()
            } else {
                options.affinity.clone()
            },
            tolerations: file.tolerations.clone(),
            resources: file.resources.clone(),
            labels: file.labels.clone(),
            flow: options.flow.clone(),
            verbosity: options.verbosity,
        };
        spec.check().or_exit(Exit::Usage)?;
        Ok(spec)
    }
}
