use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::*;
use crate::cache::policy::freshness::{Basis, Times};
use crate::http::{Fields, StatusCode};

mod crash;

pub(super) const PLACE: Place = [0; 32];
const WIDE: Bounds = Bounds { bytes: 1 << 30, files: 1 << 20, memory: 64 << 20 };
const NOW: u64 = 1_700_000_000;

/// A head for an answer to this.
pub(super) fn head(url: &str) -> Head {
    let mut fields = Fields::new();
    fields.append("content-type", b"text/plain").unwrap();
    fields.append("x-of", url.as_bytes()).unwrap();
    Head {
        stamp: 0,
        is_stale: false,
        url: url.to_owned(),
        place: PLACE,
        vary: (Vec::new(), Vec::new()),
        tags: Vec::new(),
        status: StatusCode::OK,
        times: Times { requested: NOW, received: NOW },
        initial_age: 0,
        lifetime: (60, Basis::Explicit),
        fields,
        trailers: None,
    }
}

fn settings(folder: &Path) -> Settings {
    Settings { folder: folder.to_owned(), bounds: WIDE, queue: 64 << 20, reads: 8 }
}

fn now() -> u64 {
    NOW
}

fn wait(mut is_so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "it does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Disk {
    fn serving(settings: Settings, now: fn() -> u64) -> Disk {
        let disk = Disk::start(settings, now);
        wait(|| disk.stats().stage == Stage::Serving);
        disk
    }

    /// Until nothing waits.
    fn settle(&self) {
        wait(|| locked(&self.inner.desk).is_idle());
    }

    fn count(&self, event: Event) -> u64 {
        self.inner.counts.of(event)
    }

    fn keep(&self, url: &str, body: &[u8]) -> Arc<AtomicU64> {
        let file = Arc::default();
        self.put(head(url), vec![Bytes::copy_from_slice(body)], Arc::clone(&file));
        file
    }

    fn take(&self, url: &str) -> Option<(Head, Vec<u8>)> {
        let ticket = self.find(url, &PLACE, |_, _| true)?;
        let mut reading = self.open(ticket, url, &PLACE)?;
        let mut body = Vec::new();
        while let Some(piece) = reading.chunk().ok()? {
            body.extend_from_slice(&piece);
        }
        assert_eq!(body.len() as u64, reading.length());
        Some((reading.head().clone(), body))
    }

    fn has(&self, url: &str) -> bool {
        self.take(url).is_some()
    }
}

/// Every file of an entry.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let shelves = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let shelves = shelves.filter(|path| path.is_dir() && path.file_name().unwrap().len() == 2);
    let mut files: Vec<_> =
        shelves.flat_map(|path| std::fs::read_dir(path).unwrap()).map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The folder as a crash would leave it now.
fn crashed(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let done = std::process::Command::new("cp").arg("-a").arg(folder.join(".")).arg(copy.path()).status().unwrap();
    assert!(done.success());
    copy
}

#[test]
fn what_is_kept_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let body = |size: usize| (0..size).map(|at| (at * 7 % 251) as u8).collect::<Vec<_>>();
    let sizes = [0, 1, 100, format::CHUNK, format::CHUNK + 1, 1_000_000];
    for round in 0..3 {
        let disk = Disk::serving(settings(folder.path()), now);
        if round == 0 {
            sizes.iter().for_each(|size| drop(disk.keep(&format!("/{size}"), &body(*size))));
            disk.settle();
        }
        for size in sizes {
            let (head, found) = disk.take(&format!("/{size}")).unwrap();
            assert!(found == body(size) && head.fields.text("x-of") == Some(&format!("/{size}")) && !head.is_stale);
        }
        assert_eq!(disk.stats().size.0, sizes.len() as u64);
        assert!(!disk.has("/other") && disk.find("/1", &[1; 32], |_, _| true).is_none());
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let all = files(folder.path());
    assert!(all.iter().all(|file| mode(file) == 0o600 && mode(file.parent().unwrap()) == 0o700));
}

