//! What the endpoints of a pool can take, looked at whenever flags change, and which of them each request is for.
//!
//! In: the flags of endpoints. Out: a [`Plan`] for each worker, which draws a [`Turn`] for each request. As long as all is well
//! that is one comparison for a request. Invariant: workers may differ in what they have seen, not in whether it is believed,
//! which the pool's [`Watch`] holds for all of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smallvec::SmallVec;

use super::census::{is_zoned, levels, shares_of_zones};
use super::shares::{Level, Trust, shares};
use super::stats::tell_flags;
use super::subset;
use super::turn::{Turn, is_usable};
use super::zones::HOME;
use super::{Candidate, FEW, flag_changes};
use crate::config::model::Selection;

/// What all workers share about a pool's endpoints.
#[derive(Debug)]
pub struct Watch {
    pool: String,
    selection: Selection,
    /// [`Trust`] as a number.
    trust: AtomicU64,
    /// How often they were not believed any more.
    distrusted: AtomicU64,
    /// What became of reports of their load.
    pub reports: Reports,
}

/// How many reports of load there were.
#[derive(Debug, Default)]
pub struct Reports {
    taken: AtomicU64,
    unreadable: AtomicU64,
    failed: AtomicU64,
}

/// Which endpoints requests are for, as one worker has seen it.
#[derive(Debug, Default)]
pub struct Plan {
    /// What [`flag_changes`] said before it was made.
    seen: Option<u64>,
    /// The turn of all requests, unless it is drawn.
    only: Option<Turn>,
    /// Turns with what is drawn below each, in order.
    drawn: SmallVec<[(Turn, f64); 2]>,
    /// The turns that there are, the first choice first.
    all: SmallVec<[Turn; 2]>,
    /// Time changes what endpoints are given.
    passing: bool,
    /// There are so many that they are not looked at for each change; and when they were.
    many: Option<Duration>,
}

/// Of many endpoints, so long goes by what was seen last. Whether each of them can be used is seen at once in any case.
const LAG: Duration = Duration::from_millis(50);

/// How a pool's endpoints stand, for those who ask.
#[derive(Clone, PartialEq, Debug)]
pub struct Outlook {
    /// What is known of endpoints is not believed.
    pub distrusts: bool,
    /// How often that came about.
    pub distrusted: u64,
    /// The share of requests that each priority has; nothing where there is one, or all get requests.
    pub shares: Vec<(u8, f64)>,
    /// The share that each zone has, in all priorities; nothing where zones make no difference.
    pub zones: Vec<(String, f64)>,
}

impl Watch {
    /// With what the one before it had found out.
    pub fn new(pool: &str, selection: &Selection, before: Option<&Watch>) -> Watch {
        let carried = |of: fn(&Watch) -> &AtomicU64| before.map_or(0, |before| of(before).load(Ordering::Relaxed));
        Watch {
            pool: pool.to_owned(),
            selection: selection.clone(),
            trust: AtomicU64::new(carried(|watch| &watch.trust)),
            distrusted: AtomicU64::new(carried(|watch| &watch.distrusted)),
            reports: Reports {
                taken: AtomicU64::new(carried(|watch| &watch.reports.taken)),
                unreadable: AtomicU64::new(carried(|watch| &watch.reports.unreadable)),
                failed: AtomicU64::new(carried(|watch| &watch.reports.failed)),
            },
        }
    }

