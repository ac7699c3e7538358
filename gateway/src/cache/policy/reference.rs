//! The policy against another one that is slow and obvious: each function says a section of RFC 9111 again, of directives that were
//! never text. What it is told is printed in some of the many ways that mean the same, and the policy has to read and decide alike.

use proptest::prelude::*;
use proptest::sample::select;

use super::advice::Advice;
use super::directives::{FOREVER, RequestDirectives, ResponseDirectives};
use super::freshness::{Basis, Times, current_age, initial_age, lifetime};
use super::reuse::{Course, Failures, Kept, Why, course};
use super::rules::Rules;
use super::storable::{Asked, may_keep};
use crate::http::{Fields, Method, StatusCode};

/// A directive with its argument.
type Directive = (&'static str, Option<&'static str>);

/// When the response came.
const NOW: u64 = 1_700_000_000;

/// A response, before anybody prints it. Dates are seconds from `NOW`.
#[derive(Clone, Debug)]
struct Response {
    status: u16,
    directives: Vec<Directive>,
    expires: Option<Result<i64, &'static str>>,
    date: Option<i64>,
    modified: Option<i64>,
    age: Option<Result<u64, &'static str>>,
    others: Vec<(&'static str, &'static str)>,
}

/// A request.
#[derive(Clone, Debug)]
struct Request {
    directives: Vec<Directive>,
    is_authorised: bool,
    has_range: bool,
}

fn responses() -> impl Strategy<Value = Response> {
    let number = || select(vec!["0", "1", "9", "10", "11", "60", "99999999999999999999", "-1", "x", "1.5", ""]);
    let directive = prop_oneof![
        4 => number().prop_map(|number| ("max-age", Some(number))),
        2 => number().prop_map(|number| ("s-maxage", Some(number))),
        2 => select(vec!["0", "5", "10"]).prop_map(|number| ("stale-while-revalidate", Some(number))),
        2 => select(vec!["0", "5", "10"]).prop_map(|number| ("stale-if-error", Some(number))),
        6 => select(vec![
            "must-revalidate", "proxy-revalidate", "public", "must-understand", "immutable", "no-transform", "no-store",
            "no-cache", "private", "max-age", "foo", "no-store2",
        ]).prop_map(|name| (name, None)),
        2 => select(vec!["no-cache", "private"]).prop_map(|name| (name, Some("x-a"))),
    ];
    let date = || prop::option::weighted(0.4, -200i64..200);
    (
        select(vec![200, 201, 203, 204, 206, 299, 302, 304, 404, 410, 412, 416, 500, 503, 599]),
        prop::collection::vec(directive, 0..4),
        prop::option::weighted(
            0.3,
            prop_oneof![(-100i64..100).prop_map(Ok), select(vec!["0", "", "soon"]).prop_map(Err)],
        ),
        date(),
        prop::option::weighted(0.4, -20_000_000i64..100),
        prop::option::weighted(0.4, prop_oneof![(0u64..30).prop_map(Ok), select(vec!["-5", "x", "1.5"]).prop_map(Err)]),
        prop::collection::vec(
            select(vec![("set-cookie", "a=b"), ("vary", "foo"), ("vary", "*"), ("etag", "\"a\"")]),
            0..2,
        ),
    )
        .prop_map(|(status, directives, expires, date, modified, age, others)| Response {
            status,
            directives,
            expires,
            date,
            modified,
            age,
            others,
        })
}

fn requests() -> impl Strategy<Value = Request> {
    let number = || select(vec!["0", "1", "5", "10", "60", "99999999999999999999"]);
    let directive = prop_oneof![
        number().prop_map(|number| ("max-age", Some(number))),
        number().prop_map(|number| ("min-fresh", Some(number))),
        select(vec!["no-cache", "no-store", "foo"]).prop_map(|name| (name, None)),
    ];
    let stale = prop_oneof![
        3 => Just(None),
        1 => Just(Some(("max-stale", None))),
        2 => number().prop_map(|number| Some(("max-stale", Some(number)))),
    ];
    let error = prop::option::weighted(0.3, number().prop_map(|number| ("stale-if-error", Some(number))));
    (prop::collection::vec(directive, 0..2), stale, error, prop::bool::weighted(0.2), prop::bool::weighted(0.2))
        .prop_map(|(mut directives, stale, error, is_authorised, has_range)| {
            directives.extend(stale.into_iter().chain(error));
            Request { directives, is_authorised, has_range }
        })
}

