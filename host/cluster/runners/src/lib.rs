//! Runner groups: the same load from many pods, or from many processes of this machine, started together.
//!
//! Kubernetes is the engine: an Indexed Job runs the pods, and the API is the store. There is no controller, and nothing
//! listens for anybody. What runners and whoever started them tell one another goes through a [`Store`], which is
//! ConfigMaps of the group or a directory.
//!
//! ```text
//! GroupSpec → objects → launch ─────────────────────────────┐                      status, collect → merged elsewhere
//!    Bundle (plan, profile, components in parts) ──┐        │                        │
//! in each pod: unpack (digests) → connect → meet (ready, one start for all) → run → deliver (report in parts)
//! ```
//!
//! Everything has the label of its run and of its group, and is found again by these alone.

mod bundle;
mod collect;
mod error;
mod group;
mod launch;
mod mail;
mod meet;
mod objects;
mod plan;
mod rights;
mod status;
mod store;

pub use bundle::{Bundle, BundleError, Component, PROFILE_FILE, unpack};
pub use collect::{End, Runner, collect, finished, why_missing};
pub use error::GroupError;
pub use group::{FlowControl, GroupSpec, Owner, SpecError};
pub use launch::{Found, create, delete, delete_namespace, find};
pub use mail::{Mail, MailState, Start};
pub use meet::{MeetError, meet};
pub use objects::{GROUP_FOLDER, GROUP_LABEL, NAMESPACE, objects};
pub use plan::{Plan, Shipped};
pub use rights::{check_rights, required_rights};
pub use status::{State, Status, statuses};
pub use store::{
    ClusterStore, DeliverError, DirectoryStore, ParseStoreError, Place, Store, StoreError,
};
