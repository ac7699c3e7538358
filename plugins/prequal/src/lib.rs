//! Requests in flight and latency by probing: Prequal (Wydrowski et al., "Load is not what you should balance", NSDI 2024).
//!
//! **Probes.** In the paper a client asks a few servers, drawn at random, how many requests they have and how long these take. Here the
//! gateway owns what is known of endpoints, so a probe is a look at that: each pick draws `probes` endpoints by weight and puts
//! them into a pool of `pool` probes. It costs a few loads, no message. What a backend reports as its load goes before the requests in
//! flight that this gateway counts, since it knows of everybody's; latencies are those that this gateway saw. A probe names an
//! endpoint, and what it tells is read again when it is used: of this gateway's own requests that is always right, of others' as old
//! as the last answer. So probes age: they are thrown away after `age`, after `uses` decisions, and, one for each pick, in turns
//! the oldest and the worst. Who stays in the pool is thereby always a fresh sample, and no endpoint is run to for long.
//!
//! **Latency** is that of an endpoint at what it has in flight now, as in the paper; the servers there keep a table of it. Here it is reckoned
//! from the average, which belongs to what was in flight on average. Averages that nobody renews fade, so one that was slow is tried again.
//!
//! **The rule** is hot or cold, lexicographic. A probe is hot when its endpoint has more in flight than the `quantile` of what was seen of late. Of
//! those that are cold the one with the lowest latency is taken; when all are hot, the one with the least in flight. So speed decides as long as
//! nobody is overloaded. Where some report a load and others do not, each is hot or cold among its like.
//!
//! Right for many backends on shared machines, which slow down for reasons of their own. With a handful of equal ones, `p2c` is as
//! good and simpler.

mod busy;
mod probes;

use gatewright_sdk::prelude::*;

use busy::Busy;
use probes::Probes;

/// How it is configured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Endpoints that are looked at for each request.
    probes: usize,
    /// Probes that are kept.
    pool: usize,
    /// How long one is kept.
    #[serde(deserialize_with = "gatewright_sdk::config::duration")]
    age: Duration,
    /// For how many decisions.
    uses: u32,
    /// Of what was seen in flight: those above it are hot.
    quantile: f64,
    /// After which time without news a latency counts half.
    #[serde(deserialize_with = "gatewright_sdk::config::duration")]
    half_life: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            probes: 3,
            pool: 16,
            age: Duration::from_secs(1),
            uses: 3,
            quantile: 0.84,
            half_life: Duration::from_secs(10),
        }
    }
}

/// What one worker has seen.
pub struct Prequal {
    config: Config,
    draw: Draw,
    probes: Probes,
    busy: Busy,
    fading: Fading,
}

impl Balancer for Prequal {
    type Config = Config;

    fn configure(config: Config, endpoints: &Endpoints) -> Result<Self> {
        for (right, wrong) in [
            ((1..=16).contains(&config.probes), "probes: takes 1 to 16"),
            ((2..=64).contains(&config.pool), "pool: takes 2 to 64"),
            (config.uses > 0, "uses: takes 1 or more"),
            ((0.0..=1.0).contains(&config.quantile), "quantile: takes 0 to 1"),
        ] {
            if !right {
                return Err(Error::new(wrong));
            }
        }
        Ok(Prequal {
            draw: Draw::of(endpoints),
            probes: Probes::new(config.pool),
            busy: Busy::new(config.quantile),
            fading: Fading::new(config.half_life, endpoints),
            config,
        })
    }

    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        self.draw = Draw::of(endpoints);
        self.probes.clear();
        self.fading.endpoints_changed(endpoints);
    }

    fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
        let now = clock::now();
        self.probes.forget(now, self.config.age);
        for _ in 0..self.config.probes {
            let Some(drawn) = self.draw.available(endpoints) else { break };
            self.busy.see(drawn);
            self.probes.add(drawn.index(), now, self.config.uses);
        }
        let (busy, fading) = (&self.busy, &mut self.fading);
        // Cold before hot; then by latency or by what is in flight.
        let cost = |endpoint: Endpoint<'_>| match busy.heat(endpoint) {
            heat if heat > 1.0 => f64::from(u32::MAX) * 1000.0 * heat,
            _ => expected(endpoint, fading, now),
        };
        let fit = |index| endpoints.get(index).filter(|endpoint| endpoint.is_available());
        let picked = random::least(self.probes.indices().filter_map(fit), cost);
        if let Some(picked) = picked {
            self.probes.used(picked.index());
        }
        self.probes.remove_one(|index| endpoints.get(index).map_or(f64::INFINITY, |endpoint| busy.heat(endpoint)));
        picked.or_else(|| self.draw.available(endpoints)).into()
    }
}

/// The latency of a request to it at what it has in flight now, with the attempts that one takes which fails; of one that is new,
/// none.
fn expected(endpoint: Endpoint<'_>, fading: &mut Fading, now: clock::Instant) -> f64 {
    let latency = fading.left(endpoint.index(), endpoint.latency(), now).get() as f64;
    // The average belongs to what was in flight on average: by Little's law, requests a second times latency.
    let usual = f64::from(endpoint.request_rate()) * latency / 1e6;
    let now_in_flight = (f64::from(endpoint.active()) + 1.0) / (usual + 1.0);
    latency * now_in_flight / f64::from((1.0 - endpoint.error_rate()).max(0.01))
}

export!(balancer: Prequal);

#[cfg(test)]
mod tests;
