//! The tier on disk, from outside: what outlives the gateway, and what does not.

use std::path::Path;

use crate::harness::{Gateway, Message, Raw, RawOrigin, eventually};

async fn gateway(origin: &RawOrigin, folder: &Path, more: &str) -> Gateway {
    let text = "[cache]\ndisk = { folder = '<folder>' }\n[pool.a]\nendpoints = ['<origin>']\n[[route]]\npool = 'a'\ncache = true\n\
                [admin]\naddress = '127.0.0.1:0'\n<more>";
    let folder = folder.display();
    let gateway = Gateway::of(text).with("origin", origin).with("folder", folder).with("more", more).start().await;
    let serving = "gatewright_cache_disk_info{stage=\"serving\"}";
    eventually("the folder", async || gateway.metric(serving).await == 1.0).await;
    gateway
}

async fn asking(gateway: &Gateway, method: &str, target: &str, fields: &str) -> Raw {
    let mut client = gateway.raw().await;
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")).await;
    client
}

/// The request goes to the origin, which answers so. What the origin was asked, and what the client got.
async fn filled(
    gateway: &Gateway,
    origin: &RawOrigin,
    request: (&str, &str, &str),
    answer: &str,
    body: &str,
) -> (Message, Message) {
    let mut client = asking(gateway, request.0, request.1, request.2).await;
    let mut upstream = origin.accept().await;
    let seen = upstream.request().await;
    let length = if answer.starts_with("304") { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    upstream.send(format!("HTTP/1.1 {answer}Connection: close\r\n{length}\r\n{body}")).await;
    (seen, client.response().await)
}

async fn has_happened(gateway: &Gateway, event: &str, times: f64) {
    let name = format!("gatewright_cache_disk_events_total{{event=\"{event}\"}}");
    eventually(event, async || gateway.metric(&name).await == times).await;
}

fn told(message: &Message) -> String {
    message.field("cache-status").unwrap()
}

/// No client request fails.
#[tokio::test]
async fn what_is_kept_is_given_after_a_restart() {
    let (origin, folder) = (RawOrigin::start().await, tempfile::tempdir().unwrap());
    let folder = folder.path().join("responses");
    let large: String = (0..400_000).map(|number| format!("{number:07} ")).collect();
    let first = gateway(&origin, &folder, "").await;
    let fresh = "200 OK\r\nCache-Control: max-age=600\r\n";
    filled(&first, &origin, ("GET", "/small", ""), fresh, "small").await;
    filled(&first, &origin, ("GET", "/large", ""), fresh, &large).await;
    let varied = "200 OK\r\nCache-Control: max-age=600\r\nVary: Accept-Language\r\n";
    for language in ["de", "fr"] {
        filled(&first, &origin, ("GET", "/in", &format!("Accept-Language: {language}\r\n")), varied, language).await;
    }
    has_happened(&first, "written", 4.0).await;
    drop(first);
    let second = gateway(&origin, &folder, "").await;
    for (target, fields, body) in [
        ("/small", "", "small"),
        ("/large", "", &*large),
        ("/in", "Accept-Language: FR\r\n", "fr"),
        ("/in", "Accept-Language: de\r\n", "de"),
    ] {
        for detail in [true, false] {
            let answer = asking(&second, "GET", target, fields).await.response().await;
            let told = told(&answer);
            assert!(
                told.starts_with("gatewright; hit; ttl=") && told.contains("detail=disk") == detail,
                "{target}: {told}"
            );
            assert!(answer.text() == body && answer.field("age").is_some(), "{target}");
        }
    }
    let part = asking(&second, "GET", "/large", "Range: bytes=800000-800006\r\n").await.response().await;
    assert_eq!((part.status(), part.text()), (206, "0100000".to_owned()));
    origin.is_untouched();
    // It stays there, and it is not written again.
    has_happened(&second, "read", 4.0).await;
    has_happened(&second, "written", 0.0).await;
    assert_eq!(second.metric("gatewright_cache_disk_entries").await, 4.0);
}

/// Twenty clients at once, one read.
#[tokio::test]
async fn many_who_want_the_same_read_it_once() {
    let (origin, folder) = (RawOrigin::start().await, tempfile::tempdir().unwrap());
    let body = "x".repeat(14_000_000);
    let first = gateway(&origin, folder.path(), "").await;
    filled(&first, &origin, ("GET", "/x", ""), "200 OK\r\nCache-Control: max-age=600\r\n", &body).await;
    has_happened(&first, "written", 1.0).await;
    drop(first);
    let second = gateway(&origin, folder.path(), "").await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(asking(&second, "GET", "/x", "Range: bytes=-7\r\n").await);
    }
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "xxxxxxx");
    }
    origin.is_untouched();
    has_happened(&second, "read", 1.0).await;
}

