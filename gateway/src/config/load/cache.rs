//! `[cache]`

use super::Reader;
use crate::config::file::{self, Size};
use crate::config::model::CacheDisk;
use crate::config::value;

impl Reader<'_, '_> {
    pub(super) fn cache_disk(&mut self, disk: &file::CacheDisk) -> Option<CacheDisk> {
        let folder = self.path(&disk.folder.value, &disk.folder.span);
        let size = disk.size.as_ref().map(|at| {
            let read = match &at.value {
                Size::Bytes(bytes) => Ok(*bytes),
                Size::Text(text) => value::size(text),
            };
            let read = read.and_then(|size| {
                (size >= CacheDisk::LEAST_SIZE).then_some(size).ok_or("takes at least \"1MiB\"".into())
            });
            self.read(&at.span, read)
        });
        let files = disk.files.as_ref().map(|at| {
            let read = (at.value > 0).then_some(at.value).ok_or("takes a number from 1 on".into());
            self.read(&at.span, read)
        });
        Some(CacheDisk {
            folder: folder?,
            size: size.unwrap_or(Some(CacheDisk::SIZE))?,
            files: files.unwrap_or(Some(CacheDisk::FILES))?,
        })
    }
}
