//! RFC 9111, paragraph by paragraph, with what RFC 9110, 5861, 8246 and 9213 add.

use super::{Step, play};

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// What is given again for a second request, or not.
pub(super) fn again<'a>(answer: &'a str, kept: bool) -> [Step<'a>; 2] {
    match kept {
        true => [("GET /", answer, "200 #0"), ("GET /", "", "200 #0")],
        false => [("GET /", answer, "200 #0"), ("GET /", "200", "200 #1")],
    }
}

/// No client request fails.
#[tokio::test]
async fn section_3_and_4_2_what_is_kept_and_for_how_long() {
    let rows = [
        ("200 | cache-control: max-age=60", true),
        ("200 | Cache-Control:   MAX-AGE=60  ", true),
        ("200 | cache-control: foo, max-age=60 , bar", true),
        ("200 | cache-control: foo | cache-control: max-age=60", true),
        ("200 | cache-control: max-age=\"60\"", true),
        ("200 | cache-control: max-age=99999999999999999999", true),
        ("200 | cache-control: max-age=60, max-age=0", false),
        ("200 | cache-control: max-age=60, max-age=30", true),
        ("200 | cache-control: max-age=-60", false),
        ("200 | cache-control: max-age=60s", false),
        ("200 | cache-control: max-age=60.5", false),
        ("200 | cache-control: max-age=0", false),
        ("200 | cache-control: max-age", false),
        ("200 | cache-control: s-maxage=60, max-age=0", true),
        ("200 | cache-control: s-maxage=0, max-age=60", false),
        ("200 | cache-control: max-age=60 | age: 50", true),
        ("200 | cache-control: max-age=60 | age: 60", false),
        ("200 | cache-control: max-age=60 | age: -1", true),
        ("200 | cache-control: max-age=60 | age: soon", true),
        ("200 | cache-control: max-age=60 | age: 5, 99", true),
        ("200 | cache-control: max-age=60 | date: Sun, 06 Nov 1994 08:49:37 GMT", false),
        ("200 | cache-control: max-age=60 | date: odd", true),
        ("200 | cache-control: max-age=60 | expires: 0", true),
        ("200 | expires: 0", false),
        ("200 | expires: odd", false),
        ("200 | expires: Sun, 06 Nov 1994 08:49:37 GMT", false),
        ("200 | expires: Sat, 06 Nov 2094 08:49:37 GMT", true),
        ("200 | expires: Saturday, 06-Nov-94 08:49:37 GMT", false),
        ("200 | expires: Sat, 06 Nov 2094 08:49:37 GMT | expires: Sun, 06 Nov 1994 08:49:37 GMT", false),
        ("200 | last-modified: Sun, 06 Nov 1994 08:49:37 GMT", true),
        ("200", false),
        ("200 | cache-control: public", false),
        ("200 | cache-control: no-store, max-age=60", false),
        ("200 | cache-control: NO-STORE | cache-control: max-age=60", false),
        ("200 | cache-control: no-store, must-understand, max-age=60", true),
        ("200 | cache-control: private, max-age=60", false),
        ("200 | cache-control: private=\"x-a\", max-age=60", true),
        ("200 | cache-control: no-cache, max-age=60", false),
        ("200 | cache-control: no-cache=\"x-a\", max-age=60", true),
        ("200 | cache-control: max-age=60 | pragma: no-cache", true),
        ("200 | cache-control: max-age=60 | set-cookie: a=b", false),
        ("200 | cache-control: max-age=60 | vary: *", false),
        ("200 | cache-control: max-age=60 | vary: accept, *", false),
        ("200 | cache-control: max-age=60, immutable", true),
        ("200 | cdn-cache-control: max-age=60 | cache-control: no-store", true),
        ("200 | cdn-cache-control: no-store | cache-control: max-age=60", false),
        ("200 | cdn-cache-control: max-age=60, & | cache-control: no-store", false),
        ("200 | cdn-cache-control: max-age=60 | expires: 0", true),
    ];
    let steps: Vec<_> = rows.iter().map(|(answer, kept)| (*answer, again(answer, *kept))).collect();
    let cases: Vec<_> = steps.iter().map(|(name, steps)| (*name, &steps[..])).collect();
    play("true", &cases).await;
}

