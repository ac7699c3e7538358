//! What lies in the folder, in memory.
//!
//! In: entries that lie there whole. Out: where the one lies that answers a request, and which files are to go. Pure. Bounded by
//! bytes on disk, files, and memory for itself. What goes first is what was not used since it was last looked at, oldest first
//! (SIEVE): one bit for a use, nothing is moved.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::folder::Spot;
use super::format::{Head, Place};
use super::orders::Fate;
use crate::cache::store::Purge;

/// Variants of one URL; of more, the oldest go.
const MOST_VARIANTS: usize = 64;

/// The disk gives room in such pieces.
const BLOCK: u64 = 4096;

/// What one takes beside its texts: its place here, and a file's beside its blocks.
const OVERHEAD: u64 = 256;

/// No place.
const NONE: u32 = u32::MAX;

/// How much may lie there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Bytes on disk.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// Bytes of this index.
    pub memory: u64,
}

/// One entry.
#[derive(Clone, Debug)]
pub struct Known {
    url: Box<str>,
    place: Place,
    names: Box<[String]>,
    selecting: Box<[u8]>,
    tags: Box<[String]>,
    /// Where it lies.
    pub(super) spot: Spot,
    /// That of its head.
    pub(super) stamp: u64,
    /// Bytes of its file.
    pub(super) size: u64,
    /// Bytes of its body.
    pub length: u64,
    /// It is not to be given without asking.
    pub is_stale: bool,
}

/// Where an entry lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    at: u32,
    /// Its file.
    pub(super) spot: Spot,
    /// As many bytes of that count.
    pub(super) size: u64,
    /// Bytes of its body.
    pub length: u64,
    /// That of its head.
    pub(super) stamp: u64,
    /// It is not to be given without asking.
    pub is_stale: bool,
}

#[derive(Debug)]
struct Slot {
    known: Known,
    is_used: bool,
    /// Neighbours by age.
    newer: u32,
    older: u32,
    /// The next one whose URL has the same hash.
    next: u32,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Index {
    bounds: Bounds,
    slots: slab::Slab<Slot>,
    heads: HashMap<u64, u32>,
    hasher: RandomState,
    newest: u32,
    oldest: u32,
    hand: u32,
    bytes: u64,
    memory: u64,
}

impl Known {
    /// From the head of a file of this size.
    pub(super) fn new(head: &Head, spot: Spot, size: u64, length: u64) -> Known {
        Known {
            url: head.url.as_str().into(),
            place: head.place,
            names: head.vary.0.as_slice().into(),
            selecting: head.vary.1.as_slice().into(),
            tags: head.tags.as_slice().into(),
            spot,
            stamp: head.stamp,
            size,
            length,
            is_stale: head.is_stale,
        }
    }

    /// What it is the answer to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Names that it can be purged by.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Bytes that the disk gives for it.
    pub fn on_disk(&self) -> u64 {
        self.size.div_ceil(BLOCK) * BLOCK
    }

    fn in_memory(&self) -> u64 {
        let texts = |list: &[String]| list.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
        OVERHEAD + (self.url.len() + self.selecting.len() + texts(&self.names) + texts(&self.tags)) as u64
    }

    /// Whether there is room for it at all.
    pub(super) fn fits(&self, bounds: &Bounds) -> bool {
        self.on_disk() <= bounds.bytes && self.in_memory() <= bounds.memory && bounds.files > 0
    }

    /// Whether it answers the same requests as one with this head.
    pub(super) fn is_for(&self, head: &Head) -> bool {
        *self.url == head.url
            && self.place == head.place
            && *self.names == *head.vary.0
            && *self.selecting == *head.vary.1
    }

    fn is_same(&self, other: &Known) -> bool {
        self.url == other.url && self.place == other.place
    }
}

impl Index {
    /// An empty one.
    pub(super) fn new(bounds: Bounds) -> Index {
        Index {
            bounds,
            slots: slab::Slab::new(),
            heads: HashMap::new(),
            hasher: RandomState::new(),
            newest: NONE,
            oldest: NONE,
            hand: NONE,
            bytes: 0,
            memory: 0,
        }
    }

    /// Files, bytes of them on disk, bytes of memory.
    pub(super) fn size(&self) -> (u64, u64, u64) {
        (self.slots.len() as u64, self.bytes, self.memory)
    }

