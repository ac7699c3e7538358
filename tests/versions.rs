//! Versions of plugins: pushed, tried as shadows and canaries, promoted, rolled back; and no client notices.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncBufReadExt;

use crate::harness::modules::{fails, picks, plugin};
use crate::harness::{Client, Gateway, Origin, RawOrigin, Wire, eventually, full, within};
use crate::plugins::{ADMIN, balanced, swap};

const PUSH: &str = "/plugins/push?plugin=mine";

pub(crate) async fn mine(gateway: &Gateway) -> Value {
    let (status, text) = gateway.admin("GET", "/plugins").await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str::<Value>(&text).expect("JSON")["plugins"][0].clone()
}

/// Who answers so many requests; none of them fails.
async fn answers(client: &mut Client, count: usize) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..count {
        let reply = client.get("/").await;
        assert_eq!(reply.status, 200);
        *seen.entry(reply.text().to_owned()).or_default() += 1;
    }
    seen
}

pub(crate) async fn only(client: &mut Client, who: &str) {
    assert_eq!(answers(client, 10).await.into_keys().collect::<Vec<_>>(), [who]);
}

/// Asks until a trial is over; what is then known of the plugin.
async fn after_trial(gateway: &Gateway, client: &mut Client) -> Value {
    eventually("the end of the trial", async || {
        client.get("/").await;
        mine(gateway).await["trial"].is_null()
    })
    .await;
    mine(gateway).await
}

