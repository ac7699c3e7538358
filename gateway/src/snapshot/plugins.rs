//! The plugins of a configuration: which version of each, and the instances for each of its tasks.
//!
//! In: a configuration, and the snapshot before it. Out: versions, those before where nothing about them has changed, with a
//! crew for routing and filtering where routes ask for it. (Pools have crews of their own.)

use std::sync::Arc;

use gatewright_abi::kind;

use super::{Snapshot, problem_with};
use crate::config::Problem;
use crate::config::model::{self, Config, PluginSource};
use crate::fetch::Fetched;
use crate::plugin::{self, Budget, Code, Crew, Digest, House, LoadError, MODULE_SIZE, Version};

/// A plugin of a configuration.
#[derive(Clone)]
pub struct Deployed {
    /// Its version.
    pub version: Arc<Version>,
    /// Its instances for routes, when routes name it.
    pub crew: Option<Arc<Crew>>,
    /// What its source gave, which may be another version than the one in force.
    given: Code,
}

impl Deployed {
    /// Notes that its version is in force.
    pub fn enters(&self) {
        self.version.plugin.enters(&self.version);
    }
}

/// Loads the plugin with this index.
pub(super) fn deploy(
    index: usize,
    config: &Config,
    before: Option<&Snapshot>,
    house: &House,
    fetched: &Fetched,
) -> Result<Deployed, Vec<Problem>> {
    let Some(plugin) = config.plugins.get(index) else { return Err(Vec::new()) };
    let key = format!("plugin.{}", plugin.name);
    let path = match &plugin.source {
        PluginSource::Path(path) => Some(path.as_path()),
        _ => None,
    };
    let wrong = |what: &str, error: &dyn std::fmt::Display| {
        vec![problem_with(config, path, &format!("{key}.{what}"), error.to_string())]
    };
    let same = before.and_then(|before| {
        let at = before.config.plugins.iter().position(|old| old.name == plugin.name)?;
        before.plugins.get(at).zip(before.config.plugins.get(at))
    });
    let given = same.filter(|(_, old)| old.is_same_module(plugin)).map(|(old, _)| &old.given);
    let same = same.map(|(old, _)| old);
    let code = match (&plugin.source, fetched.module(&plugin.name), given) {
        (PluginSource::BuiltIn(name), ..) => linked(name).map_err(|error| wrong("source", &error))?,
        (PluginSource::Path(path), ..) => {
            let bytes = read(path).map_err(|error| wrong("source", &format!("{}: {error}", path.display())))?;
            compile(plugin, &bytes, house).map_err(|error| wrong("source", &error))?
        }
        (_, Some(Ok(bytes)), _) => compile(plugin, bytes, house).map_err(|error| wrong("source", &error))?,
        // Whoever does not fetch tells of that where he has decided it.
        (_, Some(Err(error)), _) if error.is_offline() => return Err(Vec::new()),
        (_, Some(Err(error)), _) => return Err(wrong("source", error)),
        (_, None, Some(given)) => given.clone(),
        (_, None, None) => return Err(wrong("source", &"it was not fetched")),
    };
    let given = code.clone();
    let budget = Budget { decision: plugin.deadline, configure: plugin.configure_time, memory: plugin.memory_size };
    let kept = same.map(|old| &old.version);
    let kept = kept.filter(|old| old.is_like(&code, &plugin.config) && old.budget == budget && !old.is_quarantined());
    let version = match house.instead_of(&plugin.name, &code, &plugin.config) {
        Some(good) => good,
        None => kept.cloned().unwrap_or_else(|| house.version(&plugin.name, code, &plugin.config, budget)),
    };
    let kinds = wanted(index, config);
    let problems = misused(index, config, version.code.kinds());
    if !problems.is_empty() {
        return Err(problems);
    }
    let crew = match kinds & (kind::ROUTER | kind::FILTER) {
        0 => None,
        kinds => {
            let old = same.and_then(|old| old.crew.as_ref());
            let kept = old.filter(|crew| Arc::ptr_eq(&crew.version, &version) && crew.kinds() == kinds);
            let made = kept.cloned().map_or_else(|| house.crew(&version, kinds, &[]), Ok);
            Some(made.map_err(|error| wrong(of(&error), &error))?)
        }
    };
    Ok(Deployed { version, crew, given })
}

/// The instances of a pool's balancer.
pub(super) fn balancer(
    pool: &model::Pool,
    config: &Config,
    plugins: &[Option<Deployed>],
    candidates: &[crate::balance::Candidate],
    before: Option<&Arc<Crew>>,
    house: &House,
) -> Result<Option<Arc<Crew>>, Problem> {
    let Some(index) = pool.balancer else { return Ok(None) };
    // What is wrong with the plugin itself has been told.
    let Some(Some(deployed)) = plugins.get(index) else { return Ok(None) };
    let same = |crew: &&Arc<Crew>| Arc::ptr_eq(&crew.version, &deployed.version) && crew.serves(candidates);
    if let Some(crew) = before.filter(same) {
        return Ok(Some(crew.clone()));
    }
    let crew = house.crew(&deployed.version, kind::BALANCER, candidates);
    let name = config.plugins.get(index).map_or("", |plugin| &plugin.name);
    crew.map(Some).map_err(|error| {
        let key = format!("plugin.{name}.{}", of(&error));
        problem_with(config, None, &key, format!("for pool {:?}: {error}", pool.name))
    })
}

/// Which key an error is about.
fn of(error: &LoadError) -> &'static str {
    if matches!(error, LoadError::Config(_)) { "config" } else { "source" }
}

fn linked(name: &str) -> Result<Code, String> {
    let names: Vec<&str> = plugin::BUILT_IN.iter().map(|(name, _)| *name).collect();
    plugin::built_in(name).ok_or_else(|| format!("there is no built-in {name:?}; there are {}", names.join(", ")))
}

fn compile(plugin: &model::Plugin, bytes: &[u8], house: &House) -> Result<Code, String> {
    let digest = Digest::of(bytes);
    if let Some(wanted) = plugin.sha256.map(Digest::known).filter(|wanted| *wanted != digest) {
        return Err(format!("its sha256 is {digest}, but sha256 demands {wanted}"));
    }
    house.compile(bytes, plugin.memory_size).map_err(|error| error.to_string())
}

fn read(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    // One more than is taken, so that too large a module is seen to be one.
    std::fs::File::open(path)?.take(MODULE_SIZE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The kinds that a plugin is used as.
fn wanted(index: usize, config: &Config) -> u32 {
    let mut kinds = 0;
    for route in &config.routes {
        kinds |= if route.router == Some(index) { kind::ROUTER } else { 0 };
        kinds |= if route.filters.contains(&index) { kind::FILTER } else { 0 };
    }
    kinds
}

/// Where a plugin is used as what it is not.
fn misused(index: usize, config: &Config, kinds: u32) -> Vec<Problem> {
    let name = config.plugins.get(index).map_or("", |plugin| &plugin.name);
    let mut problems = Vec::new();
    let mut demand = |uses: bool, wanted: u32, key: String, word: &str| {
        if uses && kinds & wanted == 0 {
            problems.push(problem_with(config, None, &key, format!("plugin {name:?} is no {word}")));
        }
    };
    for pool in &config.pools {
        demand(pool.balancer == Some(index), kind::BALANCER, format!("pool.{}.balance", pool.name), "balancer");
    }
    for (at, route) in config.routes.iter().enumerate() {
        demand(route.router == Some(index), kind::ROUTER, format!("route[{at}].router"), "router");
        demand(route.filters.contains(&index), kind::FILTER, format!("route[{at}].filters"), "filter");
    }
    problems
}
