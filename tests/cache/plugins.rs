//! What plugins say to the cache: whose an answer is, what goes past it, how long an answer is kept and by what it is purged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;

use crate::harness::modules::plugin;
use crate::harness::{Gateway, Message, Origin, Wire, eventually, full, guests};

/// It answers with how often it was asked, and with the fields that the request has as `say-NAME`. A condition always holds.
async fn origin() -> Origin {
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = move |request: hyper::Request<hyper::body::Incoming>| {
        let asked = asked.clone();
        async move {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            let mut response = http::Response::new(full(number.to_string()));
            for (name, value) in request.headers() {
                if let Some(name) = name.as_str().strip_prefix("say-") {
                    let name = http::HeaderName::from_bytes(name.as_bytes()).expect("a name");
                    response.headers_mut().insert(name, value.clone());
                }
            }
            if request.headers().contains_key("if-none-match") {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                *response.body_mut() = full("");
            }
            response
        }
    };
    Origin::start(Wire::H1, answer).await
}

/// A gateway whose one route has a cache, and this plugin as a router or filter.
async fn keeping(origin: &Origin, source: &str, module: &[u8], keys: &str) -> Gateway {
    let text = "[plugin.mine]\nsource = '<source>'\n[pool.a]\nendpoints = ['<origin>']\n\
                [[route]]\npool = 'a'\n<keys>\n[admin]\naddress = '127.0.0.1:0'";
    let gateway = Gateway::of(text).with("source", source).with("origin", origin).with("keys", keys);
    gateway.file("mine.wasm", module).start().await
}

fn told(message: &Message) -> String {
    message.field("cache-status").unwrap_or_default()
}

/// Imports of modules here.
const IMPORTS: &str = r#"
    (import "gatewright" "cache" (func $cache (param i32 i32 i32 i64) (result i32)))
    (import "gatewright" "header" (func $header (param i32 i32 i32 i32 i32) (result i32)))"#;

/// Its key has a part as `x-tenant` says; `wrong` is too much for it.
fn by_tenant() -> Vec<u8> {
    let body = r#"
        (data (i32.const 1024) "x-tenant")
        (func (export "gw_route") (result i64)
            (local $size i32)
            (local.set $size (call $header (i32.const 0) (i32.const 1024) (i32.const 8) (i32.const 2048) (i32.const 512)))
            (if (i32.lt_s (local.get $size) (i32.const 0)) (then (return (i64.const 0))))
            (if (i32.eq (local.get $size) (i32.const 5)) (then unreachable))
            (drop (call $cache (i32.const 0) (i32.const 2048) (local.get $size) (i64.const 0)))
            (i64.const 0))"#;
    plugin(IMPORTS, body)
}

/// Does what the first letters of `x-do` and `x-fetch` say.
fn obedient() -> Vec<u8> {
    let of = |letter: char, then: &str| {
        format!("(if (i32.eq (i32.load8_u (i32.const 2048)) (i32.const {})) (then {then}))", u32::from(letter))
    };
    let on_request = [
        of('b', "(drop (call $cache (i32.const 1) (i32.const 0) (i32.const 0) (i64.const 0)))"),
        of('t', "(drop (call $cache (i32.const 2) (i32.const 0) (i32.const 0) (i64.const 60)))"),
        of('k', "(drop (call $cache (i32.const 0) (i32.const 2048) (local.get $size) (i64.const 0)))"),
        // More than a part may have.
        of('l', "(drop (call $cache (i32.const 0) (i32.const 2048) (i32.const 257) (i64.const 0)))"),
        // What only a response has.
        of('s', "(drop (call $cache (i32.const 3) (i32.const 0) (i32.const 0) (i64.const 0)))"),
    ];
    let on_fetch = [
        of('n', "(drop (call $cache (i32.const 3) (i32.const 0) (i32.const 0) (i64.const 0)))"),
        of('t', "(drop (call $cache (i32.const 2) (i32.const 0) (i32.const 0) (i64.const 60)))"),
        of('z', "(drop (call $cache (i32.const 2) (i32.const 0) (i32.const 0) (i64.const 0)))"),
        of('g', "(drop (call $cache (i32.const 4) (i32.const 2048) (local.get $size) (i64.const 0)))"),
        of('x', "unreachable"),
        of('w', "(return (i64.const 0x2000001f7))"),
        // What only a request has.
        of('k', "(drop (call $cache (i32.const 0) (i32.const 2048) (local.get $size) (i64.const 0)))"),
    ];
    let call = |export: &str, name: &str, cases: &[String]| {
        let (at, size) = if name == "x-do" { (1024, 4) } else { (1032, 7) };
        format!(
            r#"(func (export "{export}") (result i64)
                (local $size i32)
                (i32.store8 (i32.const 2048) (i32.const 0))
                (local.set $size (call $header (i32.const 0) (i32.const {at}) (i32.const {size}) (i32.const 2048) (i32.const 512)))
                {}
                (i64.const 0))"#,
            cases.concat()
        )
    };
    let body = format!(
        r#"(data (i32.const 1024) "x-do") (data (i32.const 1032) "x-fetch") {} {}"#,
        call("gw_on_request", "x-do", &on_request),
        call("gw_on_fetch", "x-fetch", &on_fetch)
    );
    plugin(IMPORTS, &body)
}

