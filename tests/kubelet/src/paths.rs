//! Paths of containers in texts, replaced by where the files really are.

use std::path::PathBuf;

/// Where volumes are mounted, and what is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mounts(Vec<(String, PathBuf)>);

impl Mounts {
    /// The longest path first, so that a mount inside of another is found.
    pub(crate) fn new(mut mounts: Vec<(String, PathBuf)>) -> Self {
        mounts.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self(mounts)
    }

    /// The real place of a path of the container, if it is in a mount.
    pub(crate) fn real(&self, path: &str) -> Option<PathBuf> {
        self.0.iter().find_map(|(mount, real)| {
            let rest = path.strip_prefix(mount.as_str())?;
            match rest.strip_prefix('/') {
                Some(rest) => Some(real.join(rest)),
                None => rest.is_empty().then(|| real.clone()),
            }
        })
    }

    /// The text with every path in a mount replaced.
    pub(crate) fn rewrite(&self, text: &str) -> String {
        let mut rewritten = String::with_capacity(text.len());
        let mut rest = text;
        let mut before = None;
        while let Some(next) = rest.chars().next() {
            let found = (next == '/' && !before.is_some_and(is_of_path))
                .then(|| self.at_start(rest))
                .flatten();
            let taken = match found {
                Some((mount, real)) => {
                    rewritten.push_str(&real);
                    mount
                }
                None => {
                    rewritten.push(next);
                    next.len_utf8()
                }
            };
            before = rest[..taken].chars().next_back();
            rest = &rest[taken..];
        }
        rewritten
    }

    /// Length of the mount that a text begins with, and its real place.
    fn at_start(&self, text: &str) -> Option<(usize, String)> {
        self.0.iter().find_map(|(mount, real)| {
            let rest = text.strip_prefix(mount.as_str())?;
            let ends = rest
                .chars()
                .next()
                .is_none_or(|c| c == '/' || !is_of_path(c));
            ends.then(|| (mount.len(), real.display().to_string()))
        })
    }
}

/// Whether a character continues a path, or a name in front of which a slash means something else.
fn is_of_path(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_paths_are_replaced() {
        let mounts = Mounts::new(vec![
            ("/etc/app".to_owned(), "/real/a".into()),
            ("/etc/app/tls".to_owned(), "/real/t".into()),
        ]);
        for (text, expected) in [
            ("/etc/app", "/real/a"),
            ("/etc/app/x.yaml", "/real/a/x.yaml"),
            ("/etc/app/tls/ca.crt", "/real/t/ca.crt"),
            ("--tls=/etc/app/tls", "--tls=/real/t"),
            (
                "cat '/etc/app/x' >/etc/app/y; ls /etc/app",
                "cat '/real/a/x' >/real/a/y; ls /real/a",
            ),
            ("/etc/application", "/etc/application"),
            ("/etc/app.d", "/etc/app.d"),
            ("/old/etc/app", "/old/etc/app"),
            ("http://host/etc/app", "http://host/etc/app"),
            ("/etc", "/etc"),
            ("größe:/etc/app", "größe:/real/a"),
            ("", ""),
        ] {
            assert_eq!(mounts.rewrite(text), expected);
        }
        assert_eq!(mounts.real("/etc/app/tls/x"), Some("/real/t/x".into()));
        assert_eq!(mounts.real("/etc/app"), Some("/real/a".into()));
        assert_eq!(mounts.real("/etc/apps"), None);
    }
}
