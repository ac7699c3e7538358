//! Plugins on the path of requests: they decide, they fail, they are swapped, and no client notices what it should not.

use crate::harness::modules::{fails, picks, plugin};
use crate::harness::{Gateway, Origin, RawOrigin, Wire, eventually};

pub(crate) const ADMIN: &str = "[admin]\naddress = '127.0.0.1:0'\n[access_log]\noutput = 'access.log'";

/// Two origins behind a pool that this plugin balances.
pub(crate) async fn balanced(one: &Origin, two: &Origin, module: &[u8]) -> Gateway {
    let text = "
        [plugin.mine]
        source = 'mine.wasm'
        [pool.a]
        endpoints = ['<one>', '<two>']
        balance = 'mine'
        [[route]]
        pool = 'a'";
    let gateway = Gateway::of(text).with("one", one).with("two", two).file("mine.wasm", module).and(ADMIN);
    gateway.start_file().await
}

pub(crate) fn swap(gateway: &Gateway, module: &[u8]) {
    let draft = gateway.folder().join("draft");
    std::fs::write(&draft, module).expect("to write");
    std::fs::rename(draft, gateway.folder().join("mine.wasm")).expect("to put in place");
}

pub(crate) async fn faults(gateway: &Gateway, fault: &str) -> f64 {
    gateway.metric(&format!("gatewright_plugin_faults_total{{plugin=\"mine\",fault=\"{fault}\"}}")).await
}

#[tokio::test]
async fn a_balancer_decides_and_another_version_takes_over_when_its_file_changes() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    let mut client = gateway.client(Wire::H1).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "two");
    }
    swap(&gateway, &picks(0));
    eventually("the other version", async || client.get("/").await.text() == "one").await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "one");
    }
}

#[tokio::test]
async fn a_version_that_fails_is_passed_over_and_then_the_last_good_one_is_back() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    let mut client = gateway.client(Wire::H1).await;
    assert_eq!(client.get("/").await.text(), "two");
    let back = async || gateway.admin("GET", "/plugins").await.1.contains("\"recovered\"");
    swap(&gateway, &fails());
    eventually("a fault", async || {
        assert_eq!(client.get("/").await.status, 200);
        faults(&gateway, "trap").await > 0.0
    })
    .await;
    // No client notices, and after too many faults the version before decides again.
    eventually("the last good version", async || {
        assert_eq!(client.get("/").await.status, 200);
        faults(&gateway, "trap").await > 20.0 && back().await
    })
    .await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "two");
    }
}

#[tokio::test]
async fn a_first_version_that_fails_leaves_the_pool_to_its_own_balancer() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &fails()).await;
    let mut client = gateway.client(Wire::H1).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let reply = client.get("/").await;
        assert_eq!(reply.status, 200);
        seen.insert(reply.text().to_owned());
    }
    assert_eq!(seen.len(), 2);
    assert!(faults(&gateway, "trap").await > 0.0);
}

