//! Super-segments and unfinished checksums, made into what a plain link carries.
//!
//! Owns: where the transport header of such a packet lies, its checksum completed, and a super-segment cut
//! into packets (TCP: RFC 9293; UDP: RFC 768), each with headers of its own. Owns not whether either is
//! needed, which is for those to say who send it on (`forward`, and the paths of `sim`): most devices
//! take both off our hands.
//!
//! The conventions are those of Linux's `virtio_net_hdr`: the checksum field holds the folded sum of the
//! pseudo-header over the length of all, and every packet but the last is filled up to `gso_size`.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::num::NonZeroU16;

use super::datagram::Transit;
use crate::proto::packet::{ChecksumState, EgressChecksum, Offloads, Packet};
use crate::proto::wire::checksum::Sum;
use crate::proto::wire::ip::{self as wire, PROTOCOL_TCP, PROTOCOL_UDP, Parsed};
use crate::proto::wire::tcp::{FLAG_FIN, FLAG_PSH};
use crate::proto::wire::udp;

/// A packet that is none of a wire's yet: a super-segment, or one whose checksum field holds the pseudo-header's sum alone.
///
/// Whoever sends it on either finds a device that [takes it as it is](Self::is_taken_by), or [finishes](Self::finish) it.
///
/// ```
/// use core::num::NonZeroU16;
/// use tunstack::proto::ip::segment::Unfinished;
/// use tunstack::proto::{ChecksumState, Offloads, Packet};
/// use tunstack::time::Instant;
///
/// // Five bytes over UDP, that are to go in datagrams of two bytes each.
/// let mut bytes = vec![
///     0x45, 0, 0, 33, 0, 7, 0, 0, 64, 17, 0x66, 0xc3, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
///     0x30, 0x39, 0, 53, 0, 13, 0x14, 0x21, // UDP: a checksum of 10.0.0.1, 10.0.0.2, the protocol and the length
/// ];
/// bytes.extend(b"abcde");
/// let packet = Packet {
///     checksum: ChecksumState::Partial,
///     gso_size: NonZeroU16::new(2),
///     ..Packet::plain(&bytes, Instant::ZERO)
/// };
/// let unfinished = Unfinished::of(&packet).unwrap().unwrap();
/// assert!(!unfinished.is_taken_by(Offloads::default()));
///
/// let mut data = Vec::new();
/// unfinished.finish(|headers, piece| data.push((headers.len(), piece.to_vec())));
/// assert_eq!(data, [(28, b"ab".to_vec()), (28, b"cd".to_vec()), (28, b"e".to_vec())]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Unfinished<'a> {
    /// All extension headers followed.
    parsed: Parsed<'a>,
    transport: Transport,
    checksum: ChecksumState,
    /// Set if it stands for more than one packet.
    gso_size: Option<NonZeroU16>,
}

/// A packet that claims to be a super-segment or to lack its checksum, and in which neither TCP nor UDP is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither TCP nor UDP: nobody knows how to finish it")]
pub struct Unfinishable;

impl<'a> Unfinished<'a> {
    /// Looks at a packet as it was received. `None` if it is one of a wire's already, as most are, good or bad.
    ///
    /// # Errors
    /// [`Unfinishable`], and whose headers don't hold together.
    pub fn of(packet: &Packet<'a>) -> Result<Option<Self>, Unfinishable> {
        if packet.gso_size.is_none() && packet.checksum != ChecksumState::Partial {
            return Ok(None);
        }
        let parsed = wire::parse(packet.bytes).map_err(|_| Unfinishable)?;
        let unfinished = Self::new(parsed, packet.checksum, packet.gso_size).ok_or(Unfinishable)?;
        Ok(Some(unfinished).filter(|unfinished| unfinished.is_super() || unfinished.lacks_sum()))
    }

