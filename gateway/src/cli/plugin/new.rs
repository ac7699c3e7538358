//! A crate for a new plugin: the manifest, a few lines that do something, a test.

use std::path::{Path, PathBuf};

use super::Kind;
use crate::cli::{Failure, print};

const MANIFEST: &str = r#"[package]
name = "<name>"
version = "0.1.0"
edition = "2024"

[lib]
crate-type = ["cdylib", "rlib"]

[dependencies]
gatewright-sdk = <sdk>
serde = { version = "1", features = ["derive"] }

# A crate of its own, wherever it lies.
[workspace]

[profile.release]
lto = true
panic = "abort"
strip = true
"#;

const BALANCER: &str = include_str!("new/balancer.rs");
const ROUTER: &str = include_str!("new/router.rs");
const FILTER: &str = include_str!("new/filter.rs");

/// Makes the folder `NAME`.
pub(super) fn new(name: &str, kind: Kind, sdk: Option<PathBuf>) -> Result<(), Failure> {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(is_word) || name.len() > 40 {
        return Err(Failure(format!("{name:?} is no name for a crate: lower case letters, digits and dashes")));
    }
    let folder = Path::new(name);
    if folder.exists() {
        return Err(Failure(format!("{name} is there already")));
    }
    let source = match kind {
        Kind::Balancer => BALANCER,
        Kind::Router => ROUTER,
        Kind::Filter => FILTER,
    };
    let manifest = MANIFEST.replace("<name>", name).replace("<sdk>", &dependency(sdk)?);
    std::fs::create_dir_all(folder.join("src"))?;
    std::fs::write(folder.join("Cargo.toml"), manifest)?;
    std::fs::write(folder.join("src/lib.rs"), source)?;
    std::fs::write(folder.join(".gitignore"), "/target\n*.wasm\n")?;
    let place = match kind {
        Kind::Balancer => format!("[pool.app]\n    balance = \"{name}\""),
        Kind::Router => format!("[[route]]\n    router = \"{name}\""),
        Kind::Filter => format!("[[route]]\n    filters = [\"{name}\"]"),
    };
    print(format_args!(
        "{name}/src/lib.rs is a {} to begin with. What comes next:

    cd {name}
    gatewright plugin test        # natively, then the same in the gateway's host
    gatewright plugin build       # {name}.wasm
    gatewright plugin check {name}.wasm

and in the gateway's configuration:

    [plugin.{name}]
    source = \"{name}.wasm\"

    {place}",
        word(kind)
    ))
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Balancer => "balancer",
        Kind::Router => "router",
        Kind::Filter => "filter",
    }
}

/// The SDK beside the sources that this gateway was built from, when they are still there; else the published one.
fn dependency(sdk: Option<PathBuf>) -> Result<String, Failure> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-sdk");
    let folder = match sdk {
        Some(folder) => Some(folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?),
        None => beside.canonicalize().ok(),
    };
    let version = env!("CARGO_PKG_VERSION").rsplit_once('.').map_or("0", |(version, _)| version);
    Ok(match folder {
        Some(folder) => format!("{{ path = {:?} }}", folder.display().to_string()),
        None => format!("{version:?}"),
    })
}
