//! Sends a response: its head, then its body as fast as both sides go; or hands the connection over to a tunnel.

use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::clock::{self, Deadline};
use crate::error::{Error, Phase, Side};
use crate::http::pump::{Outlet, Pump, WaitingFor};
use crate::http::{Body, Duplex, ResponseHead, StatusCode, name, tunnel};
use crate::proxy::{Exchange, Response};
use crate::upstream;

/// Sends a response to its end. What became of it is noted in the exchange's facts.
pub(super) async fn send(x: &mut Exchange<'_>, response: Response) {
    // The endpoint's count is kept until the response is over.
    let Response { mut head, mut body, kept: _, tunnel, keep, active: _active, stays: _stays } = response;
    let sent = match tunnel {
        Some(upstream) => run_tunnel(x, &head, upstream).await,
        None => send_message(x, &mut head, &mut body, keep).await,
    };
    let Err(error) = sent else { return };
    if let (Side::Upstream, Some(pool)) = (error.side, x.facts.pool)
        && let Some(pool) = x.view.snapshot.pools.get(pool)
    {
        if let Some(endpoint) = &x.facts.endpoint {
            upstream::tell(&pool.state, &endpoint.address, &error);
        }
        x.worker.metrics.upstream_error(pool.id, error.label());
    }
    super::note(x, error);
}

async fn send_message(x: &mut Exchange<'_>, head: &mut ResponseHead, body: &mut Body, keep: bool) -> Result<(), Error> {
    complete(head, body);
    let length = if body.is_end() { Some(0) } else { body.length() };
    let keep = keep && !x.control.is_draining();
    let has_body = x.responder.head(head, length, keep)?;
    x.facts.status = Some(head.status);
    let idle = x.facts.route.and_then(|route| x.view.snapshot.routes.get(route)).map(|route| route.times.idle_body);
    let idle = idle.unwrap_or(x.view.snapshot.limits.body_idle_time);
    let sent = if has_body { pump(x, body, idle).await } else { flush(x, idle).await };
    if sent.is_err() {
        x.responder.abort();
    }
    sent
}

/// Adds what every response has, whoever made it.
fn complete(head: &mut ResponseHead, body: &Body) {
    // RFC 9110 section 6.6.1: whoever forwards a response without a date gives it one. A date is a valid value.
    if !head.fields.contains(name::DATE) {
        let _ = clock::with_date(|date| head.fields.append(name::DATE, date));
    }
    // Section 8.6: there is none where there is never a body, and nothing to say of it here otherwise.
    if head.status == StatusCode::NO_CONTENT {
        head.fields.remove(name::CONTENT_LENGTH);
    } else if let (Some(length @ 1..), false) = (body.length(), head.fields.contains(name::CONTENT_LENGTH)) {
        let _ = head.fields.append(name::CONTENT_LENGTH, itoa::Buffer::new().format(length).as_bytes());
    }
}

async fn flush(x: &mut Exchange<'_>, idle: Duration) -> Result<(), Error> {
    let deadline = Deadline::after(idle, Phase::BodyIdle, Side::Client);
    let responder = &mut x.responder;
    x.watchdog.within(deadline, poll_fn(|cx| responder.poll_flush(cx))).await
}

async fn pump(x: &mut Exchange<'_>, body: &mut Body, idle: Duration) -> Result<(), Error> {
    let mut pump = Pump::default();
    let mut moved = None;
    let mut since = None;
    let (responder, watchdog, overall) = (&mut x.responder, &mut *x.watchdog, x.deadline);
    let bytes = &x.facts.bytes_out;
    poll_fn(|cx| {
        let polled = pump.poll(body, responder, cx);
        // A slow client makes progress with a part of a file long before it has all of it.
        let sent = pump.moved.saturating_sub(responder.unsent());
        bytes.set(sent);
        if polled.is_ready() {
            return polled;
        }
        let state = (sent, pump.waiting_for);
        if moved != Some(state) {
            moved = Some(state);
            since = Some(clock::coarse());
        }
        let from_upstream = pump.waiting_for == WaitingFor::Source;
        let Some(since) = since else { return Poll::Pending };
        let side = if from_upstream { Side::Upstream } else { Side::Client };
        let mut deadline = Deadline::from(since, idle, Phase::BodyIdle, side).or(overall);
        loop {
            if !from_upstream {
                return watchdog.poll_passed(deadline.at, cx).map(|()| Err(deadline.error()));
            }
            if let Poll::Ready(error) = responder.poll_gone(cx) {
                return Poll::Ready(Err(error));
            }
            deadline = deadline.or(responder.patience(Some(since)));
            let look = responder.look_again().filter(|look| *look < deadline.at);
            ready!(watchdog.poll_passed(look.unwrap_or(deadline.at), cx));
            if look.is_none() {
                return Poll::Ready(Err(deadline.error()));
            }
        }
    })
    .await
}

async fn run_tunnel(x: &mut Exchange<'_>, head: &ResponseHead, upstream: Box<dyn Duplex>) -> Result<(), Error> {
    let body = std::mem::take(&mut x.body);
    let mut client = x.responder.upgrade(head, body)?;
    x.facts.status = Some(head.status);
    // Nobody speaks before the client knows that it may.
    client.flush().await.map_err(|error| Error::io(&error, Side::Client))?;
    x.worker.metrics.tunnel_opened();
    let upwards = x.facts.bytes_in.get_or_insert_default().clone();
    let idle = x.view.snapshot.limits.tunnel_idle_time;
    let result = tunnel::run(client, upstream, idle, upwards.count(), &x.facts.bytes_out).await;
    x.worker.metrics.tunnel_closed();
    result
}