    /// Looks at all endpoints of the pool, and says which of those that are used here requests are for.
    pub fn plan(&self, used: &[Candidate], everyone: &[Candidate], now: Duration) -> Plan {
        // Asked first: what changes while they are looked at is looked at again.
        let seen = Some(flag_changes());
        let many = (everyone.len() > FEW).then_some(now);
        let passing = everyone.iter().filter(|candidate| self.give(candidate, now)).count() > 0;
        let levels = levels(everyone);
        let distrusts = !self.judge(&levels, now).is_full();
        let is_there = |turn: &Turn| used.len() == everyone.len() || used.iter().any(|one| turn.offers(one));
        // In a subset all may have failed before others are in their place, who soon will be.
        let distrusts = distrusts || (levels.iter().any(|level| level.usable > 0) && !is_there(&Turn::default()));
        let zoned = !distrusts && is_zoned(everyone, &self.selection);
        if distrusts || (levels.len() <= 1 && !zoned) {
            let turn = Turn { distrusts, ..Turn::default() };
            return Plan {
                seen,
                only: Some(turn),
                drawn: SmallVec::new(),
                all: [turn].into_iter().collect(),
                passing,
                many,
            };
        }
        let (mut all, mut drawn, mut below) = (SmallVec::new(), SmallVec::<[(Turn, f64); 2]>::new(), 0.0);
        for (level, share) in levels.iter().zip(shares(&levels, self.selection.spill_factor)) {
            let turn = Turn { priority: Some(level.priority).filter(|_| levels.len() > 1), ..Turn::default() };
            let mut add = |turn, share| {
                if share > 0.0 && is_there(&turn) {
                    below += share;
                    drawn.push((turn, below));
                }
            };
            if zoned {
                all.push(Turn { place: Some(HOME), ..turn });
                let of_zones = shares_of_zones(everyone, level.priority, &self.selection);
                (HOME..).zip(of_zones).for_each(|(place, part)| add(Turn { place: Some(place), ..turn }, share * part));
            } else {
                add(turn, share);
            }
            all.push(turn);
        }
        // What has nobody here goes to the others in proportion.
        drawn.iter_mut().for_each(|(_, share)| *share /= below);
        let only = if let [(turn, _)] = &drawn[..] { Some(*turn) } else { None };
        Plan { seen, only, drawn, all, passing, many }
    }

    /// Gives an endpoint its part of its share: less as long as it is new, and when it has too much. Whether time changes that.
    fn give(&self, candidate: &Candidate, now: Duration) -> bool {
        let endpoint = &candidate.endpoint;
        let usable = is_usable(endpoint.stats.flags());
        let begun = self.selection.slow_start.as_ref().map_or(1.0, |slow| endpoint.start.share(slow, usable, now));
        // Where no reports are wanted any more the last ones are old.
        let age = self.selection.load.as_ref().map_or(Duration::ZERO, |load| load.age);
        let reports = endpoint.reported.forget(age, &endpoint.stats, now);
        endpoint.stats.set_warmth(begun * endpoint.reported.share());
        begun < 1.0 || reports
    }

    /// Whether the endpoints are believed, which is told where it changes.
    fn judge(&self, levels: &[Level], now: Duration) -> Trust {
        let before = self.trust.load(Ordering::Acquire);
        let next = decode(before).next(levels, self.selection.distrust_below, now);
        let changed = self.trust.compare_exchange(before, encode(next), Ordering::AcqRel, Ordering::Acquire).is_ok();
        if changed && decode(before).is_full() != next.is_full() {
            let usable: u32 = levels.iter().map(|level| level.usable).sum();
            let of: u32 = levels.iter().map(|level| level.count).sum();
            let pool = &*self.pool;
            if next.is_full() {
                tracing::info!(pool, usable, of, "enough endpoints are well; what is known of them is believed again");
            } else {
                self.distrusted.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    pool,
                    usable,
                    of,
                    "too few endpoints are well; what is known of them is not believed, and all get requests"
                );
            }
            // Other workers may have looked before this was known.
            tell_flags();
        }
        next
    }

    /// Whether it changes without a change of flags, by time alone.
    fn is_pending(&self) -> bool {
        matches!(decode(self.trust.load(Ordering::Acquire)), Trust::NoneYet(_))
    }

    /// Which of all endpoints are to be used here, by their indices; `None`: all of them.
    pub fn choose(&self, everyone: &[Candidate]) -> Option<Vec<usize>> {
        subset::choose(everyone, &self.selection, self.distrusts())
    }

    fn distrusts(&self) -> bool {
        !decode(self.trust.load(Ordering::Acquire)).is_full()
    }

    /// How these stand.
    pub fn outlook(&self, candidates: &[Candidate]) -> Outlook {
        let levels = levels(candidates);
        let distrusts = self.distrusts();
        let mut told = Vec::new();
        if levels.len() > 1 && !distrusts {
            let shares = shares(&levels, self.selection.spill_factor);
            told = levels.iter().map(|level| level.priority).zip(shares).collect();
        }
        let zones = if distrusts { Vec::new() } else { self.outlook_of_zones(candidates, &levels) };
        Outlook { distrusts, distrusted: self.distrusted.load(Ordering::Relaxed), shares: told, zones }
    }

    fn outlook_of_zones(&self, candidates: &[Candidate], levels: &[Level]) -> Vec<(String, f64)> {
        let mut told: Vec<(String, f64)> = Vec::new();
        if !is_zoned(candidates, &self.selection) {
            return told;
        }
        for (level, share) in levels.iter().zip(shares(levels, self.selection.spill_factor)) {
            for (place, part) in (HOME..).zip(shares_of_zones(candidates, level.priority, &self.selection)) {
                let index = usize::from(place);
                if told.len() <= index {
                    let named = candidates.iter().find(|candidate| candidate.place == place);
                    told.push((named.map(|candidate| candidate.zone.clone()).unwrap_or_default(), 0.0));
                }
                if let Some((_, sum)) = told.get_mut(index) {
                    *sum += share * part;
                }
            }
        }
        told
    }
}

