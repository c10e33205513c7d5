//! Timestamps (RFC 7323 sections 3 to 5): who has them, what they echo, which segments they keep out, and a peer that lies.
//!
//! The stack's are told from the first that it sends on, in milliseconds; the peer's as they are.

use std::time::Duration;

use tunstack::proto::DropReason;
use tunstack::proto::tcp::closing::State;
use tunstack::proto::tcp::{KeepAlive, TcpInfo};

use crate::harness::script::Script;
use crate::support::wire::{self, Opt};

const DAY: u64 = 24 * 3_600_000;

/// A connection with timestamps; the peer's SYN and ACK had 70.
fn open() -> Script {
    // So that an acknowledgement waits for company from the start.
    let mut t = Script::config(|config| config.quick_acks = 0);
    t.open_passive("S 0 win 65535 <mss 1000,ts 70 0>");
    t
}

/// The same after text whose timestamp, 1000, was acknowledged 40 ms after the opening.
fn after_text() -> Script {
    let mut t = open();
    t.peer("A 1:1001 ack 1 <ts 1000 0>");
    t.expect_in(40, "A 1 ack 1001 <ts 40 1000>");
    t
}

fn info(t: &Script) -> TcpInfo {
    t.stack.tcp_info(t.id()).unwrap()
}

#[test]
fn a_syn_with_timestamps_is_answered_with_them_and_none_without() {
    //= RFC7323 3.2 initial, 3.2 remembered
    let mut t = open();
    t.run(30);
    t.peer("A 1:1001 ack 1 <ts 90 0>");
    t.expect_in(40, "A 1 ack 1001 <ts 70 90>");

    // Not agreed upon: those that come all the same are nothing.
    //= RFC7323 3.2 not agreed
    let mut t = Script::config(|config| config.quick_acks = 0);
    t.listen();
    t.peer("S 0 win 65535 <mss 1000>");
    t.expect("SA 0 ack 1 <mss 1460>");
    t.peer("A 1 ack 1 <ts 500 0>");
    t.accept();
    t.peer("A 1:1001 ack 1 <ts 400 0>");
    t.expect_in(40, "A 1 ack 1001 <>");
    t.read(1000);

    let mut t = Script::config(|config| (config.timestamps, config.quick_acks) = (false, 0));
    t.listen();
    t.peer("S 0 win 65535 <mss 1000,ts 70 0>");
    t.expect("SA 0 ack 1 <mss 1460>");
    t.peer("A 1 ack 1");
    t.accept();
    t.peer("A 1:1001 ack 1 <ts 60 0>");
    t.expect_in(40, "A 1 ack 1001 <>");
}

#[test]
fn our_syn_offers_timestamps_and_the_peer_decides() {
    //= RFC7323 3.2 initial, 3.2 no ACK, 2.2 offered
    let mut t = Script::new();
    t.connect();
    t.expect("S 0 <mss 1460,sackok,ts 0 0,ws 0>");
    t.run(20);
    t.peer("SA 0 ack 1 <mss 1000,ts 70 0>");
    t.expect("A 1 ack 1 <ts 20 70>");
    t.write(2_000);
    // They take 12 bytes of each segment.
    t.expect("A 1:989 ack 1 <ts 20 70>");
    t.expect("A 989:1977 ack 1 <ts 20 70>");
    t.peer("A 1 ack 1977 <ts 71 20>");
    t.expect("PA 1977:2001 ack 1 <ts 20 71>");

    let mut t = Script::new();
    t.connect();
    t.expect("S 0 <mss 1460,sackok,ts 0 0,ws 0>");
    t.peer("SA 0 ack 1 <mss 1000>");
    t.expect("A 1 ack 1 <>");
    t.write(1_000);
    t.expect("PA 1:1001 ack 1 <>");

    let mut t = Script::config(|config| config.timestamps = false);
    t.connect();
    t.expect("S 0 <mss 1460,sackok,ws 0>");
    t.peer("SA 0 ack 1 <mss 1000,ts 70 0>");
    t.expect("A 1 ack 1 <>");
}

