//! Which route a request takes, and what the route does with it.

use serde_json::Value;

use crate::harness::{Gateway, Origin, RawOrigin, Wire, empty, full};

/// A gateway whose routes answer with their own names.
async fn routes(matches: &[(&str, &str)]) -> Gateway {
    let route = |(name, matches): &(&str, &str)| format!("[[route]]\nmatch = {{ {matches} }}\nrespond = '{name}'\n");
    Gateway::of(&matches.iter().map(route).collect::<String>()).start().await
}

async fn chosen(gateway: &Gateway, url: &str, fields: &[&str]) -> String {
    let response = gateway.get(url, fields).await;
    if response.status() == 404 { "none".to_owned() } else { response.text() }
}

#[tokio::test]
async fn the_host_chooses_exact_before_wildcard_before_any() {
    let gateway = routes(&[
        ("any", "path = '/'"),
        ("wild", "host = '*.shop.example'"),
        ("deep", "host = '*.eu.shop.example'"),
        ("exact", "host = 'shop.example'"),
    ])
    .await;
    for (host, route) in [
        ("shop.example", "exact"),
        ("SHOP.Example", "exact"),
        ("shop.example:8080", "exact"),
        ("shop.example.", "exact"),
        ("www.shop.example", "wild"),
        ("a.b.shop.example", "wild"),
        ("a.eu.shop.example", "deep"),
        ("xshop.example", "any"),
        ("other", "any"),
        ("[::1]:80", "any"),
    ] {
        assert_eq!(chosen(&gateway, &format!("{host}/"), &[]).await, route, "{host}");
    }
}

#[tokio::test]
async fn the_path_chooses_the_most_specific() {
    let gateway = routes(&[
        ("all", "path = '/'"),
        ("api", "path = '/api/'"),
        ("user", "path = '/api/users/{id}'"),
        ("below", "path = '/api/users/{id}/'"),
        ("me", "path = '/api/users/me'"),
    ])
    .await;
    for (path, route) in [
        ("/", "all"),
        ("/apis", "all"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api/x?y", "api"),
        ("/api/users/7", "user"),
        ("/api/users/me", "me"),
        ("/api/users/%6de", "me"),
        ("/api/users/7/orders", "below"),
    ] {
        assert_eq!(chosen(&gateway, &format!("a{path}"), &[]).await, route, "{path}");
    }
}

#[tokio::test]
async fn a_path_cannot_walk_around_a_route() {
    let gateway = routes(&[("open", "path = '/'"), ("closed", "path = '/admin/'")]).await;
    for path in ["/admin/x", "/./admin/x", "/x/../admin/x", "/%61dmin/x", "/x/%2e%2e/admin/x", "/admin/./x"] {
        let response = gateway.get(&format!("a{path}"), &[]).await;
        let is_closed = response.status() == 200 && response.text() == "closed";
        assert!(is_closed || response.status() == 400, "{path}: {response:?}");
    }
}

#[tokio::test]
async fn method_header_query_and_cookie_choose() {
    let gateway = routes(&[
        ("rest", "path = '/'"),
        ("post", "method = ['POST', 'PUT']"),
        ("beta", "header = { x-beta = 'yes' }"),
        ("mobile", "header = { user-agent = 'Mobile*' }"),
        ("preview", "query = { preview = true }"),
        ("v2", "query = { v = '2' }"),
        ("group", "cookie = { group = 'b*' }"),
    ])
    .await;
    for (url, fields, route) in [
        ("a/", &[][..], "rest"),
        ("a/", &["X-Beta: yes"], "beta"),
        ("a/", &["X-Beta: no"], "rest"),
        ("a/", &["User-Agent: Mobile/1"], "mobile"),
        ("a/?preview", &[], "preview"),
        ("a/?a=b&preview=1", &[], "preview"),
        ("a/?v=2", &[], "v2"),
        ("a/?v=%32", &[], "v2"),
        ("a/?v=3", &[], "rest"),
        ("a/", &["Cookie: x=y; group=blue"], "group"),
        ("a/", &["Cookie: group=red"], "rest"),
    ] {
        assert_eq!(chosen(&gateway, url, fields).await, route, "{url} {fields:?}");
    }
    let post = gateway.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(post.text(), "post");
}

#[tokio::test]
async fn the_clients_network_chooses() {
    let gateway = routes(&[("all", "path = '/'"), ("local", "client = '127.0.0.0/8'")]).await;
    assert_eq!(chosen(&gateway, "a/", &[]).await, "local");
    let gateway = routes(&[("all", "path = '/'"), ("far", "client = '10.0.0.0/8'")]).await;
    assert_eq!(chosen(&gateway, "a/", &["X-Forwarded-For: 10.0.0.1"]).await, "all");
}

#[tokio::test]
async fn of_equal_routes_the_first_wins_and_without_one_it_is_404() {
    let gateway = routes(&[("first", "path = '/a/'"), ("second", "path = '/a/'")]).await;
    assert_eq!(chosen(&gateway, "a/a/", &[]).await, "first");
    assert_eq!(chosen(&gateway, "a/b", &[]).await, "none");
}

#[tokio::test]
async fn requests_go_to_the_pool_of_their_route() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let text = "
        [pool.one]
        endpoints = ['<one>']
        [pool.two]
        endpoints = ['<two>']
        [[route]]
        pool = 'one'
        [[route]]
        match = { path = '/two/' }
        pool = 'two'";
    let gateway = Gateway::of(text).with("one", &one).with("two", &two).start().await;
    assert_eq!(gateway.get("a/", &[]).await.text(), "one");
    assert_eq!(gateway.get("a/two/", &[]).await.text(), "two");
}

