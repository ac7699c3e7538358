//! How directives are read: RFC 9111 sections 1.2.2, 4.2.1, 5.2 to 5.4, RFC 9213, RFC 8246.

use super::rfc9111::again;
use super::{Step, play};

/// Each answer with whether it is given again.
async fn kept(rows: &[(&str, bool)]) {
    let steps: Vec<[Step<'_>; 2]> = rows.iter().map(|(answer, kept)| again(answer, *kept)).collect();
    let cases: Vec<_> = rows.iter().zip(&steps).map(|((name, _), steps)| (*name, &steps[..])).collect();
    play("true", &cases).await;
}

/// No client request fails.
#[tokio::test]
async fn section_5_2_directives_in_every_spelling() {
    kept(&[
        ("200 | cache-control: max-age=60,", true),
        ("200 | cache-control: ,,, max-age=60 ,,", true),
        ("200 | cache-control:\tmax-age=60\t,\tpublic", true),
        ("200 | cache-control: | cache-control: max-age=60", true),
        ("200 | cache-control: , | cache-control: max-age=60", true),
        ("200 | cache-control: x=\"max-age=0, no-store\", max-age=60", true),
        ("200 | cache-control: x=\"a\\\", no-store\", max-age=60", true),
        ("200 | cache-control: x=y=no-store, max-age=60", true),
        ("200 | cache-control: no-store-please, max-age=60", true),
        ("200 | cache-control: x-no-store, max-age=60", true),
        ("200 | cache-control: max-age=60, foo=bar, baz=\"a, b\", qux=1", true),
        ("200 | cache-control: No-Store, max-age=60", false),
        ("200 | cache-control: max-age=60, no-store=1", false),
        ("200 | cache-control: max-age=60, no-store=\"x\"", false),
        ("200 | cache-control: max-age=60 | cache-control: Private", false),
        ("200 | cache-control: max-age=60, private=\"\"", false),
        ("200 | cache-control: max-age=60, private=\"a b\"", false),
        ("200 | cache-control: max-age=60, private=\"x-a\", private", false),
        ("200 | cache-control: max-age=60, no-cache=\"\"", false),
        ("200 | cache-control: max-age=60, NO-CACHE=\"x-a\", no-cache", false),
        // A quote that is never closed hides nothing.
        ("200 | cache-control: max-age=60, x=\"y, no-store", false),
    ])
    .await;
}

/// No client request fails.
#[tokio::test]
async fn section_1_2_2_numbers() {
    kept(&[
        ("200 | cache-control: max-age=0060", true),
        ("200 | cache-control: max-age=2147483647", true),
        ("200 | cache-control: max-age=2147483648", true),
        ("200 | cache-control: max-age=2147483649", true),
        ("200 | cache-control: max-age=18446744073709551616", true),
        ("200 | cache-control: max-age=\"0060\"", true),
        ("200 | cache-control: max-age=+60", false),
        ("200 | cache-control: max-age=6e1", false),
        ("200 | cache-control: max-age=0x3c", false),
        ("200 | cache-control: max-age='60'", false),
        ("200 | cache-control: max-age=\"60", false),
        ("200 | cache-control: max-age= 60", false),
        ("200 | cache-control: max-age =60", false),
        ("200 | cache-control: max-age=60 60", false),
        ("200 | cache-control: max-age=60;public", false),
        ("200 | cache-control: max-age=", false),
        ("200 | cache-control: max-age=\"\"", false),
        ("200 | cache-control: max-age=60, max-age=x", false),
        ("200 | cache-control: max-age=60 | cache-control: max-age=0", false),
        ("200 | cache-control: s-maxage=x, max-age=60", false),
        ("200 | cache-control: s-maxage=-1, max-age=60", false),
        ("200 | cache-control: s-maxage=\"60\"", true),
        ("200 | cache-control: S-MaxAge=60, max-age=0", true),
        ("200 | cache-control: s-maxage=60 | expires: 0", true),
        ("200 | cache-control: max-age=x | expires: Sat, 06 Nov 2094 08:49:37 GMT", false),
    ])
    .await;
}

/// No client request fails.
#[tokio::test]
async fn section_5_2_2_what_responses_say_together() {
    kept(&[
        ("200 | cache-control: no-cache, max-age=60, immutable", false),
        ("200 | cache-control: must-revalidate, max-age=60", true),
        ("200 | cache-control: proxy-revalidate, max-age=60", true),
        ("200 | cache-control: must-revalidate, max-age=0", false),
        ("200 | cache-control: must-revalidate, max-age=60 | age: 70", false),
        ("200 | cache-control: public, must-revalidate", false),
        ("200 | cache-control: immutable", false),
        ("200 | cache-control: immutable, max-age=60 | age: 70", false),
        ("200 | cache-control: no-transform, max-age=60", true),
        ("200 | cache-control: no-store, public, max-age=60", false),
        ("200 | cache-control: private, public, max-age=60", false),
        ("200 | cache-control: private, s-maxage=60", false),
        ("200 | cache-control: must-understand, max-age=60", true),
        ("200 | cache-control: must-understand | cache-control: no-store | cache-control: max-age=60", true),
        ("200 | cache-control: must-understand, no-store, private, max-age=60", false),
        ("200 | cache-control: must-understand, no-store, no-cache, max-age=60", false),
        ("200 | pragma: no-store | cache-control: max-age=60", true),
        ("200 | pragma: no-cache | expires: Sat, 06 Nov 2094 08:49:37 GMT", true),
        ("200 | warning: 110 - \"stale\" | cache-control: max-age=60", true),
    ])
    .await;
}

/// No client request fails.
#[tokio::test]
async fn rfc_9213_what_is_said_to_caches_of_many() {
    kept(&[
        ("200 | cdn-cache-control: max-age=60", true),
        ("200 | CDN-Cache-Control:  max-age=60  ", true),
        ("200 | cdn-cache-control: max-age=60 | cache-control: max-age=0, no-cache, private", true),
        ("200 | cdn-cache-control: max-age=0 | cache-control: max-age=60", false),
        ("200 | cdn-cache-control: max-age=60, max-age=0", false),
        ("200 | cdn-cache-control: max-age=0, max-age=60", true),
        ("200 | cdn-cache-control: max-age=0 | cdn-cache-control: max-age=60", true),
        ("200 | cdn-cache-control: no-cache | cache-control: max-age=60", false),
        ("200 | cdn-cache-control: private | cache-control: max-age=60", false),
        ("200 | cdn-cache-control: max-age=60;x=1, y;z=\"a\" | cache-control: no-store", true),
        ("200 | cdn-cache-control: max-age=60, x=(1 2), y=:YQ==:, z=tok/en, d=1.5 | cache-control: no-store", true),
        ("200 | cdn-cache-control: no-store=?0, max-age=60", true),
        ("200 | cdn-cache-control: max-age=60 | age: 70", false),
        // What is no dictionary is as if it were not there.
        ("200 | cdn-cache-control: | cache-control: max-age=60", true),
        ("200 | cdn-cache-control: no-store, & | cache-control: max-age=60", true),
        ("200 | cdn-cache-control: No-Store | cache-control: max-age=60", true),
        ("200 | cdn-cache-control: no-store, | cache-control: max-age=60", true),
        ("200 | cdn-cache-control: max-age=60 no-store | cache-control: no-store", false),
        ("200 | cdn-cache-control: max-age= 60 | cache-control: no-store", false),
        ("200 | cdn-cache-control: max-age='60' | cache-control: max-age=60", true),
        // What it does not say is not taken from the others.
        ("200 | cdn-cache-control: foo | cache-control: max-age=60", false),
        ("200 | cdn-cache-control: foo | expires: Sat, 06 Nov 2094 08:49:37 GMT", false),
        ("200 | cdn-cache-control: foo | cache-control: no-store | last-modified: Sun, 06 Nov 1994 08:49:37 GMT", true),
        // A number that is none.
        ("200 | cdn-cache-control: max-age=60.5", false),
        ("200 | cdn-cache-control: max-age=\"60\"", false),
        ("200 | cdn-cache-control: max-age=-60", false),
        ("200 | cdn-cache-control: max-age", false),
    ])
    .await;
}

/// No client request fails but those that must not be answered: 504 for what is only wanted from the cache.
#[tokio::test]
async fn sections_5_2_1_and_5_4_what_requests_say() {
    let fresh = ("GET /", "200 | cache-control: max-age=60 | age: 10", "200 #0");
    let stale = ("GET /", "200 | cache-control: max-age=60 | age: 70", "200 #0");
    let new = "200 | cache-control: max-age=60";
    let hit = |request: &'static str| -> [Step<'static>; 2] { [fresh, (request, "", "200 #0")] };
    let miss = |request: &'static str| -> [Step<'static>; 2] { [fresh, (request, new, "200 #1")] };
    let mut cases: Vec<(&str, Vec<Step<'_>>)> = Vec::new();
    for request in [
        "GET / | cache-control: NO-CACHE",
        "GET / | cache-control: foo | cache-control: no-cache",
        "GET / | cache-control: , no-cache",
        "GET / | cache-control: no-cache=\"x\"",
        "GET / | cache-control: max-age=\"5\"",
        "GET / | cache-control: max-age=-1",
        "GET / | cache-control: max-age=x",
        "GET / | cache-control: max-age=100, max-age=5",
        "GET / | cache-control: min-fresh=51",
        "GET / | cache-control: min-fresh=9999999999999",
        "GET / | cache-control: max-age=0, max-stale",
        "GET / | pragma: No-Cache",
        "GET / | pragma: foo, no-cache",
        "GET / | cache-control: no-store",
    ] {
        cases.push((request, miss(request).to_vec()));
    }
    for request in [
        "GET / | cache-control: x=\"no-cache, max-age=0\"",
        "GET / | cache-control: max-age=10000000000000000000000",
        "GET / | cache-control: max-age=30",
        "GET / | cache-control: min-fresh=49",
        "GET / | cache-control: max-stale=0",
        "GET / | cache-control: foo | pragma: no-cache",
        "GET / | cache-control: | pragma: no-cache",
        "GET / | pragma: foo",
        "GET / | pragma: no-cache=1",
        "GET / | cache-control: no-transform",
        "GET / | cache-control: s-maxage=0, must-revalidate, private",
        "GET / | cache-control: only-if-cached",
        "GET / | cache-control: ONLY-IF-CACHED, max-age=20",
    ] {
        cases.push((request, hit(request).to_vec()));
    }
    for (request, outcome) in [
        ("GET / | cache-control: max-stale", "200 #0 | age: 7* | cache-status: gatewright; hit; ttl=-1*"),
        ("GET / | cache-control: max-stale=15", "200 #0"),
        ("GET / | cache-control: max-stale=\"15\"", "200 #0"),
        ("GET / | cache-control: only-if-cached, max-stale", "200 #0"),
        ("GET / | cache-control: only-if-cached, max-stale=9", "504"),
        ("GET / | cache-control: only-if-cached, max-age=20", "504 | cache-status: gatewright; detail=only-if-cached"),
        ("GET / | cache-control: only-if-cached, no-store", "504"),
        ("HEAD / | cache-control: only-if-cached", "504"),
    ] {
        cases.push((request, vec![stale, (request, "", outcome)]));
    }
    for request in [
        "GET / | cache-control: max-stale=9",
        "GET / | cache-control: max-stale=x",
        "GET / | cache-control: max-stale, max-age=60",
    ] {
        cases.push((request, vec![stale, (request, new, "200 #1")]));
    }
    let cases: Vec<_> = cases.iter().map(|(name, steps)| (*name, &steps[..])).collect();
    play("true", &cases).await;
}

