//! The same key to the same endpoint, by Maglev's table (Eisenbud et al., NSDI 2016).
//!
//! A table of prime size is filled by all endpoints in turns, each with places in an order of its own; a key's hash is a place. Shares
//! are as even as places are many, and all workers and gateways with the same endpoints agree. When one of N comes or goes, little
//! more than its own share of keys moves. One that is out of order leaves its keys to others until it is back, which
//! moves nobody else's; one that warms gets more and more of its keys.
//!
//! Right for caches and whatever else profits from seeing the same key again, when no key is too large for one endpoint: load is
//! not looked at. Where that may happen, take `ring`.
//!
//! The table has 65 537 places for up to 655 endpoints, so that each has a hundred, and 655 373 for more: crossing that
//! number once moves most keys. `table` fixes it.

use gatewright_sdk::prelude::*;

/// How it is configured.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What a request is known by.
    key: Key,
    /// Places of the table.
    table: Option<u32>,
}

/// The table of one worker.
pub struct Maglev {
    config: Config,
    /// Indices of endpoints.
    places: Vec<u32>,
}

/// Sizes of the table: primes.
const SMALL: u32 = 65_537;
const LARGE: u32 = 655_373;
/// Places that each endpoint should have, for shares that differ by some percent.
const EACH: usize = 100;
/// The table's bounds: below, it is no table; above, it is slower to build than a change may take.
const SIZES: std::ops::RangeInclusive<u32> = 7..=5_000_011;
/// The part of the table, one of so many, that is filled in another way: see [`filled`].
const REST: u32 = 1024;
/// Places that are looked at from a key's own on, before all endpoints are.
const STEPS: usize = 64;

impl Balancer for Maglev {
    type Config = Config;

    fn configure(config: Config, endpoints: &Endpoints) -> Result<Self> {
        if let Some(table) = config.table
            && !(SIZES.contains(&table) && is_prime(table))
        {
            return Err(Error::new(format_args!("table: takes a prime number from 7 to 5000011, not {table}")));
        }
        let mut maglev = Maglev { config, places: Vec::new() };
        maglev.endpoints_changed(endpoints);
        Ok(maglev)
    }

    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        let size = if endpoints.len() * EACH <= SMALL as usize { SMALL } else { LARGE };
        let size = self.config.table.unwrap_or(size);
        let filler = |(index, one): (u32, Endpoint<'_>)| Filler::new(index, one.id(), one.weight().into(), size);
        let fillers = (0..).zip(endpoints.all()).map(filler).filter(|filler| filler.weight > 0);
        self.places = filled(fillers.collect(), size);
    }

    fn pick(&mut self, request: &Request, endpoints: &Endpoints) -> Pick {
        let key = self.config.key.hash(request, 0).unwrap_or_else(random::bits);
        let size = self.places.len().max(1);
        let first = (key % size as u64) as usize;
        let places = (first..first + STEPS).filter_map(|place| self.places.get(place % size));
        let walked =
            places.filter_map(|index| endpoints.get(*index as usize)).find(|endpoint| endpoint.admits_key(key));
        // Hardly anybody is there.
        walked.or_else(|| hash::rendezvous(key, endpoints.available())).into()
    }
}

/// One endpoint as it fills the table.
struct Filler {
    index: u32,
    id: u64,
    at: u32,
    step: u32,
    weight: u64,
    /// How much weight it has used up.
    used: u64,
}

impl Filler {
    fn new(index: u32, id: u64, weight: u64, size: u32) -> Filler {
        let prime = u64::from(size);
        let (at, step) = ((hash::mix(id, 1) % prime) as u32, (hash::mix(id, 2) % (prime - 1) + 1) as u32);
        Filler { index, id, at, step, weight, used: 0 }
    }

    /// The next place of its order.
    fn next(&mut self, size: u32) -> u32 {
        let place = self.at;
        // Cheaper than a division, of which there would be millions; both are below a size that is far from any overflow.
        let next = place + self.step;
        self.at = if next < size { next } else { next - size };
        place
    }
}

/// Which places are free: a bit for each, so that millions of looks go to memory that is near.
struct Free(Vec<u64>);

