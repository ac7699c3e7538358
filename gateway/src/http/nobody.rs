//! A request that no client waits for with a connection of its own: the gateway asks for itself, or for several.
//!
//! In: interim responses. Out: the same to whoever collects them. Limit: sixteen wait to be collected.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Waker};

use super::ResponseHead;

/// Interim responses that wait.
const MOST: usize = 16;

/// Where interim responses go.
#[derive(Clone, Default)]
pub struct Nobody(Rc<RefCell<Waiting>>);

#[derive(Default)]
struct Waiting {
    heads: Vec<ResponseHead>,
    waker: Option<Waker>,
}

impl Nobody {
    /// One came.
    pub(super) fn inform(&self, head: ResponseHead) {
        let mut waiting = self.0.borrow_mut();
        if waiting.heads.len() < MOST {
            waiting.heads.push(head);
        }
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }

    /// Those that came since it was last asked; wakes the task when there are more.
    pub fn collect(&self, cx: &Context<'_>) -> Vec<ResponseHead> {
        let mut waiting = self.0.borrow_mut();
        waiting.waker = Some(cx.waker().clone());
        std::mem::take(&mut waiting.heads)
    }
}
