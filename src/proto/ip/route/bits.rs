//! Addresses as strings of bits, the first bit first: what the trie knows of them.

/// A string of bits of fixed length.
pub(super) trait Bits: Copy + Eq + core::fmt::Debug {
    /// All of them zero.
    const ZERO: Self;

    /// The octet at this place, the first being 0.
    fn octet(self, place: usize) -> u8;

    /// The same with an octet put into a place that was zero.
    fn with_octet(self, place: usize, octet: u8) -> Self;

    /// How many leading bits are the same.
    fn common(self, other: Self) -> u8;
}

/// IPv4.
impl Bits for u32 {
    const ZERO: u32 = 0;

    #[inline]
    fn octet(self, place: usize) -> u8 {
        octet_of(u64::from(self) << 32, place)
    }

    #[inline]
    fn with_octet(self, place: usize, octet: u8) -> Self {
        self | (u32::from(octet) << 24).unbounded_shr(in_bits(place))
    }

    #[inline]
    fn common(self, other: Self) -> u8 {
        small((self ^ other).leading_zeros())
    }
}

/// IPv6, in halves: a `u128` would make everything that holds one a third larger, for its alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wide {
    high: u64,
    low: u64,
}

impl Wide {
    /// The bits of a number.
    #[inline]
    pub(super) fn new(bits: u128) -> Self {
        let halves = bits.to_be_bytes();
        let (high, low) = halves.split_at(8);
        let half = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Wide { high: half(high), low: half(low) }
    }

    /// The number again.
    pub(super) fn get(self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    /// The first 32 bits.
    #[inline]
    pub(super) fn block(self) -> u32 {
        (self.high >> 32) as u32
    }

    /// The 16 after them.
    #[inline]
    pub(super) fn in_block(self) -> u16 {
        (self.high >> 16) as u16
    }
}

impl Bits for Wide {
    const ZERO: Wide = Wide { high: 0, low: 0 };

    #[inline]
    fn octet(self, place: usize) -> u8 {
        if place < 8 { octet_of(self.high, place) } else { octet_of(self.low, place - 8) }
    }

    #[inline]
    fn with_octet(self, place: usize, octet: u8) -> Self {
        let first = u64::from(octet) << 56;
        if place < 8 {
            Wide { high: self.high | first.unbounded_shr(in_bits(place)), ..self }
        } else {
            Wide { low: self.low | first.unbounded_shr(in_bits(place - 8)), ..self }
        }
    }

    #[inline]
    fn common(self, other: Self) -> u8 {
        if self.high == other.high {
            64 + small((self.low ^ other.low).leading_zeros())
        } else {
            small((self.high ^ other.high).leading_zeros())
        }
    }
}

fn octet_of(bits: u64, place: usize) -> u8 {
    (bits.unbounded_shl(in_bits(place)) >> 56) as u8
}

fn in_bits(octets: usize) -> u32 {
    u32::try_from(octets * 8).unwrap_or(u32::MAX)
}

/// A count of bits: at most 64.
fn small(count: u32) -> u8 {
    count as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn octets_are_those_of_the_number(narrow: u32, wide: u128) {
            for place in 0..4 {
                prop_assert_eq!(narrow.octet(place), narrow.to_be_bytes()[place]);
            }
            for place in 0..16 {
                prop_assert_eq!(Wide::new(wide).octet(place), wide.to_be_bytes()[place]);
            }
            let octets = |len| (0..len).map(|place| (place, wide.to_be_bytes()[place]));
            let again = octets(16).fold(Wide::ZERO, |bits, (place, octet)| bits.with_octet(place, octet));
            prop_assert_eq!(again.get(), wide);
            let again = octets(4).fold(u32::ZERO, |bits, (place, octet)| bits.with_octet(place, octet));
            prop_assert_eq!(u128::from(again), wide >> 96);
        }

        #[test]
        fn common_bits_end_at_the_first_that_differs(a: u128, at in 0_u8..128, below: u128) {
            let bit = 1_u128 << (127 - at);
            let b = (a ^ bit) ^ (below & (bit - 1));
            prop_assert_eq!(Wide::new(a).common(Wide::new(b)), at);
            prop_assert_eq!(Wide::new(a).common(Wide::new(a)), 128);
            let (a, b) = ((a >> 96) as u32, (b >> 96) as u32);
            prop_assert_eq!(a.common(b), at.min(32));
        }
    }
}
