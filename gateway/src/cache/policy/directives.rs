//! What the Cache-Control family of fields says (RFC 9111 section 5.2, RFC 5861, RFC 8246, RFC 9213).
//!
//! In: the lines of a field. Out: each directive once. A lifetime that cannot be read counts as none at all, which is the
//! careful side (section 4.2.1); a directive that is not known is passed over (section 5.2.3).

use crate::http::fields::list;
use crate::http::{FieldName, Fields, name};

use super::structured::{self, Bare};

/// What a request's Cache-Control says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RequestDirectives {
    /// Section 5.2.1.1, in seconds.
    pub max_age: Option<u64>,
    /// Section 5.2.1.2; `u64::MAX` without a number.
    pub max_stale: Option<u64>,
    /// Section 5.2.1.3.
    pub min_fresh: Option<u64>,
    /// Section 5.2.1.4; also Pragma where there is no Cache-Control (section 5.4).
    pub no_cache: bool,
    /// Section 5.2.1.5.
    pub no_store: bool,
    /// Section 5.2.1.6.
    pub no_transform: bool,
    /// Section 5.2.1.7.
    pub only_if_cached: bool,
    /// RFC 5861 section 4.
    pub stale_if_error: Option<u64>,
}

/// What a response says to this cache.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ResponseDirectives {
    /// Section 5.2.2.1, in seconds; 0 when it cannot be read.
    pub max_age: Option<u64>,
    /// Section 5.2.2.10; the same.
    pub s_maxage: Option<u64>,
    /// Section 5.2.2.2.
    pub must_revalidate: bool,
    /// Section 5.2.2.3.
    pub must_understand: bool,
    /// Section 5.2.2.4.
    pub no_cache: Qualified,
    /// Section 5.2.2.5.
    pub no_store: bool,
    /// Section 5.2.2.6.
    pub no_transform: bool,
    /// Section 5.2.2.7.
    pub private: Qualified,
    /// Section 5.2.2.8.
    pub proxy_revalidate: bool,
    /// Section 5.2.2.9.
    pub public: bool,
    /// RFC 8246.
    pub immutable: bool,
    /// RFC 5861 section 3.
    pub stale_while_revalidate: Option<u64>,
    /// RFC 5861 section 4.
    pub stale_if_error: Option<u64>,
    /// It was CDN-Cache-Control that said all this, so Expires does not count (RFC 9213 section 2.2).
    pub targeted: bool,
}

/// A directive that may be about some fields only.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Qualified {
    /// It is not there.
    #[default]
    No,
    /// It is about the whole response.
    Whole,
    /// It is about these fields.
    Fields(Vec<FieldName>),
}

/// Seconds that are as good as for ever (section 1.2.2).
pub const FOREVER: u64 = 1 << 31;

/// Section 1.2.2: digits and nothing else; what is too large is as large as can be.
pub fn delta_seconds(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        value
            .iter()
            .fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
            .min(FOREVER),
    )
}

impl RequestDirectives {
    /// Of a request.
    pub fn of(fields: &Fields) -> RequestDirectives {
        let mut found = RequestDirectives::default();
        for member in members(fields) {
            let (word, value) = split(member);
            // A number that cannot be read is taken for the strictest where it demands, and not there where it allows.
            let number = value.as_deref().and_then(delta_seconds);
            match &*word {
                b"max-age" => found.max_age = lower(found.max_age, number.unwrap_or(0)),
                b"max-stale" if value.is_none() => found.max_stale = Some(u64::MAX),
                b"max-stale" => found.max_stale = number.or(found.max_stale),
                b"min-fresh" => found.min_fresh = number.max(found.min_fresh),
                b"no-cache" => found.no_cache = true,
                b"no-store" => found.no_store = true,
                b"no-transform" => found.no_transform = true,
                b"only-if-cached" => found.only_if_cached = true,
                b"stale-if-error" => found.stale_if_error = number.or(found.stale_if_error),
                _ => {}
            }
        }
        if !fields.contains(name::CACHE_CONTROL) {
            let pragma = fields.members(name::PRAGMA).any(|member| member.eq_ignore_ascii_case(b"no-cache"));
            found.no_cache = pragma;
        }
        found
    }
}

impl ResponseDirectives {
    /// Of a response: CDN-Cache-Control if it is there and well-formed (RFC 9213 section 2.2), else Cache-Control.
    pub fn of(fields: &Fields) -> ResponseDirectives {
        if fields.contains(name::CDN_CACHE_CONTROL)
            && let Some(found) = ResponseDirectives::targeted(fields)
        {
            return found;
        }
        let mut found = ResponseDirectives::default();
        for member in members(fields) {
            let (word, value) = split(member);
            let number = value.as_deref().and_then(delta_seconds);
            found.take(&word, number, value.as_deref());
        }
        found
    }