#[test]
fn a_newer_answer_takes_the_place_of_the_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::serving(settings(folder.path()), now);
    disk.keep("/a", b"old");
    disk.keep("/a", b"new");
    disk.settle();
    assert_eq!((disk.take("/a").unwrap().1, files(folder.path()).len()), (b"new".to_vec(), 1));
}

#[test]
fn freshening_writes_a_head_and_no_body() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::serving(settings(folder.path()), now);
    let file = disk.keep("/a", &[7; 300_000]);
    disk.settle();
    let size = disk.stats().size.1;
    for lifetime in [100, 200] {
        let head = Head { lifetime: (lifetime, Basis::Explicit), ..head("/a") };
        disk.put(head, vec![Bytes::from(vec![7; 300_000])], file.clone());
    }
    disk.settle();
    assert_eq!((disk.count(Event::Written), disk.count(Event::Freshened), disk.stats().size.1), (1, 2, size));
    drop(disk);
    let disk = Disk::serving(settings(folder.path()), now);
    let (head, body) = disk.take("/a").unwrap();
    assert!(head.lifetime.0 == 200 && body == [7; 300_000]);
    // What is not there any more is written whole.
    disk.invalidate("/a");
    disk.put(head, vec![Bytes::from_static(b"whole")], file);
    disk.settle();
    assert_eq!(disk.take("/a").unwrap().1, b"whole");
}

#[test]
fn what_was_purged_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::serving(settings(folder.path()), now);
    let tagged = |url: &str, tag: &str| {
        let head = Head { tags: vec![tag.to_owned()], ..head(url) };
        disk.put(head, vec![Bytes::from_static(b"x")], Arc::default());
    };
    for url in ["/a", "/a/b", "/a/c", "/d", "/e"] {
        tagged(url, if url == "/d" { "t" } else { "s" });
    }
    disk.settle();
    assert_eq!(disk.purge(&Purge::Url("/a".to_owned()), false), 1);
    assert_eq!(disk.purge(&Purge::Prefix("/a/".to_owned()), true), 2);
    assert_eq!(disk.purge(&Purge::Tag("t".to_owned()), false), 1);
    // Whatever was done of it by now: it is promised.
    let copies = [crashed(folder.path()), folder];
    let check = |disk: &Disk| {
        let stale = |url| disk.take(url).unwrap().0.is_stale;
        assert!(!disk.has("/a") && !disk.has("/d") && stale("/a/b") && stale("/a/c") && !stale("/e"));
    };
    check(&disk);
    drop(disk);
    for folder in &copies {
        for _ in 0..2 {
            check(&Disk::serving(settings(folder.path()), now));
        }
        let disk = Disk::serving(settings(folder.path()), now);
        disk.keep("/a", b"new");
        disk.keep("/a/b", b"new");
        disk.settle();
        drop(disk);
        let disk = Disk::serving(settings(folder.path()), now);
        assert!(disk.has("/a") && !disk.take("/a/b").unwrap().0.is_stale && disk.take("/a/c").unwrap().0.is_stale);
    }
}

#[test]
fn what_was_noted_and_not_carried_out_is_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::serving(settings(folder.path()), now);
    ["/a", "/b", "/c"].iter().for_each(|url| drop(disk.keep(url, b"x")));
    disk.settle();
    let stamp = locked(&disk.inner.desk).stamp();
    drop(disk);
    let journal = folder.path().join("purges");
    let order = |softly, what| Order { stamp, softly, what }.bytes();
    let mut noted = [order(false, Purge::Url("/a".to_owned())), order(true, Purge::Prefix("/b".to_owned()))].concat();
    // And one that was only begun.
    noted.extend_from_slice(&order(false, Purge::Everything)[..10]);
    std::fs::write(&journal, &noted).unwrap();
    for _ in 0..2 {
        let disk = Disk::start(settings(folder.path()), now);
        wait(|| disk.inner.folder.load().is_some());
        // What is noted next is not lost behind what was only begun.
        let noted = std::fs::read(&journal).unwrap();
        let orders = orders::journal(&noted).unwrap();
        assert!(orders.iter().flat_map(Order::bytes).eq(noted));
        wait(|| disk.stats().stage == Stage::Serving);
        let stale = |url| disk.take(url).unwrap().0.is_stale;
        assert!(!disk.has("/a") && stale("/b") && !stale("/c"));
        // What is carried out is not repeated.
        wait(|| std::fs::metadata(&journal).unwrap().len() == 0);
    }
    // When it cannot be read, nobody knows what was thrown away.
    noted[20] ^= 1;
    std::fs::write(&journal, &noted).unwrap();
    let disk = Disk::serving(settings(folder.path()), now);
    disk.settle();
    assert_eq!((disk.stats().size.0, files(folder.path()).len()), (0, 0));
}

