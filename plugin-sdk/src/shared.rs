//! State that all workers share, and that stays when a version follows another: 64 numbers, values by key, a secret. They belong
//! to the plugin, by its name in the configuration; no other plugin sees them.

use std::time::Duration;

use gatewright_abi::bound;

use crate::request::taken;
use crate::sys::{self, Arena};

/// A number that all workers share. Begins as 0.
///
/// ```
/// use gatewright_sdk::shared::Slot;
///
/// const SEEN: Slot = Slot::new(0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(u32);

impl Slot {
    /// The slot with this number: 0 to 63. In a constant, another number does not compile.
    pub const fn new(number: u32) -> Slot {
        assert!(number < bound::SLOTS, "a plugin has 64 slots, 0 to 63");
        Slot(number)
    }

    /// What is in it.
    pub fn load(self) -> i64 {
        sys::slot_load(self.0)
    }

    /// Puts something in.
    pub fn store(self, value: i64) {
        sys::slot_store(self.0, value);
    }

    /// Adds to it; what was in it before.
    pub fn fetch_add(self, by: i64) -> i64 {
        sys::slot_add(self.0, by)
    }

    /// Puts something in if it is as expected; otherwise, what it is instead.
    pub fn compare_exchange(self, expected: i64, value: i64) -> Result<(), i64> {
        match sys::slot_swap(self.0, expected, value) {
            found if found == expected => Ok(()),
            found => Err(found),
        }
    }
}

/// The value of this key.
pub fn get(key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    let arena = Arena::new();
    sys::shared_get(&arena, key.as_ref()).map(<[u8]>::to_vec)
}

/// Gives a key a value, for ever or for some time. Whether there was room for it; if not, that is logged.
pub fn set(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, life: Option<Duration>) -> bool {
    let ms = life.map_or(0, |life| u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1));
    taken("shared value", "", sys::shared_set(key.as_ref(), value.as_ref(), ms))
}

/// Removes a key. Whether it was there.
pub fn remove(key: impl AsRef<[u8]>) -> bool {
    sys::shared_remove(key.as_ref()) >= 0
}

/// 32 bytes that nobody else knows, to sign with. They are the same for all workers and versions as long as the gateway runs, and
/// others when it starts anew; for several gateways take a secret from the configuration.
pub fn secret() -> [u8; 32] {
    sys::secret()
}
