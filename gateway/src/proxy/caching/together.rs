//! One request to the pool for all who want the same at the same time.
//!
//! In: a request, and what is kept of it. Out: its answer. Whoever is first leads: its request runs as a task of its own, and all,
//! it too, wait for how that lands. A landing that does not suit one who waited lets it go by itself at once.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::fill::{Fill, Filled};
use super::known::Known;
use super::pass::{alone, tell};
use super::{Ask, Quest, has_conditions, is_silence, stale, store};
use crate::cache::flight::{Boarding, Follower, Key, Lead};
use crate::cache::policy::reuse::{Course, Failures, course};
use crate::cache::policy::vary;
use crate::cache::store::Landing;
use crate::cache::{CacheStatus, Entry, answer};
use crate::clock::{self, Deadline};
use crate::error::{Error, Kind, Phase, Side};
use crate::http::{Method, Nobody, name};
use crate::proxy::exchange::{Exchange, Response};
use crate::upstream::Waiter;

/// How often one waits for others before it goes by itself.
const MOST_WAITS: usize = 4;

/// How a wait for others came out.
enum Followed {
    Answer(Response),
    /// The answer is for others; those who want the same as this one have this key.
    Other(Key),
    /// There is none for it.
    Alone,
    /// Who led is gone, or its answer is for it alone by what it asked: somebody else has to.
    Again,
}

/// The answer of the pool, to this request or to another that asked for the same.
pub(super) async fn ask(x: &mut Exchange<'_>, quest: &Quest<'_>, ask: &Ask) -> Result<Response, Error> {
    let validates = x.request.method == Method::GET && ask.kept.as_ref().is_some_and(|kept| kept.has_validator());
    let as_it_is = x.request.method == Method::HEAD || (has_conditions(&x.request.fields) && !validates);
    let mut key = quest.flight(ask.key.as_ref());
    for _ in 0..MOST_WAITS {
        let follower = if ask.together && !as_it_is {
            match store(x).flights().board(&key) {
                Boarding::Lead(lead) => return self::lead(x, quest, ask, Some(lead)).await,
                Boarding::Follow(follower) => follower,
            }
        } else {
            // Whoever would not be waited for may still wait for what is under way, but not one who demands more.
            let may_wait = !quest.asked.no_cache && quest.asked.max_age != Some(0) && ask.detail.is_none();
            match store(x).flights().follow(&key).filter(|_| may_wait && ask.kept.is_none()) {
                Some(follower) => follower,
                None => break,
            }
        };
        match follow(x, quest, ask, follower).await? {
            Followed::Answer(response) => return Ok(response),
            Followed::Other(other) => key = other,
            Followed::Alone => break,
            Followed::Again => {}
        }
    }
    if validates && !as_it_is {
        return lead(x, quest, ask, None).await;
    }
    alone(x, quest, ask).await
}

/// Asks again for what is given although it is stale; nobody waits.
pub(super) fn renew(x: &Exchange<'_>, quest: &Quest<'_>, kept: Arc<Entry>, key: Option<Key>) {
    let flight = quest.flight(key.as_ref());
    if let Boarding::Lead(lead) = store(x).flights().board(&flight) {
        let (first, _) = oneshot::channel();
        let key = key.unwrap_or_else(|| Key::from(&*quest.url));
        let known = Known::Entry(kept, Failures::default());
        let fill = Fill::new(x, quest, known, key, Some(lead), first, Nobody::default());
        tokio::task::spawn_local(fill.run());
    }
}

fn known(x: &Exchange<'_>, quest: &Quest<'_>, ask: &Ask) -> Known {
    match (&ask.kept, &ask.parts) {
        (Some(kept), _) => Known::Entry(kept.clone(), ask.after),
        (None, Some(parts)) => Known::Parts(parts.clone()),
        (None, None) if ask.why == CacheStatus::VaryMiss => {
            Known::variants(store(x).variants(&quest.url, &quest.place))
        }
        (None, None) => Known::Nothing,
    }
}

