//! Flags and kperf's defaults on top of a profile.
//!
//! As kperf's runner does it: defaults fill only the first spec, later ones have to say everything;
//! connections, content type and HTTP version are those of the first spec; flags only go with one spec.

use std::time::Duration;

use super::{
    ContentType, Entry, Profile, Spec, locate,
    problem::{Problem, ProfileError},
};

/// Requests when neither total nor duration is given.
const DEFAULT_TOTAL: i64 = 1000;

/// Most connections of a run: each takes memory before the first byte is sent, and there are no more ports than that.
pub const MAX_CONNS: u32 = 100_000;
/// Most clients of a spec.
pub const MAX_CLIENTS: u32 = 1_000_000;

/// Flags of the command line that were given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// `--rate`.
    pub rate: Option<f64>,
    /// `--total`.
    pub total: Option<u64>,
    /// `--duration`.
    pub duration: Option<Duration>,
    /// `--conns`.
    pub conns: Option<u32>,
    /// `--client`.
    pub client: Option<u32>,
    /// `--content-type`.
    pub content_type: Option<ContentType>,
    /// `--disable-http2`.
    pub disable_http2: Option<bool>,
    /// `--max-retries`.
    pub max_retries: Option<u32>,
}

/// A profile with nothing left open.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Free text, or empty.
    pub description: String,
    /// Connections of the whole run.
    pub conns: u32,
    /// What to accept, for the whole run.
    pub content_type: ContentType,
    /// HTTP/1.1 for the whole run.
    pub disable_http2: bool,
    /// At least one, run one after another.
    pub specs: Vec<ResolvedSpec>,
    /// What the user should know, though it is no error.
    pub warnings: Vec<Problem>,
}

/// A spec with nothing left open.
#[derive(Clone, Debug)]
pub struct ResolvedSpec {
    /// Requests per second; 0 = closed loop.
    pub rate: f64,
    /// Requests in all. With `duration`, whichever comes first.
    pub total: Option<u64>,
    /// How long to send.
    pub duration: Option<Duration>,
    /// Clients.
    pub client: u32,
    /// Retries of a 429 or 5xx with Retry-After.
    pub max_retries: u32,
    /// The mix.
    pub entries: Vec<Entry>,
    /// Where it stands: `specs[0]`.
    pub path: String,
}

impl Resolved {
    /// Gives plugins other names where `name` has one, as [`Profile::to_yaml`] writes them.
    pub fn rename_plugins(&mut self, name: impl Fn(&Entry) -> Option<String>) {
        for entry in self.specs.iter_mut().flat_map(|spec| &mut spec.entries) {
            if let Some(name) = name(entry) {
                entry.written = name;
                // A kind of kperf that somebody's file stands in for is that file.
                entry.kind = None;
            }
        }
    }
}

