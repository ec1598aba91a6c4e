//! Several sources as one: each request is drawn from an entry by its shares, seeded, so that the same
//! seed gives the same order of entries on every run.

use crate::request::{Batch, Outcomes, Source, SourceError, Template};

/// Sources mixed by shares.
pub struct Mix {
    entries: Vec<Entry>,
    /// Templates of all entries, one entry's after the other's.
    templates: Vec<Template>,
    total_shares: u64,
    random: SplitMix64,
    /// An entry that was drawn but had nothing ready: the next draw is its.
    owed: Option<usize>,
    is_done: bool,
}

struct Entry {
    shares: u32,
    source: Box<dyn Source>,
    first_template: u32,
    templates: u32,
    wants_outcomes: bool,
    ready: Ready,
}

/// A batch of an entry, and how far it is used.
#[derive(Default)]
struct Ready {
    batch: Batch,
    row: usize,
    arena_start: usize,
}

impl std::fmt::Debug for Mix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mix")
            .field("entries", &self.entries.len())
            .field("templates", &self.templates.len())
            .finish_non_exhaustive()
    }
}

/// How many requests are asked of an entry at once, at most and when it wants outcomes.
const ENTRY_BATCH: u32 = 64;
const REACTIVE_BATCH: u32 = 16;

impl Mix {
    /// Mixes sources; `seed` is the run's and `shard` tells the shards apart.
    ///
    /// # Errors
    /// `invalid-mix`: no entry has shares, or a source that owns its arrival times is not alone.
    pub fn new(
        sources: Vec<(u32, Box<dyn Source>)>,
        seed: u64,
        shard: u32,
    ) -> Result<Self, SourceError> {
        let invalid = |message: &str| SourceError {
            code: "invalid-mix".to_owned(),
            message: message.to_owned(),
        };
        let total_shares: u64 = sources.iter().map(|(shares, _)| u64::from(*shares)).sum();
        if total_shares == 0 {
            return Err(invalid(
                "no entry of the mix has shares; give at least one entry shares above 0",
            ));
        }
        if sources.len() > 1 && sources.iter().any(|(_, source)| source.owns_arrivals()) {
            return Err(invalid(
                "a generator that owns its arrival times cannot be mixed with others; run it alone in its phase",
            ));
        }
        let mut templates = Vec::new();
        let mut entries = Vec::with_capacity(sources.len());
        for (shares, source) in sources {
            let first_template = u32::try_from(templates.len()).unwrap_or(u32::MAX);
            templates.extend_from_slice(source.templates());
            entries.push(Entry {
                shares,
                first_template,
                templates: u32::try_from(source.templates().len()).unwrap_or(u32::MAX),
                wants_outcomes: source.wants_outcomes(),
                source,
                ready: Ready::default(),
            });
        }
        Ok(Self {
            entries,
            templates,
            total_shares,
            random: SplitMix64(seed ^ (u64::from(shard) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            owed: None,
            is_done: false,
        })
    }

    fn draw(&mut self) -> usize {
        let mut ticket = self.random.below(self.total_shares);
        for (index, entry) in self.entries.iter().enumerate() {
            let shares = u64::from(entry.shares);
            if ticket < shares {
                return index;
            }
            ticket -= shares;
        }
        0
    }

    /// Entry number of a merged template.
    fn entry_of(&self, template: u32) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| template.wrapping_sub(entry.first_template) < entry.templates)
    }
}

