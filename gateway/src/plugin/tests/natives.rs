//! What is particular to plugins that are linked in.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatewright_abi::kind;
use gatewright_sdk::__private::Absent;
use gatewright_sdk::native::Plugin;
use gatewright_sdk::prelude::*;
use gatewright_sdk::shared;

use super::super::effort::thread_time;
use super::super::{Budget, Code, Decision, House, Mould, Native, Outcome as Told, Seat, Services};
use super::endpoints;
use crate::balance::Candidate;

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

/// Takes long over other endpoints, or over the first ones already; counts what it is told, where others can see it.
struct Heavy;

#[derive(Deserialize)]
struct Weight {
    at_first: bool,
}

fn toil() {
    let began = thread_time();
    while thread_time() - began < Duration::from_millis(1) {}
}

impl Balancer for Heavy {
    type Config = Weight;

    fn configure(weight: Weight, _: &Endpoints) -> Result<Heavy> {
        if weight.at_first {
            toil();
        }
        Ok(Heavy)
    }

    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        toil();
        shared::set("told", [endpoints.len() as u8], None);
    }

    fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
        endpoints.all().last().into()
    }
}

#[test]
fn what_takes_long_over_its_endpoints_is_not_told_of_others_by_a_worker() {
    let budget = Budget { decision: Duration::MAX, configure: Duration::MAX, memory: 0 };
    let house = House::new(1, None, |_| {}).unwrap();
    for (name, config) in [("late", r#"{"at_first": false}"#), ("early", r#"{"at_first": true}"#)] {
        let code = Code::BuiltIn("heavy", Plugin::of::<Heavy, Absent, Absent>(kind::BALANCER));
        let version = house.version(name, code, config, budget);
        let told = || {
            let mut told = 0;
            let read = &mut |count: &[u8]| told = count.first().copied().unwrap_or(0);
            version.services.shared().read(b"told", Instant::now(), read);
            told
        };
        let mut seat: Option<Seat> = None;
        for count in 1..=4 {
            let all: Vec<Candidate> = endpoints(&vec![1; count]);
            let crew = house.crew(&version, kind::BALANCER, &all).unwrap();
            // A machine that was held up itself may take what is light for heavy, which costs nothing; never the other way round.
            let (is_heavy, told_before) = (version.is_heavy(), told());
            assert!(is_heavy || (name == "late" && count <= 2), "{name}: {count}");
            let before = RefCell::new(seat.take());
            let mut next = Seat::taken(Some(&crew), None, Some(&before), Instant::now()).unwrap();
            let picked = next.pick(&super::Request::default(), &all, &[], 0);
            assert_eq!(picked, Ok(Decision::Endpoint(count - 1)), "{name}");
            let expected = if is_heavy || count == 1 { told_before } else { count as u8 };
            assert_eq!(told(), expected, "{name}: {count}");
            seat = Some(next);
        }
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
