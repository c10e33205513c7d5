//! ICMP (RFC 792, RFC 1122 section 3.2.2) and ICMPv6 (RFC 4443) messages.
//!
//! Owns: the shape of messages and their checksum, and what can be read from the packet that an error
//! quotes. Owns not: which messages are answered or believed; that is `ip::icmp`.
//!
//! The eight bytes that every message begins with are read here rather than with `etherparse`'s slices:
//! those refuse messages of a type they know better (a timestamp that isn't 20 bytes), and a peer's odd
//! message is to be ignored, not malformed. The numbers of types and codes are `etherparse`'s.

use core::net::IpAddr;

use super::HeaderBuf;
use super::checksum::Sum;
use super::ip::{self, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, QuotedPart};
use crate::proto::counters::DropReason;
use crate::proto::packet::ChecksumState;

/// Types and codes of ICMP.
pub use etherparse::icmpv4 as v4;
/// Types and codes of ICMPv6.
pub use etherparse::icmpv6 as v6;

/// Bytes before a message's body: type, code, checksum, and a word whose meaning depends on the type.
pub const HEADER_LEN: usize = 8;

/// A message, sent or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Asks for a reply with the same content (ping).
    EchoRequest(Echo<'a>),
    /// The reply.
    EchoReply(Echo<'a>),
    /// Tells what became of a packet.
    Error(ErrorMessage<'a>),
    /// Anything else.
    Other(Other<'a>),
}

/// An echo request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    /// Which conversation it belongs to.
    pub ident: u16,
    /// Its number in the conversation.
    pub seq: u16,
    /// What is to be sent back.
    pub data: &'a [u8],
}

/// An error: ICMP types 3, 4, 5, 11 and 12 (RFC 1122 section 3.2.2), ICMPv6 types below 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorMessage<'a> {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The second word, in host order. "Packet too big" of ICMPv6: the MTU. "Fragmentation needed" of ICMP:
    /// the MTU in the lower half (RFC 1191), the upper half is to be ignored (RFC 4884 uses it). Parameter
    /// problem: the pointer, of ICMP in the highest octet, of ICMPv6 in all four.
    pub word: u32,
    /// The beginning of the packet that the error is about; see [`quoted`].
    pub quoted: &'a [u8],
}

/// A message that is neither echo nor error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other<'a> {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The second word, in host order.
    pub word: u32,
    /// What follows.
    pub body: &'a [u8],
}

/// Reads a message. `src` and `dst` are those of the IP header: they tell the family, and ICMPv6's checksum
/// covers them.
///
/// # Errors
/// `IcmpMalformed` (shorter than eight bytes) or `IcmpChecksum`.
pub fn parse(
    bytes: &[u8],
    src: IpAddr,
    dst: IpAddr,
    checksum: ChecksumState,
) -> Result<Message<'_>, DropReason> {
    let (&[kind, code, _, _, a, b, c, d], body) =
        //= RFC792 truncated
        bytes.split_first_chunk::<HEADER_LEN>().ok_or(DropReason::IcmpMalformed)?;
    match checksum {
        ChecksumState::Trusted | ChecksumState::Partial => {}
        ChecksumState::Unverified => {
            let mut sum = seed(src, dst, bytes.len());
            //= RFC792 checksum
            sum.add(bytes);
            if !sum.is_valid() {
                return Err(DropReason::IcmpChecksum);
            }
        }
    }
    let echo = Echo { ident: u16::from_be_bytes([a, b]), seq: u16::from_be_bytes([c, d]), data: body };
    let word = u32::from_be_bytes([a, b, c, d]);
    Ok(match (src, kind) {
        (IpAddr::V4(_), v4::TYPE_ECHO_REQUEST) | (IpAddr::V6(_), v6::TYPE_ECHO_REQUEST) => {
            Message::EchoRequest(echo)
        }
        (IpAddr::V4(_), v4::TYPE_ECHO_REPLY) | (IpAddr::V6(_), v6::TYPE_ECHO_REPLY) => {
            Message::EchoReply(echo)
        }
        _ if is_error_kind(src, kind) => Message::Error(ErrorMessage { kind, code, word, quoted: body }),
        _ => Message::Other(Other { kind, code, word, body }),
    })
}

