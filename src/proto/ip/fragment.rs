//! Datagrams cut into parts that fit a link: IPv4 (RFC 791 section 3.2) and IPv6 (RFC 8200 section 4.5).
//!
//! Owns how the parts look. Owns not whether a datagram may be cut, which is the sender's to say
//! ([`output`](super::output) for our own, `forward` for those of others), nor how parts become whole again,
//! which is [`reassembly`](super::reassembly)'s.

use alloc::vec::Vec;
use core::ops::Range;

use crate::proto::wire::checksum::Sum;
use crate::proto::wire::ip::{PROTOCOL_ICMPV6, PROTOCOL_NO_NEXT_HEADER, PROTOCOL_TCP, PROTOCOL_UDP};

/// Cuts a complete datagram, or an IPv4 fragment, into parts of at most `mtu` bytes and calls `each` with one
/// after another. What fits is handed on as it is. `ident` joins the parts over IPv6; over IPv4 the header names
/// the datagram already.
///
/// Returns the number of parts: 0 if the link is too small for any, or the headers do not hold together.
pub(crate) fn split(whole: &[u8], mtu: usize, ident: u32, mut each: impl FnMut(&[u8])) -> usize {
    if whole.len() <= mtu {
        each(whole);
        return 1;
    }
    match whole.first().map(|first| first >> 4) {
        Some(4) => split_v4(whole, mtu, each).unwrap_or(0),
        Some(6) => split_v6(whole, mtu, ident, each).unwrap_or(0),
        Some(_) | None => 0,
    }
}

/// How many parts [`split`] makes of a datagram of ours without options, and the bytes of all together.
/// `None` if the link is too small for any.
pub(crate) fn parts_of(is_v4: bool, payload_len: usize, mtu: usize) -> Option<(usize, usize)> {
    let whole_header = if is_v4 { V4_HEADER } else { V6_HEADER };
    if whole_header + payload_len <= mtu {
        return Some((1, whole_header + payload_len));
    }
    let header = if is_v4 { V4_HEADER } else { V6_HEADER + FRAGMENT_HEADER };
    let count = payload_len.div_ceil(room_for_data(mtu, header)?);
    Some((count, payload_len + count * header))
}

const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;
const FRAGMENT_HEADER: usize = 8;
/// Fragment offsets count in units of so many bytes.
const UNIT: usize = 8;

/// Bytes of data in every part but the last: a multiple of eight.
fn room_for_data(mtu: usize, header: usize) -> Option<usize> {
    let room = mtu.checked_sub(header)? / UNIT * UNIT;
    (room > 0).then_some(room)
}

/// Two bytes of flags and offset: in the first part of an IPv4 header's.
const V4_MORE: u16 = 0x2000;
const V4_OFFSET: u16 = 0x1fff;

fn split_v4(whole: &[u8], mtu: usize, mut each: impl FnMut(&[u8])) -> Option<usize> {
    let header_len = usize::from(whole.first()? & 0xf) * 4;
    let (header, data) = whole.split_at_checked(header_len)?;
    let fixed = header.get(..V4_HEADER)?;
    let flags_and_offset = u16::from_be_bytes([*header.get(6)?, *header.get(7)?]);
    let offset = usize::from(flags_and_offset & V4_OFFSET) * UNIT;
    let more_follow = flags_and_offset & V4_MORE != 0;
    let rest_of_flags = flags_and_offset & !(V4_MORE | V4_OFFSET);
    // The room of the largest header: parts after the first may hold less of one, never more.
    room_for_data(mtu, header_len)?;
    let mut header = header.to_vec();
    let mut part = Vec::with_capacity(mtu);
    let (mut at, mut parts) = (0, 0);
    while at < data.len() {
        let room = mtu - header.len();
        let left = data.len() - at;
        let is_last = left <= room;
        let len = if is_last { left } else { room / UNIT * UNIT };
        let more = if is_last && !more_follow { 0 } else { V4_MORE };
        let offset = u16::try_from((offset + at) / UNIT).ok().filter(|offset| *offset <= V4_OFFSET)?;
        part.clear();
        part.extend_from_slice(&header);
        part.extend_from_slice(data.get(at..at + len)?);
        let total_len = u16::try_from(part.len()).ok()?;
        put(&mut part, 2, total_len);
        put(&mut part, 6, rest_of_flags | more | offset);
        put(&mut part, 10, 0);
        let mut sum = Sum::new();
        sum.add(part.get(..header.len())?);
        put(&mut part, 10, sum.finish());
        each(&part);
        if at == 0 {
            header = header_of_later_parts(fixed, whole.get(V4_HEADER..header_len)?);
        }
        at += len;
        parts += 1;
    }
    Some(parts)
}

