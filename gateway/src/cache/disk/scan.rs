//! What an earlier life of a gateway has left in the folder.
//!
//! In: the files of the folder. Out: those that are whole, to the index; the others are gone. Only heads are read, bodies are checked
//! when they are given. Requests are served meanwhile: what was not found yet is not there.

use std::fs::File;
use std::sync::Arc;

use super::counts::Event;
use super::file::{Failure, Opened};
use super::folder::{Folder, SHELVES, Spot};
use super::index::{Bounds, Index, Known};
use super::{Inner, locked, shelf};

/// Within one shelf, where an older one may lie beside what took its place.
const ALL: Bounds = Bounds { bytes: u64::MAX, files: u64::MAX, memory: u64::MAX };

/// Looks through the whole folder, at files with numbers below this one. `false`: it was to end before.
pub(super) fn scan(inner: &Arc<Inner>, folder: &Folder, first: u64) -> bool {
    for shelf in 0..=SHELVES {
        let ids = match folder.shelf(shelf) {
            Ok(ids) => ids,
            Err(error) => {
                inner.counts.add(Event::ReadFailed, 1);
                tracing::warn!(shelf, %error, "a part of the cache on disk cannot be looked through");
                continue;
            }
        };
        let mut found = Index::new(ALL);
        for id in ids.into_iter().filter(|id| *id < first) {
            if locked(&inner.desk).is_ending {
                return false;
            }
            let spot = Spot { shelf, id };
            match look(folder, spot) {
                Ok(known) => found.insert(known).0.into_iter().for_each(|spot| inner.remove(folder, spot)),
                Err(Failure::Gone) => {}
                Err(failure) => {
                    let is_damaged = matches!(failure, Failure::Damaged(_));
                    inner.counts.add(if is_damaged { Event::Damaged } else { Event::ReadFailed }, 1);
                    if let Some(unsaid) = crate::notice::due("scan of the cache on disk") {
                        tracing::warn!(file = %spot, %failure, unsaid, "a file of the cache on disk is of no use");
                    }
                    inner.remove(folder, spot);
                }
            }
        }
        // What came later is to stay longer.
        let mut found = found.list(0, usize::MAX).1;
        found.sort_unstable_by_key(|known| known.spot.id);
        for known in found {
            inner.admit(folder, known);
        }
    }
    true
}

fn look(folder: &Folder, spot: Spot) -> Result<Known, Failure> {
    let file = folder.file(spot, false)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(super::Damage::Foreign.into());
    }
    let size = found.len();
    let opened: Opened<File> = Opened::new(file, spot.id, size)?;
    if shelf(&opened.head.url) != spot.shelf {
        return Err(super::Damage::Misplaced.into());
    }
    Ok(Known::new(&opened.head, spot, size, opened.length()))
}
