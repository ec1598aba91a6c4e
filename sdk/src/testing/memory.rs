//! What the host would do with sinks and logs, kept in memory for the test's own thread.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use crate::log::Level;
use crate::sink::{Delivery, Receipt};

#[derive(Default)]
struct Memory {
    files: BTreeMap<String, Vec<u8>>,
    deliveries: Vec<(String, Delivery)>,
    answers: VecDeque<Receipt>,
    logs: Vec<(Level, String)>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// Forgets files, deliveries, answers and logs.
pub fn reset() {
    MEMORY.take();
}

/// What was written to a destination and finished; a file in a directory is `directory/file`.
pub fn sink(name: &str) -> Option<Vec<u8>> {
    MEMORY.with_borrow(|memory| memory.files.get(name).cloned())
}

/// What was sent to a destination, in order.
pub fn deliveries(name: &str) -> Vec<Delivery> {
    MEMORY.with_borrow(|memory| {
        let of_name = memory.deliveries.iter().filter(|(to, _)| to == name);
        of_name.map(|(_, delivery)| delivery.clone()).collect()
    })
}

/// Queues the answer to a delivery; without one it is 200 and empty.
pub fn answer(status: u32, body: &[u8]) {
    let receipt = Receipt {
        status,
        body: body.to_vec(),
    };
    MEMORY.with_borrow_mut(|memory| memory.answers.push_back(receipt));
}

/// What was logged, in order.
pub fn logs() -> Vec<(Level, String)> {
    MEMORY.with_borrow(|memory| memory.logs.clone())
}

pub(crate) fn keep_log(level: Level, message: &str) {
    MEMORY.with_borrow_mut(|memory| memory.logs.push((level, message.to_owned())));
}

/// Stands where the import `kperf:report/sink` stands in a component.
pub(crate) mod host_sink {
    use std::cell::RefCell;

    use super::MEMORY;
    use crate::failure::Failure;
    use crate::sink::{Delivery, Receipt};

    #[derive(Debug)]
    pub(crate) struct Output {
        name: String,
        bytes: RefCell<Vec<u8>>,
    }

    pub(crate) fn open(name: &str, file: &str) -> Result<Output, Failure> {
        let name = match file {
            "" => name.to_owned(),
            file => format!("{name}/{file}"),
        };
        Ok(Output {
            name,
            bytes: RefCell::default(),
        })
    }

    impl Output {
        pub(crate) fn write(&self, chunk: &[u8]) -> Result<(), Failure> {
            if chunk.len() > 1 << 20 {
                return Err(Failure::new("io", "a chunk is larger than 1 MiB"));
            }
            self.bytes.borrow_mut().extend_from_slice(chunk);
            Ok(())
        }

        pub(crate) fn finish(&self) -> Result<(), Failure> {
            let bytes = self.bytes.take();
            MEMORY.with_borrow_mut(|memory| memory.files.insert(self.name.clone(), bytes));
            Ok(())
        }
    }

    pub(crate) fn send(name: &str, request: &Delivery) -> Result<Receipt, Failure> {
        MEMORY.with_borrow_mut(|memory| {
            memory.deliveries.push((name.to_owned(), request.clone()));
            let empty = Receipt {
                status: 200,
                body: Vec::new(),
            };
            Ok(memory.answers.pop_front().unwrap_or(empty))
        })
    }
}
