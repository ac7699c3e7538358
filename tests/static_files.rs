//! Folders seen from outside: the same over every protocol, and never a file that looks complete and is not.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use http_body_util::BodyExt;
use hyper::Request;

use crate::harness::{Body, Client, Gateway, Wire, empty, full, within};

const WIRES: [Wire; 4] = [Wire::H1, Wire::H1Tls, Wire::H2, Wire::H2Tls];
/// More than all buffers between a gateway and a client that does not read hold.
const BIG: u64 = 48 * 1024 * 1024;

const SITE: &str = "
    [admin]
    address = '127.0.0.1:0'
    [[listener]]
    address = '127.0.0.1:0'
    [[listener]]
    address = '127.0.0.1:0'
    tls = [{ certificate = 'server.pem', key = 'server.key' }]
    [[route]]
    [route.static]
    root = 'public'
    try_files = ['{path}', '{path}.html']
    precompressed = true
    cache_control = [{ files = '*.{hash}.js', value = 'public, max-age=31536000, immutable' }]
    error_pages = { 404 = '/404.html' }
    types = { foo = 'x/foo' }
    [[route]]
    match = { path = '/app/' }
    static = { root = 'app', fallback = '/index.html' }
    [[route]]
    match = { path = '/list/' }
    static = { root = 'public', listing = true, index = [] }";

async fn site() -> Gateway {
    Gateway::of(SITE)
        .file("public/index.html", "index")
        .file("public/about.html", "about")
        .file("public/404.html", "not here")
        .file("public/main.3f2a9c1b.js", "plain")
        .file("public/main.3f2a9c1b.js.br", "br")
        .file("public/a.foo", "foo")
        .file("public/large", "0123456789".repeat(100_000))
        .file("public/sub/x", "x")
        .file("app/index.html", "app")
        .start()
        .await
}

/// Fields of a request.
type Named<'a> = &'a [(&'a str, &'a str)];

async fn client(gateway: &Gateway, wire: Wire) -> Client {
    let [cleartext, tls] = gateway.addresses()[..] else { panic!("two listeners") };
    Client::connect(if wire.is_tls() { tls } else { cleartext }, wire).await
}

fn request(client: &Client, method: &str, target: &str, fields: Named<'_>) -> Request<Body> {
    let request = client.request(method, target);
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(empty()).expect("a request")
}

