//! `[pool.NAME]`: endpoints and how they are spoken to.

mod adaptive;
mod discover;
mod health;
mod hedge;
mod retry;
mod selection;

use std::collections::HashMap;

use super::{At, Either, Names, Reader, file, value};
use crate::config::model::{Balance, Endpoint, HostHeader, Member, Pool, Timeouts, UpstreamProtocol, UpstreamTls};
use crate::config::problem::{excerpt, suggestion};
use crate::stock;

impl Reader<'_, '_> {
    pub(super) fn pool(&mut self, name: &str, at: &At<file::Pool>, plugins: &Names<'_>) -> Option<Pool> {
        let read_name = value::name(name);
        let read_name = self.read(&at.span, read_name);
        let pool = &at.value;
        let host = match pool.host.as_ref() {
            None => HostHeader::Preserve,
            Some(host) if host.value == "preserve" => HostHeader::Preserve,
            Some(host) if host.value == "endpoint" => HostHeader::Endpoint,
            Some(host) => HostHeader::Fixed(self.text(host, value::authority).unwrap_or_default()),
        };
        let endpoints = self.endpoints(pool.endpoints.as_deref().unwrap_or_default());
        let discover = pool.discover.as_ref().map(|discover| self.discover(name, discover));
        if pool.endpoints.is_none() && pool.discover.is_none() && !self.report.is_damaged(&at.span) {
            self.report.key(&at.span, format!("pool.{name}.endpoints"), "is missing");
        }
        let (balance, balancer) = self.balance(at, plugins);
        let tls = match pool.tls.as_ref().map(|tls| &tls.value) {
            None | Some(Either::Short(false)) => None,
            Some(Either::Short(true)) => Some(UpstreamTls::default()),
            Some(Either::Long(tls)) => Some(self.upstream_tls(name, tls)),
        };
        let adaptive = pool.adaptive.as_ref().and_then(|adaptive| self.adaptive(adaptive));
        let hedge = pool.hedge.as_ref().map(|hedge| self.hedge(hedge));
        let retry = pool.retry.as_ref().map(|retry| self.retry(retry)).unwrap_or_default();
        let timeouts = self.timeouts(pool.timeouts.as_ref());
        let timeouts = Timeouts {
            connect: timeouts.connect.or(Some(Timeouts::CONNECT)),
            first_byte: timeouts.first_byte.or(Some(Timeouts::FIRST_BYTE)),
            queue: timeouts.queue.or(Some(Timeouts::QUEUE)),
            ..timeouts
        };
        let health = pool.health.as_ref().and_then(|health| self.health(name, health));
        let eject = pool.eject.as_ref().and_then(|eject| self.eject(eject));
        let selection = self.selection(pool);
        Some(Pool {
            name: read_name?,
            endpoints,
            discover: discover.flatten(),
            balance,
            balancer,
            protocol: pool.protocol.unwrap_or(UpstreamProtocol::Auto),
            tls,
            proxy_protocol: pool.proxy_protocol,
            host,
            max_connections: pool.max_connections.as_ref().map(|most| most.value),
            max_requests: pool.max_requests.as_ref().map(|most| most.value),
            max_pool_requests: pool.max_pool_requests.as_ref().map(|most| most.value),
            max_waiting: pool.max_waiting.as_ref().map_or(1024, |most| most.value),
            adaptive,
            hedge,
            retry,
            timeouts,
            health,
            eject,
            selection,
        })
    }

