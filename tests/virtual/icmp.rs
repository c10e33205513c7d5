//! ICMP errors about our segments (RFC 9293 section 3.9.2.2, RFC 5927), and echo.

use std::time::Duration;

use tunstack::proto::tcp::closing::State;
use tunstack::proto::{Error, Readiness};

use crate::harness::script::Script;
use crate::support::wire;

/// ICMP and ICMPv6 type and code of the same meaning, and what the application hears.
const SOFT: [(u8, u8, bool, Error); 8] = [
    (3, 0, false, Error::NetworkUnreachable),
    (3, 1, false, Error::HostUnreachable),
    (3, 5, false, Error::HostUnreachable),
    (11, 0, false, Error::HostUnreachable),
    (12, 0, false, Error::ProtocolUnreachable),
    (1, 0, true, Error::NetworkUnreachable),
    (1, 3, true, Error::HostUnreachable),
    (3, 0, true, Error::HostUnreachable),
];

fn script(ipv6: bool) -> Script {
    if ipv6 { Script::v6() } else { Script::new() }
}

//= RFC1122 3.2.2.1 hint
#[test]
fn soft_errors_are_reported_and_abort_nothing() {
    //= RFC9293 MUST-47, MUST-54, SHLD-25
    //= RFC9293 MUST-56/unreachable, MUST-56/time-exceeded, MUST-56/parameter
    for (kind, code, ipv6, error) in SOFT {
        let mut t = script(ipv6);
        t.open();
        t.write(100);
        t.expect("PA 1:101 ack 1");
        t.readiness();
        t.icmp(kind, code, "PA 1:101 ack 1");
        t.expect_state(State::Established);
        assert!(t.readiness().contains(Readiness::SOFT_ERROR), "type {kind} code {code}");
        assert_eq!(t.stack.tcp_info(t.id()).unwrap().soft_error, Some(error), "type {kind} code {code}");
        assert_eq!(t.stack.counters().icmp_errors_in, 1);
        t.peer("A 1 ack 101");
        assert_eq!(t.stack.tcp_info(t.id()).unwrap().soft_error, None);
        t.write(1);
        t.expect("PA 101:102 ack 1");
    }
}

//= RFC9293 MUST-56/unreachable, MUST-56/time-exceeded, MUST-56/parameter
#[test]
fn soft_errors_do_not_end_an_attempt_to_open() {
    for (kind, code, ipv6, error) in SOFT {
        let mut t = script(ipv6);
        let id = t.connect();
        t.expect("S 0");
        t.icmp(kind, code, "S 0");
        t.expect_state(State::SynSent);
        assert_eq!(t.stack.tcp_info(id).unwrap().soft_error, Some(error));
        t.expect_in(1_000, "S 0");
        // As on Linux, it explains the time-out if there is no answer at all.
        t.run(200_000);
        t.take_all();
        assert_eq!(t.stack.tcp_connect_result(id), Err(error));
    }
}

#[test]
fn port_and_protocol_unreachable_refuse_an_attempt_to_open() {
    //= RFC9293 SHLD-26
    let cases = [
        (3, 3, false, Error::ConnectionRefused),
        (3, 2, false, Error::ProtocolUnreachable),
        (1, 4, true, Error::ConnectionRefused),
        (4, 1, true, Error::ProtocolUnreachable),
    ];
    for (kind, code, ipv6, error) in cases {
        let mut t = script(ipv6);
        let id = t.connect();
        t.expect("S 0");
        t.icmp(kind, code, "S 0");
        t.expect_state(State::Closed);
        assert_eq!(t.stack.tcp_connect_result(id), Err(error), "type {kind} code {code}");
        assert_eq!(t.stack.counters().icmp_errors_in, 1);
        t.wait(10_000);
    }
}

#[test]
fn port_unreachable_does_not_abort_an_open_connection() {
    // RFC 5927 section 5.2: anyone could forge it.
    for (kind, code, ipv6) in [(3, 3, false), (3, 2, false), (1, 4, true), (4, 1, true)] {
        let mut t = script(ipv6);
        t.open();
        t.write(100);
        t.expect("PA 1:101 ack 1");
        t.icmp(kind, code, "PA 1:101 ack 1");
        t.expect_state(State::Established);
        t.peer("A 1 ack 101");
        t.expect_state(State::Established);
    }
}

