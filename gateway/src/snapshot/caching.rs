//! What a route says about caching, as the cache wants to have it.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::digest;

use super::Snapshot;
use crate::cache::disk;
use crate::cache::key::Query;
use crate::cache::policy::rules::Rules;
use crate::cache::policy::vary::COOKIE;
use crate::config::model::{Cache, CacheBypass};

/// A route's word.
#[derive(Clone, Debug)]
pub struct Caching {
    /// For how long what is kept.
    pub rules: Rules,
    /// Which parameters count.
    pub query: Query,
    /// What goes past the cache.
    pub bypass: CacheBypass,
    /// Stands for the route, also after a reload: what came by another one is no answer on this.
    pub place: u64,
    /// Stands for the route and all that it says of caching, also in another process.
    pub origin: [u8; 32],
}

impl Snapshot {
    /// Where responses are kept beside memory.
    pub fn disk(&self) -> Option<disk::Settings> {
        let (disk, limits) = (self.config.cache_disk.as_ref()?, &self.limits);
        let bounds = disk::Bounds { bytes: disk.size, files: disk.files.into(), memory: limits.cache_disk_index_size };
        let (queue, reads) = (limits.cache_disk_queue_size, limits.cache_disk_reads);
        Some(disk::Settings { folder: disk.folder.clone(), bounds, queue, reads })
    }
}

/// Nobody outside can make two names that are the same to it.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A number for a place, which is the same for as long as the process lives.
pub fn place(of: impl std::hash::Hash) -> u64 {
    HASHER.hash_one(of)
}

/// What a route keeps by other rules is no answer by these.
fn origin(route: &str, cache: &Cache) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(format!("{route:?} {cache:?}").as_bytes());
    let mut origin = [0; 32];
    origin.copy_from_slice(context.finish().as_ref());
    origin
}

impl Caching {
    /// From the configuration of a route with this name.
    pub fn new(route: &str, cache: &Cache) -> Caching {
        let cookies = cache.cookies.iter().map(|name| format!("{COOKIE}{name}"));
        let mut key_fields: Vec<String> =
            cache.headers.iter().map(|name| name.text().to_owned()).chain(cookies).collect();
        key_fields.sort_unstable();
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
        Caching {
            rules: Rules {
                default: seconds(cache.ttl),
                longest: seconds(cache.ttl_most),
                statuses: cache.statuses.clone(),
                with_cookies: cache.set_cookie,
                with_authorization: cache.authorization,
                stale_while_revalidate: cache.stale_while_revalidate.as_secs(),
                stale_if_error: cache.stale_if_error.as_secs(),
                stale_if_unreachable: cache.stale_if_unreachable.as_secs(),
                obey_clients: cache.obey_clients,
                largest: cache.size_most,
                key_fields,
                ..Rules::default()
            },
            query: Query { keep: cache.query.keep.clone(), drop: cache.query.drop.clone(), sort: cache.query.sort },
            bypass: cache.bypass.clone(),
            place: place(route),
            origin: origin(route, cache),
        }
    }
}
