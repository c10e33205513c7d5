use super::*;
use crate::proto::config::{Config, Secrets};
use crate::proto::ip::icmp::IcmpErrorKind;
use crate::proto::ip::testing::{self, datagram, icmp_message, ip, udp};
use crate::proto::packet::{DeviceId, Egress, Packet, Sent};
use crate::proto::socket_errors::ErrorCause;
use crate::proto::stack::Stack;
use crate::proto::wire::icmp::{Echo, ErrorMessage, Message};
use crate::proto::wire::ip::{self as wire_ip, PROTOCOL_TCP};
use crate::time::Instant;
use proptest::prelude::*;

const NOW: Instant = Instant::ZERO;
const TUN: DeviceId = DeviceId(0);
/// For experiments (RFC 3692).
const EXPERIMENT: u8 = 253;
const BOTH: [(&str, &str, &str); 2] = [("0.0.0.0", "10.9.0.2", "10.9.0.1"), ("::", "fd09::2", "fd09::1")];

fn stack() -> Stack {
    stack_with(Config::default())
}

fn stack_with(config: Config) -> Stack {
    let mut stack = Stack::new(config, &Secrets::from_number(1), NOW);
    assert_eq!(stack.add_interface(1500), TUN);
    for address in ["10.9.0.2/24", "fd09::2/64"] {
        stack.add_address(TUN, address.parse().unwrap()).unwrap();
    }
    stack
}

fn bind(stack: &mut Stack, local: &str, protocol: u8) -> RawId {
    stack.raw_bind(NOW, ip(local), protocol, Owner(4)).unwrap()
}

fn change(stack: &mut Stack, id: RawId, change: impl FnOnce(&mut RawOptions)) -> Result<(), Error> {
    let mut options = stack.raw_options(id).unwrap();
    change(&mut options);
    stack.raw_set_options(id, options)
}

fn give(stack: &mut Stack, bytes: &[u8]) {
    stack.receive(TUN, &Packet::plain(bytes, NOW));
}

fn recv(stack: &mut Stack, id: RawId) -> Result<Vec<u8>, Error> {
    let mut out = [0; 2000];
    stack.raw_recv_msg(id, &mut out).map(|received| out[..received.len].to_vec())
}

fn send(stack: &mut Stack, id: RawId, data: &[u8], to: &str) -> Result<usize, Error> {
    stack.raw_send_to(NOW, id, data, Some(ip(to)), SendOptions::default())
}

fn sent(stack: &mut Stack) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let _ = stack.transmit(NOW, &mut |egress: Egress<'_>| {
        let mut bytes = Vec::new();
        egress.copy_to(&mut bytes);
        packets.push(bytes);
        Sent::Taken
    });
    packets
}

fn echo_request(src: &str, dst: &str) -> Vec<u8> {
    icmp_message(src, dst, Message::EchoRequest(Echo { ident: 7, seq: 9, data: b"odd" }))
}

fn experiment(src: &str, dst: &str, data: &[u8]) -> Vec<u8> {
    datagram(&testing::header(src, dst, EXPERIMENT), data)
}

#[test]
fn a_datagram_of_the_protocol_comes_with_its_header_over_ipv4_and_without_over_ipv6() {
    let mut stack = stack();
    for (wildcard, us, them) in BOTH {
        let id = bind(&mut stack, wildcard, EXPERIMENT);
        let bytes = experiment(them, us, b"data");
        give(&mut stack, &bytes);
        let event = stack.next_event().unwrap();
        assert_eq!((event.socket, event.readiness), (SocketId::Raw(id), Readiness::READABLE));
        let mut out = [0; 100];
        let received = stack.raw_recv_msg(id, &mut out).unwrap();
        let expected = if ip(us).is_ipv4() { &bytes[..] } else { b"data" };
        assert_eq!(&out[..received.len], expected);
        assert_eq!((received.from, received.to), (SocketAddr::new(ip(them), 0), ip(us)));
        assert_eq!(recv(&mut stack, id), Err(Error::WouldBlock));
    }
    assert_eq!((stack.counters().raw_in, stack.counters().dropped_total()), (2, 0));
}

