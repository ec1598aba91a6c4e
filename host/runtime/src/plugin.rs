//! [`Runtime`] turns bytes into a [`Plugin`]: inspected, compiled (or found compiled), linked and
//! asked for its identity. Instances are made from it by `generator.rs` and `exporter.rs`.

use std::{fmt, path::PathBuf, sync::Arc};

use serde_json::Value;
use wasmtime::{
    Engine,
    component::{Component, Linker},
};

use crate::{
    cache::Cache,
    call::Identity,
    config::{ConfigError, ConfigProblem, Schema},
    engine::{epochs, new_engine},
    error::{Details, Phase, PluginError},
    guest::{self, Guest, Prepared},
    inspect::{Inspection, World, inspect_within},
    limits::Limits,
    text::one_line,
    v0_1::{
        exports::kperf::{benchmark::benchmark, core::identity},
        kperf::core::vocabulary,
    },
    wasi::Nature,
};

/// How plugins are run.
#[derive(Clone, Debug, Default)]
pub struct RuntimeConfig {
    /// Directory of compiled code, private to the user; `None` compiles anew each time.
    pub cache_dir: Option<PathBuf>,
    /// Limits of every instance.
    pub limits: Limits,
}

/// Loads plugins. Ends, with its clock thread, when it and all that came of it are dropped.
pub struct Runtime {
    engine: Engine,
    limits: Arc<Limits>,
    cache: Option<Cache>,
    sync_linker: Linker<Guest>,
    async_linker: Linker<Guest>,
    benchmark_linker: Linker<Guest>,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

impl Runtime {
    /// Starts the engine.
    ///
    /// # Errors
    /// Only if this machine can't run compiled WebAssembly at all.
    pub fn new(config: RuntimeConfig) -> Result<Self, PluginError> {
        let start = || {
            let engine = new_engine()?;
            Ok::<_, wasmtime::Error>((
                guest::sync_linker(&engine)?,
                guest::async_linker(&engine)?,
                guest::benchmark_linker(&engine)?,
                engine,
            ))
        };
        let (sync_linker, async_linker, benchmark_linker, engine) = start().map_err(|error| {
            PluginError::new(Details {
                plugin: "runtime".to_owned(),
                code: "engine",
                message: format!("plugins cannot run here: {error:#}"),
                ..Details::default()
            })
        })?;
        Ok(Self {
            cache: config.cache_dir.and_then(|dir| Cache::open(dir, &engine)),
            limits: Arc::new(config.limits),
            engine,
            sync_linker,
            async_linker,
            benchmark_linker,
        })
    }

    /// Makes a plugin of a component's bytes. `label` is its path or bundled name, for messages.
    ///
    /// # Errors
    /// Of phase `inspect`, `compile` or `describe`.
    pub fn load(&self, label: &str, bytes: &[u8]) -> Result<Arc<Plugin>, PluginError> {
        let inspection = Arc::new(inspect_within(label, bytes, &self.limits)?);
        let mut identity = Identity {
            name: label.to_owned(),
            version: None,
            world: inspection.world,
            inspection: Arc::clone(&inspection),
        };
        let component = self.compile(&identity, bytes)?;
        let link = |linker: &Linker<Guest>| {
            guest::prepare(linker, &component).map_err(|error| {
                identity
                    .engine_error(
                        Phase::Compile,
                        "link",
                        format!(
                            "its imports do not fit this host: {}",
                            one_line(&error.root_cause().to_string(), 500)
                        ),
                        &error,
                    )
                    .with_hint("build the plugin against the WIT of this host")
            })
        };
        let for_sync = match inspection.world {
            // To describe itself a benchmark needs none of its powers, and must not use them.
            World::Benchmark => {
                let mut linker = self.sync_linker.clone();
                linker
                    .define_unknown_imports_as_traps(&component)
                    .map_err(|error| {
                        identity.engine_error(
                            Phase::Compile,
                            "link",
                            "its imports do not fit this host",
                            &error,
                        )
                    })?;
                link(&linker)?
            }
            _ => link(&self.sync_linker)?,
        };
        let for_async = match inspection.world {
            World::Exporter => Some(link(&self.async_linker)?),
            World::Benchmark => Some(link(&self.benchmark_linker)?),
            _ => None,
        };
        let (info, schema) = self.describe(&identity, &for_sync)?;
        identity.name.clone_from(&info.name);
        identity.version = Some(info.version.clone());
        Ok(Arc::new(Plugin {
            identity,
            info,
            schema,
            engine: self.engine.clone(),
            limits: Arc::clone(&self.limits),
            for_sync,
            for_async,
        }))
    }

    fn compile(&self, identity: &Identity, bytes: &[u8]) -> Result<Component, PluginError> {
        let sha256 = &identity.inspection.sha256;
        if let Some(cache) = &self.cache
            && let Some(component) = cache.load(&self.engine, sha256)
        {
            return Ok(component);
        }
        // Interpreted plugins take seconds; say why nothing seems to happen.
        if bytes.len() > 1 << 20 {
            tracing::info!(
                "compiling plugin {} ({} KiB)",
                identity.name,
                bytes.len() >> 10
            );
        }
        let component = Component::from_binary(&self.engine, bytes).map_err(|error| {
            identity.engine_error(
                Phase::Compile,
                "invalid-component",
                format!(
                    "it does not compile: {}",
                    one_line(&error.root_cause().to_string(), 500)
                ),
                &error,
            )
        })?;
        if let Some(cache) = &self.cache {
            cache.store(sha256, &component);
        }
        Ok(component)
    }

