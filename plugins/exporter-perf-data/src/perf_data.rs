//! The shapes of ClusterLoader2's perf-data, in the order it writes their keys.

use std::collections::BTreeMap;

use kperf_sdk::Failure;
use serde::Serialize;

use crate::wit;

/// One summary.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PerfData {
    pub(crate) version: &'static str,
    pub(crate) data_items: Vec<DataItem>,
}

impl PerfData {
    /// In the version that latencies have.
    pub(crate) fn new(data_items: Vec<DataItem>) -> Self {
        Self {
            version: "1.0",
            data_items,
        }
    }
}

/// One distribution.
#[derive(Serialize)]
pub(crate) struct DataItem {
    data: Percentiles,
    unit: &'static str,
    labels: BTreeMap<String, String>,
}

/// Milliseconds; all 0 when there were no values.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Percentiles {
    perc50: f64,
    perc90: f64,
    perc99: f64,
}

impl DataItem {
    /// A distribution under the label `Metric`.
    ///
    /// # Errors
    /// `invalid-report` when it has values but not the three quantiles.
    pub(crate) fn new(
        metric: &str,
        labels: BTreeMap<String, String>,
        times: &wit::Histogram,
    ) -> Result<Self, Failure> {
        let milliseconds = |q| match times.quantile_ns(q) {
            Some(ns) => Ok(ns as f64 / 1e6),
            None if times.count == 0 => Ok(0.0),
            None => {
                let message = format!("`{metric}` has values but no quantile {q}");
                Err(Failure::new("invalid-report", message))
            }
        };
        let mut labels = labels;
        labels.insert("Metric".to_owned(), metric.to_owned());
        Ok(Self {
            data: Percentiles {
                perc50: milliseconds(0.5)?,
                perc90: milliseconds(0.9)?,
                perc99: milliseconds(0.99)?,
            },
            unit: "ms",
            labels,
        })
    }
}