    /// Puts an entry in, and says which files are to go for it: those that it takes the place of, and those that there is no room
    /// for any more. Among them may be its own: when there is a newer one, or it is too large for the whole folder.
    pub(super) fn insert(&mut self, known: Known) -> (Vec<Spot>, Vec<Spot>) {
        let mut replaced = Vec::new();
        let (mut variants, mut oldest, mut at) = (0, NONE, self.first(&known.url));
        while let Some(slot) = self.slot(at) {
            let next = slot.next;
            if slot.known.url == known.url {
                let other = &slot.known;
                // What varies by other fields than the newest is of the past.
                let has_same = other.is_same(&known);
                if has_same && (other.names != known.names || other.selecting == known.selecting) {
                    if other.spot.id > known.spot.id {
                        replaced.push(known.spot);
                        return (replaced, Vec::new());
                    }
                    replaced.extend(self.take(at).map(|known| known.spot));
                } else {
                    variants += 1;
                    oldest = if self.slot(oldest).is_some_and(|before| before.known.spot.id < slot.known.spot.id) {
                        oldest
                    } else {
                        at
                    };
                }
            }
            at = next;
        }
        if variants >= MOST_VARIANTS {
            replaced.extend(self.take(oldest).map(|known| known.spot));
        }
        if !known.fits(&self.bounds) {
            return (replaced, vec![known.spot]);
        }
        let mut evicted = Vec::new();
        while self.bytes + known.on_disk() > self.bounds.bytes
            || self.memory + known.in_memory() > self.bounds.memory
            || self.slots.len() as u64 >= self.bounds.files
        {
            let Some(gone) = self.evict() else { break };
            evicted.push(gone.spot);
        }
        self.put(known);
        (replaced, evicted)
    }

