//! What the folder says of itself, and whether the clock can be believed.
//!
//! In: the clock on the wall, and one that only goes forward. Out: whether the former went back. Pure. Entries are as old as the
//! clock on the wall says, for nothing else goes on while no gateway runs. When that clock goes back, what was kept before
//! would be fresh for too long, so everything older than that moment is doubtful: its origin is asked first.

use std::time::Duration;

use twox_hash::XxHash3_64;

/// What the clock may go back without anybody minding, in seconds.
pub(super) const TOLERANCE: u64 = 5;

const MAGIC: u64 = u64::from_le_bytes(*b"gwstate\x01");

/// So many stamps belong to one life of a gateway.
const STAMPS: u32 = 40;

/// What is written down in the folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct State {
    /// Counts the lives of gateways on this folder.
    pub(super) generation: u64,
    /// The latest that the clock has ever said, in Unix seconds.
    pub(super) mark: u64,
    /// Heads with lower stamps are of doubtful age.
    pub(super) doubtful: u64,
}

impl State {
    /// As it is written.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let words = [MAGIC, self.generation, self.mark, self.doubtful];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend_from_slice(&XxHash3_64::oneshot(&bytes).to_le_bytes());
        bytes
    }

    /// From what was written.
    pub(super) fn of(bytes: &[u8]) -> Option<State> {
        let (words, sum) = bytes.split_last_chunk()?;
        if XxHash3_64::oneshot(words).to_le_bytes() != *sum {
            return None;
        }
        let mut words = words.chunks_exact(8).filter_map(|word| Some(u64::from_le_bytes(word.try_into().ok()?)));
        let (magic, generation, mark, doubtful) = (words.next()?, words.next()?, words.next()?, words.next()?);
        (magic == MAGIC && words.next().is_none() && generation < 1 << (63 - STAMPS)).then_some(State {
            generation,
            mark,
            doubtful,
        })
    }

    /// The next life.
    #[must_use]
    pub(super) fn next(self, now: u64) -> State {
        let next = State { generation: self.generation + 1, mark: now, ..self };
        match now + TOLERANCE < self.mark {
            true => State { doubtful: next.first_stamp(), ..next },
            false => State { mark: now.max(self.mark), ..next },
        }
    }

    /// All that was there before has lower ones.
    pub(super) fn first_stamp(&self) -> u64 {
        self.generation << STAMPS
    }
}

/// Looks at both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// How far the one on the wall was ahead.
    ahead: u64,
}

impl Watch {
    /// Whether the clock on the wall has gone back.
    pub(super) fn went_back(&mut self, wall: u64, uptime: Duration) -> bool {
        let ahead = wall.saturating_sub(uptime.as_secs());
        let went_back = ahead + TOLERANCE < self.ahead;
        self.ahead = if went_back { ahead } else { ahead.max(self.ahead) };
        went_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_down_is_read_or_not_believed() {
        let state = State { generation: 3, mark: 1_700_000_000, doubtful: 7 };
        let bytes = state.bytes();
        assert_eq!(State::of(&bytes), Some(state));
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 4;
            assert_eq!((State::of(&other), State::of(&bytes[..at])), (None, None));
        }
    }

    #[test]
    fn a_clock_that_went_back_makes_everything_doubtful_once() {
        let state = State { generation: 3, mark: 1000, doubtful: 0 };
        assert_eq!(state.next(1000 - TOLERANCE), State { generation: 4, mark: 1000, doubtful: 0 });
        let doubtful = state.next(1000 - TOLERANCE - 1);
        assert_eq!(doubtful, State { generation: 4, mark: 994, doubtful: doubtful.first_stamp() });
        assert_eq!(doubtful.next(995), State { generation: 5, mark: 995, doubtful: doubtful.first_stamp() });
        assert!(state.first_stamp() < doubtful.first_stamp());
    }

    #[test]
    fn a_running_gateway_notices_it_too() {
        let (mut watch, second) = (Watch::default(), Duration::from_secs);
        assert!(!watch.went_back(1000, second(5)));
        assert!(!watch.went_back(1010, second(15)));
        assert!(!watch.went_back(1006, second(16)));
        assert!(watch.went_back(1000, second(17)));
        assert!(!watch.went_back(1001, second(18)));
        assert!(!watch.went_back(5000, second(19)));
        assert!(watch.went_back(1003, second(20)));
    }
}
