//! Whether a response may be kept (RFC 9111 section 3), and what of it.
//!
//! In: a request and the head of its response. Out: yes, or the reason why not.

use super::advice::Advice;
use super::directives::{RequestDirectives, ResponseDirectives};
use super::freshness::{is_heuristic, moment};
use super::rules::Rules;
use super::vary;
use crate::http::{FieldName, Fields, Method, Name, StatusCode, name};

/// Why a response is not kept. The words are those of logs, metrics and Cache-Status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotKept {
    /// Not a GET (section 3: other methods are not understood here).
    Method,
    /// A status that this cache does not keep.
    Status,
    /// The client forbids it (section 5.2.1.5).
    RequestNoStore,
    /// The response forbids it (section 5.2.2.5).
    NoStore,
    /// It is for one user (section 5.2.2.7).
    Private,
    /// The request was authorised, and the response does not say that it is for all (section 3.5).
    Authorization,
    /// It sets a cookie, which is mostly meant for one user.
    SetCookie,
    /// It varies by everything (section 4.1).
    Vary,
    /// Nothing says for how long, nor can it be asked for again with a condition.
    Nothing,
    /// It is larger than the route allows.
    Size,
    /// Bodies that come at the same time leave no room for it.
    Room,
    /// A plugin forbids it.
    Plugin,
}

impl NotKept {
    /// In logs, metrics and Cache-Status.
    pub fn word(self) -> &'static str {
        match self {
            NotKept::Method => "method",
            NotKept::Status => "status",
            NotKept::RequestNoStore => "request-no-store",
            NotKept::NoStore => "no-store",
            NotKept::Private => "private",
            NotKept::Authorization => "authorization",
            NotKept::SetCookie => "set-cookie",
            NotKept::Vary => "vary",
            NotKept::Nothing => "no-lifetime",
            NotKept::Size => "too-large",
            NotKept::Room => "no-room",
            NotKept::Plugin => "plugin",
        }
    }
}

/// What was asked, as far as keeping the answer depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a Method,
    /// The fields as the origin got them.
    pub fields: &'a Fields,
    /// What it demands of caches.
    pub directives: &'a RequestDirectives,
    /// What plugins say of keeping the answer.
    pub advice: &'a Advice,
}

/// Section 3, condition by condition.
pub fn may_keep(
    asked: Asked<'_>,
    status: StatusCode,
    fields: &Fields,
    directives: &ResponseDirectives,
    rules: &Rules,
) -> Result<(), NotKept> {
    if *asked.method != Method::GET {
        return Err(NotKept::Method);
    }
    let is_wanted = rules.statuses.is_empty() || rules.statuses.contains(&status);
    if !is_wanted || !is_final(status) || (answers_conditions(status) && has_conditions(asked.fields)) {
        return Err(NotKept::Status);
    }
    if asked.advice.no_store {
        return Err(NotKept::Plugin);
    }
    if asked.directives.no_store && rules.obey_clients {
        return Err(NotKept::RequestNoStore);
    }
    // Section 5.2.2.3: whoever understands the status passes no-store over.
    if directives.must_understand && !is_understood(status) {
        return Err(NotKept::Status);
    }
    if directives.no_store && !directives.must_understand {
        return Err(NotKept::NoStore);
    }
    if directives.private.is_whole() {
        return Err(NotKept::Private);
    }
    let for_all = directives.public || directives.must_revalidate || directives.s_maxage.is_some();
    if asked.fields.contains(name::AUTHORIZATION) && !(for_all || rules.with_authorization) {
        return Err(NotKept::Authorization);
    }
    let names_cookie = |names: &[FieldName]| names.iter().any(|one| one.text() == name::SET_COOKIE.text());
    let cookie_is_apart = names_cookie(directives.private.fields()) || names_cookie(directives.no_cache.fields());
    if fields.contains(name::SET_COOKIE) && !(rules.with_cookies || cookie_is_apart) {
        return Err(NotKept::SetCookie);
    }
    if vary::names(fields).is_none() {
        return Err(NotKept::Vary);
    }
    let explicit = directives.public
        || directives.s_maxage.is_some()
        || directives.max_age.is_some()
        || (!directives.targeted && fields.contains(name::EXPIRES))
        || rules.default.is_some()
        || asked.advice.ttl.is_some();
    // What is neither fresh for a moment nor can be asked for again is of no use.
    let can_be_asked_for = fields.contains(name::ETAG) || fields.contains(name::LAST_MODIFIED);
    if !(explicit || (is_heuristic(status) && can_be_asked_for)) {
        return Err(NotKept::Nothing);
    }
    Ok(())
}

