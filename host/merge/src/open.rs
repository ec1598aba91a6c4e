//! From bytes to the text of a document: gzip is seen by its first bytes and inflated into a buffer that is used again.

use std::io::Read as _;

use flate2::bufread::MultiGzDecoder;

use crate::error::Problem;

/// Most that is inflated.
const MAX_BYTES: usize = 1 << 30;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Inflates `bytes` into `buffer` if they are gzip; else they are the text.
pub(crate) fn open<'a>(bytes: &'a [u8], buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Problem> {
    if !bytes.starts_with(&GZIP) {
        return if bytes.iter().all(u8::is_ascii_whitespace) {
            Err(Problem::Empty)
        } else {
            Ok(bytes)
        };
    }
    buffer.clear();
    // What gzip says of its length is a guess worth trusting up to a point.
    if let Some((_, [a, b, c, d])) = bytes.split_last_chunk::<4>() {
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        buffer.reserve(length.min(bytes.len().saturating_mul(64)).min(MAX_BYTES) + 1);
    }
    let inflated = MultiGzDecoder::new(bytes)
        .take(MAX_BYTES as u64 + 1)
        .read_to_end(buffer);
    match inflated {
        Err(error) => Err(Problem::Gzip {
            after: buffer.len(),
            why: error.to_string(),
        }),
        Ok(_) if buffer.len() > MAX_BYTES => Err(Problem::TooLarge { limit: MAX_BYTES }),
        Ok(_) => Ok(buffer),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn gzip_and_plain_text_are_told_apart() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"{\"a\": 1}").unwrap();
        let packed = encoder.finish().unwrap();
        let mut buffer = Vec::new();
        assert_eq!(open(&packed, &mut buffer).unwrap(), b"{\"a\": 1}");
        assert_eq!(open(b"{}", &mut buffer).unwrap(), b"{}");
        for cut in 2..packed.len() {
            let error = open(&packed[..cut], &mut buffer).unwrap_err();
            assert!(matches!(error, Problem::Gzip { .. }), "{cut}: {error}");
        }
        for empty in [&b""[..], b" \n"] {
            assert!(matches!(open(empty, &mut buffer), Err(Problem::Empty)));
        }
    }
}
