//! What a plugin costs by the call, WebAssembly beside native: `cargo bench --bench plugin`, or with the names of some cases.
//!
//! For tools that count instructions, `-- --list` prints the cases in each form, as WebAssembly with the module;
//! `-- --count CASE CALLS [MODULE]` makes that many calls and says nothing.

// It ends at what is wrong, and its arithmetic is of small numbers.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatewright::balance::{Candidate, Endpoint};
use gatewright::config::model;
use gatewright::http::Fields;
use gatewright::plugin::request::{Edit, Head, Side, What};
use gatewright::plugin::{Budget, Compiler, Decision, Engine, Instance, Mould, Native, Outcome, Runner, Services};
use gatewright_sdk::native::Plugin;

// Tests need more of it.
#[allow(dead_code)]
#[path = "../../tests/harness/guests.rs"]
mod guests;

/// One row of the table.
struct Case {
    name: &'static str,
    /// The package of the plugin; none for a module that does nothing.
    package: Option<&'static str>,
    native: Option<fn() -> Plugin>,
    config: &'static str,
    kinds: u32,
    endpoints: usize,
    call: Call,
    /// At most so many nanoseconds as WebAssembly.
    goal: Option<f64>,
}

#[derive(Clone, Copy)]
enum Call {
    Pick,
    /// A pick, and what a request changes in the statistics: one more under way, an outcome, one less.
    Served,
    Outcome,
    Filter,
    /// Other endpoints: tables are made anew.
    Change,
}

const BALANCER: u32 = 1;
const FILTER: u32 = 4;
const P2C: Case = Case {
    name: "",
    package: Some("gatewright-plugin-p2c"),
    native: Some(gatewright_plugin_p2c::plugin),
    config: "{}",
    kinds: BALANCER,
    endpoints: 10,
    call: Call::Pick,
    goal: None,
};
const BY_USER: Case = Case { package: Some("bench-guest"), native: Some(bench_guest::plugin), ..P2C };

const SERVED: Case = Case { call: Call::Served, ..P2C };

const CASES: &[Case] = &[
    Case { name: "nothing", package: None, native: None, ..P2C },
    Case { name: "p2c-10", goal: Some(30.0), ..P2C },
    Case { name: "p2c-100", endpoints: 100, ..P2C },
    Case {
        name: "scan-100",
        package: Some("fastest"),
        native: Some(fastest::plugin),
        config: r#"{"spare": 10}"#,
        endpoints: 100,
        goal: Some(200.0),
        ..P2C
    },
    Case { name: "hash-header", goal: Some(150.0), ..BY_USER },
    Case { name: "served-3", endpoints: 3, ..SERVED },
    Case { name: "served-10", endpoints: 10, ..SERVED },
    Case { name: "served-30", endpoints: 30, ..SERVED },
    Case { name: "served-100", endpoints: 100, ..SERVED },
    Case { name: "served-1000", endpoints: 1000, ..SERVED },
    Case { name: "served-10000", endpoints: 10_000, ..SERVED },
    Case { name: "outcome", call: Call::Outcome, goal: Some(40.0), ..BY_USER },
    Case { name: "outcome-empty", call: Call::Outcome, ..P2C },
    Case { name: "filter", call: Call::Filter, kinds: FILTER, ..BY_USER },
];

const CHANGED: Case = Case { call: Call::Change, endpoints: 10_000, ..P2C };
const MAGLEV: Case =
    Case { package: Some("gatewright-plugin-maglev"), native: Some(gatewright_plugin_maglev::plugin), ..CHANGED };
const RING: Case =
    Case { package: Some("gatewright-plugin-ring"), native: Some(gatewright_plugin_ring::plugin), ..CHANGED };

/// What takes longer than a decision may; nobody counts its instructions.
const SLOW: &[Case] = &[
    Case { name: "change-p2c-10000", ..CHANGED },
    Case { name: "change-maglev-100", endpoints: 100, ..MAGLEV },
    Case { name: "change-maglev-1000", endpoints: 1000, ..MAGLEV },
    Case { name: "change-maglev-10000", ..MAGLEV },
    Case { name: "change-ring-10000", ..RING },
    Case { name: "maglev-10000", call: Call::Pick, ..MAGLEV },
    Case { name: "ring-10000", call: Call::Pick, ..RING },
];

