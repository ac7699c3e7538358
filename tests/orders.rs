//! Orders of operators while others take long, at the same time as others, and in too great a number.

use std::fmt::Write;
use std::time::SystemTime;

use serde_json::Value;

use crate::harness::modules::{fails, picks, plugin};
use crate::harness::shelf::sha256;
use crate::harness::{Gateway, Origin, Raw, RawOrigin, Wire, eventually, within};
use crate::plugins::{ADMIN, balanced};
use crate::versions::{command, mine, only};

const PUSH: &str = "/plugins/push?plugin=mine";
const BACK: &str = "/plugins/rollback?plugin=mine";

/// A balancer that picks the first endpoint and takes long to compile: one function with a great many branches.
pub(crate) fn large() -> Vec<u8> {
    let mut body = String::from(r#"(func (export "gw_pick") (param i32) (result i64) (local $x i64)"#);
    for number in 0..20_000 {
        let _ = write!(body, "(if (local.get 0) (then (local.set $x (i64.add (local.get $x) (i64.const {number})))))");
    }
    plugin("", &(body + "(drop (local.get $x)) (i64.const 0))"))
}

/// The same with a hash that no module has had before this run, whatever an earlier one has kept.
pub(crate) fn fresh(module: Vec<u8>) -> Vec<u8> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_nanos();
    // A section of its own, which means nothing.
    [module, vec![0, 18, 1, b'u'], now.to_le_bytes().to_vec()].concat()
}

/// The same with another hash.
fn another(module: Vec<u8>, mark: u8) -> Vec<u8> {
    [module, vec![0, 3, 1, b'u', mark]].concat()
}

/// What the admin address knows of plugins.
async fn board(gateway: &Gateway) -> Value {
    serde_json::from_str(&gateway.admin("GET", "/plugins").await.1).expect("JSON")
}

/// How the attempt of this answer ended.
async fn end(gateway: &Gateway, answer: &Value) -> Value {
    let board = board(gateway).await;
    board["ended"].as_array().unwrap().iter().find(|ended| ended["id"] == answer["id"]).cloned().unwrap_or_default()
}

async fn swaps(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric(&format!("gatewright_plugin_swaps_total{{plugin=\"mine\",result=\"{result}\"}}")).await
}

/// An order that nobody waits for yet.
async fn begun(gateway: &Gateway, path: &str, body: &[u8]) -> Raw {
    let mut raw = Raw::connect(gateway.admin_address()).await;
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    raw.send([head.as_bytes(), body].concat()).await;
    raw
}

/// Two plugins: `mine` balances `/`, `other` balances `/other`; both may go back to what picks the second origin.
async fn two_plugins(one: &Origin, two: &Origin, module: &[u8]) -> Gateway {
    let text = "
        [plugin.mine]
        source = 'mine.wasm'
        [plugin.other]
        source = 'other.wasm'
        [pool.a]
        endpoints = ['<one>', '<two>']
        balance = 'mine'
        [pool.b]
        endpoints = ['<one>', '<two>']
        balance = 'other'
        [[route]]
        pool = 'a'
        [[route]]
        match = { path = '/other' }
        pool = 'b'";
    let gateway = Gateway::of(text).with("one", one).with("two", two).file("mine.wasm", module).and(ADMIN);
    gateway.file("other.wasm", picks(1)).start_file().await
}

/// Has an operator go back, and a version fail and be replaced.
async fn ways_back(gateway: &Gateway) {
    let mut client = gateway.client(Wire::H1).await;
    let (status, answer) = gateway.order(BACK, b"").await;
    assert_eq!(status, 200, "{answer}");
    only(&mut client, "two").await;
    eventually("the recovery", async || {
        assert_eq!(client.get("/other").await.status, 200);
        board(gateway).await["plugins"][1]["reason"] == "recovered"
    })
    .await;
    assert_eq!(client.get("/other").await.text(), "two");
}

#[tokio::test]
async fn a_module_that_compiles_for_long_holds_up_no_way_back() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = two_plugins(&one, &two, &picks(1)).await;
    assert_eq!(gateway.order(&format!("{PUSH}&at_once"), &picks(0)).await.0, 200);
    assert_eq!(gateway.order("/plugins/push?plugin=other", &fails()).await.0, 200);
    let _push = begun(&gateway, PUSH, &fresh(large())).await;
    let compiling = async || board(&gateway).await["work"].as_array().unwrap().iter().any(|w| w["what"] == "compiling");
    eventually("the compiler", compiling).await;
    ways_back(&gateway).await;
    assert!(compiling().await, "it was compiled too soon for this test");
}

