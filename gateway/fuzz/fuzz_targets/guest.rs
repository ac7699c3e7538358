//! What plugins say, of any kind: a real instance whose every word comes from the input.
//!
//! One module, compiled once, is an interpreter: the input is handed to it as state, and in each call it goes on reading there which
//! import to call with which numbers, what to put into its memory, and what to return. A second instance begins with what
//! the first left in slots: where its table is, where it wants things lent, what it says of its configuration. Numbers are
//! mostly small, so that addresses and lengths often fit. Whatever comes of it, decisions that pass name endpoints that are
//! there, texts and edits keep to their bounds, and nothing panics.

#![no_main]

use std::fmt::Write;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use gatewright::balance::{Candidate, Endpoint, HOME};
use gatewright::config::model;
use gatewright::plugin::request::{Edit, Head, Side, What, Wish};
use gatewright::plugin::{Budget, Compiled, Compiler, Decision, Engine, Instance, Mould, Outcome, Services};
use gatewright_abi::{Column, IMPORT_MODULE, IMPORTS, Wasm, bound, kind};
use libfuzzer_sys::fuzz_target;

/// Endpoints to pick from.
const ENDPOINTS: usize = 3;
/// More would only be read more slowly.
const INPUT: usize = 8 << 10;
const BUDGET: Budget =
    Budget { decision: Duration::from_millis(200), configure: Duration::from_millis(500), memory: 1 << 20 };

/// The host and its one module.
struct Bench {
    compiler: Compiler,
    compiled: Arc<Compiled>,
    endpoints: Vec<Candidate>,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let compiler = Compiler::new(Arc::new(Engine::new().expect("an engine")), None).expect("a compiler");
    let module = wat::parse_str(interpreter()).expect("a module");
    let compiled = compiler.compile(&module, BUDGET.memory).expect("a plugin");
    let endpoint = |index: usize| {
        let model = model::Endpoint { address: format!("127.0.0.1:{}", 9000 + index), weight: 1 };
        Candidate {
            endpoint: Arc::new(Endpoint::new(&model, None)),
            weight: 1,
            priority: 0,
            zone: "zone".to_owned(),
            place: HOME,
            drain: false,
            metadata: vec![("rack".to_owned(), index.to_string())],
        }
    };
    Bench { compiler, compiled, endpoints: (0..ENDPOINTS).map(endpoint).collect() }
});