    /// A packet on its way to somebody else, whether there is something to be finished in it or not. `None` as
    /// [`Unfinishable`].
    pub(super) fn in_transit(transit: &Transit<'_, 'a>) -> Option<Self> {
        let mut parsed = *transit.parsed;
        parsed.follow_extensions().ok()?;
        Self::new(parsed, transit.checksum, transit.gso_size)
    }

    fn new(parsed: Parsed<'a>, checksum: ChecksumState, gso_size: Option<NonZeroU16>) -> Option<Self> {
        let transport = Transport::of(&parsed)?;
        let data_len = parsed.whole.len().saturating_sub(transport.data_at());
        let gso_size = gso_size.filter(|size| usize::from(size.get()) < data_len);
        Some(Unfinished { parsed, transport, checksum, gso_size })
    }

    /// Whether it stands for more than one packet.
    pub fn is_super(&self) -> bool {
        self.gso_size.is_some()
    }

    /// How much data each of the packets has that it stands for, the last excepted; `None` if it is a single one.
    pub fn gso_size(&self) -> Option<NonZeroU16> {
        self.gso_size
    }

    /// Whether its checksum field holds the pseudo-header's sum alone.
    pub(super) fn lacks_sum(&self) -> bool {
        self.checksum == ChecksumState::Partial
    }

    /// Whether a device with these offloads takes it as it is.
    pub fn is_taken_by(&self, offloads: Offloads) -> bool {
        let takes_kind = match (self.transport.protocol, self.parsed.src) {
            (Protocol::Tcp, IpAddr::V4(_)) => offloads.tso4,
            (Protocol::Tcp, IpAddr::V6(_)) => offloads.tso6,
            (Protocol::Udp, _) => offloads.uso,
        };
        offloads.checksum && (takes_kind || !self.is_super())
    }

    /// The datagram as such a device takes it, in one piece.
    pub fn whole(&self) -> Vec<u8> {
        let mut whole = self.parsed.whole.to_vec();
        self.seed(&mut whole);
        whole
    }

    /// What such a device has to be told of the checksum.
    pub fn egress_checksum(&self) -> EgressChecksum {
        // Both are within a datagram.
        let (start, offset) = (self.transport.start as u16, self.transport.checksum_offset() as u16);
        EgressChecksum::Partial { start, offset }
    }

    /// Puts the pseudo-header's sum where the checksum is, if that was complete. `headers` are at least all headers.
    pub(super) fn seed(&self, headers: &mut [u8]) {
        if !self.lacks_sum() {
            let len = self.parsed.whole.len() - self.transport.start;
            let sum = Sum::pseudo_header(self.parsed.src, self.parsed.dst, self.transport.number(), len);
            put(headers, self.checksum_at(), (!sum.finish()).to_be_bytes());
        }
    }

    /// Makes packets of it that any link carries, and calls `each` with the headers and the data of one after another.
    pub fn finish(&self, mut each: impl FnMut(&[u8], &[u8])) {
        let Some(size) = self.gso_size else {
            let (headers, data) = self.parsed.whole.split_at(self.data_at().min(self.parsed.whole.len()));
            let mut headers = headers.to_vec();
            if self.lacks_sum() {
                put(&mut headers, self.checksum_at(), self.sum());
            }
            return each(&headers, data);
        };
        let ip_header = self.parsed.whole.get(..self.transport.start).unwrap_or_default();
        self.split(ip_header, size, |headers, data| {
            each(headers, data);
            true
        });
    }

    /// What the checksum field has to hold once the pseudo-header's sum in it is completed with all that it covers.
    pub(super) fn sum(&self) -> [u8; 2] {
        let mut sum = Sum::new();
        sum.add(self.parsed.whole.get(self.transport.start..).unwrap_or_default());
        self.transport.on_the_wire(sum)
    }

    /// Where the checksum field lies, in bytes from the IP header's first.
    pub(super) fn checksum_at(&self) -> usize {
        self.transport.start + self.transport.checksum_offset()
    }

    /// Where the data begins, in bytes from the IP header's first.
    pub(super) fn data_at(&self) -> usize {
        self.transport.data_at()
    }

