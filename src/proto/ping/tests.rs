//! ICMP echo sockets on a stack with one interface, 10.9.0.2/24 and fd09::2/64; the test is the network.

use alloc::vec::Vec;

use super::*;
use crate::proto::ip::testing::{TUN, icmp_message, ip};
use crate::proto::wire::icmp::ErrorMessage;
use crate::proto::wire::{self as all_wire};
use crate::proto::{ChecksumState, Config, Egress, Packet, Secrets, Sent, Stack};

const NOW: Instant = Instant::from_millis(7);
const BOTH: [(&str, &str); 2] = [("10.9.0.2", "10.9.0.1"), ("fd09::2", "fd09::1")];

fn stack_with(config: Config) -> Stack {
    let mut stack = Stack::new(config, &Secrets::from_number(3), Instant::ZERO);
    assert_eq!(stack.add_interface(1500), TUN);
    for address in ["10.9.0.2/24", "fd09::2/64"] {
        stack.add_address(TUN, address.parse().unwrap()).unwrap();
    }
    stack
}

fn stack() -> Stack {
    stack_with(Config::default())
}

fn bind(stack: &mut Stack, local: &str, ident: u16) -> PingId {
    stack.ping_bind(NOW, ip(local), ident, Owner::APPLICATION).unwrap()
}

/// All that the stack sends now.
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

fn give(stack: &mut Stack, bytes: &[u8]) {
    stack.receive(TUN, &Packet::plain(bytes, NOW));
}

fn reply(from: &str, to: &str, ident: u16, seq: u16, data: &[u8]) -> Vec<u8> {
    icmp_message(from, to, Message::EchoReply(Echo { ident, seq, data }))
}

/// Time exceeded on the way, from `router`, about what was sent.
fn time_exceeded(router: &str, to: &str, quoted: &[u8]) -> Vec<u8> {
    let kind = if ip(to).is_ipv4() { 11 } else { 3 };
    icmp_message(router, to, Message::Error(ErrorMessage { kind, code: 0, word: 0, quoted }))
}

fn unreachable(router: &str, to: &str, quoted: &[u8]) -> Vec<u8> {
    let (kind, code) = if ip(to).is_ipv4() { (3, 13) } else { (1, 1) };
    icmp_message(router, to, Message::Error(ErrorMessage { kind, code, word: 0, quoted }))
}

fn dropped(stack: &Stack) -> Vec<(DropReason, u64)> {
    let counters = stack.counters();
    DropReason::ALL.iter().map(|it| (*it, counters.dropped(*it))).filter(|(_, count)| *count > 0).collect()
}

//= RFC1122 3.2.2.6 client, 3.2.2.6 replies
//= RFC4443 4.1 request, 4.2 replies
#[test]
fn a_request_goes_out_and_its_reply_comes_in() {
    let mut stack = stack();
    for (local, remote) in BOTH {
        let any = if ip(local).is_ipv4() { "0.0.0.0" } else { "::" };
        let id = bind(&mut stack, any, 77);
        let options = PingOptions { ttl: 9, tos: 0x20, ..stack.ping_options(id).unwrap() };
        stack.ping_set_options(id, options).unwrap();
        assert_eq!(stack.ping_send_to(NOW, id, 5, b"data", Some(ip(remote))), Ok(4));
        let [request] = &sent(&mut stack)[..] else { panic!("one request") };
        let parsed = all_wire::ip::parse(request).unwrap();
        assert_eq!((parsed.src, parsed.dst, parsed.hop_limit, parsed.tos), (ip(local), ip(remote), 9, 0x20));
        let message = wire::parse(parsed.payload, parsed.src, parsed.dst, ChecksumState::Unverified);
        assert_eq!(message, Ok(Message::EchoRequest(Echo { ident: 77, seq: 5, data: b"data" })));

        give(&mut stack, &reply(remote, local, 77, 5, b"data"));
        let event = stack.next_event().unwrap();
        assert_eq!((event.socket, event.readiness), (SocketId::Ping(id), Readiness::READABLE));
        let mut out = [0; 3];
        let seen = stack.ping_recv(id, &mut out).unwrap();
        let expected = PingReceived {
            len: 3,
            sent_len: 4,
            from: ip(remote),
            to: ip(local),
            device: TUN,
            ident: 77,
            seq: 5,
            hop_limit: 64,
            tos: 0,
            at: NOW,
        };
        assert_eq!((seen, &out), (expected, b"dat"));
        assert_eq!(stack.ping_recv(id, &mut out), Err(Error::WouldBlock));
    }
    assert_eq!((stack.counters().ping_requests_out, stack.counters().ping_replies_in), (2, 2));
}

