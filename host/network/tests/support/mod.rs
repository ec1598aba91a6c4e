//! A tool made of two shell scripts, and what the tests of runs have in common.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses its part"
)]

use std::{path::Path, sync::Arc, time::Duration};

use kperf_network::{
    Command, Output, Plan, Reading, Selection, Tool, ToolError,
    orchestrator::{OrchestratorOptions, Variant, never},
};

/// Server and client are scripts with the server's host as `$1`. The client measures what it writes as `NAME=NUMBER`.
#[derive(Clone)]
pub struct Scripts {
    pub program: String,
    pub server: String,
    pub client: String,
    pub limit_ms: u64,
}

impl Scripts {
    /// A server that is ready at once and runs for ever, and this client.
    pub fn client(client: &str) -> Self {
        Self {
            program: "sh".to_owned(),
            server: "echo ready; exec sleep 1000".to_owned(),
            client: client.to_owned(),
            limit_ms: 60_000,
        }
    }

    pub fn variants(self) -> Vec<Variant> {
        vec![Variant {
            name: String::new(),
            tool: Arc::new(self),
        }]
    }
}

impl Tool for Scripts {
    fn plan(&self, server_host: &str) -> Result<Plan, ToolError> {
        let command = |script: &str| Command {
            program: self.program.clone(),
            arguments: ["-c", script, "sh", server_host].map(str::to_owned).into(),
            environment: Vec::new(),
        };
        Ok(Plan {
            server: command(&self.server),
            client: command(&self.client),
            ready: "line:ready".to_owned(),
            min_time_limit_ms: self.limit_ms,
            main_metric: "value".to_owned(),
            ..Plan::default()
        })
    }

    fn parse(&self, output: Output) -> Result<Vec<Reading>, ToolError> {
        let readings: Vec<_> = output
            .stdout
            .lines()
            .filter_map(|line| line.split_once('='))
            .filter_map(|(name, value)| {
                Some(Reading {
                    name: name.to_owned(),
                    value: value.parse().ok()?,
                    unit: "count".to_owned(),
                    labels: Default::default(),
                })
            })
            .collect();
        match output.exit_code {
            Some(0) if !readings.is_empty() => Ok(readings),
            _ if output.timed_out => Err(ToolError::new("timed_out", "ended at its limit")),
            _ if !output.signal.is_empty() => Err(ToolError::new("interrupted", output.signal)),
            _ => Err(ToolError::new("malformed", output.stderr)),
        }
    }
}

/// Waits are long, so that a slow machine does not fail a test; nothing should wait for them.
pub fn options(directory: &Path, workers: usize) -> OrchestratorOptions {
    OrchestratorOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        certificates: None,
        benchmark: "scripts".to_owned(),
        main_metric: "value".to_owned(),
        selection: Selection::default(),
        workers,
        samples: 1,
        timeout: Duration::from_secs(120),
        replacement: Duration::ZERO,
        task_limit: Duration::ZERO,
        server_limit: Duration::from_secs(60),
        deadline: Duration::from_secs(600),
        directory: directory.to_owned(),
        progress: Arc::new(|_| ()),
        abort: never(),
    }
}
