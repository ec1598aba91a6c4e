//! What became of earlier requests, for reactive generators.

use std::time::Duration;

use super::TemplateId;
use crate::bindings::kperf::workload::requests as wit;

/// A batch of outcomes, in the order of completion.
#[derive(Debug)]
pub struct Outcomes(wit::Outcomes);

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// The request's tag.
    pub tag: u64,
    /// The request's template.
    pub template: TemplateId,
    /// HTTP status; `None` when no answer was received.
    pub status: Option<u32>,
    /// From the actual send to the last byte.
    pub service: Duration,
    /// Bytes of the answer's body.
    pub size: u64,
    /// A JSON array with one element per captured pointer, null where there was none; empty when nothing was
    /// captured.
    pub captured: &'a [u8],
}

impl Outcome<'_> {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        matches!(self.status, Some(200..=299))
    }
}

impl Outcomes {
    pub(crate) fn new(columns: wit::Outcomes) -> Self {
        Self(columns)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.count == 0
    }

    /// One after another.
    pub fn iter(&self) -> impl Iterator<Item = Outcome<'_>> {
        // An empty column is zero for every request; a short one, which no host sends, is zero at its end.
        let at = |column: &[u32], index: usize| column.get(index).copied().unwrap_or(0);
        let wide = |column: &[u64], index: usize| column.get(index).copied().unwrap_or(0);
        let columns = &self.0;
        let mut rest: &[u8] = &columns.arena;
        (0..self.len()).map(move |index| {
            let length = (at(&columns.capture_len, index) as usize).min(rest.len());
            let (captured, after) = rest.split_at(length);
            rest = after;
            let status = at(&columns.status, index);
            Outcome {
                tag: wide(&columns.tag, index),
                template: TemplateId(at(&columns.template, index)),
                status: (status != 0).then_some(status),
                service: Duration::from_nanos(wide(&columns.service_ns, index)),
                size: wide(&columns.size, index),
                captured,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_columns_are_zero_and_captures_are_cut_from_the_arena() {
        let outcomes = Outcomes::new(wit::Outcomes {
            count: 3,
            tag: vec![5, 6, 7],
            template: vec![],
            status: vec![201, 0, 404],
            service_ns: vec![],
            size: vec![],
            capture_len: vec![3, 0, 9],
            arena: b"[1][22]".to_vec(),
        });
        let all: Vec<_> = outcomes.iter().collect();
        assert_eq!(all.len(), 3);
        assert!(all[0].is_success() && !all[1].is_success() && !all[2].is_success());
        assert_eq!(all[1].status, None);
        assert_eq!(all[2].tag, 7);
        assert_eq!(all[0].captured, b"[1]");
        assert_eq!(all[1].captured, b"");
        // Longer than the arena: what there is, and no panic.
        assert_eq!(all[2].captured, b"[22]");
    }
}
