//! `gatewright check`: everything that is wrong with a configuration, and with the files that it names; and warnings, with
//! which all is still well.
//!
//! Files are looked at also when the text is wrong somewhere else, so that all is told at once; only what a table names that
//! had to be left out whole, because a key that it needs is missing, is looked at when that has been mended.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use rustix::fs::{Access, access};

use super::{Failure, complain, print};
use crate::config::model::{Config, Named};
use crate::config::{self, Problem, Problems};
use crate::metrics::Metrics;
use crate::snapshot::{Snapshot, problem_with, problem_with_folder};
use crate::tls::{self, ServerTls};

/// Prints what is wrong, or what was checked.
pub(super) fn check(path: &Path) -> Result<(), Failure> {
    let (config, wrong) = config::examine(path);
    let summary = format!(
        "{}: ok: {}, {}, {}",
        path.display(),
        count(config.listeners.len(), "listener"),
        count(config.routes.len(), "route"),
        count(config.pools.len(), "pool"),
    );
    for warning in &config.warnings {
        complain(format_args!("{}:{warning}", path.display()));
    }
    let mut problems = problems_of_files(&config);
    let omitted = match wrong {
        Some(wrong) => {
            problems.extend(wrong.problems);
            wrong.omitted
        }
        None => {
            problems.extend(problems_of_use(config));
            0
        }
    };
    match Problems::of(path, problems, omitted) {
        Some(problems) => Err(problems.into()),
        None => print(summary),
    }
}

/// What is wrong with each file and folder by itself.
fn problems_of_files(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for named in &config.named {
        match named {
            Named::Pair(files) => {
                let found = tls::problems_of_pair(files).into_iter();
                problems.extend(found.map(|problem| problem_with(config, problem.path(), "", problem.to_string())));
            }
            Named::Authorities(path) => {
                let found = tls::problem_of_authorities(path);
                problems.extend(found.map(|problem| problem_with(config, Some(path), "", problem.to_string())));
            }
            Named::Folder(path) => {
                let found = problem_with_folder(path);
                problems.extend(found.map(|message| problem_with(config, Some(path), "", message)));
            }
            Named::AccessLog(path) => {
                let message = |error| format!("cannot write there: {error}");
                let found = can_append(path).err();
                problems.extend(found.map(|error| problem_with(config, Some(path), "", message(error))));
            }
        }
    }
    problems
}

/// What shows only when everything is put together.
fn problems_of_use(mut config: Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        if let Some(tls) = &listener.tls
            && let Err(problem) = ServerTls::load(tls, &listener.protocols)
        {
            let key = format!("listener[{index}].tls");
            problems.push(problem_with(&config, problem.path(), &key, problem.to_string()));
        }
    }
    // Opening the access log would make its file.
    config.access_log = None;
    if let Err(more) = Snapshot::compile(config, None, &Metrics::new(1)) {
        problems.extend(more);
    }
    problems
}

/// Whether lines could be appended to a file, which is not made for that.
fn can_append(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        // Opening a pipe and closing it again would tell its reader that this was all.
        Ok(found) if !found.is_file() && !found.is_dir() => Ok(()),
        Ok(_) => OpenOptions::new().append(true).open(path).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Ok(access(folder.join("."), Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(error) => Err(error),
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
