//! The header that goes before each datagram of a device with offloads: `struct virtio_net_hdr` of
//! `linux/virtio_net.h`, in the byte order of this machine.
//!
//! Owns the bytes and what contradicts itself in them; of the datagram behind it knows only where its checksum field is.
//! The format is that of the Virtual I/O Device specification, section 5.1.6 ("Device Operation" of the network device).

use std::num::NonZeroU16;

use crate::proto::{ChecksumState, Egress, EgressChecksum};

/// Length of the header in bytes.
pub(super) const LEN: usize = 10;

/// `flags`: the checksum field holds the pseudo-header's sum, and `csum_start` and `csum_offset` say how to go on.
const NEEDS_CSUM: u8 = 1;
/// `flags`: whoever received the datagram has checked it.
const DATA_VALID: u8 = 2;

/// `gso_type`: the datagram stands for itself alone.
const GSO_NONE: u8 = 0;
/// `gso_type`: a super-segment of TCP over IPv4.
const GSO_TCPV4: u8 = 1;
/// `gso_type`: a super-segment of TCP over IPv6.
const GSO_TCPV6: u8 = 4;
/// `gso_type`: a super-datagram of UDP, over either family.
const GSO_UDP_L4: u8 = 5;
/// A bit beside `gso_type`: CWR is set in the TCP header, and belongs to the first segment alone.
const GSO_ECN: u8 = 0x80;

/// Where the checksum lies in TCP's header.
const TCP_CHECKSUM: u16 = 16;
/// Where the checksum lies in UDP's header.
const UDP_CHECKSUM: u16 = 6;
/// Length of UDP's header.
const UDP_HEADER_LEN: usize = 8;
/// Where IPv4's header names the protocol.
const IP_PROTOCOL: usize = 9;
/// TCP's number among the protocols.
const TCP: u8 = 6;
/// UDP's.
const UDP: u8 = 17;
/// Where TCP's header says how long it is, in words of 32 bits: the upper half of this byte.
const TCP_DATA_OFFSET: usize = 12;
/// Where TCP's flags are, and CWR among them (RFC 3168 section 6.1).
const TCP_FLAGS: usize = 13;
const TCP_CWR: u8 = 0x80;

/// The fields as they lie in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fields {
    flags: u8,
    gso_type: u8,
    hdr_len: u16,
    gso_size: u16,
    csum_start: u16,
    csum_offset: u16,
}

impl Fields {
    fn read(bytes: &[u8; LEN]) -> Self {
        let [flags, gso_type, a, b, c, d, e, f, g, h] = *bytes;
        Fields {
            flags,
            gso_type,
            hdr_len: u16::from_ne_bytes([a, b]),
            gso_size: u16::from_ne_bytes([c, d]),
            csum_start: u16::from_ne_bytes([e, f]),
            csum_offset: u16::from_ne_bytes([g, h]),
        }
    }

    fn write(self) -> [u8; LEN] {
        let [a, b] = self.hdr_len.to_ne_bytes();
        let [c, d] = self.gso_size.to_ne_bytes();
        let [e, f] = self.csum_start.to_ne_bytes();
        let [g, h] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, a, b, c, d, e, f, g, h]
    }
}

/// What a header says of a datagram that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) checksum: ChecksumState,
    pub(super) gso_size: Option<NonZeroU16>,
}

impl Meta {
    /// What nearly all headers say.
    pub(super) const USUAL: Meta = Meta { checksum: ChecksumState::Partial, gso_size: None };
}

