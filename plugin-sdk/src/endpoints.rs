//! The endpoints of a pool, as a balancer sees them.
//!
//! They lie in columns that the gateway writes before each pick; an accessor is a load from memory. Only columns that a
//! plugin reads are written.

use std::fmt;
use std::ops::Range;

use gatewright_abi::flag;

use crate::encoded::Pairs;
use crate::hash;
use crate::micros::Micros;
use crate::random;
use crate::sys::{Columns, Slot, column};

/// The endpoints of a pool, in an order that stays the same until [`generation`](Endpoints::generation) changes.
#[derive(Debug)]
#[repr(transparent)]
pub struct Endpoints {
    columns: Columns,
}

impl Endpoints {
    #[inline(always)]
    pub(crate) const fn of(columns: Columns) -> Endpoints {
        Endpoints { columns }
    }

    /// How many there are.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.columns.count() as usize
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Another number whenever endpoints have come or gone, and indices mean others.
    #[inline(always)]
    pub fn generation(&self) -> u32 {
        self.columns.generation()
    }

    /// The one at this place.
    #[inline(always)]
    pub fn get(&self, index: usize) -> Option<Endpoint<'_>> {
        let slot = self.columns.slot(u32::try_from(index).ok()?)?;
        Some(Endpoint { slot })
    }

    /// All of them.
    #[inline(always)]
    pub fn all(&self) -> All<'_> {
        All { endpoints: self, indices: 0..self.columns.count() }
    }

    /// Those that a request can be sent to: healthy, of the priority that it is for, not ejected, not draining, not tried for
    /// this request before.
    #[inline(always)]
    pub fn available(&self) -> Available<'_> {
        Available { all: self.all() }
    }
}

impl<'a> IntoIterator for &'a Endpoints {
    type Item = Endpoint<'a>;
    type IntoIter = All<'a>;

    fn into_iter(self) -> All<'a> {
        self.all()
    }
}

/// All endpoints: what [`Endpoints::all`] gives.
#[derive(Clone, Debug)]
pub struct All<'a> {
    endpoints: &'a Endpoints,
    indices: Range<u32>,
}

impl<'a> Iterator for All<'a> {
    type Item = Endpoint<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Endpoint<'a>> {
        let slot = self.endpoints.columns.slot(self.indices.next()?)?;
        Some(Endpoint { slot })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.indices.size_hint()
    }

    #[inline(always)]
    fn fold<T, F: FnMut(T, Endpoint<'a>) -> T>(self, begin: T, mut add: F) -> T {
        let mut folded = begin;
        for slot in self.indices.map_while(|index| self.endpoints.columns.slot(index)) {
            folded = add(folded, Endpoint { slot });
        }
        folded
    }
}

impl ExactSizeIterator for All<'_> {}

/// Endpoints that a request can be sent to: what [`Endpoints::available`] gives.
#[derive(Clone, Debug)]
pub struct Available<'a> {
    all: All<'a>,
}

impl<'a> Iterator for Available<'a> {
    type Item = Endpoint<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Endpoint<'a>> {
        self.all.find(|endpoint| endpoint.is_available())
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.all.size_hint().1)
    }

    // One loop instead of one within another: searches end here, and a plugin looks at its time once for each loop.
    #[inline(always)]
    fn fold<T, F: FnMut(T, Endpoint<'a>) -> T>(self, begin: T, mut add: F) -> T {
        self.all.fold(begin, |folded, endpoint| if endpoint.is_available() { add(folded, endpoint) } else { folded })
    }
}

/// One endpoint. A copy of two words; what it tells is looked up when it is asked for.
#[derive(Clone, Copy)]
pub struct Endpoint<'a> {
    slot: Slot<'a>,
}

impl<'a> Endpoint<'a> {
    /// Its place among the [`Endpoints`].
    #[inline(always)]
    pub fn index(self) -> usize {
        self.slot.index() as usize
    }

    #[inline(always)]
    pub(crate) fn number(self) -> u32 {
        self.slot.index()
    }

    /// A number that stays its own when others come and go, and is the same on all workers: build rings of it.
    #[inline(always)]
    pub fn id(self) -> u64 {
        self.slot.double::<column::Id>()
    }

