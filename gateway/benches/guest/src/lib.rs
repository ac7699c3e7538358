//! What the benchmarks call: a balancer that hashes a header and follows latencies, a router that looks at a cookie, and a
//! filter that reads a header, hashes it and sets another.

use gatewright_sdk::prelude::*;

const USER: &str = "x-user";

/// The same endpoint for the same user.
struct ByUser {
    latencies: Vec<u64>,
}

impl Balancer for ByUser {
    type Config = NoConfig;

    fn configure(_: NoConfig, endpoints: &Endpoints) -> Result<Self> {
        Ok(ByUser { latencies: vec![0; endpoints.len()] })
    }

    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        self.latencies = vec![0; endpoints.len()];
    }

    #[inline]
    fn pick(&mut self, request: &Request, endpoints: &Endpoints) -> Pick {
        let Some(hash) = request.hash_header(USER, 0) else { return Pick::Fallback };
        let place = ((hash >> 32) * endpoints.len() as u64) >> 32;
        endpoints.get(place as usize).filter(|endpoint| endpoint.is_available()).into()
    }

    fn outcome(&mut self, outcome: &Outcome, _: &Endpoints) {
        if let Some(average) = self.latencies.get_mut(outcome.endpoint) {
            *average = (*average * 7 + outcome.latency.get()) / 8;
        }
    }
}

/// Those who ask for it go to another pool.
struct Beta;

impl Router for Beta {
    type Config = NoConfig;

    fn configure(_: NoConfig) -> Result<Self> {
        Ok(Beta)
    }

    fn route(&mut self, request: &RequestMut) -> Route {
        match request.cookie("beta") {
            Some("yes") => Route::pool("beta"),
            _ => Route::CarryOn,
        }
    }
}

/// Tells the origin a number instead of a name.
struct Stamp;

impl Filter for Stamp {
    type Config = NoConfig;

    fn configure(_: NoConfig) -> Result<Self> {
        Ok(Stamp)
    }

    fn on_request(&mut self, request: &RequestMut) -> Verdict {
        if let Some(user) = request.header_bytes(USER) {
            let hash = hash::bytes(user, 0);
            let digit = |place: usize| b"0123456789abcdef"[(hash >> (60 - 4 * place)) as usize & 15];
            request.set_header("x-user-hash", std::array::from_fn::<u8, 16, _>(digit));
        }
        Verdict::CarryOn
    }
}

export!(balancer: ByUser, router: Beta, filter: Stamp);
