//! Parts of responses: RFC 9111 sections 3.3 and 3.4, RFC 9110 sections 14 and 15.3.7.

use super::{Step, gateway, play, response};
use crate::harness::RawOrigin;

const BEGIN: Step<'_> = (
    "GET / | range: bytes=0-3",
    "206 | cache-control: max-age=60 | etag: \"a\" | x-a: 1 | content-range: bytes 0-3/10 | body: 0123 < range: bytes=0-3",
    "206 #0123 | content-range: bytes 0-3/10 | content-length: 4 | cache-status: gatewright; fwd=uri-miss; fwd-status=206; stored",
);

/// No client request fails.
#[tokio::test]
async fn section_3_3_a_part_answers_what_lies_within() {
    play(
        "true",
        &[
            ("the same", &[BEGIN, ("GET / | range: bytes=0-3", "", "206 #0123 | content-range: bytes 0-3/10 | content-length: 4 | age: * | x-a: 1")]),
            ("within", &[BEGIN, ("GET / | range: bytes=1-2", "", "206 #12 | content-range: bytes 1-2/10 | etag: \"a\"")]),
            ("If-Range", &[BEGIN, ("GET / | range: bytes=1-2 | if-range: \"a\"", "", "206 #12")]),
            (
                "If-Range of another",
                &[BEGIN, ("GET / | range: bytes=1-2 | if-range: \"b\"", "200 | body: 0123456789 < if-range: \"b\"", "200 #0123456789")],
            ),
            (
                "the end",
                &[
                    ("GET / | range: bytes=-3", "206 | cache-control: max-age=60 | content-range: bytes 7-9/10 | body: 789", "206 #789"),
                    ("GET / | range: bytes=-2", "", "206 #89 | content-range: bytes 8-9/10"),
                    ("GET / | range: bytes=8-", "", "206 #89"),
                    ("GET / | range: bytes=7-100", "", "206 #789"),
                ],
            ),
            (
                "beyond",
                &[BEGIN, ("GET / | range: bytes=2-5", "206 | content-range: bytes 2-5/10 | body: 2345 < range: bytes=2-5 | !if-range", "206 #2345 | cache-status: gatewright; fwd=partial*")],
            ),
            ("by HEAD", &[BEGIN, ("HEAD /", "200 | body: 0123456789 < HEAD | !range", "200")]),
            ("a condition", &[BEGIN, ("GET / | range: bytes=0-3 | if-none-match: \"a\"", "304 | etag: \"a\" < if-none-match: \"a\"", "304")]),
            ("demanded new", &[BEGIN, ("GET / | range: bytes=0-3 | cache-control: no-cache", "206 | content-range: bytes 0-3/10 | body: abcd", "206 #abcd")]),
            ("only if cached", &[BEGIN, ("GET / | cache-control: only-if-cached", "", "504"), ("GET / | range: bytes=0-1 | cache-control: only-if-cached", "", "206 #01")]),
            (
                "stale",
                &[
                    ("GET / | range: bytes=0-3", "206 | cache-control: max-age=60 | age: 70 | etag: \"a\" | content-range: bytes 0-3/10 | body: 0123", "206 #0123"),
                    ("GET / | range: bytes=0-3", "206 | content-range: bytes 0-3/10 | body: abcd", "206 #abcd"),
                ],
            ),
            (
                "another variant",
                &[
                    ("GET / | range: bytes=0-3 | foo: 1", "206 | cache-control: max-age=60 | vary: foo | content-range: bytes 0-3/10 | body: 0123", "206 #0123"),
                    ("GET / | range: bytes=0-3 | foo: 2", "206 | content-range: bytes 0-3/10 | body: abcd", "206 #abcd"),
                    ("GET / | range: bytes=0-3 | foo: 1", "", "206 #0123"),
                ],
            ),
            ("changed", &[BEGIN, ("POST / | content-length: 0", "200", "200"), ("GET / | range: bytes=0-3", "206 | content-range: bytes 0-3/10 | body: abcd", "206 #abcd")]),
        ],
    )
    .await;
}

