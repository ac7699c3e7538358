//! What is counted of responses that are kept, in memory and on disk.

use super::families as family;
use super::render::Text;

/// How the folder stands.
#[derive(Clone, Debug, Default)]
pub struct DiskRow {
    /// How far it is in use.
    pub stage: &'static str,
    /// Responses that lie there.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of memory that say what lies there.
    pub index: u64,
    /// Bytes that wait to be written.
    pub waiting: u64,
    /// What has happened to responses, by words.
    pub events: Vec<(&'static str, u64)>,
}

/// How much is kept.
#[derive(Clone, Debug, Default)]
pub struct CacheRow {
    /// Responses, and notes about others.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of bodies that come.
    pub coming: u64,
    /// The same on disk, with a folder.
    pub disk: Option<DiskRow>,
}

pub(super) fn render(text: &mut Text, cache: &CacheRow) {
    for (family, count) in [
        (&family::CACHE_ENTRIES, cache.entries),
        (&family::CACHE_BYTES, cache.bytes),
        (&family::CACHE_COMING, cache.coming),
    ] {
        text.family(family);
        text.line(family.name, &[], count);
    }
    let disk = cache.disk.as_ref();
    text.family(&family::CACHE_DISK);
    if let Some(disk) = disk {
        text.line(family::CACHE_DISK.name, &[("stage", disk.stage)], 1);
    }
    let mut one = |family: &family::Family, count: fn(&DiskRow) -> u64| {
        text.family(family);
        if let Some(disk) = disk {
            text.line(family.name, &[], count(disk));
        }
    };
    one(&family::CACHE_DISK_ENTRIES, |disk| disk.entries);
    one(&family::CACHE_DISK_BYTES, |disk| disk.bytes);
    one(&family::CACHE_DISK_INDEX, |disk| disk.index);
    one(&family::CACHE_DISK_WAITING, |disk| disk.waiting);
    text.family(&family::CACHE_DISK_EVENTS);
    for (event, count) in disk.iter().flat_map(|disk| &disk.events) {
        text.line(family::CACHE_DISK_EVENTS.name, &[("event", event)], *count);
    }
}
