//! From a pool's response to an entry: whether it may be kept, and how its body comes in.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::balance::{Active, Stay};
use crate::cache::Entry;
use crate::cache::body::{Filler, Shared};
use crate::cache::entry::Asked;
use crate::cache::flight::{Key, Lead};
use crate::cache::key::Way;
use crate::cache::policy::advice::Advice;
use crate::cache::policy::directives::{RequestDirectives, ResponseDirectives};
use crate::cache::policy::freshness::Times;
use crate::cache::policy::storable::{self, NotKept};
use crate::cache::store::{Landing, Room, Store};
use crate::cache::tiers::Home;
use crate::clock::{self, Deadline, Watchdog};
use crate::error::{Error, Phase, Side};
use crate::http::{Body, Fields, Frame, Method, RequestHead, StatusCode};
use crate::proxy::exchange::Response;
use crate::snapshot::Caching;
use crate::worker::Worker;

/// Something that was asked for so that the answer may be kept.
pub(super) struct Wanted<'a> {
    pub(super) store: &'a Arc<Store>,
    pub(super) caching: &'a Caching,
    pub(super) url: String,
    pub(super) place: Way,
    /// Where it belongs on disk.
    pub(super) home: Option<Home>,
    /// As the origin got it.
    pub(super) request: &'a RequestHead,
    pub(super) directives: &'a RequestDirectives,
    pub(super) times: Times,
    /// What plugins say of keeping the answer.
    pub(super) advice: &'a Advice,
}

/// A body on its way into an entry.
pub(super) struct Pouring {
    pub(super) entry: Arc<Entry>,
    filler: Filler,
    room: Room,
    body: Body,
    /// What the pool counts until the body is over.
    held: (Option<Active>, [Option<Stay>; 2]),
}

impl Wanted<'_> {
    fn may_keep(&self, status: StatusCode, fields: &Fields, directives: &ResponseDirectives) -> Result<(), NotKept> {
        // A HEAD says of what a GET has brought whether it may be kept on.
        let (fields_asked, directives_asked) = (&self.request.fields, self.directives);
        let asked = storable::Asked {
            method: &Method::GET,
            fields: fields_asked,
            directives: directives_asked,
            advice: self.advice,
        };
        storable::may_keep(asked, status, fields, directives, &self.caching.rules)
    }

    /// An entry for the response, whose body then comes in; or why there is none.
    pub(super) fn begin(self, response: &mut Response) -> Result<Pouring, NotKept> {
        let (head, rules) = (&response.head, &self.caching.rules);
        let directives = ResponseDirectives::of(&head.fields);
        self.may_keep(head.status, &head.fields, &directives)?;
        let most = rules.largest.min(self.store.largest());
        let announced = response.body.length();
        let mut room = self.store.room();
        if announced.is_some_and(|length| length > most || !room.grow(self.store, length)) {
            return Err(NotKept::Size);
        }
        let (body, filler) = Shared::coming(announced, most);
        let (fields, advice) = (&self.request.fields, self.advice);
        let asked = Asked { url: self.url, place: self.place, fields, advice };
        let entry = Entry::new(asked, (head.status, &head.fields), body, self.times, rules).at_home(self.home);
        let entry = Arc::new(entry);
        let held = (response.active.take(), std::mem::take(&mut response.stays));
        Ok(Pouring { entry, filler, room, body: std::mem::take(&mut response.body), held })
    }

    /// What is kept, after the origin said that it still holds, and these are its fields; and why it is not kept on, if so.
    pub(super) fn freshened(&self, kept: &Entry, fields: Fields) -> (Arc<Entry>, Result<(), NotKept>) {
        let rules = &self.caching.rules;
        let renewed = kept.freshened(&self.request.fields, fields, self.times, rules, self.advice);
        let may_keep = self.may_keep(renewed.status, &renewed.fields, &renewed.directives);
        (Arc::new(renewed), may_keep)
    }
}

/// When an answer came to what was asked then.
pub(super) fn times(requested: u64) -> Times {
    Times { requested, received: clock::second() }
}

/// Notes that what was asked for cannot be kept, where that is so for everybody.
pub(super) fn note(store: &Store, key: &[u8], place: &Way, why: NotKept, status: StatusCode) {
    let is_of_request = matches!(why, NotKept::RequestNoStore | NotKept::Authorization | NotKept::Method);
    let is_of_moment = status.is_server_error() || matches!(status.as_u16(), 206 | 304 | 412 | 416);
    if !is_of_request && !is_of_moment {
        store.note(key, place, why, clock::second());
    }
}

impl Pouring {
    /// Takes the body in, for all who read it, and keeps it when it is complete. `changes` and `lead` tell whether it was thrown
    /// away before. Gives the bytes that came.
    pub(super) async fn pour(
        self,
        worker: &Rc<Worker>,
        key: &Key,
        idle: Duration,
        changes: u64,
        mut lead: Option<Lead<Landing>>,
    ) -> (u64, Result<(), Error>) {
        let store = &worker.shared.cache;
        let Pouring { entry, filler, mut room, mut body, held: _held } = self;
        let (mut watchdog, mut bytes, mut is_kept) = (Watchdog::default(), 0, true);
        let announced = entry.body.length().is_some();
        let ended = loop {
            if !poll_fn(|cx| filler.poll_room(cx)).await {
                // Nobody wants it any more.
                return (bytes, Ok(()));
            }
            let deadline = Deadline::after(idle, Phase::BodyIdle, Side::Upstream);
            let frame = async { body.frame().await.transpose() };
            match watchdog.within(deadline, frame).await {
                Ok(Some(Frame::Data(data))) => {
                    let size = data.len() as u64;
                    bytes += size;
                    if body.is_end() {
                        break Ok((Some(data), None));
                    }
                    if is_kept && !announced && !room.grow(store, size) {
                        filler.keep_no_more();
                    }
                    if !filler.add(data) && is_kept {
                        // Nobody can join any more.
                        is_kept = false;
                        lead = None;
                        store.note(key, &entry.place, NotKept::Size, clock::second());
                    }
                }
                Ok(Some(Frame::Trailers(trailers))) => break Ok((None, Some(trailers))),
                Ok(None) => break Ok((None, None)),
                Err(error) => break Err(error),
            }
        };
        let (last, trailers) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                filler.fail(error);
                return (bytes, Err(error));
            }
        };
        // Whoever has read it to its end finds it from then on.
        let _sleepers = filler.finish(last, trailers);
        let is_past = match &lead {
            Some(lead) => lead.is_doomed(),
            None => store.changes() != changes,
        };
        if entry.body.is_whole() && !is_past {
            store.keep(entry);
        }
        (bytes, Ok(()))
    }
}
