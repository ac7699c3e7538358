//! `gatewright plugin test`: the tests of a crate natively, then what they asked once more, of the module in the gateway's host.
//!
//! What a test of the mock gateway asked, and what came of it, is recorded; then the module has to say the same. So a
//! plugin that counts with the width of an address, or depends on a time or chance that the host does not give, is found
//! before it serves.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use gatewright_sdk::mock::record;

use super::build::Crate;
use super::check;
use super::replay::{Replay, Sum};
use crate::cli::{Failure, print};
use crate::config::model;

/// Tests the plugin of a crate. The arguments are for `cargo test`.
pub(super) fn test(folder: &Path, arguments: &[OsString]) -> Result<(), Failure> {
    let krate = Crate::of(folder)?;
    let records = Records::new(&krate.target)?;
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--package", &krate.name]).args(arguments).current_dir(folder).env(record::FOLDER, &records.0);
    let status = cargo.status().map_err(|error| format!("cargo cannot be started: {error}"))?;
    if !status.success() {
        return Err(Failure(format!("the tests of {} fail; its module was not tried", krate.name)));
    }
    let module = krate.compile(folder)?;
    let (engine, compiled) = check::compile(&module, check::usual())?;
    let replay = Replay { engine: &engine, compiled: &compiled, budget: check::budget() };
    let mut sum = Sum::default();
    for file in records.files()? {
        if let Some(difference) = replay.file(&file, &mut sum)? {
            // Once more with what it logs, such as the message of a panic. It is the same difference.
            let _ = crate::cli::log::start(&model::Log { level: "info".into(), json: false });
            replay.file(&file, &mut sum)?;
            return Err(Failure(difference.to_string()));
        }
    }
    let others = match sum.others {
        0 => String::new(),
        many => format!("; {many} of its mock gateways have a kind that the module is not, and were left out"),
    };
    if sum.calls == 0 {
        return Err(Failure(format!(
            "no test uses gatewright_sdk::mock, so nothing could be asked of the module{others}"
        )));
    }
    if records.0.join(record::CUT).exists() {
        print("The tests ask so much that only the first 64 MiB of it were recorded.")?;
    }
    let (calls, tests) = (sum.calls, sum.tests.len());
    let plural = if tests == 1 { "" } else { "s" };
    print(format_args!(
        "In the gateway's host, the module says the same to all {calls} calls of {tests} test{plural}{others}"
    ))
}

/// A folder that goes when this is dropped.
struct Records(PathBuf);

impl Records {
    fn new(target: &Path) -> Result<Records, Failure> {
        let folder = target.join(format!("gatewright-records-{}", std::process::id()));
        // Of a process that was ended before it could clean up.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Records(folder))
    }

    fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        let all = std::fs::read_dir(&self.0)?.map(|entry| entry.map(|entry| entry.path()));
        let mut files = all.collect::<Result<Vec<_>, _>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
        files.sort();
        Ok(files)
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        // What stays is in a folder that may be deleted at any time.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
