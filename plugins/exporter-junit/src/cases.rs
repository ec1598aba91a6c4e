//! What the test cases of a report are.
//!
//! Enters: the typed report. Leaves: the run as a whole first, then phases in their order, then thresholds. The run
//! fails when anything in it does, as with ClusterLoader2, and says everything that did.
//!
//! Phases whose names begin with `[step: NN]` are ClusterLoader2's: those of one step are one case with its name, and
//! errors that name the step are its failures.

use kperf_sdk::failure::find_label;

use crate::wit;

/// All cases of a run.
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) length_ns: u64,
    pub(crate) cases: Vec<Case>,
}

/// One test.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) length_ns: u64,
    /// What went wrong, one line each; none = passed.
    pub(crate) failures: Vec<String>,
}

impl Suite {
    /// How many cases failed.
    pub(crate) fn failed(&self) -> usize {
        self.cases
            .iter()
            .filter(|case| !case.failures.is_empty())
            .count()
    }
}

/// The suite of a run; empty names are derived from it.
pub(crate) fn suite(whole: &wit::Summary, suite: &str, test: &str) -> Suite {
    let of_clusterloader2 = whole
        .distributions
        .iter()
        .find(|one| one.label("measurement").is_some() && one.label("test").is_some());
    let name = match (suite, of_clusterloader2) {
        ("", Some(_)) => "ClusterLoaderV2",
        ("", None) => "kperf-host",
        (given, _) => given,
    };
    let benchmark = whole.plugins.iter().find(|one| one.world == "benchmark");
    let known = [
        Some(test),
        of_clusterloader2.and_then(|one| one.label("test")),
        find_label(&whole.labels, "test"),
        benchmark.map(|one| one.name.as_str()),
    ];
    let known = known.into_iter().flatten().find(|name| !name.is_empty());
    let test = known.unwrap_or("run");

    let phases = whole
        .phases
        .chunk_by(|one, next| step(&one.name).is_some() && step(&one.name) == step(&next.name))
        .filter_map(|phases| of_phases(whole, phases, test));
    let thresholds = whole.thresholds.iter().map(|one| Case {
        name: format!("{test}: [threshold] {}", one.expression),
        length_ns: 0,
        failures: exceeded(one).into_iter().collect(),
    });
    let mut cases = vec![overall(whole, test)];
    cases.extend(phases.chain(thresholds));
    Suite {
        name: name.to_owned(),
        length_ns: whole.length_ns,
        cases,
    }
}

/// `[step: NN]` in front of a name, if it is there.
fn step(name: &str) -> Option<&str> {
    let (number, _) = name.strip_prefix("[step: ")?.split_once(']')?;
    is_number(number)
        .then(|| name.get(..="[step: ".len() + number.len()))
        .flatten()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The case of one phase, or of all phases of a step.
fn of_phases(whole: &wit::Summary, phases: &[wit::Phase], test: &str) -> Option<Case> {
    let first = phases.first()?;
    let mut name = first.name.as_str();
    let mut failures: Vec<String> = phases.iter().filter_map(phase_failure).collect();
    if let Some(step) = step(name) {
        // Of a step's phases beside each other each has its number at the end.
        if let Some((of_step, number)) = name.rsplit_once(" [phase ")
            && number.strip_suffix(']').is_some_and(is_number)
        {
            name = of_step;
        }
        let of_step = errors(whole).filter(|finding| finding.message.starts_with(step));
        failures.extend(of_step.map(error));
    }
    // Phases of a step overlap.
    let start_us = phases.iter().map(|phase| phase.start_unix_us).min()?;
    let ends_ns = phases.iter().map(|phase| {
        let begins_ns = (phase.start_unix_us - start_us).saturating_mul(1_000);
        begins_ns.saturating_add(phase.length_ns)
    });
    Some(Case {
        name: format!("{test}: {name}"),
        length_ns: ends_ns.max()?,
        failures,
    })
}

fn errors(whole: &wit::Summary) -> impl Iterator<Item = &wit::Finding> {
    whole
        .findings
        .iter()
        .filter(|finding| finding.severity == "error")
}

fn error(finding: &wit::Finding) -> String {
    format!("{}: {}", finding.code, finding.message)
}

fn overall(whole: &wit::Summary, test: &str) -> Case {
    let mut failures = Vec::new();
    if whole.ended != "completed" {
        failures.push(format!("the run ended early: {}", whole.ended));
    }
    failures.extend(whole.phases.iter().flat_map(phase_failure));
    failures.extend(errors(whole).map(error));
    failures.extend(whole.thresholds.iter().filter_map(exceeded));
    // ClusterLoader2 puts the path of its configuration in brackets.
    let config = find_label(&whole.environment, "config");
    Case {
        name: match config {
            Some(config) => format!("{test} overall ({config})"),
            None => format!("{test} overall"),
        },
        length_ns: whole.length_ns,
        failures,
    }
}

fn phase_failure(phase: &wit::Phase) -> Option<String> {
    (phase.ended != "completed")
        .then(|| format!("the phase {} ended early: {}", phase.name, phase.ended))
}

fn exceeded(one: &wit::Threshold) -> Option<String> {
    if one.passed {
        return None;
    }
    Some(match one.measured {
        Some(measured) => format!(
            "{}: measured {measured} {}, the limit is {}",
            one.expression, one.unit, one.limit
        ),
        None => format!("{}: nothing was measured", one.expression),
    })
}
