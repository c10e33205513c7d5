//! Messages that come in, and what is answered.

use super::error::{classify_v4, classify_v6};
use super::*;
use crate::proto::config::Config;
use crate::proto::ip::testing::{TUN, World, datagram, header, icmp_message, ip, udp};
use crate::proto::packet::{ChecksumState, DeviceId, Packet};
use crate::proto::udp::Sockets;
use crate::proto::wire::checksum::Sum;
use crate::proto::wire::icmp::ErrorMessage;
use crate::proto::wire::ip::{self as wire_ip, PROTOCOL_TCP};
use alloc::vec::Vec;

fn give(world: &mut World, bytes: &[u8]) -> Result<(), DropReason> {
    let packet = Packet::plain(bytes, world.now);
    world.receive(&mut Sockets::new([0; 16]), TUN, &packet)
}

fn echo_request(src: &str, dst: &str) -> Vec<u8> {
    icmp_message(src, dst, Message::EchoRequest(Echo { ident: 7, seq: 9, data: b"odd" }))
}

/// Headers of the datagram that was sent, and its message taken apart.
fn answer<R>(world: &mut World, read: impl FnOnce(&wire_ip::Parsed<'_>, Message<'_>) -> R) -> Option<R> {
    let (device, bytes) = world.sent()?;
    assert_eq!(device, TUN);
    let parsed = wire_ip::parse(&bytes).unwrap();
    let message = wire::parse(parsed.payload, parsed.src, parsed.dst, ChecksumState::Unverified).unwrap();
    Some(read(&parsed, message))
}

//= RFC1122 3.2.2.6 echo, 3.2.2.6 source, 3.3.4.2 source
//= RFC792 echo
//= RFC4443 2.2 source, 4.2 echo, 4.2 data, 4.2 source
//= RFC8504 10.1 dual stack
#[test]
fn a_ping_is_answered_from_the_address_that_was_pinged() {
    let mut world = World::new();
    world.ip.add_address(TUN, "10.9.0.5/24".parse().unwrap()).unwrap();
    for (src, dst) in [("10.9.0.1", "10.9.0.2"), ("10.9.0.1", "10.9.0.5"), ("fd09::1", "fd09::2")] {
        assert_eq!(give(&mut world, &echo_request(src, dst)), Ok(()));
        let seen = answer(&mut world, |parsed, message| {
            assert_eq!(message, Message::EchoReply(Echo { ident: 7, seq: 9, data: b"odd" }));
            assert_eq!(parsed.hop_limit, 64);
            (parsed.src, parsed.dst)
        });
        assert_eq!(seen, Some((ip(dst), ip(src))));
    }
    assert_eq!(world.counters.icmp_echo_replies, 3);
}

#[test]
fn an_answer_starts_with_a_hop_limit_of_its_own() {
    //= RFC1812 4.3.2.2 time to live: the TTL for ICMP responses MUST NOT be taken from the packet that
    //# triggered them.
    let mut world = World::new();
    for (src, dst) in [("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")] {
        for hop_limit in [1, 255] {
            let mut bytes = echo_request(src, dst);
            let header_len = if bytes[0] >> 4 == 4 { 20 } else { 40 };
            let protocol = bytes[if header_len == 20 { 9 } else { 6 }];
            let header = wire_ip::IpHeader { hop_limit, ..header(src, dst, protocol) };
            bytes = datagram(&header, &bytes[header_len..]);
            give(&mut world, &bytes).unwrap();
            assert_eq!(answer(&mut world, |parsed, _| parsed.hop_limit), Some(64));
            let unknown = datagram(&wire_ip::IpHeader { protocol: 132, ..header }, &[3; 8]);
            assert_eq!(give(&mut world, &unknown), Err(DropReason::UnknownProtocol));
            assert_eq!(answer(&mut world, |parsed, _| parsed.hop_limit), Some(64));
        }
    }
}

