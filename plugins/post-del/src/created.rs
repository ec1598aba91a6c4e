//! The queue of what was created and not yet deleted.

use std::collections::VecDeque;

/// Most objects that are remembered: 8 MiB of numbers. What is created beyond it is not deleted.
pub(crate) const MOST: usize = 1 << 20;

/// Numbers of created objects, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Created(VecDeque<u64>);

impl Created {
    /// Takes the oldest.
    pub(crate) fn take_oldest(&mut self) -> Option<u64> {
        self.0.pop_front()
    }

    /// Puts one at the end, unless the queue is full.
    pub(crate) fn put(&mut self, number: u64) {
        if self.0.len() < MOST {
            self.0.push_back(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out_and_bounded() {
        let mut created = Created::default();
        assert_eq!(created.take_oldest(), None);
        for number in 0..MOST as u64 + 10 {
            created.put(number);
        }
        assert_eq!(created.0.len(), MOST);
        assert_eq!(created.take_oldest(), Some(0));
        created.put(0);
        assert_eq!(created.take_oldest(), Some(1));
        assert_eq!(created.0.back(), Some(&0));
    }
}
