//! Connections to origins: how many, how long, which one, and when to give up.

use std::sync::Arc;

use hyper::Response;
use tokio::sync::Semaphore;

use crate::harness::{Gateway, Origin, RawOrigin, Wire, empty, full, stream, within};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A gateway before this origin whose pool has these further keys.
async fn pool(origin: impl std::fmt::Display, keys: &str) -> Gateway {
    let text = "[pool.a]\nendpoints = ['<origin>']\n<keys>\n[[route]]\npool = 'a'\n[admin]\naddress = '127.0.0.1:0'";
    Gateway::of(text).with("origin", origin).with("keys", keys).start().await
}

#[tokio::test]
async fn connections_are_used_again_across_clients() {
    let origin = Origin::says("hi").await;
    let gateway = pool(&origin, "").await;
    for _ in 0..10 {
        assert_eq!(gateway.get("a/", &[]).await.text(), "hi");
    }
    assert_eq!((origin.connections(), origin.requests()), (1, 10));
}

#[tokio::test]
async fn requests_share_one_http_2_connection() {
    let gate = Arc::new(Semaphore::new(0));
    let waiting = gate.clone();
    let answer = move |_| {
        let gate = waiting.clone();
        async move {
            gate.acquire().await.expect("a test").forget();
            Response::new(full("hi"))
        }
    };
    let origin = Origin::start(Wire::H2, answer).await;
    let gateway = pool(&origin, "protocol = 'h2'").await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = gateway.client(Wire::H1).await;
        clients.push(tokio::spawn(async move { client.get("/").await.status }));
    }
    crate::harness::eventually("twenty requests at the origin", async || origin.requests() == 20).await;
    assert_eq!(origin.connections(), 1);
    gate.add_permits(20);
    for client in clients {
        assert_eq!(within("an answer", client).await.expect("no panic"), 200);
    }
}

#[tokio::test]
async fn no_more_connections_than_allowed_and_the_rest_waits_in_line() {
    let origin = RawOrigin::start().await;
    let gateway = pool(&origin, "max_connections = 1\nmax_waiting = 1").await;
    let mut first = gateway.raw().await;
    first.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let mut second = gateway.raw().await;
    second.send(GET).await;
    // The third finds one that works and one that waits. Which of the two later ones is which, nobody can say.
    let mut third = gateway.raw().await;
    third.send(GET).await;
    let (mut waiting, refused) = tokio::select! {
        refused = second.response() => (third, refused),
        refused = third.response() => (second, refused),
    };
    assert_eq!(refused.status(), 503);
    origin.is_untouched();
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(first.response().await.status(), 204);
    upstream.request().await;
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(waiting.response().await.status(), 204);
}

#[tokio::test]
async fn the_line_is_one_for_all_workers() {
    let origin = Origin::says("hi").await;
    let text = "workers = 3\n[pool.a]\nendpoints = ['<origin>']\nmax_connections = 1\n[[route]]\npool = 'a'";
    let gateway = Gateway::of(text).with("origin", &origin).start().await;
    let mut clients = Vec::new();
    for _ in 0..12 {
        let mut client = gateway.client(Wire::H1).await;
        clients.push(tokio::spawn(async move {
            for _ in 0..10 {
                assert_eq!(client.get("/").await.text(), "hi");
            }
        }));
    }
    for client in clients {
        within("all answers", client).await.expect("no refusal");
    }
    assert_eq!(origin.requests(), 120);
}

#[tokio::test]
async fn who_waits_too_long_for_a_connection_is_told_so() {
    let origin = RawOrigin::start().await;
    let gateway = pool(&origin, "max_connections = 1\ntimeouts = { queue = '20ms' }").await;
    let mut first = gateway.raw().await;
    first.send(GET).await;
    let _upstream = origin.accept().await;
    assert_eq!(gateway.ask(GET).await.status(), 503);
}

#[tokio::test]
async fn an_origin_that_does_not_answer_in_time_is_a_504() {
    let origin = RawOrigin::start().await;
    for timeouts in ["{ first_byte = '50ms' }", "{ request = '50ms' }"] {
        let gateway = pool(&origin, &format!("timeouts = {timeouts}")).await;
        let mut client = gateway.raw().await;
        client.send(GET).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        assert_eq!(client.response().await.status(), 504, "{timeouts}");
        upstream.is_over().await;
    }
}