/// Final, and whole: 206 and 304 are parts of something (section 3).
fn is_final(status: StatusCode) -> bool {
    status.as_u16() >= 200 && !matches!(status.as_u16(), 206 | 304)
}

/// Statuses that say something of a condition or range, where there was one.
fn answers_conditions(status: StatusCode) -> bool {
    matches!(status.as_u16(), 412 | 416)
}

fn has_conditions(fields: &Fields) -> bool {
    [name::RANGE, name::IF_MATCH, name::IF_NONE_MATCH, name::IF_MODIFIED_SINCE, name::IF_UNMODIFIED_SINCE]
        .into_iter()
        .any(|field| fields.contains(field))
}

/// Section 5.2.2.3: statuses whose meaning for caches is known, which is that they have none beyond what is said.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205 | 207 | 208 | 226 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421..=426 | 428 | 429 | 431 | 451
            | 500..=508 | 510 | 511
    )
}

/// The fields that are kept: all but those that are for one connection or one user (section 3.1). A cookie is for one, also where
/// it may be given again once the origin was asked.
pub fn kept_fields(fields: &Fields, directives: &ResponseDirectives, rules: &Rules) -> Fields {
    let mut kept = fields.clone();
    kept.retain(|name, _| {
        let text = name.text();
        !NEVER_KEPT.contains(&text)
            && !directives.private.fields().iter().any(|one| one.text() == text)
            && (rules.with_cookies || text != name::SET_COOKIE.text())
    });
    kept
}

/// Section 3.1: proxies' own, and what is made anew each time.
const NEVER_KEPT: &[&str] = &["proxy-authenticate", "proxy-authentication-info", "proxy-authorization", "age"];

/// Section 3.2: what a 304 or the answer to a HEAD says of a kept response replaces what was known, but for what the kept
/// body decides.
pub fn freshen(kept: &mut Fields, news: &Fields, rules: &Rules) {
    let is_replaced = |name: Name<'_>| {
        let is_cookie = name.text() == name::SET_COOKIE.text();
        !FIXED.contains(&name.text()) && !NEVER_KEPT.contains(&name.text()) && (rules.with_cookies || !is_cookie)
    };
    for (name, _) in news.iter().filter(|(name, _)| is_replaced(*name)) {
        kept.remove(name);
    }
    for (name, value) in news.iter().filter(|(name, _)| is_replaced(*name)) {
        // It was a field before, so it is one.
        let _ = kept.append(name, value);
    }
}

/// Section 4.3.4: whether a 304 is about what is kept. One that names another version is about something else.
pub fn is_about(kept: &Fields, news: &Fields) -> bool {
    fn opaque(tag: &[u8]) -> &[u8] {
        tag.strip_prefix(b"W/").unwrap_or(tag)
    }
    let differs = |field| matches!((news.value(field), kept.value(field)), (Some(new), Some(old)) if new != old);
    match (news.value(name::ETAG), kept.value(name::ETAG)) {
        (None, Some(_)) => true,
        (None, None) => !differs(name::LAST_MODIFIED),
        (Some(new), Some(old)) => opaque(new) == opaque(old),
        (Some(_), None) => {
            news.value(name::LAST_MODIFIED).is_some_and(|at| kept.value(name::LAST_MODIFIED) == Some(at))
        }
    }
}

