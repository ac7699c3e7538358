//! What a balancer decides.

use std::time::Duration;

use gatewright_abi::bound;

use crate::endpoints::Endpoint;
use crate::micros::Micros;

/// Which endpoint takes the request.
///
/// An endpoint [turns into](From) a pick, and so does none: that is [`Pick::Fallback`]. So the result of a search ends
/// with `.into()`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pick {
    /// The endpoint with this index.
    Endpoint(u32),
    /// Whichever the pool's fallback picks.
    Fallback,
    /// None: the client gets this status, from 400 to 599.
    Refuse(u16),
    /// These, one after the other, as long as the request may be sent again.
    List(List),
    /// The first; and the second too, if the first has not answered in time. See [`Pick::hedge`].
    Hedge {
        /// Index of the first.
        first: u32,
        /// Index of the second.
        second: u32,
        /// How long the first has.
        after: Micros,
    },
}

impl Pick {
    /// The pool's fallback decides.
    pub fn fallback() -> Pick {
        Pick::Fallback
    }

    /// None: the client gets this status, from 400 to 599.
    pub fn refuse(status: u16) -> Pick {
        Pick::Refuse(status)
    }

    /// These, one after the other, as long as the request may be sent again. The first 16 count; none of them falls back.
    pub fn list<'a>(endpoints: impl IntoIterator<Item = Endpoint<'a>>) -> Pick {
        let mut list = List { count: 0, indices: [0; bound::LIST as usize] };
        for (place, endpoint) in list.indices.iter_mut().zip(endpoints) {
            *place = endpoint.number();
            list.count += 1;
        }
        if list.count == 0 { Pick::Fallback } else { Pick::List(list) }
    }

    /// The first; and the second too, if the first has not answered after this time, or at once if it fails before. Whichever
    /// answers first is passed on, the other attempt is [cancelled](crate::Outcome::is_cancelled).
    ///
    /// That holds where a second send can do no harm: for idempotent methods without a body, and once for each request. For any other request
    /// it is a [list](Pick::list) of the two.
    pub fn hedge(first: Endpoint<'_>, second: Endpoint<'_>, after: Duration) -> Pick {
        Pick::Hedge { first: first.number(), second: second.number(), after: after.into() }
    }

    /// The index of the endpoint that gets the request first; none when the plugin did not choose one.
    pub fn first(&self) -> Option<usize> {
        match self {
            Pick::Endpoint(index) | Pick::Hedge { first: index, .. } => Some(*index as usize),
            Pick::List(list) => list.iter().next().map(|index| index as usize),
            Pick::Fallback | Pick::Refuse(_) => None,
        }
    }
}

impl From<Endpoint<'_>> for Pick {
    #[inline(always)]
    fn from(endpoint: Endpoint<'_>) -> Pick {
        Pick::Endpoint(endpoint.number())
    }
}

impl From<Option<Endpoint<'_>>> for Pick {
    #[inline(always)]
    fn from(endpoint: Option<Endpoint<'_>>) -> Pick {
        endpoint.map_or(Pick::Fallback, Pick::from)
    }
}

/// Endpoints in an order: 1 to 16.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct List {
    count: u32,
    indices: [u32; bound::LIST as usize],
}

impl List {
    /// How many.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Their indices.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.indices.iter().copied().take(self.count as usize)
    }
}