    /// What follows all headers.
    pub(super) fn data(&self) -> &'a [u8] {
        self.parsed.whole.get(self.data_at()..).unwrap_or_default()
    }

    /// Cuts a super-segment into packets of `size` bytes of data each, the last of fewer, and calls `each` with the
    /// headers and the data of one after another, until it says `false`. `ip_header` is the packet's first header as
    /// it is to go on.
    pub(super) fn split(
        &self,
        ip_header: &[u8],
        size: NonZeroU16,
        mut each: impl FnMut(&[u8], &[u8]) -> bool,
    ) {
        let (Some(headers), data) = (self.parsed.whole.get(..self.data_at()), self.data()) else { return };
        let mut headers = headers.to_vec();
        if let Some(first) = headers.get_mut(..ip_header.len()) {
            first.copy_from_slice(ip_header);
        }
        let original = Original::of(self, &headers);
        let count = data.len().div_ceil(usize::from(size.get()));
        for (index, piece) in data.chunks(usize::from(size.get())).enumerate() {
            let place = Place { index, at: index * usize::from(size.get()), is_last: index + 1 == count };
            original.write_headers(&mut headers, place, piece);
            if !each(&headers, piece) {
                return;
            }
        }
    }
}

/// Whose header it is: protocols that know super-segments, and whose checksums are left unfinished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Udp,
}

/// The transport header of a packet.
#[derive(Clone, Copy, Debug)]
struct Transport {
    protocol: Protocol,
    /// Where it begins, in bytes from the IP header's first.
    start: usize,
    /// Its length in bytes, options included.
    header_len: usize,
}

impl Transport {
    /// Finds the header, behind whatever extension headers, which have been followed. `None` if it is of another protocol,
    /// isn't whole, or lies in another fragment.
    fn of(parsed: &Parsed<'_>) -> Option<Self> {
        let is_part = parsed.fragment.is_some_and(|fragment| fragment.offset_bytes > 0);
        if is_part || parsed.problem.is_some() {
            return None;
        }
        let start = parsed.header_len;
        let transport = match parsed.protocol {
            PROTOCOL_TCP => {
                let header_len = usize::from(parsed.payload.get(TCP_DATA_OFFSET)? >> 4) * 4;
                Transport { protocol: Protocol::Tcp, start, header_len }
            }
            PROTOCOL_UDP => Transport { protocol: Protocol::Udp, start, header_len: udp::HEADER_LEN },
            _ => return None,
        };
        let is_whole =
            (transport.checksum_offset() + 2..=parsed.payload.len()).contains(&transport.header_len);
        is_whole.then_some(transport)
    }

    /// Where the checksum field lies in the header.
    fn checksum_offset(&self) -> usize {
        match self.protocol {
            Protocol::Tcp => TCP_CHECKSUM,
            Protocol::Udp => UDP_CHECKSUM,
        }
    }

    /// Where the data begins, in bytes from the IP header's first.
    fn data_at(&self) -> usize {
        self.start + self.header_len
    }

    fn number(&self) -> u8 {
        match self.protocol {
            Protocol::Tcp => PROTOCOL_TCP,
            Protocol::Udp => PROTOCOL_UDP,
        }
    }

    fn on_the_wire(&self, sum: Sum) -> [u8; 2] {
        match (self.protocol, sum.finish()) {
            // Zero says "none computed"; its other representation says the same sum (RFC 768).
            (Protocol::Udp, 0) => [0xff; 2],
            (Protocol::Udp | Protocol::Tcp, checksum) => checksum.to_be_bytes(),
        }
    }
}

const TCP_SEQ: usize = 4;
const TCP_DATA_OFFSET: usize = 12;
const TCP_FLAGS: usize = 13;
const TCP_CHECKSUM: usize = 16;
const UDP_LENGTH: usize = 4;
const UDP_CHECKSUM: usize = 6;
/// Congestion window reduced, in TCP's flags octet (RFC 3168 section 6.1).
const FLAG_CWR: u8 = 0x80;