//= RFC1812 5.3.13.3 stream identifier
#[test]
fn options_of_ipv4_go_out_and_come_in_with_a_header_of_ones_own() {
    //= RFC1122 3.2.1.8 send, 3.2.1.8 pass up, 3.2.1.8 obsolete: the transport layer MUST be able to send IP
    //# options; all that are received MUST be passed to it, and those that nobody knows ignored.
    let mut stack = stack();
    let id = bind(&mut stack, "0.0.0.0", EXPERIMENT);
    change(&mut stack, id, |options| options.header_included = true).unwrap();
    for options in
        [&[7, 7, 4, 0, 0, 0, 0, 0][..], &[0x44, 8, 5, 0, 0, 0, 0, 0], &[0x88, 4, 1, 2], &[0x9e, 4, 1, 2]]
    {
        let with_options = |src, dst| {
            let mut bytes = crate::proto::wire::HeaderBuf::new();
            testing::header(src, dst, EXPERIMENT).write_with_options(options, 4, &mut bytes);
            [&bytes[..], b"data"].concat()
        };
        let out = with_options("10.9.0.2", "10.9.0.1");
        send(&mut stack, id, &out, "10.9.0.1").unwrap();
        assert_eq!(sent(&mut stack), [out]);
        let incoming = with_options("10.9.0.1", "10.9.0.2");
        give(&mut stack, &incoming);
        assert_eq!(recv(&mut stack, id), Ok(incoming));
    }
}

//= RFC1122 3.2.2.1 protocol
#[test]
fn a_protocol_that_a_raw_socket_speaks_is_not_unreachable() {
    let mut stack = stack();
    for (wildcard, us, them) in BOTH {
        let id = bind(&mut stack, wildcard, EXPERIMENT);
        give(&mut stack, &experiment(them, us, b""));
        assert_eq!(sent(&mut stack).len(), 0);
        stack.raw_close(NOW, id);
        give(&mut stack, &experiment(them, us, b""));
        assert_eq!(sent(&mut stack).len(), 1);
        assert_eq!(recv(&mut stack, id), Err(Error::NoSuchSocket));
    }
    assert_eq!(stack.counters().dropped(DropReason::UnknownProtocol), 2);
    assert_eq!(stack.raw_sockets(), 0);
}

#[test]
fn transports_get_what_raw_sockets_had_a_copy_of() {
    let mut stack = stack();
    let raw = bind(&mut stack, "0.0.0.0", PROTOCOL_UDP);
    let port = stack.udp_bind(NOW, "10.9.0.2:7".parse().unwrap(), Owner(4)).unwrap();
    let bytes = udp("10.9.0.1:9", "10.9.0.2:7", b"text");
    give(&mut stack, &bytes);
    assert_eq!(recv(&mut stack, raw), Ok(bytes));
    assert_eq!(stack.udp_recv_from(port, &mut [0; 9]).map(|(len, _)| len), Ok(4));
    // What nobody listens to is unreachable all the same.
    give(&mut stack, &udp("10.9.0.1:9", "10.9.0.2:8", b""));
    assert_eq!(sent(&mut stack).len(), 1);
    let icmp = bind(&mut stack, "0.0.0.0", PROTOCOL_ICMP);
    give(&mut stack, &echo_request("10.9.0.1", "10.9.0.2"));
    assert_eq!(sent(&mut stack).len(), 1, "the stack answers");
    assert!(recv(&mut stack, icmp).is_ok());
}

#[test]
fn only_what_comes_from_the_peer_to_the_address_is_received() {
    let mut stack = stack();
    stack.add_address(TUN, "10.9.0.5/24".parse().unwrap()).unwrap();
    let bound = bind(&mut stack, "10.9.0.5", EXPERIMENT);
    let connected = bind(&mut stack, "0.0.0.0", EXPERIMENT);
    stack.raw_connect(NOW, connected, ip("10.9.0.1")).unwrap();
    assert_eq!(stack.raw_local_addr(connected), Ok(ip("10.9.0.2")));
    for (src, dst) in [("10.9.0.1", "10.9.0.2"), ("10.9.0.3", "10.9.0.5"), ("10.9.0.3", "10.9.0.2")] {
        give(&mut stack, &experiment(src, dst, b""));
    }
    let mut from = |id| stack.raw_recv_msg(id, &mut []).map(|received| received.from.ip());
    assert_eq!((from(bound), from(bound)), (Ok(ip("10.9.0.3")), Err(Error::WouldBlock)));
    assert_eq!((from(connected), from(connected)), (Ok(ip("10.9.0.1")), Err(Error::WouldBlock)));
    assert_eq!(stack.counters().dropped(DropReason::UnknownProtocol), 1);
}

