//! What kperf's request kinds share: paths, queries, series names, validation.
//!
//! Enters: the fields of a request entry of a kperf load profile, already of the right types. Leaves: paths and
//! queries byte for byte as kperf sends them, series named as kperf names them but without the server, which
//! exporters add, and kperf's own sentences where a field is wrong; kperf's panics are errors here.

mod duration;
pub mod get;
mod keys;
pub mod list;
mod path;
mod query;
mod resource;

pub use duration::go_duration;
pub use keys::KeySpace;
pub use path::{encode_path, join_path};
pub use query::Query;
pub use resource::Resource;

use kperf_sdk::generator::{OpenContext, Template};

/// The query that every request carries: the client's deadline, in Go's spelling.
pub fn base_query(context: &OpenContext) -> Query {
    let mut query = Query::default();
    if let Some(deadline) = context.deadline() {
        query.set("timeout", go_duration(deadline));
    }
    query
}

/// A template for one path, measured as `<name> <path>?<query>`.
///
/// `name` is kperf's name of the method, `LIST` for a `GET` of a collection.
pub fn template(name: &str, method: &str, path: &str, query: &Query) -> Template {
    let path = format!("{}{}", encode_path(path), query.suffix());
    Template::new(format!("{name} {path}"), method, path)
}