#[test]
fn every_segment_has_them_whatever_it_is_for() {
    //= RFC7323 3.2 every segment
    let mut t = open();
    // Text, its retransmission with the time of that, and a probe of a window of zero.
    t.write(100);
    t.expect("PA 1:101 ack 1 <ts 0 70>");
    t.expect_in(200, "PA 1:101 ack 1 <ts 200 70>");
    t.peer("A 1 ack 101 win 0 <ts 71 200>");
    t.write(100);
    t.run(10_000);
    let probes = t.take_all();
    assert!(!probes.is_empty());
    assert!(probes.iter().all(|line| line.contains("<ts ")), "{probes:?}");
    t.peer("A 1 ack 101 win 65535 <ts 72 200>");
    t.run(100);
    t.take_all();
    t.peer("A 1 ack 201 <ts 73 200>");
    // A keep-alive's probe, and what answers one.
    t.options(|options| {
        let idle = Duration::from_secs(60);
        options.keepalive = Some(KeepAlive { idle, interval: idle, probes: 3 });
    });
    t.run(61_000);
    let probes = t.take_all();
    assert_eq!(probes.len(), 1, "{probes:?}");
    assert!(probes[0].starts_with("A   200 ") && probes[0].contains("<ts "), "{probes:?}");
    t.options(|options| options.keepalive = None);
    t.peer("A 0 ack 201 <ts 74 200>");
    assert!(t.take_all()[0].contains("<ts "));
    // FINs, and TIME-WAIT.
    t.close();
    assert!(t.take_all()[0].contains("<ts "));
    t.peer("FA 1 ack 202 <ts 75 200>");
    assert!(t.take_all()[0].contains(" 75>"));
    t.expect_state(State::TimeWait);
    t.peer("FA 1 ack 202 <ts 76 200>");
    let answer = t.take_all();
    assert!(answer[0].starts_with("A   202 ") && answer[0].contains("<ts "), "{answer:?}");
}

#[test]
fn a_half_open_connection_answers_with_them() {
    //= RFC7323 3.2 every segment
    let mut t = Script::new();
    t.listen();
    t.peer("S 0 <mss 1460,ts 70 0>");
    t.expect("SA 0 ack 1 <mss 1460,ts 0 70>");
    t.run(10);
    t.peer("A 70000 ack 1 <ts 71 0>");
    t.expect("A 1 ack 1 <ts 10 70>");
    t.expect_in(990, "SA 0 ack 1 <mss 1460,ts 1000 70>");

    let mut t = Script::new();
    t.connect();
    t.expect("S 0");
    t.peer("S 0 <mss 1460,ts 70 0>");
    t.expect("SA 0 ack 1 <mss 1460,ts 0 70>");
    t.peer("A 70000 ack 1 <ts 71 0>");
    t.expect("A 1 ack 1 <ts 0 70>");
    t.peer("SA 0 ack 1 <mss 1460,ts 71 0>");
    t.expect("A 1 ack 1 <ts 0 71>");
    t.expect_state(State::Established);
}

#[test]
fn a_syn_that_comes_again_has_its_timestamp_echoed_unless_it_is_an_old_one() {
    //= RFC7323 4.3 echo
    let mut passive = Script::new();
    passive.listen();
    let mut active = Script::new();
    active.connect();
    active.take();
    for mut t in [passive, active] {
        t.peer("S 0 <mss 1460,ts 70 0>");
        t.expect("SA 0 ack 1 <mss 1460,ts 0 70>");
        t.run(10);
        for (value, echo) in [(1070, 1070), (70, 1070), (1070, 1070), (3070, 3070)] {
            t.peer(&format!("S 0 <mss 1460,ts {value} 0>"));
            t.expect(&format!("SA 0 ack 1 <mss 1460,ts 10 {echo}>"));
        }
        t.peer("S 0 <mss 1460>");
        t.expect("SA 0 ack 1 <mss 1460,ts 10 3070>");
    }
}

