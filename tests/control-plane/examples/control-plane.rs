//! `cargo run -p kperf-control-plane --example control-plane -- up --kubeconfig FILE`: the same command as the
//! tests' `control-plane`, without compiling the product.

fn main() -> std::process::ExitCode {
    kperf_control_plane::cli::main()
}
