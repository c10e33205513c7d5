//! The stack talking to itself, and UDP.

use std::net::SocketAddr;

use proptest::prelude::*;
use tunstack::proto::{DropReason, Error, Owner, Readiness, SocketId, Stack, TcpId};

use crate::harness::script::{Script, Setup};
use crate::support::seeds::pattern_bytes;
use crate::support::wire;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A connection from the stack to itself; both ends.
fn connected(t: &mut Script, to: SocketAddr) -> (TcpId, TcpId) {
    let listener = t.stack.tcp_listen(t.now(), to, None, Owner::APPLICATION).unwrap();
    let client = t.stack.tcp_connect(t.now(), None, to, None, Owner::APPLICATION).unwrap();
    t.flush();
    assert_eq!(t.stack.tcp_connect_result(client), Ok(()), "{to}");
    let (server, from) = t.stack.tcp_accept(t.now(), listener).unwrap();
    assert_eq!(t.stack.tcp_local_addr(client), Ok(from));
    t.stack.tcp_close_listener(t.now(), listener);
    (client, server)
}

/// Moves `len` bytes from one socket to another.
fn transfer(t: &mut Script, from: TcpId, to: TcpId, len: usize) {
    let data = pattern_bytes(5, 0, len);
    let (mut written, mut received) = (0, Vec::new());
    let mut out = [0; 4_096];
    for _ in 0..10 * len {
        if written < len {
            match t.stack.tcp_write(t.now(), from, &data[written..]) {
                Ok(count) => written += count,
                Err(Error::WouldBlock) => {}
                Err(error) => panic!("write: {error:?}"),
            }
        }
        t.flush();
        while let Ok(count @ 1..) = t.stack.tcp_read(t.now(), to, &mut out) {
            received.extend_from_slice(&out[..count]);
        }
        t.flush();
        if received.len() == len {
            break;
        }
        t.run(1);
    }
    assert_eq!(received.len(), len);
    assert!(received == data);
}

#[test]
fn a_stack_reaches_itself_by_every_address_of_its_own() {
    for (ipv6, to) in [
        (false, "127.0.0.1:7"),
        (false, "127.9.9.9:7"),
        (false, "10.9.0.2:7"),
        (true, "[::1]:7"),
        (true, "[fd09::2]:7"),
    ] {
        let mut t = Script::with(Setup { ipv6, ..Setup::default() });
        let (client, server) = connected(&mut t, addr(to));
        transfer(&mut t, client, server, 300_000);
        transfer(&mut t, server, client, 300_000);
        t.stack.tcp_close(t.now(), client);
        t.flush();
        assert_eq!(t.stack.tcp_read(t.now(), server, &mut [0; 10]), Ok(0));
        t.stack.tcp_close(t.now(), server);
        t.flush();
        assert_eq!(t.stack.tcp_census().time_wait, 1);
        // Nothing of it was seen outside.
        t.expect_none();
        t.run(61_000);
        assert_eq!(t.stack.tcp_census(), Default::default());
    }
}

#[test]
fn loopback_stays_within_its_limit() {
    let mut t = Script::config(|config| (config.loopback_packets, config.recv_buffer) = (4, 1 << 20));
    let (client, server) = connected(&mut t, addr("127.0.0.1:7"));
    transfer(&mut t, client, server, 500_000);
    t.stack.tcp_abort(t.now(), client);
    t.flush();
    assert_eq!(t.stack.tcp_read(t.now(), server, &mut [0; 10]), Err(Error::ConnectionReset));
    t.stack.tcp_close(t.now(), server);
    t.flush();
}

#[test]
fn a_closed_port_of_our_own_refuses() {
    let mut t = Script::new();
    let id = t.stack.tcp_connect(t.now(), None, addr("127.0.0.1:9"), None, Owner::APPLICATION).unwrap();
    t.flush();
    assert_eq!(t.stack.tcp_connect_result(id), Err(Error::ConnectionRefused));
    t.stack.tcp_close(t.now(), id);
    t.expect_none();
}

