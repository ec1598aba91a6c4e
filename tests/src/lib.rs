//! End-to-end tests: support code.