/// No client request fails.
#[tokio::test]
async fn section_3_3_what_does_not_say_what_it_is_a_part_of_is_not_kept() {
    let asked = |answer: &'static str| -> [Step<'static>; 2] {
        [
            ("GET / | range: bytes=0-3", answer, "206"),
            ("GET / | range: bytes=0-3", "200 | body: 0123456789", "200 #0123456789"),
        ]
    };
    let rows = [
        "206 | cache-control: max-age=60 | body: 0123",
        "206 | cache-control: max-age=60 | content-range: bytes 0-3/* | body: 0123",
        "206 | cache-control: max-age=60 | content-range: bytes 0-4/10 | body: 0123",
        "206 | cache-control: max-age=60 | content-range: lines 0-3/10 | body: 0123",
        "206 | cache-control: max-age=60 | content-type: multipart/byteranges; boundary=x | body: 0123",
        "206 | cache-control: no-store | content-range: bytes 0-3/10 | body: 0123",
        "206 | cache-control: private | content-range: bytes 0-3/10 | body: 0123",
        "206 | cache-control: max-age=60 | set-cookie: a=b | content-range: bytes 0-3/10 | body: 0123",
        "206 | content-range: bytes 0-3/10 | body: 0123",
    ];
    let steps: Vec<_> = rows.iter().map(|answer| (*answer, asked(answer))).collect();
    let cases: Vec<_> = steps.iter().map(|(name, steps)| (*name, &steps[..])).collect();
    play("true", &cases).await;
}

/// No client request fails.
#[tokio::test]
async fn section_3_4_parts_are_put_together_by_a_strong_validator_only() {
    let end = "206 | cache-control: max-age=60 | etag: \"a\" | x-a: 2 | content-range: bytes 4-9/10 | body: 456789 < range: bytes=4- | if-range: \"a\" | !if-none-match";
    let weak = (
        "GET / | range: bytes=0-3",
        "206 | cache-control: max-age=60 | etag: W/\"a\" | content-range: bytes 0-3/10 | body: 0123",
        "206 #0123",
    );
    let whole = "200 | cache-control: max-age=60 | body: abcdefghij";
    let stay = ("GET /", "", "200 #0123456789");
    play(
        "true",
        &[
            (
                "the rest",
                &[
                    BEGIN,
                    ("GET /", end, "200 #0123456789 | content-length: 10 | !content-range | x-a: 2 | cache-status: gatewright; fwd=partial; fwd-status=206; stored"),
                    ("GET /", "", "200 #0123456789 | x-a: 2 | etag: \"a\""),
                    ("GET / | range: bytes=3-5", "", "206 #345"),
                    ("HEAD /", "", "200 | content-length: 10"),
                ],
            ),
            (
                "the middle",
                &[
                    BEGIN,
                    ("GET / | range: bytes=-2", "206 | cache-control: max-age=60 | etag: \"a\" | content-range: bytes 8-9/10 | body: 89", "206 #89"),
                    ("GET / | range: bytes=1-3", "", "206 #123"),
                    ("GET /", "206 | etag: \"a\" | content-range: bytes 4-7/10 | body: 4567 < range: bytes=4-7 | if-range: \"a\"", "200 #0123456789"),
                    stay,
                ],
            ),
            (
                "by clients",
                &[
                    BEGIN,
                    ("GET / | range: bytes=4-", "206 | cache-control: max-age=60 | etag: \"a\" | content-range: bytes 4-9/10 | body: 456789", "206 #456789"),
                    stay,
                ],
            ),
            (
                "by date",
                &[
                    ("GET / | range: bytes=0-3", "206 | cache-control: max-age=9999999999 | date: Sun, 06 Nov 1994 08:50:36 GMT | last-modified: Sun, 06 Nov 1994 08:49:37 GMT | content-range: bytes 0-3/10 | body: 0123", "206 #0123"),
                    ("GET /", "200 | body: abcdefghij < !range | !if-range", "200 #abcdefghij"),
                ],
            ),
            (
                "by a date of long ago",
                &[
                    ("GET / | range: bytes=0-3", "206 | cache-control: max-age=9999999999 | date: Sun, 06 Nov 1994 08:50:37 GMT | last-modified: Sun, 06 Nov 1994 08:49:37 GMT | content-range: bytes 0-3/10 | body: 0123", "206 #0123"),
                    (
                        "GET /",
                        "206 | cache-control: max-age=9999999999 | date: Sun, 06 Nov 1994 08:50:37 GMT | last-modified: Sun, 06 Nov 1994 08:49:37 GMT | content-range: bytes 4-9/10 | body: 456789 < if-range: Sun, 06 Nov 1994 08:49:37 GMT",
                        "200 #0123456789",
                    ),
                ],
            ),
            ("weak", &[weak, ("GET /", "200 | cache-control: max-age=60 | body: abcdefghij < !range | !if-range", "200 #abcdefghij")]),
            ("new", &[BEGIN, ("GET /", whole, "200 #abcdefghij"), ("GET /", "", "200 #abcdefghij"), ("GET / | range: bytes=0-3", "", "206 #abcd")]),
            ("gone", &[BEGIN, ("GET /", "404", "404")]),
            (
                "the next of another version",
                &[
                    BEGIN,
                    ("GET / | range: bytes=4-", "206 | cache-control: max-age=60 | etag: \"b\" | content-range: bytes 4-9/10 | body: efghij", "206 #efghij"),
                    ("GET / | range: bytes=0-3", "206 | cache-control: max-age=60 | etag: \"b\" | content-range: bytes 0-3/10 | body: abcd", "206 #abcd"),
                    ("GET /", "", "200 #abcdefghij"),
                ],
            ),
            (
                "of another length",
                &[
                    BEGIN,
                    ("GET / | range: bytes=4-", "206 | cache-control: max-age=60 | etag: \"a\" | content-range: bytes 4-10/11 | body: efghijk", "206 #efghijk"),
                    ("GET / | range: bytes=0-3", "206 | content-range: bytes 0-3/10 | body: 0123", "206 #0123"),
                ],
            ),
            (
                "what must not be kept any more",
                &[
                    BEGIN,
                    ("GET /", "206 | cache-control: no-store | etag: \"a\" | content-range: bytes 4-9/10 | body: 456789", "200 #0123456789"),
                    ("GET / | cache-control: no-cache", whole, "200 #abcdefghij"),
                ],
            ),
        ],
    )
    .await;
}

