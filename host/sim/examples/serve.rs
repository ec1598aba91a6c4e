//! Starts a simulator and leaves it running: `serve [LISTEN] [SEED] [FAULTS]`.
//! Prints the URL and writes `sim.kubeconfig` into the working directory.

#[allow(clippy::print_stdout, reason = "it is what the example is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut config = kperf_sim::SimConfig {
        listen: arguments
            .next()
            .as_deref()
            .unwrap_or("127.0.0.1:0")
            .parse()?,
        ..kperf_sim::SimConfig::default()
    };
    config.seed_objects = arguments.next().unwrap_or_default().parse()?;
    config.faults = arguments.next().unwrap_or_default().parse()?;
    let sim = kperf_sim::Sim::start(config)?;
    std::fs::write("sim.kubeconfig", sim.kubeconfig())?;
    println!("{}", sim.url());
    loop {
        std::thread::park();
    }
}
