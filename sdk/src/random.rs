//! Seeded random choices: the same seed, shard and entry give the same requests, on every machine.
//!
//! A component has no entropy of its own, and a benchmark must not have any. The generator is xoshiro256**,
//! seeded through SplitMix64, both after the public-domain reference code of D. Blackman and S. Vigna
//! (<https://prng.di.unimi.it>). It is no good for secrets.

use crate::batch::Part;

const ALPHANUMERIC: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// A stream of random numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random {
    state: [u64; 4],
}

/// One step of SplitMix64: turns any sequence of states into well-spread words.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A 64-bit digest of `bytes` (FNV-1a), for telling streams and names apart; not for tables an attacker fills.
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self::of(&[seed])
    }

    /// The stream of several words, for example seed, shard and a digest of a name. Order matters.
    pub fn of(words: &[u64]) -> Self {
        let mut mix = 0;
        for word in words {
            mix ^= word;
            mix = split_mix(&mut mix);
        }
        // SplitMix64 never yields four zeros in a row, the one state xoshiro256** must not have.
        let state = std::array::from_fn(|_| split_mix(&mut mix));
        Self { state }
    }

    /// 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s1.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= shifted;
        *s3 = s3.rotate_left(45);
        result
    }

    /// A whole number from `0` to `bound - 1`, each as likely as any other; 0 for a bound of 0.
    ///
    /// D. Lemire, "Fast Random Integer Generation in an Interval" (2019): a multiplication instead of a
    /// division, and a rejection instead of the bias of a remainder.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        if (product as u64) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u64) < threshold {
                product = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// A number from 0 up to, but not including, 1, in steps of 2^-53.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// True with this probability.
    #[inline]
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Appends `length` letters and digits. None of the 62 is more than 0.4 % likelier than another:
    /// payloads need speed more than evenness.
    pub fn fill_alphanumeric(&mut self, length: usize, into: &mut Vec<u8>) {
        into.reserve(length);
        let mut missing = length;
        while missing > 0 {
            let word = self.next_u64();
            let mut letters = [0; 8];
            let (low, high) = letters.split_at_mut(4);
            for (half, letters) in [(word as u32, low), ((word >> 32) as u32, high)] {
                // Half a word as a fraction below 1, and its first four digits to the base of 62.
                let mut fraction = half;
                for letter in letters {
                    let product = u64::from(fraction) * ALPHANUMERIC.len() as u64;
                    if let Some(&digit) = ALPHANUMERIC.get((product >> 32) as usize) {
                        *letter = digit;
                    }
                    fraction = product as u32;
                }
            }
            let wanted = letters.get(..missing).unwrap_or(&letters);
            into.extend_from_slice(wanted);
            missing -= wanted.len();
        }
    }

    /// `length` letters and digits as a part of a path or a body.
    pub fn alphanumeric(&mut self, length: usize) -> Alphanumeric<'_> {
        Alphanumeric {
            random: self,
            length,
        }
    }
}

/// Letters and digits, written where they are needed; see [`Random::alphanumeric`].
#[derive(Debug)]
pub struct Alphanumeric<'a> {
    random: &'a mut Random,
    length: usize,
}

impl Part for Alphanumeric<'_> {
    fn write(self, into: &mut Vec<u8>) {
        self.random.fill_alphanumeric(self.length, into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_vectors() {
        // SplitMix64 from state 0, and xoshiro256** from state {1, 2, 3, 4}: the reference code's output.
        let mut state = 0;
        assert_eq!(split_mix(&mut state), 0xe220_a839_7b1d_cdaf);
        assert_eq!(split_mix(&mut state), 0x6e78_9e6a_a1b9_65f4);
        let mut random = Random {
            state: [1, 2, 3, 4],
        };
        let words: Vec<u64> = (0..4).map(|_| random.next_u64()).collect();
        assert_eq!(words, [11520, 0, 1_509_978_240, 1_215_971_899_390_074_240]);
        assert_eq!(digest(b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |words: &[u64]| {
            let mut random = Random::of(words);
            (0..8).map(|_| random.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(draw(&[7, 0]), draw(&[7, 0]));
        assert_ne!(draw(&[7, 0]), draw(&[7, 1]));
        assert_ne!(draw(&[7, 0]), draw(&[0, 7]));
        assert_ne!(draw(&[0]), draw(&[0, 0]));
    }

    #[test]
    fn below_is_even_and_in_range() {
        let mut random = Random::new(1);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[random.below(7) as usize] += 1;
        }
        // Five standard deviations around 10 000.
        assert!(
            counts.iter().all(|&n| (9_530..=10_470).contains(&n)),
            "{counts:?}"
        );
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
        // A remainder would give the lower third twice the weight of the rest here.
        let bound = (u64::MAX / 3) * 2;
        let low = (0..10_000)
            .filter(|_| random.below(bound) < bound / 2)
            .count();
        assert!((4_750..=5_250).contains(&low), "{low}");
    }

    #[test]
    fn unit_stays_below_one() {
        let mut random = Random::new(3);
        let draws: Vec<f64> = (0..10_000).map(|_| random.unit()).collect();
        assert!(draws.iter().all(|x| (0.0..1.0).contains(x)));
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((0.48..0.52).contains(&mean), "{mean}");
        assert!(!random.chance(0.0));
        assert!(random.chance(1.0));
    }

    #[test]
    fn alphanumeric_is_exact_and_uses_all_letters() {
        let mut random = Random::new(9);
        for length in [0, 1, 9, 10, 11, 1024] {
            let mut text = Vec::new();
            random.fill_alphanumeric(length, &mut text);
            assert_eq!(text.len(), length);
            assert!(text.iter().all(u8::is_ascii_alphanumeric));
        }
        let mut text = Vec::new();
        random.fill_alphanumeric(620_000, &mut text);
        let mut counts = [0_u32; 62];
        for letter in text {
            counts[ALPHANUMERIC.iter().position(|&l| l == letter).unwrap()] += 1;
        }
        // Five standard deviations around 10 000.
        assert!(
            counts.iter().all(|&n| (9_500..=10_500).contains(&n)),
            "{counts:?}"
        );
    }
}
