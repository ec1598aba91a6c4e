//! The API of the simulator beside that of the real server: one table of cases, run against both.

#[test]
fn simulator_and_real_server_answer_alike() -> anyhow::Result<()> {
    // Not with println!, which tests capture: the line is to be seen.
    kperf_conformance::run(&mut std::io::stdout())
}
