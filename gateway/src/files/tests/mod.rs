//! Requests against a real folder.

mod changes;
mod choice;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::model::{CacheRule, Candidate, Sibling, Static};
use crate::http::{Fields, Frame, Scheme, StatusCode, Version, name};

struct Site {
    folder: tempfile::TempDir,
    files: Files,
    config: Static,
}

struct Answered {
    status: u16,
    fields: Fields,
    body: Result<String, &'static str>,
}

impl Site {
    /// `outside` lies beside the folder that is served.
    fn new() -> Site {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("site/docs")).unwrap();
        fs::write(folder.path().join("outside"), "secret").unwrap();
        let limits = Limits { file_cache_time: Duration::ZERO, ..Limits::default() };
        Site { folder, files: Files::new(&limits), config: Static::plain(PathBuf::new()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("site").join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    async fn open(&self, method: Method, target: &str, list: &[(&str, &str)]) -> Result<(ResponseHead, Body), Error> {
        let mut fields = Fields::new();
        for (name, value) in list {
            fields.append(*name, value.as_bytes()).unwrap();
        }
        let request = RequestHead {
            method,
            version: Version::Http11,
            scheme: Scheme::Http,
            authority: "a".into(),
            target: target.into(),
            upgrade: None,
            fields,
        };
        let folder = Folder::new(&Static { root: self.path(""), ..self.config.clone() });
        let served = self.files.serve(&folder, &request, request.path()).await?;
        Ok((served.head, served.body))
    }

    fn ask(&self, method: Method, target: &str, list: &[(&str, &str)]) -> Answered {
        self.run(async {
            match self.open(method, target, list).await {
                Ok((head, body)) => {
                    Answered { status: head.status.as_u16(), fields: head.fields, body: all(body).await }
                }
                Err(error) => Answered {
                    status: error.outcome().status.unwrap().as_u16(),
                    fields: Fields::new(),
                    body: Err(error.label()),
                },
            }
        })
    }

    fn get(&self, target: &str) -> Answered {
        self.ask(Method::GET, target, &[])
    }
}

impl Answered {
    fn text(&self, field: crate::http::Known) -> &str {
        self.fields.text(field).unwrap_or_default()
    }

    fn body(&self) -> &str {
        self.body.as_ref().unwrap()
    }
}

async fn all(mut body: Body) -> Result<String, &'static str> {
    let length = body.length();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(Frame::Data(data)) => bytes.extend_from_slice(&data),
            Ok(Frame::Trailers(_)) => {}
            Err(error) => return Err(error.label()),
        }
    }
    assert_eq!(length, Some(bytes.len() as u64));
    Ok(String::from_utf8(bytes).unwrap())
}

#[test]
fn a_file_has_its_head_and_a_head_request_has_no_body() {
    let site = Site::new();
    site.write("a.css", "p{}");
    let got = site.get("/a.css");
    assert_eq!((got.status, got.body()), (200, "p{}"));
    assert_eq!(got.text(name::CONTENT_TYPE), "text/css; charset=utf-8");
    assert_eq!((got.text(name::CONTENT_LENGTH), got.text(name::ACCEPT_RANGES)), ("3", "bytes"));
    assert!(httpdate::parse_http_date(got.text(name::LAST_MODIFIED)).is_ok());
    let head = site.ask(Method::HEAD, "/a.css", &[]);
    assert_eq!((head.status, head.body(), head.text(name::CONTENT_LENGTH)), (200, "", "3"));
    assert_eq!(head.text(name::ETAG), got.text(name::ETAG));
    assert_eq!(site.ask(Method::POST, "/a.css", &[]).status, 405);
    site.write("empty", "");
    assert_eq!((site.get("/empty").status, site.get("/empty").text(name::CONTENT_LENGTH)), (200, "0"));
}

#[test]
fn nothing_outside_the_folder_is_served() {
    let site = Site::new();
    site.write(".env", "secret");
    site.write("docs/in.txt", "in");
    symlink(site.folder.path().join("outside"), site.path("absolute")).unwrap();
    symlink("../outside", site.path("relative")).unwrap();
    symlink("../../..", site.path("docs/up")).unwrap();
    symlink("loop", site.path("loop")).unwrap();
    symlink("docs/in.txt", site.path("inside")).unwrap();
    let sibling = site.folder.path().join("site-private");
    fs::create_dir(&sibling).unwrap();
    fs::write(sibling.join("x"), "secret").unwrap();
    symlink(&sibling, site.path("sibling")).unwrap();
    for target in [
        "/../outside",
        "/%2e%2e/outside",
        "/absolute",
        "/relative",
        "/docs/up/etc/passwd",
        "/loop",
        "/.env",
        "/%2eenv",
        "/sibling/x",
        "/docs/in.txt/",
        "/docs/in.txt/x",
        "/none",
        "/docs/",
    ] {
        assert_eq!(site.get(target).status, 404, "{target}");
    }
    assert_eq!(site.get(&format!("/{}", "a".repeat(300))).status, 404);
    assert_eq!(site.get("/a%00").status, 400);
    assert_eq!(site.get("/inside").body(), "in");
}

