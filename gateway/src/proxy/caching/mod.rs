//! The stage of the cache: what is kept is given again, and what is not is asked for, once for all who want it.
//!
//! In: a request that is to go to a pool. Out: a response, from what is kept or from the pool. What is found decides at once, in
//! [`Quest::look`], without a wait, a lock or memory of its own; everything else is boxed, so that requests that need none of it
//! do not pay for its room. Requests to the pool that others may wait for are tasks of their own ([`fill`]), so that no client
//! who leaves takes others along.

mod disk;
mod fill;
mod keep;
mod known;
mod pass;
mod together;

use pass::tell;

use std::rc::Rc;

use super::exchange::{Exchange, Response};
use crate::cache::flight::{BELOW, Key};
use crate::cache::key::{self, Url, Way};
use crate::cache::parts::Parts;
use crate::cache::policy::directives::RequestDirectives;
use crate::cache::policy::reuse::{Course, Failures, Why, course};
use crate::cache::policy::storable::NotKept;
use crate::cache::store::{Found, Store};
use crate::cache::{CacheStatus, Entry, Told, answer};
use crate::clock;
use crate::error::{Error, Kind, Phase, Side};
use crate::http::claims::is_alike;
use crate::http::{Body, Fields, Method, Name, ResponseHead, StatusCode, name};
use crate::route::{cookie_fits, header_fits};
use crate::snapshot::{Caching, CompiledRoute, place};
use crate::worker::View;

use std::sync::Arc;

/// What some servers take for the method, the host or the target, whatever the request itself says. It is in no key, so what is made
/// of it must not be kept. Where it is said by those who may, it is still here.
const OVERRIDES: &[&str] = &[
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// In any of the spellings that mean the same to some servers.
fn is_override(field: Name<'_>) -> bool {
    match field {
        Name::Text(text) => text.starts_with('x') && OVERRIDES.iter().any(|name| is_alike(text, name)),
        Name::Known(_) => false,
    }
}

/// A request, as the cache looks at it.
struct Quest<'v> {
    view: &'v Rc<View>,
    pool: usize,
    route: &'v CompiledRoute,
    caching: &'v Caching,
    url: Url,
    place: Way,
    asked: RequestDirectives,
}

/// What is done next.
enum Next {
    /// This is the answer.
    Answer(Response),
    /// It goes to the pool, and nothing of it is kept.
    Past(CacheStatus, Option<&'static str>),
    /// It goes to the pool, and the answer may be kept.
    Ask(Ask),
}

/// Why the pool is asked.
struct Ask {
    why: CacheStatus,
    detail: Option<&'static str>,
    /// What is kept, and may still hold.
    kept: Option<Arc<Entry>>,
    /// Parts of the answer.
    parts: Option<Arc<Parts>>,
    /// After which failures what is kept is the answer after all.
    after: Failures,
    /// Whether one answer is for all who ask at the same time.
    together: bool,
    /// Where the answer would stand.
    key: Option<Key>,
}

/// Has the request answered from the cache, or by the pool.
pub(super) async fn respond(
    x: &mut Exchange<'_>,
    view: &Rc<View>,
    pool: usize,
    route: &CompiledRoute,
    caching: &Caching,
) -> Result<Response, Error> {
    let quest = Quest::new(x, view, pool, route, caching);
    let response = match quest.look(x, clock::second()) {
        Next::Answer(response) => Ok(response),
        next => Box::pin(quest.go(x, next)).await,
    };
    response.map(|mut response| {
        if let Some(told) = &x.facts.cache {
            told.write(&mut response.head.fields);
        }
        response
    })
}

impl<'v> Quest<'v> {
    fn new(
        x: &Exchange<'_>,
        view: &'v Rc<View>,
        pool: usize,
        route: &'v CompiledRoute,
        caching: &'v Caching,
    ) -> Quest<'v> {
        // A URL is what the client asked for; where that leads, and as what, is the place.
        let mut place = caching.place;
        let mut mix = |more: u64| place = (place.rotate_left(5) ^ more).wrapping_mul(0x517c_c1b7_2722_0a95);
        mix(view.snapshot.pools.get(pool).map_or(0, |pool| pool.id.number().into()));
        let target = match (&x.facts.original_target, &route.model.rewrite) {
            (Some(original), Some(_)) => {
                mix(self::place(&x.request.target));
                original
            }
            _ => &x.request.target,
        };
        let authority = match &x.facts.original_authority {
            Some(original) => {
                mix(self::place(&x.request.authority));
                original
            }
            None => &x.request.authority,
        };
        let asked = match caching.rules.obey_clients {
            true => RequestDirectives::of(&x.request.fields),
            false => RequestDirectives::default(),
        };
        let url = key::url(x.facts.scheme, authority, target, &caching.query);
        let part = x.facts.wishes.as_ref().map(|wishes| wishes.part().clone()).unwrap_or_default();
        Quest { view, pool, route, caching, url, place: Way { number: place, part }, asked }
    }