#[tokio::test]
async fn a_redirect_keeps_what_it_names() {
    let text = "
        [[route]]
        match = { path = '/old/{id}' }
        redirect = { to = '/new/{id}?from={path}', status = 301 }
        [[route]]
        match = { path = '/' }
        redirect = 'https://{host}{uri}'";
    let gateway = Gateway::of(text).start().await;
    let response = gateway.get("shop.example:80/a/b?c=d", &[]).await;
    assert_eq!(response.status(), 308);
    assert_eq!(response.field("location").as_deref(), Some("https://shop.example/a/b?c=d"));
    let response = gateway.get("a/old/7", &[]).await;
    assert_eq!((response.status(), response.field("location").as_deref()), (301, Some("/new/7?from=/old/7")));
}

#[tokio::test]
async fn a_redirect_to_a_host_that_nobody_named_is_refused() {
    let text = "[[route]]\nmatch = { path = '/there/' }\nredirect = 'https://{host}{uri}'\n\
                [[route]]\nmatch = { path = '/elsewhere/' }\nredirect = 'https://other.example{uri}'";
    let gateway = Gateway::of(text).start().await;
    for end in ["HTTP/1.0\r\n", "HTTP/1.0\r\nHost:\r\n", "HTTP/1.1\r\nHost:\r\n", "HTTP/1.1\r\nHost: :80\r\n"] {
        let answer = gateway.ask(&format!("GET /there/a {end}\r\n")).await;
        assert_eq!(answer.status(), 400, "{end:?}");
    }
    let answer = gateway.ask("GET /elsewhere/a HTTP/1.0\r\n\r\n").await;
    assert_eq!(answer.field("location").as_deref(), Some("https://other.example/elsewhere/a"));
    gateway.ask("GET /there/a HTTP/1.0\r\nHost: a\r\n\r\n").await.is(308);
}

#[tokio::test]
async fn a_redirect_cannot_be_given_new_lines() {
    let gateway = Gateway::of("[[route]]\nmatch = { path = '/{id}' }\nredirect = '/x/{id}'").start().await;
    let response = gateway.get("a/%0d%0aSet-Cookie:%20x=y", &[]).await;
    assert_eq!(response.field("set-cookie"), None);
}

#[tokio::test]
async fn a_fixed_answer_has_its_status_body_and_type() {
    let gateway =
        Gateway::of("[[route]]\nrespond = { status = 410, body = '{}', type = 'application/json' }").start().await;
    for wire in [Wire::H1, Wire::H2] {
        let mut client = gateway.client(wire).await;
        let reply = client.call("POST", "/", full("ignored")).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (410, "{}"));
        assert_eq!(reply.header("content-type"), Some("application/json"));
        let reply = client.call("HEAD", "/", empty()).await;
        assert_eq!((reply.status.as_u16(), reply.text(), reply.header("content-length")), (410, "", Some("2")));
    }
}

