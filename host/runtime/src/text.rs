//! Text that comes from a plugin, made safe for a terminal and a log line.

/// One line without control characters, cut to `max_bytes` at a character boundary.
///
/// Escape sequences in a plugin's words must not reach the user's terminal; line ends become spaces.
pub(crate) fn one_line(text: &str, max_bytes: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max_bytes));
    for c in text.trim().chars() {
        let c = match c {
            '\n' | '\r' | '\t' => ' ',
            c if is_unprintable(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        if line.len() + c.len_utf8() > max_bytes {
            line.push('…');
            break;
        }
        line.push(c);
    }
    line
}

/// As [`one_line`], keeping line ends: for the tail of standard error.
pub(crate) fn lines(text: &str) -> String {
    text.trim()
        .chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if is_unprintable(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

/// Control characters, and the invisible ones that reorder what is read.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_line_ends_do_not_survive() {
        assert_eq!(one_line("a\x1b[31mb\nc", 100), "a\u{fffd}[31mb c");
        assert_eq!(one_line("abc\u{202e}def", 100), "abc\u{fffd}def");
        assert_eq!(lines("a\r\nb\x07"), "a\u{fffd}\nb\u{fffd}");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(one_line("ééé", 5), "éé…");
        assert_eq!(one_line("abc", 3), "abc");
    }
}