/// Whether a type is that of an error message, in the family of `address`.
pub fn is_error_kind(address: IpAddr, kind: u8) -> bool {
    match address {
        IpAddr::V4(_) => matches!(
            kind,
            v4::TYPE_DEST_UNREACH
                | v4::TYPE_SOURCE_QUENCH
                | v4::TYPE_REDIRECT
                | v4::TYPE_TIME_EXCEEDED
                | v4::TYPE_PARAMETER_PROBLEM
        ),
        IpAddr::V6(_) => kind < 128,
    }
}

/// Whether an ICMP message (from its first byte, read or not) must never be answered with an error: it is
/// one itself, or a redirect, or too short to tell (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e).
pub fn is_error(address: IpAddr, bytes: &[u8]) -> bool {
    match bytes.first() {
        Some(&kind) => {
            //= RFC4443 2.4 e.2 redirects
            is_error_kind(address, kind) || (address.is_ipv6() && kind == v6::TYPE_REDIRECT_MESSAGE)
        }
        None => true,
    }
}

impl<'a> Message<'a> {
    /// Appends the message's first eight bytes with a checksum that covers the [`body`](Self::body) too,
    /// which is to follow them on the wire. Addresses are those of the IP header to be sent.
    ///
    /// # Panics
    /// If `out` has no room for eight bytes.
    pub fn write_header(&self, src: IpAddr, dst: IpAddr, out: &mut HeaderBuf) {
        let is_v4 = src.is_ipv4();
        let (kind, code, word) = match self {
            Message::EchoRequest(echo) => {
                (if is_v4 { v4::TYPE_ECHO_REQUEST } else { v6::TYPE_ECHO_REQUEST }, 0, echo.word())
            }
            Message::EchoReply(echo) => {
                (if is_v4 { v4::TYPE_ECHO_REPLY } else { v6::TYPE_ECHO_REPLY }, 0, echo.word())
            }
            Message::Error(error) => (error.kind, error.code, error.word),
            Message::Other(other) => (other.kind, other.code, other.word),
        };
        let [a, b, c, d] = word.to_be_bytes();
        let mut header = [kind, code, 0, 0, a, b, c, d];
        let body = self.body();
        let mut sum = seed(src, dst, HEADER_LEN + body.len());
        sum.add(&header);
        //= RFC792 checksum
        sum.add(body);
        [header[2], header[3]] = sum.finish().to_be_bytes();
        out.try_extend_from_slice(&header).expect("the header buffer has room for an ICMP header");
    }

    /// What follows the first eight bytes: the echoed data, the quoted packet.
    pub fn body(&self) -> &'a [u8] {
        match self {
            Message::EchoRequest(echo) | Message::EchoReply(echo) => echo.data,
            Message::Error(error) => error.quoted,
            Message::Other(other) => other.body,
        }
    }
}

impl Echo<'_> {
    /// Identifier and number as the second word of a message.
    pub fn word(&self) -> u32 {
        u32::from(self.ident) << 16 | u32::from(self.seq)
    }
}

/// What the checksum of a message begins with: nothing in ICMP, the pseudo-header in ICMPv6.
fn seed(src: IpAddr, dst: IpAddr, len: usize) -> Sum {
    match src {
        IpAddr::V4(_) => Sum::new(),
        //= RFC4443 2.3 checksum
        //= RFC8200 8.1 ICMPv6
        IpAddr::V6(_) => Sum::pseudo_header(src, dst, PROTOCOL_ICMPV6, len),
    }
}

