//! Endpoints that ZooKeeper knows.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::load::Load;
use super::{answers, endpoints, has, is_connected};
use crate::harness::zookeeper::{ZooKeeper, text};
use crate::harness::{Gateway, Origin, eventually, log, within};

const POOL: &str = "
    [pool.a]
    discover = { zookeeper = ['<zookeeper>'], prefix = '/services/a/' }
    [[route]]
    pool = 'a'
    [admin]
    address = '127.0.0.1:0'";

async fn failures(gateway: &Gateway) -> f64 {
    gateway.metric("gatewright_discovery_failures_total").await
}

#[tokio::test]
async fn a_pool_grows_and_shrinks_by_zookeeper_while_zookeeper_dies() {
    let Some(mut zookeeper) = ZooKeeper::start().await else { return };
    let mut origins = Vec::new();
    zookeeper.create("/services/b/one", "127.0.0.1:1").await;
    zookeeper.create("/services/a", "").await;
    let mut session = zookeeper.session().await;
    for number in 0..30 {
        let origin = Origin::says("hi").await;
        if number < 3 {
            session.create(&format!("/services/a/{origin}"), b"", true).await.expect("a node");
        }
        origins.push(origin);
    }
    let text = POOL.replace("['<zookeeper>']", "['127.0.0.1:9', '<zookeeper>']");
    let gateway = Gateway::of(&text).with("zookeeper", zookeeper.address()).start().await;
    has(&gateway, 3).await;
    let load = Load::on(&gateway, 4);
    for (number, origin) in origins.iter().enumerate().skip(3) {
        let value = json!({ "address": origin.to_string(), "weight": 2, "zone": "west" }).to_string();
        session.create(&format!("/services/a/{number}"), value.as_bytes(), false).await.expect("a node");
    }
    has(&gateway, 30).await;
    load.goes_on(200).await;
    assert!(origins.iter().all(|origin| origin.requests() > 0));
    zookeeper.kill();
    is_connected(&gateway, false).await;
    load.goes_on(100).await;
    has(&gateway, 30).await;
    zookeeper.run().await;
    is_connected(&gateway, true).await;
    has(&gateway, 30).await;
    for number in 3..30 {
        zookeeper.delete(&format!("/services/a/{number}")).await;
    }
    has(&gateway, 3).await;
    // Whoever picked one of them before has its answer by then.
    load.goes_on(20).await;
    origins.truncate(3);
    load.goes_on(100).await;
    load.ends_well().await;
}

#[tokio::test]
async fn what_a_child_says_and_its_name_are_read_and_nonsense_leaves_the_others() {
    let Some(zookeeper) = ZooKeeper::start().await else { return };
    let start = Gateway::of(POOL).with("zookeeper", zookeeper.address());
    let gateway = start.start().await;
    // There is no such node yet, nor any above it.
    is_connected(&gateway, true).await;
    has(&gateway, 0).await;
    let one = Origin::says("one").await;
    zookeeper.create(&format!("/services/a/{one}"), "").await;
    answers(&gateway, "one").await;
    let curator = json!({ "name": "a", "id": "x", "address": "127.0.0.1", "port": 7, "sslPort": null, "payload": { "a": [] },
        "serviceType": "DYNAMIC", "uriSpec": null, "enabled": false });
    zookeeper.create("/services/a/x", &curator.to_string()).await;
    zookeeper.create("/services/a/nonsense", "{").await;
    zookeeper.create("/services/a/no-address", "").await;
    has(&gateway, 2).await;
    eventually("two complaints", async || failures(&gateway).await == 2.0).await;
    is_connected(&gateway, true).await;
    // What cannot be read, or is too much, leaves what the child said before.
    let huge = format!("{{\"address\": \"127.0.0.1:8\", \"zone\": \"{}\"}}", "z".repeat(900_000));
    zookeeper.set("/services/a/x", huge.as_bytes()).await;
    eventually("another complaint", async || failures(&gateway).await == 3.0).await;
    assert_eq!(endpoints(&gateway).await, [one.to_string(), "127.0.0.1:7".to_owned()]);
    zookeeper.set("/services/a/nonsense", &[0xff, 0, 0xff]).await;
    eventually("another complaint", async || failures(&gateway).await == 4.0).await;
    let two = Origin::says("two").await;
    zookeeper.set("/services/a/nonsense", two.to_string().as_bytes()).await;
    has(&gateway, 3).await;
    zookeeper.delete(&format!("/services/a/{one}")).await;
    zookeeper.delete("/services/a/x").await;
    answers(&gateway, "two").await;
    // Gone and back again under its name: it is another.
    zookeeper.delete("/services/a/nonsense").await;
    zookeeper.create("/services/a/nonsense", &one.to_string()).await;
    answers(&gateway, "one").await;
    for child in ["nonsense", "no-address"] {
        zookeeper.delete(&format!("/services/a/{child}")).await;
    }
    zookeeper.delete("/services/a").await;
    has(&gateway, 0).await;
    zookeeper.create(&format!("/services/a/{two}"), "").await;
    answers(&gateway, "two").await;
}

