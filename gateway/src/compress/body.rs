//! A body that is coded while it is read.
//!
//! In: a body, and a codec. Out: what the codec makes of it, piece by piece, as it is asked for. Invariants: no more is held than one
//! frame of the source, what the codec holds, and one piece; a source that breaks breaks this too; a source that pauses for
//! [`PAUSE`] is flushed, one whose pieces are wanted at once is whenever it pauses. After [`TURN`] of work other tasks of the
//! worker have their turn, and connections are looked at, before it goes on.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::time::Sleep;

use super::codec::{Codec, Push};
use super::press::{Held, Press};
use crate::error::{Error, Kind, Retry};
use crate::http::encoding::Coding;
use crate::http::{Body, Fields, Frame, Source};
use crate::metrics::Recoding;

/// How much is given to a codec in one go.
const SLICE: usize = 32 << 10;
/// How much room it has for what it makes.
pub(super) const ROOM: usize = 64 << 10;
/// What was made goes out when it is this much.
const PIECE: usize = 16 << 10;
/// How long a source may pause before what it brought goes out.
const PAUSE: Duration = Duration::from_millis(2);
/// How long a body may work before others have their turn.
const TURN: Duration = Duration::from_micros(500);
/// Calls of a codec that neither take nor make anything before it is taken to be stuck.
const IDLE_CALLS: u8 = 4;

/// What a body is coded with, and what is to be known of it.
pub(super) struct Work<C> {
    /// The codec.
    pub(super) codec: C,
    /// Which coding is put on or taken off.
    pub(super) coding: Coding,
    /// Whether the codec holds back what it could give, and has to be flushed.
    pub(super) holds_back: bool,
    /// Every piece is wanted as soon as it is there.
    pub(super) is_prompt: bool,
    /// The most that may come out.
    pub(super) most: u64,
}

/// What becomes of a codec that is not needed any more.
pub(super) type Back<C> = fn(&Press, C);

/// A body that is coded while it is read.
pub(super) struct Recoded<C> {
    source: Body,
    work: Option<Work<C>>,
    back: Back<C>,
    held: Held,
    /// Read and not given to the codec yet.
    input: Bytes,
    /// The codec has taken all that it was given, and has nothing left that it would give.
    is_settled: bool,
    /// It may have something that only a flush brings out.
    is_dirty: bool,
    /// Made and not handed out yet.
    made: BytesMut,
    stage: Stage,
    trailers: Option<Box<Fields>>,
    pause: Option<Pin<Box<Sleep>>>,
    is_pausing: bool,
    /// Since others had their turn.
    worked: Duration,
    counts: Recoding,
    idle_calls: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The source may have more.
    Open,
    /// It has not.
    Ending,
    /// The codec has made its end, too.
    Over,
}

impl<C: Codec> Recoded<C> {
    pub(super) fn new(source: Body, work: Work<C>, held: Held, back: Back<C>) -> Recoded<C> {
        let counts = Recoding::begin(work.coding, !work.holds_back);
        Recoded {
            source,
            work: Some(work),
            back,
            held,
            input: Bytes::new(),
            is_settled: true,
            is_dirty: false,
            made: BytesMut::new(),
            stage: Stage::Open,
            trailers: None,
            pause: None,
            is_pausing: false,
            worked: Duration::ZERO,
            counts,
            idle_calls: 0,
        }
    }

