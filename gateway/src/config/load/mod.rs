//! From the text of a file to a checked [`Config`], or to everything that is wrong with it at once.
//!
//! Four steps: TOML into a tree with positions; the tree against the schema (`check`), which takes out what does not fit; serde,
//! which takes what is left; and the conversions here and below, which read texts and look references up. A problem is
//! reported by the step that sees it first and by no other. Files that the configuration names are not opened; they are
//! listed for those who do it, also when something else is wrong.
//!
//! Hostile text costs time in proportion to its length: it is bounded by [`FILE_LIMIT`], nesting by the TOML parser
//! and by the schema, messages by [`LIMIT`](super::problem::LIMIT).

mod cache;
mod check;
mod identity;
mod json;
mod limits;
mod listener;
mod plugin;
mod pool;
mod report;
mod route;

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::file::{self, At, Dev, Either, File, LogFormat, Time};
use super::hint;
use super::model::{
    AccessLog, AccessLogFormat, Admin, CertificateFiles, Config, Forwarded, Listener, Log, Named, Place, Timeouts,
};
use super::problem::{Problem, Problems};
use super::value;
use crate::http::FieldName;
use crate::http::fields::is_token;
use identity::Identity;
use plugin::Names;
use report::{Report, Span};

/// The largest file that is read.
pub const FILE_LIMIT: u64 = 16 << 20;

/// What is written in double brackets.
const LISTS: [&str; 2] = ["listener", "route"];

/// Beyond this only the first error of syntax is looked for.
const RECOVERY_LIMIT: usize = 1 << 20;

/// Reads and checks a configuration file. Relative paths in it are relative to its folder.
pub fn load(path: &Path) -> Result<Config, Problems> {
    whole(examine(path))
}

/// Checks a configuration that is in memory. `file` is named in problems, and its folder is where relative paths begin.
pub fn parse(text: &str, file: &Path) -> Result<Config, Problems> {
    whole(examine_text(text, file))
}

/// Reads and checks a configuration file: what of it could be read, for a look at the files that it names, and what is
/// wrong with it.
pub fn examine(path: &Path) -> (Config, Option<Problems>) {
    let wrong = |message: String| {
        let problem = Problem { line: 0, column: 0, key: String::new(), message };
        (Config::default(), Problems::of(path, vec![problem], 0))
    };
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return wrong(format!("cannot be read: {error}"));
    }
    if bytes.len() as u64 > FILE_LIMIT {
        return wrong(format!("is larger than {} MiB", FILE_LIMIT >> 20));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => examine_text(text, path),
        Err(error) => {
            let (valid, _) = bytes.split_at_checked(error.valid_up_to()).unwrap_or_default();
            let valid = String::from_utf8_lossy(valid);
            let mut report = Report::new(&valid);
            report.at(&(valid.len()..valid.len()), "is not UTF-8 from here on");
            (Config::default(), report.finish(path))
        }
    }
}

fn whole((config, problems): (Config, Option<Problems>)) -> Result<Config, Problems> {
    problems.map_or(Ok(config), Err)
}

fn examine_text(text: &str, file: &Path) -> (Config, Option<Problems>) {
    let mut report = Report::new(text);
    let mut config = Config::default();
    if let Some(mut root) = tree(text, &mut report) {
        // Before anything is taken out: what is wrong is still there for those who name it.
        let written = Written { plugins: names(&root, "plugin"), pools: names(&root, "pool") };
        check::check(&mut root, super::schema::shared(), &mut report);
        let span = root.span();
        match File::deserialize(Deserializer::from(root)) {
            Ok(parsed) => {
                let base = file.parent().unwrap_or(Path::new("")).to_owned();
                let reader = Reader {
                    report: &mut report,
                    base,
                    identity: Identity::default(),
                    places: Vec::new(),
                    named: Vec::new(),
                };
                config = reader.config(parsed, &written, &span);
            }
            // What the check lets through fits; should it not, this says so instead of hiding it.
            Err(error) if report.is_clean() => report.at(&error.span().unwrap_or(span), error.message()),
            Err(_) => {}
        }
    }
    (config, report.finish(file))
}

/// The names of tables that others name, also of those that are wrong.
struct Written {
    plugins: BTreeSet<String>,
    pools: BTreeSet<String>,
}

fn names(root: &Spanned<DeTable<'_>>, kind: &str) -> BTreeSet<String> {
    match root.get_ref().get(kind).map(Spanned::get_ref) {
        Some(DeValue::Table(tables)) => tables.keys().map(|name| name.get_ref().to_string()).collect(),
        _ => BTreeSet::new(),
    }
}

