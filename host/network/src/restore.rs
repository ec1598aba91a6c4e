//! A results file as a run again, so that whoever has only the file can judge, show and export it.

use std::collections::HashMap;

use crate::{
    results::{End, ResultsFile, TaskResult},
    run::{NetworkRun, RunEnd},
    schedule::{Address, WorkerInfo},
    task::{TaskKey, TaskRecord, TaskState},
};

impl ResultsFile {
    /// Whether other programs wrote it: it has none of the additions, so its tool has yet to read its outputs.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.end.is_none()
            && self.results.iter().all(|result| {
                result.sample.is_none() && result.readings.is_empty() && result.error.is_none()
            })
    }

    /// The run that left it behind. Of a file without the additions workers are those of its tasks, the path is empty,
    /// and tasks of equal ends are samples, in their order.
    #[must_use]
    pub fn run(&self) -> NetworkRun {
        let mut workers = self.workers.clone();
        for result in &self.results {
            for end in [&result.task.client, &result.task.server] {
                if workers.iter().all(|worker| worker.name != end.worker) {
                    workers.push(worker(end, &result.path));
                }
            }
        }
        let mut samples: HashMap<TaskKey, u32> = HashMap::new();
        let mut tasks: Vec<TaskRecord> = self.results.iter().map(record).collect();
        for task in tasks.iter_mut().filter(|task| task.key.sample == 0) {
            let sample = samples.entry(task.key.clone()).or_default();
            *sample = sample.saturating_add(1);
            task.key.sample = *sample;
        }
        NetworkRun {
            benchmark: self.benchmark.clone().unwrap_or_default(),
            main_metric: self.main_metric.clone(),
            workers,
            lost: self.lost.clone(),
            tasks,
            end: self.end.unwrap_or(RunEnd::Complete),
        }
    }
}

fn worker(end: &End, path: &str) -> WorkerInfo {
    let address = Address {
        path: path.to_owned(),
        host: end.ip.clone(),
    };
    WorkerInfo {
        name: end.worker.clone(),
        addresses: if end.ip.is_empty() {
            Vec::new()
        } else {
            vec![address]
        },
        hostname: end.vm.hostname.clone(),
        zone: end.vm.availability_zone.clone(),
        network_namespace: String::new(),
    }
}

fn record(result: &TaskResult) -> TaskRecord {
    let task = &result.task;
    TaskRecord {
        key: TaskKey {
            client: task.client.worker.clone(),
            server: task.server.worker.clone(),
            path: result.path.clone(),
            variant: result.variant.clone(),
            sample: result.sample.unwrap_or_default(),
        },
        state: TaskState::from_number(task.status),
        server_host: result.server_host.clone(),
        program: task.command.clone(),
        arguments: task.args.clone(),
        limit_ms: result
            .limit_ms
            .unwrap_or_else(|| task.task_options.timeout_seconds.saturating_mul(1_000)),
        started_unix_ms: result.started_unix_ms,
        ended_unix_ms: result.ended_unix_ms,
        elapsed_ns: result.elapsed_ns,
        exit_code: result.exit_code,
        signal: result.signal.clone(),
        clipped: result.clipped,
        stdout: result.output.clone(),
        stderr: result.stderr.clone().unwrap_or_default(),
        server_ended: result.server_ended.clone(),
        readings: result.readings.clone(),
        error: result.error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{results::tests::run, tool::ToolError};

    #[test]
    fn a_run_comes_back_from_its_file() {
        let mut run = run();
        let last = run.tasks.last_mut().unwrap();
        last.state = TaskState::TimedOut;
        last.readings.clear();
        last.error = Some(ToolError::new("timed_out", "ended at its limit"));
        last.signal = "SIGTERM".to_owned();
        last.exit_code = None;
        last.clipped = true;
        last.stderr = "words".to_owned();
        last.server_host = "10.0.0.2".to_owned();
        last.server_ended = "exited with 1".to_owned();
        last.started_unix_ms = Some(1_000);
        last.ended_unix_ms = Some(2_000);
        last.elapsed_ns = Some(7);
        run.end = RunEnd::Deadline;
        run.workers[0].network_namespace = "net:[1]".to_owned();
        let text = serde_json::to_string(&ResultsFile::of(&run)).unwrap();
        let file: ResultsFile = serde_json::from_str(&text).unwrap();
        assert!(!file.is_foreign());
        assert_eq!(file.run(), run);
    }

    #[test]
    fn a_run_without_tasks_comes_back() {
        let mut run = run();
        run.tasks.clear();
        let file = ResultsFile::of(&run);
        assert!(!file.is_foreign());
        assert_eq!(file.run(), run);
    }

    #[test]
    fn a_file_of_others_gives_workers_and_samples() {
        let end = |name: &str, node: &str| {
            json!({"worker": name, "ip": "10.0.0.1", "idle": true,
                "vm": {"hostname": node, "availability_zone": "z"}})
        };
        let task = |client: &str, server: &str| {
            json!({"output": "words", "task": {"command": "qperf", "args": ["x"], "task_options": {"timeout_seconds": 5},
                "status": 3, "client": end(client, "n1"), "server": end(server, "n2")}})
        };
        let file: ResultsFile = serde_json::from_value(
            json!({"results": [task("a", "b"), task("b", "a"), task("a", "b")]}),
        )
        .unwrap();
        assert!(file.is_foreign());
        let run = file.run();
        let names: Vec<_> = run.workers.iter().map(|worker| &*worker.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(run.workers[0].hostname, "n1");
        let samples: Vec<_> = run.tasks.iter().map(|task| task.key.sample).collect();
        assert_eq!(samples, [1, 1, 2]);
        assert_eq!(run.tasks[0].limit_ms, 5_000);
    }
}
