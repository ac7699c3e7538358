//! One line for each request.

use serde_json::Value;

use crate::harness::{Gateway, Origin, RawOrigin, Wire, eventually, full};

/// The lines of the log, when there are so many.
async fn lines(gateway: &Gateway, count: usize) -> Vec<String> {
    let file = gateway.folder().join("access.log");
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("the lines of the log", async || read().lines().count() >= count).await;
    let lines: Vec<String> = read().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), count, "{lines:?}");
    lines
}

const JSON: &str = "[access_log]\noutput = 'access.log'";

#[tokio::test]
async fn a_line_says_what_was_asked_and_what_became_of_it() {
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).and("name = 'all'").and(JSON).start().await;
    let mut client = gateway.client(Wire::H2).await;
    let request = client.request("POST", "/path?q").header("user-agent", "test/1").header("referer", "\"x\"");
    let reply = client.exchange(request.body(full("12345")).expect("a request")).await.expect("a response");
    let line: Value = serde_json::from_str(&lines(&gateway, 1).await[0]).expect("JSON");
    for (key, value) in [
        ("client", "127.0.0.1"),
        ("method", "POST"),
        ("scheme", "http"),
        ("authority", "localhost"),
        ("target", "/path?q"),
        ("protocol", "HTTP/2"),
        ("upstream", &origin.to_string()),
        ("route", "all"),
        ("pool", "origin"),
        ("user_agent", "test/1"),
        ("referer", "\"x\""),
    ] {
        assert_eq!(line[key], value, "{key}");
    }
    assert_eq!(line["request_id"], reply.seen()["headers"]["x-request-id"]);
    assert_eq!(
        (&line["status"], &line["bytes_in"], &line["bytes_out"]),
        (&200.into(), &5.into(), &reply.body.len().into())
    );
    assert!(line["duration_ms"].as_f64().is_some_and(|time| time > 0.0));
}

#[tokio::test]
async fn refused_requests_have_a_line_too() {
    let gateway = Gateway::of("[[route]]\nmatch = { path = '/x' }\nrespond = 'x'").and(JSON).start().await;
    gateway.ask("GET / HTTP/1.1\r\nHost : a\r\n\r\n").await;
    gateway.get("a/none", &[]).await;
    let lines: Vec<Value> =
        lines(&gateway, 2).await.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["status"], &lines[0]["error"]), (&400.into(), &"malformed".into()));
    assert_eq!((&lines[1]["status"], &lines[1]["error"]), (&404.into(), &"no-route".into()));
}

#[tokio::test]
async fn errors_of_origins_are_named() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and(JSON).start().await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart").await;
    drop(upstream);
    client.rest().await;
    let line: Value = serde_json::from_str(&lines(&gateway, 1).await[0]).expect("JSON");
    assert_eq!((&line["status"], &line["error"]), (&200.into(), &"upstream-truncated".into()));
}

#[tokio::test]
async fn the_combined_format_is_what_others_write() {
    let gateway = Gateway::of("[[route]]\nrespond = 'hi'").and(&format!("{JSON}\nformat = 'combined'")).start().await;
    gateway.get("a/x%22y", &["User-Agent: a \"quoted\" one"]).await;
    let line = &lines(&gateway, 1).await[0];
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.contains("] \"GET /x%22y HTTP/1.1\" 200 2 \"-\" \"a "), "{line}");
    assert_eq!(line.matches('"').count() - line.matches("\\\"").count(), 6, "{line}");
}

#[tokio::test]
async fn every_request_of_many_has_its_line() {
    let gateway = Gateway::of("workers = 2\n[[route]]\nrespond = 'hi'").and(JSON).start().await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = gateway.client(Wire::H1).await;
        clients.push(tokio::spawn(async move {
            for number in 0..100 {
                client.get(&format!("/{number}")).await;
            }
        }));
    }
    for client in clients {
        client.await.expect("no panic");
    }
    let lines = lines(&gateway, 1000).await;
    assert!(lines.iter().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_moved_is_called_that() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and(JSON).and("[limits]\ntunnel_idle_time = '50ms'").start().await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    upstream.head().await;
    upstream.send("HTTP/1.1 101 Now\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    client.rest().await;
    let line: Value = serde_json::from_str(&lines(&gateway, 1).await[0]).expect("JSON");
    assert_eq!((&line["status"], &line["error"]), (&101.into(), &"tunnel-idle".into()));
}
