//! Opening: RFC 9293 sections 3.4, 3.5 and 3.10.7.1 to 3.10.7.3.

use std::net::IpAddr;

use tunstack::proto::ip::route::{RouteSpec, RouteTarget};
use tunstack::proto::tcp::closing::State;
use tunstack::proto::{Error, Owner, Readiness};

use crate::harness::script::{Script, Setup, StateOf};

#[test]
fn a_passive_open_takes_three_segments() {
    let mut t = Script::new();
    t.listen();
    t.expect_state(State::Listen);
    t.peer("S 0 win 65535 <mss 1460>");
    t.expect("SA 0 ack 1 win 65535 <mss 1460>");
    t.expect_state(State::SynReceived);
    assert_eq!(t.stack.tcp_census().pages, 0, "half-open entries own no buffers");
    assert!(t.try_accept().is_none());
    t.peer("A 1 ack 1");
    t.expect_none();
    t.accept();
    t.expect_state(State::Established);
}

#[test]
fn a_passive_open_over_ipv6() {
    let mut t = Script::v6();
    t.listen();
    t.peer("S 0 win 65535 <mss 1440>");
    t.expect("SA 0 ack 1 win 65535 <mss 1440>");
    t.peer("A 1 ack 1");
    t.accept();
    t.write(3000);
    t.expect("A 1:1441 ack 1");
    t.expect("A 1441:2881 ack 1");
    t.peer("A 1 ack 2881");
    t.expect("PA 2881:3001 ack 1");
}

#[test]
fn the_final_ack_may_carry_data() {
    let mut t = Script::new();
    t.listen();
    t.peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t.peer("PA 1:11 ack 1");
    t.accept();
    t.read(10);
    t.expect_in(40, "A 1 ack 11");
}

#[test]
fn the_final_ack_may_be_lost_and_data_come_instead() {
    let mut t = Script::new();
    t.listen();
    t.peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    // Out of order and already with an acceptable ACK: it ends the handshake too.
    t.peer("A 101:201 ack 1");
    t.expect("A 1 ack 1");
    t.peer("A 1:101 ack 1");
    t.expect("A 1 ack 201");
    t.accept();
    t.read(200);
}

#[test]
fn a_fin_may_end_the_handshake() {
    let mut t = Script::new();
    t.listen();
    t.peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t.peer("FA 1:4 ack 1");
    t.expect("A 1 ack 5");
    t.accept();
    t.read(3);
    t.expect_eof();
    t.expect_state(State::CloseWait);
}

#[test]
fn an_active_open_takes_three_segments() {
    let mut t = Script::new();
    let id = t.connect();
    t.expect("S 0 win 65535");
    t.expect_state(State::SynSent);
    assert_eq!(t.stack.tcp_connect_result(id), Err(Error::InProgress));
    t.peer("SA 0 ack 1 <mss 1460>");
    t.expect("A 1 ack 1");
    t.expect_state(State::Established);
    assert!(t.readiness().contains(Readiness::WRITABLE));
    assert_eq!(t.stack.tcp_connect_result(id), Ok(()));
}

//= RFC9293 MUST-65
#[test]
fn a_syn_says_mss_and_window_scale() {
    let mut t = Script::config(|config| config.recv_buffer = 1 << 20);
    t.connect();
    t.expect("S 0 win 65535 <mss 1460,sackok,ts 0 0,ws 5>");
    t.peer("SA 0 ack 1 <mss 1460,ws 7>");
    // 1 MiB, less nothing: no byte has come yet.
    t.expect("A 1 ack 1 win 32768 <>");
}

#[test]
fn writing_before_the_connection_is_open_would_block() {
    let mut t = Script::new();
    t.connect();
    t.expect("S 0");
    assert_eq!(t.write_some(10), Err(Error::WouldBlock));
    t.expect_read_error(Error::WouldBlock);
}

#[test]
fn a_reset_refuses_a_connection() {
    let mut t = Script::new();
    let id = t.connect();
    t.expect("S 0");
    t.peer("RA 0 ack 1");
    t.expect_none();
    assert_eq!(t.stack.tcp_state(id), State::Closed);
    assert!(t.readiness().contains(Readiness::WRITABLE | Readiness::ERROR));
    assert_eq!(t.stack.tcp_connect_result(id), Err(Error::ConnectionRefused));
    assert_eq!(t.stack.tcp_connect_result(id), Err(Error::NotConnected), "told once");
}

