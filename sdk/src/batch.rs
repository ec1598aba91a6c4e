//! Packing requests into columns.
//!
//! Enters: requests, one after another, from a plugin's `next`. Leaves: the WIT record `batch`, in which a column
//! is either empty (zero for every request) or as long as the batch, and all paths and bodies stand back to
//! back in one arena. A plugin never sees the columns; it allocates nothing per request either.

use std::fmt::{self, Write as _};

use crate::bindings::kperf::workload::requests as wit;
use crate::failure::Failure;

/// A template's number, from [`Templates::add`](crate::generator::Templates::add).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateId(pub(crate) u32);

impl TemplateId {
    /// The template's place in the order of adding, from 0.
    pub fn index(self) -> u32 {
        self.0
    }
}

/// A column that stays empty while all its values are zero.
#[derive(Debug)]
struct Column<T>(Vec<T>);

impl<T: Copy + Default + PartialEq> Column<T> {
    fn new() -> Self {
        Self(Vec::new())
    }

    /// Sets the value of the newest request, number `index`.
    #[inline]
    fn set(&mut self, index: usize, room: usize, value: T) {
        if value == T::default() && self.0.len() <= index {
            return;
        }
        if self.0.is_empty() {
            self.0.reserve_exact(room);
        }
        self.0.resize(index + 1, T::default());
        if let Some(last) = self.0.last_mut() {
            *last = value;
        }
    }

    fn finish(mut self, count: usize) -> Vec<T> {
        if !self.0.is_empty() {
            self.0.resize(count, T::default());
        }
        self.0
    }
}

/// The requests of one call of `next`.
#[derive(Debug)]
pub struct Batch {
    limit: usize,
    count: usize,
    template: Column<u32>,
    path_len: Column<u32>,
    body_len: Column<u32>,
    tag: Column<u64>,
    arena: Vec<u8>,
    done: bool,
}

/// Paths and bodies of a batch that is large enough.
const ENOUGH_BYTES: usize = 1 << 20;

impl Batch {
    /// A batch with room for `limit` requests and, without growing, `arena_bytes` of paths and bodies.
    pub(crate) fn new(limit: u32, arena_bytes: usize) -> Self {
        Self {
            limit: limit as usize,
            count: 0,
            template: Column::new(),
            path_len: Column::new(),
            body_len: Column::new(),
            tag: Column::new(),
            arena: Vec::with_capacity(arena_bytes),
            done: false,
        }
    }

    /// Whether the batch takes another request: the host wants more, and paths and bodies so far are
    /// below 1 MiB. A call has a time limit, and large bodies would reach it with few requests.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.count < self.limit && !self.done && self.arena.len() < ENOUGH_BYTES
    }

    /// How many more requests the host wants in this batch.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.count)
    }

    /// How many requests the batch holds.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the batch holds no request yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a request: the template as it is, unless the returned [`Request`] is given a path, a body or a tag.
    #[inline]
    pub fn request(&mut self, template: TemplateId) -> Request<'_> {
        let index = self.count;
        self.count += 1;
        self.template.set(index, self.limit, template.0);
        Request {
            index,
            path_start: self.arena.len(),
            body_start: self.arena.len(),
            batch: self,
        }
    }

    /// Fills the batch with the template as it is.
    pub fn fill(&mut self, template: TemplateId) {
        while self.has_room() {
            self.request(template);
        }
    }

    /// Says that the generator has nothing more to give after this batch.
    pub fn finish(&mut self) {
        self.done = true;
    }

    /// The columns; a failure if the plugin added more than it was asked for.
    pub(crate) fn into_wit(self) -> Result<wit::Batch, Failure> {
        if self.count > self.limit {
            let message = format!(
                "the plugin added {} requests to a batch of at most {}; ask `has_room` first",
                self.count, self.limit
            );
            return Err(Failure::new("batch-overflow", message));
        }
        Ok(wit::Batch {
            count: as_u32(self.count),
            template: self.template.finish(self.count),
            path_len: self.path_len.finish(self.count),
            body_len: self.body_len.finish(self.count),
            tag: self.tag.finish(self.count),
            arena: self.arena,
            done: self.done,
        })
    }
}

