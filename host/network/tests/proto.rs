//! The generated code in `src/proto/` is what the `.proto` file says. `KPERF_BLESS=1` writes it anew.

use std::path::Path;

#[test]
fn generated_code_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let proto = root.join("proto");
    let descriptors = protox::compile([proto.join("kperf.network.v1.proto")], [&proto]).unwrap();
    let written = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(written.path())
        .compile_fds(descriptors)
        .unwrap();
    let name = "kperf.network.v1.rs";
    let generated = std::fs::read_to_string(written.path().join(name)).unwrap();
    let kept = root.join("src/proto").join(name);
    if std::env::var_os("KPERF_BLESS").is_some() {
        std::fs::write(&kept, &generated).unwrap();
    }
    assert!(
        std::fs::read_to_string(&kept).unwrap_or_default() == generated,
        "run this test with KPERF_BLESS=1 and commit {}",
        kept.display()
    );
}
