//! Histograms, bucket by bucket: from the document's HdrHistogram V2 deflate base64 to counts, and back at the end.
//!
//! Nothing is recorded anew and nothing is interpolated, so the sum holds exactly what its parts held. The encoded counts
//! are read here rather than by the `hdrhistogram` crate because that makes a whole histogram of 200 KiB from each;
//! a test holds the two to the same result.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::Histogram;
use kperf_load::measure::{
    histogram::{DIGITS, HIGHEST_NS, LOWEST_NS},
    time_histogram,
};
use libdeflater::Decompressor;

/// Cookies of HdrHistogram's formats; the second digit from the right is the word size, always 1.
const V2: u32 = 0x1c84_9313;
const V2_DEFLATE: u32 = 0x1c84_9314;
const HEADER_BYTES: usize = 40;
/// A count takes at most nine bytes.
const MAX_COUNT_BYTES: usize = 9;

/// Counts of one histogram that is not added yet: bucket and count, ascending.
pub(crate) type Sparse = [(u32, u64)];

/// Reads histograms; its buffers are used again.
pub(crate) struct Reader {
    packed: Vec<u8>,
    unpacked: Vec<u8>,
    inflate: Decompressor,
    buckets: usize,
}

impl Reader {
    pub(crate) fn new() -> Self {
        let buckets = time_histogram().distinct_values();
        Self {
            packed: Vec::new(),
            unpacked: vec![0; HEADER_BYTES + buckets * MAX_COUNT_BYTES],
            inflate: Decompressor::new(),
            buckets,
        }
    }

    /// Places that [`Reader::read`] needs: one for each bucket there is, and one more to write to without asking.
    pub(crate) fn room(&self) -> usize {
        self.buckets + 1
    }

    /// Writes what the histogram counts to the beginning of `room`, ascending by bucket, and says how many buckets that
    /// are; the values in it must be `count`.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub(crate) fn read(
        &mut self,
        text: &str,
        count: u64,
        room: &mut [(u32, u64)],
    ) -> Result<usize, String> {
        let most = base64::decoded_len_estimate(text.len());
        if self.packed.len() < most {
            self.packed.resize(most, 0);
        }
        let length = STANDARD
            .decode_slice(text, &mut self.packed)
            .map_err(|error| format!("the histogram is no base64: {error}"))?;
        let packed = self.packed.get(..length).unwrap_or_default();
        let unpacked = unpack(packed, &mut self.inflate, &mut self.unpacked)?;
        let (found, sum) = read_counts(unpacked, self.buckets as u64, room)?;
        if sum == count {
            Ok(found)
        } else {
            Err(format!(
                "the histogram holds {sum} values, but `count` is {count}"
            ))
        }
    }
}

/// Inflates the payload of a V2 deflate histogram.
fn unpack<'a>(
    packed: &[u8],
    inflate: &mut Decompressor,
    unpacked: &'a mut [u8],
) -> Result<&'a [u8], String> {
    let damaged = |why: &str| format!("the histogram is cut or damaged: {why}");
    let (cookie, rest) = u32_at_start(packed).ok_or_else(|| damaged("it has no header"))?;
    if cookie != V2_DEFLATE {
        return Err(format!(
            "not a histogram in HdrHistogram V2 deflate form (cookie {cookie:#x})"
        ));
    }
    let (length, payload) = u32_at_start(rest).ok_or_else(|| damaged("it has no header"))?;
    if length as usize != payload.len() {
        return Err(damaged("its length is not what its header says"));
    }
    let length = inflate
        .zlib_decompress(payload, unpacked)
        .map_err(|error| damaged(&error.to_string()))?;
    unpacked.get(..length).ok_or_else(|| damaged("too long"))
}

