//! Which file answers, and what is said with it: candidates, siblings, cache rules, error pages, types.

use super::*;

fn candidate(before: &str, after: &str, takes_path: bool) -> Candidate {
    Candidate { before: before.into(), after: after.into(), takes_path }
}

#[test]
fn paths_are_tried_in_turn() {
    let mut site = Site::new();
    site.config.candidates = vec![Candidate::path(), candidate("", ".html", true), candidate("/app.html", "", false)];
    site.write("app.html", "app");
    site.write("about.html", "about");
    site.write("docs/index.html", "docs");
    site.write("docs.html", "docs file");
    let rows = [
        ("/about", "about"),
        ("/about.html", "about"),
        ("/", "app"),
        ("/some/where", "app"),
        ("/some/where/", "app"),
        ("/about/", "app"),
        ("/docs/", "docs"),
        ("/missing.js", "app"),
    ];
    for (target, body) in rows {
        let got = site.get(target);
        assert_eq!((got.status, got.body()), (200, body), "{target}");
        assert_eq!(got.text(name::CONTENT_TYPE), "text/html; charset=utf-8");
    }
    assert_eq!(site.get("/docs").text(name::LOCATION), "./docs/");
    // What is refused is refused, and not looked for elsewhere.
    assert_eq!((site.get("/.git/config").status, site.get("/a%00").status, site.get("/a%2fb").status), (404, 400, 404));
    assert_eq!(site.ask(Method::POST, "/some/where", &[]).status, 405);
    // An earlier candidate that appears wins.
    site.write("some", "file");
    assert_eq!(site.get("/some").body(), "file");
    fs::remove_file(site.path("some")).unwrap();
    assert_eq!(site.get("/some").body(), "app");
}

#[test]
fn the_first_index_that_is_there_answers() {
    let mut site = Site::new();
    site.config.index = vec!["index.htm".into(), "index.html".into()];
    site.write("docs/index.html", "html");
    assert_eq!(site.get("/docs/").body(), "html");
    site.write("docs/index.htm", "htm");
    assert_eq!(site.get("/docs/").body(), "htm");
    site.config.index.clear();
    assert_eq!(site.get("/docs/").status, 404);
    // A folder of that name is no index.
    site.config.index = vec!["in".into()];
    fs::create_dir(site.path("docs/in")).unwrap();
    assert_eq!(site.get("/docs/").status, 404);
}

#[test]
fn a_list_is_a_page_or_json_as_the_client_wants() {
    let mut site = Site::new();
    site.config.listing = true;
    site.write("docs/b.txt", "b");
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for (accept, json) in [
        ("application/json", true),
        ("application/json, text/html;q=0.5", true),
        (browser, false),
        ("*/*", false),
        ("", false),
        ("text/html, application/json;q=0.9", false),
        ("application/json;q=0, */*", false),
    ] {
        let got = site.ask(Method::GET, "/docs/", &[("accept", accept)]);
        let expected = if json { "application/json" } else { "text/html; charset=utf-8" };
        assert_eq!((got.status, got.text(name::CONTENT_TYPE)), (200, expected), "{accept}");
        assert_eq!((got.body().starts_with('['), got.text(name::VARY)), (json, "accept"));
        let head = site.ask(Method::HEAD, "/docs/", &[("accept", accept)]);
        assert_eq!((head.body(), head.text(name::CONTENT_LENGTH)), ("", got.text(name::CONTENT_LENGTH)));
    }
}

#[test]
fn a_sibling_is_sent_to_who_takes_it() {
    let mut site = Site::new();
    site.config.precompressed = Sibling::ALL.to_vec();
    for (name, content) in [("a.js", "plain"), ("a.js.br", "br"), ("a.js.gz", "gzip"), ("only.js.br", "br")] {
        site.write(name, content);
    }
    let ask = |accept: &str| site.ask(Method::GET, "/a.js", &[("accept-encoding", accept)]);
    let rows = [
        ("gzip, deflate, br, zstd", "br", "br"),
        ("gzip, zstd", "gzip", "gzip"),
        ("br;q=0.1, gzip", "gzip", "gzip"),
        ("br;q=0, gzip;q=0", "", "plain"),
        ("zstd", "", "plain"),
        ("identity", "", "plain"),
        ("", "", "plain"),
        ("*", "br", "br"),
    ];
    let mut tags = std::collections::BTreeSet::new();
    for (accept, coding, body) in rows {
        let got = ask(accept);
        assert_eq!((got.status, got.body()), (200, body), "{accept}");
        assert_eq!(got.text(name::CONTENT_ENCODING), coding);
        assert_eq!(
            (got.text(name::CONTENT_TYPE), got.text(name::VARY)),
            ("text/javascript; charset=utf-8", "accept-encoding")
        );
        tags.insert(got.text(name::ETAG).to_owned());
    }
    assert_eq!(tags.len(), 3);
    let br = ask("br");
    let fields = [("accept-encoding", "br"), ("if-none-match", br.text(name::ETAG))];
    let same = site.ask(Method::GET, "/a.js", &fields);
    assert_eq!((same.status, same.text(name::VARY)), (304, "accept-encoding"));
    assert_eq!(site.ask(Method::GET, "/a.js", &fields[1..]).status, 200);
    let part = site.ask(Method::GET, "/a.js", &[("accept-encoding", "br"), ("range", "bytes=1-")]);
    assert_eq!((part.status, part.body(), part.text(name::CONTENT_RANGE)), (206, "r", "bytes 1-1/2"));
    // By its own name it is a file like others.
    let own = site.get("/a.js.br");
    assert_eq!((own.body(), own.text(name::CONTENT_ENCODING)), ("br", ""));
    // There is no file that it stands for.
    assert_eq!(site.ask(Method::GET, "/only.js", &[("accept-encoding", "br")]).status, 404);
    // One that goes, and one that leads out of the folder.
    fs::remove_file(site.path("a.js.br")).unwrap();
    assert_eq!(ask("br, gzip").body(), "gzip");
    fs::remove_file(site.path("a.js.gz")).unwrap();
    symlink(site.folder.path().join("outside"), site.path("a.js.gz")).unwrap();
    assert_eq!(ask("br, gzip").body(), "plain");
}

