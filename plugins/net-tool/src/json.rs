//! JSON objects among other lines.

use serde::de::IgnoredAny;

/// What a text holds: objects that start at the beginning of a line, and one that was begun and is none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan<'a> {
    /// Whole objects, in order.
    pub objects: Vec<&'a str>,
    /// The first place that begins like an object and is none.
    pub broken: Option<Broken>,
}

/// A text that begins like an object and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Whether the text ends before the object does; else something else stands in it.
    pub cut: bool,
    /// What the JSON reader says.
    pub reason: String,
}

/// Finds JSON objects that start at the beginning of a line. Objects inside others do not count, other lines are
/// passed over. Takes time in proportion to the text, whatever stands in it.
pub fn scan(text: &str) -> Scan<'_> {
    let mut scan = Scan::default();
    let mut rest = text;
    while !rest.is_empty() {
        // Lines that are done with.
        let mut lines = 1;
        if rest.starts_with('{') {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
            match values.next() {
                Some(Ok(_)) | None => {
                    let end = values.byte_offset();
                    let (object, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
                    scan.objects.push(object);
                    rest = tail;
                }
                Some(Err(error)) => {
                    // What comes before the error is part of the broken object; the error's own line may be another.
                    lines = error.line().saturating_sub(1).max(1);
                    let cut = error.is_eof();
                    scan.broken.get_or_insert_with(|| Broken {
                        cut,
                        reason: error.to_string(),
                    });
                    if cut {
                        break;
                    }
                }
            }
        }
        for _ in 0..lines {
            rest = rest.split_once('\n').map_or("", |(_, tail)| tail);
        }
    }
    scan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_between_other_lines() {
        let text = "Starting\n{\"ts\":1}\n{\n  \"a\": {\n}\n}\nDone {\"no\":1}\n";
        let found = scan(text);
        assert_eq!(found.objects, ["{\"ts\":1}", "{\n  \"a\": {\n}\n}"]);
        assert_eq!(found.broken, None);
    }

    #[test]
    fn cut_and_interleaved_are_told_apart() {
        assert!(scan("{\n\"a\": [1,\n").broken.unwrap().cut);
        assert!(!scan("{\n\"a\": [1,\nlog line\n2]}\n").broken.unwrap().cut);
        assert!(scan("{\n\"a\": [\n{\"ts\":1}\n").broken.unwrap().cut);
    }

    #[test]
    fn an_object_on_the_line_of_an_error_is_found() {
        let found = scan("{\n\"a\": 1,\n{\"ts\":1}\n\"b\": 2\n}\n{\"c\":3}\n");
        assert_eq!(found.objects, ["{\"ts\":1}", "{\"c\":3}"]);
        assert!(!found.broken.unwrap().cut);
    }

    #[test]
    fn neither_depth_nor_repetition_overwhelms() {
        // Were each line the start of a new search, these would not end.
        assert!(scan(&"{\"a\":".repeat(1_000_000)).broken.is_some());
        assert!(scan(&"{\"a\":\n".repeat(1_000_000)).broken.is_some());
        assert!(
            scan(&("{\"a\":\n".repeat(1_000_000) + "!"))
                .broken
                .is_some()
        );
        assert!(scan(&"{\n".repeat(1_000_000)).broken.is_some());
        assert!(scan(&"{\n!\n".repeat(1_000_000)).broken.is_some());
    }
}
