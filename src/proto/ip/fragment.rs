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
/// after another, until it says `false`. What fits is handed on as it is. `ident` joins the parts over IPv6; over
/// IPv4 the header names the datagram already.
///
/// Returns the number of parts that were made: 0 if the link is too small for any, or the headers do not hold together.
pub(crate) fn split(whole: &[u8], mtu: usize, ident: u32, mut each: impl FnMut(&[u8]) -> bool) -> usize {
    //= RFC8504 5.1 no atomic fragments
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
    let room = room_for_data(mtu, header)?;
    // The last part need not be a multiple of eight.
    let count = payload_len.saturating_sub(mtu - header).div_ceil(room) + 1;
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

fn split_v4(whole: &[u8], mtu: usize, mut each: impl FnMut(&[u8]) -> bool) -> Option<usize> {
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
        //= RFC791 2.3 eight octets
        let len = if is_last { left } else { room / UNIT * UNIT };
        let more = if is_last && !more_follow { 0 } else { V4_MORE };
        let offset = u16::try_from((offset + at) / UNIT).ok().filter(|offset| *offset <= V4_OFFSET)?;
        part.clear();
        part.extend_from_slice(&header);
        part.extend_from_slice(data.get(at..at + len)?);
        let total_len = u16::try_from(part.len()).ok()?;
        put(&mut part, 2, total_len);
        //= RFC1812 5.2.5 unchanged
        put(&mut part, 6, rest_of_flags | more | offset);
        put(&mut part, 10, 0);
        let mut sum = Sum::new();
        sum.add(part.get(..header.len())?);
        put(&mut part, 10, sum.finish());
        parts += 1;
        if !each(&part) {
            break;
        }
        if at == 0 {
            header = header_of_later_parts(fixed, whole.get(V4_HEADER..header_len)?);
        }
        at += len;
    }
    Some(parts)
}

/// The header of all parts but the first: of the options only those that are to be copied.
// RFC 791 section 3.1: the copied flag indicates that this option is copied into all fragments on
// fragmentation.
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
        //= RFC791 3.1 copied
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

