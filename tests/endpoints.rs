//! Endpoints that come and go: what is taken out of use finishes what it has, and what is new begins slowly.

use gatewright_abi::flag::{DRAINING, HEALTHY, WARMING};

use crate::harness::{Gateway, Origin, RawOrigin, eventually, within};

const TWO: &str = "[pool.a]\nendpoints = ['<one>', '<other>']\n[[route]]\npool = 'a'\n[admin]\naddress = '127.0.0.1:0'";

async fn spread(gateway: &Gateway, origins: [&Origin; 2], requests: usize) -> [usize; 2] {
    let before = origins.map(Origin::requests);
    for _ in 0..requests {
        assert_eq!(gateway.get("a/", &[]).await.status(), 200);
    }
    let [one, other] = origins.map(Origin::requests);
    [one - before[0], other - before[1]]
}

#[tokio::test]
async fn an_operator_takes_an_endpoint_out_of_use_and_back() {
    let (one, other) = (Origin::says("one").await, Origin::says("other").await);
    let gateway = Gateway::of(TWO).with("one", &one).with("other", &other).start().await;
    let query = format!("?pool=a&address={one}");
    let (status, answer) = gateway.order(&format!("/drain{query}"), b"").await;
    assert_eq!((status, &answer["draining"], &answer["active"]), (200, &true.into(), &0.into()));
    assert_eq!(spread(&gateway, [&one, &other], 10).await, [0, 10]);
    assert_eq!(gateway.metric("gatewright_endpoints{pool=\"a\",state=\"draining\"}").await, 1.0);
    // A reload does not change it, and neither does another limit, which makes another endpoint of it.
    gateway.apply(TWO).await.unwrap();
    gateway.apply(&TWO.replace("[[route]]", "max_connections = 5\n[[route]]")).await.unwrap();
    assert_eq!(spread(&gateway, [&one, &other], 10).await, [0, 10]);
    let (status, answer) = gateway.order(&format!("/undrain{query}"), b"").await;
    assert_eq!((status, &answer["draining"]), (200, &false.into()));
    let [at_one, at_other] = spread(&gateway, [&one, &other], 20).await;
    assert!(at_one > 0 && at_other > 0);
}

#[tokio::test]
async fn the_command_waits_until_an_endpoint_has_finished() {
    let (one, other) = (RawOrigin::start().await, Origin::says("other").await);
    let gateway = Gateway::of(&TWO.replace(", '<other>'", "")).with("one", &one).with("other", &other).start().await;
    let (admin, address) = (gateway.admin_address().to_string(), one.to_string());
    let command = |further: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_gatewright"));
        command.args(["drain", "a", &address, "--admin", &admin]).args(further);
        command.kill_on_drop(true).output()
    };
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = one.accept().await;
    upstream.request().await;
    let given_up = within("the command", command(&["--wait", "1ms"])).await.unwrap();
    assert!(!given_up.status.success());
    assert!(String::from_utf8_lossy(&given_up.stderr).contains("still works on 1"), "{given_up:?}");
    let (waited, ()) = tokio::join!(command(&["--wait", "1m"]), async {
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(client.response().await.status(), 200);
    });
    let waited = waited.unwrap();
    assert!(waited.status.success() && String::from_utf8_lossy(&waited.stdout).contains("has finished"), "{waited:?}");
    let undone = within("the command", command(&["--undo"])).await.unwrap();
    assert!(undone.status.success(), "{undone:?}");
    assert_eq!(gateway.endpoint("a", &one).stats.flags(), HEALTHY);
}

#[tokio::test]
async fn orders_about_endpoints_that_are_not_there_are_refused() {
    let (one, other) = (Origin::says("one").await, Origin::says("other").await);
    let gateway = Gateway::of(TWO).with("one", &one).with("other", &other).start().await;
    for (query, status) in [("", 400), ("?pool=a", 400), ("?pool=b&address=x:1", 404), ("?pool=a&address=x:1", 404)] {
        let (answered, problem) = gateway.order(&format!("/drain{query}"), b"").await;
        assert_eq!(answered, status, "{query}: {problem}");
    }
    assert_eq!(gateway.admin("GET", "/drain").await.0, 405);
}

#[tokio::test]
async fn the_configuration_takes_an_endpoint_out_of_use() {
    let (one, other) = (Origin::says("one").await, Origin::says("other").await);
    let gateway = Gateway::of(TWO).with("one", &one).with("other", &other).start().await;
    let drained = TWO.replace("'<one>'", "{ address = '<one>', drain = true }");
    gateway.apply(&drained).await.unwrap();
    assert_eq!(spread(&gateway, [&one, &other], 10).await, [0, 10]);
    let (status, _) = gateway.order(&format!("/undrain?pool=a&address={one}"), b"").await;
    assert_eq!(status, 409);
    // A configuration that does not come into force takes nothing out of use, and puts nothing back.
    let refused = format!("{TWO}\n[[route]]\nmatch = {{ path = '/x' }}\nstatic = 'nowhere'");
    assert!(gateway.apply(&refused).await.is_err());
    assert_eq!(spread(&gateway, [&one, &other], 10).await, [0, 10]);
    gateway.apply(TWO).await.unwrap();
    let [at_one, _] = spread(&gateway, [&one, &other], 20).await;
    assert!(at_one > 0);
}

