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
mod tests;