//= RFC1812 4.3.2.5 precedence
//= RFC8200 3 flow label
#[test]
fn the_type_of_service_of_a_ping_comes_back() {
    let mut world = World::new();
    let mut bytes = echo_request("fd09::1", "fd09::2");
    // Traffic class 0xb9 lies across the first two octets, and before a flow label, which does not come back.
    (bytes[0], bytes[1], bytes[2], bytes[3]) = (0x6b, 0x95, 0x67, 0x89);
    give(&mut world, &bytes).unwrap();
    let fixed = answer(&mut world, |parsed, _| parsed.whole[..4].to_vec());
    assert_eq!(fixed, Some(vec![0x6b, 0x90, 0, 0]));
    let header = wire_ip::IpHeader { tos: 0xb9, ..header("10.9.0.1", "10.9.0.2", wire_ip::PROTOCOL_ICMP) };
    let bytes = datagram(&header, &echo_request("10.9.0.1", "10.9.0.2")[20..]);
    give(&mut world, &bytes).unwrap();
    assert_eq!(answer(&mut world, |parsed, _| parsed.tos), Some(0xb9));
}

//= RFC4443 4.2 multicast
#[test]
fn a_ping_to_all_is_answered_over_ipv6_only() {
    let mut world = World::new();
    for dst in ["10.9.0.255", "255.255.255.255", "224.0.0.1"] {
        assert_eq!(give(&mut world, &echo_request("10.9.0.1", dst)), Err(DropReason::IcmpRequestToMany));
        assert!(world.sent().is_none());
    }
    assert_eq!(give(&mut world, &echo_request("fd09::1", "ff02::1")), Ok(()));
    assert_eq!(answer(&mut world, |parsed, _| parsed.src), Some(ip("fd09::2")));
    assert_eq!(give(&mut world, &echo_request("::", "ff02::1")), Err(DropReason::IcmpRequestToMany));
    assert!(world.sent().is_none());
}

#[test]
fn a_link_local_ping_goes_back_by_the_interface_it_came_by() {
    let mut world = World::new();
    let other = world.ip.add_interface(1500);
    world.ip.add_address(TUN, "fe80::1/64".parse().unwrap()).unwrap();
    world.ip.add_address(other, "fe80::2/64".parse().unwrap()).unwrap();
    let packet = echo_request("fe80::9", "fe80::2");
    let packet = Packet::plain(&packet, world.now);
    assert_eq!(world.receive(&mut Sockets::new([0; 16]), other, &packet), Ok(()));
    assert_eq!(world.sent().map(|(device, _)| device), Some(other));
}

#[test]
fn a_ping_to_ourselves_stays_inside() {
    let mut world = World::new();
    let bytes = echo_request("127.0.0.1", "127.0.0.1");
    let packet = Packet::plain(&bytes, world.now);
    assert_eq!(world.receive(&mut Sockets::new([0; 16]), DeviceId::LOOPBACK, &packet), Ok(()));
    assert_eq!(world.sent().map(|(device, _)| device), Some(DeviceId::LOOPBACK));
}

#[test]
fn an_answer_that_finds_no_way_is_counted_as_lost() {
    let mut world = World::new();
    assert_eq!(give(&mut world, &echo_request("8.8.8.8", "10.9.0.2")), Ok(()));
    assert_eq!(give(&mut world, &echo_request("10.9.0.1", "10.9.0.2")), Ok(()));
    assert_eq!((world.counters.replies_lost, world.counters.icmp_echo_replies), (1, 1));
}

