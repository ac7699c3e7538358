//! Whole messages.

use hyper::{Response, StatusCode};

use super::{Sides, over_everything};
use crate::harness::{Body, collect, echo, empty, full, stream, with_trailers};

over_everything! {
    a_small_get_is_answered
    a_megabyte_is_echoed
    an_empty_body_stays_empty
    a_head_response_keeps_its_length
    responses_without_content_have_none
    trailers_reach_the_origin
    trailers_reach_the_client
    a_body_without_a_length_arrives_whole
    query_is_a_method_like_any_other
    cookies_and_repeated_fields_arrive
    a_connection_carries_many_requests
    errors_of_the_origin_are_passed_on
}

async fn a_small_get_is_answered(sides: Sides) {
    let mut client = sides.start(echo).await;
    let seen = client.get("/path?query=1").await.seen();
    assert_eq!(seen["method"], "GET");
    assert_eq!(seen["target"], "/path?query=1");
    assert_eq!(seen["body"], "");
    let host = if sides.upstream.is_h2() { &seen["authority"] } else { &seen["headers"]["host"] };
    assert_eq!(host, "localhost");
    assert_eq!(seen["version"], if sides.upstream.is_h2() { "HTTP/2.0" } else { "HTTP/1.1" });
}

async fn a_megabyte_is_echoed(sides: Sides) {
    let answer = |request: hyper::Request<hyper::body::Incoming>| async {
        let reply = collect(Response::new(request.into_body())).await.expect("a whole request");
        Response::new(full(reply.body))
    };
    let mut client = sides.start(answer).await;
    let sent: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_le_bytes).collect();
    let reply = client.call("POST", "/", full(sent.clone())).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-length"), Some("1048576"));
    assert!(reply.body == sent, "{} bytes came back, and others", reply.body.len());
}

async fn an_empty_body_stays_empty(sides: Sides) {
    let mut client = sides.start(|_| async { Response::new(empty()) }).await;
    for method in ["POST", "GET"] {
        let reply = client.call(method, "/", empty()).await;
        assert_eq!((reply.status, reply.text()), (StatusCode::OK, ""));
        // HTTP/2 says it by the end of the stream.
        assert!(matches!(reply.header("content-length"), None | Some("0")));
    }
}

async fn a_head_response_keeps_its_length(sides: Sides) {
    let answer = |_| async { Response::builder().header("content-length", "1234").body(empty()).expect("a response") };
    let mut client = sides.start(answer).await;
    for _ in 0..2 {
        let reply = client.call("HEAD", "/", empty()).await;
        assert_eq!((reply.status, reply.text()), (StatusCode::OK, ""));
        assert_eq!(reply.header("content-length"), Some("1234"));
    }
}

async fn responses_without_content_have_none(sides: Sides) {
    let answer = |request: hyper::Request<_>| async move {
        let status = request.uri().path().trim_start_matches('/').parse::<u16>().expect("a status");
        Response::builder().status(status).header("etag", "\"1\"").body(empty()).expect("a response")
    };
    let mut client = sides.start(answer).await;
    for status in [204, 304, 204] {
        let reply = client.get(&format!("/{status}")).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (status, ""));
        assert_eq!(reply.header("etag"), Some("\"1\""));
        assert_eq!(reply.header("transfer-encoding"), None);
    }
}

async fn trailers_reach_the_origin(sides: Sides) {
    let mut client = sides.start(echo).await;
    let request = client.request("POST", "/").header("trailer", "x-sum");
    let request = request.body(with_trailers("data", &[("x-sum", "42")])).expect("a request");
    let seen = client.exchange(request).await.expect("a response").seen();
    assert_eq!(seen["body"], "data");
    assert_eq!(seen["trailers"]["x-sum"], "42");
}

async fn trailers_reach_the_client(sides: Sides) {
    let answer = |_| async {
        let body = with_trailers("data", &[("x-sum", "42")]);
        Response::builder().header("trailer", "x-sum").body(body).expect("a response")
    };
    let mut client = sides.start(answer).await;
    // An HTTP/1.1 origin sends trailers to those only who say that they take them.
    let request = client.request("GET", "/").header("te", "trailers").body(empty()).expect("a request");
    let reply = client.exchange(request).await.expect("a response");
    assert_eq!(reply.text(), "data");
    assert_eq!(reply.trailer("x-sum"), Some("42"));
}

async fn a_body_without_a_length_arrives_whole(sides: Sides) {
    let answer = |_| async { Response::new(pieces()) };
    let mut client = sides.start(answer).await;
    let reply = client.call("POST", "/", pieces()).await;
    assert_eq!(reply.text(), "one two three");
}

fn pieces() -> Body {
    let (feed, body) = stream();
    tokio::spawn(async move {
        for piece in ["one ", "two ", "three"] {
            feed.data(piece).await;
        }
    });
    body
}

async fn query_is_a_method_like_any_other(sides: Sides) {
    let mut client = sides.start(echo).await;
    let seen = client.call("QUERY", "/search", full("color = red")).await.seen();
    assert_eq!((&seen["method"], &seen["body"]), (&"QUERY".into(), &"color = red".into()));
}

async fn cookies_and_repeated_fields_arrive(sides: Sides) {
    let answer = |request| async {
        let mut response = echo(request).await;
        for cookie in ["a=1", "b=2"] {
            response.headers_mut().append("set-cookie", cookie.parse().expect("a value"));
        }
        response
    };
    let mut client = sides.start(answer).await;
    let request = client.request("GET", "/").header("x-list", "1").header("x-list", "2");
    let request = request.header("cookie", "a=1; b=2").header("x-empty", "").body(empty()).expect("a request");
    let reply = client.exchange(request).await.expect("a response");
    let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let seen = reply.seen();
    assert_eq!(seen["headers"]["x-list"], serde_json::json!(["1", "2"]));
    assert_eq!(seen["headers"]["cookie"], "a=1; b=2");
    assert_eq!(seen["headers"]["x-empty"], "");
}

async fn a_connection_carries_many_requests(sides: Sides) {
    let mut client = sides.start(echo).await;
    for number in 0..50 {
        let seen = client.call("POST", &format!("/{number}"), full(number.to_string())).await.seen();
        assert_eq!((&seen["target"], &seen["body"]), (&format!("/{number}").into(), &number.to_string().into()));
    }
    assert_eq!((client.origin.connections(), client.origin.requests()), (1, 50));
}

async fn errors_of_the_origin_are_passed_on(sides: Sides) {
    let answer = |_| async { Response::builder().status(503).body(full("busy")).expect("a response") };
    let mut client = sides.start(answer).await;
    let reply = client.get("/").await;
    assert_eq!((reply.status.as_u16(), reply.text()), (503, "busy"));
    assert_eq!(client.origin.requests(), 1);
}
