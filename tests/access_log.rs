//! One line for each request.

use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
async fn a_reader_that_does_not_read_costs_lines_and_holds_nobody_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    // Both ends, so that opening it waits for nobody.
    let mut pipe = std::fs::File::options().read(true).write(true).open(&path).expect("a pipe");
    let text =
        "[admin]\naddress = '127.0.0.1:0'\n[limits]\naccess_log_queue_size = '32KiB'\n[access_log]\noutput = '<pipe>'";
    let gateway = Gateway::of("[[route]]\nrespond = 'hi'").and(text).with("pipe", path.display()).start().await;
    let mut client = gateway.client(Wire::H1).await;
    let dropped = async || gateway.metric("gatewright_access_log_dropped_lines_total").await as u64;
    let mut asked = 0;
    while asked < 20_000 && dropped().await == 0 {
        for _ in 0..100 {
            assert_eq!(client.get("/").await.text(), "hi");
        }
        asked += 100;
    }
    assert!(dropped().await > 0);
    // Each request has become a line or a count.
    let lines = Arc::<AtomicU64>::default();
    let (counter, reader) = (lines.clone(), BufReader::new(pipe.try_clone().expect("the other end")));
    let reading = std::thread::spawn(move || {
        for line in reader.lines().map_while(Result::ok).take_while(|line| line != "end") {
            assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    eventually("all lines", async || lines.load(Ordering::Relaxed) + dropped().await == asked).await;
    pipe.write_all(b"end\n").expect("to write");
    reading.join().expect("only whole lines");
}