/// What can be read from the packet that an error quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted<'a> {
    /// Source of the quoted packet.
    pub src: IpAddr,
    /// Destination of the quoted packet.
    pub dst: IpAddr,
    /// Its transport protocol, after extension headers.
    pub protocol: u8,
    /// What is there of its transport header and payload. Empty for a fragment that isn't the first.
    pub transport: &'a [u8],
    /// How much of its datagram it is.
    pub part: QuotedPart,
}

impl Quoted<'_> {
    /// Source and destination port of a quoted TCP or UDP packet.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match (self.protocol, self.transport.first_chunk()) {
            (PROTOCOL_TCP | PROTOCOL_UDP, Some(&[a, b, c, d])) => {
                Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
            }
            _ => None,
        }
    }

    /// The sequence number of a quoted TCP segment.
    pub fn tcp_seq(&self) -> Option<u32> {
        match (self.protocol, self.transport.first_chunk()) {
            (PROTOCOL_TCP, Some(&[_, _, _, _, a, b, c, d])) => Some(u32::from_be_bytes([a, b, c, d])),
            _ => None,
        }
    }
}

/// Identifier and number of an echo request that an error quotes, from its first byte; `address` tells the family.
pub fn quoted_echo_request(address: IpAddr, transport: &[u8]) -> Option<(u16, u16)> {
    let kind = if address.is_ipv4() { v4::TYPE_ECHO_REQUEST } else { v6::TYPE_ECHO_REQUEST };
    match transport.first_chunk() {
        Some(&[first, 0, _, _, a, b, c, d]) if first == kind => {
            Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
        }
        _ => None,
    }
}

