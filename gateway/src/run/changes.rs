//! Changes of the configuration that are wanted, one after the other.
//!
//! In: configurations, or the word to read the file. Out: each with the plugins that it wants from elsewhere, in the order in which
//! they were wanted. Fetching takes its time while the control thread goes on; only the next change waits for it.

use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::model::Config;
use crate::examine;
use crate::fetch::{self, Fetched, Store};
use crate::reload::ReloadError;
use crate::vault;

/// Who wants to know how it went.
pub(super) type Reply = oneshot::Sender<Result<String, ReloadError>>;

/// Changes that are wanted.
pub(super) struct Changes {
    waiting: VecDeque<Change>,
    under_way: Option<(Ready, JoinHandle<Fetched>)>,
    store: Rc<Store>,
}

/// A change that is wanted.
pub(super) struct Change {
    /// `None`: what the file says.
    pub(super) config: Option<Box<Config>>,
    /// Nobody asks after what happens by itself.
    pub(super) reply: Option<Reply>,
}

/// A change that can be made.
pub(super) struct Ready {
    /// The configuration, if it could be read.
    pub(super) config: Result<Config, ReloadError>,
    /// The modules that it wants.
    pub(super) fetched: Fetched,
    /// Whether it stands in the file.
    pub(super) in_file: bool,
    /// Who wants to know.
    pub(super) reply: Option<Reply>,
}

impl Changes {
    pub(super) fn new() -> Changes {
        let store = Rc::new(Store::at(vault::place(fetch::FOLDER)));
        Changes { waiting: VecDeque::new(), under_way: None, store }
    }

    /// Puts a change behind the others.
    pub(super) fn want(&mut self, change: Change) {
        // What has not been read yet will be read as it is by then.
        let same = |waiting: &Change| waiting.config.is_none() && change.config.is_none() && change.reply.is_none();
        if !self.waiting.iter().any(same) {
            self.waiting.push_back(change);
        }
    }

    /// The next one, when all that it wants is here. Nothing is lost when this is not waited for to the end.
    pub(super) async fn next(&mut self, file: Option<&Path>, before: &Config) -> Ready {
        if self.under_way.is_none() {
            let Some(change) = self.waiting.pop_front() else { return std::future::pending().await };
            let in_file = change.config.is_none();
            let config = match change.config {
                Some(config) => Ok(*config),
                None => file.ok_or(ReloadError::NoFile).and_then(|file| Ok(examine::load(file)?)),
            };
            let ready = Ready { config, fetched: Fetched::default(), in_file, reply: change.reply };
            let Ok(config) = &ready.config else { return ready };
            let plugins = fetch::wanted(config, Some(before));
            if plugins.is_empty() {
                return ready;
            }
            tracing::info!(plugins = plugins.len(), "fetching plugins");
            let (limits, store) = (config.limits.clone(), self.store.clone());
            let fetching = tokio::task::spawn_local(async move { fetch::fetch(plugins, &limits, &store, true).await });
            self.under_way = Some((ready, fetching));
        }
        let fetched = match &mut self.under_way {
            // A task that panicked has said so; what it was to bring is told to be missing.
            Some((_, fetching)) => fetching.await.unwrap_or_default(),
            None => Fetched::default(),
        };
        match self.under_way.take() {
            Some((ready, _)) => Ready { fetched, ..ready },
            None => std::future::pending().await,
        }
    }

    /// Nothing changes any more.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
        if let Some((_, fetching)) = self.under_way.take() {
            fetching.abort();
        }
    }
}
