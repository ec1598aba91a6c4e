//! The histograms of one document: decoded, and not added to anything yet.

use crate::counts::{Reader, Sparse};

/// Decoded histograms of a document, in the order in which the document has them. Its room is used again.
#[derive(Default)]
pub(crate) struct Decoded {
    /// The counts of one after the other, then room.
    counts: Vec<(u32, u64)>,
    /// Where in `counts` each ends.
    ends: Vec<usize>,
}

impl Decoded {
    pub(crate) fn clear(&mut self) {
        self.ends.clear();
    }

    /// Decodes the next histogram; how many values it has must be `count`.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub(crate) fn push(
        &mut self,
        reader: &mut Reader,
        text: &str,
        count: u64,
    ) -> Result<(), String> {
        let used = self.used();
        let needed = used + reader.room();
        if self.counts.len() < needed {
            self.counts.resize(needed, (0, 0));
        }
        let room = self.counts.get_mut(used..).unwrap_or_default();
        let found = reader.read(text, count, room)?;
        self.ends.push(used + found);
        Ok(())
    }

    /// The next histogram is empty.
    pub(crate) fn push_empty(&mut self) {
        self.ends.push(self.used());
    }

    fn used(&self) -> usize {
        self.ends.last().copied().unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> DecodedIter<'_> {
        DecodedIter {
            decoded: self,
            next: 0,
            begin: 0,
        }
    }
}

pub(crate) struct DecodedIter<'a> {
    decoded: &'a Decoded,
    next: usize,
    begin: usize,
}

impl<'a> DecodedIter<'a> {
    /// Counts of the next histogram.
    pub(crate) fn take(&mut self) -> &'a Sparse {
        let end = self.decoded.ends.get(self.next).copied();
        let end = end.unwrap_or(self.begin);
        let counts = self.decoded.counts.get(self.begin..end);
        self.next += 1;
        self.begin = end;
        counts.unwrap_or_default()
    }

    /// Leaves the next ones out.
    pub(crate) fn pass(&mut self, histograms: usize) {
        for _ in 0..histograms {
            self.take();
        }
    }
}