#[test]
fn in_syn_sent_a_reset_must_acknowledge_the_syn() {
    let mut t = Script::new();
    t.connect();
    t.expect("S 0");
    t.peer("R 0");
    t.peer("RA 0 ack 0");
    t.peer("RA 0 ack 2");
    t.expect_none();
    t.expect_state(State::SynSent);
}

#[test]
fn in_syn_sent_an_ack_of_nothing_sent_is_answered_with_a_reset() {
    let mut t = Script::new();
    t.connect();
    t.expect("S 0");
    t.peer("SA 0 ack 2");
    t.expect("R 2");
    t.peer("A 0 ack 0");
    t.expect("R 0");
    t.expect_state(State::SynSent);
    t.peer("SA 0 ack 1");
    t.expect("A 1 ack 1");
}

#[test]
fn both_sides_may_open_at_once() {
    //= RFC9293 MUST-10: figure 8
    let mut t = Script::new();
    t.connect();
    t.expect("S 0");
    t.peer("S 0 <mss 1000>");
    t.expect("SA 0 ack 1");
    t.expect_state(State::SynReceived);
    t.peer("SA 0 ack 1 <mss 1000>");
    t.expect_state(State::Established);
    // The peer's SYN has come twice by now; an ACK for it is welcome.
    let answers = t.take_all();
    assert!(answers.len() <= 1 && answers.iter().all(|line| line.starts_with("A   1 ")), "{answers:?}");
    t.write(1500);
    t.expect("A 1:1001 ack 1");
    t.peer("A 1 ack 1001");
    t.expect("PA 1001:1501 ack 1");
}

#[test]
fn a_simultaneous_open_may_end_with_a_bare_ack() {
    let mut t = Script::new();
    t.connect();
    t.expect("S 0");
    t.peer("S 0 <mss 1000>");
    t.expect("SA 0 ack 1");
    t.peer("A 1 ack 1");
    t.expect_state(State::Established);
    t.expect_none();
}

#[test]
fn a_reset_in_a_simultaneous_open_is_a_refusal() {
    //= RFC9293 MUST-11: it was an active open, so the user is told
    let mut t = Script::new();
    let id = t.connect();
    t.expect("S 0");
    t.peer("S 0");
    t.expect("SA 0 ack 1");
    t.peer("R 1");
    t.expect_state(State::Closed);
    assert_eq!(t.stack.tcp_connect_result(id), Err(Error::ConnectionRefused));
}

#[test]
fn a_reset_takes_a_passive_open_back_to_listen() {
    let mut t = Script::new();
    t.listen();
    t.peer("S 0");
    t.expect("SA 0 ack 1");
    t.peer("R 70000");
    t.expect_state(State::SynReceived);
    t.peer("R 1");
    t.expect_none();
    t.expect_state(State::Listen);
    t.peer("S 10");
    t.expect("SA 0 ack 11");
}

#[test]
fn in_syn_received_a_bad_ack_is_answered_with_a_reset() {
    let mut t = Script::new();
    t.listen();
    t.peer("S 0");
    t.expect("SA 0 ack 1");
    t.peer("A 1 ack 2");
    t.expect("R 2");
    t.peer("A 1 ack 0");
    t.expect("R 0");
    t.expect_state(State::SynReceived);
    t.peer("A 1 ack 1");
    t.accept();
}

#[test]
fn a_repeated_syn_is_answered_again_with_the_same_sequence_number() {
    let mut t = Script::new();
    t.listen();
    t.peer("S 0");
    t.expect("SA 0 ack 1");
    t.peer("S 0");
    t.expect("SA 0 ack 1");
    assert_eq!(t.stack.tcp_census().half_open, 1);
    t.peer("A 1 ack 1");
    t.accept();
}

#[test]
fn data_in_a_syn_is_not_lost() {
    let mut t = Script::new();
    t.listen();
    t.peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    let mut syn = t.build("S 0 <mss 1460>");
    syn.src.set_port(40_001);
    syn.payload = crate::support::seeds::pattern_bytes(2, 0, 5);
    t.client(1);
    t.receive(&syn.encode());
    // Taken or not, what is acknowledged must be there, and the rest may come again.
    let answer = t.take();
    let acked = answer.ack.wrapping_sub(syn.seq) - 1;
    assert!(acked == 0 || acked == 5, "{acked} of 5 bytes acknowledged");
    t.inject("PA 1:6 ack 1");
    t.accept();
    t.read(5);
    t.expect_no_data();
    t.run(50);
    t.take_all();
}