/// An origin that sends another part than was asked for, or of another version, is asked for all. No client request fails.
#[tokio::test]
async fn section_3_4_what_does_not_fit_is_not_put_together() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    let mut cases = vec!["304 | etag: \"a\"".to_owned(), "416 | content-range: bytes */3".to_owned(), "412".to_owned()];
    for (tag, range, body) in [
        ("\"b\"", "4-9/10", "efghij"),
        ("W/\"a\"", "4-9/10", "efghij"),
        ("\"a\"", "5-9/10", "fghij"),
        ("\"a\"", "4-8/10", "efghi"),
        ("\"a\"", "4-9/11", "efghij"),
        ("\"a\"", "4-9/10", "efghijk"),
    ] {
        cases.push(format!("206 | etag: {tag} | content-range: bytes {range} | body: {body}"));
    }
    cases.push("206 | content-range: bytes 4-9/10 | body: 456789".to_owned());
    for (number, case) in cases.iter().enumerate() {
        let url = format!("a.example/{number}");
        let (first, ()) = tokio::join!(gateway.get(&url, &["range: bytes=0-3"]), async {
            let mut upstream = origin.accept().await;
            upstream.request().await;
            upstream.send(response(BEGIN.1.split(" <").next().unwrap(), 0, false)).await;
        });
        assert_eq!(first.text(), "0123");
        let (second, ()) = tokio::join!(gateway.get(&url, &[]), async {
            let mut upstream = origin.accept().await;
            assert!(upstream.request().await.has("if-range", "\"a\""));
            upstream.send(response(case, 0, false)).await;
            let mut upstream = origin.accept().await;
            let seen = upstream.request().await;
            assert_eq!((seen.field("range"), seen.field("if-range")), (None, None), "{case}");
            upstream.send(response("200 | body: abcdefghij", 0, false)).await;
        });
        assert_eq!((second.status(), second.text()), (200, "abcdefghij".to_owned()), "{case}");
    }
}

