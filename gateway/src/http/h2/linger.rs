//! Requests that were answered before they ended: what is left of their bodies is read and thrown away, for a while.
//!
//! RFC 9113 section 8.1 lets a server reset such a stream at once, with NO_ERROR. Clients that see the reset while they still
//! send tend to lose the answer over it, as they do in HTTP/1 when the connection is reset; so they are let finish first.
//!
//! Bounds: `discard_size` bytes and [`LINGER_TIME`] for each stream; such streams stay open and count towards `http2_streams`.

use std::time::{Duration, Instant};

use super::core::Core;
use super::frame::{self, Code, kind};
use crate::error::{Kind, Retry};

/// How long a client whose request was answered may go on sending it.
const LINGER_TIME: Duration = Duration::from_secs(2);

impl Core {
    /// The answer is complete, the request is not: lets the client send the rest, which nobody will see.
    pub(super) fn linger(&mut self, key: usize) {
        let error = self.peer_error(Kind::Closed, Retry::Never);
        let most = self.limits.discard_size;
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.discard_left.is_none()) else { return };
        stream.discard_left = Some(most);
        // A client that was told of success sends on to the end. When that is too far, it had better know at once.
        if stream.succeeded && stream.length_left.is_some_and(|left| left > most) {
            return self.end_lingering(key);
        }
        let id = stream.id;
        stream.unwanted = true;
        // Whoever still reads the body has no use for it.
        stream.error.get_or_insert(error);
        stream.trailers = None;
        let unread = stream.discard();
        stream.wake_all();
        // All of it at once: nothing is given back later.
        if let Some(increment) = stream.receive_window.widen(most) {
            self.out.write(|out| frame::write(kind::WINDOW_UPDATE, 0, id, &increment.to_be_bytes(), out));
        }
        self.give(unread);
        self.lingering.push_back((Instant::now() + LINGER_TIME.min(self.limits.body_idle_time), id));
        // The connection's task keeps the time.
        self.notify();
    }

    /// Counts what came on a stream that lingers; false when that is too much.
    pub(super) fn may_discard(&mut self, key: usize, bytes: usize) -> bool {
        let Some(stream) = self.streams.get_mut(key) else { return true };
        let Some(left) = &mut stream.discard_left else { return true };
        let within = left.checked_sub(bytes as u64);
        *left = within.unwrap_or(0);
        within.is_some()
    }

    /// The request ended after all: its share of the connection's window goes back now. There are clients that notice the end
    /// of the answer only when something more comes.
    pub(super) fn lingered(&mut self) {
        if let Some(increment) = self.receive_window.give_all() {
            self.out.write(|out| frame::write(kind::WINDOW_UPDATE, 0, 0, &increment.to_be_bytes(), out));
            self.notify();
        }
    }

    /// Resets a stream whose client has had its time, or has sent too much.
    pub(super) fn end_lingering(&mut self, key: usize) {
        let Some(stream) = self.streams.get(key) else { return };
        let left = stream.discard_left.unwrap_or(0);
        if left == 0 || stream.length_left.is_some_and(|length| length > left) {
            self.hits.add("discard_size");
        }
        self.reset(key, Code::NO_ERROR, self.peer_error(Kind::Closed, Retry::Never));
    }

    /// Resets those whose time is over.
    pub(super) fn end_overdue(&mut self) {
        while let Some(&(_, id)) = self.lingering.front().filter(|(until, _)| *until <= self.now) {
            self.lingering.pop_front();
            if let Some(key) = self.find(id) {
                self.end_lingering(key);
            }
        }
    }
}
