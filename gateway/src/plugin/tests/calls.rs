//! Plugins that behave.

use gatewright_abi::{answer, flag, hash64};

use super::super::request::Edit;
use super::super::{Decision, Outcome};
use super::*;
use crate::balance::Turn;

#[test]
fn a_balancer_reads_live_columns_from_its_own_memory() {
    // Picks the endpoint with the fewest requests under way.
    let bytes = wat(&format!(
        r#"(import "gatewright" "column_active" (func $active (result i32)))
        {USUAL}
        (func (export "gw_endpoints_changed"))
        (func (export "gw_pick") (param i32) (result i64)
            (local $i i32) (local $best i32) (local $least i32) (local $at i32)
            (local.set $least (i32.const -1))
            (local.set $at (i32.load (i32.const 76)))
            (loop $next
                (if (i32.lt_u (i32.load (i32.add (local.get $at) (i32.shl (local.get $i) (i32.const 2)))) (local.get $least))
                    (then
                        (local.set $best (local.get $i))
                        (local.set $least (i32.load (i32.add (local.get $at) (i32.shl (local.get $i) (i32.const 2)))))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (i32.load (i32.const 64)))))
            (if (i32.ne (local.get $at) (call $active)) (then unreachable))
            (i64.extend_i32_u (local.get $best)))"#
    ));
    let host = Host::new();
    let endpoints = endpoints(&[1, 1, 1]);
    let mut instance = host.load(&bytes, &endpoints).unwrap();
    let _busy: Vec<_> = [0, 1].map(|index| endpoints[index].endpoint.begin()).into();
    let request = Request::default();
    assert_eq!(instance.pick(&request, &endpoints, &[], 0), Ok(Decision::Endpoint(2)));
    let _more: Vec<_> = [2, 2].map(|index| endpoints[index].endpoint.begin()).into();
    assert_eq!(instance.pick(&request, &endpoints, &[], 0), Ok(Decision::Endpoint(0)));
    let four = super::endpoints(&[1, 1, 1, 1]);
    assert_eq!(instance.change_endpoints(&four), Ok(true));
    let _first = four[0].endpoint.begin();
    assert_eq!(instance.pick(&request, &four, &[], 0), Ok(Decision::Endpoint(1)));
}

#[test]
fn flags_are_shown_for_the_turn_that_the_request_has() {
    // Refuses with the flags of the second endpoint, beyond 400.
    let bytes = wat(&format!(
        r#"(import "gatewright" "column_flags" (func $flags (result i32)))
        {USUAL}
        (func (export "gw_pick") (param i32) (result i64)
            (i64.or (i64.const 0x200000000)
                (i64.extend_i32_u (i32.add (i32.const 400) (i32.load offset=4 (call $flags))))))"#
    ));
    let host = Host::new();
    let mut endpoints = endpoints(&[1, 1]);
    endpoints[1].priority = 1;
    let mut instance = host.load(&bytes, &endpoints).unwrap();
    let mut sees = |priority, distrusts, tried: &[usize], flags: u32| {
        instance.set_turn(Turn { priority, distrusts, ..Turn::default() });
        let decision = instance.pick(&Request::default(), &endpoints, tried, 0);
        assert_eq!(decision, Ok(Decision::Refuse(400 + u16::try_from(flags).unwrap())));
    };
    sees(None, false, &[], flag::HEALTHY);
    sees(Some(0), false, &[], flag::STANDBY);
    sees(Some(0), false, &[1], flag::STANDBY | flag::TRIED);
    sees(Some(0), false, &[], flag::STANDBY);
    sees(Some(1), false, &[], flag::HEALTHY);
    endpoints[1].endpoint.stats.change_flags(flag::EJECTED, flag::HEALTHY);
    sees(Some(1), false, &[], flag::EJECTED);
    sees(Some(0), false, &[], flag::EJECTED);
    sees(None, true, &[], flag::HEALTHY);
}

#[test]
fn fixed_columns_hold_texts_and_numbers() {
    // Answers with the pool's name that is the zone of the second endpoint, when its weight is 7.
    let bytes = wat(&format!(
        r#"(import "gatewright" "column_zone" (func $zone (result i32)))
        (import "gatewright" "column_weight" (func $weight (result i32)))
        {USUAL}
        (func (export "gw_pick") (param i32) (result i64) (i64.const 0))
        (func (export "gw_route") (result i64)
            (if (i32.ne (i32.load offset=4 (call $weight)) (i32.const 7)) (then unreachable))
            (i64.or (i64.const 0x600000000) (i64.extend_i32_u (i32.add (call $zone) (i32.const 8)))))"#
    ));
    let host = Host::new();
    let mut instance = host.load(&bytes, &endpoints(&[1, 7])).unwrap();
    assert_eq!(instance.route(&Request::default()), Ok(Decision::Pool("zone-1".into())));
}