#[tokio::test]
async fn a_folder_is_the_same_over_every_protocol() {
    let gateway = site().await;
    for wire in WIRES {
        let mut client = client(&gateway, wire).await;
        let rows: &[(&str, Named<'_>, u16, &str)] = &[
            ("/", &[], 200, "index"),
            ("/about", &[], 200, "about"),
            ("/a.foo", &[], 200, "foo"),
            ("/main.3f2a9c1b.js", &[], 200, "plain"),
            ("/main.3f2a9c1b.js", &[("accept-encoding", "gzip, br")], 200, "br"),
            ("/large", &[("range", "bytes=10-19")], 206, "0123456789"),
            ("/large", &[("range", "bytes=-5")], 206, "56789"),
            ("/large", &[("range", "bytes=2000000-")], 416, ""),
            ("/about", &[("range", "bytes=1-2")], 206, "bo"),
            ("/about", &[("if-none-match", "*")], 304, ""),
            ("/about", &[("if-match", "\"x\"")], 412, ""),
            ("/missing", &[], 404, "not here"),
            ("/.env", &[], 404, "not here"),
            ("/sub", &[], 404, "not here"),
            ("/list/sub", &[], 308, ""),
            ("/app/any/where", &[], 200, "app"),
            ("/app/", &[], 200, "app"),
        ];
        for (target, fields, status, body) in rows {
            let asked = request(&client, "GET", target, fields);
            let got = client.exchange(asked).await.expect("a response");
            assert_eq!((got.status.as_u16(), got.text()), (*status, *body), "{wire:?} {target} {fields:?}");
            let asked = request(&client, "HEAD", target, fields);
            let head = client.exchange(asked).await.expect("a response");
            let expected = if *status == 206 || *status == 416 { 200 } else { *status };
            assert_eq!((head.status.as_u16(), head.text()), (expected, ""), "{wire:?} HEAD {target} {fields:?}");
        }
        assert_eq!(client.get("/large").await.body.len(), 1_000_000);
        let script = client.get("/main.3f2a9c1b.js").await;
        assert_eq!(script.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(script.header("vary"), Some("accept-encoding"));
        assert_eq!(client.get("/a.foo").await.header("content-type"), Some("x/foo"));
        let asked = request(&client, "GET", "/list/", &[("accept", "application/json")]);
        let list = client.exchange(asked).await.expect("a list").seen();
        assert_eq!((list[0]["name"].as_str(), list[0]["type"].as_str()), (Some("sub"), Some("directory")));
        assert!(client.get("/list/").await.text().contains("<a href=\"./about.html\">"));
        // What is refused with its body unread does not end the connection.
        let post = client.call("POST", "/about", full("body")).await;
        assert_eq!((post.status.as_u16(), post.header("allow")), (405, Some("GET, HEAD")));
        assert_eq!(client.get("/about").await.text(), "about");
    }
    for knew in ["memory", "system", "disk"] {
        let found = gateway.metric(&format!("gatewright_files_found_total{{knew=\"{knew}\"}}")).await;
        assert!(found > 0.0, "{knew}");
    }
}

/// What becomes of a large file of which the beginning was read when `change` happens: its length, or that it was cut.
async fn sent_while(wire: Wire, change: fn(&Path)) -> Result<u64, u64> {
    let gateway = site().await;
    let path = gateway.folder().join("public/big");
    let file = File::create(&path).expect("a file");
    file.set_len(BIG).expect("room");
    for place in places() {
        file.write_all_at(&place.to_be_bytes(), place).expect("to write");
    }
    let mut client = client(&gateway, wire).await;
    let asked = request(&client, "GET", "/big", &[]);
    let response = client.send(asked).await.expect("a response");
    assert_eq!(response.headers()["content-length"], BIG.to_string());
    let mut body = response.into_body();
    let mut got = Vec::new();
    let mut change = Some(change);
    loop {
        match within("a piece of a body", body.frame()).await {
            Some(Ok(frame)) => got.extend_from_slice(frame.data_ref().expect("data")),
            Some(Err(_)) => return Err(got.len() as u64),
            None => break,
        }
        if let Some(change) = change.take() {
            change(&path);
        }
    }
    for place in places() {
        let found = got.get(place as usize..).and_then(|rest| rest.first_chunk());
        assert_eq!(found, Some(&place.to_be_bytes()), "{wire:?}");
    }
    Ok(got.len() as u64)
}

/// Where something stands in a large file by which its parts are told from each other.
fn places() -> impl Iterator<Item = u64> {
    (0..BIG).step_by(1_000_000)
}

fn writable(path: &Path) -> File {
    File::options().write(true).open(path).expect("the file")
}

#[tokio::test]
async fn a_file_that_is_changed_on_its_way_never_looks_complete() {
    let changes: [fn(&Path); 6] = [
        |path| writable(path).set_len(0).expect("to shrink"),
        |path| writable(path).set_len(BIG - 1).expect("to shrink"),
        |path| writable(path).set_len(BIG + 1).expect("to grow"),
        |path| writable(path).write_all_at(b"x", BIG / 2).expect("to write"),
        // What may be on its way just now, and what is on its way last.
        |path| writable(path).write_all_at(&[b'x'; 4_000_000], 100_000).expect("to write"),
        |path| writable(path).write_all_at(b"x", BIG - 1).expect("to write"),
    ];
    for wire in WIRES {
        for (number, change) in changes.into_iter().enumerate() {
            let sent = sent_while(wire, change).await;
            assert!(sent.is_err_and(|length| length < BIG), "{wire:?} {number}: {sent:?}");
        }
    }
}

#[tokio::test]
async fn a_file_that_goes_or_is_replaced_on_its_way_is_sent_to_its_end() {
    let changes: [fn(&Path); 2] = [
        |path| std::fs::remove_file(path).expect("to remove"),
        |path| {
            std::fs::write(path.with_extension("new"), "new").expect("to write");
            std::fs::rename(path.with_extension("new"), path).expect("to replace");
        },
    ];
    for wire in WIRES {
        for change in changes {
            assert_eq!(sent_while(wire, change).await, Ok(BIG), "{wire:?}");
        }
    }
}

#[tokio::test]
async fn a_change_is_seen_after_the_time_that_is_configured() {
    let gateway = Gateway::of("[[route]]\nstatic = 'public'").file("public/a", "one").start().await;
    let mut client = gateway.client(Wire::H1).await;
    assert_eq!(client.get("/a").await.text(), "one");
    for content in ["two", "three"] {
        std::fs::write(gateway.folder().join("public/new"), content).expect("to write");
        std::fs::rename(gateway.folder().join("public/new"), gateway.folder().join("public/a")).expect("to replace");
        within("the new content", async {
            while client.get("/a").await.text() != content {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