#[test]
fn other_messages_are_ignored_each_under_its_name() {
    let mut world = World::new();
    let other = |kind| Message::Other(wire::Other { kind, code: 0, word: 0, body: &[] });
    let about = quoted_segment("10.9.0.2", "10.9.0.1");
    let v4 = |world: &mut World, message| give(world, &icmp_message("10.9.0.1", "10.9.0.2", message));
    for (kind, expected) in [
        (9, DropReason::IcmpDiscovery),
        (10, DropReason::IcmpDiscovery),
        //= RFC6918 section 2: information, address mask and the like are deprecated.
        (15, DropReason::IcmpDeprecated),
        (16, DropReason::IcmpDeprecated),
        (17, DropReason::IcmpDeprecated),
        (18, DropReason::IcmpDeprecated),
        (30, DropReason::IcmpDeprecated),
        (37, DropReason::IcmpDeprecated),
        //= RFC1122 3.2.2 unknown type, 3.2.2.7 information, 3.2.2.9 mask: a message of unknown type MUST be
        //# silently discarded.
        (1, DropReason::IcmpIgnored),
        (42, DropReason::IcmpIgnored),
        (255, DropReason::IcmpIgnored),
    ] {
        assert_eq!(v4(&mut world, other(kind)), Err(expected), "{kind}");
    }
    assert_eq!(v4(&mut world, error(5, 1, 0x0a09_0009, &about)), Err(DropReason::IcmpRedirect));
    //= RFC6633 section 3
    assert_eq!(v4(&mut world, error(4, 0, 0, &about)), Err(DropReason::IcmpDeprecated));
    for (kind, expected) in [
        (130, DropReason::IcmpGroups),
        (143, DropReason::IcmpGroups),
        (133, DropReason::IcmpDiscovery),
        (135, DropReason::IcmpDiscovery),
        (136, DropReason::IcmpDiscovery),
        (137, DropReason::IcmpRedirect),
        (139, DropReason::IcmpIgnored),
        //= RFC4443 2.4 b unknown: an informational message of unknown type MUST be silently discarded (b).
        (200, DropReason::IcmpIgnored),
    ] {
        let bytes = icmp_message("fd09::1", "fd09::2", other(kind));
        assert_eq!(give(&mut world, &bytes), Err(expected), "{kind}");
    }
    assert!(world.sent().is_none());
}

#[test]
fn a_message_with_a_wrong_checksum_is_dropped() {
    let mut world = World::new();
    let mut bytes = echo_request("10.9.0.1", "10.9.0.2");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(give(&mut world, &bytes), Err(DropReason::IcmpChecksum));
}

//= RFC1122 3.2.2.1 port, 3.4 send ICMP, 4.1.3.1 ports
//= RFC4443 3.1 port
#[test]
fn a_port_without_a_listener_is_unreachable() {
    let mut world = World::new();
    for (src, dst, expected) in [("10.9.0.1:9", "10.9.0.2:7", (3, 3)), ("[fd09::1]:9", "[fd09::2]:7", (1, 4))]
    {
        let bytes = udp(src, dst, b"text");
        assert_eq!(give(&mut world, &bytes), Err(DropReason::UdpNoSocket));
        let seen = answer(&mut world, |parsed, message| {
            let Message::Error(error) = message else { panic!("{message:?}") };
            assert_eq!((error.quoted, error.word), (&bytes[..], 0));
            assert_eq!(parsed.tos, if parsed.src.is_ipv4() { 0xc0 } else { 0 });
            (error.kind, error.code)
        });
        assert_eq!(seen, Some(expected));
    }
    assert_eq!(world.counters.icmp_errors_out, 2);
}

