//! What is said of the client and of the gateway in what is passed on, and whom the gateway believes.

use serde_json::{Value, json};

use crate::harness::{GET, Gateway, Origin, Raw, RawOrigin, Wire, empty};

/// The fields that an echoing origin sees of a GET with these fields, through a gateway with this configuration.
async fn headers(config: &str, fields: &[&str]) -> Value {
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).and(config).start().await;
    gateway.get("shop.example/", fields).await.seen()["headers"].take()
}

const BELIEVED: &str = "[forwarded]\ntrusted = ['127.0.0.0/8']\nforwarded = true";

#[tokio::test]
async fn fields_of_one_connection_are_not_passed_on() {
    let fields = [
        "Connection: x-mine, Keep-Alive, close",
        "X-Mine: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "TE: gzip",
        "Trailer: x",
        "Proxy-Authorization: Basic eDp5",
        "X-Kept: 2",
    ];
    let seen = headers("", &fields).await;
    for name in ["connection", "x-mine", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(seen[name], Value::Null, "{name}");
    }
    assert_eq!(seen["x-kept"], "2");
}

#[tokio::test]
async fn the_connection_field_cannot_take_away_what_the_message_needs() {
    let seen =
        headers("", &["Connection: host, x-forwarded-for, content-length, close", "X-Forwarded-For: 1.2.3.4"]).await;
    assert_eq!(seen["host"], "shop.example");
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
}

#[tokio::test]
async fn fields_of_the_origins_connection_do_not_reach_the_client() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let fields = "Connection: x-mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nX-Kept: 2";
    upstream.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: 0\r\n\r\n")).await;
    let response = client.response().await;
    for name in ["x-mine", "keep-alive", "proxy-connection"] {
        assert_eq!(response.field(name), None, "{name}");
    }
    assert_eq!(response.field("x-kept").as_deref(), Some("2"));
}

#[tokio::test]
async fn the_origin_learns_who_asked_and_how() {
    let seen = headers("[forwarded]\nforwarded = true", &[]).await;
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen["x-forwarded-proto"], "http");
    assert_eq!(seen["x-forwarded-host"], "shop.example");
    let forwarded = seen["forwarded"].as_str().expect("a Forwarded");
    assert!(forwarded.contains("for=127.0.0.1") && forwarded.contains("proto=http"), "{forwarded}");
    assert!(forwarded.contains("host=shop.example") || forwarded.contains("host=\"shop.example\""), "{forwarded}");
    assert_eq!(seen["via"], "1.1 gatewright");
    assert!(seen["x-request-id"].as_str().is_some_and(|id| id.len() >= 16));
}

#[tokio::test]
async fn the_scheme_that_is_told_is_that_of_the_client() {
    let origin = Origin::echo().await;
    let gateway = Gateway::between(Wire::H2Tls, Wire::H1, &origin).await;
    let seen = gateway.client(Wire::H2Tls).await.get("/").await.seen();
    assert_eq!(seen["headers"]["x-forwarded-proto"], "https");
    assert!(seen["headers"]["via"].as_str().is_some_and(|via| via.starts_with('2')), "{seen}");
}

#[tokio::test]
async fn what_a_stranger_says_of_himself_is_not_believed() {
    let said = [
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: bank.example",
        "Forwarded: for=1.2.3.4;proto=https",
        "X-Request-Id: mine",
        "X-Real-IP: 1.2.3.4",
        "X-Scheme: https",
        "X-Original-URI: /admin",
        "X_Envoy_Original_Path: /admin",
        "X-Envoy-External-Address: 1.2.3.4",
        "Client-IP: 1.2.3.4",
        "Proxy-Client-IP: 1.2.3.4",
        "WL-Proxy-Client-IP: 1.2.3.4",
        "CF-Connecting-IPv6: 2001:db8::1",
        "CF-Visitor: {\"scheme\":\"https\"}",
        "X-Forwarded-Prefix: /admin",
    ];
    let seen = headers("", &said).await;
    for (name, _) in said.iter().skip(6).filter_map(|line| line.split_once(": ")) {
        assert_eq!(seen[name.to_ascii_lowercase()], Value::Null, "{name}");
    }
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen["x-forwarded-proto"], "http");
    assert_eq!(seen["x-forwarded-host"], "shop.example");
    assert_eq!(seen["forwarded"], Value::Null);
    assert_ne!(seen["x-request-id"], "mine");
}

