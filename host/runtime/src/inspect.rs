//! Looks at a component before anything of it is compiled or run.
//!
//! Bytes enter; the world, the versions it speaks and its imports leave, or a reason why this host
//! will not load it. Whether the code inside is valid is left to the compiler.

use std::fmt;

use semver::Version;
use sha2::{Digest, Sha256};
use wasmparser::{ComponentExternalKind, Encoding, Parser, Payload};

use crate::{
    error::{Details, Phase, PluginError},
    limits::Limits,
    text::one_line,
};

/// What a plugin can do for the host, by the interfaces it exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum World {
    /// Says which requests to send.
    Generator,
    /// A generator that is told what came back.
    ReactiveGenerator,
    /// A generator that owns the arrival times.
    ReplayGenerator,
    /// Writes results in a format.
    Exporter,
    /// Does something to a cluster and measures it.
    Benchmark,
    /// Knows how a measuring program is run, and what its output says.
    Tool,
}

impl World {
    /// Name in the WIT.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generator => "generator",
            Self::ReactiveGenerator => "reactive-generator",
            Self::ReplayGenerator => "replay-generator",
            Self::Exporter => "exporter",
            Self::Benchmark => "benchmark",
            Self::Tool => "tool",
        }
    }

    /// Whether it is one of the three generator worlds.
    #[must_use]
    pub fn is_generator(self) -> bool {
        matches!(
            self,
            Self::Generator | Self::ReactiveGenerator | Self::ReplayGenerator
        )
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a component says about itself without being run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What it is.
    pub world: World,
    /// Exports `kperf:workload/feedback`.
    pub feedback: bool,
    /// Exports `kperf:workload/arrivals`.
    pub arrivals: bool,
    /// `kperf:` interfaces it imports and exports, with their versions, sorted.
    pub interfaces: Vec<InterfaceUse>,
    /// WASI interfaces it imports, for example `wasi:cli/stderr@0.2.6`. Granted empty.
    pub wasi_imports: Vec<String>,
    /// Size of the component in bytes.
    pub size_bytes: u64,
    /// Lower-case hexadecimal SHA-256 of the component.
    pub sha256: String,
}

/// One `kperf:` interface in the signature of a component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceUse {
    /// For example `kperf:workload/generator`.
    pub name: String,
    /// For example `0.1.0`.
    pub version: String,
    /// Exported by the plugin, else imported.
    pub exported: bool,
}

/// Version of every `kperf:` package that this host offers.
pub const OFFERED: [(&str, &str); 5] = [
    ("kperf:core", "0.1.0"),
    ("kperf:workload", "0.1.0"),
    ("kperf:report", "0.1.0"),
    ("kperf:benchmark", "0.1.0"),
    ("kperf:tool", "0.1.0"),
];

/// Imports that a generator may have: its log, and interfaces that only carry types.
const GENERATOR_IMPORTS: [&str; 3] = [
    "kperf:core/vocabulary",
    "kperf:core/logging",
    "kperf:workload/requests",
];

const EXPORTER_IMPORTS: [&str; 4] = [
    "kperf:core/vocabulary",
    "kperf:core/logging",
    "kperf:report/measures",
    "kperf:report/sink",
];

const BENCHMARK_IMPORTS: [&str; 7] = [
    "kperf:core/vocabulary",
    "kperf:core/logging",
    "kperf:benchmark/cluster",
    "kperf:benchmark/tracking",
    "kperf:benchmark/load",
    "kperf:benchmark/nodes",
    "kperf:benchmark/run",
];

const TOOL_IMPORTS: [&str; 2] = ["kperf:core/vocabulary", "kperf:core/logging"];

/// The parts of WASI 0.2 that are linked, all of them empty: no files, addresses or environment.
/// Languages with a runtime of their own import most of these whether or not they use them.
const WASI: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Inspects a component under the default size limit; see [`inspect_within`].
///
/// # Errors
/// A [`PluginError`] of phase `inspect`: not a component, unknown versions, imports outside its
/// world, no world or several.
pub fn inspect(label: &str, bytes: &[u8]) -> Result<Inspection, PluginError> {
    inspect_within(label, bytes, &Limits::default())
}

