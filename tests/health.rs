//! Checks of endpoints, ejection, and what operators see of both.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::Response;
use hyper::body::{Bytes, Incoming};
use serde_json::Value;

use crate::harness::moody::{Mood, Moody};
use crate::harness::{Body, Gateway, Origin, RawOrigin, Wire, eventually, full, log, with_trailers, within};

const CHECKS: &str = "health = { path = '/healthz', interval = '20ms', timeout = '250ms', fall = 2, rise = 2 }";

/// A gateway that takes turns between these endpoints.
async fn gateway(endpoints: &[&str], keys: &str) -> Gateway {
    let text = config(endpoints, keys);
    Gateway::of(&text).start().await
}

fn config(endpoints: &[&str], keys: &str) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(|one| format!("'{one}'")).collect();
    let endpoints = endpoints.join(", ");
    format!(
        "[pool.a]\nendpoints = [{endpoints}]\nbalance = 'round-robin'\n{keys}\n[[route]]\npool = 'a'\n[admin]\naddress = '127.0.0.1:0'"
    )
}

async fn status(gateway: &Gateway) -> Value {
    serde_json::from_str(&gateway.admin("GET", "/status").await.1).expect("JSON")
}

/// What is said of the endpoint with this index.
async fn endpoint(gateway: &Gateway, index: usize) -> Value {
    status(gateway).await["pools"][0]["endpoints"][index].clone()
}

/// Waits until an endpoint is in this state; why it is.
async fn becomes(gateway: &Gateway, index: usize, state: &str) -> String {
    eventually(&format!("{state}: {index}"), async || endpoint(gateway, index).await["state"] == state).await;
    endpoint(gateway, index).await["reason"].as_str().unwrap_or_default().to_owned()
}

/// So many requests of clients; how many of them were answered otherwise than with 200 and all of it.
async fn failures(gateway: &Gateway, requests: usize) -> usize {
    let mut failed = 0;
    for _ in 0..requests {
        let mut client = gateway.raw().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        failed += usize::from(!client.try_response().await.is_ok_and(|response| response.status() == 200));
    }
    failed
}

/// All requests go to the second of two from now on, and none fails.
async fn moved(gateway: &Gateway, from: &Moody, to: &Moody) {
    let before = (from.served(), to.served());
    assert_eq!(failures(gateway, 10).await, 0);
    assert_eq!((from.served(), to.served()), (before.0, before.1 + 10));
}

/// Both get requests.
async fn shared(gateway: &Gateway, one: &Moody, other: &Moody) {
    let before = (one.served(), other.served());
    assert_eq!(failures(gateway, 10).await, 0);
    assert!(one.served() > before.0 && other.served() > before.1);
}

#[tokio::test]
async fn an_endpoint_that_is_killed_gets_no_requests_until_it_is_back() {
    log::listen();
    let (one, two) = (Moody::start().await, Moody::start().await);
    let gateway = gateway(&[&one.address, &two.address], CHECKS).await;
    becomes(&gateway, 0, "healthy").await;
    shared(&gateway, &one, &two).await;
    let port = one.dies().await;
    // A refused connection is tried elsewhere: no client notices.
    assert_eq!(failures(&gateway, 10).await, 0);
    let reason = becomes(&gateway, 0, "unhealthy").await;
    assert_eq!(reason, "connect: connection refused: nobody listens there");
    log::says(&["the endpoint is unhealthy", &one.address, "nobody listens there"]).await;
    moved(&gateway, &one, &two).await;
    let one = Moody::back(port);
    assert_eq!(becomes(&gateway, 0, "healthy").await, "HTTP 200 to GET /healthz");
    shared(&gateway, &one, &two).await;
}

#[tokio::test]
async fn an_endpoint_that_hangs_fails_or_closes_is_found_out_by_checks_and_comes_back() {
    for (mood, why) in [
        (Mood::Hung, "no answer to GET /healthz in 250 ms"),
        (Mood::Failing, "HTTP 500 to GET /healthz"),
        (Mood::Closing, "GET /healthz: it closed the connection without a response"),
    ] {
        let (one, two) = (Moody::start().await, Moody::start().await);
        let gateway = gateway(&[&one.address, &two.address], CHECKS).await;
        becomes(&gateway, 0, "healthy").await;
        one.becomes(mood);
        assert_eq!(becomes(&gateway, 0, "unhealthy").await, why);
        moved(&gateway, &one, &two).await;
        one.becomes(Mood::Well);
        becomes(&gateway, 0, "healthy").await;
        shared(&gateway, &one, &two).await;
    }
}

