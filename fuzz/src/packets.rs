//! Datagrams made, put right and judged byte by byte: nothing here is the stack's own, so that each checks the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tunstack::proto::{Egress, EgressChecksum};

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;
pub(crate) const URG: u8 = 32;
pub(crate) const SYN_ACK: u8 = SYN | ACK;

const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const FRAGMENT: u8 = 44;

/// The Internet checksum of pieces that are of even length but for the last: what they are as numbers, modulo 65,535.
pub(crate) fn checksum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0u128;
    for piece in pieces {
        // Eight octets at once, since a fuzzer counts every turn of a loop: 2^16 is 1 modulo 65,535.
        let (quads, rest) = piece.as_chunks::<8>();
        sum += quads.iter().map(|quad| u128::from(u64::from_be_bytes(*quad))).sum::<u128>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        sum += u128::from(u64::from_be_bytes(last));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// What a transport's checksum begins with.
pub(crate) fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for address in [src, dst] {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    bytes.extend((len as u32).to_be_bytes());
    bytes.extend([0, protocol]);
    bytes
}

/// A datagram with no more than a fixed header.
pub(crate) fn datagram(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
            header.extend(src.octets());
            header.extend(dst.octets());
            header
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut header = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
            header.extend(src.octets());
            header.extend(dst.octets());
            header
        }
        _ => panic!("{src} and {dst} are of different families"),
    };
    bytes.extend_from_slice(payload);
    seal(&mut bytes);
    bytes
}

/// A TCP header with options (padded with zeros) and text; the checksum is left to [`seal`].
pub(crate) struct Segment<'a> {
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) urgent: u16,
    pub(crate) options: &'a [u8],
    pub(crate) text: &'a [u8],
}

impl Segment<'_> {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let words = 5 + self.options.len().min(40).div_ceil(4);
        let mut bytes = Vec::with_capacity(words * 4 + self.text.len());
        bytes.extend(self.src_port.to_be_bytes());
        bytes.extend(self.dst_port.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        bytes.extend([(words as u8) << 4, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.urgent.to_be_bytes());
        bytes.extend(self.options.iter().take(40));
        bytes.resize(words * 4, 0);
        bytes.extend_from_slice(self.text);
        bytes
    }
}

/// Where a datagram's transport lies.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) payload_at: usize,
    pub(crate) is_fragment: bool,
}

/// Finds its way through a datagram's headers; lengths are not asked whether they are true.
pub(crate) fn layout(bytes: &[u8]) -> Option<Layout> {
    let octets = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[at..at + 16]).expect("sixteen"));
    match bytes.first()? >> 4 {
        4 if bytes.len() >= 20 => {
            let payload_at = usize::from(bytes[0] & 0xf) * 4;
            let quad = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
            (payload_at >= 20 && payload_at <= bytes.len()).then(|| Layout {
                src: quad(12).into(),
                dst: quad(16).into(),
                protocol: bytes[9],
                payload_at,
                is_fragment: bytes[6] & 0x3f != 0 || bytes[7] != 0,
            })
        }
        6 if bytes.len() >= 40 => {
            let (mut protocol, mut at, mut is_fragment) = (bytes[6], 40, false);
            // Hop-by-hop options, routing header, fragment header, destination options.
            while matches!(protocol, 0 | 43 | FRAGMENT | 60) && !is_fragment && bytes.len() >= at + 8 {
                is_fragment = protocol == FRAGMENT && (bytes[at + 2] != 0 || bytes[at + 3] & !6 != 0);
                let words = if protocol == FRAGMENT { 0 } else { usize::from(bytes[at + 1]) };
                protocol = bytes[at];
                at += 8 + words * 8;
            }
            let (src, dst) = (octets(8).into(), octets(24).into());
            (at <= bytes.len()).then_some(Layout { src, dst, protocol, payload_at: at, is_fragment })
        }
        _ => None,
    }
}

/// Where a transport's checksum stands in its header.
fn checksum_at(protocol: u8, is_v4: bool) -> Option<usize> {
    match (protocol, is_v4) {
        (TCP, _) => Some(16),
        (UDP, _) => Some(6),
        (ICMP, true) | (ICMPV6, false) => Some(2),
        _ => None,
    }
}

