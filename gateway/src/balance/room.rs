//! How many requests may be somewhere at the same time, at an endpoint or in a pool.
//!
//! In: requests, from all workers, and how many there may be. Out: the right to be there, until it is dropped; or a wait for it, of
//! a bounded number. The bound is given with each call, so that a reload changes it for those that come.
//!
//! Who waits is served in the order in which they came: a right that is given back is handed to the first of them, and whoever comes
//! while some wait waits behind them. As long as nobody waits there are atomics and nothing else.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A place that has room for so many requests.
#[derive(Default, Debug)]
pub struct Room {
    taken: AtomicU32,
    /// How many wait. Written only by who holds the queue.
    queued: AtomicU32,
    queue: Mutex<Queue>,
}

#[derive(Default, Debug)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// How many have waited so far.
    tickets: u64,
}

/// One who waits.
#[derive(Debug)]
struct Waiting {
    ticket: u64,
    /// How many there may be, as it was told.
    most: u32,
    hand: oneshot::Sender<Stay>,
}

/// The right to be in a room, until it is dropped.
#[derive(Debug)]
pub struct Stay(Arc<Room>);

/// One who waits, until it has what it waits for or gives up.
struct Ticket<'a>(&'a Room, u64);

impl Room {
    /// Whether one more would have to wait.
    pub fn is_full(&self, most: u32) -> bool {
        self.taken.load(Ordering::Relaxed) >= most || self.queued.load(Ordering::Relaxed) > 0
    }

    /// The right to be there, when there is room for one more and nobody waits for it.
    pub fn try_enter(self: &Arc<Room>, most: u32) -> Option<Stay> {
        if self.queued.load(Ordering::SeqCst) > 0 {
            return None;
        }
        self.take(most)
    }

    /// The same as soon as it is its turn; none when as many wait already as may.
    pub async fn enter(self: &Arc<Room>, most: u32, waiting: u32) -> Option<Stay> {
        let (hand, given) = oneshot::channel();
        let ticket = {
            let mut queue = self.queue();
            if queue.waiting.is_empty()
                && let Some(stay) = self.take(most)
            {
                return Some(stay);
            }
            if queue.waiting.len() >= waiting as usize {
                return None;
            }
            queue.tickets += 1;
            let ticket = queue.tickets;
            queue.waiting.push_back(Waiting { ticket, most, hand });
            self.publish(&queue);
            ticket
        };
        // Leaves the queue before what it was given meanwhile is dropped.
        let ticket = Ticket(self, ticket);
        // What was given back before others could see that somebody waits, nobody has handed on.
        self.serve();
        let stay = given.await.ok();
        // It is in the queue no more.
        std::mem::forget(ticket);
        stay
    }

    fn take(self: &Arc<Room>, most: u32) -> Option<Stay> {
        let take = |taken: u32| (taken < most).then(|| taken + 1);
        self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).ok()?;
        Some(Stay(self.clone()))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, queue: &Queue) {
        self.queued.store(u32::try_from(queue.waiting.len()).unwrap_or(u32::MAX), Ordering::SeqCst);
    }

    /// Hands rights to those who wait, the first first, as long as there are any.
    fn serve(self: &Arc<Room>) {
        // Dropped when the queue is free again, since what is given back is handed on.
        let mut refused = None;
        let mut queue = self.queue();
        while let Some(first) = queue.waiting.front() {
            let Some(stay) = refused.take().or_else(|| self.take(first.most)) else { break };
            if let Some(first) = queue.waiting.pop_front() {
                // Who gives up leaves the queue first; should one not, the next has it.
                refused = first.hand.send(stay).err();
            }
        }
        self.publish(&queue);
        drop(queue);
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::SeqCst);
        if self.0.queued.load(Ordering::SeqCst) > 0 {
            self.0.serve();
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.waiting.retain(|waiting| waiting.ticket != self.1);
        self.0.publish(&queue);
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

    #[tokio::test]
    async fn who_comes_as_room_frees_waits_behind_those_who_wait() {
        let room = Arc::new(Room::default());
        let first = room.try_enter(1);
        let (mut one, mut two) = (Box::pin(room.enter(1, 3)), Box::pin(room.enter(1, 3)));
        assert!(is_pending(&mut one).await && is_pending(&mut two).await);
        drop(first);
        assert!(room.try_enter(1).is_none(), "it is another's turn");
        let mut three = Box::pin(room.enter(1, 3));
        assert!(is_pending(&mut three).await && is_pending(&mut two).await);
        let stay = one.await;
        assert!(stay.is_some() && is_pending(&mut two).await);
        drop(stay);
        // Whoever was given it and does not want it any more makes room for the next.
        drop(two);
        assert!(three.await.is_some());
        assert!(room.try_enter(1).is_some(), "and nobody waits");
    }

    #[tokio::test]
    async fn each_waits_for_as_many_as_it_was_told() {
        let room = Arc::new(Room::default());
        let mut stays: Vec<Stay> = (0..3).filter_map(|_| room.try_enter(3)).collect();
        let (mut few, mut more) = (Box::pin(room.enter(1, 2)), Box::pin(room.enter(3, 2)));
        assert!(is_pending(&mut few).await && is_pending(&mut more).await);
        stays.pop();
        assert!(is_pending(&mut few).await && is_pending(&mut more).await, "in their order");
        drop(stays);
        assert!(few.await.is_some() && more.await.is_some());
    }

    async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())).await
    }

    #[test]
    fn many_threads_share_a_room_and_nobody_is_forgotten() {
        let (room, most) = (Arc::new(Room::default()), 3);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let room = &room;
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    runtime.block_on(async {
                        for round in 0..500 {
                            let mut entering = Box::pin(room.enter(most, 10));
                            // Some give up, in whatever moment that is.
                            if (round + thread) % 5 == 0 {
                                is_pending(&mut entering).await;
                                continue;
                            }
                            let stay = entering.await.unwrap();
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
