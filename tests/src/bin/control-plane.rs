//! `cargo run -p kperf-tests --bin control-plane -- up --kubeconfig FILE` holds a real control plane open until
//! Ctrl-C; `build` only builds its programs.

fn main() -> std::process::ExitCode {
    kperf_control_plane::cli::main()
}
