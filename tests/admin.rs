//! What operators see.

use serde_json::Value;

use crate::harness::{Gateway, Origin, Raw, RawOrigin, Wire, eventually, full};

const ADMIN: &str = "[admin]\naddress = '127.0.0.1:0'";

#[tokio::test]
async fn traffic_is_counted_by_route_pool_status_and_protocol() {
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).and("name = 'all'").and(ADMIN).start().await;
    for _ in 0..3 {
        gateway.client(Wire::H1).await.call("POST", "/", full("12345")).await;
    }
    gateway.client(Wire::H2).await.get("/").await;
    gateway.ask("GET / HTTP/1.1\r\nHost : a\r\n\r\n").await;
    let count = async |labels: &str| gateway.metric(&format!("gatewright_requests_total{labels}")).await;
    eventually("five requests", async || count("").await == 5.0).await;
    let known = "{route=\"all\",pool=\"origin\",status=\"2xx\"";
    assert_eq!(count(&format!("{known},protocol=\"h1\"}}")).await, 3.0);
    assert_eq!(count(&format!("{known},protocol=\"h2\"}}")).await, 1.0);
    assert_eq!(gateway.metric("gatewright_request_bytes_total{route=\"all\"").await, 15.0);
    assert!(gateway.metric("gatewright_response_bytes_total{route=\"all\"").await > 100.0);
    assert_eq!(gateway.metric("gatewright_request_duration_seconds_count{route=\"all\"").await, 4.0);
    assert_eq!(gateway.metric("gatewright_requests_in_flight").await, 0.0);
    assert_eq!(gateway.metric("gatewright_connections_total").await, 5.0);
    assert_eq!(gateway.metric("gatewright_upstream_connections_total{pool=\"origin\",event=\"opened\"").await, 1.0);
    assert_eq!(gateway.metric("gatewright_upstream_connections_total{pool=\"origin\",event=\"reused\"").await, 3.0);
}

#[tokio::test]
async fn errors_of_origins_are_counted_by_kind() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and(ADMIN).start().await;
    for (answer, kind) in [("nonsense\r\n\r\n", "upstream-malformed"), ("HTTP/1.1 2", "upstream-truncated")] {
        let mut client = gateway.raw().await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.send(answer).await;
        drop(upstream);
        assert_eq!(client.response().await.status(), 502);
        let name = format!("gatewright_upstream_errors_total{{pool=\"origin\",error=\"{kind}\"}}");
        eventually(&name, async || gateway.metric(&name).await == 1.0).await;
    }
}

#[tokio::test]
async fn connections_that_the_origin_closed_are_open_no_more() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and(ADMIN).start().await;
    let is_open = async |count| gateway.metric("gatewright_upstream_connections_open{pool=\"origin\"}").await == count;
    let mut pairs = Vec::new();
    for _ in 0..3 {
        let mut client = gateway.raw().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        pairs.push((client, upstream));
    }
    eventually("three connections", async || is_open(3.0).await).await;
    // Two wait for more, one is in the middle of a response.
    for (number, (client, upstream)) in pairs.iter_mut().enumerate() {
        let body = if number == 2 { "o" } else { "ok" };
        upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}")).await;
        client.until(body).await;
    }
    assert!(is_open(3.0).await);
    let _clients: Vec<Raw> = pairs.into_iter().map(|(client, _)| client).collect();
    eventually("no connection", async || is_open(0.0).await).await;
}

#[tokio::test]
async fn every_metric_has_help_and_a_type_and_every_line_a_number() {
    let origin = Origin::says("hi").await;
    let gateway = Gateway::to(&origin).and(ADMIN).start().await;
    gateway.get("a/", &[]).await;
    let (_, text) = gateway.admin("GET", "/metrics").await;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = name.split('{').next().unwrap_or_default();
        let family =
            ["_bucket", "_sum", "_count"].iter().fold(name, |name, end| name.strip_suffix(end).unwrap_or(name));
        for kind in ["HELP", "TYPE"] {
            assert!(text.contains(&format!("# {kind} {family} ")), "{kind} of {family}");
        }
    }
}