/// No client request fails: the statuses are what the origin says.
#[tokio::test]
async fn section_3_every_final_status_that_is_whole() {
    let mut rows = Vec::new();
    for status in [
        200, 201, 202, 203, 204, 299, 300, 301, 302, 303, 307, 308, 400, 404, 405, 410, 412, 414, 416, 418, 429, 499,
        500, 501, 503, 504, 599,
    ] {
        let whole = if status == 204 { format!("{status}") } else { format!("{status} #0") };
        rows.push((format!("{status} | cache-control: max-age=60"), whole, true));
    }
    for (status, kept) in [
        (200, true),
        (203, true),
        (204, true),
        (404, true),
        (410, true),
        (201, false),
        (302, false),
        (403, false),
        (500, false),
        (599, false),
    ] {
        let whole = if status == 204 { format!("{status}") } else { format!("{status} #0") };
        rows.push((format!("{status} | last-modified: {DATE}"), whole, kept));
    }
    rows.push(("299 | cache-control: max-age=60, no-store, must-understand".into(), "299 #0".into(), false));
    let steps: Vec<[Step<'_>; 2]> = rows
        .iter()
        .map(|(answer, outcome, kept)| {
            let second = if *kept { ("", &**outcome) } else { ("299", "299 #1") };
            [("GET /", &**answer, &**outcome), ("GET /", second.0, second.1)]
        })
        .collect();
    let cases: Vec<_> = rows.iter().zip(&steps).map(|((name, ..), steps)| (&**name, &steps[..])).collect();
    play("true", &cases).await;
}

/// No client request fails but those that must not be answered: 504 for what is only wanted from the cache.
#[tokio::test]
async fn section_5_2_1_what_requests_demand() {
    let fresh = ("GET /", "200 | cache-control: max-age=60 | age: 10 | etag: \"a\"", "200 #0");
    let stale = ("GET /", "200 | cache-control: max-age=60 | age: 70 | etag: \"a\"", "200 #0");
    let new = "200 | cache-control: max-age=60";
    play(
        "true",
        &[
            (
                "no-cache",
                &[
                    fresh,
                    ("GET / | cache-control: no-cache", "304 < if-none-match: \"a\"", "200 #0"),
                    ("GET /", "", "200 #0"),
                ],
            ),
            ("no-cache, new", &[fresh, ("GET / | cache-control: no-cache", new, "200 #1"), ("GET /", "", "200 #1")]),
            ("pragma", &[fresh, ("GET / | pragma: no-cache", new, "200 #1")]),
            ("pragma beside", &[fresh, ("GET / | pragma: no-cache | cache-control: max-age=30", "", "200 #0")]),
            (
                "max-age",
                &[
                    fresh,
                    ("GET / | cache-control: max-age=5", new, "200 #1"),
                    ("GET / | cache-control: max-age=5", "", "200 #1"),
                ],
            ),
            ("max-age=0", &[fresh, ("GET / | cache-control: max-age=0", new, "200 #1")]),
            ("min-fresh", &[fresh, ("GET / | cache-control: min-fresh=55", new, "200 #1")]),
            ("min-fresh, enough", &[fresh, ("GET / | cache-control: min-fresh=20", "", "200 #0")]),
            ("max-stale", &[stale, ("GET / | cache-control: max-stale", "", "200 #0")]),
            ("max-stale, enough", &[stale, ("GET / | cache-control: max-stale=60", "", "200 #0")]),
            ("max-stale, too old", &[stale, ("GET / | cache-control: max-stale=5", new, "200 #1")]),
            (
                "no-store",
                &[
                    ("GET / | cache-control: no-store", new, "200 #0"),
                    ("GET /", new, "200 #1"),
                    ("GET /", "", "200 #1"),
                ],
            ),
            ("only-if-cached, nothing", &[("GET / | cache-control: only-if-cached", "", "504")]),
            ("only-if-cached, stale", &[stale, ("GET / | cache-control: only-if-cached", "", "504")]),
            ("only-if-cached, fresh", &[fresh, ("GET / | cache-control: only-if-cached", "", "200 #0")]),
        ],
    )
    .await;
}

/// No client request fails.
#[tokio::test]
async fn section_4_3_what_is_stale_is_asked_for() {
    let tagged = ("GET /", "200 | cache-control: max-age=60 | age: 70 | etag: \"a\" | x-a: 1 | x-b: 1", "200 #0");
    let dated =
        ("GET /", "200 | cache-control: max-age=60 | age: 70 | last-modified: Sun, 06 Nov 1994 08:49:37 GMT", "200 #0");
    let both = (
        "GET /",
        "200 | cache-control: max-age=60 | age: 70 | etag: W/\"a\" | last-modified: Sun, 06 Nov 1994 08:49:37 GMT",
        "200 #0",
    );
    let none = ("GET /", "200 | cache-control: max-age=60 | age: 70", "200 #0");
    play(
        "true",
        &[
            ("by tag", &[tagged, ("GET /", "304 < if-none-match: \"a\" | !if-modified-since", "200 #0 | x-a: 1"), ("GET /", "", "200 #0")]),
            ("by date", &[dated, ("GET /", "304 < if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT | !if-none-match", "200 #0")]),
            ("by both", &[both, ("GET /", "304 < if-none-match: W/\"a\" | if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT", "200 #0")]),
            ("by none", &[none, ("GET /", "200 | cache-control: max-age=60 < !if-none-match | !if-modified-since", "200 #1"), ("GET /", "", "200 #1")]),
            ("another", &[tagged, ("GET /", "200 | cache-control: max-age=60 | etag: \"b\"", "200 #1 | etag: \"b\" | !x-a"), ("GET /", "", "200 #1")]),
            (
                "news replace",
                &[
                    tagged,
                    ("GET /", "304 | etag: \"a\" | x-a: 2 | x-c: 2 | content-length: 7 | content-encoding: br | cache-control: max-age=60", "200 #0 | x-a: 2 | x-b: 1 | x-c: 2 | content-length: 1 | !content-encoding"),
                    ("GET /", "", "200 #0 | x-a: 2 | x-c: 2"),
                ],
            ),
            ("news are stale too", &[tagged, ("GET /", "304 | cache-control: max-age=0", "200 #0"), ("GET /", "304 < if-none-match: \"a\"", "200 #0")]),
            ("news forbid it", &[tagged, ("GET /", "304 | cache-control: no-store", "200 #0"), ("GET /", "200 < !if-none-match", "200 #2")]),
            ("news of a cookie", &[tagged, ("GET /", "304 | set-cookie: a=b", "200 #0 | set-cookie: a=b"), ("GET /", "", "200 #0 | !set-cookie")]),
            (
                "conditions of the client are not the origin's",
                &[tagged, ("GET / | if-none-match: \"x\"", "304 < if-none-match: \"a\"", "200 #0"), ("GET / | if-none-match: \"x\", \"a\"", "", "304 | etag: \"a\"")],
            ),
            ("a range is no part of it", &[tagged, ("GET / | range: bytes=0-0", "304 < if-none-match: \"a\" | !range", "206 #0")]),
            ("gone", &[tagged, ("GET /", "404", "404 #1"), ("GET /", "404", "404 #2")]),
            ("an error is passed on", &[tagged, ("GET /", "503", "503 #1"), ("GET /", "304 < if-none-match: \"a\"", "200 #0")]),
        ],
    )
    .await;
}

/// A 304 about another version is no answer: it is asked again. No client request fails.
#[tokio::test]
async fn section_4_3_4_news_of_another_version_are_not_used() {
    let origin = crate::harness::RawOrigin::start().await;
    let gateway = super::gateway(&origin, "true").await;
    let ask = || async { gateway.get("a.example/", &[]).await };
    let (first, ()) = tokio::join!(ask(), async {
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.send(super::response("200 | cache-control: max-age=0 | etag: \"a\"", 0, false)).await;
    });
    assert_eq!(first.text(), "0");
    let (second, ()) = tokio::join!(ask(), async {
        let mut upstream = origin.accept().await;
        assert!(upstream.request().await.has("if-none-match", "\"a\""));
        upstream.send(super::response("304 | etag: \"b\"", 1, false)).await;
        let mut upstream = origin.accept().await;
        assert_eq!(upstream.request().await.field("if-none-match"), None);
        upstream.send(super::response("200 | etag: \"b\"", 2, false)).await;
    });
    assert_eq!(second.text(), "2");
}

/// No client request fails.
#[tokio::test]
async fn section_4_1_what_varies() {
    let by = "200 | cache-control: max-age=60 | vary: foo";
    play(
        "true",
        &[
            ("the same", &[("GET / | foo: 1", by, "200 #0"), ("GET / | foo: 1", "", "200 #0")]),
            (
                "another",
                &[
                    ("GET / | foo: 1", by, "200 #0"),
                    ("GET / | foo: 2", by, "200 #1"),
                    ("GET / | foo: 1", "", "200 #0"),
                    ("GET / | foo: 2", "", "200 #1"),
                ],
            ),
            ("none", &[("GET / | foo: 1", by, "200 #0"), ("GET /", by, "200 #1"), ("GET /", "", "200 #1")]),
            ("lines are one", &[("GET / | foo: 1, 2", by, "200 #0"), ("GET / | foo: 1 | foo: 2", "", "200 #0")]),
            (
                "several names",
                &[
                    ("GET / | foo: 1 | bar: 1", "200 | cache-control: max-age=60 | vary: Foo | vary: bar, ", "200 #0"),
                    ("GET / | bar: 1 | foo: 1 | x: 1", "", "200 #0"),
                    ("GET / | bar: 2 | foo: 1", "200 | cache-control: max-age=60 | vary: foo, bar", "200 #2"),
                ],
            ),
            (
                "languages in any case and spacing",
                &[
                    (
                        "GET / | accept-language: en, de;q=0.5",
                        "200 | cache-control: max-age=60 | vary: accept-language",
                        "200 #0",
                    ),
                    ("GET / | accept-language: DE; q=0.5,EN", "", "200 #0"),
                    ("GET / | accept-language: de, en", "200", "200 #2"),
                ],
            ),
            (
                "stale by variant",
                &[
                    ("GET / | foo: 1", "200 | cache-control: max-age=60 | age: 99 | vary: foo | etag: \"1\"", "200 #0"),
                    ("GET / | foo: 2", "200 | cache-control: max-age=60 | vary: foo < if-none-match: \"1\"", "200 #1"),
                    ("GET / | foo: 1", "304 < if-none-match: \"1\"", "200 #0"),
                ],
            ),
        ],
    )
    .await;
}

/// No client request fails.
#[tokio::test]
async fn section_4_4_what_changes_is_asked_for_again() {
    let fresh = ("GET /x", "200 | cache-control: max-age=60", "200 #0");
    let stays = ("GET /x", "", "200 #0");
    let asked = ("GET /x", "200 | cache-control: max-age=60", "200 #2");
    play(
        "true",
        &[
            ("POST", &[fresh, ("POST /x | content-length: 0", "200", "200"), asked]),
            ("PUT", &[fresh, ("PUT /x | content-length: 0", "201", "201"), asked]),
            ("DELETE", &[fresh, ("DELETE /x", "204", "204"), asked]),
            ("unknown", &[fresh, ("MOVE /x", "200", "200"), asked]),
            ("redirect", &[fresh, ("POST /x | content-length: 0", "303", "303"), asked]),
            ("that failed", &[fresh, ("POST /x | content-length: 0", "400", "400"), stays]),
            ("that broke", &[fresh, ("POST /x | content-length: 0", "500", "500"), stays]),
            ("OPTIONS", &[fresh, ("OPTIONS /x", "200", "200"), stays]),
            ("elsewhere", &[fresh, ("POST /y | content-length: 0", "200", "200"), stays]),
            ("by Location", &[fresh, ("POST /y | content-length: 0", "201 | location: {base}/x", "201"), asked]),
            (
                "by Location in full",
                &[fresh, ("POST /y | content-length: 0", "201 | location: http://A.example:80{base}/x", "201"), asked],
            ),
            (
                "by Content-Location",
                &[fresh, ("POST /y | content-length: 0", "200 | content-location: x", "200"), asked],
            ),
            (
                "at another host",
                &[fresh, ("POST /y | content-length: 0", "201 | location: http://b.example{base}/x", "201"), stays],
            ),
        ],
    )
    .await;
}

/// No client request fails.
#[tokio::test]
async fn section_4_3_2_conditions_are_answered() {
    let tagged = (
        "GET /",
        "200 | cache-control: max-age=60 | etag: \"a\" | last-modified: Sun, 06 Nov 1994 08:49:37 GMT | content-language: de",
        "200 #0",
    );
    let plain =
        ("GET /", "200 | cache-control: max-age=6000000000 | date: Sun, 06 Nov 1994 08:49:37 GMT | age: 0", "200 #0");
    play(
        "true",
        &[
            (
                "tag",
                &[
                    tagged,
                    (
                        "GET / | if-none-match: \"a\"",
                        "",
                        "304 | etag: \"a\" | cache-control: max-age=60 | !content-language | !content-length",
                    ),
                ],
            ),
            ("weak tag", &[tagged, ("GET / | if-none-match: W/\"a\"", "", "304")]),
            ("list", &[tagged, ("GET / | if-none-match: \"b\" , \"a\"", "", "304")]),
            ("lines", &[tagged, ("GET / | if-none-match: \"b\" | if-none-match: \"a\"", "", "304")]),
            ("star", &[tagged, ("GET / | if-none-match: *", "", "304")]),
            ("another tag", &[tagged, ("GET / | if-none-match: \"b\"", "", "200 #0")]),
            (
                "tag before date",
                &[
                    tagged,
                    ("GET / | if-none-match: \"b\" | if-modified-since: Sat, 06 Nov 2094 08:49:37 GMT", "", "200 #0"),
                ],
            ),
            ("date", &[tagged, ("GET / | if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT", "", "304")]),
            ("earlier", &[tagged, ("GET / | if-modified-since: Sun, 06 Nov 1994 08:49:36 GMT", "", "200 #0")]),
            ("no date", &[tagged, ("GET / | if-modified-since: soon", "", "200 #0")]),
            (
                "no Last-Modified, HEAD",
                &[
                    plain,
                    ("HEAD / | cache-control: max-stale | if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT", "", "304"),
                ],
            ),
            ("HEAD", &[tagged, ("HEAD /", "", "200 | content-length: 1")]),
            ("HEAD with a tag", &[tagged, ("HEAD / | if-none-match: \"a\"", "", "304")]),
            (
                "If-Match is the origin's",
                &[tagged, ("GET / | if-match: \"b\"", "412 < if-match: \"b\"", "412"), ("GET /", "", "200 #0")],
            ),
            (
                "If-Unmodified-Since is too",
                &[tagged, ("GET / | if-unmodified-since: Sun, 06 Nov 1994 08:49:36 GMT", "412", "412")],
            ),
            (
                "unknown to the cache",
                &[("GET / | if-none-match: \"a\"", "304 | etag: \"a\" < if-none-match: \"a\"", "304"), tagged_at(1)],
            ),
            (
                "unknown, and new",
                &[
                    ("GET / | if-none-match: \"b\"", "200 | cache-control: max-age=60 | etag: \"a\"", "200 #0"),
                    ("GET /", "", "200 #0"),
                ],
            ),
        ],
    )
    .await;
}

const fn tagged_at(_: usize) -> Step<'static> {
    ("GET /", "200 | cache-control: max-age=60 | etag: \"a\"", "200 #1")
}

