//! Paths as client-go makes them: joined and cleaned like Go's `path.Join`, escaped like `url.URL.EscapedPath`.

use std::fmt::Write as _;

/// Joins segments into an absolute path without empty, `.` or `..` segments.
pub fn join_path(segments: &[&str]) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in segments.iter().flat_map(|segment| segment.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Percent-encodes a path.
pub fn encode_path(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'_'
            | b'.'
            | b'~'
            | b'$'
            | b'&'
            | b'+'
            | b','
            | b'/'
            | b':'
            | b';'
            | b'='
            | b'@' => text.push(char::from(byte)),
            // Writing to a String can't fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_as_go_does() {
        assert_eq!(join_path(&["/api", "v1", "", "pods"]), "/api/v1/pods");
        assert_eq!(
            join_path(&["api//v1/", "/pods/", "./a", "../b"]),
            "/api/v1/pods/b"
        );
        assert_eq!(join_path(&["..", "a"]), "/a");
        assert_eq!(join_path(&[]), "/");
    }

    #[test]
    fn escaped_as_go_does() {
        assert_eq!(
            encode_path("/api/v1/a:b@c=d;e,f+g$h&i~"),
            "/api/v1/a:b@c=d;e,f+g$h&i~"
        );
        assert_eq!(encode_path("/a b?c#d%é!"), "/a%20b%3Fc%23d%25%C3%A9%21");
    }
}
