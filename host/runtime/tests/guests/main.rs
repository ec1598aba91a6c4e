//! Hostile guests: real components from `tests/components`, and what the runtime makes of each.
//! Every case asserts the code, the plugin's name, the phase and the limit in the message.

mod components;
mod exporters;
mod generators;
mod loading;
