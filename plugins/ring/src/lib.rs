//! The same key to the same endpoint as long as that has room: consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, 2018).
//!
//! Each endpoint has points on a ring, as many as its weight says; a key belongs to the next point. An endpoint that has more
//! than `bound` times its share of the requests under way is full, and the key goes on to the next one that is not: 1.25 lets
//! nobody have more than a quarter above the average. So a key that everybody wants spills over to a few neighbours, always the
//! same ones. When one of N endpoints comes or goes, just its share of keys moves. One that is out of order is passed over; one that
//! warms gets more and more of its keys, and is full earlier.
//!
//! Right for caches with keys that are not alike. Where each key is small, `maglev` is more even.
//!
//! An endpoint has `points` for each unit of its weight, fewer where the ring would have more than 262 144: then half as many, a quarter,
//! and so on, and crossing such a bound moves many keys once.

use gatewright_sdk::prelude::*;

/// How it is configured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What a request is known by.
    key: Key,
    /// How many times its share an endpoint may have under way.
    bound: f64,
    /// Points for each unit of weight.
    points: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config { key: Key::default(), bound: 1.25, points: 160 }
    }
}

/// The ring of one worker.
pub struct Ring {
    config: Config,
    /// Places on the ring, in order, and whose they are.
    points: Vec<(u64, u32)>,
    /// Of very many endpoints: what each may have under way, and when that was reckoned.
    reckoned: Option<(clock::Instant, f64)>,
}

/// Points of all endpoints together.
const MOST: u64 = 1 << 18;
/// Points that are looked at from a key's own on, before all endpoints are.
const STEPS: usize = 512;
/// With more endpoints than these, what each may have is reckoned now and then: it hardly changes from one request to the next.
const MANY: usize = 1000;
/// How long it holds.
const HOLDS: Duration = Duration::from_millis(10);

impl Balancer for Ring {
    type Config = Config;

    fn configure(config: Config, endpoints: &Endpoints) -> Result<Self> {
        if !(config.bound >= 1.01 && config.bound <= 1e6) {
            return Err(Error::new("bound: takes 1.01 to 1000000: the times of its share that an endpoint may have"));
        }
        if !(1..=10_000).contains(&config.points) {
            return Err(Error::new("points: takes 1 to 10000"));
        }
        let mut ring = Ring { config, points: Vec::new(), reckoned: None };
        ring.endpoints_changed(endpoints);
        Ok(ring)
    }

    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        let weights: u64 = endpoints.all().map(|endpoint| u64::from(endpoint.weight())).sum();
        let mut each = u64::from(self.config.points);
        let mut shrunk = 0;
        while (each * weights) >> shrunk > MOST {
            shrunk += 1;
        }
        each = each.max(1);
        self.points.clear();
        for endpoint in endpoints.all() {
            // Who has fewer points has the first of those that it had.
            let count = ((each * u64::from(endpoint.weight())) >> shrunk).max(1);
            let points = (0..count).map(|point| (hash::mix(endpoint.id(), point), endpoint.index() as u32));
            self.points.extend(points);
        }
        self.points.sort_unstable();
        self.reckoned = None;
    }

    fn pick(&mut self, request: &Request, endpoints: &Endpoints) -> Pick {
        let key = self.config.key.hash(request, 0).unwrap_or_else(random::bits);
        let first = self.points.partition_point(|(point, _)| *point < key);
        let (before, after) = self.points.split_at_checked(first).unwrap_or_default();
        let points = after.iter().chain(before).take(STEPS);
        let owners = points.filter_map(|(_, owner)| endpoints.get(*owner as usize));
        let is_many = endpoints.len() > MANY;
        let mut room = Room { each: self.reckoned.filter(|_| is_many), bound: self.config.bound };
        let mut near = owners.filter(|endpoint| endpoint.admits_key(key));
        let with_room = near.find(|endpoint| room.is_for(*endpoint, endpoints));
        self.reckoned = room.each.filter(|_| is_many);
        // Hardly anybody is there: whoever has most room.
        let load = |one: Endpoint<'_>| (f64::from(one.active()) + 1.0) / f64::from(one.effective_weight());
        with_room.or_else(|| random::least(endpoints.available(), load)).into()
    }
}

/// How much each may have under way, reckoned when it is asked for: who has nothing has room.
struct Room {
    /// For each unit of weight, and when that was reckoned.
    each: Option<(clock::Instant, f64)>,
    bound: f64,
}

impl Room {
    fn is_for(&mut self, endpoint: Endpoint<'_>, endpoints: &Endpoints) -> bool {
        let active = endpoint.active();
        if active == 0 {
            return true;
        }
        let now = clock::now();
        let known = self.each.filter(|(at, _)| now - *at < Micros::from(HOLDS));
        let (_, each) = *self.each.insert(known.unwrap_or_else(|| (now, self.bound * average(endpoints))));
        f64::from(active) < (each * f64::from(endpoint.effective_weight())).ceil()
    }
}

