//! From bytes to the text of a document: gzip is seen by its first bytes and inflated into a buffer that is used again.

use std::io::Read as _;

use flate2::bufread::MultiGzDecoder;
use libdeflater::{Crc, Decompressor};

use crate::error::Problem;

/// Most that is inflated.
const MAX_BYTES: usize = 1 << 30;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Inflates `bytes` into `buffer` if they are gzip; else they are the text.
pub(crate) fn open<'a>(
    bytes: &'a [u8],
    inflate: &mut Decompressor,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a [u8], Problem> {
    if !bytes.starts_with(&GZIP) {
        return if bytes.iter().all(u8::is_ascii_whitespace) {
            Err(Problem::Empty)
        } else {
            Ok(bytes)
        };
    }
    // What gzip says of its length at its end is a guess worth trusting up to a point.
    let (digest, length) = trailer(bytes);
    let room = length.min(bytes.len().saturating_mul(64)).min(MAX_BYTES);
    if buffer.len() < room {
        buffer.resize(room, 0);
    }
    let at_once = buffer
        .get_mut(..room)
        .and_then(|room| inflate.gzip_decompress(bytes, room).ok());
    // The first member is all there is when what the file ends with is about it.
    if at_once == Some(length) {
        let inflated = buffer.get(..length).unwrap_or_default();
        let mut crc = Crc::new();
        crc.update(inflated);
        if crc.sum() == digest {
            return Ok(buffer.get(..length).unwrap_or_default());
        }
    }
    // Several members, or damaged: by the reader that copes with the one and tells of the other.
    buffer.clear();
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

/// CRC-32 and length of the last member (RFC 1952, 2.3.1).
fn trailer(bytes: &[u8]) -> (u32, usize) {
    let Some((rest, length)) = bytes.split_last_chunk::<4>() else {
        return (0, 0);
    };
    let digest = rest
        .last_chunk::<4>()
        .map_or(0, |crc| u32::from_le_bytes(*crc));
    (digest, u32::from_le_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn gzip_and_plain_text_are_told_apart() {
        let pack = |text: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let packed = pack(b"{\"a\": 1}");
        let (mut inflate, mut buffer) = (Decompressor::new(), Vec::new());
        let mut open = |bytes: &[u8]| open(bytes, &mut inflate, &mut buffer).map(<[u8]>::to_vec);
        assert_eq!(open(&packed).unwrap(), b"{\"a\": 1}");
        assert_eq!(open(b"{}").unwrap(), b"{}");
        let several = [packed.clone(), pack(b"{\"b\": 2}")].concat();
        assert_eq!(open(&several).unwrap(), b"{\"a\": 1}{\"b\": 2}");
        for cut in 2..packed.len() {
            let error = open(&packed[..cut]).unwrap_err();
            assert!(matches!(error, Problem::Gzip { .. }), "{cut}: {error}");
        }
        for empty in [&b""[..], b" \n"] {
            assert!(matches!(open(empty), Err(Problem::Empty)));
        }
    }
}
