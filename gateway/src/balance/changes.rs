//! Which endpoints of a pool have changed of late, for those who keep copies of their statistics.
//!
//! In: from whoever writes statistics, whose they are. Out: a reader learns which endpoints there were since it last asked, or
//! that they were too many. Nobody waits for anybody. Limits: the last [`KEPT`] changes are kept, and none as long as nobody
//! follows: copying a small pool whole costs less than telling what changes in it.
//!
//! A change takes a place in a ring by counting up, after the statistics were written: who sees the count sees them, even
//! where the place is not filled in yet. What is written in the very moment in which the first reader begins may be seen late,
//! with the endpoint's next change.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::Candidate;

/// Changes that are kept; a power of two.
const KEPT: usize = 4096;
/// In pools of up to so many endpoints nobody follows what changes.
pub const FEW: usize = 128;

/// What changes in one pool, over all its configurations.
#[derive(Default, Debug)]
pub struct Changes {
    /// Made for the first who follows.
    ring: OnceLock<Ring>,
    numbers: Mutex<Numbers>,
}

/// An endpoint's number among those of its pool. Another may have it when this one is gone.
#[derive(Debug)]
pub struct Mark {
    changes: Arc<Changes>,
    number: u32,
}

/// One who follows what changes.
#[derive(Debug)]
pub struct Follower {
    changes: Arc<Changes>,
    /// Indices by the numbers of endpoints; [`NOBODY`] for numbers of others.
    indices: Box<[u32]>,
    /// How many changes there had been; `None` before it asked for the first time.
    seen: Cell<Option<u64>>,
}

const NOBODY: u32 = u32::MAX;

#[derive(Debug)]
struct Ring {
    told: Told,
    places: Box<[AtomicU64]>,
}

/// How many changes there have been, apart from what is only read.
#[derive(Debug)]
#[repr(align(64))]
struct Told(AtomicU64);

#[derive(Default, Debug)]
struct Numbers {
    next: u32,
    free: Vec<u32>,
}

/// What stands at a place of the ring.
enum Place {
    Changed(u32),
    /// Taken, and not filled in yet.
    Taken,
    /// It has been used again since.
    Gone,
}

impl Changes {
    /// A number for an endpoint.
    pub fn mark(self: &Arc<Changes>) -> Mark {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let number = numbers.free.pop().unwrap_or_else(|| {
            numbers.next += 1;
            numbers.next - 1
        });
        Mark { changes: self.clone(), number }
    }
}

impl Mark {
    /// Tells that the endpoint's statistics have been written.
    #[inline]
    pub fn changed(&self) {
        if let Some(ring) = self.changes.ring.get() {
            ring.tell(self.number);
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.changes.numbers.lock().unwrap_or_else(PoisonError::into_inner).free.push(self.number);
    }
}

impl Ring {
    fn new() -> Ring {
        // No change has this number for as long as places are empty.
        let places = (0..KEPT).map(|_| AtomicU64::new(u64::MAX)).collect();
        Ring { told: Told(AtomicU64::new(0)), places }
    }

    #[inline]
    fn tell(&self, number: u32) {
        let at = self.told.0.fetch_add(1, Ordering::AcqRel);
        if let Some(place) = self.places.get(at as usize % KEPT) {
            place.store(u64::from(at as u32) << 32 | u64::from(number), Ordering::Relaxed);
        }
    }

    /// What stands at the place of this change.
    #[inline]
    fn read(&self, at: u64) -> Place {
        let word = self.places.get(at as usize % KEPT).map_or(u64::MAX, |place| place.load(Ordering::Relaxed));
        match ((word >> 32) as u32).wrapping_sub(at as u32).cast_signed() {
            0 => Place::Changed(word as u32),
            1.. => Place::Gone,
            _ => Place::Taken,
        }
    }
}

impl Follower {
    /// For a copy of these endpoints' statistics. `None` where it is better copied whole each time: when they are few, or not
    /// all of one pool.
    pub fn of(candidates: &[Candidate]) -> Option<Follower> {
        if candidates.len() <= FEW {
            return None;
        }
        let marks = candidates.iter().map(|candidate| candidate.endpoint.stats.mark());
        let marks: Vec<&Mark> = marks.collect::<Option<_>>()?;
        let changes = &marks.first()?.changes;
        let most = marks.iter().map(|mark| mark.number).max()?;
        let mut indices = vec![NOBODY; most as usize + 1].into_boxed_slice();
        for (index, mark) in (0..).zip(&marks) {
            let place = indices.get_mut(mark.number as usize).filter(|place| **place == NOBODY)?;
            *place = Some(index).filter(|_| Arc::ptr_eq(&mark.changes, changes))?;
        }
        changes.ring.get_or_init(Ring::new);
        Some(Follower { changes: changes.clone(), indices, seen: Cell::new(None) })
    }

    /// Calls with the index of each endpoint that has changed since the last time, some of them more than once. `false`: there
    /// were too many, and any may have changed.
    #[inline]
    pub fn each(&self, changed: impl FnMut(usize)) -> bool {
        let Some(ring) = self.changes.ring.get() else { return false };
        let told = ring.told.0.load(Ordering::Acquire);
        match self.seen.replace(Some(told)) {
            Some(seen) if seen == told => true,
            Some(seen) => self.since(ring, seen..told, changed),
            None => false,
        }
    }