//= RFC8200 4 next header
#[test]
fn a_protocol_nobody_speaks_is_unreachable() {
    let mut world = World::new();
    let seen = |world: &mut World| {
        answer(world, |_, message| match message {
            Message::Error(error) => (error.kind, error.code, error.word),
            _ => panic!("{message:?}"),
        })
    };
    for (src, dst, protocol, expected) in [
        ("10.9.0.1", "10.9.0.2", 132, (3, 2, 0)),
        ("10.9.0.1", "10.9.0.2", PROTOCOL_ICMPV6, (3, 2, 0)),
        ("fd09::1", "fd09::2", 132, (4, 1, 6)),
        ("fd09::1", "fd09::2", PROTOCOL_ICMP, (4, 1, 6)),
    ] {
        let bytes = datagram(&header(src, dst, protocol), &[3; 8]);
        assert_eq!(give(&mut world, &bytes), Err(DropReason::UnknownProtocol));
        assert_eq!(seen(&mut world), Some(expected));
    }
    // Behind destination options the pointer is at the options' next header octet.
    let bytes = datagram(&header("fd09::1", "fd09::2", 60), &[132, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(give(&mut world, &bytes), Err(DropReason::UnknownProtocol));
    assert_eq!(seen(&mut world), Some((4, 1, 40)));
}

#[test]
fn nothing_that_was_sent_to_all_draws_an_error() {
    let mut world = World::new();
    for dst in ["10.9.0.255:7", "255.255.255.255:7", "224.0.0.1:7"] {
        assert_eq!(give(&mut world, &udp("10.9.0.1:9", dst, b"")), Err(DropReason::UdpNoSocket));
    }
    assert_eq!(give(&mut world, &udp("[fd09::1]:9", "[ff02::1]:7", b"")), Err(DropReason::UdpNoSocket));
    for (src, dst) in [("10.9.0.1", "10.9.0.255"), ("fd09::1", "ff02::1")] {
        let bytes = datagram(&header(src, dst, 132), &[]);
        assert_eq!(give(&mut world, &bytes), Err(DropReason::UnknownProtocol));
    }
    assert!(world.sent().is_none());
}

//= RFC1122 3.2.2 quote
//= RFC1812 4.3.2.3 quote
//= RFC4443 2.4 c quote
#[test]
fn an_error_quotes_as_much_as_every_host_can_take() {
    let mut world = World::new();
    for (src, dst, len) in [("10.9.0.1:9", "10.9.0.2:7", 576), ("[fd09::1]:9", "[fd09::2]:7", 1280)] {
        let bytes = udp(src, dst, &[0x5a; 1400]);
        assert!(give(&mut world, &bytes).is_err());
        let (_, sent) = world.sent().unwrap();
        assert_eq!(sent.len(), len);
        let quoted = &sent[if src.starts_with('[') { 48 } else { 28 }..];
        assert!(bytes.starts_with(quoted));
    }
}

//= RFC1812 4.3.2.8 rate
//= RFC4443 2.4 f configurable
#[test]
fn errors_are_limited_and_echo_replies_are_not() {
    let config = Config { icmp_errors_burst: 4, icmp_errors_per_second: 1, ..Config::default() };
    let mut world = World::with(config);
    for _ in 0..100 {
        assert!(give(&mut world, &udp("10.9.0.1:9", "10.9.0.2:7", b"")).is_err());
        assert!(give(&mut world, &echo_request("10.9.0.1", "10.9.0.2")).is_ok());
    }
    let counters = &world.counters;
    assert!((1..=10).contains(&counters.icmp_errors_out), "{}", counters.icmp_errors_out);
    assert_eq!(counters.icmp_errors_out + counters.icmp_errors_limited, 100);
    assert_eq!(counters.icmp_echo_replies, 100);
}

/// The start of a TCP segment that we may have sent.
fn quoted_segment(src: &str, dst: &str) -> Vec<u8> {
    datagram(&header(src, dst, PROTOCOL_TCP), &[0, 80, 0x30, 0x39, 1, 2, 3, 4])
}

fn error<'a>(kind: u8, code: u8, word: u32, quoted: &'a [u8]) -> Message<'a> {
    Message::Error(ErrorMessage { kind, code, word, quoted })
}

fn received<'a>(world: &mut World, bytes: &'a [u8]) -> Result<Option<IcmpError<'a>>, DropReason> {
    let datagram = world.input(bytes)?;
    receive(world.ctx(), &datagram).map(|received| match received {
        Received::Error(error) => Some(error),
        Received::Done | Received::Reply(_) => None,
    })
}

//= RFC1122 3.4 quotation
//= RFC792 unused received
#[test]
fn an_error_about_a_packet_of_ours_is_passed_on() {
    let mut world = World::new();
    let quoted = quoted_segment("10.9.0.2", "10.9.0.1");
    // It comes from a router, not from the host that the packet was for.
    let bytes = icmp_message("172.16.0.1", "10.9.0.2", error(3, 4, 0xffff_0514, &quoted));
    let expected = IcmpError {
        kind: IcmpErrorKind::PacketTooBig(1300),
        type_code: (3, 4),
        offender: ip("172.16.0.1"),
        protocol: PROTOCOL_TCP,
        local: "10.9.0.2:80".parse().unwrap(),
        remote: "10.9.0.1:12345".parse().unwrap(),
        seq: Some(0x0102_0304),
        transport: &quoted[20..],
    };
    assert_eq!(received(&mut world, &bytes), Ok(Some(expected)));
    let quoted = quoted_segment("fd09::2", "fd09::1");
    let bytes = icmp_message("fd09::1", "fd09::2", error(2, 0, 1280, &quoted));
    let read = received(&mut world, &bytes).unwrap().unwrap();
    assert_eq!((read.kind, read.seq), (IcmpErrorKind::PacketTooBig(1280), Some(0x0102_0304)));
}

