//! What is not in memory may lie on disk.
//!
//! In: a request for which nothing is in memory. Out: what answers it, which is in memory from then on. One reads, on the blocking
//! pool, for all who want it, and goes on when they leave. A disk that does not answer soon is passed over.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;

use super::together::deadline;
use super::{Ask, Quest, store};
use crate::cache::Entry;
use crate::cache::disk::format::Place;
use crate::cache::flight::Boarding;
use crate::cache::tiers::{Home, Sought};
use crate::clock;
use crate::error::Error;
use crate::proxy::exchange::Exchange;
use crate::upstream::Waiter;

/// What is waited for the disk before the pool is asked instead.
const PATIENCE: Duration = Duration::from_secs(1);

impl Quest<'_> {
    /// Where the answer belongs on disk, if there is one. To be asked before the request goes on.
    pub(super) fn home(&self, x: &Exchange<'_>) -> Option<Home> {
        store(x).disk()?;
        let pool = &self.view.snapshot.pools.get(self.pool)?.state.model.name;
        // What was rewritten, as `Quest::new` has it.
        let target =
            (x.facts.original_target.is_some() && self.route.model.rewrite.is_some()).then_some(&x.request.target);
        let authority = x.facts.original_authority.as_ref().map(|_| &x.request.authority);
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.caching.origin);
        for part in [Some(pool), target, authority] {
            let part = part.map_or("", |part| part);
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        if !self.place.part.bytes().is_empty() {
            // Behind three parts of known sizes, so that none of them can be taken for it.
            context.update(self.place.part.bytes());
        }
        let mut place = Place::default();
        place.copy_from_slice(context.finish().as_ref());
        Some(Home::new(place))
    }
}

/// What lies there for this request, read.
pub(super) async fn read(x: &mut Exchange<'_>, quest: &Quest<'_>, ask: &Ask) -> Result<Option<Arc<Entry>>, Error> {
    // Of what could not be kept lately, nothing lies there.
    if ask.kept.is_some() || ask.detail.is_some() {
        return Ok(None);
    }
    let Some(home) = quest.home(x) else { return Ok(None) };
    let sought = Sought { url: quest.url_text(), place: quest.place.clone(), home };
    let store = store(x).clone();
    let Some((ticket, key)) = store.on_disk(&sought, &x.request.fields) else { return Ok(None) };
    let follower = match store.reads().board(&key) {
        Boarding::Follow(follower) => Some(follower),
        Boarding::Lead(lead) => {
            let follower = store.reads().follow(&key);
            tokio::task::spawn_blocking(move || store.read(&sought, ticket, &lead, clock::second()));
            follower
        }
    };
    let Some(follower) = follower else { return Ok(None) };
    let deadline = deadline(x);
    let landed = async { Ok(tokio::time::timeout(PATIENCE, follower.landed()).await.ok().flatten()) };
    let entry = Waiter::new(&mut x.responder).within(x.watchdog, deadline, landed).await?;
    Ok(entry.filter(|entry| entry.answers(&quest.place, &x.request.fields)))
}
