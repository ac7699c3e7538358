//! Whole runs, small ones.

use super::contender::{Arena, Contender};
use super::plan::Plan;
use super::scenario::Scenario;
use super::tally::{End, Tally};
use super::{engine, known};
use crate::plugin::tests::{USUAL, wat};

/// A balancer in the text format: what it needs, and what it does beside.
fn module(imports: &str, body: &str) -> Vec<u8> {
    wat(&format!("{imports} {USUAL} {body}"))
}

fn wasm(arena: &Arena, bytes: &[u8]) -> Contender {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.wasm");
    std::fs::write(&file, bytes).unwrap();
    arena.contender(file.to_str().unwrap(), "{}").unwrap()
}

fn run(scenario: &Scenario, contender: &Contender, arena: &Arena, requests: u64, seed: u64) -> Tally {
    engine::run(&Plan::new(scenario, requests).unwrap(), contender, arena, seed).unwrap()
}

fn built_in(name: &str, scenario: &str, requests: u64) -> Tally {
    let arena = Arena::new().unwrap();
    let contender = arena.contender(&format!("builtin:{name}"), "{}").unwrap();
    run(&known(scenario).unwrap(), &contender, &arena, requests, 1)
}

#[test]
fn every_request_ends_once_and_the_work_is_that_of_the_attempts() {
    let tally = built_in("p2c", "flapping", 20_000);
    assert_eq!(tally.requests(), 20_000);
    let sent: u64 = tally.backends.iter().map(|backend| backend.sent).sum();
    assert_eq!(sent, 20_000 + tally.retries);
    assert!(tally.retries > 0);
}

#[test]
fn waits_are_those_of_queueing_theory() {
    // One server, exponential times, half of its capacity: clients wait twice the mean, and one in e^(wait / 2 means) longer.
    let text = "load = 0.5\n[[backend]]\nservers = 1\nqueue = 10000";
    let (arena, scenario) = (Arena::new().unwrap(), Scenario::parse(text).unwrap());
    let contender = arena.contender("builtin:p2c", "{}").unwrap();
    let tally = run(&scenario, &contender, &arena, 200_000, 3);
    let near =
        |found: u64, right: f64| assert!((found as f64 / 1e6 / right - 1.0).abs() < 0.06, "{found}, not {right}");
    near(tally.waited.mean(), 20.0);
    near(tally.waited.quantile(0.5), 20.0 * 2f64.ln());
    near(tally.waited.quantile(0.99), 20.0 * 100f64.ln());
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let arena = Arena::new().unwrap();
    let contender = arena.contender("builtin:p2c", "{}").unwrap();
    let scenario = known("gateways").unwrap();
    let told = |seed| format!("{:?}", run(&scenario, &contender, &arena, 5000, seed));
    assert_eq!(told(1), told(1));
    assert_ne!(told(1), told(2));
}

#[test]
fn a_backend_that_is_gone_is_not_asked_twice() {
    let text = "[[backend]]\n[[backend]]\ndown = [{ from = '0%', to = '100%' }]";
    let (arena, scenario) = (Arena::new().unwrap(), Scenario::parse(text).unwrap());
    for name in ["builtin:p2c", "builtin:round-robin"] {
        let contender = arena.contender(name, "{}").unwrap();
        let plan = Plan::new(&Scenario { load: 0.2, ..scenario.clone() }, 2000).unwrap();
        let tally = engine::run(&plan, &contender, &arena, 1).unwrap();
        assert_eq!((tally.error_rate(), tally.backends[0].sent), (0.0, 2000), "{name}");
        assert_eq!((tally.retries, tally.backends[1].sent), (tally.retries, tally.retries), "{name}");
    }
}

#[test]
fn nobody_is_left_waiting_when_everybody_is_gone() {
    let text = "client_timeout = '1s'\n[[backend]]\ncount = 3\ndown = [{ from = '50%', to = '100%' }]";
    let (arena, scenario) = (Arena::new().unwrap(), Scenario::parse(text).unwrap());
    let contender = arena.contender("builtin:p2c", "{}").unwrap();
    let tally = run(&scenario, &contender, &arena, 2000, 1);
    assert_eq!(tally.requests(), 2000);
    assert!((900..1100).contains(&tally.ended(End::Unconnected)), "{}", tally.ended(End::Unconnected));
}