#[test]
fn a_large_sibling_is_streamed_and_a_small_one_stands_for_a_large_file() {
    let mut site = Site::new();
    site.config.precompressed = vec![Sibling::Gzip];
    site.write("a.txt", "a".repeat(400_000));
    site.write("a.txt.gz", "z".repeat(300_000));
    let fields = [("accept-encoding", "gzip")];
    assert_eq!(site.ask(Method::GET, "/a.txt", &fields).body().len(), 300_000);
    site.write("a.txt.gz", "z");
    assert_eq!(site.ask(Method::GET, "/a.txt", &fields).body(), "z");
    assert_eq!(site.get("/a.txt").body().len(), 400_000);
}

#[test]
fn caching_is_said_by_the_first_rule_that_fits() {
    let mut site = Site::new();
    let rule = |files: &[&str], value: &str| CacheRule {
        files: files.iter().map(|&file| file.into()).collect(),
        value: value.into(),
    };
    site.config.cache_control = vec![rule(&["*-{hash}.*", "*.{hash}.*"], "immutable"), rule(&["*.html"], "no-cache")];
    for name in ["app-3f2a9c1b.js", "app.js", "index.html", "docs/a.html"] {
        site.write(name, "x");
    }
    let said = |target: &str| site.get(target).text(name::CACHE_CONTROL).to_owned();
    assert_eq!(said("/app-3f2a9c1b.js"), "immutable");
    assert_eq!(
        (said("/app.js"), said("/"), said("/docs/a.html")),
        (String::new(), "no-cache".into(), "no-cache".into())
    );
    let index = site.get("/");
    let same = site.ask(Method::GET, "/", &[("if-none-match", index.text(name::ETAG))]);
    assert_eq!((same.status, same.text(name::CACHE_CONTROL)), (304, "no-cache"));
    // Another configuration of the same folder does not share what is in memory.
    site.config.cache_control = vec![rule(&[], "max-age=1")];
    assert_eq!(site.get("/app.js").text(name::CACHE_CONTROL), "max-age=1");
}

#[test]
fn errors_have_the_pages_of_the_folder() {
    let mut site = Site::new();
    site.config.error_pages = [(404, "/404.html"), (405, "/no.html"), (400, "/none.html")]
        .map(|(status, page)| (StatusCode::from_u16(status).unwrap(), page.to_owned()))
        .to_vec();
    site.config.precompressed = vec![Sibling::Gzip];
    site.write("404.html", "not here");
    site.write("404.html.gz", "zipped");
    site.write("no.html", "not so");
    let got = site.get("/missing");
    assert_eq!((got.status, got.body(), got.text(name::CACHE_CONTROL)), (404, "not here", "no-store"));
    assert_eq!((got.text(name::CONTENT_TYPE), got.text(name::ETAG)), ("text/html; charset=utf-8", ""));
    let fields = [("accept-encoding", "gzip"), ("range", "bytes=0-1"), ("if-none-match", "*")];
    let got = site.ask(Method::GET, "/.hidden", &fields);
    assert_eq!((got.status, got.body(), got.text(name::CONTENT_ENCODING)), (404, "zipped", "gzip"));
    let head = site.ask(Method::HEAD, "/missing", &[]);
    assert_eq!((head.status, head.body(), head.text(name::CONTENT_LENGTH)), (404, "", "8"));
    let refused = site.ask(Method::POST, "/404.html", &[]);
    assert_eq!((refused.status, refused.body(), refused.text(name::ALLOW)), (405, "not so", "GET, HEAD"));
    // A page that is not there itself.
    assert_eq!(site.get("/%").status, 400);
    assert_eq!(site.get("/404.html").status, 200);
}

#[test]
fn types_can_be_given() {
    let mut site = Site::new();
    site.config.types = vec![("md".into(), "text/plain".into()), ("foo".into(), "x/foo".into())];
    for (name, kind) in [
        ("a.MD", "text/plain"),
        ("a.foo", "x/foo"),
        ("a.css", "text/css; charset=utf-8"),
        ("foo", "application/octet-stream"),
    ] {
        site.write(name, "x");
        assert_eq!(site.get(&format!("/{name}")).text(name::CONTENT_TYPE), kind);
    }
}
