//! The plugins of one gateway: where they are compiled, where their instances are made, and what outlives a configuration.
//!
//! In: modules and what they are for. Out: versions and crews. The engine and its threads begin with the first plugin that
//! is no built-in: who uses none does not pay for them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::mpsc;

use super::compile::Compiler;
use super::crew::{Crew, Requests, Want};
use super::engine::Engine;
use super::fault::LoadError;
use super::instance::Budget;
use super::makers::Makers;
use super::version::{Code, Plugin, Version};
use crate::balance::Candidate;
use crate::stock;

/// The plugins of one gateway.
pub struct House {
    /// How many instances a crew has: one for each worker.
    workers: usize,
    cache: Option<PathBuf>,
    engine: OnceLock<Arc<Engine>>,
    compiler: OnceLock<Arc<Compiler>>,
    plugins: Mutex<HashMap<String, Arc<Plugin>>>,
    requests: Requests,
}

/// A plugin that is linked in.
pub fn built_in(name: &str) -> Option<Code> {
    let (name, plugin) = stock::all().find(|(known, _)| *known == name)?;
    Some(Code::BuiltIn(name, plugin()))
}

impl House {
    /// For so many workers; compiled modules are kept in the folder. `unfit` is told of versions that are not called any more.
    pub fn new(
        workers: usize,
        cache: Option<PathBuf>,
        unfit: impl Fn(Arc<Version>) + Send + 'static,
    ) -> std::io::Result<House> {
        let (requests, mut wants) = mpsc::unbounded_channel();
        let keep = move || {
            let makers = Makers::default();
            // Does nothing that takes long: what failed is not called any more, and something else is to take its place.
            while let Some(want) = wants.blocking_recv() {
                match want {
                    Want::Quarantined(version) => unfit(version),
                    Want::Nothing(instance) => drop(instance),
                    Want::Instance(missing) => {
                        // Whoever wanted it may be gone, also by the time when it is made.
                        let _ = missing.plugin().map(|name| makers.want(&name, move || missing.make()));
                    }
                }
            }
        };
        std::thread::Builder::new().name("plugins".into()).spawn(keep)?;
        let (engine, compiler, plugins) = (OnceLock::new(), OnceLock::new(), Mutex::default());
        Ok(House { workers, cache, engine, compiler, plugins, requests })
    }

    /// What all versions of a plugin share.
    pub fn plugin(&self, name: &str) -> Arc<Plugin> {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.entry(name.to_owned()).or_insert_with(|| Arc::new(Plugin::new(name))).clone()
    }

    /// All plugins that there ever were, for those who count.
    pub fn plugins(&self) -> Vec<Arc<Plugin>> {
        let mut all: Vec<_> = self.plugins.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        all.sort_by(|one, other| one.name().cmp(other.name()));
        all
    }

    /// Compiles a module.
    pub fn compile(&self, bytes: &[u8], memory: u64) -> Result<Code, LoadError> {
        self.compiler()?.compile(bytes, memory).map(Code::Wasm)
    }

    /// Who compiles, also for those who cannot wait here until it is done.
    pub fn compiler(&self) -> Result<Arc<Compiler>, LoadError> {
        if self.compiler.get().is_none() {
            let compiler = Compiler::new(self.engine()?.clone(), self.cache.as_deref())?;
            // Two who come at once make two of them, and one stays.
            let _ = self.compiler.set(Arc::new(compiler));
        }
        self.compiler.get().cloned().ok_or_else(|| LoadError::Engine("no compiler".to_owned()))
    }

    /// Makes a version of a plugin.
    pub fn version(&self, name: &str, code: Code, config: &str, budget: Budget) -> Arc<Version> {
        Arc::new(Version::new(self.plugin(name), code, config.to_owned(), budget))
    }

    /// Makes the instances of a version for one task, one for each worker.
    pub fn crew(&self, version: &Arc<Version>, kinds: u32, endpoints: &[Candidate]) -> Result<Arc<Crew>, LoadError> {
        let engine = self.engine()?;
        let seed = fastrand::u64(..);
        Crew::assemble(version.clone(), kinds, endpoints.to_vec(), self.workers, engine, &self.requests, seed)
    }

    /// Makes one instance of a version that nothing uses, and forgets it: whether it could be used, with such endpoints.
    pub fn rehearse(&self, version: &Arc<Version>, endpoints: &[Candidate]) -> Result<(), LoadError> {
        let (kinds, engine) = (version.code.kinds(), self.engine()?);
        Crew::assemble(version.clone(), kinds, endpoints.to_vec(), 1, engine, &self.requests, 0).map(drop)
    }

    /// For how many workers.
    pub fn workers(&self) -> usize {
        self.workers
    }

    fn engine(&self) -> Result<&Arc<Engine>, LoadError> {
        if self.engine.get().is_none() {
            let _ = self.engine.set(Arc::new(Engine::new()?));
        }
        self.engine.get().ok_or_else(|| LoadError::Engine("no engine".to_owned()))
    }
}
