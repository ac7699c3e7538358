//! Members from names: the addresses of one, or the services that it stands for.
//!
//! In: answers of name servers. Out: members, and when to ask again: when the shortest time of the answers is over, within [`LEAST`] and
//! [`MOST`]. A server that fails, or says so, changes nothing. That there is no address any more is believed when it is said twice.

mod message;
mod resolver;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::search::Search;
use crate::config::model::{Dns, DnsName, Endpoint, Member};
use message::{Data, Kind};

/// However short a time an answer has.
const LEAST: Duration = Duration::from_secs(1);
/// However long.
const MOST: Duration = Duration::from_secs(300);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(2);
/// Targets of services whose addresses are asked for.
const TARGETS: usize = 256;

pub(super) async fn look(search: &Search, dns: &Dns) {
    let mut empty = 0;
    loop {
        let pause = match once(dns).await {
            Ok((members, ttl)) => {
                let pause = Duration::from_secs(ttl.map_or(30, u64::from)).clamp(LEAST, MOST);
                empty = if members.is_empty() { empty + 1 } else { 0 };
                match empty {
                    1 => {
                        search.connected();
                        LEAST
                    }
                    _ => {
                        search.found(members);
                        pause
                    }
                }
            }
            Err(why) => {
                search.failed(why);
                AGAIN
            }
        };
        // Those who began together do not ask together for ever.
        tokio::time::sleep(pause.mul_f64(1.0 - 0.1 * fastrand::f64())).await;
    }
}

/// The members now, and for how many seconds.
async fn once(dns: &Dns) -> Result<(Vec<Member>, Option<u32>), String> {
    let servers = resolver::servers(&dns.servers)?;
    match &dns.name {
        DnsName::Host { name, port } => {
            let (addresses, ttl) = addresses(&servers, name).await?;
            let members = addresses.into_iter().map(|address| member(SocketAddr::new(address, *port), 1, 0));
            Ok((members.collect(), ttl))
        }
        DnsName::Service(name) => services(&servers, name).await,
    }
}

/// In order, so that the same answer in another order is the same list. Both families, or nothing.
async fn addresses(servers: &[SocketAddr], name: &str) -> Result<(Vec<IpAddr>, Option<u32>), String> {
    let (four, six) =
        tokio::join!(resolver::resolve(servers, name, Kind::A), resolver::resolve(servers, name, Kind::Aaaa));
    let mut addresses = Vec::new();
    let mut ttl: Option<u32> = None;
    let found = [four?, six?];
    let some = found.iter().any(|found| !found.records.is_empty());
    // How long there is none of one family holds does not matter while there are some of the other.
    for found in found.into_iter().filter(|found| !some || !found.records.is_empty()) {
        ttl = shorter(ttl, found.ttl);
        addresses.extend(found.records.into_iter().filter_map(|record| match record.data {
            Data::Address(address) => Some(address),
            _ => None,
        }));
    }
    addresses.sort_unstable();
    addresses.dedup();
    Ok((addresses, ttl))
}

async fn services(servers: &[SocketAddr], name: &str) -> Result<(Vec<Member>, Option<u32>), String> {
    let found = resolver::resolve(servers, name, Kind::Srv).await?;
    let mut ttl = found.ttl;
    let mut known: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    let mut members = Vec::new();
    for record in found.records {
        let Data::Service { priority, weight, port, target } = record.data else { continue };
        // RFC 2782: a target of "." says that there is no such service.
        if target.is_empty() || port == 0 {
            continue;
        }
        if !known.contains_key(&target) {
            if known.len() >= TARGETS {
                return Err(format!("{name}: it has more than {TARGETS} targets"));
            }
            let (addresses, of_target) = addresses(servers, &target).await?;
            ttl = shorter(ttl, of_target);
            known.insert(target.clone(), addresses);
        }
        for address in known.get(&target).into_iter().flatten() {
            members.push(member(SocketAddr::new(*address, port), weight.max(1), priority));
        }
    }
    members.sort_by(|one: &Member, other| one.endpoint.address.cmp(&other.endpoint.address));
    Ok((members, ttl))
}

/// Priorities of pools end at 100; what comes later in DNS is last here too.
fn member(address: SocketAddr, weight: u16, priority: u16) -> Member {
    Member {
        endpoint: Endpoint { address: address.to_string(), weight },
        priority: u32::from(priority).min(100),
        zone: String::new(),
        metadata: Vec::new(),
        drain: false,
    }
}

fn shorter(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    one.into_iter().chain(other).min()
}
