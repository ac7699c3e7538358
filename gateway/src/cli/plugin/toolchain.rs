//! What compiles to WebAssembly on this machine: the installed target; else rustup's, fetched; else Debian's packages.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cli::complain;

/// Rust without an operating system below it.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";
/// How long a fetch may take.
const FETCH: Duration = Duration::from_secs(180);

/// A cargo that builds for [`TARGET`].
pub(super) enum Toolchain {
    /// The one in the path.
    Usual,
    /// Debian's, which compiles the standard library too.
    Debian,
}

impl Toolchain {
    /// Looks for one, and fetches the target if it can.
    pub(super) fn find() -> Result<Toolchain, String> {
        if has_target() {
            return Ok(Toolchain::Usual);
        }
        if works("rustup", &["--version"]) {
            complain(format_args!("Fetching {TARGET} with rustup"));
            match fetch() {
                Ok(()) if has_target() => return Ok(Toolchain::Usual),
                Ok(()) => {}
                Err(error) => complain(error),
            }
        }
        let sources =
            ["/usr/bin/cargo", "/usr/bin/rustc", "/usr/bin/wasm-ld"].iter().all(|file| Path::new(file).exists());
        if sources
            && Path::new("/usr/src").read_dir().is_ok_and(|mut found| {
                found.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("rustc")))
            })
        {
            return Ok(Toolchain::Debian);
        }
        Err(format!(
            "there is no Rust for {TARGET} here. Run `rustup target add {TARGET}`, or on Debian \
             `apt-get install rustc-web cargo-web rust-web-src rust-web-llvm lld`, and try again"
        ))
    }

    /// A build for [`TARGET`], to be completed.
    pub(super) fn build(&self) -> Command {
        let mut command = match self {
            Toolchain::Usual => Command::new("cargo"),
            Toolchain::Debian => {
                let mut command = Command::new("/usr/bin/cargo");
                command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
                command
            }
        };
        command.args(["build", "--release", "--target", TARGET]);
        if matches!(self, Toolchain::Debian) {
            command.arg("-Zbuild-std=std,panic_abort");
        }
        command
    }
}

fn works(program: &str, arguments: &[&str]) -> bool {
    let quiet = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

fn has_target() -> bool {
    let asked = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot =
        asked.ok().filter(|asked| asked.status.success()).and_then(|asked| String::from_utf8(asked.stdout).ok());
    sysroot.is_some_and(|sysroot| Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).is_dir())
}

fn fetch() -> Result<(), String> {
    let child = Command::new("rustup").args(["target", "add", TARGET]).spawn();
    let mut child = child.map_err(|error| format!("rustup: {error}"))?;
    let until = Instant::now() + FETCH;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("rustup ended with {status}")),
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(100)),
            Ok(None) | Err(_) => {
                // Nothing is lost when it cannot be ended.
                let _ = child.kill();
                return Err(format!("rustup took more than {} s", FETCH.as_secs()));
            }
        }
    }
}
