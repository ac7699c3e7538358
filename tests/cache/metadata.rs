//! Validators, and what is said of what is kept: RFC 9111 sections 3.1, 3.2, 4.3 and 4.4; RFC 9110 sections 8.8, 13 and 15.4.5.

use super::{Step, play};

const FRESH: &str = "200 | cache-control: max-age=60";

/// No client request fails.
#[tokio::test]
async fn section_3_2_news_replace_what_was_said() {
    let stale = (
        "GET /",
        "200 | cache-control: max-age=60 | age: 70 | etag: \"a\" | content-type: text/plain | x-a: 1 | x-a: 2 | x-b: 1 | cache-status: origin; hit",
        "200 #0 | cache-status: origin; hit, gatewright*",
    );
    let news = |more: &str| format!("304 | etag: \"a\" | cache-control: max-age=60 | {more}");
    let rows = [
        ("x-a: 3", "x-a: 3 | x-b: 1"),
        ("x-c: 1", "x-c: 1 | x-b: 1"),
        ("content-type: text/html", "content-type: text/html"),
        ("content-language: de", "content-language: de"),
        ("last-modified: Sun, 06 Nov 1994 08:49:37 GMT", "last-modified: Sun, 06 Nov 1994 08:49:37 GMT"),
        ("expires: Sat, 06 Nov 2094 08:49:37 GMT", "expires: Sat, 06 Nov 2094 08:49:37 GMT"),
        ("content-security-policy: default-src 'self'", "content-security-policy: default-src 'self'"),
        ("access-control-allow-origin: *", "access-control-allow-origin: **"),
        // What is decided by the body that is kept.
        ("content-length: 99", "content-length: 1"),
        ("content-encoding: br", "!content-encoding"),
        ("content-range: bytes 0-0/5", "!content-range"),
        ("proxy-authenticate: Basic", "!proxy-authenticate"),
        ("connection: x-a | x-a: 7", "x-a: 1, 2"),
        ("set-cookie: a=b", "!set-cookie"),
    ];
    let answers: Vec<String> = rows.iter().map(|(more, _)| news(more)).collect();
    let outcomes: Vec<String> = rows.iter().map(|(_, outcome)| format!("200 #0 | {outcome}")).collect();
    let steps: Vec<[Step<'_>; 3]> = answers
        .iter()
        .zip(&outcomes)
        .map(|(answer, outcome)| [stale, ("GET /", &**answer, "200 #0"), ("GET /", "", &**outcome)])
        .collect();
    let cases: Vec<_> = rows.iter().zip(&steps).map(|((name, _), steps)| (*name, &steps[..])).collect();
    play("true", &cases).await;
}

/// No client request fails.
#[tokio::test]
async fn section_4_3_3_what_the_origin_answers_to_a_condition() {
    let stale = ("GET /", "200 | cache-control: max-age=60 | age: 70 | etag: \"a\"", "200 #0");
    play(
        "true",
        &[
            (
                "it holds, weakly",
                &[stale, ("GET /", "304 | etag: W/\"a\"", "200 #0 | etag: \"a\""), ("GET /", "", "200 #0")],
            ),
            ("it holds, without a tag", &[stale, ("GET /", "304", "200 #0"), ("GET /", "", "200 #0")]),
            (
                "it holds, for ever",
                &[
                    stale,
                    ("GET /", "304 | cache-control: max-age=9999", "200 #0 | cache-control: max-age=9999"),
                    ("GET /", "", "200 #0"),
                ],
            ),
            (
                "another, the same tag",
                &[stale, ("GET /", "200 | cache-control: max-age=60 | etag: \"a\"", "200 #1"), ("GET /", "", "200 #1")],
            ),
            (
                "another, not to be kept",
                &[
                    stale,
                    ("GET /", "200 | cache-control: no-store", "200 #1"),
                    ("GET /", "200 < !if-none-match", "200 #2"),
                ],
            ),
            (
                "a redirect",
                &[
                    stale,
                    ("GET /", "301 | cache-control: max-age=60 | location: /y", "301"),
                    ("GET /", "", "301 | location: /y"),
                ],
            ),
            (
                "an error that may be kept",
                &[stale, ("GET /", "404 | cache-control: max-age=60", "404 #1"), ("GET /", "", "404 #1")],
            ),
            (
                "an error of the moment",
                &[
                    stale,
                    ("GET /", "500", "500"),
                    ("GET /", "502", "502"),
                    ("GET /", "304 < if-none-match: \"a\"", "200 #0"),
                ],
            ),
            (
                "a client that knows it",
                &[
                    stale,
                    (
                        "GET / | if-none-match: \"a\"",
                        "304 | etag: \"a\" < if-none-match: \"a\"",
                        "304 | etag: \"a\" | !content-length",
                    ),
                    ("GET /", "", "200 #0"),
                ],
            ),
            (
                "a client that knows what is new",
                &[
                    stale,
                    (
                        "GET / | if-none-match: \"b\"",
                        "200 | cache-control: max-age=60 | etag: \"b\" < if-none-match: \"a\"",
                        "304 | etag: \"b\"",
                    ),
                    ("GET /", "", "200 #1"),
                ],
            ),
            (
                "a client that is behind",
                &[
                    stale,
                    (
                        "GET / | if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT",
                        "304 | etag: \"a\" < if-none-match: \"a\" | !if-modified-since",
                        "200 #0",
                    ),
                ],
            ),
        ],
    )
    .await;
}

/// A 304 about another date is no word about what is kept. No client request fails.
#[tokio::test]
async fn section_4_3_4_news_of_another_date_are_not_used() {
    let origin = crate::harness::RawOrigin::start().await;
    let gateway = super::gateway(&origin, "true").await;
    let (first, ()) = tokio::join!(gateway.get("a.example/", &[]), async {
        let mut upstream = origin.accept().await;
        upstream.request().await;
        let answer = "200 | cache-control: max-age=0 | last-modified: Sun, 06 Nov 1994 08:49:37 GMT";
        upstream.send(super::response(answer, 0, false)).await;
    });
    assert_eq!(first.text(), "0");
    let (second, ()) = tokio::join!(gateway.get("a.example/", &[]), async {
        let mut upstream = origin.accept().await;
        assert!(upstream.request().await.field("if-modified-since").is_some());
        upstream.send(super::response("304 | last-modified: Sat, 05 Nov 1994 08:49:37 GMT", 1, false)).await;
        let mut upstream = origin.accept().await;
        assert_eq!(upstream.request().await.field("if-modified-since"), None);
        upstream.send(super::response("200", 2, false)).await;
    });
    assert_eq!(second.text(), "2");
}

/// No client request fails: 412 is what the origin says.
#[tokio::test]
async fn rfc_9110_section_13_conditions_of_clients() {
    let tagged = (
        "GET /",
        "200 | cache-control: max-age=60 | etag: \"a\" | last-modified: Sun, 06 Nov 1994 08:49:37 GMT",
        "200 #0",
    );
    let weak = ("GET /", "200 | cache-control: max-age=60 | etag: W/\"a\"", "200 #0");
    let odd = ("GET /", "200 | cache-control: max-age=60 | etag: \"a,b\\\"", "200 #0");
    let other = ("GET /", "203 | cache-control: max-age=60 | etag: \"a\"", "203 #0");
    let missing = ("GET /", "404 | cache-control: max-age=60 | etag: \"a\"", "404 #0");
    let plain = ("GET /", "200 | cache-control: max-age=60", "200 #0");
    play(
        "true",
        &[
            ("list with odd spaces", &[tagged, ("GET / | if-none-match: ,, \"x\"\t,\"a\" ,", "", "304")]),
            ("weak in a list", &[tagged, ("GET / | if-none-match: \"x\", W/\"a\"", "", "304")]),
            ("weak for weak", &[weak, ("GET / | if-none-match: W/\"a\"", "", "304 | etag: W/\"a\""), ("GET / | if-none-match: \"a\"", "", "304")]),
            ("small w", &[tagged, ("GET / | if-none-match: w/\"a\"", "", "200 #0")]),
            ("without quotes", &[tagged, ("GET / | if-none-match: a", "", "200 #0")]),
            ("in another case", &[tagged, ("GET / | if-none-match: \"A\"", "", "200 #0")]),
            ("with a comma and a backslash", &[odd, ("GET / | if-none-match: \"a,b\\\", \"c\"", "", "304")]),
            ("a tag for what has none", &[plain, ("GET / | if-none-match: \"a\"", "", "200 #0")]),
            ("a star for what has none", &[plain, ("GET / | if-none-match: *", "", "304")]),
            ("since now", &[plain, ("GET / | if-modified-since: Sat, 06 Nov 2094 08:49:37 GMT", "", "304")]),
            ("since long ago", &[plain, ("GET / | if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT", "", "200 #0")]),
            ("since, in other forms", &[tagged, ("GET / | if-modified-since: Sunday, 06-Nov-94 08:49:37 GMT", "", "304"), ("GET / | if-modified-since: Sun Nov  6 08:49:37 1994", "", "304")]),
            ("since no date", &[tagged, ("GET / | if-modified-since: 0", "", "200 #0")]),
            ("203", &[other, ("GET / | if-none-match: \"a\"", "", "304 | etag: \"a\"")]),
            ("404", &[missing, ("GET / | if-none-match: \"a\"", "", "404 #0"), ("GET / | range: bytes=0-0", "", "404 #0")]),
            (
                "what a 304 says",
                &[
                    ("GET /", "200 | cache-control: max-age=60 | etag: \"a\" | vary: foo | expires: Sat, 06 Nov 2094 08:49:37 GMT | content-location: /y | date: Sat, 06 Nov 2094 08:49:37 GMT | content-type: text/plain", "200 #0"),
                    (
                        "GET / | if-none-match: \"a\"",
                        "",
                        "304 | cache-control: max-age=60 | etag: \"a\" | vary: foo | expires: Sat, 06 Nov 2094 08:49:37 GMT | content-location: /y | date: Sat, 06 Nov 2094 08:49:37 GMT | !content-type | !content-length",
                    ),
                ],
            ),
            ("If-Match that holds", &[tagged, ("GET / | if-match: \"a\"", "200 < if-match: \"a\"", "200 #1"), ("GET /", "", "200 #0")]),
            ("If-Match of a star", &[tagged, ("GET / | if-match: *", "200 < if-match: *", "200 #1")]),
            ("If-Unmodified-Since", &[tagged, ("GET / | if-unmodified-since: Sat, 06 Nov 2094 08:49:37 GMT", "200 < if-unmodified-since: *", "200 #1")]),
            ("If-Range without Range", &[tagged, ("GET / | if-range: \"b\"", "", "200 #0")]),
            ("If-Range that is weak", &[weak, ("GET / | range: bytes=0-0 | if-range: W/\"a\"", "", "200 #0")]),
            ("If-Range by date", &[tagged, ("GET / | range: bytes=0-0 | if-range: Sun, 06 Nov 1994 08:49:37 GMT", "", "206 #0"), ("GET / | range: bytes=0-0 | if-range: Sun, 06 Nov 1994 08:49:38 GMT", "", "200 #0")]),
            ("Range and If-None-Match", &[tagged, ("GET / | range: bytes=0-0 | if-none-match: \"a\"", "", "304"), ("GET / | range: bytes=0-0 | if-none-match: \"b\"", "", "206 #0")]),
            ("Range of a HEAD", &[tagged, ("HEAD / | range: bytes=0-0", "", "200 | content-length: 1")]),
        ],
    )
    .await;
}

/// No client request fails.
#[tokio::test]
async fn rfc_9110_section_14_ranges_of_what_is_complete() {
    let whole = (
        "GET /",
        "200 | cache-control: max-age=60 | etag: \"a\" | content-type: text/plain | body: 0123456789",
        "200 #0123456789",
    );
    let all = "200 #0123456789";
    let mut cases: Vec<(&str, [Step<'_>; 2])> = Vec::new();
    for (range, outcome) in [
        (
            "GET / | range: bytes=0-0",
            "206 #0 | content-range: bytes 0-0/10 | content-length: 1 | content-type: text/plain | etag: \"a\" | cache-control: max-age=60",
        ),
        ("GET / | range: BYTES=0-0", "206 #0"),
        ("GET / | range: bytes=9-9", "206 #9"),
        ("GET / | range: bytes=0-99", "206 #0123456789 | content-range: bytes 0-9/10"),
        ("GET / | range: bytes=-100", "206 #0123456789"),
        ("GET / | range: bytes=-1", "206 #9 | content-range: bytes 9-9/10"),
        ("GET / | range: bytes=5-,-5", "206 #56789 | content-range: bytes 5-9/10"),
        ("GET / | range: bytes=0-1,10-", "206 #01"),
        ("GET / | range: bytes=0-0,2-2", "206 | content-type: multipart/byteranges; boundary=* | !content-range"),
        ("GET / | range: bytes=10-", "416 | content-range: bytes */10"),
        ("GET / | range: bytes=-0", "416 | content-range: bytes */10"),
        ("GET / | range: bytes=99999999999999999999-", "416"),
        ("GET / | range: bytes=3-2", all),
        ("GET / | range: bytes=", all),
        ("GET / | range: bytes", all),
        ("GET / | range: bytes=a-b", all),
        ("GET / | range: bytes=0-1-2", all),
        ("GET / | range: pages=1-2", all),
    ] {
        cases.push((range, [whole, (range, "", outcome)]));
    }
    let cases: Vec<_> = cases.iter().map(|(name, steps)| (*name, &steps[..])).collect();
    play("true", &cases).await;
}

/// No client request fails: the statuses are what the origin says.
#[tokio::test]
async fn section_4_4_which_requests_change_what_is_kept() {
    let fresh = ("GET /x", "200 | cache-control: max-age=60", "200 #0");
    let mut rows: Vec<(String, String, bool)> = Vec::new();
    for method in ["POST", "PUT", "PATCH", "DELETE", "PROPPATCH", "UNKNOWN", "post"] {
        for (status, changes) in [
            (200, true),
            (201, true),
            (204, true),
            (299, true),
            (301, true),
            (303, true),
            (400, false),
            (404, false),
            (409, false),
            (500, false),
            (503, false),
        ] {
            rows.push((format!("{method} /x | content-length: 0"), status.to_string(), changes));
        }
    }
    for method in ["OPTIONS", "QUERY"] {
        rows.push((format!("{method} /x | content-length: 0"), "200".to_owned(), false));
    }
    rows.push(("POST /y | content-length: 0".to_owned(), "200 | location: z/../x".to_owned(), true));
    rows.push(("POST /x?y | content-length: 0".to_owned(), "200".to_owned(), false));
    rows.push(("POST /x/ | content-length: 0".to_owned(), "200".to_owned(), false));
    rows.push((
        "POST /x | content-length: 0".to_owned(),
        "200 | location: //b.example{base}/x | cache-control: max-age=60".to_owned(),
        true,
    ));
    for (field, changes) in [
        ("location: {base}/x", true),
        ("location: x", true),
        ("location: ./x", true),
        ("location: //a.example{base}/x", true),
        ("location: http://a.example{base}/x#part", true),
        ("content-location: HTTP://A.EXAMPLE:80{base}/x", true),
        ("location: https://a.example{base}/x", false),
        ("location: http://a.example:81{base}/x", false),
        ("location: http://a.example.evil{base}/x", false),
        ("location: http://a.example@evil{base}/x", false),
        ("content-location: //b.example{base}/x", false),
        ("x-location: {base}/x", false),
    ] {
        rows.push(("POST /y | content-length: 0".to_owned(), format!("201 | {field}"), changes));
        rows.push(("POST /y | content-length: 0".to_owned(), format!("400 | {field}"), false));
        rows.push(("GET /y".to_owned(), format!("200 | cache-control: no-store | {field}"), false));
    }
    let outcomes: Vec<&str> = rows.iter().map(|(_, answer, _)| answer.split(' ').next().unwrap()).collect();
    let steps: Vec<[Step<'_>; 3]> = rows
        .iter()
        .zip(&outcomes)
        .map(|((request, answer, changes), outcome)| {
            let last = if *changes { ("GET /x", FRESH, "200 #2") } else { ("GET /x", "", "200 #0") };
            [fresh, (&**request, &**answer, *outcome), last]
        })
        .collect();
    let names: Vec<String> = rows.iter().map(|(request, answer, _)| format!("{request} -> {answer}")).collect();
    let cases: Vec<_> = names.iter().zip(&steps).map(|(name, steps)| (&**name, &steps[..])).collect();
    play("true", &cases).await;
}

/// The client that asks for what was changed gets an error, since the origin cannot be asked; no other fails.
#[tokio::test]
async fn section_4_4_what_was_changed_is_not_given_without_the_origin() {
    let fresh = ("GET /", "200 | cache-control: max-age=60, stale-if-error=60 | etag: \"a\"", "200 #0");
    let change = ("POST / | content-length: 0", "200", "200");
    play(
        "true",
        &[
            (
                "silence",
                &[
                    fresh,
                    change,
                    ("GET /", "drop", "502"),
                    ("GET /", "304 < if-none-match: \"a\"", "200 #0"),
                    ("GET /", "", "200 #0"),
                ],
            ),
            ("refusal", &[fresh, change, ("GET /", "503", "503")]),
            (
                "a HEAD that says nothing of the version",
                &[fresh, change, ("HEAD /", "200 | cache-control: max-age=60", "200"), ("GET /", "200", "200 #3")],
            ),
            (
                "a HEAD that names it",
                &[
                    fresh,
                    change,
                    ("HEAD /", "200 | cache-control: max-age=60 | etag: \"a\"", "200"),
                    ("GET /", "", "200 #0"),
                ],
            ),
            ("a client that takes it", &[fresh, change, ("GET / | cache-control: max-stale", "200", "200 #2")]),
            ("only if cached", &[fresh, change, ("GET / | cache-control: only-if-cached", "", "504")]),
        ],
    )
    .await;
}

/// No client request fails.
#[tokio::test]
async fn section_4_3_5_what_a_head_says() {
    let stale = (
        "GET /",
        "200 | cache-control: max-age=60 | age: 70 | etag: \"a\" | last-modified: Sun, 06 Nov 1994 08:49:37 GMT | x-a: 1 | body: 0123",
        "200 #0123",
    );
    let asked: Step<'_> = ("GET /", "200 | cache-control: max-age=60 | body: abcd", "200 #abcd");
    let mut rows: Vec<(&str, &str, Option<&str>)> = Vec::new();
    for (answer, outcome) in [
        (
            "200 | etag: \"a\" | x-a: 2 | cache-control: max-age=60 | body: 0123",
            Some("200 #0123 | x-a: 2 | etag: \"a\""),
        ),
        (
            "200 | etag: \"a\" | last-modified: Sun, 06 Nov 1994 08:49:37 GMT | cache-control: max-age=60 | body: 0123",
            Some("200 #0123"),
        ),
        ("200 | etag: \"b\" | cache-control: max-age=60 | body: 0123", None),
        (
            "200 | etag: \"a\" | last-modified: Sun, 06 Nov 1994 08:49:38 GMT | cache-control: max-age=60 | body: 0123",
            None,
        ),
        ("200 | etag: \"a\" | cache-control: max-age=60 | body: 01234", None),
        ("200 | etag: \"a\" | cache-control: no-store | body: 0123", None),
        ("404 | cache-control: max-age=60", None),
        ("410", None),
        ("500", None),
    ] {
        rows.push((answer, answer.split(' ').next().unwrap(), outcome));
    }
    let steps: Vec<[Step<'_>; 3]> = rows
        .iter()
        .map(|(answer, status, outcome)| {
            [stale, ("HEAD /", *answer, *status), outcome.map_or(asked, |outcome| ("GET /", "", outcome))]
        })
        .collect();
    let cases: Vec<_> = rows.iter().zip(&steps).map(|((name, ..), steps)| (*name, &steps[..])).collect();
    play("true", &cases).await;
    let fresh: Step<'_> = ("GET /", "200 | cache-control: max-age=60 | x-a: 1 | body: 0123", "200 #0123");
    play(
        "true",
        &[
            ("a HEAD of what is fresh", &[fresh, ("HEAD /", "", "200 | content-length: 4 | x-a: 1 | age: *")]),
            (
                "a tag that was not known",
                &[
                    ("GET /", "200 | cache-control: max-age=60 | age: 70 | body: 0123", "200 #0123"),
                    ("HEAD /", "200 | etag: \"a\" | cache-control: max-age=60 | body: 0123", "200"),
                    ("GET /", "200 | body: abcd", "200 #abcd"),
                ],
            ),
            (
                "nothing but headers",
                &[
                    ("GET /", "200 | cache-control: max-age=60 | age: 70 | x-a: 1 | body: 0123", "200 #0123"),
                    ("HEAD /", "200 | cache-control: max-age=60 | x-a: 2 | body: 0123", "200"),
                    ("GET /", "", "200 #0123 | x-a: 2"),
                ],
            ),
            ("a GET after a HEAD", &[("HEAD /", "200 | cache-control: max-age=60", "200"), ("GET /", FRESH, "200 #1")]),
            (
                "a HEAD past the cache changes nothing",
                &[
                    fresh,
                    ("HEAD / | cache-control: no-store", "200 | cache-control: max-age=60 | x-a: 2", "200"),
                    ("GET /", "", "200 #0123 | x-a: 1"),
                ],
            ),
        ],
    )
    .await;
}
