//! Headers renewed in the background.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use kperf_load::plan::HeaderProvider;

use crate::TargetError;

/// How often renewal is asked for. kube itself keeps a token until a minute before it expires; a token
/// file is rewritten by the kubelet well before its token ends.
const EVERY: Duration = Duration::from_secs(10);

/// Something that yields the `authorization` header of now.
pub(super) trait Rotate: Send {
    /// May block. The error is a complete sentence without secrets.
    fn next(&mut self) -> Result<HeaderValue, String>;
}

/// Headers with an `authorization` that is renewed by a thread. The thread ends when this is dropped; it
/// is not waited for, because a credential plugin may hang.
pub(super) struct Rotating {
    current: Arc<RwLock<HeaderMap>>,
    _alive: mpsc::Sender<()>,
}

impl Rotating {
    pub(super) fn start(fixed: HeaderMap, first: HeaderValue, rotate: Box<dyn Rotate>) -> Self {
        Self::start_every(EVERY, fixed, first, rotate)
    }

    fn start_every(
        every: Duration,
        fixed: HeaderMap,
        first: HeaderValue,
        mut rotate: Box<dyn Rotate>,
    ) -> Self {
        let mut headers = fixed;
        headers.insert(AUTHORIZATION, first);
        let current = Arc::new(RwLock::new(headers));
        let (alive, ended) = mpsc::channel::<()>();
        let shared = Arc::clone(&current);
        let renew = move || {
            let mut failing = false;
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                match rotate.next() {
                    Ok(value) => {
                        failing = false;
                        shared
                            .write()
                            .unwrap_or_else(PoisonError::into_inner)
                            .insert(AUTHORIZATION, value);
                    }
                    Err(message) if !failing => {
                        failing = true;
                        tracing::warn!(
                            "credentials were not renewed, the last ones stay in use: {message}"
                        );
                    }
                    Err(_) => {}
                }
            }
        };
        if let Err(error) = thread::Builder::new()
            .name("credentials".into())
            .spawn(renew)
        {
            tracing::warn!("credentials will not be renewed: no thread: {error}");
        }
        Self {
            current,
            _alive: alive,
        }
    }
}

impl HeaderProvider for Rotating {
    fn headers(&self) -> HeaderMap {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

// Names only: the values authorise.
impl fmt::Debug for Rotating {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = self.headers();
        formatter.debug_set().entries(headers.keys()).finish()
    }
}

/// A file that holds a bearer token.
pub(super) struct TokenFile {
    path: PathBuf,
    origin: String,
}

impl TokenFile {
    pub(super) fn new(path: PathBuf, origin: String) -> Self {
        Self { path, origin }
    }

    pub(super) fn read(&mut self) -> Result<HeaderValue, TargetError> {
        let unusable = |reason: &str| TargetError::Setting {
            origin: self.origin.clone(),
            key: "tokenFile".into(),
            reason: format!("{} {reason}", self.path.display()),
        };
        let text = std::fs::read_to_string(&self.path).map_err(|source| TargetError::Read {
            origin: format!("{}: tokenFile", self.origin),
            path: self.path.clone(),
            source,
        })?;
        let token = text.trim();
        if token.is_empty() {
            return Err(unusable("is empty"));
        }
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| unusable("does not hold one token on one line"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Rotate for TokenFile {
    fn next(&mut self) -> Result<HeaderValue, String> {
        self.read().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out what is sent to it and says when it is gone.
    struct Scripted {
        values: mpsc::Receiver<Result<&'static str, String>>,
        _gone: mpsc::Sender<()>,
    }

    impl Rotate for Scripted {
        fn next(&mut self) -> Result<HeaderValue, String> {
            match self.values.recv() {
                Ok(value) => value.map(HeaderValue::from_static),
                Err(_) => Err("nothing more".into()),
            }
        }
    }

    #[test]
    fn renewal_replaces_failure_keeps_and_drop_ends_the_thread() {
        let (say, values) = mpsc::channel();
        let (gone, ended) = mpsc::channel();
        let mut fixed = HeaderMap::new();
        fixed.insert("impersonate-user", HeaderValue::from_static("someone"));
        let rotating = Rotating::start_every(
            Duration::from_millis(1),
            fixed,
            HeaderValue::from_static("Bearer first"),
            Box::new(Scripted {
                values,
                _gone: gone,
            }),
        );
        let authorization = || rotating.headers().get(AUTHORIZATION).cloned().unwrap();
        assert_eq!(authorization(), "Bearer first");
        say.send(Err("no".into())).unwrap();
        say.send(Ok("Bearer second")).unwrap();
        while authorization() == "Bearer first" {
            thread::yield_now();
        }
        assert_eq!(authorization(), "Bearer second");
        assert_eq!(
            rotating.headers().get("impersonate-user").unwrap(),
            "someone"
        );
        let shown = format!("{rotating:?}");
        assert!(
            shown.contains("authorization") && !shown.contains("second"),
            "{shown}"
        );

        drop(rotating);
        drop(say);
        // Ends only when the thread has dropped the script.
        assert!(ended.recv().is_err());
    }

    #[test]
    fn a_token_file_is_trimmed_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "one\n").unwrap();
        let mut file = TokenFile::new(path.clone(), "user \"u\"".into());
        assert_eq!(file.next().unwrap(), "Bearer one");
        std::fs::write(&path, "  two  \n\n").unwrap();
        assert_eq!(file.next().unwrap(), "Bearer two");
        std::fs::write(&path, "\n").unwrap();
        assert!(file.next().unwrap_err().contains("is empty"));
        std::fs::write(&path, "s3cret\ns3cret").unwrap();
        let message = file.next().unwrap_err();
        assert!(
            message.contains("token on one line") && !message.contains("s3cret"),
            "{message}"
        );
        std::fs::remove_file(&path).unwrap();
        let message = file.next().unwrap_err();
        assert!(
            message.contains("user \"u\": tokenFile: cannot read"),
            "{message}"
        );
    }
}
