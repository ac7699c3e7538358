//! Plugins from elsewhere: fetched over https and out of registries, checked, kept, and refused when they are not what they
//! should be.

use std::path::Path;

use gatewright::fetch::{self, Store};
use hyper::Response;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::shelf::{Shelf, sha256, status};
use crate::harness::{Body, RawOrigin, Wire, certs, eventually, full, stream, tls, within};

const WASM: &str = "application/wasm";

/// A place from which plugins are fetched without a gateway.
struct Site {
    folder: TempDir,
    online: bool,
    limits: &'static str,
}

impl Site {
    fn new() -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        tls::write_files(folder.path());
        std::fs::write(folder.path().join("login"), "me:secret").expect("a file");
        Site { folder, online: true, limits: "" }
    }

    /// The module of a plugin with these keys, or what is said instead.
    async fn fetch(&self, keys: &str) -> Result<Vec<u8>, String> {
        let text = format!(
            "[[listener]]\naddress = '127.0.0.1:0'\n[limits]\n{}\n[plugin.mine]\n{keys}\n[[route]]\nrespond = ''",
            self.limits
        );
        let config = gatewright::config::parse(&text, &self.folder.path().join("gateway.toml"));
        let config = config.unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let (store, online) = (Store::at(Some(self.kept())), self.online);
        let fetching = tokio::task::spawn_blocking(move || {
            fetch::fetch_and_wait(fetch::wanted(&config, None), &config.limits, store, online)
        });
        let fetched = within("the plugin", fetching).await.expect("no panic").expect("a thread");
        let module = fetched.module("mine").expect("it was asked for");
        module.map(<[u8]>::to_vec).map_err(ToString::to_string)
    }

    fn kept(&self) -> std::path::PathBuf {
        self.folder.path().join("modules")
    }

    fn blob(&self, bytes: &[u8]) -> std::path::PathBuf {
        self.kept().join(format!("{}.blob", sha256(bytes)))
    }
}

fn https(shelf: &Shelf, path: &str, module: &[u8]) -> String {
    format!("source = 'https://{}{path}'\nsha256 = '{}'\nca = 'ca.pem'", shelf.origin(), sha256(module))
}

fn oci(shelf: &Shelf, version: &str) -> String {
    format!("source = 'oci://{}/a/b{version}'", shelf.origin())
}

fn redirect(to: &str) -> Response<Body> {
    let mut answer = status(302);
    answer.headers_mut().insert("location", to.parse().expect("a value"));
    answer
}

