use super::*;
use gatewright_sdk::mock::{Head, Mock, MockEndpoint, endpoint, get, tcp};

fn pool(numbers: impl IntoIterator<Item = usize>) -> Vec<MockEndpoint> {
    numbers.into_iter().map(|n| endpoint(&format!("10.0.{}.{}:80", n / 250, n % 250))).collect()
}

fn gateway(config: &str, endpoints: usize) -> Mock {
    Mock::balancer::<Sticky>(config, pool(0..endpoints)).unwrap()
}

/// Where a request goes, and the cookie that its response sets.
fn asked(gateway: &mut Mock, request: &Head) -> (Option<usize>, Option<String>) {
    let picked = gateway.pick(request).first();
    let set = request.response_fields("set-cookie");
    (picked, set.first().and_then(|set| set.split(';').next()).map(str::to_owned))
}

fn with(cookie: &str) -> Head {
    get("/").pool("app").header("cookie", format!("theme=dark; {cookie}"))
}

#[test]
fn a_client_stays_where_it_was_first_and_is_told_once() {
    let mut gateway = gateway("{}", 5);
    let first = get("https://shop.example/").pool("app");
    let (home, cookie) = asked(&mut gateway, &first);
    let cookie = cookie.unwrap();
    assert!(cookie.starts_with("gatewright-app=") && cookie.len() == "gatewright-app=".len() + 32, "{cookie}");
    let said = &first.response_fields("set-cookie")[0];
    assert!(said.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{said}");
    for _ in 0..50 {
        assert_eq!(asked(&mut gateway, &with(&cookie)), (home, None));
    }
}

#[test]
fn clients_are_spread_by_weight_warmth_and_load() {
    let weights = [1, 3].map(|weight| endpoint(&format!("10.0.0.{weight}:80")).weight(weight));
    let mut gateway = Mock::balancer::<Sticky>("{}", weights).unwrap();
    let mut active = [0u32; 2];
    for _ in 0..400 {
        let picked = gateway.pick(&get("/")).first().unwrap();
        active[picked] += 1;
        gateway.endpoint(picked).active(active[picked]);
    }
    assert!(active[0].abs_diff(100) < 15, "{active:?}");
    gateway.change_endpoints([endpoint("10.0.0.1:80"), endpoint("10.0.0.2:80").warmth(0.1)]);
    let warming = (0..1000).filter(|_| gateway.pick(&get("/")).first() == Some(1)).count();
    assert!(warming < 220, "{warming}");
}

#[test]
fn it_falls_over_when_its_endpoint_cannot_be_sent_to_and_stays_while_it_drains() {
    let mut gateway = gateway("{}", 3);
    let (home, cookie) = asked(&mut gateway, &get("/").pool("app"));
    let (home, cookie) = (home.unwrap(), cookie.unwrap());
    gateway.endpoint(home).draining(true);
    assert_eq!(asked(&mut gateway, &with(&cookie)), (Some(home), None));
    assert!((0..50).all(|_| gateway.pick(&get("/").pool("app")).first() != Some(home)));
    type Change = fn(&mut Mock, usize, bool);
    let changes: [Change; 3] = [
        |gateway, home, is| {
            gateway.endpoint(home).ejected(is);
        },
        |gateway, home, is| {
            gateway.endpoint(home).healthy(!is);
        },
        |gateway, home, is| {
            gateway.endpoint(home).tried(is);
        },
    ];
    for change in changes {
        change(&mut gateway, home, true);
        let (other, moved) = asked(&mut gateway, &with(&cookie));
        assert_ne!(other, Some(home));
        // The new cookie holds.
        assert_eq!(asked(&mut gateway, &with(&moved.unwrap())), (other, None));
        change(&mut gateway, home, false);
        assert_eq!(asked(&mut gateway, &with(&cookie)), (Some(home), None));
    }
}

#[test]
fn others_that_come_or_go_move_nobody() {
    let mut gateway = gateway("{}", 10);
    let homes: Vec<_> = (0..200).map(|_| asked(&mut gateway, &get("/").pool("app"))).collect();
    gateway.change_endpoints(pool((1..12).rev()));
    for (home, cookie) in homes {
        let (now, moved) = asked(&mut gateway, &with(&cookie.unwrap()));
        match home.unwrap() {
            0 => assert!(moved.is_some()),
            home => assert_eq!((now, moved), (Some(11 - home), None)),
        }
    }
}

#[test]
fn a_cookie_that_was_made_up_or_signed_by_others_is_none() {
    let ours = || gateway(r#"{"secret": "our very own secret"}"#, 3);
    let (home, cookie) = asked(&mut ours(), &get("/").pool("app"));
    let cookie = cookie.unwrap();
    assert_eq!(asked(&mut ours(), &with(&cookie)), (home, None));
    let mut others = gateway(r#"{"secret": "the secret of others"}"#, 3);
    assert!(asked(&mut others, &with(&cookie)).1.is_some());
    for forged in [
        "gatewright-app=",
        "gatewright-app=0",
        "gatewright-app=+0000000000000000000000000000000",
        &cookie.to_uppercase(),
    ] {
        assert!(asked(&mut ours(), &with(forged)).1.is_some(), "{forged}");
    }
}

#[test]
fn with_a_key_clients_without_cookies_have_a_home_too() {
    let mut gateway = gateway(r#"{"key": "client"}"#, 10);
    let mut homes = |endpoints: usize| -> Vec<_> {
        gateway.change_endpoints(pool(0..endpoints));
        (0..500).map(|n| gateway.pick(&get("/").client(&format!("10.1.{}.{}", n / 250, n % 250))).first()).collect()
    };
    let (before, after) = (homes(10), homes(9));
    assert!(before.iter().zip(&after).all(|(before, after)| (*before == Some(9)) == (before != after)));
    let nine = before.iter().filter(|home| **home == Some(9)).count();
    assert!((20..90).contains(&nine), "{nine}");
}

#[test]
fn name_and_life_are_as_configured() {
    let mut gateway = gateway(r#"{"cookie": "srv", "life": "2h"}"#, 2);
    let request = get("http://shop.example/").pool("app");
    gateway.pick(&request);
    let set = &request.response_fields("set-cookie")[0];
    assert!(set.starts_with("srv=") && set.ends_with("; Max-Age=7200; Path=/; HttpOnly; SameSite=Lax"), "{set}");
    for (config, words) in [
        (r#"{"cookie": "a;b"}"#, "cookie: \"a;b\" is no name of a cookie"),
        (r#"{"secret": "short"}"#, "secret: takes 16 characters"),
        (r#"{"life": "long"}"#, "life: takes a time"),
    ] {
        let wrong = Mock::balancer::<Sticky>(config, []).err().unwrap().to_string();
        assert!(wrong.starts_with(words), "{wrong}");
    }
}

#[test]
fn tcp_has_no_cookies_and_nobody_is_nowhere() {
    let mut gateway = gateway("{}", 3);
    let connection = tcp("192.0.2.1");
    assert!(gateway.pick(&connection).first().is_some());
    assert!(connection.response_fields("set-cookie").is_empty());
    gateway.change_endpoints([]);
    assert_eq!(gateway.pick(&get("/")), Pick::Fallback);
}