    /// What is done, by what is kept.
    fn look(&self, x: &mut Exchange<'_>, now: u64) -> Next {
        if let Some((status, detail)) = self.why_past(x) {
            return Next::Past(status, detail);
        }
        let store = store(x);
        let (found, key) = store.find(&self.url, &self.place, &x.request.fields, now);
        let mut ask = Ask {
            why: CacheStatus::UriMiss,
            detail: None,
            kept: None,
            parts: None,
            after: Failures::default(),
            together: x.request.method == Method::GET && !has_conditions(&x.request.fields),
            key,
        };
        match found {
            Found::Entry(entry) => {
                if let Some(response) = self.use_it(x, &entry, &mut ask, now) {
                    return Next::Answer(response);
                }
            }
            Found::Varies => ask.why = CacheStatus::VaryMiss,
            Found::Nothing => {}
            Found::Uncacheable(why) => (ask.together, ask.detail) = (false, Some(why.word())),
        }
        if let Some(response) = self.look_at_parts(x, &mut ask, now) {
            return Next::Answer(response);
        }
        if self.demands_an_own_answer() {
            ask.together = false;
        }
        Next::Ask(ask)
    }

    /// The answer out of parts of a response (RFC 9111 section 3.3), where there is no whole; or what the rest is asked for by.
    fn look_at_parts(&self, x: &mut Exchange<'_>, ask: &mut Ask, now: u64) -> Option<Response> {
        if ask.kept.is_some() || ask.detail.is_some() || x.request.method != Method::GET {
            return None;
        }
        let parts = store(x).parts(&self.url, &self.place, &x.request.fields)?;
        if !x.request.fields.contains(name::RANGE) {
            if !has_conditions(&x.request.fields) {
                (ask.why, ask.parts) = (CacheStatus::Partial, Some(parts));
            }
            return None;
        }
        ask.why = CacheStatus::Partial;
        if course(&parts.head.kept(now), &self.asked, &self.caching.rules) != Course::Serve {
            return None;
        }
        let (head, body) = answer::part(&parts, now, &x.request)?;
        parts.head.used();
        x.facts.cache = Some(Told { ttl: Some(parts.head.ttl(now)), ..Told::new(CacheStatus::Hit) });
        Some(Response::new(head, body))
    }

    fn demands_an_own_answer(&self) -> bool {
        self.asked.no_cache || self.asked.max_age == Some(0)
    }

    /// The answer out of what was found; or how the pool is asked instead.
    fn use_it(&self, x: &mut Exchange<'_>, entry: &Arc<Entry>, ask: &mut Ask, now: u64) -> Option<Response> {
        let kept = entry.kept(now);
        match course(&kept, &self.asked, &self.caching.rules) {
            Course::Serve => {
                let response = self.hit(x, entry, now);
                ask.together &= response.is_some();
                response
            }
            Course::ServeAndRenew => {
                let response = self.hit(x, entry, now);
                match response {
                    Some(_) => together::renew(x, self, entry.clone(), ask.key.take()),
                    None => ask.together = false,
                }
                response
            }
            Course::Ask { after, why } => {
                ask.why = match why {
                    Why::Stale => CacheStatus::Stale,
                    Why::Request => CacheStatus::Request,
                };
                ask.after = after;
                // What is never fresh is asked for by each; and what a request demands may be newer than what others did.
                let is_ever_fresh = kept.lifetime > 0 && !kept.directives.no_cache.is_whole();
                ask.together = x.request.method == Method::GET && why == Why::Stale && is_ever_fresh;
                ask.kept = Some(entry.clone());
                None
            }
        }
    }

    /// Why a request goes past the cache, if it does.
    fn why_past(&self, x: &Exchange<'_>) -> Option<(CacheStatus, Option<&'static str>)> {
        let request = &x.request;
        if request.upgrade.is_some() {
            return Some((CacheStatus::Bypass, Some("upgrade")));
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return Some((CacheStatus::Method, None));
        }
        if x.facts.wishes.as_ref().is_some_and(|wishes| wishes.is_past()) {
            return Some((CacheStatus::Bypass, Some("plugin")));
        }
        let bypass = &self.caching.bypass;
        if bypass.headers.iter().any(|(field, pattern)| header_fits(field, pattern, request))
            || bypass.cookies.iter().any(|(name, pattern)| cookie_fits(name, pattern, request))
        {
            return Some((CacheStatus::Bypass, None));
        }
        // RFC 9110 section 9.3.1: what content means in a GET is for the origin alone to know.
        if !matches!(x.body, Body::Empty) {
            return Some((CacheStatus::Bypass, Some("content")));
        }
        if request.fields.iter().any(|(field, _)| is_override(field)) {
            return Some((CacheStatus::Bypass, Some("override")));
        }
        // Only the origin can tell (RFC 9111 section 4.3.2).
        if request.fields.contains(name::IF_MATCH) || request.fields.contains(name::IF_UNMODIFIED_SINCE) {
            return Some((CacheStatus::Bypass, Some("condition")));
        }
        if self.asked.no_store {
            return Some((CacheStatus::Request, Some(NotKept::RequestNoStore.word())));
        }
        None
    }

