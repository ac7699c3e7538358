//! `health` and `eject` of a pool.

use std::time::Duration;

use super::super::{At, Either, Reader, file, value};
use crate::config::file::{Strings, Time};
use crate::config::model::{Check, CheckKind, CheckTls, Eject, Health, HttpCheck, StartAs, UpstreamTls};
use crate::config::problem::excerpt;
use crate::http::fields::is_value;

impl Reader<'_, '_> {
    pub(super) fn health(&mut self, pool: &str, at: &At<Either<String, file::Health>>) -> Option<Health> {
        let table = match &at.value {
            Either::Short(path) => {
                let path = self.read(&at.span, check_path(path))?;
                return Some(health(Check::Http(http(path))));
            }
            Either::Long(table) => table,
        };
        let kind = table.kind.unwrap_or(CheckKind::Http);
        self.only_for_its_kind(kind, table);
        let check = match kind {
            CheckKind::Http => self.http_check(at, table).map(Check::Http),
            CheckKind::Grpc => Some(Check::Grpc {
                service: table.service.as_ref().map(|service| service.value.clone()).unwrap_or_default(),
                host: table.host.as_ref().and_then(|host| self.text(host, value::authority)),
            }),
            CheckKind::Tcp => Some(Check::Tcp),
        };
        let tls = table.tls.as_ref().map(|tls| match &tls.value {
            Either::Short(false) => CheckTls::Off,
            Either::Short(true) => CheckTls::On(UpstreamTls::default()),
            Either::Long(tls) => CheckTls::On(self.upstream_tls(pool, tls)),
        });
        let interval = self.pause(table.interval.as_ref()).unwrap_or(Health::INTERVAL);
        let unhealthy_interval = self.pause(table.unhealthy_interval.as_ref()).unwrap_or(interval);
        let timeout = self.time(table.timeout.as_ref()).unwrap_or(Health::TIMEOUT);
        let default = health(check?);
        Some(Health {
            port: table.port.as_ref().map(|port| port.value),
            tls,
            interval,
            unhealthy_interval,
            timeout,
            rise: table.rise.as_ref().map_or(default.rise, |rise| rise.value),
            fall: table.fall.as_ref().map_or(default.fall, |fall| fall.value),
            start: table.start.unwrap_or(default.start),
            ..default
        })
    }

    /// A time between checks: not so short that nothing else is done.
    fn pause(&mut self, at: Option<&At<Time>>) -> Option<Duration> {
        let time = self.time(at)?;
        let read = if time < Health::LEAST_INTERVAL { Err("takes at least \"10ms\"".into()) } else { Ok(time) };
        self.read(&at?.span, read)
    }

    fn http_check(&mut self, at: &At<Either<String, file::Health>>, table: &file::Health) -> Option<HttpCheck> {
        let path = table.path.as_ref().and_then(|path| self.text(path, check_path));
        if table.path.is_none() && !self.report.is_damaged(&at.span) {
            self.report.at(&at.span, "needs a \"path\", or another \"kind\" than \"http\"");
        }
        let host = table.host.as_ref().and_then(|host| self.text(host, value::authority));
        let mut headers = Vec::new();
        for (name, text) in table.headers.iter().flatten() {
            let name = self.read(&text.span, check_header(name));
            let text = self.text(text, |text| match is_value(text.as_bytes()) {
                true => Ok(text.to_owned()),
                false => Err("takes text without control characters".into()),
            });
            headers.extend(name.zip(text));
        }
        let default = http(path?);
        Some(HttpCheck {
            head: table.method.as_ref().is_some_and(|method| method.value == "HEAD"),
            host,
            headers,
            status: table.status.as_ref().map_or(default.status, |status| self.statuses(status)),
            body: table.body.as_ref().map(|body| body.value.clone()),
            path: default.path,
        })
    }

    fn statuses(&mut self, at: &At<Strings>) -> Vec<(u16, u16)> {
        match &at.value {
            Either::Short(text) => self.read(&at.span, statuses(text)).into_iter().collect(),
            Either::Long(texts) => {
                if texts.is_empty() {
                    self.report.at(&at.span, "takes at least one");
                }
                self.texts(texts, statuses)
            }
        }
    }

