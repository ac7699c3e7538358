//! All that is `unsafe` in this crate: columns that lie at an address, memory for what was read, and, as WebAssembly, the
//! gateway's functions. What leaves this folder is safe to use whatever the gateway says.
//!
//! [`wasm`] and [`native`] offer the same functions; the rest of the crate does not know which of them it uses.

#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::ptr::{NonNull, slice_from_raw_parts_mut};
use std::slice;

use gatewright_abi::{Column, Element};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod native;
#[cfg(target_arch = "wasm32")]
pub mod wasm;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native as imp;
#[cfg(target_arch = "wasm32")]
pub(crate) use wasm as imp;

pub(crate) use imp::{
    cache, clock, cookie, edit_header, hash, header, headers, is_deaf, log, metric, metric_add, metric_record,
    metric_set, query_value, random, request_text, secret, set_path, set_status, set_tag, shared_get, shared_remove,
    shared_set, slot_add, slot_load, slot_store, slot_swap, status, tag, unix_time, with_generator,
};

/// Places of columns.
pub(crate) const COLUMNS: usize = Column::ALL.len();

/// The head of the endpoint table, laid out as the gateway writes it. It does not change while it is borrowed, so addresses
/// stay in registers while a plugin goes through the endpoints, whatever is called in between.
///
/// Invariant: an address that is not null is that of `count` elements of the column's type, for as long as this lives.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Columns {
    count: u32,
    generation: u32,
    bases: [*const u8; COLUMNS],
}

impl Columns {
    #[inline(always)]
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    #[inline(always)]
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// The place of an endpoint, if there are so many.
    #[inline(always)]
    pub(crate) fn slot(&self, index: u32) -> Option<Slot<'_>> {
        (index < self.count).then_some(Slot { columns: self, index })
    }
}

/// A column as a type. Naming one in code that runs is what declares that the plugin reads the column.
pub(crate) trait Read {
    const COLUMN: Column;

    /// The address of a column that is not in the head of the table; null when there is none.
    fn ask() -> *const u8;
}

/// One endpoint's place in the columns.
///
/// Invariant: `index` is below the number of endpoints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot<'a> {
    columns: &'a Columns,
    index: u32,
}

impl<'a> Slot<'a> {
    #[inline(always)]
    pub(crate) fn index(self) -> u32 {
        self.index
    }

    /// An element of 32 bits.
    #[inline(always)]
    pub(crate) fn word<C: Read>(self) -> u32 {
        const { assert!(C::COLUMN.element().size() == 4) };
        // SAFETY: `element` passes a place in a column of the type that was just looked at.
        self.element::<C, u32>(|base, index| unsafe { *base.cast::<u32>().add(index) })
    }

    /// An element of 64 bits.
    #[inline(always)]
    pub(crate) fn double<C: Read>(self) -> u64 {
        const { assert!(matches!(C::COLUMN.element(), Element::U64)) };
        // SAFETY: as in `word`.
        self.element::<C, u64>(|base, index| unsafe { *base.cast::<u64>().add(index) })
    }

    /// An element of bytes.
    #[inline]
    pub(crate) fn bytes<C: Read>(self) -> &'a [u8] {
        const { assert!(matches!(C::COLUMN.element(), Element::Text)) };
        // SAFETY: as in `word`; what an element leads to lives as long as the columns.
        self.element::<C, &'a [u8]>(|base, index| unsafe { imp::text_element(base, index) })
    }

    /// Loads from a column's address and the endpoint's index, of which by the invariants the column has more elements.
    #[inline(always)]
    fn element<C: Read, T: Default>(self, load: impl Fn(*const u8, usize) -> T) -> T {
        let base = self.columns.bases[C::COLUMN.number()];
        if base.is_null() { missing::<C, T>(load, self.index as usize) } else { load(base, self.index as usize) }
    }
}

/// Linked in, a column that was not read before is missing and comes now. Without a gateway there is none.
#[cfg(not(target_arch = "wasm32"))]
#[cold]
#[inline(never)]
fn missing<C: Read, T: Default>(load: impl Fn(*const u8, usize) -> T, index: usize) -> T {
    match C::ask() {
        base if base.is_null() => T::default(),
        base => load(base, index),
    }
}

/// A module has all columns that it imports as soon as there are endpoints, so nobody comes here; but this makes it import
/// the column. It does not return, since then loops over endpoints need not look at the address each time.
#[cfg(target_arch = "wasm32")]
#[cold]
#[inline(never)]
fn missing<C: Read, T>(_: impl Fn(*const u8, usize) -> T, _: usize) -> ! {
    C::ask();
    core::arch::wasm32::unreachable()
}

/// Columns as types.
pub(crate) mod column {
    use super::{Column, Read, imp};

    macro_rules! columns {
        ($($name:ident)*) => {
            $(
                #[derive(Debug)]
                pub(crate) enum $name {}

                impl Read for $name {
                    const COLUMN: Column = Column::$name;

                    #[cold]
                    fn ask() -> *const u8 {
                        imp::column::$name()
                    }
                }
            )*

            #[cfg(test)]
            pub(crate) const NAMED: &[Column] = &[$(Column::$name),*];
        };
    }

    columns! { Flags Active Latency PeakLatency Errors Rate Load Warmth Weight Priority Id Address Zone Metadata }
}

/// Memory for what is read from the gateway during one call. It is kept from call to call, so that reading does not
/// allocate once it has grown to what the plugin needs.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    /// The last one is being filled. Owned; only ever added to while the arena is shared.
    chunks: UnsafeCell<Vec<NonNull<[u8]>>>,
    /// How much of the last one is taken.
    used: Cell<usize>,
}