#[test]
fn a_request_too_large_for_the_link_goes_in_parts_unless_forbidden() {
    let mut stack = stack();
    for (local, remote, most) in [("10.9.0.2", "10.9.0.1", 65_507), ("fd09::2", "fd09::1", 65_527)] {
        let id = bind(&mut stack, local, 77);
        let data = alloc::vec![7; most];
        assert_eq!(stack.ping_send_to(NOW, id, 1, &data, Some(ip(remote))), Ok(most));
        let parts = sent(&mut stack);
        assert!(parts.len() > 43 && parts.iter().all(|part| part.len() <= 1500));
        assert!(parts.iter().all(|part| ip(local).is_ipv6() || part[6] & 0x40 == 0), "DF on a part");
        stack.ping_send_to(NOW, id, 1, &data[..100], Some(ip(remote))).unwrap();
        assert!(ip(local).is_ipv6() || sent(&mut stack)[0][6] == 0x40, "no DF on what fits");
        let options = PingOptions { mtu_discover: MtuDiscover::Do, ..stack.ping_options(id).unwrap() };
        stack.ping_set_options(id, options).unwrap();
        let refused = stack.ping_send_to(NOW, id, 1, &data, Some(ip(remote)));
        assert_eq!(refused, Err(Error::MessageTooLong));
        let _ = sent(&mut stack);
    }
}

#[test]
fn replies_reach_only_the_socket_that_can_have_asked() {
    let mut stack = stack();
    stack.add_address(TUN, "10.9.0.5/24".parse().unwrap()).unwrap();
    let id = bind(&mut stack, "10.9.0.2", 77);
    stack.ping_connect(NOW, id, ip("10.9.0.1")).unwrap();
    // Another identifier, host, address of ours, family.
    give(&mut stack, &reply("10.9.0.1", "10.9.0.2", 78, 1, b""));
    give(&mut stack, &reply("10.9.0.9", "10.9.0.2", 77, 1, b""));
    give(&mut stack, &reply("10.9.0.1", "10.9.0.5", 77, 1, b""));
    give(&mut stack, &reply("fd09::1", "fd09::2", 77, 1, b""));
    assert_eq!(dropped(&stack), [(DropReason::PingNoSocket, 4)]);
    give(&mut stack, &reply("10.9.0.1", "10.9.0.2", 77, 1, b""));
    assert_eq!(stack.ping_recv(id, &mut []).map(|read| read.from), Ok(ip("10.9.0.1")));
    assert_eq!(sent(&mut stack).len(), 0);
}

#[test]
fn a_question_to_all_is_answered_by_each() {
    let mut stack = stack();
    let id = bind(&mut stack, "::", 0);
    stack.ping_connect(NOW, id, ip("ff02::1")).unwrap();
    stack.ping_send_to(NOW, id, 1, b"", None).unwrap();
    let [request] = &sent(&mut stack)[..] else { panic!("one request") };
    // Hop limit 1: it is a question to the link.
    assert_eq!(all_wire::ip::parse(request).unwrap().hop_limit, 1);
    let ident = stack.ping_ident(id).unwrap();
    for host in ["fd09::1", "fd09::9"] {
        give(&mut stack, &reply(host, "fd09::2", ident, 1, b""));
        assert_eq!(stack.ping_recv(id, &mut []).map(|read| read.from), Ok(ip(host)));
    }
}

#[test]
fn broadcasts_take_the_intention_to_send_them() {
    let mut stack = stack();
    let id = bind(&mut stack, "0.0.0.0", 0);
    let to = Some(ip("10.9.0.255"));
    assert_eq!(stack.ping_send_to(NOW, id, 1, b"", to), Err(Error::PermissionDenied));
    assert_eq!(stack.ping_connect(NOW, id, ip("10.9.0.255")), Err(Error::PermissionDenied));
    let options = PingOptions { broadcast: true, ..stack.ping_options(id).unwrap() };
    stack.ping_set_options(id, options).unwrap();
    assert_eq!(stack.ping_send_to(NOW, id, 1, b"", to), Ok(0));
}

