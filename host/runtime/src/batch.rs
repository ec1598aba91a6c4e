//! Requests and outcomes as columns, and the rules a plugin's batch must keep.

use crate::{limits::Limits, v0_1::kperf::workload::requests as wit};

/// Requests as columns. A column is empty (zero for every request) or has `count` elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Number of requests.
    pub count: u32,
    /// Index of the template.
    pub template: Vec<u32>,
    /// Bytes of `arena` that are this request's path; 0 = the template's.
    pub path_len: Vec<u32>,
    /// Bytes of `arena` that are this request's body; 0 = the template's.
    pub body_len: Vec<u32>,
    /// Opaque; comes back in [`Outcomes`].
    pub tag: Vec<u64>,
    /// Path then body of each request in order, used up exactly.
    pub arena: Vec<u8>,
    /// Nothing follows this batch.
    pub done: bool,
}

/// What became of earlier requests, as columns; the rule of [`Batch`] holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Number of requests.
    pub count: u32,
    /// Tags as the batch gave them.
    pub tag: Vec<u64>,
    /// Template ids.
    pub template: Vec<u32>,
    /// HTTP status; 0 = no answer.
    pub status: Vec<u32>,
    /// Actual send to last byte, nanoseconds.
    pub service_ns: Vec<u64>,
    /// Bytes of the answer's body.
    pub size: Vec<u64>,
    /// Bytes of `arena` with the captured values of this request, a JSON array; 0 = none.
    pub capture_len: Vec<u32>,
    /// Captured values back to back.
    pub arena: Vec<u8>,
}

impl From<Outcomes> for wit::Outcomes {
    fn from(o: Outcomes) -> Self {
        Self {
            count: o.count,
            tag: o.tag,
            template: o.template,
            status: o.status,
            service_ns: o.service_ns,
            size: o.size,
            capture_len: o.capture_len,
            arena: o.arena,
        }
    }
}

/// What is wrong with a batch or a schedule, without a full stop.
pub(crate) type Malformed = String;

impl Batch {
    /// Takes over a plugin's batch, when it keeps the rules.
    pub(crate) fn checked(
        batch: wit::Batch,
        asked: u32,
        templates: usize,
        limits: &Limits,
    ) -> Result<Self, Malformed> {
        let batch = Self {
            count: batch.count,
            template: batch.template,
            path_len: batch.path_len,
            body_len: batch.body_len,
            tag: batch.tag,
            arena: batch.arena,
            done: batch.done,
        };
        batch.check(asked, templates, limits)?;
        Ok(batch)
    }

    fn check(&self, asked: u32, templates: usize, limits: &Limits) -> Result<(), Malformed> {
        if self.count > asked {
            return Err(format!(
                "it returned {} requests, at most {asked} were asked for",
                self.count
            ));
        }
        for (name, len) in [
            ("template", self.template.len()),
            ("path-len", self.path_len.len()),
            ("body-len", self.body_len.len()),
            ("tag", self.tag.len()),
        ] {
            if len != 0 && len != self.count as usize {
                return Err(format!(
                    "the column `{name}` has {len} elements for {} requests",
                    self.count
                ));
            }
        }
        let out_of_range = |template: &&u32| **template as usize >= templates;
        if let Some(wrong) = self.template.iter().find(out_of_range) {
            return Err(format!(
                "the column `template` names template {wrong}, the last one is {}",
                templates.saturating_sub(1)
            ));
        }
        self.check_arena(limits)
    }

    fn check_arena(&self, limits: &Limits) -> Result<(), Malformed> {
        let size = self.arena.len();
        if size > limits.arena_bytes {
            return Err(format!(
                "the `arena` has {size} bytes, the limit is {}",
                limits.arena_bytes
            ));
        }
        let claimed = [&self.path_len, &self.body_len]
            .into_iter()
            .flatten()
            .map(|len| u64::from(*len))
            .sum::<u64>();
        if claimed != size as u64 {
            return Err(format!(
                "the `arena` has {size} bytes, `path-len` and `body-len` use {claimed}"
            ));
        }
        self.check_paths()
    }

    /// Every path starts with `/`; the rest is looked at when it becomes a request.
    fn check_paths(&self) -> Result<(), Malformed> {
        let mut at = 0_usize;
        for (i, path_len) in self.path_len.iter().enumerate() {
            if *path_len > 0 && self.arena.get(at) != Some(&b'/') {
                return Err(format!("the path of request {i} does not start with `/`"));
            }
            let body_len = self.body_len.get(i).copied().unwrap_or(0);
            at += *path_len as usize + body_len as usize;
        }
        Ok(())
    }
}

/// Arrival times must ascend over all calls and stay exact in every language.
pub(crate) fn check_schedule(
    offsets: &[u64],
    limit: u32,
    last: Option<u64>,
) -> Result<(), Malformed> {
    if offsets.len() > limit as usize {
        return Err(format!(
            "it returned {} arrival times, at most {limit} were asked for",
            offsets.len()
        ));
    }
    let mut before = last.unwrap_or(0);
    for (i, offset) in offsets.iter().enumerate() {
        if *offset < before {
            return Err(format!(
                "arrival time {i} is {offset} ns, before the one ahead of it ({before} ns)"
            ));
        }
        if *offset >= 1 << 53 {
            return Err(format!("arrival time {i} is {offset} ns, above 2^53"));
        }
        before = *offset;
    }
    Ok(())
}

#[cfg(test)]
#[path = "batch/tests.rs"]
mod tests;
