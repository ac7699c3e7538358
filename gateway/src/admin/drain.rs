//! Takes endpoints out of use, and back: `POST /drain` and `POST /undrain`, with `pool=NAME` and `address=HOST:PORT` in the query.
//!
//! In: an order. Out: JSON with how many requests the endpoint still works on. The order holds until it is taken back or the
//! endpoint leaves the configuration; reloads do not change it.

use serde_json::json;

use super::query::Query;
use super::{Answer, Desk};
use crate::balance::{Drain, Endpoint};
use crate::http::{RequestHead, StatusCode};

impl Desk {
    pub(super) fn drain(&self, request: &RequestHead, wanted: bool) -> Answer {
        let query = match Query::of(request, &["pool", "address"]) {
            Ok(query) => query,
            Err(problem) => return Answer::problem(StatusCode::BAD_REQUEST, &problem),
        };
        let (Some(pool), Some(address)) = (query.text("pool"), query.text("address")) else {
            return Answer::problem(StatusCode::BAD_REQUEST, "the query needs pool=NAME and address=HOST:PORT");
        };
        let snapshot = self.shared.snapshot();
        let Some(found) = snapshot.pools.iter().find(|compiled| compiled.state.model.name == pool) else {
            return Answer::problem(StatusCode::NOT_FOUND, &format!("there is no [pool.{pool}] in the configuration"));
        };
        let mut candidates = found.state.everyone.iter();
        let Some(candidate) = candidates.find(|candidate| candidate.endpoint.address == address) else {
            return Answer::problem(StatusCode::NOT_FOUND, &format!("[pool.{pool}] has no endpoint {address:?}"));
        };
        let endpoint = &candidate.endpoint;
        if !wanted && endpoint.is_drained_by(Drain::File) {
            let problem = format!("the configuration says \"drain = true\" for {address}; change it there");
            return Answer::problem(StatusCode::CONFLICT, &problem);
        }
        order(&pool, endpoint, wanted);
        let body = json!({
            "pool": pool,
            "address": address,
            "draining": endpoint.is_drained_by(Drain::Order) || endpoint.is_drained_by(Drain::File),
            "active": endpoint.active(),
        });
        Answer::json(StatusCode::OK, &body)
    }
}

fn order(pool: &str, endpoint: &Endpoint, wanted: bool) {
    if endpoint.is_drained_by(Drain::Order) == wanted {
        return;
    }
    endpoint.drain(Drain::Order, wanted);
    let (endpoint, active) = (&*endpoint.address, endpoint.active());
    if wanted {
        tracing::info!(pool, endpoint, active, "the endpoint gets no new requests until it is put back");
    } else {
        tracing::info!(pool, endpoint, "the endpoint gets requests again");
    }
}