/// Prints directives: in lines, with spaces, empty members, quotes and capitals as `how` says.
fn print(fields: &mut Fields, directives: &[Directive], how: &[u8]) {
    let mut how = how.iter().copied().cycle();
    let mut turn = move || how.next().unwrap_or(0);
    let mut line = String::new();
    for (name, argument) in directives {
        if turn() % 3 == 0 {
            fields.append("cache-control", line.as_bytes()).unwrap();
            line.clear();
        }
        line += ["", " ", ",", "\t", ", ,"][usize::from(turn() % 5)];
        line += &if turn() % 2 == 0 { name.to_uppercase() } else { (*name).to_owned() };
        if let Some(argument) = argument {
            let quoted = turn() % 2 == 0 || argument.is_empty() || name.starts_with(['n', 'p']);
            line += &if quoted { format!("=\"{argument}\"") } else { format!("={argument}") };
        }
        line += [",", " ,", ", "][usize::from(turn() % 3)];
    }
    if !directives.is_empty() {
        fields.append("cache-control", line.as_bytes()).unwrap();
    }
}

fn date(offset: i64) -> String {
    let second = NOW.saturating_add_signed(offset);
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(second))
}

impl Response {
    fn printed(&self, how: &[u8]) -> Fields {
        let mut fields = Fields::new();
        print(&mut fields, &self.directives, how);
        let mut set = |name: &str, value: String| fields.append(name, value.as_bytes()).unwrap();
        if let Some(expires) = self.expires {
            set("expires", expires.map_or_else(str::to_owned, date));
        }
        self.date.into_iter().for_each(|at| set("date", date(at)));
        self.modified.into_iter().for_each(|at| set("last-modified", date(at)));
        if let Some(age) = self.age {
            set("age", age.map_or_else(str::to_owned, |age| age.to_string()));
        }
        self.others.iter().for_each(|(name, value)| set(name, (*value).to_owned()));
        fields
    }

    fn says(&self, name: &str) -> bool {
        self.directives.iter().any(|(known, argument)| *known == name && argument.is_none())
    }

    fn has(&self, name: &str) -> bool {
        self.directives.iter().any(|(known, _)| *known == name)
    }

    fn bears(&self, name: &str, value: &str) -> bool {
        self.others.contains(&(name, value))
    }

    /// Section 4.2.1: of several, either the first or stale; the smallest is one of both at any time. No number: stale.
    fn seconds(&self, name: &str) -> Option<u64> {
        let all = self.directives.iter().filter(|(known, _)| *known == name);
        all.map(|(_, argument)| seconds(argument.unwrap_or_default()).unwrap_or(0)).min()
    }

    /// Section 4.2.1.
    fn lifetime(&self, rules: &Rules) -> Option<u64> {
        if self.has("s-maxage") {
            return self.seconds("s-maxage");
        }
        if self.has("max-age") {
            return self.seconds("max-age");
        }
        // Section 5.3: no date is one in the past.
        let made = self.date.unwrap_or(0);
        if let Some(expires) = self.expires {
            return Some(expires.map_or(0, |expires| u64::try_from(expires - made).unwrap_or(0)));
        }
        // Section 4.2.2.
        let may_guess =
            [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501].contains(&self.status) || self.says("public");
        let since = u64::try_from(made - self.modified?).ok().filter(|since| *since > 0 && may_guess)?;
        Some((since / 10).min(rules.longest_guess))
    }

