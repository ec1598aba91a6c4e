use super::*;

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// A component that imports and exports empty interfaces of these names.
fn with(imports: &[&str], exports: &[&str]) -> Vec<u8> {
    let mut text = "(component\n".to_owned();
    for import in imports {
        text += &format!("(import \"{import}\" (instance))\n");
    }
    for export in exports {
        text += &format!("(instance (export \"{export}\"))\n");
    }
    component(&(text + ")"))
}

const IDENTITY: &str = "kperf:core/identity@0.1.0";
const GENERATOR: &str = "kperf:workload/generator@0.1.0";
const EXPORTER: &str = "kperf:report/exporter@0.1.0";

fn refused(imports: &[&str], exports: &[&str]) -> PluginError {
    let error = inspect("./mine.wasm", &with(imports, exports)).unwrap_err();
    assert_eq!(error.phase(), Some(Phase::Inspect));
    assert!(
        error
            .to_string()
            .starts_with("plugin ./mine.wasm failed in inspect: "),
        "{error}"
    );
    error
}

#[test]
fn worlds_are_told_by_their_exports() {
    let world = |exports: &[&str]| inspect("x", &with(&[], exports)).unwrap().world;
    assert_eq!(world(&[IDENTITY, GENERATOR]), World::Generator);
    assert_eq!(
        world(&[IDENTITY, GENERATOR, "kperf:workload/feedback@0.1.0"]),
        World::ReactiveGenerator
    );
    assert_eq!(
        world(&[IDENTITY, GENERATOR, "kperf:workload/arrivals@0.1.0"]),
        World::ReplayGenerator
    );
    assert_eq!(world(&[IDENTITY, EXPORTER]), World::Exporter);
    // Python components export one more, for their build.
    assert_eq!(world(&[IDENTITY, EXPORTER, "exports"]), World::Exporter);
}

#[test]
fn digest_size_and_interfaces_are_reported() {
    let bytes = with(
        &["kperf:core/logging@0.1.0", "wasi:cli/stderr@0.2.6"],
        &[IDENTITY, GENERATOR],
    );
    let seen = inspect("x", &bytes).unwrap();
    assert_eq!(seen.size_bytes, bytes.len() as u64);
    assert_eq!(seen.sha256.len(), 64);
    assert_eq!(seen.wasi_imports, ["wasi:cli/stderr@0.2.6"]);
    let logging = InterfaceUse {
        name: "kperf:core/logging".into(),
        version: "0.1.0".into(),
        exported: false,
    };
    assert!(seen.interfaces.contains(&logging));
    assert_eq!(seen.interfaces.len(), 3);
}

#[test]
fn what_is_no_component_is_said_to_be_none() {
    let code = |bytes: &[u8]| inspect("x", bytes).unwrap_err().code();
    assert_eq!(code(b""), "not-wasm");
    assert_eq!(code(b"PK\x03\x04 something else"), "not-wasm");
    assert_eq!(code(b"(component)"), "not-wasm");
    assert_eq!(code(&wat::parse_str("(module)").unwrap()), "core-module");
    assert_eq!(
        code(b"\0asm\x0d\0\x01\0\xff\xff\xff\xff"),
        "malformed-component"
    );
    let whole = with(&[], &[IDENTITY, GENERATOR]);
    assert_eq!(code(&whole[..whole.len() - 3]), "malformed-component");
}

#[test]
fn a_nested_modules_imports_are_not_the_components() {
    let bytes = component(&format!(
        r#"(component
            (core module (import "wasi_snapshot_preview1" "fd_write" (func)))
            (component (import "wasi:http/types@0.2.0" (instance)))
            (instance (export "{IDENTITY}"))
            (instance (export "{GENERATOR}")))"#
    ));
    assert!(inspect("x", &bytes).unwrap().wasi_imports.is_empty());
}

#[test]
fn no_world_and_several_worlds() {
    let error = refused(&[], &[]);
    assert_eq!(error.code(), "no-world");
    assert!(error.to_string().contains("exports nothing"), "{error}");
    let error = refused(&[], &["wasi:cli/run@0.2.0"]);
    assert!(error.to_string().contains("wasi:cli/run@0.2.0"), "{error}");
    let error = refused(&[], &[IDENTITY, GENERATOR, EXPORTER]);
    assert_eq!(error.code(), "several-worlds");
    assert!(
        error.to_string().contains("a generator and a exporter"),
        "{error}"
    );
    assert_eq!(refused(&[], &[GENERATOR]).code(), "no-identity");
}

