//! What one client says that is in no key must not reach another through the cache.
//!
//! The origin here is as careless as can be: it puts everything that it is told into an answer that all may keep. One client sends
//! something odd, another asks for the same in plain words, and nothing of the first may be in what the second gets.

use http_body_util::BodyExt;
use hyper::{Request, Response};

use crate::harness::{Body, Client, Gateway, Message, Origin, Wire, full};

/// What the attacker would have the other see.
const MARK: &str = "evil";

async fn careless(request: Request<hyper::body::Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let seen = format!("{} {} {:?} {}", head.method, head.uri, head.headers, String::from_utf8_lossy(&body));
    let range = head.headers.get("range").map(|range| format!("{range:?}"));
    let mut response = Response::builder().header("cache-control", "max-age=60").header("x-seen", seen.len());
    if range.is_some() && !seen.contains("whole") {
        response = response.status(206).header("content-range", "bytes 0-3/4000");
        return response.body(full("evil")).unwrap();
    }
    if head.headers.contains_key("if-none-match") && seen.contains("answers-304") {
        return response.status(304).header("etag", "\"evil\"").body(full("")).unwrap();
    }
    response.body(full(seen)).unwrap()
}

async fn started() -> (Origin, Gateway) {
    let origin = Origin::start(Wire::H1, careless).await;
    let text = "[pool.a]\nendpoints = ['<origin>']\n[[route]]\npool = 'a'\ncache = true";
    let gateway = Gateway::of(text).with("origin", &origin).start().await;
    (origin, gateway)
}

/// As a client in HTTP/1.1 would ask, byte for byte.
async fn raw(gateway: &Gateway, request: &str) -> Message {
    let mut client = gateway.raw().await;
    client.send(request).await;
    client.response().await
}

/// Fields that servers and frameworks believe.
const FIELDS: &[&str] = &[
    "x-forwarded-host",
    "x-forwarded-server",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-for",
    "x-forwarded-path",
    "forwarded",
    "x-host",
    "x_host",
    "x-original-host",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x_rewrite_url",
    "x_forwarded_host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x_http_method_override",
    "x-method-override",
    "x-real-ip",
    "true-client-ip",
    "client-ip",
    "cf-connecting-ip",
];

/// No client request fails.
#[tokio::test]
async fn fields_that_are_believed_reach_nobody_else() {
    let (_origin, gateway) = started().await;
    for wire in [Wire::H1, Wire::H2] {
        let mut client = gateway.client(wire).await;
        for field in FIELDS {
            for value in ["evil.example", "host=evil.example", "/evil", "EVIL"] {
                let path = format!("/{wire:?}-{field}-{}", value.len());
                let request = client.request("GET", &path).header(*field, value).body(full("")).unwrap();
                client.exchange(request).await.unwrap();
                let plain = client.get(&path).await;
                assert!(
                    !plain.text().to_lowercase().contains(MARK),
                    "{field}: {value} over {wire:?}: {}",
                    plain.text()
                );
            }
        }
    }
}

