//! Hostile guests: real components from `tests/components`, and what the runtime makes of each.
//! Every case asserts the code, the plugin's name, the phase and the limit in the message.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod components;
mod exporters;
mod generators;
mod loading;