#[tokio::test]
async fn a_module_that_does_not_fit_changes_nothing_and_says_why() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    let mut client = gateway.client(Wire::H1).await;
    for (module, words) in [
        (b"hello".to_vec(), "not a valid WebAssembly module"),
        (plugin("", ""), "it is of no kind"),
        (plugin("", r#"(func (export "gw_route") (result i64) (i64.const 0))"#), "is no balancer"),
        (
            plugin(
                "",
                r#"(func (export "gw_pick") (param i32) (result i64) (i64.const 0)) (start $s) (func $s unreachable)"#,
            ),
            "start: it trapped",
        ),
    ] {
        swap(&gateway, &module);
        let (status, text) = gateway.admin("POST", "/reload").await;
        assert_eq!(status, 422, "{text}");
        assert!(text.contains(words) && text.contains("mine"), "{text}");
        assert_eq!(client.get("/").await.text(), "two");
    }
}

/// A gateway whose one route has this plugin as a router or filter.
async fn routed(key: &str, module: &[u8]) -> Gateway {
    let text = "
        [plugin.mine]
        source = 'mine.wasm'
        [[route]]
        name = 'first'
        match = { path = '/' }
        <key>
        respond = 'first'
        [[route]]
        name = 'second'
        match = { path = '/second' }
        respond = 'second'";
    Gateway::of(text).with("key", key).file("mine.wasm", module).and(ADMIN).start().await
}

#[tokio::test]
async fn a_router_names_routes_redirects_and_answers() {
    // By the third byte of the path: /r, /x, /d, /a, anything else.
    let module = plugin(
        r#"(import "gatewright" "request_text" (func $text (param i32 i32 i32) (result i32)))"#,
        r#"(data (i32.const 1024) "secondnothing")
        (data (i32.const 1040) "\00\04\00\00\06\00\00\00")
        (data (i32.const 1048) "\06\04\00\00\07\00\00\00")
        (data (i32.const 1056) "\34\01\00\00\00\04\00\00\06\00\00\00")
        (data (i32.const 1072) "\12\01\00\00\00\00\00\00\00\00\00\00\00\04\00\00\06\00\00\00")
        (data (i32.const 1072) "\a2\01\00\00")
        (func (export "gw_route") (result i64)
            (local $byte i32)
            (drop (call $text (i32.const 3) (i32.const 2048) (i32.const 16)))
            (local.set $byte (i32.load8_u (i32.const 2049)))
            (if (i32.eq (local.get $byte) (i32.const 114)) (then (return (i64.const 0x500000410))))
            (if (i32.eq (local.get $byte) (i32.const 120)) (then (return (i64.const 0x500000418))))
            (if (i32.eq (local.get $byte) (i32.const 100)) (then (return (i64.const 0x700000420))))
            (if (i32.eq (local.get $byte) (i32.const 97)) (then (return (i64.const 0x800000430))))
            (i64.const 0))"#,
    );
    let gateway = routed("router = 'mine'", &module).await;
    let mut client = gateway.client(Wire::H1).await;
    assert_eq!(client.get("/").await.text(), "first");
    assert_eq!(client.get("/r").await.text(), "second");
    // A name that is not there: as if it had not been asked, but counted.
    assert_eq!(client.get("/x").await.text(), "first");
    assert_eq!(faults(&gateway, "name").await, 1.0);
    let redirected = client.get("/d").await;
    assert_eq!(
        (redirected.status.as_u16(), &redirected.headers["location"]),
        (308, &"second".parse().expect("a value"))
    );
    let answered = client.get("/a").await;
    assert_eq!((answered.status.as_u16(), answered.text()), (418, "second"));
}

#[tokio::test]
async fn a_router_that_names_what_is_not_there_changes_nothing() {
    for (name, wanted) in [("second", true), ("nobody", false)] {
        let module = plugin(
            r#"(import "gatewright" "edit_header" (func $edit (param i32 i32 i32 i32 i32 i32) (result i32)))"#,
            &format!(
                r#"(data (i32.const 1024) "{name}x-mine7")
                (func (export "gw_route") (result i64)
                    (drop (call $edit (i32.const 0) (i32.const 1) (i32.const 1030) (i32.const 6) (i32.const 1036) (i32.const 1)))
                    (i64.store (i32.const 2048) (i64.const 0x600000400))
                    (i64.const 0x500000800))"#
            ),
        );
        let gateway = routed("router = 'mine'", &module).await;
        let reply = gateway.client(Wire::H1).await.get("/").await;
        assert_eq!(reply.text(), if wanted { "second" } else { "first" });
        assert_eq!(reply.headers.contains_key("x-mine"), wanted, "{name}");
        assert_eq!(faults(&gateway, "name").await, if wanted { 0.0 } else { 1.0 });
    }
}

#[tokio::test]
async fn a_filter_changes_both_heads_and_its_tags_stand_in_the_log() {
    let module = plugin(
        r#"(import "gatewright" "edit_header" (func $edit (param i32 i32 i32 i32 i32 i32) (result i32)))
        (import "gatewright" "set_tag" (func $tag (param i32 i32 i32 i32) (result i32)))
        (import "gatewright" "set_status" (func $status (param i32) (result i32)))"#,
        r#"(data (i32.const 1024) "x-mineyes")
        (func (export "gw_on_request") (result i64)
            (drop (call $tag (i32.const 1026) (i32.const 4) (i32.const 1030) (i32.const 3)))
            (i64.const 0))
        (func (export "gw_on_response") (result i64)
            (drop (call $edit (i32.const 0) (i32.const 1) (i32.const 1024) (i32.const 6) (i32.const 1030) (i32.const 3)))
            (drop (call $status (i32.const 203)))
            (i64.const 0))"#,
    );
    let gateway = routed("filters = ['mine']", &module).await;
    let reply = gateway.client(Wire::H2).await.get("/").await;
    assert_eq!((reply.status.as_u16(), &reply.headers["x-mine"]), (203, &"yes".parse().expect("a value")));
    assert_eq!(gateway.log_lines(1).await[0]["tags"]["mine"], "yes");
}

#[tokio::test]
async fn names_of_fields_are_the_same_in_any_case_also_those_that_no_plugin_writes() {
    let module = plugin(
        r#"(import "gatewright" "edit_header" (func $edit (param i32 i32 i32 i32 i32 i32) (result i32)))
        (import "gatewright" "header" (func $header (param i32 i32 i32 i32 i32) (result i32)))"#,
        r#"(data (i32.const 1024) "X-UserContent-LengthHoST7X-Mine")
        (func (export "gw_on_request") (result i64)
            ;; Nothing goes on unless the client's x-user was read under another spelling.
            (if (i32.ne (call $header (i32.const 0) (i32.const 1024) (i32.const 6) (i32.const 2048) (i32.const 64)) (i32.const 5))
                (then unreachable))
            ;; Length and host are not taken, -2 says so; what the plugin may write is.
            (if (i32.ne (call $edit (i32.const 0) (i32.const 0) (i32.const 1030) (i32.const 14) (i32.const 1048) (i32.const 1)) (i32.const -2))
                (then unreachable))
            (if (i32.ne (call $edit (i32.const 1) (i32.const 0) (i32.const 1044) (i32.const 4) (i32.const 1048) (i32.const 1)) (i32.const -2))
                (then unreachable))
            (drop (call $edit (i32.const 0) (i32.const 0) (i32.const 1049) (i32.const 6) (i32.const 1048) (i32.const 1)))
            (i64.const 0))"#,
    );
    let origin = RawOrigin::start().await;
    let text = "[plugin.mine]\nsource = 'mine.wasm'\n[pool.a]\nendpoints = ['<origin>']\n\
                [[route]]\npool = 'a'\nfilters = ['mine']";
    let gateway = Gateway::of(text).with("origin", &origin).file("mine.wasm", module).start().await;
    let mut client = gateway.raw().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nx-User: alice\r\nx-mine: 1\r\nContent-Length: 2\r\n\r\nhi").await;
    let request = origin.accept().await.request().await;
    assert_eq!((request.field("x-mine").as_deref(), request.body.as_slice()), (Some("7"), &b"hi"[..]), "{request:?}");
}

#[tokio::test]
async fn what_a_filter_sets_no_client_says_in_other_letters_or_in_trailers() {
    let module = plugin(
        r#"(import "gatewright" "edit_header" (func $edit (param i32 i32 i32 i32 i32 i32) (result i32)))"#,
        r#"(data (i32.const 1024) "x-useryes")
        (func (export "gw_on_request") (result i64)
            (drop (call $edit (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 6) (i32.const 1030) (i32.const 3)))
            (i64.const 0))"#,
    );
    let origin = RawOrigin::start().await;
    let text = "[plugin.mine]\nsource = 'mine.wasm'\n[pool.a]\nendpoints = ['<origin>']\n\
                [[route]]\npool = 'a'\nfilters = ['mine']";
    let gateway = Gateway::of(text).with("origin", &origin).file("mine.wasm", module).start().await;
    let said = "X-User: 1\r\nX_User: 1\r\nX-Kept: 1\r\n";
    let mut client = gateway.raw().await;
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{said}\r\n0\r\n{said}\r\n")).await;
    let request = origin.accept().await.request().await;
    assert_eq!((request.field("x-user").as_deref(), request.field("x_user")), (Some("yes"), None), "{request:?}");
    assert_eq!(request.trailers, [("x-kept".to_owned(), "1".to_owned())]);
}

#[tokio::test]
async fn a_filter_refuses_and_one_that_fails_lets_nobody_pass() {
    for (body, status, error) in [
        ("(i64.const 0x200000193)", 403, "refused-by-plugin"),
        ("unreachable", 500, "plugin"),
        ("(loop $l (br $l)) (i64.const 0)", 500, "plugin"),
    ] {
        let module = plugin("", &format!(r#"(func (export "gw_on_request") (result i64) {body})"#));
        let gateway = routed("filters = ['mine']", &module).await;
        let mut client = gateway.client(Wire::H1).await;
        assert_eq!(client.get("/").await.status.as_u16(), status, "{body}");
        assert_eq!(client.get("/second").await.text(), "second");
        assert_eq!(gateway.log_lines(2).await[0]["error"], error, "{body}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_written_is_a_fault() {
    // 302 and 200; a location with a line's end in it, fields about framing and with an end of the head in them.
    let redirect = (
        r#"(data (i32.const 1024) "\2e\01\00\00\00\08\00\00\03\00\00\00") (data (i32.const 2048) "/\0da")"#,
        "0x700000400",
    );
    let field = |name: &str, value: &str| {
        let size = |text: &str| format!("\\{:02x}\\00\\00\\00", text.len());
        let list = format!("{}{name}{}{value}", size(name), size(&value.replace("\\0a", "x")));
        let count = 8 + name.len() + value.replace("\\0a", "x").len();
        format!(
            r#"(data (i32.const 1024) "\c8\00\00\00\00\08\00\00\{count:02x}\00\00\00\00\00\00\00\00\00\00\00")
            (data (i32.const 2048) "{list}")"#
        )
    };
    for (call, key, passes) in [("gw_route", "router = 'mine'", true), ("gw_on_request", "filters = ['mine']", false)] {
        for (data, packed, is_right) in [
            (redirect.0.to_owned(), redirect.1, false),
            (field("content-length", "7"), "0x800000400", false),
            (field("x-a", "a\\0ab"), "0x800000400", false),
            (field("x a", "b"), "0x800000400", false),
            (field("x-a", "b"), "0x800000400", true),
        ] {
            let body = format!(r#"{data} (func (export "{call}") (result i64) (i64.const {packed}))"#);
            let gateway = routed(key, &plugin("", &body)).await;
            let reply = gateway.client(Wire::H1).await.get("/").await;
            let (wanted, text) = if passes || is_right { (200, "first") } else { (500, "") };
            assert_eq!(reply.status, wanted, "{call} {data}");
            match is_right {
                true => assert_eq!(reply.headers["x-a"], "b"),
                false => assert!(reply.text().contains(text), "{call} {data}: {}", reply.text()),
            }
            assert_eq!(faults(&gateway, "output").await, f64::from(u8::from(!is_right)), "{call} {data}");
        }
    }
}

/// A body of a decision, and the word for what is wrong with it. `$deep` and `$grow` are functions of [`ill`].
const ILL: &[(&str, &str)] = &[
    ("unreachable", "trap"),
    ("(drop (i64.load (i32.const -1))) (i64.const 0)", "trap"),
    ("(loop $l (br $l)) (i64.const 0)", "deadline"),
    ("(call $deep) (i64.const 0)", "stack"),
    ("(if (i32.lt_s (memory.grow (i32.const 60000)) (i32.const 0)) (then unreachable)) (i64.const 0)", "memory"),
    ("(call $log (i32.const 0) (i32.const -1) (i32.const 9)) (i64.const 0)", "pointer"),
    ("(i64.const -1)", "output"),
];

/// A plugin of this call that does this each time.
fn ill(call: &str, body: &str) -> Vec<u8> {
    plugin(
        r#"(import "gatewright" "log" (func $log (param i32 i32 i32)))"#,
        &format!("(func $deep (call $deep)) (func (export \"{call}\") (result i64) {body})")
            .replace("\"gw_pick\")", "\"gw_pick\") (param i32)"),
    )
}

#[tokio::test]
async fn each_fault_of_each_kind_has_its_effect_and_is_counted() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let index = ("(i64.const 7)", "index");
    let name = ("(i64.store (i32.const 1024) (i64.const 0x400000400)) (i64.const 0x500000400)", "name");
    for (call, key, status, more) in [
        ("gw_pick", "balance", 200, Some(index)),
        ("gw_route", "router = 'mine'", 200, Some(name)),
        ("gw_on_request", "filters = ['mine']", 500, None),
        ("gw_on_response", "filters = ['mine']", 500, None),
    ] {
        for (body, fault) in ILL.iter().copied().chain(more) {
            let module = ill(call, body);
            let gateway = match key {
                "balance" => balanced(&one, &two, &module).await,
                key => routed(key, &module).await,
            };
            let answer = gateway.client(Wire::H1).await.get("/").await;
            assert_eq!(answer.status, status, "{call} {body}");
            assert_eq!(faults(&gateway, fault).await, 1.0, "{call} {body}");
            // How the request ended is told to nobody while the next instance is made.
            let all = gateway.metric("gatewright_plugin_faults_total{plugin=\"mine\"").await;
            assert_eq!(all - faults(&gateway, "absent").await, 1.0, "{call} {body}");
            // It is not the gateway that is ill.
            assert_eq!(gateway.admin("GET", "/healthz").await.0, 200);
        }
    }
}

/// Its first request traps, and its configuration when this says so of how many instances there were before.
fn fails_once(call: &str, when: &str) -> Vec<u8> {
    plugin(
        r#"(import "gatewright" "slot_add" (func $add (param i32 i64) (result i64)))"#,
        &format!(
            r#"(func (export "gw_configure") (param i32 i32 i32) (result i64) (local $before i64)
                (local.set $before (call $add (i32.const 0) (i64.const 1)))
                (if {when} (then unreachable))
                (i64.const 0))
            (func (export "{call}") (result i64)
                (if (i64.eqz (call $add (i32.const 1) (i64.const 1))) (then unreachable))
                (i64.const 0))"#
        )
        .replace("\"gw_pick\")", "\"gw_pick\") (param i32)"),
    )
}

#[tokio::test]
async fn an_instance_that_cannot_be_made_at_first_is_made_later() {
    // Two of three after the first.
    let module = fails_once(
        "gw_on_request",
        "(i64.eq (i64.shr_u (i64.add (local.get $before) (i64.const 1)) (i64.const 1)) (i64.const 1))",
    );
    let gateway = routed("filters = ['mine']", &module).await;
    let mut client = gateway.client(Wire::H1).await;
    assert_eq!(client.get("/").await.status, 500);
    eventually("another instance", async || client.get("/").await.status == 200).await;
    assert_eq!(faults(&gateway, "trap").await, 1.0);
}

#[tokio::test]
async fn a_version_that_cannot_be_made_anew_makes_room_for_the_one_before() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    let mut client = gateway.client(Wire::H1).await;
    swap(&gateway, &fails_once("gw_pick", "(i64.gt_u (local.get $before) (i64.const 0))"));
    let back = async || {
        assert_eq!(client.get("/").await.status, 200);
        gateway.admin("GET", "/plugins").await.1.contains("\"recovered\"")
    };
    eventually("the last good version", back).await;
    assert_eq!(faults(&gateway, "trap").await, 1.0);
    assert_eq!(gateway.client(Wire::H1).await.get("/").await.text(), "two");
}

#[tokio::test]
async fn a_good_version_that_cannot_be_made_at_first_is_back_later() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    // The second time that it is configured it traps.
    let good = plugin(
        r#"(import "gatewright" "slot_add" (func $add (param i32 i64) (result i64)))"#,
        r#"(func (export "gw_configure") (param i32 i32 i32) (result i64)
            (if (i64.eq (call $add (i32.const 0) (i64.const 1)) (i64.const 1)) (then unreachable))
            (i64.const 0))
        (func (export "gw_pick") (param i32) (result i64) (i64.const 1))"#,
    );
    let gateway = balanced(&one, &two, &good).await;
    let mut client = gateway.client(Wire::H1).await;
    swap(&gateway, &fails());
    eventually("the last good version", async || {
        assert_eq!(client.get("/").await.status, 200);
        gateway.admin("GET", "/plugins").await.1.contains("\"recovered\"")
    })
    .await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "two");
    }
}