#[test]
fn a_half_open_connection_is_not_opened_by_a_segment_of_the_past_or_without() {
    //= RFC7323 3.2 missing
    let passive = |t: &mut Script| {
        t.listen();
        t.peer("S 0 <mss 1460,ts 70 0>");
    };
    let active = |t: &mut Script| {
        t.connect();
        t.take();
        t.peer("S 0 <mss 1460,ts 70 0>");
    };
    for begin in [passive, active] as [fn(&mut Script); 2] {
        let mut t = Script::new();
        begin(&mut t);
        t.expect("SA 0 ack 1");
        t.peer("A 1 ack 1");
        t.expect_none();
        t.peer("A 1 ack 1 <ts 69 0>");
        t.expect("A 1 ack 1 <ts 0 70>");
        assert_eq!((t.dropped(DropReason::TcpNoTimestamp), t.dropped(DropReason::TcpOldTimestamp)), (1, 1));
        t.expect_state(State::SynReceived);
        t.peer("A 1 ack 1 <ts 71 0>");
        t.expect_none();
        assert_eq!(t.stack.tcp_census().half_open, 0);
    }
}

/// TSval and TSecr as they stand on the wire.
fn stamp_of(tcp: &wire::Tcp) -> Option<(u32, u32)> {
    Opt::decode_all(&tcp.options).into_iter().find_map(|option| match option {
        Opt::Timestamps(value, echo) => Some((value, echo)),
        _ => None,
    })
}

#[test]
fn a_reset_has_them_if_the_connection_has_or_what_it_answers() {
    //= RFC7323 3.2 in resets, 5.2 reset of an abort
    let mut t = open();
    t.run(10);
    t.abort();
    t.expect("RA 1 ack 1 <ts 10 70>");
    //= RFC7323 5.2 reset answers
    t.peer("A 1 ack 1 <ts 75 0>");
    assert_eq!(stamp_of(&t.take()), Some((0, 75)));
    t.client(1).aim_at(9).peer("S 0 <mss 1460,ts 99 0>");
    let reset = t.take();
    assert_eq!((reset.flags, stamp_of(&reset)), (wire::RST | wire::ACK, Some((0, 99))));
    t.peer("S 0 <mss 1460>");
    assert_eq!(stamp_of(&t.take()), None);
    // An open of both sides that is given up.
    let mut t = Script::new();
    t.connect();
    t.take();
    t.peer("S 0 <mss 1460,ts 70 0>");
    t.expect("SA 0 ack 1");
    t.abort();
    t.expect("RA 1 ack 1 <ts 0 70>");
}

#[test]
fn a_segment_from_the_past_draws_an_ack_and_nothing_else() {
    //= RFC7323 5.3 PAWS, 5.3 before
    let mut t = after_text();
    // The next in order, its FIN, and one out of the window.
    for line in ["PA 1001:1101 ack 1", "FA 1001 ack 1", "PA 1:101 ack 1", "A 90001:90101 ack 1"] {
        t.peer(&format!("{line} <ts 999 0>"));
        t.expect("A 1 ack 1001 <ts 40 1000>");
    }
    assert_eq!(t.dropped(DropReason::TcpOldTimestamp), 4);
    t.expect_state(State::Established);
    // A bare one draws an ACK as well, but not for ever: two of us would never end.
    for _ in 0..100 {
        t.inject("A 1001 ack 1 <ts 999 0>");
    }
    let answers = t.take_all().len();
    assert!((1..100).contains(&answers), "{answers} answers");
    assert_eq!(t.dropped(DropReason::TcpOldTimestamp), 104);
    // The same timestamp is none of the past.
    t.peer("PA 1001:1101 ack 1 <ts 1000 0>");
    t.read(1100);
}

#[test]
fn the_answer_to_a_segment_from_the_past_reports_it_as_a_duplicate() {
    //= RFC2883 4.3 PAWS
    let mut t = Script::config(|config| config.quick_acks = 0);
    t.open_passive("S 0 win 65535 <mss 1000,sackok,ts 70 0>");
    t.peer("A 1:1001 ack 1 <ts 1000 0>");
    t.expect_in(40, "A 1 ack 1001 <ts 40 1000>");
    t.peer("A 501:601 ack 1 <ts 999 0>");
    t.expect("A 1 ack 1001 <ts 40 1000,sack 501:601>");
    // Of one that goes on past what has come, that part is not told.
    t.peer("A 501:1501 ack 1 <ts 999 0>");
    t.expect("A 1 ack 1001 <ts 40 1000,sack 501:1001>");
    t.read(1000);
    t.expect_no_data();
}

