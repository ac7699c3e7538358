//! What plugins want of the cache for one request.
//!
//! In: what routers and filters say of it. Out: what tells its answers from others', whether it goes past the cache, and how its
//! answer is kept. Bounded by parts and their bytes: what has no room goes past the cache, since without its part a request
//! would get another's answer.

use gatewright_abi::bound;

use super::key::Part;
use super::policy::advice::Advice;

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    part: Part,
    count: usize,
    bypass: bool,
    /// How the answer is kept.
    pub advice: Advice,
}

impl Wishes {
    /// This plugin adds a part to the key.
    pub fn add_key(&mut self, plugin: &str, part: &[u8]) {
        self.count += 1;
        if self.count > bound::CACHE_KEYS || part.len() > bound::CACHE_BYTES {
            return self.bypass();
        }
        self.part = self.part.with(plugin, part);
    }

    /// It goes past the cache.
    pub fn bypass(&mut self) {
        self.bypass = true;
    }

    /// Whether it does.
    pub fn is_past(&self) -> bool {
        self.bypass
    }

    /// What was added to the key.
    pub fn part(&self) -> &Part {
        &self.part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_goes_past_the_cache() {
        let mut wishes = Wishes::default();
        (0..bound::CACHE_KEYS).for_each(|_| wishes.add_key("a", &[7; bound::CACHE_BYTES]));
        assert!(!wishes.is_past());
        wishes.add_key("a", b"");
        assert!(wishes.is_past());
        let mut wishes = Wishes::default();
        wishes.add_key("a", &[7; bound::CACHE_BYTES + 1]);
        assert!(wishes.is_past());
    }
}
