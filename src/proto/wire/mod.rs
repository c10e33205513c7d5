//! Bytes to types that can't be wrong, and back.
//!
//! Everything a peer sent is parsed here once; past this border no raw header is looked at again. Fixed
//! headers are read with `etherparse`; the TCP option codec and the Internet checksum are our own, because
//! `etherparse` stops at the first unknown option and sums chunks of odd length wrongly.

pub mod checksum;
pub mod icmp;
pub mod ip;
pub mod seq_nr;
pub mod tcp;
pub mod tcp_options;
pub mod udp;

/// Whether an IP datagram is the first of a TCP connection (a SYN without ACK), as far as its fixed headers say: nothing is checked. It is
/// for who has to decide what to do first, not for who has to decide what to believe. Nothing is found behind IPv6 extension headers.
pub(crate) fn opens_connection(datagram: &[u8]) -> bool {
    const FLAGS_AT: usize = 13;
    let Some(first) = datagram.first() else { return false };
    let (protocol_at, header_len) = match first >> 4 {
        4 => (9, usize::from(first & 0x0f) * 4),
        6 => (6, etherparse::Ipv6Header::LEN),
        _ => return false,
    };
    let all = tcp::FLAG_SYN | tcp::FLAG_ACK | tcp::FLAG_RST | tcp::FLAG_FIN;
    datagram.get(protocol_at) == Some(&ip::PROTOCOL_TCP)
        && datagram.get(header_len + FLAGS_AT).is_some_and(|flags| flags & all == tcp::FLAG_SYN)
}

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

    /// An IPv6 packet: a chain of (kind, rest of the extension header after its next header octet) and what
    /// follows it.
    pub(crate) fn ipv6_chain(chain: &[(u8, &[u8])], last: u8, payload: &[u8]) -> Vec<u8> {
        let mut kinds: Vec<u8> = chain.iter().map(|(kind, _)| *kind).collect();
        kinds.push(last);
        let body: Vec<u8> =
            chain.iter().zip(&kinds[1..]).flat_map(|((_, rest), next)| [&[*next], *rest].concat()).collect();
        let mut bytes =
            hex("6ab0000000000040fd090000000000000000000000000001fd090000000000000000000000000002");
        bytes[4..6].copy_from_slice(&((body.len() + payload.len()) as u16).to_be_bytes());
        bytes[6] = kinds[0];
        [bytes, body, payload.to_vec()].concat()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ip::testing::{bare_segment, datagram, header};

    #[test]
    fn a_syn_without_ack_opens_a_connection_and_nothing_else_does() {
        for [src, dst] in [["10.9.0.1", "10.9.0.2"], ["fd09::1", "fd09::2"]] {
            for flags in 0..=u8::MAX {
                let opens = flags & 0x17 == 0x02;
                assert_eq!(opens_connection(&bare_segment(src, dst, flags)), opens, "{flags:02x}");
            }
            let syn = bare_segment(src, dst, tcp::FLAG_SYN);
            let segment = &syn[syn.len() - tcp::HEADER_LEN..];
            assert!(!opens_connection(&datagram(&header(src, dst, ip::PROTOCOL_UDP), segment)));
            let flags_at = syn.len() - tcp::HEADER_LEN + 13;
            for len in 0..=syn.len() {
                assert_eq!(opens_connection(&syn[..len]), len > flags_at, "{len}");
            }
        }
    }

    #[test]
    fn options_are_passed_over() {
        let mut syn = bare_segment("10.9.0.1", "10.9.0.2", tcp::FLAG_SYN);
        syn[0] = 0x46;
        assert!(!opens_connection(&syn), "there the segment begins 4 octets later");
        syn.splice(20..20, [1; 4]);
        assert!(opens_connection(&syn));
    }
}
