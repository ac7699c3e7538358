//! From the crate of a plugin to its module.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::toolchain::{TARGET, Toolchain};
use crate::cli::{Failure, print};

/// Compiles, strips, and looks whether a plugin came of it.
pub(super) fn build(folder: &Path, output: Option<&Path>) -> Result<(), Failure> {
    let krate = Crate::of(folder)?;
    let made = krate.compile(folder)?;
    let to = output.map_or_else(|| folder.join(format!("{}.wasm", krate.name)), Path::to_owned);
    // Beside it first, so that a gateway that watches the file never sees half of it.
    let draft = to.with_extension("wasm.new");
    std::fs::copy(&made, &draft).map_err(|error| format!("{}: {error}", made.display()))?;
    std::fs::rename(&draft, &to).map_err(|error| format!("{}: {error}", to.display()))?;
    let (_, compiled) = super::check::compile(&to, super::check::usual())?;
    super::inspect::summary(&to, &compiled)
}

/// What cargo knows of a crate.
pub(super) struct Crate {
    pub(super) name: String,
    /// The name of its library, as files have it.
    library: String,
    /// The folder for what is compiled.
    pub(super) target: PathBuf,
}

impl Crate {
    pub(super) fn of(folder: &Path) -> Result<Crate, Failure> {
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() {
            return Err(Failure(format!("{} is not there: this is no crate", manifest.display())));
        }
        let asked = Command::new("cargo")
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(folder)
            .output()
            .map_err(|error| format!("cargo cannot be started: {error}"))?;
        if !asked.status.success() {
            return Err(Failure(String::from_utf8_lossy(&asked.stderr).trim().to_owned()));
        }
        let known: Value = serde_json::from_slice(&asked.stdout)?;
        let manifest = manifest.canonicalize()?;
        let packages = known["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let package =
            packages.iter().find(|package| package["manifest_path"].as_str().map(Path::new) == Some(&manifest));
        let package = package.ok_or_else(|| format!("{} is no package", folder.display()))?;
        let targets = package["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_module = |target: &&Value| {
            target["crate_types"].as_array().is_some_and(|types| types.iter().any(|kind| kind == "cdylib"))
        };
        let library = targets.iter().find(is_module).and_then(|target| target["name"].as_str());
        let library = library.ok_or_else(|| {
            format!(
                "{} makes no module: its Cargo.toml needs [lib] crate-type = [\"cdylib\", \"rlib\"]",
                manifest.display()
            )
        })?;
        Ok(Crate {
            name: package["name"].as_str().unwrap_or_default().to_owned(),
            library: library.replace('-', "_"),
            target: known["target_directory"].as_str().unwrap_or("target").into(),
        })
    }

    /// Compiles it; where the module is.
    pub(super) fn compile(&self, folder: &Path) -> Result<PathBuf, Failure> {
        let toolchain = Toolchain::find()?;
        print(format_args!("Compiling {} for {TARGET}", self.name))?;
        let mut command = toolchain.build();
        // As small as it gets, whatever the crate's own profile says; and a panic ends the call in any case.
        for setting in ["strip=true", "panic=\"abort\"", "lto=true", "debug=false"] {
            command.arg("--config").arg(format!("profile.release.{setting}"));
        }
        let status = command.arg("--package").arg(&self.name).current_dir(folder).status();
        let status = status.map_err(|error| format!("cargo cannot be started: {error}"))?;
        if !status.success() {
            return Err(Failure(format!("{} was not compiled", self.name)));
        }
        Ok(self.target.join(TARGET).join("release").join(format!("{}.wasm", self.library)))
    }
}
