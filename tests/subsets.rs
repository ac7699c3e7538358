//! Pools of which a gateway uses some endpoints only: which, and who takes the place of one that fails. No client request fails.

use std::collections::BTreeSet;

use gatewright_abi::flag::HEALTHY;

use crate::harness::{Gateway, Origin, eventually, guests};

/// A gateway of this name before all these origins, of which it uses three. The pool has further keys.
async fn gateway(name: &str, origins: &[Origin], keys: &str) -> Gateway {
    let endpoints: Vec<String> = origins.iter().map(ToString::to_string).collect();
    let turns = guests::wasm("gatewright-plugin-round-robin");
    let text = format!(
        "name = '{name}'\n[plugin.turns]\nsource = '{}'\n[pool.a]\nendpoints = {endpoints:?}\nsubset = 3\n{keys}\n[[route]]\npool = 'a'\n\
         [admin]\naddress = '127.0.0.1:0'",
        turns.display()
    );
    Gateway::of(&text).start().await
}

async fn origins(count: usize) -> Vec<Origin> {
    let mut origins = Vec::new();
    for _ in 0..count {
        origins.push(Origin::says("hi").await);
    }
    origins
}

/// Which of the origins get requests.
async fn used(gateway: &Gateway, origins: &[Origin]) -> BTreeSet<usize> {
    let before: Vec<usize> = origins.iter().map(Origin::requests).collect();
    for _ in 0..40 {
        assert_eq!(gateway.get("a/", &[]).await.status(), 200);
    }
    let after = origins.iter().zip(before).map(|(origin, before)| origin.requests() > before).enumerate();
    after.filter(|(_, more)| *more).map(|(index, _)| index).collect()
}

/// Linked in, and as a module.
const BALANCERS: [&str; 3] = ["balance = 'p2c'", "balance = 'round-robin'", "balance = 'turns'"];

#[tokio::test]
async fn a_member_that_fails_is_replaced_and_has_its_place_back_when_it_is_well() {
    for balance in BALANCERS {
        let origins = origins(9).await;
        let gateway = gateway("one", &origins, balance).await;
        let members = used(&gateway, &origins).await;
        assert_eq!(members.len(), 3, "{balance}");
        let failing = *members.first().unwrap();
        let stats = &gateway.endpoint("a", &origins[failing]).stats;
        stats.change_flags(0, HEALTHY);
        eventually("another in its place", async || used(&gateway, &origins).await.len() == 3).await;
        let others = used(&gateway, &origins).await;
        assert_eq!(
            (others.len(), members.difference(&others).copied().collect::<Vec<_>>()),
            (3, vec![failing]),
            "{balance}"
        );
        stats.change_flags(HEALTHY, 0);
        eventually("it to be back", async || used(&gateway, &origins).await == members).await;
        assert_eq!(gateway.metric("gatewright_endpoints{pool=\"a\",state=\"spare\"}").await, 6.0);
    }
}

#[tokio::test]
async fn when_all_members_fail_at_once_others_take_their_place() {
    let origins = origins(9).await;
    let gateway = gateway("one", &origins, "distrust_below = '0%'").await;
    let members = used(&gateway, &origins).await;
    for member in &members {
        gateway.endpoint("a", &origins[*member]).stats.change_flags(0, HEALTHY);
    }
    eventually("others in their place", async || used(&gateway, &origins).await.is_disjoint(&members)).await;
    assert_eq!(used(&gateway, &origins).await.len(), 3);
}

#[tokio::test]
async fn each_gateway_has_its_own_and_keeps_it_over_a_reload() {
    let origins = origins(12).await;
    let mut all = BTreeSet::new();
    for name in ["one", "two", "three", "four", "five", "six", "seven", "eight"] {
        let gateway = gateway(name, &origins, "").await;
        let members = used(&gateway, &origins).await;
        assert_eq!(members.len(), 3);
        all.insert(members);
    }
    assert!(all.len() >= 4, "{all:?}");
    let addresses: Vec<String> = origins.iter().map(ToString::to_string).collect();
    let text = |keys: &str| {
        format!("name = 'one'\n[pool.a]\nendpoints = {addresses:?}\nsubset = 3\n{keys}\n[[route]]\npool = 'a'\n")
    };
    let gateway = Gateway::of(&text("")).start().await;
    let members = used(&gateway, &origins).await;
    gateway.apply(&text("balance = 'random'")).await.unwrap();
    assert_eq!(used(&gateway, &origins).await, members);
}

#[tokio::test]
async fn those_that_are_not_used_are_known_all_the_same() {
    let origins = origins(9).await;
    let gateway = gateway("one", &origins, "").await;
    let members = used(&gateway, &origins).await;
    let spare = (0..9).find(|index| !members.contains(index)).unwrap();
    let (status, text) = gateway.admin("POST", &format!("/drain?pool=a&address={}", origins[spare])).await;
    assert_eq!(status, 200, "{text}");
    let (_, text) = gateway.admin("GET", "/status").await;
    let pool = &serde_json::from_str::<serde_json::Value>(&text).unwrap()["pools"][0];
    assert_eq!((&pool["subset"], &pool["endpoints"][spare]["spare"]), (&3.into(), &true.into()));
    assert_eq!(pool["endpoints"][spare]["draining"], true);
    assert_eq!(pool["endpoints"].as_array().unwrap().len(), 9);
}