fn split_v6(whole: &[u8], mtu: usize, ident: u32, mut each: impl FnMut(&[u8]) -> bool) -> Option<usize> {
    let Unfragmentable { headers, next_header_at } = unfragmentable(whole)?;
    let (headers, data) = whole.split_at_checked(headers.end)?;
    let next_header = *headers.get(next_header_at)?;
    let header_len = headers.len() + FRAGMENT_HEADER;
    //= RFC8200 4.5 cut
    let room = room_for_data(mtu, header_len)?;
    let mut part = Vec::with_capacity(mtu);
    let (mut at, mut parts) = (0, 0);
    while at < data.len() {
        let left = data.len() - at;
        let is_last = left <= mtu - header_len;
        let piece = data.get(at..at + if is_last { left } else { room })?;
        let more = u16::from(!is_last);
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
        parts += 1;
        if !each(&part) {
            break;
        }
        //= RFC8200 4.5 no overlap
        //= RFC8504 5.1 no overlap sent
        at += piece.len();
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
            //= RFC1122 3.3.2 size
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
        //= RFC8200 4.5 per-fragment headers
        if kind != DESTINATION_OPTIONS {
            found = Unfragmentable { headers: 0..at, next_header_at: named_at };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ip::testing::{datagram, header};
    use crate::proto::wire::testing::ipv6_chain;
    use crate::proto::wire::{self, ip::Parsed};
    use alloc::vec;
    use proptest::prelude::*;

    const IDENT: u32 = 0x1234_5678;

    /// The parts of a datagram.
    fn parts(whole: &[u8], mtu: usize) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        let count = split(whole, mtu, IDENT, |part| {
            parts.push(part.to_vec());
            true
        });
        assert_eq!(count, parts.len());
        parts
    }

    /// Where a part begins, how long it is, and whether more follow.
    fn place(part: &[u8]) -> (usize, usize, bool) {
        let Parsed { fragment, payload, .. } = wire::ip::parse(part).unwrap();
        let fragment = fragment.unwrap();
        (fragment.offset_bytes, payload.len(), fragment.more)
    }

    fn resealed(mut bytes: Vec<u8>, header_len: usize) -> Vec<u8> {
        bytes[10..12].fill(0);
        let mut sum = Sum::new();
        sum.add(&bytes[..header_len]);
        bytes[10..12].copy_from_slice(&sum.finish().to_be_bytes());
        bytes
    }

    /// An IPv4 datagram with options.
    fn with_options(options: &[u8], data: &[u8]) -> Vec<u8> {
        let mut bytes = datagram(&header("10.9.0.1", "10.9.0.2", 99), &[options, data].concat());
        bytes[0] = 0x45 + (options.len() / 4) as u8;
        resealed(bytes, 20 + options.len())
    }

    //= RFC791 2.3 eight octets
    //= RFC8200 4.5 cut
    #[test]
    fn parts_are_as_large_as_the_link_allows_in_units_of_eight() {
        let whole = datagram(&header("10.9.0.2", "10.9.0.1", 99), &[0; 2000]);
        let places: Vec<_> = parts(&whole, 1000).iter().map(|part| place(part)).collect();
        assert_eq!(places, [(0, 976, true), (976, 976, true), (1952, 48, false)]);
        // 52 bytes of header and data fit where 48 and a whole unit would not.
        let whole = datagram(&header("10.9.0.2", "10.9.0.1", 99), &[0; 80]);
        let places: Vec<_> = parts(&whole, 67).iter().map(|part| place(part)).collect();
        assert_eq!(places, [(0, 40, true), (40, 40, false)]);
        let whole = datagram(&header("fd09::2", "fd09::1", 99), &[0; 3000]);
        let places: Vec<_> = parts(&whole, 1280).iter().map(|part| place(part)).collect();
        assert_eq!(places, [(0, 1232, true), (1232, 1232, true), (2464, 536, false)]);
    }

    #[test]
    fn cutting_ends_with_the_first_part_that_is_of_no_use() {
        for (src, dst) in [("10.9.0.2", "10.9.0.1"), ("fd09::2", "fd09::1")] {
            let whole = datagram(&header(src, dst, 99), &[7; 60_000]);
            let mut offered = 0;
            let count = split(&whole, 68, IDENT, |_| {
                offered += 1;
                offered < 3
            });
            assert_eq!((offered, count), (3, 3), "{src}");
        }
    }

    //= RFC8504 5.1 no atomic fragments
    #[test]
    fn what_fits_is_left_as_it_is_and_what_can_not_be_cut_makes_no_parts() {
        for (src, dst) in [("10.9.0.2", "10.9.0.1"), ("fd09::2", "fd09::1")] {
            let whole = datagram(&header(src, dst, 99), &[7; 100]);
            assert_eq!(parts(&whole, whole.len()), core::slice::from_ref(&whole));
            assert!(parts(&whole, 27).is_empty());
        }
        assert_eq!(parts_of(true, 9, 28), Some((2, 2 * 20 + 9)));
        assert_eq!((parts_of(true, 9, 27), parts_of(false, 16, 55)), (None, None));
        assert!(parts(&[0x55; 100], 40).is_empty());
    }

    #[test]
    fn parts_of_a_part_keep_its_place() {
        let mut middle = datagram(&header("10.9.0.1", "10.9.0.2", 99), &[0; 64]);
        // At 1480, and more follow.
        middle[6..8].copy_from_slice(&(0x2000_u16 | 185).to_be_bytes());
        let middle = resealed(middle, 20);
        let places = |bytes: &[u8]| parts(bytes, 60).iter().map(|part| place(part)).collect::<Vec<_>>();
        assert_eq!(places(&middle), [(1480, 40, true), (1520, 24, true)]);
        let mut last = middle;
        last[6] &= !0x20;
        assert_eq!(places(&resealed(last, 20)), [(1480, 40, true), (1520, 24, false)]);
    }

    //= RFC791 3.1 copied
    #[test]
    fn later_parts_have_only_the_options_that_are_to_be_copied() {
        // No operation, record route (not copied), router alert (copied), an unknown one (copied), end.
        let options = [1, 7, 7, 4, 0, 0, 0, 0, 0x94, 4, 0, 0, 0x9f, 3, 0xaa, 0];
        let whole = with_options(&options, &[0; 100]);
        let parts = parts(&whole, 76);
        assert_eq!(parts[0][..4], [0x49, 0, 0, 76]);
        assert_eq!(parts[0][20..36], options);
        for later in &parts[1..] {
            assert_eq!((later[0], &later[20..28]), (0x47, &[0x94, 4, 0, 0, 0x9f, 3, 0xaa, 0][..]));
        }
        // A smaller header leaves more room.
        let places: Vec<_> = parts.iter().map(|part| place(part)).collect();
        assert_eq!(places, [(0, 40, true), (40, 48, true), (88, 12, false)]);
    }

    #[test]
    fn malformed_options_are_left_out() {
        for options in [[0x94, 1, 0, 0], [0x94, 9, 0, 0], [1, 1, 1, 0x94], [0x94, 0, 0, 0]] {
            let whole = with_options(&options, &[0; 100]);
            let mut later = Vec::new();
            split(&whole, 60, 0, |part| {
                later = part.to_vec();
                true
            });
            assert_eq!(later[0], 0x45);
        }
    }

    //= RFC8200 4.5 per-fragment headers
    #[test]
    fn every_part_of_ipv6_has_the_headers_that_the_way_needs() {
        let padding: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
        let chain: &[(u8, &[u8])] = &[
            (HOP_BY_HOP, padding),
            (DESTINATION_OPTIONS, padding),
            (ROUTING, &[0; 7]),
            (DESTINATION_OPTIONS, padding),
        ];
        let whole = ipv6_chain(chain, 99, &[7; 400]);
        for part in parts(&whole, 200) {
            let parsed = wire::ip::parse(&part).unwrap();
            assert_eq!(parsed.fragment.unwrap().ident, IDENT);
            assert_eq!((parsed.header_len, parsed.protocol), (40 + 24 + 8, DESTINATION_OPTIONS));
            assert_eq!((&part[8..56], &part[57..64]), (&whole[8..56], &whole[57..64]));
        }
        // Without a routing header destination options are for the destination alone, and cut off.
        let chain: &[(u8, &[u8])] = &[(DESTINATION_OPTIONS, padding)];
        let part = &parts(&ipv6_chain(chain, 99, &[7; 400]), 200)[0];
        let parsed = wire::ip::parse(part).unwrap();
        assert_eq!((parsed.header_len, parsed.protocol), (48, DESTINATION_OPTIONS));
    }

    proptest! {
        #[test]
        fn as_many_parts_are_made_as_were_foretold(
            is_v4: bool,
            len in 0..20_000_usize,
            mtu in 20..9000_usize,
        ) {
            let (src, dst) = if is_v4 { ("10.9.0.2", "10.9.0.1") } else { ("fd09::2", "fd09::1") };
            let parts = parts(&datagram(&header(src, dst, 99), &vec![0; len]), mtu);
            let bytes = parts.iter().map(Vec::len).sum::<usize>();
            prop_assert_eq!(parts_of(is_v4, len, mtu).unwrap_or((0, 0)), (parts.len(), bytes));
            prop_assert!(parts.iter().all(|part| part.len() <= mtu));
        }

        #[test]
        fn no_bytes_make_it_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            first in prop::sample::select(vec![0x45, 0x46, 0x4f, 0x41, 0x60]),
            kind in prop::sample::select(vec![0_u8, 6, 17, 43, 44, 51, 58, 59, 60, 135]),
            mtu in 0..120_usize,
        ) {
            if let Some(octet) = bytes.first_mut() {
                *octet = first;
            }
            split(&bytes, mtu, 0, |part| {
                assert!(part.len() <= mtu);
                true
            });
            let _ = (header_of_whole(&bytes, 70_000, 3), header_of_whole(&bytes, 7, 3), tos(&bytes));
            has_all_headers(kind, &bytes);
        }
    }
}
