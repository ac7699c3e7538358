//! Where plugins are asked about a request: routers after the table of routes, filters before the route's action and after
//! it. (Balancers are asked by [`super::forward`].)
//!
//! In: an exchange. Out: the same with what the plugin wanted changed, or its answer. A plugin that fails changes nothing: a
//! router's request goes on by the table, a filter's is refused, since a filter may be what keeps others out.

use std::cell::Cell;

use bytes::Bytes;

use super::exchange::{Exchange, Facts, Hedged, Response};
use super::shown::{Matter, Shown, target};
use crate::cache::policy::advice::Advice;
use crate::error::{Error, Kind};
use crate::http::claims::strip_alike;
use crate::http::fields::Name;
use crate::http::{Body, Fields, ResponseHead, StatusCode, name};
use crate::plugin::request::{Edit, Edits, Side, Wish};
use crate::plugin::{Answer, Decision, Fault, Seat};
use crate::snapshot::CompiledRoute;
use crate::upstream::Pool;
use crate::worker::View;

/// What a plugin came to.
pub(super) enum Turn {
    /// The request goes on, by this route and pool if the plugin named one.
    Go {
        /// A route's index.
        route: Option<usize>,
        /// A pool's index.
        pool: Option<usize>,
    },
    /// This is its answer.
    Answer(Response),
}

const ON: Turn = Turn::Go { route: None, pool: None };

/// Asks a route's router.
pub(super) fn route(x: &mut Exchange<'_>, view: &View, route: &CompiledRoute) -> Result<Turn, Error> {
    let Some(router) = route.model.router else { return Ok(ON) };
    let named = Cell::new(None);
    // Looked up before anything is done that the plugin wants changed: a name that is not there is a fault.
    let is_there = |decision: &Decision| {
        let found = match decision {
            Decision::Route(name) => view.snapshot.routes.iter().position(|route| route.model.name == *name),
            Decision::Pool(name) => view.snapshot.pools.iter().position(|pool| pool.state.model.name == *name),
            _ => return true,
        };
        // A version that only watches is asked after the one that is heard.
        named.set(named.get().or(found));
        found.is_some()
    };
    let decision = ask(x, view, router, Stage::Request, |seat, head| seat.route(head, is_there));
    match decision {
        Ok(Decision::Route(_)) => Ok(Turn::Go { route: named.get(), pool: None }),
        Ok(Decision::Pool(_)) => Ok(Turn::Go { route: None, pool: named.get() }),
        Ok(decision) => answer(decision).map(|answer| answer.map_or(ON, Turn::Answer)),
        Err(_) => {
            // What it would have added to the key is not known, and without it the answer may be another's.
            if with_seat(view, router, |seat| seat.keys_cache()).unwrap_or(true) {
                x.facts.wishes.get_or_insert_default().bypass();
            }
            Ok(ON)
        }
    }
}

/// Asks a route's filters about the request, in order, until one answers.
pub(super) fn on_request(x: &mut Exchange<'_>, view: &View, route: &CompiledRoute) -> Result<Option<Response>, Error> {
    for filter in &route.model.filters {
        let decision = ask(x, view, *filter, Stage::Request, Seat::on_request).map_err(failed)?;
        if let Some(response) = answer(decision)? {
            return Ok(Some(response));
        }
    }
    Ok(None)
}

/// Asks a route's filters about the response, the other way round.
pub(super) fn on_response(
    x: &mut Exchange<'_>,
    view: &View,
    route: &CompiledRoute,
    response: &mut Response,
) -> Result<(), Error> {
    for filter in route.model.filters.iter().rev() {
        let decision = ask(x, view, *filter, Stage::Response(&mut response.head), Seat::on_response).map_err(failed)?;
        if let Some(instead) = answer(decision)? {
            *response = instead;
        }
    }
    Ok(())
}

/// Asks a route's filters about what a pool answered and may be kept; `instead`: what is kept, since it still holds. What they,
/// and others before, say of keeping it. When one of them fails it is not kept.
pub(super) fn on_fetch(
    x: &mut Exchange<'_>,
    view: &View,
    route: &CompiledRoute,
    response: &ResponseHead,
    instead: Option<(StatusCode, &Fields)>,
) -> Advice {
    let mut advice = x.facts.wishes.as_ref().map(|wishes| wishes.advice.clone()).unwrap_or_default();
    if route.model.filters.is_empty() {
        return advice;
    }
    let kept = instead.map(|(status, fields)| {
        let mut kept = ResponseHead::new(status);
        kept.fields = fields.clone();
        kept
    });
    let head = kept.as_ref().unwrap_or(response);
    for filter in route.model.filters.iter().rev() {
        advice.no_store |= ask(x, view, *filter, Stage::Fetched(head, &mut advice), Seat::on_fetch).is_err();
    }
    advice
}

