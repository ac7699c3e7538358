//! A request's body on its way through: counted, and without trailers that claim what only we may say.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::forwarded::is_forwarding;
use crate::error::Error;
use crate::http::{Body, Fields, Frame, Source, hygiene};
use crate::worker::View;

/// A body whose bytes are counted and whose trailers are looked through.
struct Incoming {
    body: Body,
    count: Rc<Cell<u64>>,
    view: Rc<View>,
}

/// The body as upstreams may have it.
pub(super) fn watched(body: Body, counter: &mut Option<Rc<Cell<u64>>>, view: &Rc<View>) -> Body {
    match body {
        Body::Empty => Body::Empty,
        body => {
            let count = counter.get_or_insert_default().clone();
            Body::source(Incoming { body, count, view: view.clone() })
        }
    }
}

impl Source for Incoming {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        let mut frame = self.body.poll_frame(cx);
        match &mut frame {
            Poll::Ready(Some(Ok(Frame::Data(data)))) => self.count.set(self.count.get() + data.len() as u64),
            Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => strip(trailers, &self.view),
            _ => {}
        }
        frame
    }

    fn length(&self) -> Option<u64> {
        self.body.length()
    }

    fn is_end(&self) -> bool {
        self.body.is_end()
    }
}

/// Some servers take trailers for header fields. What would be believed there is not for a client to say.
fn strip(trailers: &mut Fields, view: &View) {
    let snapshot = &view.snapshot;
    let ours = || snapshot.identity_fields.iter().chain(&snapshot.config.forwarded.request_id);
    hygiene::strip_lookalikes(trailers);
    trailers
        .retain(|field, _| !is_forwarding(field) && !ours().any(|name| hygiene::is_alike(field.text(), name.text())));
}
