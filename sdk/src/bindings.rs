//! What wit-bindgen generates from the packages in `wit/`: one set of types for all worlds.
//!
//! A plugin becomes a component of one world through its export macro alone, which exports that world's interfaces and
//! places its type, encoded by `build.rs`, in a custom section. Imports that a plugin does not call vanish at link time.
#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "generated code"
)]

wit_bindgen::generate!({
    path: "wit",
    inline: "
        package kperf:sdk;

        world everything {
            import kperf:core/logging@0.1.0;
            import kperf:report/sink@0.1.0;
            import kperf:benchmark/cluster@0.1.0;
            import kperf:benchmark/tracking@0.1.0;
            import kperf:benchmark/load@0.1.0;
            import kperf:benchmark/nodes@0.1.0;
            import kperf:benchmark/run@0.1.0;
            export kperf:core/identity@0.1.0;
            export kperf:workload/generator@0.1.0;
            export kperf:workload/feedback@0.1.0;
            export kperf:workload/arrivals@0.1.0;
            export kperf:report/exporter@0.1.0;
            export kperf:benchmark/benchmark@0.1.0;
            export kperf:tool/tool@0.1.0;
        }
    ",
    world: "kperf:sdk/everything",
    generate_all,
    pub_export_macro: true,
    additional_derives: [PartialEq],
    additional_derives_ignore: ["opened"],
});

/// The encoded types of the worlds.
pub mod sections {
    pub const GENERATOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/generator"));
    pub const REACTIVE_GENERATOR: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/reactive-generator"));
    pub const REPLAY_GENERATOR: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/replay-generator"));
    pub const EXPORTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/exporter"));
    pub const TOOL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tool"));
    pub const BENCHMARK: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/benchmark"));

    /// A section's bytes as a value that a static can hold.
    pub const fn array<const N: usize>(section: &[u8]) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(section);
        array
    }
}
