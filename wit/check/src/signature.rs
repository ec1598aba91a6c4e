//! Reads a WIT directory into names and canonical signatures.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

use wit_parser::{
    Function, Handle, InterfaceId, Resolve, Type, TypeDefKind, TypeId, TypeOwner, World, WorldItem,
};

use crate::Items;

/// Version of a package, without prerelease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Breaking from 1.0 on.
    pub major: u64,
    /// Breaking below 1.0.
    pub minor: u64,
    /// Additions.
    pub patch: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// All packages of a WIT directory.
#[derive(Clone, Debug)]
pub struct Tree {
    /// By name without version.
    pub packages: BTreeMap<String, Package>,
    /// Interfaces some world exports, for example `kperf:core/identity`.
    pub exported_by_plugins: BTreeSet<String>,
}

/// One package.
#[derive(Clone, Debug)]
pub struct Package {
    /// As declared.
    pub version: Version,
    /// What it declares.
    pub items: Items,
}

/// A declaration in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An interface; its items stand beside it.
    Interface,
    /// Definition of a type.
    Type(String),
    /// Parameters and result of a function.
    Function(String),
    /// `import x` and `export y`.
    World(BTreeSet<String>),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface => f.write_str("interface"),
            Self::Type(text) | Self::Function(text) => f.write_str(text),
            Self::World(set) => {
                for (i, item) in set.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

/// A directory that is not WIT.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The parser's objection.
    #[error("{path}: {reason}", path = path.display())]
    Parse {
        /// Directory.
        path: PathBuf,
        /// With file and line.
        reason: String,
    },
    /// A package that cannot be compared.
    #[error("{path}: package {package} has no version, or a prerelease", path = path.display())]
    NoVersion {
        /// Directory.
        path: PathBuf,
        /// Name of the package.
        package: String,
    },
}

/// Reads a directory: one package in its `.wit` files, others under `deps/`.
///
/// # Errors
/// When it does not parse, or a package has no plain version.
pub fn read(directory: &Path) -> Result<Tree, ReadError> {
    let mut resolve = Resolve::default();
    resolve
        .push_dir(directory)
        .map_err(|error| ReadError::Parse {
            path: directory.to_owned(),
            reason: format!("{error:#}"),
        })?;
    let mut tree = Tree {
        packages: BTreeMap::new(),
        exported_by_plugins: BTreeSet::new(),
    };
    for (_, package) in &resolve.packages {
        let name = format!("{}:{}", package.name.namespace, package.name.name);
        let version = package
            .name
            .version
            .as_ref()
            .filter(|version| version.pre.is_empty())
            .ok_or_else(|| ReadError::NoVersion {
                path: directory.to_owned(),
                package: name.clone(),
            })?;
        let mut items = Items::new();
        for (interface, id) in &package.interfaces {
            read_interface(&resolve, interface, *id, &mut items);
        }
        for (world, id) in &package.worlds {
            if let Some(found) = resolve.worlds.get(*id) {
                items.insert(format!("world {world}"), read_world(&resolve, found));
                tree.exported_by_plugins.extend(exports(&resolve, found));
            }
        }
        let version = Version {
            major: version.major,
            minor: version.minor,
            patch: version.patch,
        };
        tree.packages.insert(name, Package { version, items });
    }
    Ok(tree)
}

fn read_interface(resolve: &Resolve, name: &str, id: InterfaceId, items: &mut Items) {
    let Some(interface) = resolve.interfaces.get(id) else {
        return;
    };
    items.insert(name.to_owned(), Item::Interface);
    for (type_name, type_id) in &interface.types {
        let text = definition(resolve, *type_id);
        items.insert(format!("{name}/{type_name}"), Item::Type(text));
    }
    for (function_name, function) in &interface.functions {
        let text = signature(resolve, function);
        items.insert(format!("{name}/{function_name}"), Item::Function(text));
    }
}

fn read_world(resolve: &Resolve, world: &World) -> Item {
    let mut set = BTreeSet::new();
    for (direction, side) in [("import", &world.imports), ("export", &world.exports)] {
        for (key, item) in side {
            let text = match item {
                WorldItem::Interface { id, .. } => interface_name(resolve, *id),
                WorldItem::Function(function) => {
                    format!("{}: {}", function.name, signature(resolve, function))
                }
                WorldItem::Type { id, .. } => format!(
                    "{} = {}",
                    resolve.name_world_key(key),
                    definition(resolve, *id)
                ),
            };
            set.insert(format!("{direction} {text}"));
        }
    }
    Item::World(set)
}

