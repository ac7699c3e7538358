//! What is in force, as JSON.

use std::time::Instant;

use serde_json::{Value, json};

use super::endpoints;
use crate::clock;
use crate::config::model::Action;
use crate::metrics::SearchRow;
use crate::snapshot::{CompiledPool, CompiledRoute};
use crate::worker::Shared;

/// Listeners, routes, pools and their endpoints.
pub(super) fn status(shared: &Shared) -> Value {
    let snapshot = shared.snapshot();
    let now = (Instant::now(), clock::coarse_uptime());
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "configuration": snapshot.number,
        "connections": shared.metrics.connections_open(),
        "requests_in_flight": shared.metrics.requests_in_flight(),
        "listeners": snapshot.config.listeners.iter().map(|listener| json!({
            "address": listener.address.to_string(),
            "tls": listener.tls.is_some(),
        })).collect::<Vec<_>>(),
        "routes": snapshot.routes.iter().map(|one| route(one, &snapshot.pools)).collect::<Vec<_>>(),
        "pools": snapshot.pools.iter().map(|one| endpoints::pool(one, &snapshot, now)).collect::<Vec<_>>(),
        "discovery": shared.discovery.rows().iter().map(search).collect::<Vec<_>>(),
    })
}

fn route(route: &CompiledRoute, pools: &[CompiledPool]) -> Value {
    let (kind, target) = match &route.model.action {
        Action::Pool(pool) => ("pool", pools.get(*pool).map(|pool| pool.state.model.name.clone()).unwrap_or_default()),
        Action::Static(folder) => ("static", folder.root.display().to_string()),
        Action::Redirect(redirect) => ("redirect", redirect.status.as_u16().to_string()),
        Action::Respond(fixed) => ("respond", fixed.status.as_u16().to_string()),
    };
    json!({ "name": route.model.name, kind: target })
}

fn search(search: &SearchRow) -> Value {
    json!({
        "pool": search.pool,
        "source": search.source,
        "endpoints": search.endpoints,
        "connected": search.connected,
        "updates": search.updates,
        "failures": search.failures,
    })
}