#[test]
fn what_was_purged_and_does_not_go_away_is_purged_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::serving(settings(folder.path()), now);
    disk.keep("/a", b"x");
    disk.settle();
    let [file] = &files(folder.path())[..] else { panic!("one file") };
    // A folder in its place does not go.
    std::fs::rename(file, folder.path().join("aside")).unwrap();
    std::fs::create_dir(file).unwrap();
    assert_eq!(disk.purge(&Purge::Url("/a".to_owned()), false), 1);
    wait(|| locked(&disk.inner.desk).orders.fate(0, "/a", &[""; 0]) == Fate::Stays);
    drop(disk);
    std::fs::remove_dir(file).unwrap();
    std::fs::rename(folder.path().join("aside"), file).unwrap();
    assert!(!Disk::serving(settings(folder.path()), now).has("/a"));
}

#[test]
fn what_waits_to_be_written_is_purged_too() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::serving(settings(folder.path()), now);
    for round in 0..200 {
        disk.keep("/a", &[1; 50_000]);
        match round % 3 {
            0 => disk.invalidate("/a"),
            1 => drop(disk.purge(&Purge::Everything, false)),
            _ => drop(disk.purge(&Purge::Prefix("/".to_owned()), true)),
        }
        disk.settle();
        let found = disk.take("/a");
        assert!(if round % 3 == 2 { found.is_none_or(|(head, _)| head.is_stale) } else { found.is_none() }, "{round}");
    }
}

#[test]
fn orders_that_come_before_the_folder_concern_what_lies_there() {
    let folder = tempfile::tempdir().unwrap();
    let first = Disk::serving(settings(folder.path()), now);
    ["/a", "/b", "/c", "/d"].iter().for_each(|url| drop(first.keep(url, b"x")));
    first.settle();
    // The next one has to wait, and is told meanwhile.
    let second = Disk::start(settings(folder.path()), now);
    second.invalidate("/a");
    assert_eq!(second.purge(&Purge::Url("/b".to_owned()), false), 0);
    second.purge(&Purge::Url("/c".to_owned()), true);
    second.keep("/e", b"not kept");
    assert_eq!((second.stats().stage, second.has("/d")), (Stage::Waiting, false));
    drop(first);
    wait(|| second.stats().stage == Stage::Serving);
    let check = |disk: &Disk| {
        assert!(!disk.has("/a") && !disk.has("/b") && disk.take("/c").unwrap().0.is_stale && !disk.has("/e"));
        assert!(!disk.take("/d").unwrap().0.is_stale);
    };
    check(&second);
    second.settle();
    drop(second);
    check(&Disk::serving(settings(folder.path()), now));
}

