//! The requests of one connection, one after the other or side by side.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::exchange;
use super::exchange::{Client, Exchange, Facts};
use super::incoming;
use crate::clock::{self, Deadline, Watchdog};
use crate::error::{Phase, Side};
use crate::http::h1::io::Io;
use crate::http::{Body, Control, Fields, Method, RequestHead, Responder, Version, h1, h2};
use crate::worker::Worker;

/// Serves HTTP/1 until the connection ends; says why it did.
pub async fn serve_h1(worker: &Rc<Worker>, io: Io, client: Rc<Client>, control: &Rc<Control>) -> &'static str {
    let limits = worker.view().snapshot.limits.clone();
    let mut connection = h1::server::Connection::new(io, client.scheme, limits);
    let mut watchdog = Watchdog::default();
    loop {
        let (request, body, responder, refused) = match connection.next(control, &mut watchdog).await {
            None => return "idle",
            Some(Ok(received)) => (received.head, received.body, Responder::H1(received.responder), None),
            Some(Err((error, responder))) => {
                (unknown_request(&client), Body::Empty, Responder::H1(responder), Some(error))
            }
        };
        let (mut facts, view) = (Facts::new(&client), worker.view());
        let x = Exchange {
            worker,
            body: incoming::watched(body, &mut facts.bytes_in, &view),
            view,
            client: &client,
            control,
            request,
            refused,
            responder,
            watchdog: &mut watchdog,
            deadline: None,
            facts,
        };
        // In place: a connection between requests keeps the room of one, some 3 KiB, and no request pays for moving it.
        exchange(x).await;
        if !connection.finish(&mut watchdog).await {
            return if refused.is_some() { "refused" } else { "closed" };
        }
    }
}

/// What a request is called whose head could not be read.
fn unknown_request(client: &Client) -> RequestHead {
    RequestHead {
        method: Method::GET,
        version: Version::Http11,
        scheme: client.scheme,
        authority: String::new(),
        target: String::new(),
        upgrade: None,
        fields: Fields::new(),
    }
}

/// Serves HTTP/2 until the connection ends; says why it did.
pub async fn serve_h2(worker: &Rc<Worker>, io: Io, client: Rc<Client>, control: &Rc<Control>) -> &'static str {
    let limits = worker.view().snapshot.limits.clone();
    let (stream, read) = io.into_parts();
    let mut connection = h2::server::Connection::new(stream, read, client.scheme, &limits);
    let mut watchdog = Watchdog::default();
    let mut requests = 0u32;
    let mut left: Option<Instant> = None;
    let ended = poll_fn(|cx| {
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(incoming)) => {
                    requests += 1;
                    tokio::task::spawn_local(stream_exchange(
                        worker.clone(),
                        client.clone(),
                        control.clone(),
                        incoming,
                    ));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => break,
            }
        }
        if left.is_none() && (control.poll_draining(cx) || requests >= limits.keepalive_requests) {
            left = Some(clock::coarse());
            connection.graceful_shutdown();
        }
        // A client that was told to go and has nothing under way has a moment to say that it heard.
        let farewell = left.filter(|_| connection.is_idle());
        let times = [
            (connection.incomplete_since(), limits.header_time, Some("header_time")),
            (connection.stalled_since(), limits.body_idle_time, Some("body_idle_time")),
            (connection.idle_since(), limits.idle_time, None),
            (farewell, FAREWELL_TIME, None),
        ];
        let due = times.into_iter().filter_map(|(since, time, limit)| Some((since? + time, limit)));
        // Otherwise requests run, which have their own times.
        let Some((deadline, limit)) = due.min_by_key(|(deadline, _)| *deadline) else { return Poll::Pending };
        watchdog.poll_passed(deadline, cx).map(|()| Some(limit))
    })
    .await;
    if let Some(limit) = ended {
        match limit {
            Some(limit) => {
                worker.metrics.limit_hit(limit);
                connection.abort(h2::Code::ENHANCE_YOUR_CALM);
            }
            None => connection.graceful_shutdown(),
        }
        let deadline = Deadline::after(FAREWELL_TIME, Phase::Head, Side::Client);
        let farewell = async {
            while connection.accept().await.is_some() {}
            Ok(())
        };
        let _ = watchdog.within(deadline, farewell).await;
        return limit.unwrap_or("idle");
    }
    if let Some(violation) = connection.violation() {
        tracing::debug!(client = %client.source, violation, "HTTP/2 connection ended");
        if let Some(limit) = limit_of(violation) {
            worker.metrics.limit_hit(limit);
        }
        return "violation";
    }
    "closed"
}

/// The bound that a client went over, when that is what it did wrong.
fn limit_of(violation: &str) -> Option<&'static str> {
    match violation {
        "reset-flood" => Some("http2_resets_per_second"),
        "control-flood" => Some("http2_control_frames_per_second"),
        "empty-flood" => Some("http2_empty_frames_per_second"),
        "small-frame-flood" => Some("http2_small_frames_per_second"),
        "continuation-flood" => Some("http2_continuation_frames"),
        "head-too-large" => Some("http2_header_list_size"),
        _ => None,
    }
}

/// How long a client that is told to go may take to read that.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

async fn stream_exchange(worker: Rc<Worker>, client: Rc<Client>, control: Rc<Control>, received: h2::server::Incoming) {
    let (mut facts, view) = (Facts::new(&client), worker.view());
    let mut watchdog = Watchdog::default();
    let responder = Responder::h2(received.responder, &received.head.method);
    exchange(Exchange {
        body: incoming::watched(received.body, &mut facts.bytes_in, &view),
        view,
        worker: &worker,
        client: &client,
        control: &control,
        request: received.head,
        refused: None,
        responder,
        watchdog: &mut watchdog,
        deadline: None,
        facts,
    })
    .await;
}
