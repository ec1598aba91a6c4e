//! Setup work, bulks and clean-up against the simulator.

mod api;
mod bulk;
mod cleanup;
mod cluster;
mod grants;