#[test]
fn an_error_that_quotes_what_is_not_in_flight_is_ignored() {
    let mut t = Script::new();
    t.open();
    t.write(100);
    t.expect("PA 1:101 ack 1");
    t.peer("A 1 ack 101");
    t.readiness();
    for quoted in ["PA 1:101 ack 1", "PA 101:102 ack 1", "A 90000 ack 1", "A -1 ack 1"] {
        t.icmp(3, 1, quoted);
    }
    assert!(!t.readiness().contains(Readiness::SOFT_ERROR));
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().soft_error, None);
    // In SYN-SENT only our SYN can have caused an error.
    let id = t.connect();
    t.expect("S 0");
    t.icmp(3, 3, "S 1");
    assert_eq!(t.stack.tcp_connect_result(id), Err(Error::InProgress));
}

#[test]
fn source_quench_is_ignored() {
    //= RFC9293 MUST-55
    let mut t = Script::new();
    t.open();
    t.write(100_000);
    assert_eq!(t.take_all().len(), 10);
    t.readiness();
    let before = t.stack.tcp_info(t.id()).unwrap();
    t.icmp(4, 0, "A 1:1461 ack 1");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap(), before);
    assert!(t.readiness().is_empty());
}

#[test]
fn errors_about_others_are_dropped_and_counted() {
    let mut t = Script::new();
    t.open();
    let before = t.stack.counters().dropped_total();
    let (from, to) = (t.peer_ip, t.stack_ip);
    let mut foreign = wire::Tcp::decode(&t.as_sent("PA 1:2 ack 1")).unwrap();
    foreign.src.set_port(9);
    t.receive(&wire::icmp_error(from, to, 3, 1, 0, &foreign.encode()));
    foreign.src.set_ip("10.9.0.9".parse().unwrap());
    t.receive(&wire::icmp_error(from, to, 3, 1, 0, &foreign.encode()));
    // Too short to say which segment.
    let quoted = t.as_sent("PA 1:2 ack 1");
    t.receive(&wire::icmp_error(from, to, 3, 1, 0, &quoted[..22]));
    t.receive(&wire::icmp_error(from, to, 3, 1, 0, &[]));
    t.expect_none();
    assert_eq!(t.stack.counters().dropped_total() - before, 4);
    assert!(t.take_other().is_none());
}

//= RFC1122 3.1 IP and ICMP
//= RFC792 part of IP
#[test]
fn echo_is_answered_with_the_same_bytes() {
    for ipv6 in [false, true] {
        let mut t = script(ipv6);
        let (from, to) = (t.peer_ip, t.stack_ip);
        for len in [0, 1, 56, 1_400] {
            let mut message = vec![if ipv6 { 128 } else { 8 }, 0, 0, 0, 0x12, 0x34, 0, 7];
            message.extend(crate::support::seeds::pattern_bytes(3, 0, len));
            t.receive(&wire::icmp(from, to, message.clone()));
            let answer = t.take_other().expect("an echo reply");
            assert_eq!((answer.src, answer.dst), (to, from));
            assert_eq!(answer.payload[0], if ipv6 { 129 } else { 0 });
            assert_eq!(answer.payload[4..], message[4..]);
            // Its checksum is right: sent back through our own emitter it is the same datagram.
            let mut again = answer.payload.clone();
            again[2..4].fill(0);
            assert_eq!(wire::Ip::decode(&wire::icmp(to, from, again)).payload, answer.payload);
        }
    }
}

#[test]
fn a_soft_error_explains_a_time_out_and_no_other_end() {
    //= RFC9293 MUST-47
    let mut t = Script::new();
    t.open();
    t.options(|options| options.user_timeout = Some(Duration::from_secs(5)));
    t.write(100);
    t.expect("PA 1:101 ack 1");
    t.icmp(3, 1, "PA 1:101 ack 1");
    t.run(6_000);
    t.take_all();
    t.expect_read_error(Error::HostUnreachable);

    let mut t = Script::new();
    t.open();
    t.write(100);
    t.expect("PA 1:101 ack 1");
    t.icmp(3, 1, "PA 1:101 ack 1");
    t.peer("R 1");
    t.expect_read_error(Error::ConnectionReset);
}