/// RFC 9110 section 8.8.1: what tells a version from every other, so that parts of it can be put together and asked for. `now` is
/// when it came.
pub fn strong(fields: &Fields, now: u64) -> Option<&[u8]> {
    if let Some(tag) = fields.value(name::ETAG) {
        return Some(tag).filter(|tag| tag.starts_with(b"\""));
    }
    // Section 8.8.2.2: what has not changed for a minute when it was sent.
    let (modified, date) = (moment(fields, name::LAST_MODIFIED, now)?, moment(fields, name::DATE, now).unwrap_or(now));
    fields.value(name::LAST_MODIFIED).filter(|_| modified.saturating_add(60) <= date)
}

/// What belongs to the body that is kept (section 3.2).
const FIXED: &[&str] = &["content-encoding", "content-length", "content-range", "etag", "transfer-encoding"];

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        list.iter().for_each(|(name, value)| fields.append(*name, value.as_bytes()).unwrap());
        fields
    }

    fn kept(request: &[(&str, &str)], status: u16, response: &[(&str, &str)], rules: &Rules) -> Result<(), NotKept> {
        advised(request, status, response, rules, Advice::NONE)
    }

    fn advised(
        request: &[(&str, &str)],
        status: u16,
        response: &[(&str, &str)],
        rules: &Rules,
        advice: &Advice,
    ) -> Result<(), NotKept> {
        let (request, response) = (fields(request), fields(response));
        let directives = RequestDirectives::of(&request);
        let asked = Asked { method: &Method::GET, fields: &request, directives: &directives, advice };
        may_keep(asked, StatusCode::from_u16(status).unwrap(), &response, &ResponseDirectives::of(&response), rules)
    }

    #[test]
    fn what_forbids_it_is_told() {
        let plain = Rules::default();
        let auth = ("authorization", "Basic eA==");
        let cc = |text| ("cache-control", text);
        let cookie = ("set-cookie", "a=b");
        type Row<'a> = (&'a [(&'a str, &'a str)], u16, &'a [(&'a str, &'a str)], Result<(), NotKept>);
        let rows: &[Row<'_>] = &[
            (&[], 200, &[cc("max-age=1")], Ok(())),
            (&[], 200, &[], Err(NotKept::Nothing)),
            (&[], 200, &[("etag", "\"a\"")], Ok(())),
            (&[], 299, &[cc("max-age=1")], Ok(())),
            (&[], 299, &[cc("no-store, must-understand, max-age=1")], Err(NotKept::Status)),
            (&[], 416, &[cc("max-age=1")], Ok(())),
            (&[("range", "bytes=9-")], 416, &[cc("max-age=1")], Err(NotKept::Status)),
            (&[], 201, &[], Err(NotKept::Nothing)),
            (&[], 201, &[cc("max-age=1")], Ok(())),
            (&[], 599, &[("expires", "0")], Ok(())),
            (&[], 206, &[cc("max-age=1")], Err(NotKept::Status)),
            (&[], 304, &[cc("max-age=1")], Err(NotKept::Status)),
            (&[], 200, &[cc("no-store")], Err(NotKept::NoStore)),
            (&[], 200, &[cc("no-store, must-understand, max-age=1")], Ok(())),
            (&[cc("no-store")], 200, &[cc("max-age=1")], Err(NotKept::RequestNoStore)),
            (&[], 200, &[cc("private, max-age=1")], Err(NotKept::Private)),
            (&[], 200, &[cc("private=\"x\", max-age=1")], Ok(())),
            (&[auth], 200, &[cc("max-age=1")], Err(NotKept::Authorization)),
            (&[auth], 200, &[cc("max-age=1, public")], Ok(())),
            (&[auth], 200, &[cc("s-maxage=1")], Ok(())),
            (&[auth], 200, &[cc("max-age=1, must-revalidate")], Ok(())),
            (&[], 200, &[cc("max-age=1"), cookie], Err(NotKept::SetCookie)),
            (&[], 200, &[cc("max-age=1, no-cache=\"set-cookie\""), cookie], Ok(())),
            (&[], 200, &[cc("max-age=1"), ("vary", "a, *")], Err(NotKept::Vary)),
        ];
        for (request, status, response, expected) in rows {
            assert_eq!(kept(request, *status, response, &plain), *expected, "{request:?} {status} {response:?}");
        }
        let cookies = Rules { with_cookies: true, ..Rules::default() };
        assert_eq!(kept(&[], 200, &[cc("max-age=1"), cookie], &cookies), Ok(()));
        let only = Rules { statuses: vec![StatusCode::OK], default: Some(5), ..Rules::default() };
        assert_eq!(kept(&[], 404, &[cc("max-age=1")], &only), Err(NotKept::Status));
        assert_eq!(kept(&[], 200, &[], &only), Ok(()));
    }

    #[test]
    fn a_plugin_may_forbid_it_and_give_it_a_lifetime_but_not_allow_it() {
        let rules = Rules::default();
        let never = Advice { no_store: true, ..Advice::default() };
        assert_eq!(advised(&[], 200, &[("cache-control", "max-age=9")], &rules, &never), Err(NotKept::Plugin));
        let long = Advice { ttl: Some(60), ..Advice::default() };
        assert_eq!(advised(&[], 201, &[], &rules, &long), Ok(()));
        for (request, response, why) in [
            (&[][..], &[("cache-control", "no-store")][..], NotKept::NoStore),
            (&[], &[("cache-control", "private")], NotKept::Private),
            (&[], &[("set-cookie", "a=b")], NotKept::SetCookie),
            (&[], &[("vary", "*")], NotKept::Vary),
            (&[("authorization", "Basic eA==")], &[("cache-control", "max-age=1")], NotKept::Authorization),
        ] {
            assert_eq!(advised(request, 200, response, &rules, &long), Err(why), "{response:?}");
        }
    }

    #[test]
    fn news_replace_what_the_body_does_not_decide() {
        let mut stored = fields(&[("etag", "\"a\""), ("content-encoding", "br"), ("x", "1"), ("x", "2"), ("y", "3")]);
        let news = [("content-encoding", "gzip"), ("x", "4"), ("z", "5"), ("age", "6"), ("set-cookie", "a=b")];
        let news = fields(&news);
        freshen(&mut stored, &news, &Rules::default());
        let list: Vec<_> =
            stored.iter().map(|(name, value)| (name.text(), String::from_utf8_lossy(value).into_owned())).collect();
        let expected = [("etag", "\"a\""), ("content-encoding", "br"), ("y", "3"), ("x", "4"), ("z", "5")];
        assert_eq!(list, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn news_of_another_version_are_told_apart() {
        let about = |kept: (&str, &str), news: &[(&str, &str)]| is_about(&fields(&[kept]), &fields(news));
        assert!(about(("etag", "\"a\""), &[]) && about(("etag", "\"a\""), &[("etag", "W/\"a\"")]));
        assert!(!about(("etag", "\"a\""), &[("etag", "\"b\"")]));
        assert!(!about(("last-modified", "x"), &[("etag", "\"b\"")]));
        assert!(about(("last-modified", "x"), &[]) && !about(("last-modified", "x"), &[("last-modified", "y")]));
        assert!(about(("etag", "\"a\""), &[("last-modified", "y")]));
        assert!(about(("last-modified", "x"), &[("etag", "\"b\""), ("last-modified", "x")]));
    }

    #[test]
    fn what_may_change_within_a_second_is_not_strong() {
        let (at, same, later) =
            ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:36 GMT", "Sun, 06 Nov 1994 08:50:37 GMT");
        for (list, expected) in [
            (vec![("etag", "\"a\"")], Some("\"a\"")),
            (vec![("etag", "W/\"a\""), ("last-modified", at), ("date", later)], None),
            (vec![("etag", "a")], None),
            (vec![("last-modified", at), ("date", later)], Some(at)),
            (vec![("last-modified", at), ("date", same)], None),
            (vec![("last-modified", at)], None),
            (vec![], None),
        ] {
            assert_eq!(strong(&fields(&list), 0), expected.map(str::as_bytes), "{list:?}");
        }
    }

    #[test]
    fn what_is_for_one_user_is_left_out() {
        let response = fields(&[("cache-control", "private=\"x-user\""), ("x-user", "1"), ("age", "3"), ("x", "2")]);
        let kept = kept_fields(&response, &ResponseDirectives::of(&response), &Rules::default());
        assert!(kept.contains("x") && !kept.contains("x-user") && !kept.contains("age"));
    }
}