#[tokio::test]
async fn a_request_under_way_is_finished_by_an_endpoint_that_became_unhealthy() {
    let origin = RawOrigin::start().await;
    let sick = Moody::start().await;
    let port = sick.address.rsplit(':').next().expect("a port").to_owned();
    let checks = format!("health = {{ path = '/healthz', interval = '20ms', port = {port}, fall = 1 }}");
    let gateway = gateway(&[&origin.to_string()], &checks).await;
    becomes(&gateway, 0, "healthy").await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    sick.becomes(Mood::Failing);
    becomes(&gateway, 0, "unhealthy").await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
    assert_eq!(client.response().await.text(), "hi");
}

#[tokio::test]
async fn the_first_check_decides_alone_and_thresholds_hold_off_what_flaps() {
    let (dead, well) = (RawOrigin::start().await.to_string(), Moody::start().await);
    let slow = "health = { path = '/healthz', interval = '1h', fall = 1000, rise = 1000 }";
    let beside = gateway(&[&dead, &well.address], slow).await;
    becomes(&beside, 0, "unhealthy").await;
    becomes(&beside, 1, "healthy").await;
    // Good and bad in turns: never two bad ones in a row.
    let turns = Arc::new(AtomicUsize::new(0));
    let counting = turns.clone();
    let flapping = Origin::start(Wire::H1, move |_| {
        let bad = counting.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        async move { Response::builder().status(if bad { 500 } else { 200 }).body(full("hi")).expect("a response") }
    })
    .await;
    let gateway = gateway(&[&flapping.to_string(), &well.address], CHECKS).await;
    becomes(&gateway, 0, "healthy").await;
    let since = endpoint(&gateway, 0).await["since"].clone();
    eventually("many checks", async || turns.load(Ordering::Relaxed) > 20).await;
    let now = endpoint(&gateway, 0).await;
    assert_eq!((&now["state"], &now["since"]), (&"healthy".into(), &since));
}

#[tokio::test]
async fn an_endpoint_that_starts_as_unhealthy_waits_for_its_first_check() {
    let origin = RawOrigin::start().await;
    // The first check waits until the test answers it, however long that takes.
    let keys = "health = { path = '/healthz', interval = '20ms', timeout = '1h', start = 'unhealthy' }";
    let well = Moody::start().await;
    let gateway = gateway(&[&origin.to_string(), &well.address], keys).await;
    assert_eq!(endpoint(&gateway, 0).await["reason"], "not checked yet");
    becomes(&gateway, 1, "healthy").await;
    assert_eq!(failures(&gateway, 4).await, 0);
    let mut check = origin.accept().await;
    let request = check.request().await;
    assert_eq!(request.start, "GET /healthz HTTP/1.1");
    // That nothing was known of it was no reason to distrust what is known of the other.
    assert_eq!(gateway.metric("gatewright_pool_distrusts_total{pool=\"a\"}").await, 0.0);
    check.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    becomes(&gateway, 0, "healthy").await;
}

