//! UDP datagrams (RFC 768, RFC 1122 section 4.1, RFC 8200 section 8.1).
//!
//! Owns: header and checksum. Owns not: sockets, which are in `proto::udp`.

use core::net::IpAddr;

use etherparse::{UdpHeader as FixedHeader, UdpHeaderSlice};

use super::HeaderBuf;
use super::checksum::Sum;
use super::ip::PROTOCOL_UDP;
use crate::proto::counters::DropReason;
use crate::proto::packet::ChecksumState;

/// Bytes of a UDP header.
pub const HEADER_LEN: usize = 8;

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
    let datagram = bytes.get(..len).ok_or(DropReason::UdpMalformed)?;
    let payload = datagram.get(HEADER_LEN..).ok_or(DropReason::UdpMalformed)?;
    match (checksum, header.checksum(), src) {
        (ChecksumState::Trusted, _, _) => {}
        // The sender computed none (RFC 768); not allowed over IPv6 (RFC 8200 section 8.1).
        (ChecksumState::Unverified, 0, IpAddr::V4(_)) => {}
        (ChecksumState::Unverified, 0, IpAddr::V6(_)) => return Err(DropReason::UdpChecksum),
        (ChecksumState::Unverified, _, _) => {
            let mut sum = Sum::pseudo_header(src, dst, PROTOCOL_UDP, len);
            sum.add(datagram);
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
        let len = HEADER_LEN + payload.iter().map(|piece| piece.len()).sum::<usize>();
        let mut header = FixedHeader {
            source_port: self.src_port,
            destination_port: self.dst_port,
            length: u16::try_from(len).expect("a UDP datagram has at most 65,535 bytes"),
            checksum: 0,
        };
        let mut sum = Sum::pseudo_header(src, dst, PROTOCOL_UDP, len);
        sum.add(&header.to_bytes());
        for piece in payload {
            sum.add(piece);
        }
        // Zero says "none computed"; its other representation says the same sum (RFC 768).
        header.checksum = match sum.finish() {
            0 => 0xffff,
            checksum => checksum,
        };
        out.try_extend_from_slice(&header.to_bytes()).expect("the header buffer has room for a UDP header");
    }
}
