//! Plugins that lie about what they hand over, at each place where they do; and calls that never end, at each of them.

use super::super::{Fault, LoadError};
use super::*;

/// What never ends is waited for to the end of its time.
const BRIEF: Budget = Budget { configure: Duration::from_millis(20), ..BUDGET };

/// Ends never.
const FOR_EVER: &str = "(loop $l (br $l))";

/// `USUAL` with another body for one of its functions.
fn with(export: &str, body: &str) -> String {
    let (before, rest) = USUAL.split_once(&format!("\"{export}\")")).expect("an export");
    let (signature, _) = rest.split_once('\n').unwrap_or((rest, ""));
    let types: String =
        signature.split_inclusive(')').take_while(|part| part.contains("param") || part.contains("result")).collect();
    // What stood there goes on under no name.
    let renamed = format!("{before}\"old_{export}\"){rest}");
    format!("{renamed}\n(func (export \"{export}\"){types} {body})")
}

const PICK: &str = r#"(func (export "gw_pick") (param i32) (result i64) (i64.const 0))"#;

fn label<T>(result: Result<T, Fault>) -> &'static str {
    match result {
        Ok(_) => "nothing",
        Err(fault) => fault.label(),
    }
}

#[test]
fn whatever_never_ends_while_it_is_loaded_is_stopped() {
    let host = Host::new();
    for (export, result) in
        [("gw_alloc", "(i32.const 0)"), ("gw_table", "(i32.const 0)"), ("gw_configure", "(i64.const 0)")]
    {
        let bytes = wat(&format!("{} {PICK}", with(export, &format!("{FOR_EVER} {result}"))));
        let error =
            host.load_within(BRIEF, &bytes, &endpoints(&[1])).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(error, format!("{export}: it did not end in time"));
    }
    let free = r#"(func (export "gw_free") (param i32 i32))"#;
    let text = format!(
        "(module (func (export \"gw_abi_1\")) {USUAL} {PICK} {})",
        free.replace("i32))", &format!("i32) {FOR_EVER})"))
    );
    let error = host.load_within(BRIEF, &wat::parse_str(text).unwrap(), &[]).err().map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("gw_free: it did not end in time"));
}

#[test]
fn a_long_time_is_over_when_it_is_over_although_nobody_else_calls() {
    let host = Host::new();
    let bytes = wat(&format!("{} {PICK}", with("gw_configure", &format!("{FOR_EVER} (i64.const 0)"))));
    let long = Budget { configure: Duration::from_millis(400), ..BUDGET };
    let began = std::time::Instant::now();
    let error = host.load_within(long, &bytes, &endpoints(&[1])).err().map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("gw_configure: it did not end in time"));
    // Not how fast it is: a clock that sleeps while a call lasts makes a quarter of a minute of it.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn whatever_never_ends_at_work_is_stopped() {
    let host = Host::new();
    let all = [
        ("gw_pick", "(param i32) (result i64)"),
        ("gw_route", "(result i64)"),
        ("gw_on_request", "(result i64)"),
        ("gw_on_response", "(result i64)"),
        ("gw_outcome", "(param i32 i32 i32 i64 i64)"),
        ("gw_tick", "(result i64)"),
        ("gw_endpoints_changed", ""),
        ("gw_snapshot", "(result i64)"),
        ("gw_restore", "(param i32 i32) (result i32)"),
    ];
    for (export, types) in all {
        let usual = if export == "gw_pick" { "" } else { PICK };
        let bytes = wat(&format!("{USUAL} {usual} (func (export \"{export}\") {types} {FOR_EVER} unreachable)"));
        let endpoints = endpoints(&[1]);
        let mut instance = host.load_within(BRIEF, &bytes, &endpoints).expect("to load");
        let request = Request::default();
        let outcome = super::super::Outcome { endpoint: 0, status: 200, attempt: 0, latency: Duration::ZERO, bytes: 0 };
        let found = match export {
            "gw_pick" => label(instance.pick(&request, &endpoints, &[], 0)),
            "gw_route" => label(instance.route(&request)),
            "gw_on_request" => label(instance.on_request(&request)),
            "gw_on_response" => label(instance.on_response(&request)),
            "gw_outcome" => label(instance.outcome(&outcome)),
            "gw_tick" => label(instance.tick()),
            "gw_endpoints_changed" => label(instance.change_endpoints(&endpoints)),
            "gw_snapshot" => label(instance.snapshot()),
            _ => label(instance.restore(b"state")),
        };
        assert_eq!((found, instance.is_faulted()), ("deadline", true), "{export}");
    }
}

/// A name, what is no text, a length that lies, a field `a: b`. Behind it everything is 0: fields without name and value.
const TEXT: &str = r"name\ff\fe\00\00\ff\ff\ff\ff\00\00\00\00\01\00\00\00a\01\00\00\00b";

