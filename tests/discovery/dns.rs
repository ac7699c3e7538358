//! Endpoints that are addresses of a name.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::AbortHandle;

use super::load::Load;
use super::{endpoints, has, is_connected};
use crate::harness::{Gateway, Origin, Wire, echo, eventually};

const A: u16 = 1;
const SRV: u16 = 33;

/// A name server that says what the test wants.
struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    tasks: [AbortHandle; 2],
}

#[derive(Default)]
struct Zone {
    records: HashMap<(String, u16), Vec<Vec<u8>>>,
    ttl: u32,
    code: u8,
    asked: usize,
    over_tcp: usize,
}

impl Server {
    async fn start() -> Server {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let udp = UdpSocket::bind(tcp.local_addr().expect("an address")).await;
            // Another's may have this number.
            if let Ok(udp) = udp {
                break (tcp, udp);
            }
        };
        let address = tcp.local_addr().expect("an address");
        let zone = Arc::new(Mutex::new(Zone { ttl: 1, ..Zone::default() }));
        let (of_udp, of_tcp) = (zone.clone(), zone.clone());
        let over_udp = async move {
            let mut bytes = [0; 2048];
            loop {
                let (length, from) = udp.recv_from(&mut bytes).await.expect("a question");
                let answer = answer(&bytes[..length], &of_udp, false);
                udp.send_to(&answer, from).await.expect("to send");
            }
        };
        let over_tcp = async move {
            loop {
                let (tcp, _) = tcp.accept().await.expect("a connection");
                // How it ends is for the other side to see.
                let _ = over_tcp(tcp, &of_tcp).await;
            }
        };
        let tasks = [tokio::spawn(over_udp).abort_handle(), tokio::spawn(over_tcp).abort_handle()];
        Server { address, zone, tasks }
    }

    /// What a name is from now on.
    fn says(&self, name: &str, kind: u16, records: Vec<Vec<u8>>) {
        self.zone.lock().expect("no panic").records.insert((name.to_owned(), kind), records);
    }

    fn addresses(&self, name: &str, addresses: impl IntoIterator<Item = u8>) {
        let address = |last| Ipv4Addr::new(127, 0, 0, last).octets().to_vec();
        self.says(name, A, addresses.into_iter().map(address).collect());
    }

    /// Fails from now on, or does not.
    fn code(&self, code: u8) {
        self.zone.lock().expect("no panic").code = code;
    }

    fn asked(&self) -> usize {
        self.zone.lock().expect("no panic").asked
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

async fn over_tcp(mut tcp: TcpStream, zone: &Mutex<Zone>) -> std::io::Result<()> {
    let length = tcp.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    tcp.read_exact(&mut bytes).await?;
    let answer = answer(&bytes, zone, true);
    tcp.write_all(&[&(answer.len() as u16).to_be_bytes(), &answer[..]].concat()).await
}

fn answer(question: &[u8], zone: &Mutex<Zone>, tcp: bool) -> Vec<u8> {
    let mut zone = zone.lock().expect("no panic");
    zone.asked += 1;
    zone.over_tcp += usize::from(tcp);
    let (mut name, mut at) = (String::new(), 12);
    while question[at] != 0 {
        let label = &question[at + 1..at + 1 + usize::from(question[at])];
        name.push_str(std::str::from_utf8(label).expect("a name"));
        name.push('.');
        at += 1 + label.len();
    }
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let known = zone.records.get(&(name.trim_end_matches('.').to_owned(), kind)).cloned().unwrap_or_default();
    let mut answer = question[..at + 5].to_vec();
    answer[2..12].copy_from_slice(&[0x81, zone.code, 0, 1, 0, 0, 0, 0, 0, 0]);
    let size: usize = known.iter().map(|data| 12 + data.len()).sum();
    if !tcp && answer.len() + size > 1232 {
        answer[2] |= 2;
        return answer;
    }
    answer[6..8].copy_from_slice(&(known.len() as u16).to_be_bytes());
    for data in known {
        answer.extend_from_slice(&[0xc0, 12]);
        answer.extend_from_slice(&kind.to_be_bytes());
        answer.extend_from_slice(&[0, 1]);
        answer.extend_from_slice(&zone.ttl.to_be_bytes());
        answer.extend_from_slice(&(data.len() as u16).to_be_bytes());
        answer.extend_from_slice(&data);
    }
    answer
}

fn service(priority: u16, weight: u16, port: u16, target: &str) -> Vec<u8> {
    let mut data: Vec<u8> = [priority, weight, port].iter().flat_map(|word| word.to_be_bytes()).collect();
    for label in target.split('.') {
        data.push(label.len() as u8);
        data.extend_from_slice(label.as_bytes());
    }
    data.push(0);
    data
}

fn pool(source: &str) -> String {
    format!(
        "[pool.a]\ndiscover = {{ {source}, resolvers = ['<server>'] }}\n[[route]]\npool = 'a'\n[admin]\naddress = '127.0.0.1:0'"
    )
}

/// An origin at all addresses of 127/8, as the names of the tests lead there.
fn port(origin: &Origin) -> String {
    origin.to_string().rsplit_once(':').map(|(_, port)| port.to_owned()).expect("a port")
}

// The gateway asks while it starts, and this thread waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_a_name_are_asked_for_again_when_their_time_is_over() {
    let (origin, server) = (Origin::start_everywhere(Wire::H1, echo).await, Server::start().await);
    let port = port(&origin);
    server.addresses("api.test", 1..=3);
    let gateway = Gateway::of(&pool(&format!("dns = 'api.test:{port}'"))).with("server", server.address).start().await;
    assert_eq!(endpoints(&gateway).await, ["127.0.0.1", "127.0.0.2", "127.0.0.3"].map(|one| format!("{one}:{port}")));
    let load = Load::on(&gateway, 2);
    load.goes_on(20).await;
    // More than fit into a packet.
    server.addresses("api.test", 1..=100);
    has(&gateway, 100).await;
    assert!(server.zone.lock().expect("no panic").over_tcp > 0);
    load.goes_on(20).await;
    server.code(2);
    is_connected(&gateway, false).await;
    load.goes_on(20).await;
    has(&gateway, 100).await;
    server.code(0);
    server.addresses("api.test", 1..=3);
    has(&gateway, 3).await;
    is_connected(&gateway, true).await;
    load.goes_on(20).await;
    load.ends_well().await;
    let asked = server.asked();
    server.addresses("api.test", []);
    has(&gateway, 0).await;
    // Two kinds of address, twice.
    assert!(server.asked() >= asked + 4);
}

