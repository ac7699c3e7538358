//! Endpoints that are found while the gateway runs.

mod dns;
mod etcd;
mod load;
mod zookeeper;

use crate::harness::{Gateway, Origin, RawOrigin, eventually, log};

const POOL: &str =
    "[pool.a]\ndiscover = { file = 'endpoints.json' }\n[[route]]\npool = 'a'\n[admin]\naddress = '127.0.0.1:0'";

fn write(gateway: &Gateway, text: &str) {
    // As a whole, so that no half of it is read.
    let (new, file) = (gateway.folder().join("new"), gateway.folder().join("endpoints.json"));
    std::fs::write(&new, text).expect("a file");
    std::fs::rename(new, file).expect("a file");
}

/// Which endpoints are in force.
async fn endpoints(gateway: &Gateway) -> Vec<String> {
    let status: serde_json::Value = serde_json::from_str(&gateway.admin("GET", "/status").await.1).expect("JSON");
    let list = status["pools"][0]["endpoints"].as_array().expect("a list");
    list.iter().filter_map(|endpoint| endpoint["address"].as_str().map(str::to_owned)).collect()
}

async fn has(gateway: &Gateway, count: usize) {
    eventually(&format!("{count} endpoints"), async || endpoints(gateway).await.len() == count).await;
}

async fn is_connected(gateway: &Gateway, connected: bool) {
    let now = async || gateway.metric("gatewright_discovery_connected{pool=\"a\"}").await > 0.0;
    eventually(&format!("connected: {connected}"), async || now().await == connected).await;
}

async fn answers(gateway: &Gateway, text: &str) {
    eventually(&format!("{text:?} to answer"), async || gateway.get("a/", &[]).await.text() == text).await;
}

#[tokio::test]
async fn endpoints_of_a_file_come_and_go_with_it() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = Gateway::of(POOL).file("endpoints.json", format!("[\"{one}\"]")).start().await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "one");
    write(&gateway, &format!("{{\"endpoints\": [{{\"address\": \"{two}\", \"weight\": 3}}]}}"));
    answers(&gateway, "two").await;
    let status: serde_json::Value = serde_json::from_str(&gateway.admin("GET", "/status").await.1).expect("JSON");
    assert_eq!(status["pools"][0]["endpoints"][0]["weight"], 3, "{status}");
    assert_eq!(status["discovery"][0]["source"], "file", "{status}");
    assert_eq!(gateway.metric("gatewright_discovery_endpoints{pool=\"a\",source=\"file\"}").await, 1.0);
    assert_eq!(gateway.metric("gatewright_discovery_updates_total{pool=\"a\",source=\"file\"}").await, 2.0);
}

#[tokio::test]
async fn a_file_in_toml_says_the_same() {
    let one = Origin::says("one").await;
    let text = POOL.replace(".json", ".toml");
    let gateway = Gateway::of(&text).file("endpoints.toml", format!("endpoints = ['{one}']")).start().await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "one");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_leaves_the_last_endpoints() {
    log::listen();
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let gateway = Gateway::of(POOL).file("endpoints.json", format!("[\"{one}\"]")).start().await;
    let failures = async |gateway: &Gateway| gateway.metric("gatewright_discovery_failures_total{pool=\"a\"}").await;
    let folder = gateway.folder().display().to_string();
    for (number, bad) in ["[\"nonsense\"]", "[", ""].into_iter().enumerate() {
        write(&gateway, bad);
        eventually("a failure", async || failures(&gateway).await > number as f64).await;
        assert_eq!(gateway.get("a/", &[]).await.text(), "one", "{bad}");
    }
    assert_eq!(gateway.metric("gatewright_discovery_connected{pool=\"a\"}").await, 0.0);
    log::says(&[&folder, "endpoints[0]: address"]).await;
    write(&gateway, &format!("[\"{two}\"]"));
    answers(&gateway, "two").await;
    assert_eq!(gateway.metric("gatewright_discovery_connected{pool=\"a\"}").await, 1.0);
}

