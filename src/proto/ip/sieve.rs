//! A sieve for addresses: says at once of most others that they are not among those that were added.
//!
//! It never holds back one that was added. What passes may still be none of them, so whoever asks looks into the
//! tables then. Each address sets one bit of 2,048: with a few hundred added, most strangers are still held back, and
//! with thousands the question costs next to nothing more than without it. A peer that picks addresses which pass
//! gains no more than that, so the hash needs no key.

use core::net::IpAddr;

/// One bit for each value of the hash.
#[derive(Clone, Debug)]
pub(super) struct Sieve {
    words: [u64; WORDS],
}

const WORDS: usize = 32;
/// The hash has so many bits: the lower six number a bit, the others a word.
const HASH_BITS: u32 = WORDS.ilog2() + u64::BITS.ilog2();
/// 2^64 divided by the golden ratio: spreads what differs in a few bits (Knuth, volume 3, section 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Sieve {
    /// Nothing passes.
    pub(super) const fn new() -> Self {
        Sieve { words: [0; WORDS] }
    }

    /// From now on the address passes.
    pub(super) fn add(&mut self, address: IpAddr) {
        let (word, bit) = place(address);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    /// Whether the address may be one of those that were added.
    #[inline]
    pub(super) fn passes(&self, address: IpAddr) -> bool {
        let (word, bit) = place(address);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }
}

#[inline]
fn place(address: IpAddr) -> (usize, u64) {
    let bits = match address {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        // The halves are mixed so that neither networks nor interface identifiers that are alike meet.
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            ((bits >> 64) as u64).wrapping_mul(SPREAD) ^ bits as u64
        }
    };
    let hash = bits.wrapping_mul(SPREAD) >> (u64::BITS - HASH_BITS);
    ((hash >> u64::BITS.ilog2()) as usize, 1 << (hash % u64::from(u64::BITS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;

    #[test]
    fn neighbours_of_a_few_addresses_are_held_back() {
        let mut sieve = Sieve::new();
        let v4 = |host: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a09_0000 + host));
        let v6 = |host: u128| IpAddr::V6(Ipv6Addr::from_bits((0xfd09 << 112) + host));
        for number in [0, 2, 255] {
            sieve.add(v4(number));
            sieve.add(v6(number.into()));
        }
        let passing = (256..1256).filter(|host| sieve.passes(v4(*host))).count()
            + (256..1256).filter(|host| sieve.passes(v6(*host))).count();
        assert!(passing < 40, "{passing} of 2,000 pass");
    }

    proptest! {
        #[test]
        fn what_was_added_passes(addresses in prop::collection::vec(any::<IpAddr>(), 0..100)) {
            let mut sieve = Sieve::new();
            prop_assert!(addresses.iter().all(|address| !sieve.passes(*address)));
            addresses.iter().for_each(|address| sieve.add(*address));
            prop_assert!(addresses.iter().all(|address| sieve.passes(*address)));
        }
    }
}
