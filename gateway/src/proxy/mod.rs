//! The request path.
//!
//! In: a request of any protocol, and how to answer it. Out: exactly one response, one log line, one count. `handle` is the
//! whole path; what it calls are the stages, each in the module of its name.

mod admit;
mod attempts;
mod bodies;
mod caching;
mod course;
mod exchange;
mod forward;
pub mod forwarded;
mod incoming;
mod mirror;
mod pace;
mod plugins;
mod recode;
mod rooms;
mod serve;
mod shown;

pub use exchange::{Client, Exchange, Facts, Response};
pub use serve::{serve_h1, serve_h2};

use plugins::Turn;

use std::rc::Rc;

use crate::config::model::Action;
use crate::error::{Error, Kind};
use crate::snapshot::CompiledRoute;
use crate::worker::View;
use crate::{policy, respond};

/// Takes one request from its head to the end of its response.
pub async fn exchange(x: &mut Exchange<'_>) {
    x.worker.metrics.request_begun();
    let outcome = handle(x).await;
    respond::finish(x, outcome).await;
}

/// The path of a request: admitted, routed, changed by its route's policy, looked at by filters, answered.
async fn handle(x: &mut Exchange<'_>) -> Result<Response, Error> {
    admit::admit(x)?;
    let view = x.view.clone();
    let found = view.snapshot.table.find(&x.request, x.facts.client).ok_or(Error::client(Kind::NoRoute))?;
    let mut route = x.facts.enter(&view, found.index)?;
    let sent_to = match plugins::route(x, &view, route)? {
        Turn::Answer(response) => return Ok(response),
        Turn::Go { route: named, pool } => {
            if let Some(named) = named {
                route = x.facts.enter(&view, named)?;
            }
            pool
        }
    };
    let asked = recode::asked(x, route);
    policy::enter(x, route, &found.captures)?;
    if let Some(response) = plugins::on_request(x, &view, route)? {
        return Ok(response);
    }
    let mut response = match (&route.model.action, sent_to) {
        (_, Some(pool)) => to_pool(x, &view, pool, route).await?,
        (Action::Redirect(redirect), _) => respond::redirect(x, redirect, &found.captures)?,
        (Action::Respond(fixed), _) => respond::fixed(fixed)?,
        (Action::Static(_), _) => {
            let below = policy::below(x.request.path(), found.segments);
            let folder = route.folder.as_ref().ok_or(Error::gateway(Kind::Internal("route without its folder")))?;
            let served = x.worker.files.serve(folder, &x.request, below).await?;
            x.worker.metrics.file_found(served.knew.text());
            x.facts.error = x.facts.error.or(served.error);
            Response {
                keep: served.error.is_none_or(|error| error.outcome().keep),
                ..Response::new(served.head, served.body)
            }
        }
        (Action::Pool(pool), _) => to_pool(x, &view, *pool, route).await?,
    };
    plugins::do_later(x, &mut response);
    plugins::on_response(x, &view, route, &mut response)?;
    policy::leave(x, route, &found.captures, &mut response.head)?;
    if let Some(asked) = asked {
        recode::recode(x, asked, &mut response)?;
    }
    Ok(response)
}

/// From the cache, or from the pool.
async fn to_pool(x: &mut Exchange<'_>, view: &Rc<View>, pool: usize, route: &CompiledRoute) -> Result<Response, Error> {
    match &route.caching {
        None => forward::forward(x, view, pool, route).await,
        Some(caching) => caching::respond(x, view, pool, route, caching).await,
    }
}
