//! How many values lay where, in buckets that grow with the values: less than one per cent beside the truth, whatever the range.

/// Buckets for each doubling, as a power of two.
const FINE: u32 = 7;
const EACH: u64 = 1 << FINE;

/// Values, by how large they are.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// As many buckets as the largest value needs.
    counts: Vec<u64>,
    total: u64,
    sum: u128,
    most: u64,
}

impl Histogram {
    /// Takes one value in.
    #[inline]
    pub fn record(&mut self, value: u64) {
        let at = place(value);
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
        self.total += 1;
        self.sum += u128::from(value);
        self.most = self.most.max(value);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The largest.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// The mean; 0 without values.
    pub fn mean(&self) -> u64 {
        self.sum.checked_div(self.total.into()).and_then(|mean| u64::try_from(mean).ok()).unwrap_or(0)
    }

    /// The value that this share of all is not above; 0 without values.
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = ((share * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut passed = 0;
        for (at, count) in self.counts.iter().enumerate() {
            passed += count;
            if passed >= rank {
                return middle(at).min(self.most);
            }
        }
        0
    }
}

/// The bucket of a value: the first ones are one wide, and each doubling has as many as the one before.
fn place(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(FINE + 1);
    (u64::from(shift) * EACH + (value >> shift)) as usize
}

/// The value in the middle of a bucket.
fn middle(place: usize) -> u64 {
    let place = place as u64;
    let shift = (place / EACH).saturating_sub(1);
    let first = (place - shift * EACH) << shift;
    first + ((1 << shift) - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_one_per_cent() {
        let mut histogram = Histogram::default();
        (1..=100_000u64).for_each(|value| histogram.record(value * 997));
        for share in [0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let (found, exact) = (histogram.quantile(share) as f64, share * 100_000.0 * 997.0);
            assert!((found / exact - 1.0).abs() < 0.01, "{share}: {found} instead of {exact}");
        }
        assert_eq!((histogram.count(), histogram.most()), (100_000, 99_700_000));
        assert_eq!(histogram.mean(), 997 * 100_001 / 2);
    }

    #[test]
    fn small_values_are_exact_and_large_ones_fit() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.mean()), (0, 0));
        [0, 3, 3, 200, u64::MAX].into_iter().for_each(|value| histogram.record(value));
        let found = [0.1, 0.4, 0.6, 0.8].map(|share| histogram.quantile(share));
        assert_eq!(found, [0, 3, 3, 200]);
        assert!(histogram.quantile(1.0) > u64::MAX / 100 * 99);
    }

    #[test]
    fn every_value_lies_in_the_bucket_whose_middle_is_near_it() {
        for value in (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) + 1, (1u64 << bit).wrapping_mul(3) / 2]) {
            let middle = middle(place(value));
            assert!(middle.abs_diff(value) <= value / 128, "{value}: {middle}");
        }
    }
}
