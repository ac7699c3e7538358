use std::sync::Arc;

use gatewright_abi::flag::{DRAINING, HEALTHY};
use proptest::prelude::*;

use super::*;
use crate::balance::{Endpoint, UNCHECKED};
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
fn who_waits_for_its_first_check_gets_nothing_even_where_nothing_is_believed() {
    let (all, watch) = (candidates(&[0, 0, 0]), watch());
    all.iter().for_each(|one| one.endpoint.stats.change_flags(UNCHECKED, HEALTHY));
    assert_eq!(watch.plan(&all, &all, Duration::ZERO).draw(|| 0.0), Turn::default(), "nothing is known yet");
    all[..2].iter().for_each(|one| one.endpoint.stats.change_flags(0, UNCHECKED));
    let turn = watch.plan(&all, &all, Duration::ZERO).draw(|| 0.0);
    assert_eq!(all.iter().map(|one| turn.offers(one)).collect::<Vec<_>>(), [true, true, false]);
    assert!(turn.distrusts && turn.flags(&all[2]) == 0);
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
    assert_eq!([0.0, 0.49, 0.51, 0.99].map(|at| drawn(&plan, at)), [turn(0, 0), turn(0, 0), turn(0, 1), turn(0, 1)]);
    // Half of the first is left, none of it here; it takes seven of ten. The next has as much here as there.
    all[0].endpoint.stats.change_flags(0, HEALTHY);
    all[1].endpoint.stats.change_flags(DRAINING, 0);
    let plan = watch.plan(&all, &all, Duration::ZERO);
    assert_eq!([0.0, 0.69, 0.71, 0.99].map(|at| drawn(&plan, at)), [turn(0, 1), turn(0, 1), turn(1, 0), turn(1, 0)]);
    let zones: Vec<f64> = watch.outlook(&all).zones.iter().map(|(_, share)| (share * 10.0).round() / 10.0).collect();
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
