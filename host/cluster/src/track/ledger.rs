//! The books: every object, its stamps, and the sums. Lines and pages go in, no I/O.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use serde::Deserialize;

use super::{
    check,
    error::TrackError,
    extract,
    intern::Interner,
    object::{Object, ObjectRecord, Stamp, Uid},
    options::TrackOptions,
    plan::{self, Plan},
    spec::TrackSpec,
};
use crate::stamps::uid_by_name;

/// What has happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Objects ever seen.
    pub seen: u64,
    /// Objects that exist.
    pub alive: u64,
    /// For each milestone, objects that have reached it.
    pub reached: Vec<u64>,
    /// For each milestone, objects for which it holds at present: they exist and its checks hold, or for a
    /// `deleted` one they are gone.
    pub now: Vec<u64>,
    /// Events of objects read from watches.
    pub events: u64,
    /// Bookmarks read.
    pub bookmarks: u64,
    /// Watches opened after the first.
    pub reconnects: u64,
    /// Lists completed after the first.
    pub relists: u64,
    /// Lines and pages that could not be understood.
    pub garbage: u64,
    /// Requests and watches that failed, whatever the reason.
    pub failures: u64,
    /// Captured values that were not kept for want of room.
    pub captures_dropped: u64,
    /// The latest failure, for people.
    pub last_failure: Option<Arc<str>>,
}

/// Why a line of a watch could not be entered.
#[derive(Debug)]
pub enum LineError {
    /// It is not an event; the text says why.
    Garbage(String),
    /// It is an event of type ERROR.
    Status {
        /// HTTP status in it; 0 if there is none.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// A limit is reached.
    Limit(TrackError),
}

/// How the news came, hence what a stamp is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Live,
    Resumed,
    Initial,
    Relist,
}

#[derive(Deserialize)]
struct ErrorEvent<'a> {
    #[serde(borrow)]
    object: ErrorStatus<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorStatus<'a> {
    code: u16,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

/// The tracker without its network: text in, counts and records out.
#[derive(Debug)]
pub struct Ledger {
    name: String,
    plan: Arc<Plan>,
    max_objects: usize,
    objects: Vec<Object>,
    index: HashMap<Uid, u32>,
    namespaces: HashSet<Arc<str>>,
    captured: Interner,
    pub(crate) counts: Counts,
    /// The latest list, to tell who was not in it.
    round: u32,
    /// The revision everything up to which is entered.
    pub(crate) resource_version: String,
}

