//! Hashing with a secret key, so that no peer can choose addresses that all fall into one bucket.

use core::hash::{BuildHasher, Hash};

use siphasher::sip::SipHasher13;

use crate::rng::Rng;

/// Builds hashers from one secret key. SipHash-1-3 is what the standard library uses for the same purpose.
#[derive(Clone, Copy)]
pub(crate) struct Keyed([u8; 16]);

impl Keyed {
    /// Hashing under `key`.
    pub(crate) const fn new(key: [u8; 16]) -> Self {
        Keyed(key)
    }

    /// Hashing under a key that is drawn now.
    pub(crate) fn drawn(rng: &mut Rng) -> Self {
        Keyed((u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).to_le_bytes())
    }

    /// The hash of one value.
    #[inline]
    pub(crate) fn hash(&self, value: impl Hash) -> u64 {
        self.hash_one(value)
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    #[inline]
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

impl core::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Keyed(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_key_gives_another_hash() {
        let (a, b) = (Keyed::new([1; 16]), Keyed::new([2; 16]));
        assert_eq!(a.hash(7_u32), a.hash(7_u32));
        assert_ne!(a.hash(7_u32), b.hash(7_u32));
    }
}
