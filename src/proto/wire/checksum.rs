//! The Internet checksum (RFC 1071) over any number of pieces of any length.

use core::net::IpAddr;

/// A one's complement sum under way. Pieces of odd length are fine wherever they stand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum { /* accumulator, odd */ }

impl Sum {
    /// An empty sum.
    pub fn new() -> Self { todo!() }
    /// The sum of the pseudo-header of RFC 9293 section 3.1 or RFC 8200 section 8.1.
    pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> Self { todo!() }
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) { todo!() }
    /// The checksum: the complement of the folded sum, in host order (store big-endian).
    pub fn finish(self) -> u16 { todo!() }
}