    /// Section 4.2.3.
    fn age(&self, after: u64) -> u64 {
        let apparent = u64::try_from(-self.date.unwrap_or(0)).unwrap_or(0);
        let said = match self.age {
            Some(Ok(age)) => age,
            _ => 0,
        };
        apparent.max(said) + after
    }

    /// Section 3, sentence by sentence.
    fn may_be_kept(&self, request: &Request) -> bool {
        let is_final = self.status >= 200;
        // A part is no answer by itself here, and 304 is none at all.
        let is_whole = self.status != 206 && self.status != 304;
        let is_about_the_request = [412, 416].contains(&self.status) && request.has_range;
        let is_understood = ![299, 599].contains(&self.status);
        let no_store = if self.says("must-understand") { !is_understood } else { self.says("no-store") };
        let is_for_one = self.says("private");
        let is_allowed =
            !request.is_authorised || self.says("must-revalidate") || self.says("public") || self.has("s-maxage");
        let says_something =
            self.says("public") || self.expires.is_some() || self.has("max-age") || self.has("s-maxage");
        let can_be_asked_for = self.modified.is_some() || self.bears("etag", "\"a\"");
        let is_heuristic = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501].contains(&self.status);
        // Not of the RFC: cookies are mostly for one user, and what neither lives nor can be asked for is of no use.
        let cookie = self.bears("set-cookie", "a=b");
        is_final
            && is_whole
            && !is_about_the_request
            && !no_store
            && !request.says("no-store")
            && !is_for_one
            && is_allowed
            && (says_something || (is_heuristic && can_be_asked_for))
            && !cookie
            && !self.bears("vary", "*")
    }

    /// Section 4.2.4.
    fn forbids_stale(&self) -> bool {
        self.says("no-cache") || self.says("must-revalidate") || self.says("proxy-revalidate")
    }

    /// Section 5.2.2.10, but for what the response says itself of being stale.
    fn forbids_stale_unsaid(&self) -> bool {
        self.forbids_stale() || self.has("s-maxage")
    }

    /// Section 4, the last three sentences of its list.
    fn may_be_given(&self, request: &Request, lifetime: u64, age: u64, is_changed: bool) -> bool {
        let is_fresh = lifetime > age;
        if self.says("no-cache") || is_changed || request.refuses(self, lifetime, age, is_changed) {
            return false;
        }
        let staleness = age.saturating_sub(lifetime);
        // Section 5.2.1.2.
        let takes_stale = request.directives.iter().any(|(name, argument)| {
            *name == "max-stale" && argument.and_then(seconds).is_none_or(|most| staleness <= most)
        });
        is_fresh || (takes_stale && !self.forbids_stale_unsaid())
    }
}

impl Request {
    fn printed(&self, how: &[u8]) -> Fields {
        let mut fields = Fields::new();
        print(&mut fields, &self.directives, how);
        if self.is_authorised {
            fields.append("authorization", b"x").unwrap();
        }
        if self.has_range {
            fields.append("range", b"bytes=0-").unwrap();
        }
        fields
    }

    fn says(&self, name: &str) -> bool {
        self.directives.iter().any(|(known, _)| *known == name)
    }

    /// Sections 5.2.1.1, 5.2.1.3 and 5.2.1.4, with RFC 8246: a reload is spared while it is fresh.
    fn refuses(&self, response: &Response, lifetime: u64, age: u64, is_changed: bool) -> bool {
        let is_spared = response.says("immutable") && !response.says("no-cache") && lifetime > age && !is_changed;
        self.directives.iter().any(|(name, argument)| match (*name, argument.and_then(seconds)) {
            ("no-cache", _) => true,
            ("max-age", Some(most)) => age > most && !is_spared,
            ("min-fresh", Some(least)) => lifetime < age + least,
            _ => false,
        })
    }
}

