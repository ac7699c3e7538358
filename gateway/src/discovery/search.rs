//! One pool's search: what was found last, and how it goes.
//!
//! In: what a source says. Out: a list of members that is believed. Invariant: a list is replaced by another and never taken away;
//! one with too many is not believed, and an empty one only where the pool allows it.

use std::fmt::Display;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::config::model::{Discover, Member};
use crate::limits::Limits;
use crate::metrics::SearchRow;
use crate::notice;
use crate::snapshot::Found;

/// One pool's search.
pub(super) struct Search {
    pub(super) pool: String,
    pub(super) what: Discover,
    most: AtomicU32,
    state: Mutex<State>,
    news: watch::Sender<u64>,
    ended: Notify,
}

#[derive(Default)]
struct State {
    found: Option<Found>,
    /// Whether the source answers.
    connected: bool,
    updates: u64,
    failures: u64,
}

impl Search {
    pub(super) fn new(pool: &str, what: &Discover, limits: &Limits, news: watch::Sender<u64>) -> Search {
        Search {
            pool: pool.to_owned(),
            what: what.clone(),
            most: AtomicU32::new(limits.discovered_endpoints),
            state: Mutex::default(),
            news,
            ended: Notify::new(),
        }
    }

    /// How many members may be found from now on.
    pub(super) fn bound(&self, most: u32) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// How many members may be found.
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed) as usize
    }

    /// These are the members, all of them.
    pub(super) fn found(&self, members: Vec<Member>) {
        let most = self.most();
        if members.len() > most {
            return self.failed(format_args!("there are {} endpoints, more than {most}", members.len()));
        }
        self.connected();
        let mut state = self.state();
        let before = state.found.as_deref();
        if members.is_empty() && self.what.keep_last && before.is_some_and(|before| !before.is_empty()) {
            drop(state);
            if let Some(unsaid) = notice::due((&self.pool, "empty")) {
                tracing::warn!(pool = self.pool, unsaid, "there is no endpoint any more; the last ones are kept");
            }
            return;
        }
        if before == Some(&*members) {
            return;
        }
        state.updates += 1;
        tracing::debug!(pool = self.pool, endpoints = members.len(), "endpoints were found");
        state.found = Some(members.into());
        drop(state);
        self.news.send_modify(|count| *count += 1);
    }

    /// The source answers.
    pub(super) fn connected(&self) {
        let before = std::mem::replace(&mut self.state().connected, true);
        if !before {
            tracing::info!(pool = self.pool, source = self.what.source.word(), "endpoints are being told");
        }
    }

    /// The source does not answer, or not as it should; the last members stay.
    pub(super) fn failed(&self, why: impl Display) {
        let mut state = self.state();
        state.connected = false;
        self.complain(state, why);
    }

    /// Something that the source says cannot be used; the rest can.
    pub(super) fn passed_over(&self, why: impl Display) {
        let state = self.state();
        self.complain(state, why);
    }

    fn complain(&self, mut state: MutexGuard<'_, State>, why: impl Display) {
        state.failures += 1;
        let endpoints = state.found.as_ref().map_or(0, |found| found.len());
        drop(state);
        let (pool, source, why) = (&self.pool, self.what.source.word(), why.to_string());
        if let Some(unsaid) = notice::due((pool, &why)) {
            tracing::warn!(pool, source, endpoints, unsaid, why, "endpoints cannot be looked for; the last ones stay");
        }
    }

    /// What was found last.
    pub(super) fn found_last(&self) -> Option<Found> {
        self.state().found.clone()
    }

    /// Nobody wants it any more.
    pub(super) fn end(&self) {
        self.ended.notify_one();
    }

    /// Until nobody wants it any more.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    pub(super) fn row(&self) -> SearchRow {
        let state = self.state();
        SearchRow {
            pool: self.pool.clone(),
            source: self.what.source.word(),
            endpoints: state.found.as_ref().map_or(0, |found| found.len()),
            connected: state.connected,
            updates: state.updates,
            failures: state.failures,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
