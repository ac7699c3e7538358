//! The plugins of a configuration: which version of each, and the instances for each of its tasks.
//!
//! In: a configuration, the snapshot before it, and what is to become of one plugin besides. Out: versions, those before where
//! nothing about them has changed, with a crew for routing and filtering where routes ask for it. (Pools have crews of their
//! own.) What the source gives is in force, unless something else was ordered since it began to give that.

use std::sync::Arc;
use std::time::Instant;

use gatewright_abi::kind;

use super::given::{Given, Missing};
use super::{Snapshot, problem_with, terms};
use crate::balance::{Candidate, Endpoint};
use crate::config::Problem;
use crate::config::model::{self, Config, PluginSource};
use crate::plugin::{Attempt, Code, Crew, House, LoadError, Reason, Trial, Trying, Version};

/// A plugin of a configuration.
#[derive(Clone)]
pub struct Deployed {
    /// The version in force.
    pub version: Arc<Version>,
    /// How it came into force.
    pub reason: Reason,
    /// The code that the source gives.
    pub given: Code,
    /// Whether a pool or a route names it.
    pub used: bool,
    /// Its instances for routes, when routes name it.
    pub crew: Option<Arc<Crew>>,
    /// What is on trial beside it.
    pub trial: Option<Arc<Trial>>,
    /// The instances of that for routes.
    pub trying: Option<Trying>,
}

/// What is to become of a plugin, whatever its source gives.
#[derive(Clone)]
pub struct Course {
    /// Its name.
    pub plugin: String,
    /// What.
    pub step: Step,
}

/// A step from one version to another.
#[derive(Clone)]
pub enum Step {
    /// This one comes into force; what is on trial no longer is.
    Take(Arc<Version>, Reason),
    /// This trial begins.
    Try(Arc<Trial>),
}

/// What is in force, what is tried beside it, and how it came.
struct Standing {
    version: Arc<Version>,
    reason: Reason,
    trial: Option<Arc<Trial>>,
}

impl Deployed {
    /// Notes that its version is in force, and what is on trial in place.
    pub fn enters(&self, before: Option<&Snapshot>) {
        let plugin = &self.version.plugin;
        let old = before.and_then(|before| before.plugin(plugin.name()));
        plugin.enters(&self.version, self.reason, old.map(|old| &*old.version));
        if let Some(trial) = &self.trial {
            trial.begins(Instant::now());
        }
    }
}

/// Loads the plugin with this index; `step`: what is to become of it, whatever its source gives.
pub(super) fn deploy(
    index: usize,
    config: &Config,
    (before, step): (Option<&Snapshot>, Option<&Step>),
    house: &House,
    given: &Given,
) -> Result<Deployed, Vec<Problem>> {
    let Some(plugin) = config.plugins.get(index) else { return Err(Vec::new()) };
    let key = format!("plugin.{}", plugin.name);
    let path = match &plugin.source {
        PluginSource::Path(path) => Some(path.as_path()),
        _ => None,
    };
    let wrong = |what: &str, error: &dyn std::fmt::Display| {
        let path = path.filter(|_| what == "source");
        vec![problem_with(config, path, &format!("{key}.{what}"), error.to_string())]
    };
    let unfit = |error: &LoadError| {
        let (what, error) = error.of_key();
        wrong(what, &error)
    };
    let same = before.and_then(|before| before.plugin(&plugin.name));
    let before_config = before.and_then(|before| before.config.plugins.iter().find(|old| old.name == plugin.name));
    let given = given.code(&plugin.name).map_err(|missing| match missing {
        // Whoever does not fetch tells of that where he has decided it.
        Missing::Offline => Vec::new(),
        Missing::Wrong(message) => wrong("source", &message),
    })?;
    let kinds = wanted(index, config);
    let used = kinds != 0;
    let standing = stand((plugin, used), &given, same.zip(before_config), step, house);
    for version in
        [Some(&standing.version), standing.trial.as_ref().map(|trial| &trial.candidate)].into_iter().flatten()
    {
        let problems = misused(index, config, version.code.kinds());
        if !problems.is_empty() {
            return Err(problems);
        }
    }
    let kinds = kinds & (kind::ROUTER | kind::FILTER);
    let crew = |version: &Arc<Version>, kept: Option<&Arc<Crew>>| {
        let kept = kept.filter(|crew| Arc::ptr_eq(&crew.version, version) && crew.kinds() == kinds);
        let made = kept.cloned().map_or_else(|| house.crew(version, kinds, &[]), Ok);
        made.map_err(|error| unfit(&error))
    };
    let crews = same.map(|old| (old.crew.as_ref(), old.trying.as_ref().map(|trying| &trying.crew)));
    let (old, tried) = crews.unwrap_or_default();
    let Standing { version, reason, trial } = standing;
    let (mut own, mut trying) = (None, None);
    if kinds != 0 {
        let promoted = tried.filter(|crew| Arc::ptr_eq(&crew.version, &version));
        own = Some(crew(&version, promoted.or(old))?);
        if let Some(trial) = &trial {
            trying = Some(Trying { trial: trial.clone(), crew: crew(&trial.candidate, tried)? });
        }
    }
    // What nobody asks is looked at all the same, and not only on the day when somebody does.
    if !used && !same.is_some_and(|old| Arc::ptr_eq(&old.version, &version)) {
        house.rehearse(&version, &[some_endpoint()]).map_err(|error| unfit(&error))?;
    }
    Ok(Deployed { version, reason, given, used, crew: own, trial, trying })
}