/// Which of the packets that a super-segment is cut into.
#[derive(Clone, Copy, Debug)]
struct Place {
    index: usize,
    /// Where its data begins in that of all.
    at: usize,
    is_last: bool,
}

/// What the headers of all packets are made of.
struct Original {
    src: IpAddr,
    dst: IpAddr,
    transport: Transport,
    ident: u16,
    seq: u32,
    tcp_flags: u8,
    /// UDP over IPv4 may do without a checksum.
    has_checksum: bool,
}

impl Original {
    fn of(unfinished: &Unfinished<'_>, headers: &[u8]) -> Self {
        let Unfinished { parsed, transport, .. } = unfinished;
        let fields = headers.get(transport.start..).unwrap_or_default();
        let seq = fields.get(TCP_SEQ..).and_then(|field| field.first_chunk()).copied().unwrap_or_default();
        let checksum_at = transport.checksum_offset();
        let has_no_checksum = transport.protocol == Protocol::Udp
            && !unfinished.lacks_sum()
            && parsed.src.is_ipv4()
            && fields.get(checksum_at..checksum_at + 2) == Some(&[0, 0]);
        Original {
            src: parsed.src,
            dst: parsed.dst,
            transport: *transport,
            ident: parsed.ident,
            seq: u32::from_be_bytes(seq),
            tcp_flags: fields.get(TCP_FLAGS).copied().unwrap_or_default(),
            has_checksum: !has_no_checksum,
        }
    }

    fn write_headers(&self, headers: &mut [u8], place: Place, piece: &[u8]) {
        let len = headers.len() + piece.len();
        let (ip, fields) = headers.split_at_mut(self.transport.start);
        self.write_ip(ip, place, len);
        let transport_len = fields.len() + piece.len();
        match self.transport.protocol {
            Protocol::Tcp => self.write_tcp(fields, place),
            Protocol::Udp => put(fields, UDP_LENGTH, (transport_len as u16).to_be_bytes()),
        }
        let checksum_at = self.transport.checksum_offset();
        put(fields, checksum_at, [0, 0]);
        if self.has_checksum {
            let mut sum = Sum::pseudo_header(self.src, self.dst, self.transport.number(), transport_len);
            sum.add(fields);
            sum.add(piece);
            put(fields, checksum_at, self.transport.on_the_wire(sum));
        }
    }

    /// Lengths, and over IPv4 an identification of its own for each packet: they are datagrams that may be
    /// fragmented (RFC 6864 section 4.1).
    fn write_ip(&self, header: &mut [u8], place: Place, len: usize) {
        match self.src {
            IpAddr::V4(_) => {
                put(header, 2, (len as u16).to_be_bytes());
                put(header, 4, self.ident.wrapping_add(place.index as u16).to_be_bytes());
                put(header, 10, [0, 0]);
                let mut sum = Sum::new();
                sum.add(header);
                put(header, 10, sum.finish().to_be_bytes());
            }
            IpAddr::V6(_) => put(header, 4, ((len - 40) as u16).to_be_bytes()),
        }
    }

    /// What is said once is said in the first segment (the window has been reduced) or in the last (that is all,
    /// and now).
    fn write_tcp(&self, header: &mut [u8], place: Place) {
        put(header, TCP_SEQ, self.seq.wrapping_add(place.at as u32).to_be_bytes());
        let mut flags = self.tcp_flags;
        if place.index > 0 {
            //= RFC3168 section 6.1.2: the sender sets CWR in the first new data packet after the reduction.
            flags &= !FLAG_CWR;
        }
        if !place.is_last {
            flags &= !(FLAG_FIN | FLAG_PSH);
        }
        put(header, TCP_FLAGS, [flags]);
    }
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(field) = bytes.get_mut(at..at + N) {
        field.copy_from_slice(&value);
    }
}

#[cfg(test)]
pub(super) mod model;
#[cfg(test)]
mod tests;
