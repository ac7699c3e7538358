//! IPv6 at both ends, and in what is told of clients. Where the machine has none there is nothing to see.

use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Gateway, Message, Raw, RawOrigin, eventually};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V1: &[u8] = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n";
const FORWARDED: &str = "[forwarded]\nforwarded = true";

fn v2() -> Vec<u8> {
    let mut header = [SIGNATURE, b"\x21\x21\0\x24"].concat();
    for last in [7, 1] {
        header.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    header.extend([0x12, 0x67, 1, 0xbb]);
    header
}

/// A gateway at an IPv6 address before an origin at one.
async fn start(pool: &str, listener: &str) -> Option<(RawOrigin, Gateway)> {
    let origin = RawOrigin::start_v6().await?;
    let text = "[pool.a]\nendpoints = ['<origin>']\n<pool>\n[[route]]\npool = 'a'\nmatch = { client = ['::1', '2001:db8::/32'] }";
    let gateway = Gateway::of(text).with("origin", &origin).with("pool", pool).and(FORWARDED);
    let gateway = gateway.and(&format!("[[listener]]\naddress = '[::1]:0'\n{listener}")).start().await;
    Some((origin, gateway))
}

/// Sends this and has it answered; the request as the origin saw it.
async fn asked(origin: &RawOrigin, client: &mut Raw, bytes: &[u8]) -> Message {
    client.send(bytes).await;
    let mut upstream = origin.accept().await;
    let request = upstream.request().await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
    assert_eq!(client.response().await.text(), "hi");
    request
}

#[tokio::test]
async fn a_request_goes_all_the_way() {
    let Some((origin, gateway)) = start("", "").await else { return };
    let mut client = gateway.raw().await;
    let request = asked(&origin, &mut client, b"GET / HTTP/1.1\r\nHost: [2001:db8::5]:8080\r\n\r\n").await;
    assert_eq!(request.field("host").as_deref(), Some("[2001:db8::5]:8080"));
    assert_eq!(request.field("x-forwarded-for").as_deref(), Some("::1"));
    assert_eq!(request.field("x-forwarded-host").as_deref(), Some("[2001:db8::5]:8080"));
    let forwarded = "for=\"[::1]\";proto=http;host=\"[2001:db8::5]:8080\"";
    assert_eq!(request.field("forwarded").as_deref(), Some(forwarded));
}

#[tokio::test]
async fn a_proxy_header_tells_the_client() {
    for header in [V1.to_vec(), v2()] {
        let Some((origin, gateway)) = start("", "proxy_protocol = ['::1']").await else { return };
        let mut client = gateway.raw().await;
        let bytes = [&header[..], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        let request = asked(&origin, &mut client, &bytes).await;
        assert_eq!(request.field("x-forwarded-for").as_deref(), Some("2001:db8::7"));
        assert_eq!(request.field("forwarded").as_deref(), Some("for=\"[2001:db8::7]\";proto=http;host=\"a\""));
    }
}

#[tokio::test]
async fn the_origin_is_told_the_client_by_a_proxy_header() {
    for (version, header) in [("v1", V1.to_vec()), ("v2", v2())] {
        let pool = format!("proxy_protocol = '{version}'");
        let Some((origin, gateway)) = start(&pool, "proxy_protocol = ['::1']").await else { return };
        let mut client = gateway.raw().await;
        client.send([&header[..], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).await;
        let mut upstream = origin.accept().await;
        // As it came: both ends are the client's.
        assert_eq!(upstream.exactly(header.len()).await, header, "{version}");
        assert_eq!(upstream.request().await.start, "GET / HTTP/1.1");
    }
}

#[tokio::test]
async fn the_ends_of_a_plain_connection_are_told_too() {
    let Some((origin, gateway)) = start("proxy_protocol = 'v2'", "").await else { return };
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    let header = upstream.exactly(52).await;
    assert_eq!(header[..16], [SIGNATURE, b"\x21\x21\0\x24"].concat());
    let loopback = std::net::Ipv6Addr::LOCALHOST.octets();
    assert_eq!((&header[16..32], &header[32..48]), (&loopback[..], &loopback[..]));
    assert_eq!(header[50..52], gateway.address().port().to_be_bytes());
}

/// A port that is free on every address now.
async fn free_port() -> Option<u16> {
    TcpListener::bind("[::]:0").await.ok()?.local_addr().ok().map(|address| address.port())
}

/// Listeners at these addresses, on one port.
fn at(hosts: &[&str], port: u16) -> String {
    let listeners: String = hosts.iter().map(|host| format!("[[listener]]\naddress = '{host}:{port}'\n")).collect();
    format!("workers = 2\n{listeners}[[route]]\nrespond = 'hi'\n[admin]\naddress = '127.0.0.1:0'")
}

/// Whether a client of this address of the machine is answered.
async fn serves(ip: &str, port: u16) -> bool {
    let asking = async {
        let mut tcp = TcpStream::connect((ip.parse::<IpAddr>().expect("an address"), port)).await?;
        tcp.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.ends_with("hi"))
    };
    asking.await.unwrap_or(false)
}

#[tokio::test]
async fn each_family_may_have_a_listener_of_its_own_on_one_port() {
    for hosts in [["[::]", "0.0.0.0"], ["0.0.0.0", "[::]"], ["127.0.0.1", "[::]"]] {
        let Some(port) = free_port().await else { return };
        let gateway = Gateway::of(&at(&hosts, port)).start().await;
        for host in hosts {
            let client = if host == "[::]" { "::1" } else { "127.0.0.1" };
            for _ in 0..8 {
                assert!(serves(client, port).await, "{hosts:?}, {client}");
            }
            let taken = gateway.metric(&format!("gatewright_connections_total{{listener=\"{host}:{port}\"}}")).await;
            assert_eq!(taken, 8.0, "{host} of {hosts:?}");
        }
    }
}

#[tokio::test]
async fn a_listener_takes_over_from_a_wider_or_a_narrower_one() {
    let Some(port) = free_port().await else { return };
    let gateway = Gateway::of(&at(&["[::]"], port)).start().await;
    for (hosts, ipv4, ipv6) in [
        (&["127.0.0.1"][..], true, false),
        (&["[::]"], true, true),
        (&["0.0.0.0"], true, false),
        (&["127.0.0.1"], true, false),
        (&["0.0.0.0", "[::]"], true, true),
        (&["[::]"], true, true),
        (&["[::1]"], false, true),
        (&["[::]", "127.0.0.1"], true, true),
        (&["0.0.0.0"], true, false),
    ] {
        gateway.apply(&at(hosts, port)).await.expect("a reload");
        let as_told = async || (serves("127.0.0.1", port).await, serves("::1", port).await) == (ipv4, ipv6);
        eventually(&format!("{hosts:?} to be in force"), as_told).await;
    }
}
