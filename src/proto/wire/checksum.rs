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

/// The sum of the 16-bit words of `bytes` in the machine's order, reduced to less than 2^33. A last odd byte
/// is the first half of a word whose other half is zero.
#[inline]
fn sum_words(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut sum = if blocks.is_empty() { 0 } else { sum_blocks(blocks) };
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
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
