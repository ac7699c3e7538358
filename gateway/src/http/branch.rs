//! A body that is copied while it is read, without waiting for whoever reads the copy.
//!
//! In: a body, and how far the copy may fall behind. Out: the same body, and its copy, which has an error where it fell behind too
//! far or the body broke off. Nothing is copied for a copy that is gone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;

use super::body::{Body, Frame, Source};
use super::fields::Fields;
use crate::error::{Error, Kind};

/// Why a copy is not whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// It fell behind.
    Behind,
    /// The body itself broke off, or nobody read it to its end.
    Broken,
}

/// Tells why a copy is not whole, when it is not.
pub type Fate = Rc<Cell<Option<Lost>>>;

/// What is done with the copy, once there is one.
type Begin = Box<dyn FnOnce(Body, Fate)>;

/// A body like this one, which is copied from its first read on. The copy is then handed to `begin`.
pub fn branch(body: Body, bound: u64, begin: impl FnOnce(Body, Fate) + 'static) -> Body {
    let shared = Rc::new(RefCell::new(Shared::default()));
    Body::source(Trunk { body, bound, shared, fate: Fate::default(), begin: Some(Box::new(begin)), gave_way: false })
}

#[derive(Default)]
struct Shared {
    /// What the copy has not read yet; copied, since pieces of larger buffers would keep those.
    held: BytesMut,
    trailers: Option<Box<Fields>>,
    is_over: bool,
    reader: Option<Waker>,
}

struct Trunk {
    body: Body,
    bound: u64,
    shared: Rc<RefCell<Shared>>,
    fate: Fate,
    begin: Option<Begin>,
    /// Whoever reads the copy had a chance to, since there was much of it.
    gave_way: bool,
}

struct Copy {
    shared: Rc<RefCell<Shared>>,
    fate: Fate,
    /// How much is still to be read, where that is known.
    length: Option<u64>,
}

impl Shared {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Trunk {
    /// Whether other tasks are to run first: a body that comes at once would leave a copy behind that nobody could have read.
    fn gives_way(&mut self) -> bool {
        let much = self.shared.borrow().held.len() as u64 > self.bound / 4;
        !std::mem::replace(&mut self.gave_way, much) && much
    }

    fn take_in(&self, frame: &Frame) {
        // Nobody reads the copy any more, or it is lost.
        if Rc::strong_count(&self.shared) == 1 || self.fate.get().is_some() {
            return;
        }
        let shared = &mut *self.shared.borrow_mut();
        match frame {
            Frame::Data(data) if (shared.held.len() + data.len()) as u64 > self.bound => {
                self.fate.set(Some(Lost::Behind));
                shared.held = BytesMut::new();
            }
            Frame::Data(data) => shared.held.extend_from_slice(data),
            Frame::Trailers(trailers) => {
                shared.trailers = Some(trailers.clone());
                shared.is_over = true;
            }
        }
        shared.is_over |= self.body.is_end();
        shared.wake();
    }
}

impl Source for Trunk {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        if let Some(begin) = self.begin.take() {
            let (shared, fate) = (self.shared.clone(), self.fate.clone());
            begin(Body::source(Copy { shared, fate, length: self.body.length() }), self.fate.clone());
        }
        if self.gives_way() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = self.body.poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => self.take_in(frame),
            Poll::Ready(None) => {
                let mut shared = self.shared.borrow_mut();
                shared.is_over = true;
                shared.wake();
            }
            // What it broke off is told when it is dropped.
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        frame
    }

    fn length(&self) -> Option<u64> {
        self.body.length()
    }

    fn is_end(&self) -> bool {
        self.body.is_end()
    }

    fn held_back(&mut self) {
        self.body.held_back();
    }
}

impl Drop for Trunk {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        if !shared.is_over && self.fate.get().is_none() {
            self.fate.set(Some(Lost::Broken));
        }
        shared.wake();
    }
}