fn failed(_: Fault) -> Error {
    Error::gateway(Kind::Plugin)
}

fn with_seat<T>(view: &View, plugin: usize, call: impl FnOnce(&mut Seat) -> T) -> Option<T> {
    let mut seat = view.seats.get(plugin)?.try_borrow_mut().ok()?;
    seat.as_mut().map(call)
}

/// Asks a plugin, and does what it wants changed when it has decided well.
fn ask(
    x: &mut Exchange<'_>,
    view: &View,
    plugin: usize,
    mut stage: Stage<'_>,
    call: impl FnOnce(&mut Seat, &dyn crate::plugin::request::Head) -> Result<Decision, Fault>,
) -> Result<Decision, Fault> {
    let mut changes = SPARE.take();
    let asked = with_seat(view, plugin, |seat| {
        let shown = Shown {
            request: &x.request,
            response: stage.response(),
            facts: &x.facts,
            client: x.client,
            snapshot: &view.snapshot,
            matter: stage.matter(),
        };
        let decision = call(seat, &shown);
        if decision.is_ok() {
            seat.take_edits(&mut changes);
        }
        (decision, seat.part())
    });
    let (decision, part) = asked.unwrap_or((Err(Fault::Absent), None));
    part.into_iter().for_each(|part| x.facts.take_part(part));
    for edit in changes.iter() {
        match (edit, &mut stage) {
            (Edit::Cache(wish), Stage::Fetched(_, advice)) => advise(advice, wish),
            (Edit::Cache(wish), _) => note_wish(x, view, plugin, wish),
            (edit, Stage::Response(response)) => apply(x, Some(response), edit),
            (edit, _) => apply(x, None, edit),
        }
    }
    put_back(changes);
    decision
}

/// When a plugin is asked.
enum Stage<'a> {
    /// About a request.
    Request,
    /// About what is answered.
    Response(&'a mut ResponseHead),
    /// About what a pool answered and may be kept, and how.
    Fetched(&'a ResponseHead, &'a mut Advice),
}

impl Stage<'_> {
    fn response(&self) -> Option<&ResponseHead> {
        match self {
            Stage::Request => None,
            Stage::Response(response) => Some(response),
            Stage::Fetched(response, _) => Some(response),
        }
    }

    fn matter(&self) -> Matter {
        match self {
            Stage::Request => Matter::Request,
            Stage::Response(_) => Matter::None,
            Stage::Fetched(..) => Matter::Fetched,
        }
    }
}

/// Notes what a plugin wants of the cache for a request.
fn note_wish(x: &mut Exchange<'_>, view: &View, plugin: usize, wish: Wish<'_>) {
    let wishes = x.facts.wishes.get_or_insert_default();
    match wish {
        // Every plugin has a name; without one nobody could tell the part from another's.
        Wish::Key(part) => match view.snapshot.plugins.get(plugin) {
            Some(deployed) => wishes.add_key(deployed.version.plugin.name(), part),
            None => wishes.bypass(),
        },
        Wish::Bypass => wishes.bypass(),
        wish => advise(&mut wishes.advice, wish),
    }
}

/// Notes what it wants for an answer that may be kept.
fn advise(advice: &mut Advice, wish: Wish<'_>) {
    match wish {
        Wish::Ttl(seconds) => advice.ttl = Some(seconds),
        Wish::NoStore => advice.no_store = true,
        Wish::Tag(tag) => advice.tags.push(String::from_utf8_lossy(tag).into_owned()),
        Wish::Key(_) | Wish::Bypass => {}
    }
}

/// Notes what a balancer says of the request.
pub(super) fn note_pick(facts: &mut Facts, pool: &Pool) {
    if let Some(later) = &mut facts.later {
        // What an earlier pick wanted was for another endpoint.
        later.of_pick.clear();
        later.of_second.clear();
    }
    note(facts, pool, |later| &mut later.of_pick);
}

/// The same of a pick for an endpoint that is asked beside the first.
pub(super) fn note_second_pick(facts: &mut Facts, pool: &Pool) {
    note(facts, pool, |later| &mut later.of_second);
}

fn note(facts: &mut Facts, pool: &Pool, edits: impl Fn(&mut Later) -> &mut Edits) {
    let mut changes = SPARE.take();
    pool.take_edits(&mut changes);
    pool.part().into_iter().for_each(|part| facts.take_part(part));
    for edit in changes.iter() {
        match edit {
            Edit::Tag(name, value) => tag(facts, name, value),
            // The request may have been sent already; its response is still to come.
            _ if is_of_response(&edit) => {
                let _ = edits(facts.later.get_or_insert_default()).push(edit);
            }
            _ => {}
        }
    }
    put_back(changes);
}

/// What is to be done to a response that is still to come.
#[derive(Default)]
pub struct Later {
    /// As routers and filters say.
    of_route: Edits,
    /// As the last pick's balancer says.
    of_pick: Edits,
    /// As it says of the second of two that are asked at once.
    of_second: Edits,
}

