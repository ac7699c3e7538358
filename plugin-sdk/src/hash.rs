//! Hashes: MurmurHash64A, which is also what the gateway computes for [`Request::hash_header`](crate::Request::hash_header)
//! and the like. It is part of the boundary: it stays the same for all versions of it, on all machines, so that rings made
//! of it stay where they are. Whoever chooses the input can make collisions.

use crate::endpoints::Endpoint;
use crate::random;

/// The hash of bytes. It is what the gateway computes with the same seed, but that the gateway tells 1 instead of 0.
#[inline]
pub fn bytes(bytes: impl AsRef<[u8]>, seed: u64) -> u64 {
    gatewright_abi::hash64(bytes.as_ref(), seed)
}

/// One number of two: say an endpoint's id and a key, for the highest one to win. Every bit depends on every bit.
#[inline(always)]
pub fn mix(one: u64, other: u64) -> u64 {
    // The last steps of MurmurHash3, after a step that makes the order of the two matter.
    let mut mixed = one.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ other;
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

/// A hash as a number from 0 up to, but not including, 1.
#[inline(always)]
pub fn fraction(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// The endpoint that a key belongs to, by rendezvous: of those that are given, each has a share of keys by its [effective
/// weight](Endpoint::effective_weight), and keeps its keys when others come or go. It looks at all of them.
pub fn rendezvous<'a>(key: u64, among: impl Iterator<Item = Endpoint<'a>>) -> Option<Endpoint<'a>> {
    // Of exponential waits, each as short as the weight is large, the shortest wins.
    let wait =
        |endpoint: Endpoint<'a>| minus_logarithm(mix(key, endpoint.id())) / f64::from(endpoint.effective_weight());
    random::least(among, wait)
}

/// `-ln` of a hash as a fraction, close enough for shares. Made of sums and products only, so that it is the same to the bit in a
/// module and linked in; logarithms of two libraries are not.
fn minus_logarithm(hash: u64) -> f64 {
    let bits = (fraction(hash) + f64::EPSILON).to_bits();
    let exponent = (bits >> 52) as i64 - 1023;
    let mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    // ln((1 + s) / (1 - s)) = 2 (s + s^3/3 + s^5/5 + …)
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = 1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * (1.0 / 7.0 + square / 9.0)));
    -(exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for step in 1..1000u64 {
            let hash = step * (u64::MAX / 1000);
            let (found, right) = (minus_logarithm(hash), -fraction(hash).ln());
            assert!((found - right).abs() < 1e-5, "{step}: {found}, not {right}");
        }
        assert!(minus_logarithm(0).is_finite() && minus_logarithm(u64::MAX).is_finite());
    }

    /// Whoever changes these moves the users of everybody's rings to other endpoints.
    #[test]
    fn hashes_stay_what_they_are() {
        assert_eq!(bytes("", 0), 0);
        assert_eq!(bytes("gatewright", 0), 0xeb3e_9480_c51b_d2fe);
        assert_eq!(bytes("10.0.0.1:8080", 7), 0xaa35_4d7b_ca48_59c8);
        assert_eq!(mix(1, 2), 0xf8f7_6353_b6d8_77c5);
        assert_ne!(mix(1, 2), mix(2, 1));
    }
}