#[tokio::test]
async fn what_is_not_compiled_in_time_is_given_up() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let text = "
        [plugin.mine]
        source = 'mine.wasm'
        [pool.a]
        endpoints = ['<one>', '<two>']
        balance = 'mine'
        [[route]]
        pool = 'a'";
    let gateway = Gateway::of(text).with("one", &one).with("two", &two).file("mine.wasm", picks(1)).and(ADMIN);
    let gateway = gateway.start_file().await;
    // Not from the begin, since the first module has to be compiled too.
    let file = gateway.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, format!("{text}\n[limits]\nplugin_compile_time = '50ms'")).expect("to write");
    assert_eq!(gateway.admin("POST", "/reload").await.0, 200);
    let (status, answer) = gateway.order(PUSH, &fresh(large())).await;
    assert_eq!(status, 422);
    let problem = answer["problem"].as_str().unwrap();
    assert_eq!(problem, "it was not compiled within 50ms (limits.plugin_compile_time)");
    assert_eq!(swaps(&gateway, "refused").await, 1.0);
    crate::plugins::swap(&gateway, &fresh(large()));
    let (status, text) = gateway.admin("POST", "/reload").await;
    assert!(status == 422 && text.contains("plugin.mine.source: it was not compiled within 50ms"), "{text}");
    only(&mut gateway.client(Wire::H1).await, "two").await;
}

/// A gateway of [`two_plugins`] whose reload waits for a server that the test speaks for, with what is to be answered.
async fn reloading(one: &Origin, two: &Origin) -> (Gateway, RawOrigin, Raw, Vec<u8>) {
    let gateway = two_plugins(one, two, &picks(1)).await;
    let origin = RawOrigin::start_tls("http/1.1").await;
    let module = fresh(picks(0));
    let file = gateway.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    let keys = format!("source = 'https://{origin}/mine'\nsha256 = '{}'\nca = 'ca.pem'", sha256(&module));
    std::fs::write(gateway.folder().join("draft"), text.replacen("source = 'mine.wasm'", &keys, 1)).expect("a file");
    std::fs::rename(gateway.folder().join("draft"), file).expect("to put in place");
    let mut asked = origin.accept().await;
    asked.request().await;
    (gateway, origin, asked, module)
}

#[tokio::test]
async fn a_source_that_answers_late_holds_up_no_version_and_comes_into_force_after_all() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let (gateway, _origin, mut asked, module) = reloading(&one, &two).await;
    let mut client = gateway.client(Wire::H1).await;
    assert_eq!(gateway.order(PUSH, &picks(0)).await.0, 200);
    only(&mut client, "one").await;
    assert_eq!(gateway.order("/plugins/push?plugin=other", &fails()).await.0, 200);
    ways_back(&gateway).await;
    // Two more reloads: they come after the first, and are answered when it is their turn.
    let mut reloads = [begun(&gateway, "/reload", b"").await, begun(&gateway, "/reload", b"").await];
    // What was pushed last while it was fetched; what the source gives is another thing than before, and goes before it.
    assert_eq!(gateway.order(PUSH, &picks(1)).await.0, 200);
    only(&mut client, "two").await;
    asked.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", module.len())).await;
    asked.send(&module).await;
    eventually("the fetched plugin", async || client.get("/").await.text() == "one").await;
    for reload in &mut reloads {
        within("the reload", reload.response()).await.is(200);
    }
    assert_eq!(mine(&gateway).await["reason"], "source");
    assert_eq!(board(&gateway).await["plugins"][1]["reason"], "recovered");
}

#[tokio::test]
async fn too_many_orders_are_refused_and_whoever_looks_is_answered() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let (gateway, _origin, _asked, _) = reloading(&one, &two).await;
    let mut waiting = Vec::new();
    for _ in 0..40 {
        waiting.push(begun(&gateway, "/reload", b"").await);
    }
    for refused in &mut waiting[16..] {
        let answer = refused.response().await;
        assert_eq!(answer.status(), 503);
        assert!(answer.has("retry-after", "1") && answer.text().contains("too many orders wait"), "{}", answer.text());
    }
    for path in ["/status", "/metrics", "/plugins", "/healthz"] {
        assert_eq!(gateway.admin("GET", path).await.0, 200, "{path}");
    }
    // Going back is no order that waits for those.
    assert_eq!(gateway.order(PUSH, &picks(0)).await.0, 503);
    let (status, answer) = gateway.order(BACK, b"").await;
    assert!(status == 422 && answer["problem"].as_str().unwrap().contains("no earlier version"), "{answer}");
}