    /// RFC 9213 section 2.1: a dictionary of structured fields; `None` when it is none, or empty.
    fn targeted(fields: &Fields) -> Option<ResponseDirectives> {
        let members = structured::dictionary(fields.values(name::CDN_CACHE_CONTROL))?;
        if members.is_empty() {
            return None;
        }
        let mut found = ResponseDirectives { targeted: true, ..ResponseDirectives::default() };
        for (word, value) in &members {
            match value {
                // `?0` takes a directive back.
                Bare::Boolean(false) => {}
                Bare::Boolean(true) => found.take(word.as_bytes(), None, None),
                Bare::Integer(number) => {
                    let number = u64::try_from(*number).ok().map(|number| number.min(FOREVER));
                    found.take(word.as_bytes(), number, Some(b""));
                }
                Bare::String(text) => found.take(word.as_bytes(), None, Some(text.as_bytes())),
                Bare::Other => found.take(word.as_bytes(), None, Some(b"")),
            }
        }
        Some(found)
    }

    fn take(&mut self, word: &[u8], number: Option<u64>, value: Option<&[u8]>) {
        match word {
            // Section 4.2.1: of several the smallest, and what cannot be read is stale.
            b"max-age" => self.max_age = lower(self.max_age, number.unwrap_or(0)),
            b"s-maxage" => self.s_maxage = lower(self.s_maxage, number.unwrap_or(0)),
            b"must-revalidate" => self.must_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"no-cache" => self.no_cache.add(value),
            b"no-store" => self.no_store = true,
            b"no-transform" => self.no_transform = true,
            b"private" => self.private.add(value),
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"public" => self.public = true,
            b"immutable" => self.immutable = true,
            b"stale-while-revalidate" => self.stale_while_revalidate = lower_of(self.stale_while_revalidate, number),
            b"stale-if-error" => self.stale_if_error = lower_of(self.stale_if_error, number),
            _ => {}
        }
    }
}

impl Qualified {
    /// Sections 5.2.2.4 and 5.2.2.7. A list that names what can be no field is about everything.
    fn add(&mut self, value: Option<&[u8]>) {
        let names = value.filter(|value| !value.is_empty()).and_then(|value| {
            let names = list(value).map(|name| FieldName::new(&String::from_utf8_lossy(name).to_ascii_lowercase()));
            names.collect::<Result<Vec<_>, _>>().ok()
        });
        match (names, &mut *self) {
            (_, Qualified::Whole) => {}
            (Some(more), Qualified::Fields(names)) => names.extend(more),
            (Some(names), Qualified::No) => *self = Qualified::Fields(names),
            (None, _) => *self = Qualified::Whole,
        }
    }

    /// Whether it is about the whole response.
    pub fn is_whole(&self) -> bool {
        *self == Qualified::Whole
    }

    /// The fields that it is about, when it is about some only.
    pub fn fields(&self) -> &[FieldName] {
        match self {
            Qualified::Fields(names) => names,
            _ => &[],
        }
    }
}

fn lower(known: Option<u64>, number: u64) -> Option<u64> {
    Some(known.map_or(number, |known| known.min(number)))
}

fn lower_of(known: Option<u64>, number: Option<u64>) -> Option<u64> {
    match (known, number) {
        (Some(known), Some(number)) => Some(known.min(number)),
        (known, number) => known.or(number),
    }
}

/// The members of Cache-Control. A quote that is never closed hides no directive behind it: the comma separates then.
fn members(fields: &Fields) -> impl Iterator<Item = &[u8]> {
    fields.members(name::CACHE_CONTROL).flat_map(|member| {
        let is_open = is_open(member);
        let parts = member.split(move |&byte| is_open && byte == b',');
        parts.map(<[u8]>::trim_ascii).filter(|part| !part.is_empty())
    })
}

fn is_open(member: &[u8]) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for byte in member {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    quoted
}

/// A directive's name in lower case, and its value without quotes (section 5.2: recipients take both forms).
fn split(member: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut parts = member.splitn(2, |&byte| byte == b'=');
    let word = parts.next().unwrap_or_default().to_ascii_lowercase();
    (word, parts.next().map(unquoted))
}

