//! Endpoints that etcd knows.

use serde_json::json;

use super::load::Load;
use super::{has, is_connected};
use crate::harness::etcd::{Etcd, base64};
use crate::harness::{Gateway, Origin, Raw, RawOrigin, eventually, within};

const POOL: &str = "
    [pool.a]
    discover = { etcd = ['<etcd>'], prefix = '/services/a/' }
    [[route]]
    pool = 'a'
    [admin]
    address = '127.0.0.1:0'";

#[tokio::test]
async fn a_pool_grows_and_shrinks_by_etcd_while_etcd_dies() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let mut origins = Vec::new();
    for number in 0..30 {
        let origin = Origin::says("hi").await;
        if number < 3 {
            etcd.put(&format!("/services/a/{number}"), &origin.to_string()).await;
        }
        origins.push(origin);
    }
    etcd.put("/services/b/0", "127.0.0.1:1").await;
    let gateway = Gateway::of(POOL).with("etcd", etcd.url()).start().await;
    has(&gateway, 3).await;
    let load = Load::on(&gateway, 4);
    for (number, origin) in origins.iter().enumerate().skip(3) {
        let value = json!({ "address": origin.to_string(), "weight": 2, "zone": "west" });
        etcd.put(&format!("/services/a/{number}"), &value.to_string()).await;
    }
    has(&gateway, 30).await;
    load.goes_on(200).await;
    assert!(origins.iter().all(|origin| origin.requests() > 0));
    etcd.kill();
    is_connected(&gateway, false).await;
    load.goes_on(100).await;
    has(&gateway, 30).await;
    etcd.run().await;
    is_connected(&gateway, true).await;
    for number in 3..30 {
        etcd.delete(&format!("/services/a/{number}")).await;
    }
    has(&gateway, 3).await;
    // Whoever picked one of them before has its answer by then.
    load.goes_on(20).await;
    origins.truncate(3);
    load.goes_on(100).await;
    load.ends_well().await;
}

#[tokio::test]
async fn another_server_is_asked_when_one_is_gone() {
    let Some(etcd) = Etcd::start().await else { return };
    let origin = Origin::says("hi").await;
    etcd.put("/services/a/0", &origin.to_string()).await;
    let text = POOL.replace("['<etcd>']", "['http://127.0.0.1:9', '<etcd>']");
    let gateway = Gateway::of(&text).with("etcd", etcd.url()).start().await;
    has(&gateway, 1).await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "hi");
}

#[tokio::test]
async fn etcd_is_asked_over_tls_and_with_a_password() {
    let Some(mut etcd) = Etcd::start_tls().await else { return };
    let origin = Origin::says("hi").await;
    etcd.put("/services/a/0", &origin.to_string()).await;
    etcd.demand("secret").await;
    let keys = "'/services/a/', credentials = 'who', tls = { ca = 'ca.pem' }";
    let text = POOL.replace("'/services/a/'", keys);
    let start = Gateway::of(&text).with("etcd", etcd.url()).file("who", "root:wrong\n");
    let gateway = start.and("[limits]\ndiscovery_time = '20ms'").start().await;
    let failures = async || gateway.metric("gatewright_discovery_failures_total").await;
    eventually("a refusal", async || failures().await > 0.0).await;
    std::fs::write(gateway.folder().join("who"), "root:secret\n").expect("a file");
    has(&gateway, 1).await;
    etcd.put("/services/a/1", &origin.to_string().replace("127.0.0.1", "localhost")).await;
    has(&gateway, 2).await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "hi");
}

#[tokio::test]
async fn a_value_that_cannot_be_read_leaves_what_its_key_said_before() {
    let Some(etcd) = Etcd::start().await else { return };
    let origin = Origin::says("hi").await;
    etcd.put("/services/a/0", &origin.to_string()).await;
    etcd.put("/services/a/1", "nonsense").await;
    let gateway = Gateway::of(POOL).with("etcd", etcd.url()).start().await;
    has(&gateway, 1).await;
    etcd.put("/services/a/0", "{").await;
    let failures = async || gateway.metric("gatewright_discovery_failures_total").await;
    eventually("two complaints", async || failures().await == 2.0).await;
    is_connected(&gateway, true).await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "hi");
}

