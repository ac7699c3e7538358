//! Plugins that do not behave: each has its fault, and the gateway goes on.

use super::super::{Decision, Fault};
use super::*;

/// What a balancer with this body of `gw_pick` comes to.
fn picked(body: &str) -> Result<Decision, Fault> {
    let host = Host::new();
    let endpoints = endpoints(&[1, 1]);
    let bytes = wat(&format!(
        "{USUAL}\n(func $deep (call $deep))\n(func (export \"gw_pick\") (param i32) (result i64) {body})"
    ));
    let mut instance = host.load(&bytes, &endpoints).expect("to load");
    let decision = instance.pick(&Request::default(), &endpoints, &[], 0);
    if let Err(fault) = decision {
        assert_eq!(instance.is_faulted(), !fault.leaves_instance_usable(), "{fault}");
        if instance.is_faulted() {
            assert_eq!(instance.pick(&Request::default(), &endpoints, &[], 0), Err(Fault::Absent));
        }
    }
    decision
}

#[test]
fn each_way_to_fail_has_its_word() {
    for (body, fault) in [
        ("unreachable", Fault::Trap),
        ("(i64.div_u (i64.const 1) (i64.const 0))", Fault::Trap),
        ("(i64.load (i32.const -1))", Fault::Trap),
        ("(loop $l (br $l)) (i64.const 0)", Fault::Deadline),
        ("(call $deep) (i64.const 0)", Fault::Stack),
        (
            "(if (i32.lt_s (memory.grow (i32.const 1000)) (i32.const 0)) (then unreachable)) (i64.const 0)",
            Fault::Memory,
        ),
        ("(i64.const 2)", Fault::Index),
        ("(i64.const 0xffffffff)", Fault::Index),
        ("(i64.const -1)", Fault::Output("")),
        ("(i64.const 0x500000000)", Fault::Output("")),
        ("(i64.const 0x2000003e8)", Fault::Output("")),
        ("(i64.const 0x3ffffffff)", Fault::Pointer),
        ("(i64.const 0x3fffffffc)", Fault::Pointer),
        // An empty list, one of 17, one with a wrong index, one that goes beyond the memory.
        ("(i64.const 0x300000400)", Fault::Output("")),
        ("(i32.store (i32.const 1024) (i32.const 17)) (i64.const 0x300000400)", Fault::Output("")),
        ("(i64.store (i32.const 1024) (i64.const 0x900000001)) (i64.const 0x300000400)", Fault::Index),
        ("(i32.store (i32.const 131068) (i32.const 1)) (i64.const 0x30001fffc)", Fault::Pointer),
        ("(i64.store (i32.const 1024) (i64.const 0x900000001)) (i64.const 0x400000400)", Fault::Index),
        ("(i64.const 0x40001fff8)", Fault::Pointer),
    ] {
        match picked(body) {
            Err(found) => assert_eq!(found.label(), fault.label(), "{body}"),
            Ok(decision) => panic!("{body} gave {decision:?}"),
        }
    }
    assert_eq!(
        picked("(i64.store (i32.const 1024) (i64.const 0x100000001)) (i64.const 0x300000400)"),
        Ok(Decision::List([1].into_iter().collect()))
    );
}

