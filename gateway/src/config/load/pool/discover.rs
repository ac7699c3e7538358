//! `discover = { … }` of a pool: one source, and the keys that belong to it.

use std::net::{IpAddr, SocketAddr};

use super::super::report::Span;
use super::{At, Reader, file, value};
use crate::config::model::{Discover, DiscoverSource, Dns, DnsName, Registry, RegistryServer};

/// Sources that are servers which have to be told what is asked for.
const REGISTRIES: &[&str] = &["etcd", "zookeeper"];

impl Reader<'_, '_> {
    pub(super) fn discover(&mut self, pool: &str, at: &At<file::Discover>) -> Option<Discover> {
        let written = &at.value;
        let sources = [
            ("file", written.file.as_ref().map(|file| &file.span)),
            ("dns", written.dns.as_ref().map(|name| &name.span)),
            ("srv", written.srv.as_ref().map(|name| &name.span)),
            ("etcd", written.etcd.as_ref().and_then(|servers| Some(&servers.first()?.span))),
            ("zookeeper", written.zookeeper.as_ref().and_then(|servers| Some(&servers.first()?.span))),
        ];
        let mut given = sources.into_iter().filter_map(|(name, span)| Some((name, span?)));
        let Some((source, _)) = given.next() else {
            // What it should have said may have been taken out.
            if !self.report.is_damaged(&at.span) {
                self.report.at(&at.span, "needs one of \"file\", \"dns\", \"srv\", \"etcd\" and \"zookeeper\"");
            }
            return None;
        };
        if let Some((name, span)) = given.next() {
            self.report.at(span, format!("endpoints are looked for in one place: {source:?} or {name:?}"));
            return None;
        }
        let belongs: [(&str, Option<&Span>, &[&str]); 4] = [
            ("resolvers", written.resolvers.as_ref().and_then(|servers| Some(&servers.first()?.span)), &["dns", "srv"]),
            ("prefix", written.prefix.as_ref().map(|at| &at.span), REGISTRIES),
            ("credentials", written.credentials.as_ref().map(|at| &at.span), REGISTRIES),
            ("tls", written.tls.as_ref().map(|at| &at.span), REGISTRIES),
        ];
        for (name, span, to) in belongs {
            if let Some(span) = span.filter(|_| !to.contains(&source)) {
                let to: Vec<String> = to.iter().map(|word| format!("{word:?}")).collect();
                self.report.at(span, format!("{name:?} has a meaning only beside {}", to.join(" or ")));
            }
        }
        let source = match source {
            "file" => DiscoverSource::File(self.path(&written.file.as_ref()?.value, &written.file.as_ref()?.span)?),
            "dns" | "srv" => DiscoverSource::Dns(self.dns(written)?),
            "etcd" => {
                let servers = written.etcd.as_deref().unwrap_or_default();
                DiscoverSource::Etcd(self.registry(pool, at, servers, value::etcd_server, value::etcd_prefix)?)
            }
            _ => {
                let servers = written.zookeeper.as_deref().unwrap_or_default();
                let registry = self.registry(pool, at, servers, value::zookeeper_server, value::zookeeper_path);
                DiscoverSource::ZooKeeper(registry?)
            }
        };
        Some(Discover { source, keep_last: written.keep_last.unwrap_or(false) })
    }

    fn dns(&mut self, written: &file::Discover) -> Option<Dns> {
        let servers = self.texts(written.resolvers.as_deref().unwrap_or_default(), |text| match text.parse() {
            Ok(address) => Ok(SocketAddr::new(address, 53)),
            Err(_) => value::socket_address(text),
        });
        let host = |text: &str| {
            let address = value::endpoint(text)?;
            let (name, port) = address.rsplit_once(':').unwrap_or_default();
            match name.trim_matches(['[', ']']).parse::<IpAddr>() {
                Ok(_) => Err("takes a name, whose addresses may change; an address stands in \"endpoints\"".to_owned()),
                Err(_) => Ok(DnsName::Host { name: name.to_owned(), port: port.parse().unwrap_or(0) }),
            }
        };
        let name = match (&written.dns, &written.srv) {
            (Some(name), _) => self.text(name, host)?,
            (None, Some(name)) => {
                self.text(name, |text| value::host_name(text).map(|()| DnsName::Service(text.to_owned())))?
            }
            (None, None) => return None,
        };
        Some(Dns { name, servers })
    }

    fn registry(
        &mut self,
        pool: &str,
        at: &At<file::Discover>,
        given: &[At<String>],
        server: fn(&str) -> Result<RegistryServer, String>,
        prefix: fn(&str) -> Result<String, String>,
    ) -> Option<Registry> {
        let written = &at.value;
        let servers = self.texts(given, server);
        let Some(under) = &written.prefix else {
            self.report.at(&at.span, "needs the \"prefix\" of the endpoints, such as \"/services/api/\"");
            return None;
        };
        let prefix = self.text(under, prefix);
        let credentials = written.credentials.as_ref().and_then(|at| self.credentials(at));
        let tls = written.tls.as_ref().map(|tls| self.upstream_tls(pool, &tls.value)).unwrap_or_default();
        let all = servers.len() == given.len();
        Some(Registry { servers, prefix: prefix?, credentials, tls }).filter(|_| all)
    }

    fn credentials(&mut self, at: &At<String>) -> Option<std::path::PathBuf> {
        let path = self.path(&at.value, &at.span)?;
        self.named.push(crate::config::model::Named::Credentials(path.clone()));
        Some(path)
    }
}