/// What the origin sees of a request through a route with this rewrite.
async fn rewritten(path: &str, rewrite: &str, target: &str) -> String {
    let origin = Origin::echo().await;
    let gateway =
        Gateway::to(&origin).and(&format!("match = {{ path = '{path}' }}\nrewrite = {rewrite}")).start().await;
    gateway.get(&format!("a{target}"), &[]).await.seen()["target"].as_str().expect("a target").to_owned()
}

#[tokio::test]
async fn a_rewrite_changes_the_path_and_keeps_the_query() {
    assert_eq!(rewritten("/", "{ strip_prefix = '/api' }", "/api/x?y=z").await, "/x?y=z");
    assert_eq!(rewritten("/", "{ strip_prefix = '/api' }", "/api").await, "/");
    assert_eq!(rewritten("/", "{ strip_prefix = '/api' }", "/apis").await, "/apis");
    assert_eq!(rewritten("/", "{ add_prefix = '/v1' }", "/x").await, "/v1/x");
    assert_eq!(rewritten("/", "{ strip_prefix = '/api', add_prefix = '/v1' }", "/api/x%2Fy").await, "/v1/x%2Fy");
    assert_eq!(rewritten("/users/{id}", "{ path = '/v2/people/{id}' }", "/users/7?a").await, "/v2/people/7?a");
}

#[tokio::test]
async fn headers_change_in_both_directions() {
    let origin = RawOrigin::start().await;
    let changes = "
        request_headers = { remove = ['x-out'], set = { x-set = 'by {host}' }, add = { x-add = ['1', '2'] } }
        response_headers = { remove = ['server'], set = { x-set = '{request_id}' }, add = { vary = 'accept' } }";
    let gateway = Gateway::to(&origin).and(changes).start().await;
    let mut client = gateway.raw().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Out: 1\r\nX-Set: old\r\nX-Add: 0\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    let request = upstream.request().await;
    assert_eq!(request.field("x-out"), None);
    assert_eq!(request.field("x-set").as_deref(), Some("by a"));
    assert_eq!(request.field("x-add").as_deref(), Some("0, 1, 2"));
    upstream.send("HTTP/1.1 200 OK\r\nServer: x\r\nX-Set: old\r\nVary: cookie\r\nContent-Length: 0\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!(response.field("server"), None);
    assert_eq!(response.field("x-set"), request.field("x-request-id"));
    assert_eq!(response.field("vary").as_deref(), Some("cookie, accept"));
}

#[tokio::test]
async fn a_client_cannot_say_in_other_letters_what_the_gateway_says() {
    let origin = RawOrigin::start().await;
    let changes = "
        request_headers = { remove = ['x-debug'], set = { x-user-id = 'me', set_by = 'us' } }
        [forwarded]
        request_id = 'x-trace-id'";
    let gateway = Gateway::to(&origin).and(changes).start().await;
    let forged = ["X_User_Id", "x-user_id", "X-User-Id", "Set-By", "X_Debug", "X_Trace_Id", "X-Trace-Id", "X_Other"];
    let forged: String = forged.iter().map(|name| format!("{name}: forged\r\n")).collect();
    let mut client = gateway.raw().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{forged}\r\n1\r\nx\r\n0\r\n{forged}Via: forged\r\n\r\n"
        ))
        .await;
    let request = origin.accept().await.request().await;
    for name in ["x_user_id", "x-user_id", "set-by", "x_debug", "x_trace_id"] {
        assert_eq!(request.field(name), None, "{request:?}");
    }
    assert_eq!(request.field("x-user-id").as_deref(), Some("me"));
    assert_eq!(request.field("set_by").as_deref(), Some("us"));
    assert_ne!(request.field("x-trace-id").as_deref(), Some("forged"));
    assert_eq!(request.field("x_other").as_deref(), Some("forged"));
    assert_eq!(request.trailers, [("x_other".to_owned(), "forged".to_owned())]);
}

