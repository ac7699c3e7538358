//! Members of pools that are found while the gateway runs: in a file that is watched, or in a registry.
//!
//! In: the pools of a configuration that say where to look. Out: for each the members that were found last, and a word to the
//! control path when they are others. Everything runs on one thread of its own, which begins with the first search.
//! Invariant: what was found stays until something else was found; a source that fails, or says what nobody can read, changes
//! nothing. Limits: `discovered_endpoints` for each pool; the control path hears of changes once in `BATCH`.

mod backoff;
mod dial;
mod dns;
mod etcd;
mod file;
mod http;
mod members;
mod registration;
mod search;
mod zookeeper;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::config::model::{Config, DiscoverSource, Pool};
use crate::metrics::SearchRow;
use crate::snapshot::Found;

pub use backoff::Backoff;
pub use registration::Registration;
use search::Search;

/// The least time between two words to the control path.
const BATCH: Duration = Duration::from_millis(100);

/// All searches of one gateway.
pub struct Discovery {
    searches: Mutex<HashMap<String, Vec<Arc<Search>>>>,
    /// Where searches begin; `None` before the first.
    thread: Mutex<Option<mpsc::UnboundedSender<Arc<Search>>>>,
    news: Arc<News>,
}

/// That something was found.
struct News {
    /// Counts what was found.
    count: watch::Sender<u64>,
    /// Whether the control path was told and has not looked yet.
    told: AtomicBool,
    tell: Box<dyn Fn() + Send + Sync>,
}

impl Discovery {
    /// With no searches. `tell` is called when there are other members somewhere.
    pub fn new(tell: impl Fn() + Send + Sync + 'static) -> Discovery {
        let news = News { count: watch::Sender::new(0), told: AtomicBool::new(false), tell: Box::new(tell) };
        Discovery { searches: Mutex::default(), thread: Mutex::default(), news: Arc::new(news) }
    }

    /// Begins to search for the pools of a configuration that is to come, beside all others.
    /// Whether any of these searches is new.
    pub fn begin(&self, config: &Config) -> bool {
        let mut begun = false;
        let mut searches = self.searches.lock().unwrap_or_else(PoisonError::into_inner);
        for pool in &config.pools {
            let Some(what) = &pool.discover else { continue };
            let of_pool = searches.entry(pool.name.clone()).or_default();
            let same = of_pool.iter().find(|search| search.what == *what);
            if let Some(same) = same {
                same.bound(config.limits.discovered_endpoints);
                continue;
            }
            let search = Arc::new(Search::new(&pool.name, what, &config.limits, self.news.count.clone()));
            of_pool.push(search.clone());
            self.start(search);
            begun = true;
        }
        begun
    }

    /// Searches for the pools of the configuration in force, and for no others.
    pub fn follow(&self, config: &Config) {
        self.begin(config);
        let mut searches = self.searches.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted: HashMap<&str, _> = config.pools.iter().map(|pool| (&*pool.name, &pool.discover)).collect();
        searches.retain(|pool, of_pool| {
            let wanted = wanted.get(&**pool).and_then(|what| what.as_ref());
            let (kept, gone) = std::mem::take(of_pool).into_iter().partition(|search| Some(&search.what) == wanted);
            *of_pool = kept;
            let gone: Vec<Arc<Search>> = gone;
            gone.iter().for_each(|search| search.end());
            !of_pool.is_empty()
        });
    }

    /// What was found for a pool; `None` before the first answer.
    pub fn found(&self, pool: &Pool) -> Option<Found> {
        let searches = self.searches.lock().unwrap_or_else(PoisonError::into_inner);
        let search = searches.get(&pool.name)?.iter().find(|search| Some(&search.what) == pool.discover.as_ref())?;
        search.found_last()
    }

    /// Waits until something was found for each pool of the configuration, or this time is over. Whether it was.
    pub async fn answered(&self, config: &Config, time: Duration) -> bool {
        let mut news = self.news.count.subscribe();
        let waiting = async {
            while config.pools.iter().any(|pool| pool.discover.is_some() && self.found(pool).is_none()) {
                if news.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(time, waiting).await.is_ok()
    }

    /// The same on a thread that may wait.
    pub fn wait(&self, config: &Config, time: Duration) {
        if config.pools.iter().all(|pool| pool.discover.is_none()) {
            return;
        }
        // Also called from threads that run tasks, on which nothing else may run them.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
                Ok::<_, std::io::Error>(runtime.block_on(self.answered(config, time)))
            });
            if !matches!(waiting.join(), Ok(Ok(true))) {
                tracing::warn!("not every pool has been told its endpoints yet; requests to it are answered 503");
            }
        });
    }

    /// The control path looks now at what was found.
    pub fn heard(&self) {
        self.news.told.store(false, Ordering::Release);
    }

    /// Each search, for those who count.
    pub fn rows(&self) -> Vec<SearchRow> {
        let searches = self.searches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows: Vec<SearchRow> = searches.values().flatten().map(|search| search.row()).collect();
        rows.sort_by(|one, other| (&one.pool, one.source).cmp(&(&other.pool, other.source)));
        // While one place is left for another of its kind there are two.
        rows.dedup_by(|one, other| (&one.pool, one.source) == (&other.pool, other.source));
        rows
    }

    fn start(&self, search: Arc<Search>) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = thread.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            let news = self.news.clone();
            let spawned = std::thread::Builder::new().name("discovery".into()).spawn(move || run(receiver, news));
            if let Err(error) = spawned {
                tracing::error!(%error, "endpoints cannot be looked for");
            }
            sender
        });
        // Without the thread, of which has been told, nothing is found.
        let _ = sender.send(search);
    }
}

/// The thread. Ends with the gateway.
fn run(mut searches: mpsc::UnboundedReceiver<Arc<Search>>, news: Arc<News>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()) {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "endpoints cannot be looked for"),
    };
    runtime.block_on(async {
        tokio::task::spawn_local(news.spread());
        while let Some(search) = searches.recv().await {
            tokio::task::spawn_local(look(search));
        }
    });
    runtime.shutdown_background();
}

impl News {
    /// Tells the control path, of many changes at once.
    async fn spread(self: Arc<News>) {
        let mut news = self.count.subscribe();
        while news.changed().await.is_ok() {
            if !self.told.swap(true, Ordering::AcqRel) {
                (self.tell)();
            }
            tokio::time::sleep(BATCH).await;
        }
    }
}

async fn look(search: Arc<Search>) {
    let looking = async {
        match &search.what.source {
            DiscoverSource::File(path) => file::look(&search, path).await,
            DiscoverSource::Dns(dns) => dns::look(&search, dns).await,
            DiscoverSource::Etcd(etcd) => etcd::look(&search, etcd).await,
            DiscoverSource::ZooKeeper(zookeeper) => zookeeper::look(&search, zookeeper).await,
        }
    };
    tokio::select! {
        () = search.ended() => {}
        () = looking => {}
    }
}
