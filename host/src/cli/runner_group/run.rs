//! `rg run`: groups checked, made, and waited for if asked.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use kperf_load::Stop;
use kperf_runners::check_rights;

use super::{
    Connected, RunArgs,
    results::{self, Waited},
    runtime,
};
use crate::{
    cli::run::limits,
    exit::{Exit, Failed, OrExit as _},
    live::Live,
    plugins::Plugins,
    runner_group::{
        Group, GroupOptions, LocalTarget, Running, SpecUri, prepare, start_in_cluster,
        start_locally,
    },
    server_side::Observer,
    signals,
};

/// Runs the command.
///
/// # Errors
/// Bad input, a plugin, image or target that cannot be used.
pub(super) fn start(args: &RunArgs, live: &Live) -> Result<Exit, Failed> {
    let look = args.server.when()?;
    if look.asked() && !args.wait && args.local.is_none() {
        return Err(Failed {
            exit: Exit::Usage,
            error: anyhow!(
                "nobody is there to ask the server once the runners are over; add --wait to --server-metrics"
            ),
        });
    }
    let uris = args
        .groups
        .iter()
        .map(|text| text.parse::<SpecUri>().map_err(anyhow::Error::from))
        .collect::<anyhow::Result<Vec<_>>>()
        .or_exit(Exit::Usage)?;
    let affinity = args
        .affinity
        .iter()
        .map(|text| affinity(text))
        .collect::<anyhow::Result<Vec<_>>>()
        .or_exit(Exit::Usage)?;
    let mut plugins = Plugins::new(limits(256)).or_exit(Exit::Failure)?;
    // Checked before anything runs.
    results::check_outputs(&args.output, uris.len(), &mut plugins)?;
    let needs_cluster = args.local.is_none()
        || uris
            .iter()
            .any(|uri| matches!(uri, SpecUri::ConfigMap { .. }));
    let connected = if needs_cluster {
        Some(Connected::new(&args.place.target)?)
    } else {
        None
    };
    let reading = runtime()?;
    let cluster = connected.as_ref().map(|connected| &connected.cluster);
    let mut groups: Vec<Group> = Vec::with_capacity(uris.len());
    for uri in &uris {
        let file = match &connected {
            Some(connected) => connected.runtime.block_on(uri.read(cluster, args.lenient)),
            None => reading.block_on(uri.read(None, args.lenient)),
        };
        let options = GroupOptions {
            affinity: affinity.clone(),
            grants: args.grants.clone(),
            flow: args.runner_flowcontrol.clone(),
            image: args.runner_image.clone(),
            verbosity: args.runner_verbosity,
            raw_data: args.output.raw_data,
            ready_timeout: args.ready_timeout,
            seed: args.seed,
            count: args.local,
            take_sampled: false,
            locally: args.local.is_some(),
        };
        let group = prepare(
            file.or_exit(Exit::Usage)?,
            &uri.default_name(),
            options,
            &mut plugins,
        )?;
        for warning in &group.warnings {
            live.say(&format!("warning: {warning}"));
        }
        if groups.iter().any(|other| other.name == group.name) {
            return Err(Failed {
                exit: Exit::Usage,
                error: anyhow!(
                    "two runner groups are called {}; give one of them another `name` in its file",
                    group.name
                ),
            });
        }
        groups.push(group);
    }
    let stop = Stop::new();
    match (args.local, connected) {
        (Some(_), _) => {
            let target = LocalTarget::new(&args.place.target)?;
            signals::install(&stop);
            let mut observer = target.observe(look)?;
            if let Some(observer) = &mut observer {
                observer.ready();
            }
            let mut running = Vec::with_capacity(groups.len());
            for group in &groups {
                running.push((group.name.clone(), start_locally(group, &target)?));
            }
            let waited = Waited {
                running,
                within: within(args),
                observer,
            };
            results::wait(waited, &args.output, plugins, &reading, &stop, live)
        }
        (None, Some(connected)) => in_cluster(args, &groups, &connected, plugins, &stop, live),
        // A cluster is always there when it is not local.
        (None, None) => Ok(Exit::Failure),
    }
}

fn in_cluster(
    args: &RunArgs,
    groups: &[Group],
    connected: &Connected,
    plugins: Plugins,
    stop: &Stop,
    live: &Live,
) -> Result<Exit, Failed> {
    let namespace = &args.place.namespace;
    let Connected {
        runtime,
        cluster,
        target,
    } = connected;
    // Everything that can be wrong with any of them, before the first is made.
    for group in groups {
        group.in_namespace(namespace)?;
    }
    let everywhere = groups
        .iter()
        .flat_map(|group| &group.grants)
        .any(|grant| grant.namespace().is_none());
    runtime
        .block_on(check_rights(cluster, namespace, everywhere))
        .or_exit(Exit::Target)?;
    signals::install(stop);
    let mut observer = if args.wait {
        Observer::begin(target, false, args.server.when()?)
    } else {
        None
    };
    if let Some(observer) = &mut observer {
        observer.ready();
    }
    let started: Vec<Result<Running, Failed>> = runtime.block_on(async {
        let mut starting = tokio::task::JoinSet::new();
        for (number, group) in groups.iter().enumerate() {
            let (group, cluster) = (group.clone(), cluster.clone());
            let (namespace, stop) = (namespace.clone(), stop.clone());
            starting.spawn(async move {
                let started = start_in_cluster(&group, &cluster, &namespace, &stop).await;
                (number, started)
            });
        }
        let mut started = starting.join_all().await;
        started.sort_by_key(|(number, _)| *number);
        started.into_iter().map(|(_, started)| started).collect()
    });
    let mut running = Vec::new();
    let mut failure = None;
    for (group, started) in groups.iter().zip(started) {
        match started {
            Ok(started) => {
                live.say(&format!(
                    "runner group {} is made in {namespace}: {} runners, run {}",
                    group.name,
                    group.bundle.plan.count,
                    group.run()
                ));
                running.push((group.name.clone(), started));
            }
            Err(failed) => {
                live.say(&format!("runner group {}: {failed}", group.name));
                failure.get_or_insert(failed);
            }
        }
    }
    if let Some(failed) = failure {
        return Err(Failed {
            exit: failed.exit,
            error: anyhow!(
                "{} of {} runner groups could not be made; the others run",
                groups.len() - running.len(),
                groups.len()
            ),
        });
    }
    if !args.wait {
        return Ok(Exit::Success);
    }
    let waited = Waited {
        running,
        within: within(args),
        observer,
    };
    results::wait(waited, &args.output, plugins, runtime, stop, live)
}

fn within(args: &RunArgs) -> Option<Duration> {
    Some(args.timeout).filter(|timeout| !timeout.is_zero())
}

/// `KEY=VALUE[,VALUE]`.
fn affinity(text: &str) -> anyhow::Result<(String, Vec<String>)> {
    let (key, values) = text
        .split_once('=')
        .filter(|(key, values)| !key.is_empty() && !values.is_empty())
        .with_context(|| format!("--affinity {text}: not KEY=VALUE[,VALUE]"))?;
    Ok((
        key.to_owned(),
        values.split(',').map(str::to_owned).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinities_are_kperfs() {
        assert_eq!(
            affinity("pool=a,b").unwrap(),
            ("pool".to_owned(), vec!["a".to_owned(), "b".to_owned()])
        );
        for bad in ["pool", "=a", "pool="] {
            affinity(bad).unwrap_err();
        }
    }
}
