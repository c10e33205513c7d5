//! The parsers of IP, ICMP, UDP and TCP headers and the checksum, each against a reading byte by byte.

use std::net::IpAddr;

use tunstack::proto::wire::checksum::{Sum, updated};
use tunstack::proto::wire::icmp::{self, Message};
use tunstack::proto::wire::tcp::{Control, Segment};
use tunstack::proto::wire::tcp_options::TcpOptions;
use tunstack::proto::wire::{ip, udp};
use tunstack::proto::{ChecksumState, DropReason};

use super::packets::{self, checksum, pseudo_header};

/// The first byte says which parser and how; the rest is what it reads.
pub fn run(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let ends: [IpAddr; 2] = match how & 1 {
        0 => [[10, 9, 0, 1].into(), [10, 9, 0, 2].into()],
        _ => [[0xfd09, 0, 0, 0, 0, 0, 0, 1].into(), [0xfd09, 0, 0, 0, 0, 0, 0, 2].into()],
    };
    let trust = if how & 2 == 0 { ChecksumState::Trusted } else { ChecksumState::Unverified };
    match how >> 2 & 7 {
        0 => internet(bytes),
        1 => internet(&sealed(bytes)),
        2 => icmp_message(bytes, ends, trust),
        3 => quoted(bytes),
        4 => udp_datagram(bytes, ends, trust),
        5 => tcp_segment(bytes, ends, trust),
        6 => sums(bytes),
        _ => everything(bytes),
    }
}

fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    packets::seal(&mut bytes);
    bytes
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from(word(bytes, at)) << 16 | u32::from(word(bytes, at + 2))
}

/// Whether a transport's checksum, its field included, comes out right.
fn sums_up(bytes: &[u8], [src, dst]: [IpAddr; 2], protocol: u8) -> bool {
    checksum(&[&pseudo_header(src, dst, protocol, bytes.len()), bytes]) == 0
}

/// A datagram, read as far as its fixed header tells; what follows must lie within it.
fn internet(bytes: &[u8]) {
    let parsed = ip::parse(bytes);
    let Ok(parsed) = parsed else {
        let reason = parsed.expect_err("not read");
        let is_known = matches!(bytes.first().map(|first| first >> 4), Some(4 | 6));
        assert_eq!(is_known || bytes.is_empty(), reason != DropReason::IpVersion);
        return;
    };
    let (header_len, whole) = (parsed.header_len, parsed.whole);
    assert_eq!(whole, &bytes[..whole.len()]);
    assert_eq!(parsed.payload, &whole[header_len..]);
    assert!(parsed.protocol_at < header_len);
    if parsed.src.is_ipv4() {
        assert_eq!((bytes[0] >> 4, usize::from(bytes[0] & 0xf) * 4), (4, header_len));
        assert_eq!(checksum(&[&bytes[..header_len]]), 0);
        assert_eq!(whole.len(), usize::from(word(bytes, 2)));
        assert_eq!((parsed.tos, parsed.ident), (bytes[1], word(bytes, 4)));
        assert_eq!((parsed.hop_limit, parsed.protocol, parsed.protocol_at), (bytes[8], bytes[9], 9));
        assert_eq!(parsed.dont_fragment, bytes[6] & 0x40 != 0);
        let (offset, more) = (usize::from(word(bytes, 6) & 0x1fff) * 8, bytes[6] & 0x20 != 0);
        let fragment = parsed.fragment.map(|it| (it.offset_bytes, it.more, it.ident));
        assert_eq!(fragment, (offset != 0 || more).then(|| (offset, more, u32::from(word(bytes, 4)))));
        assert!(offset + parsed.payload.len() <= 65_535 || fragment.is_none());
    } else {
        assert_eq!((bytes[0] >> 4, whole.len()), (6, 40 + usize::from(word(bytes, 4))));
        assert_eq!((parsed.tos, parsed.hop_limit), ((word(bytes, 0) >> 4) as u8, bytes[7]));
        assert!(header_len >= 40 && (header_len - 40) % 8 == 0);
        extensions(bytes, &parsed);
    }
    if let Some(problem) = parsed.problem {
        assert!(parsed.fragment.is_none() || parsed.src.is_ipv4());
        for to_many in [false, true] {
            let pointer = problem.answer(to_many).map_or(0, |(_, pointer)| pointer as usize);
            assert!(pointer < whole.len(), "a pointer past the end");
        }
    }
}