#[test]
fn what_is_sent_gets_a_header_and_icmpv6_its_checksum() {
    let mut stack = stack();
    let id = bind(&mut stack, "0.0.0.0", EXPERIMENT);
    change(&mut stack, id, |options| (options.ttl, options.tos) = (9, 0x2e)).unwrap();
    assert_eq!(send(&mut stack, id, b"data", "10.9.0.1"), Ok(4));
    let [packet] = &sent(&mut stack)[..] else { panic!("one packet") };
    let parsed = wire_ip::parse(packet).unwrap();
    assert_eq!((parsed.src, parsed.dst, parsed.protocol), (ip("10.9.0.2"), ip("10.9.0.1"), EXPERIMENT));
    assert_eq!((parsed.hop_limit, parsed.tos, parsed.payload), (9, 0x2e, &b"data"[..]));

    let id = bind(&mut stack, "::", PROTOCOL_ICMPV6);
    let right = echo_request("fd09::2", "fd09::1");
    let mut data = right[40..].to_vec();
    data[2..4].fill(0xaa);
    send(&mut stack, id, &data, "fd09::1").unwrap();
    assert_eq!(sent(&mut stack)[0][40..], right[40..]);
    assert_eq!(send(&mut stack, id, &[1, 2, 3], "fd09::1"), Err(Error::InvalidInput));
    assert_eq!(send(&mut stack, id, &[1], "fd09::1"), Err(Error::InvalidInput));
}

#[test]
fn a_header_of_its_own_is_completed_and_otherwise_left_alone() {
    let mut stack = stack();
    let id = bind(&mut stack, "0.0.0.0", EXPERIMENT);
    change(&mut stack, id, |options| options.header_included = true).unwrap();
    let mut data = experiment("10.9.0.77", "10.9.0.1", b"data");
    data[2..4].fill(0);
    data[10..12].fill(0xff);
    send(&mut stack, id, &data, "10.9.0.1").unwrap();
    data[4..6].fill(0);
    data[12..16].fill(0);
    send(&mut stack, id, &data, "10.9.0.1").unwrap();
    let packets = sent(&mut stack);
    let parsed: Vec<_> = packets.iter().map(|packet| wire_ip::parse(packet).unwrap()).collect();
    assert_eq!((parsed[0].src, parsed[0].ident, parsed[0].payload), (ip("10.9.0.77"), 1, &b"data"[..]));
    assert_eq!(parsed[1].src, ip("10.9.0.2"));
    assert_ne!(parsed[1].ident, 0);
    let id = bind(&mut stack, "::", EXPERIMENT);
    assert_eq!(change(&mut stack, id, |options| options.header_included = true), Err(Error::InvalidInput));
}

#[test]
fn what_is_no_header_or_too_long_is_refused() {
    let mut stack = stack();
    let id = bind(&mut stack, "0.0.0.0", EXPERIMENT);
    change(&mut stack, id, |options| options.header_included = true).unwrap();
    let mut short_header = experiment("10.9.0.2", "10.9.0.1", b"");
    short_header[0] = 0x44;
    let mut long_header = short_header.clone();
    long_header[0] = 0x46;
    let version = [0x65; 20];
    for data in [&[][..], &[0x45; 19], &short_header, &long_header, &version] {
        assert_eq!(send(&mut stack, id, data, "10.9.0.1"), Err(Error::InvalidInput));
    }
    let longest = experiment("10.9.0.2", "10.9.0.1", &[0; 1480]);
    assert_eq!(send(&mut stack, id, &longest, "10.9.0.1"), Ok(1500));
    let long = experiment("10.9.0.2", "10.9.0.1", &[0; 1481]);
    assert_eq!(send(&mut stack, id, &long, "10.9.0.1"), Err(Error::MessageTooLong));
}

#[test]
fn a_filter_says_which_messages_are_received() {
    let mut stack = stack();
    let id = bind(&mut stack, "0.0.0.0", PROTOCOL_ICMP);
    change(&mut stack, id, |options| options.filter = IcmpFilter::BLOCK_ALL.pass(0)).unwrap();
    give(&mut stack, &echo_request("10.9.0.1", "10.9.0.2"));
    let reply = Message::EchoReply(Echo { ident: 1, seq: 2, data: b"" });
    let reply = icmp_message("10.9.0.1", "10.9.0.2", reply);
    give(&mut stack, &reply);
    assert_eq!(recv(&mut stack, id), Ok(reply));
    assert_eq!(recv(&mut stack, id), Err(Error::WouldBlock));
    assert_eq!(stack.counters().dropped_total(), 0);
}