    /// Keys without an effect are refused, so that nobody waits for it.
    fn only_for_its_kind(&mut self, kind: CheckKind, table: &file::Health) {
        const HTTP: &[CheckKind] = &[CheckKind::Http];
        let spans = [
            (table.path.as_ref().map(|at| &at.span), HTTP),
            (table.method.as_ref().map(|at| &at.span), HTTP),
            (table.status.as_ref().map(|at| &at.span), HTTP),
            (table.body.as_ref().map(|at| &at.span), HTTP),
            (table.headers.iter().flatten().next().map(|(_, at)| &at.span), HTTP),
            (table.service.as_ref().map(|at| &at.span), &[CheckKind::Grpc]),
            (table.host.as_ref().map(|at| &at.span), &[CheckKind::Http, CheckKind::Grpc]),
        ];
        for (span, kinds) in spans {
            if let Some(span) = span.filter(|_| !kinds.contains(&kind)) {
                self.report.at(span, "has no meaning for this \"kind\" of check");
            }
        }
        let method = table.method.as_ref().filter(|method| method.value == "HEAD");
        if let Some(body) = table.body.as_ref().filter(|_| method.is_some()) {
            self.report.at(&body.span, "there is no body in an answer to HEAD");
        }
    }

    pub(super) fn eject(&mut self, at: &At<Either<bool, file::Eject>>) -> Option<Eject> {
        let default = Eject::default();
        let table = match &at.value {
            Either::Short(true) => return Some(default),
            Either::Short(false) => return None,
            Either::Long(table) => table,
        };
        let some = |count: u32| Some(count).filter(|count| *count > 0);
        let failures = table.failures.as_ref().map_or(default.failures, |failures| some(failures.value));
        let connects = table.connects.as_ref().map_or(default.connects, |connects| some(connects.value));
        let success = table.success.as_ref().and_then(|success| self.text(success, value::share));
        let time = self.time(table.time.as_ref()).unwrap_or(default.time);
        let most_time = self.time(table.most_time.as_ref());
        if let Some(at) = table.most_time.as_ref().filter(|_| most_time.is_some_and(|most| most < time)) {
            self.report.at(&at.span, "is shorter than \"time\"");
        }
        Some(Eject {
            failures,
            connects,
            success,
            latency: table.latency.as_ref().map(|latency| latency.value),
            interval: self.pause(table.interval.as_ref()).unwrap_or(default.interval),
            requests: table.requests.as_ref().map_or(default.requests, |requests| requests.value),
            time,
            most_time: most_time.unwrap_or(default.most_time.max(time)),
            share: table.share.as_ref().and_then(|share| self.text(share, value::share)).unwrap_or(default.share),
        })
    }
}

fn health(check: Check) -> Health {
    Health {
        check,
        port: None,
        tls: None,
        interval: Health::INTERVAL,
        unhealthy_interval: Health::INTERVAL,
        timeout: Health::TIMEOUT,
        rise: 2,
        fall: 3,
        start: StartAs::Healthy,
    }
}

fn http(path: String) -> HttpCheck {
    HttpCheck { path, head: false, host: None, headers: Vec::new(), status: vec![(200, 299)], body: None }
}

/// A path as it stands in a request, with its query.
fn check_path(text: &str) -> Result<String, String> {
    let right = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    right.then(|| text.to_owned()).ok_or_else(|| {
        format!("takes a path such as \"/healthz\", written as it stands in a request, not {:?}", excerpt(text))
    })
}

/// A header of a check: not one that the gateway writes itself.
fn check_header(text: &str) -> Result<crate::http::FieldName, String> {
    let name = value::field_name(text)?;
    match name.text() {
        "host" => Err("is written as \"host\" beside \"headers\"".into()),
        _ if value::is_connection_field(&name) => {
            Err(format!("{:?} belongs to the connection; the gateway writes it itself", name.text()))
        }
        _ => Ok(name),
    }
}

/// `"204"`, `"2xx"`, `"200-399"`.
fn statuses(text: &str) -> Result<(u16, u16), String> {
    let wrong =
        || format!("takes a status (\"204\"), a class (\"2xx\") or a range (\"200-399\"), not {:?}", excerpt(text));
    let status = |text: &str| -> Option<u16> {
        let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|status| digits && (200..=599).contains(status))
    };
    if let Some(class) = text.strip_suffix("xx") {
        let first = status(&format!("{class}00")).ok_or_else(wrong)?;
        return Ok((first, first + 99));
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    status(from).zip(status(to)).filter(|(from, to)| from <= to).ok_or_else(wrong)
}
