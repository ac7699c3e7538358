//! Asks name servers, one after the other: over UDP, and over TCP when an answer does not fit.
//!
//! In: a name and a type. Out: records with their times, or why there is no answer. Each question goes from a port of its own with a
//! number drawn at random, and only the server that was asked may answer.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::message::{self, Data, Kind, Record, Reply};

/// For one question to one server.
const TIME: Duration = Duration::from_secs(2);
/// Aliases that are followed.
const ALIASES: usize = 8;
/// Where servers stand when nobody says so.
const SYSTEM: &str = "/etc/resolv.conf";

/// Addresses or services, and how long that holds.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) records: Vec<Record>,
    /// Seconds; `None` when nobody says.
    pub(super) ttl: Option<u32>,
}

/// The servers to ask: those that are given, or the system's.
pub(super) fn servers(given: &[SocketAddr]) -> Result<Vec<SocketAddr>, String> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    let text = std::fs::read_to_string(SYSTEM).map_err(|error| format!("{SYSTEM}: {error}"))?;
    let servers = of_system(&text);
    if servers.is_empty() { Err(format!("{SYSTEM} names no server")) } else { Ok(servers) }
}

fn of_system(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, 53))
    };
    text.lines().filter_map(server).collect()
}

/// Records of this kind, those behind aliases included. That there is none is an answer.
pub(super) async fn resolve(servers: &[SocketAddr], name: &str, kind: Kind) -> Result<Found, String> {
    let mut why = "there is no server to ask".to_owned();
    // Twice, since a packet may be lost.
    for server in servers.iter().chain(servers) {
        match tokio::time::timeout(TIME, ask(*server, name, kind)).await {
            Ok(Ok(reply)) => return Ok(found(reply, name, kind)),
            Ok(Err(error)) => why = format!("{server}: {error}"),
            Err(_) => why = format!("{server}: no answer within {TIME:?}"),
        }
    }
    Err(format!("{name}: {why}"))
}

async fn ask(server: SocketAddr, name: &str, kind: Kind) -> Result<Reply, String> {
    let id = fastrand::u16(..);
    let question = message::question(id, name, kind).ok_or("it is no name that can be asked for")?;
    let reply = match over_udp(server, &question, id, name, kind).await {
        Ok(reply) if reply.cut => over_tcp(server, &question, id, name, kind).await?,
        reply => reply?,
    };
    match reply.code {
        0 | 3 => Ok(reply),
        2 => Err("the server failed".to_owned()),
        5 => Err("the server refuses to answer".to_owned()),
        code => Err(format!("the server answers with code {code}")),
    }
}

async fn over_udp(server: SocketAddr, question: &[u8], id: u16, name: &str, kind: Kind) -> Result<Reply, String> {
    let any: IpAddr = if server.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
    let text = |error: std::io::Error| error.to_string();
    let socket = UdpSocket::bind((any, 0)).await.map_err(text)?;
    socket.connect(server).await.map_err(text)?;
    socket.send(question).await.map_err(text)?;
    let mut bytes = vec![0; 4096];
    loop {
        let length = socket.recv(&mut bytes).await.map_err(text)?;
        // Something else may have come first: a late answer, or one that somebody made up.
        if let Ok(reply) = message::reply(bytes.get(..length).unwrap_or_default(), id, name, kind) {
            return Ok(reply);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8], id: u16, name: &str, kind: Kind) -> Result<Reply, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut tcp = TcpStream::connect(server).await.map_err(text)?;
    let length = u16::try_from(question.len()).map_err(|error| error.to_string())?;
    tcp.write_all(&[&length.to_be_bytes(), question].concat()).await.map_err(text)?;
    let length = tcp.read_u16().await.map_err(text)?;
    let mut bytes = vec![0; usize::from(length)];
    tcp.read_exact(&mut bytes).await.map_err(text)?;
    Ok(message::reply(&bytes, id, name, kind)?)
}

/// What belongs to the name: its own records, and those of the names that it is an alias of.
fn found(reply: Reply, name: &str, kind: Kind) -> Found {
    let mut names = BTreeSet::from([name.trim_end_matches('.').to_ascii_lowercase()]);
    let mut ttl: Option<u32> = None;
    let mut least = |other: u32| ttl = Some(ttl.map_or(other, |ttl| ttl.min(other)));
    for _ in 0..ALIASES {
        let before = names.len();
        for record in &reply.records {
            if let Data::Alias(target) = &record.data
                && names.contains(&record.name)
                && names.insert(target.clone())
            {
                least(record.ttl);
            }
        }
        if names.len() == before {
            break;
        }
    }
    let wanted = |data: &Data| match data {
        Data::Address(IpAddr::V4(_)) => kind == Kind::A,
        Data::Address(IpAddr::V6(_)) => kind == Kind::Aaaa,
        Data::Service { .. } => kind == Kind::Srv,
        Data::Alias(_) => false,
    };
    let mut records = reply.records;
    records.retain(|record| names.contains(&record.name) && wanted(&record.data));
    records.iter().for_each(|record| least(record.ttl));
    if records.is_empty() {
        ttl = reply.none_ttl;
    }
    Found { records, ttl }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_names_servers() {
        let text = "# nameserver 1.1.1.1\nsearch x\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver ::1 \nnameserver\n";
        assert_eq!(of_system(text), ["10.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
    }

    #[test]
    fn aliases_lead_to_addresses_and_the_shortest_time_holds() {
        let record = |name: &str, ttl, data| Record { name: name.into(), ttl, data };
        let address = |last| Data::Address([10, 0, 0, last].into());
        let records = vec![
            record("c", 50, address(1)),
            record("b", 20, Data::Alias("c".into())),
            record("a", 30, Data::Alias("b".into())),
            record("other", 1, address(9)),
        ];
        let reply = Reply { cut: false, code: 0, records, none_ttl: None };
        let found = found(reply, "A.", Kind::A);
        assert_eq!((found.records, found.ttl), (vec![record("c", 50, address(1))], Some(20)));
    }
}
