//! A request's body that can be sent more than once, as long as it stays below a bound.
//!
//! In: a body. Out: copies of it from its begin, one after the other: what was read of it is kept, the rest is read by
//! whichever copy wants it first. Beyond the bound nothing is kept, and only the copy that is being sent can go on.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::body::{Body, Frame, Source};
use crate::error::Error;

/// A body that is kept while it is read.
pub struct Replay(Rc<RefCell<Tape>>);

struct Tape {
    rest: Body,
    is_over: bool,
    /// What was read, copied: pieces of larger buffers would keep those.
    kept: Vec<u8>,
    limit: u64,
    is_whole: bool,
}

struct Copy {
    tape: Rc<RefCell<Tape>>,
    /// How much of what is kept was read.
    read: usize,
}

impl Replay {
    /// Keeps so many bytes of it at the most.
    pub fn new(body: Body, limit: u64) -> Replay {
        Replay(Rc::new(RefCell::new(Tape { rest: body, is_over: false, kept: Vec::new(), limit, is_whole: true })))
    }

    /// Whether there is another copy of it.
    pub fn is_whole(&self) -> bool {
        self.0.borrow().is_whole
    }

    /// The body from its begin; `None` when it has become too large. Copies that were made before are not to be read any more.
    pub fn copy(&self) -> Option<Body> {
        self.is_whole().then(|| Body::source(Copy { tape: self.0.clone(), read: 0 }))
    }
}

impl Source for Copy {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        let tape = &mut *self.tape.borrow_mut();
        if let Some(unread @ [_, ..]) = tape.kept.get(self.read..) {
            let data = Bytes::copy_from_slice(unread);
            self.read = tape.kept.len();
            return Poll::Ready(Some(Ok(Frame::Data(data))));
        }
        if tape.is_over {
            return Poll::Ready(None);
        }
        let frame = tape.rest.poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(Frame::Data(data)))) if tape.is_whole => {
                if (tape.kept.len() + data.len()) as u64 <= tape.limit {
                    tape.kept.extend_from_slice(data);
                    self.read = tape.kept.len();
                } else {
                    (tape.is_whole, tape.kept, self.read) = (false, Vec::new(), 0);
                }
            }
            Poll::Ready(None) => tape.is_over = true,
            // Trailers are not kept, and after an error there is nothing to be sent again.
            Poll::Ready(Some(Ok(Frame::Trailers(_)) | Err(_))) => tape.is_whole = false,
            Poll::Ready(Some(Ok(Frame::Data(_)))) | Poll::Pending => {}
        }
        frame
    }

    fn length(&self) -> Option<u64> {
        let tape = self.tape.borrow();
        Some(tape.rest.length()? + tape.kept.len().saturating_sub(self.read) as u64)
    }

    fn is_end(&self) -> bool {
        let tape = self.tape.borrow();
        self.read >= tape.kept.len() && (tape.is_over || tape.rest.is_end())
    }

    fn held_back(&mut self) {
        self.tape.borrow_mut().rest.held_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    struct Pieces(Vec<&'static str>);

    impl Source for Pieces {
        fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
            Poll::Ready((!self.0.is_empty()).then(|| Ok(Frame::Data(self.0.remove(0).into()))))
        }
        fn length(&self) -> Option<u64> {
            Some(self.0.iter().map(|piece| piece.len() as u64).sum())
        }
        fn is_end(&self) -> bool {
            self.0.is_empty()
        }
    }

    /// So many frames of the body, joined.
    fn read(body: &mut Body, frames: usize) -> String {
        let mut cx = Context::from_waker(Waker::noop());
        let mut text = String::new();
        for _ in 0..frames {
            let Poll::Ready(Some(Ok(Frame::Data(data)))) = body.poll_frame(&mut cx) else { break };
            text += std::str::from_utf8(&data).unwrap();
        }
        text
    }

    #[test]
    fn copies_are_the_whole_body_however_much_of_it_was_read() {
        let replay = Replay::new(Body::source(Pieces(vec!["ab", "cd", "ef"])), 6);
        for known in 0..4 {
            let mut copy = replay.copy().unwrap();
            assert_eq!((copy.length(), copy.is_end()), (Some(6), false));
            // What is known comes in one frame.
            let frames = if known < 2 { known } else { 2 };
            assert_eq!(read(&mut copy, frames), "abcdef"[..known * 2]);
            assert_eq!((copy.length(), copy.is_end()), (Some(6 - known as u64 * 2), known == 3));
        }
        assert_eq!(read(&mut replay.copy().unwrap(), 9), "abcdef");
    }

    #[test]
    fn a_body_beyond_the_bound_is_read_once() {
        let replay = Replay::new(Body::source(Pieces(vec!["ab", "cd", "ef"])), 5);
        assert_eq!(read(&mut replay.copy().unwrap(), 2), "abcd");
        let mut copy = replay.copy().unwrap();
        assert_eq!(read(&mut copy, 3), "abcdef");
        assert_eq!(copy.length(), Some(0));
        assert!(replay.copy().is_none());
    }
}
