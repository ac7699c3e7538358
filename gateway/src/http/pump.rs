//! Moves a body from where it comes from to where it goes.
//!
//! In: a [`Body`] and an [`Outlet`]. Out: everything written, or the error of the side that failed. Invariant: at most one
//! frame is held between the two; what is ready at once is gathered into one write; nothing is asked of the
//! source before the outlet has room, so a slow reader holds back a fast writer.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::body::{Body, FilePart, Frame};
use super::fields::Fields;
use crate::error::{Error, Kind};

/// Where a body goes: an HTTP/1 connection or an HTTP/2 stream, of a client or an upstream.
pub trait Outlet {
    /// How many bytes of data may be handed over now; more than 0.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>>;

    /// Takes data; `last`: nothing follows, not even trailers, and `end` is not called.
    fn data(&mut self, data: Bytes, last: bool) -> Result<(), Error>;

    /// Whether it takes parts of files; cheap to ask.
    fn takes_parts(&self) -> bool {
        false
    }

    /// Takes a part of a file, of which it was asked whether it takes them. Something follows.
    fn part(&mut self, _: FilePart) -> Result<(), Error> {
        Err(Error::gateway(Kind::Internal("a part of a file for who takes none")))
    }

    /// Takes trailers; nothing follows.
    fn trailers(&mut self, trailers: &Fields) -> Result<(), Error>;

    /// The body is complete.
    fn end(&mut self) -> Result<(), Error>;

    /// Ready when all that was taken is on its way.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;
}

/// The state of one body's move.
#[derive(Default)]
pub struct Pump {
    held: Bytes,
    /// The held data is the end of the body.
    last: bool,
    ended: bool,
    /// Bytes of data taken from the source so far.
    pub moved: u64,
    /// How many there may be.
    pub limit: Option<u64>,
    /// Who is waited for.
    pub waiting_for: WaitingFor,
}

/// Whom a pump waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WaitingFor {
    /// The sender of the body.
    #[default]
    Source,
    /// Its recipient.
    Outlet,
}

impl Pump {
    /// A pump that moves at most so much.
    pub fn limited(limit: u64) -> Pump {
        Pump { limit: Some(limit), ..Pump::default() }
    }

    /// Moves what can be moved now. Ready when the body is complete and flushed.
    pub fn poll(&mut self, body: &mut Body, outlet: &mut impl Outlet, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.ended {
            self.waiting_for = WaitingFor::Outlet;
            let Poll::Ready(room) = outlet.poll_ready(cx) else {
                body.held_back();
                return Poll::Pending;
            };
            let room = room?;
            if !self.held.is_empty() {
                self.hand_over(room, outlet)?;
                continue;
            }
            if outlet.takes_parts()
                && let Some(part) = body.part()
            {
                self.moved += part.length as u64;
                outlet.part(part)?;
                continue;
            }
            match body.poll_frame(cx) {
                Poll::Ready(Some(Ok(Frame::Data(data)))) => {
                    self.moved += data.len() as u64;
                    if self.limit.is_some_and(|limit| self.moved > limit) {
                        return Poll::Ready(Err(Error::client(Kind::BodyTooLarge)));
                    }
                    self.last = body.is_end();
                    self.held = data;
                    self.hand_over(room, outlet)?;
                }
                Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                    outlet.trailers(&trailers)?;
                    self.ended = true;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => {
                    outlet.end()?;
                    self.ended = true;
                }
                Poll::Pending => {
                    // What is there goes out before more is waited for: server-sent events arrive event by event.
                    if outlet.poll_flush(cx)?.is_ready() {
                        self.waiting_for = WaitingFor::Source;
                    }
                    return Poll::Pending;
                }
            }
        }
        self.waiting_for = WaitingFor::Outlet;
        outlet.poll_flush(cx)
    }

    fn hand_over(&mut self, room: usize, outlet: &mut impl Outlet) -> Result<(), Error> {
        let data = self.held.split_to(room.min(self.held.len()));
        let last = self.last && self.held.is_empty();
        self.ended = last;
        outlet.data(data, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Source;
    use std::cell::Cell;
    use std::rc::Rc;
    use std::task::Waker;

    #[derive(Default)]
    struct Slow {
        taken: Vec<u8>,
        room: usize,
        ends: usize,
        flushed: usize,
    }

    impl Outlet for Slow {
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<usize, Error>> {
            if self.room == 0 { Poll::Pending } else { Poll::Ready(Ok(self.room)) }
        }
        fn data(&mut self, data: Bytes, last: bool) -> Result<(), Error> {
            self.room -= data.len();
            self.taken.extend_from_slice(&data);
            self.ends += usize::from(last);
            Ok(())
        }
        fn trailers(&mut self, _: &Fields) -> Result<(), Error> {
            self.ends += 1;
            Ok(())
        }
        fn end(&mut self) -> Result<(), Error> {
            self.ends += 1;
            Ok(())
        }
        fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
            self.flushed = self.taken.len();
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn data_is_cut_to_the_room_and_ends_once() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut pump, mut outlet) = (Pump::default(), Slow::default());
        let mut body = Body::full("hello world");
        let mut polls = 0;
        while pump.poll(&mut body, &mut outlet, &mut cx).is_pending() {
            assert_eq!(pump.waiting_for, WaitingFor::Outlet);
            outlet.room = 4;
            polls += 1;
        }
        assert_eq!((&outlet.taken[..], outlet.ends, outlet.flushed, polls), (&b"hello world"[..], 1, 11, 3));
    }

    #[test]
    fn a_sender_is_told_when_it_is_not_waited_for() {
        struct Told(Rc<Cell<u32>>);
        impl Source for Told {
            fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
                Poll::Pending
            }
            fn length(&self) -> Option<u64> {
                None
            }
            fn held_back(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let mut cx = Context::from_waker(Waker::noop());
        let (mut pump, mut outlet, told) = (Pump::default(), Slow { room: 1, ..Slow::default() }, Rc::default());
        let mut body = Body::source(Told(Rc::clone(&told)));
        assert!(pump.poll(&mut body, &mut outlet, &mut cx).is_pending());
        assert_eq!((pump.waiting_for, told.get()), (WaitingFor::Source, 0));
        outlet.room = 0;
        assert!(pump.poll(&mut body, &mut outlet, &mut cx).is_pending());
        assert_eq!((pump.waiting_for, told.get()), (WaitingFor::Outlet, 1));
    }

    #[test]
    fn a_body_over_its_limit_is_not_passed_on() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut outlet = Slow { room: 100, ..Slow::default() };
        let result = Pump::limited(4).poll(&mut Body::full("12345"), &mut outlet, &mut cx);
        assert!(matches!(result, Poll::Ready(Err(Error { kind: Kind::BodyTooLarge, .. }))));
        assert_eq!((outlet.taken.len(), outlet.ends), (0, 0));
    }
}
