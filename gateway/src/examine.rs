//! Everything that can be said of a configuration file before any of it is in force.
//!
//! In: the file. Out: its configuration and all that is wrong with it and with the files that it names; and warnings, with
//! which all is still well. Nothing is made, opened for writing or listened on.
//!
//! Files are looked at also when the text is wrong somewhere else, so that all is told at once; only what a table names that
//! had to be left out whole, because a key that it needs is missing, is looked at when that has been mended.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::{Access, access};

use crate::config::model::{Config, Named};
use crate::config::{self, Problem, Problems};
use crate::fetch::Fetched;
use crate::metrics::Metrics;
use crate::plugin::House;
use crate::snapshot::{Given, Snapshot, problem_with, problem_with_folder};
use crate::tls::{self, ServerTls};

/// The configuration, or everything that is wrong. What shows only when it is compiled is left to whoever does that next.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let (config, wrong) = config::examine(path);
    let problems = problems_of_files(&config);
    if wrong.is_none() && problems.is_empty() {
        return Ok(config);
    }
    // What comes from elsewhere is looked at when the rest has been mended.
    let fetched = Fetched::none(&config);
    all(path, &config, problems, wrong, &fetched).map_or(Ok(config), Err)
}

/// What of the configuration could be read, and everything that is wrong. `fetched`: how plugins from elsewhere are come by.
pub fn examine(path: &Path, fetched: impl FnOnce(&Config) -> Fetched) -> (Config, Option<Problems>) {
    let (config, wrong) = config::examine(path);
    let problems = problems_of_files(&config);
    // Not when nothing will be put together.
    let fetched = if wrong.is_none() { fetched(&config) } else { Fetched::default() };
    let problems = all(path, &config, problems, wrong, &fetched);
    (config, problems)
}

/// What is allowed, but hardly meant, in the order of the file.
pub fn warnings(config: &Config) -> Vec<Problem> {
    let mut warnings = config.warnings.clone();
    for named in &config.named {
        if let Named::Pair(files) = named {
            let found = tls::warnings_of_certificate(&files.certificate).into_iter();
            let path = Some(files.certificate.as_path());
            warnings.extend(found.map(|message| problem_with(config, path, "", format!("warning: {message}"))));
        }
    }
    warnings.sort();
    warnings.dedup();
    warnings
}

fn all(
    path: &Path,
    config: &Config,
    mut problems: Vec<Problem>,
    wrong: Option<Problems>,
    fetched: &Fetched,
) -> Option<Problems> {
    let omitted = match wrong {
        Some(wrong) => {
            problems.extend(wrong.problems);
            wrong.omitted
        }
        None => {
            problems.extend(problems_of_use(config.clone(), fetched));
            0
        }
    };
    Problems::of(path, problems, omitted)
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
            Named::Plugin(path) | Named::Credentials(path) => {
                let message = |error| format!("cannot be read: {error}");
                let found = can_read(path).err();
                problems.extend(found.map(|error| problem_with(config, Some(path), "", message(error))));
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
fn problems_of_use(mut config: Config, fetched: &Fetched) -> Vec<Problem> {
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
    let house = match House::new(1, None, |_| {}) {
        Ok(house) => house,
        Err(error) => {
            problems.push(problem_with(&config, None, "", format!("cannot start a thread: {error}")));
            return problems;
        }
    };
    let given = Given::make(&config, &house, fetched);
    if let Err(more) = Snapshot::compile(config, None, &Metrics::new(1), &house, &given) {
        problems.extend(more);
    }
    problems
}

/// Whether it is a file that can be opened.
fn can_read(path: &Path) -> io::Result<()> {
    // Opening a pipe would wait for its writer.
    match std::fs::metadata(path)? {
        found if found.is_file() => File::open(path).map(drop),
        _ => Err(io::Error::other("it is no file")),
    }
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