/// Reads the counts of a V2 histogram into `room`, which has a place for each bucket and one more; returns how many there
/// are, and their sum.
fn read_counts(
    unpacked: &[u8],
    buckets: u64,
    room: &mut [(u32, u64)],
) -> Result<(usize, u64), String> {
    let damaged = || "the histogram is cut or damaged".to_owned();
    let (header, counts) = unpacked
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or_else(damaged)?;
    let word = |at: usize| {
        let bytes = header.get(at..at + 4).and_then(|word| word.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes)
    };
    let long = |at: usize| (u64::from(word(at)) << 32) | u64::from(word(at + 4));
    let (cookie, length, offset, digits) = (word(0), word(4), word(8), word(12));
    let (lowest, highest) = (long(16), long(24));
    if cookie != V2 || offset != 0 || length as usize != counts.len() {
        return Err(damaged());
    }
    if (lowest, highest, digits) != (LOWEST_NS, HIGHEST_NS, u32::from(DIGITS)) {
        return Err(format!(
            "the histogram holds {lowest} to {highest} ns with {digits} digits; only those of \
             {LOWEST_NS} to {HIGHEST_NS} ns with {DIGITS} digits merge without loss"
        ));
    }
    let (mut found, mut bucket, mut sum) = (0_usize, 0_u64, 0_u64);
    let mut bytes = counts.iter();
    loop {
        // Above zero the count of a bucket, below it a run of buckets without values. Which of the two comes next cannot be
        // foretold, so there is no branch on it: what is no count is overwritten by the next one. Nearly all are small
        // enough for one byte, and so is the sum of as many as there can be.
        while let Some(byte) = bytes.as_slice().first().filter(|byte| **byte < 0x80) {
            bytes.next();
            let (half, is_run) = (u64::from(byte >> 1), u64::from(byte & 1));
            let place = room.get_mut(found).ok_or_else(damaged)?;
            *place = (bucket as u32, half);
            found += usize::from(half != 0) & (is_run ^ 1) as usize;
            sum = sum.saturating_add(half & is_run.wrapping_sub(1));
            bucket += 1 + (half & is_run.wrapping_neg());
        }
        if bucket > buckets {
            return Err(damaged());
        }
        let Some((value, after)) = zig_zag(bytes.as_slice()) else {
            break;
        };
        bytes = after.iter();
        if value > 0 {
            let place = room.get_mut(found).ok_or_else(damaged)?;
            *place = (bucket as u32, value.unsigned_abs());
            found += 1;
        }
        sum = sum.checked_add(value.max(0) as u64).ok_or_else(damaged)?;
        bucket = bucket
            .checked_add(if value < 0 { value.unsigned_abs() } else { 1 })
            .filter(|bucket| *bucket <= buckets)
            .ok_or_else(damaged)?;
    }
    if bytes.as_slice().is_empty() {
        Ok((found, sum))
    } else {
        Err(damaged())
    }
}

fn u32_at_start(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*head), rest))
}

/// A ZigZag LEB128 number of at most nine bytes, the last with all its eight bits; none at the end or in a cut one.
fn zig_zag(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate() {
        let is_last = at + 1 == MAX_COUNT_BYTES;
        let bits = if is_last { *byte } else { byte & 0x7f };
        value |= u64::from(bits) << (7 * at);
        if is_last || byte & 0x80 == 0 {
            let signed = (value >> 1) as i64 ^ -((value & 1) as i64);
            return Some((signed, bytes.get(at + 1..).unwrap_or_default()));
        }
    }
    None
}

/// The sum of many histograms. Only the buckets between the lowest and the highest in use are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Bucket of the first of `counts`.
    first: usize,
    counts: Vec<u64>,
}

impl Counts {
    /// Adds the counts of one histogram.
    pub(crate) fn add(&mut self, sparse: &Sparse) {
        let (Some((low, _)), Some((high, _))) = (sparse.first(), sparse.last()) else {
            return;
        };
        self.make_room(*low as usize, *high as usize);
        for (bucket, count) in sparse {
            if let Some(sum) = self.counts.get_mut(*bucket as usize - self.first) {
                *sum = sum.saturating_add(*count);
            }
        }
    }

    /// Adds another sum.
    pub(crate) fn absorb(&mut self, other: &Self) {
        let Some(last) = other.counts.len().checked_sub(1) else {
            return;
        };
        self.make_room(other.first, other.first + last);
        let at = other.first - self.first;
        for (sum, count) in self.counts.iter_mut().skip(at).zip(&other.counts) {
            *sum = sum.saturating_add(*count);
        }
    }

    fn make_room(&mut self, low: usize, high: usize) {
        if self.counts.is_empty() {
            self.first = low;
        } else if low < self.first {
            let new = self.first - low;
            self.counts.splice(..0, std::iter::repeat_n(0, new));
            self.first = low;
        }
        let length = high + 1 - self.first;
        if length > self.counts.len() {
            self.counts.resize(length, 0);
        }
    }

    /// As a histogram like those of a run.
    pub(crate) fn histogram(&self) -> Histogram<u64> {
        let mut histogram = time_histogram();
        for (at, count) in self.counts.iter().enumerate() {
            if *count > 0 {
                histogram.saturating_record_n(lowest_value(self.first + at), *count);
            }
        }
        histogram
    }
}

/// The smallest value of a bucket: HdrHistogram's layout for our bounds, in which each power of two from the
/// smallest unit on has half of the 2 048 sub-buckets that three digits need.
fn lowest_value(bucket: usize) -> u64 {
    const HALF: usize = 1024;
    const UNIT_BITS: u32 = LOWEST_NS.ilog2();
    match (bucket / HALF).checked_sub(1) {
        None => (bucket as u64) << UNIT_BITS,
        Some(power) => ((bucket % HALF + HALF) as u64) << (UNIT_BITS + power as u32),
    }
}

#[cfg(test)]
mod tests {
    use kperf_load::measure;

    use super::*;

