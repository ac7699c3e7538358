//! Every bound is met once, and counted under its own name and no other.

use std::collections::BTreeSet;

use crate::harness::{Frames, GET as H2_GET, Gateway, Message, Raw, RawOrigin, eventually, flag, full, kind};
use crate::harness::{Wire, block};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &[(&str, &str)] = &[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")];

/// What a scenario has to do with.
struct Scene {
    gateway: Gateway,
    origin: RawOrigin,
}

impl Scene {
    /// A gateway with this bound.
    async fn new(bound: &str, value: &str) -> Scene {
        let origin = RawOrigin::start().await;
        let text = format!(
            "[pool.origin]\nendpoints = ['<origin>']\n<pool>\n[[route]]\npool = 'origin'\n[[listener]]\n\
             address = '127.0.0.1:0'\n<tls>\n[admin]\naddress = '127.0.0.1:0'\n<log>\n[limits]\n{bound} = {value}"
        );
        // What one bound needs beside it.
        let tls = match bound {
            "tls_handshake_time" => "tls = [{ certificate = 'server.pem', key = 'server.key' }]",
            _ => "",
        };
        let log = if bound == "access_log_queue_size" { "[access_log]\noutput = 'access.log'" } else { "" };
        let pool = if bound == "http2_connection_window" { "max_connections = 1" } else { "" };
        let gateway = Gateway::of(&text).with("origin", &origin).with("tls", tls).with("log", log).with("pool", pool);
        Scene { gateway: gateway.start().await, origin }
    }

    /// A request, and the origin's end of it.
    async fn request(&self, head: &str) -> (Raw, Raw) {
        let mut client = self.gateway.raw().await;
        client.send(head).await;
        let mut upstream = self.origin.accept().await;
        upstream.head().await;
        (client, upstream)
    }

    /// A GET and its answer; both connections stay.
    async fn exchange(&self) -> (Raw, Raw) {
        let (mut client, mut upstream) = self.request(GET).await;
        upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(client.response().await.status(), 204);
        (client, upstream)
    }

    /// What becomes of the answer of an origin.
    async fn answered(&self, answer: &str) -> Message {
        let (mut client, mut upstream) = self.request(GET).await;
        upstream.send(answer).await;
        client.response().await
    }

    /// An HTTP/2 connection whose settings both sides know.
    async fn frames(&self) -> Frames {
        let mut frames = self.gateway.frames().await;
        while frames.next_of(kind::SETTINGS).await.flags & flag::ACK == 0 {}
        frames.send(kind::PING, 0, 0, &[1; 8]).await;
        while frames.next_of(kind::PING).await.flags & flag::ACK == 0 {}
        frames
    }

    /// Sends frames of a kind until the connection is given up.
    async fn flood(&self, mut frame: impl FnMut(u32) -> Vec<(u8, u8, u32, Vec<u8>)>) {
        let mut frames = self.frames().await;
        for number in 0..20 {
            for (kind, flags, stream, payload) in frame(number) {
                let _ = frames.try_send(kind, flags, stream, &payload).await;
            }
        }
        assert_eq!(frames.farewell().await, Some(11), "ENHANCE_YOUR_CALM");
    }

    /// The bounds that were counted.
    async fn counted(&self) -> BTreeSet<String> {
        let (_, text) = self.gateway.admin("GET", "/metrics").await;
        let lines = text.lines().filter_map(|line| line.strip_prefix("gatewright_limits_hit_total{limit=\""));
        lines.filter_map(|line| Some(line.split_once('"')?.0.to_owned())).collect()
    }
}

/// A way to meet a bound; true: there was one by this number.
async fn meet(bound: &str, value: &str, way: usize) -> Option<Scene> {
    let s = Scene::new(bound, value).await;
    match (bound, way) {
        ("connections" | "connections_per_address", 0) => {
            let _first = s.exchange().await;
            s.gateway.raw().await.is_over().await;
        }
        ("tls_handshake_time", 0) => {
            let mut client = s.gateway.raw().await;
            client.send([22, 3, 1]).await;
            client.rest().await;
        }
        ("header_time", 0) => {
            let mut client = s.gateway.raw().await;
            client.send("GET / HTTP/1.1\r\n").await;
            client.is_refused(408).await;
        }
        // Of the preface, before anybody knows which protocol it will be.
        ("header_time", 1) => {
            let mut client = s.gateway.raw().await;
            client.send("PRI * HTTP").await;
            client.is_over().await;
        }
        ("header_time", 2) => {
            let mut client = s.frames().await;
            client.send(kind::HEADERS, 0, 1, &block(POST)).await;
            assert_eq!(client.farewell().await, Some(11));
        }
        ("header_size", 0) => {
            s.gateway.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(999))).await.is(431)
        }
        ("header_size", 1) => s.answered(&format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(999))).await.is(502),
        ("header_fields", 0) => {
            s.gateway.ask("GET / HTTP/1.1\r\nHost: a\r\na: b\r\nc: d\r\ne: f\r\n\r\n").await.is(431)
        }
        ("header_fields", 1) => s.answered("HTTP/1.1 200 OK\r\na: b\r\nc: d\r\ne: f\r\ng: h\r\n\r\n").await.is(502),
        ("header_fields", 2) => {
            let mut client = s.frames().await;
            client.headers(1, POST, true).await;
            assert_eq!(client.outcome(1).await.status(), Some(431));
        }
        ("uri_size", 0) => s.gateway.get("a/long/target", &[]).await.is(414),
        ("uri_size", 1) => {
            let mut client = s.frames().await;
            client.get(1, "/long/target").await;
            assert_eq!(client.outcome(1).await.status(), Some(414));
        }
        ("body_size", 0) => {
            s.gateway.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world").await.is(413)
        }
        ("body_size", 1) => {
            let mut client = s.gateway.client(Wire::H2).await;
            assert_eq!(client.call("POST", "/", full("hello world")).await.status, 413);
        }
        ("body_idle_time", 0) => {
            s.gateway.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx").await.is(408)
        }
        // An origin that stops in the middle.
        ("body_idle_time", 1) => {
            let (mut client, mut upstream) = s.request(GET).await;
            upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx").await;
            assert!(client.try_response().await.is_err());
        }
        ("discard_size", 0) => {
            // Refused, so nobody wants the rest.
            let mut client = s.gateway.raw().await;
            client.send(format!("GET / HTTP/1.1\r\nHost : a\r\n\r\n{}", "x".repeat(99))).await;
            assert_eq!(client.response().await.status(), 400);
        }
        ("discard_size", 1) => {
            let mut client = s.gateway.raw().await;
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n").await;
            let mut upstream = s.origin.accept().await;
            upstream.head().await;
            upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
            assert_eq!(client.response().await.status(), 204);
            let _ = client.try_send("x".repeat(999)).await;
        }
        ("chunk_header_size", 0) => {
            let chunk = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(99));
            let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            s.gateway.ask(&format!("{head}{chunk}")).await.is(400);
        }
        ("chunk_header_size", 1) => {
            let (mut client, mut upstream) = s.request(GET).await;
            upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            upstream.send(format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(99))).await;
            assert!(client.try_response().await.is_err());
        }
        ("idle_time", 0) => s.gateway.raw().await.is_over().await,
        ("idle_time", 1) => s.exchange().await.0.is_over().await,
        ("idle_time", 2) => assert_eq!(s.frames().await.farewell().await, Some(0)),
        ("keepalive_requests", 0) => s.exchange().await.0.is_over().await,
        ("keepalive_requests", 1) => {
            let mut client = s.frames().await;
            client.get(1, "/").await;
            let mut upstream = s.origin.accept().await;
            upstream.request().await;
            upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
            assert_eq!(client.outcome(1).await.status(), Some(204));
            assert_eq!(client.farewell().await, Some(0));
        }
        ("tunnel_idle_time", 0) => {
            let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
            let (mut client, mut upstream) = s.request(head).await;
            upstream.send("HTTP/1.1 101 Now\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
            assert_eq!(client.head().await.status(), 101);
            client.is_over().await;
        }
        ("http2_streams", 0) => {
            let mut client = s.frames().await;
            client.get(1, "/").await;
            client.get(3, "/").await;
            assert!(client.outcome(3).await.is_refusal());
        }
        ("http2_resets_per_second", 0) => {
            let block = block(&[&H2_GET[..], &[(":path", "/")]].concat());
            s.flood(|n| {
                let (stream, flags) = (n * 2 + 1, flag::END_HEADERS | flag::END_STREAM);
                vec![(kind::HEADERS, flags, stream, block.clone()), (kind::RST_STREAM, 0, stream, vec![0, 0, 0, 8])]
            })
            .await;
        }
        ("http2_header_list_size", 0) => {
            let mut client = s.frames().await;
            client.headers(1, &[POST, &[("x", &"x".repeat(999))]].concat(), true).await;
            assert_eq!(client.outcome(1).await.status(), Some(431));
        }
        ("http2_header_list_size", 1) => {
            s.flood(|n| match n {
                0 => vec![(kind::HEADERS, 0, 1, block(POST))],
                _ => vec![(kind::CONTINUATION, 0, 1, vec![0; 16384])],
            })
            .await;
        }
        ("http2_continuation_frames", 0) => {
            s.flood(|n| match n {
                0 => vec![(kind::HEADERS, 0, 1, block(POST))],
                _ => vec![(kind::CONTINUATION, 0, 1, block(&[("a", "b")]))],
            })
            .await;
        }
        ("http2_control_frames_per_second", 0) => s.flood(|_| vec![(kind::PING, 0, 0, vec![0; 8])]).await,
        ("http2_empty_frames_per_second", 0) => {
            s.flood(|n| match n {
                0 => vec![(kind::HEADERS, flag::END_HEADERS, 1, block(POST))],
                _ => vec![(kind::DATA, 0, 1, Vec::new())],
            })
            .await;
        }
        ("http2_small_frames_per_second", 0) => {
            s.flood(|n| match n {
                0 => vec![(kind::HEADERS, flag::END_HEADERS, 1, block(POST))],
                _ => vec![(kind::DATA, 0, 1, vec![b'x'])],
            })
            .await;
        }
        ("body_min_rate", 0) => {
            let mut client = s.gateway.raw().await;
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n").await;
            while client.try_send("x").await.is_ok() && s.counted().await.is_empty() {}
        }
        ("http2_stream_window", 0) => {
            let mut client = s.frames().await;
            client.headers(1, POST, false).await;
            client.data(1, &[0; 9999], false).await;
            assert!(client.outcome(1).await.is_refusal());
        }
        ("http2_connection_window", 0) => {
            // The second waits for the connection of the first, so nobody reads its body.
            let _first = s.request(GET).await;
            let mut client = s.frames().await;
            client.headers(1, POST, false).await;
            for _ in 0..5 {
                let _ = client.try_send(kind::DATA, 0, 1, &[0; 16384]).await;
            }
            assert_eq!(client.farewell().await, Some(3), "FLOW_CONTROL_ERROR");
        }
        ("http2_header_table_size", 0) => {
            let mut client = s.frames().await;
            // A change of the table's size to 8192 (RFC 7541 section 6.3).
            let block = [&[0x3f, 0xe1, 0x3f], &block(POST)[..]].concat();
            client.send(kind::HEADERS, flag::END_HEADERS, 1, &block).await;
            assert_eq!(client.farewell().await, Some(9), "COMPRESSION_ERROR");
        }
        ("half_close_time", 0) => {
            let (mut client, mut upstream) = s.request(GET).await;
            client.finish().await;
            upstream.is_over().await;
        }
        ("upstream_idle_time", 0) => s.exchange().await.1.is_over().await,
        ("upstream_idle_connections", 0) => {
            let mut pairs = [s.request(GET).await, s.request(GET).await];
            for (client, upstream) in &mut pairs {
                upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
                assert_eq!(client.response().await.status(), 204);
            }
        }
        ("access_log_queue_size", 0) => drop(s.exchange().await),
        _ => return None,
    }
    Some(s)
}

