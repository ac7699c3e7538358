//! How requests are spread over the zones that the endpoints of a pool stand in, seen from the zone of this gateway.
//!
//! In: what can be used in each zone. Out: shares. Pure. Limits: so many zones are told apart; those beyond count as one.
//!
//! As many requests are taken to come in at the gateways of one zone as at those of another, unless it is said otherwise. So a zone that has less
//! than its part of what can be used would be overloaded by its own gateways alone: what is too much for it goes to the zones that have more than theirs.
//! When all gateways do that, each endpoint has as much to do as the others, and no request crosses zones that need not.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use crate::config::model::Zone;

/// The place of endpoints in the gateway's own zone, and where zones make no difference.
pub const HOME: u8 = 0;

/// The last place, which all zones share that have none of their own.
const LAST: u8 = 63;

/// By place: the weights of endpoints that can be used, or shares.
pub(super) type ByPlace<T> = SmallVec<[T; 4]>;

/// A number for the zone of each endpoint: [`HOME`] in the gateway's own; and everywhere, when it has none, or nobody is there.
pub fn places<'a>(zones: impl Iterator<Item = &'a str> + Clone, home: Option<&str>) -> Vec<u8> {
    let home = home.filter(|home| zones.clone().any(|zone| zone == *home));
    let Some(home) = home else { return vec![HOME; zones.count()] };
    let others: BTreeSet<&str> = zones.clone().filter(|zone| *zone != home).collect();
    let numbers: std::collections::HashMap<&str, u8> =
        others.into_iter().zip((1..=LAST).chain(std::iter::repeat(LAST))).collect();
    zones.map(|zone| numbers.get(zone).copied().unwrap_or(HOME)).collect()
}

/// The share of requests for each place, of which these weights can be used; of the gateway's own zone first. Where nothing can be used it is that one's
/// to say so.
pub(super) fn shares(usable: &[u64], zone: &Zone) -> ByPlace<f64> {
    let all = usable.iter().sum::<u64>() as f64;
    let mut shares: ByPlace<f64> = usable.iter().map(|_| 0.0).collect();
    let Some((home, others)) = usable.split_first().filter(|(_, others)| !others.is_empty() && all > 0.0) else {
        shares.iter_mut().take(1).for_each(|share| *share = 1.0);
        return shares;
    };
    let come_in = zone.share.map_or(1.0 / usable.len() as f64, |share| f64::from(share) / 10_000.0);
    let others_come_in = (1.0 - come_in) / others.len() as f64;
    let part = |weight: &u64| *weight as f64 / all;
    let stay = (zone.spill_factor * part(home) / come_in).min(1.0);
    // Each takes of the rest by what it has beyond what comes in there; when this zone has too little, some have too much.
    let spare = |weight: &u64| (part(weight) - others_come_in).max(0.0);
    let spares: f64 = others.iter().map(spare).sum();
    for (share, weight) in shares.iter_mut().skip(1).zip(others) {
        *share = if stay < 1.0 && spares > 0.0 { (1.0 - stay) * spare(weight) / spares } else { 0.0 };
    }
    if let Some(share) = shares.first_mut() {
        *share = stay;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone(share: Option<u32>, spill_factor: f64) -> Zone {
        Zone { home: "a".into(), share, spill_factor }
    }

    fn rounded(usable: &[u64]) -> Vec<u32> {
        shares(usable, &zone(None, 1.0)).iter().map(|share| (share * 100.0).round() as u32).collect()
    }

    #[test]
    fn endpoints_of_the_own_zone_come_first_and_others_are_told_apart() {
        let places = |zones: &[&str], home| places(zones.iter().copied(), home);
        assert_eq!(places(&["b", "a", "c", "", "a"], Some("a")), [2, 0, 3, 1, 0]);
        assert_eq!(places(&["b", "a"], Some("x")), [0, 0], "nobody is there");
        assert_eq!(places(&["b", "a"], None), [0, 0]);
        let many: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let placed = places(&many, Some("000"));
        assert_eq!((placed[1], placed[62], placed[63], placed[99]), (1, 62, 63, 63));
    }

    #[test]
    fn all_stays_as_long_as_the_zone_has_its_part() {
        assert_eq!(rounded(&[5, 5]), [100, 0]);
        assert_eq!(rounded(&[7, 3]), [100, 0]);
        assert_eq!(rounded(&[2, 2, 2]), [100, 0, 0]);
        assert_eq!(rounded(&[4]), [100]);
    }

    #[test]
    fn what_a_weak_zone_cannot_take_goes_where_there_is_more() {
        // Two of five are here, where half comes in: four fifths of that stay.
        assert_eq!(rounded(&[2, 3]), [80, 20]);
        assert_eq!(rounded(&[0, 3]), [0, 100]);
        // The second zone is full of its own.
        assert_eq!(rounded(&[1, 2, 3]), [50, 0, 50]);
        assert_eq!(rounded(&[0, 3, 3]), [0, 50, 50]);
        assert_eq!(rounded(&[0, 0, 0]), [100, 0, 0], "nobody has anything");
    }

    #[test]
    fn what_comes_in_and_what_may_stay_can_be_said() {
        assert_eq!(shares(&[1, 3], &zone(Some(2500), 1.0))[..], [1.0, 0.0]);
        assert_eq!(shares(&[1, 3], &zone(Some(5000), 1.0))[..], [0.5, 0.5]);
        assert_eq!(shares(&[1, 3], &zone(Some(5000), 2.0))[..], [1.0, 0.0]);
        assert_eq!(shares(&[1, 3], &zone(Some(10_000), 1.0))[..], [0.25, 0.75]);
    }

    proptest! {
        /// Over all gateways: each endpoint that can be used has as much to do as any other.
        #[test]
        fn when_all_do_so_nobody_is_overloaded(usable in prop::collection::vec(0u64..50, 1..6)) {
            prop_assume!(usable.iter().sum::<u64>() > 0);
            let mut loads = vec![0.0; usable.len()];
            for home in 0..usable.len() {
                // As the gateways of that zone see it.
                let mut seen = usable.clone();
                seen.swap(0, home);
                let shares = shares(&seen, &zone(None, 1.0));
                prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{shares:?}");
                prop_assert!(shares.iter().zip(&seen).all(|(share, weight)| *share >= 0.0 && (*weight > 0 || *share < 1e-9)));
                for (place, share) in shares.iter().enumerate() {
                    let zone = if place == 0 { home } else if place == home { 0 } else { place };
                    loads[zone] += share / usable.len() as f64;
                }
            }
            let all = usable.iter().sum::<u64>() as f64;
            for (load, usable) in loads.iter().zip(&usable) {
                prop_assert!((load - *usable as f64 / all).abs() < 1e-9, "{loads:?}");
            }
        }
    }
}
