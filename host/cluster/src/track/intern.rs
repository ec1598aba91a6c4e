//! Texts that many objects share are stored once.

use std::{collections::HashSet, sync::Arc};

/// A set of shared texts with a limit on their bytes.
#[derive(Debug)]
pub(crate) struct Interner {
    texts: HashSet<Arc<str>>,
    bytes: usize,
    max_bytes: usize,
    /// Size at which texts nobody holds any more are looked for.
    sweep_at: usize,
    /// New texts since that was last done.
    new: usize,
}

/// Below this many texts a sweep is not worth it.
const FIRST_SWEEP: usize = 1024;

impl Interner {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            texts: HashSet::new(),
            bytes: 0,
            max_bytes,
            sweep_at: FIRST_SWEEP,
            new: 0,
        }
    }

    /// The shared text; `None` when there is no room for it.
    pub(crate) fn get(&mut self, text: &str) -> Option<Arc<str>> {
        if let Some(known) = self.texts.get(text) {
            return Some(Arc::clone(known));
        }
        self.new += 1;
        let full = self.bytes.saturating_add(text.len()) > self.max_bytes;
        // Even a full set is searched only once for every so many new texts.
        if (full && self.new > self.texts.len() / 2) || self.texts.len() >= self.sweep_at {
            self.sweep();
        }
        if self.bytes.saturating_add(text.len()) > self.max_bytes {
            return None;
        }
        let shared: Arc<str> = Arc::from(text);
        self.bytes += text.len();
        self.texts.insert(Arc::clone(&shared));
        Some(shared)
    }

    /// Forgets what only the set holds. Doubling the next size keeps the cost of sweeps constant per text.
    fn sweep(&mut self) {
        let mut bytes = 0;
        self.texts.retain(|text| {
            let used = Arc::strong_count(text) > 1;
            if used {
                bytes += text.len();
            }
            used
        });
        self.bytes = bytes;
        self.new = 0;
        self.sweep_at = (self.texts.len() * 2).max(FIRST_SWEEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one() {
        let mut interner = Interner::new(1000);
        let a = interner.get("node-1").unwrap();
        assert!(Arc::ptr_eq(&a, &interner.get("node-1").unwrap()));
        assert!(!Arc::ptr_eq(&a, &interner.get("node-2").unwrap()));
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let mut interner = Interner::new(usize::MAX);
        let kept = interner.get("kept").unwrap();
        for i in 0..100_000 {
            interner.get(&i.to_string()).unwrap();
        }
        assert!(interner.texts.len() <= FIRST_SWEEP + 1);
        assert!(Arc::ptr_eq(&kept, &interner.get("kept").unwrap()));
    }

    #[test]
    fn full_is_full() {
        let mut interner = Interner::new(10);
        let held = interner.get("12345678").unwrap();
        assert_eq!(interner.get("abc"), None);
        assert!(interner.get("ab").is_some());
        assert_eq!(interner.get("12345678"), Some(held));
    }
}