#[tokio::test]
async fn a_pushed_version_is_in_force_when_that_is_answered_and_one_goes_back() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    let mut client = gateway.client(Wire::H1).await;
    only(&mut client, "two").await;
    let first = mine(&gateway).await["version"].clone();

    let (status, answer) = gateway.order(PUSH, &picks(0)).await;
    assert_eq!((status, &answer["state"]), (200, &"in-force".into()), "{answer}");
    only(&mut client, "one").await;
    let now = mine(&gateway).await;
    assert_eq!((&now["version"], &now["reason"]), (&answer["version"], &"pushed".into()));
    assert_eq!(now["source_gives"], first);
    assert_eq!(gateway.metric("gatewright_plugin_swaps_total{plugin=\"mine\",result=\"done\"}").await, 1.0);

    // A reload that changes nothing about it leaves it in force.
    assert_eq!(gateway.admin("POST", "/reload").await.0, 200);
    only(&mut client, "one").await;

    let (status, answer) = gateway.order("/plugins/rollback?plugin=mine", b"").await;
    assert_eq!((status, &answer["version"]), (200, &first), "{answer}");
    only(&mut client, "two").await;
    let (status, answer) = gateway.order("/plugins/rollback?plugin=mine", b"").await;
    assert_eq!(status, 422);
    assert!(answer["problem"].as_str().unwrap().contains("no earlier version"), "{answer}");

    // What the source gives goes before what was pushed as soon as it is something else.
    gateway.order(PUSH, &picks(0)).await;
    only(&mut client, "one").await;
    swap(
        &gateway,
        &plugin("", r#"(func (export "gw_pick") (param i32) (result i64) (i64.const 1) (drop (i32.const 7)))"#),
    );
    eventually("the source", async || client.get("/").await.text() == "two").await;
    let history = mine(&gateway).await["history"].clone();
    let reasons: Vec<&str> =
        history.as_array().unwrap().iter().map(|entry| entry["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["rolled-back", "pushed", "pushed", "source"]);
}

#[tokio::test]
async fn nobody_goes_back_to_what_somebody_went_back_from() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    let mut client = gateway.client(Wire::H1).await;
    let first = mine(&gateway).await["version"].clone();
    let third = plugin("", r#"(func (export "gw_pick") (param i32) (result i64) (i64.const 0) (drop (i32.const 7)))"#);
    for module in [picks(0), third] {
        let (_, pushed) = gateway.order(PUSH, &module).await;
        only(&mut client, "one").await;
        let (status, answer) = gateway.order("/plugins/rollback?plugin=mine", b"").await;
        assert_eq!((status, &answer["version"]), (200, &first), "{answer}");
        only(&mut client, "two").await;
        // Unless it is named.
        let named = format!("/plugins/rollback?plugin=mine&to={}", pushed["version"].as_str().unwrap());
        assert_eq!(gateway.order(&named, b"").await.1["version"], pushed["version"]);
        only(&mut client, "one").await;
        assert_eq!(gateway.order("/plugins/rollback?plugin=mine", b"").await.1["version"], first);
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_with_the_reason_and_changes_nothing() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    let mut client = gateway.client(Wire::H1).await;
    let before = mine(&gateway).await;
    let refuses = plugin("", "");
    let trap = plugin(
        "",
        r#"(func (export "gw_pick") (param i32) (result i64) (i64.const 0)) (start $s) (func $s unreachable)"#,
    );
    let large = vec![0; 17 << 20];
    for (path, module, status, words) in [
        (PUSH, &b"hello"[..], 422, "not a valid WebAssembly module"),
        (PUSH, &b""[..], 422, "not a valid WebAssembly module"),
        (PUSH, &refuses, 422, "it is of no kind"),
        (PUSH, &trap, 422, "for pool \"a\": start: it trapped"),
        (PUSH, &large, 413, "a module has at most"),
        (
            "/plugins/push?plugin=other",
            &picks(0),
            404,
            "there is no [plugin.other] in the configuration; there are mine",
        ),
        ("/plugins/push", &picks(0), 400, "needs plugin=NAME"),
        ("/plugins/push?plugin=mine&canary=200%25", &picks(0), 400, "canary takes a share"),
        ("/plugins/push?plugin=mine&for=soon", &picks(0), 400, "for takes a time"),
        ("/plugins/push?plugin=mine&shadow=1", &picks(0), 400, "shadow takes a time"),
        (
            "/plugins/push?plugin=mine&canry=10%25",
            &picks(0),
            400,
            "\"canry\", which is not known here; did you mean \"canary\"?",
        ),
        ("/plugins/push?plugin=mine&to=0123", &picks(0), 400, "\"to\", which is not known here"),
        ("/plugins/push?plugin=mine&plugin=other", &picks(0), 400, "has plugin twice"),
        ("/plugins/push?plugin=mine&at_once=no", &picks(0), 400, "at_once takes no value, not \"no\""),
        ("/plugins/push?plugin=mine&at_once&shadow=1m", &picks(0), 400, "at_once goes with neither"),
        ("/plugins/rollback?plugin=mine&version_=1", &[], 400, "did you mean \"version\"?"),
        (
            "/plugins/rollback?plugin=mine&to=0123",
            &[],
            422,
            "version \"0123\": no such version was in force; there were",
        ),
        ("/plugins/promote?plugin=mine", &[], 422, "has no version on trial"),
    ] {
        let (found, answer) = gateway.order(path, module).await;
        assert_eq!(found, status, "{path}: {answer}");
        let problem = answer["problem"].as_str().unwrap();
        assert!(problem.contains(words) && !problem.contains("gateway.toml"), "{path}: {answer}");
        only(&mut client, "two").await;
    }
    let now = mine(&gateway).await;
    assert_eq!((&now["version"], &now["history"]), (&before["version"], &before["history"]));
    assert_eq!(gateway.metric("gatewright_plugin_swaps_total{plugin=\"mine\",result=\"refused\"}").await, 4.0);
    assert_eq!(gateway.admin("GET", "/plugins/push").await.0, 405);
}

#[tokio::test]
async fn a_canary_decides_for_its_share_and_comes_into_force_when_it_does_well() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    let mut client = gateway.client(Wire::H1).await;
    let (status, answer) = gateway.order(&format!("{PUSH}&canary=50%25&for=1h"), &picks(0)).await;
    assert_eq!((status, &answer["state"]), (200, &"canary".into()), "{answer}");
    // Half of 400, and less than one in a million runs is this far from it.
    let seen = answers(&mut client, 400).await;
    assert!((150..250).contains(&seen["one"]), "{seen:?}");
    let trial = mine(&gateway).await["trial"].clone();
    assert_eq!(trial["candidate"]["decisions"], seen["one"], "{trial}");
    assert_eq!(trial["live"]["decisions"], seen["two"]);
    assert_eq!(trial["candidate"]["requests"], seen["one"], "{trial}");
    assert_eq!(gateway.metric("gatewright_plugin_trial{plugin=\"mine\"").await, 1.0);
    assert_eq!(gateway.order("/plugins/promote?plugin=mine", b"").await.0, 200);
    only(&mut client, "one").await;

    // By itself, once its time is over and it has decided often enough.
    let (_, answer) = gateway.order(&format!("{PUSH}&canary=50%25&for=1ms"), &picks(1)).await;
    let now = after_trial(&gateway, &mut client).await;
    assert_eq!((&now["version"], &now["ended"]["result"]), (&answer["version"], &"done".into()), "{now}");
    only(&mut client, "two").await;
}

#[tokio::test]
async fn a_canary_that_fails_goes_back_and_no_client_notices() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    let mut client = gateway.client(Wire::H1).await;
    let before = mine(&gateway).await;
    let (_, answer) = gateway.order(&format!("{PUSH}&canary=50%25&for=1h"), &fails()).await;
    eventually("the end of the trial", async || {
        only(&mut client, "two").await;
        mine(&gateway).await["trial"].is_null()
    })
    .await;
    let now = mine(&gateway).await;
    assert_eq!((&now["version"], &now["reason"]), (&before["version"], &"source".into()), "{now}");
    assert_eq!(now["history"], before["history"]);
    let ended = &now["ended"];
    assert_eq!((&ended["version"], &ended["result"]), (&answer["version"], &"rolled-back".into()));
    assert!(ended["why"].as_str().unwrap().starts_with("it failed"), "{ended}");
    assert_eq!(gateway.metric("gatewright_plugin_swaps_total{plugin=\"mine\",result=\"rolled-back\"}").await, 1.0);
    only(&mut client, "two").await;
}

/// A router that names a route.
fn names(route: &str) -> Vec<u8> {
    let body = format!(
        r#"(data (i32.const 1024) "{route}") (data (i32.const 1040) "\00\04\00\00\0{}\00\00\00")
        (func (export "gw_route") (result i64) (i64.const 0x500000410))"#,
        route.len()
    );
    plugin("", &body)
}

#[tokio::test]
async fn a_router_on_trial_that_names_what_is_not_there_goes_back() {
    let text = "[plugin.mine]\nsource = 'mine.wasm'\n[[route]]\nmatch = { path = '/' }\nrouter = 'mine'\nrespond = 'table'\n\
                [[route]]\nname = 'second'\nmatch = { path = '/second' }\nrespond = 'second'";
    let gateway = Gateway::of(text).file("mine.wasm", names("second")).and(ADMIN).start().await;
    let mut client = gateway.client(Wire::H1).await;
    // Few enough faults that it is the trial that ends, and not the version that is quarantined.
    for trial in ["canary=100%25&for=1h", "shadow=1h"] {
        let (status, answer) = gateway.order(&format!("{PUSH}&{trial}"), &names("nobody")).await;
        assert_eq!(status, 200, "{answer}");
        for _ in 0..4 {
            // The version in force decides where the other has failed.
            assert_eq!(client.get("/").await.text(), "second", "{trial}");
        }
        eventually("the end of the trial", async || mine(&gateway).await["trial"].is_null()).await;
        let ended = mine(&gateway).await["ended"].clone();
        assert_eq!(ended["result"], "rolled-back", "{ended}");
        assert!(ended["why"].as_str().unwrap().starts_with("it failed "), "{ended}");
        assert!(ended["why"].as_str().unwrap().contains(" times in "), "{ended}");
    }
}

#[tokio::test]
async fn a_version_on_trial_that_fails_after_it_has_decided_goes_back() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    let mut client = gateway.client(Wire::H1).await;
    let decides = r#"(func (export "gw_pick") (param i32) (result i64) (i64.const 0))"#;
    for (call, trial) in [
        (r#""gw_outcome") (param i32 i32 i32 i64 i64)"#, "shadow=1h"),
        (r#""gw_outcome") (param i32 i32 i32 i64 i64)"#, "canary=50%25&for=1h"),
    ] {
        let candidate = plugin("", &format!("{decides} (func (export {call} unreachable)"));
        gateway.order(&format!("{PUSH}&{trial}"), &candidate).await;
        let ended = after_trial(&gateway, &mut client).await["ended"].clone();
        assert_eq!(ended["result"], "rolled-back", "{ended}");
        assert!(ended["why"].as_str().unwrap().contains(" times in "), "{ended}");
    }
}

#[tokio::test]
async fn a_canary_whose_requests_fail_goes_back() {
    let broken = |_| async {
        let mut response = http::Response::new(full(""));
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    };
    let (one, two) = (Origin::start(Wire::H1, broken).await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    let mut client = gateway.client(Wire::H1).await;
    gateway.order(&format!("{PUSH}&canary=30%25&for=1h"), &picks(0)).await;
    let now = after_trial(&gateway, &mut client).await;
    assert_eq!(now["ended"]["result"], "rolled-back", "{now}");
    assert!(now["ended"]["why"].as_str().unwrap().contains("% of its requests failed"), "{now}");
    only(&mut client, "two").await;
}

#[tokio::test]
async fn a_shadow_is_asked_and_not_heard() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    let mut client = gateway.client(Wire::H1).await;
    let (_, answer) = gateway.order(&format!("{PUSH}&shadow=1h"), &picks(0)).await;
    assert_eq!(answer["state"], "shadow");
    only(&mut client, "two").await;
    let trial = mine(&gateway).await["trial"].clone();
    assert_eq!((&trial["candidate"]["decisions"], &trial["same_decisions"]), (&10.into(), &0.into()), "{trial}");
    // An operator ends it.
    let (status, _) = gateway.order("/plugins/rollback?plugin=mine", b"").await;
    assert_eq!(status, 200);
    assert!(mine(&gateway).await["trial"].is_null());

    // One that fails costs nobody anything.
    gateway.order(&format!("{PUSH}&shadow=1h"), &fails()).await;
    eventually("the end of the trial", async || {
        only(&mut client, "two").await;
        mine(&gateway).await["trial"].is_null()
    })
    .await;

    // A shadow, then a canary, then in force.
    let other = plugin("", r#"(func (export "gw_pick") (param i32) (result i64) (i64.const 1) (drop (i32.const 7)))"#);
    gateway.order(&format!("{PUSH}&shadow=1ms&canary=50%25&for=1h"), &other).await;
    eventually("the canary", async || {
        only(&mut client, "two").await;
        mine(&gateway).await["trial"]["stage"] == "canary"
    })
    .await;
    gateway.order(&format!("{PUSH}&shadow=1ms"), &picks(0)).await;
    let now = after_trial(&gateway, &mut client).await;
    assert_eq!(now["ended"]["result"], "done", "{now}");
    only(&mut client, "one").await;
}

#[tokio::test]
async fn a_source_that_changed_is_tried_as_the_configuration_says() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let text = "
        [plugin.mine]
        source = 'mine.wasm'
        canary = { share = '50%', for = '1h' }
        [pool.a]
        endpoints = ['<one>', '<two>']
        balance = 'mine'
        [pool.b]
        endpoints = ['<one>', '<two>']
        balance = 'mine'
        [[route]]
        pool = 'a'
        [[route]]
        match = { path = '/b' }
        pool = 'b'";
    let gateway = Gateway::of(text).with("one", &one).with("two", &two).file("mine.wasm", picks(1)).and(ADMIN);
    let gateway = gateway.start_file().await;
    let mut client = gateway.client(Wire::H1).await;
    only(&mut client, "two").await;
    swap(&gateway, &picks(0));
    eventually("the trial", async || mine(&gateway).await["trial"]["stage"] == "canary").await;
    let seen = answers(&mut client, 100).await;
    assert!(seen.len() == 2, "{seen:?}");
    // What one pool sees of it counts for the other: it is one version for both.
    eventually("the other pool's part", async || client.get("/b").await.text() == "one").await;
    // Back, for as long as the source gives just that.
    assert_eq!(gateway.order("/plugins/rollback?plugin=mine", b"").await.0, 200);
    assert_eq!(gateway.admin("POST", "/reload").await.0, 200);
    only(&mut client, "two").await;
    assert_eq!(client.get("/b").await.text(), "two");
    // Pushed, it comes into force in both at once.
    assert_eq!(gateway.order(&format!("{PUSH}&at_once"), &picks(0)).await.1["state"], "in-force");
    only(&mut client, "one").await;
    assert_eq!(client.get("/b").await.text(), "one");
}

#[tokio::test]
async fn routers_and_filters_are_tried_like_balancers() {
    let failing = plugin("", r#"(func (export "gw_on_request") (result i64) unreachable)"#);
    let passes = plugin("", r#"(func (export "gw_on_request") (result i64) (i64.const 0))"#);
    let text = "
        [plugin.mine]
        source = 'mine.wasm'
        [[route]]
        filters = ['mine']
        respond = 'hi'";
    let gateway = Gateway::of(text).file("mine.wasm", &passes).and(ADMIN).start_file().await;
    let mut client = gateway.client(Wire::H1).await;
    assert_eq!(client.get("/").await.text(), "hi");
    let (status, answer) = gateway.order(&format!("{PUSH}&canary=50%25&for=1h"), &failing).await;
    assert_eq!(status, 200, "{answer}");
    // The one on trial fails, the one in force decides: a filter that fails would refuse.
    eventually("the end of the trial", async || {
        assert_eq!(client.get("/").await.status, 200);
        mine(&gateway).await["trial"].is_null()
    })
    .await;
    assert_eq!(mine(&gateway).await["ended"]["result"], "rolled-back");
}

/// A balancer that picks the second endpoint when it has a configuration.
fn configured() -> Vec<u8> {
    let body = r#"(global $size (mut i32) (i32.const 0))
        (func (export "gw_configure") (param i32 i32 i32) (result i64) (global.set $size (local.get 2)) (i64.const 0))
        (func (export "gw_pick") (param i32) (result i64)
            (i64.extend_i32_u (i32.gt_u (global.get $size) (i32.const 2))))"#;
    plugin("", body)
}

#[tokio::test]
async fn configurations_of_one_module_are_versions_with_names_of_their_own_and_bounds_are_none() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let text = |more: &str| {
        format!(
            "[plugin.mine]\nsource = 'mine.wasm'\n{more}\n[pool.a]\nendpoints = ['<one>', '<two>']\nbalance = 'mine'\n\
             [[route]]\npool = 'a'\n[admin]\naddress = '127.0.0.1:0'\n"
        )
    };
    let gateway = Gateway::of(&text("")).with("one", &one).with("two", &two).file("mine.wasm", configured());
    let gateway = gateway.start_file().await;
    let mut client = gateway.client(Wire::H1).await;
    only(&mut client, "one").await;
    let first = mine(&gateway).await["version"].as_str().unwrap().to_owned();
    let (module, _) = first.split_once('.').expect("a name of two parts");
    // Of one that there is once, the module says enough.
    let (status, answer) = gateway.order(&format!("/plugins/rollback?plugin=mine&to={module}"), b"").await;
    assert_eq!((status, &answer["version"]), (200, &Value::from(&*first)), "{answer}");

    gateway.apply(&text("config = { a = 1 }")).await.expect("another configuration");
    only(&mut client, "two").await;
    let now = mine(&gateway).await;
    let second = now["version"].as_str().unwrap().to_owned();
    assert!(second != first && second.starts_with(&format!("{module}.")), "{first} {second}");
    assert_eq!(now["source_gives"], now["version"]);
    let info = format!("gatewright_plugin_info{{plugin=\"mine\",version=\"{second}\"}}");
    assert_eq!(gateway.metric(&info).await, 1.0);

    // Other bounds are no other version, neither for the one in force nor for the one before.
    let swaps = "gatewright_plugin_swaps_total{plugin=\"mine\",result=\"done\"}";
    let done = gateway.metric(swaps).await;
    for bounds in ["deadline = '11ms'", "deadline = '12ms'\nmemory_size = '8MiB'", "configure_time = '900ms'"] {
        gateway.apply(&text(&format!("config = {{ a = 1 }}\n{bounds}"))).await.expect(bounds);
        only(&mut client, "two").await;
        let found = mine(&gateway).await;
        assert_eq!((&found["version"], &found["history"]), (&now["version"], &now["history"]), "{bounds}");
    }
    let file = gateway.folder().join("gateway.toml");
    let more = "source = 'mine.wasm'\nconfig = { a = 1 }\ndeadline = '13ms'";
    let changed = std::fs::read_to_string(&file).expect("a file").replace("source = 'mine.wasm'", more);
    std::fs::write(gateway.folder().join("draft"), changed).expect("to write");
    std::fs::rename(gateway.folder().join("draft"), file).expect("to put in place");
    assert_eq!(gateway.admin("POST", "/reload").await.0, 200);
    assert_eq!(mine(&gateway).await["history"], now["history"]);
    assert_eq!(gateway.metric(swaps).await, done);

    let (status, answer) = gateway.order(&format!("/plugins/rollback?plugin=mine&to={module}"), b"").await;
    let problem = answer["problem"].as_str().unwrap();
    assert!(status == 422 && problem.contains(&format!("{first}, {second}; give one of these")), "{answer}");
    let (status, answer) = gateway.order(&format!("/plugins/rollback?plugin=mine&to={first}"), b"").await;
    assert_eq!((status, &answer["version"]), (200, &Value::from(&*first)), "{answer}");
    only(&mut client, "one").await;
    let back = mine(&gateway).await;
    assert_eq!(back["history"].as_array().map(Vec::len), Some(2), "{back}");
    assert_eq!((&back["history"][0]["in_force"], &back["source_gives"]), (&Value::from(true), &Value::from(&*second)));
}

/// A balancer that takes no configuration but an empty one.
fn picky() -> Vec<u8> {
    let body = r#"(data (i32.const 1024) "no thanks")
        (func (export "gw_configure") (param i32 i32 i32) (result i64)
            (if (result i64) (i32.eq (local.get 2) (i32.const 2))
                (then (i64.const 0))
                (else (i64.const 0x40000000009))))
        (func (export "gw_pick") (param i32) (result i64) (i64.const 0))"#;
    plugin("", body)
}

#[tokio::test]
async fn a_plugin_that_nothing_uses_is_configured_all_the_same_and_never_on_trial() {
    let text = |more: &str| {
        format!(
            "[plugin.mine]\nsource = 'mine.wasm'\n{more}\n[pool.a]\nendpoints = ['<one>']\n[[route]]\npool = 'a'\n\
             [admin]\naddress = '127.0.0.1:0'\n"
        )
    };
    let one = Origin::says("one").await;
    let gateway = Gateway::of(&text("canary = { share = '10%', for = '1h' }")).with("one", &one);
    let gateway = gateway.file("mine.wasm", picky()).start_file().await;
    let before = mine(&gateway).await;
    assert_eq!(before["used"], false);
    let problems = gateway.apply(&text("config = { a = 1 }")).await.expect_err("a configuration that it refuses");
    assert!(problems.contains("plugin.mine.config: no thanks"), "{problems}");

    for trial in ["canary=10%25", "shadow=1m"] {
        let (status, answer) = gateway.order(&format!("{PUSH}&{trial}"), &picks(0)).await;
        let problem = answer["problem"].as_str().unwrap();
        assert!(status == 422 && problem.contains("no pool and no route uses plugin \"mine\""), "{answer}");
    }
    assert_eq!(mine(&gateway).await["version"], before["version"]);
    let trap = plugin(
        "",
        r#"(func (export "gw_pick") (param i32) (result i64) (i64.const 0)) (start $s) (func $s unreachable)"#,
    );
    let (status, answer) = gateway.order(PUSH, &trap).await;
    assert!(status == 422 && answer["problem"].as_str().unwrap().contains("start: it trapped"), "{answer}");
    // What the configuration says of trials is for when it is used.
    let (status, answer) = gateway.order(PUSH, &picks(0)).await;
    assert_eq!((status, &answer["state"]), (200, &"in-force".into()), "{answer}");
    swap(&gateway, &picks(1));
    eventually("the source", async || mine(&gateway).await["reason"] == "source").await;

    // A trial of one that is not used any more is over.
    let used = text("").replace("['<one>']", "['<one>']\nbalance = 'mine'");
    gateway.apply(&used).await.expect("a pool that uses it");
    assert_eq!(gateway.order(&format!("{PUSH}&canary=10%25&for=1h"), &picks(0)).await.1["state"], "canary");
    gateway.apply(&text("")).await.expect("no pool that uses it");
    assert!(mine(&gateway).await["trial"].is_null());
    let board: Value = serde_json::from_str(&gateway.admin("GET", "/plugins").await.1).expect("JSON");
    let ended = board["ended"].as_array().and_then(|all| all.last()).expect("an end");
    assert_eq!((&ended["result"], &ended["why"]), (&"superseded".into(), &"nothing uses the plugin any more".into()));
}

#[tokio::test]
async fn instances_are_told_of_other_endpoints_or_begin_anew() {
    let text = |more: &str| {
        format!(
            "[plugin.mine]\nsource = 'mine.wasm'\n[pool.a]\nendpoints = ['<one>', '<two>'{more}]\nbalance = 'mine'\n\
             [[route]]\npool = 'a'\n[admin]\naddress = '127.0.0.1:0'\n"
        )
    };
    let picks_once_told = |told: &str| {
        let body = format!(
            r#"(global $told (mut i32) (i32.const 0))
            (func (export "gw_pick") (param i32) (result i64) (i64.extend_i32_u (global.get $told)))
            {told}"#
        );
        plugin("", &body)
    };
    let told = r#"(func (export "gw_endpoints_changed") (global.set $told (i32.const 1)))"#;
    let endless = r#"(func (export "gw_endpoints_changed") (global.set $told (i32.const 1)) (loop $l (br $l)))"#;
    for (what, module, then) in [("told", told, "two"), ("silent", "", "one"), ("endless", endless, "one")] {
        let (one, two) = (Origin::says("one").await, Origin::says("two").await);
        let gateway = Gateway::of(&text("")).with("one", &one).with("two", &two);
        let gateway = gateway.file("mine.wasm", picks_once_told(module)).start_file().await;
        let mut client = gateway.client(Wire::H1).await;
        only(&mut client, "one").await;
        gateway.apply(&text(", 'localhost:9'")).await.expect(what);
        assert_eq!(answers(&mut client, 10).await.into_keys().collect::<Vec<_>>(), [then], "{what}");
    }
}

#[tokio::test]
async fn what_has_become_of_other_files_holds_up_no_plugin() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let text = "
        [plugin.mine]
        source = 'mine.wasm'
        [pool.a]
        endpoints = ['<one>', '<two>']
        balance = 'mine'
        [pool.b]
        endpoints = ['localhost:9']
        tls = { ca = 'ca.pem' }
        [[route]]
        pool = 'a'
        [[route]]
        match = { path = '/b/' }
        pool = 'b'
        [[route]]
        match = { path = '/static/' }
        static = 'static'";
    let gateway = Gateway::of(text).with("one", &one).with("two", &two).file("mine.wasm", picks(1)).and(ADMIN);
    let gateway = gateway.file("static/a.txt", "a").start_file().await;
    let mut client = gateway.client(Wire::H1).await;
    only(&mut client, "two").await;
    for name in ["mine.wasm", "ca.pem", "static/a.txt"] {
        std::fs::remove_file(gateway.folder().join(name)).expect(name);
    }
    std::fs::remove_dir(gateway.folder().join("static")).expect("to remove the folder");
    let (status, answer) = gateway.order(PUSH, &picks(0)).await;
    assert_eq!(status, 200, "{answer}");
    only(&mut client, "one").await;
    assert_eq!(gateway.order("/plugins/rollback?plugin=mine", b"").await.0, 200);
    only(&mut client, "two").await;
}

/// Runs the command against this gateway: exit code, standard output, standard error.
pub(crate) async fn command(gateway: &Gateway, arguments: &[&str]) -> (i32, String, String) {
    let done = within("the command", begin(gateway, arguments).wait_with_output()).await.expect("to run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (done.status.code().expect("a code"), text(done.stdout), text(done.stderr))
}

/// The command at work.
fn begin(gateway: &Gateway, arguments: &[&str]) -> tokio::process::Child {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_gatewright"));
    command.arg("plugin").args(arguments).arg("--admin").arg(gateway.admin_address().to_string());
    command.current_dir(gateway.folder()).stdin(Stdio::null()).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("to run")
}

/// A gateway with a push that waits for the end of a trial.
async fn on_trial(one: &Origin, two: &Origin) -> (Gateway, tokio::process::Child) {
    let gateway = balanced(one, two, &picks(1)).await;
    std::fs::write(gateway.folder().join("new.wasm"), picks(0)).expect("to write");
    let mut push = begin(&gateway, &["push", "mine", "new.wasm", "--canary", "50%", "--for", "1h"]);
    let mut lines = tokio::io::BufReader::new(push.stdout.take().expect("its output")).lines();
    within("the trial", async {
        // From then on it follows the trial.
        while let Some(line) = lines.next_line().await.expect("text") {
            if line.starts_with("canary of 50%, 0 of 3600 s | on trial: ") {
                return;
            }
        }
        panic!("it ended");
    })
    .await;
    (gateway, push)
}

#[tokio::test]
async fn who_interrupts_a_push_is_told_that_the_trial_goes_on_and_how_it_is_ended() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let (gateway, push) = on_trial(&one, &two).await;
    let id = push.id().expect("a process").to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
    let done = within("its end", push.wait_with_output()).await.expect("to end");
    let told = String::from_utf8(done.stderr).expect("text");
    assert_eq!(done.status.code(), Some(130), "{told}");
    assert!(told.contains("The trial goes on without this command"), "{told}");
    assert!(!mine(&gateway).await["trial"].is_null());
    let order = told.lines().find_map(|line| line.strip_prefix("To end it now:")).expect(&told);
    let words: Vec<&str> = order.split_whitespace().collect();
    assert_eq!(words[..4], ["gatewright", "plugin", "rollback", "mine"], "{told}");
    assert_eq!(words[4..], ["--admin", &gateway.admin_address().to_string()]);
    let (code, out, error) = command(&gateway, &["rollback", "mine"]).await;
    assert!(code == 0 && out.contains(" is no longer on trial\n"), "{out}{error}");
    assert!(mine(&gateway).await["trial"].is_null());
}

#[tokio::test]
async fn who_follows_a_trial_is_told_when_its_gateway_ends() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let (mut gateway, push) = on_trial(&one, &two).await;
    gateway.stop().await;
    let done = within("its end", push.wait_with_output()).await.expect("to end");
    let told = String::from_utf8(done.stderr).expect("text");
    assert_eq!(done.status.code(), Some(1), "{told}");
    assert!(told.contains("does not answer any more") && told.contains("a trial has ended with it"), "{told}");
    assert!(!told.contains("admin address was changed"), "{told}");
}

#[tokio::test]
async fn the_command_pushes_tells_how_it_goes_and_goes_back() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    let mut client = gateway.client(Wire::H1).await;
    std::fs::write(gateway.folder().join("new.wasm"), picks(0)).expect("to write");
    std::fs::write(gateway.folder().join("bad.wasm"), fails()).expect("to write");
    let first = mine(&gateway).await["version"].as_str().unwrap().to_owned();

    let (code, out, error) = command(&gateway, &["push", "mine", "new.wasm"]).await;
    assert_eq!((code, &*error), (0, ""), "{out}");
    let new = mine(&gateway).await["version"].as_str().unwrap().to_owned();
    assert!(out.contains(&format!("{new} is in force; before it {first} was")), "{out}");
    only(&mut client, "one").await;
    let (code, out, _) = command(&gateway, &["push", "mine", "new.wasm"]).await;
    assert!(code == 0 && out.contains("was in force already"), "{out}");

    // Traffic while the command waits.
    let mut busy = gateway.client(Wire::H1).await;
    let traffic = tokio::spawn(async move {
        loop {
            assert_eq!(busy.get("/").await.status, 200);
        }
    });
    let (code, out, error) = command(&gateway, &["push", "mine", "bad.wasm", "--canary", "50%", "--for", "1h"]).await;
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("is on trial (canary) beside"), "{out}");
    assert!(error.contains("was rolled back: it failed") && error.contains(&format!("{new} is in force")), "{error}");
    traffic.abort();

    let (code, out, _) = command(&gateway, &["list"]).await;
    assert!(
        code == 0 && out.lines().nth(1).is_some_and(|line| line.starts_with("mine") && line.contains(&new)),
        "{out}"
    );
    let (code, out, _) = command(&gateway, &["history", "mine"]).await;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, lines.len()), (0, 3), "{out}");
    assert!(lines[1].starts_with(&new) && lines[1].ends_with("in force") && lines[2].starts_with(&first), "{out}");
    let (code, out, _) = command(&gateway, &["rollback", "mine"]).await;
    assert_eq!((code, out.trim()), (0, &*format!("{first} is in force; before it {new} was")));
    let (code, out, _) = command(&gateway, &["rollback", "mine", "--to", &first]).await;
    assert_eq!((code, out.trim()), (0, &*format!("{first} was in force already")));
    only(&mut client, "two").await;
    let (code, _, error) = command(&gateway, &["push", "mien", "new.wasm"]).await;
    assert!(code == 1 && error.contains("the gateway has no plugin \"mien\"; there are mine"), "{error}");
    let (code, _, error) = command(&gateway, &["push", "mine", "none.wasm"]).await;
    assert!(code == 1 && error.contains("none.wasm"), "{error}");
    assert_eq!(command(&gateway, &["push", "mine", "new.wasm", "--canary", "ten"]).await.0, 2);
}

/// What was under way when another version came gives its connection back to those who come after it.
#[tokio::test]
async fn a_connection_that_is_used_while_versions_change_is_used_again() {
    let origin = RawOrigin::start().await;
    let text = "
        [plugin.mine]
        source = 'mine.wasm'
        [pool.a]
        endpoints = ['<origin>']
        balance = 'mine'
        [[route]]
        pool = 'a'";
    let gateway = Gateway::of(text).with("origin", &origin).file("mine.wasm", picks(0)).and(ADMIN).start_file().await;
    let (get, ok) = ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut client = gateway.raw().await;
    client.send(get).await;
    let mut upstream = origin.accept().await;
    for module in [
        plugin("", r#"(func (export "gw_pick") (param i32) (result i64) (i64.const 0) (drop (i32.const 7)))"#),
        picks(0),
    ] {
        upstream.request().await;
        let (status, answer) = gateway.order(PUSH, &module).await;
        assert_eq!((status, &answer["state"]), (200, &"in-force".into()), "{answer}");
        upstream.send(ok).await;
        assert_eq!(client.response().await.text(), "ok");
        client.send(get).await;
    }
    upstream.request().await;
}
