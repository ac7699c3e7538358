//! Chains of proxies, honest and not.

use super::seen::MAX_HOPS;
use super::*;
use crate::http::hygiene::check_authority;
use crate::http::{Method, Scheme};
use proptest::prelude::*;

fn config() -> Forwarded {
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
    Forwarded { trusted: trusted.into(), forwarded: true, ..Forwarded::default() }
}

fn request(lines: &[(&str, &str)]) -> RequestHead {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.append(*name, value.as_bytes()).unwrap();
    }
    RequestHead {
        method: Method::GET,
        version: Version::Http11,
        scheme: Scheme::Http,
        authority: "shop.example:8080".into(),
        target: "/".into(),
        upgrade: None,
        fields,
    }
}

fn seen(peer: &str, lines: &[(&str, &str)]) -> (String, Scheme, String) {
    let (config, request) = (config(), request(lines));
    let seen = Peer::new(&config, peer.parse().unwrap()).seen(&config, &request);
    (seen.client().to_string(), seen.scheme, seen.host(&request.authority).to_string())
}

fn announced(peer: &str, lines: &[(&str, &str)]) -> Vec<String> {
    let (config, mut request) = (config(), request(lines));
    let peer = Peer::new(&config, peer.parse().unwrap());
    let id = RequestId(SmallVec::from_slice(b"r-1"));
    let seen = peer.seen(&config, &request);
    peer.announce(&config, &seen, &mut request, &id).unwrap();
    let fields = &request.fields;
    fields.iter().map(|(name, value)| format!("{}: {}", name.text(), String::from_utf8_lossy(value))).collect()
}