/// Which version is in force, and which on trial. There is no trial of what nobody asks: it would never end.
fn stand(
    (plugin, used): (&model::Plugin, bool),
    given: &Code,
    before: Option<(&Deployed, &model::Plugin)>,
    step: Option<&Step>,
    house: &House,
) -> Standing {
    let budget = terms::budget(plugin);
    let of_source = || house.version(&plugin.name, given.clone(), &plugin.config, budget);
    let Some((old, config)) = before else {
        return Standing { version: of_source(), reason: Reason::Source, trial: None };
    };
    let within_budget = |version: &Arc<Version>| match version.budget == budget {
        true => version.clone(),
        false => Arc::new(version.within(budget)),
    };
    match step {
        Some(Step::Take(version, reason)) => {
            return Standing { version: within_budget(version), reason: *reason, trial: None };
        }
        Some(Step::Try(trial)) => {
            return Standing {
                version: old.version.clone(),
                reason: old.reason,
                trial: Some(trial.clone()).filter(|_| used),
            };
        }
        None => {}
    }
    let gives_the_same = old.given.is(given) && config.config == plugin.config;
    // One that failed gets another chance when there is none in its place.
    if gives_the_same && !old.version.is_quarantined() {
        let trial = old.trial.clone().filter(|trial| used && trial.candidate.budget == budget);
        return Standing { version: within_budget(&old.version), reason: old.reason, trial };
    }
    if old.version.is_like(given, &plugin.config) && !old.version.is_quarantined() {
        return Standing { version: within_budget(&old.version), reason: Reason::Source, trial: None };
    }
    let version = of_source();
    match terms::rollout(plugin).stages().filter(|_| used && !old.version.is_quarantined()) {
        Some((stage, then)) => {
            let trial = Trial::new(&version, stage, then, Reason::Source, Attempt::begin());
            Standing { version: within_budget(&old.version), reason: old.reason, trial: Some(Arc::new(trial)) }
        }
        None => Standing { version, reason: Reason::Source, trial: None },
    }
}

/// The instances of a pool's balancer, and of a version that is on trial beside it.
pub(super) fn balancer(
    pool: &model::Pool,
    config: &Config,
    plugins: &[Option<Deployed>],
    candidates: &[Candidate],
    before: Option<&crate::upstream::PoolState>,
    house: &House,
) -> Result<(Option<Arc<Crew>>, Option<Trying>), Problem> {
    let Some(index) = pool.balancer else { return Ok((None, None)) };
    // What is wrong with the plugin itself has been told.
    let Some(Some(deployed)) = plugins.get(index) else { return Ok((None, None)) };
    let tried = before.and_then(|before| before.trying.as_ref()).map(|trying| &trying.crew);
    let known = [before.and_then(|before| before.crew.as_ref()), tried];
    let crew = |version: &Arc<Version>| {
        let same = |crew: &&&Arc<Crew>| Arc::ptr_eq(&crew.version, version) && crew.serves(candidates);
        if let Some(crew) = known.iter().flatten().find(same) {
            return Ok((*crew).clone());
        }
        house.crew(version, kind::BALANCER, candidates).map_err(|error| {
            let name = config.plugins.get(index).map_or("", |plugin| &plugin.name);
            let (what, error) = error.of_key();
            problem_with(config, None, &format!("plugin.{name}.{what}"), format!("for pool {:?}: {error}", pool.name))
        })
    };
    let trying = match &deployed.trial {
        Some(trial) => Some(Trying { trial: trial.clone(), crew: crew(&trial.candidate)? }),
        None => None,
    };
    Ok((Some(crew(&deployed.version)?), trying))
}

/// What a balancer without a pool is configured with: a pool has one endpoint at least.
fn some_endpoint() -> Candidate {
    let model = model::Endpoint { address: "192.0.2.1:80".to_owned(), weight: 1 };
    let endpoint = Arc::new(Endpoint::new(&model, None));
    Candidate::of(endpoint)
}

/// The kinds that a plugin is used as.
fn wanted(index: usize, config: &Config) -> u32 {
    let mut kinds = 0;
    for pool in &config.pools {
        kinds |= if pool.balancer == Some(index) { kind::BALANCER } else { 0 };
    }
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
