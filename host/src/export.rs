//! Exporter plugins: intervals out during the run, the whole report at its end, never on the hot path.
//!
//! Exporters live on one thread of their own. One that fails is named in the result and does not touch
//! the others, the run, or the terminal summary.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use kperf_runtime::{BeginContext, Exporter, Plugin, report as doc};
use tokio::sync::mpsc;

use crate::{
    exit::{Exit, Failed, OrExit as _},
    sink::{Declared, Destination},
};

/// One `--output`: an exporter, its configuration and where it writes.
pub struct Output {
    /// As the user wrote it, without the destination.
    pub name: String,
    /// The loaded exporter.
    pub plugin: Arc<Plugin>,
    /// Validated configuration.
    pub config: serde_json::Value,
    /// Where it writes.
    pub destination: Destination,
}

/// An output that was not, or not wholly, delivered.
#[derive(Debug)]
pub struct ExportFailure {
    /// The output as the user wrote it.
    pub name: String,
    /// What happened.
    pub message: String,
}

enum Message {
    Interval(doc::Interval),
    Finish(Box<doc::Summary>),
}

/// The running exporters of a run.
pub struct Exports {
    messages: mpsc::UnboundedSender<Message>,
    thread: Option<std::thread::JoinHandle<Vec<ExportFailure>>>,
}

impl Exports {
    /// Opens every exporter, so that a wrong configuration is known before anything is measured.
    ///
    /// # Errors
    /// An exporter refused its configuration or failed to begin.
    pub fn begin(outputs: Vec<Output>, run_id: &str) -> Result<Self, Failed> {
        let (messages, inbox) = mpsc::unbounded_channel();
        if outputs.is_empty() {
            return Ok(Self {
                messages,
                thread: None,
            });
        }
        let (begun, wait_begun) = std::sync::mpsc::channel();
        let run_id = run_id.to_owned();
        let thread = std::thread::Builder::new()
            .name("exporters".to_owned())
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .context("cannot start the runtime of the exporters")
                {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        begun.send(Err(error)).ok();
                        return Vec::new();
                    }
                };
                runtime.block_on(async {
                    let mut open = Vec::with_capacity(outputs.len());
                    for output in outputs {
                        match Open::begin(output, &run_id).await {
                            Ok(exporter) => open.push(exporter),
                            Err(error) => {
                                begun.send(Err(error)).ok();
                                return Vec::new();
                            }
                        }
                    }
                    begun.send(Ok(())).ok();
                    serve(open, inbox).await
                })
            })
            .context("cannot start the thread of the exporters")
            .or_exit(Exit::Failure)?;
        match wait_begun.recv() {
            Ok(Ok(())) => Ok(Self {
                messages,
                thread: Some(thread),
            }),
            Ok(Err(error)) => Err(Failed {
                exit: Exit::Plugin,
                error,
            }),
            Err(_) => Err(Failed {
                exit: Exit::Failure,
                error: anyhow!("the thread of the exporters ended before it began"),
            }),
        }
    }

    /// Hands an interval on; returns at once.
    pub fn interval(&self, interval: doc::Interval) {
        if self.thread.is_some() {
            // A closed inbox means the thread is gone; `finish` says so.
            self.messages.send(Message::Interval(interval)).ok();
        }
    }

    /// For others that hand intervals on.
    #[must_use]
    pub fn feed(&self) -> Feed {
        Feed(self.thread.is_some().then(|| self.messages.clone()))
    }

    /// Hands the report to every exporter and waits for them.
    #[must_use]
    pub fn finish(mut self, summary: doc::Summary) -> Vec<ExportFailure> {
        let Some(thread) = self.thread.take() else {
            return Vec::new();
        };
        self.messages.send(Message::Finish(Box::new(summary))).ok();
        thread.join().unwrap_or_else(|_| {
            vec![ExportFailure {
                name: "all".to_owned(),
                message: "the thread of the exporters panicked".to_owned(),
            }]
        })
    }
}

/// Hands intervals to the exporters from wherever they come.
#[derive(Clone)]
pub struct Feed(Option<mpsc::UnboundedSender<Message>>);

impl Feed {
    /// Hands an interval on; returns at once.
    pub fn interval(&self, interval: doc::Interval) {
        if let Some(messages) = &self.0 {
            messages.send(Message::Interval(interval)).ok();
        }
    }
}

struct Open {
    name: String,
    exporter: Exporter,
    failure: Option<String>,
}

impl Open {
    async fn begin(output: Output, run_id: &str) -> anyhow::Result<Self> {
        let context = BeginContext {
            run_id: run_id.to_owned(),
            sink: Declared::NAME.to_owned(),
            sink_kind: output.destination.kind().to_owned(),
            labels: Vec::new(),
        };
        let sinks = Arc::new(Declared::new(output.destination));
        let exporter = output
            .plugin
            .open_exporter(context, &output.config, sinks)
            .await
            .with_context(|| format!("output {}", output.name))?;
        Ok(Self {
            name: output.name,
            exporter,
            failure: None,
        })
    }
}

async fn serve(
    mut open: Vec<Open>,
    mut inbox: mpsc::UnboundedReceiver<Message>,
) -> Vec<ExportFailure> {
    while let Some(message) = inbox.recv().await {
        match message {
            Message::Interval(interval) => {
                // An exporter that is behind gets several at once.
                let mut batch = vec![interval];
                let mut last = None;
                while let Ok(message) = inbox.try_recv() {
                    match message {
                        Message::Interval(interval) => batch.push(interval),
                        Message::Finish(summary) => {
                            last = Some(summary);
                            break;
                        }
                    }
                }
                for output in open.iter_mut().filter(|output| output.failure.is_none()) {
                    if let Err(error) = output.exporter.intervals(batch.clone()).await {
                        output.failure = Some(error.to_string());
                    }
                }
                if let Some(summary) = last {
                    return finish(open, &summary).await;
                }
            }
            Message::Finish(summary) => return finish(open, &summary).await,
        }
    }
    // The run gave up before its end; there is nothing to write.
    Vec::new()
}

async fn finish(open: Vec<Open>, summary: &doc::Summary) -> Vec<ExportFailure> {
    let mut failures = Vec::new();
    for mut output in open {
        let finished = output.exporter.finish(summary.clone()).await;
        let message = match (output.failure, finished) {
            (None, Ok(())) => continue,
            (Some(early), Ok(())) => early,
            (None, Err(error)) => error.to_string(),
            (Some(early), Err(error)) => format!("{early}; then {error}"),
        };
        failures.push(ExportFailure {
            name: output.name,
            message,
        });
    }
    failures
}
