//! `[plugin.NAME]`: where plugins come from and what they may use; and the names by which others speak of them.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use super::{At, Reader, Span, file, value};
use crate::config::file::{Size, Time};
use crate::config::model::{Canary, Named, Plugin, PluginSource};
use crate::config::problem::suggestion;
use crate::config::source;

/// The tables of one kind that others may name.
pub(super) struct Names<'n> {
    /// `pool` or `plugin`.
    pub(super) kind: &'static str,
    /// Those that could be read, with their place in the model.
    pub(super) indexes: HashMap<&'n str, usize>,
    /// All that are written, also those that are wrong.
    pub(super) written: &'n BTreeSet<String>,
}

/// For one decision: below it no clock is fine enough, above it a request would rather be refused.
const DEADLINES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// From one page to all that 32 bits can point at.
const MEMORY_SIZES: (u64, u64) = (64 << 10, 4 << 30);

impl<'n> Names<'n> {
    pub(super) fn new<'m: 'n>(
        kind: &'static str,
        read: impl Iterator<Item = &'m String>,
        written: &'n BTreeSet<String>,
    ) -> Names<'n> {
        Names { kind, indexes: read.enumerate().map(|(at, name)| (name.as_str(), at)).collect(), written }
    }
}

impl Reader<'_, '_> {
    pub(super) fn plugin(&mut self, name: &str, at: &At<file::Plugin>) -> Option<Plugin> {
        let read_name = value::name(name);
        let read_name = self.read(&at.span, read_name);
        let plugin = &at.value;
        let sha256 = plugin.sha256.as_ref().map(|sha256| (self.text(sha256, source::sha256), &sha256.span));
        let source = self.source(&plugin.source);
        match (&source, &sha256) {
            (Some(PluginSource::Https(_)), None) if !self.report.is_damaged(&at.span) => {
                let key = super::check::join(self.report.path(&at.span), "sha256");
                self.report.key(&at.span, key, "is missing: what comes from elsewhere is taken only as it is known");
            }
            (Some(PluginSource::BuiltIn(_)), Some((_, span))) => {
                self.report.at(span, "has a meaning only for what is not built in");
            }
            _ => {}
        }
        let fetched = matches!(source, None | Some(PluginSource::Https(_) | PluginSource::Oci(_)));
        let registry = matches!(source, None | Some(PluginSource::Oci(_)));
        let spans = [
            (plugin.ca.as_ref().map(|ca| &ca.span), fetched, "what is fetched"),
            (plugin.credentials.as_ref().map(|file| &file.span), fetched, "what is fetched"),
            (plugin.dangerously_plain_http.as_ref().map(|plain| &plain.span), registry, "oci://"),
        ];
        for (span, _, what) in spans.into_iter().filter(|(_, fits, _)| !fits) {
            if let Some(span) = span {
                self.report.at(span, format!("has a meaning only for {what}"));
            }
        }
        let plain = plugin.dangerously_plain_http.as_ref().filter(|plain| plain.value && registry);
        if let Some(plain) = plain {
            self.report.warn(
                &plain.span,
                format_args!("whoever is on the way to the registry of plugin {name:?} can read its credentials and give a tag another meaning"),
            );
        }
        let plain_http = plain.is_some();
        let ca = plugin.ca.as_ref().and_then(|ca| self.authorities(ca));
        let credentials = plugin.credentials.as_ref().and_then(|file| self.path(&file.value, &file.span));
        self.named.extend(credentials.clone().map(Named::Credentials));
        let deadline = plugin.deadline.as_ref().and_then(|deadline| self.deadline(deadline));
        let configure_time = self.time(plugin.configure_time.as_ref());
        let memory_size = plugin.memory_size.as_ref().and_then(|size| self.memory_size(size));
        let shadow = self.time(plugin.shadow.as_ref());
        let canary = plugin.canary.as_ref().and_then(|canary| {
            let (share, time) = (self.text(&canary.share, value::share), self.time(Some(&canary.time)));
            Some(Canary { share: share?, time: time? })
        });
        Some(Plugin {
            name: read_name?,
            source: source?,
            sha256: sha256.and_then(|(sha256, _)| sha256),
            ca,
            credentials,
            plain_http,
            config: plugin.config.as_ref().map_or_else(|| "{}".to_owned(), |config| config.value.0.clone()),
            deadline: deadline.unwrap_or(Plugin::DEADLINE),
            configure_time: configure_time.unwrap_or(Plugin::CONFIGURE_TIME),
            memory_size: memory_size.unwrap_or(Plugin::MEMORY_SIZE),
            shadow,
            canary,
        })
    }

    fn source(&mut self, at: &At<String>) -> Option<PluginSource> {
        if let Some(elsewhere) = self.text(at, source::elsewhere)? {
            return Some(elsewhere);
        }
        let path: PathBuf = self.path(&at.value, &at.span)?;
        self.named.push(Named::Plugin(path.clone()));
        Some(PluginSource::Path(path))
    }

    fn deadline(&mut self, at: &At<Time>) -> Option<Duration> {
        let (least, most) = DEADLINES;
        let read = value::duration(&at.value.0);
        let read = read
            .and_then(|time| (least..=most).contains(&time).then_some(time).ok_or("takes \"1ms\" to \"1s\"".into()));
        self.read(&at.span, read)
    }

    fn memory_size(&mut self, at: &At<Size>) -> Option<u64> {
        let (least, most) = MEMORY_SIZES;
        let read = match &at.value {
            Size::Bytes(bytes) => Ok(*bytes),
            Size::Text(text) => value::size(text),
        };
        let read = read.and_then(|size| {
            (least..=most).contains(&size).then_some(size).ok_or("takes \"64KiB\" to \"4GiB\"".into())
        });
        self.read(&at.span, read)
    }

    /// What has this name, by its place in the model.
    pub(super) fn index(&mut self, name: &str, span: &Span, names: &Names<'_>) -> Option<usize> {
        if !names.written.contains(name) {
            // Nearness is looked for among so many names that it stays quick.
            let near = if self.report.is_full() { 0 } else { 1000 };
            let meant = suggestion(name, names.written.iter().map(String::as_str).take(near));
            let message = format!("there is no [{}.{}]{meant}", names.kind, super::check::join("", name));
            self.report.at(span, message);
        }
        names.indexes.get(name).copied()
    }
}
