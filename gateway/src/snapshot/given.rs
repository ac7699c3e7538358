//! What the sources of plugins give.
//!
//! In: a configuration, what was fetched for it, the snapshot before it. Out: code by the names of plugins, or why there is
//! none. Code goes by the hash of its module, so it may be made long before it comes into force, whatever else does meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::{Snapshot, problem_with};
use crate::config::Problem;
use crate::config::model::{Config, Plugin, PluginSource};
use crate::config::problem::suggestion;
use crate::fetch::Fetched;
use crate::plugin::{self, Code, Digest, House, LoadError, MODULE_SIZE};
use crate::stock;

/// Code by the names of plugins.
#[derive(Default)]
pub struct Given(BTreeMap<String, Result<Code, Missing>>);

/// Why there is no code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Missing {
    /// Nobody was to be asked for it.
    Offline,
    /// What is wrong.
    Wrong(String),
}

/// What was found where a plugin comes from.
pub enum Found {
    /// Code that is there already.
    Code(Code),
    /// A module that is to be compiled.
    Module(Vec<u8>),
}

impl Given {
    /// What the sources gave when this came into force.
    pub fn of(snapshot: &Snapshot) -> Given {
        let known = snapshot.plugins.iter().map(|deployed| {
            let name = deployed.version.plugin.name().to_owned();
            (name, Ok(deployed.given.clone()))
        });
        Given(known.collect())
    }

    /// All of it, compiled one after the other, for those who have nothing else to do meanwhile. What is not compiled in time is
    /// missing.
    pub fn make(config: &Config, house: &House, fetched: &Fetched) -> Given {
        let mut given = Given::default();
        for plugin in &config.plugins {
            let code = find(plugin, None, fetched).and_then(|found| match found {
                Found::Code(code) => Ok(code),
                Found::Module(module) => compile_within(config.limits.plugin_compile_time, plugin, module, house),
            });
            given.add(plugin, code);
        }
        given
    }

    /// Notes what the source of a plugin gives.
    pub fn add(&mut self, plugin: &Plugin, code: Result<Code, Missing>) {
        self.0.insert(plugin.name.clone(), code);
    }

    /// What the source of a plugin gives.
    pub(super) fn code(&self, plugin: &str) -> Result<Code, Missing> {
        let unseen = || Err(Missing::Wrong("it was not looked for".to_owned()));
        self.0.get(plugin).cloned().unwrap_or_else(unseen)
    }
}

/// Looks where a plugin comes from; if that is elsewhere it was fetched, or is what it was before. Reads files.
pub fn find(plugin: &Plugin, before: Option<&Snapshot>, fetched: &Fetched) -> Result<Found, Missing> {
    let same = |old: &&Plugin| old.name == plugin.name && old.memory_size == plugin.memory_size;
    let old = before.and_then(|before| Some((before.config.plugins.iter().find(same)?, before.plugin(&plugin.name)?)));
    let bytes = match (&plugin.source, fetched.module(&plugin.name)) {
        (PluginSource::BuiltIn(name), _) => return linked(name).map(Found::Code),
        (PluginSource::Path(path), _) => {
            read(path).map_err(|error| Missing::Wrong(format!("{}: {error}", path.display())))?
        }
        (_, Some(Ok(bytes))) => bytes.to_vec(),
        (_, Some(Err(error))) if error.is_offline() => return Err(Missing::Offline),
        (_, Some(Err(error))) => return Err(Missing::Wrong(error.to_string())),
        (_, None) => {
            let known = old.filter(|(old, _)| old.is_same_module(plugin));
            let known = known.map(|(_, deployed)| Found::Code(deployed.given.clone()));
            return known.ok_or_else(|| Missing::Wrong("it was not fetched".to_owned()));
        }
    };
    let digest = Digest::of(&bytes);
    if let Some(wanted) = plugin.sha256.map(Digest::known).filter(|wanted| *wanted != digest) {
        return Err(Missing::Wrong(format!("its sha256 is {digest}, but sha256 demands {wanted}")));
    }
    match old.map(|(_, deployed)| &deployed.given) {
        Some(given @ Code::Wasm(compiled)) if compiled.digest == digest => Ok(Found::Code(given.clone())),
        _ => Ok(Found::Module(bytes)),
    }
}

/// Compiles what was found for a plugin.
pub fn compile(plugin: &Plugin, module: &[u8], house: &House) -> Result<Code, Missing> {
    house.compile(module, plugin.memory_size).map_err(|error| Missing::Wrong(error.to_string()))
}

/// The same, waited for so long.
fn compile_within(most: Duration, plugin: &Plugin, module: Vec<u8>, house: &House) -> Result<Code, Missing> {
    let compiler = house.compiler().map_err(|error| Missing::Wrong(error.to_string()))?;
    compiler.compile_within(most, module, plugin.memory_size).map(Code::Wasm).map_err(|error| match error {
        LoadError::Late(most) => Missing::Wrong(late(most)),
        other => Missing::Wrong(other.to_string()),
    })
}

/// What is said of a module that took longer to compile.
pub fn late(most: Duration) -> String {
    format!("{} (limits.plugin_compile_time)", LoadError::Late(most))
}

/// The problem with the source of a plugin.
pub fn problem(config: &Config, plugin: &Plugin, message: &str) -> Problem {
    let path = match &plugin.source {
        PluginSource::Path(path) => Some(path.as_path()),
        _ => None,
    };
    problem_with(config, path, &format!("plugin.{}.source", plugin.name), message)
}

fn linked(name: &str) -> Result<Code, Missing> {
    plugin::built_in(name).ok_or_else(|| {
        let names: Vec<&str> = stock::all().map(|(name, _)| name).collect();
        let meant = suggestion(name, names.iter().copied());
        Missing::Wrong(format!("there is no built-in {name:?}{meant}; there are {}", names.join(", ")))
    })
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    // One more than is taken, so that too large a module is seen to be one.
    std::fs::File::open(path)?.take(MODULE_SIZE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
