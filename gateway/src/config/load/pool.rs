//! `[pool.NAME]`: endpoints and how they are spoken to.

use std::collections::HashMap;

use super::{At, Either, Reader, file, value};
use crate::config::model::{Balance, Endpoint, HostHeader, Pool, Timeouts, UpstreamProtocol, UpstreamTls};
use crate::config::problem::excerpt;

impl Reader<'_, '_> {
    pub(super) fn pool(&mut self, name: &str, at: &At<file::Pool>) -> Option<Pool> {
        let read_name = value::name(name);
        let read_name = self.read(&at.span, read_name);
        let pool = &at.value;
        let host = match pool.host.as_ref() {
            None => HostHeader::Preserve,
            Some(host) if host.value == "preserve" => HostHeader::Preserve,
            Some(host) if host.value == "endpoint" => HostHeader::Endpoint,
            Some(host) => HostHeader::Fixed(self.text(host, value::authority).unwrap_or_default()),
        };
        let endpoints = self.endpoints(&pool.endpoints);
        let tls = match pool.tls.as_ref().map(|tls| &tls.value) {
            None | Some(Either::Short(false)) => None,
            Some(Either::Short(true)) => Some(UpstreamTls::default()),
            Some(Either::Long(tls)) => Some(self.upstream_tls(name, tls)),
        };
        let timeouts = self.timeouts(pool.timeouts.as_ref());
        let timeouts = Timeouts {
            connect: timeouts.connect.or(Some(Timeouts::CONNECT)),
            first_byte: timeouts.first_byte.or(Some(Timeouts::FIRST_BYTE)),
            queue: timeouts.queue.or(Some(Timeouts::QUEUE)),
            ..timeouts
        };
        Some(Pool {
            name: read_name?,
            endpoints,
            balance: pool.balance.unwrap_or(Balance::P2c),
            protocol: pool.protocol.unwrap_or(UpstreamProtocol::Auto),
            tls,
            proxy_protocol: pool.proxy_protocol,
            host,
            max_connections: pool.max_connections.as_ref().map(|most| most.value),
            max_waiting: pool.max_waiting.as_ref().map_or(1024, |most| most.value),
            timeouts,
        })
    }

    fn endpoints(&mut self, written: &[At<Either<String, file::Endpoint>>]) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        for at in written {
            let (text, span, weight) = match &at.value {
                Either::Short(address) => (address, &at.span, 1),
                Either::Long(table) => {
                    (&table.address.value, &table.address.span, table.weight.as_ref().map_or(1, |weight| weight.value))
                }
            };
            let Some(address) = self.read(span, value::endpoint(text)) else { continue };
            let (line, _) = self.report.position(span.start);
            if let Some(before) = lines.insert(address.to_ascii_lowercase(), line) {
                let message =
                    format!("{address} was given in line {before} already; for a larger share set its weight");
                self.report.at(span, message);
            }
            endpoints.push(Endpoint { address, weight });
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