#[test]
fn an_acknowledgement_from_the_past_is_not_looked_at() {
    //= RFC7323 5.3 before
    let mut t = after_text();
    t.write(500);
    t.expect("PA 1:501 ack 1001");
    t.peer("A 1001 ack 501 win 7 <ts 999 0>");
    t.expect("A 501 ack 1001");
    assert_eq!((info(&t).unacknowledged, info(&t).snd_wnd), (500, 65535));
    t.peer("A 1001 ack 501 <ts 1001 0>");
    assert_eq!(info(&t).unacknowledged, 0);
}

#[test]
fn who_cannot_see_our_segments_cannot_make_the_peers_seem_old() {
    //= RFC7323 5.2 never older
    let mut t = after_text();
    // Of the future: acknowledging what was never sent, or long ago; out of the window; a SYN; a reset that misses; a
    // segment right before what is expected, and one ahead of its turn.
    let far = 1_000_000_000;
    for line in [
        "PA 1001:1101 ack 5000",
        "PA 1001:1101 ack -70000",
        "A 1001 ack 2",
        "PA 90001:90101 ack 1",
        "PA 1:101 ack 1",
        "S 1001",
        "S 1500",
        "R 1500",
        "A 1000 ack 1",
        "A 2001:2101 ack 1",
        "A 1001",
    ] {
        t.inject(&format!("{line} <ts {far} 0>"));
        t.take_all();
    }
    t.peer("A 1001:2001 ack 1 <ts 1001 0>");
    t.expect("A 1 ack 2101 <ts 40 1001>");
    assert_eq!(t.dropped(DropReason::TcpOldTimestamp), 0);
    t.read(2100);
}

#[test]
fn segments_without_those_agreed_upon_are_dropped_silently_and_end_nothing() {
    //= RFC7323 3.2 missing, 3.2 no abort
    let mut t = open();
    for line in ["PA 1:101 ack 1", "FA 1 ack 1", "A 1 ack 1", "A 90001:90101 ack 1", "A 1 ack 5000"] {
        for _ in 0..10 {
            t.peer(line);
            t.expect_none();
        }
    }
    assert_eq!(t.dropped(DropReason::TcpNoTimestamp), 50);
    t.expect_state(State::Established);
    t.peer("PA 1:101 ack 1 <ts 71 0>");
    t.read(100);
    // A SYN is challenged, with or without.
    t.run(50);
    t.take_all();
    t.peer("S 5");
    t.expect("A 1 ack 101");
}

#[test]
fn a_reset_needs_none_and_its_age_is_not_asked() {
    //= RFC7323 3.2 reset
    for reset in ["R 1001", "R 1001 <ts 3 0>", "RA 1001 ack 1 <ts 999999 0>"] {
        let mut t = after_text();
        // One that misses leaves no trace.
        t.peer("R 1002 <ts 1000000000 0>");
        t.expect("A 1 ack 1001 <ts 40 1000>");
        t.peer(reset);
        t.expect_none();
        t.expect_state(State::Closed);
    }
}

#[test]
fn after_24_days_the_latest_timestamp_counts_for_nothing() {
    //= RFC7323 5.5 outdated
    for (days, is_heard) in [(23, false), (25, true)] {
        let mut t = open();
        t.wait(days * DAY);
        // The peer's clock is halfway round.
        let value = 70u32.wrapping_add((1 << 31) + 1);
        t.peer(&format!("PA 1:1001 ack 1 <ts {value} 0>"));
        t.run(40);
        t.take_all();
        assert_eq!(t.dropped(DropReason::TcpOldTimestamp), u64::from(!is_heard), "after {days} days");
        assert_eq!(info(&t).unread, if is_heard { 1000 } else { 0 });
        if is_heard {
            // And that one counts again.
            t.peer(&format!("PA 1001:2001 ack 1 <ts {} 0>", value - 1));
            t.expect(&format!("A 1 ack 1001 <ts {} {}>", days * DAY + 40, value as i32));
            t.peer(&format!("PA 1001:2001 ack 1 <ts {} 0>", value + 1));
            t.run(50);
            t.take_all();
            t.read(2000);
        }
    }
}