#[tokio::test]
async fn a_pool_that_is_all_draining_answers_503() {
    let one = Origin::says("one").await;
    let gateway = Gateway::of(&TWO.replace(", '<other>'", "")).with("one", &one).start().await;
    gateway.endpoint("a", &one).drain(gatewright::balance::Drain::Order, true);
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 503);
    assert_eq!(one.requests(), 0);
}

#[tokio::test]
async fn tunnels_live_on_at_endpoints_that_are_draining_or_gone() {
    let (one, other) = (RawOrigin::start().await, Origin::says("other").await);
    let alone = TWO.replace(", '<other>'", "");
    let gateway = Gateway::of(&alone).with("one", &one).with("other", &other).start().await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    let mut upstream = one.accept().await;
    upstream.head().await;
    upstream.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 101);
    let (_, answer) = gateway.order(&format!("/drain?pool=a&address={one}"), b"").await;
    assert_eq!(answer["active"], 1);
    client.send("ping").await;
    assert_eq!(upstream.exactly(4).await, b"ping");
    let endpoint = gateway.endpoint("a", &one);
    gateway.apply(&TWO.replace("'<one>', ", "")).await.unwrap();
    assert_eq!(gateway.get("a/", &[]).await.text(), "other");
    upstream.send("pong").await;
    assert_eq!(client.exactly(4).await, b"pong");
    assert_eq!(endpoint.active(), 1);
    drop((client, upstream));
    eventually("the end of the tunnel", async || endpoint.active() == 0).await;
}

#[tokio::test]
async fn a_client_with_a_session_stays_at_an_endpoint_that_is_draining_until_it_is_gone() {
    let (one, other) = (Origin::says("one").await, Origin::says("other").await);
    let sticky = TWO.replace("[[route]]", "balance = 'sticky'\n[[route]]");
    let gateway = Gateway::of(&sticky).with("one", &one).with("other", &other).start().await;
    let cookie = |response: &crate::harness::Message| {
        let set = response.field("set-cookie").expect("a cookie");
        format!("Cookie: {}", set.split(';').next().expect("a value"))
    };
    // A client whose home is the one.
    let mut session = String::new();
    eventually("a client of the one", async || {
        let response = gateway.get("a/", &[]).await;
        session = cookie(&response);
        response.text() == "one"
    })
    .await;
    let (status, _) = gateway.order(&format!("/drain?pool=a&address={one}"), b"").await;
    assert_eq!(status, 200);
    for _ in 0..10 {
        assert_eq!(gateway.get("a/", &[&session]).await.text(), "one");
        assert_eq!(gateway.get("a/", &[]).await.text(), "other");
    }
    gateway.apply(&sticky.replace("'<one>', ", "")).await.unwrap();
    assert_eq!(gateway.get("a/", &[&session]).await.text(), "other");
}

#[tokio::test]
async fn endpoints_that_come_back_or_are_new_begin_slowly() {
    let (one, other) = (Origin::says("one").await, Origin::says("other").await);
    let slow = TWO.replace("[[route]]", "slow_start = { time = '1h', least = '1%' }\n[[route]]");
    let alone = slow.replace(", '<other>'", "");
    let gateway = Gateway::of(&alone).with("one", &one).with("other", &other).start().await;
    assert_eq!(gateway.get("a/", &[]).await.status(), 200);
    let first = gateway.endpoint("a", &one);
    assert_eq!((first.stats.flags(), first.stats.warmth()), (HEALTHY, 1.0));
    // It comes to a pool that is there.
    gateway.apply(&slow).await.unwrap();
    let second = gateway.endpoint("a", &other);
    eventually("it to be warming", async || second.stats.flags() & WARMING != 0).await;
    assert!((0.009..0.02).contains(&second.stats.warmth()), "{}", second.stats.warmth());
    assert_eq!(gateway.metric("gatewright_endpoints{pool=\"a\",state=\"warming\"}").await, 1.0);
    // The other was away for a while.
    first.stats.change_flags(DRAINING, 0);
    assert_eq!(spread(&gateway, [&one, &other], 5).await, [0, 5]);
    first.stats.change_flags(0, DRAINING);
    eventually("it to be warming", async || first.stats.flags() & WARMING != 0).await;
    // Whoever asks for no slow start any more has none.
    gateway.apply(TWO).await.unwrap();
    eventually("both to be warm", async || first.stats.warmth() == 1.0 && second.stats.warmth() == 1.0).await;
    assert_eq!((first.stats.flags(), second.stats.flags()), (HEALTHY, HEALTHY));
}

#[tokio::test]
async fn a_slow_start_ends_with_its_time() {
    let (one, other) = (Origin::says("one").await, Origin::says("other").await);
    let slow = TWO.replace("[[route]]", "slow_start = '300ms'\n[[route]]");
    let gateway = Gateway::of(&slow).with("one", &one).with("other", &other).start().await;
    assert_eq!(gateway.get("a/", &[]).await.status(), 200);
    let endpoint = gateway.endpoint("a", &one);
    endpoint.stats.change_flags(0, HEALTHY);
    assert_eq!(spread(&gateway, [&one, &other], 5).await, [0, 5]);
    endpoint.stats.change_flags(HEALTHY, 0);
    eventually("it to be warming", async || endpoint.stats.flags() & WARMING != 0).await;
    // Without a request.
    eventually("it to be warm", async || endpoint.stats.flags() == HEALTHY && endpoint.stats.warmth() == 1.0).await;
}
