//! The gateway's log: `log::warn!("no endpoint in zone {zone}")`, and so `error`, `info` and `debug`.
//!
//! A line has up to 1024 bytes; the gateway takes 20 of one plugin in a second.

use std::fmt;

use gatewright_abi::bound;

use crate::sys;

pub use crate::{__debug as debug, __error as error, __info as info, __warn as warn};

/// Writes a line of this level; the macros call it.
#[doc(hidden)]
#[cold]
#[inline(never)]
pub fn write(level: u32, text: fmt::Arguments<'_>) {
    if let Some(text) = text.as_str() {
        sys::log(level, text.as_bytes());
        return;
    }
    let mut line = Line { bytes: [0; bound::LOG_BYTES], size: 0 };
    // It fails when the line is full; then what fits is logged.
    let _ = fmt::write(&mut line, text);
    sys::log(level, line.bytes.get(..line.size).unwrap_or_default());
}

/// A line without an allocation, so that a plugin without memory can still say so.
struct Line {
    bytes: [u8; bound::LOG_BYTES],
    size: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.size..).unwrap_or_default();
        let size = text.floor_char_boundary(room.len());
        for (place, byte) in room.iter_mut().zip(text.bytes().take(size)) {
            *place = byte;
        }
        self.size += size;
        if size < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Something failed.
#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($text:tt)*) => {
        $crate::log::write($crate::__private::level::ERROR, ::core::format_args!($($text)*))
    };
}

/// Something looks wrong.
#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($text:tt)*) => {
        $crate::log::write($crate::__private::level::WARN, ::core::format_args!($($text)*))
    };
}

/// Worth knowing.
#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($text:tt)*) => {
        $crate::log::write($crate::__private::level::INFO, ::core::format_args!($($text)*))
    };
}

/// For finding a mistake.
#[doc(hidden)]
#[macro_export]
macro_rules! __debug {
    ($($text:tt)*) => {
        $crate::log::write($crate::__private::level::DEBUG, ::core::format_args!($($text)*))
    };
}