/// Reads the header of a datagram. `None` if it contradicts itself or says what nobody has agreed to.
///
/// A checksum that isn't the datagram's own TCP or UDP checksum (GRE's, or that of a packet in a tunnel) is completed here, as
/// the stack knows of none other.
pub(super) fn read(header: &[u8; LEN], datagram: &mut [u8]) -> Option<Meta> {
    let fields = Fields::read(header);
    let gso_size = match fields.gso_type & !GSO_ECN {
        GSO_NONE => None,
        GSO_TCPV4 | GSO_TCPV6 | GSO_UDP_L4 => Some(NonZeroU16::new(fields.gso_size)?),
        _ => return None,
    };
    if fields.flags & NEEDS_CSUM == 0 {
        return match (fields.flags & DATA_VALID != 0, gso_size) {
            (true, gso_size) => Some(Meta { checksum: ChecksumState::Trusted, gso_size }),
            (false, None) => Some(Meta { checksum: ChecksumState::Unverified, gso_size: None }),
            // One checksum for many packets that nobody has made yet can't be right.
            (false, Some(_)) => None,
        };
    }
    let start = usize::from(fields.csum_start);
    let at = start + usize::from(fields.csum_offset);
    if at + 2 > datagram.len() {
        return None;
    }
    if gso_size.is_some() || is_own_transport(datagram, fields) {
        return Some(Meta { checksum: ChecksumState::Partial, gso_size });
    }
    complete(datagram, start, at);
    Some(Meta { checksum: ChecksumState::Unverified, gso_size: None })
}

/// Whether `buffer` begins with a header and behind it a single segment of TCP over IPv4 whose checksum is to be completed, as nearly
/// all that is small is: [`read`] then says [`Meta::USUAL`], and little has to be looked at. `len` is the length of both.
#[inline(always)]
pub(super) fn is_usual(buffer: &[u8], len: usize) -> bool {
    // If there are options, it is longer; TCP's checksum has to lie within.
    const IP_HEADER: usize = 20;
    const HEADERS: usize = LEN + IP_HEADER + TCP_CHECKSUM as usize + 2;
    let Some(both) = buffer.first_chunk::<HEADERS>() else { return false };
    let Some((header, headers)) = both.split_first_chunk() else { return false };
    let Fields { flags, gso_type, csum_start, csum_offset, .. } = Fields::read(header);
    len >= HEADERS
        && (flags, gso_type) == (NEEDS_CSUM, GSO_NONE)
        && (csum_start, csum_offset) == (IP_HEADER as u16, TCP_CHECKSUM)
        && (headers[0], headers[IP_PROTOCOL]) == (0x45, TCP)
}

/// Whether what is to be summed is TCP or UDP right behind the IP header.
fn is_own_transport(datagram: &[u8], fields: Fields) -> bool {
    let (len, protocol) = match datagram {
        [first, ..] if first >> 4 == 4 => (usize::from(first & 15) * 4, datagram.get(IP_PROTOCOL)),
        [first, ..] if first >> 4 == 6 => (40, datagram.get(6)),
        _ => return false,
    };
    let offset = match protocol {
        Some(&TCP) => TCP_CHECKSUM,
        Some(&UDP) => UDP_CHECKSUM,
        Some(_) | None => return false,
    };
    usize::from(fields.csum_start) == len && fields.csum_offset == offset
}