#[test]
fn a_damaged_icmpv6_message_is_not_received() {
    let mut stack = stack();
    let id = bind(&mut stack, "::", PROTOCOL_ICMPV6);
    let mut bytes = echo_request("fd09::1", "fd09::2");
    bytes[47] ^= 1;
    give(&mut stack, &bytes);
    assert_eq!(recv(&mut stack, id), Err(Error::WouldBlock));
    assert_eq!(stack.counters().dropped(DropReason::IcmpChecksum), 1);
    bytes[47] ^= 1;
    give(&mut stack, &bytes);
    assert_eq!(recv(&mut stack, id), Ok(bytes[40..].to_vec()));
}

#[test]
fn options_that_cannot_be_are_refused() {
    let mut stack = stack();
    let v4 = bind(&mut stack, "0.0.0.0", EXPERIMENT);
    let v6 = bind(&mut stack, "::", EXPERIMENT);
    let icmp = bind(&mut stack, "::", PROTOCOL_ICMPV6);
    assert_eq!(change(&mut stack, v4, |options| options.ttl = 0), Err(Error::InvalidInput));
    assert_eq!(change(&mut stack, v4, |options| options.checksum_at = Some(2)), Err(Error::InvalidInput));
    assert_eq!(change(&mut stack, v6, |options| options.checksum_at = Some(3)), Err(Error::InvalidInput));
    assert_eq!(change(&mut stack, v6, |options| options.checksum_at = Some(u16::MAX - 1)), Ok(()));
    assert_eq!(send(&mut stack, v6, &[0; 100], "fd09::1"), Err(Error::InvalidInput));
    give(&mut stack, &experiment("fd09::1", "fd09::2", &[0; 100]));
    assert_eq!(recv(&mut stack, v6), Err(Error::WouldBlock));
    assert_eq!(change(&mut stack, icmp, |options| options.checksum_at = None), Err(Error::InvalidInput));
    assert_eq!(stack.raw_bind(NOW, ip("::"), 0, Owner(4)), Err(Error::InvalidInput));
    assert_eq!(stack.raw_bind(NOW, ip("10.9.0.1"), 1, Owner(4)), Err(Error::AddrNotAvailable));
    assert_eq!(send(&mut stack, v4, b"", "fd09::1"), Err(Error::InvalidInput));
    assert_eq!(send(&mut stack, v4, b"", "10.9.0.255"), Err(Error::PermissionDenied));
    let nowhere = stack.raw_send_to(NOW, v4, b"", None, SendOptions::default());
    assert_eq!(nowhere, Err(Error::DestinationRequired));
}

#[test]
fn sockets_and_their_queues_are_limited() {
    let mut stack = stack_with(Config { raw_sockets: 1, raw_recv_buffer: 1000, ..Config::default() });
    let id = bind(&mut stack, "0.0.0.0", EXPERIMENT);
    assert_eq!(stack.raw_bind(NOW, ip("::"), 1, Owner(4)), Err(Error::NoBufferSpace));
    for _ in 0..20 {
        give(&mut stack, &experiment("10.9.0.1", "10.9.0.2", &[0; 100]));
    }
    let mut read = 0;
    while recv(&mut stack, id).is_ok() {
        read += 1;
    }
    assert!((1..10).contains(&read), "{read}");
    assert_eq!(stack.counters().raw_queue_full, 20 - read);
}

