//! Requests that share one HTTP/2 connection, to an upstream or from a client, do not hold up each other.

use crate::harness::{Frames, Gateway, Origin, Outcome, RawOrigin, Wire, eventually, frame, kind};

/// The default of `http2_stream_window`.
const STREAM_WINDOW: usize = 256 * 1024;
const PIECE: usize = 16 * 1024;

/// What may still be sent on a connection, as its peer says.
struct Window(usize);

impl Window {
    /// What the peer's first words allow.
    async fn of(peer: &mut Frames) -> Window {
        Window(0xffff + more(&peer.next_of(kind::WINDOW_UPDATE).await.payload))
    }

    /// Sends a piece when the connection's window lets it through.
    async fn send(&mut self, peer: &mut Frames, stream: u32) {
        while self.0 < PIECE {
            let update = peer.next_of(kind::WINDOW_UPDATE).await;
            if update.stream == 0 {
                self.0 += more(&update.payload);
            }
        }
        self.0 -= PIECE;
        peer.data(stream, &[0; PIECE], false).await;
    }
}

fn more(increment: &[u8]) -> usize {
    u32::from_be_bytes(increment.try_into().expect("four bytes")) as usize
}

#[tokio::test]
async fn slow_readers_do_not_hold_up_the_others_of_an_upstream_connection() {
    let origin = RawOrigin::start().await;
    let gateway = Gateway::between(Wire::H2, Wire::H2, &origin).await;
    // It opens no window, so the gateway has to keep what comes for it.
    let mut slow = gateway.frames().await;
    let streams = (1..).step_by(2).take(10);
    for stream in streams.clone() {
        slow.get(stream, "/large").await;
    }
    let mut upstream = Frames::accept(origin.accept().await).await;
    let mut window = Window::of(&mut upstream).await;
    for stream in streams.clone() {
        assert_eq!(upstream.next_of(kind::HEADERS).await.stream, stream);
    }
    for stream in streams {
        upstream.headers(stream, &[(":status", "200")], false).await;
        for _ in 0..STREAM_WINDOW / PIECE {
            window.send(&mut upstream, stream).await;
        }
    }
    let mut quick = gateway.frames().await;
    quick.get(1, "/small").await;
    let stream = upstream.next_of(kind::HEADERS).await.stream;
    upstream.headers(stream, &[(":status", "200")], false).await;
    upstream.data(stream, b"small", true).await;
    assert_eq!(quick.outcome(1).await, Outcome::Response(Vec::new(), 200, b"small".to_vec()));
    origin.is_untouched();
}

