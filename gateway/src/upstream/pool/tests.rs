use gatewright_abi::{CANCELLED, kind};
use gatewright_sdk::__private::Absent;
use gatewright_sdk::native::Plugin;
use gatewright_sdk::{Balancer, Endpoints, NoConfig, Pick, Request, shared};

use super::*;
use crate::config;
use crate::plugin::{Budget, Code, House, Mould};

#[test]
fn budgets_outlive_a_reload() {
    let pool = |hedge: &str| {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[pool.a]\nendpoints = [\"a:80\"]\nhedge = {{ {hedge} }}\nretry = {{ \
             budget_least = 1 }}\n"
        );
        config::parse(&text, std::path::Path::new("g.toml")).unwrap().pools.remove(0)
    };
    let before = PoolState::new(pool("after = \"5ms\""), None, Arc::default(), None);
    let budget = before.model.retry.budget;
    let (_again, hedging) = (before.again(budget).unwrap(), before.hedging.as_ref().unwrap());
    assert!(hedging.may() && !hedging.may());
    let after = PoolState::new(pool("after = \"9ms\""), None, Arc::default(), Some(&before));
    assert!(after.again(budget).is_none() && !after.hedging.as_ref().unwrap().may());
    assert_eq!(after.hedging.as_ref().unwrap().begin(), Some(Duration::from_millis(9)));
}

#[test]
fn candidates_are_told_what_is_said_of_endpoints() {
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[pool.a]\nendpoints = [\"a:80\", { address = \"b:80\", weight = 3, \
                priority = 2, zone = \"west\", metadata = { rack = \"7\" } }]\n";
    let mut config = config::parse(text, std::path::Path::new("g.toml")).unwrap();
    let state = PoolState::new(config.pools.remove(0), None, Arc::default(), None);
    let [plain, full] = &state.candidates[..] else { panic!("{:?}", state.candidates) };
    assert_eq!((plain.weight, plain.priority, &*plain.zone, plain.metadata.len()), (1, 0, "", 0));
    assert_eq!((&*full.endpoint.address, full.weight, full.priority, &*full.zone), ("b:80", 3, 2, "west"));
    assert_eq!(full.metadata, [("rack".to_owned(), "7".to_owned())]);
}

/// Names an endpoint that there is not.
struct Fails;

/// Always the same endpoint; notes what becomes of requests where others can see it.
struct Notes(Vec<u8>);

impl Balancer for Fails {
    type Config = NoConfig;

    fn configure(_: NoConfig, _: &Endpoints) -> gatewright_sdk::Result<Fails> {
        Ok(Fails)
    }

    fn pick(&mut self, _: &Request, _: &Endpoints) -> Pick {
        Pick::Endpoint(99)
    }
}

impl Balancer for Notes {
    type Config = NoConfig;

    fn configure(_: NoConfig, _: &Endpoints) -> gatewright_sdk::Result<Notes> {
        Ok(Notes(Vec::new()))
    }

    fn pick(&mut self, _: &Request, _: &Endpoints) -> Pick {
        Pick::Endpoint(1)
    }

    fn outcome(&mut self, outcome: &gatewright_sdk::Outcome, _: &Endpoints) {
        let [high, low] = outcome.status.unwrap_or(0).to_be_bytes();
        self.0.extend([outcome.endpoint as u8, high, low, outcome.attempt as u8]);
        shared::set("notes", &self.0[..], None);
    }
}

/// A request of which nothing is known.
struct Bare;

impl Head for Bare {
    fn read(&self, _: crate::plugin::request::What<'_>, _: &mut dyn FnMut(&[u8])) -> bool {
        false
    }

    fn each_header(&self, _: crate::plugin::request::Side, _: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        false
    }

    fn status(&self) -> Option<u16> {
        None
    }

    fn allows(&self, _: &crate::plugin::request::Edit<'_>) -> bool {
        false
    }
}

#[test]
fn the_built_in_is_told_what_became_of_requests_also_where_it_decides_because_the_plugin_fails() {
    let budget = Budget { decision: Duration::MAX, configure: Duration::MAX, memory: 0 };
    let code = |name, plugin: Plugin| Code::BuiltIn(name, plugin);
    let fails = || code("fails", Plugin::of::<Fails, Absent, Absent>(kind::BALANCER));
    let house = House::new(1, None, |_| {}).unwrap();
    for plugin in [None, Some(fails())] {
        let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[pool.a]\nendpoints = [\"a:80\", \"b:80\"]\n";
        let mut config = config::parse(text, std::path::Path::new("g.toml")).unwrap();
        let mut state = PoolState::new(config.pools.remove(0), None, Arc::default(), None);
        let version = plugin.map(|plugin| house.version("mine", plugin, "{}", budget));
        state.crew = version.as_ref().map(|version| house.crew(version, kind::BALANCER, &state.candidates).unwrap());
        let services = Arc::new(Services::new("a"));
        let mould = Mould {
            services: &services,
            budget,
            kinds: kind::BALANCER,
            config: "{}",
            endpoints: &state.candidates,
            seed: 1,
        };
        let notes = Native::new(&Plugin::of::<Notes, Absent, Absent>(kind::BALANCER), &mould).unwrap();
        let metrics = Rc::new(metrics::Metrics::new(1).worker(0).unwrap());
        let pool = Pool::new(Arc::new(state), None, &metrics);
        *pool.own.borrow_mut() = Some(notes);
        let told =
            |status, attempt| Outcome { endpoint: 1, status, attempt, latency: Duration::from_millis(5), bytes: 0 };
        // The first failure is the plugin's last word; from then on it has no instance, or is not asked.
        for status in [200, 503, 0] {
            assert_eq!(pool.pick(&Bare, &Tried::default(), 0), Picked::Endpoint(1));
            pool.outcome(&told(status, 0), &[]);
        }
        pool.cancelled(1, 2, Duration::from_millis(9), &[]);
        let mut heard = Vec::new();
        services.shared().read(b"notes", Instant::now(), &mut |notes| heard = notes.to_vec());
        let expected = [(200u16, 0), (503, 0), (0, 0), (CANCELLED, 2)];
        let expected = expected.map(|(status, attempt)| [1, (status >> 8) as u8, status as u8, attempt]);
        assert_eq!(heard, expected.concat(), "a plugin: {}", version.is_some());
        let failed = version.is_some_and(|version| version.plugin.faults().any(|(_, count)| count > 0));
        assert_eq!(failed, pool.state.crew.is_some());
    }
}
