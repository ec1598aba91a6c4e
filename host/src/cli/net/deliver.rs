//! What a finished network run has to say, to the terminal and to exporters.

use std::{io::Write as _, path::Path, sync::Arc};

use anyhow::{Context as _, anyhow};
use kperf_load::Stop;
use kperf_network::{NetworkError, NetworkRun, ResultsFile, RunEnd, orchestrator::Abort};
use kperf_runtime::Limits;

use crate::{
    cli::output::{self, OutputArgs},
    exit::{Exit, Failed},
    export::{Exports, Output},
    live::Live,
    network::Conclusion,
    plugins::Plugins,
};

/// Outputs that are checked but not yet open.
pub struct Outputs {
    outputs: Vec<Output>,
    /// Data has standard output for itself.
    on_stderr: bool,
}

/// Open exporters, waiting for the end of the run.
pub struct Delivery {
    exports: Exports,
    on_stderr: bool,
}

/// A runtime for the plugins of a network run.
///
/// # Errors
/// The engine cannot be made on this machine.
pub fn plugins() -> Result<Plugins, Failed> {
    use crate::exit::OrExit as _;
    Plugins::new(Limits::default()).or_exit(Exit::Failure)
}

/// Whether the results file can be written at the end is asked at the start.
///
/// # Errors
/// Its place, and why it cannot.
pub fn check_results(file: Option<&Path>) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(()) };
    let failed = || format!("--results: cannot write {}", file.display());
    if file.is_dir() || file.file_name().is_none() {
        return Err(anyhow!("it is a directory")).with_context(failed);
    }
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    tempfile::tempfile_in(directory).with_context(failed)?;
    Ok(())
}

/// Writes the results file, if one is wanted; whether that went well. What was measured is shown, exported and handed
/// over also when there is no place for the file.
#[must_use]
pub fn write_results(run: &NetworkRun, file: Option<&Path>, live: &Live) -> bool {
    let Some(file) = file else { return true };
    match ResultsFile::of(run).write(file) {
        Ok(()) => true,
        Err(error) => {
            live.say(&format!("--results: {error}"));
            false
        }
    }
}

/// What gives up what a stopped run waits for.
#[must_use]
pub fn abort(stop: &Stop) -> Abort {
    let stop = stop.clone();
    Arc::new(move || {
        let stop = stop.clone();
        Box::pin(async move { stop.aborted().await })
    })
}

/// What became of a run. One that was stopped before there was anything to measure is a run without tasks, so that
/// exporters which have begun are told the end.
///
/// # Errors
/// Every other reason why there is no run.
pub fn measured(
    result: Result<NetworkRun, NetworkError>,
    benchmark: &str,
    main_metric: &str,
) -> Result<NetworkRun, Failed> {
    result.or_else(|error| match error {
        NetworkError::Stopped => Ok(NetworkRun {
            benchmark: benchmark.to_owned(),
            main_metric: main_metric.to_owned(),
            workers: Vec::new(),
            lost: Vec::new(),
            tasks: Vec::new(),
            end: RunEnd::Stopped,
        }),
        error => Err(Failed {
            exit: match error {
                NetworkError::NothingToMeasure(_) => Exit::Usage,
                _ => Exit::Failure,
            },
            error: error.into(),
        }),
    })
}

impl Outputs {
    /// Loads the exporters and checks where they write.
    ///
    /// # Errors
    /// See [`output::prepare`].
    pub fn prepare(args: &OutputArgs, plugins: &mut Plugins) -> Result<Self, Failed> {
        let outputs = output::prepare(args, plugins)?;
        let on_stderr = outputs.iter().any(|output| output.destination.is_stdout());
        Ok(Self { outputs, on_stderr })
    }

    /// Opens them.
    ///
    /// # Errors
    /// See [`Exports::begin`].
    pub fn begin(self, run_id: &str) -> Result<Delivery, Failed> {
        Ok(Delivery {
            exports: Exports::begin(self.outputs, run_id)?,
            on_stderr: self.on_stderr,
        })
    }
}

impl Delivery {
    /// Prints the tables, hands the report to the exporters, and says how the command ends.
    #[must_use]
    pub fn finish(self, conclusion: Conclusion, live: &Live) -> Exit {
        let text = conclusion.text.as_bytes();
        // A closed pipe is the reader's choice.
        if self.on_stderr {
            std::io::stderr().write_all(text).ok();
        } else {
            std::io::stdout().write_all(text).ok();
        }
        let failures = self.exports.finish(conclusion.summary);
        for failure in &failures {
            live.say(&format!("output {}: {}", failure.name, failure.message));
        }
        match conclusion.exit {
            Exit::Success if !failures.is_empty() => Exit::Output,
            exit => exit,
        }
    }
}