#[test]
fn an_identifier_belongs_to_one_socket_until_it_is_closed() {
    let mut stack = stack();
    let id = bind(&mut stack, "10.9.0.2", 77);
    let again = |stack: &mut Stack, at: &str| stack.ping_bind(NOW, ip(at), 77, Owner::APPLICATION);
    assert_eq!(again(&mut stack, "0.0.0.0"), Err(Error::AddrInUse));
    assert!(again(&mut stack, "::").is_ok());
    assert_eq!(again(&mut stack, "10.9.0.77"), Err(Error::AddrNotAvailable));
    stack.ping_close(NOW, id);
    assert!(again(&mut stack, "0.0.0.0").is_ok());
    assert_eq!(stack.ping_recv(id, &mut []), Err(Error::NoSuchSocket));
    assert_eq!(stack.ping_sockets(), 2);
}

#[test]
fn identifiers_that_nobody_named_cannot_be_guessed() {
    let mut stack = stack();
    let mut idents: Vec<u16> = (0..50)
        .map(|_| {
            let id = bind(&mut stack, "0.0.0.0", 0);
            stack.ping_ident(id).unwrap()
        })
        .collect();
    assert!(idents.windows(2).any(|pair| pair[0].abs_diff(pair[1]) > 100));
    idents.sort_unstable();
    idents.dedup();
    assert_eq!(idents.len(), 50);
    assert!(!idents.contains(&0));
}

#[test]
fn sockets_and_their_queues_are_limited() {
    let mut stack = stack_with(Config { ping_sockets: 1, ping_recv_buffer: 1000, ..Config::default() });
    let id = bind(&mut stack, "10.9.0.2", 77);
    let another = stack.ping_bind(NOW, ip("10.9.0.2"), 0, Owner::APPLICATION);
    assert_eq!(another, Err(Error::NoBufferSpace));
    for seq in 0..20 {
        give(&mut stack, &reply("10.9.0.1", "10.9.0.2", 77, seq, &[0; 100]));
    }
    let mut read = 0;
    while stack.ping_recv(id, &mut [0; 100]).is_ok() {
        read += 1;
    }
    assert!((1..10).contains(&read), "{read}");
    assert_eq!(dropped(&stack), [(DropReason::PingQueueFull, 20 - read)]);
}

//= RFC1122 3.2.2.1 pass up, 3.2.2.6 errors
#[test]
fn an_error_about_a_request_is_told_with_who_says_so() {
    let mut stack = stack();
    for (local, remote) in BOTH {
        let router = if ip(local).is_ipv4() { "172.16.0.1" } else { "fd16::1" };
        let id = bind(&mut stack, local, 77);
        let options = PingOptions { report_errors: true, ttl: 1, ..stack.ping_options(id).unwrap() };
        stack.ping_set_options(id, options).unwrap();
        for seq in [3, 4] {
            stack.ping_send_to(NOW, id, seq, b"data", Some(ip(remote))).unwrap();
        }
        for request in sent(&mut stack) {
            give(&mut stack, &time_exceeded(router, local, &request));
        }
        let event = stack.next_event().unwrap();
        assert!(event.readiness.contains(Readiness::ERROR | Readiness::READABLE), "{event:?}");
        for seq in [3, 4] {
            assert_eq!(stack.ping_recv(id, &mut []), Err(Error::HostUnreachable));
            let told = stack.ping_recv_error(id).unwrap().unwrap();
            assert_eq!((told.seq, told.offender, told.destination), (seq, ip(router), ip(remote)));
            assert_eq!(told.type_code, if ip(local).is_ipv4() { (11, 0) } else { (3, 0) });
        }
        assert_eq!(stack.ping_recv_error(id), Ok(None));
        assert_eq!(stack.ping_recv(id, &mut []), Err(Error::WouldBlock));
    }
    assert_eq!(stack.counters().icmp_errors_in, 4);
}

