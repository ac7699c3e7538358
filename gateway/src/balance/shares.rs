//! How requests are spread over the priorities of a pool, and when nothing that is known of its endpoints is believed.
//!
//! In: what each priority has, and what of that can be used. Out: shares, and a yes or no. Pure.

use std::time::Duration;

use smallvec::SmallVec;

/// The endpoints of one priority, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Level {
    /// The priority.
    pub(super) priority: u8,
    /// How many there are that are not being taken out.
    pub(super) count: u32,
    /// How many of those can be used.
    pub(super) usable: u32,
    /// How many of those wait for their first check.
    pub(super) unchecked: u32,
    /// The weights of all, those that are being taken out included.
    pub(super) weight: u64,
    /// The weights of those that can be used.
    pub(super) usable_weight: u64,
}

/// How long enough endpoints must have been well before they are believed again.
pub(super) const RECOVERY: Duration = Duration::from_secs(2);

/// Whether what is known of endpoints is believed, and since when it could be again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Trust {
    /// It is believed.
    #[default]
    Full,
    /// It is not.
    None,
    /// It is not, though enough endpoints have been well since then.
    NoneYet(Duration),
}

impl Trust {
    /// What comes next: distrust at once when in each priority less than the share, of ten thousand, can be used; trust
    /// when enough can be used for a while, so that who comes and goes does not turn everything over each time.
    ///
    /// Of those that wait for their first check nothing is known: neither do they begin distrust, nor end it.
    pub(super) fn next(self, levels: &[Level], below: u32, now: Duration) -> Trust {
        let is_low = |level: &Level| {
            let (usable, of) = match self {
                Trust::Full => (level.usable + level.unchecked, level.count),
                Trust::None | Trust::NoneYet(_) => (level.usable, level.count.saturating_sub(level.unchecked)),
            };
            u64::from(usable) * 10_000 < u64::from(of) * u64::from(below)
        };
        let mut counted = levels.iter().filter(|level| level.count > 0).peekable();
        if counted.peek().is_some() && counted.all(is_low) {
            return Trust::None;
        }
        match self {
            Trust::Full => Trust::Full,
            Trust::None => Trust::NoneYet(now),
            Trust::NoneYet(since) if now.saturating_sub(since) >= RECOVERY => Trust::Full,
            Trust::NoneYet(since) => Trust::NoneYet(since),
        }
    }

    /// Whether it is believed.
    pub(super) fn is_full(self) -> bool {
        self == Trust::Full
    }
}

