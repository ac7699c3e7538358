//! What a route says about its cache.

use super::play;

/// No client request fails.
#[tokio::test]
async fn times_statuses_and_sizes() {
    let rules = "{ ttl = '60s', ttl_most = '2m', status = [200, 404], size_most = '4B', stale_if_error = '1h' }";
    play(
        rules,
        &[
            ("said by the route", &[("GET /", "200", "200 #0"), ("GET /", "", "200 #0")]),
            ("too old", &[("GET /", "200 | age: 61", "200 #0"), ("GET /", "200", "200 #1")]),
            (
                "no more than",
                &[("GET /", "200 | cache-control: max-age=600 | age: 121", "200 #0"), ("GET /", "200", "200 #1")],
            ),
            ("a status", &[("GET /", "404", "404 #0"), ("GET /", "", "404 #0")]),
            ("another status", &[("GET /", "410 | cache-control: max-age=60", "410 #0"), ("GET /", "200", "200 #1")]),
            ("too large", &[("GET /", "200 | body: 12345", "200 #12345"), ("GET /", "200", "200 #1")]),
            ("an error", &[("GET /", "200 | age: 61", "200 #0"), ("GET /", "503", "200 #0")]),
        ],
    )
    .await;
}

/// No client request fails.
#[tokio::test]
async fn keys_and_what_goes_past() {
    let rules = "{ query = { drop = ['utm_*'], sort = true }, header = ['x-region'], cookie = ['currency'], \
                 bypass = { header = { x-preview = true }, cookie = { session = 'a*' } } }";
    let fresh = "200 | cache-control: max-age=60";
    play(
        rules,
        &[
            (
                "query",
                &[
                    ("GET /?b=1&utm_x=2&a=3", fresh, "200 #0"),
                    ("GET /?a=3&b=1&utm_y=7", "", "200 #0"),
                    ("GET /?a=3", fresh, "200 #2"),
                ],
            ),
            (
                "header",
                &[
                    ("GET / | x-region: eu", fresh, "200 #0"),
                    ("GET / | x-region: us", fresh, "200 #1"),
                    ("GET / | x-region: eu", "", "200 #0"),
                ],
            ),
            (
                "cookie",
                &[
                    ("GET / | cookie: a=1; currency=eur", fresh, "200 #0"),
                    ("GET / | cookie: currency=usd", fresh, "200 #1"),
                    ("GET / | cookie: currency=eur; b=2", "", "200 #0"),
                    ("GET / | cookie: currency=eur; currency=x", fresh, "200 #3"),
                    ("GET / | cookie: currency=x; currency=eur", fresh, "200 #4"),
                    ("GET / | cookie: currency =eur", "", "200 #0"),
                ],
            ),
            (
                "query that is written in another way",
                &[
                    ("GET /?a=1&a=2", fresh, "200 #0"),
                    ("GET /?a=2&a=1", fresh, "200 #1"),
                    ("GET /?a=1&%61=2", fresh, "200 #2"),
                    ("GET /?%61=2&a=1", fresh, "200 #3"),
                    ("GET /?a=1&%75tm_x=2", fresh, "200 #4"),
                    ("GET /?a=1", fresh, "200 #5"),
                ],
            ),
            (
                "past by header",
                &[
                    ("GET /", fresh, "200 #0"),
                    ("GET / | x-preview: 1", fresh, "200 #1 | cache-status: gatewright; fwd=bypass*"),
                    ("GET /", "", "200 #0"),
                ],
            ),
            (
                "past by cookie",
                &[
                    ("GET /", fresh, "200 #0"),
                    ("GET / | cookie: session=abc", fresh, "200 #1"),
                    ("GET / | cookie: session=b; session =ab", fresh, "200 #2"),
                    ("GET / | cookie: session=b", "", "200 #0"),
                ],
            ),
        ],
    )
    .await;
}

/// No client request fails.
#[tokio::test]
async fn what_is_for_one_client_is_kept_where_the_route_says_so() {
    let fresh = "200 | cache-control: max-age=60";
    play(
        "{ set_cookie = true, authorization = true, obey_clients = false }",
        &[
            (
                "cookies",
                &[
                    ("GET /", "200 | cache-control: max-age=60 | set-cookie: a=b", "200 #0"),
                    ("GET /", "", "200 #0 | set-cookie: a=b"),
                ],
            ),
            ("authorised", &[("GET / | authorization: x", fresh, "200 #0"), ("GET /", "", "200 #0")]),
            (
                "demands",
                &[
                    ("GET /", fresh, "200 #0"),
                    ("GET / | cache-control: no-cache", "", "200 #0"),
                    ("GET / | pragma: no-cache", "", "200 #0"),
                ],
            ),
        ],
    )
    .await;
}