fn exports(resolve: &Resolve, world: &World) -> Vec<String> {
    world
        .exports
        .values()
        .filter_map(|item| match item {
            WorldItem::Interface { id, .. } => {
                let name = interface_name(resolve, *id);
                let (package, interface) = name.split_once('/')?;
                let package = package.split('@').next()?;
                Some(format!("{package}/{interface}"))
            }
            _ => None,
        })
        .collect()
}

/// `kperf:core@0.1/logging`: with as much of the version as tells incompatible ones apart.
fn interface_name(resolve: &Resolve, id: InterfaceId) -> String {
    let Some(interface) = resolve.interfaces.get(id) else {
        return String::new();
    };
    let name = interface.name.as_deref().unwrap_or("anonymous");
    let Some(package) = interface.package.and_then(|id| resolve.packages.get(id)) else {
        return name.to_owned();
    };
    let track = package.name.version.as_ref().map_or_else(String::new, |v| {
        if v.major == 0 {
            format!("@0.{}", v.minor)
        } else {
            format!("@{}", v.major)
        }
    });
    format!(
        "{}:{}{track}/{name}",
        package.name.namespace, package.name.name
    )
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let params = function
        .params
        .iter()
        .map(|param| reference(resolve, &param.ty))
        .collect::<Vec<_>>()
        .join(", ");
    let result = function
        .result
        .as_ref()
        .map(|ty| format!(" -> {}", reference(resolve, ty)))
        .unwrap_or_default();
    let kind = if function.kind.is_async() {
        "async "
    } else {
        ""
    };
    format!("{kind}func({params}){result}")
}

/// How a type is named where it is used.
fn reference(resolve: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else {
        return format!("{ty:?}").to_lowercase();
    };
    let Some(found) = resolve.types.get(*id) else {
        return String::new();
    };
    // A `use` is the type it names.
    if let TypeDefKind::Type(Type::Id(original)) = found.kind
        && resolve
            .types
            .get(original)
            .is_some_and(|t| t.name.is_some())
    {
        return reference(resolve, &Type::Id(original));
    }
    match (&found.name, found.owner) {
        (Some(name), TypeOwner::Interface(owner)) => {
            format!("{}.{name}", interface_name(resolve, owner))
        }
        (Some(name), _) => name.clone(),
        (None, _) => definition(resolve, *id),
    }
}

/// What a type is made of.
fn definition(resolve: &Resolve, id: TypeId) -> String {
    let Some(found) = resolve.types.get(id) else {
        return String::new();
    };
    let named = |ty: &Type| reference(resolve, ty);
    let optional = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), named);
    match &found.kind {
        TypeDefKind::Record(record) => braces("record", record.fields.iter(), |field| {
            format!("{}: {}", field.name, named(&field.ty))
        }),
        TypeDefKind::Variant(variant) => braces("variant", variant.cases.iter(), |case| {
            format!("{}({})", case.name, optional(&case.ty))
        }),
        TypeDefKind::Enum(cases) => braces("enum", cases.cases.iter(), |case| case.name.clone()),
        TypeDefKind::Flags(flags) => braces("flags", flags.flags.iter(), |flag| flag.name.clone()),
        TypeDefKind::Tuple(tuple) => braces("tuple", tuple.types.iter(), named),
        TypeDefKind::Resource => "resource".to_owned(),
        TypeDefKind::Handle(Handle::Own(id)) => format!("own<{}>", named(&Type::Id(*id))),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", named(&Type::Id(*id))),
        TypeDefKind::Option(ty) => format!("option<{}>", named(ty)),
        TypeDefKind::Result(result) => {
            format!(
                "result<{}, {}>",
                optional(&result.ok),
                optional(&result.err)
            )
        }
        TypeDefKind::List(ty) => format!("list<{}>", named(ty)),
        TypeDefKind::FixedLengthList(ty, len) => format!("list<{}, {len}>", named(ty)),
        TypeDefKind::Map(key, value) => format!("map<{}, {}>", named(key), named(value)),
        TypeDefKind::Future(ty) => format!("future<{}>", optional(ty)),
        TypeDefKind::Stream(ty) => format!("stream<{}>", optional(ty)),
        TypeDefKind::Type(ty) => named(ty),
        TypeDefKind::Unknown => "unknown".to_owned(),
    }
}

fn braces<T>(word: &str, parts: impl Iterator<Item = T>, text: impl Fn(T) -> String) -> String {
    format!(
        "{word} {{ {} }}",
        parts.map(text).collect::<Vec<_>>().join(", ")
    )
}