//= RFC4443 2.4 d upper layer
#[test]
fn errors_about_packets_that_we_cannot_have_sent_are_not_believed() {
    let mut world = World::new();
    world.ip.add_address(TUN, "10.9.0.5/24".parse().unwrap()).unwrap();
    for (dst, quoted) in [
        ("10.9.0.2", quoted_segment("10.9.0.77", "10.9.0.1")),
        ("10.9.0.2", quoted_segment("10.9.0.5", "10.9.0.1")),
        ("10.9.0.255", quoted_segment("10.9.0.255", "10.9.0.1")),
        // Ports missing.
        ("10.9.0.2", datagram(&header("10.9.0.2", "10.9.0.1", PROTOCOL_TCP), &[0, 80])),
    ] {
        let bytes = icmp_message("10.9.0.1", dst, error(3, 3, 0, &quoted));
        assert_eq!(received(&mut world, &bytes), Err(DropReason::IcmpUnrelated));
    }
    let bytes = icmp_message("10.9.0.1", "10.9.0.2", error(3, 3, 0, &[0x45, 0]));
    assert_eq!(received(&mut world, &bytes), Err(DropReason::IcmpMalformed));
}

//= RFC1122 3.2.2 no error about errors
//= RFC792 no message about messages
//= RFC1812 4.3.2.7 about errors
#[test]
fn no_error_draws_an_error() {
    let mut world = World::new();
    for (src, dst, quoted) in [
        ("10.9.0.1", "10.9.0.2", quoted_segment("10.9.0.77", "10.9.0.1")),
        ("fd09::1", "fd09::2", quoted_segment("fd09::77", "fd09::1")),
    ] {
        assert!(give(&mut world, &icmp_message(src, dst, error(3, 3, 0, &quoted))).is_err());
    }
    assert!(world.sent().is_none());
}

//= RFC1122 3.2.2.4 pass up, 3.2.2.5 pass up
//= RFC4443 3.1 pass up, 3.2 pass up, 3.3 pass up, 3.4 pass up
#[test]
fn every_code_has_its_meaning() {
    use IcmpErrorKind::*;
    let v4 = |kind, code| classify_v4(&ErrorMessage { kind, code, word: 9, quoted: &[] });
    let v6 = |kind, code| classify_v6(&ErrorMessage { kind, code, word: 9, quoted: &[] });
    for (code, expected) in (0..16).zip([
        NetworkUnreachable,
        HostUnreachable,
        ProtocolUnreachable,
        PortUnreachable,
        PacketTooBig(9),
        HostUnreachable,
        NetworkUnreachable,
        HostUnreachable,
        HostUnreachable,
        Prohibited,
        Prohibited,
        NetworkUnreachable,
        HostUnreachable,
        Prohibited,
        Prohibited,
        Prohibited,
    ]) {
        assert_eq!(v4(3, code), Some(expected), "{code}");
    }
    assert_eq!((v4(3, 16), v4(11, 2)), (None, None));
    assert_eq!((v4(11, 0), v4(12, 0)), (Some(TimeExceeded), Some(ParameterProblem)));
    // Source quench (RFC 9293 MUST-55) and redirect.
    assert_eq!((v4(4, 0), v4(5, 0)), (None, None));
    for (code, expected) in (0..7).zip([
        NetworkUnreachable,
        Prohibited,
        HostUnreachable,
        HostUnreachable,
        PortUnreachable,
        Prohibited,
        Prohibited,
    ]) {
        assert_eq!(v6(1, code), expected, "{code}");
    }
    //= RFC4443 2.4 a unknown
    assert_eq!((v6(1, 7), v6(5, 0), v6(127, 0)), (Other, Other, Other));
    assert_eq!((v6(2, 0), v6(3, 1)), (PacketTooBig(9), TimeExceeded));
    assert_eq!((v6(4, 0), v6(4, 1)), (ParameterProblem, ProtocolUnreachable));
}

