//! What a plugin says about itself, gathered by the export macros.
//!
//! Name, version and summary are those of the plugin's `Cargo.toml`; the macros take others:
//! `export_generator!(MyType, name = "quorum_list", summary = "…")`.

use crate::bindings::kperf::core::vocabulary::PluginInfo;

/// Name, version and summary of a plugin; implemented by the export macros.
pub trait Identity: 'static {
    /// Lower-case words joined by `-` or `_`.
    const NAME: &'static str;
    /// Semantic version.
    const VERSION: &'static str;
    /// One sentence.
    const SUMMARY: &'static str;
}

/// Puts identity and schema together.
pub(crate) fn describe<I: Identity>(schema: serde_json::Value) -> PluginInfo {
    PluginInfo {
        name: I::NAME.to_owned(),
        version: I::VERSION.to_owned(),
        summary: I::SUMMARY.to_owned(),
        config_schema: schema.to_string(),
    }
}

/// Makes a component of one world: the plugin's identity, the world's exports over the generic component, and the
/// world's type in a custom section. Used by the export macros.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    (
        world: $section:ident, $world:literal,
        exports: [$($package:ident::$interface:ident => $export:ident),+ $(,)?],
        plugin: $component:path, $plugin:ty $(, $key:ident = $value:expr)*
    ) => {
        const _: () = {
            struct PluginIdentity;
            impl $crate::identity::Identity for PluginIdentity {
                const NAME: &'static str = $crate::__identity!(name $(, $key = $value)*);
                const VERSION: &'static str = env!("CARGO_PKG_VERSION");
                const SUMMARY: &'static str = $crate::__identity!(summary $(, $key = $value)*);
            }
            use $component as KperfComponent;
            type Component = KperfComponent<$plugin, PluginIdentity>;

            // Elsewhere there is no component to export from, and native linkers refuse such symbol names.
            #[cfg(not(target_arch = "wasm32"))]
            #[used]
            static COMPONENT: fn() -> &'static str = ::core::any::type_name::<Component>;

            #[cfg(target_arch = "wasm32")]
            $crate::__export_kperf_core_identity_0_1_0_cabi!(
                Component with_types_in $crate::bindings::exports::kperf::core::identity
            );
            $(#[cfg(target_arch = "wasm32")]
            $crate::$export!(
                Component with_types_in $crate::bindings::exports::kperf::$package::$interface
            );)+

            #[cfg(target_arch = "wasm32")]
            #[unsafe(link_section = $world)]
            #[doc(hidden)]
            pub static COMPONENT_TYPE: [u8; $crate::bindings::sections::$section.len()] =
                $crate::bindings::sections::array($crate::bindings::sections::$section);
        };
    };
}

/// The part of a plugin's identity that was given to the export macro, or `Cargo.toml`'s.
#[doc(hidden)]
#[macro_export]
macro_rules! __identity {
    (name) => { env!("CARGO_PKG_NAME") };
    (name, name = $value:expr $(, $($rest:tt)*)?) => { $value };
    (summary) => { env!("CARGO_PKG_DESCRIPTION") };
    (summary, summary = $value:expr $(, $($rest:tt)*)?) => { $value };
    ($part:ident, $other:ident = $value:expr $(, $($rest:tt)*)?) => {
        $crate::__identity!($part $(, $($rest)*)?)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sample;

    impl Identity for Sample {
        const NAME: &'static str = crate::__identity!(name, summary = "s", name = "n");
        const VERSION: &'static str = "1.2.3";
        const SUMMARY: &'static str = crate::__identity!(summary, summary = "s", name = "n");
    }

    #[test]
    fn what_the_macro_is_given_wins_over_the_manifest() {
        let info = describe::<Sample>(serde_json::json!({"type": "object"}));
        assert_eq!((info.name.as_str(), info.summary.as_str()), ("n", "s"));
        assert_eq!(info.version, "1.2.3");
        assert_eq!(info.config_schema, r#"{"type":"object"}"#);
        assert_eq!(crate::__identity!(name), "kperf-sdk");
        assert_eq!(crate::__identity!(name, summary = "s"), "kperf-sdk");
        assert_eq!(crate::__identity!(summary), env!("CARGO_PKG_DESCRIPTION"));
    }
}