const FRESH: &str = "say-cache-control: max-age=60";

#[tokio::test]
async fn each_tenant_has_entries_of_its_own_in_both_forms_of_a_plugin() {
    let module = std::fs::read(guests::wasm("gatewright-plugin-tenant")).expect("a module");
    for source in ["builtin:tenant", "mine.wasm"] {
        let origin = origin().await;
        let keys = "router = 'mine'\ncache = true\n[plugin.mine.config]\nby = 'header:x-tenant'\ncache_apart = true\n\
                    tenants = { acme = 'a', globex = 'a' }";
        let gateway = keeping(&origin, source, &module, keys).await;
        let ask = async |tenant: &str| {
            let fields = [FRESH, &format!("x-tenant: {tenant}")];
            gateway.get("localhost/a", &fields).await
        };
        // The first stood alone, so it is asked for once more when there are several.
        let acme = [("acme", "0"), ("globex", "1"), ("stranger", "2"), ("other", "2"), ("acme", "3"), ("ACME", "3")];
        for (tenant, body) in acme {
            assert_eq!(ask(tenant).await.text(), body, "{source}: {tenant}");
        }
        assert!(told(&ask("globex").await).starts_with("gatewright; hit"), "{source}");
        // Whose they are is shown.
        let (_, list) = gateway.admin("GET", "/cache/list?url=http%3A%2F%2Flocalhost%2Fa").await;
        let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
        let mut keys: Vec<String> =
            list["entries"].as_array().expect("entries").iter().map(|entry| entry["key"].to_string()).collect();
        keys.sort();
        assert_eq!(keys, [r#"["mine=acme"]"#, r#"["mine=globex"]"#, "[]"], "{source}: {list}");
        // A URL is purged with all of them.
        let (_, purged) = gateway.order("/cache/purge?url=http%3A%2F%2Flocalhost%2Fa", b"").await;
        assert_eq!(purged["purged"], 3, "{source}: {purged}");
        for (tenant, body) in [("acme", "4"), ("globex", "5"), ("stranger", "6"), ("acme", "4")] {
            assert_eq!(ask(tenant).await.text(), body, "{source}: {tenant}");
        }
    }
}

#[tokio::test]
async fn a_router_that_fails_sends_nobody_to_entries_of_others() {
    let origin = origin().await;
    let gateway = keeping(&origin, "mine.wasm", &by_tenant(), "router = 'mine'\ncache = true").await;
    let ask = async |tenant: &str| gateway.get("localhost/a", &[FRESH, &format!("x-tenant: {tenant}")]).await;
    let nobody = gateway.get("localhost/a", &[FRESH]).await.text().to_owned();
    let (one, two) = (ask("one").await.text().to_owned(), ask("two").await.text().to_owned());
    assert_eq!([&*nobody, &*one, &*two], ["0", "1", "2"]);
    for _ in 0..30 {
        // It fails, or is not there yet, and in the end is not called any more.
        let failed = ask("wrong").await;
        assert_eq!(told(&failed), "gatewright; fwd=bypass; fwd-status=200; detail=plugin");
        assert!(![&nobody, &one, &two].contains(&&failed.text().to_owned()));
    }
    eventually("the quarantine", async || {
        ask("wrong").await;
        gateway.metric("gatewright_plugin_faults_total{plugin=\"mine\",fault=\"trap\"}").await > 20.0
    })
    .await;
    // Without the plugin nobody knows whose a request is.
    for tenant in ["one", "two"] {
        assert_eq!(told(&ask(tenant).await), "gatewright; fwd=bypass; fwd-status=200; detail=plugin");
    }
    assert!(told(&gateway.get("localhost/a", &[FRESH]).await).contains("bypass"));
}

#[tokio::test]
async fn entries_of_tenants_are_told_apart_on_disk_too() {
    let (origin, folder) = (origin().await, tempfile::tempdir().expect("a folder"));
    let start = async || {
        let keys =
            format!("router = 'mine'\ncache = true\n[cache]\ndisk = {{ folder = '{}/kept' }}", folder.path().display());
        let gateway = keeping(&origin, "mine.wasm", &by_tenant(), &keys).await;
        let serving = "gatewright_cache_disk_info{stage=\"serving\"}";
        eventually("the folder", async || gateway.metric(serving).await == 1.0).await;
        gateway
    };
    let first = start().await;
    let tenants = ["one", "two", "six"];
    for (number, tenant) in tenants.iter().enumerate() {
        let answer =
            first.get("localhost/a", &["say-cache-control: max-age=600", &format!("x-tenant: {tenant}")]).await;
        assert_eq!(answer.text(), number.to_string());
    }
    let written = "gatewright_cache_disk_events_total{event=\"written\"}";
    eventually("the files", async || first.metric(written).await == 3.0).await;
    drop(first);
    let second = start().await;
    for (number, tenant) in tenants.iter().enumerate().rev() {
        let answer = second.get("localhost/a", &[FRESH, &format!("x-tenant: {tenant}")]).await;
        assert_eq!(answer.text(), number.to_string(), "{tenant}: {answer:?}");
        assert!(told(&answer).starts_with("gatewright; hit") && told(&answer).contains("detail=disk"), "{answer:?}");
    }
    // Nobody has asked for any of these.
    for fields in [&[FRESH][..], &[FRESH, "x-tenant: four"]] {
        assert!(told(&second.get("localhost/a", fields).await).contains("fwd="), "{fields:?}");
    }
}

/// Requests, what they say, and what Cache-Status begins with.
type Case<'a> = (&'a str, &'a [&'a str], &'a str);

#[tokio::test]
async fn a_filter_has_its_say_about_requests_and_what_is_fetched() {
    let origin = origin().await;
    let keys = "filters = ['mine']\ncache = { ttl_most = '2m' }";
    let gateway = keeping(&origin, "mine.wasm", &obedient(), keys).await;
    let never = "say-cache-control: no-store";
    let zero = "say-cache-control: max-age=0";
    let cases: &[Case<'_>] = &[
        ("/past", &[FRESH, "x-do: b"], "fwd=bypass; fwd-status=200; detail=plugin"),
        ("/past", &[FRESH], "fwd=uri-miss; fwd-status=200; stored"),
        ("/past", &[FRESH, "x-do: b"], "fwd=bypass"),
        ("/past", &[FRESH], "hit; ttl="),
        // A part that cannot be taken is no key.
        ("/long", &[FRESH], "fwd=uri-miss; fwd-status=200; stored"),
        ("/long", &[FRESH, "x-do: l"], "fwd=bypass; fwd-status=200; detail=plugin"),
        ("/key", &[FRESH, "x-do: k1"], "fwd=uri-miss; fwd-status=200; stored"),
        ("/key", &[FRESH, "x-do: k2"], "fwd=vary-miss; fwd-status=200; stored"),
        ("/key", &[FRESH, "x-do: k1"], "fwd=vary-miss; fwd-status=200; stored"),
        ("/key", &[FRESH, "x-do: k1"], "hit"),
        ("/key", &[FRESH, "x-do: k2"], "hit"),
        ("/key", &[FRESH], "fwd=vary-miss"),
        // What an answer does not say, and in place of what it says.
        ("/ttl", &["x-do: t"], "fwd=uri-miss; fwd-status=200; stored"),
        ("/ttl", &[], "hit; ttl=60"),
        ("/zero", &[zero, "x-do: t"], "fwd=uri-miss; fwd-status=200; stored"),
        ("/zero", &[], "hit; ttl=60"),
        ("/fetched", &["x-fetch: t"], "fwd=uri-miss; fwd-status=200; stored"),
        ("/fetched", &[], "hit; ttl=60"),
        // It counts from the receipt.
        ("/aged", &["say-age: 1000", "x-fetch: t"], "fwd=uri-miss; fwd-status=200; stored"),
        ("/aged", &[], "hit; ttl=60"),
        ("/shorter", &[FRESH, "x-fetch: z"], "fwd=uri-miss; fwd-status=200; stored"),
        ("/shorter", &[FRESH], "fwd=stale"),
        // It allows nothing that is forbidden.
        ("/never", &[never, "x-do: t", "x-fetch: t"], "fwd=uri-miss; fwd-status=200; detail=no-store"),
        ("/cookie", &["say-set-cookie: a=b", "x-fetch: t"], "fwd=uri-miss; fwd-status=200; detail=set-cookie"),
        ("/no", &[FRESH, "x-fetch: n"], "fwd=uri-miss; fwd-status=200; detail=plugin"),
        ("/no", &[FRESH], "fwd=uri-miss"),
        // In the wrong place it says nothing.
        ("/wrong", &[FRESH, "x-do: s", "x-fetch: k"], "fwd=uri-miss; fwd-status=200; stored"),
        ("/wrong", &[FRESH], "hit"),
    ];
    for (target, fields, begin) in cases {
        let answer = gateway.get(&format!("localhost{target}"), fields).await;
        assert_eq!(answer.status(), 200, "{target} {fields:?}: {answer:?}");
        let told = told(&answer);
        assert!(told.starts_with(&format!("gatewright; {begin}")), "{target} {fields:?}: {told}");
    }
}

#[tokio::test]
async fn what_a_filter_says_holds_when_an_entry_is_renewed() {
    let origin = origin().await;
    let gateway = keeping(&origin, "mine.wasm", &obedient(), "filters = ['mine']\ncache = true").await;
    let ask = async |fields: &[&str]| gateway.get("localhost/a", fields).await;
    let tagged = ["say-etag: \"1\"", "say-cache-control: max-age=0", "x-fetch: go"];
    assert!(told(&ask(&tagged).await).ends_with("stored"));
    let purge = async || gateway.order("/cache/purge?tag=go&soft", b"").await.1["purged"].clone();
    assert_eq!(purge().await, 1);
    // A 304: with the tag that it gets this time, and the time.
    assert!(told(&ask(&tagged).await).starts_with("gatewright; fwd=stale; fwd-status=304; stored"));
    assert_eq!(purge().await, 1);
    assert!(told(&ask(&["say-etag: \"1\"", "x-fetch: t"]).await).starts_with("gatewright; fwd=stale; fwd-status=304"));
    assert!(told(&ask(&[]).await).starts_with("gatewright; hit; ttl=60"));
    assert_eq!(purge().await, 0);
    // When the origin says that it still holds, a filter may say that it is to go.
    gateway.order("/cache/purge?all&soft", b"").await;
    assert!(told(&ask(&["say-etag: \"1\"", "x-fetch: n"]).await).starts_with("gatewright; fwd=stale; fwd-status=304"));
    assert!(told(&ask(&[FRESH]).await).starts_with("gatewright; fwd=uri-miss"));
}

#[tokio::test]
async fn what_a_filter_fails_about_is_given_and_not_kept() {
    for (word, fault) in [("x", "trap"), ("w", "output")] {
        let origin = origin().await;
        let gateway = keeping(&origin, "mine.wasm", &obedient(), "filters = ['mine']\ncache = true").await;
        let answer = gateway.get("localhost/a", &[FRESH, &format!("x-fetch: {word}")]).await;
        assert!(told(&answer).starts_with("gatewright; fwd=uri-miss"), "{answer:?}");
        assert!(!told(&answer).contains("stored"), "{answer:?}");
        let faults = format!("gatewright_plugin_faults_total{{plugin=\"mine\",fault=\"{fault}\"}}");
        assert_eq!(gateway.metric(&faults).await, 1.0);
        let (_, list) = gateway.admin("GET", "/cache/list").await;
        let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
        assert_eq!(list["entries"].as_array().map(Vec::len), Some(0), "{list}");
    }
}
