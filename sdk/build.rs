//! Encodes the type of each world, for the custom section that makes a linked module a component of that world.
//!
//! The bindings are generated once, for a world that exports everything (`src/bindings.rs`): wit-bindgen's own
//! macros can't have several worlds with the same exports in one crate. What makes a plugin a `generator` rather than an
//! `exporter` is this section, written by the export macros, and the exports they choose.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use wit_component::StringEncoding;
use wit_parser::Resolve;

const WORLDS: [&str; 6] = [
    "generator",
    "reactive-generator",
    "replay-generator",
    "exporter",
    "benchmark",
    "tool",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=wit/worlds.wit");
    println!("cargo::rerun-if-changed=wit/deps");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut resolve = Resolve::default();
    let (package, _) =
        resolve.push_dir(PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("wit"))?;
    for name in WORLDS {
        let world = resolve.select_world(&[package], Some(name))?;
        let section = wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None)?;
        fs::write(out.join(name), section)?;
    }
    Ok(())
}