#[test]
fn who_waits_too_long_leaves_and_the_gateway_waits_no_longer_than_it_is_told() {
    let arena = Arena::new().unwrap();
    let contender = arena.contender("builtin:p2c", "{}").unwrap();
    let told = |text: &str| {
        let text = format!("load = 0.5\nservice = {{ mean = '1s', distribution = 'constant' }}\n{text}\n[[backend]]");
        run(&Scenario::parse(&text).unwrap(), &contender, &arena, 100, 1)
    };
    let tally = told("client_timeout = '500ms'");
    assert_eq!((tally.ended(End::ClientTimeout), tally.waited.quantile(0.5) / 1_000_000), (100, 500));
    let tally = told("first_byte = '500ms'");
    assert_eq!(tally.ended(End::FirstByte), 100);
    assert_eq!(told("").error_rate(), 0.0);
}

#[test]
fn a_plugin_that_always_fails_is_replaced_then_left_alone() {
    let arena = Arena::new().unwrap();
    let traps = r#"(func (export "gw_pick") (param i32) (result i64) unreachable)"#;
    let traps = wasm(&arena, &module("", traps));
    let scenario = known("equal").unwrap();
    let tally = run(&scenario, &traps, &arena, 3000, 1);
    let count = |name| tally.faults.iter().find(|(fault, _)| *fault == name).map_or(0, |(_, count)| *count);
    assert_eq!((count("trap"), tally.without_plugin, tally.error_rate()), (21, 3000, 0.0));
    assert!(count("absent") > 0);
    assert_eq!(tally.quarantined.map(|(gateways, _)| gateways), Some(1));
}

#[test]
fn a_plugin_goes_by_simulated_time() {
    // Picks the endpoint whose number is the seconds of its clock; ticks until then are counted by a slot.
    let clock = module(
        r#"(import "gatewright" "clock" (func $clock (result i64)))
           (import "gatewright" "unix_time" (func $unix (result i64)))"#,
        r#"(global $ticks (mut i64) (i64.const 0))
           (func (export "gw_tick") (result i64)
             (global.set $ticks (i64.add (global.get $ticks) (i64.const 1)))
             (i64.const 1000))
           (func (export "gw_pick") (param i32) (result i64)
             (if (i64.gt_u (global.get $ticks) (i64.const 0))
               (then (return (global.get $ticks))))
             (if (i64.lt_u (call $unix) (i64.const 1767225600000)) (then unreachable))
             (i64.div_u (call $clock) (i64.const 1000000)))"#,
    );
    let arena = Arena::new().unwrap();
    let clock = wasm(&arena, &clock);
    let text = "rate = 1000\nservice = { mean = '1ms' }\n[[backend]]\ncount = 4";
    let tally = run(&Scenario::parse(text).unwrap(), &clock, &arena, 3500, 1);
    let sent: Vec<u64> = tally.backends.iter().map(|backend| backend.sent).collect();
    assert!(tally.faults.is_empty() && tally.without_plugin == 0, "{:?}", tally.faults);
    assert!([900, 900, 900, 400].iter().zip(&sent).all(|(least, sent)| sent > least), "{sent:?}");
}

