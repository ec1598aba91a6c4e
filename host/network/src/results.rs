//! The results file: the fields that network performance suites of this kind have always had, and ours beside them.
//! Files without ours are read as well.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::NetworkError,
    pairs::Placement,
    run::{NetworkRun, RunEnd, Summary},
    schedule::WorkerInfo,
    task::{TaskRecord, TaskState},
    tool::{Output, Reading, ToolError},
};

/// Name of the file in the run's directory.
pub const RESULTS: &str = "results.json";

/// A results file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResultsFile {
    /// One for each task, in the order in which they ended.
    pub results: Vec<TaskResult>,
    /// Addition: name of the benchmark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benchmark: Option<String>,
    /// Addition: the reading to show in tables.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub main_metric: String,
    /// Addition: who took part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerInfo>,
    /// Addition: names of workers that were lost and did not come back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
    /// Addition: why the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<RunEnd>,
    /// Addition: mean and 95 % confidence interval of the samples.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub summaries: Vec<Summary>,
}

/// A task with what its client wrote.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    /// Standard output; in files without `stderr` both streams mixed.
    pub output: String,
    /// The task.
    pub task: Task,
    /// Addition: standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// Addition: exit code of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Addition: signal that ended the client.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signal: String,
    /// Addition: whether some of the output was thrown away.
    #[serde(default, skip_serializing_if = "is_false")]
    pub clipped: bool,
    /// Addition: when the task was assigned, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_unix_ms: Option<u64>,
    /// Addition: when the task ended, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_unix_ms: Option<u64>,
    /// Addition: limit of the client command, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<u64>,
    /// Addition: how long the client ran, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ns: Option<u64>,
    /// Addition: what the traffic took, such as `pod` or `service`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Addition: name or address by which the client was to reach the server.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub server_host: String,
    /// Addition: whether both workers are on one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_node: Option<bool>,
    /// Addition: where the ends are to one another, see [`Placement`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Addition: name of the tool's parameters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Addition: number of the sample, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<u32>,
    /// Addition: how the server ended, if it did during the task.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub server_ended: String,
    /// Addition: what was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<Reading>,
    /// Addition: why nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ToolError>,
}

/// A task as the orchestrator handed it out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The client's program.
    pub command: String,
    /// The client's arguments. Other writers leave null where there are none.
    #[serde(deserialize_with = "null_is_default")]
    pub args: Vec<String>,
    /// Its limits.
    pub task_options: TaskOptions,
    /// Number of its state, see [`TaskState`].
    pub status: i64,
    /// Where the client ran.
    pub client: End,
    /// Where the server ran.
    pub server: End,
}

/// Limits of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOptions {
    /// Limit of the client command, seconds, rounded up.
    pub timeout_seconds: u64,
}

/// One end of a pair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Name of the worker.
    pub worker: String,
    /// Its own address.
    pub ip: String,
    /// Its node.
    pub vm: Vm,
    /// Whether it was free when the file was written: a lost worker is not.
    pub idle: bool,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// Its name.
    pub hostname: String,
    /// Its zone; empty when not known.
    pub availability_zone: String,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl ResultsFile {
    /// What a run leaves behind.
    #[must_use]
    pub fn of(run: &NetworkRun) -> Self {
        Self {
            results: run.tasks.iter().map(|task| result(run, task)).collect(),
            benchmark: Some(run.benchmark.clone()),
            main_metric: run.main_metric.clone(),
            workers: run.workers.clone(),
            lost: run.lost.clone(),
            end: Some(run.end),
            summaries: run.summaries(),
        }
    }

    /// Reads a file, with or without the additions.
    ///
    /// # Errors
    /// If it cannot be read or is no results file.
    pub fn read(path: &Path) -> Result<Self, NetworkError> {
        let text = fs::read(path).map_err(|error| NetworkError::file(path, error))?;
        serde_json::from_slice(&text)
            .map_err(|error| NetworkError::file(path, format!("no results file: {error}")))
    }

    /// The file's text.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Of strings, numbers and lists: nothing that could fail.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Without what tools wrote where their readings are there: those are what judging, showing and exporting need.
    #[must_use]
    pub fn without_read_outputs(mut self) -> Self {
        for result in &mut self.results {
            if !result.readings.is_empty() {
                result.output.clear();
                result.stderr = Some(String::new());
                result.clipped = true;
            }
        }
        self
    }

    /// Reads a file's text, with or without the additions.
    ///
    /// # Errors
    /// It is no results file.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// Writes the file so that it is there whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), NetworkError> {
        let failed = |error: std::io::Error| NetworkError::file(path, error);
        let text = self.to_bytes();
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let temporary = path.with_file_name(name);
        let mut file = File::create(&temporary).map_err(failed)?;
        file.write_all(&text)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&temporary, path))
            .map_err(failed)
    }
}

impl TaskResult {
    /// What a tool needs to read the output again.
    #[must_use]
    pub fn tool_output(&self) -> Output {
        Output {
            arguments: self.task.args.clone(),
            stdout: self.output.clone(),
            stderr: self.stderr.clone().unwrap_or_default(),
            exit_code: self.exit_code,
            signal: self.signal.clone(),
            timed_out: TaskState::from_number(self.task.status) == TaskState::TimedOut,
            clipped: self.clipped,
        }
    }
}

