//! SYN-RECEIVED, after a passive open and after a simultaneous one: what belongs to the handshake, what is out of its
//! window, and how often it is said again (RFC 9293 sections 3.5 and 3.10.7.4).

use std::time::Duration;

use tunstack::proto::DropReason;
use tunstack::proto::tcp::closing::State;

use crate::harness::script::Script;

/// A listener has answered a SYN.
fn passive() -> Script {
    let mut t = Script::new();
    t.listen();
    t.peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t
}

/// Both have sent a SYN.
fn simultaneous() -> Script {
    let mut t = Script::new();
    t.connect();
    t.expect("S 0");
    t.peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t
}

#[test]
fn another_syn_in_the_window_takes_a_passive_open_back_to_listen() {
    let mut t = passive();
    t.peer("S 100");
    t.expect_none();
    t.expect_state(State::Listen);
    assert_eq!(t.stack.tcp_census().half_open, 0);
}

#[test]
fn another_syn_in_the_window_is_challenged_where_we_opened_too() {
    //= RFC5961 4.2
    let mut t = simultaneous();
    t.peer("S 100");
    t.expect("A 1 ack 1");
    t.expect_state(State::SynReceived);
    assert_eq!(t.dropped(DropReason::TcpChallenged), 1);
}

#[test]
fn what_is_out_of_the_window_draws_an_ack_and_nothing_comes_of_it() {
    for mut t in [passive(), simultaneous()] {
        // Before RCV.NXT, and right past the window of 65535.
        for line in ["A 0 ack 1", "PA 0:1 ack 1", "A 65536 ack 1", "S 65536", "FA -5 ack 1"] {
            t.peer(line);
            t.expect("A 1 ack 1 win 65535 <>");
        }
        t.peer("R 0");
        t.peer("R 65536");
        t.expect_none();
        t.expect_state(State::SynReceived);
        assert_eq!(t.dropped(DropReason::TcpOutOfWindow), 7);
        // The last number of the window is in it.
        t.peer("R 65535");
        t.expect("A 1 ack 1");
        assert_eq!(t.dropped(DropReason::TcpChallenged), 1);
    }
}

#[test]
fn a_reset_that_is_exact_counts() {
    //= RFC5961 3.2 exact
    for mut t in [passive(), simultaneous()] {
        t.peer("R 1");
        t.expect_none();
        assert_eq!(t.stack.counters().tcp_resets_in, 1);
        assert_eq!(t.stack.counters().tcp_attempts_failed, 1);
    }
}

#[test]
fn an_ack_of_anything_but_our_syn_draws_a_reset() {
    for mut t in [passive(), simultaneous()] {
        for ack in [0, 2, -70_000] {
            t.peer(&format!("A 1 ack {ack}"));
            t.expect(&format!("R {ack} win 0"));
        }
        t.expect_state(State::SynReceived);
        assert_eq!(t.dropped(DropReason::TcpBadAck), 3);
    }
}

#[test]
fn text_without_an_ack_is_dropped() {
    for mut t in [passive(), simultaneous()] {
        t.peer("- 1:11");
        t.peer("F 1");
        t.expect_none();
        t.expect_state(State::SynReceived);
        assert_eq!(t.dropped(DropReason::TcpUnexpected), 2);
    }
}

#[test]
fn the_syn_ack_goes_again_at_doubling_intervals_and_is_counted() {
    //= RFC6298 5.5 doubling
    let mut t = Script::config(|config| {
        config.syn_ack_retransmits = 3;
        config.rto_max = Duration::from_secs(6);
    });
    t.listen();
    t.peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    // The third interval would be eight seconds, and is no longer than the longest time-out.
    for (sent, seconds) in [(1, 1), (2, 2), (3, 4)] {
        t.expect_in(seconds * 1_000, "SA 0 ack 1");
        assert_eq!(t.stack.counters().tcp_retransmits, sent);
    }
    t.wait(5_999);
    assert_eq!(t.stack.tcp_census().half_open, 1);
    t.wait(2);
    assert_eq!(t.stack.tcp_census().half_open, 0);
    assert_eq!(t.stack.counters().tcp_attempts_failed, 1);
}

#[test]
fn a_handshake_in_which_nothing_was_sent_twice_measures_the_round_trip() {
    //= RFC6298 3 Karn
    let measured = |t: &mut Script, prepare: fn(&mut Script)| {
        t.run(30);
        prepare(t);
        t.peer("A 1 ack 1");
        if t.listener.is_some() {
            t.accept();
        }
        t.stack.tcp_info(t.id()).unwrap().srtt
    };
    let again: fn(&mut Script) = |t| {
        t.peer("S 0 <mss 1460>");
        t.expect("SA 0 ack 1");
    };
    let late: fn(&mut Script) = |t| t.expect_in(970, "SA 0 ack 1");
    for start in [passive, simultaneous] {
        assert_eq!(measured(&mut start(), |_| ()), Some(Duration::from_millis(30)));
        assert_eq!(measured(&mut start(), again), None, "the peer's SYN came twice");
        assert_eq!(measured(&mut start(), late), None, "the timer fired");
    }
}