impl Entry {
    /// Appends the entry's next request; false when it has none now, and `is_done` when never again.
    fn give(
        &mut self,
        limit: u32,
        out: &mut Batch,
        is_done: &mut bool,
    ) -> Result<bool, SourceError> {
        if self.ready.row >= self.ready.batch.count as usize {
            if self.ready.batch.done {
                *is_done = true;
                return Ok(false);
            }
            let most = if self.wants_outcomes {
                REACTIVE_BATCH
            } else {
                ENTRY_BATCH
            };
            let limit = limit.clamp(1, most);
            let batch = self.source.next(limit)?;
            batch.check_limit(limit)?;
            batch.check(self.source.templates())?;
            self.ready = Ready {
                batch,
                ..Ready::default()
            };
            if self.ready.batch.count == 0 {
                *is_done = self.ready.batch.done;
                return Ok(false);
            }
        }
        let Ready {
            batch,
            row,
            arena_start,
        } = &mut self.ready;
        let at = |column: &[u32]| column.get(*row).copied().unwrap_or_default();
        let (path_len, body_len) = (at(&batch.path_len), at(&batch.body_len));
        let end = *arena_start + path_len as usize + body_len as usize;
        out.count += 1;
        out.template.push(self.first_template + at(&batch.template));
        out.path_len.push(path_len);
        out.body_len.push(body_len);
        out.tag
            .push(batch.tag.get(*row).copied().unwrap_or_default());
        out.arena
            .extend_from_slice(batch.arena.get(*arena_start..end).unwrap_or_default());
        *arena_start = end;
        *row += 1;
        Ok(true)
    }
}

impl Source for Mix {
    fn templates(&self) -> &[Template] {
        &self.templates
    }

    fn next(&mut self, limit: u32) -> Result<Batch, SourceError> {
        // Alone it needs no drawing, and replays may only come alone.
        if let ([only], false) = (self.entries.as_mut_slice(), self.is_done) {
            return only.source.next(limit);
        }
        let mut out = Batch {
            done: self.is_done,
            ..Batch::default()
        };
        while out.count < limit && !self.is_done {
            let index = match self.owed.take() {
                Some(index) => index,
                None => self.draw(),
            };
            let Some(entry) = self.entries.get_mut(index) else {
                break;
            };
            if !entry.give(limit, &mut out, &mut self.is_done)? {
                if !self.is_done {
                    // Shares hold: nobody else takes the turn of an entry that waits for outcomes.
                    self.owed = Some(index);
                }
                break;
            }
        }
        out.done = self.is_done;
        Ok(out)
    }

    fn wants_outcomes(&self) -> bool {
        self.entries.iter().any(|entry| entry.wants_outcomes)
    }

    fn observe(&mut self, outcomes: Outcomes) -> Result<(), SourceError> {
        if let [only] = self.entries.as_mut_slice() {
            return only.source.observe(outcomes);
        }
        let mut parts: Vec<Outcomes> = self.entries.iter().map(|_| Outcomes::default()).collect();
        let mut capture_start = 0;
        for row in 0..outcomes.count as usize {
            let template = outcomes.template.get(row).copied().unwrap_or_default();
            let at = |column: &[u64]| column.get(row).copied().unwrap_or_default();
            let capture_len = outcomes.capture_len.get(row).copied().unwrap_or_default();
            let capture_end = capture_start + capture_len as usize;
            let capture = outcomes.arena.get(capture_start..capture_end);
            capture_start = capture_end;
            let Some(index) = self.entry_of(template) else {
                continue;
            };
            let (Some(part), Some(entry)) = (parts.get_mut(index), self.entries.get(index)) else {
                continue;
            };
            part.count += 1;
            part.tag.push(at(&outcomes.tag));
            part.template.push(template - entry.first_template);
            part.status
                .push(outcomes.status.get(row).copied().unwrap_or_default());
            part.service_ns.push(at(&outcomes.service_ns));
            part.size.push(at(&outcomes.size));
            part.capture_len.push(capture_len);
            part.arena.extend_from_slice(capture.unwrap_or_default());
        }
        for (entry, part) in self.entries.iter_mut().zip(parts) {
            if entry.wants_outcomes && part.count > 0 {
                entry.source.observe(part)?;
            }
        }
        Ok(())
    }

