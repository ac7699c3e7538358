//! The cache from outside: what is given again, what is asked for again, and what never is.
//!
//! Most of it is tables. A case is a list of steps; a step is a request, what the origin answers (nothing: it must not be asked), and
//! what the client gets. Time is not waited for: responses come with an age.

mod control;
mod directives;
mod disk;
mod fills;
mod metadata;
mod parts;
mod plugins;
mod poisoning;
mod rfc9111;
mod room;
mod routes;
mod times;
mod variants;

use crate::harness::{Gateway, Message, PATIENCE, Raw, RawOrigin, Wire};

/// A request; the origin's answer; the client's. Fields are separated by ` | `.
///
/// - Request: `GET /path | field: value`; empty: nobody asks, the origin is asked by itself.
/// - Answer: `200 | field: value`, whose body is the number of its step; behind ` < `, what the origin must have been asked with:
///   `field: value`, or `!field` for a field that must not be there. `drop`: the connection is closed. Empty: not asked.
/// - Outcome: `200 #0 | field: value`: with the body of step 0's answer; `!field`; a value that ends in `*` is a begin.
pub(crate) type Step<'a> = (&'a str, &'a str, &'a str);

/// A gateway with a cache like this before an origin.
pub(crate) async fn gateway(origin: &RawOrigin, cache: &str) -> Gateway {
    let text = "[pool.a]\nendpoints = ['<origin>']\n[[route]]\npool = 'a'\ncache = <cache>\n<admin>";
    let admin = "[admin]\naddress = '127.0.0.1:0'";
    Gateway::of(text).with("origin", origin).with("cache", cache).with("admin", admin).start().await
}

/// Plays cases, each on paths of its own, and tells of all that went wrong.
pub(crate) async fn play(cache: &str, cases: &[(&str, &[Step<'_>])]) {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, cache).await;
    for (number, (name, steps)) in cases.iter().enumerate() {
        for (at, step) in steps.iter().enumerate() {
            take(&gateway, &origin, &format!("/case-{number}"), at, step, name).await;
            // What is asked for by itself may be asked for at any time.
            if step.1.is_empty() && steps.get(at + 1).is_none_or(|next| !next.0.is_empty()) {
                origin.is_untouched();
            }
        }
    }
}

async fn take(gateway: &Gateway, origin: &RawOrigin, base: &str, at: usize, step: &Step<'_>, name: &str) {
    let (request, answer, outcome) = *step;
    let told = format!("{name:?}, step {at}: {request:?}");
    let (answer, demands) = answer.split_once('<').unwrap_or((answer, ""));
    let mut client = None;
    if !request.is_empty() {
        let mut parts = request.split(" | ");
        let start = parts.next().unwrap().replace(" /", &format!(" {base}/"));
        let fields: String = parts.map(|field| format!("{field}\r\n")).collect();
        let mut raw = gateway.raw().await;
        raw.send(format!("{start} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n").replace("{base}", base)).await;
        client = Some(raw);
    }
    let is_head = request.starts_with("HEAD");
    if !answer.trim().is_empty() {
        let accepting = tokio::time::timeout(PATIENCE / 2, origin.accept());
        let mut upstream = accepting.await.unwrap_or_else(|_| panic!("{told}: the origin is not asked"));
        let seen = upstream.request().await;
        check(&seen, demands, &format!("{told}: the origin was asked"));
        if answer.trim() != "drop" {
            upstream.send(response(answer.trim(), at, is_head).replace("{base}", base)).await;
        }
    }
    let Some(client) = client else { return };
    let (status, rest) = outcome.split_once(" | ").unwrap_or((outcome, ""));
    let (status, body) = status.split_once(" #").map_or((status, None), |(status, body)| (status, Some(body)));
    let got = receive(client, is_head, &told).await;
    assert_eq!(got.status().to_string(), status.trim(), "{told}: {got:?}");
    if let Some(body) = body.filter(|_| !is_head) {
        assert_eq!(got.text(), body.trim(), "{told}: {got:?}");
    }
    check(&got, rest, &told);
}

async fn receive(mut client: Raw, is_head: bool, told: &str) -> Message {
    let receiving = async {
        loop {
            let got = if is_head { client.head().await } else { client.response().await };
            if got.status() >= 200 {
                return got;
            }
        }
    };
    tokio::time::timeout(PATIENCE / 2, receiving).await.unwrap_or_else(|_| panic!("{told}: no response"))
}

/// A response whose body is the number of its step, unless a field `body` says otherwise.
fn response(text: &str, at: usize, is_head: bool) -> String {
    let mut parts = text.split(" | ");
    let status = parts.next().unwrap();
    let (mut fields, mut body) = (String::new(), at.to_string());
    for field in parts {
        match field.strip_prefix("body: ") {
            Some(other) => body = other.to_owned(),
            None => fields += &format!("{}\r\n", field.trim()),
        }
    }
    let has_body = !is_head && !matches!(status.trim(), "304" | "204");
    let length = if matches!(status.trim(), "304" | "204") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let body = if has_body { body } else { String::new() };
    format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{length}{fields}\r\n{body}")
}

/// Holds fields against `name: value` and `!name`.
fn check(message: &Message, demands: &str, told: &str) {
    for demand in demands.split(" | ").map(str::trim).filter(|demand| !demand.is_empty()) {
        if let Some(absent) = demand.strip_prefix('!') {
            assert_eq!(message.field(absent), None, "{told}: {message:?}");
            continue;
        }
        if matches!(demand, "GET" | "HEAD" | "POST") {
            assert!(message.start.starts_with(demand), "{told}: {message:?}");
            continue;
        }
        let (name, value) = demand.split_once(": ").unwrap_or_else(|| panic!("no demand: {demand:?}"));
        let found = message.field(name).unwrap_or_else(|| panic!("{told}: no {name} in {message:?}"));
        let fits = match value.strip_suffix('*') {
            Some(begin) => found.starts_with(begin),
            None => found == value,
        };
        assert!(fits, "{told}: {name} is {found:?} and not {value:?} in {message:?}");
    }
}

/// No client request fails.
#[tokio::test]
async fn what_is_fresh_is_given_again_and_says_so() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    for wire in [Wire::H1, Wire::H2] {
        let mut client = gateway.client(wire).await;
        let asked = tokio::spawn(async move {
            let reply = client.get("/x").await;
            (client, reply)
        });
        if wire == Wire::H1 {
            let mut upstream = origin.accept().await;
            upstream.request().await;
            upstream.send(response("200 | cache-control: max-age=60", 0, false)).await;
            drop(upstream);
        }
        let (mut client, first) = asked.await.unwrap();
        let told =
            if wire == Wire::H1 { "gatewright; fwd=uri-miss; fwd-status=200; stored" } else { "gatewright; hit; ttl=" };
        assert!(first.header("cache-status").unwrap().starts_with(told), "{first:?}");
        let second = client.get("/x").await;
        assert!(second.header("cache-status").unwrap().starts_with("gatewright; hit; ttl="), "{second:?}");
        assert!(second.header("age").is_some());
        assert_eq!(second.text(), "0");
        origin.is_untouched();
    }
    assert_eq!(gateway.metric("gatewright_cache_requests_total{status=\"hit\"}").await, 3.0);
    assert_eq!(gateway.metric("gatewright_cache_requests_total{status=\"uri-miss\"}").await, 1.0);
    assert_eq!(gateway.metric("gatewright_cache_entries").await, 1.0);
    assert!(gateway.metric("gatewright_cache_bytes").await > 500.0);
    assert_eq!(gateway.metric("gatewright_cache_coming_bytes").await, 0.0);
}