#[test]
fn the_client_is_found_behind_trusted_proxies_only() {
    let client = |peer, value: &str| seen(peer, &[("x-forwarded-for", value)]).0;
    for (peer, value, wanted) in [
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.9.9.9,,10.0.0.2 , ", "10.9.9.9"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, garbage, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "1.2.3", "10.0.0.1"),
        ("10.0.0.1", "[::1", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
    ] {
        assert_eq!(client(peer, value), wanted, "{peer} {value}");
    }
    let lines = [("x-forwarded-for", "203.0.113.9, 198.51.100.1"), ("x-forwarded-for", "10.0.0.2")];
    assert_eq!(seen("10.0.0.1", &lines).0, "198.51.100.1");
}

#[test]
fn no_list_is_walked_without_end() {
    let value = vec!["10.0.0.2"; 100].join(",");
    assert_eq!(seen("10.0.0.1", &[("x-forwarded-for", &format!("198.51.100.1,{value}"))]).0, "10.0.0.2");
    let value = vec!["for=10.0.0.2"; 100].join(",");
    assert_eq!(seen("10.0.0.1", &[("forwarded", &format!("for=198.51.100.1,{value}"))]).0, "10.0.0.2");
}

#[test]
fn forwarded_is_read_when_it_stands_alone() {
    let https = |client: &str, host: &str| (client.to_string(), Scheme::Https, host.to_string());
    let value = "for=203.0.113.9;host=evil, For=\"[2001:db8::1]:_x\"; proto=HTTPS;host=\"a.example:1\", for=10.0.0.2";
    assert_eq!(seen("10.0.0.1", &[("forwarded", value)]), https("2001:db8::1", "a.example:1"));
    let ours = |client: &str| (client.to_string(), Scheme::Http, "shop.example:8080".to_string());
    for value in ["for=_hidden", "for=unknown;proto=ftp", "", "for", "for=\"1.2.3.4", "proto=x;host=\"a b\""] {
        assert_eq!(seen("10.0.0.1", &[("forwarded", value)]), ours("10.0.0.1"), "{value}");
    }
    assert_eq!(seen("192.0.2.1", &[("forwarded", "for=198.51.100.1;proto=https")]), ours("192.0.2.1"));
    // A quote that a client leaves open swallows what follows, but invents nothing.
    assert_eq!(seen("10.0.0.1", &[("forwarded", "for=\"1.2.3.4, for=198.51.100.1")]), ours("10.0.0.1"));
    let both = [("forwarded", "for=203.0.113.9"), ("x-forwarded-for", "198.51.100.1")];
    assert_eq!(seen("10.0.0.1", &both), ours("198.51.100.1"));
}

#[test]
fn scheme_and_host_are_those_that_the_same_proxy_saw() {
    let lines = |proto, host| {
        [("x-forwarded-for", "198.51.100.1, 10.0.0.2"), ("x-forwarded-proto", proto), ("x-forwarded-host", host)]
    };
    let of = |proto, host| {
        let (_, scheme, host) = seen("10.0.0.1", &lines(proto, host));
        (scheme, host)
    };
    assert_eq!(of("https", "a.example"), (Scheme::Https, "a.example".into()));
    assert_eq!(of("http, https, http", "evil, a.example:1, b"), (Scheme::Https, "a.example:1".into()));
    assert_eq!(of("gopher", "user@evil"), (Scheme::Http, "shop.example:8080".into()));
    assert_eq!(seen("10.0.0.1", &[("x-forwarded-proto", "https")]).1, Scheme::Https);
    assert_eq!(seen("192.0.2.1", &lines("https", "a")).1, Scheme::Http);
}

#[test]
fn what_an_untrusted_peer_says_is_replaced() {
    let lines = [
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-prefix", "/evil"),
        ("x_forwarded_for", "1.1.1.1"),
        ("forwarded", "for=1.1.1.1"),
        ("x-real-ip", "1.1.1.1"),
        ("x-original-url", "/admin"),
        ("x-request-id", "evil"),
        ("accept", "*/*"),
    ];
    let ours = [
        "accept: */*",
        "x-forwarded-for: 192.0.2.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: shop.example:8080",
        "forwarded: for=192.0.2.1;proto=http;host=\"shop.example:8080\"",
        "x-request-id: r-1",
        "via: 1.1 gatewright",
    ];
    assert_eq!(announced("192.0.2.1", &lines), ours);
}

#[test]
fn what_a_trusted_peer_says_is_carried_on() {
    let lines = [
        ("x-forwarded-for", "198.51.100.1:4711"),
        ("x-forwarded-for", "10.0.0.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "a.example"),
        ("x-forwarded-prefix", "/shop"),
        ("x-real-ip", "198.51.100.1"),
        ("via", "2.0 edge"),
    ];
    let wanted = [
        "x-forwarded-prefix: /shop",
        "x-real-ip: 198.51.100.1",
        "via: 2.0 edge",
        "x-forwarded-for: 198.51.100.1, 10.0.0.2, fd00::1",
        "x-forwarded-proto: https",
        "x-forwarded-host: a.example",
        "forwarded: for=198.51.100.1;proto=https;host=\"a.example\", for=10.0.0.2, for=\"[fd00::1]\"",
        "x-request-id: r-1",
        "via: 1.1 gatewright",
    ];
    assert_eq!(announced("fd00::1", &lines), wanted);
}

/// The two families as they go upstream from the trusted peer.
fn families(lines: &[(&str, &str)]) -> [String; 2] {
    let all = announced("10.0.0.1", lines);
    let start = |start: &str| all.iter().filter(|line| line.starts_with(start)).cloned().collect::<Vec<_>>().join("\n");
    [start("x-forwarded-").replace("x-forwarded-", ""), start("forwarded: ").replace("forwarded: ", "")]
}

#[test]
fn both_families_are_made_from_one_of_them() {
    let plain =
        ["for: 10.0.0.1\nproto: http\nhost: shop.example:8080", "for=10.0.0.1;proto=http;host=\"shop.example:8080\""];
    let both =
        ["for: 198.51.100.1, 10.0.0.1\nproto: https\nhost: a", "for=198.51.100.1;proto=https;host=\"a\", for=10.0.0.1"];
    let forwarded = ("forwarded", "for=198.51.100.1;proto=https;host=a");
    let x = ("x-forwarded-for", "198.51.100.1");
    let (https, a) = (("x-forwarded-proto", "https"), ("x-forwarded-host", "a"));
    for (lines, wanted) in [
        (&[forwarded][..], both),
        (&[x, https, a], both),
        (&[x, https, a, ("forwarded", "for=203.0.113.9;proto=http;host=b")], both),
        // A part of the one family is not completed from the other.
        (&[("x-forwarded-proto", "http"), forwarded], plain),
        (&[("x-forwarded-for", "unknown"), forwarded], plain),
        (&[("forwarded", "for=unknown, for=\"_x:80\"")], plain),
        (&[], plain),
    ] {
        assert_eq!(families(lines), wanted, "{lines:?}");
    }
}

#[test]
fn a_chain_begins_with_the_client_and_keeps_its_order() {
    let ours = "10.0.0.1\nproto: http\nhost: shop.example:8080";
    for (value, wanted) in [
        ("203.0.113.9, 198.51.100.1, 10.0.0.3, 10.0.0.2", "198.51.100.1, 10.0.0.3, 10.0.0.2, "),
        ("198.51.100.1, 192.0.2.9, 10.0.0.2", "192.0.2.9, 10.0.0.2, "),
        ("198.51.100.1, unknown, 10.0.0.2", "10.0.0.2, "),
        (" ,, 198.51.100.1 ,,10.0.0.2:80,", "198.51.100.1, 10.0.0.2, "),
        ("\"198.51.100.1, 10.0.0.2", "10.0.0.2, "),
        ("\"[2001:db8::1]:80\", [fd00::2], ::ffff:10.0.0.4", "2001:db8::1, fd00::2, 10.0.0.4, "),
        ("_hidden, _SEVKISEK", ""),
        ("1.2.3.4.5", ""),
    ] {
        assert_eq!(families(&[("x-forwarded-for", value)])[0], format!("for: {wanted}{ours}"), "{value}");
    }
    let [x, forwarded] = families(&[("x-forwarded-for", &vec!["10.0.0.2"; 500].join(","))]);
    assert_eq!(x.matches("10.0.0.").count(), 1 + MAX_HOPS);
    assert_eq!(forwarded.matches("for=10.0.0.").count(), 1 + MAX_HOPS);
}

#[test]
fn quotes_of_a_client_do_not_move_what_proxies_added() {
    let lines = |proto| [("x-forwarded-for", "198.51.100.1, 10.0.0.2"), ("x-forwarded-proto", proto)];
    assert_eq!(seen("10.0.0.1", &lines("https, \", http, http")).1, Scheme::Http);
    assert_eq!(seen("10.0.0.1", &lines("https, \"a, http, http\"")).1, Scheme::Http);
    for value in [
        "for=\", for=198.51.100.1;host=\"evil\"",
        "for=\"\\\", for=198.51.100.1",
        "agent=\"x;for=6.6.6.6;y\";proto=http",
        "for=198.51.100.1;for=6.6.6.6",
        "for=198.51.100.1;agent=\"a\"b\";proto=https",
        "for=198.51.100.1;proto",
        "for=\"198.51.100.1\\\"\"",
        "for=\"198.51.100.1\"x",
    ] {
        let [x, _] = families(&[("forwarded", value)]);
        assert_eq!(x, "for: 10.0.0.1\nproto: http\nhost: shop.example:8080", "{value}");
    }
    let [x, _] = families(&[("forwarded", ";For = 198.51.100.1 ;; by=_b;secret=\"a;for=6.6.6.6,\"; Proto=HTTPS")]);
    assert_eq!(x, "for: 198.51.100.1, 10.0.0.1\nproto: https\nhost: shop.example:8080");
    // Lines are told apart: what one leaves open does not swallow the next.
    let [x, _] = families(&[("forwarded", "for=\"6.6.6.6"), ("forwarded", "for=198.51.100.1")]);
    assert_eq!(x, "for: 198.51.100.1, 10.0.0.1\nproto: http\nhost: shop.example:8080");
}

#[test]
fn what_is_switched_off_is_not_passed_on_either() {
    let lines =
        [("x-forwarded-for", "198.51.100.1"), ("x-forwarded-proto", "https"), ("forwarded", "for=198.51.100.1")];
    for (x_forwarded, forwarded) in [(false, false), (false, true), (true, false)] {
        let config = Forwarded { x_forwarded, forwarded, ..config() };
        let (peer, mut request) = (Peer::new(&config, IpAddr::from([10, 0, 0, 1])), request(&lines));
        let seen = peer.seen(&config, &request);
        peer.announce(&config, &seen, &mut request, &RequestId::random()).unwrap();
        assert_eq!(request.fields.contains(name::X_FORWARDED_FOR), x_forwarded);
        assert_eq!(request.fields.contains(name::X_FORWARDED_PROTO), x_forwarded);
        assert_eq!(request.fields.contains(name::FORWARDED), forwarded);
    }
}

#[test]
fn a_host_that_looks_like_more_is_not_told() {
    let plain = ["for: 198.51.100.1, 10.0.0.1\nproto: http", "for=198.51.100.1;proto=http, for=10.0.0.1"];
    for host in ["a,b", "a;proto=https", "a=b"] {
        let value = format!("for=198.51.100.1;host=\"{host}\"");
        assert_eq!(families(&[("forwarded", &value)]), plain, "{host}");
    }
}

#[test]
fn a_request_id_is_kept_when_it_is_sane_and_trusted() {
    let id = |peer: &str, sent: &str| {
        let request = request(&[("x-request-id", sent)]);
        Peer::new(&config(), peer.parse().unwrap()).request_id(&config(), &request.fields).text().to_string()
    };
    assert_eq!(id("10.0.0.1", "abc-1"), "abc-1");
    assert_eq!(id("10.0.0.1", &"x".repeat(128)).len(), 128);
    for (peer, sent) in [("192.0.2.1", "abc-1"), ("10.0.0.1", ""), ("10.0.0.1", "a b"), ("10.0.0.1", &"x".repeat(129))]
    {
        let fresh = id(peer, sent);
        assert!(fresh.len() == 32 && fresh.bytes().all(|b| b.is_ascii_hexdigit()), "{fresh}");
    }
    assert_ne!(RequestId::random(), RequestId::random());
}

#[test]
fn a_loop_is_refused() {
    let (config, members) = (config(), vec!["1.1 x"; 33].join(","));
    let peer = Peer::new(&config, IpAddr::from([192, 0, 2, 1]));
    let mut looping = request(&[("via", &members)]);
    let seen = peer.seen(&config, &looping);
    let error = peer.announce(&config, &seen, &mut looping, &RequestId::random());
    assert!(matches!(error, Err(Error { kind: Kind::Refused(_), .. })));
    let mut fields = Fields::new();
    via(&mut fields, Version::Http2, "x").unwrap();
    via(&mut fields, Version::Http10, "").unwrap();
    assert_eq!(fields.values(name::VIA).collect::<Vec<_>>(), [b"2.0 x"]);
}

proptest! {
    #[test]
    fn an_untrusted_peer_is_itself_and_no_value_is_a_surprise(
        values in prop::collection::vec("[0-9a-f:.,;=\"\\\\\\[\\] forhstp]{0,60}", 4),
        trusted in any::<bool>(),
    ) {
        let names = ["x-forwarded-for", "forwarded", "x-forwarded-proto", "x-forwarded-host"];
        let lines: Vec<_> = names.iter().zip(&values).map(|(name, value)| (*name, value.as_str())).collect();
        for from in [0, 1] {
            let (client, _, host) = seen(if trusted { "10.0.0.1" } else { "192.0.2.1" }, &lines[from..]);
            prop_assert!(trusted || client == "192.0.2.1");
            prop_assert!(check_authority(&host).is_ok());
        }
    }

    #[test]
    fn the_two_families_never_contradict_each_other(
        lines in prop::collection::vec((0..4usize, member(), member(), member()), 0..6),
        trusted in any::<bool>(),
    ) {
        let names = ["x-forwarded-for", "forwarded", "x-forwarded-proto", "x-forwarded-host"];
        let lines: Vec<_> = lines.iter().map(|(at, a, b, c)| (names[*at], format!("{a}{b}{c}"))).collect();
        let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let peer = if trusted { "10.0.0.1" } else { "192.0.2.1" };
        let before = seen(peer, &lines);
        let all = announced(peer, &lines);
        let told: Vec<_> = all.iter().filter_map(|line| line.split_once(": ")).collect();
        let family = |start: &str| told.iter().filter(|(name, _)| name.starts_with(start)).copied().collect::<Vec<_>>();
        let (x, forwarded) = (family("x-forwarded-"), family("forwarded"));
        prop_assert!(x.len() <= 3 && forwarded.len() == 1);
        // Whoever reads either of them from the left learns what we decided.
        let (client, scheme, host) = &before;
        let elements: Vec<_> = forwarded[0].1.split(", ").collect();
        let addresses: Vec<_> = elements.iter().map(|element| {
            element.split(';').next().unwrap().trim_start_matches("for=").trim_matches(['"', '[', ']'])
        }).collect();
        prop_assert_eq!(addresses.join(", "), x[0].1);
        prop_assert_eq!((addresses[0], x[1].1), (client.as_str(), scheme.text()));
        prop_assert_eq!(*addresses.last().unwrap(), peer);
        prop_assert_eq!(forwarded[0].1.matches("proto=").count(), 1);
        let proto = format!(";proto={}", scheme.text());
        prop_assert!(elements[0].contains(&proto));
        let told_host = x.get(2).map(|(_, value)| *value);
        prop_assert_eq!(told_host, Some(host.as_str()).filter(|host| !host.contains([',', ';', '='])));
        prop_assert_eq!(told_host.is_some(), forwarded[0].1.contains("host="));
        // And so does a gateway behind us, which trusts us, from either alone.
        if trusted {
            prop_assert_eq!(seen("10.9.9.9", &x), seen("10.9.9.9", &forwarded));
            prop_assert_eq!((&seen("10.9.9.9", &x).0, &seen("10.9.9.9", &x).1), (client, scheme));
        }
    }
}

/// Something that may stand in a forwarding field, or a part of it.
fn member() -> impl Strategy<Value = String> {
    let address = prop::sample::select(vec![
        "198.51.100.1",
        "10.0.0.2",
        "10.0.0.3:80",
        "[fd00::2]:_p",
        "\"[2001:db8::1]\"",
        "::ffff:10.0.0.7",
        "unknown",
        "_hidden",
    ]);
    let pair = prop::sample::select(vec![
        ";proto=https",
        ";proto=http",
        ";host=\"a.example:1\"",
        ";host=b",
        ";host=\"c,d\"",
        ";host=\"e;proto=https\"",
        ";by=_x",
        ";for=6.6.6.6",
        "",
        "",
        "",
    ]);
    let separator = prop::sample::select(vec![", ", ",", ",,", " , ", ""]);
    let element = (prop::sample::select(vec!["", "for=", "For="]), address, pair, separator);
    let word = prop::sample::select(vec!["https", "http", "gopher", "a.example", "b,", "\"", "\\", ",", ", http"]);
    prop_oneof![
        4 => element.prop_map(|(a, b, c, d)| format!("{a}{b}{c}{d}")),
        2 => word.prop_map(str::to_owned),
        1 => "[0-9a-f:.,;=\"\\\\\\[\\] forhstp]{0,20}",
    ]
}