    fn since(&self, ring: &Ring, range: std::ops::Range<u64>, mut changed: impl FnMut(usize)) -> bool {
        // Looking for one endpoint after the other takes about four times as long as going through them.
        if (range.end - range.start) as usize > KEPT.min(self.indices.len() / 4) {
            return false;
        }
        let mut taken = None;
        for at in range {
            match ring.read(at) {
                Place::Changed(number) => match self.indices.get(number as usize) {
                    Some(&index) if index != NOBODY => changed(index as usize),
                    // It is none of these.
                    _ => {}
                },
                // Looked at again the next time, with what came after it: whoever fills it in may be kept from that for long.
                Place::Taken => {
                    taken.get_or_insert(at);
                }
                Place::Gone => return false,
            }
        }
        if taken.is_some() {
            self.seen.set(taken);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::super::Endpoint;
    use super::*;
    use crate::config::model;

    /// So many endpoints of one pool.
    fn pool(count: usize, changes: &Arc<Changes>) -> Vec<Candidate> {
        let endpoint = |index: usize| {
            let model = model::Endpoint { address: format!("10.0.0.1:{index}"), weight: 1 };
            let endpoint = Arc::new(Endpoint::followed(&model, None, changes));
            Candidate::of(endpoint)
        };
        (0..count).map(endpoint).collect()
    }

    /// What a follower is told; `None` when it was too much.
    fn told(follower: &Follower) -> Option<Vec<usize>> {
        let mut told = Vec::new();
        follower.each(|index| told.push(index)).then_some(told)
    }

    #[test]
    fn each_follower_is_told_each_change_once() {
        let candidates = pool(300, &Arc::default());
        let [one, other] = [0; 2].map(|_| Follower::of(&candidates).unwrap());
        assert_eq!((told(&one), told(&other)), (None, None), "nothing is known at first");
        let active = candidates[7].endpoint.begin();
        assert_eq!(told(&one), Some(vec![7]));
        candidates[299].endpoint.stats.change_flags(2, 1);
        drop(active);
        assert_eq!((told(&one), told(&other)), (Some(vec![299, 7]), Some(vec![7, 299, 7])));
        assert_eq!((told(&one), told(&other)), (Some(vec![]), Some(vec![])));
    }

    #[test]
    fn too_many_changes_are_not_counted_up() {
        let candidates = pool(2 * KEPT * 4, &Arc::default());
        let follower = Follower::of(&candidates).unwrap();
        told(&follower);
        candidates[..KEPT].iter().for_each(|one| one.endpoint.stats.change_flags(2, 0));
        assert_eq!(told(&follower), Some((0..KEPT).collect()));
        candidates[..=KEPT].iter().for_each(|one| one.endpoint.stats.change_flags(2, 0));
        assert_eq!(told(&follower), None);
        assert_eq!(told(&follower), Some(vec![]), "all have been looked at");
    }

    #[test]
    fn a_place_that_is_filled_in_late_is_looked_at_again() {
        let changes = Arc::default();
        let candidates = pool(300, &changes);
        let follower = Follower::of(&candidates).unwrap();
        told(&follower);
        let ring = changes.ring.get().unwrap();
        let late = ring.told.0.fetch_add(1, Relaxed);
        ring.tell(5);
        assert_eq!(told(&follower), Some(vec![5]), "what came after it counts at once");
        ring.places[late as usize % KEPT].store(late << 32 | 9, Relaxed);
        assert_eq!(told(&follower), Some(vec![9, 5]));
        assert_eq!(told(&follower), Some(vec![]));
        // One that was overtaken by a whole round.
        let from = follower.seen.get().unwrap();
        ring.places[from as usize % KEPT].store((from + KEPT as u64) << 32, Relaxed);
        ring.told.0.fetch_add(1, Relaxed);
        assert_eq!(told(&follower), None);
    }

    #[test]
    fn endpoints_come_and_go_and_their_numbers_are_used_again() {
        let changes = Arc::default();
        let mut candidates = pool(300, &changes);
        let before = Follower::of(&candidates).unwrap();
        told(&before);
        let kept = candidates.split_off(100);
        drop(candidates);
        let mut candidates = pool(50, &changes);
        candidates.extend(kept);
        let after = Follower::of(&candidates).unwrap();
        assert!(after.indices.len() <= 300);
        told(&after);
        candidates[60].endpoint.stats.change_flags(2, 0);
        assert_eq!((told(&after), told(&before)), (Some(vec![60]), Some(vec![110])));
    }

    #[test]
    fn who_is_few_or_of_several_pools_is_not_followed() {
        let followed = |candidates: &[Candidate]| Follower::of(candidates).is_some();
        let changes = Arc::default();
        assert!(!followed(&pool(FEW, &changes)) && changes.ring.get().is_none());
        let mut candidates = pool(FEW + 1, &changes);
        assert!(followed(&candidates));
        candidates.extend(pool(1, &Arc::default()));
        assert!(!followed(&candidates));
        let twice = [&pool(FEW, &changes)[..], &candidates[..1], &candidates[..1]].concat();
        assert!(!followed(&twice));
    }
}
