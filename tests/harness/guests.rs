//! Plugins of this repository as WebAssembly, built once for a run of the tests.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

const TARGET: &str = "wasm32-unknown-unknown";

/// The module of this package.
pub(crate) fn wasm(package: &str) -> PathBuf {
    all(&[package.to_owned()]).remove(0)
}

/// Every stock plugin: its name, and its module.
pub(crate) fn stock() -> Vec<(&'static str, PathBuf)> {
    let names: Vec<&str> = gatewright::stock::all().map(|(name, _)| name).collect();
    let packages: Vec<String> = names.iter().map(|name| format!("gatewright-plugin-{name}")).collect();
    names.into_iter().zip(all(&packages)).collect()
}

/// The modules of these packages. Built in a folder of its own: cargo holds the usual one while it runs the tests.
fn all(packages: &[String]) -> Vec<PathBuf> {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    // Held while it is built: the others wait for it instead of building it too.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    let missing: Vec<&String> = packages.iter().filter(|package| !built.contains_key(*package)).collect();
    if built.is_empty() && !missing.is_empty() {
        install_target();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = root.join("target/guests");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&root).args(["build", "--quiet", "--release", "--locked", "--target", TARGET]);
    if !missing.is_empty() {
        // One call for all of them: cargo takes longer to begin than they take to build.
        cargo.args(missing.iter().flat_map(|package| ["-p", package]));
        let done = cargo.arg("--target-dir").arg(&target).output().expect("cargo to start");
        assert!(done.status.success(), "{missing:?} are not built:\n{}", String::from_utf8_lossy(&done.stderr));
    }
    for package in missing {
        let name = format!("{}.wasm", package.replace('-', "_"));
        built.insert(package.clone(), target.join(TARGET).join("release").join(name));
    }
    packages.iter().filter_map(|package| built.get(package).cloned()).collect()
}

/// Asks rustup for the target, when it is not there.
fn install_target() {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc");
    let sysroot = String::from_utf8(sysroot.stdout).expect("a path");
    if !Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).is_dir() {
        let added = Command::new("rustup").args(["target", "add", TARGET]).output().expect("rustup");
        assert!(added.status.success(), "{TARGET} is missing: {}", String::from_utf8_lossy(&added.stderr));
    }
}

/// Whether C can be compiled to WebAssembly here. Says so, whatever the tests print, when it cannot.
pub(crate) fn has_clang() -> bool {
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|done| done.status.success());
    let has = there("clang") && there("wasm-ld");
    if !has {
        // Past the capture of what tests print.
        let _ = writeln!(std::io::stderr(), "SKIPPED: clang and wasm-ld are not there, so no plugin in C was tested");
    }
    has
}

/// Compiles with this command.
pub(crate) fn compile(command: &mut Command) {
    let done = command.output().expect("to start");
    assert!(done.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&done.stderr));
}