/// The header of all parts but the first: of the options only those that are to be copied.
//= RFC791 section 3.1: the copied flag indicates that this option is copied into all fragments on
//# fragmentation.
fn header_of_later_parts(fixed: &[u8], mut options: &[u8]) -> Vec<u8> {
    const COPIED: u8 = 0x80;
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    let mut header = fixed.to_vec();
    while let [kind, ref behind @ ..] = *options {
        let len = match (kind, behind.first()) {
            (END, _) => break,
            // It fills gaps that are not there any more.
            (NO_OPERATION, _) => {
                options = behind;
                continue;
            }
            (_, Some(&len)) if len >= 2 => usize::from(len),
            (_, Some(_) | None) => break,
        };
        let Some((option, rest)) = options.split_at_checked(len) else { break };
        if kind & COPIED != 0 {
            header.extend_from_slice(option);
        }
        options = rest;
    }
    header.resize(header.len().next_multiple_of(4), END);
    header[0] = 0x40 | (header.len() / 4) as u8;
    header
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(field) = bytes.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

fn split_v6(whole: &[u8], mtu: usize, ident: u32, mut each: impl FnMut(&[u8])) -> Option<usize> {
    let Unfragmentable { headers, next_header_at } = unfragmentable(whole)?;
    let (headers, data) = whole.split_at_checked(headers.end)?;
    let next_header = *headers.get(next_header_at)?;
    let room = room_for_data(mtu, headers.len() + FRAGMENT_HEADER)?;
    let mut part = Vec::with_capacity(mtu);
    let mut parts = 0;
    for (index, piece) in data.chunks(room).enumerate() {
        let at = index * room;
        let more = u16::from(at + piece.len() < data.len());
        let offset = u16::try_from(at).ok()?;
        part.clear();
        part.extend_from_slice(headers);
        *part.get_mut(next_header_at)? = FRAGMENT;
        part.extend_from_slice(&[next_header, 0]);
        part.extend_from_slice(&(offset | more).to_be_bytes());
        part.extend_from_slice(&ident.to_be_bytes());
        part.extend_from_slice(piece);
        let payload_len = u16::try_from(part.len() - V6_HEADER).ok()?;
        put(&mut part, 4, payload_len);
        each(&part);
        parts += 1;
    }
    Some(parts)
}

/// The header of the datagram whose first part had these headers, with room for `data_len` bytes behind it. `ecn`
/// is the codepoint it is to have. `None` if the datagram would be longer than one can be.
pub(crate) fn header_of_whole(headers: &[u8], data_len: usize, ecn: u8) -> Option<Vec<u8>> {
    let mut whole = Vec::with_capacity(headers.len() + data_len);
    match headers.first()? >> 4 {
        4 => {
            whole.extend_from_slice(headers);
            let total_len = u16::try_from(headers.len() + data_len).ok()?;
            put(&mut whole, 2, total_len);
            let flags_and_offset = u16::from_be_bytes([*headers.get(6)?, *headers.get(7)?]);
            put(&mut whole, 6, flags_and_offset & !(V4_MORE | V4_OFFSET));
            let tos = whole.get_mut(1)?;
            *tos = *tos & !0b11 | ecn;
            put(&mut whole, 10, 0);
            let mut sum = Sum::new();
            sum.add(&whole);
            put(&mut whole, 10, sum.finish());
        }
        _ => {
            let (kept, marker) = headers.split_at_checked(headers.len().checked_sub(FRAGMENT_HEADER)?)?;
            whole.extend_from_slice(kept);
            *whole.get_mut(named_at(kept)?)? = *marker.first()?;
            let payload_len = u16::try_from(kept.len().checked_sub(V6_HEADER)? + data_len).ok()?;
            put(&mut whole, 4, payload_len);
            let low_of_class = whole.get_mut(1)?;
            *low_of_class = *low_of_class & !0x30 | ecn << 4;
        }
    }
    Some(whole)
}

/// Type of service, traffic class.
pub(crate) fn tos(headers: &[u8]) -> u8 {
    match *headers {
        [first, second, ..] if first >> 4 == 4 => second,
        [first, second, ..] => first << 4 | second >> 4,
        [] | [_] => 0,
    }
}

/// Whether the first part of an IPv6 datagram, whose data begins with a header of this kind, holds all headers
/// through that of the upper layer (RFC 7112 section 5).
pub(crate) fn has_all_headers(mut kind: u8, mut data: &[u8]) -> bool {
    loop {
        let len = match kind {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | FRAGMENT | AUTHENTICATION => {
                match extension_len(kind, data) {
                    Some(len) if len <= data.len() => len,
                    Some(_) | None => return false,
                }
            }
            PROTOCOL_NO_NEXT_HEADER => return true,
            PROTOCOL_UDP | PROTOCOL_ICMPV6 => return data.len() >= 8,
            PROTOCOL_TCP => {
                let len = data.get(12).map(|octet| usize::from(octet >> 4) * 4);
                return len.is_some_and(|len| data.len() >= len.max(20));
            }
            _ => return !data.is_empty(),
        };
        kind = data.first().copied().unwrap_or(PROTOCOL_NO_NEXT_HEADER);
        data = data.get(len..).unwrap_or_default();
    }
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;

/// Bytes of an extension header that begins here; `None` if it is cut off before it tells.
fn extension_len(kind: u8, bytes: &[u8]) -> Option<usize> {
    let told = usize::from(*bytes.get(1)?);
    Some(match kind {
        FRAGMENT => FRAGMENT_HEADER,
        AUTHENTICATION => (told + 2) * 4,
        _ => (told + 1) * 8,
    })
}

/// Where in these headers the octet stands that names what follows them all.
fn named_at(headers: &[u8]) -> Option<usize> {
    let (mut named_at, mut at) = (6, V6_HEADER);
    while at < headers.len() {
        let kind = *headers.get(named_at)?;
        named_at = at;
        at += extension_len(kind, headers.get(at..)?)?;
    }
    (at == headers.len()).then_some(named_at)
}

/// What every part of an IPv6 datagram begins with.
struct Unfragmentable {
    headers: Range<usize>,
    /// Where the octet stands that names what follows.
    next_header_at: usize,
}

/// The headers that nodes on the way have to process: up to a routing header if there is one, else hop-by-hop
/// options if there are any (RFC 8200 section 4.5).
fn unfragmentable(whole: &[u8]) -> Option<Unfragmentable> {
    let mut found = Unfragmentable { headers: 0..V6_HEADER, next_header_at: 6 };
    let (mut at, mut named_at) = (V6_HEADER, 6);
    loop {
        let kind = *whole.get(named_at)?;
        if !matches!(kind, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS) {
            return Some(found);
        }
        named_at = at;
        at += extension_len(kind, whole.get(at..)?)?;
        if kind != DESTINATION_OPTIONS {
            found = Unfragmentable { headers: 0..at, next_header_at: named_at };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ip::testing::{datagram, header};
    use crate::proto::wire;

    /// The parts of a datagram.
    fn parts(whole: &[u8], mtu: usize) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        let count = split(whole, mtu, 0x1234_5678, |part| parts.push(part.to_vec()));
        assert_eq!(count, parts.len());
        parts
    }

    #[test]
    fn parts_read_back_and_follow_one_another_to_the_end() {
        for (src, dst) in [("10.9.0.2", "10.9.0.1"), ("fd09::2", "fd09::1")] {
            let text: Vec<u8> = (0..4000_u32).map(|n| n as u8).collect();
            let whole = datagram(&header(src, dst, 99), &text);
            let mut read = Vec::new();
            for part in parts(&whole, 1000) {
                assert!(part.len() <= 1000);
                let parsed = wire::ip::parse(&part).unwrap();
                let fragment = parsed.fragment.unwrap();
                assert_eq!((parsed.protocol, fragment.offset_bytes), (99, read.len()));
                read.extend_from_slice(parsed.payload);
                assert_eq!(fragment.more, read.len() < text.len());
            }
            assert_eq!(read, text);
        }
    }
}
