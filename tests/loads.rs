//! What endpoints say of their load: asked for it, or with their responses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gatewright_abi::flag::DEGRADED;
use hyper::Response;

use crate::harness::{Gateway, Origin, Wire, eventually, full};

const POOL: &str = "[pool.a]\nendpoints = ['<origin>']\nload = { <load> }\n<tls>\n[[route]]\npool = 'a'\n[admin]\naddress = '127.0.0.1:0'";

async fn gateway(origin: &Origin, load: &str, tls: &str) -> Gateway {
    Gateway::of(POOL).with("origin", origin).with("load", load).with("tls", tls).start().await
}

/// Answers `/load` with this text.
async fn telling(wire: Wire, text: &'static str) -> Origin {
    Origin::start(wire, move |request| async move {
        Response::new(full(if request.uri().path() == "/load" { text } else { "hi" }))
    })
    .await
}

#[tokio::test]
async fn endpoints_are_asked_for_their_load() {
    for (wire, tls) in [(Wire::H1, ""), (Wire::H1Tls, "tls = { ca = 'ca.pem', name = 'localhost' }")] {
        for text in ["{\"load\": 0.25}", "cpu_utilization=0.25, rps=7"] {
            let origin = telling(wire, text).await;
            let gateway = gateway(&origin, "path = '/load', interval = '100ms'", tls).await;
            let endpoint = gateway.endpoint("a", &origin);
            eventually("a report", async || endpoint.stats.load() == 0.25).await;
            assert_eq!(gateway.metric("gatewright_pool_load_reporting{pool=\"a\"}").await, 1.0);
            assert!(gateway.metric("gatewright_pool_load_reports_total{pool=\"a\",result=\"taken\"}").await >= 1.0);
        }
    }
}

#[tokio::test]
async fn endpoints_are_asked_at_another_port() {
    let (origin, agent) = (Origin::says("hi").await, telling(Wire::H1, "{\"load\": 0.5}").await);
    let port = agent.to_string().rsplit_once(':').map(|(_, port)| port.to_owned()).expect("a port");
    let load = format!("path = '/load', port = {port}, interval = '100ms'");
    let gateway = gateway(&origin, &load, "proxy_protocol = 'v2'").await;
    let endpoint = gateway.endpoint("a", &origin);
    eventually("a report", async || endpoint.stats.load() == 0.5).await;
    assert_eq!((origin.requests(), endpoint.address.to_string()), (0, origin.to_string()));
}

#[tokio::test]
async fn who_tells_no_load_is_as_one_who_is_not_asked() {
    for (text, result) in [("{\"status\": \"fine\"}", "unreadable"), ("", "failed")] {
        let origin = Origin::start(Wire::H1, move |_| async move {
            let status = if text.is_empty() { 500 } else { 200 };
            Response::builder().status(status).body(full(text)).unwrap()
        })
        .await;
        let gateway = gateway(&origin, "path = '/load', interval = '100ms'", "").await;
        let count = format!("gatewright_pool_load_reports_total{{pool=\"a\",result=\"{result}\"}}");
        eventually("a question in vain", async || gateway.metric(&count).await >= 1.0).await;
        let endpoint = gateway.endpoint("a", &origin);
        assert!(endpoint.stats.load().is_nan() && endpoint.stats.warmth() == 1.0);
    }
}

#[tokio::test]
async fn who_has_too_much_gets_less_until_that_is_over_or_forgotten() {
    let (busy, silent) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let (says, is) = (busy.clone(), silent.clone());
    let origin = Origin::start(Wire::H1, move |_| {
        let (text, silent) =
            (if says.load(Ordering::Relaxed) { "load=1.5" } else { "load=0.5" }, is.load(Ordering::Relaxed));
        async move { Response::builder().status(if silent { 404 } else { 200 }).body(full(text)).unwrap() }
    })
    .await;
    let gateway = gateway(&origin, "path = '/load', interval = '100ms', age = '1s'", "").await;
    let endpoint = gateway.endpoint("a", &origin);
    eventually("less", async || endpoint.stats.warmth() < 1.0 && endpoint.stats.flags() & DEGRADED != 0).await;
    assert_eq!(gateway.metric("gatewright_endpoints{pool=\"a\",state=\"overloaded\"}").await, 1.0);
    busy.store(false, Ordering::Relaxed);
    eventually("all of it", async || endpoint.stats.warmth() == 1.0 && endpoint.stats.flags() & DEGRADED == 0).await;
    busy.store(true, Ordering::Relaxed);
    eventually("less", async || endpoint.stats.warmth() < 1.0).await;
    silent.store(true, Ordering::Relaxed);
    eventually("nothing to be known", async || endpoint.stats.load().is_nan() && endpoint.stats.warmth() == 1.0).await;
}

#[tokio::test]
async fn responses_tell_the_load_and_clients_do_not_see_it() {
    let origin = Origin::start(Wire::H1, |request| async move {
        let text = match request.uri().path() {
            "/json" => "JSON {\"application_utilization\": 0.75}",
            _ => "TEXT cpu_utilization=0.5, rps_fractional=3",
        };
        Response::builder().header("Endpoint-Load-Metrics", text).header("x-other", "1").body(full("hi")).unwrap()
    })
    .await;
    let gateway = gateway(&origin, "headers = true", "").await;
    let endpoint = gateway.endpoint("a", &origin);
    for (path, load) in [("a/", 0.5), ("a/json", 0.75)] {
        let response = gateway.get(path, &[]).await;
        assert_eq!((response.status(), response.field("endpoint-load-metrics")), (200, None), "{path}");
        assert_eq!(response.field("x-other").as_deref(), Some("1"));
        assert_eq!(endpoint.stats.load(), load, "{path}");
    }
    // Nobody asked for it, so it is a field like any other.
    gateway.apply(&POOL.replace("load = { <load> }", "")).await.unwrap();
    assert!(gateway.get("a/", &[]).await.field("endpoint-load-metrics").is_some());
    eventually("what was reported to be forgotten", async || endpoint.stats.load().is_nan()).await;
}
