//! Trackers over the namespaces that a measurement looks at.

use std::collections::BTreeSet;

use kperf_sdk::benchmark::prelude::*;

use crate::cl2::calls::Selector;

/// Up to so many namespaces are watched one by one. That needs no grant beyond the run's own namespaces, and shows
/// nothing but the test's objects.
const MAX_SINGLE_WATCHES: usize = 16;

/// What follows the objects of one measurement.
pub(super) struct Followed {
    trackers: Vec<Tracker>,
    scopes: Vec<Scope>,
    /// What a watch over all namespaces is narrowed to.
    only: Option<BTreeSet<String>>,
}

impl Followed {
    /// Begins to follow. `options` makes the options for a scope. Without a namespace, the selector means all
    /// namespaces of the test.
    pub(super) fn start(
        selector: &Selector,
        test_namespaces: &[String],
        options: impl Fn(Scope) -> TrackerOptions,
    ) -> Result<Self, Failure> {
        let scope = |namespace: &str| {
            Scope::namespace(namespace)
                .labels(&selector.labels)
                .fields(&selector.fields)
        };
        let one = [selector.namespace.clone()];
        let namespaces = if selector.namespace.is_empty() {
            test_namespaces
        } else {
            &one
        };
        if namespaces.len() > MAX_SINGLE_WATCHES {
            match Tracker::start(&options(scope(""))) {
                Ok(tracker) => {
                    return Ok(Self {
                        trackers: vec![tracker],
                        scopes: vec![scope("")],
                        only: Some(namespaces.iter().cloned().collect()),
                    });
                }
                // Not allowed to see all namespaces: the test's own are enough.
                Err(failure) if failure.code == "denied" => {}
                Err(failure) => return Err(failure),
            }
        }
        let scopes: Vec<Scope> = namespaces.iter().map(|name| scope(name)).collect();
        let trackers = scopes
            .iter()
            .map(|scope| Tracker::start(&options(scope.clone())))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            trackers,
            scopes,
            only: None,
        })
    }

    /// What is looked at, for a list of the same.
    pub(super) fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Whether objects of this namespace are among those looked at.
    pub(super) fn includes(&self, namespace: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| only.contains(namespace))
    }

    /// Every object seen.
    pub(super) fn for_each(&self, mut each: impl FnMut(&Tracked)) {
        for tracker in &self.trackers {
            let mut offset = 0;
            loop {
                let page = tracker.objects(offset);
                if page.is_empty() {
                    break;
                }
                offset += page.len() as u64;
                page.iter()
                    .filter(|object| self.includes(&object.namespace))
                    .for_each(&mut each);
            }
        }
    }

    /// How many objects reached a milestone, at most: those outside of the test's namespaces count here.
    pub(super) fn reached(&self, milestone: &str) -> u64 {
        self.trackers
            .iter()
            .flat_map(|tracker| tracker.counts().milestones)
            .filter(|count| count.name == milestone)
            .map(|count| count.reached)
            .sum()
    }

    /// Puts every object into the report.
    pub(super) fn report_objects(&self) {
        self.trackers.iter().for_each(Tracker::report_objects);
    }

    /// Ends the watches; what was seen stays.
    pub(super) fn stop(&self) {
        self.trackers.iter().for_each(Tracker::stop);
    }
}
