//! Datagrams of UDP that join one that waits already, so that a device that cuts super-datagrams gets them in one piece.
//!
//! Owns: which may join which, and what changes in the headers of the one that is joined. Owns not where they wait,
//! which is `outbox`.
//!
//! A burst is what Linux's UDP_SEGMENT would have made of it: datagrams of one flow, whose headers say the same but for
//! lengths and sums, all as long as the first, but for the last, which may be shorter.

use crate::proto::wire::checksum;
use crate::proto::wire::udp::HEADER_LEN;

/// Datagrams that a super-datagram may stand for, as on Linux (UDP_MAX_SEGMENTS).
pub(crate) const SEGMENTS_MAX: usize = 64;

/// A datagram, or several in one, that others may join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Burst {
    /// Bytes of data in the first, and in all but the last.
    pub(super) size: u16,
    /// How many they are.
    count: u8,
}

impl Burst {
    /// One datagram with so many bytes of data; `None` if none may join it: there would be nothing to tell it by.
    pub(super) fn of_one(data_len: usize) -> Option<Self> {
        u16::try_from(data_len).ok().filter(|size| *size > 0).map(|size| Burst { size, count: 1 })
    }

    /// Whether a datagram may join `waiting`, which is this burst: IP header, UDP header, data.
    pub(super) fn may_be_joined(self, waiting: &[u8], ip: &[u8], udp: &[u8], data_len: usize) -> bool {
        let fits = data_len > 0
            && data_len <= usize::from(self.size)
            && waiting.len() + data_len <= usize::from(u16::MAX);
        fits && says_the_same(waiting, ip, udp)
    }

    /// The burst with one more; `None` if that is the last that it takes.
    pub(super) fn joined(self, data_len: usize) -> Option<Self> {
        let count = self.count + 1;
        let is_open = data_len == usize::from(self.size) && usize::from(count) < SEGMENTS_MAX;
        is_open.then_some(Burst { count, ..self })
    }
}

/// Whether the headers of `waiting` say what these do, but for lengths and what follows from them.
fn says_the_same(waiting: &[u8], ip: &[u8], udp: &[u8]) -> bool {
    let Some((theirs, rest)) = waiting.split_at_checked(ip.len()) else { return false };
    let same_ip = match ip.len() {
        V4_HEADER => theirs[..2] == ip[..2] && theirs[4..10] == ip[4..10] && theirs[12..] == ip[12..],
        V6_HEADER => theirs[..4] == ip[..4] && theirs[6..] == ip[6..],
        _ => false,
    };
    same_ip && rest.get(..4).is_some_and(|ports| udp.get(..4) == Some(ports))
}

const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;

/// Follows up in the headers that `data_len` bytes have been added. Returns the header of UDP.
pub(super) fn lengthen(bytes: &mut [u8], ip_len: usize, data_len: usize) -> Option<[u8; HEADER_LEN]> {
    // All together are no longer than a length field can say.
    let more = data_len as u16;
    let (ip, rest) = bytes.split_at_mut_checked(ip_len)?;
    if ip_len == V4_HEADER {
        let before = add(ip, 2, more)?;
        let sum = ip.get(10..)?.first_chunk().copied().map(u16::from_be_bytes)?;
        let sum = checksum::updated(sum, before, before.wrapping_add(more));
        ip.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
    } else {
        add(ip, 4, more)?;
    }
    let udp = rest.first_chunk_mut::<HEADER_LEN>()?;
    add(udp, 4, more)?;
    // The sum of the pseudo-header has the length in it.
    let (seed, carry) = u16::from_be_bytes([udp[6], udp[7]]).overflowing_add(more);
    let seed = seed + u16::from(carry);
    udp[6..].copy_from_slice(&seed.to_be_bytes());
    Some(*udp)
}

