//! What whoever launched an orchestrator in a cluster hears of it: how far it is, and at last the results.

use std::time::Duration;

use kperf_cluster::api::Cluster;
use kperf_launch::{PublishError, Publisher, ResultsTarget, State};
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tracing::warn;

/// Between two words of progress: each is a request to the API server.
const PAUSE: Duration = Duration::from_millis(500);

/// Tells the cluster, beside the run.
pub struct Herald {
    publisher: Publisher,
    news: watch::Sender<News>,
    telling: JoinHandle<()>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum News {
    /// Nothing yet.
    #[default]
    None,
    /// A line for people; only the last is told.
    Said(String),
    /// No more.
    End,
}

/// Says how far the run is; never waits.
#[derive(Clone)]
pub struct Voice(watch::Sender<News>);

impl Voice {
    /// Has a line told, in place of the one before.
    pub fn say(&self, line: &str) {
        self.0.send_replace(News::Said(line.to_owned()));
    }
}

impl Herald {
    /// Begins. Needs a tokio runtime.
    #[must_use]
    pub fn start(cluster: Cluster, target: ResultsTarget) -> Self {
        let publisher = Publisher::new(cluster, target);
        let (news, heard) = watch::channel(News::None);
        let telling = tokio::spawn(tell(publisher.clone(), heard));
        Self {
            publisher,
            news,
            telling,
        }
    }

    /// For the run.
    #[must_use]
    pub fn voice(&self) -> Voice {
        Voice(self.news.clone())
    }

    /// The last words. Whatever is still being told is waited for, so that it does not come after them.
    ///
    /// # Errors
    /// See [`Publisher::finish`].
    pub async fn finish(
        self,
        state: State,
        message: &str,
        results: Option<&[u8]>,
    ) -> Result<(), PublishError> {
        self.news.send_replace(News::End);
        // It only fails if it panicked, and then it tells nothing more either.
        let _ = self.telling.await;
        self.publisher.finish(state, message, results).await
    }
}

async fn tell(publisher: Publisher, mut heard: watch::Receiver<News>) {
    let mut failed = false;
    while heard.changed().await.is_ok() {
        let news = heard.borrow_and_update().clone();
        match news {
            News::None => {}
            News::End => return,
            News::Said(line) => match publisher.progress(&line).await {
                Ok(()) => failed = false,
                // The run goes on without being heard.
                Err(error) if !failed => {
                    failed = true;
                    warn!("{error}");
                }
                Err(_) => {}
            },
        }
        sleep(PAUSE).await;
    }
}
