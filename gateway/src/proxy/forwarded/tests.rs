//! Chains of proxies, honest and not.

use super::*;
use crate::http::Method;
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

fn seen(peer: &str, lines: &[(&str, &str)]) -> (String, Scheme) {
    let (config, request) = (config(), request(lines));
    let seen = Peer::new(&config, peer.parse().unwrap()).seen(&config, &request);
    (seen.client.to_string(), seen.scheme)
}

fn announced(peer: &str, lines: &[(&str, &str)]) -> Vec<String> {
    let (config, mut request) = (config(), request(lines));
    let peer = Peer::new(&config, peer.parse().unwrap());
    let id = RequestId(SmallVec::from_slice(b"r-1"));
    peer.announce(&config, &mut request, &id).unwrap();
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
    let https = |client: &str| (client.to_string(), Scheme::Https);
    let value = "for=203.0.113.9;host=evil, For=\"[2001:db8::1]:_x\"; proto=HTTPS;host=\"a.example:1\", for=10.0.0.2";
    assert_eq!(seen("10.0.0.1", &[("forwarded", value)]), https("2001:db8::1"));
    let ours = |client: &str| (client.to_string(), Scheme::Http);
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
fn the_scheme_is_that_which_the_same_proxy_saw() {
    let lines = |proto| [("x-forwarded-for", "198.51.100.1, 10.0.0.2"), ("x-forwarded-proto", proto)];
    let of = |proto| seen("10.0.0.1", &lines(proto)).1;
    assert_eq!(of("https"), Scheme::Https);
    assert_eq!(of("http, https, http"), Scheme::Https);
    assert_eq!(of("gopher"), Scheme::Http);
    assert_eq!(seen("10.0.0.1", &[("x-forwarded-proto", "https")]).1, Scheme::Https);
    assert_eq!(seen("192.0.2.1", &lines("https")).1, Scheme::Http);
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
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-for", "10.0.0.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "a.example"),
        ("x-real-ip", "198.51.100.1"),
        ("forwarded", "for=198.51.100.1"),
        ("via", "2.0 edge"),
    ];
    let wanted = [
        "x-forwarded-proto: https",
        "x-forwarded-host: a.example",
        "x-real-ip: 198.51.100.1",
        "via: 2.0 edge",
        "x-forwarded-for: 198.51.100.1, 10.0.0.2, fd00::1",
        "forwarded: for=198.51.100.1, for=\"[fd00::1]\";proto=http;host=\"shop.example:8080\"",
        "x-request-id: r-1",
        "via: 1.1 gatewright",
    ];
    assert_eq!(announced("fd00::1", &lines), wanted);
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
    let error = peer.announce(&config, &mut looping, &RequestId::random());
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
            let (client, _) = seen(if trusted { "10.0.0.1" } else { "192.0.2.1" }, &lines[from..]);
            prop_assert!(trusted || client == "192.0.2.1");
        }
    }
}
