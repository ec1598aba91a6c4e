//! Profiles as files: each `profiles/<case>.yaml` has its normal form, or what is wrong with it, beside it.
//! `UPDATE_PROFILES=1 cargo test --test profile` writes what is found; read the difference before keeping it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in what it calls too"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use kperf_host::profile::{
    self, ContentType, KeyError, Overrides, PluginRef, Profile, ProfileError,
};
use serde_json::json;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profiles")
}

/// What a case comes to: the extension of its file, and the text.
fn outcome(path: &Path) -> (&'static str, String) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let lenient = name.ends_with(".lenient.yaml");
    let result = profile::read(path, lenient).and_then(|read| {
        let resolved = read.profile.resolve(&Overrides::default())?;
        let warnings = read.warnings.iter().chain(&resolved.warnings);
        let warnings: String = warnings
            .map(|warning| format!("# warning: {warning}\n"))
            .collect();
        let yaml = read.profile.to_yaml(&resolved).unwrap();

        // The normal form is one: it reads as itself.
        let again = profile::parse(&yaml, path, false)?.profile;
        let again_resolved = again.resolve(&Overrides::default())?;
        let configs = |resolved: &profile::Resolved| -> Vec<_> {
            let entries = resolved.specs.iter().flat_map(|spec| &spec.entries);
            entries
                .map(|entry| (entry.shares, entry.plugin.clone(), entry.config.clone()))
                .collect()
        };
        assert_eq!(configs(&resolved), configs(&again_resolved), "{name}");
        assert_eq!(again.to_yaml(&again_resolved).unwrap(), yaml, "{name}");
        Ok(warnings + &yaml)
    });
    let folder = format!("{}/", directory().display());
    match result {
        Ok(text) => ("norm", text.replace(&folder, "")),
        Err(error) => ("err", format!("{error}\n").replace(&folder, "")),
    }
}