#[test]
fn imports_read_hash_and_edit_the_request() {
    let bytes = wat(&format!(
        r#"(import "gatewright" "header" (func $header (param i32 i32 i32 i32 i32) (result i32)))
        (import "gatewright" "hash" (func $hash (param i32 i32 i32 i64) (result i64)))
        (import "gatewright" "edit_header" (func $edit (param i32 i32 i32 i32 i32 i32) (result i32)))
        (import "gatewright" "set_tag" (func $set_tag (param i32 i32 i32 i32) (result i32)))
        (import "gatewright" "tag" (func $tag (param i32 i32 i32 i32) (result i32)))
        (import "gatewright" "slot_store" (func $store (param i32 i64)))
        {USUAL}
        (data (i32.const 1024) "user" "host" "t")
        (func (export "gw_on_request") (result i64)
            ;; the value of `user` behind 2048, in a room of 3
            (call $store (i32.const 0) (i64.extend_i32_s
                (call $header (i32.const 0) (i32.const 1024) (i32.const 4) (i32.const 2048) (i32.const 3))))
            (call $store (i32.const 1) (call $hash (i32.const 3) (i32.const 1024) (i32.const 4) (i64.const 5)))
            (call $store (i32.const 2) (i64.extend_i32_s
                (call $edit (i32.const 0) (i32.const 0) (i32.const 1028) (i32.const 4) (i32.const 2048) (i32.const 3))))
            (call $store (i32.const 3) (i64.extend_i32_s
                (call $edit (i32.const 1) (i32.const 0) (i32.const 1024) (i32.const 4) (i32.const 2048) (i32.const 3))))
            (call $store (i32.const 4) (i64.extend_i32_s
                (call $set_tag (i32.const 1032) (i32.const 1) (i32.const 2048) (i32.const 2))))
            (call $store (i32.const 5) (i64.extend_i32_s
                (call $tag (i32.const 1032) (i32.const 1) (i32.const 3000) (i32.const 9))))
            (call $store (i32.const 6) (i64.load (i32.const 3000)))
            (i64.const 0))"#
    ));
    let host = Host::new();
    let mut instance = host.load(&bytes, &[]).unwrap();
    let request = Request { headers: vec![("User", "alice")], ..Request::default() };
    assert_eq!(instance.on_request(&request), Ok(Decision::Continue));
    let slot = |number| host.services.slot_load(number);
    assert_eq!((slot(0), slot(1)), (5, hash64(b"alice", 5).cast_signed()));
    assert_eq!((slot(2), slot(3), slot(4), slot(5)), (answer::INVALID.into(), 0, 0, 2));
    assert_eq!(slot(6), i64::from(u16::from_le_bytes(*b"al")));
    let wanted = [Edit::Add(Side::Request, b"user", b"ali"), Edit::Tag(b"t", b"al")];
    assert!(instance.edits().iter().eq(wanted));
    let none = Request::default();
    assert_eq!(instance.on_request(&none), Ok(Decision::Continue));
    assert_eq!((slot(0), slot(1)), (answer::ABSENT.into(), 0));
}

#[test]
fn outcomes_ticks_and_state_go_through() {
    let bytes = wat(&format!(
        r#"(import "gatewright" "slot_add" (func $add (param i32 i64) (result i64)))
        {USUAL}
        (func (export "gw_pick") (param i32) (result i64) (i64.const 0x100000000))
        (func (export "gw_outcome") (param i32 i32 i32 i64 i64)
            (drop (call $add (local.get 0) (i64.add (local.get 3) (i64.extend_i32_u (local.get 1))))))
        (func (export "gw_tick") (result i64) (i64.const 250))
        (func (export "gw_snapshot") (result i64) (i64.const 0x40000000003))
        (data (i32.const 1024) "abc")
        (func (export "gw_restore") (param i32 i32) (result i32)
            (i32.sub (i32.load8_u (local.get 0)) (i32.const 97)))"#
    ));
    let host = Host::new();
    let endpoints = endpoints(&[1, 1]);
    let mut instance = host.load(&bytes, &endpoints).unwrap();
    assert_eq!(instance.pick(&Request::default(), &endpoints, &[], 0), Ok(Decision::Fallback));
    let outcome = Outcome { endpoint: 1, status: 200, attempt: 0, latency: Duration::from_micros(1000), bytes: 0 };
    instance.outcome(&outcome).unwrap();
    assert_eq!(host.services.slot_load(1), 1200);
    assert_eq!(instance.tick(), Ok(Some(Duration::from_millis(250))));
    assert_eq!(instance.snapshot(), Ok(Some(b"abc".to_vec())));
    assert_eq!((instance.restore(b"abc"), instance.restore(b"xyz")), (Ok(true), Ok(false)));
}

#[test]
fn a_filter_that_does_not_care_is_not_asked_again() {
    let body = r#"(global $asked (mut i32) (i32.const 0))
        (func (export "gw_on_request") (result i64) (i64.const 0))
        (func (export "gw_on_response") (result i64)
            (if (global.get $asked) (then unreachable))
            (global.set $asked (i32.const 1))
            (i64.const 1))"#;
    let host = Host::new();
    let mut instance = host.load(&wat(&format!("{USUAL}{body}")), &[]).expect("a plugin");
    for _ in 0..3 {
        assert_eq!(instance.on_response(&Request::default()), Ok(Decision::Continue));
        assert_eq!(instance.on_request(&Request::default()), Ok(Decision::Continue));
    }
}