    fn put(&mut self, known: Known) {
        let hash = self.hasher.hash_one(&known.url);
        self.bytes += known.on_disk();
        self.memory += known.in_memory();
        let next = self.heads.get(&hash).copied().unwrap_or(NONE);
        let at = self.slots.insert(Slot { known, is_used: false, newer: NONE, older: self.newest, next }) as u32;
        self.heads.insert(hash, at);
        match self.slot_mut(self.newest) {
            Some(newest) => newest.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }

    /// Where the newest entry lies to which `is_answer` says yes, by the fields that it varies by and what those said.
    pub(super) fn find(
        &mut self,
        url: &str,
        place: &Place,
        mut is_answer: impl FnMut(&[String], &[u8]) -> bool,
    ) -> Option<Ticket> {
        let mut at = self.first(url);
        // Those that came later stand first.
        while let Some(slot) = self.slot_mut(at) {
            let known = &slot.known;
            if *known.url == *url && known.place == *place && is_answer(&known.names, &known.selecting) {
                slot.is_used = true;
                return Some(Ticket::new(at, &slot.known));
            }
            at = slot.next;
        }
        None
    }

    /// The entry whose file has this number.
    pub(super) fn by_id(&self, url: &str, id: u64) -> Option<(Ticket, &Known)> {
        let mut at = self.first(url);
        while let Some(slot) = self.slot(at) {
            if slot.known.spot.id == id {
                return Some((Ticket::new(at, &slot.known), &slot.known));
            }
            at = slot.next;
        }
        None
    }

    /// Another head was put behind its file.
    pub(super) fn grow(&mut self, ticket: &Ticket, size: u64, stamp: u64, is_stale: bool) {
        let Some(slot) = self.held(ticket) else { return };
        let before = slot.known.on_disk();
        (slot.known.size, slot.known.stamp, slot.known.is_stale) = (size, stamp, is_stale);
        let after = slot.known.on_disk();
        self.bytes = self.bytes - before + after;
    }

    /// Takes one out, if it is still there.
    pub(super) fn remove(&mut self, ticket: &Ticket) -> Option<Spot> {
        self.held(ticket)?;
        self.take(ticket.at).map(|known| known.spot)
    }

    /// What is known now of the entry that lay there.
    pub(super) fn current(&mut self, ticket: &Ticket) -> Option<Ticket> {
        let at = ticket.at;
        self.held(ticket).map(|slot| Ticket::new(at, &slot.known))
    }

    /// Takes all out that are the answer to this URL and older than the stamp.
    pub(super) fn remove_url(&mut self, url: &str, stamp: u64) -> Vec<Spot> {
        let (mut at, mut gone) = (self.first(url), Vec::new());
        while let Some(slot) = self.slot(at) {
            let next = slot.next;
            if *slot.known.url == *url && slot.known.stamp < stamp {
                gone.extend(self.take(at).map(|known| known.spot));
            }
            at = next;
        }
        gone
    }

    /// Looks at so many places from there on, and does what was ordered to those that are meant. Gives the next place, if there
    /// is one, and those that were meant.
    pub(super) fn purge(
        &mut self,
        from: usize,
        many: usize,
        what: &Purge,
        fate: Fate,
        stamp: u64,
    ) -> (Option<usize>, Vec<Ticket>) {
        let end = from.saturating_add(many);
        let mut meant = Vec::new();
        for at in from..end.min(self.slots.capacity()) {
            let Some(slot) = self.slots.get_mut(at) else { continue };
            if slot.known.stamp < stamp && what.means(&slot.known.url, &slot.known.tags) {
                slot.known.is_stale = true;
                meant.push(Ticket::new(at as u32, &slot.known));
            }
        }
        if fate == Fate::Goes {
            meant.iter().for_each(|ticket| drop(self.take(ticket.at)));
        }
        ((end < self.slots.capacity()).then_some(end), meant)
    }

    /// Some of those that are there, from this place on, and the next place.
    pub(super) fn list(&self, from: usize, many: usize) -> (Option<usize>, Vec<Known>) {
        let end = from.saturating_add(many);
        let list =
            (from..end.min(self.slots.capacity())).filter_map(|at| Some(self.slots.get(at)?.known.clone())).collect();
        ((end < self.slots.capacity()).then_some(end), list)
    }

    fn first(&self, url: &str) -> u32 {
        self.heads.get(&self.hasher.hash_one(url)).copied().unwrap_or(NONE)
    }

    fn slot(&self, at: u32) -> Option<&Slot> {
        self.slots.get(at as usize)
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot> {
        self.slots.get_mut(at as usize)
    }

    fn held(&mut self, ticket: &Ticket) -> Option<&mut Slot> {
        self.slot_mut(ticket.at).filter(|slot| slot.known.spot == ticket.spot)
    }

    /// The one that is missed least.
    fn evict(&mut self) -> Option<Known> {
        // One round clears every mark, so the second finds one.
        for _ in 0..=2 * self.slots.len() {
            let at = if self.slot(self.hand).is_some() { self.hand } else { self.oldest };
            let slot = self.slot_mut(at)?;
            if !slot.is_used {
                return self.take(at);
            }
            slot.is_used = false;
            self.hand = slot.newer;
        }
        None
    }

    fn take(&mut self, at: u32) -> Option<Known> {
        let slot = self.slots.try_remove(at as usize)?;
        self.bytes -= slot.known.on_disk();
        self.memory -= slot.known.in_memory();
        match self.slot_mut(slot.newer) {
            Some(newer) => newer.older = slot.older,
            None => self.newest = slot.older,
        }
        match self.slot_mut(slot.older) {
            Some(older) => older.newer = slot.newer,
            None => self.oldest = slot.newer,
        }
        if self.hand == at {
            self.hand = slot.newer;
        }
        let hash = self.hasher.hash_one(&slot.known.url);
        let mut before = self.heads.get(&hash).copied().unwrap_or(NONE);
        if before == at {
            match slot.next {
                NONE => drop(self.heads.remove(&hash)),
                next => drop(self.heads.insert(hash, next)),
            }
        } else {
            while let Some(other) = self.slot_mut(before) {
                if other.next == at {
                    other.next = slot.next;
                    break;
                }
                before = other.next;
            }
        }
        Some(slot.known)
    }
}

impl Ticket {
    /// The number of its file.
    pub fn file(&self) -> u64 {
        self.spot.id
    }

    fn new(at: u32, known: &Known) -> Ticket {
        let Known { spot, size, length, stamp, is_stale, .. } = *known;
        Ticket { at, spot, size, length, stamp, is_stale }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::tests::head;
    use super::*;

    const WIDE: Bounds = Bounds { bytes: 1 << 40, files: 1 << 20, memory: 1 << 30 };

    fn known(id: u64, url: &str, size: u64) -> Known {
        Known::new(&Head { stamp: id, ..head(url) }, Spot { shelf: 0, id }, size, size)
    }

    fn ids(spots: &[Spot]) -> Vec<u64> {
        spots.iter().map(|spot| spot.id).collect()
    }

    fn find(index: &mut Index, url: &str) -> Option<u64> {
        index.find(url, &[0; 32], |_, _| true).map(|ticket| ticket.spot.id)
    }

    #[test]
    fn a_newer_one_takes_the_place_of_an_older_one_in_whatever_order_they_come() {
        let mut index = Index::new(WIDE);
        assert_eq!(index.insert(known(2, "/a", 1)), (vec![], vec![]));
        assert_eq!(ids(&index.insert(known(1, "/a", 1)).0), [1]);
        assert_eq!(ids(&index.insert(known(3, "/a", 1)).0), [2]);
        assert_eq!((find(&mut index, "/a"), find(&mut index, "/b"), index.size().0), (Some(3), None, 1));
    }

    #[test]
    fn variants_stand_side_by_side_up_to_a_number() {
        let mut index = Index::new(WIDE);
        let variant = |id: u64, name: &str| {
            let vary = (vec![name.to_owned()], id.to_le_bytes().to_vec());
            Known::new(&Head { vary, ..head("/") }, Spot { shelf: 0, id }, 1, 1)
        };
        (0..MOST_VARIANTS as u64).for_each(|id| assert!(index.insert(variant(id, "a")).0.is_empty()));
        let of = |index: &mut Index, id: u64| index.find("/", &[0; 32], |_, selecting| selecting == id.to_le_bytes());
        assert_eq!(of(&mut index, 7).unwrap().spot.id, 7);
        assert_eq!(ids(&index.insert(variant(1000, "a")).0), [0]);
        assert_eq!((of(&mut index, 0), index.find("/", &[1; 32], |_, _| true)), (None, None));
        // What varies by something else is not mixed with them.
        assert_eq!(index.insert(variant(1001, "b")).0.len(), MOST_VARIANTS);
        assert_eq!(index.size().0, 1);
    }

    #[test]
    fn what_was_used_stays_longer() {
        let mut index = Index::new(Bounds { files: 3, ..WIDE });
        ["/1", "/2", "/3"].iter().zip(1..).for_each(|(url, id)| drop(index.insert(known(id, url, 1))));
        find(&mut index, "/1");
        assert_eq!(ids(&index.insert(known(4, "/4", 1)).1), [2]);
        assert_eq!(ids(&index.insert(known(5, "/5", 1)).1), [3]);
        assert!(find(&mut index, "/1").is_some());
        assert_eq!(ids(&index.insert(known(6, "/6", 1)).1), [4]);
    }

    #[test]
    fn orders_take_what_they_mean_and_nothing_newer() {
        let mut index = Index::new(WIDE);
        let tagged = |id: u64, url: &str, tag: &str| {
            let head = Head { stamp: id, tags: vec![tag.to_owned()], ..head(url) };
            Known::new(&head, Spot { shelf: 0, id }, 1, 1)
        };
        for (id, url, tag) in [(1, "/a", "s"), (2, "/a/b", "t"), (3, "/c", "t"), (9, "/d", "t")] {
            index.insert(tagged(id, url, tag));
        }
        let mut purge = |what, fate| {
            let (mut from, mut all) = (Some(0), BTreeSet::new());
            while let Some(at) = from {
                let (next, meant) = index.purge(at, 2, &what, fate, 9);
                all.extend(meant.iter().map(|ticket| ticket.spot.id));
                from = next;
            }
            all.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(purge(Purge::Tag("t".to_owned()), Fate::Stale), [2, 3]);
        assert_eq!(purge(Purge::Prefix("/a".to_owned()), Fate::Goes), [1, 2]);
        assert_eq!(purge(Purge::Everything, Fate::Goes), [3]);
        assert!(index.remove_url("/d", 9).is_empty());
        assert_eq!(ids(&index.remove_url("/d", 10)), [9]);
        assert_eq!(index.size(), (0, 0, 0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, u16),
        Find(u8),
        Remove(u8),
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn the_bounds_hold_and_nothing_is_lost(steps in proptest::collection::vec(prop_oneof![
            4 => (any::<u8>(), any::<u16>()).prop_map(|(url, size)| Step::Insert(url, size)),
            4 => any::<u8>().prop_map(Step::Find),
            1 => any::<u8>().prop_map(Step::Remove),
        ], 0..300)) {
            let bounds = Bounds { bytes: 200_000, files: 12, memory: 20_000 };
            let (mut index, mut there, mut id) = (Index::new(bounds), BTreeSet::new(), 0);
            for step in steps {
                match step {
                    Step::Insert(url, size) => {
                        id += 1;
                        there.insert(id);
                        let (replaced, evicted) = index.insert(known(id, &format!("/{url}"), size.into()));
                        for spot in replaced.iter().chain(&evicted) {
                            prop_assert!(there.remove(&spot.id));
                        }
                    }
                    Step::Find(url) => {
                        let found = find(&mut index, &format!("/{url}"));
                        prop_assert!(found.is_none_or(|id| there.contains(&id)));
                    }
                    Step::Remove(url) => {
                        for spot in index.remove_url(&format!("/{url}"), u64::MAX) {
                            prop_assert!(there.remove(&spot.id));
                        }
                    }
                }
                let (files, bytes, memory) = index.size();
                prop_assert!(files == there.len() as u64 && files <= 12 && bytes <= 200_000 && memory <= 20_000);
            }
            let (next, all) = index.list(0, usize::MAX);
            prop_assert!(next.is_none() && all.iter().map(|known| known.spot.id).collect::<BTreeSet<_>>() == there);
            all.iter().for_each(|known| drop(index.remove_url(known.url(), u64::MAX)));
            prop_assert_eq!(index.size(), (0, 0, 0));
            prop_assert!(index.heads.is_empty() && index.newest == NONE && index.oldest == NONE);
        }
    }
}
