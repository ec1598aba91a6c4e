//! `-J` and `--json-stream`.

use net_tool::{ErrorClass, Metric, ToolError, json};
use serde::Deserialize;

use crate::said;
use crate::summary::{End, Start, metrics};

/// The object of `-J`. Up to 3.13 some keys in `start` are there once per stream, which is why only those that are
/// needed are read.
#[derive(Debug, Deserialize)]
struct Document {
    start: Option<Start>,
    end: Option<End>,
    error: Option<String>,
}

/// A line of `--json-stream`.
#[derive(Debug, Deserialize)]
struct Event<'a> {
    event: String,
    #[serde(borrow)]
    data: &'a serde_json::value::RawValue,
}

/// The metrics in a text, `None` if there is no JSON in it.
pub(crate) fn find(text: &str) -> Result<Option<Vec<Metric>>, ToolError> {
    let found = json::scan(text);
    // An error that iperf3 wrote counts even if something else is wrong with the text.
    let mut documents = Vec::new();
    let mut events = Vec::new();
    for object in &found.objects {
        if let Ok(event) = serde_json::from_str::<Event>(object) {
            events.push(event);
            continue;
        }
        let document: Document = serde_json::from_str(object)
            .map_err(|error| ToolError::malformed(format!("not iperf3's JSON: {error}")))?;
        if let Some(words) = &document.error {
            return Err(said(words));
        }
        documents.push(document);
    }
    if let Some(broken) = found.broken {
        let class = if broken.cut {
            ErrorClass::Truncated
        } else {
            ErrorClass::Malformed
        };
        let message = format!("the JSON is not whole: {}", broken.reason);
        return Err(ToolError::new(class, message));
    }
    if !events.is_empty() {
        // With --json-stream-full the whole object is there as well and says the same.
        return stream(&events).map(Some);
    }
    match documents.as_slice() {
        [] => Ok(None),
        [document] => {
            let (Some(start), Some(end)) = (&document.start, &document.end) else {
                let message = "not a result of iperf3: `start` or `end` is missing";
                return Err(ToolError::malformed(message));
            };
            metrics(start, end).map(Some)
        }
        _ => Err(ToolError::malformed("more than one result")),
    }
}

fn stream(events: &[Event<'_>]) -> Result<Vec<Metric>, ToolError> {
    let of_kind = |kind: &'static str| events.iter().filter(move |event| event.event == kind);
    if let Some(error) = of_kind("error").next() {
        let words: String = serde_json::from_str(error.data.get())
            .map_err(|error| ToolError::malformed(format!("event `error`: {error}")))?;
        return Err(said(&words));
    }
    let one = |kind: &'static str| {
        let mut found = of_kind(kind);
        match (found.next(), found.next()) {
            (Some(event), None) => Ok(event.data.get()),
            (None, _) => Err(ToolError::truncated(format!("no event `{kind}`"))),
            (Some(_), Some(_)) => {
                let message = format!("more than one event `{kind}`");
                Err(ToolError::malformed(message))
            }
        }
    };
    let reason = |error: serde_json::Error| ToolError::malformed(format!("event: {error}"));
    let start: Start = serde_json::from_str(one("start")?).map_err(reason)?;
    let end: End = serde_json::from_str(one("end")?).map_err(reason)?;
    metrics(&start, &end)
}