impl Source for Copy {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        let shared = &mut *self.shared.borrow_mut();
        if self.fate.get().is_some() {
            return Poll::Ready(Some(Err(Error::client(Kind::Truncated))));
        }
        if !shared.held.is_empty() {
            let data = shared.held.split().freeze();
            self.length = self.length.map(|length| length.saturating_sub(data.len() as u64));
            return Poll::Ready(Some(Ok(Frame::Data(data))));
        }
        if shared.is_over {
            return Poll::Ready(shared.trailers.take().map(|trailers| Ok(Frame::Trailers(trailers))));
        }
        shared.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn length(&self) -> Option<u64> {
        self.length
    }

    fn is_end(&self) -> bool {
        let shared = self.shared.borrow();
        shared.is_over && shared.held.is_empty() && shared.trailers.is_none() && self.fate.get().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// A body of these pieces that was read once, its copy, and what becomes of that.
    fn branched(pieces: &[&'static str], bound: u64) -> (Body, Body, Fate) {
        let got = Rc::new(RefCell::new(None));
        let slot = got.clone();
        let mut body = branch(Body::source(Pieces(pieces.to_vec())), bound, move |copy, fate| {
            *slot.borrow_mut() = Some((copy, fate));
        });
        assert!(got.borrow().is_none() && body.length() == Some(6));
        assert_eq!(read(&mut body), Ok(pieces[0].to_owned()));
        let (copy, fate) = got.borrow_mut().take().unwrap();
        (body, copy, fate)
    }

    /// The next frame.
    fn read(body: &mut Body) -> Result<String, bool> {
        let cx = &mut Context::from_waker(Waker::noop());
        let frame = body.poll_frame(cx);
        // A body may give way once.
        match if frame.is_pending() { body.poll_frame(cx) } else { frame } {
            Poll::Ready(Some(Ok(Frame::Data(data)))) => Ok(String::from_utf8(data.to_vec()).unwrap()),
            Poll::Ready(Some(Ok(Frame::Trailers(_)))) => Ok("trailers".to_owned()),
            Poll::Ready(Some(Err(_))) => Err(true),
            Poll::Ready(None) | Poll::Pending => Err(false),
        }
    }

    #[test]
    fn a_copy_is_the_same_and_ends_where_the_body_ends() {
        let (mut body, mut copy, fate) = branched(&["ab", "cd", "ef"], 100);
        assert_eq!((copy.length(), read(&mut copy), copy.length()), (Some(6), Ok("ab".to_owned()), Some(4)));
        assert_eq!((read(&mut copy), read(&mut body), read(&mut body)), (Err(false), Ok("cd".into()), Ok("ef".into())));
        assert!(!copy.is_end());
        drop(body);
        assert_eq!((read(&mut copy), copy.is_end(), fate.get()), (Ok("cdef".to_owned()), true, None));
    }

    #[test]
    fn a_copy_that_falls_behind_holds_nothing_up_and_keeps_nothing() {
        let (mut body, mut copy, fate) = branched(&["ab", "cd", "ef"], 3);
        assert_eq!((read(&mut body), fate.get()), (Ok("cd".to_owned()), Some(Lost::Behind)));
        assert_eq!((read(&mut copy), read(&mut body)), (Err(true), Ok("ef".to_owned())));
        assert!(body.is_end());
        drop(body);
        assert_eq!((read(&mut copy), copy.is_end(), fate.get()), (Err(true), false, Some(Lost::Behind)));
    }

    #[test]
    fn a_copy_of_what_broke_off_does_not_look_complete() {
        let (body, mut copy, fate) = branched(&["ab", "cd", "ef"], 100);
        drop(body);
        assert_eq!((read(&mut copy), copy.is_end(), fate.get()), (Err(true), false, Some(Lost::Broken)));
    }

    #[test]
    fn nothing_is_kept_for_a_copy_that_is_gone() {
        let (mut body, copy, fate) = branched(&["ab", "cd", "ef"], 3);
        drop(copy);
        assert_eq!((read(&mut body), read(&mut body), fate.get()), (Ok("cd".to_owned()), Ok("ef".to_owned()), None));
    }
}
