//! Pools of which a gateway uses some endpoints only: which, and who takes the place of one that fails. No client request fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::Response;

use crate::harness::{Gateway, Origin, Wire, eventually, full, guests};

/// An origin that is as well as it says when it is checked, and counts the requests of clients.
struct Member {
    origin: Origin,
    well: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Member {
    async fn start() -> Member {
        let (well, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (is_well, counts) = (well.clone(), asked.clone());
        let origin = Origin::start(Wire::H1, move |request| {
            let is_check = request.uri().path() == "/health";
            counts.fetch_add(usize::from(!is_check), Ordering::Relaxed);
            let status = if is_check && !is_well.load(Ordering::Relaxed) { 500 } else { 200 };
            async move { Response::builder().status(status).body(full("hi")).unwrap() }
        });
        Member { origin: origin.await, well, asked }
    }

    fn is(&self, well: bool) {
        self.well.store(well, Ordering::Relaxed);
    }
}

const CHECKS: &str = "health = { path = '/health', interval = '20ms', fall = 1, rise = 1 }";

/// A gateway of this name before all these, of which it uses three. The pool has further keys.
async fn gateway(name: &str, members: &[Member], keys: &str) -> Gateway {
    let endpoints: Vec<String> = members.iter().map(|member| member.origin.to_string()).collect();
    let turns = guests::wasm("gatewright-plugin-round-robin");
    let text = format!(
        "name = '{name}'\n[plugin.turns]\nsource = '{}'\n[pool.a]\nendpoints = {endpoints:?}\nsubset = 3\n{CHECKS}\n{keys}\n\
         [[route]]\npool = 'a'\n[admin]\naddress = '127.0.0.1:0'",
        turns.display()
    );
    Gateway::of(&text).start().await
}

async fn members(count: usize) -> Vec<Member> {
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(Member::start().await);
    }
    members
}

/// Which of them get requests.
async fn used(gateway: &Gateway, members: &[Member]) -> BTreeSet<usize> {
    let asked = || members.iter().map(|member| member.asked.load(Ordering::Relaxed)).collect::<Vec<_>>();
    let before = asked();
    for _ in 0..40 {
        assert_eq!(gateway.get("a/", &[]).await.status(), 200);
    }
    let more = asked().into_iter().zip(before).map(|(after, before)| after > before).enumerate();
    more.filter(|(_, more)| *more).map(|(index, _)| index).collect()
}

/// Linked in, and as a module.
const BALANCERS: [&str; 3] = ["balance = 'p2c'", "balance = 'round-robin'", "balance = 'turns'"];

#[tokio::test]
async fn a_member_that_fails_is_replaced_and_has_its_place_back_when_it_is_well() {
    for balance in BALANCERS {
        let all = members(9).await;
        let gateway = gateway("one", &all, balance).await;
        let before = used(&gateway, &all).await;
        assert_eq!(before.len(), 3, "{balance}");
        let failing = *before.first().unwrap();
        all[failing].is(false);
        eventually("another in its place", async || {
            let now = used(&gateway, &all).await;
            now.len() == 3 && before.difference(&now).eq([&failing])
        })
        .await;
        all[failing].is(true);
        eventually("it to be back", async || used(&gateway, &all).await == before).await;
        assert_eq!(gateway.metric("gatewright_endpoints{pool=\"a\",state=\"spare\"}").await, 6.0);
    }
}

#[tokio::test]
async fn when_all_members_fail_at_once_others_take_their_place() {
    let all = members(9).await;
    let gateway = gateway("one", &all, "distrust_below = '0%'").await;
    let before = used(&gateway, &all).await;
    before.iter().for_each(|member| all[*member].is(false));
    eventually("others in their place", async || {
        let now = used(&gateway, &all).await;
        now.len() == 3 && now.is_disjoint(&before)
    })
    .await;
}

#[tokio::test]
async fn each_gateway_has_its_own_and_keeps_it_over_a_reload() {
    let all = members(12).await;
    let mut sets = BTreeSet::new();
    for name in ["one", "two", "three", "four", "five", "six", "seven", "eight"] {
        let gateway = gateway(name, &all, "").await;
        let used = used(&gateway, &all).await;
        assert_eq!(used.len(), 3);
        sets.insert(used);
    }
    assert!(sets.len() >= 4, "{sets:?}");
    let addresses: Vec<String> = all.iter().map(|member| member.origin.to_string()).collect();
    let text = |keys: &str| {
        format!("name = 'one'\n[pool.a]\nendpoints = {addresses:?}\nsubset = 3\n{keys}\n[[route]]\npool = 'a'\n")
    };
    let gateway = Gateway::of(&text("")).start().await;
    let before = used(&gateway, &all).await;
    gateway.apply(&text("balance = 'random'")).await.unwrap();
    assert_eq!(used(&gateway, &all).await, before);
}

#[tokio::test]
async fn those_that_are_not_used_are_known_all_the_same() {
    let all = members(9).await;
    let gateway = gateway("one", &all, "").await;
    let members = used(&gateway, &all).await;
    let spare = (0..9).find(|index| !members.contains(index)).unwrap();
    let (status, text) = gateway.admin("POST", &format!("/drain?pool=a&address={}", all[spare].origin)).await;
    assert_eq!(status, 200, "{text}");
    let (_, text) = gateway.admin("GET", "/status").await;
    let pool = &serde_json::from_str::<serde_json::Value>(&text).unwrap()["pools"][0];
    assert_eq!((&pool["subset"], &pool["endpoints"][spare]["spare"]), (&3.into(), &true.into()));
    assert_eq!(pool["endpoints"][spare]["draining"], true);
    assert_eq!(pool["endpoints"].as_array().unwrap().len(), 9);
}
