//! The events of a watch, one after another.

use std::io::{BufRead as _, BufReader, Read};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// A watch. Dropping it closes the connection.
pub(crate) struct Stream {
    asked: String,
    lines: BufReader<Box<dyn Read + Send>>,
    seen: Vec<String>,
}

impl Stream {
    pub(crate) fn new(asked: String, body: Box<dyn Read + Send>) -> Self {
        Self {
            asked,
            lines: BufReader::new(body),
            seen: Vec::new(),
        }
    }

    fn failed(&self, expected: &str, got: &str) -> anyhow::Error {
        anyhow::anyhow!(
            "{}\n  expected {expected}\n  got {got}\n  after {:?}",
            self.asked,
            self.seen
        )
    }

    /// The next event; none when the watch has ended in good order.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Value>> {
        let mut line = String::new();
        self.lines
            .read_line(&mut line)
            .with_context(|| self.failed("an event or the end", "neither"))?;
        if line.is_empty() {
            return Ok(None);
        }
        let event: Value =
            serde_json::from_str(&line).with_context(|| self.failed("an event", line.trim()))?;
        self.seen.push(format!(
            "{} {}",
            event["type"].as_str().unwrap_or_default(),
            event["object"]["metadata"]["name"].as_str().unwrap_or("-")
        ));
        Ok(Some(event))
    }

    /// The object of the next event, which must be of this type; and of this name, unless that is empty.
    pub(crate) fn expect(&mut self, kind: &str, name: &str) -> anyhow::Result<Value> {
        let Some(event) = self.next()? else {
            return Err(self.failed(&format!("{kind} {name}"), "the end of the watch"));
        };
        let object = &event["object"];
        let fits = event["type"] == kind && (name.is_empty() || object["metadata"]["name"] == name);
        if !fits {
            return Err(self.failed(&format!("{kind} {name}"), &event.to_string()));
        }
        Ok(object.clone())
    }

    /// The next event that is no bookmark; see [`Self::expect`].
    pub(crate) fn expect_change(&mut self, kind: &str, name: &str) -> anyhow::Result<Value> {
        loop {
            match self.next()? {
                Some(event) if event["type"] == "BOOKMARK" => {}
                Some(event)
                    if event["type"] == kind && event["object"]["metadata"]["name"] == name =>
                {
                    return Ok(event["object"].clone());
                }
                Some(event) => {
                    return Err(self.failed(&format!("{kind} {name}"), &event.to_string()));
                }
                None => {
                    return Err(self.failed(&format!("{kind} {name}"), "the end of the watch"));
                }
            }
        }
    }

    /// Reads on to the end, which must come without another change.
    pub(crate) fn expect_end(&mut self) -> anyhow::Result<()> {
        while let Some(event) = self.next()? {
            if event["type"] != "BOOKMARK" {
                bail!(self.failed("the end of the watch", &event.to_string()));
            }
        }
        Ok(())
    }
}