/// No client request fails.
#[tokio::test]
async fn what_was_stale_is_asked_for_again_and_stays_renewed() {
    let (origin, folder) = (RawOrigin::start().await, tempfile::tempdir().unwrap());
    let first = gateway(&origin, folder.path(), "").await;
    let stale = "200 OK\r\nCache-Control: max-age=600\r\nAge: 700\r\nETag: \"a\"\r\n";
    filled(&first, &origin, ("GET", "/x", ""), stale, "kept").await;
    has_happened(&first, "written", 1.0).await;
    drop(first);
    let second = gateway(&origin, folder.path(), "").await;
    let holds = "304 Not Modified\r\nCache-Control: max-age=600\r\nETag: \"a\"\r\n";
    let (seen, answer) = filled(&second, &origin, ("GET", "/x", ""), holds, "").await;
    assert_eq!(
        (seen.field("if-none-match").as_deref(), answer.status(), &*answer.text()),
        (Some("\"a\""), 200, "kept")
    );
    has_happened(&second, "freshened", 1.0).await;
    drop(second);
    let third = gateway(&origin, folder.path(), "").await;
    let answer = asking(&third, "GET", "/x", "").await.response().await;
    assert!(told(&answer).contains("hit") && answer.text() == "kept", "{answer:?}");
    origin.is_untouched();
}

/// No client request fails.
#[tokio::test]
async fn what_has_changed_is_not_given_after_a_restart() {
    let (origin, folder) = (RawOrigin::start().await, tempfile::tempdir().unwrap());
    let first = gateway(&origin, folder.path(), "").await;
    let fresh = "200 OK\r\nCache-Control: max-age=600\r\n";
    for target in ["/changed", "/private"] {
        filled(&first, &origin, ("GET", target, ""), fresh, "old").await;
    }
    has_happened(&first, "written", 2.0).await;
    filled(&first, &origin, ("POST", "/changed", "Content-Length: 0\r\n"), "204 No Content\r\n", "").await;
    let private = "200 OK\r\nCache-Control: private\r\n";
    filled(&first, &origin, ("GET", "/private", "Cache-Control: no-cache\r\n"), private, "mine").await;
    drop(first);
    let second = gateway(&origin, folder.path(), "").await;
    for target in ["/changed", "/private"] {
        let (_, answer) = filled(&second, &origin, ("GET", target, ""), fresh, "new").await;
        assert_eq!(answer.text(), "new");
    }
}

/// No client request fails.
#[tokio::test]
async fn a_route_with_other_rules_begins_anew_and_a_second_gateway_goes_without() {
    let (origin, folder) = (RawOrigin::start().await, tempfile::tempdir().unwrap());
    let first = gateway(&origin, folder.path(), "").await;
    let fresh = "200 OK\r\nCache-Control: max-age=600\r\n";
    filled(&first, &origin, ("GET", "/x", ""), fresh, "one").await;
    has_happened(&first, "written", 1.0).await;
    // The folder is taken, so it waits, and serves.
    let text = "[cache]\ndisk = { folder = '<folder>' }\n[pool.b]\nendpoints = ['<origin>']\n[[route]]\npool = 'b'\ncache = true\n\
                [admin]\naddress = '127.0.0.1:0'\n";
    let builder = Gateway::of(text).with("origin", &origin).with("folder", folder.path().display());
    let second = builder.start().await;
    filled(&second, &origin, ("GET", "/y", ""), fresh, "two").await;
    assert_eq!(second.metric("gatewright_cache_disk_info{stage=\"waiting\"}").await, 1.0);
    drop(first);
    eventually("the folder", async || second.metric("gatewright_cache_disk_info{stage=\"serving\"}").await == 1.0)
        .await;
    // What went to another pool is no answer of this one.
    filled(&second, &origin, ("GET", "/x", ""), fresh, "three").await;
    has_happened(&second, "written", 1.0).await;
}

/// No client request fails.
#[tokio::test]
async fn a_file_that_was_damaged_costs_a_hit() {
    let (origin, folder) = (RawOrigin::start().await, tempfile::tempdir().unwrap());
    let first = gateway(&origin, folder.path(), "").await;
    let fresh = "200 OK\r\nCache-Control: max-age=600\r\n";
    filled(&first, &origin, ("GET", "/x", ""), fresh, "a body of some length").await;
    has_happened(&first, "written", 1.0).await;
    drop(first);
    let mut shelves = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let shelf = shelves.find(|path| path.file_name().unwrap().len() == 2).unwrap();
    let file = std::fs::read_dir(shelf).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[50] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let second = gateway(&origin, folder.path(), "").await;
    let (_, answer) = filled(&second, &origin, ("GET", "/x", ""), fresh, "another").await;
    assert_eq!(answer.text(), "another");
    has_happened(&second, "damaged", 1.0).await;
    has_happened(&second, "written", 1.0).await;
}
