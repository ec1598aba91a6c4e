//! Benchmarks for Kubernetes API servers and clusters, with plugins as WebAssembly components.