/// Section 1.2.2.
fn seconds(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.chars().all(|one| one.is_ascii_digit());
    is_number.then(|| text.parse::<u128>().map_or(FOREVER, |number| number.min(FOREVER.into()) as u64))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_may_be_kept_is_what_section_3_says(response in responses(), request in requests(), how: [u8; 7]) {
        let (fields, asked) = (response.printed(&how), request.printed(&how));
        let directives = RequestDirectives::of(&asked);
        let asked = Asked { method: &Method::GET, fields: &asked, directives: &directives, advice: Advice::NONE };
        let status = StatusCode::from_u16(response.status).unwrap();
        let found = may_keep(asked, status, &fields, &ResponseDirectives::of(&fields), &Rules::default());
        prop_assert_eq!(found.is_ok(), response.may_be_kept(&request), "{:?} {:?}", found, fields);
    }

    #[test]
    fn lifetimes_and_ages_are_what_section_4_2_says(response in responses(), how: [u8; 7], delay in 0u64..5, after in 0u64..100) {
        let fields = response.printed(&how);
        let (rules, times) = (Rules::default(), Times { requested: NOW - delay, received: NOW });
        let status = StatusCode::from_u16(response.status).unwrap();
        let (found, basis) = lifetime(status, &fields, &ResponseDirectives::of(&fields), times, &rules);
        let expected = response.lifetime(&rules);
        prop_assert_eq!((found, basis == Basis::Nothing), (expected.unwrap_or(0), expected.is_none()), "{:?}", fields);
        let age = current_age(initial_age(&fields, times), times, NOW + after);
        // Section 4.2.3: what was said counts from when the response was asked for.
        let apparent = Response { age: None, ..response.clone() }.age(after);
        let said = Response { date: None, ..response.clone() }.age(after + delay);
        prop_assert_eq!(age, apparent.max(said), "{:?}", fields);
    }

    #[test]
    fn what_is_given_is_what_section_4_says(
        response in responses(), request in requests(), how: [u8; 7], age in 0u64..80, is_purged: bool, is_invalid: bool,
    ) {
        let (fields, asked) = (response.printed(&how), request.printed(&how));
        let rules = Rules { stale_if_unreachable: 7, ..Rules::default() };
        let lifetime = response.lifetime(&rules).unwrap_or(0);
        let directives = ResponseDirectives::of(&fields);
        let kept = Kept { directives: &directives, lifetime, age, invalidated: is_purged, invalid: is_invalid };
        let found = course(&kept, &RequestDirectives::of(&asked), &rules);
        let is_changed = is_purged || is_invalid;
        if response.may_be_given(&request, lifetime, age, is_changed) {
            prop_assert_eq!(found, Course::Serve, "{:?}", fields);
            return Ok(());
        }
        let refuses = request.refuses(&response, lifetime, age, is_changed);
        let staleness = age.saturating_sub(lifetime);
        let is_fresh = lifetime > age && !is_changed && !response.says("no-cache");
        let may_be_stale = !response.forbids_stale() && !is_invalid;
        // RFC 5861 section 3.
        let meanwhile = response.seconds("stale-while-revalidate").is_some_and(|most| staleness < most);
        if !refuses && may_be_stale && !is_purged && meanwhile {
            prop_assert_eq!(found, Course::ServeAndRenew, "{:?}", fields);
            return Ok(());
        }
        // RFC 5861 section 4; RFC 9111 section 4.2.4 for an origin that is silent.
        let said = request.directives.iter().find(|(name, _)| *name == "stale-if-error").and_then(|(_, most)| seconds((*most)?));
        let said = said.filter(|_| !response.forbids_stale_unsaid()).or(response.seconds("stale-if-error"));
        let may = |most: u64, is_said: bool| {
            (may_be_stale && (is_said || !response.forbids_stale_unsaid()) && staleness < most) || is_fresh
        };
        let may = |otherwise: u64| may(said.unwrap_or(otherwise), said.is_some());
        let mut after = Failures { silence: may(7), refusal: may(0) };
        if request.says("no-cache") {
            after = Failures::default();
        }
        let why = if refuses { Why::Request } else { Why::Stale };
        prop_assert_eq!(found, Course::Ask { after, why }, "{:?} {:?}", fields, asked);
    }
}