/// TOML into a tree; errors of syntax go to the report.
fn tree<'t>(text: &'t str, report: &mut Report<'_>) -> Option<Spanned<DeTable<'t>>> {
    let first = match DeTable::parse(text) {
        Ok(root) => return Some(root),
        Err(error) => error,
    };
    let mut errors = vec![first];
    if text.len() <= RECOVERY_LIMIT {
        errors = DeTable::parse_recoverable(text).1;
    }
    errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    // One slip makes the parser stumble again and again, so the first says enough; but keys given twice are as many
    // slips as there are of them.
    let twice = |error: &toml::de::Error| error.message().starts_with("duplicate key");
    // `[route]` for `[[route]]` is another slip, of which keys given twice are what follows.
    let mut single: Vec<_> = errors.iter().filter_map(|error| lonely(text, error.span()?)).collect();
    single.dedup();
    if errors.iter().all(twice) && !single.is_empty() {
        single.iter().for_each(|(span, name)| report.at(span, hint::double_brackets(name)));
    } else if errors.iter().all(twice) {
        errors.iter().for_each(|error| report.at(&error.span().unwrap_or(0..0), "this key was given before"));
    } else if let Some(first) = errors.iter().find(|error| !twice(error)) {
        report.at(&first.span().unwrap_or(0..0), first.message());
    }
    None
}

/// Where and which list stands in single brackets, when a header is said to be there twice for that.
fn lonely(text: &str, span: Span) -> Option<(Span, &'static str)> {
    let name = LISTS.into_iter().find(|list| text.get(span.clone()).is_some_and(|found| found.trim() == *list))?;
    let before = text.get(..span.start)?.trim_end_matches([' ', '\t']);
    match before.ends_with("[[") {
        // This one is right, and one before it is not.
        true => {
            let single = format!("[{name}]");
            let mut lines =
                before.match_indices(&single).filter(|(at, _)| !before.get(..*at).unwrap_or("[").ends_with('['));
            lines.next().map(|(at, _)| (at + 1..at + 1 + name.len(), name))
        }
        false => before.ends_with('[').then_some((span, name)),
    }
}

/// Turns what people write into the model. What cannot be read is reported and left out.
struct Reader<'r, 't> {
    report: &'r mut Report<'t>,
    base: PathBuf,
    identity: Identity,
    places: Vec<(PathBuf, Place)>,
    named: Vec<Named>,
}

impl Reader<'_, '_> {
    fn config(mut self, file: File, written: &Written, root: &Span) -> Config {
        let admin = file.admin.and_then(|admin| {
            let address = self.text(&admin.value.address, value::socket_address)?;
            Some((Admin { address }, admin.value.address.span))
        });
        let listeners = file.listener.unwrap_or_default();
        if listeners.is_empty() && !self.report.is_damaged(root) {
            self.report.key(&(0..0), "listener".into(), "is missing: without a [[listener]] nothing can be served");
        }
        let listeners: Vec<_> =
            listeners.iter().filter_map(|listener| Some((self.listener(&listener.value)?, listener))).collect();
        self.distinct_addresses(&listeners, admin.as_ref());
        let plugins: Vec<_> =
            file.plugin.unwrap_or_default().iter().filter_map(|(name, plugin)| self.plugin(name, plugin)).collect();
        let plugin_names = Names::new("plugin", plugins.iter().map(|plugin| &plugin.name), &written.plugins);
        self.identity = self.identity(file.zone.as_ref(), file.name.as_ref());
        let pools = file.pool.unwrap_or_default();
        let pools: Vec<_> = pools.iter().filter_map(|(name, pool)| self.pool(name, pool, &plugin_names)).collect();
        let pool_names = Names::new("pool", pools.iter().map(|pool| &pool.name), &written.pools);
        let in_file = file.route.unwrap_or_default();
        if in_file.is_empty() && !self.report.is_damaged(root) {
            self.report.warn(&(0..0), "there is no [[route]]: every request is answered 404");
        }
        let routes = self.routes(&in_file, &pool_names, &plugin_names);
        Config {
            workers: file.workers.map(|workers| workers.value as usize),
            listeners: listeners.into_iter().map(|(listener, _)| listener).collect(),
            routes,
            plugins,
            pools,
            admin: admin.map(|(admin, _)| admin),
            forwarded: file.forwarded.map(|forwarded| self.forwarded(&forwarded)).unwrap_or_default(),
            access_log: file.access_log.map(|log| self.access_log(&log)),
            cache_disk: file.cache.and_then(|cache| self.cache_disk(&cache.disk?.value)),
            log: file.log.map(|log| self.log(&log)).unwrap_or_default(),
            limits: file.limits.map(|limits| self.limits(&limits)).unwrap_or_default(),
            places: self.places,
            marks: self.report.places(|key| {
                ["workers", "admin", "log", "cache.disk"].contains(&key)
                    || [".address", ".tls", ".source"].iter().any(|end| key.ends_with(end))
            }),
            named: self.named,
            warnings: self.report.warnings(),
        }
    }

    /// Two listeners cannot share an address; but port 0 is another port for each.
    fn distinct_addresses(&mut self, listeners: &[(Listener, &At<file::Listener>)], admin: Option<&(Admin, Span)>) {
        let mut taken: HashMap<(IpAddr, u16), usize> = HashMap::new();
        let all = listeners.iter().map(|(listener, at)| (listener.address, &at.value.address.span));
        for (address, span) in all.chain(admin.map(|(admin, span)| (admin.address, span))) {
            if address.port() == 0 {
                continue;
            }
            let (line, _) = self.report.position(span.start);
            // An IPv4 address written as IPv6 is the IPv4 address.
            if let Some(before) = taken.insert((address.ip().to_canonical(), address.port()), line) {
                self.report.at(span, format!("{address} was given in line {before} already"));
            }
        }
    }

