//! Members from a file that is looked at again when it has changed.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::members;
use super::search::Search;
use crate::config::model::Member;
use crate::tls::Stamps;

/// How often it is looked at.
const WATCH: Duration = Duration::from_millis(250);
/// The largest file.
const SIZE: u64 = 64 << 20;

pub(super) async fn look(search: &Search, path: &Path) {
    let mut stamps: Option<Stamps> = None;
    loop {
        let changed = match &mut stamps {
            Some(stamps) => stamps.changed(),
            // Before it is read: what changes meanwhile is seen at the next look.
            None => {
                stamps = Some(Stamps::of([path.to_owned()]));
                true
            }
        };
        if changed {
            let path = path.to_owned();
            match tokio::task::spawn_blocking(move || read(&path)).await {
                Ok(Ok(members)) => search.found(members),
                Ok(Err(why)) => search.failed(why),
                // The gateway ends.
                Err(_) => return,
            }
        }
        tokio::time::sleep(WATCH).await;
    }
}

fn read(path: &PathBuf) -> Result<Vec<Member>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let mut text = String::new();
    let size = std::fs::File::open(path).and_then(|file| file.take(SIZE + 1).read_to_string(&mut text));
    if size.map_err(|error| wrong(&error))? as u64 > SIZE {
        return Err(wrong(&format_args!("it is larger than {} MiB", SIZE >> 20)));
    }
    let json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    members::of_file(&text, json).map_err(|error| wrong(&error))
}