/// No client request fails but for a range outside of what there is.
#[tokio::test]
async fn section_3_3_ranges() {
    let whole = ("GET /", "200 | cache-control: max-age=60 | etag: \"a\" | body: 0123456789", "200 #0123456789");
    let stay = ("GET /", "", "200 #0123456789");
    play(
        "true",
        &[
            ("begin", &[whole, ("GET / | range: bytes=0-3", "", "206 #0123 | content-range: bytes 0-3/10 | content-length: 4")]),
            ("middle", &[whole, ("GET / | Range: bytes=4-", "", "206 #456789"), stay]),
            ("end", &[whole, ("GET / | range: bytes=-2", "", "206 #89")]),
            ("outside", &[whole, ("GET / | range: bytes=10-", "", "416 | content-range: bytes */10"), stay]),
            ("If-Range", &[whole, ("GET / | range: bytes=0-3 | if-range: \"a\"", "", "206 #0123")]),
            ("If-Range of another", &[whole, ("GET / | range: bytes=0-3 | if-range: \"b\"", "", "200 #0123456789")]),
            ("other units", &[whole, ("GET / | range: lines=0-3", "", "200 #0123456789")]),
            (
                "a part is not the whole",
                &[
                    ("GET / | range: bytes=0-3", "206 | cache-control: max-age=60 | etag: \"a\" | content-range: bytes 0-3/10 | body: 0123 < range: bytes=0-3", "206 #0123"),
                    whole_at(),
                    stay,
                ],
            ),
            (
                "a part that nobody asked for",
                &[("GET /", "206 | cache-control: max-age=60 | content-range: bytes 0-3/10 | body: 0123", "206 #0123"), whole_at()],
            ),
            (
                "a whole instead of a part is kept",
                &[("GET / | range: bytes=0-3", "200 | cache-control: max-age=60 | body: 0123456789", "206 #0123"), stay],
            ),
        ],
    )
    .await;
}