impl Free {
    fn all(size: u32) -> Free {
        let mut words = vec![u64::MAX; size.div_ceil(64) as usize];
        if let Some(last) = words.last_mut().filter(|_| !size.is_multiple_of(64)) {
            *last = (1 << (size % 64)) - 1;
        }
        Free(words)
    }

    /// Takes this place; whether it was free.
    fn take(&mut self, place: u32) -> bool {
        let bit = 1 << (place % 64);
        self.0.get_mut((place / 64) as usize).is_some_and(|word| {
            let was_free = *word & bit != 0;
            *word &= !bit;
            was_free
        })
    }

    /// The first free place from this one on, behind the last one from the begin.
    fn from(&self, place: u32) -> Option<u32> {
        let first = (place / 64) as usize;
        let behind = self.0.get(first)? & (u64::MAX << (place % 64));
        let others = (first + 1..self.0.len()).chain(0..=first);
        let words = others.filter_map(|at| Some((at, *self.0.get(at)?)));
        let (at, word) = std::iter::once((first, behind)).chain(words).find(|(_, word)| *word != 0)?;
        Some(at as u32 * 64 + word.trailing_zeros())
    }
}

/// The table: each in turns takes the next free place of its own order, as often as its weight says.
fn filled(mut fillers: Vec<Filler>, size: u32) -> Vec<u32> {
    let Some(heaviest) = fillers.iter().map(|filler| filler.weight).max() else { return Vec::new() };
    // Everybody agrees on whose turn it is, in whichever order endpoints are configured.
    fillers.sort_unstable_by_key(|filler| filler.id);
    let (mut places, mut free) = (vec![0; size as usize], Free::all(size));
    let mut left = size;
    let mut round = 0;
    while left > 0 {
        round += 1;
        for filler in &mut fillers {
            if filler.used >= round * filler.weight {
                continue;
            }
            filler.used += heaviest;
            let mut wanted = filler.next(size);
            // The order of each goes through all places, since their number is prime; so there is a free one. The last ones are found by
            // going on from the place that it comes to: in its own order it would look at most of the table for each.
            if left > size / REST {
                while !free.take(wanted) {
                    wanted = filler.next(size);
                }
            } else {
                let Some(next) = free.from(wanted).filter(|next| free.take(*next)) else { return places };
                wanted = next;
            }
            if let Some(place) = places.get_mut(wanted as usize) {
                *place = filler.index;
            }
            left -= 1;
            if left == 0 {
                break;
            }
        }
    }
    places
}