/// As much of a request as the calls look at, in the gateway's own form.
struct Request {
    fields: Fields,
}

impl Request {
    fn new() -> Request {
        let mut fields = Fields::new();
        for (name, value) in [
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"),
            ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("accept-language", "en-US,en;q=0.5"),
            ("accept-encoding", "gzip, deflate, br"),
            ("cookie", "session=0123456789abcdef; theme=dark"),
            ("x-user", "user-4711"),
            ("via", "1.1 gatewright"),
            ("x-forwarded-for", "192.0.2.1"),
        ] {
            fields.append(name, value.as_bytes()).unwrap();
        }
        Request { fields }
    }
}

impl Head for Request {
    fn read(&self, what: What<'_>, reader: &mut dyn FnMut(&[u8])) -> bool {
        let What::Header(Side::Request, name) = what else { return false };
        std::str::from_utf8(name).ok().and_then(|name| self.fields.value(name)).map(reader).is_some()
    }
    fn each_header(&self, _: Side, _: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        false
    }
    fn status(&self) -> Option<u16> {
        None
    }
    fn allows(&self, _: &Edit<'_>) -> bool {
        true
    }
}

/// A balancer that takes the first endpoint, whatever there is: what the boundary itself costs.
const NOTHING: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "gw_abi_1"))
    (func (export "gw_alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "gw_free") (param i32 i32))
    (func (export "gw_configure") (param i32 i32 i32) (result i64) (i64.const 0))
    (func (export "gw_table") (result i32) (i32.const 64))
    (func (export "gw_pick") (param i32) (result i64) (i64.const 0)))"#;

/// Where modules and compiled code are kept.
const LAB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench/plugins");

/// Runs cases. No call is ever over its time here, however slow the tool that counts makes it.
struct Bench {
    engine: Arc<Engine>,
    compiler: Compiler,
    budget: Budget,
    services: Arc<Services>,
    request: Request,
}

impl Bench {
    fn new() -> Bench {
        let engine = Arc::new(Engine::new().unwrap());
        let compiler = Compiler::new(engine.clone(), Some(&Path::new(LAB).join("compiled"))).unwrap();
        let hour = Duration::from_secs(3600);
        let budget = Budget { decision: hour, configure: hour, memory: 64 << 20 };
        Bench { engine, compiler, budget, services: Arc::new(Services::new("bench")), request: Request::new() }
    }

    fn mould<'a>(&'a self, case: &Case, endpoints: &'a [Candidate]) -> Mould<'a> {
        let (services, budget) = (&self.services, self.budget);
        Mould { services, budget, kinds: case.kinds, config: case.config, endpoints, seed: 1 }
    }

    fn native(&self, case: &Case, endpoints: &[Candidate]) -> Option<Runner> {
        let plugin = case.native?();
        Some(Runner::Native(Box::new(Native::new(&plugin, &self.mould(case, endpoints)).unwrap())))
    }

    fn wasm(&self, case: &Case, endpoints: &[Candidate], module: &Path) -> Runner {
        let compiled = self.compiler.compile(&std::fs::read(module).unwrap(), self.budget.memory).unwrap();
        Runner::Wasm(Box::new(Instance::new(&compiled, &self.engine, &self.mould(case, endpoints)).unwrap()))
    }

    fn run(&self, case: &Case, runner: &mut Runner, endpoints: &[Candidate], calls: u64) {
        let latency = Duration::from_millis(1);
        let outcome = Outcome { endpoint: 1, status: 200, attempt: 0, latency, bytes: 1 };
        for _ in 0..calls {
            match case.call {
                Call::Pick => drop(black_box(runner.pick(&self.request, endpoints, &[], 0).unwrap())),
                Call::Served => {
                    let picked = black_box(runner.pick(&self.request, endpoints, &[], 0).unwrap());
                    let Decision::Endpoint(index) = picked else { continue };
                    let active = endpoints[index].endpoint.begin();
                    endpoints[index].endpoint.stats.record(Some(latency), false, Duration::ZERO);
                    drop(active);
                }
                Call::Outcome => runner.outcome(black_box(&outcome), endpoints).unwrap(),
                Call::Filter => drop(black_box(runner.on_request(&self.request).unwrap())),
                Call::Change => drop(black_box(runner.change_endpoints(endpoints).unwrap())),
            }
        }
    }

    /// Nanoseconds of a call, native and as WebAssembly, in turns. The best of many short rounds is what the calls cost; the
    /// rest is what else the machine did.
    fn time(&self, case: &Case) -> [Option<f64>; 2] {
        let (rounds, calls) = if matches!(case.call, Call::Change) { (20, 1) } else { (100, 20_000) };
        let endpoints = endpoints(case.endpoints);
        let mut runners = [self.native(case, &endpoints), Some(self.wasm(case, &endpoints, &module(case)))];
        let mut best = [None; 2];
        for _ in 0..rounds {
            for (runner, best) in runners.iter_mut().zip(&mut best) {
                let Some(runner) = runner else { continue };
                let began = Instant::now();
                self.run(case, runner, &endpoints, calls);
                let spent = began.elapsed().as_nanos() as f64 / calls as f64;
                *best = Some(best.map_or(spent, |best: f64| best.min(spent)));
            }
        }
        best
    }
}

/// A case's module, built if need be.
fn module(case: &Case) -> PathBuf {
    let Some(package) = case.package else {
        let path = Path::new(LAB).join("nothing.wasm");
        std::fs::create_dir_all(LAB).unwrap();
        std::fs::write(&path, wat::parse_str(NOTHING).unwrap()).unwrap();
        return path;
    };
    guests::wasm(package)
}

/// As busy as they are in a gateway: none like the next.
fn endpoints(count: usize) -> Vec<Candidate> {
    let changes = Arc::default();
    let endpoint = |index: usize| {
        let model = model::Endpoint { address: format!("127.0.0.1:{}", 1000 + index), weight: 1 };
        let endpoint = Arc::new(Endpoint::followed(&model, None, &changes));
        endpoint.stats.record(Some(Duration::from_micros(500 + 37 * (index as u64 * 7 % 11))), false, Duration::ZERO);
        // What is under way stays so.
        (0..index % 4).for_each(|_| std::mem::forget(endpoint.begin()));
        Candidate::of(endpoint)
    };
    (0..count).map(endpoint).collect()
}

fn table(cases: &[&Case]) {
    let bench = Bench::new();
    println!("{:19} {:>10} {:>10} {:>7} {:>10}", "a call of", "native", "wasm", "ratio", "goal");
    let ns = |ns: Option<f64>| match ns {
        None => String::new(),
        Some(ns) if ns >= 1e5 => format!("{:.2} ms", ns / 1e6),
        Some(ns) => format!("{ns:.1} ns"),
    };
    for case in cases {
        let [native, wasm] = bench.time(case);
        let ratio = native.zip(wasm).map_or_else(String::new, |(native, wasm)| format!("{:.1}", wasm / native));
        let verdict = match (wasm, case.goal) {
            (Some(wasm), Some(goal)) if wasm <= goal => "reached",
            (Some(_), Some(_)) => "MISSED",
            _ => "",
        };
        println!("{:19} {:>10} {:>10} {ratio:>7} {:>10} {verdict}", case.name, ns(native), ns(wasm), ns(case.goal));
    }
}

fn list() {
    for case in CASES {
        if case.native.is_some() {
            println!("{} native", case.name);
        }
        println!("{} wasm {}", case.name, module(case).display());
    }
}

fn count(name: &str, calls: u64, module: Option<&Path>) {
    let case = CASES.iter().find(|case| case.name == name).expect("the name of a case");
    let (bench, endpoints) = (Bench::new(), endpoints(case.endpoints));
    let mut runner = match module {
        Some(module) => bench.wasm(case, &endpoints, module),
        None => bench.native(case, &endpoints).expect("a form that the case has"),
    };
    bench.run(case, &mut runner, &endpoints, calls);
}

fn main() {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => list(),
        ["--count", case, calls] => count(case, calls.parse().expect("a number"), None),
        ["--count", case, calls, module] => count(case, calls.parse().expect("a number"), Some(Path::new(module))),
        ref names => {
            let named = |case: &&Case| names.is_empty() || names.contains(&case.name);
            table(&CASES.iter().chain(SLOW).filter(named).collect::<Vec<_>>());
        }
    }
}