/// The bound at a value that is soon met; `None`: no request fails that meets it, so it is not counted.
fn value(bound: &str) -> Option<&'static str> {
    Some(match bound {
        "http2_send_buffer_size" | "file_cache_size" | "file_cache_time" | "cache_size" => return None,
        "health_checks" | "health_body_size" | "discovered_endpoints" | "discovery_time" => return None,
        // Only of responses that are compressed.
        "compression_memory" | "decoded_size" => return None,
        "cache_disk_index_size" | "cache_disk_queue_size" | "cache_disk_reads" => return None,
        "plugin_download_time" | "plugin_compile_time" | "drain_time" => return None,
        "connections" | "connections_per_address" | "keepalive_requests" | "http2_streams" => "1",
        "upstream_idle_connections" => "1",
        "header_fields" => "3",
        "http2_continuation_frames" => "2",
        "http2_resets_per_second" | "http2_control_frames_per_second" | "http2_empty_frames_per_second" => "5",
        "http2_small_frames_per_second" => "5",
        "body_min_rate" => "'100MiB'\nbody_idle_time = '400ms'",
        "uri_size" | "body_size" | "discard_size" | "access_log_queue_size" => "'10B'",
        "chunk_header_size" => "'50B'",
        "header_size" | "http2_header_list_size" | "http2_stream_window" => "'500B'",
        "http2_connection_window" => "'64KiB'",
        "http2_header_table_size" => "'4KiB'",
        _ => "'50ms'",
    })
}

#[tokio::test]
async fn what_is_met_is_counted_under_its_name() {
    for bound in gatewright::limits::TABLE.iter().map(|row| row.name) {
        let Some(value) = value(bound) else { continue };
        let mut ways = 0;
        while let Some(scene) = meet(bound, value, ways).await {
            let what = format!("{bound}, way {ways}");
            eventually(&what, async || !scene.counted().await.is_empty()).await;
            assert_eq!(scene.counted().await.into_iter().collect::<Vec<_>>(), [bound], "{what}");
            ways += 1;
        }
        assert!(ways > 0, "{bound}: nobody knows how to meet it");
    }
}
