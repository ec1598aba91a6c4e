//! Destinations of results: files, directories, standard output, URLs.
//!
//! Enters: what the user wrote after `--output NAME=`. Leaves: [`Declared`], the one destination an exporter is given;
//! the plugin knows it by name, and neither path nor URL nor credentials ever reach it.
//!
//! * [`file`]: a file appears whole or not at all; standard output gets its text in one piece at the end.
//! * [`http`]: requests below a URL and nowhere else, with deadlines and retries.

use std::path::PathBuf;

use kperf_runtime::{BoxFuture, Delivery, Failure, Output, Receipt, Sinks, failure};
use thiserror::Error;

mod file;
mod http;

pub use file::write_private;
pub use http::{HttpDestination, HttpLimits};

/// Where an exporter writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file; the parent directories are made if need be.
    File(PathBuf),
    /// A directory, made if need be, in which an exporter names its files itself.
    Directory(PathBuf),
    /// Everything below an `http://` or `https://` URL.
    Http(HttpDestination),
}

/// Why a destination cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DestinationError {
    /// Nothing after the `=`.
    #[error(
        "the destination is empty: give a file, a directory (ending in /), an http(s) URL, or - for stdout"
    )]
    Empty,
    /// A scheme that is not spoken here.
    #[error(
        "`{0}://` is not a destination: give a file, a directory (ending in /), an http(s) URL, or - for stdout"
    )]
    Scheme(String),
    /// A URL that cannot be read. The URL is not repeated: it may hold credentials.
    #[error("the destination URL cannot be used: {0}")]
    Url(String),
}

impl Destination {
    /// Reads `-`, a URL, or a path. A path is a directory when it ends in `/` or is one already.
    ///
    /// # Errors
    /// Empty text, a URL that is not plain HTTP(S) or cannot be read.
    pub fn parse(text: &str) -> Result<Self, DestinationError> {
        match text {
            "" => return Err(DestinationError::Empty),
            "-" => return Ok(Self::Stdout),
            _ => {}
        }
        match text.split_once("://") {
            Some((scheme, _))
                if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") =>
            {
                HttpDestination::parse(text).map(Self::Http)
            }
            Some((scheme, _)) if is_scheme(scheme) => {
                Err(DestinationError::Scheme(scheme.to_owned()))
            }
            _ => {
                let path = PathBuf::from(text);
                Ok(if text.ends_with('/') || path.is_dir() {
                    Self::Directory(path)
                } else {
                    Self::File(path)
                })
            }
        }
    }

    /// The word an exporter is told: `stdout`, `file`, `directory` or `http`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::File(_) => "file",
            Self::Directory(_) => "directory",
            Self::Http(_) => "http",
        }
    }

    /// Whether it is standard output.
    #[must_use]
    pub fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }
}

/// Without credentials and query.
impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) | Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Http(http) => write!(f, "{http}"),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// The destinations of one exporter: exactly the one the user declared for it.
#[derive(Debug)]
pub struct Declared {
    destination: Destination,
    client: http::Client,
}

impl Declared {
    /// The name an exporter knows its destination by.
    pub const NAME: &'static str = "output";

    /// A destination under [`Declared::NAME`].
    #[must_use]
    pub fn new(destination: Destination) -> Self {
        Self::with_limits(destination, HttpLimits::default())
    }

    /// The same with other deadlines and retries.
    #[must_use]
    pub fn with_limits(destination: Destination, limits: HttpLimits) -> Self {
        Self {
            destination,
            client: http::Client::new(limits),
        }
    }

    fn named(&self, name: &str) -> Result<&Destination, Failure> {
        if name == Self::NAME {
            return Ok(&self.destination);
        }
        let message = format!(
            "there is no destination `{name}`; the only one is `{}`",
            Self::NAME
        );
        Err(failure("no-such-sink", message))
    }
}

