//! What a worker compresses with.
//!
//! In: bodies. Out: bodies that are coded while they are read, as long as there is memory for their codecs. Limit: what the codecs at
//! work hold together, as far as it can be told beforehand; besides them [`SPARE`] that wait for the next body.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::body::{ROOM, Recoded, Work};
use super::codec::{Broken, Decoder, Encoder, Step};
use super::load::{self, Load};
use crate::http::Body;
use crate::http::encoding::Coding;
use crate::limits::Limits;
use crate::metrics::{self, Recoding};

/// How many contexts wait for the next body.
const SPARE: usize = 4;

/// What a worker compresses with.
pub struct Press {
    metrics: Rc<metrics::Worker>,
    load: Load,
    /// Bytes that codecs at work hold.
    memory: Cell<u64>,
    spare: RefCell<Vec<Encoder>>,
    /// Room for what a codec makes, before it is known how much that is.
    room: RefCell<Vec<u8>>,
}

/// A codec's memory, until it is released.
pub(super) struct Held {
    press: Rc<Press>,
    bytes: u64,
}

impl Press {
    /// For a worker that begins now.
    pub fn new(metrics: Rc<metrics::Worker>) -> Press {
        Press {
            metrics,
            load: Load::new(Instant::now()),
            memory: Cell::new(0),
            spare: RefCell::default(),
            room: RefCell::default(),
        }
    }

    /// Notes for how long in all the worker has worked until now.
    pub fn note_load(&self, now: Instant, worked: Duration) {
        self.load.look(now, worked);
        self.metrics.busy(self.load.share());
    }

    /// The level to use now in place of the configured one.
    pub fn level(&self, configured: u8) -> u8 {
        load::level(configured, self.load.share())
    }

    /// The body in that coding. Without memory for that, the body as it was.
    pub fn encoded(
        self: &Rc<Press>,
        limits: &Limits,
        (coding, level): (Coding, u8),
        is_prompt: bool,
        body: Body,
    ) -> Result<Body, Body> {
        let length = body.length();
        let Some(held) = self.hold(limits, Encoder::memory(coding, level)) else { return Err(body) };
        let Some(codec) = self.encoder(coding, level, length) else { return Err(body) };
        let work = Work { codec, coding, holds_back: true, is_prompt, most: u64::MAX };
        Ok(Body::source(Recoded::new(body, work, held, Press::keep)))
    }

    /// The body without that coding. `None`: there is no memory for that.
    pub fn decoded(self: &Rc<Press>, limits: &Limits, coding: Coding, body: Body) -> Option<Body> {
        let held = self.hold(limits, Decoder::memory(coding))?;
        let codec = Decoder::new(coding)?;
        let work = Work { codec, coding, holds_back: false, is_prompt: true, most: limits.decoded_size };
        Some(Body::source(Recoded::new(body, work, held, |_, codec| drop(codec))))
    }

    fn hold(self: &Rc<Press>, limits: &Limits, bytes: u64) -> Option<Held> {
        let memory = self.memory.get() + bytes;
        if memory > limits.compression_memory {
            self.metrics.limit_hit("compression_memory");
            return None;
        }
        self.memory.set(memory);
        Some(Held { press: self.clone(), bytes })
    }

    fn encoder(&self, coding: Coding, level: u8, length: Option<u64>) -> Option<Encoder> {
        let mut spare = self.spare.borrow_mut();
        let fitting = spare.iter_mut().position(|encoder| encoder.renew(coding, level, length));
        match fitting {
            Some(fitting) => Some(spare.swap_remove(fitting)),
            None => Encoder::new(coding, level, length),
        }
    }

    fn keep(&self, encoder: Encoder) {
        if !encoder.is_kept() {
            return;
        }
        let mut spare = self.spare.borrow_mut();
        if spare.len() >= SPARE {
            // The one that was not wanted for the longest time.
            spare.remove(0);
        }
        spare.push(encoder);
    }

    /// Lends room for what a codec makes.
    pub(super) fn with_room(&self, make: impl FnOnce(&mut [u8]) -> Result<Step, Broken>) -> Result<Step, Broken> {
        let mut room = self.room.borrow_mut();
        if room.is_empty() {
            room.resize(ROOM, 0);
        }
        make(&mut room)
    }

    pub(super) fn count(&self, counts: &Recoding) {
        self.metrics.recoded(counts);
    }
}

impl Held {
    pub(super) fn press(&self) -> &Press {
        &self.press
    }

    /// Gives the memory back before the rest of the body has gone out.
    pub(super) fn release(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.press.memory.set(self.press.memory.get().saturating_sub(bytes));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}