/// A balancer that sends each request to the first endpoint, and to the second one after ten milliseconds.
fn hedger() -> Vec<u8> {
    let pick = gatewright_abi::decision::pack(gatewright_abi::decision::HEDGE, 1024);
    let hedge = r#"(data (i32.const 1024) "\00\00\00\00\01\00\00\00\10\27\00\00")"#;
    module("", &format!(r#"{hedge} (func (export "gw_pick") (param i32) (result i64) (i64.const {pick}))"#))
}

#[test]
fn of_two_that_have_a_request_the_quicker_one_answers_it() {
    let arena = Arena::new().unwrap();
    let hedger = wasm(&arena, &hedger());
    let told = |first: &str| {
        let text = format!(
            "rate = 10\nservice = {{ mean = '20ms', distribution = 'constant' }}\n[[backend]]\n{first}\n[[backend]]"
        );
        run(&Scenario::parse(&text).unwrap(), &hedger, &arena, 200, 1)
    };
    let sent = |tally: &Tally| tally.backends.iter().map(|backend| backend.sent).collect::<Vec<_>>();
    let in_ms = |tally: &Tally| tally.waited.quantile(0.5) / 1_000_000;
    // The first takes 100 ms; the second begins ten later and takes twenty.
    let slow = told("slow = 5");
    assert_eq!((slow.hedges, slow.retries, slow.error_rate(), sent(&slow)), (200, 0, 0.0, vec![200, 200]));
    assert!((29..=31).contains(&in_ms(&slow)), "{}", in_ms(&slow));
    // It answers before the time is over.
    let quick = told("slow = 0.4");
    assert_eq!((quick.hedges, sent(&quick)), (0, vec![200, 0]));
    assert!((7..=8).contains(&in_ms(&quick)), "{}", in_ms(&quick));
    // It refuses: the second has the request in its place.
    let down = told("down = [{ from = '0%', to = '100%' }]");
    assert_eq!((down.hedges, down.retries, down.error_rate(), sent(&down)), (0, 200, 0.0, vec![200, 200]));
}

#[test]
fn with_checks_a_priority_takes_over_and_gives_back() {
    let arena = Arena::new().unwrap();
    let text = "rate = 1000\nchecks = '100ms'\nservice = { mean = '1ms' }\n[[backend]]\ncount = 2\n\
                down = [{ from = '39%', to = '60%' }]\n[[backend]]\nname = 'standby'\npriority = 1\ncount = 4";
    for name in ["builtin:p2c", "builtin:maglev", "builtin:round-robin"] {
        let contender = arena.contender(name, "{}").unwrap();
        let tally = run(&Scenario::parse(text).unwrap(), &contender, &arena, 10_000, 1);
        let standby: u64 = tally.backends[2..].iter().map(|backend| backend.sent).sum();
        // Who loses its backend and then meets the other one, which is gone too, has been sent often enough.
        assert!(tally.error_rate() < 0.001, "{name}: {}", tally.error_rate());
        // Two seconds of ten, and those who are sent on before a check has seen it.
        assert!((1900..2350).contains(&standby) && tally.retries < 300, "{name}: {standby} {}", tally.retries);
    }
}

#[test]
fn gateways_stay_in_their_zones_and_spill_over_when_these_are_weak() {
    let arena = Arena::new().unwrap();
    let contender = arena.contender("builtin:p2c", "{}").unwrap();
    let sent = |text: &str| {
        let text = format!("rate = 1000\ngateways = 2\nservice = {{ mean = '1ms' }}\n{text}");
        let tally = run(&Scenario::parse(&text).unwrap(), &contender, &arena, 10_000, 1);
        assert_eq!(tally.error_rate(), 0.0);
        tally.backends.iter().map(|backend| backend.sent).collect::<Vec<_>>()
    };
    let far = sent("zones = ['a']\n[[backend]]\nzone = 'a'\n[[backend]]\nzone = 'b'");
    assert_eq!(far, [10_000, 0]);
    // Three of five endpoints are elsewhere: all have as much to do in the end.
    let spilt = sent("zones = ['a', 'b']\n[[backend]]\nzone = 'a'\ncount = 2\n[[backend]]\nzone = 'b'\ncount = 3");
    assert!(spilt.iter().all(|sent| (1800..2200).contains(sent)), "{spilt:?}");
}

#[test]
fn a_list_is_gone_through_and_a_refusal_ends_it() {
    let arena = Arena::new().unwrap();
    let body = |pick: &str| {
        let list = r#"(data (i32.const 1024) "\02\00\00\00\01\00\00\00\00\00\00\00")"#;
        module("", &format!(r#"{list} (func (export "gw_pick") (param i32) (result i64) {pick})"#))
    };
    let text = "load = 0.2\n[[backend]]\n[[backend]]\ndown = [{ from = '0%', to = '100%' }]";
    let scenario = Scenario::parse(text).unwrap();
    // A list is kind 3, a refusal kind 2: see the ABI.
    let list =
        format!("(i64.or (i64.shl (i64.const {}) (i64.const 32)) (i64.const 1024))", gatewright_abi::decision::LIST);
    let tally = run(&scenario, &wasm(&arena, &body(&list)), &arena, 500, 1);
    let sent: Vec<u64> = tally.backends.iter().map(|backend| backend.sent).collect();
    assert_eq!((tally.error_rate(), tally.retries, sent), (0.0, 500, vec![500, 500]));
    let refuse = gatewright_abi::decision::pack(gatewright_abi::decision::REFUSE, 429);
    let tally = run(&scenario, &wasm(&arena, &body(&format!("(i64.const {refuse})"))), &arena, 500, 1);
    assert_eq!(tally.ended(End::Refused), 500);
}
