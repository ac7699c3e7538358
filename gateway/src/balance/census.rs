//! What the endpoints of a pool come to, in each priority and in each zone.
//!
//! In: endpoints with their flags. Out: sums and shares. Pure.

use smallvec::SmallVec;

use super::Candidate;
use super::shares::Level;
use super::turn::{UNCHECKED, is_usable};
use super::zones::{self, ByPlace, HOME};
use crate::config::model::Selection;

/// The priority of an endpoint; there are a hundred at the most.
pub(super) fn priority_of(candidate: &Candidate) -> u8 {
    u8::try_from(candidate.priority).unwrap_or(u8::MAX)
}

/// What there is of each priority, in their order.
pub(super) fn levels(candidates: &[Candidate]) -> SmallVec<[Level; 4]> {
    let mut levels: SmallVec<[Level; 4]> = SmallVec::new();
    for candidate in candidates {
        let priority = priority_of(candidate);
        let at = match levels.binary_search_by_key(&priority, |level| level.priority) {
            Ok(at) => at,
            Err(at) => {
                levels.insert(at, Level { priority, ..Level::default() });
                at
            }
        };
        let Some(level) = levels.get_mut(at) else { continue };
        let flags = candidate.endpoint.stats.flags();
        let (weight, usable) = (u64::from(candidate.weight), is_usable(flags));
        level.weight += weight;
        if flags & gatewright_abi::flag::DRAINING == 0 {
            level.count += 1;
            level.unchecked += u32::from(flags & UNCHECKED != 0);
        }
        if usable {
            level.usable += 1;
            level.usable_weight += weight;
        }
    }
    levels
}

/// Whether it makes a difference in which zone endpoints stand.
pub(super) fn is_zoned(candidates: &[Candidate], selection: &Selection) -> bool {
    selection.zone.is_some() && candidates.iter().any(|candidate| candidate.place != HOME)
}

/// The share of a priority's requests for each zone, by its place; one share where zones make no difference.
pub(super) fn shares_of_zones(candidates: &[Candidate], priority: u8, selection: &Selection) -> ByPlace<f64> {
    let Some(zone) = &selection.zone else { return ByPlace::from_slice(&[1.0]) };
    let places = candidates.iter().map(|candidate| usize::from(candidate.place) + 1).max().unwrap_or(1);
    let mut usable: ByPlace<u64> = (0..places).map(|_| 0).collect();
    for candidate in candidates.iter().filter(|candidate| priority_of(candidate) == priority) {
        if let Some(weight) = usable.get_mut(usize::from(candidate.place))
            && is_usable(candidate.endpoint.stats.flags())
        {
            *weight += u64::from(candidate.weight);
        }
    }
    zones::shares(&usable, zone)
}