/// No client request fails: the client's own words are passed on.
#[tokio::test]
async fn sections_3_5_and_5_2_2_4_fields_that_are_set_apart() {
    play(
        "true",
        &[
            (
                "several names",
                &[
                    ("GET /", "200 | cache-control: max-age=60, private=\"x-a, X-B ,,\", no-cache=x-c | x-a: 1 | x-b: 1 | x-c: 1 | x-d: 1", "200 #0 | x-a: 1 | x-b: 1 | x-c: 1"),
                    ("GET /", "", "200 #0 | !x-a | !x-b | !x-c | x-d: 1"),
                ],
            ),
            (
                "after it was asked for",
                &[
                    ("GET /", "200 | cache-control: max-age=60, no-cache=\"x-a\" | age: 70 | etag: \"a\" | x-a: 1", "200 #0"),
                    ("GET /", "304 | etag: \"a\"", "200 #0 | x-a: 1"),
                    ("GET /", "", "200 #0 | !x-a"),
                ],
            ),
            (
                "private in news",
                &[
                    ("GET /", "200 | cache-control: max-age=60 | age: 70 | etag: \"a\" | x-a: 1", "200 #0"),
                    ("GET /", "304 | cache-control: max-age=60, private=\"x-a\" | x-a: 2", "200 #0"),
                    ("GET /", "", "200 #0 | !x-a"),
                ],
            ),
            (
                "authorised, no more",
                &[
                    ("GET / | authorization: x", "200 | cache-control: max-age=60, proxy-revalidate", "200 #0"),
                    ("GET /", "200", "200 #1"),
                ],
            ),
            (
                "authorised, immutable",
                &[("GET / | authorization: x", "200 | cache-control: max-age=60, immutable", "200 #0"), ("GET /", "200", "200 #1")],
            ),
            (
                "authorised, by date",
                &[("GET / | authorization: x", "200 | expires: Sat, 06 Nov 2094 08:49:37 GMT", "200 #0"), ("GET /", "200", "200 #1")],
            ),
            (
                "authorised, for all by the cache's own",
                &[("GET / | authorization: x", "200 | cdn-cache-control: max-age=60, public", "200 #0"), ("GET /", "", "200 #0")],
            ),
            (
                "authorised, for all but not for this one",
                &[("GET / | authorization: x", "200 | cdn-cache-control: max-age=60 | cache-control: public", "200 #0"), ("GET /", "200", "200 #1")],
            ),
        ],
    )
    .await;
}
