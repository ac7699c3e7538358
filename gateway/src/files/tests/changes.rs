//! Files that change, shrink, vanish or are replaced: between requests, and on their way.

use super::*;

const BIG: usize = 3_000_000;

impl Site {
    /// Files in memory are sent for so long without a look at the disk.
    fn sure_for(&mut self, time: Duration) {
        self.files = Files::new(&Limits { file_cache_time: time, ..Limits::default() });
    }

    fn replace(&self, name: &str, content: impl AsRef<[u8]>) {
        self.write("new", content);
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }
}

fn settle(path: &Path) {
    // What was changed long ago is believed by its times: as if the file had lain there.
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)).unwrap();
}

#[test]
fn a_change_is_seen_and_memory_is_used_until_then() {
    let mut site = Site::new();
    site.write("a", "one");
    let first = site.get("/a");
    fs::write(site.path("new"), "two").unwrap();
    fs::rename(site.path("new"), site.path("a")).unwrap();
    let second = site.get("/a");
    assert_eq!(second.body(), "two");
    assert_ne!(first.text(name::ETAG), second.text(name::ETAG));
    fs::remove_file(site.path("a")).unwrap();
    assert_eq!(site.get("/a").status, 404);

    site.sure_for(Duration::from_secs(3600));
    site.write("a", "three");
    assert_eq!(site.get("/a").body(), "three");
    fs::remove_file(site.path("a")).unwrap();
    assert_eq!(site.get("/a").body(), "three");
}

#[test]
fn a_file_that_changes_on_its_way_never_looks_complete() {
    let shrink = |path: &Path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(300_000).unwrap();
    let touch = |path: &Path| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    };
    for change in [&shrink as &dyn Fn(&Path), &touch] {
        let site = Site::new();
        site.write("big", vec![b'x'; BIG]);
        site.run(async {
            let (_, mut body) = site.open(Method::GET, "/big", &[]).await.unwrap();
            assert!(matches!(body.frame().await, Some(Ok(Frame::Data(_)))));
            change(&site.path("big"));
            let mut failed = false;
            for _ in 0..100 {
                match body.frame().await {
                    Some(Ok(_)) => {}
                    Some(Err(_)) => failed = true,
                    None => panic!("it ended as if it were complete"),
                }
            }
            assert!(failed);
        });
    }
    // Replaced, not changed: what was begun is sent to its end.
    let site = Site::new();
    site.write("big", vec![b'x'; BIG]);
    site.run(async {
        let (head, mut body) = site.open(Method::GET, "/big", &[]).await.unwrap();
        assert_eq!(head.status, StatusCode::OK);
        assert!(body.frame().await.is_some());
        site.write("new", vec![b'y'; BIG]);
        fs::rename(site.path("new"), site.path("big")).unwrap();
        let rest = all(body).await.unwrap();
        assert!(rest.bytes().all(|b| b == b'x'));
    });
}

#[test]
fn a_change_that_leaves_length_and_times_is_seen_while_the_file_is_young() {
    let site = Site::new();
    site.write("a", "one");
    settle(&site.path("a"));
    let first = site.get("/a");
    fs::write(site.path("a"), "two").unwrap();
    settle(&site.path("a"));
    let second = site.get("/a");
    assert_eq!((first.body(), second.body()), ("one", "two"));
    assert_eq!(first.text(name::LAST_MODIFIED), second.text(name::LAST_MODIFIED));
    assert_ne!(first.text(name::ETAG), second.text(name::ETAG));
}

#[test]
fn the_tag_of_a_small_file_is_that_of_its_content() {
    let site = Site::new();
    site.write("a", "same");
    site.write("b", "same");
    settle(&site.path("b"));
    let (a, b) = (site.get("/a"), site.get("/b"));
    assert_eq!(a.text(name::ETAG), b.text(name::ETAG));
    assert!(!a.text(name::ETAG).starts_with("W/"));
    assert_ne!(a.text(name::LAST_MODIFIED), b.text(name::LAST_MODIFIED));
}

#[test]
fn the_tag_of_a_large_file_is_weak_while_it_may_change_unseen() {
    let site = Site::new();
    site.write("big", vec![b'x'; BIG]);
    let got = site.get("/big");
    let tag = got.text(name::ETAG);
    assert!(tag.starts_with("W/\""), "{tag}");
    assert_eq!(site.ask(Method::GET, "/big", &[("if-none-match", tag)]).status, 304);
    // Weak tags hold no ranges together (RFC 9110 section 13.1.5).
    assert_eq!(site.ask(Method::GET, "/big", &[("range", "bytes=0-1"), ("if-range", tag)]).status, 200);
    assert_eq!(site.ask(Method::GET, "/big", &[("range", "bytes=0-1")]).status, 206);
}

