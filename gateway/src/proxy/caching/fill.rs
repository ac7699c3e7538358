//! A request to the pool that belongs to no client: it fills the cache, for whoever waits.
//!
//! In: a copy of the request that wants it, and what is kept of the answer. Out: how it landed, to the flight and to the client that
//! began it. It goes on when that client leaves, and the worker does not leave before it.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::keep::{self, Wanted};
use super::known::{Known, Met};
use super::{Quest, pass};
use crate::cache::Entry;
use crate::cache::body::Reader;
use crate::cache::flight::{Key, Lead};
use crate::cache::key::Way;
use crate::cache::policy::directives::RequestDirectives;
use crate::cache::policy::storable::NotKept;
use crate::cache::store::Landing;
use crate::cache::tiers::Home;
use crate::clock::{self, Deadline, Watchdog};
use crate::error::{Error, Kind, Phase, Side};
use crate::http::{Body, Fields, Method, Nobody, RequestHead, Responder, ResponseHead, name};
use crate::proxy::exchange::{Client, Exchange, Facts, Response};
use crate::proxy::{forward, plugins};
use crate::respond;
use crate::worker::{View, Worker};

/// A request to be made.
pub(super) struct Fill {
    worker: Rc<Worker>,
    view: Rc<View>,
    client: Rc<Client>,
    facts: Facts,
    request: RequestHead,
    pool: usize,
    asked: RequestDirectives,
    url: String,
    place: Way,
    home: Option<Home>,
    known: Known,
    key: Key,
    lead: Option<Lead<Landing>>,
    first: oneshot::Sender<Filled>,
    nobody: Nobody,
}

/// How it came out, for the client that began it.
pub(super) enum Filled {
    /// There is an entry.
    Kept(Box<Begun>),
    /// There is none: the response is for this client alone.
    Passed(Box<Response>, Option<NotKept>, Box<Facts>),
    /// There is no response.
    Failed(Error, Box<Facts>),
}

/// An entry, complete or coming.
pub(super) struct Begun {
    pub(super) entry: Arc<Entry>,
    /// As the origin sent it; `None` when what was kept holds.
    pub(super) head: Option<ResponseHead>,
    /// What the origin sent beside, for this client alone.
    pub(super) cookies: Fields,
    /// Whether it can be given again.
    pub(super) is_stored: bool,
    pub(super) facts: Facts,
    /// Keeps the begin of the body until somebody reads it.
    pub(super) hold: Option<Reader>,
}

impl Fill {
    pub(super) fn new(
        x: &Exchange<'_>,
        quest: &Quest<'_>,
        known: Known,
        key: Key,
        lead: Option<Lead<Landing>>,
        first: oneshot::Sender<Filled>,
        nobody: Nobody,
    ) -> Fill {
        Fill {
            worker: x.worker.clone(),
            view: quest.view.clone(),
            client: x.client.clone(),
            facts: x.facts.beside(x.client),
            // A HEAD may want what is kept to be asked for again.
            request: RequestHead { method: Method::GET, ..x.request.clone() },
            pool: quest.pool,
            asked: quest.asked.clone(),
            url: quest.url_text(),
            place: quest.place.clone(),
            home: quest.home(x),
            known,
            key,
            lead,
            first,
            nobody,
        }
    }