/// The chain of extension headers that was stepped over, walked once more by its lengths alone.
fn extensions(bytes: &[u8], parsed: &ip::Parsed<'_>) {
    let (mut kind, mut kind_at, mut at) = (bytes[6], 6, 40);
    while at < parsed.header_len {
        assert!(matches!(kind, 0 | 43 | 44 | 60), "next header {kind} was stepped over");
        let len = if kind == 44 { 8 } else { 8 + usize::from(bytes[at + 1]) * 8 };
        (kind, kind_at, at) = (bytes[at], at, at + len);
    }
    assert_eq!((kind, kind_at, at), (parsed.protocol, parsed.protocol_at, parsed.header_len));
    let goes_on = matches!(kind, 0 | 43 | 44 | 60);
    assert!(!goes_on || parsed.fragment.is_some() || parsed.problem.is_some(), "an end within the chain");
}

fn icmp_message(bytes: &[u8], [src, dst]: [IpAddr; 2], trust: ChecksumState) {
    let is_v4 = src.is_ipv4();
    let is_right = match is_v4 {
        true => checksum(&[bytes]) == 0,
        false => sums_up(bytes, [src, dst], 58),
    };
    let parsed = icmp::parse(bytes, src, dst, trust);
    let Ok(message) = parsed else {
        assert!(bytes.len() < 8 || trust == ChecksumState::Unverified && !is_right);
        return;
    };
    assert!(is_right || trust == ChecksumState::Trusted);
    let (kind, rest) = (bytes[0], long(bytes, 4));
    assert_eq!(message.body(), &bytes[8..]);
    assert_eq!(icmp::is_error_kind(src, kind), matches!(message, Message::Error(_)));
    match message {
        Message::EchoRequest(echo) => assert_eq!((kind, echo.word()), (if is_v4 { 8 } else { 128 }, rest)),
        Message::EchoReply(echo) => assert_eq!((kind, echo.word()), (if is_v4 { 0 } else { 129 }, rest)),
        Message::Error(error) => assert_eq!((error.kind, error.code, error.word), (kind, bytes[1], rest)),
        Message::Other(other) => assert_eq!((other.kind, other.code, other.word), (kind, bytes[1], rest)),
    }
    let mut header = tunstack::proto::wire::HeaderBuf::new();
    message.write_header(src, dst, &mut header);
    assert!(
        icmp::parse(&[&header, message.body()].concat(), src, dst, ChecksumState::Unverified) == Ok(message)
    );
}

/// The packet that an error quotes: cut off anywhere it tells nothing else than whole.
fn quoted(bytes: &[u8]) {
    let Some(whole) = icmp::quoted(bytes) else { return };
    let _ = (whole.ports(), whole.tcp_seq(), icmp::quoted_echo_request(whole.src, whole.transport));
    let (outer, inner) = (bytes.as_ptr_range(), whole.transport.as_ptr_range());
    assert!(whole.transport.is_empty() || outer.start <= inner.start && inner.end <= outer.end);
    // Fixed headers and a few others lie here.
    for len in 0..bytes.len().min(96) {
        let Some(part) = icmp::quoted(&bytes[..len]) else { continue };
        assert_eq!((part.src, part.dst), (whole.src, whole.dst));
        assert!(part.protocol != whole.protocol || whole.transport.starts_with(part.transport));
    }
}

fn udp_datagram(bytes: &[u8], ends: [IpAddr; 2], trust: ChecksumState) {
    let [src, dst] = ends;
    let parsed = udp::parse(bytes, src, dst, trust);
    let len = if bytes.len() < 8 { 0 } else { usize::from(word(bytes, 4)) };
    if len < 8 || len > bytes.len() {
        assert!(parsed.is_err());
        return;
    }
    let is_right = match (word(bytes, 6), src.is_ipv4()) {
        (0, is_v4) => is_v4,
        _ => sums_up(&bytes[..len], ends, 17),
    };
    let Ok(datagram) = parsed else {
        assert!(trust == ChecksumState::Unverified && !is_right);
        return;
    };
    assert!(is_right || trust == ChecksumState::Trusted);
    assert_eq!((datagram.src_port, datagram.dst_port), (word(bytes, 0), word(bytes, 2)));
    assert_eq!(datagram.payload, &bytes[8..len]);
    let header = udp::UdpHeader { src_port: datagram.src_port, dst_port: datagram.dst_port };
    let mut out = tunstack::proto::wire::HeaderBuf::new();
    let (first, second) = datagram.payload.split_at(datagram.payload.len() / 3);
    header.write(src, dst, &[first, second], &mut out);
    let again = [&out, datagram.payload].concat();
    assert_eq!(udp::parse(&again, src, dst, ChecksumState::Unverified), Ok(datagram));
}

