//! Each rule of `VERSIONING.md` on a small tree: one change at a time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{fs, path::Path, process::Command};

use kperf_wit_check::check;

const DEPENDENCY: &str = "
package t:core@0.1.0;

interface words {
  record label { key: string, value: string }
  enum level { low, high }
  variant shape { dot, line(u32) }
}

/// Provided by the host.
interface log {
  use words.{label, level};
  emit: func(level: level, message: string, fields: list<label>);
  resource file {
    write: func(chunk: list<u8>) -> result<_, label>;
  }
}

/// Exported by plugins.
interface work {
  use words.{label};
  resource source {
    next: func(limit: u32) -> result<list<label>, string>;
  }
  run: func(config: string) -> source;
}
";

const WORLDS: &str = "
package t:plugin@0.1.0;

world worker {
  import t:core/log@0.1.0;
  export t:core/work@0.1.0;
}
";

fn write(directory: &Path, worlds: &str, dependency: &str) {
    fs::create_dir_all(directory.join("deps/core")).unwrap();
    fs::write(directory.join("worlds.wit"), worlds).unwrap();
    fs::write(directory.join("deps/core/core.wit"), dependency).unwrap();
}

/// Findings after replacing `from` by `to` in either file.
fn after(changes: &[(&str, &str)]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let (released, present) = (directory.path().join("a"), directory.path().join("b"));
    write(&released, WORLDS, DEPENDENCY);
    let (mut worlds, mut dependency) = (WORLDS.to_owned(), DEPENDENCY.to_owned());
    for (from, to) in changes {
        assert!(
            worlds.contains(from) || dependency.contains(from),
            "nothing to replace: {from}"
        );
        worlds = worlds.replace(from, to);
        dependency = dependency.replace(from, to);
    }
    write(&present, &worlds, &dependency);
    check(&released, &present)
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect()
}

const ADDITION: (&str, &str) = ("emit: func(", "enabled: func() -> bool;\n  emit: func(");

#[test]
fn nothing_changed_nothing_found() {
    assert!(after(&[]).is_empty());
    let documented = ("/// Provided by the host.", "/// The host provides it.");
    assert!(after(&[documented]).is_empty());
    let renamed_parameter = ("message: string", "text: string");
    assert!(after(&[renamed_parameter]).is_empty());
}

#[test]
fn an_addition_needs_a_patch_step_and_no_more() {
    let found = after(&[ADDITION]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("t:core log/enabled: was added"),
        "{found:?}"
    );
    assert!(found[0].contains("patch version"), "{found:?}");
    assert!(
        after(&[
            ADDITION,
            ("core@0.1.0", "core@0.1.1"),
            ("@0.1.0;\n  export", "@0.1.1;\n  export"),
            ("work@0.1.0", "work@0.1.1")
        ])
        .is_empty()
    );
    let interface = (
        "/// Provided",
        "interface more { f: func(); }\n/// Provided",
    );
    assert_eq!(after(&[interface]).len(), 2);
}

#[test]
fn what_a_compiled_plugin_notices_is_named() {
    let cases = [
        (
            (
                "record label { key: string, ",
                "record label { key: string, more: u32, ",
            ),
            "words/label",
        ),
        (
            (
                "key: string, value: string }",
                "value: string, key: string }",
            ),
            "words/label",
        ),
        (
            ("enum level { low, high }", "enum level { low, mid, high }"),
            "words/level",
        ),
        (("line(u32)", "line(u64)"), "words/shape"),
        (("dot, ", "dot, box, "), "words/shape"),
        (("message: string, ", ""), "log/emit"),
        (
            ("list<label>, string>", "list<label>, label>"),
            "work/[method]source.next",
        ),
        (("run: func(", "start: func("), "work/run"),
        (("run: func(", "stop: func();\n  run: func("), "work/stop"),
        (
            ("next: func(", "skip: func();\n    next: func("),
            "work/[method]source.skip",
        ),
    ];
    for (change, item) in cases {
        // A patch step is not enough.
        for versions in [&[][..], &PATCH] {
            let found = after(&[&[change], versions].concat());
            let named = format!("t:core {item}: ");
            assert!(
                found
                    .iter()
                    .any(|f| f.starts_with(&named) && f.contains("step the minor version")),
                "{item}: {found:?}"
            );
        }
    }
}

const PATCH: [(&str, &str); 3] = [
    ("core@0.1.0", "core@0.1.1"),
    ("log@0.1.0", "log@0.1.1"),
    ("work@0.1.0", "work@0.1.1"),
];

#[test]
fn a_removed_interface_is_named_with_its_items() {
    let found = after(&[
        ("  import t:core/log@0.1.0;\n", ""),
        ("interface log {", "interface journal {"),
    ]);
    assert!(
        found.iter().any(|f| f.contains("t:core log: was removed")),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|f| f.contains("t:plugin world worker: lost")),
        "{found:?}"
    );
}

#[test]
fn the_powers_of_a_world_do_not_grow() {
    let found = after(&[(
        "import t:core/log@0.1.0;",
        "import t:core/log@0.1.0;\n  import extra: func();",
    )]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("world worker: gained `import extra"),
        "{found:?}"
    );
}

#[test]
fn a_minor_step_allows_everything_in_its_package_and_reaches_its_users() {
    let found = after(&[
        ("message: string, ", ""),
        ("core@0.1.0", "core@0.2.0"),
        ("log@0.1.0", "log@0.2.0"),
        ("work@0.1.0", "work@0.2.0"),
    ]);
    assert!(
        found.iter().all(|f| f.starts_with("t:plugin ")),
        "{found:?}"
    );
    assert_eq!(
        found.len(),
        1,
        "the worlds name other interfaces now: {found:?}"
    );
}

#[test]
fn versions_do_not_go_back() {
    let found = after(&[
        ("core@0.1.0", "core@0.0.9"),
        ("log@0.1.0", "log@0.0.9"),
        ("work@0.1.0", "work@0.0.9"),
    ]);
    assert!(
        found
            .iter()
            .any(|f| f.contains("went back from 0.1.0 to 0.0.9")),
        "{found:?}"
    );
}

#[test]
fn the_program_says_so_when_nothing_is_released() {
    let directory = tempfile::tempdir().unwrap();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let run = |released: &Path| {
        Command::new(env!("CARGO_BIN_EXE_kperf-wit-check"))
            .args([released, &wit])
            .output()
            .unwrap()
    };
    let empty = run(directory.path());
    assert!(empty.status.success());
    assert!(String::from_utf8_lossy(&empty.stdout).contains("nothing is released yet"));
    let itself = run(&wit);
    assert!(itself.status.success(), "{itself:?}");
    let missing = run(&directory.path().join("missing"));
    assert_eq!(missing.status.code(), Some(2));
    write(&directory.path().join("0.0.1"), WORLDS, DEPENDENCY);
    let gone = run(directory.path());
    assert_eq!(gone.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&gone.stdout).contains("t:core: was released as 0.1.0 and is gone")
    );
}