impl Profile {
    /// Applies flags and defaults, then checks kperf's rules about specs.
    ///
    /// # Errors
    /// All broken rules, in kperf's words, with their lines.
    pub fn resolve(&self, overrides: &Overrides) -> Result<Resolved, ProfileError> {
        if self.specs.len() > 1 && *overrides != Overrides::default() {
            return Err(self
                .problem(
                    "specs",
                    "CLI flag overrides are not allowed when config has multiple specs",
                )
                .into());
        }
        let mut rules = Rules {
            profile: self,
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        let resolved: Vec<_> = self
            .specs
            .iter()
            .enumerate()
            .map(|(index, spec)| rules.spec(spec, overrides, index == 0))
            .collect();
        let Rules {
            problems, warnings, ..
        } = rules;
        let first = self.specs.first().zip(resolved.first());
        let Some((first, &(conns, _))) = first else {
            return Err(self.problem("specs", "specs must be provided").into());
        };
        if !problems.is_empty() {
            return Err(ProfileError::new(problems));
        }
        Ok(Resolved {
            description: self.description.clone(),
            conns,
            content_type: overrides
                .content_type
                .or(first.content_type)
                .unwrap_or(ContentType::Json),
            disable_http2: overrides
                .disable_http2
                .or(first.disable_http2)
                .unwrap_or(false),
            specs: resolved.into_iter().map(|(_, spec)| spec).collect(),
            warnings,
        })
    }
}

struct Rules<'a> {
    profile: &'a Profile,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Rules<'_> {
    /// One spec and its connections, in the order of kperf's checks.
    fn spec(&mut self, spec: &Spec, overrides: &Overrides, first: bool) -> (u32, ResolvedSpec) {
        let fill = |value: i64| if first && value == 0 { 1 } else { value };
        // As in kperf, zeros of the first spec are filled, a zero that a flag says is an error.
        let conns = match overrides.conns {
            Some(conns) => conns.into(),
            None => fill(spec.conns.unwrap_or(0)),
        };
        let conns = self.count(spec, "conns", conns, MAX_CONNS, overrides.conns.is_some());

        let rate = overrides.rate.or(spec.rate).unwrap_or(0.0);
        if !(rate >= 0.0 && rate.is_finite()) {
            let message = format!("rate requires >= 0: {rate}");
            self.broken(spec, "rate", overrides.rate.is_some(), message);
        }

        let (total, duration) = self.amount(spec, overrides, first);
        let client = match overrides.client {
            Some(client) => client.into(),
            None => fill(spec.client.unwrap_or(0)),
        };
        let client = self.count(
            spec,
            "client",
            client,
            MAX_CLIENTS,
            overrides.client.is_some(),
        );
        if !first && spec.content_type.is_none() {
            self.broken(
                spec,
                "contentType",
                false,
                "unsupported content type: it is missing, and defaults fill only the first spec; give json or protobuf".into(),
            );
        }
        let max_retries = overrides
            .max_retries
            .map(i64::from)
            .or(spec.max_retries)
            .unwrap_or(0)
            .max(0);
        let spec = ResolvedSpec {
            rate,
            total,
            duration,
            client,
            max_retries: u32::try_from(max_retries).unwrap_or(u32::MAX),
            entries: spec.entries.clone(),
            path: spec.path.clone(),
        };
        (conns, spec)
    }

    fn amount(
        &mut self,
        spec: &Spec,
        overrides: &Overrides,
        first: bool,
    ) -> (Option<u64>, Option<Duration>) {
        let mut total = match overrides.total {
            Some(total) => i64::try_from(total).unwrap_or(i64::MAX),
            None => spec.total.unwrap_or(0),
        };
        let seconds = spec.duration.unwrap_or(0);
        let mut duration = match overrides.duration {
            Some(duration) => duration,
            None => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        };
        let fill = first && overrides.total.is_none();
        if fill && total == 0 && duration.is_zero() && seconds >= 0 {
            total = DEFAULT_TOTAL;
        }
        if total <= 0 && duration.is_zero() {
            let by_flag = overrides.total.is_some();
            let key = if by_flag || spec.total.is_some() || spec.duration.is_none() {
                "total"
            } else {
                "duration"
            };
            self.broken(
                spec,
                key,
                by_flag,
                format!("total requires > 0: {total} or duration > 0s: {seconds}"),
            );
        }
        if first && total > 0 && !duration.is_zero() {
            let message = format!(
                "both total:{total} and duration:{} are set, duration will be ignored",
                duration.as_secs_f64()
            );
            let warning = self.problem(spec, "duration", overrides.duration.is_some(), message);
            self.warnings.push(warning);
            duration = Duration::ZERO;
        }
        (
            u64::try_from(total).ok().filter(|total| *total > 0),
            Some(duration).filter(|duration| !duration.is_zero()),
        )
    }

    fn count(&mut self, spec: &Spec, key: &str, value: i64, most: u32, by_flag: bool) -> u32 {
        if value <= 0 {
            let message = format!("{key} requires > 0: {value}");
            self.broken(spec, key, by_flag, message);
        }
        if value > most.into() {
            let message = format!("{key} must be at most {most}: {value}");
            self.broken(spec, key, by_flag, message);
        }
        u32::try_from(value.max(0)).unwrap_or(u32::MAX).min(most)
    }

    fn broken(&mut self, spec: &Spec, key: &str, by_flag: bool, message: String) {
        let problem = self.problem(spec, key, by_flag, message);
        self.problems.push(problem);
    }

    /// At the key of the spec, or at the flag of the same name.
    fn problem(&self, spec: &Spec, key: &str, by_flag: bool, message: String) -> Problem {
        if by_flag {
            return Problem::of_flags(&format!("--{key}"), message);
        }
        self.profile
            .problem(&locate::child(&spec.path, key), message)
    }
}
