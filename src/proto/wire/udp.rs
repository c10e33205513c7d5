//! UDP datagrams (RFC 768, RFC 1122 section 4.1, RFC 8200 section 8.1).
//!
//! Owns: header and checksum. Owns not: sockets, which are in `proto::udp`.

use core::net::IpAddr;

use etherparse::{UdpHeader as FixedHeader, UdpHeaderSlice};

use super::HeaderBuf;
use super::checksum::Sum;
use super::ip::PROTOCOL_UDP;
use crate::proto::counters::DropReason;
use crate::proto::packet::{ChecksumState, len_of};

/// Bytes of a UDP header.
pub const HEADER_LEN: usize = 8;
/// Where in it the checksum is.
pub const CHECKSUM_AT: u16 = 6;

/// A received datagram, checked and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Source port; 0 if the sender expects no answer.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Data.
    pub payload: &'a [u8],
}

/// Reads a datagram and verifies its checksum, unless it is trusted. `bytes` is the payload of the IP
/// datagram; what lies past the UDP length is cut off.
///
/// # Errors
/// `Truncated` (shorter than a header), `UdpMalformed` (a length field below 8 or past the IP length) or
/// `UdpChecksum` (wrong, or zero over IPv6).
pub fn parse(
    bytes: &[u8],
    src: IpAddr,
    dst: IpAddr,
    checksum: ChecksumState,
) -> Result<Datagram<'_>, DropReason> {
    let header = UdpHeaderSlice::from_slice(bytes).map_err(|_| DropReason::Truncated)?;
    let len = usize::from(header.length());
    //= RFC768 length
    let datagram = bytes.get(..len).ok_or(DropReason::UdpMalformed)?;
    let payload = datagram.get(HEADER_LEN..).ok_or(DropReason::UdpMalformed)?;
    match (checksum, header.checksum(), src) {
        (ChecksumState::Trusted | ChecksumState::Partial, _, _) => {}
        // The sender computed none (RFC 768); not allowed over IPv6 (RFC 8200 section 8.1).
        //= RFC768 no checksum
        (ChecksumState::Unverified, 0, IpAddr::V4(_)) => {}
        //= RFC8200 8.1 no checksum
        (ChecksumState::Unverified, 0, IpAddr::V6(_)) => return Err(DropReason::UdpChecksum),
        (ChecksumState::Unverified, _, _) => {
            //= RFC768 checksum
            let mut sum = Sum::pseudo_header(src, dst, PROTOCOL_UDP, len);
            sum.add(datagram);
            //= RFC1122 4.1.3.4 verify
            if !sum.is_valid() {
                return Err(DropReason::UdpChecksum);
            }
        }
    }
    Ok(Datagram { src_port: header.source_port(), dst_port: header.destination_port(), payload })
}

/// A header to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpHeader {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
}

impl UdpHeader {
    /// Appends the header with its checksum, which covers `payload`.
    ///
    /// # Panics
    /// If the payload is longer than 65,527 bytes, or `out` has no room for eight bytes.
    pub fn write(&self, src: IpAddr, dst: IpAddr, payload: &[&[u8]], out: &mut HeaderBuf) {
        //= RFC768 length
        let len = HEADER_LEN + len_of(payload);
        let mut header = FixedHeader {
            source_port: self.src_port,
            destination_port: self.dst_port,
            length: u16::try_from(len).expect("a UDP datagram has at most 65,535 bytes"),
            checksum: 0,
        };
        //= RFC768 checksum
        let mut sum = Sum::pseudo_header(src, dst, PROTOCOL_UDP, len);
        sum.add(&header.to_bytes());
        for piece in payload {
            sum.add(piece);
        }
        // Zero says "none computed"; its other representation says the same sum (RFC 768).
        //= RFC1122 4.1.3.4 generate
        //= RFC8200 8.1 generate
        header.checksum = match sum.finish() {
            //= RFC768 checksum of zero
            //= RFC8200 8.1 checksum of zero
            0 => 0xffff,
            checksum => checksum,
        };
        out.try_extend_from_slice(&header.to_bytes()).expect("the header buffer has room for a UDP header");
    }

