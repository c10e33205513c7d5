//! Blind attacks (RFC 5961): what someone who sees none of our packets can do, which must be nothing.

use tunstack::proto::tcp::closing::State;
use tunstack::proto::{DropReason, Error};

use crate::harness::script::{Script, Setup};

#[test]
fn a_reset_that_hits_rcv_nxt_resets() {
    //= RFC5961 3.2 exact
    let mut t = Script::new();
    t.open();
    t.peer("R 1");
    t.expect_none();
    t.expect_read_error(Error::ConnectionReset);
    assert_eq!(t.stack.counters().tcp_resets_in, 1);
}

#[test]
fn a_reset_elsewhere_in_the_window_draws_a_challenge_ack() {
    //= RFC5961 3.2 in window, 3.2 challenge
    let mut t = Script::new();
    t.open();
    for seq in [2, 100, 65_535] {
        t.peer(&format!("R {seq}"));
        t.expect("A 1 ack 1 win 65535 <>");
    }
    t.expect_state(State::Established);
    assert_eq!(t.dropped(DropReason::TcpChallenged), 3);
    assert_eq!(t.stack.counters().tcp_challenge_acks, 3);
    // A peer that has really reset answers the challenge with the exact number.
    t.peer("R 1");
    t.expect_state(State::Closed);
}

#[test]
fn a_reset_outside_the_window_is_dropped() {
    //= RFC5961 3.2 outside
    let mut t = Script::new();
    t.open();
    for seq in ["0", "-1", "-70000", "65537", "1000000"] {
        t.peer(&format!("R {seq}"));
        t.peer(&format!("RA {seq} ack 1"));
    }
    t.expect_none();
    t.expect_state(State::Established);
    assert_eq!(t.dropped(DropReason::TcpOutOfWindow), 10);
}

#[test]
fn a_reset_may_carry_text() {
    //= RFC9293 SHLD-2
    let mut t = Script::new();
    t.open();
    t.peer("RA 1:30 ack 1");
    t.expect_read_error(Error::ConnectionReset);
}

#[test]
fn a_syn_in_a_synchronised_state_draws_a_challenge_ack_wherever_it_stands() {
    //= RFC5961 4.2
    let mut t = Script::new();
    t.open();
    for syn in ["S 1", "S 500", "S 0", "S -9000", "S 900000", "SA 1 ack 1", "SA 500 ack 1"] {
        t.peer(syn);
        t.expect("A 1 ack 1 <>");
    }
    t.expect_state(State::Established);
}

#[test]
fn an_ack_of_what_was_never_sent_draws_an_ack_and_its_text_is_dropped() {
    //= RFC5961 5.2 range
    let mut t = Script::new();
    t.open();
    t.peer("PA 1:11 ack 2");
    t.expect("A 1 ack 1");
    t.peer("PA 1:11 ack 2000000");
    t.expect("A 1 ack 1");
    t.expect_no_data();
    assert_eq!(t.dropped(DropReason::TcpBadAck), 2);
}

#[test]
fn text_with_an_ack_from_long_ago_is_dropped() {
    //= RFC9293 MAY-12
    //= RFC5961 5.2 range, 5.2 duplicate: SND.UNA - MAX.SND.WND <= SEG.ACK
    let mut t = Script::new();
    t.open_passive("S 0 win 1000 <mss 1460>");
    for round in 0..5 {
        t.write(1_000);
        t.take_all();
        t.peer(&format!("A 1 ack {} win 1000", (round + 1) * 1_000 + 1));
    }
    // 1000 back is a reordered segment's right, 1001 is a guess.
    t.peer("PA 1:11 ack 4000 win 1000");
    t.expect("A 5001 ack 1");
    t.expect_no_data();
    t.peer("PA 1:11 ack 4001 win 1000");
    t.read(10);
    t.expect_in(40, "A 5001 ack 11");
}

#[test]
fn text_without_an_ack_is_dropped() {
    let mut t = Script::new();
    t.open();
    t.peer("P 1:11");
    t.peer("F 1");
    t.expect_none();
    t.expect_no_data();
    t.expect_state(State::Established);
    assert_eq!(t.dropped(DropReason::TcpUnexpected), 2);
}

#[test]
fn text_outside_the_window_draws_an_ack_and_is_dropped() {
    let mut t = Script::new();
    t.open();
    for line in ["PA 65536:65546 ack 1", "PA -10:0 ack 1", "PA -10:1 ack 1", "FA 70000 ack 1"] {
        t.peer(line);
        t.expect("A 1 ack 1");
    }
    t.expect_no_data();
    assert_eq!(t.dropped(DropReason::TcpOutOfWindow), 4);
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().duplicates_in, 4);
    assert_eq!(t.stack.counters().tcp_duplicates, 4);
}

#[test]
fn the_acknowledgement_of_a_segment_outside_the_window_is_not_looked_at() {
    let mut t = Script::new();
    t.open();
    t.write(10);
    t.expect("PA 1:11 ack 1");
    // RCV.NXT + RCV.WND is 65536: not a byte of it is in the window.
    t.peer("PA 65536:65546 ack 11");
    t.expect("A 11 ack 1");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().unacknowledged, 10);
    t.peer("PA 65535:65545 ack 11");
    t.expect("A 11 ack 1");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().unacknowledged, 0);
}

