//! The Internet checksum (RFC 1071) over any number of pieces of any length.
//!
//! Owns: one's complement sums and the pseudo-headers. Summing is done in the machine's byte order over wide
//! words and put right once at the end (RFC 1071 section 2 B and C): a checksum costs about as much as
//! reading the bytes. `etherparse` pads each piece to an even length, so it can't sum a payload in pieces.

use core::net::IpAddr;

/// A one's complement sum under way. Pieces of odd length are fine wherever they stand.
///
/// ```
/// use tunstack::proto::wire::checksum::Sum;
///
/// let mut sum = Sum::new();
/// sum.add(&[0x00, 0x01, 0xf2]);
/// sum.add(&[0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
/// assert_eq!(sum.finish(), !0xddf2); // the example of RFC 1071 section 3
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// Sum of 16-bit words as they lie in memory; congruent to the wire's sum modulo 65,535 once the bytes
    /// are swapped. Grows by less than 2^33 a piece, so it has room for more pieces than a packet has bytes.
    words: u64,
    /// Whether an odd number of bytes has been added: the next byte is the lower half of a word.
    odd: bool,
}

impl Sum {
    /// An empty sum.
    #[inline]
    pub const fn new() -> Self {
        Sum { words: 0, odd: false }
    }

    /// The sum of the pseudo-header of RFC 9293 section 3.1 or RFC 8200 section 8.1.
    #[inline]
    pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> Self {
        let mut sum = Sum::new();
        for address in [src, dst] {
            match address {
                IpAddr::V4(address) => sum.words += u64::from(u32::from_ne_bytes(address.octets())),
                IpAddr::V6(address) => sum.add(&address.octets()),
            }
        }
        // Length and protocol are 32-bit fields in IPv6, 16-bit ones in IPv4, where the length fits: zeros
        // don't change a sum.
        sum.words += u64::from((len as u32).to_be()) + u64::from(u32::from(protocol).to_be());
        sum
    }

    /// Adds bytes.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        let words = sum_words(bytes);
        // At an odd position every byte has the other half's weight: swapping the bytes of the sum gives each
        // its own (RFC 1071 section 2 B).
        self.words += if self.odd { u64::from(fold(words).swap_bytes()) } else { words };
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// Adds a header of IPv4, like [`add`](Self::add), whose preparations for many bytes cost more than the sum of so
    /// few.
    #[inline]
    pub(crate) fn add_header(&mut self, header: &[u8]) {
        match header.split_first_chunk::<V4_HEADER>() {
            Some((fixed, [])) if !self.odd => {
                let (quads, _) = fixed.as_chunks::<4>();
                self.words += quads.iter().map(|quad| u64::from(u32::from_ne_bytes(*quad))).sum::<u64>();
            }
            Some(_) | None => self.add(header),
        }
    }

    /// The checksum: the complement of the folded sum, in host order (store big-endian).
    #[inline]
    pub fn finish(self) -> u16 {
        !u16::from_be(fold(self.words))
    }

    /// Whether what was summed is intact, its own checksum field included.
    #[inline]
    pub fn is_valid(self) -> bool {
        fold(self.words) == u16::MAX
    }
}

/// Most headers of IPv4 have no options.
const V4_HEADER: usize = 20;