    /// The balancer that is built in, and the plugin that goes before it.
    fn balance(&mut self, at: &At<file::Pool>, plugins: &Names<'_>) -> (Balance, Option<usize>) {
        let file::Pool { balance, fallback, .. } = &at.value;
        let word = balance.as_ref().map_or(Balance::default().name(), |balance| &balance.value);
        // Who writes a plugin of that name means it.
        let built_in = Balance::named(word).filter(|_| balance.is_none() || !plugins.written.contains(word));
        match (built_in, balance) {
            (None, Some(name)) => {
                if !plugins.written.contains(word) {
                    // Nearness is looked for among so many names that it stays quick.
                    let near = if self.report.is_full() { 0 } else { 1000 };
                    let mut known: Vec<&str> = stock::balancers().collect();
                    known.extend(plugins.written.iter().map(String::as_str).take(near));
                    let meant = suggestion(word, known);
                    let wrong = excerpt(word);
                    let names = || stock::balancers().collect::<Vec<_>>().join(", ");
                    let known = if meant.is_empty() { format!("; built in are {}", names()) } else { meant };
                    let message = format!("takes the name of a plugin or of a built-in balancer, not {wrong:?}{known}");
                    self.report.at(&name.span, message);
                }
                // The schema lets no other name pass.
                let fallback = fallback.as_ref().and_then(|fallback| Balance::named(&fallback.value.0));
                (fallback.unwrap_or_default(), plugins.indexes.get(word).copied())
            }
            (built_in, _) => {
                // What "balance" should have said may have been taken out.
                if let Some(fallback) = fallback.as_ref().filter(|_| !self.report.is_damaged(&at.span)) {
                    self.report.at(&fallback.span, "has a meaning only where \"balance\" names a plugin");
                }
                (built_in.unwrap_or_default(), None)
            }
        }
    }

    fn endpoints(&mut self, written: &[At<Either<String, file::Endpoint>>]) -> Vec<Member> {
        let mut endpoints = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        for at in written {
            let (text, span, table) = match &at.value {
                Either::Short(address) => (address, &at.span, None),
                Either::Long(table) => (&table.address.value, &table.address.span, Some(table)),
            };
            let Some(address) = self.read(span, value::endpoint(text)) else { continue };
            let (line, _) = self.report.position(span.start);
            if let Some(before) = lines.insert(address.to_ascii_lowercase(), line) {
                let message =
                    format!("{address} was given in line {before} already; for a larger share set its weight");
                self.report.at(span, message);
            }
            let weight = table.and_then(|table| table.weight.as_ref()).map_or(1, |weight| weight.value);
            let metadata = table.and_then(|table| table.metadata.as_ref()).into_iter().flatten();
            endpoints.push(Member {
                endpoint: Endpoint { address, weight },
                priority: table.and_then(|table| table.priority.as_ref()).map_or(0, |priority| priority.value),
                zone: table.and_then(|table| table.zone.clone()).unwrap_or_default(),
                drain: table.and_then(|table| table.drain).unwrap_or(false),
                metadata: metadata.map(|(key, text)| (key.clone(), text.value.clone())).collect(),
            });
        }
        endpoints
    }

    fn upstream_tls(&mut self, pool: &str, tls: &file::UpstreamTls) -> UpstreamTls {
        let ca = tls.ca.as_ref().and_then(|ca| self.authorities(ca));
        let name = tls.name.as_ref().and_then(|name| {
            self.text(name, |name| {
                // A certificate may name an address; that is written here without brackets.
                let address = name.parse::<std::net::IpAddr>().is_ok();
                if address { Ok(()) } else { value::host_name(name) }.map(|()| name.to_owned())
            })
        });
        let certificate = match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => {
                let certificate = self.path(&certificate.value, &certificate.span);
                let key = self.path(&key.value, &key.span);
                self.pair(certificate, key)
            }
            (Some(certificate), None) => {
                self.report.at(&certificate.span, "needs its \"key\" beside it");
                None
            }
            (None, Some(key)) => {
                self.report.at(&key.span, "needs its \"certificate\" beside it");
                None
            }
            (None, None) => None,
        };
        let accept_any = tls.dangerously_accept_any_certificate.as_ref().filter(|any| any.value);
        if let Some(any) = accept_any {
            let pool = excerpt(pool);
            let message = format!(
                "the endpoints of pool {pool:?} are not verified; anyone on the way to them can read and change everything"
            );
            self.report.warn(&any.span, message);
        }
        let accept_any = accept_any.is_some();
        UpstreamTls { ca, name, certificate, accept_any }
    }
}