impl Plan {
    /// The turn of a request, with a number drawn from 0 to 1.
    #[inline]
    pub fn draw(&self, random: impl FnOnce() -> f64) -> Turn {
        match self.only {
            Some(turn) => turn,
            None => {
                let at = random();
                let drawn = self.drawn.iter().find(|(_, below)| at < *below).or(self.drawn.last());
                drawn.map_or(Turn::default(), |(turn, _)| *turn)
            }
        }
    }

    /// Whether flags have changed since it was made.
    #[inline]
    pub fn is_old(&self) -> bool {
        self.seen != Some(flag_changes())
    }

    /// Whether it has to be made again before a request goes by it.
    #[inline]
    pub fn is_too_old(&self, now: impl FnOnce() -> Duration) -> bool {
        self.is_old() && self.many.is_none_or(|made| now().saturating_sub(made) >= LAG)
    }

    /// For a while also right for others in the same pool: when it is for all, whoever these are.
    pub fn for_others(&self) -> Plan {
        match self.only {
            Some(turn) if turn == Turn::default() => Plan {
                seen: None,
                only: self.only,
                all: SmallVec::from_slice(&[turn]),
                many: self.many,
                ..Plan::default()
            },
            _ => Plan::default(),
        }
    }

    /// Whether it has to be made again, changes or not.
    pub fn is_due(&self, watch: &Watch) -> bool {
        self.is_old() || self.passing || watch.is_pending()
    }

    /// The turn of a request that has failed at some: the one that was drawn as long as that has others, else the first that has.
    pub fn again(&self, drawn: Turn, candidates: &[Candidate], tried: &[usize]) -> Turn {
        let has = |turn: &Turn| {
            let mut all = candidates.iter().enumerate();
            all.any(|(index, candidate)| !tried.contains(&index) && turn.offers(candidate))
        };
        [drawn].iter().chain(&self.all).find(|turn| has(turn)).copied().unwrap_or(drawn)
    }
}

impl Reports {
    /// Something was said; whether it told a load.
    pub fn note(&self, told: bool) {
        if told { &self.taken } else { &self.unreadable }.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing was said.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were, by what became of them.
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        [("taken", count(&self.taken)), ("unreadable", count(&self.unreadable)), ("failed", count(&self.failed))]
    }
}

fn encode(trust: Trust) -> u64 {
    match trust {
        Trust::Full => 0,
        Trust::None => 1,
        Trust::NoneYet(since) => u64::try_from(since.as_millis()).unwrap_or(u64::MAX - 2) + 2,
    }
}