/// The guest, in the text format. All imports that there are, by their table.
fn interpreter() -> String {
    let (mut imports, mut cases) = (String::new(), String::new());
    let columns = Column::ALL.iter().map(|column| (column.import(), &[][..], Some(Wasm::I32)));
    let functions = IMPORTS.iter().map(|import| (import.name, import.takes, import.gives));
    let mut count = 0;
    for (name, takes, gives) in functions.chain(columns) {
        let (mut types, mut arguments) = (String::new(), String::new());
        for wasm in takes {
            let (word, read) = match wasm {
                Wasm::I32 => ("i32", "$small"),
                Wasm::I64 => ("i64", "$wide"),
                Wasm::F64 => ("f64", "$real"),
            };
            let _ = write!(types, " (param {word})");
            let _ = write!(arguments, " (call {read})");
        }
        let result = match &gives {
            Some(Wasm::I32) => " (result i32)",
            Some(Wasm::I64) => " (result i64)",
            Some(Wasm::F64) => " (result f64)",
            None => "",
        };
        let _ = writeln!(imports, "(import \"{IMPORT_MODULE}\" \"{name}\" (func $f{count}{types}{result}))");
        let call = format!("(call $f{count}{arguments})");
        let call = if gives.is_some() { format!("(drop {call})") } else { call };
        let _ = writeln!(cases, "(if (i32.eq (local.get $op) (i32.const {count})) (then {call} (br $next)))");
        count += 1;
    }
    let load = IMPORTS.iter().position(|import| import.name == "slot_load").expect("an import");
    let store = IMPORTS.iter().position(|import| import.name == "slot_store").expect("an import");
    let (put, packed, raw, all) = (count, count + 1, count + 2, count + 3);
    format!(
        r#"(module
        {imports}
        (memory (export "memory") 2)
        (global $at (mut i32) (i32.const 0))
        (global $end (mut i32) (i32.const 0))
        (global $free (mut i32) (i32.const 4096))
        (func (export "gw_abi_1"))
        (func $take (param $size i32) (result i32)
            (local $at i32)
            (local.set $at (global.get $at))
            (global.set $at (i32.add (local.get $at) (local.get $size)))
            (local.get $at))
        (func $small (result i32)
            (local $n i32)
            (local.set $n (i32.load16_u (call $take (i32.const 2))))
            (if (i32.and (local.get $n) (i32.const 0x8000))
                (then (local.set $n (i32.mul (local.get $n) (i32.const 0x20003)))))
            (local.get $n))
        (func $wide (result i64) (i64.load (call $take (i32.const 8))))
        (func $real (result f64) (f64.load (call $take (i32.const 8))))
        (func $run (result i64)
            (local $op i32)
            (loop $next
                (if (i32.ge_u (global.get $at) (global.get $end)) (then (return (i64.const 0))))
                (local.set $op (i32.rem_u (i32.load8_u (call $take (i32.const 1))) (i32.const {all})))
                {cases}
                (if (i32.eq (local.get $op) (i32.const {put}))
                    (then
                        (i64.store (i32.and (call $small) (i32.const 0xfff)) (call $wide))
                        (br $next)))
                (if (i32.eq (local.get $op) (i32.const {packed}))
                    (then
                        (return (i64.or
                            (i64.shl
                                (i64.extend_i32_u (i32.and (i32.load8_u (call $take (i32.const 1))) (i32.const 15)))
                                (i64.const 32))
                            (i64.extend_i32_u (call $small))))))
                (if (i32.eq (local.get $op) (i32.const {raw})) (then (return (call $wide))))
                (br $next))
            (unreachable))
        (func (export "gw_alloc") (param $size i32) (result i32)
            (local $at i32)
            (local.set $at (i32.wrap_i64 (call $f{load} (i32.const 1))))
            (if (local.get $at) (then (return (local.get $at))))
            (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
            (global.set $free (i32.add (local.get $at) (local.get $size)))
            (local.get $at))
        (func (export "gw_free") (param i32 i32))
        (func (export "gw_table") (result i32)
            (i32.or (i32.const 64) (i32.wrap_i64 (call $f{load} (i32.const 0)))))
        (func (export "gw_configure") (param i32 i32 i32) (result i64) (call $f{load} (i32.const 2)))
        (func (export "gw_restore") (param $at i32) (param $size i32) (result i32)
            (global.set $at (local.get $at))
            (global.set $end (i32.add (local.get $at) (local.get $size)))
            (call $f{store} (i32.const 0) (i64.extend_i32_u (call $small)))
            (call $f{store} (i32.const 1) (i64.extend_i32_u (call $small)))
            (call $f{store} (i32.const 2) (call $wide))
            (i32.const 0))
        (func (export "gw_pick") (param i32) (result i64) (call $run))
        (func (export "gw_route") (result i64) (call $run))
        (func (export "gw_on_request") (result i64) (call $run))
        (func (export "gw_on_response") (result i64) (call $run))
        (func (export "gw_on_fetch") (result i64) (call $run))
        (func (export "gw_outcome") (param i32 i32 i32 i64 i64) (drop (call $run)))
        (func (export "gw_endpoints_changed") (drop (call $run)))
        (func (export "gw_tick") (result i64) (call $run))
        (func (export "gw_snapshot") (result i64) (call $run)))"#
    )
}

/// A request and a response with something of everything.
struct Exchange;

impl Head for Exchange {
    fn read(&self, what: What<'_>, reader: &mut dyn FnMut(&[u8])) -> bool {
        match what {
            What::Text(_) => reader(b"/path?query"),
            _ => reader(b"value"),
        }
        true
    }

