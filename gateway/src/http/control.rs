//! What the outside may ask of a connection: to end politely.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};
use std::time::Duration;

/// One connection as its worker sees it.
#[derive(Default)]
pub struct Control {
    draining: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Control {
    /// How long a client that has just connected may take for its first request after it was asked to go.
    pub const GRACE: Duration = Duration::from_millis(500);

    /// Asks the connection to finish what it does and to begin nothing more.
    pub fn drain(&self) {
        self.draining.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether it was asked to; if not, the task is woken when it is.
    pub fn poll_draining(&self, cx: &mut Context<'_>) -> bool {
        if self.draining.get() {
            return true;
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        false
    }

    /// Whether it was asked to.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }
}
