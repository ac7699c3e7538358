//! `discover = { … }` of a pool: one source, and the keys that belong to it.

use super::super::report::Span;
use super::{At, Reader, file, value};
use crate::config::model::{Discover, DiscoverSource, Etcd};

impl Reader<'_, '_> {
    pub(super) fn discover(&mut self, pool: &str, at: &At<file::Discover>) -> Option<Discover> {
        let written = &at.value;
        let sources = [
            ("file", written.file.as_ref().map(|file| &file.span)),
            ("etcd", written.etcd.as_ref().and_then(|servers| Some(&servers.first()?.span))),
        ];
        let mut given = sources.into_iter().filter_map(|(name, span)| Some((name, span?)));
        let Some((source, _)) = given.next() else {
            // What it should have said may have been taken out.
            if !self.report.is_damaged(&at.span) {
                self.report.at(&at.span, "needs one of \"file\" and \"etcd\"");
            }
            return None;
        };
        if let Some((name, span)) = given.next() {
            self.report.at(span, format!("endpoints are looked for in one place: {source:?} or {name:?}"));
            return None;
        }
        let belongs: [(&str, Option<&Span>, &[&str]); 3] = [
            ("prefix", written.prefix.as_ref().map(|at| &at.span), &["etcd"]),
            ("credentials", written.credentials.as_ref().map(|at| &at.span), &["etcd"]),
            ("tls", written.tls.as_ref().map(|at| &at.span), &["etcd"]),
        ];
        for (name, span, to) in belongs {
            if let Some(span) = span.filter(|_| !to.contains(&source)) {
                let to: Vec<String> = to.iter().map(|word| format!("{word:?}")).collect();
                self.report.at(span, format!("{name:?} has a meaning only beside {}", to.join(" or ")));
            }
        }
        let source = match source {
            "file" => DiscoverSource::File(self.path(&written.file.as_ref()?.value, &written.file.as_ref()?.span)?),
            _ => DiscoverSource::Etcd(self.etcd(pool, at)?),
        };
        Some(Discover { source, keep_last: written.keep_last.unwrap_or(false) })
    }

    fn etcd(&mut self, pool: &str, at: &At<file::Discover>) -> Option<Etcd> {
        let written = &at.value;
        let servers = self.texts(written.etcd.as_deref().unwrap_or_default(), value::etcd_server);
        let Some(prefix) = &written.prefix else {
            self.report.at(&at.span, "needs the \"prefix\" of the endpoints' keys beside \"etcd\"");
            return None;
        };
        let prefix = self.text(prefix, |text| match text.is_empty() {
            true => Err("takes what the keys of endpoints begin with, such as \"/services/api/\"".to_owned()),
            false => Ok(text.to_owned()),
        });
        let credentials = written.credentials.as_ref().and_then(|at| self.credentials(at));
        let tls = written.tls.as_ref().map(|tls| self.upstream_tls(pool, &tls.value)).unwrap_or_default();
        let all = servers.len() == written.etcd.as_ref().map_or(0, Vec::len);
        Some(Etcd { servers, prefix: prefix?, credentials, tls }).filter(|_| all)
    }

    fn credentials(&mut self, at: &At<String>) -> Option<std::path::PathBuf> {
        let path = self.path(&at.value, &at.span)?;
        self.named.push(crate::config::model::Named::Credentials(path.clone()));
        Some(path)
    }
}
