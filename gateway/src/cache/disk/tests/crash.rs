//! A process that is killed while it fills, freshens and purges, a hundred times.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const FOLDER: &str = "GATEWRIGHT_TEST_CACHE_FOLDER";
const URLS: u32 = 120;
const ROUNDS: u32 = 100;

fn url(number: u32) -> String {
    format!("http://x/{number}")
}

/// What the answer to this URL is, in this version.
fn body(url: &str, version: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(XxHash3_64::oneshot_with_seed(version, url.as_bytes()));
    let size = if random.u8(..8) == 0 { random.usize(..400_000) } else { random.usize(..9_000) };
    std::iter::repeat_with(|| random.u8(..)).take(size).collect()
}

fn version_of(head: &Head) -> u64 {
    head.fields.text("x-version").unwrap().parse().unwrap()
}

fn bounds() -> Bounds {
    Bounds { bytes: 4_000_000, files: 100, memory: 1 << 20 }
}

/// Runs in a process of its own, which its parent kills.
#[test]
#[ignore = "is run by the other one"]
fn fills_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let disk = Disk::start(Settings { bounds: bounds(), ..settings(&folder.join("cache")) }, now);
    let mut log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("purged")).unwrap();
    // Versions of one life are higher than those of the one before.
    let life = std::fs::read_to_string(folder.join("life")).unwrap().parse::<u64>().unwrap() << 32;
    wait(|| matches!(disk.stats().stage, Stage::Scanning | Stage::Serving));
    println!("\nready");
    std::io::stdout().flush().unwrap();
    let mut random = fastrand::Rng::new();
    let mut kept: HashMap<u32, (u64, Arc<AtomicU64>)> = HashMap::new();
    for version in life.. {
        let number = random.u32(..URLS);
        let url = url(number);
        match random.u8(..10) {
            0 => {
                disk.purge(&Purge::Url(url.clone()), false);
                // What comes after is another answer, not the same once more.
                kept.remove(&number);
                // From here on it is promised.
                log.write_all(format!("{version} {url}\n").as_bytes()).unwrap();
            }
            1 => {
                let _ = disk.take(&url).map(|(head, found)| assert!(found == body(&url, version_of(&head))));
            }
            way => {
                let (version, file) = match kept.get(&number) {
                    Some(kept) if way < 5 => kept.clone(),
                    _ => (version, Arc::default()),
                };
                kept.insert(number, (version, Arc::clone(&file)));
                let mut head = head(&url);
                head.fields.append("x-version", version.to_string().as_bytes()).unwrap();
                head.initial_age = random.u64(..9);
                let body = Bytes::from(body(&url, version));
                disk.put(head, vec![body], file);
            }
        }
        if random.u8(..4) == 0 {
            std::thread::sleep(Duration::from_micros(random.u64(..300)));
        }
    }
}

#[test]
fn a_process_that_is_killed_leaves_no_wrong_byte_and_nothing_that_was_purged() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::new();
    let (mut found, mut drafts, mut damaged) = (0, 0, 0);
    for round in 1..=ROUNDS {
        std::fs::write(folder.path().join("life"), round.to_string()).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cache::disk::tests::crash::fills_until_it_is_killed", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap() == "ready"));
        // The moment is what is tested.
        std::thread::sleep(Duration::from_micros(random.u64(..40_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        drafts += std::fs::read_dir(folder.path().join("cache/drafts")).map_or(0, Iterator::count);
        let purged = std::fs::read_to_string(folder.path().join("purged")).unwrap();
        let purged: HashMap<&str, u64> = purged
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(version, url)| (url, version.parse().unwrap()))
            .collect();
        let disk = Disk::serving(Settings { bounds: bounds(), ..settings(&folder.path().join("cache")) }, now);
        for url in (0..URLS).map(url) {
            let Some((head, bytes)) = disk.take(&url) else { continue };
            let version = version_of(&head);
            assert!(bytes == body(&url, version), "round {round}: other bytes for {url}");
            assert!(purged.get(&*url).is_none_or(|purged| *purged < version), "round {round}: {url} was purged");
            found += 1;
        }
        assert_eq!(std::fs::read_dir(folder.path().join("cache/drafts")).map_or(0, Iterator::count), 0);
        damaged += disk.count(Event::Damaged);
    }
    assert!(found > ROUNDS * 10, "only {found} entries survived");
    // Only a head that was put behind an entry may be cut short.
    assert!(damaged <= 3, "{damaged} files were found by their own names that were not whole");
    println!("{found} entries survived, {drafts} were half written");
}
