//! Threads that make instances in the place of those that failed.
//!
//! In: work for a plugin, by its name. Out: it is done, on a thread of its own kind. Invariants: there are at most [`MOST`] threads,
//! and one of them at a time for one plugin: so one that takes long to configure holds up no other until there are `MOST` of
//! them. Threads come when they are needed and go when they have had nothing to do for [`IDLE`].

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Threads at a time.
const MOST: usize = 4;
/// For how long a thread waits for work.
const IDLE: Duration = Duration::from_secs(5);

/// What is to be done.
type Work = Box<dyn FnOnce() + Send>;

/// The threads. Work that has not begun when this is dropped is not done.
#[derive(Default)]
pub(super) struct Makers(Arc<Shop>);

#[derive(Default)]
struct Shop {
    bench: Mutex<Bench>,
    news: Condvar,
}

#[derive(Default)]
struct Bench {
    /// In the order in which it came.
    waiting: VecDeque<(String, Work)>,
    /// The plugins for which something is being done.
    busy: Vec<String>,
    threads: usize,
    is_closed: bool,
}

impl Makers {
    /// Has something done for a plugin.
    pub(super) fn want(&self, plugin: &str, work: impl FnOnce() + Send + 'static) {
        let mut bench = self.0.bench();
        bench.waiting.push_back((plugin.to_owned(), Box::new(work)));
        if bench.lacks_threads() {
            let shop = self.0.clone();
            match std::thread::Builder::new().name("plugin-maker".into()).spawn(move || shop.run()) {
                Ok(_) => bench.threads += 1,
                // It is done by those who are there, or with the next thread that there is.
                Err(error) => tracing::error!(%error, "a thread that makes instances cannot start"),
            }
        }
        drop(bench);
        self.0.news.notify_all();
    }
}

impl Drop for Makers {
    fn drop(&mut self) {
        let mut bench = self.0.bench();
        bench.is_closed = true;
        bench.waiting.clear();
        drop(bench);
        self.0.news.notify_all();
    }
}

impl Bench {
    /// Whether something waits that could be done if there were one more thread.
    fn lacks_threads(&self) -> bool {
        let waiting: BTreeSet<&String> = self.waiting.iter().map(|(plugin, _)| plugin).collect();
        let ready = waiting.into_iter().filter(|plugin| !self.busy.contains(plugin)).count();
        self.threads < MOST.min(self.busy.len() + ready)
    }

    /// What is to be done next: not for a plugin for which something is being done.
    fn next(&mut self) -> Option<(String, Work)> {
        let at = self.waiting.iter().position(|(plugin, _)| !self.busy.contains(plugin))?;
        let (plugin, work) = self.waiting.remove(at)?;
        self.busy.push(plugin.clone());
        Some((plugin, work))
    }
}

impl Shop {
    fn bench(&self) -> MutexGuard<'_, Bench> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        while let Some((plugin, work)) = self.next() {
            // What panics has said so, and the thread is there for others.
            let _ = catch_unwind(AssertUnwindSafe(work));
            self.bench().busy.retain(|busy| *busy != plugin);
            // What waits for the same plugin may begin.
            self.news.notify_all();
        }
    }

    /// Waits for something to be done; `None`: this thread is not needed any more, and is not counted.
    fn next(&self) -> Option<(String, Work)> {
        let mut bench = self.bench();
        let mut waits = true;
        loop {
            match bench.next() {
                Some(next) => return Some(next),
                None if bench.is_closed || !waits => break,
                None => {}
            }
            let (again, waited) = self.news.wait_timeout(bench, IDLE).unwrap_or_else(PoisonError::into_inner);
            bench = again;
            waits = !waited.timed_out();
        }
        bench.threads -= 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Work that lasts until the sender is dropped.
    fn lasting() -> (Sender<()>, impl FnOnce() + Send) {
        let (end, ended) = channel();
        let work = move || {
            let _ = ended.recv();
        };
        (end, work)
    }

    #[test]
    fn what_takes_long_for_one_plugin_holds_up_no_other_and_comes_one_by_one() {
        let (makers, (done, seen)) = (Makers::default(), channel());
        let tells = |what: &'static str| {
            let done = done.clone();
            move || done.send(what).expect("somebody who listens")
        };
        let (end, slow) = lasting();
        makers.want("slow", slow);
        makers.want("slow", tells("slow"));
        for name in ["a", "b", "a", "c", "d", "e"] {
            makers.want(name, tells("quick"));
        }
        for _ in 0..6 {
            assert_eq!(seen.recv_timeout(PATIENCE), Ok("quick"));
        }
        assert!(makers.0.bench().threads <= MOST);
        drop(end);
        assert_eq!(seen.recv_timeout(PATIENCE), Ok("slow"));
    }

    #[test]
    fn there_are_only_so_many_threads_and_what_panics_takes_none_away() {
        let (makers, (done, seen)) = (Makers::default(), channel());
        for name in ["a", "b", "c", "d", "e"] {
            makers.want(name, || std::panic::resume_unwind(Box::new(())));
        }
        let ends: Vec<_> = ["a", "b", "c", "d", "e"]
            .map(|name| {
                let (end, lasts) = lasting();
                let done = done.clone();
                makers.want(name, move || {
                    done.send(()).expect("somebody who listens");
                    lasts();
                });
                end
            })
            .into();
        for _ in 0..MOST {
            assert_eq!(seen.recv_timeout(PATIENCE), Ok(()));
        }
        let counts = |bench: MutexGuard<'_, Bench>| (bench.threads, bench.waiting.len());
        assert_eq!(counts(makers.0.bench()), (MOST, 1));
        drop(ends);
        assert_eq!(seen.recv_timeout(PATIENCE), Ok(()));
    }
}