/// Reads the packet that an error quotes, cut off wherever it is. `None` if not even its headers up to the
/// transport's are there.
pub fn quoted(bytes: &[u8]) -> Option<Quoted<'_>> {
    let ip::QuotedIp { src, dst, protocol, payload, part } = ip::parse_quoted(bytes)?;
    Some(Quoted { src, dst, protocol, transport: payload, part })
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::proto::wire::testing::{any_ends, for_each_bit_turned, hex, ip};

    const UNVERIFIED: ChecksumState = ChecksumState::Unverified;

    /// Echo requests of the Linux kernel from 10.9.0.1 and fd09::1 to 10.9.0.2 and fd09::2.
    fn kernel_pings() -> [(Vec<u8>, IpAddr, IpAddr); 2] {
        [
            (hex("0800bbfb2ff300010001020304050607"), ip("10.9.0.1"), ip("10.9.0.2")),
            (hex("800049992ff400010001020304050607"), ip("fd09::1"), ip("fd09::2")),
        ]
    }

    /// Its port unreachables for a datagram from port 1000 to port 2000.
    fn kernel_unreachables() -> [(Vec<u8>, IpAddr, IpAddr); 2] {
        let v4 = "0303187600000000 45000020000100004011 66b80a0900020a090001 03e807d0000c0000 64617461";
        let v6 = "0104933f00000000 60000000000c1140 fd090000000000000000000000000002
            fd090000000000000000000000000001 03e807d0000c2145 64617461";
        [(hex(v4), ip("10.9.0.1"), ip("10.9.0.2")), (hex(v6), ip("fd09::1"), ip("fd09::2"))]
    }

    fn written(message: &Message<'_>, src: IpAddr, dst: IpAddr) -> Vec<u8> {
        let mut out = HeaderBuf::new();
        message.write_header(src, dst, &mut out);
        [&out[..], message.body()].concat()
    }

    fn error_of(bytes: &[u8], src: IpAddr, dst: IpAddr) -> ErrorMessage<'_> {
        match parse(bytes, src, dst, UNVERIFIED).unwrap() {
            Message::Error(error) => error,
            other => panic!("not an error: {other:?}"),
        }
    }

    //= RFC792 checksum
    //= RFC4443 2.3 checksum
    //= RFC8200 8.1 ICMPv6
    #[test]
    fn a_kernel_s_ping_is_read_and_written_byte_by_byte() {
        for (bytes, src, dst) in kernel_pings() {
            let message = parse(&bytes, src, dst, UNVERIFIED).unwrap();
            let Message::EchoRequest(echo) = message else { panic!("not a request: {message:?}") };
            assert_eq!((echo.seq, echo.data), (1, &[0, 1, 2, 3, 4, 5, 6, 7][..]));
            assert_eq!(written(&message, src, dst), bytes);
            let reply = written(&Message::EchoReply(echo), dst, src);
            assert_eq!(parse(&reply, dst, src, UNVERIFIED), Ok(Message::EchoReply(echo)));
            assert!(matches!(reply[0], 0 | 129));
        }
    }

    #[test]
    fn a_kernel_s_port_unreachable_tells_whose_packet_it_was() {
        for (bytes, src, dst) in kernel_unreachables() {
            let error = error_of(&bytes, src, dst);
            assert_eq!((error.kind, error.code), if src.is_ipv4() { (3, 3) } else { (1, 4) });
            let packet = quoted(error.quoted).unwrap();
            assert_eq!((packet.src, packet.dst, packet.protocol), (dst, src, PROTOCOL_UDP));
            assert_eq!((packet.ports(), packet.tcp_seq()), (Some((1000, 2000)), None));
            assert_eq!(written(&Message::Error(error), src, dst), bytes);
        }
    }

    //= RFC792 checksum
    #[test]
    fn no_single_bit_turned_on_the_way_goes_unnoticed() {
        for (bytes, src, dst) in kernel_pings().into_iter().chain(kernel_unreachables()) {
            for_each_bit_turned(&bytes, |_, turned| {
                assert_eq!(parse(turned, src, dst, UNVERIFIED), Err(DropReason::IcmpChecksum));
                assert!(parse(turned, src, dst, ChecksumState::Trusted).is_ok());
            });
        }
    }

    //= RFC4443 2.3 checksum
    //= RFC8200 8.1 ICMPv6
    #[test]
    fn icmpv6_covers_the_addresses_and_icmp_does_not() {
        let [(v4, ..), (v6, src, _)] = kernel_pings();
        assert!(parse(&v4, ip("1.2.3.4"), ip("5.6.7.8"), UNVERIFIED).is_ok());
        assert_eq!(parse(&v6, src, ip("fd09::3"), UNVERIFIED), Err(DropReason::IcmpChecksum));
    }

    //= RFC792 truncated
    #[test]
    fn less_than_eight_bytes_are_no_message() {
        for (bytes, src, dst) in kernel_pings() {
            for len in 0..HEADER_LEN {
                let cut = parse(&bytes[..len], src, dst, ChecksumState::Trusted);
                assert_eq!(cut, Err(DropReason::IcmpMalformed));
            }
        }
    }

    #[test]
    fn errors_are_told_from_the_rest_in_each_family() {
        let errors =
            |address: IpAddr| (0..=255u8).filter(|kind| is_error(address, &[*kind])).collect::<Vec<_>>();
        assert_eq!(errors(ip("10.9.0.1")), [3, 4, 5, 11, 12]);
        assert_eq!(errors(ip("fd09::1")), (0..128).chain([137]).collect::<Vec<_>>());
        assert!(is_error(ip("10.9.0.1"), &[]) && is_error(ip("fd09::1"), &[]));
    }

    #[test]
    fn a_quoted_segment_tells_ports_and_sequence_number_from_its_first_eight_bytes() {
        let segment = "4500003c8f264000400697810a0900010a090002 922e0007 2c48e981";
        let packet = hex(segment);
        let whole = quoted(&packet).unwrap();
        assert_eq!((whole.protocol, whole.ports()), (PROTOCOL_TCP, Some((37_422, 7))));
        assert_eq!(whole.tcp_seq(), Some(0x2c48_e981));
        let cut = quoted(&packet[..24]).unwrap();
        assert_eq!((cut.ports(), cut.tcp_seq()), (Some((37_422, 7)), None));
        assert_eq!(quoted(&packet[..20]).unwrap().ports(), None);
        assert_eq!(quoted(&packet[..19]), None);
    }

    //= RFC4443 2.4 d upper layer
    #[test]
    fn a_quoted_packet_is_read_through_its_options_and_extension_headers() {
        // A datagram of the kernel's with a record-route option, and one with destination options.
        let options = hex("4700002578d34000401192cf0a0900010a090002 0707080a09000100 ed3200070009868d78");
        assert_eq!(quoted(&options).unwrap().ports(), Some((0xed32, 7)));
        let extension =
            hex("6001d8df00113c40fd090000000000000000000000000001fd090000000000000000000000000002
             1100010400000000 84180007000909a678");
        let packet = quoted(&extension).unwrap();
        assert_eq!((packet.protocol, packet.ports()), (PROTOCOL_UDP, Some((0x8418, 7))));
        assert_eq!(quoted(&extension[..47]), None);
    }

    #[test]
    fn a_quoted_fragment_that_is_not_the_first_tells_no_ports() {
        let v4 = hex("4500013477f9009d4011ed0e0a0900010a090002 e0e1e2e3e4e5e6e7");
        assert_eq!(quoted(&v4).map(|packet| (packet.protocol, packet.ports())), Some((PROTOCOL_UDP, None)));
        let v6 = "60094d6601402c40fd090000000000000000000000000001fd090000000000000000000000000002";
        let later = hex(&[v6, "110004d088ef770d c8c9cacbcccdcecf"].concat());
        assert_eq!(
            quoted(&later).map(|packet| (packet.protocol, packet.ports())),
            Some((PROTOCOL_UDP, None))
        );
        let first = hex(&[v6, "1100000188ef770d bfa600070608b89b"].concat());
        assert_eq!(quoted(&first).unwrap().ports(), Some((0xbfa6, 7)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            (src, dst) in any_ends(),
            which in 0..4,
            (kind, code, word) in any::<(u8, u8, u32)>(),
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let echo = Echo { ident: (word >> 16) as u16, seq: word as u16, data: &body };
            let message = match which {
                0 => Message::EchoRequest(echo),
                1 => Message::EchoReply(echo),
                2 => Message::Error(ErrorMessage { kind: [3, 4][kind as usize % 2], code, word, quoted: &body }),
                _ => Message::Other(Other { kind: [17, 200][kind as usize % 2], code, word, body: &body }),
            };
            // 17 is an error in ICMPv6.
            prop_assume!(!(src.is_ipv6() && which == 3 && kind % 2 == 0));
            let bytes = written(&message, src, dst);
            prop_assert_eq!(parse(&bytes, src, dst, UNVERIFIED), Ok(message));
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            (src, dst) in any_ends(), bytes in prop::collection::vec(any::<u8>(), 0..100)
        ) {
            let _ = parse(&bytes, src, dst, UNVERIFIED);
            if let Ok(message) = parse(&bytes, src, dst, ChecksumState::Trusted) {
                prop_assert_eq!(message.body(), &bytes[HEADER_LEN..]);
            }
        }

        #[test]
        fn any_quoted_bytes_are_read_without_panic(
            version in prop::sample::select(alloc::vec![0x45u8, 0x46, 0x4f, 0x60, 0x00]),
            mut bytes in prop::collection::vec(any::<u8>(), 1..200),
            next in prop::sample::select(alloc::vec![0u8, 43, 44, 60, 6, 17]),
        ) {
            bytes[0] = version;
            if let Some(next_header) = bytes.get_mut(6) {
                *next_header = next;
            }
            if let Some(packet) = quoted(&bytes) {
                let _ = (packet.ports(), packet.tcp_seq());
                prop_assert!(packet.transport.len() + 20 <= bytes.len());
            }
        }
    }
}