impl Ledger {
    /// Empty books for a spec.
    ///
    /// # Errors
    /// [`TrackError::Spec`] if the spec cannot be used.
    pub fn new(spec: &TrackSpec, options: &TrackOptions) -> Result<Self, TrackError> {
        let plan = Plan::compile(spec)?;
        let counts = Counts {
            reached: vec![0; plan.goals.len()],
            now: vec![0; plan.goals.len()],
            ..Counts::default()
        };
        Ok(Self {
            name: spec.name.clone(),
            plan: Arc::new(plan),
            // Objects are numbered with 32 bits.
            max_objects: options.max_objects.min(u32::MAX as usize),
            objects: Vec::new(),
            index: HashMap::new(),
            namespaces: HashSet::new(),
            captured: Interner::new(options.max_capture_bytes),
            counts,
            round: 0,
            resource_version: String::new(),
        })
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Milestones of the spec.
    pub(crate) fn milestones(&self) -> usize {
        self.plan.goals.len()
    }

    /// Objects by the order in which they were first seen. A range beyond the end is cut.
    #[must_use]
    pub fn objects(&self, range: Range<usize>) -> Vec<ObjectRecord> {
        let end = range.end.min(self.objects.len());
        self.objects
            .get(range.start..end)
            .unwrap_or_default()
            .iter()
            .map(Object::record)
            .collect()
    }

    pub(crate) fn all(&self) -> &[Object] {
        &self.objects
    }

    /// Enters one event of a watch, read at `received_ns` after the epoch.
    ///
    /// # Errors
    /// Lines that are no events, events of type ERROR, a full ledger. Nothing is entered then.
    pub fn event(&mut self, line: &[u8], received_ns: u64) -> Result<(), LineError> {
        self.line(line, received_ns, Origin::Live)
    }

    pub(crate) fn line(
        &mut self,
        line: &[u8],
        received_ns: u64,
        origin: Origin,
    ) -> Result<(), LineError> {
        let garbage = |reason: String| LineError::Garbage(reason);
        let line = std::str::from_utf8(line).map_err(|error| garbage(error.to_string()))?;
        let plan = Arc::clone(&self.plan);
        let event = extract::event(&plan, line).map_err(|error| garbage(error.to_string()))?;
        match event.kind {
            "ADDED" | "MODIFIED" | "DELETED" => {
                self.enter(
                    &plan,
                    &event.slots,
                    event.kind == "DELETED",
                    received_ns,
                    origin,
                )?;
                self.counts.events += 1;
            }
            "BOOKMARK" => self.counts.bookmarks += 1,
            "ERROR" => {
                let status = serde_json::from_str::<ErrorEvent<'_>>(line)
                    .map_err(|error| garbage(error.to_string()))?
                    .object;
                let gone = matches!(&*status.reason, "Expired" | "Gone");
                return Err(LineError::Status {
                    code: if gone { 410 } else { status.code },
                    message: status.message.into_owned(),
                });
            }
            other => return Err(garbage(format!("there is no event of type {other:?}"))),
        }
        if let Some(version) = text(&event.slots, plan::RESOURCE_VERSION)
            && !version.is_empty()
        {
            self.resource_version.clear();
            self.resource_version.push_str(&version);
        }
        Ok(())
    }

    /// A list begins. What is not in any of its pages will be gone.
    pub(crate) fn begin_list(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    /// Enters a page of a list.
    pub(crate) fn page(
        &mut self,
        body: &[u8],
        received_ns: u64,
        origin: Origin,
    ) -> Result<extract::PageMeta, LineError> {
        let garbage = |reason: String| LineError::Garbage(reason);
        let text = std::str::from_utf8(body).map_err(|error| garbage(error.to_string()))?;
        let plan = Arc::clone(&self.plan);
        let mut result = Ok(());
        let meta = extract::page(&plan, text, &mut |slots| {
            if result.is_ok() {
                result = self.enter(&plan, slots, false, received_ns, origin);
            }
        })
        .map_err(|error| garbage(error.to_string()))?;
        result?;
        if meta.resource_version.is_empty() {
            return Err(garbage("the list has no resourceVersion".into()));
        }
        Ok(meta)
    }

    /// A list is complete: who was not in it went away while nobody looked.
    pub(crate) fn end_list(&mut self, resource_version: String, received_ns: u64) {
        let plan = Arc::clone(&self.plan);
        for object in &mut self.objects {
            if object.alive && object.round != self.round {
                gone(object, &plan, &mut self.counts, received_ns);
            }
        }
        self.resource_version = resource_version;
    }

    fn enter(
        &mut self,
        plan: &Plan,
        slots: &[Option<&str>],
        gone: bool,
        received_ns: u64,
        origin: Origin,
    ) -> Result<(), LineError> {
        let index = self.find(plan, slots)?;
        let Some(object) = self.objects.get_mut(index) else {
            return Ok(());
        };
        object.round = self.round;
        if object.alive == gone {
            object.alive = !gone;
            if gone {
                self.counts.alive -= 1;
            } else {
                self.counts.alive += 1;
            }
        }
        let sums = self.counts.reached.iter_mut().zip(&mut self.counts.now);
        for (i, ((goal, stamp), (reached, now))) in plan
            .goals
            .iter()
            .zip(&mut object.stamps)
            .zip(sums)
            .enumerate()
        {
            let holds = if goal.deleted {
                gone
            } else {
                goal.checks.iter().all(|check| check.holds(slots))
            };
            let api_unix_us = || goal.api_time.and_then(|slot| api_time(slots, slot));
            match stamp {
                None if holds => {
                    *reached += 1;
                    *stamp = Some(Stamp {
                        received_ns,
                        api_unix_us: api_unix_us(),
                        initial: origin == Origin::Initial,
                        inferred: origin == Origin::Relist,
                        resumed: origin == Origin::Resumed,
                    });
                }
                // The field may be written after what it is the time of; once the milestone was left, it is the
                // time of something else.
                Some(stamp)
                    if holds && stamp.api_unix_us.is_none() && object.holds & 1 << i != 0 =>
                {
                    stamp.api_unix_us = api_unix_us();
                }
                _ => {}
            }
            // What is gone is in no state, but may have reached one with its last words.
            set(&mut object.holds, i, holds && (goal.deleted || !gone), now);
        }
        for (slot, kept) in plan.captures.iter().zip(&mut object.captures) {
            let value = check::value(slots, *slot);
            if kept.as_deref() != value {
                *kept = value.and_then(|value| self.captured.get(value));
                if value.is_some() && kept.is_none() {
                    self.counts.captures_dropped += 1;
                }
            }
        }
        Ok(())
    }

    /// The place of the object these slots speak of; a new one if it was not seen before.
    fn find(&mut self, plan: &Plan, slots: &[Option<&str>]) -> Result<usize, LineError> {
        let name = text(slots, plan::NAME).unwrap_or_default();
        let namespace = text(slots, plan::NAMESPACE).unwrap_or_default();
        if name.is_empty() {
            return Err(LineError::Garbage("an object without a name".into()));
        }
        let uid = match text(slots, plan::UID).filter(|uid| !uid.is_empty()) {
            Some(uid) => Uid::new(&uid),
            // Some aggregated APIs serve objects without UID; their name has to do.
            None => Uid::Text(uid_by_name(&namespace, &name).into()),
        };
        if let Some(index) = self.index.get(&uid) {
            return Ok(*index as usize);
        }
        let index = self.objects.len();
        let Some(number) = u32::try_from(index)
            .ok()
            .filter(|_| index < self.max_objects)
        else {
            return Err(LineError::Limit(TrackError::TooManyObjects {
                name: self.name.clone(),
                limit: self.max_objects,
            }));
        };
        let namespace = match self.namespaces.get(&*namespace) {
            Some(known) => Arc::clone(known),
            None => {
                let new: Arc<str> = Arc::from(&*namespace);
                self.namespaces.insert(Arc::clone(&new));
                new
            }
        };
        self.objects.push(Object {
            uid: uid.clone(),
            namespace,
            name: name.into(),
            alive: true,
            round: self.round,
            holds: 0,
            stamps: vec![None; plan.goals.len()].into(),
            captures: vec![None; plan.captures.len()].into(),
        });
        self.index.insert(uid, number);
        self.counts.seen += 1;
        self.counts.alive += 1;
        Ok(index)
    }
}

/// Marks an object as gone that no event said so of.
fn gone(object: &mut Object, plan: &Plan, counts: &mut Counts, received_ns: u64) {
    object.alive = false;
    counts.alive -= 1;
    let sums = counts.reached.iter_mut().zip(&mut counts.now);
    for (i, ((goal, stamp), (reached, now))) in plan
        .goals
        .iter()
        .zip(&mut object.stamps)
        .zip(sums)
        .enumerate()
    {
        if goal.deleted && stamp.is_none() {
            *reached += 1;
            *stamp = Some(Stamp {
                received_ns,
                api_unix_us: None,
                initial: false,
                inferred: true,
                resumed: false,
            });
        }
        set(&mut object.holds, i, goal.deleted, now);
    }
}

/// Sets a bit and keeps the sum of such bits.
fn set(holds: &mut u64, bit: usize, value: bool, sum: &mut u64) {
    let mask = 1 << bit;
    match (*holds & mask != 0, value) {
        (false, true) => *sum += 1,
        (true, false) => *sum -= 1,
        _ => {}
    }
    if value {
        *holds |= mask;
    } else {
        *holds &= !mask;
    }
}

/// The text of a slot that holds a string.
fn text<'a>(slots: &[Option<&'a str>], slot: usize) -> Option<Cow<'a, str>> {
    let json = check::value(slots, slot)?;
    match check::plain(json) {
        Some(plain) => Some(Cow::Borrowed(plain)),
        None => serde_json::from_str::<String>(json).ok().map(Cow::Owned),
    }
}

fn api_time(slots: &[Option<&str>], slot: usize) -> Option<i64> {
    let time: jiff::Timestamp = text(slots, slot)?.parse().ok()?;
    Some(time.as_microsecond())
}

#[cfg(test)]
mod tests;
