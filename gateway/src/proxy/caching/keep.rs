//! From a pool's response to an entry: whether it may be kept, and how its body comes in.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::balance::{Active, Stay};
use crate::cache::Entry;
use crate::cache::body::{Filler, Shared};
use crate::cache::entry::Asked;
use crate::cache::flight::{Key, Lead};
use crate::cache::key::Way;
use crate::cache::parts::{Parts, Span};
use crate::cache::policy::advice::Advice;
use crate::cache::policy::directives::{RequestDirectives, ResponseDirectives};
use crate::cache::policy::freshness::Times;
use crate::cache::policy::storable::{self, NotKept};
use crate::cache::store::{Landing, Room, Store};
use crate::cache::tiers::Home;
use crate::clock::{self, Deadline, Watchdog};
use crate::error::{Error, Phase, Side};
use crate::http::{Body, Fields, Frame, Method, RequestHead, StatusCode, name};
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
    /// Where it lies in the whole, when it is a part of one.
    part: Option<Span>,
    /// So much is kept of one body.
    most: u64,
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
        if response.head.status == StatusCode::PARTIAL_CONTENT {
            return self.begin_part(response);
        }
        let fields = std::mem::take(&mut response.head.fields);
        let pouring = self.pouring(response, response.head.status, &fields, None);
        response.head.fields = fields;
        pouring
    }

    /// For a part of a response (RFC 9111 section 3.3), where one was asked for and it says which.
    fn begin_part(self, response: &mut Response) -> Result<Pouring, NotKept> {
        let span = Span::of(&response.head.fields).filter(|_| self.request.fields.contains(name::RANGE));
        let span = span.filter(|span| response.body.length() == Some(span.length())).ok_or(NotKept::Status)?;
        let mut fields = response.head.fields.clone();
        for field in [name::CONTENT_RANGE, name::CONTENT_LENGTH] {
            fields.remove(field);
        }
        self.pouring(response, StatusCode::OK, &fields, Some(span))
    }

    fn pouring(
        self,
        response: &mut Response,
        status: StatusCode,
        fields: &Fields,
        part: Option<Span>,
    ) -> Result<Pouring, NotKept> {
        let (directives, rules) = (ResponseDirectives::of(fields), &self.caching.rules);
        self.may_keep(status, fields, &directives)?;
        let most = rules.largest.min(self.store.largest());
        let announced = response.body.length();
        let mut room = self.store.room();
        if announced.is_some_and(|length| length > most) {
            return Err(NotKept::Size);
        }
        if announced.is_some_and(|length| !room.grow(self.store, length)) {
            return Err(NotKept::Room);
        }
        let (body, filler) = Shared::coming(announced, most);
        let asked = Asked { url: self.url, place: self.place, fields: &self.request.fields, advice: self.advice };
        let entry = Entry::new(asked, (status, fields), body, self.times, rules).at_home(self.home);
        let entry = Arc::new(entry);
        let held = (response.active.take(), std::mem::take(&mut response.stays));
        Ok(Pouring { entry, filler, room, body: std::mem::take(&mut response.body), part, most, held })
    }

    /// What is kept, after the origin said that it still holds, and these are its fields; and why it is not kept on, if so.
    pub(super) fn freshened(&self, kept: &Entry, fields: Fields) -> (Arc<Entry>, Result<(), NotKept>) {
        let rules = &self.caching.rules;
        let mut renewed = kept.freshened(&self.request.fields, fields, self.times, rules, self.advice);
        if renewed.vary != kept.vary {
            // It is the answer to this request now, beside the one to which it came.
            renewed = renewed.at_home(self.home.clone());
        }
        let may_keep = self.may_keep(renewed.status, &renewed.fields, &renewed.directives);
        (Arc::new(renewed), may_keep)
    }
}

/// When an answer came to what was asked then.
pub(super) fn times(requested: u64) -> Times {
    Times { requested, received: clock::second() }
}

/// Whether it lies in the request: the answer to another, for the same, may be kept.
pub(super) fn is_of_request(why: NotKept) -> bool {
    matches!(why, NotKept::RequestNoStore | NotKept::Authorization | NotKept::Method)
}

/// Notes that what was asked for cannot be kept, where that is so for everybody.
pub(super) fn note(store: &Store, key: &[u8], place: &Way, why: NotKept, status: StatusCode) {
    let is_of_moment =
        why == NotKept::Room || status.is_server_error() || matches!(status.as_u16(), 206 | 304 | 412 | 416);
    if !is_of_request(why) && !is_of_moment {
        store.note(key, place, why, clock::second());
    }
}

impl Pouring {
    /// Whether it is only a part of what there is.
    pub(super) fn is_part(&self) -> bool {
        self.part.is_some()
    }

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
        let Pouring { entry, filler, mut room, mut body, part, most, held: _held } = self;
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
                    let has_room = !is_kept || announced || room.grow(store, size);
                    if !has_room {
                        filler.keep_no_more();
                    }
                    if !filler.add(data) && is_kept {
                        // Nobody can join any more.
                        is_kept = false;
                        lead = None;
                        room = store.room();
                        if has_room {
                            store.note(key, &entry.place, NotKept::Size, clock::second());
                        }
                    }
                }
                Ok(Some(Frame::Trailers(trailers))) => break Ok((None, Some(trailers))),
                Ok(None) => break Ok((None, None)),
                Err(error) => break Err(error),
            }
        };
        let is_past = || match &lead {
            Some(lead) => lead.is_doomed(),
            None => store.changes() != changes,
        };
        let url = entry.url.as_bytes();
        let (last, trailers) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                if let Some(begin) = begin_of(&entry, &filler).filter(|_| is_kept && part.is_none()) {
                    store.unless_past(url, is_past, |store| store.keep_part(begin, most));
                }
                filler.fail(error);
                return (bytes, Err(error));
            }
        };
        // Whoever has read it to its end finds it from then on.
        let _sleepers = filler.finish(last, trailers);
        if let Some((pieces, _)) = entry.body.pieces() {
            store.unless_past(url, is_past, |store| match part {
                None => store.keep(entry.clone()),
                Some(span) => {
                    let part = Parts::new(&entry, &span, pieces.to_vec());
                    part.into_iter().for_each(|part| store.keep_part(part, most));
                }
            });
        }
        (bytes, Ok(()))
    }
}

/// RFC 9111 section 3.3: what came of a body that broke off is the begin of a whole that can still be asked for.
fn begin_of(entry: &Arc<Entry>, filler: &Filler) -> Option<Parts> {
    let total = entry.body.length().filter(|_| entry.status == StatusCode::OK && entry.strong().is_some())?;
    let came = Bytes::from(filler.came()?.concat());
    let span = Span { range: 0..came.len() as u64, total };
    if came.is_empty() || span.range.end >= total {
        return None;
    }
    Parts::new(entry, &span, vec![came])
}
