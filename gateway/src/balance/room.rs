//! How many requests may be somewhere at the same time, at an endpoint or in a pool.
//!
//! In: requests, from all workers, and how many there may be. Out: the right to be there, until it is dropped; or a wait for it, of
//! a bounded number. The bound is given with each call, so that a reload changes it for those that come.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// A place that has room for so many requests.
#[derive(Default, Debug)]
pub struct Room {
    taken: AtomicU32,
    queued: AtomicU32,
    freed: Notify,
}

/// The right to be in a room, until it is dropped.
#[derive(Debug)]
pub struct Stay(Arc<Room>);

/// Counts a request that waits, until it is dropped.
struct Queued<'a>(&'a Room);

impl Room {
    /// Whether there is no room for one more.
    pub fn is_full(&self, most: u32) -> bool {
        self.taken.load(Ordering::Relaxed) >= most
    }

    /// The right to be there, when there is room for one more.
    pub fn try_enter(self: &Arc<Room>, most: u32) -> Option<Stay> {
        let take = |taken: u32| (taken < most).then(|| taken + 1);
        self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).ok()?;
        Some(Stay(self.clone()))
    }

    /// The same as soon as there is; none when as many wait already as may.
    pub async fn enter(self: &Arc<Room>, most: u32, waiting: u32) -> Option<Stay> {
        let _queued = Queued::begin(self, waiting)?;
        loop {
            let mut freed = pin!(self.freed.notified());
            // From here on a place that is given back is not missed.
            freed.as_mut().enable();
            if let Some(stay) = self.try_enter(most) {
                return Some(stay);
            }
            freed.await;
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::SeqCst);
        if self.0.queued.load(Ordering::SeqCst) > 0 {
            self.0.freed.notify_one();
        }
    }
}

impl Queued<'_> {
    fn begin(room: &Room, most: u32) -> Option<Queued<'_>> {
        let queued = Queued(room);
        (room.queued.fetch_add(1, Ordering::SeqCst) < most).then_some(queued)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_than_have_room_are_there_and_the_next_one_follows() {
        let room = Arc::new(Room::default());
        let (first, second) = (room.try_enter(2), room.try_enter(2));
        assert!(first.is_some() && second.is_some() && room.is_full(2) && room.try_enter(2).is_none());
        assert!(room.enter(2, 0).await.is_none(), "nobody may wait");
        let mut waits = Box::pin(room.enter(2, 1));
        assert!(is_pending(&mut waits).await);
        assert!(room.enter(2, 1).await.is_none(), "one waits already");
        drop(first);
        let third = waits.await;
        assert!(third.is_some() && room.is_full(2));
        // Who leaves the queue leaves its place in it too.
        let mut waits = Box::pin(room.enter(2, 1));
        assert!(is_pending(&mut waits).await);
        drop(waits);
        drop((second, third));
        assert!(!room.is_full(1) && room.enter(1, 1).await.is_some());
    }

    async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())).await
    }

    #[test]
    fn many_threads_share_a_room_and_nobody_is_forgotten() {
        let (room, most) = (Arc::new(Room::default()), 3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    runtime.block_on(async {
                        for _ in 0..500 {
                            let stay = room.enter(most, 10).await.unwrap();
                            assert!(room.taken.load(Ordering::SeqCst) <= most);
                            tokio::task::yield_now().await;
                            drop(stay);
                        }
                    });
                });
            }
        });
        assert_eq!((room.taken.load(Ordering::SeqCst), room.queued.load(Ordering::SeqCst)), (0, 0));
    }
}