#[tokio::test]
async fn uploads_that_nobody_reads_do_not_hold_up_the_others_of_a_client_connection() {
    const LENGTH: usize = 64 * PIECE;
    let (stuck, origin) = (RawOrigin::start().await, Origin::echo().await);
    let text = "
        [pool.stuck]
        endpoints = ['<stuck>']
        max_connections = 1
        timeouts = { queue = '60s' }
        [pool.origin]
        endpoints = ['<origin>']
        [[route]]
        match = { path = '/stuck' }
        pool = 'stuck'
        [[route]]
        pool = 'origin'";
    let gateway = Gateway::of(text).with("stuck", &stuck).with("origin", &origin).start().await;
    // The one connection is taken, so further requests wait for it with their bodies.
    let mut first = gateway.raw().await;
    first.send("GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let _upstream = stuck.accept().await;
    let mut client = gateway.frames().await;
    let mut window = Window::of(&mut client).await;
    let post = |path| [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", path)];
    for stream in [1, 3, 5] {
        client.headers(stream, &post("/stuck"), false).await;
        for _ in 0..STREAM_WINDOW / PIECE {
            window.send(&mut client, stream).await;
        }
    }
    client.headers(7, &post("/"), false).await;
    let mut allowed = STREAM_WINDOW;
    for _ in 0..LENGTH / PIECE {
        while window.0 < PIECE || allowed < PIECE {
            let update = client.next_of(kind::WINDOW_UPDATE).await;
            match update.stream {
                0 => window.0 += more(&update.payload),
                7 => allowed += more(&update.payload),
                _ => {}
            }
        }
        allowed -= PIECE;
        window.send(&mut client, 7).await;
    }
    client.data(7, b"", true).await;
    assert_eq!(client.outcome(7).await.status(), Some(200));
}

#[tokio::test]
async fn a_request_that_finds_no_room_goes_on_when_another_ends() {
    let origin = RawOrigin::start().await;
    let text = "
        [pool.origin]
        endpoints = ['<origin>']
        protocol = 'h2'
        max_connections = 1
        timeouts = { queue = '60s' }
        [[route]]
        pool = 'origin'
        [admin]
        address = '127.0.0.1:0'";
    let gateway = Gateway::of(text).with("origin", &origin).start().await;
    let mut client = gateway.frames().await;
    client.get(1, "/").await;
    let mut upstream = Frames::accept(origin.accept().await).await;
    assert_eq!(upstream.next_of(kind::HEADERS).await.stream, 1);
    // SETTINGS_MAX_CONCURRENT_STREAMS = 1; what answers the PING has read it.
    upstream.send(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]).await;
    upstream.send(kind::PING, 0, 0, &[7; 8]).await;
    upstream.next_of(kind::PING).await;
    for stream in [3, 5] {
        client.get(stream, "/").await;
    }
    let in_flight = async || gateway.metric("gatewright_requests_in_flight").await == 3.0;
    eventually("two requests to wait", in_flight).await;
    let mut streams = vec![1];
    for answered in 0..3 {
        upstream.headers(streams[answered], &[(":status", "204")], true).await;
        if answered < 2 {
            streams.push(upstream.next_of(kind::HEADERS).await.stream);
        }
    }
    for stream in [1, 3, 5] {
        assert_eq!(client.outcome(stream).await.status(), Some(204));
    }
    assert_eq!(streams, [1, 3, 5]);
    origin.is_untouched();
}

#[tokio::test]
async fn a_connection_without_requests_is_given_up_to_another_worker() {
    let origin = Origin::start(Wire::H2, crate::harness::echo).await;
    let text = "
        workers = 2
        [pool.origin]
        endpoints = ['<origin>']
        protocol = 'h2'
        max_connections = 1
        [[route]]
        pool = 'origin'";
    let gateway = Gateway::of(text).with("origin", &origin).start().await;
    // The system spreads them over the workers.
    for number in 0..16 {
        assert_eq!(gateway.client(Wire::H1).await.get("/").await.status, 200, "client {number}");
    }
    assert!(origin.connections() > 1);
}

/// A gateway that bears few frames without a use, and its connection to an origin of which the settings are known.
async fn impatient(origin: &RawOrigin) -> (Gateway, Frames, Frames) {
    let text = "
        [pool.origin]
        endpoints = ['<origin>']
        protocol = 'h2'
        [[route]]
        pool = 'origin'
        [admin]
        address = '127.0.0.1:0'
        [limits]
        http2_control_frames_per_second = 20";
    let gateway = Gateway::of(text).with("origin", origin).start().await;
    let mut client = gateway.frames().await;
    client.get(1, "/").await;
    let mut upstream = Frames::accept(origin.accept().await).await;
    assert_eq!(upstream.next_of(kind::HEADERS).await.stream, 1);
    (gateway, client, upstream)
}

const NO_ERROR: &[u8] = &[0; 4];

#[tokio::test]
async fn an_upstream_may_reset_what_is_finished() {
    let origin = RawOrigin::start().await;
    let (_gateway, mut client, mut upstream) = impatient(&origin).await;
    for stream in (3..).step_by(2).take(300) {
        client.get(stream, "/").await;
        assert_eq!(upstream.next_of(kind::HEADERS).await.stream, stream);
        upstream.headers(stream, &[(":status", "204")], true).await;
        upstream.send(kind::RST_STREAM, 0, stream, NO_ERROR).await;
        assert_eq!(client.outcome(stream).await.status(), Some(204));
    }
    upstream.headers(1, &[(":status", "200")], true).await;
    assert_eq!(client.outcome(1).await.status(), Some(200));
    origin.is_untouched();
}

#[tokio::test]
async fn an_upstream_may_ask_whether_we_are_there() {
    let origin = RawOrigin::start().await;
    let (_gateway, mut client, mut upstream) = impatient(&origin).await;
    for number in 0..100 {
        upstream.send(kind::PING, 0, 0, &[number; 8]).await;
    }
    for number in 0..100 {
        assert_eq!(upstream.next_of(kind::PING).await.payload, [number; 8]);
    }
    upstream.headers(1, &[(":status", "200")], true).await;
    assert_eq!(client.outcome(1).await.status(), Some(200));
    client.get(3, "/").await;
    assert_eq!(upstream.next_of(kind::HEADERS).await.stream, 3);
}

#[tokio::test]
async fn an_upstream_that_floods_finishes_what_runs_and_gets_no_more() {
    let origin = RawOrigin::start().await;
    let (gateway, mut client, mut upstream) = impatient(&origin).await;
    // Ten times what a client may send, in any second.
    let pings = frame(kind::PING, 0, 0, &[0; 8]).repeat(1000);
    upstream.raw().send(&pings).await;
    for _ in 0..1000 {
        upstream.next_of(kind::PING).await;
    }
    client.get(3, "/").await;
    let mut second = Frames::accept(origin.accept().await).await;
    let stream = second.next_of(kind::HEADERS).await.stream;
    second.headers(stream, &[(":status", "204")], true).await;
    assert_eq!(client.outcome(3).await.status(), Some(204));
    upstream.headers(1, &[(":status", "200")], true).await;
    assert_eq!(client.outcome(1).await.status(), Some(200));
    assert_eq!(upstream.farewell().await, Some(0));
    let met = "gatewright_limits_hit_total{limit=\"http2_control_frames_per_second\"}";
    assert_eq!(gateway.metric(met).await, 1.0);
}