    fn each_header(&self, _: Side, reader: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        reader(b"host", b"a.example");
        true
    }

    fn status(&self) -> Option<u16> {
        Some(200)
    }

    fn allows(&self, edit: &Edit<'_>) -> bool {
        !matches!(edit, Edit::Set(_, b"host", _))
    }
}

/// Makes one; it is looked at when there is one.
fn instance(services: &Arc<Services>, mut look: impl FnMut(&mut Instance)) {
    let kinds = kind::BALANCER | kind::ROUTER | kind::FILTER;
    let endpoints = &BENCH.endpoints;
    let mould = Mould { services, budget: BUDGET, kinds, config: "{\"a\":1}", endpoints, seed: 1 };
    if let Ok(mut instance) = Instance::new(&BENCH.compiled, BENCH.compiler.engine(), &mould) {
        look(&mut instance);
    }
}

fn check(decision: &Decision) {
    match decision {
        Decision::Endpoint(index) => assert!(*index < ENDPOINTS),
        Decision::List(list) => {
            assert!(!list.is_empty() && list.len() <= bound::LIST as usize);
            assert!(list.iter().all(|index| *index < ENDPOINTS));
        }
        Decision::Hedge(first, second, _) => assert!(*first < ENDPOINTS && *second < ENDPOINTS),
        Decision::Refuse(status) => assert!((400..600).contains(status)),
        Decision::Redirect(status, _) => assert!((300..400).contains(status)),
        Decision::Answer(answer) => {
            assert!((200..600).contains(&answer.status) && answer.body.len() <= bound::BODY_BYTES);
            assert!(answer.fields.len() <= bound::EDITS);
        }
        Decision::Continue | Decision::Fallback | Decision::Route(_) | Decision::Pool(_) => {}
    }
}

fn calls(instance: &mut Instance) {
    let outcome = Outcome { endpoint: 1, status: 200, attempt: 0, latency: Duration::from_millis(1), bytes: 9 };
    for _ in 0..2 {
        for decided in [
            instance.pick(&Exchange, &BENCH.endpoints, &[1], 1),
            instance.route(&Exchange),
            instance.on_request(&Exchange),
            instance.on_response(&Exchange),
            instance.on_fetch(&Exchange),
        ] {
            decided.iter().for_each(check);
        }
        let edits = instance.edits();
        let size = |edit: Edit<'_>| match edit {
            Edit::Tag(name, value) => {
                assert!(name.len() <= bound::TAG_BYTES && value.len() <= bound::TAG_BYTES);
                name.len() + value.len()
            }
            Edit::Cache(Wish::Key(text) | Wish::Tag(text)) => {
                assert!(text.len() <= bound::CACHE_BYTES);
                text.len()
            }
            _ => 0,
        };
        assert!(edits.iter().count() <= bound::EDITS + bound::TAGS + 2);
        assert!(edits.iter().map(size).sum::<usize>() <= bound::EDIT_BYTES);
        let _ = instance.outcome(&outcome);
        let _ = instance.tick();
        if let Ok(Some(state)) = instance.snapshot() {
            assert!(state.len() <= bound::SNAPSHOT_BYTES);
        }
        let _ = instance.change_endpoints(&BENCH.endpoints);
    }
}

fuzz_target!(|input: &[u8]| {
    let input = input.get(..INPUT).unwrap_or(input);
    let services = Arc::new(Services::new("fuzz"));
    instance(&services, |first| {
        if first.restore(input).is_ok() {
            calls(first);
        }
    });
    instance(&services, |second| {
        let _ = second.restore(input);
        calls(second);
    });
    let series = services.all_series();
    assert!(series.len() <= bound::METRICS);
    for series in series {
        let label = series.label.as_ref().map_or(0, |(name, value)| name.len().max(value.len()));
        assert!(series.name.len().max(label) <= bound::METRIC_BYTES);
        assert!(series.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{}", series.name);
    }
});