fn tcp_segment(bytes: &[u8], ends: [IpAddr; 2], trust: ChecksumState) {
    let [src, dst] = ends;
    let parsed = Segment::parse(bytes, src, dst, trust);
    let text_at = if bytes.len() < 20 { 0 } else { usize::from(bytes[12] >> 4) * 4 };
    if text_at < 20 || text_at > bytes.len() {
        let reason = if bytes.len() < 20 { DropReason::Truncated } else { DropReason::TcpMalformed };
        assert_eq!(parsed.err(), Some(reason));
        return;
    }
    let options = TcpOptions::parse(&bytes[20..text_at]);
    let reason = if trust == ChecksumState::Unverified && !sums_up(bytes, ends, 6) {
        Some(DropReason::TcpChecksum)
    } else if word(bytes, 0) == 0 || word(bytes, 2) == 0 {
        Some(DropReason::TcpMalformed)
    } else {
        options.is_err().then_some(DropReason::TcpOption)
    };
    assert_eq!(parsed.as_ref().err().copied(), reason);
    let Ok(segment) = parsed else { return };
    let flags = bytes[13];
    let has = |flag: u8| flags & flag != 0;
    let control = match flags & 7 {
        0 => Control::None,
        packets::FIN => Control::Fin,
        syn if syn & packets::RST == 0 => Control::Syn,
        _ => Control::Rst,
    };
    assert_eq!((segment.src_port, segment.dst_port), (word(bytes, 0), word(bytes, 2)));
    assert_eq!((segment.seq.0, segment.window, segment.flags), (long(bytes, 4), word(bytes, 14), flags));
    assert_eq!(segment.ack.map(|ack| ack.0), has(packets::ACK).then(|| long(bytes, 8)));
    assert_eq!(segment.urgent, has(packets::URG).then(|| word(bytes, 18)));
    assert_eq!((segment.control, segment.psh), (control, has(8)));
    assert_eq!(segment.fin_with_syn, flags & 7 == packets::SYN | packets::FIN);
    assert_eq!((segment.payload, Ok(&segment.options)), (&bytes[text_at..], options.as_ref()));
    let syn_and_fin = match control {
        Control::Rst | Control::None => 0,
        Control::Syn | Control::Fin => (flags & 3).count_ones(),
    };
    assert_eq!(segment.len(), (bytes.len() - text_at) as u32 + syn_and_fin);
}

/// The sum in pieces of any lengths (of which `bytes` begins with two), and after a word has changed.
fn sums(bytes: &[u8]) {
    let Some((cuts, rest)) = bytes.split_first_chunk::<4>() else { return };
    let [first, second, high, low] = cuts.map(usize::from);
    let expected = checksum(&[rest]);
    let (head, tail) = rest.split_at(first.min(rest.len()));
    let (middle, tail) = tail.split_at(second.min(tail.len()));
    let mut sum = Sum::new();
    for piece in [head, middle, tail] {
        sum.add(piece);
    }
    assert_eq!(sum.finish(), expected);
    assert_eq!(sum.is_valid(), expected == 0);

    // Of two representations of the same sum the incremental one may find the other (RFC 1624 section 3).
    let mut changed = rest.to_vec();
    let Some(place) = changed.get_mut(4..6) else { return };
    let (before, after) = (word(place, 0), (high << 8 | low) as u16);
    place.copy_from_slice(&after.to_be_bytes());
    assert_eq!(updated(expected, before, after) % 0xffff, checksum(&[&changed]) % 0xffff);
}

/// What each parser does with the same bytes, one inside the other.
fn everything(bytes: &[u8]) {
    let bytes = sealed(bytes);
    internet(&bytes);
    let Ok(parsed) = ip::parse(&bytes) else { return };
    let ends = [parsed.src, parsed.dst];
    for trust in [ChecksumState::Unverified, ChecksumState::Trusted] {
        match parsed.protocol {
            1 if parsed.src.is_ipv4() => icmp_message(parsed.payload, ends, trust),
            58 if parsed.src.is_ipv6() => icmp_message(parsed.payload, ends, trust),
            6 => tcp_segment(parsed.payload, ends, trust),
            17 => udp_datagram(parsed.payload, ends, trust),
            _ => {}
        }
    }
}
