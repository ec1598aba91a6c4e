//! Reads a limit.
//!
//! Enters: text. Leaves: a [`ThresholdSpec`], or the place that cannot be read and what may stand there.

use thiserror::Error;

use super::{Clock, Comparison, Selector, Statistic, Subject, ThresholdSpec, Unit};

/// Why a limit cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("threshold `{expression}`, at character {column}: {message}")]
pub struct ParseError {
    /// As it was written.
    pub expression: String,
    /// From 1.
    pub column: usize,
    /// What is wrong there and what is allowed.
    pub message: String,
}

/// Longest limit that is looked at.
const MAX_BYTES: usize = 4096;

const STATISTICS: &str = "p50 (or any other percentile), min, max, mean, count or missing";

pub(super) fn spec(expression: &str) -> Result<ThresholdSpec, ParseError> {
    let mut reader = Reader {
        text: expression,
        at: 0,
    };
    if expression.len() > MAX_BYTES {
        return Err(reader.error(0, format!("longer than {MAX_BYTES} bytes")));
    }
    let subject = reader.subject()?;
    let statistic = reader.statistic(&subject)?;
    let comparison = reader.comparison()?;
    let (limit, unit) = reader.limit(statistic)?;
    Ok(ThresholdSpec {
        expression: expression.to_owned(),
        subject,
        statistic,
        comparison,
        limit,
        unit,
    })
}