#[test]
fn wrong_addresses_are_faults_at_every_import() {
    let functions = [
        "(import \"gatewright\" \"request_text\" (func $f (param i32 i32 i32) (result i32)))|(drop (call $f (i32.const 3) BAD))",
        "(import \"gatewright\" \"request_text\" (func $f (param i32 i32 i32) (result i32)))|(drop (call $f (i32.const 99) BAD))",
        "(import \"gatewright\" \"header\" (func $f (param i32 i32 i32 i32 i32) (result i32)))|(drop (call $f (i32.const 0) BAD (i32.const 0) (i32.const 0)))",
        "(import \"gatewright\" \"header\" (func $f (param i32 i32 i32 i32 i32) (result i32)))|(drop (call $f (i32.const 0) (i32.const 0) (i32.const 0) BAD))",
        "(import \"gatewright\" \"headers\" (func $f (param i32 i32 i32) (result i32)))|(drop (call $f (i32.const 0) BAD))",
        "(import \"gatewright\" \"cookie\" (func $f (param i32 i32 i32 i32) (result i32)))|(drop (call $f BAD (i32.const 0) (i32.const 0)))",
        "(import \"gatewright\" \"cookie\" (func $f (param i32 i32 i32 i32) (result i32)))|(drop (call $f (i32.const 0) (i32.const 0) BAD))",
        "(import \"gatewright\" \"query_value\" (func $f (param i32 i32 i32 i32) (result i32)))|(drop (call $f BAD (i32.const 0) (i32.const 0)))",
        "(import \"gatewright\" \"query_value\" (func $f (param i32 i32 i32 i32) (result i32)))|(drop (call $f (i32.const 0) (i32.const 0) BAD))",
        "(import \"gatewright\" \"tag\" (func $f (param i32 i32 i32 i32) (result i32)))|(drop (call $f BAD (i32.const 0) (i32.const 0)))",
        "(import \"gatewright\" \"tag\" (func $f (param i32 i32 i32 i32) (result i32)))|(drop (call $f (i32.const 0) (i32.const 0) BAD))",
        "(import \"gatewright\" \"hash\" (func $f (param i32 i32 i32 i64) (result i64)))|(drop (call $f (i32.const 3) BAD (i64.const 0)))",
        "(import \"gatewright\" \"edit_header\" (func $f (param i32 i32 i32 i32 i32 i32) (result i32)))|(drop (call $f (i32.const 0) (i32.const 0) BAD (i32.const 0) (i32.const 0)))",
        "(import \"gatewright\" \"edit_header\" (func $f (param i32 i32 i32 i32 i32 i32) (result i32)))|(drop (call $f (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) BAD))",
        "(import \"gatewright\" \"set_path\" (func $f (param i32 i32) (result i32)))|(drop (call $f BAD))",
        "(import \"gatewright\" \"set_tag\" (func $f (param i32 i32 i32 i32) (result i32)))|(drop (call $f BAD (i32.const 0) (i32.const 0)))",
        "(import \"gatewright\" \"set_tag\" (func $f (param i32 i32 i32 i32) (result i32)))|(drop (call $f (i32.const 0) (i32.const 1) BAD))",
        "(import \"gatewright\" \"log\" (func $f (param i32 i32 i32)))|(call $f (i32.const 0) BAD)",
        "(import \"gatewright\" \"metric\" (func $f (param i32 i32 i32 i32 i32 i32 i32) (result i32)))|(drop (call $f (i32.const 0) BAD (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))",
        "(import \"gatewright\" \"metric\" (func $f (param i32 i32 i32 i32 i32 i32 i32) (result i32)))|(drop (call $f (i32.const 0) (i32.const 0) (i32.const 0) BAD (i32.const 0) (i32.const 0)))",
        "(import \"gatewright\" \"metric\" (func $f (param i32 i32 i32 i32 i32 i32 i32) (result i32)))|(drop (call $f (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) BAD))",
        "(import \"gatewright\" \"shared_get\" (func $f (param i32 i32 i32 i32) (result i32)))|(drop (call $f BAD (i32.const 0) (i32.const 0)))",
        "(import \"gatewright\" \"shared_set\" (func $f (param i32 i32 i32 i32 i64) (result i32)))|(drop (call $f BAD (i32.const 0) (i32.const 0) (i64.const 0)))",
        "(import \"gatewright\" \"shared_set\" (func $f (param i32 i32 i32 i32 i64) (result i32)))|(drop (call $f (i32.const 0) (i32.const 0) BAD (i64.const 0)))",
        "(import \"gatewright\" \"shared_remove\" (func $f (param i32 i32) (result i32)))|(drop (call $f BAD))",
    ];
    let host = Host::new();
    for (at, size) in [("131072", "1"), ("131071", "2"), ("-1", "1"), ("0", "-1"), ("-1", "-1")] {
        let bad = format!("(i32.const {at}) (i32.const {size})");
        for function in functions {
            let (import, call) = function.split_once('|').expect("an import and a call");
            let call = call.replace("BAD", &bad);
            let bytes =
                wat(&format!("{import}\n{USUAL}\n(func (export \"gw_on_request\") (result i64) {call} (i64.const 0))"));
            let mut instance = host.load(&bytes, &[]).expect("to load");
            let request = Request { headers: vec![("a", "b")], tags: vec![("a", "b")], ..Request::default() };
            assert_eq!(instance.on_request(&request), Err(Fault::Pointer), "{import} {call}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_before_it_runs() {
    let host = Host::new();
    let refused = |bytes: &[u8]| match host.load(bytes, &[]) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was taken"),
    };
    for (bytes, words) in [
        (&b"hello"[..], "not a valid WebAssembly module"),
        (b"\0asm\x01\0\0\0\x01", "not a valid WebAssembly module"),
        (b"\0asm\x0d\0\x01\0", "component"),
        (&vec![0; 17 << 20], "at most 16777216"),
    ] {
        assert!(refused(bytes).contains(words), "{}", refused(bytes));
    }
    let pick = r#"(func (export "gw_pick") (param i32) (result i64) (i64.const 0))"#;
    let parse = |text: &str| wat::parse_str(text).expect("a module");
    for (bytes, words) in [
        (wat(USUAL), "it is of no kind: it exports none of gw_pick, gw_route"),
        (parse("(module)"), "missing export gw_abi_1: is this a Gatewright plugin?"),
        (
            parse("(module (func (export \"gw_abi_7\")))"),
            "it speaks version 7 of the plugin interface; this gateway speaks version 1",
        ),
        (parse(&format!("(module {pick})")), "missing export gw_alloc(i32) -> i32; missing export gw_free(i32, i32)"),
        (
            wat(&format!("(import \"wasi_snapshot_preview1\" \"fd_write\" (func)) {USUAL} {pick}")),
            "plugins get no WASI",
        ),
        (
            wat(&format!("(import \"gatewright\" \"fly\" (func)) {USUAL} {pick}")),
            "imports gatewright.fly, which the gateway does not offer",
        ),
        (wat(&format!("(import \"gatewright\" \"log\" (func)) {USUAL} {pick}")), "it is log(i32, i32, i32)"),
        (
            wat(&format!("(import \"gatewright\" \"log\" (global i32)) {USUAL} {pick}")),
            "something else than a function",
        ),
        (
            wat(&format!("{USUAL} (func (export \"gw_pick\") (result i64) (i64.const 0))")),
            "it has to be gw_pick(i32) -> i64",
        ),
        (
            wat(&format!("{USUAL} {pick} (func (export \"gw_picks\"))")),
            "exports gw_picks, which this gateway does not know",
        ),
        (
            wat(&format!("{} {pick}", USUAL.replace("\"memory\") 2", "\"memory\") 65536"))),
            "4294967296 bytes of memory; memory_size allows 16777216",
        ),
        (wat(&format!("{USUAL} {pick} (table 1000000 funcref)")), "start: it wanted more memory"),
        (wat(&format!("{USUAL} {pick} (start $s) (func $s (loop $l (br $l)))")), "start: it did not end in time"),
        (wat(&format!("{USUAL} {pick} (start $s) (func $s unreachable)")), "start: it trapped"),
        (
            wat(&format!(
                "{} {pick}",
                USUAL.replace("(result i64) (i64.const 0))", "(result i64) (loop $l (br $l)) (i64.const 0))")
            )),
            "gw_configure: it did not end in time",
        ),
        (
            wat(&format!(
                "{} {pick}",
                USUAL.replace("(result i64) (i64.const 0))", "(result i64) (i64.const 0xffffffff00000001))")
            )),
            "gw_configure: it handed over an address",
        ),
        (
            wat(&format!(
                "{} {pick} (data (i32.const 1024) \"spare: missing\")",
                USUAL.replace("(result i64) (i64.const 0))", "(result i64) (i64.const 0x4000000000e))")
            )),
            "config: spare: missing",
        ),
        (
            wat(&format!("{} {pick}", USUAL.replace("(local.get $at))", "(i32.const -8))"))),
            "gw_alloc: it handed over an address",
        ),
        (
            wat(&format!("{} {pick}", USUAL.replace("(local.get $at))", "(i32.const 0))"))),
            "gw_alloc: it wanted more memory",
        ),
    ] {
        assert!(refused(&bytes).contains(words), "{:?} instead of {words:?}", refused(&bytes));
    }
}