/// Inspects a component. `label` is where it came from, for messages.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_within(
    label: &str,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Inspection, PluginError> {
    let refused = Refusal { label };
    let size_bytes = bytes.len() as u64;
    if size_bytes > limits.component_bytes {
        return Err(refused.because(
            "too-large",
            format!(
                "it has {size_bytes} bytes, the limit is {}",
                limits.component_bytes
            ),
        ));
    }
    let sha256 = hex(&Sha256::digest(bytes));
    let signature = Signature::read(&refused, bytes)?;
    let (world, feedback, arrivals) = find_world(&refused, &signature)?;
    let mut interfaces = Vec::new();
    for (names, exported) in [(&signature.exports, true), (&signature.imports, false)] {
        for name in names.iter().filter(|name| name.starts_with("kperf:")) {
            let (interface, version) = split_version(name);
            check_version(&refused, interface, version, exported)?;
            interfaces.push(InterfaceUse {
                name: interface.to_owned(),
                version: version.to_owned(),
                exported,
            });
        }
    }
    interfaces.sort();
    let wasi_imports = check_imports(&refused, world, &signature.imports)?;
    if !signature.exports("kperf:core/identity") {
        return Err(refused.because(
            "no-identity",
            format!(
                "it exports a {world} but not kperf:core/identity, so it cannot say its name; \
                 every world of kperf:plugin includes it"
            ),
        ));
    }
    Ok(Inspection {
        world,
        feedback,
        arrivals,
        interfaces,
        wasi_imports,
        size_bytes,
        sha256,
    })
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Names of what the outermost component imports and exports.
struct Signature {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Signature {
    fn read(refused: &Refusal<'_>, bytes: &[u8]) -> Result<Self, PluginError> {
        if !bytes.starts_with(b"\0asm") {
            let looks_like_text = bytes.trim_ascii_start().starts_with(b"(");
            return Err(refused.because(
                "not-wasm",
                if bytes.is_empty() {
                    "it is empty".to_owned()
                } else if looks_like_text {
                    "it is WebAssembly text; assemble it first, for example with `wasm-tools parse`"
                        .to_owned()
                } else {
                    "it is not WebAssembly".to_owned()
                },
            ));
        }
        let malformed = |error: wasmparser::BinaryReaderError| {
            refused.because("malformed-component", format!("it is damaged: {error}"))
        };
        let mut signature = Self {
            imports: Vec::new(),
            exports: Vec::new(),
        };
        // Payloads of nested modules and components come in line; only the outermost matter.
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(malformed)? {
                Payload::Version {
                    encoding: Encoding::Module,
                    ..
                } if depth == 0 => {
                    return Err(refused.because(
                        "core-module",
                        "it is a core WebAssembly module, not a component",
                    ).with_hint(
                        "build it for the target wasm32-wasip2, or wrap it with `wasm-tools component new`",
                    ));
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        signature
                            .imports
                            .push(import.map_err(malformed)?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        let export = export.map_err(malformed)?;
                        if export.kind == ComponentExternalKind::Instance {
                            signature.exports.push(export.name.name.to_owned());
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(signature)
    }

    /// Exports an interface of that name, in whichever version.
    fn exports(&self, interface: &str) -> bool {
        self.exports
            .iter()
            .any(|name| split_version(name).0 == interface)
    }
}

fn find_world(
    refused: &Refusal<'_>,
    signature: &Signature,
) -> Result<(World, bool, bool), PluginError> {
    let feedback = signature.exports("kperf:workload/feedback");
    let arrivals = signature.exports("kperf:workload/arrivals");
    let kinds = [
        ("generator", "kperf:workload/generator"),
        ("exporter", "kperf:report/exporter"),
        ("benchmark", "kperf:benchmark/benchmark"),
        ("tool", "kperf:tool/tool"),
    ]
    .into_iter()
    .filter(|(_, interface)| signature.exports(interface))
    .map(|(kind, _)| kind)
    .collect::<Vec<_>>();
    let world = match kinds.as_slice() {
        ["generator"] if arrivals => World::ReplayGenerator,
        ["generator"] if feedback => World::ReactiveGenerator,
        ["generator"] => World::Generator,
        ["exporter"] => World::Exporter,
        ["benchmark"] => World::Benchmark,
        ["tool"] => World::Tool,
        [] => {
            let exports = match signature.exports.as_slice() {
                [] => "nothing".to_owned(),
                some => some
                    .iter()
                    .take(8)
                    .map(|name| one_line(name, 80))
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            return Err(refused
                .because(
                    "no-world",
                    format!("it is not a kperf plugin: it exports {exports}"),
                )
                .with_hint("a plugin exports kperf:workload/generator, kperf:benchmark/benchmark, kperf:tool/tool or kperf:report/exporter"));
        }
        several => {
            return Err(refused
                .because(
                    "several-worlds",
                    format!("it is a {} at once", several.join(" and a ")),
                )
                .with_hint("a plugin is one kind; build one component for each"));
        }
    };
    Ok((world, feedback, arrivals))
}

fn check_version(
    refused: &Refusal<'_>,
    interface: &str,
    version: &str,
    exported: bool,
) -> Result<(), PluginError> {
    let package = interface.split('/').next().unwrap_or(interface);
    let asked = one_line(&format!("{interface}@{version}"), 120);
    let Some((_, offered)) = OFFERED.iter().find(|(name, _)| *name == package) else {
        // An export that the host does not know is nobody's business; an import cannot be served.
        if exported {
            return Ok(());
        }
        return Err(forbidden(refused, &asked, "this host has no such package"));
    };
    if is_compatible(version, offered, exported) {
        return Ok(());
    }
    let (verb, needs) = if exported {
        ("accepts", "speaks")
    } else {
        ("offers", "needs")
    };
    Err(refused
        .because(
            "unknown-version",
            format!("it {needs} {asked}, this host {verb} {offered}"),
        )
        .with_hint(
            "build the plugin against the WIT of this host, or use a host of the plugin's generation",
        ))
}

/// Within `0.N` there are only additions, so a plugin may be older than the host in what it imports,
/// and of any patch in what it exports. Prereleases promise nothing.
fn is_compatible(version: &str, offered: &str, exported: bool) -> bool {
    let (Ok(wanted), Ok(offered)) = (Version::parse(version), Version::parse(offered)) else {
        return false;
    };
    wanted.pre.is_empty()
        && wanted.major == offered.major
        && wanted.minor == offered.minor
        && (exported || wanted.patch <= offered.patch)
}

/// The WASI imports, when nothing outside the world and the empty WASI is imported.
fn check_imports(
    refused: &Refusal<'_>,
    world: World,
    imports: &[String],
) -> Result<Vec<String>, PluginError> {
    let mut wasi = Vec::new();
    for import in imports {
        let (interface, version) = split_version(import);
        let shown = one_line(import, 120);
        if interface.starts_with("kperf:") {
            let offered: &[&str] = match world {
                World::Generator | World::ReactiveGenerator | World::ReplayGenerator => {
                    &GENERATOR_IMPORTS
                }
                World::Exporter => &EXPORTER_IMPORTS,
                World::Benchmark => &BENCHMARK_IMPORTS,
                World::Tool => &TOOL_IMPORTS,
            };
            if !offered.contains(&interface) {
                return Err(forbidden(
                    refused,
                    &shown,
                    &format!("the world {world} does not offer it"),
                ));
            }
        } else if WASI.contains(&interface) {
            if version != "0.2" && !version.starts_with("0.2.") {
                return Err(forbidden(
                    refused,
                    &shown,
                    "this host offers WASI 0.2; build for wasm32-wasip2",
                ));
            }
            wasi.push(import.clone());
        } else if interface.starts_with("wasi:http/") {
            return Err(forbidden(
                refused,
                &shown,
                "plugins have no network: the host sends the requests; JavaScript authors disable \
                 the features `http` and `fetch-event` of componentize-js",
            ));
        } else {
            return Err(forbidden(
                refused,
                &shown,
                "plugins get their world and an empty WASI 0.2, nothing else",
            ));
        }
    }
    wasi.sort();
    Ok(wasi)
}

fn forbidden(refused: &Refusal<'_>, import: &str, advice: &str) -> PluginError {
    refused
        .because("forbidden-import", format!("it imports {import}"))
        .with_hint(advice)
}

/// `a:b/c@1.2.3` → (`a:b/c`, `1.2.3`).
fn split_version(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

struct Refusal<'a> {
    label: &'a str,
}

impl Refusal<'_> {
    fn because(&self, code: &'static str, message: impl Into<String>) -> PluginError {
        PluginError::new(Details {
            plugin: self.label.to_owned(),
            phase: Some(Phase::Inspect),
            code,
            message: message.into(),
            ..Details::default()
        })
    }
}

#[cfg(test)]
#[path = "inspect/tests.rs"]
mod tests;