#[tokio::test]
async fn a_pool_without_endpoints_answers_503_until_it_has_some() {
    let one = Origin::says("one").await;
    let gateway = Gateway::of(POOL).and("[limits]\ndiscovery_time = '20ms'").start().await;
    let response = gateway.get("a/", &[]).await;
    assert_eq!((response.status(), response.field("retry-after").as_deref()), (503, Some("1")));
    write(&gateway, &format!("[\"{one}\"]"));
    answers(&gateway, "one").await;
    write(&gateway, "[]");
    eventually("the last to go", async || gateway.get("a/", &[]).await.status() == 503).await;
}

#[tokio::test]
async fn the_last_endpoint_stays_where_that_is_wanted() {
    let one = Origin::says("one").await;
    let text = POOL.replace("json' }", "json', keep_last = true }");
    let gateway = Gateway::of(&text).file("endpoints.json", format!("[\"{one}\"]")).start().await;
    log::listen();
    write(&gateway, "[]");
    log::says(&["there is no endpoint any more"]).await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "one");
}

#[tokio::test]
async fn endpoints_that_stay_keep_their_connections() {
    let (one, two) = (Origin::says("hi").await, Origin::says("hi").await);
    let gateway = Gateway::of(POOL).file("endpoints.json", format!("[\"{one}\"]")).start().await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "hi");
    write(&gateway, &format!("[\"{two}\", \"{one}\"]"));
    eventually("the other to be asked", async || {
        gateway.get("a/", &[]).await;
        two.requests() > 0
    })
    .await;
    write(&gateway, &format!("[\"{one}\"]"));
    let before = two.requests();
    eventually("the other to be left alone", async || {
        let count = two.requests();
        gateway.get("a/", &[]).await;
        gateway.get("a/", &[]).await;
        gateway.get("a/", &[]).await;
        two.requests() == count
    })
    .await;
    assert!(before > 0);
    assert_eq!((one.connections(), two.connections()), (1, 1));
}

#[tokio::test]
async fn a_request_to_an_endpoint_that_goes_is_finished() {
    let (old, new) = (RawOrigin::start().await, Origin::says("new").await);
    let gateway = Gateway::of(POOL).file("endpoints.json", format!("[\"{old}\"]")).start().await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = old.accept().await;
    upstream.request().await;
    write(&gateway, &format!("[\"{new}\"]"));
    eventually("the other", async || endpoints(&gateway).await == [new.to_string()]).await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "new");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold").await;
    assert_eq!(client.response().await.text(), "old");
}

#[tokio::test]
async fn a_reload_keeps_what_was_found_and_may_look_elsewhere() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let start = Gateway::of(POOL).file("endpoints.json", format!("[\"{one}\"]"));
    let gateway = start.file("other.json", format!("[\"{two}\"]")).start().await;
    gateway.apply(&format!("{POOL}\n[limits]\nidle_time = '70s'")).await.expect("a reload");
    assert_eq!(gateway.get("a/", &[]).await.text(), "one");
    assert_eq!(one.connections(), 1);
    gateway.apply(&POOL.replace("endpoints.json", "other.json")).await.expect("a reload");
    assert_eq!(gateway.get("a/", &[]).await.text(), "two");
    // Nobody looks at the first file any more.
    write(&gateway, "[]");
    let gone = POOL.replace("discover = { file = 'endpoints.json' }", "endpoints = ['127.0.0.1:9']");
    gateway.apply(&gone).await.expect("a reload");
    assert_eq!(gateway.metric("gatewright_discovery_endpoints").await, 0.0);
}

#[tokio::test]
async fn plugins_are_told_of_other_endpoints() {
    let origins = [Origin::echo().await, Origin::echo().await, Origin::echo().await];
    let list = |count: usize| {
        let list: Vec<String> = origins.iter().take(count).map(|origin| format!("\"{origin}\"")).collect();
        format!("[{}]", list.join(", "))
    };
    let plugin = "[plugin.turns]\nsource = 'builtin:round-robin'";
    let text = format!("{plugin}\n{}", POOL.replace("[[route]]", "balance = 'turns'\n[[route]]"));
    let gateway = Gateway::of(&text).file("endpoints.json", list(1)).start().await;
    assert_eq!(gateway.get("a/", &[]).await.status(), 200);
    write(&gateway, &list(3));
    eventually("all to be asked", async || {
        gateway.get("a/", &[]).await;
        origins.iter().all(|origin| origin.requests() > 0)
    })
    .await;
}
