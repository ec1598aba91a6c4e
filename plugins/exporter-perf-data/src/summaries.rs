//! Which summaries a report has.
//!
//! Enters: the typed report. Leaves: summaries with their names. A distribution that carries the label `measurement`
//! was taken as ClusterLoader2's measurement of that identifier and goes into a summary of ClusterLoader2's name;
//! everything else goes into one summary named after the benchmark.

use std::collections::BTreeMap;

use kperf_sdk::{
    Failure,
    failure::{Label, find_label},
};

use crate::{
    perf_data::{DataItem, PerfData},
    wit,
};

/// One summary to write.
pub(crate) struct Named {
    /// As ClusterLoader2's `SummaryName`.
    pub(crate) name: String,
    /// Name of the test, for the file's name.
    pub(crate) test: String,
    pub(crate) data: PerfData,
}

/// ClusterLoader2 writes the items of a summary in random order; this one is that of the runs it was compared with.
const ITEM_ORDER: [&str; 5] = [
    "run_to_watch",
    "schedule_to_watch",
    "pod_startup",
    "create_to_schedule",
    "schedule_to_run",
];

/// The summaries of a report, ClusterLoader2's first, in the order they were measured.
///
/// # Errors
/// `invalid-report` when a distribution lacks its quantiles.
pub(crate) fn of(whole: &wit::Summary) -> Result<Vec<Named>, Failure> {
    let (measurements, others): (Vec<_>, Vec<_>) = whole
        .distributions
        .iter()
        .partition(|one| one.label("measurement").is_some());
    let mut named: Vec<Named> = Vec::new();
    for group in by_measurement(measurements) {
        named.extend(measurement(whole, group)?);
    }
    let items = if whole.distributions.is_empty() {
        series_items(&whole.series)?
    } else {
        distribution_items(&others)?
    };
    if !items.is_empty() {
        named.push(Named {
            name: benchmark_name(whole),
            test: test_name(whole, &others),
            data: PerfData::new(items),
        });
    }
    Ok(named)
}

/// Distributions of one measurement, one set of pods, one test and one definition of the milestones.
fn by_measurement(all: Vec<&wit::Distribution>) -> Vec<Vec<&wit::Distribution>> {
    let key = |one: &wit::Distribution| {
        ["measurement", "set", "test", "definition"]
            .map(|label| one.label(label).unwrap_or_default().to_owned())
    };
    let mut groups: Vec<Vec<&wit::Distribution>> = Vec::new();
    for one in all {
        let of_one = key(one);
        let known = groups
            .iter_mut()
            .find(|group| group.first().is_some_and(|first| key(first) == of_one));
        match known {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

fn measurement(
    whole: &wit::Summary,
    mut group: Vec<&wit::Distribution>,
) -> Result<Option<Named>, Failure> {
    let test = test_name(whole, &group);
    let Some(first) = group.first() else {
        return Ok(None);
    };
    let name = format!(
        "{}PodStartupLatency_{}",
        first.label("set").unwrap_or_default(),
        first.label("measurement").unwrap_or_default()
    );
    // Stable: what has no place of its own stays behind, as it came.
    group.sort_by_key(|one| {
        let place = ITEM_ORDER.iter().position(|known| *known == one.name);
        place.unwrap_or(ITEM_ORDER.len())
    });
    let items = group
        .iter()
        .map(|one| DataItem::new(&one.name, BTreeMap::new(), &one.times))
        .collect::<Result<_, _>>()?;
    Ok(Some(Named {
        name,
        test,
        data: PerfData::new(items),
    }))
}

/// What has no values is left out: only ClusterLoader2 calls that a latency of 0.
fn distribution_items(all: &[&wit::Distribution]) -> Result<Vec<DataItem>, Failure> {
    all.iter()
        .filter(|one| one.times.count > 0)
        .map(|one| DataItem::new(&one.name, map(&one.labels), &one.times))
        .collect()
}

/// Response times, which are the number to report of a load.
fn series_items(all: &[wit::Series]) -> Result<Vec<DataItem>, Failure> {
    all.iter()
        .filter(|one| one.response_time.count > 0)
        .map(|one| DataItem::new(&one.name, map(&one.labels), &one.response_time))
        .collect()
}

fn map(labels: &[Label]) -> BTreeMap<String, String> {
    labels
        .iter()
        .map(|label| (label.key.clone(), label.value.clone()))
        .collect()
}

fn benchmark_name(whole: &wit::Summary) -> String {
    let benchmark = whole.plugins.iter().find(|one| one.world == "benchmark");
    benchmark.map_or_else(|| "GenericLatency".to_owned(), |one| one.name.clone())
}

/// The name of the test as the distributions or the run have it; a run without one is told by its id.
fn test_name(whole: &wit::Summary, group: &[&wit::Distribution]) -> String {
    let of_group = group.iter().find_map(|one| one.label("test"));
    of_group
        .filter(|name| !name.is_empty())
        .or_else(|| find_label(&whole.labels, "test"))
        .unwrap_or(&whole.run_id)
        .to_owned()
}