/// What a router and a filter with this in memory come to. `words` stand at 1024, [`TEXT`] at 2048.
fn decided(kind: u32, at: u32, words: &[u32]) -> [&'static str; 2] {
    let bytes: String = words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect();
    let packed = gatewright_abi::decision::pack(kind, at);
    let module = wat(&format!(
        r#"{USUAL} (data (i32.const 1024) "{bytes}") (data (i32.const 2048) "{TEXT}")
        (func (export "gw_route") (result i64) (i64.const {packed}))
        (func (export "gw_on_request") (result i64) (i64.const {packed}))"#
    ));
    let host = Host::new();
    let mut router = host.load(&module, &[]).expect("to load");
    let mut filter = host.load(&module, &[]).expect("to load");
    let request = Request::default();
    [label(router.route(&request)), label(filter.on_request(&request))]
}

#[test]
fn what_routers_and_filters_hand_over_is_looked_at() {
    const END: u32 = 131_072;
    for (kind, words, router, filter) in [
        // A name: where it is and how long.
        (5, vec![2048, 4], "nothing", "output"),
        (6, vec![2048, 4], "nothing", "output"),
        (5, vec![END - 3, 4], "pointer", "output"),
        (6, vec![u32::MAX, 1], "pointer", "output"),
        (5, vec![END - 1000, u32::MAX], "pointer", "output"),
        (5, vec![2052, 2], "output", "output"),
        // A redirect: status, where and how long.
        (7, vec![302, 2048, 4], "nothing", "nothing"),
        (7, vec![200, 2048, 4], "output", "output"),
        (7, vec![0x1012e, 2048, 4], "output", "output"),
        (7, vec![302, END, 1], "pointer", "pointer"),
        (7, vec![302, 2048, u32::MAX], "pointer", "pointer"),
        // An answer: status, fields, body.
        (8, vec![200, 0, 0, 2048, 4], "nothing", "nothing"),
        (8, vec![200, 2064, 10, 2048, 4], "nothing", "nothing"),
        (8, vec![199, 0, 0, 0, 0], "output", "output"),
        (8, vec![600, 0, 0, 0, 0], "output", "output"),
        (8, vec![200, END, 1, 0, 0], "pointer", "pointer"),
        (8, vec![200, 0, u32::MAX, 0, 0], "output", "output"),
        (8, vec![200, 0, 0, END, 1], "pointer", "pointer"),
        (8, vec![200, 0, 0, 0, 65_537], "output", "output"),
        (8, vec![200, 0, 0, END - 9, 10], "pointer", "pointer"),
        // Fields that say that they are longer than what holds them, or are too many.
        (8, vec![200, 2056, 7, 0, 0], "output", "output"),
        (8, vec![200, 8192, 65 * 8, 0, 0], "output", "output"),
        (8, vec![200, 8192, 64 * 8, 0, 0], "nothing", "nothing"),
        (8, vec![200, 8192, 4, 0, 0], "output", "output"),
        (9, vec![], "output", "output"),
        (1, vec![], "output", "output"),
    ] {
        assert_eq!(decided(kind, 1024, &words), [router, filter], "{kind} {words:?}");
    }
    for kind in [5, 6, 7, 8] {
        for at in [END - 4, END, u32::MAX - 3, u32::MAX] {
            let filter = if kind < 7 { "output" } else { "pointer" };
            assert_eq!(decided(kind, at, &[]), ["pointer", filter], "{kind} at {at}");
        }
    }
}

#[test]
fn states_are_handed_over_within_bounds() {
    let host = Host::new();
    for (packed, found) in [
        ("0x40000000004", "nothing"),
        ("0x40000000000", "nothing"),
        ("0x1ffff00000002", "pointer"),
        ("0xffffffff00000001", "pointer"),
        ("0x00000000ffffffff", "output"),
        ("0x40000100001", "output"),
        ("0x40000100000", "pointer"),
    ] {
        let body = format!("{USUAL} {PICK} (func (export \"gw_snapshot\") (result i64) (i64.const {packed}))");
        let mut instance = host.load(&wat(&body), &endpoints(&[1])).expect("to load");
        assert_eq!(label(instance.snapshot()), found, "{packed}");
    }
}

