//! The table, by topic.

mod apply;
mod create;
mod custom;
mod delete;
mod discovery;
mod encoding;
mod expiry;
mod initial_events;
mod list;
mod pagination;
mod patch;
mod refusal;
mod revision;
mod selector;
mod subresource;
mod update;
mod watch;

use crate::case::Case;

/// Every case.
pub(crate) fn table() -> Vec<Case> {
    [
        list::CASES,
        pagination::CASES,
        revision::CASES,
        expiry::CASES,
        selector::CASES,
        watch::CASES,
        initial_events::CASES,
        refusal::CASES,
        create::CASES,
        update::CASES,
        patch::CASES,
        apply::CASES,
        delete::CASES,
        subresource::CASES,
        discovery::CASES,
        encoding::CASES,
        custom::CASES,
    ]
    .concat()
}