/// The sum of the 16-bit words of `bytes` in the machine's order, reduced to less than 2^33. A last odd byte
/// is the first half of a word whose other half is zero.
#[inline]
fn sum_words(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut sum = if blocks.is_empty() { 0 } else { sum_blocks(blocks) };
    let (octets, rest) = rest.as_chunks::<8>();
    for octet in octets {
        let word = u64::from_ne_bytes(*octet);
        sum += (word & 0xffff_ffff) + (word >> 32);
    }
    let (quads, rest) = rest.as_chunks::<4>();
    for quad in quads {
        sum += u64::from(u32::from_ne_bytes(*quad));
    }
    let (pairs, rest) = rest.as_chunks::<2>();
    for pair in pairs {
        sum += u64::from(u16::from_ne_bytes(*pair));
    }
    if let [last] = rest {
        sum += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    (sum & 0xffff_ffff) + (sum >> 32)
}

/// The bulk of a payload: 32 bytes a turn in eight independent lanes, which the compiler keeps in vector
/// registers. A lane can't overflow before 2^32 blocks.
fn sum_blocks(blocks: &[[u8; 32]]) -> u64 {
    let mut lanes = [0u64; 8];
    for block in blocks {
        let (quads, _) = block.as_chunks::<4>();
        for (lane, quad) in lanes.iter_mut().zip(quads) {
            *lane += u64::from(u32::from_ne_bytes(*quad));
        }
    }
    lanes.iter().map(|lane| (lane & 0xffff_ffff) + (lane >> 32)).sum()
}

/// Folds a sum to 16 bits with end-around carry. Zero only if the sum is zero.
#[inline]
fn fold(sum: u64) -> u16 {
    // Added to itself with its halves exchanged, either half holds the sum of both, and the upper one the carry of the lower.
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// A checksum after one of the words that it is of has changed (RFC 1624 section 3, equation 3).
///
/// ```
/// use tunstack::proto::wire::checksum::{Sum, updated};
///
/// let sum = |words: [u8; 4]| {
///     let mut sum = Sum::new();
///     sum.add(&words);
///     sum.finish()
/// };
/// assert_eq!(updated(sum([1, 2, 3, 4]), 0x0102, 0x7f02), sum([0x7f, 2, 3, 4]));
/// ```
pub fn updated(checksum: u16, before: u16, after: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!before) + u32::from(after);
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use etherparse::checksum::Sum16BitWords;
    use proptest::prelude::*;

    use super::*;
    use crate::proto::wire::testing::{any_ends, hex, ip};

    /// RFC 1071 to the letter: 16-bit words in wire order, end-around carry after every addition.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for word in bytes.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0));
            if sum > 0xffff {
                sum -= 0xffff;
            }
        }
        !(sum as u16)
    }

    fn of(pieces: &[Vec<u8>]) -> Sum {
        let mut sum = Sum::new();
        pieces.iter().for_each(|piece| sum.add(piece));
        sum
    }

    /// A word, often one at which sums turn over.
    fn word() -> impl Strategy<Value = u16> {
        prop_oneof![any::<u16>(), prop::sample::select(&[0, 1, 2, 0xfffe, 0xffff][..])]
    }

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        assert_eq!(of(&[hex("0001 f203 f4f5 f6f7")]).finish(), !0xddf2);
    }

    #[test]
    fn a_header_of_the_kernel_is_valid_and_its_checksum_is_found_again() {
        let mut header = hex("4500003c8f264000400697810a0900010a090002");
        assert!(of(&[header.clone()]).is_valid());
        header[10..12].fill(0);
        assert_eq!(of(&[header]).finish(), 0x9781);
    }

    #[test]
    fn a_long_run_of_the_largest_words_does_not_overflow() {
        let ones = alloc::vec![0xff; 65_535];
        assert_eq!(of(core::slice::from_ref(&ones)).finish(), naive(&ones));
        assert_eq!(
            of(&[ones.clone(), ones.clone(), ones.clone()]).finish(),
            naive(&[&ones[..], &ones, &ones].concat())
        );
    }

    #[test]
    fn an_empty_sum_is_zero_and_not_valid() {
        assert_eq!(Sum::new().finish(), 0xffff);
        assert!(!Sum::new().is_valid());
    }

    #[test]
    fn every_length_and_alignment_is_summed_whole() {
        let bytes: Vec<u8> = (0..200u32).map(|n| (n * 151 + 13) as u8).collect();
        for from in 0..9 {
            for to in from..bytes.len() {
                let slice = &bytes[from..to];
                assert_eq!(of(&[slice.to_vec()]).finish(), naive(slice), "{from}..{to}");
            }
        }
    }

    #[test]
    fn the_pseudo_header_is_that_of_the_rfcs() {
        let v4 = Sum::pseudo_header(ip("10.9.0.1"), ip("10.9.0.2"), 6, 0xabcd);
        assert_eq!(v4.finish(), naive(&hex("0a090001 0a090002 00 06 abcd")));
        let v6 = Sum::pseudo_header(ip("fd09::1"), ip("fd09::2"), 58, 0x1_2345);
        let laid_out = "fd090000000000000000000000000001 fd090000000000000000000000000002 00012345 000000 3a";
        assert_eq!(v6.finish(), naive(&hex(laid_out)));
    }

    #[test]
    fn a_header_is_summed_like_any_other_bytes() {
        let bytes: Vec<u8> = (0..60u32).map(|n| (n * 151 + 13) as u8).collect();
        for before in [0, 1, 2] {
            for len in [0, 19, 20, 24, 57] {
                let (first, rest) = bytes.split_at(before);
                let mut sum = of(&[first.to_vec()]);
                sum.add_header(&rest[..len]);
                assert_eq!(sum.finish(), naive(&bytes[..before + len]), "{before} {len}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_pieces_sum_as_if_they_were_one(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..8)
        ) {
            prop_assert_eq!(of(&pieces).finish(), naive(&pieces.concat()));
        }

        #[test]
        fn any_long_slice_sums_as_etherparse_has_it(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let theirs = Sum16BitWords::new().add_slice(&bytes).ones_complement().to_be();
            prop_assert_eq!(of(&[bytes]).finish(), theirs);
        }

        #[test]
        fn a_checksum_that_is_updated_is_that_of_the_changed_words(
            words in prop::collection::vec(word(), 1..12),
            changes in prop::collection::vec((0..12_usize, word()), 1..20),
        ) {
            let bytes = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
            let mut words = words;
            let mut checksum = naive(&bytes(&words));
            for (at, after) in changes {
                let at = at % words.len();
                checksum = updated(checksum, core::mem::replace(&mut words[at], after), after);
                // Zero has two forms, of which a sum of anything but zeros takes the one (RFC 1624 section 3).
                let is_all_zero = words.iter().all(|word| *word == 0);
                prop_assert_eq!(checksum, if is_all_zero { 0 } else { naive(&bytes(&words)) });
            }
        }

        #[test]
        fn a_sum_with_its_checksum_in_it_is_valid(
            (src, dst) in any_ends(), protocol in 1u8.., mut bytes in prop::collection::vec(any::<u8>(), 2..300)
        ) {
            bytes[..2].fill(0);
            let mut sum = Sum::pseudo_header(src, dst, protocol, bytes.len());
            sum.add(&bytes);
            bytes[..2].copy_from_slice(&sum.finish().to_be_bytes());
            let mut sum = Sum::pseudo_header(src, dst, protocol, bytes.len());
            sum.add(&bytes);
            prop_assert!(sum.is_valid());
        }
    }
}
