//! Continue tokens: opaque to clients, they name the revision of the list and its last item.

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use crate::status::Status;

const ENGINE: base64::engine::GeneralPurpose = base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContinueToken {
    /// Revision of the list; `None` after an expiry: go on with whatever there is now.
    #[serde(rename = "rv")]
    pub(crate) revision: Option<u64>,
    #[serde(rename = "ns")]
    pub(crate) namespace: String,
    #[serde(rename = "start")]
    pub(crate) name: String,
}

impl ContinueToken {
    pub(crate) fn encode(&self) -> String {
        ENGINE.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(crate) fn decode(text: &str) -> Result<Self, Status> {
        let bad = |why: String| Status::bad_request(format!("continue key is not valid: {why}"));
        let bytes = ENGINE.decode(text).map_err(|e| bad(e.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_nonsense() {
        let token = ContinueToken {
            revision: Some(7),
            namespace: "ns".to_owned(),
            name: "é".to_owned(),
        };
        assert_eq!(ContinueToken::decode(&token.encode()), Ok(token));
        for text in ["x", "", "bm9uc2Vuc2U", "!!"] {
            assert_eq!(ContinueToken::decode(text).unwrap_err().code, 400, "{text}");
        }
    }
}