#[tokio::test]
async fn zookeeper_is_asked_over_tls_and_with_a_password() {
    let Some(zookeeper) = ZooKeeper::start_tls().await else { return };
    let origin = Origin::says("hi").await;
    zookeeper.create("/services", "").await;
    let mut session = zookeeper.session().await;
    session.authenticate("gateway:secret").await;
    session.create_private("/services/a", b"").await;
    session.create_private(&format!("/services/a/{origin}"), b"").await;
    let keys = "'/services/a/', credentials = 'who', tls = { ca = 'ca.pem' }";
    let text = POOL.replace("'/services/a/'", keys);
    let start = Gateway::of(&text).with("zookeeper", zookeeper.address()).file("who", "gateway:wrong\n");
    log::listen();
    let gateway = start.and("[limits]\ndiscovery_time = '20ms'").start().await;
    log::says(&["/services/a", "we may not"]).await;
    std::fs::write(gateway.folder().join("who"), "gateway:secret\n").expect("a file");
    has(&gateway, 1).await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "hi");
}

#[tokio::test]
async fn thousands_of_children_are_read_and_watched() {
    let Some(mut zookeeper) = ZooKeeper::start().await else { return };
    zookeeper.create("/services/a", "").await;
    let mut session = zookeeper.session().await;
    for number in 0..3000 {
        let address = format!("127.1.{}.{}:9", number / 250, number % 250);
        session.create(&format!("/services/a/{number}"), address.as_bytes(), false).await.expect("a node");
    }
    let gateway = Gateway::of(POOL).with("zookeeper", zookeeper.address()).start().await;
    has(&gateway, 3000).await;
    for number in (0..3000).step_by(300) {
        zookeeper.set(&format!("/services/a/{number}"), b"{\"address\": \"127.0.0.1:9\"}").await;
        zookeeper.delete(&format!("/services/a/{}", number + 1)).await;
    }
    has(&gateway, 3000 - 10 - 9).await;
    // What changed while nobody was told of it is seen after that.
    zookeeper.kill();
    is_connected(&gateway, false).await;
    has(&gateway, 2981).await;
    zookeeper.run().await;
    zookeeper.delete("/services/a/2999").await;
    has(&gateway, 2980).await;
    // What they say is watched anew.
    zookeeper.set("/services/a/2998", b"127.0.0.2:9").await;
    eventually("another address", async || endpoints(&gateway).await.contains(&"127.0.0.2:9".to_owned())).await;
    assert_eq!(failures(&gateway).await.min(1.0), 1.0);
}

/// ZooKeeper as the test plays it.
struct Server(TcpListener);

/// A connection of the gateway's.
struct Visitor(TcpStream);

impl Server {
    async fn start() -> (Server, Gateway) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let start = Gateway::of(POOL).with("zookeeper", address).and("[limits]\ndiscovery_time = '20ms'");
        (Server(listener), start.start().await)
    }

    /// The next connection, whatever it says.
    async fn accept(&self) -> Visitor {
        let (tcp, _) = within("a connection", self.0.accept()).await.expect("a connection");
        let mut visitor = Visitor(tcp);
        let first = visitor.frame().await;
        // A session of its own each time.
        assert_eq!((first.len(), &first[16..24]), (45, &[0; 8][..]));
        visitor
    }

    /// The next one gets a session of so many milliseconds.
    async fn welcome(&self, time_ms: u32) -> Visitor {
        let mut visitor = self.accept().await;
        let session = [&[0; 4][..], &time_ms.to_be_bytes(), &[0, 0, 0, 0, 0, 0, 0, 7], &text(&[1; 16]), &[0]].concat();
        visitor.send(&session).await;
        visitor
    }

    /// The next one is told of these children, which are addresses.
    async fn tell(&self, time_ms: u32, children: &[&Origin]) -> Visitor {
        let mut visitor = self.welcome(time_ms).await;
        visitor.answer(9, &text(b"/services/a")).await;
        let names: Vec<u8> = children.iter().flat_map(|origin| text(origin.to_string().as_bytes())).collect();
        visitor.answer(12, &[&(children.len() as u32).to_be_bytes(), &names[..], &[0; 68]].concat()).await;
        for _ in children {
            visitor.answer(4, &[&[0; 4][..], &[0; 68]].concat()).await;
        }
        visitor
    }
}

