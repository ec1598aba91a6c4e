//! The report document as merging reads it: texts are borrowed from the bytes, and what merging does not need is passed
//! over. Keys that are not known here are passed over too: within a version, fields are only added.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use crate::{SCHEMA, error::Problem};

/// A text of the document, borrowed unless it has escapes.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn to_owned(&self) -> String {
        self.0.clone().into_owned()
    }
}

/// An object with free keys, in the order they stand.
#[derive(Debug)]
pub(crate) struct Pairs<'a, V>(pub(crate) Vec<(Text<'a>, V)>);

impl<V> Default for Pairs<'_, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, V> Pairs<'a, V> {
    pub(crate) fn get(&self, key: &str) -> Option<&V> {
        let found = self.0.iter().find(|(name, _)| name.as_str() == key);
        found.map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for Pairs<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<'a, V>(PhantomData<(&'a (), V)>);
        impl<'de: 'a, 'a, V: Deserialize<'de>> Visitor<'de> for Each<'a, V> {
            type Value = Pairs<'a, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Each(PhantomData))
    }
}

/// The whole document.
#[derive(Debug, Deserialize)]
pub(crate) struct Document<'a> {
    #[serde(borrow)]
    pub(crate) schema: Text<'a>,
    #[serde(borrow)]
    pub(crate) run_id: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) host_version: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) description: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) labels: Pairs<'a, Text<'a>>,
    pub(crate) start_unix_us: u64,
    pub(crate) length_ns: u64,
    #[serde(borrow)]
    pub(crate) ended: Text<'a>,
    #[serde(borrow)]
    pub(crate) verdict: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) findings: Vec<Finding<'a>>,
    #[serde(borrow, default)]
    pub(crate) server: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) environment: Pairs<'a, Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) plugins: Vec<Plugin<'a>>,
    #[serde(borrow, default)]
    pub(crate) metrics: Vec<Metric<'a>>,
    #[serde(borrow, default)]
    pub(crate) distributions: Vec<Distribution<'a>>,
    #[serde(default)]
    pub(crate) objects: Vec<ObjectTable>,
    #[serde(borrow, default)]
    pub(crate) thresholds: Vec<Threshold<'a>>,
    #[serde(borrow)]
    pub(crate) overall: Overall<'a>,
    #[serde(borrow)]
    pub(crate) phases: Vec<Phase<'a>>,
    #[serde(borrow, default)]
    pub(crate) intervals: Option<Vec<Interval<'a>>>,
    #[serde(default)]
    pub(crate) intervals_dropped: u64,
}

/// All requests of the run: only what a line about a runner needs, and what the phases are checked against.
#[derive(Debug, Deserialize)]
pub(crate) struct Overall<'a> {
    pub(crate) sent: u64,
    pub(crate) failed: u64,
    #[serde(borrow)]
    pub(crate) response_time: Percentiles<'a>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Percentiles<'a> {
    #[serde(borrow, default)]
    pub(crate) percentiles_ns: Pairs<'a, u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Phase<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    pub(crate) start_unix_us: u64,
    pub(crate) length_ns: u64,
    #[serde(borrow)]
    pub(crate) ended: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) settings: Pairs<'a, Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) counters: Pairs<'a, u64>,
    #[serde(borrow, default)]
    pub(crate) metrics: Vec<Metric<'a>>,
    #[serde(borrow)]
    pub(crate) series: Vec<Series<'a>>,
    #[serde(borrow, default)]
    pub(crate) raw: Option<Raw<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Series<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) labels: Pairs<'a, Text<'a>>,
    pub(crate) sent: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) received_bytes: u64,
    #[serde(borrow, default)]
    pub(crate) errors: Pairs<'a, u64>,
    #[serde(borrow, default)]
    pub(crate) counters: Pairs<'a, u64>,
    #[serde(borrow)]
    pub(crate) response_time: Histogram<'a>,
    #[serde(borrow)]
    pub(crate) service_time: Histogram<'a>,
}

