//! Which endpoints of a very large pool this gateway uses.
//!
//! In: all endpoints, the name of the gateway, and how many it is to use. Out: those. Pure.
//!
//! Each gateway has an order of its own of all endpoints, by hashes of its name with theirs, and uses the first that can be used. So gateways that know nothing
//! of each other are spread over all endpoints; and when an endpoint goes, comes or fails, only those change something who use it, and each of them one.

use super::Candidate;
use super::census::{is_zoned, levels, priority_of, shares_of_zones};
use super::turn::{UNCHECKED, is_usable};
use super::zones::HOME;
use crate::config::model::Selection;
use gatewright_abi::flag;

/// What can be done with an endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Usable,
    /// It keeps what it has.
    Draining,
    Sick,
}

/// An endpoint in the order of this gateway.
#[derive(Clone, Copy)]
struct Ranked {
    rank: u64,
    index: usize,
    place: u8,
    state: State,
}

/// So many of each priority that can be used, or all; then so many of those that cannot. Those that are being taken out and would be among them are so still. In a pool with
/// zones each has its part of them, and the gateway's own what is left. `None`: all of them. Otherwise in the order in which they stand there.
pub(super) fn choose(everyone: &[Candidate], selection: &Selection, distrusts: bool) -> Option<Vec<usize>> {
    let subset = selection.subset.as_ref()?;
    let size = subset.size as usize;
    if everyone.len() <= size {
        return None;
    }
    let seed = gatewright_abi::hash64(subset.name.as_bytes(), 0);
    let zoned = !distrusts && is_zoned(everyone, selection);
    let mut chosen = vec![false; everyone.len()];
    for level in levels(everyone) {
        let of_level = everyone.iter().enumerate().filter(|(_, one)| priority_of(one) == level.priority);
        let mut order: Vec<Ranked> = of_level.map(|(index, one)| ranked(index, one, seed, distrusts)).collect();
        order.sort_unstable_by_key(|one| (one.place != HOME, one.rank));
        if zoned {
            for (place, share) in (HOME..).zip(shares_of_zones(everyone, level.priority, selection)) {
                // What a computation leaves over is no endpoint.
                let part = (size as f64 * share - 1e-6).ceil().max(0.0) as usize;
                take(order.iter().filter(|one| one.place == place), State::Usable, part, &mut chosen);
            }
        }
        let taken = take(order.iter(), State::Usable, size, &mut chosen);
        take(order.iter(), State::Sick, size - taken.min(size), &mut chosen);
    }
    Some(chosen.iter().enumerate().filter(|(_, chosen)| **chosen).map(|(index, _)| index).collect())
}

fn ranked(index: usize, candidate: &Candidate, seed: u64, distrusts: bool) -> Ranked {
    let rank = gatewright_abi::hash64(&candidate.endpoint.id.to_le_bytes(), seed);
    let flags = candidate.endpoint.stats.flags();
    let state = match flags & flag::DRAINING != 0 {
        true => State::Draining,
        false if (distrusts && flags & UNCHECKED == 0) || is_usable(flags) => State::Usable,
        false => State::Sick,
    };
    Ranked { rank, index, place: candidate.place, state }
}