fn says(found: Result<Vec<u8>, String>, words: &[&str]) {
    let said = found.expect_err("it was taken");
    assert!(words.iter().all(|words| said.contains(words)), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[tokio::test]
async fn a_module_over_https_is_fetched_once_and_kept() {
    let (site, shelf) = (Site::new(), Shelf::over(Wire::H1Tls).await);
    shelf.put("/a.wasm", "module");
    let keys = https(&shelf, "/a.wasm", b"module");
    assert_eq!(site.fetch(&keys).await.as_deref(), Ok(&b"module"[..]));
    assert_eq!(site.fetch(&keys).await.as_deref(), Ok(&b"module"[..]));
    assert_eq!(shelf.origin().requests(), 1);
    // A damaged copy is no copy.
    std::fs::write(site.blob(b"module"), "Module").expect("a file");
    assert_eq!(site.fetch(&keys).await.as_deref(), Ok(&b"module"[..]));
    assert_eq!(shelf.origin().requests(), 2);
    shelf.close().await;
    assert_eq!(site.fetch(&keys).await.as_deref(), Ok(&b"module"[..]));
    std::fs::write(site.blob(b"module"), "Module").expect("a file");
    says(site.fetch(&keys).await, &["cannot connect", "/a.wasm"]);
}

#[tokio::test]
async fn another_module_than_the_one_demanded_is_not_taken() {
    let (site, shelf) = (Site::new(), Shelf::over(Wire::H1Tls).await);
    shelf.put("/a.wasm", "other");
    let found = site.fetch(&https(&shelf, "/a.wasm", b"module")).await;
    says(found, &[&sha256(b"module"), &sha256(b"other"), "/a.wasm: its sha256 is"]);
    assert!(!site.kept().exists());
}

#[tokio::test]
async fn redirects_are_followed_over_https_and_not_for_ever() {
    let (site, shelf, other) = (Site::new(), Shelf::over(Wire::H1Tls).await, Shelf::over(Wire::H1Tls).await);
    let elsewhere = format!("https://{}/c.wasm", other.origin());
    shelf.at("/a.wasm", |request| {
        assert_eq!(request.headers()["authorization"], "Basic bWU6c2VjcmV0");
        redirect("b.wasm")
    });
    shelf.at("/b.wasm", move |request| {
        assert_eq!(request.headers()["authorization"], "Basic bWU6c2VjcmV0");
        redirect(&elsewhere)
    });
    // Who we are is nobody else's business.
    other.at("/c.wasm", |request| match request.headers().get("authorization") {
        Some(_) => status(400),
        None => Response::new(full("module")),
    });
    let keys = https(&shelf, "/a.wasm", b"module") + "\ncredentials = 'login'";
    assert_eq!(site.fetch(&keys).await.as_deref(), Ok(&b"module"[..]));
    shelf.at("/loop", |_| redirect("/loop"));
    says(site.fetch(&https(&shelf, "/loop", b"")).await, &["/loop: redirected more than 5 times"]);
    for (path, to) in [("/http", "http://127.0.0.1/a"), ("/file", "file:///etc/passwd"), ("/none", "")] {
        shelf.at(path, move |_| redirect(to));
        says(site.fetch(&https(&shelf, path, b"")).await, &[path, &format!("redirected to {to:?}; only https://")]);
    }
}

#[tokio::test]
async fn what_is_too_large_or_too_slow_is_given_up() {
    let (mut site, shelf) = (Site::new(), Shelf::over(Wire::H1Tls).await);
    shelf.put("/large", vec![0; (16 << 20) + 1]);
    says(site.fetch(&https(&shelf, "/large", b"")).await, &["/large: is larger than 16777216 bytes"]);
    // Without an end, and without a length.
    shelf.at("/endless", |_| {
        let (sender, body) = stream();
        tokio::spawn(async move { while sender.data(vec![0; 1 << 20]).await {} });
        Response::new(body)
    });
    says(site.fetch(&https(&shelf, "/endless", b"")).await, &["/endless: is larger than 16777216 bytes"]);
    let origin = RawOrigin::start_tls("http/1.1").await;
    site.limits = "plugin_download_time = '300ms'";
    let keys = format!("source = 'https://{origin}/slow'\nsha256 = '{}'\nca = 'ca.pem'", sha256(b""));
    let (found, _connection) = tokio::join!(site.fetch(&keys), origin.accept());
    says(found, &["/slow: not fetched within 300ms (limits.plugin_download_time)"]);
}

#[tokio::test]
async fn what_is_answered_instead_of_a_module_is_told() {
    let (site, shelf) = (Site::new(), Shelf::over(Wire::H1Tls).await);
    shelf.at("/500", |_| status(500));
    shelf.at("/401", |_| status(401));
    says(site.fetch(&https(&shelf, "/404", b"")).await, &["/404: answered 404: it is not there"]);
    says(site.fetch(&https(&shelf, "/500", b"")).await, &["/500: answered 500: it has a problem of its own"]);
    let denied = site.fetch(&https(&shelf, "/401", b"")).await;
    says(denied, &["answered 401: not allowed; tried nothing", "give \"credentials\""]);
    let denied = site.fetch(&(https(&shelf, "/401", b"") + "\ncredentials = 'login'")).await;
    says(denied, &["answered 401: not allowed; tried the user of", "/login"]);
    std::fs::write(site.folder.path().join("login"), "secret").expect("a file");
    let denied = site.fetch(&(https(&shelf, "/401", b"") + "\ncredentials = 'login'")).await;
    says(denied, &["/login: takes one line"]);
    std::fs::write(site.folder.path().join("other.pem"), certs::authority().pem()).expect("a file");
    let keys = https(&shelf, "/a.wasm", b"").replace("ca.pem", "other.pem");
    says(site.fetch(&keys).await, &["its certificate is signed by nobody that is trusted"]);
    let origin = RawOrigin::start().await;
    let keys = format!("source = 'https://{origin}/'\nsha256 = '{}'\nca = 'ca.pem'", sha256(b""));
    let answering = async {
        let mut raw = origin.accept().await;
        raw.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        raw
    };
    let (found, _connection) = tokio::join!(site.fetch(&keys), answering);
    says(found, &["what it answers is not TLS"]);
}

#[tokio::test]
async fn registries_hand_out_modules_by_tag_and_by_digest() {
    for wire in [Wire::H1, Wire::H1Tls] {
        let (mut site, shelf) = (Site::new(), Shelf::over(wire).await);
        let ca = if wire.is_tls() { "\nca = 'ca.pem'" } else { "" };
        for (tag, kind) in [
            ("1", WASM),
            ("2", "application/vnd.wasm.content.layer.v1+wasm"),
            ("3", "application/vnd.module.wasm.content.layer.v1+wasm"),
        ] {
            let digest = shelf.image(tag, tag.as_bytes(), kind);
            assert_eq!(site.fetch(&(oci(&shelf, &format!(":{tag}")) + ca)).await.as_deref(), Ok(tag.as_bytes()));
            let asked = shelf.origin().requests();
            let by_digest = oci(&shelf, &format!("@sha256:{digest}")) + ca;
            assert_eq!(site.fetch(&by_digest).await.as_deref(), Ok(tag.as_bytes()));
            assert_eq!(shelf.origin().requests(), asked, "a digest means the same for ever");
        }
        site.online = false;
        assert_eq!(site.fetch(&(oci(&shelf, ":1") + ca)).await.as_deref(), Ok(&b"1"[..]));
        says(site.fetch(&(oci(&shelf, ":4") + ca)).await, &["/a/b:4: was not fetched, and no copy of it is kept here"]);
    }
}

#[tokio::test]
async fn an_index_leads_to_its_image_for_wasm() {
    let (site, shelf) = (Site::new(), Shelf::over(Wire::H1).await);
    let image = shelf.image("wasm", b"module", WASM);
    let linux = json!({ "digest": "sha256:0", "platform": { "os": "linux", "architecture": "amd64" } });
    let wasm = json!({ "digest": format!("sha256:{image}"), "platform": { "os": "wasi", "architecture": "wasm" } });
    let digest = shelf.manifest("1", &json!({ "manifests": [linux, wasm] }));
    for version in [":1".to_owned(), format!("@sha256:{digest}")] {
        assert_eq!(site.fetch(&oci(&shelf, &version)).await.as_deref(), Ok(&b"module"[..]));
    }
    shelf.manifest("2", &json!({ "manifests": [linux, linux] }));
    says(site.fetch(&oci(&shelf, ":2")).await, &["none of its images is for wasm (linux/amd64, linux/amd64)"]);
    // One that leads on to others without end.
    for number in 3..9 {
        let next = shelf.manifest("next", &json!({ "manifests": [wasm], "annotations": { "n": number } }));
        let leads = json!({ "manifests": [{ "digest": format!("sha256:{next}") }], "annotations": { "n": number } });
        let inner = shelf.manifest("inner", &leads);
        let leads = json!({ "manifests": [{ "digest": format!("sha256:{inner}") }] });
        shelf.manifest("3", &leads);
    }
    says(site.fetch(&oci(&shelf, ":3")).await, &["one index after the other"]);
}

#[tokio::test]
async fn what_is_no_plugin_or_not_what_its_digest_says_is_refused() {
    let (site, shelf) = (Site::new(), Shelf::over(Wire::H1).await);
    shelf.image("zip", b"module", "application/gzip");
    let found = site.fetch(&oci(&shelf, ":zip")).await;
    says(found, &["it has no module", "layers: application/gzip", "config: application/vnd.wasm.config.v0+json"]);
    shelf.put("/v2/a/b/manifests/text", "hello");
    says(site.fetch(&oci(&shelf, ":text")).await, &["the manifest cannot be read"]);
    says(site.fetch(&oci(&shelf, ":none")).await, &["/v2/a/b/manifests/none: answered 404"]);
    let digest = shelf.image("1", b"module", WASM);
    let blob = format!("/v2/a/b/blobs/sha256:{}", sha256(b"module"));
    shelf.put(&blob, "other");
    says(site.fetch(&oci(&shelf, ":1")).await, &[&blob, &sha256(b"other"), &sha256(b"module")]);
    let manifest = format!("/v2/a/b/manifests/sha256:{digest}");
    shelf.put(&manifest, "{}");
    let other = Site::new();
    let found = other.fetch(&oci(&shelf, &format!("@sha256:{digest}"))).await;
    says(found, &[&manifest, &sha256(b"{}"), &digest]);
}

#[tokio::test]
async fn a_tag_is_asked_for_again_and_means_what_it_did_when_nobody_answers() {
    let (site, shelf) = (Site::new(), Shelf::over(Wire::H1).await);
    let first = shelf.image("live", b"one", WASM);
    let keys = oci(&shelf, ":live");
    assert_eq!(site.fetch(&keys).await.as_deref(), Ok(&b"one"[..]));
    shelf.image("live", b"two", WASM);
    assert_eq!(site.fetch(&keys).await.as_deref(), Ok(&b"two"[..]));
    for silence in [500, 503, 429] {
        shelf.at("/v2/a/b/manifests/live", move |_| status(silence));
        assert_eq!(site.fetch(&keys).await.as_deref(), Ok(&b"two"[..]), "{silence}");
    }
    // That it is not there any more is an answer.
    for answer in [404, 403] {
        shelf.at("/v2/a/b/manifests/live", move |_| status(answer));
        says(site.fetch(&keys).await, &[&format!("answered {answer}")]);
    }
    shelf.close().await;
    assert_eq!(site.fetch(&keys).await.as_deref(), Ok(&b"two"[..]));
    std::fs::write(site.blob(b"two"), "damaged").expect("a file");
    says(site.fetch(&keys).await, &["cannot connect"]);
    assert!(std::fs::read_dir(site.kept()).expect("a folder").count() >= 4);
    for note in std::fs::read_dir(site.kept()).expect("a folder").flatten() {
        if Path::new(&note.file_name()).extension().is_some_and(|ending| ending == "tag") {
            std::fs::write(note.path(), format!("sha256:{first} oci://elsewhere\n")).expect("a file");
        }
    }
    says(site.fetch(&keys).await, &["cannot connect"]);
}

#[tokio::test]
async fn registries_are_told_who_we_are() {
    let (site, shelf) = (Site::new(), Shelf::over(Wire::H1).await);
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"the shelf\"", shelf.origin());
    shelf.image("1", b"module", WASM);
    shelf.guard("Bearer pass", &challenge);
    shelf.at("/token", |request| {
        let scope = "service=the%20shelf&scope=repository:a/b:pull";
        let right = request.uri().query() == Some(scope) && !request.headers().contains_key("authorization");
        if right { Response::new(full("{ \"token\": \"pass\" }")) } else { status(400) }
    });
    assert_eq!(site.fetch(&oci(&shelf, ":1")).await.as_deref(), Ok(&b"module"[..]));
    assert_eq!(shelf.origin().requests(), 4, "no, the token, the manifest, the module");

    // A token for whom we say that we are.
    let site = Site::new();
    shelf.at("/token", |request| match request.headers().get("authorization").map(|given| given.as_bytes()) {
        Some(b"Basic bWU6c2VjcmV0") => Response::new(full("{ \"access_token\": \"pass\" }")),
        Some(_) => status(403),
        None => Response::new(full("{ \"token\": \"other\" }")),
    });
    let keys = oci(&shelf, ":1");
    let anonymous = site.fetch(&keys).await;
    says(
        anonymous,
        &["manifests/1: answered 401: not allowed; tried an anonymous token at http://", "give \"credentials\""],
    );
    let keys = keys + "\ncredentials = 'login'";
    assert_eq!(site.fetch(&keys).await.as_deref(), Ok(&b"module"[..]));
    std::fs::write(site.folder.path().join("login"), "me:another-secret").expect("a file");
    says(site.fetch(&keys).await, &["/token?…: answered 403: not allowed; tried the user of", "/login at http://"]);
    std::fs::write(site.folder.path().join("login"), "Bearer pass").expect("a file");
    assert_eq!(site.fetch(&keys).await.as_deref(), Ok(&b"module"[..]));
    let docker = json!({ "auths": { shelf.origin().to_string(): { "auth": "bWU6c2VjcmV0" } } });
    std::fs::write(site.folder.path().join("login"), docker.to_string()).expect("a file");
    assert_eq!(site.fetch(&keys).await.as_deref(), Ok(&b"module"[..]));
    let site = Site::new();
    shelf.put("/token", "{}");
    let keys = oci(&shelf, ":1");
    says(site.fetch(&keys).await, &["there is no token in it"]);
}

#[tokio::test]
async fn registries_may_ask_for_a_name_and_a_password() {
    let (site, shelf) = (Site::new(), Shelf::over(Wire::H1Tls).await);
    shelf.image("1", b"module", WASM);
    shelf.guard("Basic bWU6c2VjcmV0", "Basic realm=\"shelf\"");
    let keys = oci(&shelf, ":1") + "\nca = 'ca.pem'";
    says(site.fetch(&keys).await, &["answered 401: not allowed; tried nothing, since there are no credentials"]);
    let keys = keys + "\ncredentials = 'login'";
    assert_eq!(site.fetch(&keys).await.as_deref(), Ok(&b"module"[..]));
    // Over TLS nobody is sent to a place without it; nor from this machine to another.
    shelf.guard("Basic other", "Bearer realm=\"http://127.0.0.1/token\"");
    says(site.fetch(&keys).await, &["which is no https:// address"]);
    let shelf = Shelf::over(Wire::H1).await;
    shelf.image("1", b"module", WASM);
    shelf.guard("Basic other", "Bearer realm=\"http://192.0.2.1/token\"");
    let keys = oci(&shelf, ":1") + "\ncredentials = 'login'";
    says(site.fetch(&keys).await, &["\"http://192.0.2.1/token\", which is no https:// address"]);
    // Whoever a registry sends us to may not say where our password is to go.
    let (shelf, other) = (Shelf::over(Wire::H1).await, Shelf::over(Wire::H1).await);
    let (to, realm) = (format!("http://{}/x", other.origin()), format!("http://{}/token", other.origin()));
    shelf.at("/v2/a/b/manifests/1", move |_| redirect(&to));
    other.at("/x", move |_| {
        let mut answer = status(401);
        let challenge = format!("Bearer realm=\"{realm}\"").parse().expect("a value");
        answer.headers_mut().insert("www-authenticate", challenge);
        answer
    });
    let keys = oci(&shelf, ":1") + "\ncredentials = 'login'";
    says(site.fetch(&keys).await, &["answered 401: not allowed; tried nothing"]);
    assert_eq!(other.origin().requests(), 1);
}

mod gateways;