fn is_prime(number: u32) -> bool {
    number >= 2
        && (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}

export!(balancer: Maglev);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Head, Mock, MockEndpoint, endpoint, get, tcp};

    fn pool(numbers: impl IntoIterator<Item = usize>) -> Vec<MockEndpoint> {
        numbers.into_iter().map(|n| endpoint(&format!("10.0.{}.{}:80", n / 250, n % 250))).collect()
    }

    fn gateway(pool: Vec<MockEndpoint>) -> Mock {
        Mock::balancer::<Maglev>(r#"{"key": "header:x-user"}"#, pool).unwrap()
    }

    /// Where each of these users goes.
    fn homes(gateway: &mut Mock, users: usize) -> Vec<Option<usize>> {
        (0..users).map(|user| gateway.pick(&get("/").header("x-user", format!("user-{user}"))).first()).collect()
    }

    fn counts(homes: &[Option<usize>], endpoints: usize) -> Vec<usize> {
        (0..endpoints).map(|wanted| homes.iter().filter(|home| **home == Some(wanted)).count()).collect()
    }

    #[test]
    fn keys_are_spread_evenly_and_by_weight() {
        let found = counts(&homes(&mut gateway(pool(0..10)), 10_000), 10);
        assert!(found.iter().all(|count| count.abs_diff(1000) < 120), "{found:?}");
        let weights = [1, 2, 5].into_iter().zip(pool(0..3)).map(|(weight, one)| one.weight(weight)).collect();
        let found = counts(&homes(&mut gateway(weights), 8000), 3);
        let near = |index: usize, share: usize| found[index].abs_diff(share) < 150;
        assert!(near(0, 1000) && near(1, 2000) && near(2, 5000), "{found:?}");
    }

    #[test]
    fn little_moves_when_one_goes_and_the_order_does_not_matter() {
        let before = homes(&mut gateway(pool(0..10)), 5000);
        let after = homes(&mut gateway(pool(0..9)), 5000);
        let moved = before.iter().zip(&after).filter(|(before, after)| **before != Some(9) && before != after).count();
        assert!(moved < 250, "{moved} of 5000 moved without need");
        let turned = homes(&mut gateway(pool((0..10).rev())), 5000);
        assert!(before.iter().zip(&turned).all(|(one, other)| one.map(|index| 9 - index) == *other));
    }

    #[test]
    fn who_is_out_of_order_leaves_its_keys_to_all_others_and_nobody_elses_move() {
        let mut gateway = gateway(pool(0..10));
        let before = homes(&mut gateway, 5000);
        gateway.endpoint(4).ejected(true);
        let after = homes(&mut gateway, 5000);
        assert!(before.iter().zip(&after).all(|(before, after)| (*before == Some(4)) == (before != after)));
        let gained = counts(&after, 10);
        assert!(gained.iter().enumerate().all(|(n, count)| n == 4 || *count > 500), "{gained:?}");
        gateway.endpoint(4).ejected(false).warmth(0.3);
        let warming = homes(&mut gateway, 5000);
        let share = counts(&warming, 10)[4];
        assert!((100..220).contains(&share), "{share}");
        assert!(warming.iter().zip(&before).all(|(now, before)| *now != Some(4) || now == before));
    }

    #[test]
    fn the_table_is_full_and_each_has_its_places_to_one() {
        for (count, size) in [(1, 7), (3, 7), (7, 7), (9, 7), (10, 1009), (100, SMALL), (700, LARGE)] {
            let fillers = (0..count as u32).map(|index| Filler::new(index, hash::mix(u64::from(index), 9), 1, size));
            let places = filled(fillers.collect(), size);
            let mut counts = vec![0; count];
            places.iter().for_each(|index| counts[*index as usize] += 1);
            let (least, most) = (size as usize / count, (size as usize).div_ceil(count));
            assert!(
                places.len() == size as usize && counts.iter().all(|own| (least..=most).contains(own)),
                "{counts:?}"
            );
        }
    }

    #[test]
    fn of_very_many_little_moves_too() {
        let before = homes(&mut gateway(pool(0..1000)), 5000);
        let after = homes(&mut gateway(pool(0..999)), 5000);
        let moved =
            before.iter().zip(&after).filter(|(before, after)| **before != Some(999) && before != after).count();
        assert!(moved < 75, "{moved} of 5000 moved without need");
    }

    #[test]
    fn many_endpoints_share_too_and_nobody_is_left_out() {
        let mut gateway = gateway(pool(0..10_000));
        let found = counts(&homes(&mut gateway, 4000), 10_000);
        assert!(found.iter().all(|count| *count < 10));
        for index in 1..10_000 {
            gateway.endpoint(index).healthy(false);
        }
        assert!(homes(&mut gateway, 50).iter().all(|home| *home == Some(0)));
        gateway.change_endpoints([]);
        assert_eq!(homes(&mut gateway, 1), [None]);
    }

    #[test]
    fn without_its_key_a_request_goes_by_its_client() {
        let mut gateway = gateway(pool(0..10));
        let mut homes = |of: &dyn Fn(&str) -> Head| -> Vec<_> {
            (0..50).map(|n| gateway.pick(&of(&format!("10.1.2.{n}"))).first()).collect()
        };
        let first = homes(&|client| get("/").client(client));
        assert_eq!(homes(&|client| tcp(client)), first);
        assert!(first.iter().any(|other| *other != first[0]));
    }

    #[test]
    fn what_is_no_prime_is_refused() {
        for (config, words) in [
            (r#"{"table": 1000}"#, "table: takes a prime number from 7"),
            (r#"{"table": 4294967291}"#, "table: takes a prime number from 7"),
            (r#"{"key": "user"}"#, "key: takes \"client\""),
        ] {
            let wrong = Mock::balancer::<Maglev>(config, []).err().unwrap().to_string();
            assert!(wrong.starts_with(words), "{wrong}");
        }
        assert!(Mock::balancer::<Maglev>(r#"{"table": 1009}"#, pool(0..3)).is_ok());
        assert!([SMALL, LARGE, *SIZES.start(), *SIZES.end()].into_iter().all(is_prime));
    }
}