#[test]
fn the_peers_clock_may_wrap() {
    //= RFC7323 5.3 PAWS
    let mut t = Script::config(|config| config.quick_acks = 0);
    t.open_passive("S 0 win 65535 <mss 1000,ts 4294967290 0>");
    t.peer("A 1:1001 ack 1 <ts 4294967295 0>");
    t.expect_in(40, "A 1 ack 1001 <ts 40 4294967295>");
    t.peer("A 1001:2001 ack 1 <ts 0 0>");
    t.peer("A 2001:3001 ack 1 <ts 3 0>");
    t.expect("A 1 ack 3001 <ts 40 0>");
    t.peer("PA 3001:3101 ack 1 <ts 4294967295 0>");
    t.expect("A 1 ack 3001 <ts 40 0>");
    t.peer("PA 3001:3101 ack 1 <ts 4 0>");
    t.expect_in(40, "A 1 ack 3101 <ts 80 4>");
}

#[test]
fn an_acknowledgement_that_waited_echoes_the_first_of_those_it_covers() {
    //= RFC7323 4.3 delayed, 4.3 one, 4.3 echo
    let mut t = open();
    for (from, value) in [(1, 81), (101, 82), (201, 83)] {
        t.peer(&format!("PA {from}:{} ack 1 <ts {value} 0>", from + 100));
    }
    t.expect_in(40, "A 1 ack 301 <ts 40 81>");
    t.peer("PA 301:401 ack 1 <ts 84 0>");
    t.expect_in(40, "A 1 ack 401 <ts 80 84>");
}

/// The example of RFC 7323 section 4.3, in which segments are reordered.
#[test]
fn what_is_ahead_of_its_turn_is_not_echoed_and_what_fills_the_hole_is() {
    //= RFC7323 4.3 hole, 4.3 filled, 4.3 echo
    //= RFC7323 5.3 when it comes
    let mut t = open();
    for (segment, ack, echo) in [(0, 1, 101), (2, 1, 101), (1, 3, 102), (4, 3, 102), (3, 5, 104)] {
        let from = 1 + segment * 1000;
        t.peer(&format!("A {from}:{} ack 1 <ts {} 0>", from + 1000, 101 + segment));
        t.run(40);
        let answer = t.take_all();
        let (start, end) = (format!("A   1               ack {} ", ack * 1000 + 1), format!(" {echo}>"));
        assert!(
            answer.len() == 1 && answer[0].starts_with(&start) && answer[0].ends_with(&end),
            "{answer:?}"
        );
    }
    // Those that had waited were not judged again, though older than the latest by now.
    t.read(5000);
    assert_eq!(t.dropped(DropReason::TcpOldTimestamp), 0);
}

#[test]
fn the_clock_goes_by_the_millisecond() {
    //= RFC7323 4.1 clock, 5.4 monotonic
    let mut t = open();
    let mut shown = 0;
    for (number, pause) in [(1, 100), (2, 1), (3, 59_999)] {
        t.run(pause);
        shown += pause;
        t.peer(&format!("A {}:{} ack 1 <ts {} 0>", (number - 1) * 1000 + 1, number * 1000 + 1, 70 + number));
        t.run(50);
        let ack = t.take_all();
        let late = if ack[0].contains(&format!("<ts {shown} ")) { 0 } else { 40 };
        assert!(ack[0].contains(&format!("<ts {} {}>", shown + late, 70 + number)), "{ack:?} at {shown}");
        shown += 50;
    }
}

