//! Sends a response: its head, then its body as fast as both sides go; or hands the connection over to a tunnel.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::clock::{self, Deadline};
use crate::error::{Error, Phase, Side};
use crate::http::pump::{Outlet, Pump, WaitingFor};
use crate::http::{Body, ResponseHead, StatusCode, name, tunnel};
use crate::proxy::{Exchange, Response};

/// What became of a response.
#[derive(Default)]
pub(super) struct Sent {
    /// Its head was handed to the connection.
    pub(super) begun: bool,
    /// Bytes of its body.
    pub(super) bytes: u64,
    /// Why it is not complete.
    pub(super) error: Option<Error>,
}

/// Sends a response to its end.
pub(super) async fn send(x: &mut Exchange<'_>, response: Response) -> Sent {
    let Response { mut head, mut body, tunnel, keep, .. } = response;
    if let Some(upstream) = tunnel {
        return run_tunnel(x, &head, upstream).await;
    }
    complete(&mut head, &body);
    let length = if body.is_end() { Some(0) } else { body.length() };
    let keep = keep && !x.control.is_draining();
    let has_body = match x.responder.head(&head, length, keep) {
        Ok(has_body) => has_body,
        Err(error) => return Sent { error: Some(error), ..Sent::default() },
    };
    let idle = x.facts.route.and_then(|route| x.view.snapshot.routes.get(route)).map(|route| route.times.idle_body);
    let idle = idle.unwrap_or(x.view.snapshot.limits.body_idle_time);
    let (bytes, error) = match has_body {
        true => pump(x, &mut body, idle).await,
        false => (0, flush(x, idle).await.err()),
    };
    if error.is_some() {
        x.responder.abort();
    }
    Sent { begun: true, bytes, error }
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

async fn pump(x: &mut Exchange<'_>, body: &mut Body, idle: Duration) -> (u64, Option<Error>) {
    let mut pump = Pump::default();
    let mut moved = None;
    let mut deadline = None;
    let (responder, watchdog, overall) = (&mut x.responder, &mut *x.watchdog, x.deadline);
    let result = poll_fn(|cx| match pump.poll(body, responder, cx) {
        Poll::Ready(result) => Poll::Ready(result),
        Poll::Pending => {
            let state = (pump.moved, pump.waiting_for);
            if moved != Some(state) {
                let side = if pump.waiting_for == WaitingFor::Source { Side::Upstream } else { Side::Client };
                moved = Some(state);
                deadline = Some(Deadline::after(idle, Phase::BodyIdle, side).or(overall));
            }
            if pump.waiting_for == WaitingFor::Source
                && let Poll::Ready(error) = responder.poll_gone(cx)
            {
                return Poll::Ready(Err(error));
            }
            let Some(deadline) = deadline else { return Poll::Pending };
            watchdog.poll_passed(deadline.at, cx).map(|()| Err(deadline.error()))
        }
    })
    .await;
    (pump.moved, result.err())
}

async fn run_tunnel(x: &mut Exchange<'_>, head: &ResponseHead, upstream: Box<dyn crate::http::Duplex>) -> Sent {
    let body = std::mem::take(&mut x.body);
    let mut client = match x.responder.upgrade(head, body) {
        Ok(client) => client,
        Err(error) => return Sent { error: Some(error), ..Sent::default() },
    };
    // Nobody speaks before the client knows that it may.
    if let Err(error) = client.flush().await {
        return Sent { begun: true, error: Some(Error::io(&error, Side::Client)), ..Sent::default() };
    }
    x.worker.metrics.tunnel_opened();
    let outcome = tunnel::run(client, upstream, x.view.snapshot.limits.tunnel_idle_time).await;
    x.worker.metrics.tunnel_closed();
    x.facts.bytes_in.get_or_insert_default().set(outcome.upwards);
    Sent { begun: true, bytes: outcome.downwards, error: outcome.error }
}
