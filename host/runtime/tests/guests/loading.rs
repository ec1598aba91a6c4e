//! Components that never get to run.

use std::fs;

use kperf_runtime::{Limits, Phase, PluginError, Runtime, RuntimeConfig};

use crate::components::{bytes, limits, runtime};

fn refused(bytes: &[u8]) -> PluginError {
    let error = runtime(limits()).load("./mine.wasm", bytes).unwrap_err();
    assert!(
        error.to_string().starts_with("plugin ./mine.wasm"),
        "{error}"
    );
    error
}

/// A generator in name, whose `describe` returns these texts.
fn describing(name: &str, version: &str, schema: &str) -> Vec<u8> {
    const INFO: &str = r#"(record (field "name" string) (field "version" string)
        (field "summary" string) (field "config-schema" string))"#;
    let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let (name_len, version_len, schema_len) = (name.len(), version.len(), schema.len());
    let (name, version, schema) = (escape(name), escape(version), escape(schema));
    // A type in the signature of an export must be exported too, hence the component within.
    let text = format!(
        r#"(component
          (core module $guest
            (memory (export "memory") 1)
            (data (i32.const 100) "{name}")
            (data (i32.const 200) "{version}")
            (data (i32.const 300) "{schema}")
            (func (export "describe") (result i32)
              (i32.store (i32.const 0) (i32.const 100))
              (i32.store (i32.const 4) (i32.const {name_len}))
              (i32.store (i32.const 8) (i32.const 200))
              (i32.store (i32.const 12) (i32.const {version_len}))
              (i32.store (i32.const 24) (i32.const 300))
              (i32.store (i32.const 28) (i32.const {schema_len}))
              (i32.const 0)))
          (core instance $guest (instantiate $guest))
          (type $info {INFO})
          (func $describe (result $info)
            (canon lift (core func $guest "describe") (memory (core memory $guest "memory"))))
          (component $identity
            (type $structure {INFO})
            (import "plugin-info" (type $info (eq $structure)))
            (import "describe" (func $describe (result $info)))
            (export $plugin-info "plugin-info" (type $info))
            (export "describe" (func $describe) (func (result $plugin-info))))
          (instance $identity (instantiate $identity
            (with "plugin-info" (type $info)) (with "describe" (func $describe))))
          (export "kperf:core/identity@0.1.0" (instance $identity))
          (instance $nothing)
          (export "kperf:workload/generator@0.1.0" (instance $nothing)))"#
    );
    wat::parse_str(&text).unwrap()
}

#[test]
fn inspection_comes_first() {
    let error = refused(b"\0asm\x01\0\0\0");
    assert_eq!(
        (error.code(), error.phase()),
        ("core-module", Some(Phase::Inspect))
    );
}

#[test]
fn damaged_code_is_found_by_the_compiler() {
    let mut damaged = bytes("generator");
    let code = damaged.len() / 2;
    for byte in &mut damaged[code..code + 64] {
        *byte = 0xff;
    }
    let error = refused(&damaged);
    assert!(
        matches!(error.phase(), Some(Phase::Inspect | Phase::Compile)),
        "{error}"
    );
}

#[test]
fn an_identity_must_be_well_formed() {
    let cases = [
        (
            "Not A Name",
            "1.0.0",
            "",
            "malformed-identity",
            "`Not A Name`",
        ),
        ("name", "one", "", "malformed-identity", "`one`"),
        ("name", "1.0.0", "{", "invalid-schema", "not JSON"),
        ("name", "1.0.0", "[]", "invalid-schema", "not a JSON object"),
        (
            "name",
            "1.0.0",
            r#"{"type": "objekt"}"#,
            "invalid-schema",
            "not a JSON Schema",
        ),
    ];
    for (name, version, schema, code, said) in cases {
        let error = refused(&describing(name, version, schema));
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(error.phase(), Some(Phase::Describe));
        assert!(error.to_string().contains(said), "`{error}` lacks `{said}`");
    }
    let plugin = runtime(limits())
        .load("x", &describing("name", "1.0.0", ""))
        .unwrap();
    assert_eq!(plugin.info().name, "name");
}

#[test]
fn memory_that_is_too_large_from_the_start_is_refused() {
    let limits = Limits {
        memory_bytes: 64 << 10,
        ..limits()
    };
    let error = runtime(limits)
        .load("./mine.wasm", &bytes("generator"))
        .unwrap_err();
    assert_eq!(error.code(), "memory", "{error}");
    assert!(error.to_string().contains("--plugin-memory"), "{error}");
}

#[test]
fn a_cached_plugin_is_the_same_plugin_and_a_damaged_entry_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let code = directory.path().join("code");
    let load = || {
        Runtime::new(RuntimeConfig {
            cache_dir: Some(code.clone()),
            limits: limits(),
        })
        .unwrap()
        .load("x", &bytes("generator"))
        .unwrap()
    };
    let entry = || {
        let mut entries = fs::read_dir(&code).unwrap();
        let entry = entries.next().unwrap().unwrap().path();
        assert!(entries.next().is_none());
        entry
    };
    let first = load();
    let whole = fs::read(entry()).unwrap();
    let second = load();
    assert_eq!(first.info(), second.info());
    fs::write(entry(), b"damaged").unwrap();
    let third = load();
    assert_eq!(first.info(), third.info());
    assert_eq!(fs::read(entry()).unwrap().len(), whole.len());
}
