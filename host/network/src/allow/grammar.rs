//! Command lines as the programs read them: which options there are, which of them take a value, and what is left.
//!
//! Nothing is guessed. An option that is not listed, a shortened name, or a value that could be read as an option is
//! refused, so that no version of a program finds more in a line than is found here.

/// How a program reads its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As getopt_long: letters after one dash, which may stand together, and names after two.
    Getopt,
    /// Single letters after one dash. What takes a value differs with versions, so all of them have to stand apart.
    Letters,
    /// Whole words, dashes included.
    Words,
    /// As Go: names after one dash or two, a value apart or after `=`. The first word ends the options.
    Go,
}

/// The options of a program that are allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grammar {
    pub(super) style: Style,
    /// Those that take no value; in Go they may have `=true` or `=false`.
    pub(super) flags: &'static [&'static str],
    /// Those that take one.
    pub(super) values: &'static [&'static str],
}

/// What a command line says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Names of flags.
    pub(super) flags: Vec<&'a str>,
    /// Names and values.
    pub(super) values: Vec<(&'a str, &'a str)>,
    /// What is no option.
    pub(super) words: Vec<&'a str>,
}

impl<'a> Line<'a> {
    pub(super) fn has(&self, names: &[&str]) -> bool {
        self.flags.iter().any(|flag| names.contains(flag))
    }

    /// All values of an option that has these names.
    pub(super) fn of(&self, names: &[&str]) -> Vec<&'a str> {
        self.values
            .iter()
            .filter(|(name, _)| names.contains(name))
            .map(|(_, value)| *value)
            .collect()
    }
}

impl Grammar {
    /// Reads arguments.
    ///
    /// # Errors
    /// What is refused, and why.
    pub(super) fn read<'a>(&self, args: &'a [String]) -> Result<Line<'a>, String> {
        let mut line = Line::default();
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            if self.style == Style::Go && !line.words.is_empty() {
                return Err(format!("`{arg}` follows the last argument"));
            }
            if !arg.starts_with('-') {
                line.words.push(arg);
                continue;
            }
            let (name, joined) = self.split(arg, &mut line)?;
            if self.flags.contains(&name) {
                match joined {
                    None => {}
                    Some("true" | "false") if self.style == Style::Go => {}
                    Some(_) => return Err(format!("`{arg}`: {name} takes no value")),
                }
                line.flags.push(name);
            } else if self.values.contains(&name) {
                let value = joined
                    .or_else(|| args.next())
                    .ok_or_else(|| format!("`{arg}` has no value"))?;
                let is_like_an_option = value.len() > 1 && value.starts_with('-');
                if is_like_an_option && value.parse::<f64>().is_err() {
                    return Err(format!(
                        "`{value}`, the value of `{arg}`, looks like an option"
                    ));
                }
                line.values.push((name, value));
            } else {
                return Err(format!("`{arg}` is not among the allowed options"));
            }
        }
        Ok(line)
    }

    /// The name of an option and what is joined to it. Of letters that stand together all but the last are flags, which
    /// are taken into the line at once.
    fn split<'a>(
        &self,
        arg: &'a str,
        line: &mut Line<'a>,
    ) -> Result<(&'a str, Option<&'a str>), String> {
        let option = arg.strip_prefix('-').unwrap_or(arg);
        let named = |option: &'a str| match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        match self.style {
            Style::Words => Ok((arg, None)),
            Style::Go => Ok(named(option.strip_prefix('-').unwrap_or(option))),
            Style::Letters if option.chars().count() != 1 => {
                Err(format!("`{arg}` is not a single option; write them apart"))
            }
            Style::Letters => Ok((option, None)),
            Style::Getopt => {
                if let Some(name) = option.strip_prefix('-') {
                    // A letter is no name: `--c` would be a shortened one.
                    if name.split('=').next().is_none_or(|name| name.len() < 2) {
                        return Err(format!("`{arg}` is not among the allowed options"));
                    }
                    return Ok(named(name));
                }
                let mut rest = option;
                loop {
                    let mut chars = rest.chars();
                    let first = chars.next().map_or(0, char::len_utf8);
                    let (letter, after) = rest.split_at(first);
                    if after.is_empty() {
                        return Ok((letter, None));
                    }
                    if !self.flags.contains(&letter) {
                        return Ok((letter, Some(after)));
                    }
                    line.flags.push(letter);
                    rest = after;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GETOPT: Grammar = Grammar {
        style: Style::Getopt,
        flags: &["J", "R", "json"],
        values: &["c", "t", "client"],
    };

    #[test]
    fn letters_together_and_joined_values() {
        let args = ["-JRt5", "-c", "h", "--client=x", "--json", "w"].map(str::to_owned);
        let line = GETOPT.read(&args).unwrap();
        assert_eq!(line.flags, ["J", "R", "json"]);
        assert_eq!(line.values, [("t", "5"), ("c", "h"), ("client", "x")]);
        assert_eq!(line.words, ["w"]);
        assert_eq!(line.of(&["c", "client"]), ["h", "x"]);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for line in [
            "-x",
            "--clien h",
            "--c h",
            "--",
            "-",
            "-c",
            "-t -J",
            "--json=x",
            "--=x",
            "-Jé",
        ] {
            let args: Vec<_> = line.split(' ').map(str::to_owned).collect();
            assert!(GETOPT.read(&args).is_err(), "{line}");
        }
    }
}