    /// Like [`write`](Self::write), with the sum of the pseudo-header alone in the checksum field, for a device that adds
    /// the rest.
    ///
    /// # Panics
    /// As [`write`](Self::write).
    pub fn write_seeded(&self, src: IpAddr, dst: IpAddr, payload_len: usize, out: &mut HeaderBuf) {
        let len = HEADER_LEN + payload_len;
        let header = FixedHeader {
            source_port: self.src_port,
            destination_port: self.dst_port,
            length: u16::try_from(len).expect("a UDP datagram has at most 65,535 bytes"),
            checksum: !Sum::pseudo_header(src, dst, PROTOCOL_UDP, len).finish(),
        };
        out.try_extend_from_slice(&header.to_bytes()).expect("the header buffer has room for a UDP header");
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::proto::wire::testing::{any_ends, for_each_bit_turned, hex, ip};

    const UNVERIFIED: ChecksumState = ChecksumState::Unverified;

    /// "hello" from the Linux kernel at 10.9.0.1 and fd09::1 to 10.9.0.2 and fd09::2, port 7.
    fn kernel_hellos() -> [(Vec<u8>, IpAddr, IpAddr); 2] {
        [
            (hex("bbcd0007000dec1868656c6c6f"), ip("10.9.0.1"), ip("10.9.0.2")),
            (hex("bfa60007000d023e68656c6c6f"), ip("fd09::1"), ip("fd09::2")),
        ]
    }

    //= RFC1122 4.1.3.4 generate
    //= RFC768 length, checksum
    //= RFC8200 8.1 generate
    #[test]
    fn a_kernel_s_datagram_is_read_and_written_byte_by_byte() {
        for (bytes, src, dst) in kernel_hellos() {
            let datagram = parse(&bytes, src, dst, UNVERIFIED).unwrap();
            assert_eq!((datagram.dst_port, datagram.payload), (7, &b"hello"[..]));
            let mut out = HeaderBuf::new();
            let header = UdpHeader { src_port: datagram.src_port, dst_port: datagram.dst_port };
            header.write(src, dst, &[b"h", b"", b"ell", b"o"], &mut out);
            assert_eq!(out.as_slice(), &bytes[..HEADER_LEN]);
        }
    }

    //= RFC1122 4.1.3.4 verify
    //= RFC768 checksum
    #[test]
    fn no_single_bit_turned_on_the_way_goes_unnoticed() {
        for (bytes, src, dst) in kernel_hellos() {
            for_each_bit_turned(&bytes, |at, turned| {
                assert!(parse(turned, src, dst, UNVERIFIED).is_err(), "octet {at}");
            });
        }
    }

    //= RFC768 no checksum
    //= RFC8200 8.1 no checksum
    #[test]
    fn a_missing_checksum_is_allowed_over_ipv4_only() {
        let [v4, v6] = kernel_hellos().map(|(mut bytes, src, dst)| {
            bytes[6..8].fill(0);
            parse(&bytes, src, dst, UNVERIFIED).map(|datagram| datagram.payload.to_vec())
        });
        assert_eq!(v4, Ok(b"hello".to_vec()));
        assert_eq!(v6, Err(DropReason::UdpChecksum));
    }

    #[test]
    fn a_trusted_datagram_needs_no_checksum() {
        for (mut bytes, src, dst) in kernel_hellos() {
            bytes[6] ^= 0x55;
            assert_eq!(parse(&bytes, src, dst, UNVERIFIED), Err(DropReason::UdpChecksum));
            assert!(parse(&bytes, src, dst, ChecksumState::Trusted).is_ok());
        }
    }

    //= RFC768 length
    #[test]
    fn the_length_field_rules_if_it_can() {
        for (bytes, src, dst) in kernel_hellos() {
            let padded = [&bytes[..], &[1, 2, 3]].concat();
            assert_eq!(parse(&padded, src, dst, UNVERIFIED).unwrap().payload, b"hello");
            for len in 0..HEADER_LEN {
                assert_eq!(parse(&bytes[..len], src, dst, UNVERIFIED), Err(DropReason::Truncated));
            }
            for len in HEADER_LEN..bytes.len() {
                assert_eq!(parse(&bytes[..len], src, dst, UNVERIFIED), Err(DropReason::UdpMalformed));
            }
            for len in 0..HEADER_LEN as u8 {
                let mut short = bytes.clone();
                short[5] = len;
                assert_eq!(parse(&short, src, dst, ChecksumState::Trusted), Err(DropReason::UdpMalformed));
            }
        }
    }

    //= RFC768 checksum of zero
    //= RFC8200 8.1 checksum of zero
    #[test]
    fn a_checksum_that_comes_out_zero_is_sent_as_ones() {
        let (src, dst) = (ip("10.9.0.1"), ip("10.9.0.2"));
        let header = UdpHeader { src_port: 1, dst_port: 2 };
        let mut out = HeaderBuf::new();
        header.write(src, dst, &[&[0, 0]], &mut out);
        // The payload that takes up exactly what is left to a sum of ones.
        let payload = [out[6], out[7]];
        out.clear();
        header.write(src, dst, &[&payload], &mut out);
        assert_eq!(&out[6..8], [0xff, 0xff]);
        out.try_extend_from_slice(&payload).unwrap();
        assert!(parse(&out, src, dst, UNVERIFIED).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            (src, dst) in any_ends(),
            (src_port, dst_port) in any::<(u16, u16)>(),
            text in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..5),
        ) {
            let pieces: Vec<&[u8]> = text.iter().map(Vec::as_slice).collect();
            let mut out = HeaderBuf::new();
            UdpHeader { src_port, dst_port }.write(src, dst, &pieces, &mut out);
            let bytes = [&out[..], &text.concat()].concat();
            let expected = Datagram { src_port, dst_port, payload: &text.concat() };
            prop_assert_eq!(parse(&bytes, src, dst, UNVERIFIED), Ok(expected));
            let (theirs, payload) = FixedHeader::from_slice(&bytes).unwrap();
            let sealed = match (src, dst) {
                (IpAddr::V4(a), IpAddr::V4(b)) => theirs.calc_checksum_ipv4_raw(a.octets(), b.octets(), payload),
                (IpAddr::V6(a), IpAddr::V6(b)) => theirs.calc_checksum_ipv6_raw(a.octets(), b.octets(), payload),
                _ => unreachable!(),
            };
            prop_assert_eq!(theirs.checksum, sealed.unwrap());

            // A device adds the rest to the seed.
            let mut seeded = HeaderBuf::new();
            UdpHeader { src_port, dst_port }.write_seeded(src, dst, payload.len(), &mut seeded);
            prop_assert_eq!(&seeded[..6], &out[..6]);
            let mut sum = Sum::new();
            sum.add(&seeded);
            sum.add(payload);
            prop_assert!(sum.finish() == theirs.checksum || theirs.checksum == 0xffff && sum.finish() == 0);
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            (src, dst) in any_ends(), bytes in prop::collection::vec(any::<u8>(), 0..60)
        ) {
            for checksum in [UNVERIFIED, ChecksumState::Trusted] {
                if let Ok(datagram) = parse(&bytes, src, dst, checksum) {
                    prop_assert!(datagram.payload.len() + HEADER_LEN <= bytes.len());
                }
            }
        }
    }
}