/// The client of the body that breaks has a response that is cut, and so has the one of the rest that breaks; no other fails.
#[tokio::test]
async fn section_3_3_what_broke_off_is_never_given_as_a_whole() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    let ask = async |fields: &str| {
        let mut client = gateway.raw().await;
        client.send(format!("GET /x HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")).await;
        client
    };
    let mut client = ask("").await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\nContent-Length: 10\r\n\r\n";
    upstream.send(format!("{head}01234")).await;
    client.until("01234").await;
    drop(upstream);
    assert!(client.rest().await.0.is_empty());
    // What came is there, for ranges.
    let part = ask("Range: bytes=1-3\r\n").await.response().await;
    assert_eq!(
        (part.status(), part.text(), part.field("content-range")),
        (206, "123".to_owned(), Some("bytes 1-3/10".to_owned()))
    );
    origin.is_untouched();
    // The rest breaks off, too.
    let mut client = ask("").await;
    let mut upstream = origin.accept().await;
    assert!(upstream.request().await.has("range", "bytes=5-"));
    let rest = "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n";
    upstream.send(format!("{rest}56")).await;
    client.until("0123456").await;
    drop(upstream);
    assert!(client.rest().await.0.is_empty());
    let mut client = ask("").await;
    let mut upstream = origin.accept().await;
    assert!(upstream.request().await.has("range", "bytes=7-"));
    upstream.send(format!("{}789", rest.replace("5-9", "7-9").replace("Length: 5", "Length: 3"))).await;
    let whole = client.response().await;
    assert_eq!((whole.status(), whole.text()), (200, "0123456789".to_owned()));
    assert_eq!(ask("").await.response().await.text(), "0123456789");
    origin.is_untouched();
}

/// No client request fails.
#[tokio::test]
async fn section_3_3_what_broke_off_without_a_strong_validator_is_forgotten() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    for (number, framing) in [
        "Content-Length: 10\r\n\r\n01234",
        "ETag: W/\"a\"\r\nContent-Length: 10\r\n\r\n01234",
        "ETag: \"a\"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n",
    ]
    .iter()
    .enumerate()
    {
        let ask = async |fields: &str| {
            let mut client = gateway.raw().await;
            client.send(format!("GET /{number} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")).await;
            client
        };
        let mut client = ask("").await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstream.send(format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{framing}")).await;
        client.until("01234").await;
        drop(upstream);
        client.rest().await;
        let mut client = ask("Range: bytes=1-3\r\n").await;
        let mut upstream = origin.accept().await;
        assert!(upstream.request().await.has("range", "bytes=1-3"), "{framing}");
        upstream.send(response("416", number, false)).await;
        client.response().await.is(416);
        let mut client = ask("").await;
        let mut upstream = origin.accept().await;
        let seen = upstream.request().await;
        assert_eq!((seen.field("range"), seen.field("if-range")), (None, None), "{framing}");
        upstream.send(response("200", number, false)).await;
        assert_eq!(client.response().await.text(), number.to_string());
    }
}

/// No client request fails.
#[tokio::test]
async fn parts_are_together_no_larger_than_what_is_kept_of_one_response() {
    let end = "206 | cache-control: max-age=60 | etag: \"a\" | content-range: bytes 4-9/10 | body: 456789";
    play(
        "{ size_most = '6B' }",
        &[
            (
                "what came last is kept",
                &[
                    BEGIN,
                    ("GET / | range: bytes=4-", end, "206 #456789"),
                    ("GET / | range: bytes=4-5", "", "206 #45"),
                    ("GET / | range: bytes=0-3", "206 | content-range: bytes 0-3/10 | body: 0123", "206 #0123"),
                ],
            ),
            (
                "the whole is passed on",
                &[
                    BEGIN,
                    ("GET /", end, "200 #0123456789 | cache-status: gatewright; fwd=partial*"),
                    ("GET /", "200", "200 #2"),
                ],
            ),
            (
                "a part that is too large",
                &[
                    (
                        "GET / | range: bytes=0-6",
                        "206 | cache-control: max-age=60 | content-range: bytes 0-6/10 | body: 0123456",
                        "206 #0123456",
                    ),
                    ("GET / | range: bytes=0-6", "206 | content-range: bytes 0-6/10 | body: abcdefg", "206 #abcdefg"),
                ],
            ),
        ],
    )
    .await;
}
