//! Flow-control windows (RFC 9113 sections 5.2 and 6.9). Pure.

use super::settings::MAX_WINDOW;

/// What may still be sent. Negative after the peer made its initial window smaller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SendWindow(i64);

impl SendWindow {
    pub(super) fn new(size: u32) -> SendWindow {
        SendWindow(i64::from(size))
    }

    /// How many bytes may be sent now.
    pub(super) fn room(self) -> usize {
        self.0.max(0) as usize
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.0 -= bytes as i64;
    }

    /// WINDOW_UPDATE, or a change of the initial size; `None` when the window would be too large.
    pub(super) fn change(&mut self, by: i64) -> Option<()> {
        let size = self.0 + by;
        if size > i64::from(MAX_WINDOW) {
            return None;
        }
        self.0 = size;
        Some(())
    }
}

/// What the peer may still send, and what of it was used up here but not yet given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ReceiveWindow {
    left: u32,
    used: u32,
}

impl ReceiveWindow {
    pub(super) fn new(size: u32) -> ReceiveWindow {
        ReceiveWindow { left: size, used: 0 }
    }

    /// Bytes arrived; `None` when they are more than were allowed.
    pub(super) fn take(&mut self, bytes: usize) -> Option<()> {
        self.left = self.left.checked_sub(u32::try_from(bytes).ok()?)?;
        Some(())
    }

    /// Allows so many bytes from now on, if that is more than before. Returns the increment to announce.
    pub(super) fn widen(&mut self, room: u64) -> Option<u32> {
        let room = room.min(u64::from(MAX_WINDOW)) as u32;
        let increment = room.checked_sub(self.left).filter(|increment| *increment > 0)?;
        self.left = room;
        Some(increment)
    }

    /// Bytes were consumed. Returns the increment to announce, once it is worth a frame: as much as the peer has left, which
    /// is half of the window unless others hold a part of it.
    pub(super) fn give(&mut self, bytes: usize) -> Option<u32> {
        self.used = self.used.saturating_add(bytes as u32);
        if self.used == 0 || self.used < self.left { None } else { self.give_all() }
    }

    /// Returns the increment that gives back all that was consumed.
    pub(super) fn give_all(&mut self) -> Option<u32> {
        let increment = std::mem::take(&mut self.used);
        self.left = self.left.saturating_add(increment);
        Some(increment).filter(|increment| *increment > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_window_may_be_negative_but_not_too_large() {
        let mut window = SendWindow::new(10);
        window.take(8);
        window.change(-5).unwrap();
        assert_eq!(window.room(), 0);
        window.change(4).unwrap();
        assert_eq!(window.room(), 1);
        assert_eq!(window.change(i64::from(MAX_WINDOW)), None);
        assert_eq!(window.room(), 1);
    }

    #[test]
    fn credit_is_given_back_by_halves() {
        let mut window = ReceiveWindow::new(10);
        window.take(4).unwrap();
        assert_eq!(window.give(4), None);
        window.take(1).unwrap();
        assert_eq!(window.give(1), Some(5));
        window.take(10).unwrap();
        assert_eq!(window.take(1), None);
    }

    #[test]
    fn what_is_not_read_leaves_the_rest_of_the_window_in_use() {
        let mut window = ReceiveWindow::new(10);
        // Eight of which nobody ever reads.
        window.take(8).unwrap();
        for _ in 0..10 {
            window.take(2).unwrap();
            assert_eq!(window.give(0), None);
            assert_eq!(window.give(2), Some(2));
        }
        assert_eq!(window.take(3), None);
    }

    #[test]
    fn a_receive_window_can_be_made_as_large_as_what_is_to_come() {
        let mut window = ReceiveWindow::new(10);
        window.take(8).unwrap();
        assert_eq!((window.widen(2), window.widen(5), window.widen(4)), (None, Some(3), None));
        window.take(5).unwrap();
        assert_eq!(window.take(1), None);
    }
}