#[tokio::test]
async fn a_trial_that_is_dropped_for_something_else_ends_with_the_reason() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    let mut client = gateway.client(Wire::H1).await;
    let text = std::fs::read_to_string(gateway.folder().join("gateway.toml")).expect("a file");
    let reload = async |text: String| {
        std::fs::write(gateway.folder().join("gateway.toml"), text).expect("a file");
        let (status, text) = gateway.admin("POST", "/reload").await;
        assert_eq!(status, 200, "{text}");
    };
    let trial = format!("{PUSH}&canary=1%25&for=1h");
    let superseded = async |attempt: &Value, count: f64, why: &str| {
        // It is told a moment after it is so.
        eventually("the end", async || !end(&gateway, attempt).await.is_null()).await;
        let ended = end(&gateway, attempt).await;
        assert_eq!((&ended["result"], &ended["version"]), (&"superseded".into(), &attempt["version"]), "{ended}");
        assert!(ended["why"].as_str().unwrap().contains(why), "{ended}");
        assert_eq!(swaps(&gateway, "superseded").await, count);
    };

    // By another push; not by one that is refused.
    let (_, first) = gateway.order(&trial, &picks(0)).await;
    assert_eq!(gateway.order(&trial, b"nothing").await.0, 422);
    assert_eq!(end(&gateway, &first).await, Value::Null);
    assert_eq!(mine(&gateway).await["trial"]["id"], first["id"]);
    let (_, second) = gateway.order(&trial, &another(picks(0), 1)).await;
    assert_ne!(first["id"], second["id"]);
    superseded(&first, 1.0, "was pushed").await;
    let (_, third) = gateway.order(&format!("{PUSH}&at_once"), &another(picks(1), 2)).await;
    superseded(&second, 2.0, "was pushed").await;
    assert_eq!(end(&gateway, &third).await["result"], "done");

    // By a configuration with other times; by one that gives something else.
    let (_, fourth) = gateway.order(&trial, &picks(0)).await;
    reload(text.replace("[pool.a]", "deadline = '5ms'\n[pool.a]")).await;
    superseded(&fourth, 3.0, "other times or sizes").await;
    let (_, fifth) = gateway.order(&trial, &picks(0)).await;
    std::fs::write(gateway.folder().join("other.wasm"), another(picks(1), 3)).expect("a file");
    reload(text.replace("mine.wasm", "other.wasm")).await;
    superseded(&fifth, 4.0, "the source gives").await;

    // By the end of the version in force.
    gateway.order(&format!("{PUSH}&at_once"), &fails()).await;
    let (_, sixth) = gateway.order(&format!("{PUSH}&shadow=1h"), &picks(0)).await;
    eventually("the recovery", async || {
        client.get("/").await;
        mine(&gateway).await["reason"] == "recovered"
    })
    .await;
    superseded(&sixth, 5.0, "the version in force failed too often").await;

    // By a configuration without the plugin.
    let (_, seventh) = gateway.order(&trial, &picks(0)).await;
    reload(text.replace("[plugin.mine]\n", "[plugin.yours]\n").replace("'mine'", "'yours'")).await;
    superseded(&seventh, 6.0, "no such plugin any more").await;
}

#[tokio::test]
async fn the_command_tells_the_end_of_its_own_push() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    std::fs::write(gateway.folder().join("new.wasm"), picks(0)).expect("a file");
    let pushing = command(&gateway, &["push", "mine", "new.wasm", "--canary", "1%", "--for", "1h"]);
    let meanwhile = async {
        eventually("the trial", async || !mine(&gateway).await["trial"].is_null()).await;
        assert_eq!(gateway.order(PUSH, b"nothing").await.0, 422);
        // It ends well, but is another.
        let other = gateway.order(&format!("{PUSH}&at_once"), &another(picks(1), 1)).await.1;
        other["version"].as_str().unwrap().to_owned()
    };
    let ((code, out, error), other) = tokio::join!(pushing, meanwhile);
    assert_eq!(code, 1, "{out}");
    let words = format!("was superseded: {other} was pushed; {other} is in force");
    assert!(error.contains(&words), "{error}");
}

#[tokio::test]
async fn an_order_that_saw_something_else_is_not_obeyed() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    let mut client = gateway.client(Wire::H1).await;
    gateway.order(&format!("{PUSH}&at_once"), &another(picks(1), 1)).await;
    let (_, trial) = gateway.order(&format!("{PUSH}&canary=1%25&for=1h"), &picks(0)).await;
    let id = trial["id"].as_str().unwrap();
    let (seen, unseen) = (format!("{BACK}&trial={id}"), format!("{BACK}&trial=none"));
    let conflict = async |path: &str, words: &str| {
        let (status, answer) = gateway.order(path, b"").await;
        assert_eq!(status, 409, "{answer}");
        assert!(answer["problem"].as_str().unwrap().contains(words), "{answer}");
    };
    conflict(&unseen, "a trial has begun meanwhile; by now").await;
    assert_eq!(gateway.order(&format!("/plugins/promote?plugin=mine&trial={id}"), b"").await.0, 200);
    only(&mut client, "one").await;
    // The trial is over, and what is in force is not what whoever ordered this wanted to leave.
    conflict(&seen, "has ended: done; by now no version is on trial").await;
    conflict(&seen.replace("rollback", "promote"), "has ended: done").await;
    conflict(&format!("{unseen}&version=0123"), "is in force, and 0123 is not").await;
    conflict(&format!("{BACK}&trial=abcd-1"), "there is no trial abcd-1").await;
    only(&mut client, "one").await;
    let version = trial["version"].as_str().unwrap();
    assert_eq!(gateway.order(&format!("{unseen}&version={version}"), b"").await.0, 200);
    only(&mut client, "two").await;
}