/// The share of requests for each priority, in the order of the levels, which is that of priorities. A priority takes as much
/// as it can: `factor` times the part of its weight that can be used, and all when that is enough; the rest goes to the next. When
/// all together have not enough, each has in proportion.
pub(super) fn shares(levels: &[Level], factor: f64) -> SmallVec<[f64; 4]> {
    let part = |level: &Level| match level.weight {
        0 => 0.0,
        weight => (factor * level.usable_weight as f64 / weight as f64).min(1.0),
    };
    let parts: SmallVec<[f64; 4]> = levels.iter().map(part).collect();
    let all = parts.iter().sum::<f64>().min(1.0);
    let mut rest = 1.0;
    let mut shares: SmallVec<[f64; 4]> = SmallVec::new();
    for part in &parts {
        let share = if all > 0.0 { (part / all).min(rest) } else { 0.0 };
        rest -= share;
        shares.push(share);
    }
    // Where nothing can be used it is the first's to say so. What rounding leaves over goes to the last who has any.
    let last = shares.iter().rposition(|share| *share > 0.0).unwrap_or(0);
    if let Some(share) = shares.get_mut(last) {
        *share += rest;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn level(count: u32, usable: u32) -> Level {
        Level { priority: 0, count, usable, unchecked: 0, weight: count.into(), usable_weight: usable.into() }
    }

    fn rounded(levels: &[Level], factor: f64) -> Vec<u32> {
        shares(levels, factor).iter().map(|share| (share * 100.0).round() as u32).collect()
    }

    #[test]
    fn the_first_takes_all_as_long_as_it_can_and_then_spills_over() {
        assert_eq!(rounded(&[level(10, 10), level(10, 10)], 1.4), [100, 0]);
        assert_eq!(rounded(&[level(10, 8), level(10, 10)], 1.4), [100, 0]);
        assert_eq!(rounded(&[level(10, 5), level(10, 10)], 1.4), [70, 30]);
        assert_eq!(rounded(&[level(10, 0), level(10, 10)], 1.4), [0, 100]);
        assert_eq!(rounded(&[level(10, 5), level(10, 1), level(10, 10)], 1.4), [70, 14, 16]);
        assert_eq!(rounded(&[level(2, 1), level(2, 2)], 100.0), [100, 0]);
        assert_eq!(rounded(&[level(2, 1), level(2, 2)], 1.0), [50, 50]);
    }

    #[test]
    fn when_all_are_weak_each_has_in_proportion() {
        assert_eq!(rounded(&[level(10, 2), level(10, 2)], 1.4), [50, 50]);
        assert_eq!(rounded(&[level(10, 1), level(10, 3)], 1.4), [25, 75]);
        assert_eq!(rounded(&[level(10, 0), level(10, 0)], 1.4), [100, 0]);
    }

    #[test]
    fn distrust_comes_at_once_and_goes_after_a_while() {
        let at = Duration::from_secs;
        let (low, enough) = ([level(10, 4)], [level(10, 5)]);
        assert_eq!(Trust::Full.next(&enough, 5000, at(1)), Trust::Full);
        let none = Trust::Full.next(&low, 5000, at(1));
        assert_eq!(none, Trust::None);
        let yet = none.next(&enough, 5000, at(2));
        assert_eq!(yet, Trust::NoneYet(at(2)));
        assert_eq!(yet.next(&enough, 5000, at(3)), yet);
        assert_eq!(yet.next(&low, 5000, at(3)), Trust::None);
        assert_eq!(yet.next(&enough, 5000, at(2) + RECOVERY), Trust::Full);
    }

    #[test]
    fn distrust_is_for_when_no_priority_has_enough() {
        let next = |levels: &[Level], below| Trust::Full.next(levels, below, Duration::ZERO);
        assert_eq!(next(&[level(3, 0), level(1, 1)], 5000), Trust::Full);
        assert_eq!(next(&[level(3, 0), level(3, 1)], 5000), Trust::None);
        // Those that are being taken out say nothing about the others.
        assert_eq!(next(&[level(0, 0), level(3, 3)], 5000), Trust::Full);
        assert_eq!(next(&[level(0, 0), level(3, 1)], 5000), Trust::None);
        assert_eq!(next(&[level(0, 0)], 5000), Trust::Full);
        assert_eq!(next(&[], 5000), Trust::Full);
        // Switched off.
        assert_eq!(next(&[level(3, 0)], 0), Trust::Full);
    }

    #[test]
    fn who_waits_for_its_first_check_neither_begins_distrust_nor_ends_it() {
        let level = |count, usable, unchecked| [Level { unchecked, ..level(count, usable) }];
        let next = |trust: Trust, level: &[Level]| trust.next(level, 5000, Duration::from_secs(9));
        assert_eq!(next(Trust::Full, &level(4, 0, 4)), Trust::Full);
        // Whoever is found dead first, because that is quick, does not speak for the others.
        assert_eq!(next(Trust::Full, &level(4, 0, 3)), Trust::Full);
        assert_eq!(next(Trust::Full, &level(4, 1, 0)), Trust::None);
        assert_eq!(next(Trust::Full, &level(4, 0, 1)), Trust::None);
        // Ten that come to three that are sick make those no better; and none of those worse that are well.
        assert_eq!(next(Trust::None, &level(13, 0, 10)), Trust::None);
        assert_eq!(next(Trust::NoneYet(Duration::ZERO), &level(13, 3, 10)), Trust::Full);
    }

    proptest! {
        #[test]
        fn shares_are_a_whole_and_nobody_has_more_than_it_can(
            levels in prop::collection::vec((1u32..50, 0u32..50), 1..6),
            factor in 1.0f64..10.0,
        ) {
            let levels: Vec<Level> = levels.iter().map(|(count, usable)| level(*count, *usable.min(count))).collect();
            let shares = shares(&levels, factor);
            prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(shares.iter().all(|share| (0.0..=1.0 + 1e-9).contains(share)));
            let part = |level: &Level| (factor * f64::from(level.usable) / f64::from(level.count)).min(1.0);
            let all: f64 = levels.iter().map(part).sum();
            for (level, share) in levels.iter().zip(&shares) {
                // Whoever has nothing gets nothing, unless nobody has anything.
                prop_assert!(level.usable > 0 || *share < 1e-9 || all == 0.0);
                // With enough in all nobody is given more than it can take.
                prop_assert!(all < 1.0 || *share <= part(level) + 1e-9);
            }
        }

        #[test]
        fn the_better_the_first_the_more_it_has(count in 1u32..50, usable in 0u32..50, others in 0u32..50) {
            let share = |usable: u32| shares(&[level(count, usable.min(count)), level(50, others)], 1.4)[0];
            prop_assert!(share(usable) <= share(usable + 1) + 1e-9 || usable >= count || (usable == 0 && others == 0));
        }
    }
}