#[test]
fn a_syn_with_fin_opens_nothing_that_cannot_be_closed() {
    let mut t = Script::new();
    t.listen();
    t.peer("SF 0 <mss 1460>");
    let answers = t.take_all();
    // Either the FIN is left aside or the segment is dropped; it may not be acknowledged before it is in turn.
    for answer in &answers {
        assert!(answer.starts_with("SA  0") && answer.contains("ack 1 "), "{answer}");
    }
    t.peer("RA 1 ack 1");
    t.take_all();
    t.expect_state(State::Listen);
}

#[test]
fn listen_answers_an_ack_with_a_reset_and_nothing_else() {
    let mut t = Script::new();
    t.listen();
    t.peer("A 5 ack 77");
    t.expect("R 77");
    t.peer("SA 5 ack 78");
    t.expect("R 78");
    t.peer("R 5");
    t.peer("RA 5 ack 1");
    t.peer("- 5:10");
    t.peer("F 5");
    t.expect_none();
    t.expect_state(State::Listen);
}

#[test]
fn a_closed_port_resets_with_the_right_numbers() {
    let mut t = Script::new();
    t.aim_at(9);
    t.peer("S 5");
    t.expect("RA 0 ack 6 win 0 <>");
    t.peer("A 5 ack 77");
    t.expect("R 77 win 0 <>");
    t.peer("PA 5:15 ack 78");
    t.expect("R 78");
    t.peer("- 5:15");
    t.expect("RA 0 ack 15");
    t.peer("F 5:15");
    t.expect("RA 0 ack 16");
    t.peer("SF 5");
    t.expect("RA 0 ack 7");
    t.peer("R 5");
    t.peer("RA 5 ack 5");
    t.expect_none();
}

#[test]
fn the_mss_option_limits_what_is_sent() {
    //= RFC9293 MUST-14, MUST-15/v4, MUST-15/v6, MUST-16
    let cases = [
        (false, "S 0", 536),
        (true, "S 0", 1220),
        (false, "S 0 <mss 100>", 100),
        (false, "S 0 <mss 1460>", 1460),
        (false, "S 0 <mss 9000>", 1460),
        (true, "S 0 <mss 9000>", 1440),
        // Smaller than config.mss_min: not believed (CVE-2019-11479).
        (false, "S 0 <mss 1>", 48),
        (false, "S 0 <mss 0>", 48),
    ];
    for (ipv6, syn, mss) in cases {
        let mut t = Script::with(Setup { ipv6, ..Setup::default() });
        t.open_passive(syn);
        t.write(2 * mss + 1);
        t.expect(&format!("A 1:{} ack 1", mss + 1));
        t.expect(&format!("A {}:{} ack 1", mss + 1, 2 * mss + 1));
        t.peer(&format!("A 1 ack {}", 2 * mss + 1));
        t.expect(&format!("PA {}:{} ack 1", 2 * mss + 1, 2 * mss + 2));
    }
}

#[test]
fn the_mss_of_a_syn_ack_limits_what_is_sent() {
    for (answer, mss) in [("SA 0 ack 1", 536), ("SA 0 ack 1 <mss 700>", 700)] {
        let mut t = Script::new();
        t.open_active(answer);
        t.write(5000);
        t.expect(&format!("A 1:{} ack 1", mss + 1));
        t.take_all();
    }
}

#[test]
fn options_are_read_in_every_order_and_unknown_ones_skipped() {
    //= RFC9293 MUST-4, MUST-6, MUST-64
    let parts = ["mss 500", "ws 3", "opt 254 0102030405", "opt 34", "nop"];
    for order in permutations(parts.len()) {
        let options: Vec<&str> = order.iter().map(|index| parts[*index]).collect();
        let mut t = Script::config(|config| config.recv_buffer = 1 << 20);
        t.listen();
        t.peer(&format!("S 0 win 1000 <{}>", options.join(",")));
        t.expect("SA 0 ack 1 win 65535 <mss 1460,ws 5>");
        t.peer("A 1 ack 1 win 1000");
        let id = t.accept();
        assert_eq!(t.stack.tcp_info(id).unwrap().snd_mss, 500, "{options:?}");
        assert_eq!(t.stack.tcp_info(id).unwrap().snd_wnd, 8000, "{options:?}");
    }
}

