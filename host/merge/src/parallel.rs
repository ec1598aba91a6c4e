//! Merges many documents on several threads, each reading and adding its part.

use std::io;

use crate::{
    error::{Problem, Refused},
    merged::Merged,
    merger::{Merger, Options},
};

/// What became of the documents.
#[derive(Debug)]
pub struct Outcome {
    /// Those that could be merged; none when none could.
    pub merged: Option<Merged>,
    /// The others, in their order.
    pub refused: Vec<Refused>,
}

/// Merges what `read` reads into a buffer for each of `sources`, on up to `threads` threads. What cannot be merged
/// is left out, said in the result and given back; the caller decides whether that is an error.
pub fn merge_all<S: Sync>(
    options: Options,
    sources: &[S],
    threads: usize,
    name: impl Fn(&S) -> String + Sync,
    read: impl Fn(&S, &mut Vec<u8>) -> io::Result<()> + Sync,
) -> Outcome {
    let mut merger = Merger::new(options);
    let mut refused = Vec::new();
    let mut buffer = Vec::new();
    let part = |merger: &mut Merger, buffer: &mut Vec<u8>, source: &S| {
        let name = name(source);
        buffer.clear();
        let added = match read(source, buffer) {
            Ok(()) => merger.add(&name, buffer),
            Err(error) => Err(Refused {
                name,
                problem: Box::new(Problem::Unreadable(error)),
            }),
        };
        added.inspect_err(|refused| merger.skip(refused)).err()
    };
    // The first one that can be merged says what the others must be like, whichever thread is faster.
    let mut rest = sources;
    while let ([source, after @ ..], 0) = (rest, merger.documents()) {
        refused.extend(part(&mut merger, &mut buffer, source));
        rest = after;
    }
    let each = rest.len().div_ceil(threads.max(1)).max(1);
    let part = &part;
    std::thread::scope(|scope| {
        let threads: Vec<_> = rest
            .chunks(each)
            .map(|sources| {
                let mut sibling = merger.sibling();
                scope.spawn(move || {
                    let mut buffer = Vec::new();
                    let refused: Vec<Refused> = sources
                        .iter()
                        .filter_map(|source| part(&mut sibling, &mut buffer, source))
                        .collect();
                    (sibling, refused)
                })
            })
            .collect();
        for thread in threads {
            // A panic below is a bug, and half a sum must not look like a whole one.
            let (sibling, of_part) = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            merger.absorb(sibling);
            refused.extend(of_part);
        }
    });
    Outcome {
        merged: merger.finish(),
        refused,
    }
}
