//! How many file descriptors the process may have, and how many of them clients may take.
//!
//! In: a descriptor that a client got. Out: whether it is one of those that are kept for others. The system gives the lowest
//! free number, so the number tells how many are in use, without asking or counting. Invariant: clients leave a quarter
//! to upstream connections and files, so that whoever has connected can also be served.

use std::os::fd::RawFd;
use std::sync::LazyLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many the process may have, once that is as many as the system allows. It belongs to the process, so this does too.
static MOST: LazyLock<u64> = LazyLock::new(|| {
    let limit = getrlimit(Resource::Nofile);
    // Where it may not be raised, fewer must do; clients are then refused earlier.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
});

/// Raises the limit of the process as far as the system allows, and says when that is too little for so many clients.
pub fn prepare(connections: u32) {
    let (most, clients) = (*MOST, room(*MOST));
    if u64::from(connections) > clients {
        tracing::warn!(
            open_files = most,
            clients,
            connections,
            "the system allows too few open files for `limits.connections`: raise that limit (LimitNOFILE in systemd, \
             ulimit -n in a shell), or lower this one"
        );
    }
}

/// Whether this descriptor is one that clients must leave to others.
pub(super) fn is_kept(descriptor: RawFd) -> bool {
    u64::try_from(descriptor).is_ok_and(|descriptor| descriptor >= room(*MOST))
}

/// How many of so many clients may take.
fn room(most: u64) -> u64 {
    most - most / 4
}
