//! Which endpoints of a pool get requests, and what share of them.

use std::time::Duration;

use super::super::{At, Either, Reader, file, value};
use crate::config::model::{Load, Selection, SlowStart, Subset, Zone};

/// Nobody is asked more often.
const SHORTEST: Duration = Duration::from_millis(100);

impl Reader<'_, '_> {
    pub(super) fn selection(&mut self, pool: &file::Pool) -> Selection {
        let default = Selection::default();
        let below = pool.distrust_below.as_ref().and_then(|below| self.text(below, value::share_or_none));
        let factor = pool.spill_factor.as_ref().and_then(|factor| self.spill_factor(factor));
        Selection {
            distrust_below: below.unwrap_or(default.distrust_below),
            spill_factor: factor.unwrap_or(default.spill_factor),
            zone: self.prefer_zone(pool.prefer_zone.as_ref()),
            subset: pool.subset.as_ref().map(|size| Subset { size: size.value, name: self.identity.name.clone() }),
            slow_start: pool.slow_start.as_ref().and_then(|slow| self.slow_start(slow)),
            load: pool.load.as_ref().and_then(|load| self.load(load, pool)),
        }
    }

    fn spill_factor(&mut self, factor: &At<f64>) -> Option<f64> {
        let fits = (1.0..=100.0).contains(&factor.value);
        self.read(&factor.span, fits.then_some(factor.value).ok_or("takes a number from 1 to 100".into()))
    }

    fn prefer_zone(&mut self, prefer: Option<&At<Either<bool, file::PreferZone>>>) -> Option<Zone> {
        let (mut share, mut factor) = (None, None);
        match prefer.map(|prefer| &prefer.value) {
            None | Some(Either::Short(true)) => {}
            Some(Either::Short(false)) => return None,
            Some(Either::Long(table)) => {
                share = table.share.as_ref().and_then(|share| self.text(share, value::share));
                factor = table.spill_factor.as_ref().and_then(|factor| self.spill_factor(factor));
            }
        }
        Some(Zone { home: self.identity.zone.clone()?, share, spill_factor: factor.unwrap_or(1.0) })
    }

    fn load(&mut self, at: &At<file::Load>, pool: &file::Pool) -> Option<Load> {
        let load = &at.value;
        let headers = load.headers.unwrap_or(false);
        let path = load.path.as_ref().and_then(|path| {
            self.text(path, |text| {
                let fits = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
                fits.then(|| text.to_owned()).ok_or("takes a path, such as \"/load\"".into())
            })
        });
        if load.path.is_none() && !headers && !self.report.is_damaged(&at.span) {
            self.report.at(&at.span, "needs \"path\" or \"headers = true\": otherwise no load is ever reported");
        }
        // Another port is one of its own, of which the header is not known to be wanted.
        if let (Some(path), Some(_), None) = (&load.path, pool.proxy_protocol, &load.port) {
            self.report.at(
                &path.span,
                "cannot be asked for where endpoints want a PROXY header; they may tell in \"headers\"",
            );
        }
        let interval = self.time(load.interval.as_ref()).unwrap_or(Duration::from_secs(2));
        if let Some(written) = load.interval.as_ref().filter(|_| interval < SHORTEST) {
            self.report.at(&written.span, "takes at least \"100ms\"");
        }
        let metric = load.metric.as_ref().and_then(|metric| {
            self.text(metric, |text| {
                let fits =
                    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b",=:".contains(&byte));
                fits.then(|| text.to_owned()).ok_or("takes the name of a metric, such as \"cpu_utilization\"".into())
            })
        });
        Some(Load {
            path,
            port: load.port.as_ref().map(|port| port.value),
            interval,
            timeout: self.time(load.timeout.as_ref()).unwrap_or(Duration::from_secs(1)),
            age: self.time(load.age.as_ref()).unwrap_or(Duration::from_secs(10)),
            headers,
            metric,
        })
    }

    fn slow_start(&mut self, slow: &At<Either<file::Time, file::SlowStart>>) -> Option<SlowStart> {
        match &slow.value {
            Either::Short(time) => {
                let time = self.time(Some(&At { span: slow.span.clone(), value: time.clone() }))?;
                Some(SlowStart { time, curve: 1.0, least: 1000 })
            }
            Either::Long(table) => {
                let time = self.time(Some(&table.time));
                let curve = table.curve.as_ref().map(|curve| {
                    let fits = (0.1..=10.0).contains(&curve.value);
                    self.read(&curve.span, fits.then_some(curve.value).ok_or("takes a number from 0.1 to 10".into()))
                });
                let least = table.least.as_ref().map(|least| self.text(least, value::share));
                Some(SlowStart { time: time?, curve: curve.unwrap_or(Some(1.0))?, least: least.unwrap_or(Some(1000))? })
            }
        }
    }
}
