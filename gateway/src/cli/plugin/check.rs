//! What a module is, whether it fits, and whether it does something.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatewright_abi::export;

use super::inspect::describe;
use super::replay;
use super::sample::{self, Sample};
use crate::balance::Candidate;
use crate::cli::{Failure, print};
use crate::config::model::{self, Plugin};
use crate::limits::Limits;
use crate::plugin::{Budget, Compiled, Compiler, Decision, Engine, Fault, Instance, MODULE_SIZE, Mould, Services};

/// Calls of a dry run.
const CALLS: usize = 1000;
/// A request that nobody made.
const SAMPLE: Sample = Sample { answered: false };
/// The same with its response.
const ANSWERED: Sample = Sample { answered: true };
/// Endpoints of a dry run.
const ENDPOINTS: u16 = 3;

/// Prints what a module is, configures it, and calls it.
pub(super) fn check(file: &Path, config: &str, most: Duration) -> Result<(), Failure> {
    is_object(config)?;
    // What plugins log stands beside what is printed here. Somebody else may have begun to log already.
    let _ = crate::cli::log::start(&model::Log::default());
    let (engine, compiled) = compile(file, most)?;
    describe(file, &compiled)?;
    let endpoints = sample::endpoints(ENDPOINTS);
    let services = Arc::new(Services::new("check"));
    let kinds = compiled.interface.kinds;
    let mould = Mould { services: &services, budget: budget(), kinds, config, endpoints: &endpoints, seed: 1 };
    let mut instance = Instance::new(&compiled, &engine, &mould)?;
    for name in [export::PICK, export::ROUTE, export::ON_REQUEST, export::ON_RESPONSE, export::ON_FETCH] {
        if !compiled.interface.exports.contains(&name) {
            continue;
        }
        let said = name.strip_prefix("gw_").unwrap_or(name);
        let mut times = Vec::with_capacity(CALLS);
        let mut last = Decision::Continue;
        for _ in 0..CALLS {
            let began = Instant::now();
            last = call(&mut instance, name, &endpoints).map_err(|fault| format!("{said}: {fault}"))?;
            times.push(began.elapsed());
        }
        if !instance.cares(name) {
            continue;
        }
        times.sort_unstable();
        let median = times.get(CALLS / 2).copied().unwrap_or_default();
        let wanted: String = replay::changes(instance.edits()).map(|change| format!("; {change}")).collect();
        print(format_args!(
            "  {said}: {CALLS} calls, {} ns each in the middle; the last: {}{wanted}",
            median.as_nanos(),
            replay::words(&last)
        ))?;
    }
    Ok(())
}

/// Whether this can be a configuration.
pub(super) fn is_object(config: &str) -> Result<(), Failure> {
    let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(config);
    object.map(drop).map_err(|error| Failure(format!("--config is no JSON object: {error}")))
}

fn call(instance: &mut Instance, name: &str, endpoints: &[Candidate]) -> Result<Decision, Fault> {
    match name {
        export::PICK => instance.pick(&SAMPLE, endpoints, &[], 0),
        export::ROUTE => instance.route(&SAMPLE),
        export::ON_REQUEST => instance.on_request(&SAMPLE),
        export::ON_RESPONSE => instance.on_response(&ANSWERED),
        _ => instance.on_fetch(&ANSWERED),
    }
}

/// The bounds that a plugin has unless it is configured otherwise.
pub(super) fn budget() -> Budget {
    Budget { decision: Plugin::DEADLINE, configure: Plugin::CONFIGURE_TIME, memory: Plugin::MEMORY_SIZE }
}

/// A module, and an engine for it. Its compiling is waited for so long.
pub(super) fn compile(file: &Path, most: Duration) -> Result<(Arc<Engine>, Arc<Compiled>), Failure> {
    let told = |error: &dyn std::fmt::Display| Failure(format!("{}: {error}", file.display()));
    let bytes = read(file)?;
    let engine = Arc::new(Engine::new()?);
    let compiler = Arc::new(Compiler::new(engine.clone(), None)?);
    let compiled = compiler.compile_within(most, bytes, Plugin::MEMORY_SIZE).map_err(|error| told(&error))?;
    Ok((engine, compiled))
}

/// How long a gateway waits for that, unless it is configured otherwise.
pub(super) fn usual() -> Duration {
    Limits::default().plugin_compile_time
}

/// The bytes of a module.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let wrong = |error: String| Failure(format!("{}: {error}", file.display()));
    let mut module = Vec::new();
    let open = std::fs::File::open(file).map_err(|error| wrong(error.to_string()))?;
    // One more than is taken, so that too large a module is seen to be one: what a device gives has no end.
    open.take(MODULE_SIZE + 1).read_to_end(&mut module).map_err(|error| wrong(error.to_string()))?;
    if module.len() as u64 > MODULE_SIZE {
        return Err(wrong(format!("has more than the {MODULE_SIZE} bytes that a module may have")));
    }
    Ok(module)
}
