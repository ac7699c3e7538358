//! One line for each request.

use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::harness::{GET, Gateway, Origin, Raw, RawOrigin, Wire, eventually, full, log, within};

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

#[tokio::test]
async fn what_is_known_of_a_refused_request_is_in_its_line() {
    let limits = "[limits]\nuri_size = '100B'\nheader_size = '1KiB'\nheader_fields = 4\nheader_time = '100ms'";
    let gateway = Gateway::of("[[route]]\nrespond = 'x'").and(JSON).and(limits).start().await;
    let (long, host) = ("x".repeat(2000), "Host: a\r\nUser-Agent: me\r\n");
    let target = |line: &Value| line["target"].as_str().map(str::len);
    for (number, (request, status, method, authority)) in [
        (format!("PUT /{} HTTP/1.1\r\n{host}\r\n", &long[..200]), 414, "PUT", "a"),
        (format!("PATCH /{long}"), 414, "PATCH", ""),
        (format!("PUT / HTTP/1.1\r\n{host}X: {long}"), 431, "PUT", "a"),
        (format!("PUT / HTTP/1.1\r\n{host}a: b\r\nc: d\r\ne: f\r\n\r\n"), 431, "PUT", "a"),
        (format!("PUT / HTTP/1.1\r\n{host}Expect: tea\r\n\r\n"), 417, "PUT", "a"),
        (format!("PUT / HTTP/1.1\r\n{host}Content-Length: x\r\n\r\n"), 400, "PUT", "a"),
        (format!("PUT / HTTP/1.1\r\n{host}"), 408, "PUT", "a"),
    ]
    .into_iter()
    .enumerate()
    {
        gateway.ask(&request).await.is(status);
        let line: Value = serde_json::from_str(&lines(&gateway, number + 1).await[number]).expect("JSON");
        assert_eq!((&line["status"], &line["method"]), (&status.into(), &method.into()), "{line}");
        assert_eq!(line["authority"], authority, "{line}");
        assert_eq!(line["user_agent"].as_str(), (authority == "a").then_some("me"), "{line}");
        assert!(target(&line).is_some_and(|length| length > 0), "{line}");
    }
    // HEAD has no body, whatever the status.
    let mut head = gateway.raw().await;
    head.send(format!("HEAD / HTTP/1.1\r\n{host}Expect: tea\r\n\r\n")).await;
    assert_eq!(head.head().await.status(), 417);
    head.is_over().await;
    // Of these nothing is known.
    gateway.ask("?? ?? ??\r\n\r\n").await.is(400);
    let line: Value = serde_json::from_str(&lines(&gateway, 9).await[8]).expect("JSON");
    assert_eq!((&line["method"], target(&line)), (&Value::Null, Some(0)), "{line}");
}

#[tokio::test]
async fn a_head_that_is_too_large_in_http_2_has_its_line_too() {
    let limits = "[limits]\nhttp2_header_list_size = '1KiB'";
    let gateway = Gateway::of("[[route]]\nrespond = 'x'").and(JSON).and(limits).start().await;
    let mut client = gateway.frames().await;
    let long = "x".repeat(2000);
    client.headers(1, &[&GET[..], &[(":path", "/a"), ("x", &long)]].concat(), true).await;
    assert_eq!(client.outcome(1).await.status(), Some(431));
    // The connection goes on.
    client.get(3, "/").await;
    assert_eq!(client.outcome(3).await.status(), Some(200));
    let line: Value = serde_json::from_str(&lines(&gateway, 2).await[0]).expect("JSON");
    assert_eq!((&line["status"], &line["error"]), (&431.into(), &"head-too-large".into()), "{line}");
    assert_eq!((&line["target"], &line["authority"]), (&"/a".into(), &"localhost".into()), "{line}");
}

#[tokio::test]
async fn a_refused_client_of_a_trusted_proxy_is_named() {
    let trusting = "[forwarded]\ntrusted = ['127.0.0.1']";
    let gateway = Gateway::of("[[route]]\nrespond = 'x'").and(JSON).and(trusting).start().await;
    gateway.get("a/", &["X-Forwarded-For: 192.0.2.9", "Expect: tea"]).await.is(417);
    let line: Value = serde_json::from_str(&lines(&gateway, 1).await[0]).expect("JSON");
    assert_eq!(line["client"], "192.0.2.9");
}

