//! The less busy of two: draws two endpoints by weight and takes the one with fewer requests for its weight.
//!
//! Nearly as even as looking at all of them, at a cost that does not grow with their number, and without the herd that
//! follows when everybody picks the one that looked best.

/// One worker's draw.
#[derive(Debug)]
pub struct P2c {
    /// Running sums of weights; `None` when all are equal.
    sums: Option<Vec<u64>>,
    weights: Vec<u16>,
}

impl P2c {
    /// For endpoints with these weights.
    pub fn new(weights: impl Iterator<Item = u16>) -> P2c {
        let weights: Vec<u16> = weights.collect();
        let equal = weights.windows(2).all(|pair| pair.first() == pair.last());
        let sums = (!equal).then(|| {
            let add = |sum: &mut u64, weight: &u16| {
                *sum += u64::from(*weight);
                Some(*sum)
            };
            weights.iter().scan(0, add).collect()
        });
        P2c { sums, weights }
    }

    /// The less busy of two; of equally busy ones the first drawn.
    pub fn pick(&mut self, active: impl Fn(usize) -> u32) -> usize {
        let first = self.draw();
        let mut second = self.draw();
        if second == first {
            second = (first + 1) % self.weights.len().max(1);
        }
        let load = |index: usize| u64::from(active(index)) + 1;
        let weight = |index: usize| u64::from(self.weights.get(index).copied().unwrap_or(1).max(1));
        if load(second) * weight(first) < load(first) * weight(second) { second } else { first }
    }

    fn draw(&self) -> usize {
        match &self.sums {
            None => fastrand::usize(..self.weights.len().max(1)),
            Some(sums) => {
                let at = fastrand::u64(..sums.last().copied().unwrap_or(1).max(1));
                sums.partition_point(|&sum| sum <= at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_one_is_avoided() {
        let mut balancer = P2c::new([1, 1, 1].into_iter());
        let picks: Vec<usize> = (0..300).map(|_| balancer.pick(|index| if index == 1 { 10 } else { 0 })).collect();
        assert!(!picks.contains(&1));
        assert!(picks.contains(&0) && picks.contains(&2));
    }

    #[test]
    fn weights_give_shares_when_load_follows_them() {
        let mut balancer = P2c::new([3, 1].into_iter());
        let mut active = [0u32; 2];
        for _ in 0..400 {
            active[balancer.pick(|index| active[index])] += 1;
        }
        assert!((290..=310).contains(&active[0]), "{active:?}");
    }
}