const fn whole_at() -> Step<'static> {
    ("GET /", "200 | cache-control: max-age=60 | etag: \"a\" | body: 0123456789", "200 #0123456789")
}

/// No client request fails, but those that must: 502 for what may not be given stale, 503 as the origin says.
#[tokio::test]
async fn section_4_2_4_what_is_stale_when_the_origin_fails() {
    let with = |more: &'static str| -> Step<'static> { ("GET /", more, "200 #0") };
    let stale = with("200 | cache-control: max-age=60 | age: 70");
    let hour = with("200 | cache-control: max-age=60, stale-if-error=3600 | age: 70");
    let past = with("200 | cache-control: max-age=60, stale-if-error=5 | age: 70");
    let strict = with("200 | cache-control: max-age=60, must-revalidate | age: 70");
    let proxies = with("200 | cache-control: max-age=60, proxy-revalidate | age: 70");
    let shared = with("200 | cache-control: s-maxage=60 | age: 70");
    let said = with("200 | cache-control: s-maxage=60, stale-if-error=3600 | age: 70");
    let never = with("200 | cache-control: max-age=600, no-cache | age: 70 | etag: \"a\"");
    play(
        "true",
        &[
            (
                "silence",
                &[
                    stale,
                    ("GET /", "drop", "200 #0 | age: 7* | cache-status: gatewright; fwd=stale*"),
                    ("GET /", "200 | cache-control: max-age=60", "200 #2"),
                ],
            ),
            ("silence, HEAD", &[stale, ("HEAD /", "drop", "200")]),
            ("refusal", &[stale, ("GET /", "503", "503 #1")]),
            (
                "refusal, stale-if-error",
                &[hour, ("GET /", "503", "200 #0"), ("GET /", "500", "200 #0"), ("GET /", "404", "404 #3")],
            ),
            ("silence, stale-if-error", &[hour, ("GET /", "drop", "200 #0")]),
            ("too stale", &[past, ("GET /", "503", "503 #1"), ("GET /", "drop", "502")]),
            ("must-revalidate", &[strict, ("GET /", "drop", "502")]),
            ("proxy-revalidate", &[proxies, ("GET /", "drop", "502")]),
            ("s-maxage", &[shared, ("GET /", "drop", "502")]),
            ("s-maxage, stale-if-error", &[said, ("GET /", "drop", "200 #0"), ("GET /", "503", "200 #0")]),
            ("no-cache", &[never, ("GET /", "drop", "502")]),
            ("the client says so", &[stale, ("GET / | cache-control: stale-if-error=3600", "503", "200 #0")]),
            ("the client wants it new", &[stale, ("GET / | cache-control: no-cache", "drop", "502")]),
        ],
    )
    .await;
}