    /// The answer out of what is kept.
    fn hit(&self, x: &mut Exchange<'_>, entry: &Arc<Entry>, now: u64) -> Option<Response> {
        let given = answer::answer(entry, answer::head(entry, now, false), &x.request)?;
        entry.used();
        x.facts.cache = Some(Told { ttl: Some(entry.ttl(now)), ..Told::new(CacheStatus::Hit) });
        Some(self.given(entry, given))
    }

    /// A response that was made of an entry; where responses are compressed, it says so.
    fn given(&self, entry: &Arc<Entry>, (head, body): (ResponseHead, Body)) -> Response {
        let kept = self.route.model.compress.is_some().then(|| entry.clone());
        Response { kept, ..Response::new(head, body) }
    }

    /// What takes longer.
    async fn go(&self, x: &mut Exchange<'_>, next: Next) -> Result<Response, Error> {
        let mut ask = match next {
            Next::Answer(response) => return Ok(response),
            Next::Past(..) if self.asked.only_if_cached && self.may_be_kept(x) => return Ok(self.nothing_kept(x)),
            Next::Past(status, detail) => return pass::past(x, self, status, detail).await,
            Next::Ask(ask) => ask,
        };
        if let Some(entry) = disk::read(x, self, &ask).await? {
            if let Some(response) = self.use_it(x, &entry, &mut ask, clock::second()) {
                tell(x, |told| told.detail = Some("disk"));
                return Ok(response);
            }
            ask.together &= !self.demands_an_own_answer();
        }
        if self.asked.only_if_cached {
            return Ok(self.nothing_kept(x));
        }
        x.facts.cache = Some(Told { detail: ask.detail, ..Told::new(ask.why) });
        together::ask(x, self, &ask).await
    }

    fn may_be_kept(&self, x: &Exchange<'_>) -> bool {
        matches!(x.request.method, Method::GET | Method::HEAD)
    }

    /// RFC 9111 section 5.2.1.7.
    fn nothing_kept(&self, x: &mut Exchange<'_>) -> Response {
        let detail = Some("only-if-cached");
        x.facts.cache = Some(Told { detail, is_local: true, ..Told::new(CacheStatus::Request) });
        Response::new(ResponseHead::new(StatusCode::GATEWAY_TIMEOUT), Body::Empty)
    }

    fn forward_to(&self) -> (&Rc<View>, usize, &CompiledRoute) {
        (self.view, self.pool, self.route)
    }

    /// The key of those who ask for the same, of the same pool. `below` is where it stands, below its URL.
    fn flight(&self, below: Option<&Key>) -> Key {
        below.cloned().unwrap_or_else(|| self.beside(&[]))
    }

    /// The key of those who want the same of all that stand below a URL. Nothing stands under it.
    fn beside(&self, more: &[u8]) -> Key {
        let mut key = self.url.to_vec();
        key.push(BELOW);
        self.place.write(&mut key);
        key.extend_from_slice(more);
        key.into()
    }

    /// The key of what is asked for.
    fn key(&self, ask: &Ask) -> Key {
        ask.key.clone().unwrap_or_else(|| Key::from(&*self.url))
    }

    fn url_text(&self) -> String {
        String::from_utf8_lossy(&self.url).into_owned()
    }
}

fn store<'x>(x: &Exchange<'x>) -> &'x Arc<Store> {
    &x.worker.shared.cache
}

/// Whether a request wants less than a whole response, so that its answer may be none for others.
fn has_conditions(fields: &Fields) -> bool {
    [name::RANGE, name::IF_NONE_MATCH, name::IF_MODIFIED_SINCE].into_iter().any(|field| fields.contains(field))
}

/// Whether a pool failed so that what is stale may do: it could not be reached, broke off, or has no room for the request. Whatever keeps
/// the request from it, there is no way to the origin (RFC 9111 section 4.2.4).
fn is_silence(error: Error) -> bool {
    let no_way = [Kind::NoEndpoint, Kind::Overloaded, Kind::Shed, Kind::Connect, Kind::Timeout(Phase::Queue)];
    error.side == Side::Upstream || no_way.contains(&error.kind)
}

/// What is stale, since the origin fails.
fn stale(x: &mut Exchange<'_>, ask: &Ask, answered: Option<StatusCode>) -> Option<Response> {
    let (entry, now) = (ask.kept.as_ref()?, clock::second());
    let (head, body) = answer::answer(entry, answer::head(entry, now, false), &x.request)?;
    entry.used();
    let ttl = Some(entry.ttl(now));
    x.facts.cache = Some(Told { answered, ttl, detail: Some("stale"), ..Told::new(ask.why) });
    Some(Response::new(head, body))
}
