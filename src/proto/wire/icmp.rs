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
use super::ip::{self, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP};
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
        bytes.split_first_chunk::<HEADER_LEN>().ok_or(DropReason::IcmpMalformed)?;
    match checksum {
        ChecksumState::Trusted => {}
        ChecksumState::Unverified => {
            let mut sum = seed(src, dst, bytes.len());
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
    fn word(&self) -> u32 {
        u32::from(self.ident) << 16 | u32::from(self.seq)
    }
}

/// What the checksum of a message begins with: nothing in ICMP, the pseudo-header in ICMPv6.
fn seed(src: IpAddr, dst: IpAddr, len: usize) -> Sum {
    match src {
        IpAddr::V4(_) => Sum::new(),
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

/// Reads the packet that an error quotes, cut off wherever it is. `None` if not even its headers up to the
/// transport's are there.
pub fn quoted(bytes: &[u8]) -> Option<Quoted<'_>> {
    let ip::QuotedIp { src, dst, protocol, payload } = ip::parse_quoted(bytes)?;
    Some(Quoted { src, dst, protocol, transport: payload })
}
