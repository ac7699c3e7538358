//! `[cache]`: what all routes with a cache share.

use std::path::PathBuf;

/// `disk = { folder = "…" }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheDisk {
    /// `folder`
    pub folder: PathBuf,
    /// `size = "10GiB"`
    pub size: u64,
    /// `files = 1000000`
    pub files: u32,
}

impl CacheDisk {
    /// `size`
    pub const SIZE: u64 = 10 << 30;
    /// `files`
    pub const FILES: u32 = 1_000_000;
    /// `size`, at the least.
    pub const LEAST_SIZE: u64 = 1 << 20;
}
