//! What clients notice of an endpoint that goes bad, by each way to go bad: how many of their requests fail, and how long it takes
//! until requests go elsewhere. That time is told (`cargo test way_to_go_bad -- --nocapture`) and not judged.

use std::time::{Duration, Instant};

use crate::harness::moody::{Mood, Moody};
use crate::harness::{Gateway, Raw, eventually, within};

/// How an endpoint goes bad.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// Its process ends, with a request under way.
    Killed,
    /// It takes requests and never answers.
    Hung,
    /// It takes its time.
    Slowed,
    /// Nobody listens any more.
    Refusing,
    /// It answers 500.
    Failing,
    /// It closes in the middle of the body.
    Breaking,
    /// It fails two requests, answers two, and so on.
    Flapping,
    /// It was gone and is back.
    Back,
}

/// What clients noticed.
struct Noticed {
    failed: usize,
    /// From the moment when it went bad.
    time: Duration,
    /// How many requests were answered by the endpoint otherwise than they should have been.
    spoilt: usize,
}

const EJECT: &str = "
    eject = { failures = 3, connects = 2, success = '20%', latency = 4, interval = '400ms', requests = 3, time = '1h', most_time = '1h' }";
const CHECKS: &str = "health = { path = '/healthz', interval = '20ms', fall = 2, rise = 2 }";
const RETRY: &str = "retry = { on = ['connect', 'reset', 'timeout'], status = [500], <try_time> pause = '1ms' }";

/// A request of a client's; whether it was answered with 200 and all of it.
async fn succeeds(mut client: Raw) -> bool {
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.try_response().await.is_ok_and(|response| response.status() == 200)
}

async fn state(gateway: &Gateway) -> String {
    let status: serde_json::Value = serde_json::from_str(&gateway.admin("GET", "/status").await.1).expect("JSON");
    status["pools"][0]["endpoints"][0]["state"].as_str().expect("a state").to_owned()
}

async fn ejected(gateway: &Gateway) {
    eventually("an ejection", async || state(gateway).await == "ejected").await;
}

/// Takes turns between one endpoint that goes bad and one that does not, until only that gets requests.
async fn goes_bad(way: Way, retried: bool) -> Noticed {
    let (one, two) = (Moody::start().await, Moody::start().await);
    // Where nothing hangs no time is to be over, however busy the machine is.
    let (try_time, first_byte) = match way {
        Way::Hung => ("try_time = '150ms',", "timeouts = { first_byte = '300ms' }"),
        _ => ("", ""),
    };
    let retry = if retried { RETRY.replace("<try_time>", try_time) } else { String::new() };
    let keys = [if way == Way::Back { CHECKS } else { EJECT }, first_byte, &retry].join("\n");
    let text = "[pool.a]\nendpoints = ['<one>', '<two>']\nbalance = 'round-robin'\n<keys>\n\
                [[route]]\npool = 'a'\n[admin]\naddress = '127.0.0.1:0'";
    let start = Gateway::of(text).with("one", &one.address).with("two", &two.address).with("keys", keys);
    let gateway = start.start().await;
    while one.served() == 0 || two.served() == 0 {
        assert!(succeeds(gateway.raw().await).await);
    }
    let mut failed = 0;
    let mut began = Instant::now();
    let mut reserved = None;
    match way {
        Way::Killed => {
            one.becomes(Mood::Hung);
            // They take turns: one of two requests is with the one, and stays there.
            let before = one.served();
            let requests = [tokio::spawn(succeeds(gateway.raw().await)), tokio::spawn(succeeds(gateway.raw().await))];
            eventually("a request under way", async || one.served() > before).await;
            began = Instant::now();
            reserved = Some(one.dies().await);
            for request in requests {
                failed += usize::from(!within("an end", request).await.expect("an end"));
            }
        }
        Way::Refusing | Way::Back => reserved = Some(one.dies().await),
        Way::Hung => one.becomes(Mood::Hung),
        Way::Slowed => one.becomes(Mood::Slow),
        Way::Failing => one.becomes(Mood::FailingClients),
        Way::Breaking => one.becomes(Mood::Breaking),
        Way::Flapping => one.becomes(Mood::Flapping),
    }
    let used = if way == Way::Back { "unhealthy" } else { "ejected" };
    let moved = async {
        while state(&gateway).await != used {
            failed += usize::from(!succeeds(gateway.raw().await).await);
            // Enough has failed: whoever judges may need longer for that than it takes to ask again.
            let is_enough = failed.max(one.failed()) >= 3;
            if is_enough && matches!(way, Way::Hung | Way::Failing | Way::Breaking) {
                let _ = tokio::time::timeout(Duration::from_secs(2), ejected(&gateway)).await;
            }
        }
    };
    within("requests to go elsewhere", moved).await;
    let mut time = began.elapsed();
    if way == Way::Back {
        began = Instant::now();
        let one = Moody::back(reserved.take().expect("a port"));
        let again = async {
            while one.served() == 0 {
                failed += usize::from(!succeeds(gateway.raw().await).await);
            }
        };
        within("requests to come back", again).await;
        time = began.elapsed();
        return Noticed { failed, time, spoilt: one.failed() };
    }
    // From now on nobody notices anything.
    let before = two.served();
    for _ in 0..10 {
        assert!(succeeds(gateway.raw().await).await, "{way:?}");
    }
    assert_eq!(two.served(), before + 10, "{way:?}");
    Noticed { failed, time, spoilt: one.failed() }
}

#[tokio::test]
async fn what_clients_notice_of_each_way_to_go_bad() {
    println!("{:<10} {:>8} {:>8} {:>10}", "", "retried", "failed", "moved");
    let ways =
        [Way::Killed, Way::Hung, Way::Slowed, Way::Refusing, Way::Failing, Way::Breaking, Way::Flapping, Way::Back];
    for way in ways {
        for retried in [true, false] {
            let noticed = goes_bad(way, retried).await;
            let Noticed { failed, time, spoilt } = noticed;
            println!("{:<10} {:>8} {:>8} {:>10}", format!("{way:?}"), retried, failed, format!("{time:.0?}"));
            match (way, retried) {
                // What has begun to arrive cannot be taken back. As many as it takes, and one that may have been on its way.
                (Way::Breaking, _) | (Way::Hung | Way::Failing, false) => {
                    assert!((3..=4).contains(&failed), "{way:?} {failed}");
                }
                (Way::Flapping, false) => assert!(failed > 0 && failed == spoilt, "{failed} of {spoilt}"),
                (Way::Hung | Way::Failing | Way::Flapping, true) => assert_eq!(failed, 0, "{way:?}"),
                // What is lost with a kept connection goes again in any case, where it can have had no effect.
                (Way::Killed | Way::Slowed | Way::Refusing | Way::Back, _) => assert_eq!(failed, 0, "{way:?}"),
            }
        }
    }
}
