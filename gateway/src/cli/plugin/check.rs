//! What a module is, whether it fits, and whether it does something.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatewright_abi::{kind, text};

use super::replay;
use crate::balance::{Candidate, Endpoint};
use crate::cli::Failure;
use crate::config::model::{self, Plugin};
use crate::plugin::request::{Edit, Head, Side, What};
use crate::plugin::{Budget, Compiled, Compiler, Decision, Engine, Fault, Instance, MODULE_SIZE, Mould, Services};

/// Calls of a dry run.
const CALLS: usize = 1000;
/// Endpoints of a dry run.
const ENDPOINTS: u16 = 3;

/// Prints what a module is.
pub(super) fn inspect(file: &Path) -> Result<(), Failure> {
    let (_, compiled) = compile(file)?;
    describe(file, &compiled);
    Ok(())
}

/// Prints what a module is, configures it, and calls it.
pub(super) fn check(file: &Path, config: &str) -> Result<(), Failure> {
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(config)
        .map_err(|error| format!("--config is no JSON object: {error}"))?;
    // What plugins log stands beside what is printed here. Somebody else may have begun to log already.
    let _ = crate::cli::log::start(&model::Log::default());
    let (engine, compiled) = compile(file)?;
    describe(file, &compiled);
    let endpoints = endpoints();
    let services = Arc::new(Services::new("check"));
    let kinds = compiled.interface.kinds;
    let mould = Mould { services: &services, budget: budget(), kinds, config, endpoints: &endpoints, seed: 1 };
    let mut instance = Instance::new(&compiled, &engine, &mould)?;
    let names = [(kind::BALANCER, "pick"), (kind::ROUTER, "route"), (kind::FILTER, "filter")];
    for (_, name) in names.into_iter().filter(|(kind, _)| kinds & kind != 0) {
        let mut times = Vec::with_capacity(CALLS);
        let mut last = Decision::Continue;
        for _ in 0..CALLS {
            let began = Instant::now();
            last = call(&mut instance, name, &endpoints).map_err(|fault| format!("{name}: {fault}"))?;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        let median = times.get(CALLS / 2).copied().unwrap_or_default();
        println!(
            "  {name}: {CALLS} calls, {} ns each in the middle; the last: {}",
            median.as_nanos(),
            replay::words(&last)
        );
    }
    Ok(())
}

fn call(instance: &mut Instance, name: &str, endpoints: &[Candidate]) -> Result<Decision, Fault> {
    match name {
        "pick" => instance.pick(&Sample, endpoints, &[], 0),
        "route" => instance.route(&Sample),
        _ => instance.on_request(&Sample),
    }
}

/// The bounds that a plugin has unless it is configured otherwise.
pub(super) fn budget() -> Budget {
    Budget { decision: Plugin::DEADLINE, configure: Plugin::CONFIGURE_TIME, memory: Plugin::MEMORY_SIZE }
}

/// A module, and an engine for it.
pub(super) fn compile(file: &Path) -> Result<(Arc<Engine>, Compiled), Failure> {
    let told = |error: &dyn std::fmt::Display| Failure(format!("{}: {error}", file.display()));
    let size = std::fs::metadata(file).map_err(|error| told(&error))?.len();
    if size > MODULE_SIZE {
        return Err(told(&format!("it has {size} bytes; at most {MODULE_SIZE} are taken")));
    }
    let bytes = std::fs::read(file).map_err(|error| told(&error))?;
    let engine = Arc::new(Engine::new()?);
    let compiler = Compiler::new(engine.clone(), None)?;
    let compiled = compiler.compile(&bytes, Plugin::MEMORY_SIZE).map_err(|error| told(&error))?;
    Ok((engine, compiled))
}

fn describe(file: &Path, compiled: &Compiled) {
    let interface = &compiled.interface;
    let names = [(kind::BALANCER, "balancer"), (kind::ROUTER, "router"), (kind::FILTER, "filter")];
    let kinds: Vec<&str> =
        names.iter().filter(|(kind, _)| interface.kinds & kind != 0).map(|(_, name)| *name).collect();
    println!(
        "{}: {}, {} KiB, begins with {} KiB of memory",
        file.display(),
        kinds.join(", "),
        compiled.size.div_ceil(1024),
        interface.memory / 1024
    );
    println!("  sha256: {}", compiled.digest);
    if !interface.columns.is_empty() {
        let columns: Vec<&str> = interface.columns.iter().map(|column| column.name()).collect();
        println!("  reads of endpoints: {}", columns.join(", "));
    }
    let imports: Vec<&str> =
        interface.imports.iter().map(String::as_str).filter(|name| !name.starts_with("column_")).collect();
    if !imports.is_empty() {
        println!("  imports: {}", imports.join(", "));
    }
    println!("  exports: {}", interface.exports.join(", "));
}

fn endpoints() -> Vec<Candidate> {
    let endpoint = |number: u16| {
        let model = model::Endpoint { address: format!("192.0.2.{number}:80"), weight: 1 };
        let endpoint = Arc::new(Endpoint::new(&model, None));
        endpoint.stats.record(Some(Duration::from_millis(number.into())), false, Duration::ZERO);
        Candidate { endpoint, weight: 1, priority: 0, zone: String::new(), metadata: Vec::new() }
    };
    (1..=ENDPOINTS).map(endpoint).collect()
}

/// A request that nobody made.
struct Sample;

impl Head for Sample {
    fn read(&self, what: What<'_>, reader: &mut dyn FnMut(&[u8])) -> bool {
        let client = IpAddr::from([192, 0, 2, 100]).to_string();
        let value = match what {
            What::Text(text::METHOD) => "GET",
            What::Text(text::SCHEME) => "https",
            What::Text(text::AUTHORITY) | What::Header(Side::Request, b"host") => "shop.example",
            What::Text(text::PATH) => "/",
            What::Text(text::PROTOCOL) => "HTTP/2",
            What::Text(text::CLIENT) => &client,
            _ => return false,
        };
        reader(value.as_bytes());
        true
    }

    fn each_header(&self, side: Side, reader: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        if side == Side::Request {
            reader(b"host", b"shop.example");
        }
        side == Side::Request
    }

    fn status(&self) -> Option<u16> {
        None
    }

    fn allows(&self, _: &Edit<'_>) -> bool {
        true
    }
}
