//! The requests of one connection, one after the other or side by side.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use super::exchange;
use super::exchange::{Client, Exchange, Facts};
use super::incoming;
use crate::clock::{self, Deadline, Watchdog};
use crate::error::{Kind, Phase, Side};
use crate::http::h1::io::Io;
use crate::http::h1::parse;
use crate::http::h1::server::{Next, Refused};
use crate::http::{Body, Control, Ending, Fields, Method, RequestHead, Responder, Version, h1, h2};
use crate::notice;
use crate::worker::Worker;

/// Serves HTTP/1 until the connection ends; says why it did. With a reason to refuse it, every request is refused for that.
pub async fn serve_h1(
    worker: &Rc<Worker>,
    io: Io,
    client: Rc<Client>,
    control: &Rc<Control>,
    refuse: Option<&'static str>,
) -> Ending {
    let limits = worker.view().snapshot.limits.clone();
    let mut connection = h1::server::Connection::new(io, client.scheme, limits);
    if let Some(what) = refuse {
        connection.refuse(what);
    }
    let mut watchdog = Watchdog::default();
    loop {
        let mut known = true;
        let (request, body, responder, refused) = match connection.next(control, &mut watchdog).await {
            Next::Over(ending) => return ending,
            Next::Request(received) => (received.head, received.body, Responder::H1(received.responder), None),
            Next::Refused(Refused { error, head }, responder) => {
                known = head.is_some();
                hint(&client, error.kind);
                let head = head.map_or_else(|| unknown_request(&client), |head| *head);
                (head, Body::Empty, Responder::H1(responder), Some(error))
            }
        };
        let (mut facts, view) = (Facts::new(&client), worker.view());
        facts.known = known;
        let mut x = Exchange {
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
        exchange(&mut x).await;
        drop(x);
        let Some(ending) = connection.finish(&mut watchdog).await else { continue };
        return match (ending, refused.map(|error| error.kind)) {
            (Ending::Limit(_), _) => ending,
            (_, Some(Kind::Truncated | Kind::Io | Kind::Tls)) => Ending::Client,
            (_, Some(_)) => Ending::Refused,
            (Ending::Closed, None) if control.is_draining() => Ending::Drained,
            (_, None) => ending,
        };
    }
}

/// A client that speaks TLS to the wrong port, or none, is mostly a mistake that somebody can mend.
fn hint(client: &Client, kind: Kind) {
    if let Kind::Malformed(reason @ (parse::TLS | parse::CLEARTEXT)) = kind
        && let Some(suppressed) = notice::due((client.listener.address, reason))
    {
        let (listener, client) = (client.listener.address, client.source);
        tracing::warn!(%listener, %client, reason, suppressed, "wrong protocol");
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
pub async fn serve_h2(worker: &Rc<Worker>, io: Io, client: Rc<Client>, control: &Rc<Control>) -> Ending {
    let limits = worker.view().snapshot.limits.clone();
    let (stream, read) = io.into_parts();
    let mut connection = h2::server::Connection::new(stream, read, client.scheme, &limits);
    let mut watchdog = Watchdog::default();
    let mut requests = 0u32;
    let mut left: Option<(Instant, Ending)> = None;
    let ended = poll_fn(|cx| {
        loop {
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
            count_hits(worker, &connection);
            if left.is_none() {
                let why = match (control.poll_draining(cx), requests >= limits.keepalive_requests) {
                    (true, _) => Some(Ending::Drained),
                    (false, true) => Some(Ending::Limit("keepalive_requests")),
                    (false, false) => None,
                };
                if let Some(why) = why {
                    left = Some((clock::coarse(), why));
                    connection.graceful_shutdown();
                }
            }
            // A client that was told to go and has nothing under way has a moment to say that it heard.
            let farewell = left.filter(|_| connection.is_idle());
            let times = [
                (connection.incomplete_since(), limits.header_time, Ending::Limit("header_time")),
                (connection.stalled_since(), limits.body_idle_time, Ending::Limit("body_idle_time")),
                (connection.idle_since(), limits.idle_time, Ending::Limit("idle_time")),
                (farewell.map(|(since, _)| since), FAREWELL_TIME, farewell.map_or(Ending::Closed, |(_, why)| why)),
            ];
            let due = times.into_iter().filter_map(|(since, time, ending)| Some((since? + time, Some(ending))));
            let due = due.chain(connection.lingers_until().map(|until| (until, None)));
            // Otherwise requests run, which have their own times.
            let Some((deadline, ending)) = due.min_by_key(|(deadline, _)| *deadline) else { return Poll::Pending };
            ready!(watchdog.poll_passed(deadline, cx));
            if ending.is_some() {
                return Poll::Ready(ending);
            }
        }
    })
    .await;
    if let Some(ending) = ended {
        match ending {
            Ending::Limit(limit @ ("header_time" | "body_idle_time")) => {
                if limit == "header_time" {
                    warn_of(&client, "no complete head in time");
                }
                connection.abort(h2::Code::ENHANCE_YOUR_CALM);
            }
            _ => connection.graceful_shutdown(),
        }
        let deadline = Deadline::after(FAREWELL_TIME, Phase::Head, Side::Client);
        let farewell = async {
            while connection.accept().await.is_some() {}
            Ok(())
        };
        let _ = watchdog.within(deadline, farewell).await;
        count_hits(worker, &connection);
        return ending;
    }
    count_hits(worker, &connection);
    match connection.error().map(|error| error.kind) {
        Some(Kind::Malformed(violation)) => {
            warn_of(&client, violation);
            Ending::Violation
        }
        _ => left.map_or(Ending::Client, |(_, why)| why),
    }
}

/// A connection that is given up for what was sent on it: there may be no request whose line in the access log would tell of it.
fn warn_of(client: &Client, violation: &'static str) {
    if let Some(suppressed) = notice::due((client.listener.address, violation)) {
        let (listener, client) = (client.listener.address, client.source);
        tracing::warn!(%listener, %client, violation, suppressed, "HTTP/2 connection given up");
    }
}

fn count_hits(worker: &Worker, connection: &h2::server::Connection) {
    for (limit, count) in connection.take_hits().iter() {
        worker.metrics.limit_hits(limit, count);
    }
}

/// How long a client that is told to go may take to read that.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

async fn stream_exchange(worker: Rc<Worker>, client: Rc<Client>, control: Rc<Control>, received: h2::server::Incoming) {
    let (mut facts, view) = (Facts::new(&client), worker.view());
    facts.known = received.known;
    let mut watchdog = Watchdog::default();
    let responder = Responder::h2(received.responder, &received.head.method);
    let mut x = Exchange {
        body: incoming::watched(received.body, &mut facts.bytes_in, &view),
        view,
        worker: &worker,
        client: &client,
        control: &control,
        request: received.head,
        refused: received.refused,
        responder,
        watchdog: &mut watchdog,
        deadline: None,
        facts,
    };
    exchange(&mut x).await;
}
