//! Super-segments and unfinished checksums, made into what a plain link carries.
//!
//! Owns: where the transport header of a packet in transit lies, its checksum completed, and a super-segment cut
//! into packets (TCP: RFC 9293; UDP: RFC 768), each with headers of its own. Owns not whether either is
//! needed, which is [`forward`](super::forward)'s to say: most devices take both off our hands.
//!
//! The conventions are those of Linux's `virtio_net_hdr`: the checksum field holds the folded sum of the
//! pseudo-header over the length of all, and every packet but the last is filled up to `gso_size`.

use core::net::IpAddr;
use core::num::NonZeroU16;

use super::datagram::Transit;
use crate::proto::packet::ChecksumState;
use crate::proto::wire::checksum::Sum;
use crate::proto::wire::ip::{PROTOCOL_TCP, PROTOCOL_UDP};
use crate::proto::wire::tcp::{FLAG_FIN, FLAG_PSH};
use crate::proto::wire::udp;

/// Whose header it is: protocols that know super-segments, and whose checksums are left unfinished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// The transport header of a packet in transit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transport {
    pub(super) protocol: Protocol,
    /// Where it begins, in bytes from the IP header's first.
    pub(super) start: usize,
    /// Its length in bytes, options included.
    pub(super) header_len: usize,
}

impl Transport {
    /// Finds the header, behind whatever extension headers. `None` if it is of another protocol, isn't whole,
    /// or lies in another fragment.
    pub(super) fn of(transit: &Transit<'_, '_>) -> Option<Self> {
        let mut parsed = *transit.parsed;
        parsed.follow_extensions().ok()?;
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
    pub(super) fn checksum_offset(&self) -> usize {
        match self.protocol {
            Protocol::Tcp => TCP_CHECKSUM,
            Protocol::Udp => UDP_CHECKSUM,
        }
    }

    /// Where the data begins, in bytes from the IP header's first.
    pub(super) fn data_at(&self) -> usize {
        self.start + self.header_len
    }

    /// What the checksum field has to hold once the pseudo-header's sum in it is completed with all that it
    /// covers: `covered`, from the transport header on.
    pub(super) fn completed(&self, covered: &[u8]) -> [u8; 2] {
        let mut sum = Sum::new();
        sum.add(covered);
        self.on_the_wire(sum)
    }

    /// The folded sum of the pseudo-header for a datagram whose transport header and data have `len` bytes.
    pub(super) fn seed(&self, src: IpAddr, dst: IpAddr, len: usize) -> [u8; 2] {
        (!Sum::pseudo_header(src, dst, self.number(), len).finish()).to_be_bytes()
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

/// Cuts a super-segment into packets of `size` bytes of data each, the last of fewer, and calls `each` with the
/// headers and the data of one after another, until it says `false`. `ip_header` is the packet's first header as
/// it is to go on.
pub(super) fn split(
    transit: &Transit<'_, '_>,
    transport: &Transport,
    ip_header: &[u8],
    size: NonZeroU16,
    mut each: impl FnMut(&[u8], &[u8]) -> bool,
) {
    let whole = transit.parsed.whole;
    let (Some(headers), Some(data)) = (whole.get(..transport.data_at()), whole.get(transport.data_at()..))
    else {
        return;
    };
    let mut headers = headers.to_vec();
    if let Some(first) = headers.get_mut(..ip_header.len()) {
        first.copy_from_slice(ip_header);
    }
    let original = Original::of(transit, transport, &headers);
    let count = data.len().div_ceil(usize::from(size.get()));
    for (index, piece) in data.chunks(usize::from(size.get())).enumerate() {
        let place = Place { index, at: index * usize::from(size.get()), is_last: index + 1 == count };
        original.write_headers(&mut headers, place, piece);
        if !each(&headers, piece) {
            return;
        }
    }
}

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
    fn of(transit: &Transit<'_, '_>, transport: &Transport, headers: &[u8]) -> Self {
        let fields = headers.get(transport.start..).unwrap_or_default();
        let seq = fields.get(TCP_SEQ..).and_then(|field| field.first_chunk()).copied().unwrap_or_default();
        let checksum_at = transport.checksum_offset();
        let has_no_checksum = transport.protocol == Protocol::Udp
            && transit.checksum != ChecksumState::Partial
            && transit.parsed.src.is_ipv4()
            && fields.get(checksum_at..checksum_at + 2) == Some(&[0, 0]);
        Original {
            src: transit.parsed.src,
            dst: transit.parsed.dst,
            transport: *transport,
            ident: transit.parsed.ident,
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
