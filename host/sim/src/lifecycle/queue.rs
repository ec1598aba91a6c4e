//! What is due and when; the same task is never in it twice.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
};

use tokio::time::Instant;

use super::kind::Kind;

/// What is to be done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    /// A pod gets a node.
    Schedule,
    /// A bound pod runs.
    Start,
    /// A pod of a Job ends well.
    Complete,
    /// A pod that is being deleted goes.
    Terminate,
    /// Pods that found no node try again.
    Reschedule,
    /// Pods that do not tolerate their node's taints, or whose node is gone, go.
    Evict,
    EmptyNamespace,
    /// A VirtualMachineInstance that is handed to its node runs.
    Boot,
    /// A finished Job has lived long enough.
    Expire,
    /// A controller compares what is with what shall be.
    Sync(Kind),
}

/// A step and its object. Steps of controllers mean whatever has the name, and leave the uid empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Task {
    pub(super) step: Step,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    due: BinaryHeap<Reverse<(Instant, u64, Task)>>,
    waiting: HashSet<Task>,
    /// Tasks of one instant keep their order.
    pushed: u64,
}

impl Queue {
    /// Adds a task unless it waits already; then its first time stands.
    pub(super) fn push(&mut self, at: Instant, task: Task) {
        if self.waiting.insert(task.clone()) {
            self.pushed += 1;
            self.due.push(Reverse((at, self.pushed, task)));
        }
    }

    /// When the next task is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next task, if it is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Task> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, _, task)) = self.due.pop()?;
        self.waiting.remove(&task);
        Some(task)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn task(name: &str) -> Task {
        Task {
            step: Step::Schedule,
            namespace: String::new(),
            name: name.to_owned(),
            uid: String::new(),
        }
    }

    #[test]
    fn tasks_come_when_due_in_order_and_once() {
        let mut queue = Queue::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        queue.push(later, task("late"));
        queue.push(now, task("b"));
        queue.push(now, task("a"));
        queue.push(now, task("b"));
        let names: Vec<String> = std::iter::from_fn(|| queue.pop(now))
            .map(|task| task.name)
            .collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(queue.next(), Some(later));
        // What was done can be due again.
        queue.push(now, task("b"));
        assert_eq!(queue.pop(now).unwrap().name, "b");
        assert_eq!(queue.pop(later).unwrap().name, "late");
    }
}
