//! Other members of pools, and nothing else.
//!
//! In: a snapshot, what was found for its pools, and how endpoints are. Out: the next snapshot, which shares with it all but the pools that have
//! other members, or use others of them; or none, when there are no such pools. A pool whose plugin cannot begin with them keeps those it had.

use std::sync::Arc;

use super::{CompiledPool, Snapshot, plugins};
use crate::config::Problem;
use crate::config::model::{Member, Pool};
use crate::plugin::House;

/// Members that were found, as they are handed from snapshot to snapshot: the same list is the same allocation.
pub type Found = Arc<[Member]>;

impl Snapshot {
    /// The same with the members that were found, and with those used that are to be. A problem is that of a pool, which is named first.
    pub fn with_found(
        &self,
        found: impl Fn(&Pool) -> Option<Found>,
        house: &House,
    ) -> (Option<Snapshot>, Vec<(String, Problem)>) {
        let mut problems = Vec::new();
        let mut pools: Option<Vec<CompiledPool>> = None;
        for (index, pool) in self.pools.iter().enumerate() {
            let known = pool.state.found.as_ref();
            let new = found(&pool.state.model).filter(|new| !known.is_some_and(|old| Arc::ptr_eq(old, new)));
            let state = new.map(|members| pool.state.with_found(members));
            let Some(mut state) = state.or_else(|| pool.state.with_others_chosen()) else { continue };
            let deployed: Vec<_> = self.plugins.iter().cloned().map(Some).collect();
            let before = Some(&*pool.state);
            match plugins::balancer(&state.model, &self.config, &deployed, &state.candidates, before, house) {
                Ok((crew, trying)) => (state.crew, state.trying) = (crew, trying),
                Err(problem) => {
                    problems.push((pool.state.model.name.clone(), problem));
                    continue;
                }
            }
            state.prepare_own(house.workers());
            if let Some(slot) = pools.get_or_insert_with(|| self.pools.clone()).get_mut(index) {
                slot.state = Arc::new(state);
            }
        }
        let next = pools.map(|pools| Snapshot {
            number: self.number + 1,
            config: self.config.clone(),
            limits: self.limits.clone(),
            table: self.table.clone(),
            plugins: self.plugins.clone(),
            routes: self.routes.clone(),
            pools,
            identity_fields: self.identity_fields.clone(),
            access_log: self.access_log.clone(),
        });
        (next, problems)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;
    use crate::config::model::Endpoint;
    use crate::metrics::Metrics;
    use crate::snapshot::Given;

    fn members(ports: std::ops::Range<u16>) -> Found {
        let address = |port| format!("127.0.0.1:{port}");
        let member = |port| Member {
            endpoint: Endpoint { address: address(port), weight: 1 },
            priority: 0,
            drain: false,
            zone: String::new(),
            metadata: Vec::new(),
        };
        ports.map(member).collect()
    }

    #[test]
    fn only_the_pool_with_other_members_is_made_anew() {
        let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[pool.a]\ndiscover = { file = \"x\" }\n[pool.b]\nendpoints = \
                    [\"127.0.0.1:1\"]\n[[route]]\npool = \"a\"\n";
        let config = config::parse(text, Path::new("g.toml")).unwrap();
        let house = House::new(1, None, |_| {}).unwrap();
        let given = Given::default();
        let first = Snapshot::compile(config, None, &Metrics::new(1), &house, &given).unwrap();
        let next = |snapshot: &Snapshot, found: &Found| {
            let found = |pool: &Pool| (pool.name == "a").then(|| found.clone());
            let (next, problems) = snapshot.with_found(found, &house);
            assert!(problems.is_empty());
            next
        };
        let list = members(1000..1010);
        let second = next(&first, &list).unwrap();
        assert!(next(&second, &list).is_none(), "the same list is no change");
        let third = next(&second, &members(1005..1015)).unwrap();
        assert_eq!((second.number, third.number), (first.number + 1, first.number + 2));
        for snapshot in [&second, &third] {
            assert!(Arc::ptr_eq(&snapshot.config, &first.config) && Arc::ptr_eq(&snapshot.table, &first.table));
            assert!(Arc::ptr_eq(&snapshot.routes, &first.routes) && Arc::ptr_eq(&snapshot.plugins, &first.plugins));
            assert!(Arc::ptr_eq(&snapshot.pools[1].state, &first.pools[1].state));
        }
        let endpoints = |snapshot: &Snapshot| -> Vec<_> {
            snapshot.pools[0].state.candidates.iter().map(|one| one.endpoint.clone()).collect()
        };
        let (before, after) = (endpoints(&second), endpoints(&third));
        assert_eq!((before.len(), after.len()), (10, 10));
        let stayed = before[5..].iter().zip(&after[..5]);
        assert!(stayed.clone().all(|(old, new)| Arc::ptr_eq(old, new)));
        assert_eq!(after[5].address, "127.0.0.1:1010");
    }
}
