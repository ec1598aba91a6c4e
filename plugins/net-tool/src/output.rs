//! What a finished command left behind.

use crate::{ErrorClass, ToolError};

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By a signal, such as `SIGTERM`.
    Signal(String),
    /// Killed by whoever ran it, at its time limit.
    TimedOut,
    /// Not recorded, as in results files without exit status.
    #[default]
    Unknown,
}

/// Everything a parser may look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output, or both streams mixed where only one was kept.
    pub stdout: String,
    /// Standard error; empty where it was mixed into `stdout`.
    pub stderr: String,
    /// How the command ended.
    pub exit: Exit,
    /// Arguments the client was run with, without the program; empty if not known. Used only for what the output
    /// does not say itself, such as the unit of a table without header.
    pub args: Vec<String>,
    /// Whether some of the output was thrown away, for example at a size limit.
    pub clipped: bool,
}

impl Output {
    /// What can be said before reading a line: killed at the limit, killed by a signal, not kept whole, nothing
    /// there. A tool's message is no help in these cases: newer tools exit with 0 and print numbers after a signal.
    ///
    /// # Errors
    /// `timed_out`, `interrupted`, `truncated` or `empty`.
    pub fn check(&self) -> Result<(), ToolError> {
        match &self.exit {
            Exit::TimedOut => {
                let message = "killed at its time limit";
                return Err(ToolError::new(ErrorClass::TimedOut, message));
            }
            Exit::Signal(name) => {
                let message = format!("killed by {name}");
                return Err(ToolError::new(ErrorClass::Interrupted, message));
            }
            Exit::Code(_) | Exit::Unknown => {}
        }
        if self.clipped {
            return Err(ToolError::truncated("only part of the output was kept"));
        }
        if self.stdout.trim().is_empty() && self.stderr.trim().is_empty() {
            let message = match self.exit {
                Exit::Code(code) => format!("the tool wrote nothing and exited with {code}"),
                _ => "the tool wrote nothing".to_owned(),
            };
            return Err(ToolError::new(ErrorClass::Empty, message));
        }
        Ok(())
    }

    /// Refuses numbers from a tool that said it failed, after no message of a known kind was found.
    ///
    /// # Errors
    /// `malformed` with the last line of the output.
    pub fn check_exit_code(&self) -> Result<(), ToolError> {
        match self.exit {
            Exit::Code(code) if code != 0 => {
                let last = |text: &str| {
                    text.lines()
                        .map(str::trim)
                        .rfind(|line| !line.is_empty())
                        .map(str::to_owned)
                };
                let words = last(&self.stderr)
                    .or_else(|| last(&self.stdout))
                    .unwrap_or_default();
                Err(ToolError::malformed(format!("exit status {code}: {words}")))
            }
            _ => Ok(()),
        }
    }

    /// Lines of standard output, then of standard error, without their line ends.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.stdout.lines().chain(self.stderr.lines())
    }
}

/// Value of the last of these options in `args`: the argument after it, or what is joined to it (`--time=10`; with a
/// single letter also `-l10`).
pub fn option<'a>(args: &'a [String], names: &[&str]) -> Option<&'a str> {
    let mut value = None;
    for (index, arg) in args.iter().enumerate() {
        for name in names {
            let Some(rest) = arg.strip_prefix(name) else {
                continue;
            };
            let long = name.starts_with("--") || name.len() > 2;
            if rest.is_empty() {
                value = args.get(index + 1).map(String::as_str).or(value);
            } else if let Some(joined) = rest.strip_prefix('=') {
                value = Some(joined);
            } else if !long {
                value = Some(rest);
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_it_ended_counts_more_than_what_it_wrote() {
        let mut output = Output {
            stdout: "numbers".to_owned(),
            exit: Exit::TimedOut,
            ..Output::default()
        };
        let class = |output: &Output| output.check().unwrap_err().class;
        assert_eq!(class(&output), ErrorClass::TimedOut);
        output.exit = Exit::Signal("SIGTERM".to_owned());
        assert_eq!(class(&output), ErrorClass::Interrupted);
        output.exit = Exit::Code(0);
        assert_eq!(output.check(), Ok(()));
        output.clipped = true;
        assert_eq!(class(&output), ErrorClass::Truncated);
        output.clipped = false;
        output.stdout = " \n".to_owned();
        assert_eq!(class(&output), ErrorClass::Empty);
    }

    #[test]
    fn options_apart_and_joined() {
        let args = ["-l", "10", "-f", "G", "-P0", "--time=5"].map(str::to_owned);
        assert_eq!(option(&args, &["-l"]), Some("10"));
        assert_eq!(option(&args, &["-P"]), Some("0"));
        assert_eq!(option(&args, &["-t", "--time"]), Some("5"));
        assert_eq!(option(&args, &["-x"]), None);
        assert_eq!(option(&["-l".to_owned()], &["-l"]), None);
    }
}