fn result(run: &NetworkRun, record: &TaskRecord) -> TaskResult {
    let key = &record.key;
    let placement = run.placement(&key.client, &key.server);
    TaskResult {
        output: record.stdout.clone(),
        task: Task {
            command: record.program.clone(),
            args: record.arguments.clone(),
            task_options: TaskOptions {
                timeout_seconds: record.limit_ms.div_ceil(1_000),
            },
            status: record.state.number(),
            client: end(run, &key.client),
            server: end(run, &key.server),
        },
        stderr: Some(record.stderr.clone()),
        exit_code: record.exit_code,
        signal: record.signal.clone(),
        clipped: record.clipped,
        started_unix_ms: record.started_unix_ms,
        ended_unix_ms: record.ended_unix_ms,
        elapsed_ns: record.elapsed_ns,
        limit_ms: Some(record.limit_ms),
        path: key.path.clone(),
        server_host: record.server_host.clone(),
        same_node: placement.map(|placement| placement == Placement::SameNode),
        placement,
        variant: key.variant.clone(),
        sample: Some(key.sample),
        server_ended: record.server_ended.clone(),
        readings: record.readings.clone(),
        error: record.error.clone(),
    }
}

fn end(run: &NetworkRun, name: &str) -> End {
    let worker = run.worker(name);
    End {
        worker: name.to_owned(),
        ip: worker
            .and_then(|worker| worker.addresses.first())
            .map(|address| address.host.clone())
            .unwrap_or_default(),
        vm: worker.map_or_else(Vm::default, |worker| Vm {
            hostname: worker.hostname.clone(),
            availability_zone: worker.zone.clone(),
        }),
        idle: !run.lost.iter().any(|lost| lost == name),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{schedule::Address, task::TaskKey};

    pub(crate) fn run() -> NetworkRun {
        let worker = |name: &str, ip: &str| WorkerInfo {
            name: name.to_owned(),
            addresses: vec![Address {
                path: "pod".to_owned(),
                host: ip.to_owned(),
            }],
            hostname: format!("node-{name}"),
            zone: "z".to_owned(),
            network_namespace: String::new(),
        };
        let mut tasks = Vec::new();
        for (sample, value) in [(1, 9.0), (2, 11.0)] {
            let mut record = TaskRecord::pending(TaskKey {
                client: "a".to_owned(),
                server: "b".to_owned(),
                path: "pod".to_owned(),
                variant: String::new(),
                sample,
            });
            record.program = "iperf3".to_owned();
            record.arguments = vec!["-c".to_owned(), "10.0.0.2".to_owned()];
            record.limit_ms = 17_500;
            record.stdout = "{}".to_owned();
            record.exit_code = Some(0);
            record.readings = vec![Reading {
                name: "bandwidth_bits_per_second".to_owned(),
                value,
                unit: "bit/s".to_owned(),
                labels: Default::default(),
            }];
            record.end(TaskState::Done, None);
            tasks.push(record);
        }
        NetworkRun {
            benchmark: "iperf3_tcp".to_owned(),
            main_metric: "bandwidth_bits_per_second".to_owned(),
            workers: vec![worker("a", "10.0.0.1"), worker("b", "10.0.0.2")],
            lost: vec!["b".to_owned()],
            tasks,
            end: RunEnd::Complete,
        }
    }

    #[test]
    fn the_old_fields_are_as_they_always_were() {
        let file = serde_json::to_value(ResultsFile::of(&run())).unwrap();
        let first = &file["results"][0];
        assert_eq!(first["output"], "{}");
        assert_eq!(
            first["task"],
            json!({
                "command": "iperf3",
                "args": ["-c", "10.0.0.2"],
                "task_options": {"timeout_seconds": 18},
                "status": 4,
                "client": {
                    "worker": "a", "ip": "10.0.0.1", "idle": true,
                    "vm": {"hostname": "node-a", "availability_zone": "z"},
                },
                "server": {
                    "worker": "b", "ip": "10.0.0.2", "idle": false,
                    "vm": {"hostname": "node-b", "availability_zone": "z"},
                },
            })
        );
        assert_eq!(first["same_node"], false);
        assert_eq!(first["placement"], "same-zone");
        assert_eq!(file["summaries"][0]["mean"], 10.0);
        assert_eq!(file["summaries"][0]["samples"], 2);
        assert!(file["summaries"][0]["ci95"].as_f64().unwrap() > 12.0);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(RESULTS);
        let file = ResultsFile::of(&run());
        file.write(&path).unwrap();
        assert_eq!(ResultsFile::read(&path).unwrap(), file);
        let names: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, [RESULTS]);
    }

    #[test]
    fn a_file_without_additions_is_read() {
        let end = json!({"worker": "w", "ip": "10.0.0.1", "idle": true,
            "vm": {"hostname": "n", "availability_zone": ""}});
        let old: Value = json!({"results": [{"output": "both streams", "task": {
            "command": "qperf", "args": null, "task_options": {"timeout_seconds": 5}, "status": 42,
            "client": end, "server": end}}]});
        let file: ResultsFile = serde_json::from_value(old).unwrap();
        let result = &file.results[0];
        assert_eq!(result.stderr, None);
        let output = result.tool_output();
        assert_eq!((&*output.stdout, output.exit_code), ("both streams", None));
        assert!(!output.timed_out);
    }
}
