//! Bytes on their way through the API: compressed, in parts that objects can hold, checked on arrival.

use std::io::{Read as _, Write as _};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use sha2::{Digest as _, Sha256};

/// Most bytes of one part, before base64; a ConfigMap holds 1 MiB with everything.
pub const PART_BYTES: usize = 700 << 10;
/// Most that is unpacked.
const MAX_BYTES: u64 = 1 << 30;

/// Bytes that are packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// In their order; at least one.
    pub parts: Vec<Vec<u8>>,
    /// Of what was packed.
    pub bytes: u64,
    /// Of what was packed, lower-case hexadecimal.
    pub sha256: String,
}

/// What arrived is not what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParcelError {
    /// Cut off, or not gzip at all.
    #[error("they cannot be unpacked: {0}")]
    Gzip(String),
    /// Something else.
    #[error("their digest is {found}, and it should be {expected}")]
    Digest {
        /// Of what arrived.
        found: String,
        /// Of what was sent.
        expected: String,
    },
}

impl Parcel {
    /// Packs.
    #[must_use]
    pub fn pack(bytes: &[u8]) -> Self {
        Self::pack_in(bytes, PART_BYTES)
    }

    /// Packs in smaller parts.
    #[must_use]
    pub fn pack_in(bytes: &[u8], part_bytes: usize) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Into memory nothing fails.
        let packed = encoder
            .write_all(bytes)
            .and_then(|()| encoder.finish())
            .unwrap_or_default();
        Self {
            parts: packed
                .chunks(part_bytes.max(1))
                .map(<[u8]>::to_vec)
                .collect(),
            bytes: bytes.len() as u64,
            sha256: sha256(bytes),
        }
    }

    /// Bytes of all parts.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }
}

/// Unpacks the parts of a parcel, one after the other in `packed`.
///
/// # Errors
/// They are not what was packed.
pub fn unpack(packed: &[u8], bytes: u64, expected: &str) -> Result<Vec<u8>, ParcelError> {
    let mut unpacked = Vec::new();
    GzDecoder::new(packed)
        // One more, so that the end of the stream is seen and checked.
        .take(bytes.min(MAX_BYTES) + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| ParcelError::Gzip(error.to_string()))?;
    let found = sha256(&unpacked);
    if found == expected {
        Ok(unpacked)
    } else {
        Err(ParcelError::Digest {
            found,
            expected: expected.to_owned(),
        })
    }
}

/// SHA-256, lower-case hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_is_what_was_packed() {
        // Digests do not compress.
        let large: Vec<u8> = (0u32..60_000)
            .flat_map(|n| Sha256::digest(n.to_le_bytes()).to_vec())
            .collect();
        for bytes in [&b""[..], b"{}", &large] {
            let parcel = Parcel::pack(bytes);
            assert!(parcel.parts.iter().all(|part| part.len() <= PART_BYTES));
            let packed = parcel.parts.concat();
            assert_eq!(packed.len(), parcel.packed_bytes());
            assert_eq!(
                unpack(&packed, parcel.bytes, &parcel.sha256).unwrap(),
                bytes
            );
            unpack(&packed, parcel.bytes, "0").expect_err("another digest");
            unpack(&packed[..packed.len() / 2], parcel.bytes, &parcel.sha256)
                .expect_err("half of it");
        }
        assert!(Parcel::pack(&large).parts.len() > 1);
        assert!(Parcel::pack_in(b"abcdef", 4).parts.len() > 1);
    }
}
