//! What the system may send out of a file by itself (`sendfile`), without copying it.
//!
//! What is sent so is not copied anywhere: until its recipient has read it, it is the file's own memory, and a write to the file
//! changes it on its way. So each part is looked at before the next, as every chunk is; and so much of the end of a body is kept
//! back and copied as can be on its way at all. When the end of the body is reached, everything that was not copied has been
//! read, and the last look at the file tells whether it was one version.

use std::fs::{self, File};
use std::ops::Range;
use std::sync::OnceLock;

use super::chunk::{self, read_cached};

/// How far apart the bytes are by which it is told whether a part is in memory. The system reads as much at once.
const STEP: usize = 128 * 1024;

/// How much of a body is kept back: the most that fits between us and a recipient on the same machine; `None` where nobody knows.
pub(super) fn kept_back() -> Option<u64> {
    static KEPT_BACK: OnceLock<Option<u64>> = OnceLock::new();
    *KEPT_BACK.get_or_init(|| {
        let last = |file: &str| {
            fs::read_to_string(format!("/proc/sys/net/{file}")).ok()?.split_whitespace().last()?.parse().ok()
        };
        let (sends, takes): (u64, u64) = (last("ipv4/tcp_wmem")?, last("ipv4/tcp_rmem")?);
        // A recipient may ask for more by itself, which the system counts twice.
        let takes = takes.max(last("core/rmem_max")?.saturating_mul(2));
        Some(sends.saturating_add(takes).saturating_add(2 * chunk::SIZE as u64))
    })
}

/// Whether the system has this in memory, as far as can be told without reading it: sending it would then wait for no disk.
pub(super) fn are_cached(file: &File, range: Range<u64>) -> bool {
    let last = range.end.saturating_sub(1);
    let probes = range.step_by(STEP).chain([last]);
    probes.into_iter().all(|at| matches!(read_cached(file, at, &mut [0]), Some(Ok(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_just_written_is_in_memory_and_what_is_not_there_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, vec![b'x'; 1_000_000]).unwrap();
        let file = File::open(path).unwrap();
        if read_cached(&file, 0, &mut [0]).is_some() {
            assert!(are_cached(&file, 5..1_000_000));
        }
        assert!(!are_cached(&file, 5..1_000_001));
    }
}