#[tokio::test]
async fn a_client_over_ipv4_is_called_by_its_ipv4_address_everywhere() {
    let origin = Origin::echo().await;
    let text = "
        [[listener]]
        address = '[::]:0'
        proxy_protocol = ['10.0.0.0/8']
        [[listener]]
        address = '[::]:0'
        proxy_protocol = ['127.0.0.0/8']
        [pool.a]
        endpoints = ['<origin>']
        [[route]]
        match = { client = ['127.0.0.0/8', '192.0.2.0/24'] }
        pool = 'a'";
    let gateway = Gateway::of(text).with("origin", &origin).and(JSON).start().await;
    let [plain, behind] = gateway.addresses()[..] else { panic!("two listeners") };
    let mapped = "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 4711 80\r\n";
    for (number, (listener, header, client)) in
        [(plain, "", "127.0.0.1"), (behind, mapped, "192.0.2.7")].into_iter().enumerate()
    {
        let mut raw = Raw::connect(([127, 0, 0, 1], listener.port()).into()).await;
        raw.send(format!("{header}GET / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(raw.response().await.seen()["headers"]["x-forwarded-for"], client);
        raw.send("GET / HTTP/1.1\r\nHost : a\r\n\r\n").await;
        raw.is_refused(400).await;
        for line in &lines(&gateway, 2 * number + 2).await[2 * number..] {
            let line: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(line["client"], client, "{line}");
        }
    }
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

#[tokio::test]
async fn lines_go_on_into_a_file_whose_folder_was_moved_and_that_is_said() {
    log::listen();
    let folder = tempfile::tempdir().expect("a folder");
    let [there, moved] = ["there", "moved"].map(|name| folder.path().join(name));
    std::fs::create_dir(&there).expect("a folder");
    let file = there.join("access.log");
    let text = "[admin]\naddress = '127.0.0.1:0'\n[access_log]\noutput = '<file>'";
    let gateway = Gateway::of("[[route]]\nrespond = 'hi'").and(text).with("file", file.display()).start().await;
    let mut client = gateway.client(Wire::H1).await;
    let mut asked = 0;
    let name = file.display().to_string();
    std::fs::rename(&there, &moved).expect("to rename");
    for words in ["lines go on into the file that was open before", "lines go into the access log of this name again"] {
        eventually(words, async || {
            client.get("/").await;
            asked += 1;
            !log::lines(&[&name, words]).is_empty()
        })
        .await;
        std::fs::create_dir_all(&there).expect("a folder");
    }
    let count = |folder: &std::path::Path| {
        let text = std::fs::read_to_string(folder.join("access.log")).unwrap_or_default();
        text.lines().count()
    };
    eventually("all lines", async || count(&moved) + count(&there) == asked).await;
    assert!(count(&moved) > 0);
    assert_eq!(gateway.metric("gatewright_access_log_dropped_lines_total").await, 0.0);
    assert!(log::lines(&[&name, "being dropped"]).is_empty());
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_is_refused_and_not_waited_for() {
    let mut gateway = Gateway::of("[[route]]\nrespond = 'hi'").start().await;
    let pipe = gateway.folder().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let text = format!("[[route]]\nrespond = 'hi'\n[access_log]\noutput = '{}'", pipe.display());
    // Had it to wait for a reader, this would not come back.
    let refused = within("the reload", gateway.apply(&text)).await;
    let message = refused.expect_err("nobody reads");
    assert!(message.contains("access_log.output") && message.contains("a pipe that nobody reads"), "{message}");
    let reader = std::fs::File::options().read(true).write(true).open(&pipe).expect("a pipe");
    gateway.apply(&text).await.expect("somebody reads");
    gateway.get("a/here", &[]).await.is(200);
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).expect("to read");
    assert!(line.contains("/here"), "{line}");
    gateway.stop().await;
}