#[test]
fn versions_say_what_is_needed_and_what_is_offered() {
    let error = refused(&[], &[IDENTITY, "kperf:workload/generator@0.9.0"]);
    assert_eq!(error.code(), "unknown-version");
    assert!(
        error
            .to_string()
            .contains("kperf:workload/generator@0.9.0, this host accepts 0.1.0"),
        "{error}"
    );
    let error = refused(&["kperf:core/logging@0.1.3"], &[IDENTITY, GENERATOR]);
    assert!(
        error
            .to_string()
            .contains("needs kperf:core/logging@0.1.3, this host offers 0.1.0"),
        "{error}"
    );
    // A later patch only adds to what the host gives; what the plugin exports is the same.
    inspect(
        "x",
        &with(&[], &[IDENTITY, "kperf:workload/generator@0.1.7"]),
    )
    .unwrap();
    for bad in ["0.1.0-rc1", "1.0.0", "0.0.9", "x"] {
        assert!(!is_compatible(bad, "0.1.0", true), "{bad}");
    }
}

#[test]
fn imports_outside_the_world_are_named_with_advice() {
    let cases = [
        ("wasi:http/types@0.2.10", "fetch-event"),
        ("wasi:cli/stderr@0.3.0", "WASI 0.2"),
        ("wasi:nn/tensor@0.2.0", "an empty WASI"),
        ("acme:secrets/store@1.0.0", "an empty WASI"),
        ("kperf:report/sink@0.1.0", "does not offer it"),
        ("kperf:future/thing@0.1.0", "no such package"),
    ];
    for (import, advice) in cases {
        let error = refused(&[import], &[IDENTITY, GENERATOR]);
        assert_eq!(error.code(), "forbidden-import");
        let said = error.to_string();
        assert!(said.contains(import) && said.contains(advice), "{said}");
    }
    inspect(
        "x",
        &with(&["kperf:report/sink@0.1.0"], &[IDENTITY, EXPORTER]),
    )
    .unwrap();
}

#[test]
fn every_patch_of_wasi_0_2_is_served() {
    for version in ["0.2.0", "0.2.6", "0.2.12", "0.2.99"] {
        let import = format!("wasi:sockets/tcp@{version}");
        inspect("x", &with(&[&import], &[IDENTITY, GENERATOR])).unwrap();
    }
}

#[test]
fn size_is_bounded() {
    let limits = Limits {
        component_bytes: 10,
        ..Limits::default()
    };
    let error = inspect_within("x", &with(&[], &[IDENTITY]), &limits).unwrap_err();
    assert_eq!(error.code(), "too-large");
}

#[test]
fn every_world_is_known_by_its_export_and_has_its_own_imports() {
    const BENCHMARK: &str = "kperf:benchmark/benchmark@0.1.0";
    const TOOL: &str = "kperf:tool/tool@0.1.0";
    const CLUSTER: &str = "kperf:benchmark/cluster@0.1.0";
    const SINK: &str = "kperf:report/sink@0.1.0";
    let inspected =
        |imports: &[&str], export: &str| inspect("x", &with(imports, &[IDENTITY, export]));
    for (export, world) in [
        (GENERATOR, World::Generator),
        (EXPORTER, World::Exporter),
        (BENCHMARK, World::Benchmark),
        (TOOL, World::Tool),
    ] {
        assert_eq!(inspected(&[], export).unwrap().world, world);
    }
    assert!(inspected(&[CLUSTER], BENCHMARK).is_ok());
    assert!(inspected(&[SINK], EXPORTER).is_ok());
    for (import, export) in [
        (CLUSTER, GENERATOR),
        (CLUSTER, EXPORTER),
        (CLUSTER, TOOL),
        (SINK, GENERATOR),
        (SINK, BENCHMARK),
        (SINK, TOOL),
    ] {
        let error = inspected(&[import], export).unwrap_err();
        assert_eq!(error.code(), "forbidden-import", "{import} {export}");
    }
}