    fn describe(
        &self,
        identity: &Identity,
        prepared: &Prepared,
    ) -> Result<(PluginInfo, Schema), PluginError> {
        let phase = Phase::Describe;
        let deadline = self.limits.describe_trap;
        let nature = Nature::Repeatable { seed: 0 };
        let mut store = Guest::new(&identity.name, &self.limits, nature, None)
            .into_store(&self.engine, self.limits.generator_call_bytes);
        store.set_epoch_deadline(epochs(deadline));
        let (said, wanted_grants) = prepared
            .instantiate(&mut store)
            .and_then(|instance| {
                let said = identity::GuestIndices::new(prepared)?
                    .load(&mut store, &instance)?
                    .call_describe(&mut store)?;
                let wanted_grants = match identity.world {
                    World::Benchmark => benchmark::GuestIndices::new(prepared)?
                        .load(&mut store, &instance)?
                        .call_wanted_grants(&mut store)?,
                    _ => Vec::new(),
                };
                Ok((said, wanted_grants))
            })
            .map_err(|error| identity.trap(phase, &error, store.data(), deadline))?;
        self.check_info(said, wanted_grants)
            .map_err(|(code, message)| identity.error(phase, code, message))
    }

    fn check_info(
        &self,
        said: vocabulary::PluginInfo,
        wanted_grants: Vec<String>,
    ) -> Result<(PluginInfo, Schema), (&'static str, String)> {
        if !is_plugin_name(&said.name) {
            return Err((
                "malformed-identity",
                format!(
                    "its name `{}` is not lower-case words joined by `-` or `_` of at most 64 bytes",
                    one_line(&said.name, 80)
                ),
            ));
        }
        if said.version.len() > 64 || semver::Version::parse(&said.version).is_err() {
            return Err((
                "malformed-identity",
                format!(
                    "its version `{}` is not a semantic version such as 1.2.3",
                    one_line(&said.version, 80)
                ),
            ));
        }
        if said.config_schema.len() > self.limits.schema_bytes {
            return Err((
                "invalid-schema",
                format!(
                    "its configuration schema has {} bytes, the limit is {}",
                    said.config_schema.len(),
                    self.limits.schema_bytes
                ),
            ));
        }
        let schema = Schema::parse(&said.config_schema).and_then(|schema| {
            schema.validator()?;
            Ok(schema)
        });
        let schema = schema.map_err(|why| {
            (
                "invalid-schema",
                format!(
                    "its configuration schema is not a JSON Schema: {}",
                    one_line(&why, 300)
                ),
            )
        })?;
        Ok((
            PluginInfo {
                name: said.name,
                version: said.version,
                summary: one_line(&said.summary, 300),
                config_schema: schema.document().clone(),
                wanted_grants: wanted_grants
                    .iter()
                    .take(64)
                    .map(|grant| one_line(grant, 300))
                    .collect(),
            },
            schema,
        ))
    }
}

/// Lower-case words of letters and digits, joined by single `-` or `_`.
fn is_plugin_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split(['-', '_']).all(|word| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
}

/// What a plugin says about itself, checked and safe to print.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginInfo {
    /// Lower-case words joined by `-` or `_`.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// JSON Schema of its configuration.
    pub config_schema: Value,
    /// Of a benchmark: the grants it asks for, as it spells them.
    pub wanted_grants: Vec<String>,
}

/// A loaded plugin. Cheap to make instances from, on any thread.
pub struct Plugin {
    pub(crate) identity: Identity,
    info: PluginInfo,
    schema: Schema,
    pub(crate) engine: Engine,
    pub(crate) limits: Arc<Limits>,
    pub(crate) for_sync: Prepared,
    pub(crate) for_async: Option<Prepared>,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("info", &self.info)
            .field("inspection", &self.identity.inspection)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// What it says about itself.
    #[must_use]
    pub fn info(&self) -> &PluginInfo {
        &self.info
    }

    /// What was seen before it was compiled.
    #[must_use]
    pub fn inspection(&self) -> &Inspection {
        &self.identity.inspection
    }

    /// Lower-case hexadecimal SHA-256 of the component.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.identity.inspection.sha256
    }

    /// What it is.
    #[must_use]
    pub fn world(&self) -> World {
        self.identity.world
    }

    /// The configuration that the plugin uses when it is given none: the schema's `default`, or an empty
    /// object. It may lack what the plugin requires.
    #[must_use]
    pub fn default_config(&self) -> Value {
        self.schema.default_config()
    }

    /// The configuration to run with: the user's, or the schema's `default`, or an empty object;
    /// in each case valid.
    ///
    /// # Errors
    /// Everything the schema objects to, by key.
    pub fn resolve_config(&self, config: Option<Value>) -> Result<Value, ConfigError> {
        let given = config.is_some();
        let config = config.unwrap_or_else(|| self.schema.default_config());
        let problems = self.schema.problems(&config).unwrap_or_else(|why| {
            vec![ConfigProblem {
                pointer: String::new(),
                message: why,
            }]
        });
        if problems.is_empty() {
            return Ok(config);
        }
        let mut problems = problems;
        if !given && let Some(first) = problems.first_mut() {
            first.message.push_str(" (no configuration was given)");
        }
        Err(ConfigError {
            plugin: self.info.name.clone(),
            version: self.info.version.clone(),
            problems,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::is_plugin_name;

    #[test]
    fn names_are_words() {
        for good in ["quorum_list", "a", "kperf-json", "v2_list"] {
            assert!(is_plugin_name(good), "{good}");
        }
        for bad in [
            "",
            "2a",
            "A",
            "a b",
            "a__b",
            "a-",
            "-a",
            "a/b",
            "é",
            &"a".repeat(65),
        ] {
            assert!(!is_plugin_name(bad), "{bad}");
        }
    }
}
