//! Super-segments as kernels make them, and a model of what a device makes of those: the way Linux cuts.

use alloc::vec::Vec;
use core::num::NonZeroU16;

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, TcpHeaderSlice, UdpHeaderSlice};

use crate::proto::ip::testing::{datagram, header, seal};
use crate::proto::packet::{EgressChecksum, Offloads};
use crate::proto::wire::checksum::Sum;
use crate::proto::wire::ip::{self as wire, IpHeader, PROTOCOL_TCP, PROTOCOL_UDP, Parsed};
use crate::proto::wire::tcp::{FLAG_FIN, FLAG_PSH};

pub(in crate::proto::ip) const FLAG_CWR: u8 = 0x80;
pub(in crate::proto::ip) const ALL_OFFLOADS: Offloads =
    Offloads { checksum: true, tso4: true, tso6: true, uso: true };
pub(in crate::proto::ip) const SUM_ONLY: Offloads =
    Offloads { checksum: true, tso4: false, tso6: false, uso: false };

/// What a link behind an offloading device carries: the way Linux cuts, from the seed that it is given.
pub(in crate::proto::ip) fn device(
    whole: &[u8],
    gso_size: Option<NonZeroU16>,
    checksum: EgressChecksum,
) -> Vec<Vec<u8>> {
    let EgressChecksum::Partial { start, offset } = checksum else {
        assert_eq!(gso_size, None, "a super-segment's checksum is always partial");
        return [whole.to_vec()].to_vec();
    };
    let (start, field) = (usize::from(start), usize::from(start + offset));
    let is_udp = offset == 6;
    let data_at = if is_udp { start + 8 } else { start + usize::from(whole[start + 12] >> 4) * 4 };
    let (headers, data) = whole.split_at(data_at);
    let size = gso_size.map_or(data.len().max(1), |size| usize::from(size.get()));
    let mut pieces: Vec<&[u8]> = data.chunks(size).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    let count = pieces.len();
    let mut packets = Vec::new();
    for (index, piece) in pieces.into_iter().enumerate() {
        let mut packet = [headers, piece].concat();
        let (old_len, new_len) = (whole.len() - start, packet.len() - start);
        let seed = u32::from(u16::from_be_bytes([packet[field], packet[field + 1]]));
        // The seed counts the length of all: this packet's takes its place.
        let seed = seed + u32::from(!(old_len as u16)) + new_len as u32;
        let seed = (seed & 0xffff) + (seed >> 16);
        packet[field..field + 2].copy_from_slice(&(seed as u16).to_be_bytes());
        if packet[0] >> 4 == 4 {
            let (len, ident) = (packet.len() as u16, u16::from_be_bytes([packet[4], packet[5]]));
            packet[2..4].copy_from_slice(&len.to_be_bytes());
            packet[4..6].copy_from_slice(&ident.wrapping_add(index as u16).to_be_bytes());
            seal(&mut packet);
        } else {
            let len = packet.len() as u16 - 40;
            packet[4..6].copy_from_slice(&len.to_be_bytes());
        }
        if is_udp {
            packet[start + 4..start + 6].copy_from_slice(&(new_len as u16).to_be_bytes());
        } else {
            let seq = start + 4..start + 8;
            let first = u32::from_be_bytes(packet[seq.clone()].try_into().unwrap());
            packet[seq].copy_from_slice(&first.wrapping_add((index * size) as u32).to_be_bytes());
            if index + 1 < count {
                packet[start + 13] &= !(FLAG_FIN | FLAG_PSH);
            }
            if index > 0 {
                packet[start + 13] &= !FLAG_CWR;
            }
        }
        let mut sum = Sum::new();
        sum.add(&packet[start..]);
        let sum = if is_udp && sum.finish() == 0 { 0xffff } else { sum.finish() };
        packet[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        packets.push(packet);
    }
    packets
}

/// Checks lengths and checksums.
pub(in crate::proto::ip) fn assert_good(packet: &[u8]) {
    let (held, computed) = checksums(packet);
    assert_eq!(held, computed);
}

/// The transport checksum that a packet holds, and that another implementation computes.
pub(in crate::proto::ip) fn checksums(packet: &[u8]) -> (u16, u16) {
    let (protocol, transport, v4_ends, v6_ends) = if packet[0] >> 4 == 4 {
        let header = Ipv4HeaderSlice::from_slice(packet).unwrap();
        assert_eq!(usize::from(header.total_len()), packet.len());
        assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
        (
            header.protocol().0,
            &packet[header.slice().len()..],
            Some((header.source(), header.destination())),
            None,
        )
    } else {
        let header = Ipv6HeaderSlice::from_slice(packet).unwrap();
        assert_eq!(usize::from(header.payload_length()) + 40, packet.len());
        (header.next_header().0, &packet[40..], None, Some((header.source(), header.destination())))
    };
    match protocol {
        PROTOCOL_TCP => {
            let header = TcpHeaderSlice::from_slice(transport).unwrap();
            let (fixed, data) = (header.to_header(), &transport[header.slice().len()..]);
            let computed = match (v4_ends, v6_ends) {
                (Some((src, dst)), _) => fixed.calc_checksum_ipv4_raw(src, dst, data).unwrap(),
                (None, Some((src, dst))) => fixed.calc_checksum_ipv6_raw(src, dst, data).unwrap(),
                (None, None) => unreachable!(),
            };
            (header.checksum(), computed)
        }
        PROTOCOL_UDP => {
            let header = UdpHeaderSlice::from_slice(transport).unwrap();
            assert_eq!(usize::from(header.length()), transport.len());
            let (fixed, data) = (header.to_header(), &transport[8..]);
            let computed = match (v4_ends, v6_ends) {
                (Some((src, dst)), _) => fixed.calc_checksum_ipv4_raw(src, dst, data).unwrap(),
                (None, Some((src, dst))) => fixed.calc_checksum_ipv6_raw(src, dst, data).unwrap(),
                (None, None) => unreachable!(),
            };
            (header.checksum(), computed)
        }
        other => panic!("protocol {other}"),
    }
}

/// The folded sum of the pseudo-header, one word after another (RFC 9293 section 3.1, RFC 8200 section 8.1).
fn seed(parsed: &Parsed<'_>) -> u16 {
    let octets = |address| match address {
        core::net::IpAddr::V4(v4) => v4.octets().to_vec(),
        core::net::IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let mut words = [octets(parsed.src), octets(parsed.dst)].concat();
    words.extend((parsed.payload.len() as u32).to_be_bytes());
    words.extend([0, parsed.protocol]);
    let mut sum: u32 = words.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// A TCP packet as a kernel hands it to an offloading device.
pub(in crate::proto::ip) fn tcp(ends: (&str, &str), flags: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
    let mut fields = [0u8; 20].to_vec();
    fields[..4].copy_from_slice(&[0x30, 0x39, 0, 80]);
    fields[4..8].copy_from_slice(&0xffff_f000_u32.to_be_bytes());
    fields[8..12].copy_from_slice(&7u32.to_be_bytes());
    fields[12] = (5 + options.len() as u8 / 4) << 4;
    fields[13] = flags;
    fields[14..16].copy_from_slice(&[1, 0]);
    seeded(ends, PROTOCOL_TCP, &[&fields, options, data].concat(), 16)
}

/// A UDP packet as a kernel hands it to an offloading device.
pub(in crate::proto::ip) fn udp(ends: (&str, &str), data: &[u8]) -> Vec<u8> {
    let len = (8 + data.len()) as u16;
    let fields = [[0x30, 0x39, 0, 53], [(len >> 8) as u8, len as u8, 0, 0]].concat();
    seeded(ends, PROTOCOL_UDP, &[&fields[..], data].concat(), 6)
}

fn seeded((src, dst): (&str, &str), protocol: u8, transport: &[u8], field: usize) -> Vec<u8> {
    let ip_header = IpHeader { ident: 0xfffe, dont_fragment: true, ..header(src, dst, protocol) };
    let mut bytes = datagram(&ip_header, transport);
    let parsed = wire::parse(&bytes).unwrap();
    let (at, seed) = (parsed.header_len + field, seed(&parsed).to_be_bytes());
    bytes[at..at + 2].copy_from_slice(&seed);
    bytes
}

pub(in crate::proto::ip) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * 31) >> 3) as u8).collect()
}

pub(in crate::proto::ip) const ENDS: [(&str, &str); 2] = [("10.1.0.9", "10.2.0.9"), ("fd01::9", "fd02::9")];