impl Visitor {
    async fn frame(&mut self) -> Vec<u8> {
        let reading = async {
            let mut frame = vec![0; self.0.read_u32().await.expect("a length") as usize];
            self.0.read_exact(&mut frame).await.expect("a frame");
            frame
        };
        within("a frame", reading).await
    }

    async fn send(&mut self, frame: &[u8]) {
        self.0.write_all(&text(frame)).await.expect("to send");
    }

    /// The next question, which has to be this one, is answered so.
    async fn answer(&mut self, operation: i32, body: &[u8]) {
        let question = self.frame().await;
        assert_eq!(question[4..8], operation.to_be_bytes(), "{question:?}");
        self.send(&[&question[..4], &[0; 12], body].concat()).await;
    }

    /// Waits until it goes.
    async fn leaves(mut self) {
        let reading = async { while self.0.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {} };
        within("the connection to end", reading).await;
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_any_more_is_left_and_asked_anew() {
    let (server, gateway) = Server::start().await;
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let mut visitor = server.tell(3000, &[&one]).await;
    answers(&gateway, "one").await;
    // It asks whether somebody is there before it goes.
    assert_eq!(visitor.frame().await, [0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11]);
    visitor.leaves().await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "one");
    let mut visitor = server.tell(3000, &[&two]).await;
    answers(&gateway, "two").await;
    // With an answer each time the connection stays.
    for _ in 0..3 {
        assert_eq!(visitor.frame().await[..4], [0xff, 0xff, 0xff, 0xfe]);
        visitor.send(&[&[0xff, 0xff, 0xff, 0xfe][..], &[0; 12]].concat()).await;
    }
}

#[tokio::test]
async fn what_is_no_answer_of_zookeeper_leaves_the_last_endpoints() {
    let (server, gateway) = Server::start().await;
    let one = Origin::says("one").await;
    server.tell(10_000, &[&one]).await;
    let head = |turn: i32| [&turn.to_be_bytes()[..], &[0; 12]].concat();
    // Instead of the list of children.
    let lists: [&[u8]; 4] = [b"", &[0x7f, 0xff, 0xff, 0xff], &[0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff], &[0xff; 4]];
    for list in lists {
        let mut visitor = server.welcome(10_000).await;
        visitor.answer(9, b"").await;
        visitor.answer(12, list).await;
        visitor.leaves().await;
        server.tell(10_000, &[&one]).await;
    }
    // Instead of an answer: one that was not asked for, one that is cut short, and lengths that are none.
    let none = [text(&head(77)), text(&[0; 5]), text(&[]), vec![0xff; 4], (65u32 << 20).to_be_bytes().to_vec()];
    for bytes in none {
        let mut visitor = server.welcome(10_000).await;
        visitor.0.write_all(&bytes).await.expect("to send");
        visitor.leaves().await;
        server.tell(10_000, &[&one]).await;
    }
    // Instead of a session.
    for first in [b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), text(&[0; 36]), text(&[])] {
        let mut visitor = server.accept().await;
        visitor.0.write_all(&first).await.expect("to send");
        visitor.leaves().await;
    }
    assert_eq!(gateway.get("a/", &[]).await.text(), "one");
    assert_eq!(gateway.metric("gatewright_discovery_connected{pool=\"a\"}").await, 0.0);
    let _visitor = server.tell(10_000, &[&one]).await;
    is_connected(&gateway, true).await;
}

#[tokio::test]
async fn what_nobody_watches_is_no_reason_to_read() {
    let (server, gateway) = Server::start().await;
    let one = Origin::says("one").await;
    let mut visitor = server.tell(10_000, &[&one]).await;
    answers(&gateway, "one").await;
    let event = |kind: u8, path: &str| {
        [&[0xff; 4][..], &[0; 12], &[0, 0, 0, kind, 0, 0, 0, 3], &text(path.as_bytes())].concat()
    };
    for path in ["", "/", "/services", "/services/a/../b", "/services/abc", "/services/a/127.0.0.1:1"] {
        visitor.send(&event(3, path)).await;
    }
    visitor.send(&event(99, "/services/a")).await;
    visitor.send(&event(4, "/services/a")).await;
    // The list is read, and nothing else.
    let list = [&[0, 0, 0, 1][..], &text(one.to_string().as_bytes()), &[0; 68]].concat();
    visitor.answer(12, &list).await;
    visitor.send(&event(4, "/services/a")).await;
    visitor.answer(12, &list).await;
    let silence = tokio::time::timeout(Duration::from_millis(50), visitor.0.read_u8()).await;
    assert!(silence.is_err(), "{silence:?}");
}
