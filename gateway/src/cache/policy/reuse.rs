//! What is done with a kept response when it is asked for (RFC 9111 section 4).
//!
//! In: what the request demands, what the response allows, how old it is. Out: one of four ways.

use super::directives::{RequestDirectives, ResponseDirectives};
use super::rules::Rules;

/// What is kept, as far as this decision goes.
#[derive(Clone, Debug)]
pub struct Kept<'a> {
    /// What the response said.
    pub directives: &'a ResponseDirectives,
    /// How long it is fresh.
    pub lifetime: u64,
    /// How old it is now.
    pub age: u64,
    /// It was made stale, whatever its age.
    pub invalidated: bool,
    /// An unsafe request has changed what it is about: it is never given before the origin was asked (section 4.4).
    pub invalid: bool,
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// It is the answer.
    Serve,
    /// It is the answer, and is asked for again meanwhile (RFC 5861 section 3).
    ServeAndRenew,
    /// The origin is asked whether it still holds. If the origin fails it may be the answer after all.
    Ask {
        /// After which failures.
        after: Failures,
        /// Why.
        why: Why,
    },
}

/// The failures of an origin after which a response may be given that is stale.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Failures {
    /// It cannot be reached, or drops the connection (RFC 9111 section 4.2.4).
    pub silence: bool,
    /// It answers with 500, 502, 503 or 504 (RFC 5861 section 4).
    pub refusal: bool,
}

/// Why the origin is asked, in the words of Cache-Status (RFC 9211 section 2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The response is stale.
    Stale,
    /// The request demands it.
    Request,
}

