//! Ages and dates: RFC 9111 sections 4.2 and 5.1, 5.3; RFC 9110 sections 5.6.7 and 6.6.1.

use super::rfc9111::again;
use super::{Step, gateway, play, response};
use crate::harness::RawOrigin;

const LATER: &str = "Sat, 06 Nov 2094 08:49:37 GMT";

async fn kept(rows: &[(String, bool)]) {
    let steps: Vec<[Step<'_>; 2]> = rows.iter().map(|(answer, kept)| again(answer, *kept)).collect();
    let cases: Vec<_> = rows.iter().zip(&steps).map(|((name, _), steps)| (&**name, &steps[..])).collect();
    play("true", &cases).await;
}

/// No client request fails.
#[tokio::test]
async fn section_5_3_dates_until_when() {
    let mut rows = Vec::new();
    for (value, is_date) in [
        (LATER, true),
        ("SAT, 06 NOV 2094 08:49:37 gmt", true),
        ("Thursday, 06-Nov-70 08:49:37 GMT", true),
        ("Sat Nov  6 08:49:37 2094", true),
        ("Sat Nov 06 08:49:37 2094", true),
        ("Fri, 31 Dec 9999 23:59:59 GMT", true),
        ("Sunday, 06-Nov-94 08:49:37 GMT", false),
        ("Sun Nov  6 08:49:37 1994", false),
        ("Thu, 01 Jan 1970 00:00:00 GMT", false),
        ("Wed, 31 Dec 1969 23:59:59 GMT", false),
        ("Mon, 06 Nov 2094 08:49:37 GMT", false),
        ("Sat, 06 Nov 2094 08:49:37 UTC", false),
        ("Sat, 06 Nov 2094 08:49:37 +0000", false),
        ("Sat, 06 Nov 2094 08:49:37", false),
        ("Sat, 6 Nov 2094 08:49:37 GMT", false),
        ("Sat, 06  Nov 2094 08:49:37 GMT", false),
        ("Sat 06 Nov 2094 08:49:37 GMT", false),
        ("Sat, 06 Nov 2094 8:49:37 GMT", false),
        ("Sat, 06 Nov 2094 25:49:37 GMT", false),
        ("Sat, 06 Nov 94 08:49:37 GMT", false),
        ("\"Sat, 06 Nov 2094 08:49:37 GMT\"", false),
        ("3600", false),
        ("-1", false),
        ("", false),
    ] {
        rows.push((format!("200 | expires: {value}"), is_date));
        rows.push((format!("200 | cache-control: max-age=60 | expires: {value}"), true));
        rows.push((format!("200 | cache-control: s-maxage=0 | expires: {value}"), false));
    }
    rows.push((format!("200 | expires: {LATER} | expires: {LATER}"), false));
    rows.push((format!("200 | expires: {LATER}, {LATER}"), false));
    rows.push((format!("200 | date: {LATER} | expires: {LATER}"), false));
    rows.push((format!("200 | date: odd | expires: {LATER}"), true));
    rows.push((format!("200 | expires: {LATER} | age: 2147483648"), false));
    kept(&rows).await;
}

/// No client request fails.
#[tokio::test]
async fn sections_4_2_3_and_5_1_ages_as_others_say_them() {
    let mut rows = Vec::new();
    for (age, counts) in [
        ("70", true),
        ("0070", true),
        ("99999999999999999999", true),
        ("2147483649", true),
        ("70, 0", true),
        ("70 | age: 0", true),
        (", 70", true),
        ("0, 70", false),
        ("0 | age: 70", false),
        ("-70", false),
        ("+70", false),
        ("70.5", false),
        ("\"70\"", false),
        ("70;x=1", false),
        ("70 s", false),
        ("x", false),
        ("", false),
    ] {
        rows.push((format!("200 | cache-control: max-age=60 | age: {age}"), !counts));
    }
    for (date, is_fresh) in [
        (LATER, true),
        ("Sun, 06 Nov 1994 08:49:37 GMT", false),
        ("sun, 06 nov 1994 08:49:37 gmt", false),
        ("Sunday, 06-Nov-94 08:49:37 GMT", false),
        ("Sun Nov  6 08:49:37 1994", false),
        ("Wed, 31 Dec 1969 23:59:59 GMT", false),
        ("x", true),
        ("", true),
    ] {
        rows.push((format!("200 | cache-control: max-age=60 | date: {date}"), is_fresh));
    }
    kept(&rows).await;
}

/// No client request fails.
#[tokio::test]
async fn section_4_2_2_guesses() {
    let mut rows = Vec::new();
    for (fields, is_fresh) in [
        ("last-modified: Sun, 06 Nov 1994 08:49:37 GMT", true),
        ("last-modified: Sunday, 06-Nov-94 08:49:37 GMT", true),
        ("last-modified: Sun, 06 Nov 1994 08:49:37 GMT | age: 80000", true),
        ("last-modified: Sun, 06 Nov 1994 08:49:37 GMT | age: 90000", false),
        ("last-modified: Sat, 06 Nov 2094 08:49:37 GMT", false),
        ("last-modified: x", false),
        ("last-modified: Sun, 06 Nov 1994 08:49:37 GMT | cache-control: max-age=0", false),
        ("last-modified: Sun, 06 Nov 1994 08:49:37 GMT | expires: 0", false),
        ("last-modified: Sun, 06 Nov 1994 08:49:37 GMT | cache-control: no-cache", false),
        ("last-modified: Sun, 06 Nov 1994 08:49:37 GMT | cache-control: no-store", false),
        ("last-modified: Sun, 06 Nov 1994 08:49:37 GMT | cache-control: public", true),
        ("last-modified: Sun, 06 Nov 1994 08:49:37 GMT | cache-control: foo", true),
        ("last-modified: Sun, 06 Nov 1994 08:49:37 GMT | pragma: no-cache", true),
        ("etag: \"a\"", false),
    ] {
        rows.push((format!("200 | {fields}"), is_fresh));
    }
    kept(&rows).await;
}

/// No client request fails: the statuses are what the origin says.
#[tokio::test]
async fn section_4_2_2_statuses_that_may_be_guessed_about() {
    let changed = "last-modified: Sun, 06 Nov 1994 08:49:37 GMT";
    let mut rows = Vec::new();
    for status in [200, 203, 300, 301, 308, 404, 405, 410, 414, 501] {
        rows.push((format!("{status} | {changed}"), format!("{status} #0"), true));
    }
    for status in [201, 202, 299, 302, 303, 307, 400, 401, 403, 406, 409, 413, 418, 429, 500, 502, 503, 504, 599] {
        rows.push((format!("{status} | {changed}"), format!("{status} #0"), false));
        rows.push((format!("{status} | cache-control: public | {changed}"), format!("{status} #0"), true));
        rows.push((format!("{status} | cache-control: max-age=60"), format!("{status} #0"), true));
        rows.push((format!("{status} | expires: {LATER}"), format!("{status} #0"), true));
    }
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

/// No client request fails.
#[tokio::test]
async fn section_5_1_how_old_it_is_and_when_it_was_made() {
    play(
        "true",
        &[
            (
                "an age grows on",
                &[
                    ("GET /", "200 | cache-control: max-age=600 | age: 30", "200 #0 | age: 30"),
                    ("GET /", "", "200 #0 | age: 3*"),
                ],
            ),
            (
                "of several one",
                &[
                    ("GET /", "200 | cache-control: max-age=600 | age: 500, 7 | age: 9", "200 #0"),
                    ("GET /", "", "200 #0 | age: 50*"),
                ],
            ),
            (
                "none",
                &[("GET /", "200 | cache-control: max-age=600", "200 #0 | !age"), ("GET /", "", "200 #0 | age: *")],
            ),
            (
                "a date stays",
                &[
                    (
                        "GET /",
                        "200 | cache-control: max-age=9999999999 | date: Sunday, 06-Nov-94 08:49:37 GMT",
                        "200 #0 | date: Sunday, 06-Nov-94 08:49:37 GMT",
                    ),
                    ("GET /", "", "200 #0 | date: Sunday, 06-Nov-94 08:49:37 GMT"),
                ],
            ),
            (
                "the age of news",
                &[
                    ("GET /", "200 | cache-control: max-age=60 | age: 70 | etag: \"a\"", "200 #0"),
                    ("GET /", "304 | etag: \"a\" | age: 20", "200 #0 | age: 2*"),
                    ("GET /", "", "200 #0 | age: 2*"),
                ],
            ),
            (
                "the age of news that are old",
                &[
                    ("GET /", "200 | cache-control: max-age=60 | age: 70 | etag: \"a\"", "200 #0"),
                    ("GET /", "304 | etag: \"a\" | age: 80", "200 #0"),
                    ("GET /", "304 | etag: \"a\"", "200 #0"),
                    ("GET /", "", "200 #0"),
                ],
            ),
        ],
    )
    .await;
}

/// No client request fails.
#[tokio::test]
async fn rfc_9110_section_6_6_1_what_comes_without_a_date_gets_one() {
    let origin = RawOrigin::start().await;
    let gateway = gateway(&origin, "true").await;
    for (path, answer) in
        [("/a", "200 | cache-control: max-age=60"), ("/b", "200 | cache-control: max-age=60 | date: soon")]
    {
        let url = format!("a.example{path}");
        let (first, ()) = tokio::join!(gateway.get(&url, &[]), async {
            let mut upstream = origin.accept().await;
            upstream.request().await;
            upstream.send(response(answer, 0, false)).await;
        });
        assert!(first.field("date").is_some(), "{first:?}");
        let second = gateway.get(&url, &[]).await;
        let date = second.field("date").unwrap_or_default();
        assert!(date.ends_with(" GMT") && date.len() == 29, "{second:?}");
    }
}