async fn lead(
    x: &mut Exchange<'_>,
    quest: &Quest<'_>,
    ask: &Ask,
    lead: Option<Lead<Landing>>,
) -> Result<Response, Error> {
    let (first, mut landing) = oneshot::channel();
    let nobody = Nobody::default();
    let fill = Fill::new(x, quest, known(x, quest, ask), quest.key(ask), lead, first, nobody.clone());
    tokio::task::spawn_local(fill.run());
    let deadline = deadline(x);
    let landed = {
        let waiter = Waiter::new(&mut x.responder);
        let landing = poll_fn(|cx| {
            nobody.collect(cx).into_iter().for_each(|head| waiter.inform(head));
            Pin::new(&mut landing).poll(cx).map(|landed| landed.map_err(|_| Error::gateway(Kind::Cut)))
        });
        waiter.within(x.watchdog, deadline, landing).await?
    };
    match landed {
        Filled::Failed(error, mut facts) => {
            x.facts.adopt(&mut facts);
            match ask.after.silence && is_silence(error) {
                true => stale(x, ask, None).ok_or(error),
                false => Err(error),
            }
        }
        Filled::Passed(response, why, mut facts) => {
            let status = response.head.status;
            x.facts.answered = facts.answered;
            x.facts.adopt(&mut facts);
            if ask.after.refusal
                && super::pass::is_refusal(status)
                && let Some(instead) = stale(x, ask, Some(status))
            {
                return Ok(instead);
            }
            tell(x, |told| {
                told.answered = Some(status);
                told.detail = why.map(|why| why.word());
            });
            Ok(*response)
        }
        Filled::Kept(begun) => {
            let mut facts = begun.facts;
            x.facts.adopt(&mut facts);
            tell(x, |told| {
                told.answered = facts.answer;
                told.stored = begun.is_stored;
            });
            let head = begun.head.unwrap_or_else(|| answer::head(&begun.entry, clock::second(), true));
            let found = answer::answer(&begun.entry, head, &x.request);
            let (mut head, body) = found.ok_or(Error::gateway(Kind::Internal("a body that is gone before it came")))?;
            for cookie in begun.cookies.values(name::SET_COOKIE) {
                // It was a field before, so it is one.
                let _ = head.fields.append(name::SET_COOKIE, cookie);
            }
            drop(begun.hold);
            Ok(quest.given(&begun.entry, (head, body)))
        }
    }
}

async fn follow(
    x: &mut Exchange<'_>,
    quest: &Quest<'_>,
    ask: &Ask,
    follower: Follower<Landing>,
) -> Result<Followed, Error> {
    let deadline = deadline(x);
    let landed = async { Ok(follower.landed().await) };
    let landed = Waiter::new(&mut x.responder).within(x.watchdog, deadline, landed).await?;
    tell(x, |told| told.collapsed = true);
    let entry = match landed {
        None => {
            tell(x, |told| told.collapsed = false);
            return Ok(Followed::Again);
        }
        Some(Landing::Shared(entry)) => entry,
        Some(Landing::Alone(why)) => {
            tell(x, |told| (told.collapsed, told.detail) = (false, Some(why.word())));
            return Ok(Followed::Alone);
        }
        Some(Landing::Refused(status)) => {
            let instead = if ask.after.refusal { stale(x, ask, Some(status)) } else { None };
            return Ok(instead.map_or(Followed::Alone, Followed::Answer));
        }
        Some(Landing::Failed(error)) => {
            let instead = if ask.after.silence && is_silence(error) { stale(x, ask, None) } else { None };
            return instead.map(Followed::Answer).ok_or(error);
        }
    };
    if !entry.answers(&quest.place, &x.request.fields) {
        return Ok(Followed::Other(quest.beside(&vary::selecting(&x.request.fields, &entry.vary.0))));
    }
    let now = clock::second();
    let answered = match course(&entry.kept(now), &quest.asked, &quest.caching.rules) {
        Course::Serve | Course::ServeAndRenew => answer::answer(&entry, answer::head(&entry, now, false), &x.request),
        Course::Ask { .. } => None,
    };
    match answered {
        Some((head, body)) => {
            entry.used();
            tell(x, |told| told.ttl = Some(entry.ttl(now)));
            Ok(Followed::Answer(quest.given(&entry, (head, body))))
        }
        None => {
            tell(x, |told| told.collapsed = false);
            Ok(Followed::Alone)
        }
    }
}

/// The request's own. What is waited for has its own times.
pub(super) fn deadline(x: &Exchange<'_>) -> Deadline {
    x.deadline.unwrap_or_else(|| Deadline::after(Duration::from_secs(24 * 3600), Phase::Request, Side::Gateway))
}