/// What a client of a large file gets when `change` happens after its first bytes: all of it, or no end.
fn sent_while(ranges: &str, change: impl FnOnce(&Site)) -> Result<Vec<u8>, ()> {
    let site = Site::new();
    site.write("big", vec![b'x'; BIG]);
    site.run(async {
        let fields = [("range", ranges)];
        let list = if ranges.is_empty() { &[][..] } else { &fields[..] };
        let (_, mut body) = site.open(Method::GET, "/big", list).await.unwrap();
        let length = body.length().unwrap();
        let mut got = Vec::new();
        let mut change = Some(change);
        loop {
            match body.frame().await {
                Some(Ok(Frame::Data(data))) => got.extend_from_slice(&data),
                Some(Ok(Frame::Trailers(_))) => {}
                Some(Err(_)) => return Err(()),
                None => break,
            }
            if got.contains(&b'x')
                && let Some(change) = change.take()
            {
                change(&site);
            }
        }
        assert_eq!(got.len() as u64, length);
        Ok(got)
    })
}

#[test]
fn a_large_file_on_its_way_is_whole_or_cut() {
    let whole = |got: Result<Vec<u8>, ()>| got.is_ok_and(|got| got == vec![b'x'; BIG]);
    // Gone from the folder, but not for those who have it open.
    assert!(whole(sent_while("", |site| fs::remove_file(site.path("big")).unwrap())));
    assert!(whole(sent_while("", |site| site.replace("big", vec![b'y'; BIG]))));
    assert!(whole(sent_while("", |site| site.replace("big", ""))));
    assert!(whole(sent_while("", |site| fs::rename(site.path("big"), site.path("other")).unwrap())));
    let open = |site: &Site| fs::File::options().write(true).open(site.path("big")).unwrap();
    for ranges in ["", "bytes=0-2999999", "bytes=0-9,1000000-"] {
        assert!(sent_while(ranges, |site| open(site).set_len(0).unwrap()).is_err());
        assert!(sent_while(ranges, |site| open(site).set_len(BIG as u64 - 1).unwrap()).is_err());
        assert!(sent_while(ranges, |site| open(site).set_len(BIG as u64 + 1).unwrap()).is_err());
        assert!(sent_while(ranges, |site| site.write("big", vec![b'y'; BIG])).is_err());
        let cut_and_grown = |site: &Site| {
            open(site).set_len(10).unwrap();
            open(site).set_len(BIG as u64).unwrap();
        };
        assert!(sent_while(ranges, cut_and_grown).is_err());
    }
}

#[test]
fn a_small_file_on_its_way_is_the_version_that_was_begun() {
    let site = Site::new();
    for change in [
        |site: &Site| site.write("a", "other"),
        |site: &Site| site.replace("a", "y"),
        |site: &Site| fs::remove_file(site.path("a")).unwrap(),
        |site: &Site| drop(fs::File::create(site.path("a")).unwrap()),
    ] {
        site.write("a", "first");
        site.run(async {
            let (head, body) = site.open(Method::GET, "/a", &[]).await.unwrap();
            change(&site);
            assert_eq!((head.fields.text(name::CONTENT_LENGTH), all(body).await), (Some("5"), Ok("first".to_owned())));
        });
    }
}

#[test]
fn a_file_that_changes_all_the_time_is_one_version_or_an_error() {
    let site = Site::new();
    let path = site.path("a");
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for byte in (b'a'..=b'z').cycle() {
                // Written in place, in two steps: the worst that a file can do.
                fs::write(&path, vec![byte; 20_000]).unwrap();
                if ended.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..200 {
            let got = site.get("/a");
            match got.status {
                200 => {
                    let body = got.body();
                    assert_eq!(got.text(name::CONTENT_LENGTH), body.len().to_string());
                    assert!(body.bytes().all(|byte| Some(byte) == body.bytes().next()), "two versions in one answer");
                }
                status => assert!([404, 500].contains(&status), "{status}"),
            }
        }
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_file_that_is_written_over_just_now_is_no_mixture() {
    use std::os::unix::fs::FileExt;
    let site = Site::new();
    site.write("a", vec![b'a'; 250_000]);
    let file = fs::File::options().write(true).open(site.path("a")).unwrap();
    for byte in (b'a'..=b'z').chain(b'A'..=b'J') {
        std::thread::scope(|scope| {
            // In one write, whose beginning is the only thing that its times tell.
            scope.spawn(|| file.write_all_at(&vec![byte; 250_000], 0).unwrap());
            let got = site.get("/a");
            assert_eq!(got.status, 200);
            assert!(
                got.body().bytes().all(|byte| Some(byte) == got.body().bytes().next()),
                "two versions in one answer"
            );
        });
    }
}

#[test]
fn a_folder_that_is_not_there_any_more_serves_what_it_did_until_it_is_looked_at() {
    let mut site = Site::new();
    site.sure_for(Duration::from_secs(3600));
    site.write("a", "one");
    assert_eq!(site.get("/a").body(), "one");
    fs::rename(site.path(""), site.folder.path().join("elsewhere")).unwrap();
    assert_eq!(site.get("/a").body(), "one");
    assert_eq!(site.get("/b").status, 404);
    site.sure_for(Duration::ZERO);
    assert_eq!(site.get("/a").status, 404);
}
