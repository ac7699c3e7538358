//! One request on an upstream's HTTP/2 connection: its body goes out while its response comes in.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::client::{ClientStream, Handle};
use super::handle::{Event, Reply, SendStream, Tunnel};
use crate::error::{Error, Side};
use crate::http::pump::{Outlet, Pump, WaitingFor};
use crate::http::{Body, Fields, Frame, RequestHead, Source};

/// A request that was sent.
pub struct Exchange {
    reply: Reply,
    upload: Upload,
    /// The upstream has said something already.
    heard: bool,
}

struct Upload {
    body: Body,
    pump: Pump,
    /// `None` when the body is sent, or nobody wants it any more.
    outlet: Option<SendStream>,
}

struct ResponseBody {
    body: Body,
    upload: Upload,
}

impl Exchange {
    /// Sends a request. The body comes back when the connection does not take it. A tunnel's stream stays open.
    pub fn send(handle: &Handle, head: &RequestHead, body: Body, body_limit: u64) -> Result<Exchange, (Error, Body)> {
        let tunnel = head.upgrade.is_some();
        let end = body.is_end() && !tunnel;
        match handle.send(head, end) {
            Ok(ClientStream { body: outlet, reply }) => {
                let outlet = Some(outlet).filter(|_| !end);
                Ok(Exchange { reply, upload: Upload { body, pump: Pump::limited(body_limit), outlet }, heard: false })
            }
            Err(error) => Err((error, body)),
        }
    }

    /// The next thing that the upstream says; sends the request's body meanwhile.
    pub fn poll_event(&mut self, tunnel: bool, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        if !tunnel {
            self.upload.poll(cx)?;
        }
        let event = self.reply.poll_event(cx);
        self.heard |= matches!(event, Poll::Ready(Ok(_)));
        event
    }

    /// How many bytes of the request's body were sent, and whether it is all of it.
    pub fn uploaded(&self) -> (u64, bool) {
        (self.upload.pump.moved, self.upload.outlet.is_none())
    }

    /// Whom the upload waits for.
    pub fn upload_waits_for(&self) -> WaitingFor {
        self.upload.pump.waiting_for
    }

    /// The request's body, when nothing of it was taken, so that it can be sent elsewhere.
    pub fn recover(self) -> Option<Body> {
        (self.upload.pump.moved == 0 && !self.heard).then_some(self.upload.body)
    }

    /// The response's body, which also drives what is left of the request's.
    pub fn into_body(self, body: Body) -> Body {
        match self.upload.outlet {
            None => body,
            Some(_) => Body::source(ResponseBody { body, upload: self.upload }),
        }
    }

    /// The stream of an accepted extended CONNECT.
    pub fn into_tunnel(self, body: Body) -> Option<Tunnel> {
        self.upload.outlet.map(|outlet| Tunnel::new(body, outlet))
    }
}

impl Upload {
    /// Sends what can be sent. An error is the client's; the upstream's own are told by what it answers.
    fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let Some(outlet) = &mut self.outlet else { return Ok(()) };
        match self.pump.poll(&mut self.body, outlet, cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Err(error)) if error.side != Side::Upstream => Err(error),
            Poll::Ready(_) => {
                self.outlet = None;
                Ok(())
            }
        }
    }
}

impl Source for ResponseBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        self.upload.poll(cx)?;
        self.body.poll_frame(cx)
    }

    fn length(&self) -> Option<u64> {
        self.body.length()
    }

    fn is_end(&self) -> bool {
        self.body.is_end()
    }
}

impl Outlet for SendStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        SendStream::poll_ready(self, cx)
    }

    fn data(&mut self, data: Bytes, last: bool) -> Result<(), Error> {
        self.send_data(data, last);
        Ok(())
    }

    fn trailers(&mut self, trailers: &Fields) -> Result<(), Error> {
        self.send_trailers(trailers);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        self.send_data(Bytes::new(), true);
        Ok(())
    }

    /// The connection's own task writes.
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }
}
