//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers.

use core::net::IpAddr;

use super::HeaderBuf;

/// What a header we send says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpHeader {
    /// Source address.
    pub src: IpAddr,
    /// Destination address, of the same family.
    pub dst: IpAddr,
    /// Protocol or next header of the payload.
    pub protocol: u8,
    /// Time to live, hop limit.
    pub hop_limit: u8,
    /// Type of service, traffic class.
    pub tos: u8,
    /// IPv4 identification; not used in IPv6.
    pub ident: u16,
    /// IPv4 don't-fragment flag.
    pub dont_fragment: bool,
}

impl IpHeader {
    /// Appends the header for a payload of `payload_len` bytes. Header lengths: 20 and 40 bytes.
    pub fn write(&self, payload_len: usize, out: &mut HeaderBuf) { todo!() }

    /// Bytes that [`write`](Self::write) appends.
    pub fn len(&self) -> usize { if self.src.is_ipv4() { 20 } else { 40 } }
}

/// Protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// Protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// Protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// Next header value of ICMPv6.
pub const PROTOCOL_ICMPV6: u8 = 58;
