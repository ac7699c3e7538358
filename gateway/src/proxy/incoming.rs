//! A request's body on its way through: counted, held to a pace, and without trailers that claim what only we may say.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::pace::Pace;
use crate::clock;
use crate::error::{Error, Kind, Phase};
use crate::http::claims::{is_alike, is_forwarding, strip_lookalikes};
use crate::http::{Body, FieldName, Fields, Frame, RequestHead, Source};
use crate::worker::View;

/// What came of a request's body, and how fast it has to come.
#[derive(Default)]
pub struct Received {
    bytes: Cell<u64>,
    pace: Cell<Pace>,
    /// The index of the request's route.
    route: Cell<Option<usize>>,
    /// Fields that a plugin has set or removed.
    claimed: RefCell<Vec<String>>,
}

impl Received {
    /// Bytes so far.
    pub fn get(&self) -> u64 {
        self.bytes.get()
    }

    /// Where those are counted that are no body.
    pub fn count(&self) -> &Cell<u64> {
        &self.bytes
    }

    /// Notes the route.
    pub(super) fn enter(&self, route: usize) {
        self.route.set(Some(route));
    }

    /// Notes a field that is not for the client to say any more.
    pub(super) fn claim(&self, field: &str) {
        let mut claimed = self.claimed.borrow_mut();
        if !claimed.iter().any(|known| known == field) {
            claimed.push(field.to_owned());
        }
    }

    /// Takes out of trailers what would be believed and is not for a client to say: some servers take them for header fields.
    fn strip(&self, trailers: &mut Fields, view: &View) {
        let snapshot = &view.snapshot;
        let route = self.route.get().and_then(|route| snapshot.routes.get(route));
        let replaced = route.into_iter().flat_map(|route| route.model.request_headers.replaced());
        let ours: Vec<&FieldName> =
            snapshot.identity_fields.iter().chain(&snapshot.config.forwarded.request_id).chain(replaced).collect();
        let claimed = self.claimed.borrow();
        let is_ours = |field: &str| {
            let mut names = ours.iter().map(|name| name.text()).chain(claimed.iter().map(String::as_str));
            names.any(|name| is_alike(field, name))
        };
        strip_lookalikes(trailers);
        trailers.retain(|field, _| !is_forwarding(field) && !is_ours(field.text()));
    }

    /// Demands so many bytes a second from now on, with a patience of that time; but what follows an upgrade is no body.
    pub(super) fn demand_pace(&self, request: &RequestHead, bytes_per_second: u64, patience: Duration) {
        if request.upgrade.is_none() {
            self.pace.set(Pace::new(bytes_per_second, patience));
        }
    }

    /// Takes the rest at the client's leisure: it may be talking with the upstream.
    pub(super) fn leave_pace(&self) {
        self.pace.set(Pace::default());
    }

    /// Does something to the pace; true when that is kept.
    fn pace(&self, change: impl FnOnce(&mut Pace) -> bool) -> bool {
        let mut pace = self.pace.get();
        if !pace.is_demanded() {
            return true;
        }
        let kept = change(&mut pace);
        self.pace.set(pace);
        kept
    }
}

/// A body whose bytes are counted and whose trailers are looked through.
struct Incoming {
    body: Body,
    received: Rc<Received>,
    view: Rc<View>,
}

/// The body as upstreams may have it.
pub(super) fn watched(body: Body, counter: &mut Option<Rc<Received>>, view: &Rc<View>) -> Body {
    match body {
        Body::Empty => Body::Empty,
        body => {
            let received = counter.get_or_insert_default().clone();
            Body::source(Incoming { body, received, view: view.clone() })
        }
    }
}

impl Source for Incoming {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        let mut frame = self.body.poll_frame(cx);
        match &mut frame {
            Poll::Ready(Some(Ok(Frame::Data(data)))) => {
                let size = data.len() as u64;
                self.received.bytes.set(self.received.bytes.get() + size);
                if !self.received.pace(|pace| pace.came(size, clock::coarse())) {
                    return Poll::Ready(Some(Err(Error::client(Kind::Timeout(Phase::BodyPace)))));
                }
            }
            Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => self.received.strip(trailers, &self.view),
            Poll::Pending => {
                self.received.pace(|pace| pace.waits(clock::coarse()));
            }
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

    fn held_back(&mut self) {
        self.received.pace(|pace| pace.rests(clock::coarse()));
    }
}
