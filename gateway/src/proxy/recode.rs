//! The stage of compression.
//!
//! In: a response on its way to its client. Out: the same, coded as the client has it best. What is kept is compressed once, by a task
//! that belongs to no client, and everybody who wants it meanwhile reads what it makes.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use super::exchange::{Exchange, Response};
use crate::cache::Entry;
use crate::cache::body::{Filler, Shared};
use crate::cache::codings::Coded;
use crate::compress::{self, Asked, Done};
use crate::config::model::Compress;
use crate::error::Error;
use crate::http::{Body, Frame, Method, name};
use crate::snapshot::CompiledRoute;
use crate::worker::Worker;

/// What the client says, where the route compresses, before anybody changes the request.
pub(super) fn asked<'r>(x: &mut Exchange<'_>, route: &'r CompiledRoute) -> Option<(&'r Compress, Asked)> {
    let terms = route.model.compress.as_ref()?;
    Some((terms, Asked::of(&mut x.request, terms, route.caching.is_some())))
}

/// Compresses a response, or decompresses it. Bytes of a tunnel are no response.
pub(super) fn recode(x: &mut Exchange<'_>, asked: (&Compress, Asked), response: &mut Response) -> Result<(), Error> {
    if response.tunnel.is_some() {
        return Ok(());
    }
    let kept = response.kept.take();
    let (worker, limits) = (x.worker, &x.view.snapshot.limits);
    let made = |coding| {
        let level = worker.press.level(asked.0.cached_levels.of(coding));
        let entry = kept.as_ref()?;
        match entry.codings.open(coding, worker.shared.cache.largest())? {
            Coded::Whole(shared) => whole(&shared),
            Coded::Coming(reader) => Some(Body::source(reader)),
            Coded::Begun(shared, filler) => {
                let (plain, reader) = (Body::source(entry.body.read()?), shared.read()?);
                let body = worker.press.encoded(limits, (coding, level), false, plain).ok()?;
                tokio::task::spawn_local(fill(worker.clone(), entry.clone(), filler, body));
                Some(Body::source(reader))
            }
        }
    };
    let (head, body) = (&mut response.head, &mut response.body);
    let done = compress::apply((&worker.press, limits), asked, &x.request, (&mut *head, body), made)?;
    // As a GET would have said.
    if let (Some(Done::Coded(coding)), Some(entry)) = (done, &kept)
        && x.request.method == Method::HEAD
        && let Some(length) = entry.codings.length(coding)
    {
        // A number is a value.
        let _ = head.fields.append(name::CONTENT_LENGTH, itoa::Buffer::new().format(length).as_bytes());
    }
    x.facts.recoded = done;
    Ok(())
}

fn whole(shared: &Arc<Shared>) -> Option<Body> {
    match shared.bytes() {
        Some(bytes) => Some(Body::Full(bytes.clone())),
        None => shared.read().map(Body::source),
    }
}

/// Compresses what is kept. The worker does not leave before.
async fn fill(worker: Rc<Worker>, entry: Arc<Entry>, filler: Filler, mut body: Body) {
    let _registered = worker.register();
    let store = &worker.shared.cache;
    let mut room = store.room();
    let ended = loop {
        if !poll_fn(|cx| filler.poll_room(cx)).await {
            // Nobody wants it any more.
            return;
        }
        match body.frame().await.transpose() {
            Ok(Some(Frame::Data(data))) if body.is_end() => break Ok((Some(data), None)),
            Ok(Some(Frame::Data(data))) => {
                if !room.grow(store, data.len() as u64) {
                    filler.keep_no_more();
                }
                filler.add(data);
            }
            Ok(Some(Frame::Trailers(trailers))) => break Ok((None, Some(trailers))),
            Ok(None) => break Ok((None, None)),
            Err(error) => break Err(error),
        }
    };
    match ended {
        Ok((last, trailers)) => {
            let sleepers = filler.finish(last, trailers);
            store.reweigh(&entry);
            drop(sleepers);
        }
        Err(error) => filler.fail(error),
    }
}