#[tokio::test]
async fn checks_ask_as_they_are_told_to() {
    let seen = Arc::new(std::sync::Mutex::new(String::new()));
    let noting = seen.clone();
    let origin = Origin::start(Wire::H1Tls, move |request: hyper::Request<Incoming>| {
        let header =
            |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
        let told = format!("{} {} {} {}", request.method(), request.uri(), header("host"), header("x-probe"));
        *noting.lock().expect("no panic") = told;
        async { Response::builder().status(302).body(full("all is ready")).expect("a response") }
    })
    .await;
    let keys = |health: &str| {
        format!(
            "tls = {{ ca = 'ca.pem', name = 'localhost' }}\nhealth = {{ interval = '20ms', path = '/ready?all', {health} }}"
        )
    };
    let asked = "host = 'probe.test', headers = { x-probe = 'yes' }, status = ['200', '300-309'], body = 'is ready'";
    let gateway = gateway(&[&origin.to_string()], &keys(asked)).await;
    assert_eq!(becomes(&gateway, 0, "healthy").await, "HTTP 302 to GET /ready?all");
    assert_eq!(*seen.lock().expect("no panic"), "GET /ready?all probe.test yes");
    // What changes takes effect, one after the other.
    for (health, why) in [
        ("status = '3xx', body = 'steady', fall = 1", "HTTP 302 to GET /ready?all, and \"steady\" is not in the body"),
        ("status = '2xx', fall = 1", "HTTP 302 to GET /ready?all"),
        ("status = '3xx', method = 'HEAD'", "HTTP 302 to HEAD /ready?all"),
        ("status = '3xx', tls = false, fall = 1", "GET /ready?all: not an HTTP/1 response"),
    ] {
        gateway.apply(&config(&[&origin.to_string()], &keys(health))).await.expect("a reload");
        let found = async || endpoint(&gateway, 0).await["last_check"]["found"] == why;
        eventually(why, found).await;
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told() {
    let origin = Origin::start(Wire::H1Tls, |_| async { Response::new(full("hi")) }).await;
    let keys = "tls = { ca = 'ca.pem', name = 'other.test' }\nhealth = { kind = 'tcp', interval = '20ms' }";
    let gateway = gateway(&[&origin.to_string()], keys).await;
    assert_eq!(becomes(&gateway, 0, "unhealthy").await, "TLS: its certificate is for another name");
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp_and_says_that_it_speaks_for_itself() {
    let origin = RawOrigin::start().await;
    let keys = "proxy_protocol = 'v1'\nhealth = { kind = 'tcp', interval = '20ms' }";
    let gateway = gateway(&[&origin.to_string()], keys).await;
    origin.accept().await.until("PROXY UNKNOWN\r\n").await;
    assert_eq!(becomes(&gateway, 0, "healthy").await, "it takes connections");
    drop(origin);
    becomes(&gateway, 0, "unhealthy").await;
}

/// Answers the health service of gRPC for one service, as long as it serves.
async fn grpc(wire: Wire, serves: Arc<AtomicUsize>) -> Origin {
    Origin::start(wire, move |request: hyper::Request<Incoming>| {
        let serves = serves.clone();
        async move {
            use http_body_util::BodyExt;
            let right = request.uri().path() == "/grpc.health.v1.Health/Check" && request.headers()["te"] == "trailers";
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            let known = right && body == Bytes::from_static(&[0, 0, 0, 0, 6, 0x0a, 4, b's', b'h', b'o', b'p']);
            let answer: Body = match (known, serves.load(Ordering::Relaxed)) {
                (true, state @ (1 | 2)) => {
                    let status = if state == 1 { "\0\0\0\0\u{2}\u{8}\u{1}" } else { "\0\0\0\0\u{2}\u{8}\u{2}" };
                    with_trailers(status, &[("grpc-status", "0")])
                }
                _ => with_trailers("", &[("grpc-status", "5")]),
            };
            Response::builder().header("content-type", "application/grpc").body(answer).expect("a response")
        }
    })
    .await
}

#[tokio::test]
async fn the_health_service_of_grpc_is_asked_for_its_service() {
    for (wire, tls) in [(Wire::H2, ""), (Wire::H2Tls, "\ntls = { ca = 'ca.pem', name = 'localhost' }")] {
        let serves = Arc::new(AtomicUsize::new(1));
        let origin = grpc(wire, serves.clone()).await;
        let keys = "health = { kind = 'grpc', service = 'shop', interval = '20ms', fall = 1, rise = 1 }";
        let gateway = gateway(&[&origin.to_string()], &format!("{keys}{tls}")).await;
        assert_eq!(becomes(&gateway, 0, "healthy").await, "SERVING to the health check of shop");
        serves.store(2, Ordering::Relaxed);
        assert_eq!(becomes(&gateway, 0, "unhealthy").await, "NOT_SERVING to the health check of shop");
        serves.store(0, Ordering::Relaxed);
        let why = "gRPC status 5 (not found) to the health check of shop";
        let found = async || endpoint(&gateway, 0).await["last_check"]["found"] == why;
        eventually("another answer", found).await;
        serves.store(1, Ordering::Relaxed);
        becomes(&gateway, 0, "healthy").await;
    }
}

#[tokio::test]
async fn endpoints_that_live_on_keep_what_is_known_and_others_come_and_go() {
    let (one, two, three) = (Moody::start().await, Moody::start().await, Moody::start().await);
    let rare = "health = { path = '/healthz', interval = '1h', fall = 1 }";
    one.becomes(Mood::Failing);
    let gateway = gateway(&[&one.address, &two.address], rare).await;
    becomes(&gateway, 0, "unhealthy").await;
    becomes(&gateway, 1, "healthy").await;
    let since = endpoint(&gateway, 0).await["since"].clone();
    // Another limit makes another endpoint of it, for which the same is known.
    let text = config(&[&three.address, &one.address], &format!("max_connections = 9\n{rare}"));
    gateway.apply(&text).await.expect("a reload");
    assert_eq!(endpoint(&gateway, 1).await["since"], since);
    becomes(&gateway, 0, "healthy").await;
    moved(&gateway, &one, &three).await;
    // Other settings ask at once; none make it usable.
    one.becomes(Mood::Well);
    gateway.apply(&config(&[&three.address, &one.address], &rare.replace("fall", "rise"))).await.expect("a reload");
    becomes(&gateway, 1, "healthy").await;
    one.becomes(Mood::Failing);
    gateway.apply(&config(&[&three.address, &one.address], rare)).await.expect("a reload");
    becomes(&gateway, 1, "unhealthy").await;
    gateway.apply(&config(&[&three.address, &one.address], "")).await.expect("a reload");
    becomes(&gateway, 1, "unchecked").await;
}

#[tokio::test]
async fn many_endpoints_that_hang_hold_up_neither_operators_nor_reloads() {
    let hung = Moody::at("0.0.0.0:0").await;
    hung.becomes(Mood::Hung);
    let port = hung.address.rsplit(':').next().expect("a port");
    // One process behind very many addresses of the loopback network.
    let all: Vec<String> = (0..500).map(|n| format!("127.0.{}.{}:{port}", 1 + n / 200, 1 + n % 200)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let keys = "health = { path = '/healthz', interval = '1h', timeout = '200ms' }";
    let gateway = gateway(&all, keys).await;
    for _ in 0..5 {
        gateway.apply(&config(&all, keys)).await.expect("a reload");
        assert_eq!(gateway.admin("GET", "/healthz").await.0, 200);
    }
    let count = async |name: &str| gateway.metric(&format!("{name}\"}}")).await;
    let checked = async || count("gatewright_endpoints{pool=\"a\",state=\"unhealthy").await == 500.0;
    eventually("a check of each", checked).await;
    assert!(count("gatewright_health_checks_total{pool=\"a\",result=\"timeout").await >= 500.0);
}

const EJECT: &str = "eject = { failures = 3, connects = 2, time = '1h', most_time = '1h' }";

#[tokio::test]
async fn an_endpoint_that_fails_requests_in_a_row_is_ejected() {
    for (mood, failed) in [(Mood::FailingClients, 3), (Mood::Breaking, 3), (Mood::Closing, 3)] {
        log::listen();
        let (one, two) = (Moody::start().await, Moody::start().await);
        let gateway = gateway(&[&one.address, &two.address], EJECT).await;
        shared(&gateway, &one, &two).await;
        one.becomes(mood);
        let mut seen = 0;
        let gone = async || {
            seen += failures(&gateway, 1).await;
            endpoint(&gateway, 0).await["state"] == "ejected"
        };
        eventually("an ejection", gone).await;
        // Each failure is one that a client saw, but there are only as many as it takes; one more may have been on its way.
        assert!(seen <= failed + 1, "{mood:?}: {seen}");
        let why = endpoint(&gateway, 0).await["reason"].clone();
        assert_eq!(why, "3 requests failed in a row", "{mood:?}");
        log::says(&["the endpoint is ejected", &one.address, "3 requests failed in a row"]).await;
        moved(&gateway, &one, &two).await;
        assert_eq!(gateway.metric("gatewright_ejections_total{pool=\"a\",cause=\"failures\"}").await, 1.0);
        assert_eq!(gateway.metric("gatewright_endpoints{pool=\"a\",state=\"ejected\"}").await, 1.0);
        assert_eq!(
            gateway.metric(&format!("gatewright_endpoint_up{{pool=\"a\",endpoint=\"{}\"}}", one.address)).await,
            0.0
        );
    }
}

#[tokio::test]
async fn an_endpoint_that_takes_no_connections_is_ejected_and_no_client_notices() {
    let (one, two) = (Moody::start().await, Moody::start().await);
    let _port = one.dies().await;
    let gateway = gateway(&[&one.address, &two.address], EJECT).await;
    let mut seen = 0;
    let gone = async || {
        seen += failures(&gateway, 1).await;
        endpoint(&gateway, 0).await["state"] == "ejected"
    };
    eventually("an ejection", gone).await;
    assert_eq!(seen, 0);
    assert_eq!(endpoint(&gateway, 0).await["reason"], "2 connections failed in a row");
    moved(&gateway, &one, &two).await;
}

#[tokio::test]
async fn an_endpoint_that_is_slow_or_fails_more_than_others_is_ejected() {
    let keys = "eject = { failures = 0, connects = 0, success = '20%', latency = 4, interval = '100ms', requests = 5, time = '1h', most_time = '1h' }";
    for (mood, why) in
        [(Mood::Slow, "mean latency"), (Mood::FailingClients, "success rate 0.0%, that of the others 100.0%")]
    {
        let (one, two) = (Moody::start().await, Moody::start().await);
        let gateway = gateway(&[&one.address, &two.address], keys).await;
        one.becomes(mood);
        let gone = async || {
            // Side by side, so that slow ones do not make the others too few.
            let all = (0..20).map(|_| failures(&gateway, 1));
            futures_all(all).await;
            endpoint(&gateway, 0).await["state"] == "ejected"
        };
        eventually("an ejection", gone).await;
        let reason = endpoint(&gateway, 0).await["reason"].as_str().unwrap_or_default().to_owned();
        assert!(reason.starts_with(why), "{reason}");
        moved(&gateway, &one, &two).await;
    }
}

async fn futures_all(all: impl Iterator<Item = impl Future<Output = usize>>) {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| one.as_mut().poll(cx).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test]
async fn an_ejected_endpoint_is_let_back_and_the_last_one_is_never_ejected() {
    let (one, two) = (Moody::start().await, Moody::start().await);
    let keys = "eject = { failures = 2, time = '50ms', most_time = '50ms', share = '100%' }";
    let gateway = gateway(&[&one.address, &two.address], keys).await;
    one.becomes(Mood::FailingClients);
    two.becomes(Mood::FailingClients);
    let ejected = async || gateway.metric("gatewright_ejections_total{pool=\"a\"").await > 0.0;
    let tried = async || {
        failures(&gateway, 4).await;
        let pool = &status(&gateway).await["pools"][0];
        assert!(pool["usable"].as_u64() >= Some(1), "{pool}");
        ejected().await
    };
    eventually("an ejection", tried).await;
    one.becomes(Mood::Well);
    two.becomes(Mood::Well);
    let back = async || status(&gateway).await["pools"][0]["usable"] == 2;
    eventually("both back", back).await;
    shared(&gateway, &one, &two).await;
    // Without the key nobody is left out any more.
    one.becomes(Mood::FailingClients);
    let long = keys.replace("50ms", "1h");
    gateway.apply(&config(&[&one.address, &two.address], &long)).await.expect("a reload");
    let gone = async || {
        failures(&gateway, 1).await;
        endpoint(&gateway, 0).await["state"] == "ejected"
    };
    eventually("another ejection", gone).await;
    gateway.apply(&config(&[&one.address, &two.address], "")).await.expect("a reload");
    becomes(&gateway, 0, "unchecked").await;
}

/// Twelve client requests fail, or a few more: five until it is ejected, two for being let back too early, and five more.
#[tokio::test]
async fn an_endpoint_that_is_let_back_and_fails_again_is_ejected_at_once_and_for_longer() {
    let (one, two) = (Moody::start().await, Moody::start().await);
    let keys = "eject = { failures = 5, time = '400ms', most_time = '1h' }";
    let gateway = gateway(&[&one.address, &two.address], keys).await;
    one.becomes(Mood::FailingClients);
    let ejections = async || endpoint(&gateway, 0).await["ejections"].as_u64().expect("a number");
    let mut terms = Vec::new();
    for times in 1..=3 {
        let ejected = async || {
            failures(&gateway, 1).await;
            ejections().await == times
        };
        eventually("an ejection", ejected).await;
        let told = endpoint(&gateway, 0).await;
        let seconds = |key: &str| told[key].as_f64();
        terms.extend(seconds("until").zip(seconds("since")).map(|(until, since)| until - since));
        let why = if times == 1 { "5 requests failed in a row" } else { "it failed again as soon as it was let back" };
        assert_eq!(told["reason"], why);
    }
    // One more each time may have been on its way.
    assert!((7..=10).contains(&one.failed()), "{}", one.failed());
    assert!(terms.len() == 3 && terms.is_sorted(), "{terms:?}");
    // What goes well ends the probation.
    one.becomes(Mood::Well);
    becomes(&gateway, 0, "unchecked").await;
    shared(&gateway, &one, &two).await;
    one.becomes(Mood::FailingClients);
    let before = one.failed();
    eventually("another ejection", async || {
        failures(&gateway, 1).await;
        ejections().await == 4
    })
    .await;
    assert!(one.failed() >= before + 5);
}

#[tokio::test]
async fn clients_that_go_away_say_nothing_of_an_endpoint() {
    let origin = RawOrigin::start().await;
    let other = Moody::start().await;
    let gateway = gateway(&[&origin.to_string(), &other.address], EJECT).await;
    for _ in 0..5 {
        let mut client = gateway.raw().await;
        let mut upstream = loop {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            tokio::select! {
                upstream = origin.accept() => break upstream,
                _ = client.response() => {}
            }
        };
        upstream.request().await;
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\npart").await;
        client.until("part").await;
        client.reset();
        upstream.is_over().await;
    }
    assert_eq!(endpoint(&gateway, 0).await["state"], "unchecked");
}

#[tokio::test]
async fn the_status_tells_how_available_a_pool_is() {
    let (one, two) = (Moody::start().await, Moody::start().await);
    one.becomes(Mood::Failing);
    let gateway = gateway(&[&one.address, &two.address], CHECKS).await;
    becomes(&gateway, 0, "unhealthy").await;
    becomes(&gateway, 1, "healthy").await;
    assert_eq!(failures(&gateway, 3).await, 0);
    let pool = status(&gateway).await["pools"][0].clone();
    assert_eq!((&pool["balance"], &pool["usable"]), (&"round-robin".into(), &1.into()));
    let up = |index: usize| pool["endpoints"][index]["availability"].as_f64().expect("it was looked at");
    assert_eq!((up(0), up(1)), (0.0, 1.0));
    assert_eq!(pool["availability"], 1.0);
    // It is noted when a response has gone out, which its client need not wait for.
    let busy = async || {
        let endpoint = endpoint(&gateway, 1).await;
        ["latency_ms", "rate"].iter().all(|key| endpoint[*key].as_f64() > Some(0.0))
    };
    eventually("latency and rate", busy).await;
    assert_eq!(pool["endpoints"][0]["latency_ms"], Value::Null);
}

#[tokio::test]
async fn the_command_shows_the_pools_of_a_running_gateway() {
    let (one, two) = (Moody::start().await, Moody::start().await);
    one.becomes(Mood::Failing);
    let gateway = gateway(&[&one.address, &two.address], CHECKS).await;
    becomes(&gateway, 0, "unhealthy").await;
    becomes(&gateway, 1, "healthy").await;
    let admin = gateway.admin_address().to_string();
    let run = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_gatewright"));
        let ended = command.arg("status").args(["--admin", &admin]).args(arguments).output();
        let ended = within("the command", ended).await.expect("to run");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).expect("text")
    };
    let page = run(&[]).await;
    assert!(page.contains("a (round-robin): 1 of 2 endpoints usable"), "{page}");
    let lines: Vec<&str> = page.lines().skip_while(|line| !line.contains(&one.address)).collect();
    assert!(lines[0].contains("unhealthy") && lines[1].ends_with("HTTP 500 to GET /healthz"), "{page}");
    assert!(lines[2].contains(&two.address) && lines[2].contains(" healthy"), "{page}");
    let told: Value = serde_json::from_str(&run(&["--json"]).await).expect("JSON");
    assert_eq!(told["pools"][0]["endpoints"][0]["reason"], "HTTP 500 to GET /healthz");
    // It is shown until the gateway has gone.
    let mut watching = tokio::process::Command::new(env!("CARGO_BIN_EXE_gatewright"));
    watching.args(["status", "--watch", "--admin", &admin]).stdout(std::process::Stdio::piped());
    let watching = watching.stderr(std::process::Stdio::piped()).spawn().expect("to start");
    drop(gateway);
    let ended = within("the end of the command", watching.wait_with_output()).await.expect("to run");
    assert_eq!(ended.status.code(), Some(1));
}
