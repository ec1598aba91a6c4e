//! Ways to spoil an output, all from one seed so that a failure can be repeated.

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, or 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// The first part of a text.
pub(crate) fn cut(text: &str, length: usize) -> String {
    String::from_utf8_lossy(&text.as_bytes()[..length.min(text.len())]).into_owned()
}

/// The first part of one text and the last part of another.
pub(crate) fn splice(random: &mut Random, first: &str, second: &str) -> String {
    let head = &first.as_bytes()[..random.below(first.len() + 1)];
    let tail = &second.as_bytes()[random.below(second.len() + 1)..];
    String::from_utf8_lossy(&[head, tail].concat()).into_owned()
}

/// Some bits changed.
pub(crate) fn flip(random: &mut Random, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(8) {
        let place = random.below(bytes.len());
        let bit = random.below(8);
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1 << bit;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Part of a text, or all of it, twice.
pub(crate) fn repeat(random: &mut Random, text: &str) -> String {
    if random.below(3) == 0 {
        return format!("{text}{text}");
    }
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let from = random.below(lines.len() + 1);
    let to = from + random.below(lines.len() - from + 1);
    let mut all = lines[..to].concat();
    all.push_str(&lines[from..].concat());
    all
}

/// One number replaced by something that no tool means.
pub(crate) fn renumber(random: &mut Random, text: &str) -> String {
    const STRANGE: [&str; 16] = [
        "-1",
        "-0",
        "1e999",
        "-1e999",
        "NaN",
        "inf",
        "0",
        "",
        "1,5",
        "9",
        "1e-320",
        "0x10",
        "null",
        "\"1\"",
        "{}",
        "99999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999",
    ];
    let is_digit = |char: char| char.is_ascii_digit() || char == '.';
    let mut spans = Vec::new();
    let mut start = None;
    for (place, char) in text.char_indices().chain([(text.len(), ' ')]) {
        match (start, is_digit(char)) {
            (None, true) => start = Some(place),
            (Some(from), false) => {
                spans.push((from, place));
                start = None;
            }
            _ => {}
        }
    }
    let mut all = text.to_owned();
    if !spans.is_empty() {
        let &(from, to) = random.pick(&spans);
        all.replace_range(from..to, random.pick::<&str>(&STRANGE));
    }
    all
}

/// Lines of another stream put between the lines of a text.
pub(crate) fn interleave(random: &mut Random, text: &str, others: &[&str]) -> String {
    let mut lines: Vec<_> = text.split_inclusive('\n').collect();
    for _ in 0..=random.below(4) {
        let place = random.below(lines.len() + 1);
        // A last line without its end would join the one that is put in.
        let after_open_line = place > 0 && !lines[place - 1].ends_with('\n');
        if !after_open_line {
            lines.insert(place, random.pick::<&str>(others));
        }
    }
    lines.concat()
}
