//! What is particular to plugins that are linked in.

use std::sync::Arc;
use std::time::Duration;

use gatewright_abi::kind;
use gatewright_sdk::__private::Absent;
use gatewright_sdk::native::Plugin;
use gatewright_sdk::prelude::*;
use gatewright_sdk::shared;

use super::super::{Budget, Mould, Native, Outcome as Told, Services};
use super::endpoints;

/// Counts outcomes, where others can see it.
struct Listens(u8);

/// Does nothing with outcomes.
struct Deaf;

impl Balancer for Listens {
    type Config = NoConfig;

    fn configure(_: NoConfig, _: &Endpoints) -> Result<Listens> {
        Ok(Listens(0))
    }

    fn pick(&mut self, _: &Request, _: &Endpoints) -> Pick {
        Pick::Fallback
    }

    fn outcome(&mut self, _: &Outcome, _: &Endpoints) {
        self.0 += 1;
        shared::set("heard", [self.0], None);
    }
}

impl Balancer for Deaf {
    type Config = NoConfig;

    fn configure(_: NoConfig, _: &Endpoints) -> Result<Deaf> {
        Ok(Deaf)
    }

    fn pick(&mut self, _: &Request, _: &Endpoints) -> Pick {
        Pick::Fallback
    }
}

#[test]
fn who_listens_is_told_of_each_outcome_and_who_does_not_of_one() {
    let (services, endpoints) = (Arc::new(Services::new("linked in")), endpoints(&[1, 1]));
    let budget = Budget { decision: Duration::MAX, configure: Duration::MAX, memory: 0 };
    let mould =
        Mould { services: &services, budget, kinds: kind::BALANCER, config: "{}", endpoints: &endpoints, seed: 1 };
    let told = Told { endpoint: 1, status: 200, attempt: 0, latency: Duration::ZERO, bytes: 0 };
    let mut deaf = Native::new(&Plugin::of::<Deaf, Absent, Absent>(kind::BALANCER), &mould).unwrap();
    let mut listens = Native::new(&Plugin::of::<Listens, Absent, Absent>(kind::BALANCER), &mould).unwrap();
    for _ in 0..3 {
        deaf.outcome(&told, &endpoints).unwrap();
        listens.outcome(&told, &endpoints).unwrap();
    }
    assert!(deaf.is_deaf() && !listens.is_deaf());
    let mut heard = Vec::new();
    services.shared().read(b"heard", std::time::Instant::now(), &mut |count| heard = count.to_vec());
    assert_eq!(heard, [3]);
}
