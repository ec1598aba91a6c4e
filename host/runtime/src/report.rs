//! The typed report as exporters get it (`kperf:report/measures`). The host builds these directly:
//! they are its report model.

pub use crate::v0_1::kperf::{
    core::vocabulary::Label,
    report::measures::{
        Counter, Distribution, FailedExchange, Finding, Histogram, Interval, Metric, ObjectRow,
        ObjectTable, Phase, PluginUse, Quantile, Samples, Series, Summary, Threshold,
    },
};