    fn values() -> impl Iterator<Item = u64> {
        let mut state = 7_u64;
        std::iter::repeat_with(move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let unit = (state >> 40) as f64 / (1_u64 << 24) as f64;
            (1e10_f64.powf(unit) * 1e3) as u64
        })
    }

    fn try_read(text: &str, count: u64) -> Result<Vec<(u32, u64)>, String> {
        let mut reader = Reader::new();
        let mut room = vec![(0, 0); reader.room()];
        let found = reader.read(text, count, &mut room)?;
        room.truncate(found);
        Ok(room)
    }

    fn read(histogram: &Histogram<u64>) -> Vec<(u32, u64)> {
        let text = STANDARD.encode(measure::encode(histogram));
        try_read(&text, histogram.len()).unwrap()
    }

    #[test]
    fn every_bucket_is_where_hdrhistogram_has_it() {
        let histogram = time_histogram();
        let mut value = 0;
        for bucket in 0..histogram.distinct_values() {
            assert_eq!(lowest_value(bucket), value, "bucket {bucket}");
            value = histogram.next_non_equivalent(value);
        }
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let mut whole = time_histogram();
        let mut parts = vec![time_histogram(); 5];
        for (at, value) in values().take(50_000).enumerate() {
            whole.saturating_record(value);
            parts[at * at % 5].saturating_record(value);
        }
        for extreme in [0, 1, 99, u64::MAX] {
            whole.saturating_record_n(extreme, 1 << 40);
            parts[3].saturating_record_n(extreme, 1 << 40);
        }
        let (mut sum, mut other) = (Counts::default(), Counts::default());
        for (at, part) in parts.iter().enumerate() {
            let into = if at % 2 == 0 { &mut sum } else { &mut other };
            into.add(&read(part));
        }
        sum.absorb(&other);
        let sum = sum.histogram();
        assert_eq!(sum, whole);
        assert_eq!(measure::encode(&sum), measure::encode(&whole));
        for permille in 0..=1000 {
            let q = f64::from(permille) / 1e3;
            assert_eq!(measure::quantile(&sum, q), measure::quantile(&whole, q));
        }
    }

    #[test]
    fn nothing_adds_nothing() {
        let mut sum = Counts::default();
        sum.add(&[]);
        sum.absorb(&Counts::default());
        assert!(sum.histogram().is_empty());
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_an_error_or_the_same() {
        let mut histogram = time_histogram();
        for value in values().take(300) {
            histogram.saturating_record(value);
        }
        let bytes = measure::encode(&histogram);
        let expected = read(&histogram);
        for cut in 0..bytes.len() {
            let text = STANDARD.encode(&bytes[..cut]);
            assert!(try_read(&text, 300).is_err(), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let read = try_read(&STANDARD.encode(&bytes), 300);
            assert!(read.is_err() || read == Ok(expected.clone()), "bit {bit}");
        }
    }

    /// A V2 histogram of our bounds with these counts.
    fn crafted(counts: &[u8]) -> String {
        use std::io::Write as _;
        let digits = u32::from(DIGITS);
        let mut plain: Vec<u8> = [V2, counts.len() as u32, 0, digits]
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect();
        for long in [LOWEST_NS, HIGHEST_NS, 1.0_f64.to_bits()] {
            plain.extend(long.to_be_bytes());
        }
        plain.extend(counts);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(&plain).unwrap();
        let zlib = zlib.finish().unwrap();
        let head = [V2_DEFLATE, zlib.len() as u32].map(u32::to_be_bytes);
        STANDARD.encode([head.as_flattened(), &zlib].concat())
    }

    #[test]
    fn crafted_histograms_do_not_get_out_of_hand() {
        // 3, two empty buckets, 1, one empty bucket as a count of zero, 64.
        let text = crafted(&[6, 3, 2, 0, 0x80, 1]);
        assert_eq!(try_read(&text, 68), Ok(vec![(0, 3), (3, 1), (5, 64)]));
        let largest = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let smallest = [0xff; 9];
        let buckets = Reader::new().room() - 1;
        for (what, counts) in [
            ("more buckets than there are", vec![2; buckets + 1]),
            ("more buckets than there is room", vec![2; 2 * buckets]),
            ("a run too long", [&[0x7f; 500][..], &[2]].concat()),
            ("the longest run", smallest.to_vec()),
            ("runs that wrap around", [smallest, smallest].concat()),
            ("a sum too large", [largest, largest, largest].concat()),
            ("a cut number", vec![2, 0x80]),
        ] {
            let error = try_read(&crafted(&counts), 1).unwrap_err();
            assert!(error.contains("cut or damaged"), "{what}: {error}");
        }
        assert!(try_read(&crafted(&vec![2; buckets]), buckets as u64).is_ok());
    }

    #[test]
    fn histograms_that_would_lose_something_are_refused() {
        let mut other = Histogram::<u64>::new_with_bounds(1, 1 << 30, 2).unwrap();
        other.saturating_record(5);
        let text = STANDARD.encode(measure::encode(&other));
        let error = try_read(&text, 1).unwrap_err();
        assert!(error.contains("without loss"), "{error}");

        let mut wrong = time_histogram();
        wrong.saturating_record(5);
        let text = STANDARD.encode(measure::encode(&wrong));
        let error = try_read(&text, 2).unwrap_err();
        assert!(error.contains("holds 1 values"), "{error}");
    }
}
