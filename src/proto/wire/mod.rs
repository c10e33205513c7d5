//! Bytes to types that can't be wrong, and back.
//!
//! Everything a peer sent is parsed here once; past this border no raw header is looked at again. Fixed
//! headers are read with `etherparse`; the TCP option codec and the Internet checksum are our own, because
//! `etherparse` stops at the first unknown option and sums chunks of odd length wrongly.

pub mod checksum;
pub mod icmp;
pub mod ip;
pub mod tcp;
pub mod tcp_options;
pub mod udp;

/// Room for the headers of one packet: IPv6 (40) and TCP with all options (60), and some to spare.
pub type HeaderBuf = arrayvec::ArrayVec<u8, 128>;

#[cfg(test)]
pub(crate) mod testing {
    //! What the tests of this module share.

    use alloc::vec::Vec;
    use core::net::IpAddr;

    use proptest::prelude::*;

    /// Bytes from hexadecimal digits; white space is skipped.
    pub(crate) fn hex(digits: &str) -> Vec<u8> {
        let nibbles: Vec<u8> =
            digits.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap() as u8).collect();
        nibbles.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// An address from its text.
    pub(crate) fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Two addresses of one family, any.
    pub(crate) fn any_ends() -> impl Strategy<Value = (IpAddr, IpAddr)> {
        prop_oneof![
            any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (a.into(), b.into())),
            any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (a.into(), b.into())),
        ]
    }

    /// Calls `check` with every copy of `bytes` that has one bit turned.
    pub(crate) fn for_each_bit_turned(bytes: &[u8], mut check: impl FnMut(usize, &[u8])) {
        let mut turned = bytes.to_vec();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                turned[at] ^= 1 << bit;
                check(at, &turned);
                turned[at] ^= 1 << bit;
            }
        }
    }
}
