//! How long a response is fresh, and how old it is (RFC 9111 section 4.2).
//!
//! In: a response's fields, when it was asked for and received. Out: seconds. All moments are Unix seconds.

use super::directives::{FOREVER, ResponseDirectives, delta_seconds};
use super::moment;
use super::rules::Rules;
use crate::http::{Fields, Known, StatusCode, name};

/// When a response was asked for and received, in Unix seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// The request went out.
    pub requested: u64,
    /// The head of the response was there.
    pub received: u64,
}

/// Why a response is fresh for as long as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Basis {
    /// It says so.
    Explicit,
    /// It was last changed long ago (section 4.2.2).
    Heuristic,
    /// The route says so.
    Default,
    /// Nothing says so.
    Nothing,
}

/// Section 4.2.1: the first of `s-maxage`, `max-age`, `Expires` less `Date`, a heuristic, the route's default. The route's
/// bounds are put on what comes of it.
pub fn lifetime(
    status: StatusCode,
    fields: &Fields,
    directives: &ResponseDirectives,
    times: Times,
    rules: &Rules,
) -> (u64, Basis) {
    let (seconds, basis) = unbounded(status, fields, directives, times, rules);
    let bounded = match basis {
        Basis::Nothing => seconds,
        _ => seconds.clamp(0, rules.longest.unwrap_or(FOREVER)),
    };
    (bounded, basis)
}

/// What a plugin says instead of all that, from the receipt on: as old as it was then, it stays fresh for so long. The route's longest
/// time bounds it.
pub fn advised(ttl: Option<u64>, initial_age: u64, rules: &Rules) -> Option<(u64, Basis)> {
    let ttl = ttl?.min(rules.longest.unwrap_or(FOREVER));
    Some((ttl.saturating_add(initial_age).min(FOREVER), Basis::Explicit))
}

fn unbounded(
    status: StatusCode,
    fields: &Fields,
    directives: &ResponseDirectives,
    times: Times,
    rules: &Rules,
) -> (u64, Basis) {
    if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
        return (seconds, Basis::Explicit);
    }
    let date = date(fields, times);
    // Section 5.3: what is no date, "0" above all, has passed. Of several lines the first that has passed counts.
    if !directives.targeted && fields.contains(name::EXPIRES) {
        let several = fields.values(name::EXPIRES).count() > 1;
        let expires = moment(fields, name::EXPIRES, times.received).filter(|_| !several);
        return (expires.unwrap_or(0).saturating_sub(date).min(FOREVER), Basis::Explicit);
    }
    if let Some(seconds) = rules.default {
        return (seconds, Basis::Default);
    }
    // Section 4.2.2: only where nothing is said, and only for statuses that are defined as cacheable, or `public`.
    if (is_heuristic(status) || directives.public)
        && let Some(modified) = moment(fields, name::LAST_MODIFIED, times.received)
        && modified < date
    {
        return (((date - modified) / 10).min(rules.longest_guess), Basis::Heuristic);
    }
    (0, Basis::Nothing)
}

/// Section 4.2.3, at the moment of receipt.
pub fn initial_age(fields: &Fields, times: Times) -> u64 {
    let apparent = times.received.saturating_sub(date(fields, times));
    let delay = times.received.saturating_sub(times.requested);
    apparent.max(age_value(fields).saturating_add(delay)).min(FOREVER)
}

/// Section 4.2.3.
pub fn current_age(initial: u64, times: Times, now: u64) -> u64 {
    initial.saturating_add(now.saturating_sub(times.received)).min(FOREVER)
}

/// Section 5.1: the first member of the first line; what is no number is as if it were not there.
fn age_value(fields: &Fields) -> u64 {
    fields.members(name::AGE).next().and_then(delta_seconds).unwrap_or(0)
}

/// RFC 9110 section 6.6.1: a response without a date is as old as its receipt.
fn date(fields: &Fields, times: Times) -> u64 {
    moment(fields, name::DATE, times.received).unwrap_or(times.received)
}

/// A date in any of its forms; `now` tells the century where it has none.
pub fn moment(fields: &Fields, field: Known, now: u64) -> Option<u64> {
    moment::read(fields.value(field)?, now)
}

