//! Who may be connected to the admin address at a time.
//!
//! In: connections, in the order in which they came. Out: which of them has to leave for another. Invariants: there are never
//! more than `MOST`, and none leaves while its request is carried out.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::AbortHandle;

/// Connections at a time.
const MOST: usize = 64;

/// The connections, the oldest first.
#[derive(Default)]
pub(super) struct Places(VecDeque<(Place, AbortHandle)>);

/// One connection's place.
#[derive(Clone, Default)]
pub(super) struct Place {
    busy: Rc<Cell<bool>>,
}

impl Place {
    /// Carries something out that nobody interrupts.
    pub(super) async fn keep<T>(&self, work: impl Future<Output = T>) -> T {
        self.busy.set(true);
        let done = work.await;
        self.busy.set(false);
        done
    }
}

impl Places {
    /// Waits for a place. When all are taken, the oldest connection leaves that we wait for.
    pub(super) async fn make_room(&mut self) {
        loop {
            self.0.retain(|(_, task)| !task.is_finished());
            if self.0.len() < MOST {
                return;
            }
            let waiting = self.0.iter().position(|(place, _)| !place.busy.get());
            if let Some((_, task)) = waiting.and_then(|at| self.0.remove(at)) {
                return task.abort();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Takes a place.
    pub(super) fn take(&mut self, place: Place, task: AbortHandle) {
        self.0.push_back((place, task));
    }
}
