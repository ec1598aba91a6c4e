//! The first-party plugins, compiled and bundled.