/// No client request fails.
#[tokio::test]
async fn rfc_5861_what_is_stale_is_given_while_it_is_asked_for() {
    let stale =
        ("GET /", "200 | cache-control: max-age=60, stale-while-revalidate=60 | age: 70 | etag: \"a\"", "200 #0");
    play(
        "true",
        &[
            (
                "it holds",
                &[
                    stale,
                    ("GET /", "", "200 #0 | cache-status: gatewright; hit; ttl=-1*"),
                    ("", "304 | cache-control: max-age=60 < GET | if-none-match: \"a\"", ""),
                ],
            ),
            ("HEAD", &[stale, ("HEAD /", "", "200"), ("", "304 < GET | if-none-match: \"a\"", "")]),
            (
                "too stale",
                &[
                    ("GET /", "200 | cache-control: max-age=60, stale-while-revalidate=5 | age: 70", "200 #0"),
                    ("GET /", "200", "200 #1"),
                ],
            ),
            (
                "not allowed",
                &[
                    (
                        "GET /",
                        "200 | cache-control: max-age=60, stale-while-revalidate=60, must-revalidate | age: 70",
                        "200 #0",
                    ),
                    ("GET /", "200", "200 #1"),
                ],
            ),
        ],
    )
    .await;
}

/// No client request fails.
#[tokio::test]
async fn section_4_3_5_a_head_tells_of_what_is_kept() {
    let stale = ("GET /", "200 | cache-control: max-age=60 | age: 70 | etag: \"a\" | x-a: 1", "200 #0");
    let fresh = ("GET /", "200 | cache-control: max-age=60 | etag: \"a\"", "200 #0");
    play(
        "true",
        &[
            (
                "it holds",
                &[
                    stale,
                    ("HEAD /", "200 | etag: \"a\" | cache-control: max-age=60 | x-a: 2 < HEAD", "200"),
                    ("GET /", "", "200 #0 | x-a: 2"),
                ],
            ),
            (
                "another tag",
                &[fresh, ("HEAD / | cache-control: no-cache", "200 | etag: \"b\"", "200"), ("GET /", "200", "200 #2")],
            ),
            (
                "another length",
                &[fresh, ("HEAD / | cache-control: no-cache", "200 | body: 12345", "200"), ("GET /", "200", "200 #2")],
            ),
            ("gone", &[fresh, ("HEAD / | cache-control: no-cache", "410", "410"), ("GET /", "200", "200 #2")]),
            ("broken", &[fresh, ("HEAD / | cache-control: no-cache", "500", "500"), ("GET /", "", "200 #0")]),
            ("not kept itself", &[("HEAD /", "200 | cache-control: max-age=60", "200"), ("GET /", "200", "200 #1")]),
        ],
    )
    .await;
}

