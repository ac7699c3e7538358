//! The client that waits while upstreams are asked: all attempts of one request share it.
//!
//! Interim responses go to it as they come, a client that goes away ends whatever is waited for. Nothing is borrowed beyond
//! one call, so attempts that run side by side in one task do not disturb each other.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use crate::clock::{Deadline, Watchdog};
use crate::error::Error;
use crate::http::{Responder, ResponseHead};

/// A client that waits.
pub struct Waiter<'a> {
    responder: RefCell<&'a mut Responder>,
    informed: Cell<bool>,
}

impl<'a> Waiter<'a> {
    /// The one that is answered so.
    pub fn new(responder: &'a mut Responder) -> Waiter<'a> {
        Waiter { responder: RefCell::new(responder), informed: Cell::new(false) }
    }

    /// Whether an upstream has sent it an interim response.
    pub fn is_informed(&self) -> bool {
        self.informed.get()
    }

    /// Sends it an interim response.
    pub fn inform(&self, head: ResponseHead) {
        self.informed.set(true);
        self.responder.borrow_mut().inform(head);
    }

    /// Waits for the future, but not beyond the deadline, nor for a client that left.
    pub async fn within<T>(
        &self,
        watchdog: &mut Watchdog,
        deadline: Deadline,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.wait(watchdog, deadline, cx),
        })
        .await
    }

    /// Nothing to do but wait: interim responses go out, a client that left or a time that passed ends it.
    pub(super) fn wait<T>(
        &self,
        watchdog: &mut Watchdog,
        deadline: Deadline,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Error>> {
        let mut responder = self.responder.borrow_mut();
        loop {
            if let Poll::Ready(error) = responder.poll_gone(cx) {
                return Poll::Ready(Err(error));
            }
            let deadline = deadline.or(responder.patience(None));
            let look = responder.look_again().filter(|look| *look < deadline.at);
            ready!(watchdog.poll_passed(look.unwrap_or(deadline.at), cx));
            if look.is_none() {
                return Poll::Ready(Err(deadline.error()));
            }
        }
    }
}