fn decode(number: u64) -> Trust {
    match number {
        0 => Trust::Full,
        1 => Trust::None,
        since => Trust::NoneYet(Duration::from_millis(since - 2)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gatewright_abi::flag::{DRAINING, HEALTHY};
    use proptest::prelude::*;

    use super::*;
    use crate::balance::Endpoint;
    use crate::config::model;

    /// Endpoints with these priorities.
    fn candidates(priorities: &[u32]) -> Vec<Candidate> {
        let candidate = |(number, priority): (usize, &u32)| {
            let endpoint = model::Endpoint { address: format!("10.0.0.1:{number}"), weight: 1 };
            let endpoint = Arc::new(Endpoint::new(&endpoint, None));
            Candidate { priority: *priority, ..Candidate::of(endpoint) }
        };
        priorities.iter().enumerate().map(candidate).collect()
    }

    fn watch() -> Watch {
        Watch::new("a", &Selection::default(), None)
    }

    /// Endpoints with these priorities and places, seen from a zone.
    fn zoned(members: &[(u32, u8)]) -> (Vec<Candidate>, Watch) {
        let priorities: Vec<u32> = members.iter().map(|(priority, _)| *priority).collect();
        let mut all = candidates(&priorities);
        for (candidate, (_, place)) in all.iter_mut().zip(members) {
            candidate.place = *place;
            candidate.zone = format!("zone-{place}");
        }
        let zone = model::Zone { home: "zone-0".into(), share: None, spill_factor: 1.0 };
        (all, Watch::new("a", &Selection { zone: Some(zone), ..Selection::default() }, None))
    }

    fn of(priority: u8) -> Turn {
        Turn { priority: Some(priority), ..Turn::default() }
    }

    #[test]
    fn nothing_is_drawn_where_one_priority_takes_all() {
        let never = || panic!("nothing is to be drawn");
        let one = candidates(&[3, 3]);
        assert_eq!(watch().plan(&one, &one, Duration::ZERO).draw(never), Turn::default());
        let two = candidates(&[0, 1, 0]);
        assert_eq!(watch().plan(&two, &two, Duration::ZERO).draw(never), of(0));
        two.iter().step_by(2).for_each(|one| one.endpoint.stats.change_flags(DRAINING, 0));
        assert_eq!(watch().plan(&two, &two, Duration::ZERO).draw(never), of(1));
    }

    #[test]
    fn of_a_subset_only_those_get_requests_who_are_in_it() {
        let all = candidates(&[0, 0, 0, 1, 1]);
        let watch = watch();
        let plan = |used: &[usize]| {
            let used: Vec<Candidate> = used.iter().map(|index| all[*index].clone()).collect();
            watch.plan(&used, &all, Duration::ZERO)
        };
        // Nobody of the second is here, and nobody is needed.
        assert_eq!(plan(&[0, 1]).draw(|| 0.9), of(0));
        all[0].endpoint.stats.change_flags(0, HEALTHY);
        all[1].endpoint.stats.change_flags(0, HEALTHY);
        let shares = |plan: &Plan| [0.0, 0.4, 0.5, 0.99].map(|at| plan.draw(|| at));
        assert_eq!(shares(&plan(&[2, 3])), [of(0), of(0), of(1), of(1)]);
        assert_eq!(shares(&plan(&[1, 3])), [of(1); 4], "those who are well of the first are elsewhere");
        let distrusts = Turn { distrusts: true, ..Turn::default() };
        assert_eq!(shares(&plan(&[0, 1])), [distrusts; 4], "until others are in their place");
        assert!(!watch.outlook(&all).distrusts);
    }

    #[test]
    fn a_request_that_failed_goes_to_the_first_priority_that_has_others() {
        let all = candidates(&[0, 0, 1, 2]);
        let plan = watch().plan(&all, &all, Duration::ZERO);
        assert_eq!(plan.again(of(0), &all, &[0]), of(0));
        assert_eq!(plan.again(of(0), &all, &[0, 1]), of(1));
        assert_eq!(plan.again(of(1), &all, &[2]), of(0));
        all[2].endpoint.stats.change_flags(0, HEALTHY);
        assert_eq!(plan.again(of(0), &all, &[0, 1]), of(2));
        assert_eq!(plan.again(of(0), &all, &[0, 1, 3]), of(0));
    }

    #[test]
    fn nothing_is_drawn_where_the_own_zone_takes_all() {
        let never = || panic!("nothing is to be drawn");
        let (all, watch) = zoned(&[(0, 0), (0, 1), (0, 0), (0, 1)]);
        let home = Turn { place: Some(HOME), ..Turn::default() };
        assert_eq!(watch.plan(&all, &all, Duration::ZERO).draw(never), home);
        assert_eq!(watch.outlook(&all).zones, [("zone-0".to_owned(), 1.0), ("zone-1".to_owned(), 0.0)]);
        let (only_here, watch) = zoned(&[(0, 0), (0, 0)]);
        assert_eq!(watch.plan(&only_here, &only_here, Duration::ZERO).draw(never), Turn::default());
        assert_eq!(watch.outlook(&only_here).zones, []);
    }

    #[test]
    fn each_priority_is_spread_over_its_zones() {
        let (all, watch) = zoned(&[(0, 0), (0, 1), (0, 1), (0, 1), (1, 0), (1, 1)]);
        let turn = |priority, place| Turn { priority: Some(priority), place: Some(place), distrusts: false };
        let drawn = |plan: &Plan, at: f64| plan.draw(|| at);
        // A quarter of the first is here, where half of the requests come in.
        let plan = watch.plan(&all, &all, Duration::ZERO);
        assert_eq!(
            [0.0, 0.49, 0.51, 0.99].map(|at| drawn(&plan, at)),
            [turn(0, 0), turn(0, 0), turn(0, 1), turn(0, 1)]
        );
        // Half of the first is left, none of it here; it takes seven of ten. The next has as much here as there.
        all[0].endpoint.stats.change_flags(0, HEALTHY);
        all[1].endpoint.stats.change_flags(DRAINING, 0);
        let plan = watch.plan(&all, &all, Duration::ZERO);
        assert_eq!(
            [0.0, 0.69, 0.71, 0.99].map(|at| drawn(&plan, at)),
            [turn(0, 1), turn(0, 1), turn(1, 0), turn(1, 0)]
        );
        let zones: Vec<f64> =
            watch.outlook(&all).zones.iter().map(|(_, share)| (share * 10.0).round() / 10.0).collect();
        assert_eq!(zones, [0.3, 0.7]);
    }

    #[test]
    fn where_health_is_not_believed_zones_are_not_looked_at() {
        let (all, watch) = zoned(&[(0, 0), (0, 1), (0, 1)]);
        all[1..].iter().for_each(|one| one.endpoint.stats.change_flags(0, HEALTHY));
        let turn = watch.plan(&all, &all, Duration::ZERO).draw(|| 0.0);
        assert_eq!(turn, Turn { distrusts: true, ..Turn::default() });
        assert_eq!(watch.outlook(&all).zones, []);
    }

    #[test]
    fn a_request_that_failed_in_its_zone_goes_to_others_before_it_goes_to_another_priority() {
        let (all, watch) = zoned(&[(0, 0), (0, 1), (1, 0)]);
        let plan = watch.plan(&all, &all, Duration::ZERO);
        let home = Turn { priority: Some(0), place: Some(HOME), distrusts: false };
        assert_eq!(plan.again(home, &all, &[]), home);
        assert_eq!(plan.again(home, &all, &[0]), of(0));
        assert_eq!(plan.again(home, &all, &[0, 1]), Turn { priority: Some(1), ..home });
    }

    proptest! {
        #[test]
        fn turns_are_drawn_by_their_shares(sick in prop::collection::vec(any::<bool>(), 12), seed in any::<u64>()) {
            let all = candidates(&[0, 0, 0, 0, 1, 1, 1, 1, 5, 5, 5, 5]);
            for (candidate, _) in all.iter().zip(&sick).filter(|(_, sick)| **sick) {
                candidate.endpoint.stats.change_flags(0, HEALTHY);
            }
            let watch = watch();
            let plan = watch.plan(&all, &all, Duration::ZERO);
            let mut random = fastrand::Rng::with_seed(seed);
            let drawn: Vec<Turn> = (0..2000).map(|_| plan.draw(|| random.f64())).collect();
            let outlook = watch.outlook(&all);
            prop_assert!(!outlook.distrusts || drawn.iter().all(|turn| turn.distrusts));
            for (priority, share) in outlook.shares {
                let count = drawn.iter().filter(|turn| **turn == of(priority)).count() as f64;
                prop_assert!((count / 2000.0 - share).abs() < 0.06, "{priority}: {count} of 2000, not {share}");
            }
        }
    }
}