#[test]
fn places_that_are_lent_are_looked_at_each_time() {
    let host = Host::new();
    // The first two are right: the table, the configuration. Then an address that is none.
    for wrong in ["-8", "-1", "131065", "131072", "2147483647"] {
        let body = format!(
            "(local.get $at) (global.set $count (i32.add (global.get $count) (i32.const 1)))
             (if (i32.gt_u (global.get $count) (i32.const 2)) (then (return (i32.const {wrong}))))"
        );
        let usual = USUAL.replace("(local.get $at))\n", &format!("{body})\n"));
        let module = wat(&format!(
            "(import \"gatewright\" \"column_weight\" (func (result i32)))\n{usual}\n(global $count (mut i32) (i32.const 0)) {PICK}
             (func (export \"gw_endpoints_changed\"))
             (func (export \"gw_restore\") (param i32 i32) (result i32) (i32.const 0))"
        ));
        let two = endpoints(&[1, 1]);
        let load = || host.load(&module, &two).expect("to load");
        assert_eq!(label(load().restore(b"a state of some length")), "pointer", "{wrong}");
        assert_eq!(label(load().change_endpoints(&endpoints(&[1, 1, 1]))), "pointer", "{wrong}");
    }
}

#[test]
fn whatever_is_answered_for_nothing_is_right() {
    let host = Host::new();
    for answer in ["-1", "-8", "1", "131072", "0"] {
        let nothing = format!("(if (i32.eqz (local.get $size)) (then (return (i32.const {answer}))))");
        let usual = USUAL.replace("(local $at i32)\n", &format!("(local $at i32) {nothing}\n"));
        assert_ne!(usual, USUAL);
        let module = wat(&format!(
            r#"(import "gatewright" "column_weight" (func (result i32)))
             (import "gatewright" "column_active" (func $active (result i32)))
             {usual} {PICK}
             (func (export "gw_endpoints_changed") (if (i32.and (i32.eqz (i32.load (i32.const 64))) (call $active)) (then unreachable)))
             (func (export "gw_restore") (param i32 i32) (result i32) (local.get 1))"#
        ));
        // No endpoints, no state: nothing is lent.
        let mut instance = host.load(&module, &[]).expect("to load");
        assert_eq!(instance.restore(b""), Ok(true), "{answer}");
        for weights in [&[1, 2][..], &[], &[], &[1]] {
            let endpoints = endpoints(weights);
            assert_eq!(instance.change_endpoints(&endpoints), Ok(true), "{answer}");
            let picked = instance.pick(&Request::default(), &endpoints, &[], 0);
            assert_eq!(label(picked), if weights.is_empty() { "index" } else { "nothing" }, "{answer}");
        }
    }
}

#[test]
fn a_table_stands_in_memory() {
    let host = Host::new();
    for at in ["-1", "-4", "131072", "131070", "131064", "2147483647"] {
        let bytes = wat(&format!("{} {PICK}", with("gw_table", &format!("(i32.const {at})"))));
        let error = host.load(&bytes, &endpoints(&[1])).err();
        let is_pointer = matches!(error, Some(LoadError::Fault { fault: Fault::Pointer, .. }));
        assert!(is_pointer, "{at}: {error:?}");
    }
}

#[test]
fn what_is_cut_short_or_damaged_is_refused_or_harmless() {
    let host = Host::new();
    let whole = wat(&format!("{USUAL} {PICK}"));
    // Without the section of names at its end it is whole.
    let taken = (0..whole.len()).filter(|size| host.compile(&whole[..*size]).is_ok()).count();
    assert!(taken <= 1, "{taken} pieces were taken");
    for at in (0..whole.len()).step_by(5) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x41;
        // Some of it is another plugin then.
        drop(host.compile(&damaged));
    }
}

/// A number as modules have it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        bytes.push(if number > 0 { low | 0x80 } else { low });
        if number == 0 {
            return bytes;
        }
    }
}

#[test]
fn a_million_tables_or_memories_are_refused() {
    let host = Host::new();
    let many = 1_000_000;
    for (section, each) in [(4, &[0x70, 0, 1][..]), (5, &[0, 1])] {
        let body = [leb(many), each.repeat(many)].concat();
        let module = [b"\0asm\x01\0\0\0".to_vec(), vec![section], leb(body.len()), body].concat();
        let error = host.compile(&module).err().expect("to be refused").to_string();
        assert!(error.contains("not a valid WebAssembly module"), "{section}: {error}");
    }
}

#[test]
fn floods_end_at_their_bounds() {
    let host = Host::new();
    let bytes = wat(&format!(
        r#"(import "gatewright" "log" (func $log (param i32 i32 i32)))
        (import "gatewright" "metric" (func $metric (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
        {USUAL}
        (func (export "gw_on_request") (result i64)
            (local $i i32)
            (loop $l
                (call $log (i32.const 3) (i32.const 0) (i32.const 10))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $l (i32.lt_u (local.get $i) (i32.const 1000))))
            (i64.const 0))
        (func (export "gw_route") (result i64)
            (local $i i32)
            (loop $l
                (i32.store8 (i32.const 1024) (i32.add (i32.const 97) (i32.rem_u (local.get $i) (i32.const 26))))
                (i32.store8 (i32.const 1025) (i32.add (i32.const 97) (i32.div_u (local.get $i) (i32.const 26))))
                (drop (call $metric (i32.const 0) (i32.const 1024) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $l (i32.lt_u (local.get $i) (i32.const 300))))
            (i64.const 0))"#
    ));
    let compiled = host.compile(&bytes).unwrap();
    // However slow the machine: how long it takes does not matter here.
    let budget = Budget { decision: Duration::from_secs(30), ..BUDGET };
    let kinds = compiled.interface.kinds;
    let mould = Mould { services: &host.services, budget, kinds, config: "{}", endpoints: &[], seed: 1 };
    let mut instance = Instance::new(&compiled, host.compiler.engine(), &mould).unwrap();
    instance.on_request(&Request::default()).unwrap();
    assert!(host.services.lines_dropped() > 0);
    instance.route(&Request::default()).unwrap();
    assert_eq!(host.services.all_series().len(), gatewright_abi::bound::METRICS);
    assert_eq!(host.services.series_refused(), 300 - gatewright_abi::bound::METRICS as u64);
}