#[tokio::test]
async fn a_version_that_comes_back_has_the_times_and_sizes_of_the_configuration() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    // It needs 6 MiB more than it begins with.
    let greedy = plugin(
        "",
        r#"(func (export "gw_pick") (param i32) (result i64) (i64.const 1)
            (if (i32.lt_s (memory.grow (i32.const 100)) (i32.const 0)) (then unreachable)))"#,
    );
    let gateway = balanced(&one, &two, &greedy).await;
    let first = mine(&gateway).await["version"].as_str().unwrap().to_owned();
    let mut client = gateway.client(Wire::H1).await;
    client.get("/").await;
    gateway.order(PUSH, &picks(0)).await;
    let file = gateway.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(file, text.replace("[pool.a]", "memory_size = '1MiB'\n[pool.a]")).expect("a file");
    assert_eq!(gateway.admin("POST", "/reload").await.0, 200);
    let (status, answer) = gateway.order(BACK, b"").await;
    assert_eq!((status, &answer["version"]), (200, &first.into()), "{answer}");
    eventually("what it may not have", async || {
        assert_eq!(client.get("/").await.status, 200);
        crate::plugins::faults(&gateway, "memory").await > 0.0
    })
    .await;
    // Nor does a reload find that it is to be another.
    let done = swaps(&gateway, "done").await;
    assert_eq!(gateway.admin("POST", "/reload").await.0, 200);
    assert_eq!(swaps(&gateway, "done").await, done);
}

#[tokio::test]
async fn an_order_about_one_plugin_is_none_about_another() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = two_plugins(&one, &two, &fails()).await;
    let mut client = gateway.client(Wire::H1).await;
    eventually("the end of what fails", async || {
        assert_eq!(client.get("/").await.status, 200);
        mine(&gateway).await["quarantined"] == true
    })
    .await;
    // There is nothing to go back to. What is tried in its place is not the business of the other.
    let (_, trial) = gateway.order(&format!("{PUSH}&canary=1%25&for=1h"), &picks(0)).await;
    assert_eq!(gateway.order("/plugins/push?plugin=other", &picks(0)).await.0, 200);
    assert_eq!(client.get("/other").await.text(), "one");
    let now = mine(&gateway).await;
    assert_eq!((&now["quarantined"], &now["trial"]["id"]), (&true.into(), &trial["id"]), "{now}");
}

#[tokio::test]
async fn a_way_back_ends_no_search_for_the_members_of_what_is_to_come() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = balanced(&one, &two, &picks(1)).await;
    assert_eq!(gateway.order(PUSH, &picks(0)).await.0, 200);
    let file = gateway.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    let more = "[limits]\ndiscovery_time = '1h'\n[pool.b]\ndiscover = { file = 'late.json' }\n[[route]]\n\
                match = { path = '/b' }\npool = 'b'\n";
    std::fs::write(&file, format!("{text}\n{more}")).expect("a file");
    let mut reload = begun(&gateway, "/reload", b"").await;
    let searches = async || gateway.admin("GET", "/metrics").await.1.contains("{pool=\"b\",source=\"file\"}");
    eventually("the search", searches).await;
    assert_eq!(gateway.order(BACK, b"").await.0, 200);
    std::fs::write(gateway.folder().join("late.json"), format!("[\"{one}\"]")).expect("a file");
    within("the reload", reload.response()).await.is(200);
    assert_eq!(gateway.get("a/b", &[]).await.text(), "one");
    only(&mut gateway.client(Wire::H1).await, "two").await;

    // Nobody is looked for any more for what did not come into force.
    std::fs::remove_file(gateway.folder().join("mine.wasm")).expect("a file");
    std::fs::write(&file, format!("{text}\n{}", more.replace("pool.b", "pool.c").replace("'b'", "'c'")))
        .expect("a file");
    assert_eq!(gateway.admin("POST", "/reload").await.0, 422);
    assert!(searches().await);
    assert!(!gateway.admin("GET", "/metrics").await.1.contains("{pool=\"c\",source=\"file\"}"));
}