// The gateway asks while it starts, and this thread waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_say_port_weight_and_priority() {
    let (one, two, server) = (Origin::says("one").await, Origin::says("two").await, Server::start().await);
    let ports = [&one, &two].map(|origin| port(origin).parse().expect("a port"));
    let services = vec![service(0, 5, ports[0], "x.test"), service(200, 0, ports[1], "y.test")];
    server.says("_api._tcp.test", SRV, services);
    server.addresses("x.test", [1]);
    server.addresses("y.test", [1]);
    let gateway = Gateway::of(&pool("srv = '_api._tcp.test'")).with("server", server.address).start().await;
    let status: serde_json::Value = serde_json::from_str(&gateway.admin("GET", "/status").await.1).expect("JSON");
    let mut seen: Vec<(String, u64)> = status["pools"][0]["endpoints"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|endpoint| (endpoint["address"].to_string(), endpoint["weight"].as_u64().expect("a weight")))
        .collect();
    seen.sort_by_key(|(_, weight)| *weight);
    assert_eq!(seen, [(format!("\"{two}\""), 1), (format!("\"{one}\""), 5)]);
    // The target that is gone takes its service along.
    server.addresses("x.test", []);
    eventually("one to go", async || endpoints(&gateway).await == [two.to_string()]).await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "two");
}

// The gateway asks while it starts, and this thread waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_name_server_is_asked_when_one_does_not_answer() {
    let (origin, server) = (Origin::says("hi").await, Server::start().await);
    server.addresses("api.test", [1]);
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let servers = format!("{}', '{}", silent.local_addr().expect("an address"), server.address);
    let text = pool(&format!("dns = 'api.test:{}'", port(&origin)));
    let gateway = Gateway::of(&text).with("server", servers).start().await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "hi");
}
