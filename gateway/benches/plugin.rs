//! What a plugin costs by the call, native beside WebAssembly: `cargo bench --bench plugin -- FILE.wasm…`

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatewright::balance::{Candidate, Endpoint};
use gatewright::config::model;
use gatewright::plugin::request::{Edit, Head, Side, What};
use gatewright::plugin::{Budget, Compiler, Engine, Instance, Mould, Outcome, Services};

struct Request;

impl Head for Request {
    fn read(&self, what: What<'_>, reader: &mut dyn FnMut(&[u8])) -> bool {
        let value: &[u8] = match what {
            What::Header(Side::Request, b"x-user") => b"user-4711",
            _ => return false,
        };
        reader(value);
        true
    }
    fn each_header(&self, _: Side, _: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        true
    }
    fn status(&self) -> Option<u16> {
        None
    }
    fn allows(&self, _: &Edit<'_>) -> bool {
        true
    }
}

fn endpoints(count: usize) -> Vec<Candidate> {
    let endpoint = |index| {
        let model = model::Endpoint { address: format!("127.0.0.1:{}", 1000 + index), weight: 1 };
        Candidate {
            endpoint: Arc::new(Endpoint::new(&model, None)),
            weight: 1,
            priority: 0,
            zone: String::new(),
            metadata: Vec::new(),
        }
    };
    (0..count).map(endpoint).collect()
}

fn time(name: &str, mut call: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..20 {
        let began = Instant::now();
        for _ in 0..100_000 {
            call();
        }
        best = best.min(began.elapsed().as_nanos() as f64 / 100_000.0);
    }
    println!("{name:50} {best:8.1} ns");
}

fn main() {
    let engine = Arc::new(Engine::new().expect("an engine"));
    let compiler = Compiler::new(engine.clone(), None).expect("a compiler");
    let budget = Budget { decision: Duration::from_millis(2), configure: Duration::from_secs(1), memory: 64 << 20 };
    for file in std::env::args().skip(1).filter(|argument| argument.ends_with(".wasm")) {
        let bytes = std::fs::read(&file).expect("a module");
        let compiled = compiler.compile(&bytes, budget.memory).expect("a plugin");
        println!("{file}: {:?}", compiled.interface.imports);
        for count in [3, 10, 30, 100, 300] {
            let endpoints = endpoints(count);
            let services = Arc::new(Services::new("bench"));
            let mould = Mould {
                services: &services,
                budget,
                kinds: 1,
                config: "{\"spare\": 10}",
                endpoints: &endpoints,
                seed: 1,
            };
            let mut instance = Instance::new(&compiled, &engine, &mould).expect("an instance");
            time(&format!("pick of {count}"), || {
                black_box(instance.pick(&Request, &endpoints, &[], 0)).expect("a pick");
            });
            let outcome = Outcome { endpoint: 1, status: 200, attempt: 0, latency: Duration::from_millis(1), bytes: 1 };
            time(&format!("outcome of {count}"), || instance.outcome(black_box(&outcome)).expect("taken"));
        }
    }
}
