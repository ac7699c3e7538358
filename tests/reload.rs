//! Another configuration comes into force while requests are on their way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::{Client, Gateway, Origin, Raw, RawOrigin, Wire, empty, eventually};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn answering(text: &str) -> String {
    format!("[[route]]\nrespond = '{text}'")
}

#[tokio::test]
async fn new_routes_are_taken_on_connections_that_stay() {
    let gateway = Gateway::of(&answering("old")).start().await;
    let mut h1 = gateway.client(Wire::H1).await;
    let mut h2 = gateway.client(Wire::H2).await;
    for client in [&mut h1, &mut h2] {
        assert_eq!(client.get("/").await.text(), "old");
    }
    gateway.apply(&answering("new")).await.expect("a reload");
    for client in [&mut h1, &mut h2] {
        assert_eq!(client.get("/").await.text(), "new");
    }
}

#[tokio::test]
async fn a_request_on_its_way_keeps_its_pool() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nol").await;
    client.until("ol").await;
    gateway.apply(&answering("new")).await.expect("a reload");
    upstream.send("d!").await;
    assert_eq!(client.exactly(2).await, b"d!");
    client.send(GET).await;
    assert_eq!(client.response().await.text(), "new");
}

#[tokio::test]
async fn upstream_connections_outlive_a_reload_that_does_not_concern_them() {
    let origin = Origin::says("hi").await;
    let text = "[pool.a]\nendpoints = ['<origin>']\n[[route]]\npool = 'a'";
    let gateway = Gateway::of(text).with("origin", &origin).start().await;
    for number in 0..5 {
        assert_eq!(gateway.get("a/", &[]).await.text(), "hi");
        gateway.apply(&format!("{text}\nname = 'r{number}'")).await.expect("a reload");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_pool_may_get_other_endpoints() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let text = |name| format!("[pool.a]\nendpoints = ['<{name}>']\n[[route]]\npool = 'a'");
    let gateway = Gateway::of(&text("one")).with("one", &one).with("two", &two).start().await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "one");
    gateway.apply(&text("two")).await.expect("a reload");
    assert_eq!(gateway.get("a/", &[]).await.text(), "two");
}

/// A port that is free now.
async fn free_port() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

#[tokio::test]
async fn listeners_come_and_go() {
    let (one, two) = (free_port().await, free_port().await);
    let text = |address| format!("[[listener]]\naddress = '{address}'\n[[route]]\nrespond = 'hi'");
    let gateway = Gateway::of(&text(one)).start().await;
    let mut old = Raw::connect(one).await;
    old.send(GET).await;
    assert_eq!(old.response().await.text(), "hi");
    gateway.apply(&text(two)).await.expect("a reload");
    assert_eq!(gateway.addresses(), [two]);
    assert_eq!(Client::connect(two, Wire::H1).await.get("/").await.text(), "hi");
    eventually("the old port to be closed", async || tokio::net::TcpStream::connect(one).await.is_err()).await;
    // Who is connected stays so until the next answer at least.
    old.send(GET).await;
    assert_eq!(old.response().await.text(), "hi");
}

#[tokio::test]
async fn a_listener_that_cannot_be_opened_leaves_everything_as_it_was() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let gateway = Gateway::of(&answering("old")).start().await;
    let text = format!("[[listener]]\naddress = '{}'\n{}", taken.local_addr().expect("an address"), answering("new"));
    let error = gateway.apply(&text).await.expect_err("a refusal");
    assert!(error.contains("listener"), "{error}");
    assert_eq!(gateway.get("a/", &[]).await.text(), "old");
}

#[tokio::test]
async fn a_bad_file_leaves_everything_as_it_was_and_says_so() {
    let admin = "[admin]\naddress = '127.0.0.1:0'\n";
    let gateway = Gateway::of(&format!("{admin}{}", answering("old"))).start_file().await;
    let file = gateway.folder().join("gateway.toml");
    std::fs::write(&file, "[[route]]\nresponse = 'new'\n").expect("a file");
    let (status, body) = gateway.admin("POST", "/reload").await;
    assert_eq!(status, 422);
    assert!(body.contains("gateway.toml:2") && body.contains("respond"), "{body}");
    assert_eq!(gateway.get("a/", &[]).await.text(), "old");
    assert!(gateway.metric("gatewright_reloads_total{result=\"failed\"").await >= 1.0);
    assert_eq!(gateway.metric("gatewright_config_last_reload_successful").await, 0.0);
}

#[tokio::test]
async fn a_changed_file_is_taken_by_itself() {
    let gateway = Gateway::of(&answering("old")).start_file().await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "old");
    let file = gateway.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text.replace("old", "new")).expect("a file");
    eventually("the new answer", async || gateway.get("a/", &[]).await.text() == "new").await;
}

#[tokio::test]
async fn a_file_that_is_replaced_by_another_is_taken_too() {
    let gateway = Gateway::of(&answering("old")).start_file().await;
    let file = gateway.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    let fresh = gateway.folder().join("fresh.toml");
    std::fs::write(&fresh, text.replace("old", "new")).expect("a file");
    std::fs::rename(fresh, file).expect("a file");
    eventually("the new answer", async || gateway.get("a/", &[]).await.text() == "new").await;
}

#[tokio::test]
async fn no_request_fails_while_everything_changes() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let text = |name| format!("workers = 2\n[pool.{name}]\nendpoints = ['<{name}>']\n[[route]]\npool = '{name}'");
    let gateway = Gateway::of(&text("one")).with("one", &one).with("two", &two).start().await;
    let (is_over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut asking = Vec::new();
    for wire in [Wire::H1, Wire::H2, Wire::H1, Wire::H2] {
        let (address, is_over, answers) = (gateway.address(), is_over.clone(), answers.clone());
        asking.push(tokio::spawn(async move {
            let mut client = Client::connect(address, wire).await;
            while !is_over.load(Ordering::Relaxed) {
                let reply = client.call("GET", "/", empty()).await;
                assert!(reply.status == 200 && matches!(reply.text(), "one" | "two"), "{reply:?}");
                answers.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for number in 0..20 {
        let before = answers.load(Ordering::Relaxed);
        eventually("more answers", async || answers.load(Ordering::Relaxed) > before + 20).await;
        let name = if number % 2 == 0 { "two" } else { "one" };
        gateway.apply(&text(name)).await.expect("a reload");
    }
    is_over.store(true, Ordering::Relaxed);
    for one in asking {
        one.await.expect("no failed request");
    }
}

#[tokio::test]
async fn a_tunnel_lives_on() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    upstream.head().await;
    upstream.send("HTTP/1.1 101 Now\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhi").await;
    client.head().await;
    gateway.apply(&answering("new")).await.expect("a reload");
    assert_eq!(client.exactly(2).await, b"hi");
    client.send("there").await;
    assert_eq!(upstream.exactly(5).await, b"there");
}
