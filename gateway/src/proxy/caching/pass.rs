//! Requests that go to the pool by themselves, with their client waiting: what cannot be shared, and what goes past the cache.

use std::borrow::Cow;
use std::sync::Arc;

use super::keep::{self, Wanted};
use super::{Ask, Quest, is_silence, stale, store};
use crate::cache::key;
use crate::cache::policy::advice::Advice;
use crate::cache::store::Store;
use crate::cache::{CacheStatus, Entry, Told, answer};
use crate::clock;
use crate::error::{Error, Kind};
use crate::http::{Body, Fields, Method, ResponseHead, StatusCode, name};
use crate::proxy::exchange::{Exchange, Response};
use crate::proxy::{forward, plugins};
use crate::route::normalise;

/// Past the cache. An unsafe request that had an effect makes what is kept of it stale.
pub(super) async fn past(
    x: &mut Exchange<'_>,
    quest: &Quest<'_>,
    status: CacheStatus,
    detail: Option<&'static str>,
) -> Result<Response, Error> {
    let told = Told { detail, ..Told::new(status) };
    x.facts.cache = Some(told.clone());
    let (view, pool, route) = quest.forward_to();
    let authority = x.facts.original_authority.clone().unwrap_or_else(|| x.request.authority.clone());
    let response = forward::forward(x, view, pool, route).await?;
    x.facts.cache = Some(Told { answered: Some(response.head.status), ..told });
    // RFC 9111 section 4.4: methods that are not known count as unsafe.
    let is_safe = matches!(x.request.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY");
    if !is_safe && matches!(response.head.status.as_u16(), 200..=399) {
        invalidate(x, quest, &authority, &response);
    }
    Ok(response)
}

/// Section 4.4: the URL itself, and where the response leads, at the same origin only.
fn invalidate(x: &Exchange<'_>, quest: &Quest<'_>, authority: &str, response: &Response) {
    let (store, scheme) = (store(x), x.facts.scheme);
    store.invalidate(&quest.url);
    let target = x.facts.original_target.as_deref().unwrap_or(&x.request.target);
    let path = target.split('?').next().unwrap_or_default();
    for field in [name::LOCATION, name::CONTENT_LOCATION] {
        let leads = response.head.fields.text(field);
        if let Some(leads) = leads.and_then(|leads| key::same_origin(scheme, authority, path, leads)) {
            store.invalidate(&key::url(scheme, authority, &as_asked(&leads), &quest.caching.query));
        }
    }
}

/// A target as requests for it are read.
fn as_asked(target: &str) -> Cow<'_, str> {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    match normalise(path) {
        Ok(Cow::Owned(path)) => Cow::Owned(path + query),
        _ => Cow::Borrowed(target),
    }
}

/// To the pool as it is: a HEAD, a range or condition about what is not kept, or what could not be kept lately.
pub(super) async fn alone(x: &mut Exchange<'_>, quest: &Quest<'_>, ask: &Ask) -> Result<Response, Error> {
    let (store, requested, home) = (store(x).clone(), clock::second(), quest.home(x));
    let changes = store.changes();
    let (view, pool, route) = quest.forward_to();
    let mut response = match forward::forward(x, view, pool, route).await {
        Ok(response) => response,
        Err(error) if ask.after.silence && is_silence(error) => return stale(x, ask, None).ok_or(error),
        Err(error) => return Err(error),
    };
    let status = response.head.status;
    if ask.after.refusal
        && is_refusal(status)
        && let Some(instead) = stale(x, ask, Some(status))
    {
        return Ok(instead);
    }
    tell(x, |told| told.answered = Some(status));
    let kept = ask.kept.as_ref().filter(|_| x.request.method == Method::HEAD);
    let renewed = kept.filter(|kept| kept.status == status);
    let renewed = renewed.map(|kept| (kept, kept.fresh_fields(&response.head.fields, &quest.caching.rules)));
    let shown = renewed.as_ref().map(|(kept, fields)| (kept.status, fields));
    // Of the answer to a HEAD nothing is kept, but what it says of what is.
    let advice = match (&x.request.method, &shown) {
        (&Method::HEAD, None) => Advice::default(),
        _ => plugins::on_fetch(x, view, route, &response.head, shown),
    };
    let wanted = Wanted {
        store: &store,
        caching: quest.caching,
        url: quest.url_text(),
        place: quest.place.clone(),
        home,
        request: &x.request,
        directives: &quest.asked,
        times: keep::times(requested),
        advice: &advice,
    };
    if x.request.method == Method::HEAD {
        match (renewed, kept) {
            (Some((kept, fields)), _) => compare((&store, changes), kept, &wanted, &response, fields),
            (None, Some(kept)) if !status.is_server_error() && status != StatusCode::NOT_MODIFIED => store.doubt(kept),
            (None, _) => {}
        }
        return Ok(response);
    }
    let key = quest.key(ask);
    let pouring = match wanted.begin(&mut response) {
        Ok(pouring) => pouring,
        Err(why) => {
            if !super::has_conditions(&x.request.fields) {
                keep::note(&store, &key, &quest.place, why, status);
            }
            tell(x, |told| told.detail = told.detail.or(Some(why.word())));
            return Ok(response);
        }
    };
    tell(x, |told| told.stored = true);
    let head = std::mem::replace(&mut response.head, ResponseHead::new(status));
    let found = match pouring.is_part() {
        true => pouring.entry.body.read().map(|body| (head, Body::source(body))),
        false => answer::answer(&pouring.entry, head, &x.request),
    };
    let (worker, idle) = (x.worker.clone(), route.times.idle_body);
    let registered = worker.register();
    tokio::task::spawn_local(async move {
        // The worker does not leave before what others read.
        let _registered = registered;
        let _ = pouring.pour(&worker, &key, idle, changes, None).await;
    });
    (response.head, response.body) =
        found.ok_or(Error::gateway(Kind::Internal("a body that is gone before it came")))?;
    Ok(response)
}

/// RFC 9111 section 4.3.5: what a HEAD tells of what is kept.
fn compare(
    (store, changes): (&Arc<Store>, u64),
    kept: &Arc<Entry>,
    wanted: &Wanted<'_>,
    response: &Response,
    fields: Fields,
) {
    let head = &response.head;
    let differs = |field| {
        let (new, old) = (head.fields.value(field), kept.fields.value(field));
        new.is_some() && new != old
    };
    let length = head.fields.text(name::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let is_other_length = length.is_some_and(|length| kept.body.length() != Some(length));
    if differs(name::ETAG) || differs(name::LAST_MODIFIED) || is_other_length {
        return store.doubt(kept);
    }
    // What was made stale may be another one, and is the same only where a validator says so.
    let is_same = |field| head.fields.contains(field) && !differs(field);
    let state = kept.kept(clock::second());
    if (state.invalidated || state.invalid) && !is_same(name::ETAG) && !is_same(name::LAST_MODIFIED) {
        return;
    }
    match wanted.freshened(kept, fields) {
        (renewed, Ok(())) => {
            // What was changed or purged meanwhile does not come back.
            store.unless_past(kept.url.as_bytes(), || store.changes() != changes, |store| store.keep(renewed));
        }
        (_, Err(why)) if keep::is_of_request(why) => {}
        (_, Err(_)) => store.doubt(kept),
    }
}

/// RFC 5861 section 4.
pub(super) fn is_refusal(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

pub(super) fn tell(x: &mut Exchange<'_>, change: impl FnOnce(&mut Told)) {
    if let Some(told) = &mut x.facts.cache {
        change(told);
    }
}