fn is_of_response(edit: &Edit<'_>) -> bool {
    matches!(edit, Edit::Set(Side::Response, ..) | Edit::Add(Side::Response, ..) | Edit::Remove(Side::Response, _))
}

/// Does to a response what was wanted before it was there.
pub(super) fn do_later(x: &mut Exchange<'_>, response: &mut Response) {
    let Some(later) = x.facts.later.take() else { return };
    let of_pick = if x.facts.hedge == Some(Hedged::Won) { &later.of_second } else { &later.of_pick };
    later.of_route.iter().chain(of_pick.iter()).for_each(|edit| change(&mut response.head.fields, edit));
}

thread_local! {
    /// Room for the changes of one call, so that those that have some do not allocate each time. Empty.
    static SPARE: Cell<Edits> = const { Cell::new(Edits::new()) };
}

fn put_back(mut changes: Edits) {
    changes.clear();
    SPARE.set(changes);
}

/// Does one change; it was looked at when the plugin asked for it.
fn apply(x: &mut Exchange<'_>, response: Option<&mut ResponseHead>, edit: Edit<'_>) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    if response.is_none() && is_of_response(&edit) {
        // What has no room is left out, as below.
        let _ = x.facts.later.get_or_insert_default().of_route.push(edit);
        return;
    }
    match edit {
        Edit::Set(side, ..) | Edit::Add(side, ..) | Edit::Remove(side, _) => {
            let fields = match (side, response) {
                (Side::Request, _) => &mut x.request.fields,
                (Side::Response, Some(response)) => &mut response.fields,
                (Side::Response, None) => return,
            };
            change(fields, edit);
            if let (Edit::Set(Side::Request, name, _) | Edit::Remove(Side::Request, name), Some(received)) =
                (edit, &x.facts.bytes_in)
            {
                received.claim(text(name));
            }
        }
        Edit::Path(path) => {
            if let Some(target) = target(path) {
                let before = std::mem::replace(&mut x.request.target, target);
                x.facts.original_target.get_or_insert(before);
            }
        }
        Edit::Status(status) => {
            if let (Some(response), Ok(status)) = (response, StatusCode::from_u16(status)) {
                response.status = status;
            }
        }
        Edit::Tag(name, value) => tag(&mut x.facts, name, value),
        // Noted by whoever asked.
        Edit::Cache(_) => {}
    }
}

fn tag(facts: &mut Facts, name: &[u8], value: &[u8]) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    let (name, value) = (text(name), text(value));
    let tags = &mut facts.tags;
    tags.retain(|(known, _)| known != name);
    if tags.len() < gatewright_abi::bound::TAGS {
        tags.push((name.to_owned(), value.to_owned()));
    }
}

/// Changes a field. What has no room is left out, as if the plugin had not asked.
fn change(fields: &mut Fields, edit: Edit<'_>) {
    let (Edit::Set(_, name, _) | Edit::Add(_, name, _) | Edit::Remove(_, name)) = edit else { return };
    let name = Name::from(std::str::from_utf8(name).unwrap_or_default());
    if !matches!(edit, Edit::Add(..)) {
        strip_alike(fields, name);
    }
    let _ = match edit {
        Edit::Set(_, _, value) => fields.set(name, value),
        Edit::Add(_, _, value) => fields.append(name, value),
        _ => {
            fields.remove(name);
            Ok(())
        }
    };
}

/// The response that a decision asks for; `None` when the request goes on.
fn answer(decision: Decision) -> Result<Option<Response>, Error> {
    match decision {
        Decision::Refuse(status) => Err(Error::gateway(Kind::PluginRefused(status))),
        Decision::Redirect(status, location) => redirect(status, &location).map(Some),
        Decision::Answer(answer) => made(*answer).map(Some),
        _ => Ok(None),
    }
}

const INVALID: Error = Error::gateway(Kind::Plugin);

fn redirect(status: u16, location: &[u8]) -> Result<Response, Error> {
    let mut head = ResponseHead::new(StatusCode::from_u16(status).map_err(|_| INVALID)?);
    head.fields.set(name::LOCATION, location).map_err(|_| INVALID)?;
    Ok(Response::new(head, Body::Empty))
}

fn made(answer: Answer) -> Result<Response, Error> {
    let mut head = ResponseHead::new(StatusCode::from_u16(answer.status).map_err(|_| INVALID)?);
    for (name, value) in &answer.fields {
        let name = std::str::from_utf8(name).map_err(|_| INVALID)?;
        if crate::http::hygiene::is_framing(name.into()) {
            return Err(INVALID);
        }
        head.fields.append(name, value).map_err(|_| INVALID)?;
    }
    Ok(Response::new(head, Body::full(Bytes::from(answer.body))))
}