#[test]
fn damaged_moved_and_foreign_files_give_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::serving(settings(folder.path()), now);
    let body = |url: &str| url.as_bytes().repeat(30_000);
    let urls: Vec<String> = (0..8).map(|number| format!("/{number}")).collect();
    urls.iter().for_each(|url| drop(disk.keep(url, &body(url))));
    disk.settle();
    let path = |url: &str| {
        let ticket = disk.find(url, &PLACE, |_, _| true).unwrap();
        folder.path().join(ticket.spot.to_string())
    };
    let paths: Vec<_> = urls.iter().map(|url| path(url)).collect();
    let read = |at: usize| std::fs::read(&paths[at]).unwrap();
    let flipped = |at: usize, byte: usize| {
        let mut bytes = read(at);
        bytes[byte] ^= 0x10;
        std::fs::write(&paths[at], bytes).unwrap();
    };
    flipped(0, 1);
    flipped(1, 40_000);
    let length = read(2).len();
    flipped(2, length - 20);
    std::fs::write(&paths[3], &read(3)[..30_000]).unwrap();
    let (one, other) = (read(4), read(5));
    std::fs::write(&paths[4], other).unwrap();
    std::fs::write(&paths[5], one).unwrap();
    std::fs::remove_file(&paths[6]).unwrap();
    std::fs::write(folder.path().join("00/readme"), "not ours").ok();
    // As they are found while they are in use, and after a start.
    let copy = crashed(folder.path());
    let check = |disk: &Disk| {
        for url in &urls[..7] {
            assert!(!disk.has(url), "{url}");
            assert!(disk.find(url, &PLACE, |_, _| true).is_none(), "{url}");
        }
        assert_eq!(disk.take("/7").unwrap().1, body("/7"));
    };
    check(&disk);
    assert_eq!((disk.count(Event::Damaged), disk.count(Event::Gone)), (6, 1));
    drop(disk);
    let disk = Disk::serving(settings(copy.path()), now);
    check(&disk);
    disk.settle();
    drop(disk);
    assert_eq!(files(copy.path()).iter().filter(|file| !file.ends_with("readme")).count(), 1);
}

#[test]
fn the_folder_stays_within_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds { bytes: 2_000_000, files: 60, memory: 1 << 20 };
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..2 {
        let disk = Disk::serving(Settings { bounds, ..settings(folder.path()) }, now);
        for _ in 0..300 {
            let size = match random.u8(..10) {
                0 => random.usize(..3_000_000),
                1..3 => random.usize(..300_000),
                _ => random.usize(..20_000),
            };
            disk.keep(&format!("/{}", random.u8(..)), &vec![3; size]);
            disk.settle();
            let all = files(folder.path());
            let bytes: u64 = all.iter().map(|file| std::fs::metadata(file).unwrap().len().div_ceil(4096) * 4096).sum();
            assert!(bytes <= bounds.bytes && all.len() <= 60);
            assert_eq!((disk.stats().size.0, disk.stats().size.1), (all.len() as u64, bytes));
        }
        assert!(disk.count(Event::Evicted) > 50 && disk.count(Event::TooLarge) > 2);
    }
    // Also when they were made narrower.
    let bounds = Bounds { bytes: 500_000, ..bounds };
    let disk = Disk::serving(Settings { bounds, ..settings(folder.path()) }, now);
    disk.settle();
    let bytes: u64 = files(folder.path()).iter().map(|file| std::fs::metadata(file).unwrap().len()).sum();
    assert!(bytes <= 500_000 && bytes > 0);
}

#[test]
fn what_is_too_much_is_dropped_and_leaves_nothing_older() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::serving(Settings { queue: 100_000, ..settings(folder.path()) }, now);
    disk.keep("/a", b"old");
    disk.settle();
    assert!(disk.has("/a"));
    disk.keep("/a", &[1; 200_000]);
    assert!(!disk.has("/a") && disk.count(Event::Dropped) == 1);
    disk.settle();
    drop(disk);
    assert!(!Disk::serving(settings(folder.path()), now).has("/a"));
}

#[test]
fn a_disk_that_fails_costs_hits_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::serving(settings(folder.path()), now);
    disk.keep("/a", b"x");
    disk.settle();
    std::fs::remove_dir(folder.path().join("drafts")).unwrap();
    std::fs::write(folder.path().join("drafts"), "").unwrap();
    disk.keep("/b", b"x");
    disk.settle();
    assert_eq!((disk.count(Event::WriteFailed), disk.has("/a"), disk.has("/b")), (1, true, false));
    // For a while it is not tried again.
    disk.keep("/c", b"x");
    assert_eq!(disk.count(Event::Dropped), 1);
    assert_eq!(disk.purge(&Purge::Everything, false), 1);
    assert!(!disk.has("/a"));
}