/// Puts right whatever lengths and checksums there are.
pub(crate) fn seal(bytes: &mut [u8]) {
    let total = bytes.len().min(65_535) as u16;
    match bytes.first().map(|first| first >> 4) {
        Some(4) if bytes.len() >= 20 => {
            bytes[2..4].copy_from_slice(&total.to_be_bytes());
            bytes[10..12].fill(0);
            let header_len = (usize::from(bytes[0] & 0xf) * 4).clamp(20, 60).min(bytes.len());
            let sum = checksum(&[&bytes[..header_len]]);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        Some(6) if bytes.len() >= 40 => bytes[4..6].copy_from_slice(&(total - 40).to_be_bytes()),
        _ => return,
    }
    let Some(Layout { src, dst, protocol, payload_at, is_fragment: false }) = layout(bytes) else { return };
    let (_, payload) = bytes.split_at_mut(payload_at);
    let Some(at) = checksum_at(protocol, src.is_ipv4()).filter(|at| payload.len() >= at + 2) else { return };
    if protocol == UDP {
        let len = payload.len() as u16;
        payload[4..6].copy_from_slice(&len.to_be_bytes());
    }
    payload[at..at + 2].fill(0);
    let mut sum = transport_sum(src, dst, protocol, payload);
    if protocol == UDP && sum == 0 {
        sum = 0xffff;
    }
    payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// The checksum of a transport's header and payload: 0 where the field holds the right one.
fn transport_sum(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> u16 {
    match protocol {
        ICMP => checksum(&[payload]),
        _ => checksum(&[&pseudo_header(src, dst, protocol, payload.len()), payload]),
    }
}

/// The datagram that the stack sends, which must hold together; the transport's checksum only if the datagram began here.
pub(crate) fn judged(egress: &Egress<'_>, mtu: usize, ours: &[IpAddr]) -> Vec<u8> {
    let mut bytes = Vec::new();
    egress.copy_to(&mut bytes);
    assert!(bytes.len() <= mtu || egress.gso_size.is_some(), "{} bytes where {mtu} fit", bytes.len());
    let is_v4 = bytes[0] >> 4 == 4;
    if is_v4 {
        assert_eq!(usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), bytes.len(), "total length");
        assert_eq!(checksum(&[&bytes[..usize::from(bytes[0] & 0xf) * 4]]), 0, "header checksum");
    } else {
        assert_eq!(usize::from(u16::from_be_bytes([bytes[4], bytes[5]])), bytes.len() - 40, "payload length");
    }
    assert_ne!(bytes[if is_v4 { 8 } else { 7 }], 0, "a hop limit of zero");
    // Who sends on what isn't his looks at no extension header, nor whether they lead anywhere.
    let Some(Layout { src, dst, protocol, payload_at, is_fragment }) = layout(&bytes) else { return bytes };
    if is_fragment || !ours.contains(&src) {
        return bytes;
    }
    let payload = &bytes[payload_at..];
    let is_sealed = match egress.checksum {
        EgressChecksum::Complete => transport_sum(src, dst, protocol, payload) == 0,
        EgressChecksum::Partial { start, offset } => {
            let at = usize::from(offset);
            let seed = !checksum(&[&pseudo_header(src, dst, protocol, payload.len())]);
            usize::from(start) == payload_at && payload[at..at + 2] == seed.to_be_bytes()
        }
    };
    assert!(is_sealed || checksum_at(protocol, is_v4).is_none(), "the checksum of {bytes:02x?}");
    bytes
}

/// An intact segment of TCP in a datagram that is no fragment.
pub(crate) struct Tcp<'a> {
    /// What two datagrams of one stream have in common in their IP headers: all but lengths, identification and checksum.
    pub(crate) network: Vec<u8>,
    /// With options.
    pub(crate) header: &'a [u8],
    pub(crate) text: &'a [u8],
}

/// Reads a segment; `None` if it is anything else, or not intact.
pub(crate) fn tcp(bytes: &[u8]) -> Option<Tcp<'_>> {
    let Layout { src, dst, protocol, payload_at, is_fragment } = layout(bytes)?;
    let (network, payload) = bytes.split_at(payload_at);
    let is_v4 = src.is_ipv4();
    let len = if is_v4 {
        usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))
    } else {
        40 + usize::from(u16::from_be_bytes([bytes[4], bytes[5]]))
    };
    let is_intact = len == bytes.len() && (!is_v4 || checksum(&[network]) == 0);
    if protocol != TCP || is_fragment || !is_intact || payload.len() < 20 {
        return None;
    }
    let header_len = usize::from(payload[12] >> 4) * 4;
    if header_len < 20 || header_len > payload.len() || transport_sum(src, dst, TCP, payload) != 0 {
        return None;
    }
    let mut network = network.to_vec();
    network[if is_v4 { 2..6 } else { 4..6 }].fill(0);
    if is_v4 {
        network[10..12].fill(0);
    }
    let (header, text) = payload.split_at(header_len);
    Some(Tcp { network, header, text })
}
