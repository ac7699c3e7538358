//! The cache, for operators: `GET /cache` and `/cache/list`, `POST /cache/purge`.
//!
//! In: questions and orders. Out: JSON. Whatever looks at all that is kept does so on the blocking pool. A purge is in force for
//! all workers when it is answered. Limit: [`MOST`] entries in one list.

use serde_json::{Value, json};

use super::query::Query;
use super::{Answer, Desk};
use crate::cache::Entry;
use crate::cache::key;
use crate::cache::store::Purge;
use crate::clock;
use crate::http::{RequestHead, Scheme, StatusCode};

/// As many are listed.
const MOST: usize = 1000;

impl Desk {
    /// How much is kept.
    pub(super) async fn cache(&self) -> Answer {
        let (cache, most) = (self.shared.cache.clone(), self.shared.cache.capacity());
        match tokio::task::spawn_blocking(move || cache.size()).await {
            Ok((entries, bytes)) => {
                let body = json!({ "entries": entries, "bytes": bytes, "bytes_most": most, "coming": self.shared.cache.coming() });
                Answer::json(StatusCode::OK, &body)
            }
            Err(_) => stopping(),
        }
    }

    /// What is kept, whose URL begins like that or is that.
    pub(super) async fn cache_list(&self, request: &RequestHead) -> Answer {
        let query = match Query::of(request, &["prefix", "url"]) {
            Ok(query) => query,
            Err(problem) => return Answer::problem(StatusCode::BAD_REQUEST, &problem),
        };
        let (prefix, url) = (
            query.text("prefix").map(|begin| normal_begin(&begin)).unwrap_or_default(),
            query.text("url").map(|url| normal(&url)),
        );
        let cache = self.shared.cache.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let now = clock::second();
            let is_meant =
                |entry: &Entry| url.as_ref().is_none_or(|url| entry.url == *url) && entry.url.starts_with(&prefix);
            let with_fields = url.is_some();
            let meant = cache.entries().filter(|entry| is_meant(entry));
            let mut rows: Vec<_> =
                meant.take(MOST).map(|entry| (entry.url.clone(), row(&entry, now, with_fields))).collect();
            rows.sort_by(|(one, _), (other, _)| one.cmp(other));
            rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>()
        });
        match looking.await {
            Ok(rows) => Answer::json(StatusCode::OK, &json!({ "entries": rows })),
            Err(_) => stopping(),
        }
    }

    /// Throws away what is meant, or makes it stale.
    pub(super) async fn purge(&self, request: &RequestHead) -> Answer {
        let read = Query::of(request, &["url", "prefix", "tag", "all", "soft"]).and_then(|query| {
            let all = query.flag("all")?.then_some(Purge::Everything);
            let meant = [
                query.text("url").map(|url| Purge::Url(normal(&url))),
                query.text("prefix").filter(|begin| !begin.is_empty()).map(|begin| Purge::Prefix(normal_begin(&begin))),
                query.text("tag").map(Purge::Tag),
                all,
            ];
            let mut meant = meant.into_iter().flatten();
            match (meant.next(), meant.next()) {
                (Some(what), None) => Ok((what, query.flag("soft")?)),
                _ => Err("the query needs one of url=URL, prefix=URL, tag=TAG and all".to_owned()),
            }
        });
        let (what, softly) = match read {
            Ok(read) => read,
            Err(problem) => return Answer::problem(StatusCode::BAD_REQUEST, &problem),
        };
        let (cache, told) = (self.shared.cache.clone(), format!("{what:?}"));
        match tokio::task::spawn_blocking(move || cache.purge(&what, softly)).await {
            Ok(purged) => {
                tracing::info!(what = told, softly, purged, "purged the cache");
                Answer::json(StatusCode::OK, &json!({ "purged": purged, "soft": softly }))
            }
            Err(_) => stopping(),
        }
    }
}

fn stopping() -> Answer {
    Answer::text(StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping\n".into())
}

/// A URL as it stands in the cache.
fn normal(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
        Some((_, rest)) => (Scheme::Http, rest),
        None => return url.to_owned(),
    };
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(at).unwrap_or_default();
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    String::from_utf8_lossy(&key::url(scheme, authority, &target, &key::Query::default())).into_owned()
}

/// The same of the begin of a URL.
fn normal_begin(begin: &str) -> String {
    match begin.split_once("://") {
        Some((_, rest)) if rest.contains(['/', '?']) => normal(begin),
        // A host may go on.
        _ => begin.to_ascii_lowercase(),
    }
}

fn row(entry: &Entry, now: u64, with_fields: bool) -> Value {
    let mut row = json!({
        "url": entry.url,
        "status": entry.status.as_u16(),
        "bytes": entry.weight(),
        "age": entry.age(now),
        "ttl": entry.ttl(now),
        "stale": entry.kept(now).invalidated || entry.ttl(now) <= 0,
        "uses": entry.uses(),
        "tags": entry.tags,
        "vary": entry.vary.0,
        "key": entry.place.part.texts(),
    });
    if with_fields {
        let fields =
            entry.fields.iter().map(|(name, value)| format!("{}: {}", name.text(), String::from_utf8_lossy(value)));
        row["fields"] = fields.collect::<Vec<_>>().into();
    }
    row
}