    /// Makes it.
    pub(super) async fn run(self) {
        let Fill {
            worker,
            view,
            client,
            facts,
            mut request,
            pool,
            asked,
            url,
            place,
            home,
            known,
            key,
            mut lead,
            first,
            nobody,
        } = self;
        let (store, whose) = (worker.shared.cache.clone(), place.clone());
        let registered = worker.register();
        let Some((index, route)) = facts.route.and_then(|index| Some((index, view.snapshot.routes.get(index)?))) else {
            return;
        };
        let Some(caching) = &route.caching else { return };
        let mut watchdog = Watchdog::default();
        known.condition(&mut request.fields);
        let time = route.times.request;
        let mut x = Exchange {
            worker: &worker,
            view: view.clone(),
            client: &client,
            control: &registered.control,
            request,
            body: Body::Empty,
            refused: None,
            responder: Responder::Nobody(nobody),
            watchdog: &mut watchdog,
            deadline: time.map(|time| Deadline::after(time, Phase::Request, Side::Upstream)),
            facts,
        };
        // The request that wanted it is told of, not this one.
        x.facts.told = true;
        x.facts.route = Some(index);
        let (mut requested, changes) = (clock::second(), store.changes());
        let mut result = forward::forward(&mut x, &view, pool, route).await;
        let mut holds = None;
        match result.as_mut().ok().map(|response| known.meet(response, &caching.rules)) {
            None | Some(Met::Answer) => {}
            Some(Met::Holds(kept)) => holds = Some(kept),
            Some(Met::Other) => {
                drop(result);
                Known::Nothing.condition(&mut x.request.fields);
                requested = clock::second();
                result = forward::forward(&mut x, &view, pool, route).await;
            }
        }
        let mut response = match result {
            Ok(response) => response,
            Err(error) => {
                lead.iter().for_each(|lead| lead.land(Landing::Failed(error)));
                let _ = first.send(Filled::Failed(error, Box::new(facts_of(&mut x))));
                return;
            }
        };
        let status = response.head.status;
        let renewed = holds.map(|kept| {
            let fields = kept.fresh_fields(&response.head.fields, &caching.rules);
            (kept, fields)
        });
        let shown = renewed.as_ref().map(|(kept, fields)| (kept.status, fields));
        let advice = plugins::on_fetch(&mut x, &view, route, &response.head, shown);
        let wanted = Wanted {
            store: &store,
            caching,
            url,
            place,
            home,
            request: &x.request,
            directives: &asked,
            times: keep::times(requested),
            advice: &advice,
        };
        if let Some((kept, fields)) = renewed {
            let (entry, may_keep) = wanted.freshened(&kept, fields);
            let is_past = || lead.as_ref().map_or_else(|| store.changes() != changes, Lead::is_doomed);
            match may_keep {
                Ok(()) => store.unless_past(entry.url.as_bytes(), is_past, |store| store.keep(entry.clone())),
                Err(why) if !keep::is_of_request(why) => store.forget(&key),
                // What is kept is for others yet.
                Err(_) => {}
            }
            match may_keep {
                Ok(()) => lead.iter().for_each(|lead| lead.land(Landing::Shared(entry.clone()))),
                Err(why) => land_alone(&mut lead, why),
            }
            respond::tell_pool(&x, 0);
            let mut cookies = Fields::new();
            for cookie in response.head.fields.values(name::SET_COOKIE) {
                // It was a field before, so it is one.
                let _ = cookies.append(name::SET_COOKIE, cookie);
            }
            let (hold, facts) = (entry.body.read(), facts_of(&mut x));
            let is_stored = may_keep.is_ok();
            let _ = first.send(Filled::Kept(Box::new(Begun { entry, head: None, cookies, is_stored, facts, hold })));
            return;
        }
        if known.after().refusal && pass::is_refusal(status) {
            lead.iter().for_each(|lead| lead.land(Landing::Refused(status)));
            return hand_over(&mut x, first, response, None);
        }
        match wanted.begin(&mut response) {
            Err(why) => {
                keep::note(&store, &key, &whose, why, status);
                land_alone(&mut lead, why);
                hand_over(&mut x, first, response, Some(why));
            }
            Ok(pouring) => {
                let entry = pouring.entry.clone();
                let (hold, facts) = (entry.body.read(), facts_of(&mut x));
                lead.iter().for_each(|lead| lead.land(Landing::Shared(entry.clone())));
                let (head, cookies) = (Some(response.head), Fields::new());
                let begun = Begun { entry, head, cookies, is_stored: true, facts, hold };
                let _ = first.send(Filled::Kept(Box::new(begun)));
                let (bytes, ended) = pouring.pour(&worker, &key, route.times.idle_body, changes, lead).await;
                x.facts.error = ended.err();
                respond::tell_pool(&x, bytes);
            }
        }
    }
}

/// There is nothing for those who wait. Where that lies in this request, one of them leads in its place.
fn land_alone(lead: &mut Option<Lead<Landing>>, why: NotKept) {
    match keep::is_of_request(why) {
        true => *lead = None,
        false => lead.iter().for_each(|lead| lead.land(Landing::Alone(why))),
    }
}

/// What is known of it now.
fn facts_of(x: &mut Exchange<'_>) -> Facts {
    let mut facts = x.facts.beside(x.client);
    facts.adopt(&mut x.facts);
    facts
}

/// Gives a response that is not kept to the client that began it, if that is still there.
fn hand_over(x: &mut Exchange<'_>, first: oneshot::Sender<Filled>, response: Response, why: Option<NotKept>) {
    let mut facts = facts_of(x);
    // Who sends it tells the pool.
    facts.answered = x.facts.answered;
    if first.send(Filled::Passed(Box::new(response), why, Box::new(facts))).is_err() {
        x.facts.error = Some(Error::client(Kind::Closed));
        respond::tell_pool(x, 0);
    }
}