#[test]
fn a_folder_is_redirected_and_shows_its_index_or_its_list() {
    let mut site = Site::new();
    // A folder that would not answer is not there.
    assert_eq!((site.get("/docs").status, site.get("/docs/").status), (404, 404));
    site.write("docs/b.txt", "b");
    site.config.listing = true;
    let got = site.get("/docs?x=1");
    assert_eq!((got.status, got.text(name::LOCATION)), (308, "./docs/?x=1"));
    assert_eq!(site.get("//docs").text(name::LOCATION), "./docs/");
    let got = site.get("/docs/");
    assert!(got.status == 200 && got.body().contains("./b.txt"));
    site.write("docs/index.html", "index");
    assert_eq!(site.get("/docs/").body(), "index");
    assert_eq!(site.get("/docs/").text(name::CONTENT_TYPE), "text/html; charset=utf-8");
    assert_eq!(site.get("/docs").text(name::LOCATION), "./docs/");
    fs::remove_file(site.path("docs/index.html")).unwrap();
    assert!(site.get("/docs/").body().contains("./b.txt"));
}

#[test]
fn a_folder_that_is_a_link_may_be_moved_to_a_new_release() {
    let folder = tempfile::tempdir().unwrap();
    for release in ["1", "2"] {
        fs::create_dir(folder.path().join(release)).unwrap();
        fs::write(folder.path().join(release).join("v"), release).unwrap();
    }
    let current = folder.path().join("site");
    symlink("1", &current).unwrap();
    let limits = Limits { file_cache_time: Duration::ZERO, ..Limits::default() };
    let site = Site { folder, files: Files::new(&limits), config: Static::plain(PathBuf::new()) };
    assert_eq!(site.get("/v").body(), "1");
    fs::remove_file(&current).unwrap();
    symlink("2", &current).unwrap();
    assert_eq!(site.get("/v").body(), "2");
}

#[test]
fn conditions_and_ranges_hold_for_small_and_large_files() {
    let site = Site::new();
    for length in [1000, load::SMALL as usize + 1000] {
        let content: String = (0..length).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
        site.write("f.txt", &content);
        let got = site.get("/f.txt");
        assert!(got.body() == content);
        let tag = got.text(name::ETAG).to_string();
        let date = got.text(name::LAST_MODIFIED).to_string();
        let ask = |list: &[(&str, &str)]| site.ask(Method::GET, "/f.txt", list);

        let same = ask(&[("if-none-match", &tag)]);
        assert_eq!((same.status, same.body(), same.text(name::ETAG)), (304, "", tag.as_str()));
        assert_eq!(ask(&[("if-modified-since", &date)]).status, 304);
        assert_eq!(ask(&[("if-match", "\"x\"")]).status, 412);
        let part = ask(&[("range", "bytes=10-19")]);
        assert_eq!((part.status, part.body()), (206, &content[10..20]));
        assert_eq!(part.text(name::CONTENT_RANGE), format!("bytes 10-19/{length}"));
        assert_eq!(ask(&[("range", "bytes=-5")]).body(), &content[length - 5..]);
        // A weak tag holds no ranges together (RFC 9110 section 13.1.5).
        let held = if tag.starts_with("W/") { 200 } else { 206 };
        assert_eq!(ask(&[("range", "bytes=0-1"), ("if-range", &tag)]).status, held);
        assert_eq!(ask(&[("range", "bytes=0-1"), ("if-range", "\"x\"")]).status, 200);
        let beyond = ask(&[("range", "bytes=9999999-")]);
        assert_eq!((beyond.status, beyond.text(name::CONTENT_RANGE)), (416, format!("bytes */{length}").as_str()));
        assert_eq!(site.ask(Method::HEAD, "/f.txt", &[("range", "bytes=0-1")]).status, 200);

        let several = ask(&[("range", "bytes=0-1,5-6")]);
        let boundary = several.text(name::CONTENT_TYPE).strip_prefix("multipart/byteranges; boundary=").unwrap();
        let part = |from, to| {
            let type_ = "Content-Type: text/plain; charset=utf-8";
            format!("\r\n--{boundary}\r\n{type_}\r\nContent-Range: bytes {from}-{to}/{length}\r\n\r\n")
        };
        let expected = format!("{}ab{}fg\r\n--{boundary}--\r\n", part(0, 1), part(5, 6));
        assert_eq!((several.status, several.body()), (206, expected.as_str()));
        assert_eq!(several.text(name::CONTENT_LENGTH), expected.len().to_string());
    }
}

#[test]
fn memory_stays_below_its_bound() {
    let mut site = Site::new();
    let size = 100_000;
    let limits =
        Limits { file_cache_size: size as u64, file_cache_time: Duration::from_secs(3600), ..Limits::default() };
    site.files = Files::new(&limits);
    for n in 0..50 {
        site.write(&format!("f{n}"), vec![b'x'; 9_000]);
        assert_eq!(site.get(&format!("/f{n}")).status, 200);
        assert_eq!(site.get("/f0").status, 200);
    }
    assert!(site.files.cache.borrow().size() <= size);
    // What is asked for all the time is still there.
    fs::remove_file(site.path("f0")).unwrap();
    assert_eq!(site.get("/f0").status, 200);
}

#[test]
fn pipes_and_the_like_are_not_files() {
    let site = Site::new();
    let made = std::process::Command::new("mkfifo").arg(site.path("pipe")).status();
    if made.is_ok_and(|status| status.success()) {
        assert_eq!(site.get("/pipe").status, 404);
    }
    let _socket = std::os::unix::net::UnixListener::bind(site.path("socket")).unwrap();
    assert_eq!(site.get("/socket").status, 404);
}