/// The text and how far it has been read, in bytes.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_spaces(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn take_while(&mut self, of: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !of(c)).unwrap_or(rest.len());
        let (taken, _) = rest.split_at(end);
        self.at += end;
        taken
    }

    fn take(&mut self, expected: &str) -> bool {
        let found = self.rest().starts_with(expected);
        if found {
            self.at += expected.len();
        }
        found
    }

    fn error(&self, at: usize, message: impl Into<String>) -> ParseError {
        let before = self.text.get(..at).unwrap_or_default();
        ParseError {
            expression: self.text.chars().take(200).collect(),
            column: before.chars().count() + 1,
            message: message.into(),
        }
    }

    /// What stands at a place, for messages.
    fn found(&self, at: usize) -> String {
        let rest = self.text.get(at..).unwrap_or_default().trim_start();
        let word: String = rest
            .chars()
            .take_while(|c| !c.is_whitespace())
            .take(40)
            .collect();
        if word.is_empty() {
            "the end".to_owned()
        } else {
            format!("`{word}`")
        }
    }

    fn word(&mut self) -> &'a str {
        self.take_while(is_of_word)
    }

    fn subject(&mut self) -> Result<Subject, ParseError> {
        self.skip_spaces();
        let start = self.at;
        let quoted = self.rest().starts_with('"');
        let name = if quoted {
            self.quoted()?
        } else {
            self.word().to_owned()
        };
        if name.is_empty() {
            let message = format!(
                "{} where a metric should be: response, service, errors, the name of a distribution, a metric or a \
                 counter, or a series in quotes",
                self.found(start)
            );
            return Err(self.error(start, message));
        }
        let labels = self.labels()?;
        // These words are the metric, unless they are quoted.
        if !quoted {
            let of_all = Selector {
                name: None,
                labels: labels.clone(),
            };
            if let Some(subject) = of_series(&name, of_all) {
                return Ok(subject);
            }
        }
        let selector = Selector {
            name: Some(name),
            labels,
        };
        let after_name = self.at;
        self.skip_spaces();
        let word = self.word();
        if let Some(subject) = of_series(word, selector.clone()) {
            return Ok(subject);
        }
        self.at = after_name;
        Ok(Subject::Named(selector))
    }

    /// Text in quotes, with `\"` and `\\` for what it could not hold.
    fn quoted(&mut self) -> Result<String, ParseError> {
        let start = self.at;
        let mut text = String::new();
        let mut escaped = false;
        for (at, c) in self.rest().char_indices().skip(1) {
            match c {
                _ if escaped => {
                    text.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    self.at = start + at + 1;
                    return Ok(text);
                }
                c => text.push(c),
            }
        }
        Err(self.error(start, "the quotation mark is never closed"))
    }

    fn labels(&mut self) -> Result<Vec<(String, String)>, ParseError> {
        let mut labels = Vec::new();
        if !self.take("{") {
            return Ok(labels);
        }
        loop {
            self.skip_spaces();
            if self.take("}") {
                return Ok(labels);
            }
            let start = self.at;
            let key = self.word().to_owned();
            self.skip_spaces();
            if key.is_empty() || !self.take("=") {
                let message = format!(
                    "{} where a label should be: {{key=\"value\", …}}",
                    self.found(start)
                );
                return Err(self.error(start, message));
            }
            self.skip_spaces();
            if !self.rest().starts_with('"') {
                let message = format!(
                    "{} where the value of `{key}` should be, in quotes",
                    self.found(self.at)
                );
                return Err(self.error(self.at, message));
            }
            labels.push((key, self.quoted()?));
            self.skip_spaces();
            if !self.take(",") && !self.rest().starts_with('}') {
                let message = format!("{} where `,` or `}}` should be", self.found(self.at));
                return Err(self.error(self.at, message));
            }
        }
    }

    fn statistic(&mut self, subject: &Subject) -> Result<Statistic, ParseError> {
        self.skip_spaces();
        let start = self.at;
        let word = self.word();
        let statistic = match word {
            "" => Some(Statistic::Value),
            "min" => Some(Statistic::Min),
            "max" => Some(Statistic::Max),
            "mean" => Some(Statistic::Mean),
            "count" => Some(Statistic::Count),
            "missing" => Some(Statistic::Missing),
            "ratio" => Some(Statistic::Ratio),
            _ => quantile(word),
        };
        let allowed = match subject {
            Subject::Times(..) => "p50 (or any other percentile), min, max, mean or count",
            Subject::Errors(_) => "ratio or count",
            Subject::Named(_) => STATISTICS,
        };
        let fits = statistic.filter(|one| match (subject, one) {
            (Subject::Errors(_), one) => matches!(one, Statistic::Ratio | Statistic::Count),
            (_, Statistic::Ratio) | (Subject::Times(..), Statistic::Missing | Statistic::Value) => {
                false
            }
            _ => true,
        });
        fits.ok_or_else(|| {
            let message = format!("{} where there should be {allowed}", self.found(start));
            self.error(start, message)
        })
    }

    fn comparison(&mut self) -> Result<Comparison, ParseError> {
        self.skip_spaces();
        let start = self.at;
        let signs = self.take_while(|c| matches!(c, '<' | '>' | '=' | '!' | '≤' | '≥'));
        match signs {
            "<=" => Ok(Comparison::AtMost),
            "<" => Ok(Comparison::Below),
            ">=" => Ok(Comparison::AtLeast),
            ">" => Ok(Comparison::Above),
            "==" => Ok(Comparison::Equal),
            _ => {
                let message = format!(
                    "{} where a comparison should be: <=, <, >=, > or ==",
                    self.found(start)
                );
                Err(self.error(start, message))
            }
        }
    }

    fn limit(&mut self, statistic: Statistic) -> Result<(f64, Unit), ParseError> {
        self.skip_spaces();
        let start = self.at;
        let digits = self.take_while(|c| c.is_ascii_digit() || c == '.');
        let Some(number) = digits
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
        else {
            let message = format!(
                "{} where a limit should be: a number, for example 5s, 0.1% or 950",
                self.found(start)
            );
            return Err(self.error(start, message));
        };
        self.skip_spaces();
        let unit_start = self.at;
        let unit = self.take_while(|c| !c.is_whitespace());
        // Dividing by a power of ten keeps `100ms` the same number as 100 000 000 ns measured.
        let (limit, unit) = match unit {
            "" => (number, Unit::Plain),
            "ns" => (number / 1e9, Unit::Seconds),
            "us" | "µs" => (number / 1e6, Unit::Seconds),
            "ms" => (number / 1e3, Unit::Seconds),
            "s" => (number, Unit::Seconds),
            "m" => (number * 60.0, Unit::Seconds),
            "h" => (number * 3600.0, Unit::Seconds),
            "%" => (number / 100.0, Unit::Ratio),
            _ => {
                let message = format!("`{unit}` is not a unit: ns, us, ms, s, m, h, %, or none");
                return Err(self.error(unit_start, message));
            }
        };
        self.check_unit(statistic, unit, unit_start)?;
        self.skip_spaces();
        if self.rest().is_empty() {
            return Ok((limit, unit));
        }
        let message = format!("{} after the end of the limit", self.found(self.at));
        Err(self.error(self.at, message))
    }

    fn check_unit(&self, statistic: Statistic, unit: Unit, at: usize) -> Result<(), ParseError> {
        let message = match (statistic, unit) {
            (
                Statistic::Quantile(_) | Statistic::Min | Statistic::Max | Statistic::Mean,
                Unit::Plain | Unit::Ratio,
            ) => "a limit on times needs a unit of time: ns, us, ms, s, m or h",
            (Statistic::Count | Statistic::Missing, Unit::Seconds | Unit::Ratio) => {
                "a limit on a count is a number without a unit"
            }
            (Statistic::Ratio, Unit::Seconds) => "a limit on a ratio is in %, or a plain number",
            _ => return Ok(()),
        };
        Err(self.error(at, message))
    }
}

fn of_series(word: &str, selector: Selector) -> Option<Subject> {
    match word {
        "response" => Some(Subject::Times(selector, Clock::Response)),
        "service" => Some(Subject::Times(selector, Clock::Service)),
        "errors" => Some(Subject::Errors(selector)),
        _ => None,
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':')
}

/// `p99.9` is 0.999, as near as the quantiles of the report are.
fn quantile(word: &str) -> Option<Statistic> {
    let digits = word.strip_prefix('p')?;
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let percent: f64 = digits.parse().ok()?;
    (0.0..=100.0)
        .contains(&percent)
        .then_some(Statistic::Quantile(percent / 100.0))
}
