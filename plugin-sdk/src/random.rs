//! Random numbers, made in the plugin by SplitMix64 from a seed that the gateway gives once. Fast and even; no secrets
//! are made of them.

use crate::endpoints::Endpoint;
use crate::sys;

/// 64 random bits.
#[inline]
pub fn bits() -> u64 {
    sys::with_generator(|state| {
        let mut seed = state.get();
        if seed == 0 {
            seed = first();
        }
        let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        // 0 means that there is no seed yet. That state is left out.
        state.set(if seed == 0 { 1 } else { seed });
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

#[cold]
#[inline(never)]
fn first() -> u64 {
    sys::random().max(1)
}

/// A number below this one, each as likely as the others; 0 when there is none.
#[inline]
pub fn below(bound: usize) -> usize {
    // Lemire, "Fast random integer generation in an interval". So many of anything as 2^32 is no plugin's business.
    let bound = u32::try_from(bound).unwrap_or(u32::MAX);
    if bound == 0 { 0 } else { scaled(bits(), bound) }
}

/// The upper half of these bits as a number below the bound, or of others, since some would favour small numbers.
#[inline]
fn scaled(bits: u64, bound: u32) -> usize {
    let product = (bits >> 32) * u64::from(bound);
    if (product as u32) < bound { again(product, bound) } else { (product >> 32) as usize }
}

#[cold]
#[inline(never)]
fn again(mut product: u64, bound: u32) -> usize {
    let threshold = bound.wrapping_neg() % bound;
    while (product as u32) < threshold {
        product = (bits() >> 32) * u64::from(bound);
    }
    (product >> 32) as usize
}

/// Two different numbers below this one; none when there are not two.
#[inline]
pub fn two_below(bound: usize) -> Option<(usize, usize)> {
    let bound = u32::try_from(bound).unwrap_or(u32::MAX);
    let others = bound.checked_sub(1).filter(|others| *others > 0)?;
    let bits = bits();
    let (first, second) = (scaled(bits, bound), scaled(bits << 32, others));
    Some((first, if second >= first { second + 1 } else { second }))
}

/// A number from 0 up to, but not including, 1.
#[inline]
pub fn fraction() -> f64 {
    (bits() >> 11) as f64 / (1u64 << 53) as f64
}

/// The endpoint that costs least; of several that cost as little, any of them.
#[inline]
pub fn least<'a>(
    among: impl Iterator<Item = Endpoint<'a>>,
    mut cost: impl FnMut(Endpoint<'a>) -> f64,
) -> Option<Endpoint<'a>> {
    let mut best: Option<Endpoint<'a>> = None;
    let (mut least, mut equals) = (f64::INFINITY, 1);
    among.for_each(|endpoint| {
        let cost = cost(endpoint);
        if best.is_none() || cost < least {
            (best, least, equals) = (Some(endpoint), cost, 1);
        } else if cost == least {
            // The second takes its place with one half, the third with a third: so each has the same chance.
            equals += 1;
            if below(equals) == 0 {
                best = Some(endpoint);
            }
        }
    });
    best
}