#[tokio::test]
async fn an_origin_that_stops_in_the_middle_breaks_the_response() {
    let origin = RawOrigin::start().await;
    for timeouts in ["{ idle_body = '50ms' }", "{ request = '50ms' }"] {
        let gateway = pool(&origin, &format!("timeouts = {timeouts}")).await;
        let mut client = gateway.raw().await;
        client.send(GET).await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart").await;
        // The whole time may be over before the head has come.
        if let Ok(response) = client.try_response().await {
            assert_eq!(response.status(), 504, "{timeouts}");
        }
        upstream.is_over().await;
    }
}

#[tokio::test]
async fn an_origin_that_does_not_take_the_handshake_in_time_is_a_504() {
    let origin = RawOrigin::start().await;
    let gateway = pool(&origin, "tls = { ca = 'ca.pem', name = 'localhost' }\ntimeouts = { connect = '50ms' }").await;
    assert_eq!(gateway.ask(GET).await.status(), 504);
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_passed_over() {
    let dead = RawOrigin::start().await.to_string();
    let origin = Origin::says("hi").await;
    let text = "[pool.a]\nendpoints = ['<dead>', '<origin>']\nbalance = 'round-robin'\n[[route]]\npool = 'a'";
    let gateway = Gateway::of(text).with("dead", dead).with("origin", &origin).start().await;
    for _ in 0..6 {
        assert_eq!(gateway.get("a/", &[]).await.text(), "hi");
    }
    // A body that was not touched can go to the other one too.
    assert_eq!(gateway.client(Wire::H2).await.call("POST", "/", full("x")).await.text(), "hi");
}

#[tokio::test]
async fn without_an_endpoint_that_answers_it_is_a_502() {
    let dead = RawOrigin::start().await.to_string();
    let gateway = pool(dead, "").await;
    assert_eq!(gateway.get("a/", &[]).await.status(), 502);
    assert!(gateway.metric("gatewright_upstream_errors_total{pool=\"a\"").await >= 1.0);
}

#[tokio::test]
async fn round_robin_takes_turns_by_weight() {
    let (one, two) = (Origin::says("1").await, Origin::says("2").await);
    let text = "[pool.a]\nendpoints = [{ address = '<one>', weight = 3 }, '<two>']\nbalance = 'round-robin'\n[[route]]\npool = 'a'";
    let gateway = Gateway::of(text).with("one", &one).with("two", &two).start().await;
    for _ in 0..40 {
        gateway.get("a/", &[]).await;
    }
    assert_eq!((one.requests(), two.requests()), (30, 10));
}

#[tokio::test]
async fn the_less_busy_of_two_is_preferred() {
    let busy = RawOrigin::start().await;
    let free = Origin::says("free").await;
    let text = "[pool.a]\nendpoints = ['<busy>', '<free>']\nbalance = 'p2c'\n[[route]]\npool = 'a'";
    let gateway = Gateway::of(text).with("busy", &busy).with("free", &free).start().await;
    // Until the busy one has a request that it never answers.
    let mut stuck = Vec::new();
    let upstream = loop {
        let mut client = gateway.raw().await;
        client.send(GET).await;
        tokio::select! {
            upstream = busy.accept() => break upstream,
            response = client.response() => assert_eq!(response.text(), "free"),
        }
        stuck.push(client);
    };
    for _ in 0..10 {
        assert_eq!(gateway.get("a/", &[]).await.text(), "free");
    }
    drop(upstream);
}

#[tokio::test]
async fn tls_to_an_origin_is_verified() {
    let origin = Origin::start(Wire::H1Tls, |_| async { Response::new(full("hi")) }).await;
    for (tls, status) in [
        ("{ ca = 'ca.pem', name = 'localhost' }", 200),
        ("{ ca = 'ca.pem' }", 200),
        ("{ ca = 'ca.pem', name = 'other.example' }", 502),
        ("true", 502),
        ("{ dangerously_accept_any_certificate = true }", 200),
    ] {
        let gateway = pool(&origin, &format!("tls = {tls}")).await;
        assert_eq!(gateway.get("a/", &[]).await.status(), status, "{tls}");
    }
}

#[tokio::test]
async fn auto_speaks_what_the_origin_offers() {
    for (wire, version) in [(Wire::H1Tls, "HTTP/1.1"), (Wire::H2Tls, "HTTP/2.0"), (Wire::H1, "HTTP/1.1")] {
        let origin = Origin::start(wire, crate::harness::echo).await;
        let tls = if wire.is_tls() { "tls = { ca = 'ca.pem', name = 'localhost' }" } else { "" };
        let gateway = pool(&origin, tls).await;
        assert_eq!(gateway.get("a/", &[]).await.seen()["version"], version);
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_request_at_the_origin() {
    let origin = RawOrigin::start().await;
    let gateway = pool(&origin, "").await;
    let mut client = gateway.client(Wire::H2).await;
    let (feed, body) = stream();
    let request = client.request("POST", "/").body(body).expect("a request");
    let sending = tokio::spawn(async move { client.send(request).await });
    feed.data("part").await;
    let mut upstream = origin.accept().await;
    upstream.until("part").await;
    sending.abort();
    drop(feed);
    let (rest, _) = upstream.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a broken request looked whole");
}

#[tokio::test]
async fn idle_connections_to_origins_are_closed_after_a_while() {
    let origin = RawOrigin::start().await;
    let text = "[limits]\nupstream_idle_time = '50ms'";
    let gateway = Gateway::to(&origin).and(text).start().await;
    let mut client = gateway.raw().await;
    client.send(GET).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 204);
    upstream.is_over().await;
}

#[tokio::test]
async fn a_get_goes_through_two_gateways() {
    let origin = Origin::echo().await;
    let inner = Gateway::between(Wire::H2Tls, Wire::H1, &origin).await;
    let outer = Gateway::between(Wire::H1, Wire::H2Tls, inner.address()).await;
    let mut client = outer.client(Wire::H1).await;
    let request = client.request("GET", "/far").body(empty()).expect("a request");
    let seen = client.exchange(request).await.expect("a response").seen();
    assert_eq!(seen["target"], "/far");
    assert_eq!(seen["headers"]["x-forwarded-proto"], "https");
}

/// The status that a request to these endpoints gets, and how often it was sent again.
async fn tries(endpoints: &[String], keys: &str) -> (u16, f64) {
    let text = format!(
        "[admin]\naddress = '127.0.0.1:0'\n[[route]]\npool = 'app'\n[pool.app]\nendpoints = {endpoints:?}\n{keys}"
    );
    let other = crate::harness::certs::authority().pem();
    let gateway = Gateway::of(&text).file("other.pem", other).start().await;
    let status = gateway.ask(GET).await.status();
    (status, gateway.metric("gatewright_upstream_retries_total").await)
}

#[tokio::test]
async fn an_endpoint_that_would_fail_again_is_not_asked_again() {
    let silent = RawOrigin::start().await;
    let tls = |connect: &str| format!("timeouts.connect = '{connect}'\ntls = {{ ca = 'ca.pem', name = 'localhost' }}");
    assert_eq!(tries(&[silent.to_string()], &tls("50ms")).await, (504, 0.0));
    let _only = silent.accept().await;
    silent.is_untouched();
    // RFC 6761 section 6.4: there is no such name.
    let unknown = ["nowhere.invalid:80".to_owned()];
    assert_eq!(tries(&unknown, "timeouts = { connect = '60s' }").await, (502, 0.0));
    let origin = Origin::start(Wire::H1Tls, crate::harness::echo).await;
    assert_eq!(tries(&[origin.to_string()], "tls = { ca = 'other.pem', name = 'localhost' }").await, (502, 0.0));
    // Another endpoint may fare better.
    let both = [silent.to_string(), origin.to_string()];
    for _ in 0..4 {
        let (status, retries) = tries(&both, &tls("1s")).await;
        assert!(status == 200 && retries <= 1.0, "{status}, {retries} retries");
    }
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_asked_once_more() {
    let origin = RawOrigin::start().await;
    let address = origin.to_string();
    drop(origin);
    assert_eq!(tries(&[address], "").await, (502, 1.0));
    let origin = RawOrigin::start().await;
    let address = [origin.to_string()];
    let closing = async {
        for _ in 0..2 {
            drop(origin.accept().await);
        }
        origin
    };
    let (tried, origin) = tokio::join!(tries(&address, "tls = { ca = 'ca.pem', name = 'localhost' }"), closing);
    assert_eq!(tried, (502, 1.0));
    origin.is_untouched();
}