/// A component has 32-bit memory, so that lengths fit; natively they saturate.
#[inline]
fn as_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The newest request of a batch; what is not said is the template's.
#[derive(Debug)]
pub struct Request<'a> {
    batch: &'a mut Batch,
    index: usize,
    path_start: usize,
    body_start: usize,
}

impl Request<'_> {
    /// Sets the path and query, percent-encoded, from the root of the API server. Called again, it appends.
    #[inline]
    pub fn path(mut self, path: impl Part) -> Self {
        let body_len = self.batch.arena.len() - self.body_start;
        let before = self.batch.arena.len();
        path.write(&mut self.batch.arena);
        let added = self.batch.arena.len() - before;
        if body_len > 0
            && let Some(tail) = self.batch.arena.get_mut(self.body_start..)
        {
            // The body was given first; the arena wants the path first.
            tail.rotate_right(added);
        }
        self.body_start += added;
        let length = as_u32(self.body_start - self.path_start);
        self.batch
            .path_len
            .set(self.index, self.batch.limit, length);
        self
    }

    /// Sets the body. Called again, it appends.
    #[inline]
    pub fn body(self, body: impl Part) -> Self {
        body.write(&mut self.batch.arena);
        let length = as_u32(self.batch.arena.len() - self.body_start);
        self.batch
            .body_len
            .set(self.index, self.batch.limit, length);
        self
    }

    /// Sets the number that comes back in the outcome. Stay below 2^53.
    #[inline]
    pub fn tag(self, tag: u64) -> Self {
        self.batch.tag.set(self.index, self.batch.limit, tag);
        self
    }
}

/// Something a path or a body is made of: text, bytes, numbers, `format_args!(…)`, random letters, tuples of these.
pub trait Part {
    /// Appends it.
    fn write(self, into: &mut Vec<u8>);
}

impl Part for &str {
    #[inline]
    fn write(self, into: &mut Vec<u8>) {
        into.extend_from_slice(self.as_bytes());
    }
}

impl Part for &String {
    #[inline]
    fn write(self, into: &mut Vec<u8>) {
        into.extend_from_slice(self.as_bytes());
    }
}

impl Part for &[u8] {
    #[inline]
    fn write(self, into: &mut Vec<u8>) {
        into.extend_from_slice(self);
    }
}

impl Part for &Vec<u8> {
    #[inline]
    fn write(self, into: &mut Vec<u8>) {
        into.extend_from_slice(self);
    }
}

impl Part for u64 {
    /// In decimal. Written by hand because formatting costs several times as much in a component.
    #[inline]
    fn write(self, into: &mut Vec<u8>) {
        let mut digits = [b'0'; 20];
        let mut rest = self;
        let mut used = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            used += 1;
            if rest == 0 {
                break;
            }
        }
        into.extend_from_slice(digits.get(20 - used..).unwrap_or_default());
    }
}

impl Part for u32 {
    #[inline]
    fn write(self, into: &mut Vec<u8>) {
        u64::from(self).write(into);
    }
}

impl Part for usize {
    #[inline]
    fn write(self, into: &mut Vec<u8>) {
        (self as u64).write(into);
    }
}

impl Part for fmt::Arguments<'_> {
    fn write(self, into: &mut Vec<u8>) {
        struct Bytes<'a>(&'a mut Vec<u8>);
        impl fmt::Write for Bytes<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }
        // Fails only if a `Display` of the plugin says so; what was written until then stays.
        let _ = Bytes(into).write_fmt(self);
    }
}