/// Takes the first of these that are so, until there are so many with those that were taken before; how many there are then. As many that are
/// being taken out, on the way there, stay.
fn take<'a>(order: impl Iterator<Item = &'a Ranked> + Clone, wanted: State, most: usize, chosen: &mut [bool]) -> usize {
    let is_taken = |one: &&Ranked| one.state == wanted && chosen.get(one.index) == Some(&true);
    let (mut taken, mut draining) = (order.clone().filter(is_taken).count(), 0);
    for one in order {
        if taken >= most {
            break;
        }
        let Some(chosen) = chosen.get_mut(one.index).filter(|chosen| !**chosen) else { continue };
        match one.state {
            state if state == wanted => {
                taken += 1;
                *chosen = true;
            }
            State::Draining if draining < most => {
                draining += 1;
                *chosen = true;
            }
            _ => {}
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use gatewright_abi::flag::{DRAINING, HEALTHY};

    use super::*;
    use crate::balance::Endpoint;
    use crate::config::model::{self, Subset, Zone};

    fn candidate(number: usize) -> Candidate {
        let endpoint = model::Endpoint { address: format!("10.0.{}.{}:80", number / 250, number % 250), weight: 1 };
        Candidate::of(Arc::new(Endpoint::new(&endpoint, None)))
    }

    fn of(name: &str, size: u32) -> Selection {
        Selection { subset: Some(Subset { size, name: name.to_owned() }), ..Selection::default() }
    }

    fn sickens(candidate: &Candidate) {
        candidate.endpoint.stats.change_flags(0, HEALTHY);
    }

    /// The addresses that this gateway uses.
    fn used(all: &[Candidate], selection: &Selection) -> BTreeSet<String> {
        let chosen = choose(all, selection, false).unwrap();
        chosen.iter().map(|index| all[*index].endpoint.address.clone()).collect()
    }

    #[test]
    fn a_pool_that_is_not_larger_is_used_whole() {
        let all: Vec<Candidate> = (0..5).map(candidate).collect();
        assert_eq!(choose(&all, &Selection::default(), false), None);
        assert_eq!(choose(&all, &of("a", 5), false), None);
        assert_eq!(choose(&all, &of("a", 4), false).unwrap().len(), 4);
    }

    #[test]
    fn gateways_are_spread_over_all_endpoints() {
        let (all, size, gateways) = ((0..1000).map(candidate).collect::<Vec<_>>(), 20, 300);
        let mut counts = vec![0u32; all.len()];
        for gateway in 0..gateways {
            let chosen = choose(&all, &of(&format!("gateway-{gateway}"), size), false).unwrap();
            assert_eq!(chosen.len(), size as usize);
            chosen.iter().for_each(|index| counts[*index] += 1);
        }
        // Six each on average. As evenly as chance has it: the sum of squares is then about the number of endpoints.
        let squares: f64 = counts.iter().map(|count| (f64::from(*count) - 6.0).powi(2) / 6.0).sum();
        assert!((800.0..1200.0).contains(&squares), "{squares}");
        assert!(counts.iter().all(|count| *count <= 20), "{counts:?}");
    }

    #[test]
    fn when_one_endpoint_goes_those_who_used_it_take_one_other_and_nobody_else_any() {
        let all: Vec<Candidate> = (0..1000).map(candidate).collect();
        let mut fewer = all.clone();
        let gone = fewer.remove(500).endpoint.address.clone();
        let mut affected = 0;
        for gateway in 0..300 {
            let selection = of(&format!("gateway-{gateway}"), 20);
            let (before, after) = (used(&all, &selection), used(&fewer, &selection));
            let lost: Vec<&String> = before.difference(&after).collect();
            assert_eq!((lost.len(), after.len()), (usize::from(before.contains(&gone)), 20));
            assert!(lost.iter().all(|address| **address == gone));
            affected += lost.len();
        }
        assert!((1..=20).contains(&affected), "{affected}");
    }

    #[test]
    fn one_that_fails_is_replaced_and_comes_back() {
        let all: Vec<Candidate> = (0..200).map(candidate).collect();
        let selection = of("a", 10);
        let before = used(&all, &selection);
        let failing: Vec<&Candidate> =
            all.iter().filter(|one| before.contains(&one.endpoint.address)).take(4).collect();
        failing.iter().for_each(|one| sickens(one));
        let after = used(&all, &selection);
        assert_eq!((after.len(), before.intersection(&after).count()), (10, 6));
        failing.iter().for_each(|one| one.endpoint.stats.change_flags(HEALTHY, 0));
        assert_eq!(used(&all, &selection), before);
        // Whoever is taken out stays, beside the one in its place.
        failing[0].endpoint.stats.change_flags(DRAINING, 0);
        let after = used(&all, &selection);
        assert_eq!((after.len(), before.intersection(&after).count()), (11, 10));
    }

    #[test]
    fn sick_ones_are_taken_only_when_there_are_no_others_or_all_are_believed() {
        let all: Vec<Candidate> = (0..100).map(candidate).collect();
        let selection = of("a", 10);
        let before = used(&all, &selection);
        all[5..].iter().for_each(sickens);
        let after = used(&all, &selection);
        assert_eq!(after.len(), 10);
        assert!(all[..5].iter().all(|one| after.contains(&one.endpoint.address)));
        let believed = choose(&all, &selection, true).unwrap();
        assert_eq!(believed.iter().map(|index| all[*index].endpoint.address.clone()).collect::<BTreeSet<_>>(), before);
    }

    #[test]
    fn there_are_so_many_of_each_priority() {
        let mut all: Vec<Candidate> = (0..100).map(candidate).collect();
        all[90..].iter_mut().for_each(|one| one.priority = 1);
        let chosen = choose(&all, &of("a", 8), false).unwrap();
        assert_eq!((chosen.len(), chosen.iter().filter(|index| **index >= 90).count()), (16, 8));
    }

    #[test]
    fn the_own_zone_goes_first_and_others_have_their_part_when_it_is_weak() {
        let mut all: Vec<Candidate> = (0..300).map(candidate).collect();
        all.iter_mut().enumerate().for_each(|(index, one)| one.place = (index % 3) as u8);
        let zone = Zone { home: "a".into(), share: None, spill_factor: 1.0 };
        let selection = |size| Selection { zone: Some(zone.clone()), ..of("a", size) };
        let places = |size| {
            let chosen = choose(&all, &selection(size), false).unwrap();
            [0, 1, 2].map(|place| chosen.iter().filter(|index| all[**index].place == place).count())
        };
        assert_eq!(places(20), [20, 0, 0]);
        assert_eq!(places(150)[0], 100, "and others when there are not so many");
        // Half of the zone is left, and has a fifth where a third comes in: three of five stay.
        all.iter().filter(|one| one.place == 0).take(50).for_each(sickens);
        assert_eq!(places(20), [12, 4, 4]);
        assert_eq!(places(200)[0], 50);
    }
}