#[test]
fn a_listener_on_all_addresses_serves_all_of_them() {
    let mut t = Script::new();
    let listener = t.stack.tcp_listen(t.now(), addr("0.0.0.0:7"), None, Owner::APPLICATION).unwrap();
    t.listener = Some(listener);
    t.peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t.peer("A 1 ack 1");
    let id = t.accept();
    assert_eq!(
        t.stack.tcp_local_addr(id),
        Ok(addr("10.9.0.2:7")),
        "the address it was opened to, RFC 9293 MUST-45"
    );
    let local = t.stack.tcp_connect(t.now(), None, addr("127.0.0.1:7"), None, Owner::APPLICATION).unwrap();
    t.flush();
    assert_eq!(t.stack.tcp_connect_result(local), Ok(()));
    let (accepted, _) = t.stack.tcp_accept(t.now(), listener).unwrap();
    t.stack.tcp_abort(t.now(), accepted);
    t.stack.tcp_abort(t.now(), local);
    t.flush();
}

fn udp(stack: &mut Stack, now: tunstack::time::Instant, local: &str) -> tunstack::proto::UdpId {
    stack.udp_bind(now, addr(local), Owner::APPLICATION).unwrap()
}

#[test]
fn a_datagram_comes_and_its_answer_goes() {
    for (ipv6, local, peer) in
        [(false, "10.9.0.2:7", "10.9.0.1:5000"), (true, "[fd09::2]:7", "[fd09::1]:5000")]
    {
        let mut t = Script::with(Setup { ipv6, ..Setup::default() });
        let now = t.now();
        let id = udp(&mut t.stack, now, local);
        t.receive(&wire::udp(addr(peer), addr(local), b"hello"));
        let mut out = [0; 100];
        assert_eq!(t.stack.udp_recv_from(id, &mut out), Ok((5, addr(peer))));
        assert_eq!(&out[..5], b"hello");
        assert_eq!(t.stack.udp_recv_from(id, &mut out), Err(Error::WouldBlock));
        assert_eq!(t.stack.udp_send_to(now, id, b"world!", Some(addr(peer))), Ok(6));
        t.flush();
        let answer = wire::Ip { flow_label: 0, ..t.take_other().unwrap() };
        assert_eq!(
            answer.encode(),
            wire::udp(addr(local), addr(peer), b"world!"),
            "byte for byte, but for the identification and the flow label"
        );
        t.stack.udp_close(now, id);
    }
}

#[test]
fn a_datagram_for_a_closed_port_is_answered_with_port_unreachable() {
    for (ipv6, local, peer, kind, code) in
        [(false, "10.9.0.2:9", "10.9.0.1:5000", 3, 3), (true, "[fd09::2]:9", "[fd09::1]:5000", 1, 4)]
    {
        let mut t = Script::with(Setup { ipv6, ..Setup::default() });
        let datagram = wire::udp(addr(peer), addr(local), b"anybody there?");
        t.receive(&datagram);
        let error = t.take_other().unwrap();
        assert_eq!(error.payload[..2], [kind, code]);
        assert_eq!(error.payload[8..], datagram[..], "the whole offending datagram is quoted");
        assert_eq!(t.dropped(DropReason::UdpNoSocket), 1);
    }
}

//= RFC1122 3.2.2 demultiplex, 3.2.2.1 pass up
//= RFC4443 3.1 pass up
#[test]
fn port_unreachable_refuses_a_connected_socket() {
    for (ipv6, local, peer, kind, code) in
        [(false, "10.9.0.2:7", "10.9.0.1:5000", 3, 3), (true, "[fd09::2]:7", "[fd09::1]:5000", 1, 4)]
    {
        let mut t = Script::with(Setup { ipv6, ..Setup::default() });
        let now = t.now();
        let id = udp(&mut t.stack, now, local);
        t.stack.udp_connect(now, id, addr(peer)).unwrap();
        t.stack.udp_send_to(now, id, b"knock", None).unwrap();
        t.flush();
        let sent = t.take_other().unwrap().encode();
        let (from, to) = (t.peer_ip, t.stack_ip);
        t.receive(&wire::icmp_error(from, to, kind, code, 0, &sent));
        assert_eq!(t.stack.udp_recv_from(id, &mut [0; 10]), Err(Error::ConnectionRefused));
        assert_eq!(t.stack.udp_recv_from(id, &mut [0; 10]), Err(Error::WouldBlock), "told once");
        // Strangers are not heard.
        let mut stranger = addr(peer);
        stranger.set_port(5_001);
        t.receive(&wire::udp(stranger, addr(local), b"psst"));
        assert_eq!(t.stack.udp_recv_from(id, &mut [0; 10]), Err(Error::WouldBlock));
        while t.take_other().is_some() {}
        t.stack.udp_close(now, id);
    }
}