#[test]
fn only_the_type_of_an_echo_changes() {
    // RFC 792: "the type code changed to 0, and the checksum recomputed".
    let mut world = World::new();
    for (src, dst, kind, answered) in [("10.9.0.1", "10.9.0.2", 8, 0), ("fd09::1", "fd09::2", 128, 129)] {
        let request = Message::Other(wire::Other { kind, code: 9, word: 0x0007_0009, body: b"odd" });
        assert_eq!(give(&mut world, &icmp_message(src, dst, request)), Ok(()));
        let (_, bytes) = world.sent().unwrap();
        let message = wire_ip::parse(&bytes).unwrap().payload;
        assert_eq!((message[0], message[1], &message[4..]), (answered, 9, &b"\0\x07\0\x09odd"[..]));
    }
}

fn timestamp_request(dst: &str, body: &[u8]) -> Vec<u8> {
    let request = wire::Other { kind: 13, code: 0, word: 0x0007_0009, body };
    icmp_message("10.9.0.1", dst, Message::Other(request))
}

//= RFC1122 3.2.2.8 timestamp
//= RFC1812 4.3.3.8 timestamp
#[test]
fn a_timestamp_request_is_answered_with_the_time_of_day() {
    let mut world = World::new();
    let request = timestamp_request("10.9.0.2", &[0, 0, 0, 5, 1, 1, 1, 1, 2, 2, 2, 2]);
    let times = |world: &mut World| {
        assert_eq!(give(world, &request), Ok(()));
        answer(world, |parsed, message| {
            let Message::Other(reply) = message else { panic!("{message:?}") };
            assert_eq!((reply.kind, reply.code, reply.word), (14, 0, 0x0007_0009));
            assert_eq!((parsed.src, reply.body.len()), (ip("10.9.0.2"), 12));
            let time = |at: usize| reply.body[at..].first_chunk().copied().map(u32::from_be_bytes).unwrap();
            [time(0), time(4), time(8)]
        })
        .unwrap()
    };
    // Who doesn't know it says so by the highest bit.
    let [origin, received, sent] = times(&mut world);
    assert_eq!((origin, received, received >> 31), (5, sent, 1));
    // Two days and three seconds before the first instant, which was a second ago.
    world.ip.wall_clock.set((2 * 86_400 + 3) * 1_000_000_000);
    assert_eq!(times(&mut world), [5, 4000, 4000]);
    assert_eq!(world.counters.icmp_timestamp_replies, 2);
}

#[test]
fn odd_timestamp_requests_are_not_answered() {
    let mut world = World::new();
    for dst in ["10.9.0.255", "224.0.0.1"] {
        let bytes = timestamp_request(dst, &[0; 12]);
        assert_eq!(give(&mut world, &bytes), Err(DropReason::IcmpRequestToMany));
    }
    let short = timestamp_request("10.9.0.2", &[0; 3]);
    assert_eq!(give(&mut world, &short), Err(DropReason::IcmpMalformed));
    let reply = wire::Other { kind: 14, code: 0, word: 0, body: &[0; 12] };
    let reply = icmp_message("10.9.0.1", "10.9.0.2", Message::Other(reply));
    assert_eq!(give(&mut world, &reply), Err(DropReason::IcmpIgnored));
    assert!(world.sent().is_none());
}

/// An echo request with options.
fn request_with_options(options: &[u8], data: &[u8]) -> Vec<u8> {
    let request = Message::EchoRequest(Echo { ident: 7, seq: 9, data });
    let mut written = HeaderBuf::new();
    request.write_header(ip("10.9.0.1"), ip("10.9.0.2"), &mut written);
    let header = header("10.9.0.1", "10.9.0.2", PROTOCOL_ICMP);
    let mut bytes = datagram(&header, &[options, &written, data].concat());
    bytes[0] += (options.len() / 4) as u8;
    (bytes[10], bytes[11]) = (0, 0);
    let mut sum = Sum::new();
    sum.add(&bytes[..20 + options.len()]);
    bytes[10..12].copy_from_slice(&sum.finish().to_be_bytes());
    bytes
}

