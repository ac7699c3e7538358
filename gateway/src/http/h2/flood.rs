//! How often a peer may do what is cheap for it and not for us. Pure: time is given.
//!
//! In: events with their time. Out: whether that was one too many. Each bound is a row of the limits; the memory is
//! a count and a time for each.

use std::time::{Duration, Instant};

use super::settings::Role;
use crate::limits::Limits;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// A stream that the peer reset, or that we had to reset by its fault: work was begun for nothing.
    Reset,
    /// A frame that carries nothing: SETTINGS, PING, PRIORITY, a WINDOW_UPDATE that no data called for, …
    Control,
    /// An empty DATA, HEADERS or CONTINUATION frame.
    Empty,
    /// A DATA frame with less than [`SMALL`] bytes.
    Small,
}

/// A frame of fewer bytes costs more than its data is worth. Typing, and messages of a few bytes, come in such frames too, so
/// there may be many of them.
pub(super) const SMALL: usize = 16;

/// The counters of one connection.
pub(super) struct Flood {
    since: Instant,
    resets: Count,
    control: Count,
    empty: Count,
    small: Count,
    /// How many WINDOW_UPDATE frames the data that was sent explains.
    updates: u32,
}

struct Count {
    count: u32,
    limit: u32,
}

/// Updates that may be saved up: a peer can hold them back and send many at once.
const MOST_UPDATES: u32 = 1 << 16;

/// So many times what a client may do is allowed to an upstream, which is trusted with more: its one connection carries what many
/// clients ask for, and each message of a stream may bring a PING.
const TRUST: u32 = 10;

impl Flood {
    pub(super) fn new(role: Role, limits: &Limits, now: Instant) -> Flood {
        let factor = if role == Role::Client { TRUST } else { 1 };
        let count = |limit: u32| Count { count: 0, limit: limit.saturating_mul(factor) };
        Flood {
            since: now,
            resets: count(limits.http2_resets_per_second),
            control: count(limits.http2_control_frames_per_second),
            empty: count(limits.http2_empty_frames_per_second),
            small: count(limits.http2_small_frames_per_second),
            updates: 16,
        }
    }

    /// Counts an event; `Some(label)` when it is more than allowed in this second.
    pub(super) fn count(&mut self, event: Event, now: Instant) -> Option<&'static str> {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            self.since = now;
            for count in [&mut self.resets, &mut self.control, &mut self.empty, &mut self.small] {
                count.count = 0;
            }
        }
        let (count, label) = match event {
            Event::Reset => (&mut self.resets, "reset-flood"),
            Event::Control => (&mut self.control, "control-flood"),
            Event::Empty => (&mut self.empty, "empty-flood"),
            Event::Small => (&mut self.small, "small-frame-flood"),
        };
        count.count += 1;
        (count.count > count.limit).then_some(label)
    }

    /// A DATA frame was sent: its bytes may come back as updates of its stream and of the connection.
    pub(super) fn sent(&mut self, bytes: usize) {
        let updates = 2 + bytes as u32 / 1024;
        self.updates = (self.updates + updates).min(MOST_UPDATES);
    }

    /// A WINDOW_UPDATE came; `Some(label)` when neither data nor the limit allows it.
    pub(super) fn updated(&mut self, now: Instant) -> Option<&'static str> {
        match self.updates.checked_sub(1) {
            Some(left) => {
                self.updates = left;
                None
            }
            None => self.count(Event::Control, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_bounded_by_the_second() {
        let limits = Limits { http2_resets_per_second: 2, ..Limits::default() };
        let start = Instant::now();
        let mut flood = Flood::new(Role::Server, &limits, start);
        assert_eq!(flood.count(Event::Reset, start), None);
        assert_eq!(flood.count(Event::Empty, start), None);
        assert_eq!(flood.count(Event::Reset, start), None);
        assert_eq!(flood.count(Event::Reset, start), Some("reset-flood"));
        assert_eq!(flood.count(Event::Reset, start + Duration::from_secs(1)), None);
    }

    #[test]
    fn an_upstream_may_do_more() {
        let limits = Limits { http2_control_frames_per_second: 2, ..Limits::default() };
        let now = Instant::now();
        let mut flood = Flood::new(Role::Client, &limits, now);
        for _ in 0..2 * TRUST {
            assert_eq!(flood.count(Event::Control, now), None);
        }
        assert_eq!(flood.count(Event::Control, now), Some("control-flood"));
    }

    #[test]
    fn updates_are_free_as_far_as_data_explains_them() {
        let limits = Limits { http2_control_frames_per_second: 1, ..Limits::default() };
        let now = Instant::now();
        let mut flood = Flood::new(Role::Server, &limits, now);
        flood.sent(10);
        for _ in 0..18 {
            assert_eq!(flood.updated(now), None);
        }
        assert_eq!(flood.updated(now), None);
        assert_eq!(flood.updated(now), Some("control-flood"));
    }
}
