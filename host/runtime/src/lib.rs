//! Loads, inspects, limits and calls plugin components.
