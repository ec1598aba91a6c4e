//! What kperf's scenarios have in common; each scenario is a small benchmark of its own beside this crate.
//!
//! A scenario says what it is ([`describe`](run::describe)), makes its place ([`pool`], namespaces, objects), starts the
//! load ([`profile`]) and works beside it ([`jobs`], or its own) until the load has ended ([`end`]). The host deletes
//! everything afterwards.
//!
//! The load is kperf's: the same requests in the same mix at the same rate, so that keys and numbers can be compared.
//! What kperf gets wrong is right here, in all scenarios: pods go to the scenario's own virtual nodes and nowhere else,
//! texts say what is done, nothing is left in the cluster, and names that are taken are an error rather than a panic.

pub mod config_maps;
pub mod end;
pub mod jobs;
pub mod one_job;
pub mod pool;
pub mod profile;

use kperf_sdk::benchmark::prelude::*;

/// How large and how long the load is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(crate = "kperf_sdk::serde", rename_all = "camelCase", default)]
pub struct Load {
    /// Requests of each runner. As many as kperf sends if absent, or 0, and there is no duration either.
    pub total: Option<u64>,
    /// How long to send, in seconds, when there is no total. 0 is as if absent.
    pub duration: Option<u64>,
    /// What to accept.
    pub content_type: ContentType,
    /// How many runners send; each of them does the whole load. kperf's number if absent.
    #[schemars(range(min = 1, max = 1000))]
    pub runners: Option<u32>,
}

/// What to accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(crate = "kperf_sdk::serde", rename_all = "lowercase")]
pub enum ContentType {
    /// `application/json`
    #[default]
    Json,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

impl ContentType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Protobuf => "protobuf",
        }
    }
}

impl Load {
    /// Starts it; connections stand when this returns.
    ///
    /// # Errors
    /// The profile is wrong, or the server cannot be reached.
    pub fn start(&self, profile: &Value, runners: u32) -> Result<load::Phase, Failure> {
        run::progress("the load runs", 0, 0);
        load::Phase::start(
            "load",
            &profile.to_string(),
            self.runners.unwrap_or(runners),
        )
    }
}

/// Says what a run would do, and that it did nothing.
pub fn dry_run(text: &str) -> Verdict {
    run::report_finding("info", "dry-run", text);
    Verdict::passed("nothing was created, and nothing was sent")
}