#[tokio::test]
async fn floods_of_lines_and_metrics_are_dropped_and_counted() {
    let module = plugin(
        r#"(import "gatewright" "log" (func $log (param i32 i32 i32)))
        (import "gatewright" "metric" (func $metric (param i32 i32 i32 i32 i32 i32 i32) (result i32)))"#,
        r#"(func (export "gw_on_request") (result i64)
            (local $i i32)
            (loop $l
                (call $log (i32.const 0) (i32.const 0) (i32.const 10))
                (i32.store16 (i32.const 1024) (i32.const 0x6161))
                (i32.store8 (i32.const 1025) (i32.add (i32.const 97) (i32.and (local.get $i) (i32.const 15))))
                (i32.store8 (i32.const 1026) (i32.add (i32.const 97) (i32.shr_u (local.get $i) (i32.const 4))))
                (drop (call $metric (i32.const 0) (i32.const 1024) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $l (i32.lt_u (local.get $i) (i32.const 200))))
            (i64.const 0))"#,
    );
    let gateway = routed("filters = ['mine']", &module).await;
    let mut client = gateway.client(Wire::H1).await;
    // A call that others keep from ending in time has a fault; the next one goes on where the series are.
    eventually("too many of both", async || {
        client.get("/").await;
        let lines = gateway.metric("gatewright_plugin_log_lines_dropped_total{plugin=\"mine\"}").await;
        let series = gateway.metric("gatewright_plugin_series_refused_total{plugin=\"mine\"}").await;
        lines > 0.0 && series > 0.0
    })
    .await;
    assert_eq!(client.get("/second").await.text(), "second");
}
