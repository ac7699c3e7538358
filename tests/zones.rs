//! Which zone the requests of a gateway go to that stands in one itself.

use std::process::Stdio;

use gatewright_abi::flag::{DRAINING, HEALTHY};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::harness::{Client, Gateway, Origin, Wire, eventually, guests, within};

/// A gateway in zone `a`, before these origins: one for each letter, which is its zone; with a digit behind it, its priority. The pool has further keys.
async fn gateway(origins: &[Origin], zones: &[&str], keys: &str) -> Gateway {
    let endpoint = |(origin, zone): (&Origin, &&str)| {
        let (zone, priority) = zone.split_at(1);
        let priority = if priority.is_empty() { "0" } else { priority };
        format!("{{ address = '{origin}', zone = '{zone}', priority = {priority} }}")
    };
    let endpoints: Vec<String> = origins.iter().zip(zones).map(endpoint).collect();
    let turns = guests::wasm("gatewright-plugin-round-robin");
    let text = "zone = 'a'\n[plugin.turns]\nsource = '<turns>'\n[pool.p]\nendpoints = [<endpoints>]\n<keys>\n[[route]]\npool = 'p'\n[admin]\naddress = '127.0.0.1:0'";
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
        assert_eq!(gateway.get("h/", &[]).await.status(), 200);
    }
    origins.iter().zip(before).map(|(origin, before)| origin.requests() - before).collect()
}

fn sickens(gateway: &Gateway, origin: &Origin) {
    gateway.endpoint("p", origin).stats.change_flags(0, HEALTHY);
}

async fn share(gateway: &Gateway, zone: &str) -> f64 {
    gateway.metric(&format!("gatewright_pool_zone_share{{pool=\"p\",zone=\"{zone}\"}}")).await
}

/// Linked in, and as a module.
const BALANCERS: [&str; 4] = ["balance = 'p2c'", "balance = 'round-robin'", "balance = 'maglev'", "balance = 'turns'"];

#[tokio::test]
async fn requests_stay_in_the_zone_and_spill_over_as_far_as_it_is_weak() {
    for balance in BALANCERS {
        let origins = origins(6).await;
        let gateway = gateway(&origins, &["a", "a", "a", "b", "b", "b"], balance).await;
        let at = spread(&gateway, &origins, 30).await;
        assert!(at[..3].iter().sum::<usize>() == 30 && at[3..] == [0, 0, 0], "{balance}: {at:?}");
        sickens(&gateway, &origins[0]);
        // Two of five are left here, where half of the requests come in.
        assert!((share(&gateway, "a").await - 0.8).abs() < 1e-9 && (share(&gateway, "b").await - 0.2).abs() < 1e-9);
        let at = spread(&gateway, &origins, 400).await;
        let here: usize = at[..3].iter().sum();
        assert!(at[0] == 0 && (280..=360).contains(&here), "{balance}: {at:?}");
        sickens(&gateway, &origins[1]);
        gateway.endpoint("p", &origins[2]).stats.change_flags(DRAINING, 0);
        let at = spread(&gateway, &origins, 30).await;
        assert!(at[..3] == [0, 0, 0], "{balance}: {at:?}");
        let (_, status) = gateway.admin("GET", "/status").await;
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["pools"][0]["zones"][1], serde_json::json!({ "zone": "b", "share": 1.0 }));
    }
}

#[tokio::test]
async fn zones_make_no_difference_where_nobody_is_near_or_it_is_switched_off() {
    for (zones, keys) in [(["b", "b", "c", "c"], ""), (["a", "a", "b", "b"], "prefer_zone = false"), ([" "; 4], "")] {
        let origins = origins(4).await;
        let gateway = gateway(&origins, &zones, &format!("balance = 'round-robin'\n{keys}")).await;
        assert_eq!(spread(&gateway, &origins, 40).await, [10; 4], "{zones:?} {keys}");
        assert!(!gateway.admin("GET", "/metrics").await.1.contains("gatewright_pool_zone_share{"));
    }
}

#[tokio::test]
async fn what_comes_in_here_and_what_may_stay_can_be_said() {
    for (keys, least, most) in
        [("share = '25%'", 400, 400), ("spill_factor = 4.0", 400, 400), ("share = '50%'", 150, 250)]
    {
        let origins = origins(4).await;
        let gateway = gateway(&origins, &["a", "b", "b", "b"], &format!("prefer_zone = {{ {keys} }}")).await;
        let at = spread(&gateway, &origins, 400).await;
        assert!((least..=most).contains(&at[0]), "{keys}: {at:?}");
    }
}

#[tokio::test]
async fn in_each_priority_the_zone_goes_first() {
    let origins = origins(4).await;
    let keys = "balance = 'round-robin'\nspill_factor = 100";
    let gateway = gateway(&origins, &["a0", "b0", "a1", "b1"], keys).await;
    assert_eq!(spread(&gateway, &origins, 10).await, [10, 0, 0, 0]);
    sickens(&gateway, &origins[0]);
    assert_eq!(spread(&gateway, &origins, 10).await, [0, 10, 0, 0]);
    gateway.endpoint("p", &origins[1]).stats.change_flags(DRAINING, 0);
    assert_eq!(spread(&gateway, &origins, 10).await, [0, 0, 10, 0]);
}

#[tokio::test]
async fn a_request_that_fails_in_the_zone_goes_on_to_another() {
    let mut origins = origins(2).await;
    let gateway = gateway(&origins, &["a", "b"], "").await;
    drop(origins.remove(0));
    eventually("the origin to be gone", async || spread(&gateway, &origins, 1).await == [1]).await;
    assert_eq!(spread(&gateway, &origins, 10).await, [10]);
}

#[tokio::test]
async fn the_environment_says_the_zone_where_the_file_does_not() {
    let origins = origins(2).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |zone: &str| {
        let (here, there) = (&origins[0], &origins[1]);
        format!(
            "{zone}\n[log]\nformat = 'json'\n[[listener]]\naddress = '127.0.0.1:0'\n[[route]]\npool = 'p'\n[pool.p]\nendpoints = \
             [{{ address = '{here}', zone = 'a' }}, {{ address = '{there}', zone = 'b' }}]\n"
        )
    };
    for (zone, expected) in [("", [0, 10]), ("zone = 'a'", [10, 0])] {
        std::fs::write(folder.path().join("gateway.toml"), file(zone)).unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_gatewright"));
        command.arg("run").current_dir(folder.path()).env("TMPDIR", folder.path()).env("GATEWRIGHT_ZONE", "b");
        let mut gateway = command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(gateway.stderr.take().unwrap()).lines();
        let address = loop {
            let line = within("the address", lines.next_line()).await.unwrap().unwrap();
            if line.contains("listening") {
                let line: serde_json::Value = serde_json::from_str(&line).unwrap();
                break line["fields"]["address"].as_str().unwrap().parse().unwrap();
            }
        };
        let before: Vec<usize> = origins.iter().map(Origin::requests).collect();
        let mut client = Client::connect(address, Wire::H1).await;
        for _ in 0..10 {
            assert_eq!(client.get("/").await.text(), "hi");
        }
        let at: Vec<usize> = origins.iter().zip(before).map(|(origin, before)| origin.requests() - before).collect();
        assert_eq!(at, expected, "{zone}");
    }
}
