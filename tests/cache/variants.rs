//! Which of several answers to one URL is given: RFC 9111 sections 4.1 and 4.3.1, RFC 9110 section 12.5.5.

use super::{Step, play};

const BY_FOO: &str = "200 | cache-control: max-age=60 | vary: foo";

/// No client request fails.
#[tokio::test]
async fn section_4_1_requests_that_mean_the_same() {
    let mut cases: Vec<(String, [Step<'_>; 2])> = Vec::new();
    let mut row = |vary: &'static str, one: &'static str, other: &'static str, same: bool| {
        let answer: &'static str = Box::leak(format!("200 | cache-control: max-age=60 | {vary}").into_boxed_str());
        let second = if same { (other, "", "200 #0") } else { (other, "200", "200 #1") };
        cases.push((format!("{vary}: {one}, {other}"), [(one, answer, "200 #0"), second]));
    };
    let foo = "vary: foo";
    row(foo, "GET / | foo: 1", "GET / | FOO: 1", true);
    row(foo, "GET / | foo: 1", "GET / | foo:   1  ", true);
    row(foo, "GET / | foo: 1, 2", "GET / | foo: 1,2", true);
    row(foo, "GET / | foo: 1, 2", "GET / | foo: 1 ,\t2", true);
    row(foo, "GET / | foo: 1 | foo: 2", "GET / | foo: 1, 2", true);
    row(foo, "GET / | foo: 1, 2", "GET / | foo: 2, 1", false);
    row(foo, "GET / | foo: 1 2", "GET / | foo: 12", false);
    row(foo, "GET / | foo: \"1, 2\"", "GET / | foo: \"1,2\"", false);
    row(foo, "GET / | foo: a", "GET / | foo: A", false);
    row(foo, "GET / | foo: 1", "GET /", false);
    row(foo, "GET /", "GET / | foo: 1", false);
    row(foo, "GET / | foo: 1", "GET / | foo:", false);
    row(foo, "GET /", "GET / | bar: 1", true);
    row("vary: foo, bar", "GET / | foo: 1 | bar: 2", "GET / | bar: 2 | foo: 1", true);
    row("vary: foo, bar", "GET / | foo: 1 | bar: 2", "GET / | foo: 2 | bar: 1", false);
    row("vary: foo | vary: bar", "GET / | foo: 1 | bar: 2", "GET / | foo: 1 | bar: 3", false);
    row("vary: FOO,,foo , ", "GET / | foo: 1", "GET / | foo: 2", false);
    row("vary:", "GET / | foo: 1", "GET / | foo: 2", true);
    row("vary: *", "GET / | foo: 1", "GET / | foo: 1", false);
    row("vary: foo, *", "GET / | foo: 1", "GET / | foo: 1", false);
    row("vary: foo | vary: *", "GET / | foo: 1", "GET / | foo: 1", false);
    row("vary: *, *", "GET /", "GET /", false);
    row("vary: foo bar", "GET / | foo: 1", "GET / | foo: 1", false);
    row("vary: foo; bar", "GET / | foo: 1", "GET / | foo: 1", false);
    row("vary: accept-language", "GET / | accept-language: de, en", "GET / | accept-language: en,de", true);
    row("vary: accept-language", "GET / | accept-language: de; q=0.5", "GET / | accept-language: DE;q=0.5", true);
    row(
        "vary: accept-language",
        "GET / | accept-language: de;q=0.5, en",
        "GET / | accept-language: de, en;q=0.5",
        false,
    );
    row("vary: accept-encoding", "GET / | accept-encoding: gzip, br", "GET / | accept-encoding: BR,GZIP", true);
    row("vary: accept", "GET / | accept: text/html, text/plain", "GET / | accept: text/plain,text/html", true);
    row("vary: cookie", "GET / | cookie: a=1; b=2", "GET / | cookie: a=1; b=3", false);
    row("vary: cookie", "GET / | cookie: a=1; b=2", "GET / | cookie: a=1; b=2", true);
    row("vary: user-agent", "GET / | user-agent: x", "GET / | user-agent: y", false);
    row("vary: origin", "GET / | origin: http://x", "GET / | origin: http://y", false);
    row("vary: authorization", "GET / | authorization: a", "GET / | authorization: b", false);
    let cases: Vec<_> = cases.iter().map(|(name, steps)| (&**name, &steps[..])).collect();
    play("true", &cases).await;
}

/// No client request fails.
#[tokio::test]
async fn section_4_1_variants_live_beside_each_other() {
    play(
        "true",
        &[
            (
                "three",
                &[
                    ("GET / | foo: 1", BY_FOO, "200 #0"),
                    ("GET / | foo: 2", BY_FOO, "200 #1"),
                    ("GET /", BY_FOO, "200 #2"),
                    ("GET / | foo: 2", "", "200 #1"),
                    ("GET /", "", "200 #2"),
                    ("GET / | foo: 1", "", "200 #0"),
                ],
            ),
            (
                "a weak tag does not tell them apart",
                &[
                    ("GET / | foo: 1", "200 | cache-control: max-age=60 | vary: foo | etag: W/\"a\"", "200 #0"),
                    ("GET / | foo: 2", "200 < !if-none-match", "200 #1"),
                ],
            ),
            (
                "what varies no more is for all",
                &[
                    ("GET / | foo: 1", BY_FOO, "200 #0"),
                    ("GET / | foo: 2", "200 | cache-control: max-age=60", "200 #1"),
                    ("GET / | foo: 1", "", "200 #1"),
                ],
            ),
            (
                "what varies by more",
                &[
                    ("GET / | foo: 1", BY_FOO, "200 #0"),
                    ("GET / | foo: 2 | bar: 1", "200 | cache-control: max-age=60 | vary: foo, bar", "200 #1"),
                    ("GET / | foo: 2 | bar: 2", "200", "200 #2"),
                    ("GET / | foo: 2 | bar: 1", "", "200 #1"),
                ],
            ),
            (
                "news say that it varies by something else",
                &[
                    (
                        "GET / | foo: 1 | bar: 1",
                        "200 | cache-control: max-age=60 | age: 70 | vary: foo | etag: \"a\"",
                        "200 #0",
                    ),
                    ("GET / | foo: 1 | bar: 1", "304 | cache-control: max-age=60 | etag: \"a\" | vary: bar", "200 #0"),
                    ("GET / | foo: 2 | bar: 1", "", "200 #0"),
                    ("GET / | foo: 1 | bar: 2", "200", "200 #3"),
                ],
            ),
            (
                "all are changed by what is unsafe",
                &[
                    ("GET / | foo: 1", BY_FOO, "200 #0"),
                    ("GET / | foo: 2", BY_FOO, "200 #1"),
                    ("POST / | foo: 1 | content-length: 0", "200", "200"),
                    ("GET / | foo: 2", BY_FOO, "200 #3"),
                    ("GET / | foo: 1", BY_FOO, "200 #4"),
                ],
            ),
            (
                "ranges and conditions are about one",
                &[
                    (
                        "GET / | foo: 1",
                        "200 | cache-control: max-age=60 | vary: foo | etag: \"1\" | body: 0123",
                        "200 #0123",
                    ),
                    (
                        "GET / | foo: 2",
                        "200 | cache-control: max-age=60 | vary: foo | etag: \"2\" | body: abcd",
                        "200 #abcd",
                    ),
                    ("GET / | foo: 1 | range: bytes=1-1", "", "206 #1 | vary: foo"),
                    ("GET / | foo: 2 | range: bytes=1-1", "", "206 #b"),
                    ("GET / | foo: 1 | if-none-match: \"2\"", "", "200 #0123"),
                    ("GET / | foo: 2 | if-none-match: \"2\"", "", "304 | vary: foo"),
                ],
            ),
        ],
    )
    .await;
}

/// No client request fails.
#[tokio::test]
async fn section_4_3_1_the_origin_is_asked_about_all_variants() {
    let of = |request: &'static str, tag: &'static str, body: &'static str| -> Step<'static> {
        let answer = format!("200 | cache-control: max-age=60 | vary: foo | etag: {tag} | body: {body}");
        (request, Box::leak(answer.into_boxed_str()), Box::leak(format!("200 #{body}").into_boxed_str()))
    };
    let long: &str = Box::leak(format!("\"{}\"", "x".repeat(3000)).into_boxed_str());
    let (one, two) = (of("GET / | foo: 1", "\"1\"", "one"), of("GET / | foo: 2", "\"2\"", "two"));
    play(
        "true",
        &[
            (
                "one of them holds",
                &[
                    one,
                    two,
                    (
                        "GET / | foo: 3",
                        "304 | etag: \"1\" | x-a: 1 < if-none-match: \"2\", \"1\" | !if-modified-since",
                        "200 #one | etag: \"1\" | x-a: 1",
                    ),
                    ("GET / | foo: 3", "", "200 #one"),
                    ("GET / | foo: 1", "", "200 #one"),
                    ("GET / | foo: 2", "", "200 #two"),
                ],
            ),
            (
                "none of them holds",
                &[
                    one,
                    two,
                    of("GET / | foo: 3", "\"3\"", "three"),
                    ("GET / | foo: 3", "", "200 #three"),
                    ("GET / | foo: 1", "", "200 #one"),
                ],
            ),
            (
                "there is one only",
                &[
                    one,
                    ("GET / | foo: 2", "304 < if-none-match: \"1\"", "200 #one"),
                    ("GET / | foo: 2", "", "200 #one"),
                ],
            ),
            (
                "what is too long is not asked about",
                &[
                    one,
                    of("GET / | foo: 2", long, "two"),
                    ("GET / | foo: 3", "200 | cache-control: max-age=60 | vary: foo < if-none-match: \"1\"", "200 #2"),
                ],
            ),
            (
                "those without a tag are not asked about",
                &[
                    ("GET / | foo: 1", BY_FOO, "200 #0"),
                    ("GET / | foo: 2", "200 | cache-control: max-age=60 | vary: foo < !if-none-match", "200 #1"),
                ],
            ),
            (
                "the client's own condition goes on alone",
                &[
                    one,
                    (
                        "GET / | foo: 2 | if-none-match: \"x\"",
                        "304 | etag: \"x\" < if-none-match: \"x\"",
                        "304 | etag: \"x\"",
                    ),
                ],
            ),
        ],
    )
    .await;
}

/// A 304 that names none of them is no answer: it is asked again. No client request fails.
#[tokio::test]
async fn section_4_3_4_news_of_none_of_the_variants_are_not_used() {
    let origin = crate::harness::RawOrigin::start().await;
    let gateway = super::gateway(&origin, "true").await;
    let ask = async |foo: &'static str| gateway.get("a.example/", &[&format!("foo: {foo}")]).await;
    for (foo, tag) in [("1", "\"1\""), ("2", "\"2\"")] {
        let (first, ()) = tokio::join!(ask(foo), async {
            let mut upstream = origin.accept().await;
            upstream.request().await;
            let answer = format!("200 | cache-control: max-age=60 | vary: foo | etag: {tag} | body: {foo}");
            upstream.send(super::response(&answer, 0, false)).await;
        });
        assert_eq!(first.text(), foo);
    }
    for (foo, news) in [("3", "304"), ("4", "304 | etag: \"3\"")] {
        let (third, ()) = tokio::join!(ask(foo), async {
            let mut upstream = origin.accept().await;
            assert!(upstream.request().await.has("if-none-match", "\"2\", \"1\""));
            upstream.send(super::response(news, 0, false)).await;
            let mut upstream = origin.accept().await;
            assert_eq!(upstream.request().await.field("if-none-match"), None);
            upstream.send(super::response("200 | cache-control: no-cache | vary: foo | body: 3", 0, false)).await;
        });
        assert_eq!(third.text(), "3");
    }
}
