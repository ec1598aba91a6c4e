//! The table of exit codes; the README repeats it.

use std::{fmt, process::ExitCode};

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything that was asked for was done.
    Success = 0,
    /// Something failed that has no code of its own.
    Failure = 1,
    /// Bad flags, a bad profile or a bad plugin configuration; nothing was run.
    Usage = 2,
    /// The run is fine, but a threshold was not kept or a benchmark did not pass.
    Missed = 3,
    /// The target could not be resolved, reached or authenticated.
    Target = 4,
    /// A plugin could not be loaded, or it failed; what was measured is in the report.
    Plugin = 5,
    /// The run is fine, but at least one output could not be delivered.
    Output = 6,
    /// Objects of the run could not be deleted; the message names them.
    LeftBehind = 7,
    /// A measuring program's output holds no result; why is on standard output.
    NoResult = 8,
    /// Ctrl-C or SIGTERM; what was measured is in the report.
    Interrupted = 130,
}

impl Exit {
    /// Every code with what it means, for `--help` and the README.
    pub const TABLE: &[(Exit, &str)] = &[
        (Exit::Success, "everything that was asked for was done"),
        (
            Exit::Failure,
            "something failed that has no code of its own",
        ),
        (
            Exit::Usage,
            "bad flags, profile or plugin configuration; nothing was run",
        ),
        (
            Exit::Missed,
            "a threshold was not kept, or a benchmark did not pass",
        ),
        (
            Exit::Target,
            "the target could not be resolved, reached or authenticated",
        ),
        (
            Exit::Plugin,
            "a plugin could not be loaded, or failed; what was measured is in the report",
        ),
        (
            Exit::Output,
            "the run is fine, but an output could not be delivered",
        ),
        (
            Exit::LeftBehind,
            "objects of the run could not be deleted; `cleanup --run ID` tries again",
        ),
        (
            Exit::NoResult,
            "`net parse`: the output holds no result; the error's class is on standard output",
        ),
        (
            Exit::Interrupted,
            "Ctrl-C or SIGTERM; what was measured is in the report",
        ),
    ];

    /// How a measurement ends of which several things are to be said, each of them in words as well: that it failed or was
    /// interrupted; then that something is left, which somebody has to remove; then that a limit was missed; then that
    /// results were not written. `verdict` is on what was measured.
    #[must_use]
    pub fn of_measurement(verdict: Exit, is_written: bool, is_left: bool) -> Exit {
        match verdict {
            Exit::Success | Exit::Missed if is_left => Exit::LeftBehind,
            Exit::Success if !is_written => Exit::Output,
            verdict => verdict,
        }
    }

    /// The table as text, one code a line.
    #[must_use]
    pub fn table() -> String {
        let mut text = String::from("Exit codes:\n");
        for (exit, meaning) in Exit::TABLE {
            text.push_str(&format!("  {:>3}  {meaning}\n", *exit as u8));
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// An error together with the code it ends the process with.
#[derive(Debug)]
pub struct Failed {
    /// The code.
    pub exit: Exit,
    /// What went wrong, causes below.
    pub error: anyhow::Error,
}

impl fmt::Display for Failed {
    /// One line, then the causes, numbered when there are several. What the line above has said already, as
    /// errors do that quote their cause, is not said again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        let mut said = self.error.to_string();
        let mut causes = Vec::new();
        for cause in self.error.chain().skip(1) {
            let cause = cause.to_string();
            if !said.ends_with(&cause) {
                causes.push(cause.clone());
                said = cause;
            }
        }
        for (number, cause) in causes.iter().enumerate() {
            if causes.len() == 1 {
                write!(f, "\n  caused by: {cause}")?;
            } else {
                write!(f, "\n  {}: {cause}", number + 1)?;
            }
        }
        Ok(())
    }
}

/// Gives an error its exit code.
pub trait OrExit<T> {
    /// Wraps the error, if any.
    ///
    /// # Errors
    /// The error, with `exit`.
    fn or_exit(self, exit: Exit) -> Result<T, Failed>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failed> {
        self.map_err(|error| Failed {
            exit,
            error: error.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let said = |error| {
            Failed {
                exit: Exit::Failure,
                error,
            }
            .to_string()
        };
        assert_eq!(
            said(anyhow!("No such file").context("cannot read x: No such file")),
            "cannot read x: No such file"
        );
        assert_eq!(
            said(anyhow!("No such file").context("cannot read x")),
            "cannot read x\n  caused by: No such file"
        );
        assert_eq!(
            said(anyhow!("c").context("b: c").context("a")),
            "a\n  caused by: b: c"
        );
    }

    #[test]
    fn of_several_things_the_worst_is_the_code() {
        let of = Exit::of_measurement;
        for verdict in [Exit::Failure, Exit::Plugin, Exit::Interrupted] {
            assert_eq!(of(verdict, false, true), verdict);
        }
        for verdict in [Exit::Success, Exit::Missed] {
            assert_eq!(of(verdict, false, true), Exit::LeftBehind);
        }
        assert_eq!(of(Exit::Missed, false, false), Exit::Missed);
        assert_eq!(of(Exit::Success, false, false), Exit::Output);
        assert_eq!(of(Exit::Success, true, false), Exit::Success);
    }

    #[test]
    fn the_readme_repeats_the_table() {
        let readme =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
        let rows: Vec<_> = readme
            .lines()
            .skip_while(|line| *line != "## Exit codes")
            .skip_while(|line| *line != "| --- | --- |")
            .skip(1)
            .take_while(|line| line.starts_with('|'))
            .map(str::to_owned)
            .collect();
        let table: Vec<_> = Exit::TABLE
            .iter()
            .map(|(exit, meaning)| format!("| {} | {meaning} |", *exit as u8))
            .collect();
        assert_eq!(rows, table);
    }
}