#[tokio::test]
async fn a_route_may_limit_bodies() {
    let origin = Origin::echo().await;
    let gateway = Gateway::to(&origin).and("body_limit = '4B'").start().await;
    for wire in [Wire::H1, Wire::H2] {
        assert_eq!(gateway.client(wire).await.call("POST", "/", full("four")).await.seen()["body"], "four");
        let mut client = gateway.client(wire).await;
        assert_eq!(client.call("POST", "/", full("fives")).await.status, 413, "{wire:?}");
    }
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn a_folder_is_served() {
    let text = "[[route]]\nmatch = { path = '/files/' }\nstatic = 'public'";
    let gateway =
        Gateway::of(text).file("public/a.txt", "hello").file("public/sub/index.html", "<p>").file("secret", "x");
    let gateway = gateway.start().await;
    let response = gateway.get("a/files/a.txt", &[]).await;
    assert_eq!((response.status(), response.text().as_str()), (200, "hello"));
    assert!(response.field("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    let tag = response.field("etag").expect("an entity tag");
    assert_eq!(gateway.get("a/files/a.txt", &[&format!("If-None-Match: {tag}")]).await.status(), 304);
    let part = gateway.get("a/files/a.txt", &["Range: bytes=1-2"]).await;
    assert_eq!((part.status(), part.text().as_str()), (206, "el"));
    assert_eq!(part.field("content-range").as_deref(), Some("bytes 1-2/5"));
    assert_eq!(gateway.get("a/files/sub/", &[]).await.text(), "<p>");
    let folder = gateway.get("a/files/sub", &[]).await;
    assert!(folder.field("location").is_some_and(|to| to.ends_with("/sub/")), "{folder:?}");
    for path in [
        "/files/none",
        "/files/../secret",
        "/files/%2e%2e/secret",
        "/files/..%2fsecret",
        "/files/a.txt/",
        "/files/a.txt%00",
    ] {
        let status = gateway.get(&format!("a{path}"), &[]).await.status();
        assert!(status == 404 || status == 400, "{path}: {status}");
    }
    let put = gateway.ask("PUT /files/a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").await;
    assert_eq!(put.status(), 405);
    assert!(put.field("allow").is_some_and(|methods| methods.contains("GET")));
}

#[tokio::test]
async fn error_pages_come_in_the_form_that_is_asked_for() {
    let gateway = Gateway::of("[[route]]\nmatch = { path = '/x' }\nrespond = 'x'").start().await;
    let json = gateway.get("a/<b>", &["Accept: application/json"]).await;
    let page: Value = serde_json::from_slice(&json.body).expect("JSON");
    assert_eq!(page["status"], 404);
    let html = gateway.get("a/%3Cb%3E", &["Accept: text/html"]).await;
    assert!(html.field("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert!(html.text().contains("404") && !html.text().contains("<b>"));
}

#[tokio::test]
async fn an_exact_path_serves_the_file_of_its_name() {
    let text = "[[route]]\nmatch = { path = '/icons/favicon.ico' }\nstatic = '.'\n[[route]]\nrespond = 'else'";
    let gateway = Gateway::of(text).file("favicon.ico", "icon").start().await;
    assert_eq!(gateway.get("a/icons/favicon.ico", &[]).await.text(), "icon");
    assert_eq!(gateway.get("a/icons/favicon.ico/", &[]).await.text(), "else");
}

#[tokio::test]
async fn what_a_route_sets_nobody_forges_with_underscores_and_dots_do_not_go_on() {
    let origin = Origin::echo().await;
    let text = "[pool.a]\nendpoints = ['<origin>']\n[[route]]\npool = 'a'\n\
                request_headers = { set = { x-user = '7' }, remove = ['x-secret'] }";
    let gateway = Gateway::of(text).with("origin", &origin).start().await;
    let seen =
        gateway.get("a/x/.", &["X_User: admin", "x_secret: y", "x_other: z", "Front-End-Https: on"]).await.seen();
    let fields = &seen["headers"];
    assert_eq!((&fields["x-user"], &fields["x_other"]), (&"7".into(), &"z".into()));
    assert!(
        fields["x_user"].is_null() && fields["x_secret"].is_null() && fields["front-end-https"].is_null(),
        "{seen}"
    );
    assert_eq!(seen["target"], "/x/", "{seen}");
}