/// Sums from `start` to the end and stores the complement at `at`, which lies within. A sum of zero is stored as its other
/// form, as UDP asks (RFC 768) and nobody minds.
fn complete(datagram: &mut [u8], start: usize, at: usize) {
    let words = datagram.get(start..).unwrap_or_default().chunks(2);
    let sum: u64 =
        words.map(|word| u64::from(word[0]) << 8 | word.get(1).map_or(0, |&low| u64::from(low))).sum();
    let mut folded = sum;
    while folded > 0xffff {
        folded = (folded >> 16) + (folded & 0xffff);
    }
    let checksum = match !(folded as u16) {
        0 => 0xffff,
        checksum => checksum,
    };
    if let Some(field) = datagram.get_mut(at..at + 2) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The header of a datagram that is to be sent.
pub(super) fn write(egress: &Egress<'_>) -> [u8; LEN] {
    let EgressChecksum::Partial { start, offset } = egress.checksum else {
        debug_assert!(egress.gso_size.is_none(), "no super-segment has its checksum already");
        return Fields::default().write();
    };
    let plain = Fields { flags: NEEDS_CSUM, csum_start: start, csum_offset: offset, ..Fields::default() };
    let Some(size) = egress.gso_size else { return plain.write() };
    let headers_len = headers_len(egress.header, start, offset);
    if headers_len + usize::from(size.get()) >= egress.len() {
        return plain.write();
    }
    let Ok(hdr_len) = u16::try_from(headers_len) else { return plain.write() };
    let gso_type = gso_type(egress.header, start, offset);
    Fields { gso_type, hdr_len, gso_size: size.get(), ..plain }.write()
}

/// The length of all headers, of which `header` has more or less: what is sent from a queue is all in one piece.
fn headers_len(header: &[u8], start: u16, offset: u16) -> usize {
    let start = usize::from(start);
    if offset == UDP_CHECKSUM {
        return start + UDP_HEADER_LEN;
    }
    header.get(start + TCP_DATA_OFFSET).map_or(header.len(), |byte| start + usize::from(byte >> 4) * 4)
}

fn gso_type(header: &[u8], start: u16, offset: u16) -> u8 {
    if offset == UDP_CHECKSUM {
        return GSO_UDP_L4;
    }
    let flags = header.get(usize::from(start) + TCP_FLAGS).copied().unwrap_or_default();
    let ecn = if flags & TCP_CWR != 0 { GSO_ECN } else { 0 };
    let is_ipv6 = header.first().is_some_and(|first| first >> 4 == 6);
    ecn | if is_ipv6 { GSO_TCPV6 } else { GSO_TCPV4 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::DeviceId;

    const PARTIAL: Option<Meta> = Some(Meta::USUAL);

    fn fields(flags: u8, gso_type: u8, gso_size: u16) -> Fields {
        Fields { flags, gso_type, hdr_len: 40, gso_size, csum_start: 20, csum_offset: 16 }
    }

    /// A datagram of these headers and so much data.
    fn datagram(is_ipv6: bool, protocol: u8, flags: u8, data: usize) -> (Vec<u8>, u16) {
        let start = if is_ipv6 { 40 } else { 20 };
        let mut bytes = vec![0; start];
        bytes[0] = if is_ipv6 { 0x60 } else { 0x45 };
        bytes[if is_ipv6 { 6 } else { 9 }] = protocol;
        if protocol == 6 {
            bytes.extend([0; 20]);
            bytes[start + TCP_DATA_OFFSET] = 5 << 4;
            bytes[start + TCP_FLAGS] = flags;
        } else {
            bytes.extend([0; UDP_HEADER_LEN]);
        }
        bytes.extend(std::iter::repeat_n(7, data));
        (bytes, start as u16)
    }

    fn received(fields: Fields) -> Option<Meta> {
        read(&fields.write(), &mut datagram(false, 6, 0, 3000).0)
    }

    #[test]
    fn the_header_lies_in_memory_as_linux_has_it() {
        let header = Fields {
            flags: 1,
            gso_type: 4,
            hdr_len: 0x0102,
            gso_size: 0x0304,
            csum_start: 0x0506,
            csum_offset: 0x0708,
        };
        let expected: Vec<u8> =
            [vec![1, 4], [0x0102u16, 0x0304, 0x0506, 0x0708].map(u16::to_ne_bytes).concat()].concat();
        assert_eq!(header.write().as_slice(), expected);
    }

    #[test]
    fn flags_say_what_is_known_of_the_checksum() {
        let known = |flags| received(fields(flags, GSO_NONE, 0)).map(|meta| meta.checksum);
        assert_eq!(known(0), Some(ChecksumState::Unverified));
        assert_eq!(known(DATA_VALID), Some(ChecksumState::Trusted));
        assert_eq!(known(NEEDS_CSUM), Some(ChecksumState::Partial));
        assert_eq!(known(NEEDS_CSUM | DATA_VALID), Some(ChecksumState::Partial), "the field is not complete");
    }

    #[test]
    fn a_super_segment_has_a_size_and_a_checksum_that_is_cared_for() {
        for kind in [GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, GSO_TCPV4 | GSO_ECN] {
            let said = received(fields(NEEDS_CSUM, kind, 1460));
            assert_eq!(
                said,
                Some(Meta { checksum: ChecksumState::Partial, gso_size: NonZeroU16::new(1460) })
            );
            let said = received(fields(DATA_VALID, kind, 1460)).map(|meta| meta.checksum);
            assert_eq!(said, Some(ChecksumState::Trusted));
            assert_eq!(received(fields(NEEDS_CSUM, kind, 0)), None, "no size");
            assert_eq!(received(fields(0, kind, 1460)), None, "one checksum for many");
        }
        for kind in [2, 3, 6, 0x20, 0x40, 0x61] {
            assert_eq!(received(fields(NEEDS_CSUM, kind, 1460)), None, "{kind:#x} was never agreed to");
        }
        assert_eq!(received(fields(NEEDS_CSUM, GSO_NONE, 1460)), PARTIAL, "a size that counts for nothing");
    }

    #[test]
    fn a_checksum_that_lies_outside_the_datagram_is_refused() {
        for (start, offset) in [(3039, 0), (20, 3019), (u16::MAX, u16::MAX)] {
            let fields = Fields { csum_start: start, csum_offset: offset, ..fields(NEEDS_CSUM, 0, 0) };
            assert_eq!(received(fields), None, "{start} + {offset}");
            let fields = Fields { gso_type: GSO_TCPV4, gso_size: 1460, ..fields };
            assert_eq!(received(fields), None, "{start} + {offset}");
        }
        let within = Fields { csum_start: 20, csum_offset: 3018, ..fields(NEEDS_CSUM, 0, 0) };
        assert_eq!(received(within).map(|meta| meta.checksum), Some(ChecksumState::Unverified));
    }

    #[test]
    fn a_checksum_of_something_further_in_is_completed() {
        // GRE with a checksum, in IPv4: flags, protocol, checksum, reserved, data.
        let mut bytes = vec![0x45, 0, 0, 30, 0, 0, 0, 0, 64, 47, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        bytes.extend([0x80, 0, 8, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56]);
        let header = Fields { csum_start: 20, csum_offset: 4, ..fields(NEEDS_CSUM, GSO_NONE, 0) };
        let said = read(&header.write(), &mut bytes);
        assert_eq!(said.map(|meta| meta.checksum), Some(ChecksumState::Unverified));
        // 0x8000 + 0x0800 + 0x1234 + 0x5600 = 0xf034
        assert_eq!(bytes[24..26], 0x0fcb_u16.to_be_bytes());
        assert_eq!(bytes[28..], [0x12, 0x34, 0x56], "nothing else is touched");
    }

    fn sent(bytes: &[u8], at: usize, checksum: EgressChecksum, gso_size: u16) -> Fields {
        let (header, data) = bytes.split_at(at);
        let gso_size = NonZeroU16::new(gso_size);
        Fields::read(&write(&Egress { device: DeviceId(0), header, payload: &[data], gso_size, checksum }))
    }

    #[test]
    fn what_is_complete_is_written_with_a_header_of_zeros() {
        let (bytes, _) = datagram(false, 6, 0, 100);
        assert_eq!(sent(&bytes, 40, EgressChecksum::Complete, 0), Fields::default());
    }

    #[test]
    fn what_is_usual_is_a_segment_alone() {
        let usual = fields(NEEDS_CSUM, GSO_NONE, 0).write();
        let is_usual = |header: [u8; LEN], is_ipv6, protocol| {
            let both = [&header, datagram(is_ipv6, protocol, 0, 100).0.as_slice()].concat();
            is_usual(&both, both.len())
        };
        assert!(is_usual(usual, false, TCP));
        assert!(!is_usual(usual, false, UDP) && !is_usual(usual, true, TCP));
        for other in [fields(0, GSO_NONE, 0), fields(NEEDS_CSUM, GSO_TCPV4, 1460)] {
            assert!(!is_usual(other.write(), false, TCP));
        }
        assert!(!super::is_usual(&usual, usual.len()));
    }

    #[test]
    fn a_super_segment_of_one_packet_is_none() {
        let (bytes, start) = datagram(false, 6, 0, 1000);
        let checksum = EgressChecksum::Partial { start, offset: TCP_CHECKSUM };
        let plain = Fields { flags: NEEDS_CSUM, csum_start: 20, csum_offset: 16, ..Fields::default() };
        assert_eq!(sent(&bytes, 40, checksum, 1000), plain);
        assert_eq!(sent(&bytes, 40, checksum, 999).gso_type, GSO_TCPV4);
    }

    /// A header that says what nearly all say, with some of it changed, and a datagram likewise.
    fn any_nearly_usual() -> impl Strategy<Value = ([u8; LEN], Vec<u8>)> {
        let change = || prop::option::weighted(0.3, (0..40_usize, any::<u8>()));
        let changed = |bytes: &mut [u8], change: Option<(usize, u8)>| {
            if let Some((at, byte)) = change {
                let at = at % bytes.len().max(1);
                bytes.get_mut(at).into_iter().for_each(|place| *place = byte);
            }
        };
        (change(), change(), 0..60_usize).prop_map(move |(in_header, in_datagram, len)| {
            let mut header = Fields { gso_size: 0, hdr_len: 0, ..fields(NEEDS_CSUM, GSO_NONE, 0) }.write();
            let (mut datagram, _) = datagram(false, TCP, 0, 20);
            datagram.truncate(len);
            changed(&mut header, in_header);
            changed(&mut datagram, in_datagram);
            (header, datagram)
        })
    }

    proptest! {
        #[test]
        fn what_is_usual_is_found_by_looking_at_all_of_it_too((header, datagram) in any_nearly_usual()) {
            let mut read_to = datagram.clone();
            // What stands behind it in the buffer is left from another.
            let (another, _) = super::tests::datagram(false, TCP, 0, 20);
            let rest = another.get(datagram.len()..).unwrap_or_default();
            let buffer = [&header, datagram.as_slice(), rest].concat();
            if is_usual(&buffer, LEN + datagram.len()) {
                prop_assert_eq!(read(&header, &mut read_to), Some(Meta::USUAL));
                prop_assert_eq!(read_to, datagram);
            }
        }

        #[test]
        fn what_is_written_says_what_the_datagram_is_wherever_its_pieces_part(
            is_ipv6: bool, is_tcp: bool, has_cwr: bool, data in 1..3000_usize, size in 1..3000_u16, part in 0..=100_usize,
        ) {
            let (protocol, offset) = if is_tcp { (6, TCP_CHECKSUM) } else { (17, UDP_CHECKSUM) };
            let (mut bytes, start) = datagram(is_ipv6, protocol, if has_cwr { TCP_CWR } else { 0x10 }, data);
            let headers = bytes.len() - data;
            // The headers are always in one piece; part of the data may be with them.
            let at = headers + data * part / 100;
            let fields = sent(&bytes, at, EgressChecksum::Partial { start, offset }, size);
            prop_assert_eq!((fields.flags, fields.csum_start, fields.csum_offset), (NEEDS_CSUM, start, offset));
            let is_super = data > usize::from(size);
            let kind = match (is_super, is_tcp, is_ipv6) {
                (false, _, _) => GSO_NONE,
                (true, false, _) => GSO_UDP_L4,
                (true, true, true) => GSO_TCPV6,
                (true, true, false) => GSO_TCPV4,
            };
            let ecn = if is_super && is_tcp && has_cwr { GSO_ECN } else { 0 };
            prop_assert_eq!(fields.gso_type, kind | ecn);
            let lengths = if is_super { (headers, size) } else { (0, 0) };
            prop_assert_eq!((usize::from(fields.hdr_len), fields.gso_size), lengths);
            // Whoever reads it has the same opinion.
            let meta = read(&fields.write(), &mut bytes);
            let gso_size = NonZeroU16::new(lengths.1);
            prop_assert_eq!(meta, Some(Meta { checksum: ChecksumState::Partial, gso_size }));
        }

        #[test]
        fn every_header_is_read_without_harm(header: [u8; LEN], mut bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let before = bytes.clone();
            let said = read(&header, &mut bytes);
            if said.is_none_or(|meta| meta.checksum != ChecksumState::Unverified) {
                prop_assert_eq!(before, bytes);
            }
        }
    }
}