//= RFC9293 MUST-4
#[test]
fn nothing_is_read_after_the_end_of_the_options() {
    let mut t = Script::new();
    t.open_passive("S 0 <eol,mss 1000>");
    t.write(3000);
    t.expect("A 1:537 ack 1");
    t.take_all();
}

#[test]
fn options_may_come_in_any_segment() {
    //= RFC9293 MUST-5
    let mut t = Script::new();
    t.open();
    t.peer("PA 1:101 ack 1 <nop,opt 253 00,mss 100>");
    t.read(100);
    t.expect_in(40, "A 1 ack 101");
    // An MSS outside a SYN means nothing.
    t.write(1460);
    t.expect("PA 1:1461 ack 101");
}

#[test]
fn an_option_of_impossible_length_breaks_nothing() {
    //= RFC9293 MUST-7
    let mut t = Script::new();
    t.listen();
    for options in ["raw 0200", "raw 0201", "raw 01010102", "raw 0228", "raw fe00fe00"] {
        t.peer(&format!("S 0 <{options}>"));
        t.take_all();
    }
    assert_eq!(t.dropped(tunstack::proto::DropReason::TcpOption), 5);
    t.open();
    t.peer("PA 1:5 ack 1 <raw 0300>");
    t.expect_no_data();
    t.peer("PA 1:5 ack 1");
    t.read(4);
    t.run(40);
    t.take_all();
}

#[test]
fn windows_are_scaled_only_if_both_sides_say_so() {
    //= RFC9293 REC-1
    let cases = [
        ("S 0 win 1000 <mss 1460>", 1000),
        ("S 0 win 1000 <mss 1460,ws 0>", 1000),
        ("S 0 win 1000 <mss 1460,ws 7>", 128_000),
    ];
    for (syn, window) in cases {
        let mut t = Script::config(|config| config.recv_buffer = 1 << 20);
        t.listen();
        t.peer(syn);
        let scaled = syn.contains("ws");
        t.expect(if scaled {
            "SA 0 ack 1 win 65535 <mss 1460,ws 5>"
        } else {
            "SA 0 ack 1 win 65535 <mss 1460>"
        });
        t.peer("A 1 ack 1 win 1000");
        let id = t.accept();
        assert_eq!(t.stack.tcp_info(id).unwrap().snd_wnd, window);
        t.peer("PA 1:2 ack 1 win 1000");
        t.expect_in(40, if scaled { "A 1 ack 2 win 32767" } else { "A 1 ack 2 win 65535" });
        t.read(1);
    }
}

#[test]
fn a_shift_above_fourteen_counts_as_fourteen() {
    let mut t = Script::config(|config| config.recv_buffer = 1 << 20);
    let id = t.open_passive("S 0 win 10 <ws 200>");
    assert_eq!(t.stack.tcp_info(id).unwrap().snd_wscale, 14);
    assert_eq!(t.stack.tcp_info(id).unwrap().snd_wnd, 10 << 14);
}

#[test]
fn the_window_of_a_syn_is_never_scaled() {
    let mut t = Script::config(|config| config.recv_buffer = 1 << 20);
    t.connect();
    t.expect("S 0 win 65535");
    t.peer("SA 0 ack 1 win 1460 <mss 1460,ws 7>");
    t.expect("A 1 ack 1");
    t.write(4000);
    t.expect("A 1:1461 ack 1");
    t.expect_none();
    t.peer("A 1 ack 1461 win 1460");
    t.expect("A 1461:2921 ack 1");
    t.peer("A 1 ack 2921 win 1460");
    t.expect("PA 2921:4001 ack 1");
}

#[test]
fn an_ack_before_the_connection_is_open_scales_its_window() {
    let mut t = Script::config(|config| config.recv_buffer = 1 << 20);
    t.listen();
    t.peer("S 0 win 1000 <mss 1460,ws 7>");
    t.expect("SA 0 ack 1 win 65535");
    t.peer("A 900000 ack 1");
    t.expect("A 1 ack 1 win 2047");
    let mut t = Script::config(|config| config.recv_buffer = 1 << 20);
    t.connect();
    t.expect("S 0");
    t.peer("S 0 win 1000 <mss 1460,ws 7>");
    t.expect("SA 0 ack 1 win 65535");
    t.peer("A 900000 ack 1");
    t.expect("A 1 ack 1 win 2047");
}