#[test]
fn the_echo_of_our_first_syn_tells_that_none_was_lost() {
    let opened = |echo: u64| {
        let mut t = Script::new();
        t.connect();
        t.expect("S 0");
        t.expect_in(1_000, "S 0 <mss 1460,sackok,ts 1000 0,ws 0>");
        t.run(500);
        t.peer(&format!("SA 0 ack 1 <mss 1000,ts 70 {echo}>"));
        t.expect("A 1 ack 1");
        info(&t)
    };
    let first = opened(0);
    assert_eq!((first.srtt, first.cwnd), (Some(Duration::from_millis(1_500)), 9_880));
    //= RFC6298 5.7 after a SYN
    let second = opened(1_000);
    assert_eq!((second.srtt, second.cwnd, second.rto), (None, 988, Duration::from_secs(3)));
    // Neither: nothing is known.
    let lie = opened(777);
    assert_eq!((lie.srtt, lie.cwnd), (None, 988));
}

#[test]
fn the_echo_of_our_first_syn_ack_tells_that_none_was_lost() {
    let opened = |again: &str, echo: u64| {
        let mut t = Script::new();
        t.listen();
        t.peer("S 0 <mss 1000,ts 70 0>");
        t.expect("SA 0 ack 1");
        t.run(1_000);
        if !again.is_empty() {
            t.inject(again);
        }
        t.take_all();
        t.run(200);
        t.peer(&format!("A 1 ack 1 <ts 80 {echo}>"));
        t.accept();
        info(&t)
    };
    // The timer sends it again, or the peer's SYN does.
    for again in ["", "S 0 <mss 1000,ts 79 0>"] {
        let first = opened(again, 0);
        assert_eq!((first.srtt, first.cwnd), (Some(Duration::from_millis(1_200)), 9_880));
        for echo in [1_000, 555] {
            let other = opened(again, echo);
            assert_eq!((other.srtt, other.cwnd), (None, 988), "{echo}");
        }
    }
}

#[test]
fn the_echo_of_a_segment_without_ack_says_nothing() {
    //= RFC7323 3.2 echo ignored
    let mut t = Script::new();
    t.connect();
    t.expect("S 0");
    t.expect_in(1_000, "S 0");
    // It names our first SYN, but has no ACK.
    t.peer("S 0 <mss 1000,ts 70 0>");
    t.expect("SA 0 ack 1");
    t.run(100);
    t.peer("A 1 ack 1 <ts 71 1000>");
    assert_eq!((info(&t).srtt, info(&t).cwnd), (None, 988));
}

#[test]
fn a_peer_that_echoes_the_future_or_nonsense_hurts_nobody() {
    for echo in [1u32, 1_000_000, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let mut t = Script::new();
        t.connect();
        t.expect("S 0");
        t.run(50);
        t.peer(&format!("SA 0 ack 1 <mss 1000,ts 70 {echo}>"));
        t.expect("A 1 ack 1");
        assert_eq!(info(&t).srtt, Some(Duration::from_millis(50)));
        for round in 0..20 {
            t.write(988);
            t.expect(&format!("PA {}:{} ack 1", round * 988 + 1, (round + 1) * 988 + 1));
            t.run(50);
            t.peer(&format!("A 1 ack {} <ts {} {echo}>", (round + 1) * 988 + 1, 71 + round));
        }
        let info = info(&t);
        assert!(info.rto >= Duration::from_millis(200), "{:?}", info.rto);
        assert_eq!((info.unacknowledged, info.retransmits), (0, 0));
    }
}

#[test]
fn a_peer_whose_clock_leaps_is_heard_as_long_as_it_leaps_forwards() {
    let mut t = open();
    let mut value = 70u32;
    for number in 0..10u32 {
        value = value.wrapping_add(0x3fff_ffff);
        let from = 1 + number * 1000;
        t.inject(&format!("A {from}:{} ack 1 <ts {value} 0>", from + 1000));
    }
    t.run(50);
    t.take_all();
    t.read(10_000);
    // Back again is the past; who goes on from where it had leapt to is heard.
    t.peer(&format!("PA 10001:10101 ack 1 <ts {} 0>", value.wrapping_sub(0x4000_0000)));
    t.take_all();
    assert_eq!(t.dropped(DropReason::TcpOldTimestamp), 1);
    t.peer(&format!("PA 10001:10101 ack 1 <ts {value} 0>"));
    t.read(100);
    t.expect_state(State::Established);
}
