//! What must be the same in all documents: the plugins, the phases in their order, and what was asked of each runner.
//!
//! The first document says it. One whose run was cut may have fewer phases than the others, but no other ones.
//! A benchmark's bulks are no stages of a profile: how many there are is for the benchmark to say.

use crate::{
    document::{Document, Phase, Plugin},
    error::Problem,
    settings::{self, Asked},
};

/// What the first document says of its run.
#[derive(Debug)]
pub(crate) struct Reference {
    name: String,
    plugins: Vec<(String, String, String)>,
    phases: Vec<ReferencePhase>,
    /// Whether its run went through all its phases.
    is_whole: bool,
}

#[derive(Debug)]
struct ReferencePhase {
    name: String,
    asked: Asked,
}

impl Reference {
    pub(crate) fn new(name: &str, document: &Document<'_>) -> Self {
        Self {
            name: name.to_owned(),
            plugins: plugins(&document.plugins),
            phases: stages(document)
                .map(|phase| ReferencePhase {
                    name: phase.name.to_owned(),
                    asked: Asked::of(&phase.settings),
                })
                .collect(),
            is_whole: document.ended.as_str() == "completed",
        }
    }

    /// Whether a document is of the same profile.
    pub(crate) fn check(&self, document: &Document<'_>) -> Result<(), Problem> {
        let theirs = plugins(&document.plugins);
        if theirs != self.plugins {
            return Err(Problem::Plugins {
                found: plugin_text(&theirs, &self.plugins),
                expected: plugin_text(&self.plugins, &theirs),
                first: self.name.clone(),
            });
        }
        let names: Vec<&str> = stages(document).map(|phase| phase.name.as_str()).collect();
        let expected: Vec<&str> = self
            .phases
            .iter()
            .map(|phase| phase.name.as_str())
            .collect();
        let is_cut = document.ended.as_str() != "completed";
        let fits = names == expected
            || (is_cut && expected.starts_with(&names))
            || (!self.is_whole && names.starts_with(&expected));
        if !fits {
            return Err(Problem::Phases {
                first: self.name.clone(),
                found: list(&names),
                expected: list(&expected),
            });
        }
        for (phase, ours) in stages(document).zip(&self.phases) {
            let asked = Asked::of(&phase.settings);
            if let Some((key, found, expected)) = settings::difference(&asked, &ours.asked) {
                return Err(Problem::Setting {
                    phase: ours.name.clone(),
                    key: key.to_owned(),
                    found,
                    expected,
                    first: self.name.clone(),
                });
            }
        }
        Ok(())
    }
}

fn stages<'a, 'b>(document: &'a Document<'b>) -> impl Iterator<Item = &'a Phase<'b>> {
    document.phases.iter().filter(|phase| {
        phase
            .settings
            .get("kind")
            .is_none_or(|kind| kind.as_str() != "bulk")
    })
}

fn plugins(all: &[Plugin<'_>]) -> Vec<(String, String, String)> {
    let mut plugins: Vec<_> = all
        .iter()
        .map(|plugin| {
            (
                plugin.name.to_owned(),
                plugin.version.to_owned(),
                plugin.sha256.to_owned(),
            )
        })
        .collect();
    plugins.sort();
    plugins
}

/// Those that the others have not, by the beginning of their digest.
fn plugin_text(ours: &[(String, String, String)], theirs: &[(String, String, String)]) -> String {
    let own: Vec<String> = ours
        .iter()
        .filter(|plugin| !theirs.contains(plugin))
        .map(|(name, version, sha256)| {
            let digest = sha256.get(..12).unwrap_or(sha256);
            format!("plugin {name} {version} ({digest}…)")
        })
        .collect();
    if own.is_empty() {
        "fewer plugins".to_owned()
    } else {
        own.join(", ")
    }
}

fn list(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}