#[test]
fn initial_sequence_numbers_follow_the_clock_and_the_connection() {
    //= RFC9293 MUST-8, SHLD-1: one step every 4 microseconds for the same four-tuple
    //= RFC6528 3 clock
    let isn_at = |ms: u64, client: u16| {
        let mut t =
            Script::with(Setup { start: tunstack::time::Instant::from_millis(ms), ..Setup::default() });
        t.listen();
        t.client(client).peer("S 0");
        t.take().seq
    };
    assert_eq!(isn_at(2_010_000, 0).wrapping_sub(isn_at(2_000_000, 0)), 10_000_000 / 4);
    let other = isn_at(2_000_000, 1).wrapping_sub(isn_at(2_000_000, 0)) as i32;
    assert!(other.unsigned_abs() > 10_000, "another connection's numbers must not be near: {other}");
}

#[test]
fn nobody_connects_to_what_is_no_host() {
    //= RFC9293 MUST-46/broadcast, MUST-46/invalid
    let mut t = Script::new();
    let mut connect = |remote: &str| {
        t.stack.tcp_connect(t.now(), None, remote.parse().unwrap(), None, Owner::APPLICATION).unwrap_err()
    };
    for remote in [
        "255.255.255.255:80",
        "10.9.0.255:80",
        "224.0.0.1:80",
        "0.0.0.0:80",
        "8.8.8.8:80",
        "[ff02::1]:80",
        "[2001:db8::1]:80",
    ] {
        assert_eq!(connect(remote), Error::NetworkUnreachable, "{remote}");
    }
    assert_eq!(connect("10.9.0.1:0"), Error::InvalidInput);
    t.expect_none();
    let here = "[fd09::2]:1".parse().unwrap();
    let there = "10.9.0.1:80".parse().unwrap();
    let mixed = t.stack.tcp_connect(t.now(), Some(here), there, None, Owner::APPLICATION);
    assert_eq!(mixed.unwrap_err(), Error::InvalidInput);
    let foreign = "10.9.0.77:1".parse().unwrap();
    let not_ours = t.stack.tcp_connect(t.now(), Some(foreign), there, None, Owner::APPLICATION);
    assert_eq!(not_ours.unwrap_err(), Error::AddrNotAvailable);
}

#[test]
fn a_local_address_may_be_chosen() {
    //= RFC9293 MUST-43
    let mut t = Script::new();
    let (here, there) = ("10.9.0.2:1234".parse().unwrap(), "10.9.0.1:80".parse().unwrap());
    let id = t.stack.tcp_connect(t.now(), Some(here), there, None, Owner::APPLICATION).unwrap();
    assert_eq!(t.stack.tcp_local_addr(id), Ok(here));
    let again = t.stack.tcp_connect(t.now(), Some(here), there, None, Owner::APPLICATION);
    assert_eq!(again.unwrap_err(), Error::AddrInUse);
    t.stack.tcp_abort(t.now(), id);
    t.flush();
    t.take_all();
}

#[test]
fn the_source_address_is_chosen_before_the_first_syn_and_kept() {
    //= RFC9293 MUST-44, MUST-45
    let mut t = Script::new();
    let [first, other]: [IpAddr; 2] = ["10.9.0.2", "10.9.0.3"].map(|address| address.parse().unwrap());
    let earlier = t.connect();
    assert_eq!(t.take().src.ip(), first);
    // From now on another address is the better one.
    t.stack.add_address(t.device, "10.9.0.3/24".parse().unwrap()).unwrap();
    let to_peer = RouteSpec::new("10.9.0.1/32".parse().unwrap(), RouteTarget::Interface(t.device));
    t.stack.add_route(RouteSpec { source: Some(other), ..to_peer }).unwrap();
    t.run(1_000);
    assert_eq!(t.take().src.ip(), first, "the SYN is sent again from where it was sent");
    t.peer("SA 0 ack 1");
    assert_eq!(t.take().src.ip(), first);
    t.write(10);
    assert_eq!(t.take().src.ip(), first);
    assert_eq!(t.stack.tcp_local_addr(earlier).unwrap().ip(), first);
    let later = "10.9.0.1:81".parse().unwrap();
    let later = t.stack.tcp_connect(t.now(), None, later, None, Owner::APPLICATION).unwrap();
    assert_eq!(t.stack.tcp_local_addr(later).unwrap().ip(), other);
    t.stack.tcp_abort(t.now(), later);
    t.flush();
}

