//! Smooth weighted round robin: in any stretch of picks each endpoint has its share, without runs of one.
//!
//! Each pick adds to every endpoint its weight, takes the one that has most, and subtracts the sum of weights from it; with
//! equal weights that is the next in turn. It looks at no load: right where requests cost the same and order matters.

use gatewright_sdk::prelude::*;

/// One worker's turn.
pub struct RoundRobin {
    credits: Vec<f64>,
    /// The next, when all weights are equal and requests are for all endpoints alike.
    next: Option<usize>,
}

impl Balancer for RoundRobin {
    type Config = NoConfig;

    fn configure(_: NoConfig, endpoints: &Endpoints) -> Result<Self> {
        // Workers begin at different places, so that they do not all send their first request to the same endpoint.
        let mut turns = RoundRobin { credits: Vec::new(), next: Some(random::below(endpoints.len())) };
        turns.endpoints_changed(endpoints);
        if turns.next.is_none() {
            for _ in 0..random::below(endpoints.len().min(64)) {
                turns.weighted(endpoints);
            }
        }
        Ok(turns)
    }

    fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        let mut weights = endpoints.all().map(|endpoint| endpoint.weight());
        let first = weights.next();
        let equal = weights.all(|weight| Some(weight) == first);
        self.next = equal.then_some(self.next.unwrap_or(0));
        self.credits = vec![0.0; endpoints.len()];
    }

    #[inline]
    fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
        let Some(next) = self.next else { return self.weighted(endpoints).into() };
        let count = endpoints.len();
        for step in 0..count {
            let Some(endpoint) = endpoints.get((next + step) % count) else { break };
            if endpoint.is_standby() {
                // Whoever comes first behind those of another priority would have the turns of all of them.
                self.next = None;
                break;
            }
            if endpoint.is_available() && (!endpoint.is_warming() || self.has_warmed(endpoint)) {
                self.next = Some((endpoint.index() + 1) % count);
                return endpoint.into();
            }
        }
        // Nobody, or only such as are warming.
        self.weighted(endpoints).into()
    }
}

impl RoundRobin {
    /// Whether a turn of one that is warming is one of those that it takes: so many of them as its warmth says.
    #[cold]
    fn has_warmed(&mut self, endpoint: Endpoint<'_>) -> bool {
        let Some(credit) = self.credits.get_mut(endpoint.index()) else { return true };
        *credit += f64::from(endpoint.warmth());
        let takes = *credit >= 1.0;
        if takes {
            *credit -= 1.0;
        }
        takes
    }

    fn weighted<'e>(&mut self, endpoints: &'e Endpoints) -> Option<Endpoint<'e>> {
        let (mut best, mut most, mut total) = (None, f64::NEG_INFINITY, 0.0);
        for endpoint in endpoints.available() {
            let Some(credit) = self.credits.get_mut(endpoint.index()) else { continue };
            let weight = f64::from(endpoint.effective_weight());
            *credit += weight;
            total += weight;
            if *credit > most {
                (best, most) = (Some(endpoint), *credit);
            }
        }
        let best = best?;
        if let Some(credit) = self.credits.get_mut(best.index()) {
            *credit -= total;
        }
        Some(best)
    }
}

export!(balancer: RoundRobin);

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_sdk::mock::{Mock, endpoint, get};

    fn picks(weights: &[u32], out: &[usize], count: usize) -> Vec<usize> {
        let pool = weights.iter().enumerate().map(|(n, weight)| endpoint(&format!("10.0.0.{n}:80")).weight(*weight));
        let mut gateway = Mock::balancer::<RoundRobin>("{}", pool).unwrap();
        for index in out {
            gateway.endpoint(*index).ejected(true);
        }
        (0..count).filter_map(|_| gateway.pick(&get("http://a/")).first()).collect()
    }

    #[test]
    fn each_has_its_share_without_runs() {
        let picks = picks(&[5, 1, 1], &[], 70);
        let count = |wanted| picks.iter().filter(|&&pick| pick == wanted).count();
        assert_eq!((count(0), count(1), count(2)), (50, 10, 10));
        assert!(picks.windows(6).all(|run| run.iter().any(|&pick| pick != 0)));
    }

    #[test]
    fn equal_weights_take_turns() {
        let picks = picks(&[2, 2, 2], &[], 4);
        assert_eq!(picks[1..], [1, 2, 3].map(|step| (picks[0] + step) % 3));
    }

    #[test]
    fn each_has_its_share_of_the_requests_that_are_for_it() {
        let mut gateway = Mock::balancer::<RoundRobin>("{}", (0..4).map(|n| endpoint(&format!("a:{n}")))).unwrap();
        let mut counts = [0; 4];
        for round in 0..40 {
            // Three of four are for the first two, the others for those behind them.
            let second = round % 4 == 3;
            for index in 0..4 {
                gateway.endpoint(index).standby((index > 1) != second);
            }
            counts[gateway.pick(&get("http://a/")).first().unwrap()] += 1;
        }
        assert_eq!(counts, [15, 15, 5, 5]);
    }

    #[test]
    fn who_warms_has_some_of_its_turns() {
        for weights in [[1, 1, 1], [2, 1, 1]] {
            let pool = weights.map(|weight| endpoint("10.0.0.1:80").weight(weight));
            let mut gateway = Mock::balancer::<RoundRobin>("{}", pool).unwrap();
            gateway.endpoint(2).warmth(0.25);
            let picks: Vec<usize> = (0..900).filter_map(|_| gateway.pick(&get("http://a/")).first()).collect();
            let warming = picks.iter().filter(|pick| **pick == 2).count();
            let share = 900.0 * 0.25 / (f64::from(weights[0]) + 1.25);
            assert!((warming as f64 - share).abs() < 5.0, "{weights:?}: {warming}, not {share}");
            (0..3).for_each(|index| {
                gateway.endpoint(index).warmth(0.1);
            });
            assert!((0..50).all(|_| gateway.pick(&get("http://a/")).first().is_some()));
        }
    }

    #[test]
    fn who_is_out_of_order_has_no_turn() {
        assert!(picks(&[1, 1, 1], &[1], 30).iter().all(|pick| *pick != 1));
        assert!(picks(&[3, 1, 1], &[0], 30).iter().all(|pick| *pick != 0));
        assert!(picks(&[1, 1], &[0, 1], 3).is_empty());
    }
}