#[test]
fn without_being_asked_only_final_errors_are_told_and_only_to_connected_sockets() {
    let mut stack = stack();
    let id = bind(&mut stack, "10.9.0.2", 77);
    stack.ping_send_to(NOW, id, 1, b"", Some(ip("10.9.0.1"))).unwrap();
    let request = sent(&mut stack).remove(0);
    give(&mut stack, &unreachable("10.9.0.1", "10.9.0.2", &request));
    assert_eq!(stack.ping_take_error(id), Ok(None));
    stack.ping_connect(NOW, id, ip("10.9.0.1")).unwrap();
    give(&mut stack, &time_exceeded("10.9.0.1", "10.9.0.2", &request));
    assert_eq!(stack.ping_take_error(id), Ok(None));
    give(&mut stack, &unreachable("10.9.0.1", "10.9.0.2", &request));
    assert_eq!(stack.ping_take_error(id), Ok(Some(Error::HostUnreachable)));
    assert_eq!(stack.ping_recv_error(id), Ok(None));
    assert_eq!(dropped(&stack), [(DropReason::IcmpIgnored, 2)]);
}

#[test]
fn errors_about_requests_that_no_socket_sent_are_not_believed() {
    let mut stack = stack();
    let id = bind(&mut stack, "10.9.0.2", 77);
    stack.ping_connect(NOW, id, ip("10.9.0.1")).unwrap();
    let quoted =
        |ident, dst| icmp_message("10.9.0.2", dst, Message::EchoRequest(Echo { ident, seq: 1, data: b"" }));
    // Another identifier, another destination, a reply of ours.
    let ours =
        icmp_message("10.9.0.2", "10.9.0.1", Message::EchoReply(Echo { ident: 77, seq: 1, data: b"" }));
    for about in [quoted(78, "10.9.0.1"), quoted(77, "10.9.0.9"), ours] {
        give(&mut stack, &unreachable("10.9.0.1", "10.9.0.2", &about));
    }
    assert_eq!(dropped(&stack), [(DropReason::IcmpUnrelated, 3)]);
    assert_eq!(stack.ping_take_error(id), Ok(None));
}

#[test]
fn the_queue_of_errors_is_limited() {
    let mut stack = stack_with(Config { error_reports: 2, ..Config::default() });
    let id = bind(&mut stack, "10.9.0.2", 77);
    let options = PingOptions { report_errors: true, ..stack.ping_options(id).unwrap() };
    stack.ping_set_options(id, options).unwrap();
    stack.ping_send_to(NOW, id, 1, b"", Some(ip("10.9.0.1"))).unwrap();
    let request = sent(&mut stack).remove(0);
    for _ in 0..5 {
        give(&mut stack, &time_exceeded("10.9.0.1", "10.9.0.2", &request));
    }
    assert_eq!(dropped(&stack), [(DropReason::ErrorQueueFull, 3)]);
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let mut stack = stack();
    let id = bind(&mut stack, "0.0.0.0", 0);
    let send = |stack: &mut Stack, data: &[u8], to| stack.ping_send_to(NOW, id, 1, data, to);
    assert_eq!(send(&mut stack, b"", None), Err(Error::DestinationRequired));
    assert_eq!(send(&mut stack, b"", Some(ip("fd09::1"))), Err(Error::InvalidInput));
    assert_eq!(send(&mut stack, b"", Some(ip("8.8.8.8"))), Err(Error::NetworkUnreachable));
    assert_eq!(send(&mut stack, &[0; 65_508], Some(ip("10.9.0.1"))), Err(Error::MessageTooLong));
    let options = PingOptions { ttl: 0, ..stack.ping_options(id).unwrap() };
    assert_eq!(stack.ping_set_options(id, options), Err(Error::InvalidInput));
}

#[test]
fn a_full_outbox_refuses_and_tells_when_there_is_room() {
    let mut stack = stack_with(Config { outbox_packets: 4, ..Config::default() });
    let id = bind(&mut stack, "0.0.0.0", 0);
    while stack.ping_send_to(NOW, id, 1, b"", Some(ip("10.9.0.1"))).is_ok() {}
    assert!(stack.next_event().is_none());
    assert_eq!(sent(&mut stack).len(), 3);
    let event = stack.next_event().unwrap();
    assert_eq!((event.socket, event.readiness), (SocketId::Ping(id), Readiness::WRITABLE));
}