impl Sinks for Declared {
    fn open(&self, name: &str, file: &str) -> Result<Box<dyn Output>, Failure> {
        match (self.named(name)?, file) {
            (Destination::Stdout, "") => Ok(Box::new(file::Stdout::new())),
            (Destination::File(path), "") => Ok(Box::new(file::File::create(path)?)),
            (Destination::Directory(path), "") => {
                let message = format!(
                    "{} is a directory, and this exporter writes a single file: name the file",
                    path.display()
                );
                Err(failure("wrong-kind", message))
            }
            // The runtime has checked that the name is one step.
            (Destination::Directory(path), file) => {
                Ok(Box::new(file::File::create_in(path, file)?))
            }
            (other @ (Destination::Stdout | Destination::File(_)), file) => {
                let message = format!("{other} is not a directory: it has no file {file:?} in it");
                Err(failure("wrong-kind", message))
            }
            (Destination::Http(http), _) => {
                let message = format!(
                    "{http} is a URL: it takes deliveries, not a file; give a path or - instead"
                );
                Err(failure("wrong-kind", message))
            }
        }
    }

    fn send<'a>(
        &'a self,
        name: &'a str,
        delivery: Delivery,
    ) -> BoxFuture<'a, Result<Receipt, Failure>> {
        Box::pin(async move {
            match self.named(name)? {
                Destination::Http(to) => self
                    .client
                    .send(to, delivery)
                    .await
                    .map_err(|error| error.into_failure(to)),
                other => {
                    let message = format!(
                        "{other} is not a URL: nothing can be sent there; give http(s)://…"
                    );
                    Err(failure("wrong-kind", message))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_told_apart() {
        for (text, kind) in [
            ("-", "stdout"),
            ("./-", "file"),
            ("a.json", "file"),
            ("dir/a=b.json", "file"),
            ("a:b", "file"),
            ("results/", "directory"),
            ("/", "directory"),
            ("..", "directory"),
            ("http://127.0.0.1:9091", "http"),
            ("HTTPS://gateway/prefix", "http"),
        ] {
            assert_eq!(Destination::parse(text).unwrap().kind(), kind, "{text}");
        }
        assert_eq!(Destination::parse(""), Err(DestinationError::Empty));
        assert_eq!(
            Destination::parse("ftp://a/b"),
            Err(DestinationError::Scheme("ftp".to_owned()))
        );
        assert!(Destination::parse("http://").is_err());
    }

    #[tokio::test]
    async fn only_the_declared_name_and_kind_work() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.json");
        let file = Declared::new(Destination::File(path.clone()));
        let refused = |name, in_it| file.open(name, in_it).err().unwrap().code;
        assert_eq!(refused("/etc/passwd", ""), "no-such-sink");
        assert_eq!(refused("", ""), "no-such-sink");
        assert_eq!(refused(Declared::NAME, "b.json"), "wrong-kind");
        let delivery = || Delivery {
            method: "PUT".to_owned(),
            path: "/a".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            retry: false,
        };
        assert_eq!(
            file.send(Declared::NAME, delivery())
                .await
                .unwrap_err()
                .code,
            "wrong-kind"
        );
        assert_eq!(
            file.send("other", delivery()).await.unwrap_err().code,
            "no-such-sink"
        );
        assert!(!path.exists());

        let url = Declared::new(Destination::parse("http://user:secret@127.0.0.1:1/").unwrap());
        let refused = url.open(Declared::NAME, "").err().unwrap();
        assert_eq!(refused.code, "wrong-kind");
        assert!(!refused.message.contains("secret"), "{}", refused.message);
        assert!(!format!("{url:?}").contains("secret"));
    }

    #[test]
    fn files_in_a_directory_appear_whole_with_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("results");
        let text = format!("{}/", path.display());
        let directory = Declared::new(Destination::parse(&text).unwrap());
        let unnamed = directory.open(Declared::NAME, "").err().unwrap();
        assert_eq!(unnamed.code, "wrong-kind");
        assert!(!path.exists(), "nothing is made for a refusal");

        let mut kept = directory.open(Declared::NAME, "a.json").unwrap();
        let mut dropped = directory.open(Declared::NAME, "b.json").unwrap();
        kept.write(b"{}").unwrap();
        dropped.write(b"{").unwrap();
        kept.finish().unwrap();
        drop(dropped);
        let names: Vec<_> = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["a.json"]);
        // Once it is there, the separator is not needed any more.
        let again = Destination::parse(path.to_str().unwrap()).unwrap();
        assert_eq!(again, Destination::Directory(path));
    }
}
