//! Which endpoints of a pool get requests, whichever balancer chooses among them: by their health and priority.

use gatewright_abi::flag::{DRAINING, EJECTED, HEALTHY};

use crate::harness::{Gateway, Origin, eventually, guests};

/// A gateway before these origins, which have one priority after the other; so many of each. The pool has further keys.
async fn gateway(origins: &[Origin], of_each: usize, keys: &str) -> Gateway {
    let endpoint = |(number, origin): (usize, &Origin)| {
        format!("{{ address = '{origin}', priority = {} }}", number.checked_div(of_each).unwrap_or(0))
    };
    let endpoints: Vec<String> = origins.iter().enumerate().map(endpoint).collect();
    let turns = guests::wasm("gatewright-plugin-round-robin");
    let text = "[plugin.turns]\nsource = '<turns>'\n[pool.a]\nendpoints = [<endpoints>]\n<keys>\n[[route]]\npool = 'a'\n[admin]\naddress = '127.0.0.1:0'";
    Gateway::of(text)
        .with("turns", turns.display())
        .with("endpoints", endpoints.join(", "))
        .with("keys", keys)
        .start()
        .await
}

async fn origins(count: usize) -> Vec<Origin> {
    let mut origins = Vec::new();
    for _ in 0..count {
        origins.push(Origin::says("hi").await);
    }
    origins
}

/// How many of these requests each origin got.
async fn spread(gateway: &Gateway, origins: &[Origin], requests: usize) -> Vec<usize> {
    let before: Vec<usize> = origins.iter().map(Origin::requests).collect();
    for _ in 0..requests {
        assert_eq!(gateway.get("a/", &[]).await.status(), 200);
    }
    origins.iter().zip(before).map(|(origin, before)| origin.requests() - before).collect()
}

fn sickens(gateway: &Gateway, origin: &Origin) {
    gateway.endpoint("a", origin).stats.change_flags(0, HEALTHY);
}

fn recovers(gateway: &Gateway, origin: &Origin) {
    gateway.endpoint("a", origin).stats.change_flags(HEALTHY, EJECTED);
}

/// Linked in, and as a module.
const BALANCERS: [&str; 3] = ["balance = 'p2c'", "balance = 'round-robin'", "balance = 'turns'"];

#[tokio::test]
async fn the_second_priority_stands_by_until_nothing_is_left_of_the_first() {
    for balance in BALANCERS {
        let origins = origins(4).await;
        let gateway = gateway(&origins, 2, &format!("{balance}\nspill_factor = 100")).await;
        let at = spread(&gateway, &origins, 20).await;
        assert!(at[0] > 0 && at[1] > 0 && at[2..] == [0, 0], "{balance}: {at:?}");
        sickens(&gateway, &origins[0]);
        assert_eq!(spread(&gateway, &origins, 20).await, [0, 20, 0, 0], "{balance}");
        gateway.endpoint("a", &origins[1]).stats.change_flags(EJECTED, 0);
        let at = spread(&gateway, &origins, 20).await;
        assert!(at[..2] == [0, 0] && at[2] > 0 && at[3] > 0, "{balance}: {at:?}");
        recovers(&gateway, &origins[1]);
        assert_eq!(spread(&gateway, &origins, 20).await, [0, 20, 0, 0], "{balance}");
    }
}

#[tokio::test]
async fn what_a_weak_priority_cannot_take_spills_over() {
    for balance in BALANCERS {
        let origins = origins(4).await;
        let gateway = gateway(&origins, 2, balance).await;
        sickens(&gateway, &origins[0]);
        // Half of it is left, which takes seven of ten.
        let at = spread(&gateway, &origins, 400).await;
        assert!(at[0] == 0 && (220..=340).contains(&at[1]) && at[2] > 20 && at[3] > 20, "{balance}: {at:?}");
        let share = |priority: u8| format!("gatewright_pool_priority_share{{pool=\"a\",priority=\"{priority}\"}}");
        assert!((gateway.metric(&share(0)).await - 0.7).abs() < 1e-9);
        assert!((gateway.metric(&share(1)).await - 0.3).abs() < 1e-9);
    }
}

#[tokio::test]
async fn a_request_that_fails_goes_on_to_the_next_priority() {
    let mut origins = origins(2).await;
    let gateway = gateway(&origins, 1, "").await;
    // Nobody listens there any more, and nobody has noticed.
    let gone = origins.remove(0);
    drop(gone);
    eventually("the origin to be gone", async || spread(&gateway, &origins, 1).await == [1]).await;
    assert_eq!(spread(&gateway, &origins, 10).await, [10]);
    assert!(gateway.metric("gatewright_upstream_retries_total").await >= 10.0);
}

#[tokio::test]
async fn when_most_of_a_pool_is_sick_all_get_requests() {
    for balance in BALANCERS {
        let origins = origins(4).await;
        let gateway = gateway(&origins, 0, balance).await;
        sickens(&gateway, &origins[0]);
        sickens(&gateway, &origins[1]);
        let at = spread(&gateway, &origins, 20).await;
        assert!(at[..2] == [0, 0] && at[2] > 0 && at[3] > 0, "{balance}: {at:?}");
        assert_eq!(gateway.metric("gatewright_pool_distrusted{pool=\"a\"}").await, 0.0);
        gateway.endpoint("a", &origins[2]).stats.change_flags(EJECTED, 0);
        let at = spread(&gateway, &origins, 60).await;
        assert!(at.iter().all(|count| *count > 0), "{balance}: {at:?}");
        assert_eq!(gateway.metric("gatewright_pool_distrusted{pool=\"a\"}").await, 1.0);
        // Enough are well again, which is believed after a while; nobody has to ask for anything.
        recovers(&gateway, &origins[2]);
        let distrusts = async || gateway.metric("gatewright_pool_distrusted{pool=\"a\"}").await == 1.0;
        eventually("what is known to be believed again", async || !distrusts().await).await;
        assert_eq!(spread(&gateway, &origins, 20).await[..2], [0, 0], "{balance}");
        assert_eq!(gateway.metric("gatewright_pool_distrusts_total{pool=\"a\"}").await, 1.0);
    }
}

#[tokio::test]
async fn the_only_endpoint_of_a_pool_gets_requests_sick_or_not() {
    for balance in BALANCERS {
        let origins = origins(1).await;
        let gateway = gateway(&origins, 0, balance).await;
        sickens(&gateway, &origins[0]);
        assert_eq!(spread(&gateway, &origins, 5).await, [5], "{balance}");
        assert_eq!(gateway.metric("gatewright_pool_distrusted{pool=\"a\"}").await, 1.0);
        gateway.endpoint("a", &origins[0]).stats.change_flags(DRAINING, 0);
        assert_eq!(gateway.get("a/", &[]).await.status(), 503, "{balance}: it was taken out of use");
    }
}

#[tokio::test]
async fn without_distrust_nobody_who_is_sick_gets_a_request() {
    for count in [1, 2] {
        let origins = origins(count).await;
        let gateway = gateway(&origins, 0, "distrust_below = '0%'").await;
        assert_eq!(gateway.get("a/", &[]).await.status(), 200);
        origins.iter().for_each(|origin| sickens(&gateway, origin));
        assert_eq!(gateway.get("a/", &[]).await.status(), 503);
        recovers(&gateway, &origins[0]);
        assert_eq!(gateway.get("a/", &[]).await.status(), 200);
    }
}