/// Those who look like another host are refused or have answers of their own.
#[tokio::test]
async fn hosts_that_are_written_otherwise_reach_nobody_else() {
    let (_origin, gateway) = started().await;
    for (number, host) in [
        "a.example:81",
        "a.example.",
        "a.example.:80",
        "A.EXAMPLE:81",
        "a.example@evil.example",
        "a.example:evil",
        "a.example\r\nHost: evil.example",
        "a.example, evil.example",
        "evil.example",
        "a.example/evil",
        "a.example?evil",
        "a.example#evil",
        "[a.example]",
        "%61.example",
        "",
        " a.example:81",
    ]
    .iter()
    .enumerate()
    {
        let first =
            raw(&gateway, &format!("GET /{number} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        let plain = raw(&gateway, &format!("GET /{number} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
        assert_eq!(plain.status(), 200);
        assert!(
            plain.text().contains("\"host\": \"a.example\"") && !plain.text().contains(MARK),
            "{host:?}: {first:?} {}",
            plain.text()
        );
        assert!(plain.field("cache-status").unwrap().contains("fwd=uri-miss"), "{host:?} {plain:?}");
    }
    // One name in any case, and with the port that is meant anyway, is one.
    for (number, host) in ["A.Example", "a.example:80", "a.example:"].iter().enumerate() {
        raw(&gateway, &format!("GET /same-{number} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        let plain = raw(&gateway, &format!("GET /same-{number} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
        assert!(!plain.text().contains(MARK), "{host:?} {}", plain.text());
    }
}

/// No client request fails but those whose target is refused.
#[tokio::test]
async fn targets_that_are_written_otherwise_reach_nobody_else() {
    let (_origin, gateway) = started().await;
    for (number, target) in [
        "//evil/N",
        "/evil//../N",
        "/evil/../N",
        "/./N?evil",
        "/N?evil",
        "/N#evil",
        "/N/evil",
        "/N%2Fevil",
        "/N;evil",
        "/%65vil/%2e%2e/N",
        "/evil/%2E%2E/N",
        "/N%00evil",
        "/N%0d%0aevil:1",
        "/N\\evil",
        "http://evil.example/N",
        "HTTP://a.example/N?evil",
        "https://a.example/N?evil",
        "http://a.example:81/N?evil",
        "http://user:evil@a.example/N",
        "*",
    ]
    .iter()
    .enumerate()
    {
        let path = format!("path-{number}");
        let target = target.replace('N', &path);
        let host = if target.contains("evil.example") { "evil.example" } else { "a.example" };
        for host in [host, "a.example"] {
            raw(&gateway, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        }
        let plain = raw(&gateway, &format!("GET /{path} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
        assert!(plain.status() == 200 && !plain.text().contains(MARK), "{target:?}: {}", plain.text());
    }
}

/// An absolute target goes before Host, in the key as at the origin; another one is refused. No other client request fails.
#[tokio::test]
async fn a_target_with_a_host_is_kept_under_that_host() {
    let (_origin, gateway) = started().await;
    let first = raw(&gateway, "GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    let second = raw(&gateway, "GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(first.text(), second.text());
    assert!(second.field("cache-status").unwrap().contains("hit"), "{second:?}");
    raw(&gateway, "GET http://evil.example/y HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await;
    let plain = raw(&gateway, "GET /y HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert!(!plain.text().contains(MARK) && plain.field("cache-status").unwrap().contains("uri-miss"), "{plain:?}");
}

/// No client request fails.
#[tokio::test]
async fn what_else_a_request_may_hold_reaches_nobody_else() {
    let (_origin, gateway) = started().await;
    for wire in [Wire::H1, Wire::H2] {
        let mut client = gateway.client(wire).await;
        let plain = async |client: &mut Client, path: &str| {
            let plain = client.get(path).await;
            assert!(plain.status == 200 && !plain.text().contains(MARK), "{path} {wire:?}: {}", plain.text());
        };
        // Content of a GET, whose length is said or not.
        client.call("GET", "/content", full("evil")).await;
        plain(&mut client, "/content").await;
        // Other methods, among them some that caches take for GET.
        for (number, method) in ["POST", "PUT", "OPTIONS", "PATCH", "QUERY", "get", "GETevil"].iter().enumerate() {
            let path = format!("/method-{number}");
            client.call(method, &path, full("evil")).await;
            plain(&mut client, &path).await;
        }
        client.call("HEAD", "/head", full("")).await;
        plain(&mut client, "/head").await;
        // Ranges and conditions.
        for (field, value) in [
            ("range", "bytes=0-3"),
            ("range", "bytes=0-3, evil"),
            ("if-none-match", "\"evil\""),
            ("if-match", "\"evil\""),
            ("if-range", "\"evil\""),
            ("if-modified-since", "evil"),
            ("if-unmodified-since", "evil"),
        ] {
            let path = format!("/answers-304-{field}-{}", value.len());
            let request = client.request("GET", &path).header(field, value).body(full("")).unwrap();
            client.exchange(request).await.unwrap();
            let got = client.get(&path).await;
            assert!(got.status == 200 && got.text().contains("GET "), "{field} over {wire:?}: {got:?}");
        }
        // Fields that differ by their connection.
        for (field, value) in [("proxy-authorization", "evil"), ("te", "trailers"), ("authorization", "evil")] {
            let path = format!("/{field}");
            let request = client.request("GET", &path).header(field, value).body(full("")).unwrap();
            client.exchange(request).await.unwrap();
            plain(&mut client, &path).await;
        }
    }
}