/// RFC 9110 section 5.6.4. What is no whole quoted string is left as it is.
fn unquoted(value: &[u8]) -> Vec<u8> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")) else {
        return value.to_vec();
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &byte in inner {
        if byte == b'\\' && !escaped {
            escaped = true;
            continue;
        }
        escaped = false;
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(lines: &[&str]) -> ResponseDirectives {
        ResponseDirectives::of(&fields("cache-control", lines))
    }

    fn fields(name: &str, lines: &[&str]) -> Fields {
        let mut fields = Fields::new();
        lines.iter().for_each(|line| fields.append(name, line.as_bytes()).unwrap());
        fields
    }

    #[test]
    fn lifetimes_are_digits() {
        for (text, seconds) in [
            ("max-age=3600", 3600),
            ("MAX-AGE=3600", 3600),
            ("max-age=\"3600\"", 3600),
            ("max-age=003600", 3600),
            ("max-age=99999999999999999999999", FOREVER),
            ("max-age=3600a", 0),
            ("max-age=-1", 0),
            ("max-age=3600.0", 0),
            ("max-age='3600'", 0),
            ("max-age= 3600", 0),
            ("max-age=", 0),
            ("max-age", 0),
            ("max-age=3600, max-age=60", 60),
            ("x=\"max-age=1, a\", max-age=7", 7),
        ] {
            assert_eq!(of(&[text]).max_age, Some(seconds), "{text}");
        }
        assert_eq!(of(&["public", "max-age=5"]).max_age, Some(5));
        assert!(of(&["max-age=5, x=\"a, no-store"]).no_store && !of(&["max-age=5, x=\"a, no-store\""]).no_store);
        assert_eq!(of(&["extension=\"max-age=100\", max-age =5"]).max_age, None);
        assert_eq!(of(&["stale-while-revalidate=x"]).stale_while_revalidate, None);
    }

    #[test]
    fn directives_about_fields_are_told_apart() {
        assert!(of(&["no-cache"]).no_cache.is_whole());
        assert!(of(&["no-cache=\"x\", no-cache"]).no_cache.is_whole());
        assert!(of(&["private=\"a b\""]).private.is_whole());
        let found = of(&["no-cache=\"Set-Cookie, x-a\""]);
        let names: Vec<&str> = found.no_cache.fields().iter().map(FieldName::text).collect();
        assert_eq!(names, ["set-cookie", "x-a"]);
        assert!(!of(&["s-maxage=1"]).private.is_whole());
    }

    #[test]
    fn what_is_said_to_this_cache_goes_before_what_is_said_to_all() {
        let both = |targeted: &str| {
            let mut both = fields("cdn-cache-control", &[targeted]);
            both.append("cache-control", b"max-age=1").unwrap();
            let found = ResponseDirectives::of(&both);
            (found.targeted, found.max_age)
        };
        assert_eq!(both("max-age=10"), (true, Some(10)));
        assert_eq!(both("max-age=10, no-store"), (true, Some(10)));
        assert_eq!(both("max-age=\"10\""), (true, Some(0)));
        assert_eq!(both("no-store=?0, max-age=3"), (true, Some(3)));
        for malformed in ["", "max-age=10, &", "Max-Age=10", "max-age=", "max-age=10,"] {
            assert_eq!(both(malformed), (false, Some(1)), "{malformed}");
        }
    }

    #[test]
    fn requests_demand_the_strictest() {
        let of = |text: &str| RequestDirectives::of(&fields("cache-control", &[text]));
        assert_eq!(of("max-age=x").max_age, Some(0));
        assert_eq!(of("max-stale").max_stale, Some(u64::MAX));
        assert_eq!(of("max-stale=x").max_stale, None);
        assert_eq!(of("min-fresh=3, min-fresh=5").min_fresh, Some(5));
        assert!(RequestDirectives::of(&fields("pragma", &["no-cache"])).no_cache);
        let mut both = fields("pragma", &["no-cache"]);
        both.append("cache-control", b"max-age=5").unwrap();
        assert!(!RequestDirectives::of(&both).no_cache);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..4)) {
            for name in ["cache-control", "cdn-cache-control"] {
                let mut fields = Fields::new();
                for line in &lines {
                    let _ = fields.append(name, line);
                }
                let _ = (ResponseDirectives::of(&fields), RequestDirectives::of(&fields));
            }
        }

        /// Whatever else is said, what forbids is seen, and a lifetime is never longer for more being said.
        #[test]
        fn what_forbids_is_never_hidden(
            lines in prop::collection::vec("(max-age=[0-9]{0,3}|[a-c]=|[\"\\\\=, ]|private|no-store){0,6}", 0..4), at in 0usize..4,
        ) {
            let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
            let said = of(&lines);
            let mut more = lines;
            more.insert(at.min(more.len()), "No-Store, private, max-age=7");
            let strict = of(&more);
            prop_assert!(strict.no_store && strict.private.is_whole());
            prop_assert_eq!(strict.max_age, Some(said.max_age.map_or(7, |seconds| seconds.min(7))));
            let asked = RequestDirectives::of(&fields("cache-control", &more));
            prop_assert!(asked.no_store && asked.max_age.is_some_and(|seconds| seconds <= 7));
        }
    }
}
