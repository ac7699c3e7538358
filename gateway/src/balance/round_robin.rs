//! Smooth weighted round robin: in any stretch of picks each endpoint has its share, without runs of one.
//!
//! With equal weights that is simply the next in turn. Otherwise each pick adds to every endpoint its weight, takes the one that
//! has most, and subtracts the sum of weights from it.

/// One worker's turn.
#[derive(Debug)]
pub struct RoundRobin {
    members: Vec<Member>,
    total: i64,
    /// The next, when all weights are equal.
    next: Option<usize>,
}

#[derive(Debug)]
struct Member {
    weight: i64,
    credit: i64,
}

impl RoundRobin {
    /// Workers begin at different places, so that they do not all send their first request to the same endpoint.
    pub fn new(weights: impl Iterator<Item = u16>) -> RoundRobin {
        let members: Vec<Member> = weights.map(|weight| Member { weight: i64::from(weight), credit: 0 }).collect();
        let total = members.iter().map(|member| member.weight).sum();
        let equal = members.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        let mut balancer = RoundRobin { members, total, next: equal.then_some(0) };
        for _ in 0..fastrand::usize(..balancer.members.len().clamp(1, 64)) {
            balancer.pick();
        }
        balancer
    }

    /// The next in turn.
    pub fn pick(&mut self) -> usize {
        if let Some(next) = &mut self.next {
            let picked = *next;
            *next = (picked + 1) % self.members.len().max(1);
            return picked;
        }
        let mut best = 0;
        let mut most = i64::MIN;
        for (index, member) in self.members.iter_mut().enumerate() {
            member.credit += member.weight;
            if member.credit > most {
                (best, most) = (index, member.credit);
            }
        }
        if let Some(member) = self.members.get_mut(best) {
            member.credit -= self.total;
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_share_without_runs() {
        let mut balancer = RoundRobin::new([5, 1, 1].into_iter());
        let picks: Vec<usize> = (0..70).map(|_| balancer.pick()).collect();
        let count = |wanted| picks.iter().filter(|&&pick| pick == wanted).count();
        assert_eq!((count(0), count(1), count(2)), (50, 10, 10));
        assert!(picks.windows(6).all(|run| run.iter().any(|&pick| pick != 0)));
    }

    #[test]
    fn equal_weights_take_turns() {
        let mut balancer = RoundRobin::new([2, 2, 2].into_iter());
        let first = balancer.pick();
        assert_eq!([balancer.pick(), balancer.pick(), balancer.pick()], [1, 2, 3].map(|step| (first + step) % 3));
    }
}
