//! Generation 0.1 of the WIT, as generated. The only file that knows how the interfaces are bound.
//!
//! One set of bindings serves all worlds, so that shared types are one Rust type. Its own world is
//! never instantiated: optional exports are looked up one interface at a time.
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "generated from the WIT, which carries the documentation"
)]

wasmtime::component::bindgen!({
    inline: "
        package kperf:host-view;
        world everything {
            include kperf:plugin/reactive-generator@0.1.0;
            include kperf:plugin/replay-generator@0.1.0;
            include kperf:plugin/exporter@0.1.0;
            include kperf:plugin/benchmark@0.1.0;
            include kperf:plugin/tool@0.1.0;
        }
    ",
    path: "../../wit",
    world: "kperf:host-view/everything",
    imports: {
        "kperf:report/sink": async | trappable,
        "kperf:benchmark/cluster": async | trappable,
        "kperf:benchmark/tracking": async | trappable,
        "kperf:benchmark/load": async | trappable,
        "kperf:benchmark/nodes": async | trappable,
        "kperf:benchmark/run": async | trappable,
        default: trappable,
    },
    exports: {
        "kperf:report/exporter": async,
        "kperf:benchmark/benchmark.run": async,
    },
    with: {
        "kperf:report/sink.output": crate::sink::OpenOutput,
        "kperf:benchmark/cluster.bulk": crate::benchmark::OpenBulk,
        "kperf:benchmark/tracking.tracker": crate::benchmark::OpenTracker,
        "kperf:benchmark/load.phase": crate::benchmark::OpenLoad,
    },
    require_store_data_send: true,
});