#[test]
fn a_port_that_is_listened_on_is_chosen_for_no_connection() {
    //= RFC6056 3.2 services
    let mut t = Script::config(|config| config.ephemeral_ports = 40_000..=40_003);
    let listened = "10.9.0.2:40001".parse().unwrap();
    t.listener = Some(t.stack.tcp_listen(t.now(), listened, None, Owner::APPLICATION).unwrap());
    let there = "10.9.0.1:80".parse().unwrap();
    let ids: Vec<_> = (0..3)
        .map(|_| t.stack.tcp_connect(t.now(), None, there, None, Owner::APPLICATION).unwrap())
        .collect();
    let mut ports: Vec<u16> = ids.iter().map(|id| t.stack.tcp_local_addr(*id).unwrap().port()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [40_000, 40_002, 40_003]);
    let fourth = t.stack.tcp_connect(t.now(), None, there, None, Owner::APPLICATION);
    assert_eq!(fourth.unwrap_err(), Error::AddrNotAvailable);
    for id in ids {
        t.stack.tcp_abort(t.now(), id);
    }
}

#[test]
fn two_listeners_cannot_share_a_port() {
    let mut t = Script::new();
    t.listen();
    let local = "10.9.0.2:7".parse().unwrap();
    assert_eq!(t.stack.tcp_listen(t.now(), local, None, Owner::APPLICATION).unwrap_err(), Error::AddrInUse);
    let foreign = "10.9.0.77:7".parse().unwrap();
    assert_eq!(
        t.stack.tcp_listen(t.now(), foreign, None, Owner::APPLICATION).unwrap_err(),
        Error::AddrNotAvailable
    );
}

#[test]
fn a_listener_that_closes_resets_what_was_not_accepted() {
    let mut t = Script::new();
    t.listen();
    t.peer("S 0");
    t.expect("SA 0 ack 1");
    t.peer("A 1 ack 1");
    t.client(1).peer("S 0");
    t.expect("SA 0 ack 1");
    let listener = t.listener.take().unwrap();
    t.stack.tcp_close_listener(t.now(), listener);
    t.flush();
    t.client(0).expect("RA 1 ack 1");
    // The half-open one is forgotten; whatever it says next draws a reset.
    t.take_all();
    t.client(1).peer("A 1 ack 1");
    t.expect("R 1");
}

#[test]
fn accepted_connections_inherit_options_and_owner() {
    let mut t = Script::new();
    let local = "10.9.0.2:7".parse().unwrap();
    let listener = t.stack.tcp_listen(t.now(), local, None, Owner(42)).unwrap();
    let mut options = t.stack.tcp_listener_options(listener).unwrap();
    (options.nodelay, options.ttl, options.tos) = (true, 9, 0x28);
    t.stack.tcp_set_listener_options(listener, options).unwrap();
    t.listener = Some(listener);
    let id = t.open();
    assert_eq!(t.stack.tcp_options(id), Ok(options));
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in permutations(count - 1) {
        for at in 0..=shorter.len() {
            let mut longer = shorter.clone();
            longer.insert(at, count - 1);
            all.push(longer);
        }
    }
    all
}

//= RFC9293 MUST-20/r1
#[test]
fn syns_that_nobody_answers_are_counted_and_trouble_is_told_once() {
    let mut t = Script::config(|config| config.r1_retransmits = 2);
    t.connect();
    t.expect("S 0");
    for (sent, seconds, told) in [(1, 1, 0), (2, 2, 1), (3, 4, 1), (4, 8, 1)] {
        t.expect_in(seconds * 1_000, "S 0");
        let counters = t.stack.counters();
        assert_eq!((counters.tcp_retransmits, counters.tcp_timeouts), (sent, sent));
        assert_eq!(counters.negative_advice, told, "after {sent} retransmissions");
    }
    t.peer("RA 0 ack 1");
    assert_eq!(t.stack.counters().tcp_resets_in, 1);
    assert_eq!(t.stack.counters().tcp_attempts_failed, 1);
}