/// What each would have under way with one request more, for each unit of weight.
fn average(endpoints: &Endpoints) -> f64 {
    let add = |(requests, weights): (u64, f64), one: Endpoint<'_>| {
        (requests + u64::from(one.active()), weights + f64::from(one.effective_weight()))
    };
    let (requests, weights) = endpoints.available().fold((1, 0.0), add);
    requests as f64 / weights
}

export!(balancer: Ring);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, MockEndpoint, endpoint, get};

    fn pool(numbers: impl IntoIterator<Item = usize>) -> Vec<MockEndpoint> {
        numbers.into_iter().map(|n| endpoint(&format!("10.0.{}.{}:80", n / 250, n % 250))).collect()
    }

    fn gateway(pool: Vec<MockEndpoint>) -> Mock {
        Mock::balancer::<Ring>(r#"{"key": "cookie:user"}"#, pool).unwrap()
    }

    fn home(gateway: &mut Mock, user: usize) -> Option<usize> {
        gateway.pick(&get("/").header("cookie", format!("user=user-{user}"))).first()
    }

    fn homes(gateway: &mut Mock, users: usize) -> Vec<Option<usize>> {
        (0..users).map(|user| home(gateway, user)).collect()
    }

    fn counts(homes: &[Option<usize>], endpoints: usize) -> Vec<usize> {
        (0..endpoints).map(|wanted| homes.iter().filter(|home| **home == Some(wanted)).count()).collect()
    }

    #[test]
    fn keys_are_spread_by_weight() {
        let found = counts(&homes(&mut gateway(pool(0..10)), 10_000), 10);
        assert!(found.iter().all(|count| count.abs_diff(1000) < 350), "{found:?}");
        let weights = [1, 3].into_iter().zip(pool(0..2)).map(|(weight, one)| one.weight(weight)).collect();
        let found = counts(&homes(&mut gateway(weights), 8000), 2);
        assert!(found[0].abs_diff(2000) < 600, "{found:?}");
    }

    #[test]
    fn just_the_keys_of_one_that_goes_move() {
        let before = homes(&mut gateway(pool(0..10)), 5000);
        let after = homes(&mut gateway(pool(0..9)), 5000);
        assert!(before.iter().zip(&after).all(|(before, after)| (*before == Some(9)) == (before != after)));
        let mut same = gateway(pool(0..10));
        same.endpoint(9).draining(true);
        assert_eq!(homes(&mut same, 5000), after);
        same.endpoint(9).draining(false).warmth(0.4);
        let share = counts(&homes(&mut same, 5000), 10)[9] as f64 / counts(&before, 10)[9] as f64;
        assert!((0.3..0.5).contains(&share), "{share}");
    }

    #[test]
    fn nobody_has_more_than_the_bound_and_what_spills_over_goes_to_the_same_ones() {
        let mut gateway = gateway(pool(0..10));
        let mut active = [0u32; 10];
        for _ in 0..1000 {
            // Everybody wants the same.
            let picked = home(&mut gateway, 7).unwrap();
            active[picked] += 1;
            gateway.endpoint(picked).active(active[picked]);
        }
        let total: u32 = active.iter().sum();
        assert!(total == 1000 && active.iter().all(|active| *active <= 126), "{active:?}");
        let full = active.iter().filter(|active| **active >= 124).count();
        assert_eq!(full, 8, "{active:?}");
    }

    #[test]
    fn of_very_many_the_bound_is_reckoned_anew_after_a_moment() {
        let mut gateway = gateway(pool(0..2000));
        let first = home(&mut gateway, 7).unwrap();
        // Two under way of two in all: more than its share.
        gateway.endpoint(first).active(2);
        let second = home(&mut gateway, 7).unwrap();
        assert_ne!(second, first);
        // Many more elsewhere make its share larger, which is seen a moment later.
        for index in (0..2000).filter(|index| ![first, second].contains(index)) {
            gateway.endpoint(index).active(9);
        }
        assert_eq!(home(&mut gateway, 7), Some(second));
        gateway.advance(HOLDS);
        assert_eq!(home(&mut gateway, 7), Some(first));
    }

    #[test]
    fn many_endpoints_have_a_ring_that_is_bounded() {
        let mut gateway = gateway(pool(0..10_000));
        let found = counts(&homes(&mut gateway, 2000), 10_000);
        assert!(found.iter().all(|count| *count < 15));
        for index in 1..10_000 {
            gateway.endpoint(index).healthy(false);
        }
        assert!(homes(&mut gateway, 20).iter().all(|home| *home == Some(0)));
        gateway.change_endpoints(pool(0..3).into_iter().map(|one| one.weight(65_535)));
        assert_eq!(homes(&mut gateway, 100).iter().flatten().count(), 100);
        gateway.change_endpoints([]);
        assert_eq!(home(&mut gateway, 1), None);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        for (config, words) in [(r#"{"bound": 1.0}"#, "bound: takes 1.01"), (r#"{"points": 0}"#, "points: takes 1")] {
            let wrong = Mock::balancer::<Ring>(config, []).err().unwrap().to_string();
            assert!(wrong.starts_with(words), "{wrong}");
        }
    }
}