    /// What to ask of the codec next; pending when there is nothing before the source has more.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Push, Error>> {
        loop {
            if self.stage == Stage::Ending || (!self.input.is_empty() && self.is_last()) {
                return Poll::Ready(Ok(Push::End));
            }
            if !self.input.is_empty() || !self.is_settled {
                return Poll::Ready(Ok(Push::More));
            }
            match self.source.poll_frame(cx) {
                Poll::Ready(Some(Ok(Frame::Data(data)))) => {
                    self.is_pausing = false;
                    self.input = data;
                }
                Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                    self.trailers = Some(trailers);
                    self.stage = Stage::Ending;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => self.stage = Stage::Ending,
                Poll::Pending => {
                    if !self.is_dirty {
                        return Poll::Pending;
                    }
                    ready!(self.poll_paused(cx));
                    return Poll::Ready(Ok(Push::Flush));
                }
            }
        }
    }

    /// Whether the slice at hand is the last one. Known before, the end costs no call and no piece of its own.
    fn is_last(&self) -> bool {
        self.input.len() <= SLICE && self.source.is_end()
    }

    /// Ready when the source has paused for long enough.
    fn poll_paused(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.work.as_ref().is_some_and(|work| work.is_prompt) {
            return Poll::Ready(());
        }
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(PAUSE)));
        if !self.is_pausing {
            self.is_pausing = true;
            pause.as_mut().reset(tokio::time::Instant::now() + PAUSE);
        }
        pause.as_mut().poll(cx)
    }

    /// One call of the codec.
    fn step(&mut self, push: Push) -> Result<(), Error> {
        let broken = |_| Error::upstream(Kind::Malformed("the content cannot be decoded"), Retry::Never);
        let Some(work) = &mut self.work else { return Ok(()) };
        let slice = if push == Push::Flush { &[] } else { self.input.get(..SLICE).unwrap_or(&self.input) };
        let began = Instant::now();
        let (codec, made) = (&mut work.codec, &mut self.made);
        let step = self.held.press().with_room(|room| {
            let step = codec.step(slice, room, push)?;
            made.extend_from_slice(room.get(..step.made).unwrap_or_default());
            Ok(step)
        });
        let step = step.map_err(broken)?;
        let took = began.elapsed();
        self.input.advance(step.taken.min(self.input.len()));
        self.worked += took;
        self.counts.time += took;
        self.counts.bytes_in += step.taken as u64;
        self.counts.bytes_out += step.made as u64;
        if self.counts.bytes_out > work.most {
            return Err(Error::upstream(Kind::DecodedTooLarge, Retry::Never));
        }
        self.idle_calls = if step.taken + step.made > 0 || step.done { 0 } else { self.idle_calls + 1 };
        if self.idle_calls > IDLE_CALLS {
            return Err(Error::gateway(Kind::Internal("a codec is stuck")));
        }
        match push {
            Push::More => {
                self.is_settled = step.done;
                self.is_dirty = work.holds_back;
            }
            Push::Flush => self.is_dirty = !step.done,
            Push::End if step.done && self.input.is_empty() => self.over(),
            Push::End => {}
        }
        Ok(())
    }

    fn over(&mut self) {
        self.stage = Stage::Over;
        if let Some(work) = self.work.take() {
            (self.back)(self.held.press(), work.codec);
        }
        self.held.release();
    }

    /// What was made so far.
    fn piece(&mut self) -> Poll<Option<Result<Frame, Error>>> {
        Poll::Ready(Some(Ok(Frame::Data(self.made.split().freeze()))))
    }
}

impl<C: Codec> Source for Recoded<C> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        loop {
            if self.stage == Stage::Over {
                if !self.made.is_empty() {
                    return self.piece();
                }
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::Trailers(trailers))));
            }
            if self.made.len() >= PIECE {
                return self.piece();
            }
            if self.worked >= TURN {
                self.worked = Duration::ZERO;
                // Polled once, it has us woken when all others had their turn.
                let _ = pin!(tokio::task::yield_now()).poll(cx);
                return Poll::Pending;
            }
            let push = match self.poll_next(cx) {
                Poll::Ready(Ok(push)) => push,
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                // What a decoder made is as good as it gets.
                Poll::Pending if !self.made.is_empty() && !self.is_dirty => return self.piece(),
                Poll::Pending => return Poll::Pending,
            };
            if let Err(error) = self.step(push) {
                return Poll::Ready(Some(Err(error)));
            }
            if push == Push::Flush && !self.is_dirty && !self.made.is_empty() {
                return self.piece();
            }
        }
    }

    fn length(&self) -> Option<u64> {
        None
    }

    fn is_end(&self) -> bool {
        self.stage == Stage::Over && self.made.is_empty() && self.trailers.is_none()
    }

    fn held_back(&mut self) {
        self.source.held_back();
    }
}

/// Whatever becomes of the body, what was done is counted. Its codec serves another one only when it has come to its end: one that was
/// left in the midst of a stream has been seen to spoil the next, also after it was reset.
impl<C> Drop for Recoded<C> {
    fn drop(&mut self) {
        self.held.press().count(&self.counts);
    }
}