#[test]
fn every_case_comes_to_what_stands_beside_it() {
    let mut cases: Vec<_> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    cases.sort();
    assert!(cases.len() > 30);
    let mut wrong = Vec::new();
    for path in cases {
        let (extension, text) = outcome(&path);
        let beside = path.with_extension(extension);
        let other = path.with_extension(if extension == "err" { "norm" } else { "err" });
        if std::env::var_os("UPDATE_PROFILES").is_some() {
            fs::write(&beside, &text).unwrap();
            let _ = fs::remove_file(&other);
        }
        if other.exists() || fs::read_to_string(&beside).ok().as_deref() != Some(&text) {
            wrong.push(format!("{}\n{text}", beside.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_examples_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/profiles");
    let mut read = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let profile = profile::read(&path, false)
            .unwrap_or_else(|error| panic!("{error}"))
            .profile;
        let resolved = profile.resolve(&Overrides::default()).unwrap();
        assert!(resolved.warnings.is_empty(), "{}", path.display());
        read += 1;
    }
    assert_eq!(read, 4);
}

fn one_spec(fields: &str) -> Profile {
    let text = format!("version: 1\nspecs:\n- {{{fields} requests: [{{shares: 1, plugin: x}}]}}\n");
    profile::parse(&text, Path::new("p.yaml"), false)
        .unwrap()
        .profile
}

#[test]
fn flags_override_the_only_spec() {
    let profile = one_spec(
        "rate: 5, duration: 60, conns: 2, client: 3, contentType: protobuf, maxRetries: 1,",
    );
    let resolved = profile
        .resolve(&Overrides {
            rate: Some(7.5),
            duration: Some(Duration::from_millis(1500)),
            conns: Some(4),
            client: Some(8),
            content_type: Some(ContentType::Json),
            disable_http2: Some(true),
            max_retries: Some(9),
            ..Overrides::default()
        })
        .unwrap();
    let spec = &resolved.specs[0];
    assert_eq!(
        (spec.rate, spec.total, spec.client, spec.max_retries),
        (7.5, None, 8, 9)
    );
    assert_eq!(spec.duration, Some(Duration::from_millis(1500)));
    assert_eq!(
        (
            resolved.conns,
            resolved.content_type,
            resolved.disable_http2
        ),
        (4, ContentType::Json, true)
    );
    assert!(resolved.warnings.is_empty());
}

#[test]
fn a_total_wins_over_a_duration_wherever_they_come_from() {
    for (fields, overrides, total) in [
        (
            "total: 7,",
            Overrides {
                duration: Some(Duration::from_secs(60)),
                ..Overrides::default()
            },
            7,
        ),
        (
            "duration: 60,",
            Overrides {
                total: Some(9),
                ..Overrides::default()
            },
            9,
        ),
    ] {
        let resolved = one_spec(fields).resolve(&overrides).unwrap();
        assert_eq!(
            (resolved.specs[0].total, resolved.specs[0].duration),
            (Some(total), None)
        );
        let warning = resolved.warnings[0].to_string();
        assert!(
            warning.contains(&format!(
                "both total:{total} and duration:60 are set, duration will be ignored"
            )),
            "{warning}"
        );
    }
}

/// What would cost all memory, or more than there are ports, is not begun.
#[test]
fn too_many_connections_and_clients_are_refused() {
    let message = one_spec("conns: 4000000000, client: 4000000000,")
        .resolve(&Overrides::default())
        .unwrap_err()
        .to_string();
    for says in [
        "conns must be at most 100000: 4000000000",
        "client must be at most 1000000: 4000000000",
    ] {
        assert!(message.contains(says), "{message}");
    }
    let most = one_spec("conns: 100000, client: 1000000,").resolve(&Overrides::default());
    assert_eq!(most.unwrap().conns, 100_000);
}

#[test]
fn zeros_and_bad_rates_of_flags_are_refused() {
    let zeros = Overrides {
        conns: Some(0),
        client: Some(0),
        total: Some(0),
        ..Overrides::default()
    };
    let message = one_spec("conns: 5,")
        .resolve(&zeros)
        .unwrap_err()
        .to_string();
    for says in [
        "--conns: conns requires > 0: 0",
        "--client: client requires > 0: 0",
        "--total: total requires > 0: 0 or duration > 0s: 0",
    ] {
        assert!(message.contains(says), "{message}");
    }
    // Without a total, the duration of the file counts.
    let no_total = Overrides {
        total: Some(0),
        ..Overrides::default()
    };
    let resolved = one_spec("total: 5, duration: 60,")
        .resolve(&no_total)
        .unwrap();
    assert_eq!(
        (resolved.specs[0].total, resolved.specs[0].duration),
        (None, Some(Duration::from_secs(60)))
    );
    for rate in [-1.0, f64::NAN, f64::INFINITY] {
        let overrides = Overrides {
            rate: Some(rate),
            ..Overrides::default()
        };
        let message = one_spec("").resolve(&overrides).unwrap_err().to_string();
        assert!(message.contains("--rate: rate requires >= 0"), "{message}");
    }
}

#[test]
fn flags_do_not_go_with_several_specs() {
    let path = directory().join("later-spec-total-and-duration.yaml");
    let profile = profile::read(&path, false).unwrap().profile;
    let overrides = Overrides {
        client: Some(1),
        ..Overrides::default()
    };
    let message = profile.resolve(&overrides).unwrap_err().to_string();
    assert!(
        message.contains("CLI flag overrides are not allowed when config has multiple specs"),
        "{message}"
    );
}

fn key_error(profile: &Profile, entry: usize, pointer: &str) -> String {
    let error: ProfileError = profile.key_errors(
        &profile.specs[0].entries[entry],
        [KeyError {
            pointer: pointer.into(),
            message: "is wrong".into(),
        }],
    );
    error.to_string()
}

#[test]
fn what_plugins_say_gets_a_line() {
    let text = "\
version: 1
spec:
  requests:
    - shares: 1
      staleList:
        version: v1
        seletor: a
    - shares: 1
      plugin: ./mine.wasm
      config:
        list:
          - a
          - {0: x, \"a/b\": y}
";
    // Keys that are numbers are refused in configurations.
    assert!(profile::parse(text, Path::new("p.yaml"), false).is_err());
    let text = text.replace("0: x", "\"0\": x");
    let profile = profile::parse(&text, Path::new("p.yaml"), false)
        .unwrap()
        .profile;
    for (entry, pointer, expected) in [
        (0, "", "p.yaml:5:7: spec.requests[0].staleList: is wrong"),
        (
            0,
            "/version",
            "p.yaml:6:9: spec.requests[0].staleList.version: is wrong",
        ),
        // Under its newer name it is known to the plugin, under the older one it stands in the file.
        (
            0,
            "/selector",
            "p.yaml:7:9: spec.requests[0].staleList.seletor: is wrong",
        ),
        // What is missing is reported where it should be.
        (
            0,
            "/resource",
            "p.yaml:5:7: spec.requests[0].staleList.resource: is wrong",
        ),
        (
            1,
            "/list/1",
            "p.yaml:13:13: spec.requests[1].config.list[1]: is wrong",
        ),
        (
            1,
            "/list/1/0",
            "p.yaml:13:14: spec.requests[1].config.list[1].0: is wrong",
        ),
        (
            1,
            "/list/1/a~1b",
            "p.yaml:13:22: spec.requests[1].config.list[1][\"a/b\"]: is wrong",
        ),
    ] {
        assert_eq!(key_error(&profile, entry, pointer), expected);
    }
    assert_eq!(
        profile.place("spec.requests[1]"),
        "p.yaml:8:7: spec.requests[1]"
    );
}

#[test]
fn a_profile_from_flags_has_no_lines() {
    let profile = Profile::of_plugin("quorum_list", Some(json!({"limit": 1})));
    assert!(!profile.is_from_file());
    assert_eq!(key_error(&profile, 0, "/limit"), "limit: is wrong");
    assert_eq!(key_error(&profile, 0, ""), "configuration: is wrong");
    let resolved = profile.resolve(&Overrides::default()).unwrap();
    assert_eq!((resolved.conns, resolved.specs[0].total), (1, Some(1000)));
    assert_eq!(resolved.specs[0].entries[0].plugin.name(), "quorum_list");
}

#[test]
fn plugin_paths_are_relative_to_the_profile() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("local"), "").unwrap();
    let path = directory.path().join("p.yaml");
    fs::write(
        &path,
        "version: 1\nspecs: [{requests: [{shares: 1, plugin: ./a.wasm}, {shares: 1, plugin: local}, {shares: 1, plugin: /b.wasm}, {shares: 1, plugin: patch}]}]\n",
    )
    .unwrap();
    let profile = profile::read(&path, false).unwrap().profile;
    let plugins: Vec<_> = profile.specs[0]
        .entries
        .iter()
        .map(|entry| entry.plugin.clone())
        .collect();
    assert_eq!(
        plugins,
        [
            PluginRef::Path(directory.path().join("./a.wasm")),
            PluginRef::Path(directory.path().join("local")),
            PluginRef::Path("/b.wasm".into()),
            PluginRef::Bundled("patch".into()),
        ]
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let message = profile::read(Path::new("nowhere.yaml"), false)
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("nowhere.yaml: cannot be read: "),
        "{message}"
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("p.yaml");
    fs::write(&path, [0xff, 0xfe, 0]).unwrap();
    assert!(
        profile::read(&path, false)
            .unwrap_err()
            .to_string()
            .contains("is not UTF-8")
    );
    fs::write(
        &path,
        "\u{feff}version: 1\r\nspecs:\r\n- requests: [{shares: 1, plugin: x}]\r\n",
    )
    .unwrap();
    assert_eq!(
        profile::read(&path, false)
            .unwrap()
            .profile
            .position("specs[0].requests"),
        Some((3, 3))
    );
}

#[test]
fn configurations_are_yaml_or_json() {
    assert_eq!(
        profile::yaml_value("a: [1, {b: x}]").unwrap(),
        json!({"a": [1, {"b": "x"}]})
    );
    assert_eq!(
        profile::yaml_value("{\"a\": 1.5}").unwrap(),
        json!({"a": 1.5})
    );
    for text in ["a: [", "a: .nan", "1: 2", "a: !x y"] {
        assert!(profile::yaml_value(text).is_err(), "{text}");
    }
}
