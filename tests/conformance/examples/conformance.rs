//! The table against both servers, as the test does it; quick to build while working on the simulator.

fn main() -> anyhow::Result<()> {
    kperf_conformance::run(&mut std::io::stdout())
}