#[tokio::test]
async fn the_status_tells_what_is_in_force() {
    let origin = Origin::says("hi").await;
    let gateway = Gateway::to(&origin).and("name = 'all'").and(ADMIN).start().await;
    let (status, body) = gateway.admin("GET", "/status").await;
    assert_eq!(status, 200);
    let told: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(told["routes"][0]["name"], "all");
    assert_eq!(told["routes"][0]["pool"], "origin");
    assert!(body.contains(&origin.to_string()), "{body}");
    assert_eq!(gateway.admin("GET", "/healthz").await.0, 200);
    assert_eq!(gateway.admin("GET", "/nothing").await.0, 404);
    assert_eq!(gateway.admin("GET", "/reload").await.0, 405);
}

#[tokio::test]
async fn a_reload_is_ordered_and_reported() {
    let gateway = Gateway::of(&format!("{ADMIN}\n[[route]]\nrespond = 'old'")).start_file().await;
    let file = gateway.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text.replace("old", "new")).expect("a file");
    let (status, body) = gateway.admin("POST", "/reload").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(gateway.get("a/", &[]).await.text(), "new");
    assert!(gateway.metric("gatewright_reloads_total{result=\"ok\"").await >= 1.0);
    assert_eq!(gateway.metric("gatewright_config_last_reload_successful").await, 1.0);
}

#[tokio::test]
async fn a_web_page_cannot_order_a_reload() {
    let gateway = Gateway::of(&format!("{ADMIN}\n[[route]]\nrespond = 'x'")).start_file().await;
    let mut raw = crate::harness::Raw::connect(gateway.admin_address()).await;
    raw.send("POST /reload HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(raw.response().await.status(), 403);
}

#[tokio::test]
async fn connections_are_closed_for_the_reason_that_is_counted() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).and(ADMIN).and("[limits]\nidle_time = '100ms'").start().await;
    let count = async |reason: &str| {
        gateway.metric(&format!("gatewright_connections_closed_total{{reason=\"{reason}\"}}")).await
    };
    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n";
    const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    // A client that leaves, before its first request and after it.
    drop(gateway.raw().await);
    eventually("the first client to leave", async || count("client").await == 1.0).await;
    let mut client = gateway.raw().await;
    client.send(format!("{GET}\r\n")).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send(OK).await;
    client.response().await;
    drop(client);
    eventually("the second client to leave", async || count("client").await == 2.0).await;
    gateway.raw().await.is_over().await;
    eventually("an idle connection", async || count("idle").await == 1.0).await;
    gateway.ask("GET / HTTP/1.1\r\nHost : a\r\n\r\n").await.is(400);
    eventually("a refusal", async || count("refused").await == 1.0).await;
    let mut client = gateway.raw().await;
    client.send(format!("{GET}Connection: close\r\n\r\n")).await;
    upstream.request().await;
    upstream.send(OK).await;
    client.response().await;
    client.is_over().await;
    eventually("a farewell", async || count("closed").await == 1.0).await;
    let mut client = gateway.raw().await;
    client.send(format!("{GET}\r\n")).await;
    upstream.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx").await;
    drop(upstream);
    assert!(client.try_response().await.is_err());
    eventually("a broken response", async || count("broken").await == 1.0).await;
    assert_eq!((count("client").await, count("idle").await), (2.0, 1.0));
}

#[tokio::test]
async fn those_who_keep_silent_leave_for_those_who_ask() {
    let origin = Origin::says("hi").await;
    let gateway = Gateway::to(&origin).and(ADMIN).start().await;
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut raw = Raw::connect(gateway.admin_address()).await;
        if number % 2 == 0 {
            raw.try_send("GET /healthz HT").await.expect("to send");
        }
        silent.push(raw);
    }
    let (status, _) = gateway.admin("GET", "/healthz").await;
    assert_eq!(status, 200);
    for raw in &mut silent[..100] {
        raw.is_over().await;
    }
    // The last to come is served like any other.
    let last = silent.last_mut().expect("one");
    last.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    last.response().await.is(200);
}

#[tokio::test]
async fn a_name_that_anybody_could_point_here_is_not_answered() {
    let origin = Origin::says("hi").await;
    let gateway = Gateway::to(&origin).and(ADMIN).start().await;
    let asked = async |host: &str| {
        let mut raw = Raw::connect(gateway.admin_address()).await;
        raw.send(format!("GET /status HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        raw.response().await.status()
    };
    for host in ["localhost", "LOCALHOST:9900", "127.0.0.1:1", "10.1.2.3", "[::1]:80", "[::1]"] {
        assert_eq!(asked(host).await, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:9900", "localhost.evil.example", "127.0.0.1.evil.example", "0x7f.1"] {
        assert_eq!(asked(host).await, 403, "{host}");
    }
}