#[test]
fn a_folder_that_was_cleared_is_filled_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::serving(settings(folder.path()), now);
    disk.keep("/a", b"x");
    disk.settle();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    }
    assert!(!disk.has("/a") && disk.count(Event::Gone) == 1);
    disk.keep("/a", b"again");
    disk.settle();
    assert_eq!(disk.take("/a").unwrap().1, b"again");
}

#[test]
fn a_folder_that_others_can_write_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o770)).unwrap();
    let disk = Disk::start(settings(folder.path()), now);
    disk.keep("/a", b"x");
    assert_eq!((disk.has("/a"), disk.stats().stage), (false, Stage::Waiting));
    // It is, once that is put right.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    wait(|| disk.stats().stage == Stage::Serving);
    disk.keep("/a", b"x");
    disk.settle();
    assert!(disk.has("/a"));
}

#[test]
fn without_its_state_a_folder_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    for state in [Some("?"), None] {
        let disk = Disk::serving(settings(folder.path()), now);
        disk.keep("/a", b"x");
        disk.settle();
        assert!(disk.has("/a"));
        drop(disk);
        let file = folder.path().join("state");
        let _ = state.map_or_else(|| std::fs::remove_file(&file), |state| std::fs::write(&file, state));
        let disk = Disk::serving(settings(folder.path()), now);
        assert_eq!((disk.has("/a"), files(folder.path()).len()), (false, 0));
    }
}

#[test]
fn a_clock_that_goes_back_makes_nothing_fresh() {
    static CLOCK: AtomicU64 = AtomicU64::new(NOW);
    let clock = || CLOCK.load(Ordering::Relaxed);
    let folder = tempfile::tempdir().unwrap();
    let stale = |disk: &Disk, url| disk.take(url).unwrap().0.is_stale;
    let disk = Disk::serving(settings(folder.path()), clock);
    disk.keep("/a", b"x");
    disk.settle();
    assert!(!stale(&disk, "/a"));
    // While it runs.
    CLOCK.store(NOW - 60, Ordering::Relaxed);
    assert!(stale(&disk, "/a"));
    let head = || Head { times: Times { requested: NOW - 60, received: NOW - 60 }, ..head("/b") };
    disk.put(head(), vec![], Arc::default());
    disk.settle();
    assert!(!stale(&disk, "/b"));
    drop(disk);
    // While nothing runs.
    let disk = Disk::serving(settings(folder.path()), clock);
    assert!(stale(&disk, "/a") && !stale(&disk, "/b"));
    drop(disk);
    CLOCK.store(NOW - 120, Ordering::Relaxed);
    let disk = Disk::serving(settings(folder.path()), clock);
    assert!(stale(&disk, "/a") && stale(&disk, "/b"));
    // It stays so when the clock goes right again.
    drop(disk);
    CLOCK.store(NOW + 1, Ordering::Relaxed);
    let disk = Disk::serving(settings(folder.path()), clock);
    assert!(stale(&disk, "/a") && stale(&disk, "/b"));
    disk.put(head(), vec![], Arc::default());
    disk.settle();
    assert!(!stale(&disk, "/b"));
}

#[test]
fn only_so_many_read_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::serving(Settings { reads: 1, ..settings(folder.path()) }, now);
    disk.keep("/a", b"x");
    disk.settle();
    let ticket = disk.find("/a", &PLACE, |_, _| true).unwrap();
    let first = disk.open(ticket, "/a", &PLACE).unwrap();
    assert!(disk.open(ticket, "/a", &PLACE).is_none() && disk.count(Event::Busy) == 1);
    drop(first);
    assert!(disk.open(ticket, "/a", &PLACE).is_some());
}