#[test]
fn text_that_overlaps_the_window_is_cut_to_it() {
    let mut t = Script::config(|config| config.recv_buffer = 1_000);
    t.open();
    t.peer("PA 1:101 ack 1");
    t.peer("PA 51:301 ack 1");
    t.read(300);
    t.run(40);
    t.take_all();
    let window = u32::from(t.stack.tcp_info(t.id()).unwrap().rcv_wnd as u16);
    let edge = 301 + window;
    t.peer(&format!("PA 301:{} ack 1", edge + 100));
    // All up to the edge and nothing past it.
    t.expect_in(40, &format!("A 1 ack {edge} win 0"));
    t.read(window as usize);
    t.expect_no_data();
    t.take_all();
}

#[test]
fn challenge_acks_are_limited_per_connection() {
    //= RFC5961 7
    let mut t = Script::new();
    t.open();
    for _ in 0..50 {
        t.inject("R 5");
    }
    assert_eq!(t.take_all().len(), 10, "config.challenge_acks");
    assert_eq!(t.stack.counters().tcp_challenge_acks_limited, 40);
    t.wait(4_900);
    t.peer("R 5");
    t.expect_none();
    t.wait(200);
    t.peer("R 5");
    t.expect("A 1 ack 1");
}

#[test]
fn blind_syns_outside_the_window_are_limited_too() {
    let mut t = Script::new();
    t.open();
    for number in 0..50 {
        t.inject(&format!("S {}", -1_000 - number));
    }
    assert_eq!(t.take_all().len(), 10, "config.challenge_acks");
}

#[test]
fn two_stacks_out_of_step_do_not_answer_each_other_for_ever() {
    let mut t = Script::new();
    t.open();
    // Each of these is an answer to our answer.
    for _ in 0..1_000 {
        t.inject("A -1 ack 1");
    }
    assert!(t.take_all().len() <= 10);
}

#[test]
fn challenge_acks_of_the_whole_stack_are_limited_and_the_limit_cannot_be_probed() {
    //= RFC5961 7, 7 tunable
    // CVE-2016-5696: each second's cap is another one.
    let mut seen = std::collections::BTreeSet::new();
    for secrets in 0..4 {
        let mut setup = Setup { secrets, ..Setup::default() };
        setup.config.challenge_acks_global = 100;
        setup.config.challenge_acks = 1_000;
        let mut t = Script::with(setup);
        t.open();
        for _ in 0..5 {
            for _ in 0..200 {
                t.inject("R 5");
            }
            let sent = t.take_all().len();
            assert!((50..=150).contains(&sent), "{sent} in one second");
            seen.insert(sent);
            t.run(5_000);
        }
    }
    assert!(seen.len() > 5, "{seen:?}");
    // On average, the cap is the one that was set.
    assert!(*seen.first().unwrap() < 75 && *seen.last().unwrap() > 125, "{seen:?}");
}

#[test]
fn a_wrong_checksum_is_dropped_and_counted() {
    //= RFC9293 MUST-3
    let mut t = Script::new();
    t.open();
    let mut bytes = t.build("PA 1:11 ack 1").encode();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    t.receive(&bytes);
    assert_eq!(t.dropped(DropReason::TcpChecksum), 1);
    t.expect_none();
    t.expect_no_data();
}

#[test]
fn a_syn_to_or_from_what_is_no_host_is_ignored() {
    //= RFC9293 MUST-57/opening, MUST-57/validation, MUST-63
    let mut t = Script::new();
    t.listen();
    for (src, dst) in [
        ("10.9.0.1:9", "10.9.0.255:7"),
        ("10.9.0.1:9", "255.255.255.255:7"),
        ("10.9.0.1:9", "224.0.0.1:7"),
        ("10.9.0.255:9", "10.9.0.2:7"),
        ("224.0.0.1:9", "10.9.0.2:7"),
        ("255.255.255.255:9", "10.9.0.2:7"),
        ("0.0.0.0:9", "10.9.0.2:7"),
        ("127.0.0.1:9", "10.9.0.2:7"),
        ("10.9.0.1:9", "127.0.0.1:7"),
        ("240.0.0.1:9", "10.9.0.2:7"),
    ] {
        let mut syn = t.build("S 0");
        (syn.src, syn.dst) = (src.parse().unwrap(), dst.parse().unwrap());
        t.receive(&syn.encode());
        t.expect_none();
        assert!(t.take_other().is_none(), "no ICMP either");
    }
    assert_eq!(t.stack.tcp_census().half_open, 0);
    assert_eq!(t.stack.counters().dropped_total(), 10);
}

#[test]
fn a_packet_from_our_own_address_is_no_peer() {
    let mut t = Script::new();
    t.listen();
    let mut land = t.build("S 0");
    land.src = land.dst;
    t.receive(&land.encode());
    t.run(10_000);
    assert!(t.take_all().len() <= 10, "no storm");
    t.run(200_000);
    t.take_all();
    assert_eq!(t.stack.tcp_census().half_open, 0);
}