/// Section 4, with sections 5.2.1 and 5.2.2.
pub fn course(kept: &Kept<'_>, asked: &RequestDirectives, rules: &Rules) -> Course {
    let directives = kept.directives;
    // Sections 5.2.2.2 and 5.2.2.8.
    let never_stale =
        directives.must_revalidate || directives.proxy_revalidate || directives.no_cache.is_whole() || kept.invalid;
    // Section 5.2.2.10: s-maxage has the meaning of proxy-revalidate, but who says beside it how long the response may be stale
    // means that.
    let only_as_said = never_stale || directives.s_maxage.is_some();
    let staleness = kept.age.saturating_sub(kept.lifetime);
    let is_fresh = kept.age < kept.lifetime && !(kept.invalidated || kept.invalid || directives.no_cache.is_whole());
    let within = |said: Option<u64>, otherwise: u64| match said {
        Some(limit) => !never_stale && staleness < limit,
        None => !only_as_said && staleness < otherwise,
    };
    let said = asked.stale_if_error.filter(|_| !only_as_said).or(directives.stale_if_error);
    let after = Failures {
        silence: within(said, rules.stale_if_unreachable) || is_fresh,
        refusal: within(said, rules.stale_if_error) || is_fresh,
    };
    if rules.obey_clients {
        // Section 5.2.1: `immutable` spares only the reload of what is fresh (RFC 8246), which no-cache is not.
        let too_old = asked.max_age.is_some_and(|most| kept.age > most) && !(directives.immutable && is_fresh);
        let too_near = asked.min_fresh.is_some_and(|least| kept.lifetime < kept.age.saturating_add(least));
        if asked.no_cache || too_old || too_near {
            let after = if asked.no_cache { Failures::default() } else { after };
            return Course::Ask { after, why: Why::Request };
        }
    }
    if is_fresh {
        return Course::Serve;
    }
    if kept.invalidated || kept.invalid {
        return Course::Ask { after, why: Why::Stale };
    }
    if rules.obey_clients && asked.max_stale.is_some_and(|most| !only_as_said && staleness <= most) {
        return Course::Serve;
    }
    if within(directives.stale_while_revalidate, rules.stale_while_revalidate) {
        return Course::ServeAndRenew;
    }
    Course::Ask { after, why: Why::Stale }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Fields;

    fn fields(text: &str) -> Fields {
        let mut fields = Fields::new();
        fields.append("cache-control", text.as_bytes()).unwrap();
        fields
    }

    fn way(response: &str, request: &str, age: u64, rules: &Rules) -> Course {
        let directives = ResponseDirectives::of(&fields(response));
        let lifetime = directives.max_age.unwrap_or(0);
        let kept = Kept { directives: &directives, lifetime, age, invalidated: false, invalid: false };
        course(&kept, &RequestDirectives::of(&fields(request)), rules)
    }

    #[test]
    fn fresh_is_served_and_stale_is_asked_for() {
        let strict = Rules { stale_if_unreachable: 0, ..Rules::default() };
        let asked = |both, why| Course::Ask { after: Failures { silence: both, refusal: both }, why };
        for (response, request, age, expected) in [
            ("max-age=10", "", 9, Course::Serve),
            ("max-age=10", "", 10, asked(false, Why::Stale)),
            ("max-age=10, no-cache", "", 0, asked(false, Why::Stale)),
            ("max-age=10, no-cache=\"x\"", "", 0, Course::Serve),
            ("max-age=10", "no-cache", 0, asked(false, Why::Request)),
            ("max-age=10", "max-age=3", 4, asked(true, Why::Request)),
            ("max-age=10", "max-age=3", 3, Course::Serve),
            ("max-age=10, immutable", "max-age=0", 3, Course::Serve),
            ("max-age=10, immutable", "max-age=0", 13, asked(false, Why::Request)),
            ("max-age=10", "min-fresh=5", 6, asked(true, Why::Request)),
            ("max-age=10", "min-fresh=5", 5, Course::Serve),
            ("max-age=10", "max-stale", 500, Course::Serve),
            ("max-age=10", "max-stale=5", 15, Course::Serve),
            ("max-age=10", "max-stale=5", 16, asked(false, Why::Stale)),
            ("max-age=10, must-revalidate", "max-stale", 15, asked(false, Why::Stale)),
            ("max-age=10, proxy-revalidate", "max-stale", 15, asked(false, Why::Stale)),
            ("max-age=10, stale-while-revalidate=5", "", 14, Course::ServeAndRenew),
            ("max-age=10, stale-while-revalidate=5", "", 15, asked(false, Why::Stale)),
            ("max-age=10, stale-while-revalidate=5, must-revalidate", "", 14, asked(false, Why::Stale)),
            ("max-age=10, stale-if-error=5", "", 14, asked(true, Why::Stale)),
            ("max-age=10, stale-if-error=5", "", 15, asked(false, Why::Stale)),
            ("max-age=10", "stale-if-error=5", 14, asked(true, Why::Stale)),
            ("max-age=10, s-maxage=10, stale-while-revalidate=5", "", 14, Course::ServeAndRenew),
            ("max-age=10, s-maxage=10, stale-while-revalidate=5", "max-stale", 15, asked(false, Why::Stale)),
            ("max-age=10, s-maxage=10, stale-if-error=5", "", 14, asked(true, Why::Stale)),
            ("max-age=10, s-maxage=10", "stale-if-error=5", 14, asked(false, Why::Stale)),
        ] {
            assert_eq!(way(response, request, age, &strict), expected, "{response} | {request} | {age}");
        }
        let deaf = Rules { obey_clients: false, ..strict };
        assert_eq!(way("max-age=10", "no-cache", 0, &deaf), Course::Serve);
    }

    #[test]
    fn what_was_invalidated_is_asked_for() {
        let directives = ResponseDirectives::of(&fields("max-age=10, stale-while-revalidate=99"));
        let rules = Rules::default();
        for invalid in [false, true] {
            let kept = Kept { directives: &directives, lifetime: 10, age: 0, invalidated: !invalid, invalid };
            let way = course(&kept, &RequestDirectives::default(), &rules);
            let after = Failures { silence: !invalid, refusal: false };
            assert_eq!(way, Course::Ask { after, why: Why::Stale });
        }
    }
}