#[test]
fn a_full_udp_queue_drops_and_counts() {
    let mut t = Script::config(|config| config.udp_recv_buffer = 10_000);
    let now = t.now();
    let id = udp(&mut t.stack, now, "10.9.0.2:7");
    for _ in 0..100 {
        t.receive(&wire::udp(addr("10.9.0.1:5000"), addr("10.9.0.2:7"), &[0; 1_000]));
    }
    let mut received = 0;
    while t.stack.udp_recv_from(id, &mut [0; 2_000]).is_ok() {
        received += 1;
    }
    assert!((5..=10).contains(&received), "{received}");
    assert_eq!(t.dropped(DropReason::UdpQueueFull), 100 - received);
    t.stack.udp_close(now, id);
}

#[test]
fn udp_loops_back_and_tells_readiness() {
    let mut t = Script::new();
    let now = t.now();
    let server = udp(&mut t.stack, now, "127.0.0.1:7");
    let client = udp(&mut t.stack, now, "127.0.0.1:0");
    t.stack.udp_send_to(now, client, b"me", Some(addr("127.0.0.1:7"))).unwrap();
    let _ = t.stack.transmit(now, &mut |_: tunstack::proto::Egress<'_>| panic!("nothing leaves"));
    let mut heard = Readiness::empty();
    while let Some(event) = t.stack.next_event() {
        if event.socket == SocketId::Udp(server) {
            heard |= event.readiness;
        }
    }
    assert!(heard.contains(Readiness::READABLE));
    let mut out = [0; 10];
    let (len, from) = t.stack.udp_recv_from(server, &mut out).unwrap();
    assert_eq!((&out[..len], Ok(from)), (&b"me"[..], t.stack.udp_local_addr(client)));
    t.stack.udp_close(now, server);
    t.stack.udp_close(now, client);
}

/// A connection from that address, and always the same port, to the listener; both ends.
fn connected_from(t: &mut Script, local: &str, to: SocketAddr) -> (TcpId, TcpId) {
    let listener = t.stack.tcp_listen(t.now(), to, None, Owner::APPLICATION).unwrap();
    let client = t.stack.tcp_connect(t.now(), Some(addr(local)), to, None, Owner::APPLICATION).unwrap();
    t.flush();
    let (server, from) = t.stack.tcp_accept(t.now(), listener).unwrap();
    assert_eq!(from, addr(local));
    t.stack.tcp_close_listener(t.now(), listener);
    (client, server)
}

fn abort(t: &mut Script, (client, server): (TcpId, TcpId)) {
    t.stack.tcp_abort(t.now(), client);
    t.flush();
    t.stack.tcp_abort(t.now(), server);
    t.flush();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whom a segment is for is guessed by its ports: the addresses decide, and who had them before is not taken for who has.
    #[test]
    fn connections_with_the_same_ports_are_told_apart_as_they_come_and_go(
        steps in prop::collection::vec((0_usize..3, any::<bool>()), 1..40),
    ) {
        let mut t = Script::new();
        let to = addr("127.0.0.1:7");
        let locals = ["127.0.0.1:5000", "127.0.0.2:5000", "127.0.0.3:5000"];
        let mut ends = locals.map(|local| connected_from(&mut t, local, to));
        for (step, (which, anew)) in steps.into_iter().enumerate() {
            if anew {
                abort(&mut t, ends[which]);
                ends[which] = connected_from(&mut t, locals[which], to);
            }
            let (client, server) = ends[which];
            for (from, to) in [(client, server), (server, client)] {
                prop_assert_eq!(t.stack.tcp_write(t.now(), from, &[step as u8]), Ok(1));
                t.flush();
                let mut out = [0; 2];
                prop_assert_eq!(t.stack.tcp_read(t.now(), to, &mut out), Ok(1));
                prop_assert_eq!(out[0], step as u8);
            }
        }
        ends.into_iter().for_each(|ends| abort(&mut t, ends));
    }
}