/// No client request fails.
#[tokio::test]
async fn sections_3_1_and_3_5_what_is_for_one_client_or_connection() {
    let fresh = "200 | cache-control: max-age=60";
    play(
        "true",
        &[
            (
                "authorised",
                &[
                    ("GET / | authorization: x", fresh, "200 #0"),
                    ("GET / | authorization: x", fresh, "200 #1"),
                    ("GET /", fresh, "200 #2"),
                    ("GET / | authorization: x", "", "200 #2"),
                ],
            ),
            (
                "authorised, where something is stale",
                &[
                    ("GET /", "200 | cache-control: max-age=60 | age: 60 | etag: \"a\"", "200 #0"),
                    (
                        "GET / | authorization: x",
                        "304 | cache-control: max-age=60 | etag: \"a\" < if-none-match: \"a\"",
                        "200 #0",
                    ),
                    ("HEAD / | authorization: x", "200 | cache-control: max-age=60 | etag: \"a\"", "200"),
                    ("GET / | authorization: x", "200 | cache-control: max-age=60 | etag: \"b\"", "200 #3"),
                    ("GET /", "304 | cache-control: max-age=60 < if-none-match: \"a\"", "200 #0"),
                    ("HEAD / | authorization: x | cache-control: no-cache", "200 | etag: \"a\"", "200"),
                    ("GET /", "", "200 #0"),
                ],
            ),
            (
                "authorised, public",
                &[
                    ("GET / | authorization: x", "200 | cache-control: max-age=60, public", "200 #0"),
                    ("GET /", "", "200 #0"),
                ],
            ),
            (
                "authorised, s-maxage",
                &[("GET / | authorization: x", "200 | cache-control: s-maxage=60", "200 #0"), ("GET /", "", "200 #0")],
            ),
            (
                "authorised, must-revalidate",
                &[
                    ("GET / | authorization: x", "200 | cache-control: max-age=60, must-revalidate", "200 #0"),
                    ("GET /", "", "200 #0"),
                ],
            ),
            (
                "private field",
                &[
                    ("GET /", "200 | cache-control: max-age=60, private=\"x-a\" | x-a: 1 | x-b: 1", "200 #0 | x-a: 1"),
                    ("GET /", "", "200 #0 | !x-a | x-b: 1"),
                ],
            ),
            (
                "field to be asked for",
                &[
                    ("GET /", "200 | cache-control: max-age=60, no-cache=\"x-a\" | x-a: 1 | x-b: 1", "200 #0 | x-a: 1"),
                    ("GET /", "", "200 #0 | !x-a | x-b: 1"),
                ],
            ),
            (
                "cookie apart",
                &[
                    (
                        "GET /",
                        "200 | cache-control: max-age=60, no-cache=\"set-cookie\" | set-cookie: a=b",
                        "200 #0 | set-cookie: a=b",
                    ),
                    ("GET /", "", "200 #0 | !set-cookie"),
                ],
            ),
            (
                "cookie of another client, when the origin was asked",
                &[
                    (
                        "GET /",
                        "200 | cache-control: max-age=60, no-cache=\"set-cookie\" | age: 70 | etag: \"a\" | set-cookie: a=b",
                        "200 #0 | set-cookie: a=b",
                    ),
                    ("GET /", "304 | etag: \"a\" | age: 70", "200 #0 | !set-cookie"),
                    ("GET /", "304 | etag: \"a\" | age: 70 | set-cookie: a=c", "200 #0 | set-cookie: a=c"),
                    ("GET /", "304 | etag: \"a\"", "200 #0 | !set-cookie"),
                ],
            ),
            (
                "connection",
                &[
                    ("GET /", "200 | cache-control: max-age=60 | connection: x-a | x-a: 1", "200 #0 | !x-a"),
                    ("GET /", "", "200 #0 | !x-a"),
                ],
            ),
            (
                "proxies",
                &[
                    ("GET /", "200 | cache-control: max-age=60 | proxy-authenticate: Basic", "200 #0"),
                    ("GET /", "", "200 #0 | !proxy-authenticate"),
                ],
            ),
            (
                "what is said to caches goes on",
                &[
                    (
                        "GET /",
                        "200 | cdn-cache-control: max-age=60 | cache-control: max-age=5",
                        "200 #0 | cdn-cache-control: max-age=60",
                    ),
                    ("GET /", "", "200 #0 | cdn-cache-control: max-age=60 | cache-control: max-age=5"),
                ],
            ),
            (
                "date",
                &[
                    (
                        "GET /",
                        "200 | cache-control: max-age=99999999999 | date: Sun, 06 Nov 1994 08:49:37 GMT",
                        "200 #0 | date: Sun, 06 Nov 1994 08:49:37 GMT",
                    ),
                    ("GET /", "", "200 #0 | date: Sun, 06 Nov 1994 08:49:37 GMT"),
                ],
            ),
        ],
    )
    .await;
}