    fn owns_arrivals(&self) -> bool {
        matches!(self.entries.as_slice(), [only] if only.source.owns_arrivals())
    }

    fn schedule(&mut self, limit: u32) -> Result<Vec<u64>, SourceError> {
        match self.entries.as_mut_slice() {
            [only] => only.source.schedule(limit),
            _ => Ok(Vec::new()),
        }
    }
}

/// Steele, Lea and Flood's SplitMix64: eight bytes of state, the same sequence everywhere.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`; the bias of taking the high bits is below 2^-32 for shares.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::{Fixed, template};

    fn entry(name: &str, count: u64) -> Box<dyn Source> {
        Box::new(Fixed::new(vec![template(name)], count))
    }

    fn collect(mut mix: Mix, calls: usize) -> (Vec<u32>, bool) {
        let mut templates = Vec::new();
        for _ in 0..calls {
            let batch = mix.next(50).unwrap();
            batch.check(mix.templates()).unwrap();
            templates.extend(&batch.template);
            if batch.done {
                return (templates, true);
            }
        }
        (templates, false)
    }

    #[test]
    fn shares_decide_and_the_seed_repeats() {
        let mix = |seed, shard| {
            Mix::new(
                vec![
                    (30, entry("a", u64::MAX)),
                    (0, entry("b", u64::MAX)),
                    (10, entry("c", u64::MAX)),
                ],
                seed,
                shard,
            )
            .unwrap()
        };
        let (first, _) = collect(mix(7, 0), 100);
        assert_eq!(first.len(), 5000);
        let count = |id| first.iter().filter(|&&t| t == id).count();
        assert!((3600..3900).contains(&count(0)), "{}", count(0));
        assert_eq!(count(1), 0);
        assert_eq!(first, collect(mix(7, 0), 100).0);
        assert_ne!(first, collect(mix(8, 0), 100).0);
        assert_ne!(first, collect(mix(7, 1), 100).0);
    }

    #[test]
    fn the_end_of_one_entry_at_its_turn_ends_the_phase() {
        let mix = Mix::new(vec![(1, entry("a", 5)), (1, entry("b", u64::MAX))], 1, 0).unwrap();
        let (templates, done) = collect(mix, 100);
        assert!(done);
        assert_eq!(templates.iter().filter(|&&t| t == 0).count(), 5);
    }

    #[test]
    fn outcomes_reach_their_entry_alone() {
        let a = Fixed::new(vec![template("a")], 9).reactive();
        let b = Fixed::new(vec![template("b")], 9).reactive();
        let (heard_a, heard_b) = (a.heard(), b.heard());
        let mut mix = Mix::new(vec![(1, Box::new(a)), (1, Box::new(b))], 1, 0).unwrap();
        assert!(mix.wants_outcomes());
        mix.observe(Outcomes {
            count: 3,
            tag: vec![10, 11, 12],
            template: vec![1, 0, 1],
            status: vec![200, 201, 202],
            service_ns: vec![1, 2, 3],
            size: vec![0, 0, 0],
            capture_len: vec![2, 0, 4],
            arena: b"[]null".to_vec(),
        })
        .unwrap();
        let heard_a = heard_a.borrow();
        assert_eq!(
            (heard_a[0].tag.as_slice(), heard_a[0].template.as_slice()),
            (&[11][..], &[0][..])
        );
        let heard_b = heard_b.borrow();
        assert_eq!(heard_b[0].tag, [10, 12]);
        assert_eq!(heard_b[0].arena, b"[]null");
    }

    #[test]
    fn impossible_mixes_are_refused() {
        let error = Mix::new(vec![(0, entry("a", 1))], 1, 0).unwrap_err();
        assert_eq!(error.code, "invalid-mix");
        let replay = Box::new(Fixed::new(vec![template("r")], 1).scheduled(vec![1]));
        assert!(Mix::new(vec![(1, replay), (1, entry("a", 1))], 1, 0).is_err());
    }
}
