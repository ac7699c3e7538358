//! What was thrown away while entries were on their way into the index: waiting to be written, or not yet found after a start.
//!
//! In: orders, each with its stamp. Out: whether an entry with an older one is concerned. Pure. Invariant: an order is never
//! forgotten before those that it may concern; when there are too many to hold, they become one that throws everything away.

use std::collections::HashMap;

use twox_hash::XxHash3_64;

use crate::cache::store::Purge;

/// Orders that are held; beyond that, everything goes.
const MOST: usize = 64 << 10;
const MOST_PATTERNS: usize = 256;
const MOST_BYTES: usize = 8 << 20;

/// What was ordered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Order {
    /// It concerns what has a lower one.
    pub(super) stamp: u64,
    /// To ask the origin first, and not to throw it away.
    pub(super) softly: bool,
    /// Which entries.
    pub(super) what: Purge,
}

/// Those that may still concern something.
#[derive(Debug, Default)]
pub(super) struct Orders {
    urls: HashMap<String, u64>,
    patterns: Vec<Order>,
    bytes: usize,
}

/// What an order means for an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Fate {
    /// Nothing.
    Stays,
    /// It is stale.
    Stale,
    /// It goes.
    Goes,
}

impl Purge {
    /// Whether it means an entry.
    pub fn means<T: AsRef<str>>(&self, url: &str, tags: &[T]) -> bool {
        match self {
            Purge::Url(one) => one == url,
            Purge::Prefix(prefix) => url.starts_with(prefix.as_str()),
            Purge::Tag(tag) => tags.iter().any(|one| one.as_ref() == tag),
            Purge::Everything => true,
        }
    }

    fn text(&self) -> (u8, &str) {
        match self {
            Purge::Url(text) => (0, text),
            Purge::Prefix(text) => (1, text),
            Purge::Tag(text) => (2, text),
            Purge::Everything => (3, ""),
        }
    }
}

impl Orders {
    /// One more.
    pub(super) fn add(&mut self, order: Order) {
        self.bytes += order.what.text().1.len();
        let stamp = order.stamp;
        match order {
            Order { what: Purge::Url(url), softly: false, .. } => {
                self.urls.insert(url, stamp);
            }
            order => self.patterns.push(order),
        }
        if self.urls.len() > MOST || self.patterns.len() > MOST_PATTERNS || self.bytes > MOST_BYTES {
            self.forget();
            self.patterns.push(Order { stamp, softly: false, what: Purge::Everything });
        }
    }

    /// What they mean for an entry.
    pub(super) fn fate<T: AsRef<str>>(&self, stamp: u64, url: &str, tags: &[T]) -> Fate {
        if self.urls.get(url).is_some_and(|order| stamp < *order) {
            return Fate::Goes;
        }
        let meant = self.patterns.iter().filter(|order| stamp < order.stamp && order.what.means(url, tags));
        meant.map(|order| if order.softly { Fate::Stale } else { Fate::Goes }).max().unwrap_or(Fate::Stays)
    }

    /// None concerns anything any more.
    pub(super) fn forget(&mut self) {
        *self = Orders::default();
    }

    /// All of them, now with this stamp.
    pub(super) fn restamped(&mut self, stamp: u64) -> Vec<Order> {
        self.urls.values_mut().for_each(|old| *old = stamp);
        self.patterns.iter_mut().for_each(|order| order.stamp = stamp);
        let urls = self.urls.keys().map(|url| Order { stamp, softly: false, what: Purge::Url(url.clone()) });
        urls.chain(self.patterns.iter().cloned()).collect()
    }
}

impl Order {
    /// As it stands in the journal: length, sum, and the rest.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let (kind, text) = self.what.text();
        let mut rest = self.stamp.to_le_bytes().to_vec();
        rest.extend_from_slice(&[u8::from(self.softly), kind]);
        rest.extend_from_slice(text.as_bytes());
        let mut bytes = u32::try_from(rest.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        bytes.extend_from_slice(&XxHash3_64::oneshot(&rest).to_le_bytes());
        bytes.extend_from_slice(&rest);
        bytes
    }

    fn of(bytes: &[u8]) -> Option<Order> {
        let (stamp, rest) = bytes.split_first_chunk()?;
        let ([softly, kind], text) = rest.split_first_chunk()?;
        let text = String::from_utf8(text.to_vec()).ok()?;
        let what = match kind {
            0 => Purge::Url(text),
            1 => Purge::Prefix(text),
            2 => Purge::Tag(text),
            3 => Purge::Everything,
            _ => return None,
        };
        Some(Order { stamp: u64::from_le_bytes(*stamp), softly: *softly != 0, what })
    }
}

/// What stands in a journal. One that was only begun was promised to nobody. `None`: it is damaged, so nobody knows what it
/// said.
pub(super) fn journal(mut bytes: &[u8]) -> Option<Vec<Order>> {
    let mut orders = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let Some((sum, rest)) = rest.split_first_chunk() else { break };
        let Some((own, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize) else { break };
        if XxHash3_64::oneshot(own).to_le_bytes() != *sum {
            return None;
        }
        orders.push(Order::of(own)?);
        bytes = rest;
    }
    Some(orders)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(stamp: u64, softly: bool, what: Purge) -> Order {
        Order { stamp, softly, what }
    }

    #[test]
    fn orders_concern_what_is_older_than_they() {
        let mut orders = Orders::default();
        orders.add(order(5, false, Purge::Url("/a".to_owned())));
        orders.add(order(6, true, Purge::Prefix("/b".to_owned())));
        orders.add(order(7, false, Purge::Tag("t".to_owned())));
        let fate = |stamp, url, tags: &[&str]| orders.fate(stamp, url, tags);
        for (stamp, url, tags, expected) in [
            (4, "/a", &[][..], Fate::Goes),
            (5, "/a", &[], Fate::Stays),
            (4, "/aa", &[], Fate::Stays),
            (5, "/bb", &[], Fate::Stale),
            (6, "/bb", &[], Fate::Stays),
            (5, "/bb", &["s", "t"], Fate::Goes),
            (6, "/c", &["t"], Fate::Goes),
        ] {
            assert_eq!(fate(stamp, url, tags), expected, "{stamp} {url}");
        }
    }

    #[test]
    fn too_many_orders_are_one_about_everything() {
        let mut orders = Orders::default();
        for number in 0..=MOST as u64 {
            assert_eq!(orders.fate(0, "/other", &[""; 0]), Fate::Stays);
            orders.add(order(number + 1, false, Purge::Url(format!("/{number}"))));
        }
        assert_eq!(orders.fate(MOST as u64, "/other", &[""; 0]), Fate::Goes);
        assert_eq!(orders.fate(MOST as u64 + 1, "/other", &[""; 0]), Fate::Stays);
    }

    #[test]
    fn a_journal_says_all_or_that_it_cannot_be_believed() {
        let all = [
            order(1, false, Purge::Url("http://x/ä".to_owned())),
            order(2, true, Purge::Prefix("http://x/".to_owned())),
            order(3, false, Purge::Tag("t".to_owned())),
            order(u64::MAX, true, Purge::Everything),
        ];
        let bytes: Vec<u8> = all.iter().flat_map(Order::bytes).collect();
        assert_eq!(journal(&bytes).unwrap(), all);
        for end in 0..bytes.len() {
            let begun = journal(&bytes[..end]).unwrap();
            assert_eq!(begun, all[..begun.len()]);
        }
        for at in 12..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            // Where a length is other, it may seem to be only begun.
            assert!(journal(&other).is_none_or(|orders| orders.len() < all.len()), "{at}");
        }
    }
}