    fn forwarded(&mut self, forwarded: &file::Forwarded) -> Forwarded {
        let default = Forwarded::default();
        let via = forwarded.via.as_ref().and_then(|via| {
            self.text(via, |via| {
                // RFC 9110 section 7.6.3: a pseudonym is a token, or it is a host with or without a port.
                let right = via.is_empty() || is_token(via.as_bytes()) || value::authority(via).is_ok();
                right.then(|| via.to_owned()).ok_or("takes one word or a host, or \"\" to send none".into())
            })
        });
        let request_id = match &forwarded.request_id {
            Some(name) if name.value.is_empty() => None,
            Some(name) => self.own_header(name),
            None => default.request_id,
        };
        Forwarded {
            trusted: self.texts(forwarded.trusted.as_deref().unwrap_or_default(), value::network),
            x_forwarded: forwarded.x_forwarded.unwrap_or(default.x_forwarded),
            forwarded: forwarded.forwarded.unwrap_or(default.forwarded),
            via: via.unwrap_or(default.via),
            request_id,
        }
    }

    fn access_log(&mut self, log: &file::AccessLog) -> AccessLog {
        let output = log.output.as_ref().filter(|output| output.value != "stdout");
        let file = output.and_then(|output| self.path(&output.value, &output.span));
        self.named.extend(file.clone().map(Named::AccessLog));
        AccessLog { file, format: log.format.unwrap_or(AccessLogFormat::Json) }
    }

    fn log(&mut self, log: &file::Log) -> Log {
        let default = Log::default();
        Log {
            level: log.level.as_ref().and_then(|level| self.text(level, value::log_filter)).unwrap_or(default.level),
            json: log.format.map_or(default.json, |format| format == LogFormat::Json),
        }
    }

    fn timeouts(&mut self, timeouts: Option<&At<file::Timeouts>>) -> Timeouts {
        let Some(At { value: timeouts, .. }) = timeouts else { return Timeouts::default() };
        Timeouts {
            connect: self.time(timeouts.connect.as_ref()),
            first_byte: self.time(timeouts.first_byte.as_ref()),
            idle_body: self.time(timeouts.idle_body.as_ref()),
            request: self.time(timeouts.request.as_ref()),
            queue: self.time(timeouts.queue.as_ref()),
        }
    }

    /// A time that is not 0.
    fn time(&mut self, time: Option<&At<Time>>) -> Option<Duration> {
        let At { value: Time(text), span } = time?;
        let read = match value::duration(text) {
            Ok(Duration::ZERO) => Err("takes a time above 0".into()),
            other => other,
        };
        self.read(span, read)
    }

    /// A header that the gateway writes itself.
    fn own_header(&mut self, name: &At<String>) -> Option<FieldName> {
        self.text(name, |text| match value::field_name(text)? {
            name if value::is_connection_field(&name) || name.text() == "host" => {
                Err(format!("{text:?} has a meaning of its own and cannot carry this"))
            }
            name => Ok(name),
        })
    }

    fn certificates(&mut self, files: &[file::CertificateFiles]) -> Vec<CertificateFiles> {
        let mut read = |files: &file::CertificateFiles| {
            let certificate = self.path(&files.certificate.value, &files.certificate.span);
            let key = self.path(&files.key.value, &files.key.span);
            self.pair(certificate, key)
        };
        files.iter().filter_map(&mut read).collect()
    }

    fn pair(&mut self, certificate: Option<PathBuf>, key: Option<PathBuf>) -> Option<CertificateFiles> {
        let pair = CertificateFiles { certificate: certificate?, key: key? };
        self.named.push(Named::Pair(pair.clone()));
        Some(pair)
    }

    /// The path of a file with certificates of authorities.
    fn authorities(&mut self, at: &At<String>) -> Option<PathBuf> {
        let path = self.path(&at.value, &at.span)?;
        self.named.push(Named::Authorities(path.clone()));
        Some(path)
    }

    /// The path of a file or folder, from the folder of the configuration.
    fn path(&mut self, text: &str, span: &Span) -> Option<PathBuf> {
        if text.is_empty() || text.contains('\0') {
            self.report.at(span, "takes a path");
            return None;
        }
        let path = self.base.join(text);
        self.places.push((path.clone(), self.report.place(span)));
        Some(path)
    }

    /// Reads a text, or reports why not.
    fn text<T>(&mut self, at: &At<String>, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let read = read(&at.value);
        self.read(&at.span, read)
    }

    /// Reads each of the texts.
    fn texts<T>(&mut self, texts: &[At<String>], read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        texts.iter().filter_map(|at| self.text(at, &read)).collect()
    }

    fn read<T>(&mut self, span: &Span, read: Result<T, String>) -> Option<T> {
        read.map_err(|message| self.report.at(span, message)).ok()
    }
}

#[cfg(test)]
mod tests;
