//! What cookies say: for each endpoint a number that only who has the secret can make.
//!
//! They are made when endpoints come, so that a pick signs nothing: it looks the number up.

use gatewright_sdk::Endpoints;
use sha2::{Digest, Sha256};

/// The numbers of all endpoints.
pub(crate) struct Tokens {
    signer: Signer,
    /// By index.
    tokens: Vec<u128>,
    /// By number: its index.
    known: Vec<(u128, u32)>,
    /// By id: its number, to be kept when others come or go.
    made: Vec<(u64, u128)>,
}

impl Tokens {
    pub(crate) fn new(secret: &[u8], endpoints: &Endpoints) -> Tokens {
        let signer = Signer::new(secret);
        let mut tokens = Tokens { signer, tokens: Vec::new(), known: Vec::new(), made: Vec::new() };
        tokens.endpoints_changed(endpoints);
        tokens
    }

    pub(crate) fn endpoints_changed(&mut self, endpoints: &Endpoints) {
        let before = std::mem::take(&mut self.made);
        let token = |id: u64| match before.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(place) => before.get(place).map_or(0, |(_, token)| *token),
            Err(_) => self.signer.sign(id),
        };
        self.made = endpoints.all().map(|endpoint| (endpoint.id(), token(endpoint.id()))).collect();
        self.tokens = self.made.iter().map(|(_, token)| *token).collect();
        self.known = self.tokens.iter().copied().zip(0..).collect();
        self.known.sort_unstable();
        self.made.sort_unstable();
    }

    /// The number of the endpoint with this index.
    pub(crate) fn of(&self, index: usize) -> Option<u128> {
        self.tokens.get(index).copied()
    }

    /// The endpoint that a cookie's value stands for, as it is written here.
    pub(crate) fn endpoint(&self, value: &str) -> Option<usize> {
        let is_written = value.len() == 32 && value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let token = u128::from_str_radix(value, 16).ok().filter(|_| is_written)?;
        let place = self.known.binary_search_by_key(&token, |(token, _)| *token).ok()?;
        self.known.get(place).map(|(_, index)| *index as usize)
    }
}

/// HMAC-SHA256 (RFC 2104) with one key: what comes before each text is hashed once.
struct Signer {
    inner: Sha256,
    outer: Sha256,
}

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

impl Signer {
    fn new(secret: &[u8]) -> Signer {
        let mut key = [0u8; BLOCK];
        let hashed = Sha256::digest(secret);
        let short = if secret.len() > BLOCK { &hashed[..] } else { secret };
        key.iter_mut().zip(short).for_each(|(to, from)| *to = *from);
        let begun = |pad: u8| Sha256::new_with_prefix(key.map(|byte| byte ^ pad));
        Signer { inner: begun(0x36), outer: begun(0x5c) }
    }

    /// The first half of an id's signature.
    fn sign(&self, id: u64) -> u128 {
        let digest = self.digest(&id.to_be_bytes());
        digest.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
    }

    fn digest(&self, text: &[u8]) -> [u8; 32] {
        let inner = self.inner.clone().chain_update(text).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn signatures_are_those_of_rfc_4231() {
        let short = Signer::new(b"Jefe").digest(b"what do ya want for nothing?");
        assert_eq!(hex(&short), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let long = Signer::new(&[0xaa; 131]).digest(b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex(&long), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }
}
