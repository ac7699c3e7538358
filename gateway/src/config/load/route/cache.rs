//! `[route.cache]`: which responses are kept, for how long, and under what.

use http::StatusCode;

use super::{At, Either, Reader, file, value};
use crate::config::file::Size;
use crate::config::model::{Cache, CacheBypass, CacheQuery};
use crate::http::fields::is_token;

impl Reader<'_, '_> {
    pub(super) fn cache(&mut self, at: &At<Either<bool, file::Cache>>) -> Option<Cache> {
        let table = match &at.value {
            Either::Short(false) => return None,
            Either::Short(true) => return Some(Cache::default()),
            Either::Long(table) => table,
        };
        let usual = Cache::default();
        let size_most = table.size_most.as_ref().and_then(|size| match &size.value {
            Size::Bytes(bytes) => Some(*bytes),
            Size::Text(text) => self.read(&size.span, value::size(text)),
        });
        let query = table.query.as_ref().map(|query| CacheQuery {
            keep: query.keep.clone(),
            drop: query.drop.clone().unwrap_or_default(),
            sort: query.sort.unwrap_or(false),
        });
        let bypass = table.bypass.as_ref().map(|bypass| CacheBypass {
            headers: self.values(bypass.header.as_ref(), value::field_name),
            cookies: self.values(bypass.cookie.as_ref(), cookie_name),
        });
        let statuses = table.status.iter().flatten();
        if table.authorization == Some(true) {
            let text = "with \"authorization\" clients get responses that others were authorised for";
            self.report.warn(&at.span, text);
        }
        Some(Cache {
            ttl: self.time(table.ttl.as_ref()),
            ttl_most: self.time(table.ttl_most.as_ref()),
            statuses: statuses.filter_map(|status| StatusCode::from_u16(*status).ok()).collect(),
            size_most: size_most.unwrap_or(usual.size_most),
            stale_while_revalidate: self.time(table.stale_while_revalidate.as_ref()).unwrap_or_default(),
            stale_if_error: self.time(table.stale_if_error.as_ref()).unwrap_or_default(),
            stale_if_unreachable: self.time(table.stale_if_unreachable.as_ref()).unwrap_or(usual.stale_if_unreachable),
            set_cookie: table.set_cookie.unwrap_or(false),
            authorization: table.authorization.unwrap_or(false),
            obey_clients: table.obey_clients.unwrap_or(true),
            query: query.unwrap_or_default(),
            headers: self.texts(table.header.as_deref().unwrap_or_default(), value::field_name),
            cookies: self.texts(table.cookie.as_deref().unwrap_or_default(), cookie_name),
            bypass: bypass.unwrap_or_default(),
        })
    }
}

fn cookie_name(name: &str) -> Result<String, String> {
    match is_token(name.as_bytes()) {
        true => Ok(name.to_owned()),
        false => Err("takes the name of a cookie".into()),
    }
}
