use super::*;
use gatewright_sdk::mock::{Mock, MockEndpoint, endpoint, get};

fn pool(count: usize) -> Vec<MockEndpoint> {
    (0..count).map(|n| endpoint(&format!("10.0.0.{n}:80")).latency_us(1000)).collect()
}

fn gateway(pool: Vec<MockEndpoint>) -> Mock {
    Mock::balancer::<Prequal>("{}", pool).unwrap()
}

fn counts(gateway: &mut Mock, picks: usize) -> [usize; 16] {
    let mut counts = [0; 16];
    for _ in 0..picks {
        if let Some(index) = gateway.pick(&get("http://a/")).first() {
            counts[index] += 1;
        }
    }
    counts
}

#[test]
fn equals_share() {
    let counts = counts(&mut gateway(pool(16)), 8000);
    assert!(counts.iter().all(|count| count.abs_diff(500) < 100), "{counts:?}");
}

#[test]
fn of_those_that_are_cold_the_fastest_is_taken() {
    let mut gateway = gateway(pool(8));
    for index in 0..8 {
        gateway.endpoint(index).active(5);
    }
    gateway.endpoint(3).latency_us(100);
    let found = counts(&mut gateway, 1000);
    // Each time that it is in the pool, which it is most of the time.
    assert!(found[3] > 500, "{found:?}");
    gateway.endpoint(3).error_rate(0.99);
    assert!(counts(&mut gateway, 1000)[3] < 20);
}

#[test]
fn one_that_is_hot_is_not_taken_however_fast_it_is() {
    let mut gateway = gateway(pool(16));
    gateway.endpoint(3).latency_us(100).active(50);
    assert_eq!(counts(&mut gateway, 500)[3], 0);
}

#[test]
fn when_all_are_hot_the_least_busy_is_taken() {
    let config = r#"{"quantile": 0.0, "probes": 16}"#;
    let mut gateway = Mock::balancer::<Prequal>(config, pool(4)).unwrap();
    for (index, active) in [(0, 9), (1, 1), (2, 7), (3, 8)] {
        gateway.endpoint(index).active(active);
    }
    let found = counts(&mut gateway, 300);
    assert!(found[1] > 250, "{found:?}");
}

#[test]
fn what_backends_report_goes_before_what_the_gateway_counts() {
    let mut gateway = gateway(pool(16));
    for index in 0..16 {
        gateway.endpoint(index).load(0.5).active(10);
    }
    gateway.endpoint(3).load(0.95).active(0).latency_us(100);
    let found = counts(&mut gateway, 500);
    assert_eq!(found[3], 0, "{found:?}");
}

#[test]
fn weights_and_warmth_give_shares() {
    let mut gateway =
        gateway([1, 1, 1, 5].map(|weight| endpoint("10.0.0.1:80").latency_us(1000).weight(weight)).into());
    gateway.endpoint(0).warmth(0.1);
    let found = counts(&mut gateway, 4000);
    let near = |index: usize, share: usize| found[index].abs_diff(share) < 120;
    assert!(near(0, 56) && near(1, 563) && near(2, 563) && near(3, 2817), "{found:?}");
}

#[test]
fn probes_are_thrown_away_by_age_and_use() {
    use crate::probes::Probes;
    let now = clock::now();
    let mut probes = Probes::new(3);
    (0..4).for_each(|index| probes.add(index, now + Duration::from_secs(index as u64), 2));
    assert!(probes.indices().eq([1, 2, 3]));
    probes.used(2);
    assert!(probes.indices().eq([1, 2, 3]));
    probes.used(2);
    assert!(probes.indices().eq([1, 3]));
    probes.remove_one(|index| if index == 3 { 9.0 } else { 1.0 });
    assert!(probes.indices().eq([1]));
    probes.add(5, now + Duration::from_secs(9), 1);
    probes.forget(now + Duration::from_secs(9), Duration::from_secs(1));
    assert!(probes.indices().eq([5]));
}

#[test]
fn who_is_out_of_order_or_gone_is_not_taken() {
    let mut gateway = gateway(pool(8));
    counts(&mut gateway, 50);
    for index in 1..8 {
        gateway.endpoint(index).ejected(true);
    }
    assert_eq!(counts(&mut gateway, 50)[0], 50);
    gateway.change_endpoints(pool(2));
    let found = counts(&mut gateway, 400);
    assert!(found[0] > 100 && found[1] > 100, "{found:?}");
    gateway.change_endpoints([]);
    assert_eq!(gateway.pick(&get("http://a/")), Pick::Fallback);
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    for (config, words) in [
        (r#"{"probes": 0}"#, "probes: takes 1 to 16"),
        (r#"{"quantile": 1.5}"#, "quantile: takes 0 to 1"),
        (r#"{"poll": 3}"#, "poll: unknown field"),
    ] {
        let wrong = Mock::balancer::<Prequal>(config, []).err().unwrap().to_string();
        assert!(wrong.starts_with(words), "{wrong}");
    }
}