/// Adds to a field of 16 bits, and returns what it was.
fn add(bytes: &mut [u8], at: usize, more: u16) -> Option<u16> {
    let field = bytes.get_mut(at..)?.first_chunk_mut::<2>()?;
    let before = u16::from_be_bytes(*field);
    *field = before.wrapping_add(more).to_be_bytes();
    Some(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::HeaderBuf;
    use crate::proto::wire::ip::{IpHeader, PROTOCOL_UDP};
    use crate::proto::wire::testing::any_ends;
    use crate::proto::wire::udp::UdpHeader;
    use alloc::vec;
    use proptest::prelude::*;

    fn headers(ip: &IpHeader, udp: UdpHeader, data_len: usize) -> (HeaderBuf, HeaderBuf) {
        let (mut first, mut second) = (HeaderBuf::new(), HeaderBuf::new());
        ip.write(HEADER_LEN + data_len, &mut first);
        udp.write_seeded(ip.src, ip.dst, data_len, &mut second);
        (first, second)
    }

    #[test]
    fn none_may_join_what_is_full_or_has_ended_or_has_nothing_in_it() {
        assert_eq!(Burst::of_one(0), None);
        let mut burst = Burst::of_one(100).unwrap();
        assert_eq!(burst.joined(99), None);
        for _ in 2..SEGMENTS_MAX {
            burst = burst.joined(100).unwrap();
        }
        assert_eq!(burst.joined(100), None);
    }

    proptest! {
        #[test]
        fn headers_that_are_lengthened_are_as_if_written_anew(
            (src, dst) in any_ends(), (src_port, dst_port) in any::<(u16, u16)>(),
            len in 0..30_000_usize, more in 1..30_000_usize, tos: u8, hop_limit: u8,
        ) {
            let flow_label = if src.is_ipv6() { 7 } else { 0 };
            let ip = IpHeader {
                src, dst, protocol: PROTOCOL_UDP, hop_limit, tos, ident: 0, dont_fragment: true, flow_label };
            let udp = UdpHeader { src_port, dst_port };
            let (first, second) = headers(&ip, udp, len);
            let mut bytes = [&first[..], &second, &vec![0; len + more]].concat();
            let written = lengthen(&mut bytes, first.len(), more);
            let (expected_ip, expected_udp) = headers(&ip, udp, len + more);
            prop_assert_eq!(&bytes[..first.len()], &expected_ip[..]);
            // Zero has two forms.
            let same = |a: &[u8], b: &[u8]| a == b || a[..6] == b[..6] && [&a[6..], &b[6..]].iter().all(|sum| matches!(sum, [0, 0] | [255, 255]));
            prop_assert!(same(&bytes[first.len()..][..8], &expected_udp));
            prop_assert_eq!(&bytes[first.len()..][..8], &written.unwrap()[..]);
        }

        #[test]
        fn only_what_differs_in_lengths_alone_may_join(
            (src, dst) in any_ends(), bit in 0..48 * 8_usize, len in 1..1000_usize, shorter in 0..1000_usize,
        ) {
            let flow_label = if src.is_ipv6() { 7 } else { 0 };
            let ip = IpHeader {
                src, dst, protocol: PROTOCOL_UDP, hop_limit: 64, tos: 1, ident: 0, dont_fragment: true, flow_label };
            let udp = UdpHeader { src_port: 7, dst_port: 8 };
            let (first, second) = headers(&ip, udp, len);
            let waiting = [&first[..], &second, &vec![0; len]].concat();
            let burst = Burst::of_one(len).unwrap();
            let data_len = len - shorter % len;
            let (mut ip, mut udp) = headers(&ip, udp, data_len);
            prop_assert!(burst.may_be_joined(&waiting, &ip, &udp, data_len));
            prop_assert!(!burst.may_be_joined(&waiting, &ip, &udp, 0));
            prop_assert!(!burst.may_be_joined(&waiting, &ip, &udp, len + 1));
            let (byte, ip_len) = (bit / 8, ip.len());
            let lengths: &[usize] = if src.is_ipv4() { &[2, 3, 10, 11, 24, 25, 26, 27] } else { &[4, 5, 44, 45, 46, 47] };
            if byte < ip_len + 8 && !lengths.contains(&byte) {
                let field = if byte < ip_len { &mut ip[byte] } else { &mut udp[byte - ip_len] };
                *field ^= 1 << (bit % 8);
                prop_assert!(!burst.may_be_joined(&waiting, &ip, &udp, data_len));
            }
        }
    }
}
