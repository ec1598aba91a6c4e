//! ClusterLoader2's test configs, as far as this benchmark runs them. Nothing here talks to a cluster.

pub mod calls;
pub mod decode;
pub mod duration;
pub mod model;
pub mod objects;
pub mod reconcile;
pub mod source;
pub mod test;
pub mod tuning;
