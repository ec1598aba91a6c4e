//! The first-party plugins, compiled and bundled, and the SDK as `plugin new` hands it out.
//!
//! The build script compiles every plugin in `plugins/` for `wasm32-wasip2`; this crate embeds the components, so that
//! one binary is a complete tool. Nothing here runs them.

mod project;

pub use project::{World, new_project, sdk_files, template_files};

/// A first-party plugin.
#[derive(Clone, Copy)]
pub struct Bundled {
    /// Its name with `_`, for example `quorum_list`.
    pub name: &'static str,
    /// The component.
    pub wasm: &'static [u8],
}

impl std::fmt::Debug for Bundled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.wasm.len();
        write!(f, "Bundled({}, {bytes} bytes)", self.name)
    }
}

static ALL: &[Bundled] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// All of them, by name.
pub fn all() -> &'static [Bundled] {
    ALL
}

/// The plugin of this name; `quorum_list`, `quorum-list`, `quorum_list.wasm` and `quorum-list.wasm` are the same.
pub fn find(name: &str) -> Option<&'static Bundled> {
    let name = name.strip_suffix(".wasm").unwrap_or(name).replace('-', "_");
    ALL.iter().find(|bundled| bundled.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Preamble of a component: `\0asm`, version 13, layer 1.
    const COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 13, 0, 1, 0];

    #[test]
    fn every_plugin_is_a_component_and_small() {
        assert!(!all().is_empty());
        for bundled in all() {
            assert_eq!(bundled.wasm[..8], COMPONENT, "{}", bundled.name);
            // Benchmarks that read templates bring a template engine, YAML and schemas.
            assert!(bundled.wasm.len() < 3 << 19, "{bundled:?}");
        }
        assert!(all().is_sorted_by_key(|bundled| bundled.name));
    }

    #[test]
    fn only_post_del_listens_to_what_came_back() {
        for bundled in all() {
            let names = |interface: &str| {
                let bytes = interface.as_bytes();
                bundled
                    .wasm
                    .windows(bytes.len())
                    .any(|window| window == bytes)
            };
            let reactive = bundled.name == "post_del";
            assert_eq!(names("kperf:workload/feedback@"), reactive, "{bundled:?}");
            let worlds = [
                "kperf:workload/generator@",
                "kperf:report/exporter@",
                "kperf:benchmark/benchmark@",
                "kperf:tool/tool@",
            ];
            let [_, exporter, benchmark, _] = worlds.map(names);
            assert_eq!(worlds.into_iter().filter(|world| names(world)).count(), 1);
            // Each has the way out that its world gives it, and no other.
            assert_eq!(names("kperf:report/sink@"), exporter, "{bundled:?}");
            // Some benchmarks only drive load.
            assert!(
                benchmark || !names("kperf:benchmark/cluster@"),
                "{bundled:?}"
            );
        }
    }

    #[test]
    fn kperf_request_kinds_are_bundled() {
        for name in [
            "stale_list",
            "quorum_list",
            "watch_list",
            "stale_get",
            "quorum_get",
            "get_pod_log",
            "patch",
            "put",
            "post_del",
        ] {
            assert!(find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_name_is_found_in_all_its_spellings() {
        for name in [
            "quorum_list",
            "quorum-list",
            "quorum_list.wasm",
            "quorum-list.wasm",
        ] {
            assert_eq!(find(name).map(|bundled| bundled.name), Some("quorum_list"));
        }
        for name in ["", "quorum", "./quorum_list.wasm", "quorum_list.wasm.wasm"] {
            assert!(find(name).is_none(), "{name}");
        }
    }
}
