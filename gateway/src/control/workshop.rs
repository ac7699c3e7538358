//! Threads for work that takes long and that nobody can interrupt, such as compiling.
//!
//! In: work, and for how long it is waited for. Out: what came of it, or that it is given up. Work that was given up goes on until
//! it is done: so there are only so many places, and each is taken until its thread is free again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::snapshot::given::late;

/// A few places to work at.
pub(super) struct Workshop(Arc<Semaphore>);

/// Why work is not waited for any longer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Late {
    /// It never began.
    #[error(
        "it was not begun within {0:?}, because other modules are still being compiled that take long; try again later"
    )]
    Begin(Duration),
    /// It did not end.
    #[error("{}", late(*.0))]
    End(Duration),
    /// Its thread is gone.
    #[error("compiling it was cut short")]
    Cut,
}

impl Workshop {
    /// With so many places.
    pub(super) fn new(places: usize) -> Workshop {
        Workshop(Arc::new(Semaphore::new(places)))
    }

    /// Works. Waits for so long for a place, and then again for the end.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        most: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Late> {
        let place = timeout(most, self.0.clone().acquire_owned()).await;
        let place = place.map_err(|_| Late::Begin(most))?.map_err(|_| Late::Cut)?;
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        timeout(most, working).await.map_err(|_| Late::End(most))?.map_err(|_| Late::Cut)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn work_that_takes_too_long_is_given_up_and_keeps_its_place_until_it_is_done() {
        let workshop = Workshop::new(1);
        let (end, ended) = mpsc::channel::<()>();
        assert_eq!(workshop.work(SOON, move || ended.recv().is_ok()).await, Err(Late::End(SOON)));
        assert_eq!(workshop.work(SOON, || ()).await, Err(Late::Begin(SOON)));
        end.send(()).expect("somebody who waits");
        assert_eq!(workshop.work(Duration::from_secs(10), || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn work_that_panics_leaves_its_place() {
        let workshop = Workshop::new(1);
        let broken = || -> u32 { std::panic::resume_unwind(Box::new(())) };
        assert_eq!(workshop.work(SOON, broken).await, Err(Late::Cut));
        assert_eq!(workshop.work(Duration::from_secs(10), || 7).await, Ok(7));
    }
}