macro_rules! tuple_part {
    ($($name:ident)+) => {
        impl<$($name: Part),+> Part for ($($name,)+) {
            #[inline]
            fn write(self, into: &mut Vec<u8>) {
                #[allow(non_snake_case, reason = "the tuple's fields are named after their types")]
                let ($($name,)+) = self;
                $($name.write(into);)+
            }
        }
    };
}
tuple_part!(A);
tuple_part!(A B);
tuple_part!(A B C);
tuple_part!(A B C D);
tuple_part!(A B C D E);
tuple_part!(A B C D E F);
tuple_part!(A B C D E F G);
tuple_part!(A B C D E F G H);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn text(part: impl Part) -> String {
        let mut bytes = Vec::new();
        part.write(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn parts_are_written_as_they_read() {
        for number in [0, 1, 9, 10, 99, 100, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(text(number), number.to_string());
        }
        assert_eq!(text(("a", 7_u64, &"b".to_owned(), 3_u32, 5_usize)), "a7b35");
        assert_eq!(text((format_args!("{:03}", 5), &b"x"[..])), "005x");
        assert_eq!(text(Random::new(1).alphanumeric(12)).len(), 12);
    }

    #[test]
    fn columns_of_zeros_stay_empty() {
        let mut batch = Batch::new(4, 0);
        batch.fill(TemplateId(0));
        let batch = batch.into_wit().unwrap();
        assert_eq!(batch.count, 4);
        assert!(batch.template.is_empty() && batch.path_len.is_empty());
        assert!(batch.body_len.is_empty() && batch.tag.is_empty() && batch.arena.is_empty());
        assert!(!batch.done);
    }

    #[test]
    fn a_column_is_whole_as_soon_as_one_value_is_not_zero() {
        let mut batch = Batch::new(8, 0);
        batch.request(TemplateId(0));
        batch.request(TemplateId(2)).tag(9);
        batch.request(TemplateId(0)).path(("/a/", 1_u64));
        batch.request(TemplateId(0)).body("{}").tag(0);
        batch.request(TemplateId(1));
        batch.finish();
        assert!(!batch.has_room());
        let batch = batch.into_wit().unwrap();
        assert_eq!(batch.count, 5);
        assert_eq!(batch.template, [0, 2, 0, 0, 1]);
        assert_eq!(batch.path_len, [0, 0, 4, 0, 0]);
        assert_eq!(batch.body_len, [0, 0, 0, 2, 0]);
        assert_eq!(batch.tag, [0, 9, 0, 0, 0]);
        assert_eq!(batch.arena, b"/a/1{}");
        assert!(batch.done);
    }

    #[test]
    fn large_bodies_make_small_batches() {
        let mut batch = Batch::new(64, 0);
        while batch.has_room() {
            batch
                .request(TemplateId(0))
                .body("x".repeat(300_000).as_str());
        }
        assert_eq!(batch.len(), 4);
        assert!(batch.into_wit().is_ok());
    }

    #[test]
    fn path_comes_first_whichever_is_given_first() {
        let mut batch = Batch::new(2, 0);
        batch
            .request(TemplateId(0))
            .body("bo")
            .path("/p")
            .body("dy")
            .path("ath");
        batch.request(TemplateId(0)).path("/q").path("?x").body("z");
        let batch = batch.into_wit().unwrap();
        assert_eq!(batch.path_len, [5, 4]);
        assert_eq!(batch.body_len, [4, 1]);
        assert_eq!(batch.arena, b"/pathbody/q?xz");
    }

    #[test]
    fn a_tag_can_be_taken_back() {
        let mut batch = Batch::new(2, 0);
        batch.request(TemplateId(0)).tag(3).tag(0);
        assert_eq!(batch.into_wit().unwrap().tag, [0]);
    }

    #[test]
    fn more_than_asked_for_is_a_failure() {
        let mut batch = Batch::new(1, 0);
        assert_eq!(batch.room(), 1);
        batch.fill(TemplateId(0));
        batch.fill(TemplateId(0));
        assert_eq!(batch.len(), 1);
        batch.request(TemplateId(0));
        assert_eq!(batch.room(), 0);
        assert_eq!(batch.into_wit().unwrap_err().code, "batch-overflow");
    }
}
