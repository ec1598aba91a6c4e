//! Chunks of a body into lines, wherever the chunks are cut.

/// A line longer than the limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LineTooLong;

/// The part of a line that has come so far.
#[derive(Debug)]
pub(crate) struct Lines {
    begun: Vec<u8>,
    max_bytes: usize,
}

/// Capacity kept between lines that were cut; a single large one does not stay in memory.
const KEPT_BYTES: usize = 64 * 1024;

impl Lines {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            begun: Vec::new(),
            max_bytes,
        }
    }

    /// Gives every line that is complete with `chunk` to `each`, which may say stop (`Err`). What stands
    /// behind the last newline waits for the next chunk.
    pub(crate) fn feed<E: From<LineTooLong>>(
        &mut self,
        chunk: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut pieces = chunk.split(|byte| *byte == b'\n');
        // `split` yields the unfinished rest last, empty when the chunk ends with a newline.
        let Some(mut piece) = pieces.next() else {
            return Ok(());
        };
        for next in pieces {
            if self.begun.len() + piece.len() > self.max_bytes {
                return Err(LineTooLong.into());
            }
            let result = if self.begun.is_empty() {
                emit(piece, &mut each)
            } else {
                self.begun.extend_from_slice(piece);
                let result = emit(&self.begun, &mut each);
                self.begun.clear();
                self.begun.shrink_to(KEPT_BYTES);
                result
            };
            result?;
            piece = next;
        }
        if self.begun.len() + piece.len() > self.max_bytes {
            return Err(LineTooLong.into());
        }
        self.begun.extend_from_slice(piece);
        Ok(())
    }
}

fn emit<E>(line: &[u8], each: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    if line.trim_ascii().is_empty() {
        Ok(())
    } else {
        each(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]], max_bytes: usize) -> Result<Vec<String>, LineTooLong> {
        let mut lines = Lines::new(max_bytes);
        let mut out = Vec::new();
        for chunk in chunks {
            lines.feed::<LineTooLong>(chunk, |line| {
                out.push(String::from_utf8(line.to_vec()).unwrap());
                Ok(())
            })?;
        }
        Ok(out)
    }

    #[test]
    fn any_cut_gives_the_same_lines() {
        let text = b"one\ntwo\r\n\n\nthree\nrest";
        let whole = split(&[text], 100).unwrap();
        assert_eq!(whole, ["one", "two\r", "three"]);
        for i in 0..=text.len() {
            for j in i..=text.len() {
                assert_eq!(
                    split(&[&text[..i], &text[i..j], &text[j..]], 100),
                    Ok(whole.clone())
                );
            }
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(split(&bytes, 100), Ok(whole));
    }

    #[test]
    fn a_line_has_a_limit_before_it_is_complete() {
        assert_eq!(split(&[b"12345\n"], 5), Ok(vec!["12345".into()]));
        assert_eq!(split(&[b"123456\n"], 5), Err(LineTooLong));
        assert_eq!(split(&[b"123", b"456"], 5), Err(LineTooLong));
    }

    #[test]
    fn after_a_stop_nothing_is_given() {
        let mut lines = Lines::new(100);
        let mut seen = 0;
        let result: Result<(), LineTooLong> = lines.feed(b"a\nb\nc\n", |_| {
            seen += 1;
            if seen == 2 { Err(LineTooLong) } else { Ok(()) }
        });
        assert!(result.is_err());
        assert_eq!(seen, 2);
    }
}
