//! Searches among endpoints in a plugin that is linked in, by the names that they have for every iterator.
//!
//! These come before [`Iterator`]'s own, which move the best one so far through memory again and again, so that a search takes
//! several times as long. As WebAssembly those are the faster ones, and are used.

use std::cmp::Ordering;

use crate::endpoints::{All, Available, Endpoint};

/// Endpoints for which a condition holds: what `filter` gives.
#[derive(Clone, Debug)]
pub struct Filtered<I, P> {
    endpoints: I,
    fits: P,
}

impl<'a, I, P> Iterator for Filtered<I, P>
where
    I: Iterator<Item = Endpoint<'a>>,
    P: FnMut(&Endpoint<'a>) -> bool,
{
    type Item = Endpoint<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Endpoint<'a>> {
        self.endpoints.find(&mut self.fits)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.endpoints.size_hint().1)
    }

    #[inline(always)]
    fn fold<T, F: FnMut(T, Endpoint<'a>) -> T>(mut self, begin: T, mut add: F) -> T {
        self.endpoints
            .fold(begin, |folded, endpoint| if (self.fits)(&endpoint) { add(folded, endpoint) } else { folded })
    }
}

/// The best so far, with what it is compared by, after the next one.
#[inline(always)]
fn search<'a, K>(
    endpoints: impl Iterator<Item = Endpoint<'a>>,
    mut key: impl FnMut(&Endpoint<'a>) -> K,
    mut replaces: impl FnMut(&K, &K) -> bool,
) -> Option<Endpoint<'a>> {
    let mut best: Option<(K, Endpoint<'a>)> = None;
    endpoints.for_each(|endpoint| {
        let key = key(&endpoint);
        if best.as_ref().is_none_or(|(best, _)| replaces(&key, best)) {
            best = Some((key, endpoint));
        }
    });
    best.map(|(_, endpoint)| endpoint)
}

macro_rules! searches {
    ([$($generics:tt)*] $type:ty $(where $($bounds:tt)*)?) => {
        impl<'a, $($generics)*> $type $(where $($bounds)*)? {
            /// Those for which this holds.
            #[inline(always)]
            pub fn filter<Q: FnMut(&Endpoint<'a>) -> bool>(self, fits: Q) -> Filtered<Self, Q> {
                Filtered { endpoints: self, fits }
            }

            /// The one with the least key; of several the first.
            #[inline(always)]
            pub fn min_by_key<K: Ord>(self, key: impl FnMut(&Endpoint<'a>) -> K) -> Option<Endpoint<'a>> {
                search(self, key, |one, best| one < best)
            }

            /// The one with the greatest key; of several the last.
            #[inline(always)]
            pub fn max_by_key<K: Ord>(self, key: impl FnMut(&Endpoint<'a>) -> K) -> Option<Endpoint<'a>> {
                search(self, key, |one, best| one >= best)
            }

            /// The least one; of several the first.
            #[inline(always)]
            pub fn min_by(
                self,
                mut compare: impl FnMut(&Endpoint<'a>, &Endpoint<'a>) -> Ordering,
            ) -> Option<Endpoint<'a>> {
                search(self, |endpoint| *endpoint, |one, best| compare(best, one).is_gt())
            }

            /// The greatest one; of several the last.
            #[inline(always)]
            pub fn max_by(
                self,
                mut compare: impl FnMut(&Endpoint<'a>, &Endpoint<'a>) -> Ordering,
            ) -> Option<Endpoint<'a>> {
                search(self, |endpoint| *endpoint, |one, best| compare(best, one).is_le())
            }
        }
    };
}

searches!([] All<'a>);
searches!([] Available<'a>);
searches!([I, P] Filtered<I, P> where I: Iterator<Item = Endpoint<'a>>, P: FnMut(&Endpoint<'a>) -> bool);

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use crate::mock::{Mock, endpoint, get};
    use crate::prelude::*;

    /// Refuses when a search finds another one than the iterator's own.
    struct Compared;

    impl Balancer for Compared {
        type Config = NoConfig;

        fn configure(_: NoConfig, _: &Endpoints) -> Result<Self> {
            Ok(Compared)
        }

        fn pick(&mut self, _: &Request, endpoints: &Endpoints) -> Pick {
            let odd = |endpoint: &Endpoint<'_>| endpoint.active() % 2 == 1;
            let key = |endpoint: &Endpoint<'_>| endpoint.latency();
            let order = |one: &Endpoint<'_>, other: &Endpoint<'_>| -> Ordering { key(one).cmp(&key(other)) };
            macro_rules! compared {
                ($all:expr) => {
                    [
                        ($all.min_by_key(key), Iterator::min_by_key($all, key)),
                        ($all.max_by_key(key), Iterator::max_by_key($all, key)),
                        ($all.min_by(order), Iterator::min_by($all, order)),
                        ($all.max_by(order), Iterator::max_by($all, order)),
                    ]
                };
            }
            let available = || endpoints.available();
            let found = [
                compared!(endpoints.all()),
                compared!(available()),
                compared!(endpoints.all().filter(odd)),
                compared!(available().filter(odd).filter(|one| one.active() > 1)),
            ];
            let index = |endpoint: Option<Endpoint<'_>>| endpoint.map(Endpoint::index);
            let counted = available().filter(odd).count() == Iterator::filter(available(), odd).count();
            let alike = found.iter().flatten().all(|(ours, iterators)| index(*ours) == index(*iterators));
            if alike && counted { available().min_by_key(key).into() } else { Pick::refuse(500) }
        }
    }

    #[test]
    fn searches_find_what_those_of_every_iterator_find() {
        let mut state = 7u64;
        let mut draw = |below: u32| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as u32) % below
        };
        for _ in 0..300 {
            let pool = (0..draw(8)).map(|number| {
                let one = endpoint(&format!("10.0.0.{number}:80")).latency_us(draw(4)).active(draw(4));
                one.ejected(draw(3) == 0)
            });
            let mut gateway = Mock::balancer::<Compared>("{}", pool.collect::<Vec<_>>()).unwrap();
            assert_ne!(gateway.pick(&get("http://a/")), Pick::Refuse(500));
        }
    }
}
