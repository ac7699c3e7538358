//! A balancer that is put to the test: where it comes from, and that it can be started at all.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gatewright_abi::kind;

use crate::config::model;
use crate::config::problem::suggestion;
use crate::limits::Limits;
use crate::plugin::{self, Budget, Code, Compiler, Engine, MODULE_SIZE};
use crate::stock;

/// A balancer, compiled.
pub struct Contender {
    /// What it is called in reports.
    pub name: String,
    /// The begin of its module's hash, or `builtin:NAME`.
    pub version: String,
    /// Its configuration, JSON.
    pub config: String,
    pub(super) code: Code,
}

/// Where balancers are compiled.
pub struct Arena {
    pub(super) engine: Arc<Engine>,
    compiler: Arc<Compiler>,
    /// How long compiling one is waited for.
    patience: Duration,
}

/// What a plugin may take, as a gateway gives it that says nothing else.
pub(super) const BUDGET: Budget = Budget {
    decision: model::Plugin::DEADLINE,
    configure: model::Plugin::CONFIGURE_TIME,
    memory: model::Plugin::MEMORY_SIZE,
};

/// What names a built-in.
const BUILT_IN: &str = "builtin:";

impl Arena {
    /// An engine that nobody else uses.
    pub fn new() -> Result<Arena, String> {
        let engine = Arc::new(Engine::new().map_err(|error| error.to_string())?);
        let compiler = Compiler::new(engine.clone(), None).map_err(|error| error.to_string())?;
        Ok(Arena { engine, compiler: Arc::new(compiler), patience: Limits::default().plugin_compile_time })
    }

    /// The same, which waits so long for the compiling of one module.
    pub fn patient(self, patience: Duration) -> Arena {
        Arena { patience, ..self }
    }

    /// The balancer of a file, or `builtin:NAME`.
    pub fn contender(&self, source: &str, config: &str) -> Result<Contender, String> {
        let (name, code) = match source.strip_prefix(BUILT_IN) {
            Some(name) => (name.to_owned(), built_in(name)?),
            None => {
                let path = Path::new(source);
                let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
                (name, self.module(path).map_err(|error| format!("{source}: {error}"))?)
            }
        };
        if code.kinds() & kind::BALANCER == 0 {
            return Err(format!("{source}: it is no balancer"));
        }
        Ok(Contender { name, version: code.name(), config: config.to_owned(), code })
    }

    fn module(&self, path: &Path) -> Result<Code, String> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
        // One more than is taken, so that too large a module is seen to be one.
        file.take(MODULE_SIZE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        let compiled = self.compiler.compile_within(self.patience, bytes, BUDGET.memory);
        let compiled = compiled.map_err(|error| error.to_string())?;
        Ok(Code::Wasm(compiled))
    }
}

/// The names of all that are linked in, as they are written here.
pub fn built_ins() -> Vec<String> {
    stock::balancers().map(|name| format!("{BUILT_IN}{name}")).collect()
}

/// Whether this names one that is linked in.
pub fn is_built_in(source: &str) -> bool {
    source.starts_with(BUILT_IN)
}

fn built_in(name: &str) -> Result<Code, String> {
    plugin::built_in(name).ok_or_else(|| {
        let names: Vec<&str> = stock::balancers().collect();
        let meant = suggestion(name, names.iter().copied());
        format!("there is no built-in {name:?}{meant}; there are {}", names.join(", "))
    })
}

/// Gives contenders of the same name names that differ.
pub fn tell_apart(contenders: &mut [Contender]) {
    let names: Vec<String> = contenders.iter().map(|one| one.name.clone()).collect();
    for (at, one) in contenders.iter_mut().enumerate() {
        let same = |name: &&String| **name == one.name;
        let before = names.iter().take(at).filter(same).count();
        if names.iter().filter(same).count() > 1 {
            one.name = match &one.code {
                Code::BuiltIn(..) => format!("{BUILT_IN}{}", one.name),
                Code::Wasm(_) if before > 0 => format!("{} {}", one.name, before + 1),
                Code::Wasm(_) => one.name.clone(),
            };
        }
    }
}
