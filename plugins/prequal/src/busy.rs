//! How busy an endpoint is beside what was seen of late.

use gatewright_sdk::Endpoint;

/// Looks that are remembered.
const SEEN: usize = 64;
/// Looks between two reckonings of the quantile.
const EVERY: u32 = 8;

/// What was seen in flight, of endpoints that report their load and of those that do not: the two are not the same measure.
pub(crate) struct Busy {
    quantile: f64,
    reported: Recent,
    counted: Recent,
}

struct Recent {
    values: [f32; SEEN],
    count: usize,
    next: usize,
    until_reckoned: u32,
    /// The quantile of the values.
    bound: f32,
}

/// What an endpoint has to do, by which measure.
enum Measure {
    Reported(f32),
    Counted(f32),
}

fn measure(endpoint: Endpoint<'_>) -> Measure {
    match endpoint.load() {
        Some(load) => Measure::Reported(load),
        None => Measure::Counted(endpoint.active() as f32 / endpoint.effective_weight()),
    }
}

impl Busy {
    pub(crate) fn new(quantile: f64) -> Busy {
        Busy { quantile, reported: Recent::new(), counted: Recent::new() }
    }

    /// Takes in how busy an endpoint is.
    pub(crate) fn see(&mut self, endpoint: Endpoint<'_>) {
        match measure(endpoint) {
            Measure::Reported(load) => self.reported.push(load, self.quantile),
            Measure::Counted(active) => self.counted.push(active, self.quantile),
        }
    }

    /// How busy it is beside the bound: above 1 it is hot.
    pub(crate) fn heat(&self, endpoint: Endpoint<'_>) -> f64 {
        let (value, bound) = match measure(endpoint) {
            Measure::Reported(load) => (load, self.reported.bound),
            Measure::Counted(active) => (active, self.counted.bound),
        };
        // Who has nothing to do is cold, whatever others have.
        if value <= 0.0 { 0.0 } else { f64::from(value) / f64::from(bound.max(1e-6)) }
    }
}

impl Recent {
    fn new() -> Recent {
        Recent { values: [0.0; SEEN], count: 0, next: 0, until_reckoned: 0, bound: 0.0 }
    }

    fn push(&mut self, value: f32, quantile: f64) {
        if let Some(place) = self.values.get_mut(self.next) {
            *place = value;
        }
        self.next = (self.next + 1) % SEEN;
        self.count = (self.count + 1).min(SEEN);
        if self.until_reckoned == 0 || self.count < SEEN {
            self.until_reckoned = EVERY;
            self.bound = self.reckon(quantile);
        }
        self.until_reckoned -= 1;
    }

    fn reckon(&self, quantile: f64) -> f32 {
        let mut sorted = self.values;
        let Some(known @ [_, ..]) = sorted.get_mut(..self.count) else { return 0.0 };
        let place = (quantile * (known.len() - 1) as f64) as usize;
        let (_, bound, _) = known.select_nth_unstable_by(place, f32::total_cmp);
        *bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_quantile_of_what_was_seen_of_late() {
        let mut recent = Recent::new();
        (0..10).for_each(|value| recent.push(value as f32, 0.84));
        assert_eq!(recent.bound, 7.0);
        (0..2 * SEEN).for_each(|_| recent.push(100.0, 0.84));
        assert_eq!(recent.bound, 100.0);
        (0..2 * SEEN).for_each(|value| recent.push((value % 2) as f32, 0.0));
        assert_eq!(recent.bound, 0.0);
    }
}
