//! `-v` with a level, as kperf has it: `-v=5`, `-v 5`.

use std::ffi::{OsStr, OsString};

/// Commands that kperf has, or that do the same. None of their arguments is a number by itself.
const OF_KPERF: [&str; 4] = ["run", "runner", "runnergroup", "rg"];

/// Turns kperf's `-v LEVEL` into our `-v`, `-vv`, …; everything else stays as it was typed.
///
/// Clap cannot: a `-v` that may take a value would eat the command after it. A number of its own after `-v`
/// is taken only before or in commands of kperf, which have no arguments it could be.
pub fn without_levels(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let of_kperf = arguments
        .iter()
        .skip(1)
        .find(|argument| !is_flag(argument) && level(argument).is_none())
        .is_some_and(|command| OF_KPERF.iter().any(|known| command == known));
    let mut out = Vec::with_capacity(arguments.len());
    let mut rest = arguments.into_iter().peekable();
    while let Some(argument) = rest.next() {
        let written = match argument.to_str() {
            Some("-v") if of_kperf => rest.next_if(|next| level(next).is_some()),
            Some(text) => text
                .strip_prefix("-v")
                .map(|level| OsString::from(level.strip_prefix('=').unwrap_or(level))),
            None => None,
        };
        match written.as_deref().and_then(level) {
            None => out.push(argument),
            Some(level) => out.extend(ours(level).map(OsString::from)),
        }
    }
    out
}

fn is_flag(argument: &OsStr) -> bool {
    argument.as_encoded_bytes().starts_with(b"-")
}

fn level(argument: &OsStr) -> Option<u64> {
    let text = argument.to_str()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// kperf says its settings from level 2 on, each request from 5 on, and its libraries speak from about 10 on.
fn ours(level: u64) -> Option<&'static str> {
    match level {
        0..=1 => None,
        2..=4 => Some("-v"),
        5..=9 => Some("-vv"),
        _ => Some("-vvv"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(line: &str) -> String {
        without_levels(line.split(' ').map(OsString::from))
            .iter()
            .map(|argument| argument.to_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn levels_become_ours() {
        for (typed, meant) in [
            ("k -v=2 runner run --flat", "k -v runner run --flat"),
            ("k -v 5 runner run", "k -vv runner run"),
            ("k runner run -v 10 --flat", "k runner run -vvv --flat"),
            ("k runner run -v0", "k runner run"),
            ("k run -v=0 --sim", "k run --sim"),
            ("k -v 2 rg status", "k -v rg status"),
        ] {
            assert_eq!(rewritten(typed), meant);
        }
    }

    #[test]
    fn everything_else_stays() {
        for typed in [
            "k -v run --sim",
            "k -vv runner run",
            "k run -v --sim",
            "k run --sim -v",
            "k -v validate 5",
            "k validate -v 5",
            "k run -v=x",
            "k run --rate 5 --total 10",
            "k",
        ] {
            assert_eq!(rewritten(typed), typed);
        }
    }
}