/// The first chunk's size: enough for a handful of fields.
const CHUNK: usize = 512;

/// A chunk that is larger than this is not kept for the next call.
const KEPT: usize = 64 * 1024;

// SAFETY: it owns its chunks, and nobody else knows where they are.
unsafe impl Send for Arena {}

impl Arena {
    pub(crate) const fn new() -> Arena {
        Arena { chunks: UnsafeCell::new(Vec::new()), used: Cell::new(0) }
    }

    /// Forgets what was read. Keeps the largest chunk if it is of a decent size.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if self.used.get() != 0 {
            self.clear_used();
        }
    }

    #[cold]
    #[inline(never)]
    fn clear_used(&mut self) {
        self.used.set(0);
        let chunks = self.chunks.get_mut();
        if matches!(chunks[..], [only] if only.len() <= KEPT) {
            return;
        }
        let kept = chunks.pop_if(|last| last.len() <= KEPT);
        for chunk in chunks.drain(..) {
            release(chunk);
        }
        chunks.extend(kept);
    }

    /// What is free in the last chunk: address and size. Anything may be written there.
    fn room(&self) -> (*mut u8, usize) {
        // SAFETY: no reference to the list of chunks outlives a function of this type, and none of them calls another
        // while it holds one.
        match unsafe { (*self.chunks.get()).last() } {
            // SAFETY: `used` is never more than the size of the last chunk.
            Some(chunk) => unsafe { (chunk.as_ptr().cast::<u8>().add(self.used.get()), chunk.len() - self.used.get()) },
            None => (NonNull::dangling().as_ptr(), 0),
        }
    }

    /// Adds a chunk with at least so much room.
    #[cold]
    #[inline(never)]
    fn grow(&self, size: usize) {
        let (_, left) = self.room();
        let chunk = vec![0u8; size.max(CHUNK).max(2 * (self.used.get() + left))].into_boxed_slice();
        // SAFETY: as in `room`. A box is never null.
        unsafe { (*self.chunks.get()).push(NonNull::new_unchecked(Box::into_raw(chunk))) };
        self.used.set(0);
    }

    /// Makes the first bytes of the room part of what was read.
    fn take(&self, size: usize) -> &[u8] {
        let (start, room) = self.room();
        let size = size.min(room);
        self.used.set(self.used.get() + size);
        // SAFETY: these bytes were free, were written when the chunk was made, and will not be written again before
        // `clear`, which nobody can call while this reference lives.
        unsafe { slice::from_raw_parts(start, size) }
    }

    /// Reads with a function that copies as much as there is room for and tells how much there is, or a negative number.
    #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
    pub(crate) fn read(&self, mut ask: impl FnMut(*mut u8, usize) -> i32) -> Option<&[u8]> {
        if self.room().1 == 0 {
            self.grow(CHUNK);
        }
        // What is shared with other workers can have grown until it is asked for again, but hardly twice.
        for _ in 0..3 {
            let (start, room) = self.room();
            let size = usize::try_from(ask(start, room)).ok()?;
            if size <= room {
                return Some(self.take(size));
            }
            self.grow(size);
        }
        None
    }

    /// Copies bytes in.
    #[cfg_attr(target_arch = "wasm32", allow(dead_code))]
    pub(crate) fn copy(&self, bytes: &[u8]) -> &[u8] {
        if self.room().1 < bytes.len() {
            self.grow(bytes.len());
        }
        let (start, _) = self.room();
        // SAFETY: there is room for these bytes, and it belongs to no reference.
        unsafe { start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        self.take(bytes.len())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for chunk in self.chunks.get_mut().drain(..) {
            release(chunk);
        }
    }
}

fn release(chunk: NonNull<[u8]>) {
    // SAFETY: it came from `Box::into_raw` in `grow` and has been taken off the list.
    drop(unsafe { Box::from_raw(slice_from_raw_parts_mut(chunk.as_ptr().cast::<u8>(), chunk.len())) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_type() {
        assert_eq!(column::NAMED, Column::ALL);
    }

    #[test]
    fn what_was_read_stays_while_more_is_read() {
        let arena = Arena::new();
        let texts: Vec<Vec<u8>> = (0..200u32).map(|n| vec![n as u8; (n * 7 % 301) as usize]).collect();
        let read: Vec<&[u8]> = texts.iter().map(|text| arena.copy(text)).collect();
        assert_eq!(read, texts);
    }

    #[test]
    fn a_buffer_that_is_too_small_is_asked_for_again() {
        let arena = Arena::new();
        let text = vec![7u8; 5000];
        let mut asked = 0;
        let read = arena.read(|start, room| {
            asked += 1;
            let size = text.len().min(room);
            // SAFETY: the arena promises `room` bytes at `start`.
            unsafe { start.copy_from_nonoverlapping(text.as_ptr(), size) };
            text.len() as i32
        });
        assert_eq!((read, asked), (Some(text.as_slice()), 2));
        assert_eq!(arena.read(|_, _| -1), None);
        assert_eq!(arena.read(|_, room| room as i32 + 1), None);
    }

    #[test]
    fn an_arena_that_was_cleared_does_not_grow_again() {
        let mut arena = Arena::new();
        arena.copy(&[1; 3000]);
        arena.copy(&[2; 9000]);
        arena.clear();
        let before = arena.room();
        for _ in 0..10 {
            arena.copy(&[3; 800]);
            arena.clear();
            assert_eq!(arena.room(), before);
        }
        arena.copy(&vec![4; 2 * KEPT]);
        arena.clear();
        assert_eq!(arena.room().1, 0);
    }
}