    /// Host and port, as configured or discovered.
    #[inline]
    pub fn address(self) -> &'a str {
        text(self.slot.bytes::<column::Address>())
    }

    /// Its zone; empty when it has none.
    #[inline]
    pub fn zone(self) -> &'a str {
        text(self.slot.bytes::<column::Zone>())
    }

    /// What its configuration says under this name.
    pub fn metadata(self, name: &str) -> Option<&'a str> {
        let (_, value) = Pairs::of(self.slot.bytes::<column::Metadata>()).find(|(known, _)| *known == name)?;
        str::from_utf8(value).ok()
    }

    /// Its weight; 1 unless configured otherwise.
    #[inline(always)]
    pub fn weight(self) -> u32 {
        self.slot.word::<column::Weight>()
    }

    /// Its priority; 0 comes first.
    #[inline(always)]
    pub fn priority(self) -> u32 {
        self.slot.word::<column::Priority>()
    }

    #[inline(always)]
    fn flags(self) -> u32 {
        self.slot.word::<column::Flags>()
    }

    /// Whether a request can be sent to it: healthy, of the priority that it is for, not ejected, not draining, not tried for
    /// this request before.
    #[inline(always)]
    pub fn is_available(self) -> bool {
        self.flags() & (flag::HEALTHY | flag::EJECTED | flag::DRAINING | flag::TRIED) == flag::HEALTHY
    }

    /// Whether its checks pass, or it has none.
    #[inline(always)]
    pub fn is_healthy(self) -> bool {
        self.flags() & (flag::HEALTHY | flag::STANDBY) != 0
    }

    /// Whether it is well, but this request is for others: of another priority, for instance. A session that is there already
    /// may stay.
    #[inline(always)]
    pub fn is_standby(self) -> bool {
        self.flags() & flag::STANDBY != 0
    }

    /// Whether it says itself that it does less well.
    #[inline(always)]
    pub fn is_degraded(self) -> bool {
        self.flags() & flag::DEGRADED != 0
    }

    /// Whether it was taken out for a while because of what it answered.
    #[inline(always)]
    pub fn is_ejected(self) -> bool {
        self.flags() & flag::EJECTED != 0
    }

    /// Whether it is being taken out for good.
    #[inline(always)]
    pub fn is_draining(self) -> bool {
        self.flags() & flag::DRAINING != 0
    }

    /// Whether it should get less than its share: it has just come, or has too much. See [`warmth`](Endpoint::warmth).
    #[inline(always)]
    pub fn is_warming(self) -> bool {
        self.flags() & flag::WARMING != 0
    }

    /// Whether this request was sent to it before.
    #[inline(always)]
    pub fn is_tried(self) -> bool {
        self.flags() & flag::TRIED != 0
    }

    /// Requests under way to it, from all workers.
    #[inline(always)]
    pub fn active(self) -> u32 {
        self.slot.word::<column::Active>()
    }

    /// How long it takes to answer, as a moving average; zero as long as nothing is known.
    #[inline(always)]
    pub fn latency(self) -> Micros {
        Micros::new(self.slot.word::<column::Latency>().into())
    }

    /// The same, but it rises at once and falls slowly; zero as long as nothing is known.
    #[inline(always)]
    pub fn peak_latency(self) -> Micros {
        Micros::new(self.slot.word::<column::PeakLatency>().into())
    }

    /// The share of requests that failed, as a moving average: 0 to 1.
    #[inline(always)]
    pub fn error_rate(self) -> f32 {
        f32::from_bits(self.slot.word::<column::Errors>())
    }

    /// Requests in a second, as a moving average.
    #[inline(always)]
    pub fn request_rate(self) -> f32 {
        f32::from_bits(self.slot.word::<column::Rate>())
    }

    /// The load that it reported, if it did.
    #[inline(always)]
    pub fn load(self) -> Option<f32> {
        let load = f32::from_bits(self.slot.word::<column::Load>());
        (!load.is_nan()).then_some(load)
    }

    /// How much of its share it should get: from 0 up to 1, less after it has come and when it has too much.
    #[inline(always)]
    pub fn warmth(self) -> f32 {
        f32::from_bits(self.slot.word::<column::Warmth>())
    }

    /// Its weight, and less of it as long as it is [warming](Endpoint::is_warming): the share of requests that it should get.
    #[inline(always)]
    pub fn effective_weight(self) -> f32 {
        let weight = self.weight() as f32;
        // Of what is no number the other counts.
        if self.is_warming() { weight * self.warmth().max(COLDEST) } else { weight }
    }

    /// Whether a request that was drawn for it should be sent to it: it [is available](Endpoint::is_available), and as long as it
    /// is warming, only so many of them are.
    #[inline(always)]
    pub fn admits(self) -> bool {
        self.is_available() && (!self.is_warming() || random::fraction() < f64::from(self.warmth()))
    }

    /// The same by a key, so that the same keys are sent to it again, and more of them as it warms.
    #[inline(always)]
    pub fn admits_key(self, key: u64) -> bool {
        self.is_available()
            && (!self.is_warming() || hash::fraction(hash::mix(key, self.id())) < f64::from(self.warmth()))
    }
}

/// Nobody is so cold that nothing can be divided by its weight.
const COLDEST: f32 = 0.001;

/// Shows its place only: showing more would be reading columns.
impl fmt::Debug for Endpoint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.index())
    }
}

/// The gateway writes UTF-8; anything else reads as empty.
fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}
