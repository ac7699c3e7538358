//! The request path.
//!
//! In: a request of any protocol, and how to answer it. Out: exactly one response, one log line, one count. `handle` is the
//! whole path; what it calls are the stages, each in the module of its name.

mod admit;
mod exchange;
mod forward;
pub mod forwarded;
mod incoming;
mod pace;
mod serve;

pub use exchange::{Client, Exchange, Facts, Response};
pub use serve::{serve_h1, serve_h2};

use crate::config::model::Action;
use crate::error::{Error, Kind};
use crate::{policy, respond};

/// Takes one request from its head to the end of its response.
pub async fn exchange(mut x: Exchange<'_>) {
    x.worker.metrics.request_begun();
    let outcome = handle(&mut x).await;
    respond::finish(&mut x, outcome).await;
}

/// The path of a request: admitted, routed, changed by its route's policy, answered.
async fn handle(x: &mut Exchange<'_>) -> Result<Response, Error> {
    admit::admit(x)?;
    let view = x.view.clone();
    let found = view.snapshot.table.find(&x.request, x.facts.client).ok_or(Error::client(Kind::NoRoute))?;
    let route = x.facts.enter(&view, found.index)?;
    policy::enter(x, route, &found.captures)?;
    let mut response = match &route.model.action {
        Action::Redirect(redirect) => respond::redirect(x, redirect, &found.captures)?,
        Action::Respond(fixed) => respond::fixed(fixed)?,
        Action::Static(_) => {
            let below = policy::below(x.request.path(), found.segments);
            let folder = route.folder.as_ref().ok_or(Error::gateway(Kind::Internal("route without its folder")))?;
            let (head, body) = x.worker.files.serve(folder, &x.request, below).await?;
            Response::new(head, body)
        }
        Action::Pool(pool) => forward::forward(x, &view, *pool, route).await?,
    };
    policy::leave(x, route, &found.captures, &mut response.head)?;
    Ok(response)
}