/// A histogram. Its percentiles are not read: they do not merge.
#[derive(Debug, Deserialize)]
pub(crate) struct Histogram<'a> {
    pub(crate) count: u64,
    #[serde(default)]
    pub(crate) min_ns: u64,
    #[serde(default)]
    pub(crate) max_ns: u64,
    #[serde(default)]
    pub(crate) mean_ns: f64,
    #[serde(borrow, default)]
    pub(crate) hdr_v2_deflate_base64: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Metric<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    pub(crate) value: Option<f64>,
    #[serde(borrow, default)]
    pub(crate) unit: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) labels: Pairs<'a, Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Distribution<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) labels: Pairs<'a, Text<'a>>,
    #[serde(borrow)]
    pub(crate) times: Histogram<'a>,
    #[serde(default)]
    pub(crate) missing: u64,
}

/// Only how many objects there are.
#[derive(Debug, Deserialize)]
pub(crate) struct ObjectTable {
    #[serde(default)]
    pub(crate) names: Vec<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Threshold<'a> {
    #[serde(borrow)]
    pub(crate) expression: Text<'a>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Finding<'a> {
    #[serde(borrow)]
    pub(crate) severity: Text<'a>,
    #[serde(borrow)]
    pub(crate) code: Text<'a>,
    #[serde(borrow)]
    pub(crate) message: Text<'a>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Plugin<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow)]
    pub(crate) version: Text<'a>,
    #[serde(borrow)]
    pub(crate) sha256: Text<'a>,
    #[serde(borrow)]
    pub(crate) world: Text<'a>,
}

/// Every exchange, as columns.
#[derive(Debug, Deserialize)]
pub(crate) struct Raw<'a> {
    pub(crate) series: Vec<u32>,
    pub(crate) intended_unix_us: Vec<u64>,
    pub(crate) response_ns: Vec<u64>,
    pub(crate) service_ns: Vec<u64>,
    pub(crate) failure: Vec<u32>,
    #[serde(borrow)]
    pub(crate) failures: Vec<FailedExchange<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct FailedExchange<'a> {
    #[serde(borrow)]
    pub(crate) class: Text<'a>,
    pub(crate) status: u32,
    #[serde(borrow)]
    pub(crate) message: Text<'a>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Interval<'a> {
    #[serde(borrow)]
    pub(crate) phase: Text<'a>,
    pub(crate) index: u32,
    pub(crate) start_unix_us: u64,
    pub(crate) length_ns: u64,
    #[serde(borrow, default)]
    pub(crate) counters: Pairs<'a, u64>,
    #[serde(borrow)]
    pub(crate) series: Vec<Series<'a>>,
}

/// Reads a document of the version this program knows.
pub(crate) fn parse(text: &[u8]) -> Result<Document<'_>, Problem> {
    // Checked as a whole, which is quicker than text by text.
    let text = std::str::from_utf8(text).map_err(|error| Problem::Damaged(error.to_string()))?;
    match serde_json::from_str::<Document<'_>>(text) {
        Ok(document) if document.schema.as_str() == SCHEMA => Ok(document),
        Ok(document) => Err(Problem::Version {
            found: document.schema.to_owned(),
        }),
        Err(error) => Err(what_else(text).unwrap_or_else(|| Problem::Damaged(error.to_string()))),
    }
}

/// What a text is that is no document of our version, as far as that can be told.
fn what_else(text: &str) -> Option<Problem> {
    #[derive(Deserialize)]
    struct Head {
        schema: Option<String>,
        #[serde(rename = "perSpecResults")]
        per_spec_results: Option<IgnoredAny>,
        #[serde(rename = "totalReceivedBytes")]
        total_received_bytes: Option<IgnoredAny>,
    }
    let head: Head = serde_json::from_str(text).ok()?;
    match head.schema {
        Some(found) if found == SCHEMA => None,
        Some(found) => Some(Problem::Version { found }),
        None if head.per_spec_results.is_some() || head.total_received_bytes.is_some() => {
            Some(Problem::KperfJson)
        }
        None => Some(Problem::NotReport),
    }
}