/// What is in no key makes nothing that is kept. No client request fails.
#[tokio::test]
async fn what_is_not_in_the_key_poisons_nothing() {
    let (fresh, plain) = ("200 | cache-control: max-age=60", ("GET /", "200 | cache-control: max-age=60", "200 #1"));
    play(
        "true",
        &[
            ("content", &[("GET / | content-length: 1\r\n\r\nx", fresh, "200 #0"), plain]),
            ("method", &[("GET / | x-http-method-override: DELETE", fresh, "200 #0"), plain]),
            ("target", &[("GET / | x-original-url: /admin", "200 < !x-original-url", "200 #0"), plain]),
            (
                "host of a stranger",
                &[(
                    "GET / | x-forwarded-host: evil.example",
                    "200 | cache-control: max-age=60 < x-forwarded-host: a.example",
                    "200 #0",
                )],
            ),
            (
                "range",
                &[
                    ("GET / | range: bytes=0-0", "206 | cache-control: max-age=60 | content-range: bytes 0-0/5", "206"),
                    plain,
                ],
            ),
            ("condition", &[("GET / | if-none-match: *", "304 | cache-control: max-age=60", "304"), plain]),
            ("outside", &[("GET / | range: bytes=9-", "416 | cache-control: max-age=60", "416"), plain]),
            ("HEAD", &[("HEAD /", fresh, "200"), plain]),
            ("method of a POST", &[("POST / | content-length: 0", fresh, "200 #0"), plain]),
        ],
    )
    .await;
}