/// RFC 9110 section 15.1: the statuses that may be kept without anything being said.
pub fn is_heuristic(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000_000;
    const TIMES: Times = Times { requested: NOW, received: NOW };

    fn date(second: u64) -> String {
        httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(second))
    }

    fn fields(list: &[(&str, String)]) -> Fields {
        let mut fields = Fields::new();
        list.iter().for_each(|(name, value)| fields.append(*name, value.as_bytes()).unwrap());
        fields
    }

    fn lives(status: u16, list: &[(&str, String)], rules: &Rules) -> (u64, Basis) {
        let fields = fields(list);
        lifetime(StatusCode::from_u16(status).unwrap(), &fields, &ResponseDirectives::of(&fields), TIMES, rules)
    }

    #[test]
    fn what_is_said_most_to_us_counts() {
        let plain = Rules::default();
        let (said, cache) =
            (|text: &str| ("cache-control", text.to_owned()), |text: &str| ("cdn-cache-control", text.to_owned()));
        let expires = |second| ("expires", date(second));
        let dated = |second| ("date", date(second));
        use Basis::{Explicit, Heuristic, Nothing};
        for (list, expected) in [
            (vec![said("max-age=10, s-maxage=20"), expires(NOW + 30)], (20, Explicit)),
            (vec![said("max-age=10"), expires(NOW + 30)], (10, Explicit)),
            (vec![cache("max-age=5"), said("s-maxage=20")], (5, Explicit)),
            (vec![cache("no-cache"), expires(NOW + 30)], (0, Nothing)),
            (vec![dated(NOW - 5), expires(NOW + 30)], (35, Explicit)),
            (vec![expires(NOW + 30)], (30, Explicit)),
            (vec![dated(NOW), expires(NOW - 30)], (0, Explicit)),
            (vec![("expires", "0".to_owned())], (0, Explicit)),
            (vec![expires(NOW + 30), expires(NOW + 30)], (0, Explicit)),
            (vec![("last-modified", date(NOW - 1000)), dated(NOW)], (100, Heuristic)),
            (vec![("last-modified", date(NOW + 1000)), dated(NOW)], (0, Nothing)),
            (vec![("last-modified", date(0)), dated(NOW)], (plain.longest_guess, Heuristic)),
            (vec![], (0, Nothing)),
        ] {
            assert_eq!(lives(200, &list, &plain), expected, "{list:?}");
        }
        let old = [("last-modified", date(NOW - 1000))];
        assert_eq!(lives(503, &old, &plain), (0, Nothing));
        assert_eq!(lives(503, &[("last-modified", date(NOW - 1000)), said("public")], &plain), (100, Heuristic));
        let bounded = Rules { default: Some(60), longest: Some(30), ..Rules::default() };
        assert_eq!(lives(503, &old, &bounded), (30, Basis::Default));
        assert_eq!(lives(200, &[said("max-age=99")], &bounded), (30, Explicit));
    }

    #[test]
    fn age_grows_from_what_others_say() {
        let of = |list: &[(&str, String)], requested| initial_age(&fields(list), Times { requested, received: NOW });
        let age = |text: &str| ("age", text.to_owned());
        assert_eq!(of(&[], NOW), 0);
        assert_eq!(of(&[("date", date(NOW - 7))], NOW), 7);
        assert_eq!(of(&[("date", date(NOW + 7))], NOW), 0);
        assert_eq!(of(&[("date", date(NOW - 7)), age("20")], NOW - 3), 23);
        assert_eq!(of(&[age("5, 9")], NOW), 5);
        assert_eq!(of(&[age("5"), age("9")], NOW), 5);
        for odd in ["-5", "5.5", "\"5\"", "x", ""] {
            assert_eq!(of(&[age(odd)], NOW), 0, "{odd}");
        }
        assert_eq!(of(&[age("99999999999999999999")], NOW), FOREVER);
        assert_eq!(current_age(5, TIMES, NOW + 10), 15);
        assert_eq!(current_age(5, TIMES, NOW - 10), 5);
    }
}
