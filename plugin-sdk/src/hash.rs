//! Hashes: MurmurHash64A, which is also what the gateway computes for [`Request::hash_header`](crate::Request::hash_header)
//! and the like. It is part of the boundary: it stays the same for all versions of it, on all machines, so that rings made
//! of it stay where they are. Whoever chooses the input can make collisions.

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

#[cfg(test)]
mod tests {
    use super::*;

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