/// The options of the answer to a request with `options`.
fn options_answered(world: &mut World, options: &[u8]) -> Vec<u8> {
    assert_eq!(give(world, &request_with_options(options, b"data")), Ok(()));
    let (_, bytes) = world.sent().unwrap();
    let parsed = wire_ip::parse(&bytes).unwrap();
    assert_eq!(parsed.problem, None);
    let message = wire::parse(parsed.payload, parsed.src, parsed.dst, ChecksumState::Unverified);
    assert_eq!(message, Ok(Message::EchoReply(Echo { ident: 7, seq: 9, data: b"data" })));
    bytes[20..bytes.len() - parsed.payload.len()].to_vec()
}

#[test]
fn a_recorded_route_comes_back_as_linux_sends_it() {
    //= RFC1122 3.2.2.6 record route: record route and timestamp SHOULD be updated to include the current host
    //# and included in the header of the echo reply, without truncation.
    let mut world = World::new();
    // What `ping -R` sends, and what the kernel answers: coming and going.
    let asked = [&[1, 7, 39, 8, 10, 9, 0, 1][..], &[0; 32]].concat();
    let told = [&[7, 39, 16, 10, 9, 0, 1, 10, 9, 0, 2, 10, 9, 0, 2][..], &[0; 25]].concat();
    assert_eq!(options_answered(&mut world, &asked), told);
}

//= RFC1122 3.2.2.6 timestamp
#[test]
fn times_come_back_as_linux_sends_them() {
    let mut world = World::new();
    world.ip.wall_clock.set(3_000_000_000);
    // `ping -T tsonly`.
    let asked = [&[68, 40, 9, 0, 0, 0, 0, 5][..], &[0; 32]].concat();
    let told = [&[68, 40, 17, 0, 0, 0, 0, 5, 0, 0, 0x0f, 0xa0, 0, 0, 0x0f, 0xa0][..], &[0; 24]].concat();
    assert_eq!(options_answered(&mut world, &asked), told);
    // `ping -T tsandaddr`.
    let asked = [&[68, 36, 13, 1, 10, 9, 0, 1, 0, 0, 0, 5][..], &[0; 24]].concat();
    let us = [10, 9, 0, 2, 0, 0, 0x0f, 0xa0];
    let told = [&[68, 36, 29, 1, 10, 9, 0, 1, 0, 0, 0, 5][..], &us, &us, &[0; 8]].concat();
    assert_eq!(options_answered(&mut world, &asked), told);
}

#[test]
fn options_that_ask_nothing_do_not_come_back() {
    let mut world = World::new();
    // Router alert, and one that nobody knows.
    assert_eq!(options_answered(&mut world, &[148, 4, 0, 0, 30, 4, 0, 0]), []);
}

#[test]
fn a_large_echo_keeps_its_recorded_route_in_the_first_part_alone() {
    let mut world = World::new();
    let asked = [&[7, 39, 4][..], &[0; 37]].concat();
    assert_eq!(give(&mut world, &request_with_options(&asked, &[3; 4000])), Ok(()));
    let mut data = 0;
    for (number, header_len) in [60, 20, 20].into_iter().enumerate() {
        let (_, bytes) = world.sent().unwrap();
        assert!(bytes.len() <= 1500);
        let parsed = wire_ip::parse(&bytes).unwrap();
        let fragment = parsed.fragment.unwrap();
        assert_eq!((parsed.header_len, fragment.offset_bytes), (header_len, data), "{number}");
        data += parsed.payload.len();
    }
    assert_eq!((data, world.sent()), (4008, None));
}

//= RFC791 3.1 record route pointer
//= RFC1812 4.3.3.5 parameter problem
#[test]
fn malformed_options_draw_a_parameter_problem() {
    //= RFC1122 3.2.2.5 parameter problem: a host SHOULD generate parameter problem messages.
    let mut world = World::new();
    for (options, pointer) in
        [([7, 0, 4, 0], 20), ([1, 7, 9, 4], 21), ([1, 1, 68, 1], 22), ([30, 1, 0, 0], 20)]
    {
        let bytes = request_with_options(&options, b"data");
        assert_eq!(give(&mut world, &bytes), Err(DropReason::IpOption));
        let told = answer(&mut world, |_, message| match message {
            Message::Error(error) => (error.kind, error.code, error.word >> 24, error.quoted == bytes),
            _ => panic!("{message:?}"),
        });
        assert_eq!(told, Some((12, 0, pointer, true)), "{options:?}");
    }
}