#[tokio::test]
async fn a_stranger_cannot_say_it_in_other_letters() {
    let said = [
        "content_length: 5",
        "transfer_encoding: chunked",
        "x_request_id: mine",
        "x_forwarded_for: 1.2.3.4",
        "X-Forwarded_For: 1.2.3.4",
        "true-client-ip: 1.2.3.4",
        "True_Client_IP: 1.2.3.4",
        "x_mine: 1",
    ];
    let origin = RawOrigin::start().await;
    let gateway = Gateway::to(&origin).start().await;
    let mut h1 = gateway.raw().await;
    h1.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n", said.join("\r\n"))).await;
    let mut h2 = gateway.frames().await;
    let said: Vec<(String, &str)> = said
        .iter()
        .map(|line| line.split_once(": ").expect("a field"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    let fields = said.iter().map(|(name, value)| (&**name, *value));
    h2.headers(1, &GET.into_iter().chain([(":path", "/")]).chain(fields).collect::<Vec<_>>(), true).await;
    for _ in 0..2 {
        let seen = origin.accept().await.request().await;
        for (name, _) in said.iter().filter(|(name, _)| name != "x_mine") {
            assert_eq!(seen.field(name), None, "{seen:?}");
        }
        assert_eq!(seen.field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
        assert_eq!(seen.field("x_mine").as_deref(), Some("1"));
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_passed_on() {
    let said = [
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: bank.example",
        "X-Request-Id: theirs",
        "Via: 1.1 front",
    ];
    let seen = headers(BELIEVED, &said).await;
    assert_eq!(seen["x-forwarded-for"], "1.2.3.4, 127.0.0.1");
    assert_eq!(seen["x-forwarded-proto"], "https");
    assert_eq!(seen["x-forwarded-host"], "bank.example");
    assert_eq!(seen["x-request-id"], "theirs");
    let via = &seen["via"];
    assert!(*via == json!("1.1 front, 1.1 gatewright") || *via == json!(["1.1 front", "1.1 gatewright"]), "{via}");
}

#[tokio::test]
async fn an_origin_hears_the_same_from_both_families() {
    let decided = ("1.2.3.4, 127.0.0.1", "https", "for=1.2.3.4;proto=https;host=\"bank.example\", for=127.0.0.1");
    let (x, proto, host) =
        ("X-Forwarded-For: 6.6.6.6, 1.2.3.4", "X-Forwarded-Proto: https", "X-Forwarded-Host: bank.example");
    for said in [
        &[x, proto, host, "Forwarded: for=6.6.6.6;proto=http;host=evil"][..],
        &["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 1.2.3.4,", proto, host],
        &["Forwarded: for=6.6.6.6;proto=http, for=1.2.3.4;proto=https;host=bank.example"],
        &["Forwarded: for=6.6.6.6", "Forwarded: host=\"bank.example\";proto=https;for=\"1.2.3.4:80\", "],
    ] {
        let seen = headers(BELIEVED, said).await;
        let told = [&seen["x-forwarded-for"], &seen["x-forwarded-proto"], &seen["forwarded"]];
        assert_eq!(told, [decided.0, decided.1, decided.2], "{said:?}");
        assert_eq!(seen["x-forwarded-host"], "bank.example");
    }
    let seen = headers("[forwarded]\ntrusted = ['127.0.0.1']", &["Forwarded: for=1.2.3.4;proto=https"]).await;
    assert_eq!((&seen["x-forwarded-proto"], &seen["forwarded"]), (&"https".into(), &Value::Null));
}

#[tokio::test]
async fn a_request_id_that_could_do_harm_is_replaced() {
    let long = format!("X-Request-Id: {}", "a".repeat(10_000));
    for id in [&*long, "X-Request-Id: ", "X-Request-Id: a\tb c\"d"] {
        let seen = headers(BELIEVED, &[id]).await;
        let seen = seen["x-request-id"].as_str().expect("an id").to_owned();
        assert!(seen.len() >= 16 && seen.len() <= 256 && !id.ends_with(&seen), "{seen}");
    }
}

#[tokio::test]
async fn nothing_is_said_when_it_is_switched_off() {
    let seen =
        headers("[forwarded]\nx_forwarded = false\nvia = ''\nrequest_id = ''", &["X-Forwarded-For: 1.2.3.4"]).await;
    for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "via", "x-request-id", "forwarded"] {
        assert_eq!(seen[name], Value::Null, "{name}");
    }
}

#[tokio::test]
async fn the_host_that_the_origin_sees_can_be_chosen() {
    let origin = Origin::echo().await;
    for (host, expected) in
        [("preserve", "shop.example"), ("endpoint", &*origin.to_string()), ("in.example", "in.example")]
    {
        let text = "[pool.a]\nendpoints = ['<origin>']\nhost = '<host>'\n[[route]]\npool = 'a'";
        let gateway = Gateway::of(text).with("origin", &origin).with("host", host).start().await;
        let seen = gateway.get("shop.example/", &[]).await.seen();
        assert_eq!(seen["headers"]["host"], expected);
        assert_eq!(seen["headers"]["x-forwarded-host"], "shop.example");
    }
}

const PROXY_V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";

fn proxy_v2() -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    bytes.extend([192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 80]);
    bytes
}

/// A gateway whose listener takes PROXY headers from these networks.
async fn behind_a_balancer(origin: &Origin, trusted: &str) -> Gateway {
    let listener = format!("[[listener]]\naddress = '127.0.0.1:0'\nproxy_protocol = ['{trusted}']");
    Gateway::to(origin).and(&listener).start().await
}

#[tokio::test]
async fn a_proxy_header_from_a_trusted_network_tells_the_client() {
    let origin = Origin::echo().await;
    let gateway = behind_a_balancer(&origin, "127.0.0.0/8").await;
    for header in [PROXY_V1.to_vec(), proxy_v2()] {
        for at in 0..header.len() {
            let mut client = gateway.raw().await;
            client.send(&header[..at]).await;
            tokio::task::yield_now().await;
            client.send([&header[at..], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).await;
            let seen = client.response().await.seen();
            assert_eq!(seen["headers"]["x-forwarded-for"], "192.0.2.7", "cut at {at}");
        }
    }
}

#[tokio::test]
async fn a_balancers_own_connection_keeps_its_address() {
    let origin = Origin::echo().await;
    let gateway = behind_a_balancer(&origin, "127.0.0.0/8").await;
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let mut client = gateway.raw().await;
        client.send([header, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).await;
        assert_eq!(client.response().await.seen()["headers"]["x-forwarded-for"], "127.0.0.1");
    }
}

#[tokio::test]
async fn a_trusted_network_must_send_a_proxy_header() {
    let origin = RawOrigin::start().await;
    let gateway =
        Gateway::to(&origin).and("[[listener]]\naddress = '127.0.0.1:0'\nproxy_protocol = ['127.0.0.1']").start().await;
    for opening in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PROXY TCP4 1.2.3 4.5.6.7 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 99999 2\r\n",
    ] {
        let mut client = gateway.raw().await;
        client.send(opening).await;
        client.is_over().await;
    }
    origin.is_untouched();
}

#[tokio::test]
async fn a_proxy_header_from_elsewhere_is_an_error() {
    let origin = Origin::echo().await;
    let gateway = behind_a_balancer(&origin, "10.0.0.0/8").await;
    let mut client = gateway.raw().await;
    client.send([PROXY_V1, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).await;
    client.is_refused(400).await;
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn the_origin_is_told_the_client_by_a_proxy_header() {
    for (version, length) in [("v1", 0), ("v2", 28)] {
        let origin = RawOrigin::start().await;
        let text = "[pool.a]\nendpoints = ['<origin>']\nproxy_protocol = '<version>'\n[[route]]\npool = 'a'";
        let gateway = Gateway::of(text).with("origin", &origin).with("version", version).start().await;
        let mut kept: Vec<Raw> = Vec::new();
        for _ in 0..2 {
            // Each client has an upstream connection of its own, and keeps it.
            let mut client = gateway.raw().await;
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let mut upstream = origin.accept().await;
            if length > 0 {
                let header = upstream.exactly(length).await;
                assert_eq!(&header[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
                assert_eq!(header[16..20], [127, 0, 0, 1]);
            } else {
                assert!(upstream.until("\r\n").await.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "));
            }
            for _ in 0..2 {
                upstream.request().await;
                upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
                assert_eq!(client.response().await.status(), 204);
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            }
            kept.extend([client, upstream]);
        }
    }
}

#[tokio::test]
async fn an_answer_of_the_gateway_itself_names_no_origin() {
    let origin = RawOrigin::start().await;
    let address = origin.to_string();
    drop(origin);
    let gateway = Gateway::to(&address).start().await;
    let mut client = gateway.client(Wire::H1).await;
    let request = client.request("GET", "/").header("accept", "application/json").body(empty()).expect("a request");
    let reply = client.exchange(request).await.expect("a response");
    assert_eq!(reply.status, 502);
    assert!(!reply.text().contains("127.0.0.1"), "{}", reply.text());
    let page: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(page["status"], 502);
}
