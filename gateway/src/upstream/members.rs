//! The members of a pool, as those who pick know them: each address once, and those of them that are used here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gatewright_abi::flag;

use super::PoolState;
use crate::balance::{Candidate, Changes, Endpoint, HOME, UNCHECKED, Watch, places};
use crate::config::model::{self, StartAs};

/// The members of a pool, each address once. Endpoints that were there before go on; with another limit they are made anew, and
/// what is known of their health stays known.
pub(super) fn candidates(
    model: &model::Pool,
    found: Option<&[model::Member]>,
    before: Option<&PoolState>,
    changes: &Arc<Changes>,
) -> Arc<[Candidate]> {
    let is_alike = before.is_some_and(|before| before.model.max_connections == model.max_connections);
    let known = before.into_iter().flat_map(|before| before.everyone.iter());
    let known: HashMap<&str, _> = known.map(|old| (&*old.endpoint.address, &old.endpoint)).collect();
    let found = found.unwrap_or_default();
    let mut seen = HashSet::with_capacity(model.endpoints.len() + found.len());
    let members = model.endpoints.iter().chain(found).filter(|member| seen.insert(&*member.endpoint.address));
    // What is found first was there when the gateway, or the pool, was made.
    let first_found = before.is_some_and(|before| before.found.is_none()) && !found.is_empty();
    let made = |member: &model::Member| Endpoint::followed(&member.endpoint, model.max_connections, changes);
    let endpoint = |member: &model::Member| match known.get(&*member.endpoint.address) {
        Some(old) if is_alike => Arc::clone(old),
        Some(old) => Arc::new(made(member).after(old)),
        None => {
            let new = made(member);
            if before.is_some() && !first_found {
                new.is_new();
            }
            if model.health.as_ref().is_some_and(|health| health.start == StartAs::Unhealthy) {
                new.stats.change_flags(UNCHECKED, flag::HEALTHY);
            }
            Arc::new(new)
        }
    };
    let candidate = |member: &model::Member| Candidate {
        endpoint: endpoint(member),
        weight: member.endpoint.weight,
        priority: member.priority,
        drain: member.drain,
        zone: member.zone.clone(),
        place: HOME,
        metadata: member.metadata.clone(),
    };
    let mut candidates: Vec<Candidate> = members.map(candidate).collect();
    if let Some(zone) = &model.selection.zone {
        let places = places(candidates.iter().map(|candidate| &*candidate.zone), Some(&zone.home));
        candidates.iter_mut().zip(places).for_each(|(candidate, place)| candidate.place = place);
    }
    candidates.into()
}

/// Those that are used here.
pub(super) fn chosen(watch: &Watch, everyone: &Arc<[Candidate]>) -> Arc<[Candidate]> {
    match watch.choose(everyone) {
        None => everyone.clone(),
        Some(chosen) => chosen.into_iter().filter_map(|index| everyone.get(index).cloned()).collect(),
    }
}