/// etcd as the test plays it: answers a question for this path with these lines, and keeps the connection.
async fn answer(server: &RawOrigin, path: &str, lines: &[serde_json::Value]) -> Raw {
    let mut raw = server.accept().await;
    let request = within("a question", raw.request()).await;
    assert!(request.start.starts_with(&format!("POST {path} ")), "{}", request.start);
    raw.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for line in lines {
        say(&mut raw, line).await;
    }
    raw
}

async fn say(raw: &mut Raw, line: &serde_json::Value) {
    let line = format!("{line}\n");
    raw.send(format!("{:x}\r\n{line}\r\n", line.len())).await;
}

async fn answer_range(server: &RawOrigin, revision: u64, endpoints: &[&Origin]) {
    let key = |at: usize| base64(&format!("/services/a/{at}"));
    let kvs = endpoints.iter().enumerate();
    let kvs: Vec<_> = kvs.map(|(at, origin)| json!({ "key": key(at), "value": base64(&origin.to_string()) })).collect();
    let range = json!({ "header": { "revision": revision.to_string() }, "kvs": kvs });
    answer(server, "/v3/kv/range", &[range]).await.send("0\r\n\r\n").await;
}

#[tokio::test]
async fn everything_is_read_again_when_the_revision_was_compacted_away() {
    let server = RawOrigin::start().await;
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let start = Gateway::of(POOL).with("etcd", format!("http://{server}")).and("[limits]\ndiscovery_time = '20ms'");
    let gateway = start.start().await;
    answer_range(&server, 5, &[&one]).await;
    let compacted = json!({ "result": { "canceled": true, "compact_revision": "9" } });
    let _watch = answer(&server, "/v3/watch", &[compacted]).await;
    answer_range(&server, 10, &[&two]).await;
    let _watch = answer(&server, "/v3/watch", &[json!({ "result": { "created": true } })]).await;
    eventually("the other", async || gateway.get("a/", &[]).await.text() == "two").await;
    assert_eq!(gateway.metric("gatewright_discovery_failures_total").await, 0.0);
}

#[tokio::test]
async fn that_the_last_key_went_is_believed_when_it_was_read_so() {
    let server = RawOrigin::start().await;
    let one = Origin::says("one").await;
    let start = Gateway::of(POOL).with("etcd", format!("http://{server}")).and("[limits]\ndiscovery_time = '20ms'");
    let gateway = start.start().await;
    let gone = json!({ "result": { "events": [{ "type": "DELETE", "kv": { "key": base64("/services/a/0") } }] } });
    answer_range(&server, 5, &[&one]).await;
    let _watch = answer(&server, "/v3/watch", std::slice::from_ref(&gone)).await;
    // It is there after all.
    answer_range(&server, 6, &[&one]).await;
    eventually("the only one", async || gateway.get("a/", &[]).await.text() == "one").await;
    let _watch = answer(&server, "/v3/watch", &[gone]).await;
    answer_range(&server, 7, &[]).await;
    eventually("it to go", async || gateway.get("a/", &[]).await.status() == 503).await;
}

#[tokio::test]
async fn what_is_no_answer_of_etcd_leaves_the_last_endpoints() {
    let server = RawOrigin::start().await;
    let one = Origin::says("one").await;
    let start = Gateway::of(POOL).with("etcd", format!("http://{server}")).and("[limits]\ndiscovery_time = '20ms'");
    let gateway = start.start().await;
    answer_range(&server, 5, &[&one]).await;
    let _watch = answer(&server, "/v3/watch", &[json!("what?")]).await;
    is_connected(&gateway, false).await;
    for nonsense in [json!({ "kvs": 5 }), json!([1])] {
        answer(&server, "/v3/kv/range", &[nonsense]).await.send("0\r\n\r\n").await;
    }
    assert_eq!(gateway.get("a/", &[]).await.text(), "one");
    answer_range(&server, 6, &[&one]).await;
    is_connected(&gateway, true).await;
}