#[test]
fn an_error_reaches_the_sockets_that_can_have_sent_what_it_is_about() {
    let mut stack = stack();
    for (wildcard, us, them) in BOTH {
        let asked = bind(&mut stack, wildcard, EXPERIMENT);
        change(&mut stack, asked, |options| options.report_errors = true).unwrap();
        let elsewhere = bind(&mut stack, wildcard, EXPERIMENT);
        stack.raw_connect(NOW, elsewhere, ip(if ip(us).is_ipv4() { "10.9.0.3" } else { "fd09::3" })).unwrap();
        let connected = bind(&mut stack, wildcard, EXPERIMENT);
        stack.raw_connect(NOW, connected, ip(them)).unwrap();
        send(&mut stack, asked, b"data", them).unwrap();
        let about = sent(&mut stack).remove(0);
        let (kind, code, error) =
            if ip(us).is_ipv4() { (3, 2, Error::ProtocolUnreachable) } else { (4, 1, Error::ProtocolError) };
        let message = Message::Error(ErrorMessage { kind, code, word: 40, quoted: &about });
        give(&mut stack, &icmp_message(them, us, message));
        assert_eq!(stack.raw_take_error(connected), Ok(Some(error)));
        assert_eq!(stack.raw_take_error(elsewhere), Ok(None));
        assert_eq!(send(&mut stack, asked, b"", them), Err(error));
        let report = stack.raw_recv_error(asked).unwrap().unwrap();
        let cause = ErrorCause::Icmp {
            kind: IcmpErrorKind::ProtocolUnreachable,
            type_code: (kind, code),
            offender: ip(them),
        };
        assert_eq!((report.error, report.cause, &report.quoted[..]), (error, cause, &b"data"[..]));
        assert_eq!(report.destination, SocketAddr::new(ip(them), 0));
        assert_eq!(stack.raw_recv_error(asked), Ok(None));
    }
    assert_eq!(stack.counters().dropped_total(), 0);
}

//= RFC8200 5 path MTU
//= RFC8504 5.7 path MTU
#[test]
fn the_path_s_mtu_is_learnt_and_shown() {
    let mut stack = stack();
    for (wildcard, us, them) in BOTH {
        let id = bind(&mut stack, wildcard, EXPERIMENT);
        assert_eq!(stack.raw_path_mtu(id), Err(Error::NotConnected));
        stack.raw_connect(NOW, id, ip(them)).unwrap();
        change(&mut stack, id, |options| options.mtu_discover = MtuDiscover::Do).unwrap();
        assert_eq!(stack.raw_path_mtu(id), Ok(1500));
        send(&mut stack, id, &[0; 1400], them).unwrap();
        let about = sent(&mut stack).remove(0);
        let (kind, code) = if ip(us).is_ipv4() { (3, 4) } else { (2, 0) };
        let message = Message::Error(ErrorMessage { kind, code, word: 1300, quoted: &about });
        give(&mut stack, &icmp_message(them, us, message));
        assert_eq!(stack.raw_path_mtu(id), Ok(1300));
        assert_eq!(send(&mut stack, id, &[0; 1400], them), Err(Error::MessageTooLong));
        assert_eq!(send(&mut stack, id, &[0; 1400], them), Err(Error::MessageTooLong));
        assert_eq!(sent(&mut stack).len(), 0);
        change(&mut stack, id, |options| options.mtu_discover = MtuDiscover::Want).unwrap();
        assert_eq!(send(&mut stack, id, &[0; 1400], them), Ok(1400));
        assert_eq!(sent(&mut stack).len(), 2);
    }
}

#[test]
fn a_full_outbox_refuses_and_tells_when_there_is_room() {
    for header_included in [false, true] {
        let mut stack = stack_with(Config { outbox_packets: 4, ..Config::default() });
        let id = bind(&mut stack, "0.0.0.0", EXPERIMENT);
        change(&mut stack, id, |options| options.header_included = header_included).unwrap();
        let data = experiment("10.9.0.2", "10.9.0.1", b"");
        while send(&mut stack, id, &data, "10.9.0.1").is_ok() {}
        assert_eq!(send(&mut stack, id, &data, "10.9.0.1"), Err(Error::WouldBlock));
        assert!(stack.next_event().is_none());
        assert_eq!(sent(&mut stack).len(), 3);
        let event = stack.next_event().unwrap();
        assert_eq!((event.socket, event.readiness), (SocketId::Raw(id), Readiness::WRITABLE));
    }
}

proptest! {
    #[test]
    fn any_bytes_may_be_sent_with_a_header_of_their_own(
        mut data in prop::collection::vec(any::<u8>(), 0..200), likely in any::<bool>()
    ) {
        if let (Some(first), true) = (data.first_mut(), likely) {
            *first = 0x40 | (*first & 0xf);
        }
        let mut stack = stack();
        let id = bind(&mut stack, "0.0.0.0", PROTOCOL_TCP);
        change(&mut stack, id, |options| options.header_included = true).unwrap();
        for to in ["10.9.0.1", "127.0.0.1"] {
            let accepted = send(&mut stack, id, &data, to).is_ok();
            let packets = sent(&mut stack);
            if to == "10.9.0.1" {
                prop_assert_eq!(packets.len(), usize::from(accepted));
            }
        }
    }
}
