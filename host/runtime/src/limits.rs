//! What a plugin may use. Every limit ends in an error that names it.

use std::time::Duration;

/// Limits of one plugin instance and of one call into it.
///
/// The deadlines of generators are counted in epochs of [`Limits::EPOCH`], so a call may run up to
/// one epoch longer than asked for, never shorter.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest component file accepted, in bytes.
    pub component_bytes: u64,
    /// Linear memory of one instance, all its memories together, in bytes.
    pub memory_bytes: u64,
    /// Elements of all tables of one instance.
    pub table_elements: u64,
    /// Core instances, memories and tables inside one component instance (interpreters link many).
    pub core_instances: usize,
    /// A call of `describe` ends with a trap after this long.
    pub describe_trap: Duration,
    /// A call of `open` ends with a trap after this long.
    pub open_trap: Duration,
    /// A call of `next`, `observe` or `schedule` that takes longer is warned about.
    pub next_warn: Duration,
    /// A call of `next`, `observe` or `schedule` ends with a trap after this long.
    pub next_trap: Duration,
    /// A call of an exporter, the time it waits for its sinks included.
    pub exporter_call: Duration,
    /// Longest that a benchmark may compute between two calls of the host.
    pub benchmark_compute: Duration,
    /// A call of a tool ends with a trap after this long.
    pub tool_trap: Duration,
    /// Bytes of a tool's output that its plugin gets to see, for each stream.
    pub tool_output_bytes: usize,
    /// Requests in one batch, whatever was asked for.
    pub batch_items: u32,
    /// Bytes of a batch's arena.
    pub arena_bytes: usize,
    /// Templates of one generator.
    pub templates: usize,
    /// Bytes a generator may hand over in one call, all lists and strings together.
    pub generator_call_bytes: usize,
    /// Bytes an exporter or a benchmark may hand over in one call of the host.
    pub exporter_call_bytes: usize,
    /// Bytes of one `write` to an output.
    pub chunk_bytes: usize,
    /// Bytes of the body of one `send`.
    pub delivery_bytes: usize,
    /// Bytes of an answer's body that an exporter gets to see.
    pub receipt_bytes: usize,
    /// Outputs an exporter may hold open at once.
    pub open_outputs: usize,
    /// Log messages of one instance.
    pub log_messages: u32,
    /// Bytes of one log message, its fields included; longer ones are cut.
    pub log_message_bytes: usize,
    /// Last bytes of standard error kept for error messages.
    pub stderr_bytes: usize,
    /// Bytes of a configuration schema.
    pub schema_bytes: usize,
}

impl Limits {
    /// Resolution of generator deadlines.
    pub const EPOCH: Duration = Duration::from_millis(10);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            component_bytes: 256 << 20,
            memory_bytes: 256 << 20,
            table_elements: 4_000_000,
            core_instances: 512,
            // Interpreted plugins start an interpreter in their first call.
            describe_trap: Duration::from_secs(5),
            open_trap: Duration::from_secs(10),
            // Garbage collection of interpreted plugins was seen to pause 15 ms.
            next_warn: Duration::from_millis(10),
            next_trap: Duration::from_millis(250),
            exporter_call: Duration::from_secs(30),
            // Rendering a hundred thousand manifests in an interpreter takes seconds.
            benchmark_compute: Duration::from_secs(30),
            tool_trap: Duration::from_secs(10),
            tool_output_bytes: 16 << 20,
            batch_items: 4096,
            arena_bytes: 16 << 20,
            templates: 10_000,
            generator_call_bytes: 24 << 20,
            exporter_call_bytes: 34 << 20,
            chunk_bytes: 1 << 20,
            delivery_bytes: 32 << 20,
            receipt_bytes: 64 << 10,
            open_outputs: 16,
            log_messages: 1000,
            log_message_bytes: 4 << 10,
            stderr_bytes: 4 << 10,
            schema_bytes: 256 << 10,
        }
    }
}
