//! When the checks fail, and not the endpoints. No client request fails.

use serde_json::Value;

use crate::harness::moody::{Mood, Moody};
use crate::harness::{Gateway, eventually, log};

/// Three endpoints, and the one that answers the checks of all of them.
struct Fleet {
    endpoints: [Moody; 3],
    checker: Moody,
}

impl Fleet {
    async fn start() -> Fleet {
        let endpoints = [Moody::start().await, Moody::start().await, Moody::start().await];
        Fleet { endpoints, checker: Moody::start().await }
    }

    /// A gateway before it, with these further keys of its checks.
    async fn gateway(&self, keys: &str) -> Gateway {
        let addresses = self.endpoints.each_ref().map(|endpoint| endpoint.address.clone());
        let port = self.checker.address.rsplit(':').next().expect("a port");
        let text = format!(
            "[pool.a]\nendpoints = {addresses:?}\nbalance = 'round-robin'\n\
             health = {{ path = '/healthz', port = {port}, interval = '20ms', timeout = '100ms', {keys} }}\n\
             [[route]]\npool = 'a'\n[admin]\naddress = '127.0.0.1:0'"
        );
        Gateway::of(&text).start().await
    }

    /// Asks until it is so, and each of the endpoints has had a request since.
    async fn serves_until(&self, gateway: &Gateway, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        eventually(what, async || {
            assert_eq!(gateway.get("a/", &[]).await.status(), 200, "{what}");
            is_so().await
        })
        .await;
        let before = self.endpoints.each_ref().map(Moody::served);
        eventually("requests everywhere", async || {
            assert_eq!(gateway.get("a/", &[]).await.status(), 200, "{what}");
            self.endpoints.iter().zip(before).all(|(endpoint, before)| endpoint.served() > before)
        })
        .await;
    }
}

async fn distrusts(gateway: &Gateway) -> bool {
    gateway.metric("gatewright_pool_distrusted{pool=\"a\"}").await == 1.0
}

/// How many endpoints the checks have found well.
async fn healthy(gateway: &Gateway) -> usize {
    let status: Value = serde_json::from_str(&gateway.admin("GET", "/status").await.1).expect("JSON");
    let endpoints = status["pools"][0]["endpoints"].as_array().expect("a list");
    endpoints.iter().filter(|endpoint| endpoint["state"] == "healthy").count()
}

#[tokio::test]
async fn when_all_checks_fail_at_once_traffic_goes_on() {
    for mood in [Mood::Failing, Mood::Hung, Mood::Closing] {
        log::listen();
        let fleet = Fleet::start().await;
        let gateway = fleet.gateway("fall = 2, rise = 2").await;
        fleet.serves_until(&gateway, "all to be well", async || healthy(&gateway).await == 3).await;
        assert!(!distrusts(&gateway).await, "{mood:?}");
        fleet.checker.becomes(mood);
        fleet.serves_until(&gateway, "all to seem sick", async || healthy(&gateway).await == 0).await;
        assert!(distrusts(&gateway).await, "{mood:?}");
        log::says(&["too few endpoints are well", "all get requests"]).await;
        fleet.checker.becomes(Mood::Well);
        fleet.serves_until(&gateway, "trust", async || !distrusts(&gateway).await).await;
        assert_eq!(healthy(&gateway).await, 3, "{mood:?}");
        assert_eq!(gateway.metric("gatewright_pool_distrusts_total{pool=\"a\"}").await, 1.0, "{mood:?}");
    }
}

#[tokio::test]
async fn checks_that_fail_from_the_start_are_distrusted_once_they_have_been_made() {
    let fleet = Fleet::start().await;
    fleet.checker.becomes(Mood::Failing);
    let gateway = fleet.gateway("start = 'unhealthy'").await;
    eventually("distrust", async || distrusts(&gateway).await).await;
    fleet.serves_until(&gateway, "still", async || distrusts(&gateway).await).await;
}
