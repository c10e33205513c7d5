//! Loss recovery with selective acknowledgements: RACK-TLP (RFC 8985), proportional rate reduction (RFC 9937), and what is
//! undone (RFC 3522, 4015, 5682).

use crate::harness::script::Script;

/// A connection over a round trip of 100 ms, with segments of 1000 bytes, whose peer reports what it has.
pub(crate) fn open() -> Script {
    opened("S 0 win 65535 <mss 1000,sackok>", "A 1 ack 1")
}

pub(crate) fn opened(syn: &str, ack: &str) -> Script {
    opened_over(100, syn, ack)
}

/// The same over a round trip of so many milliseconds.
fn opened_over(round_trip: u64, syn: &str, ack: &str) -> Script {
    let mut t = Script::new();
    t.listen();
    t.inject(syn);
    t.take();
    t.run(round_trip);
    t.inject(ack);
    t.accept();
    t.options(|options| options.nodelay = true);
    t
}

/// The same with timestamps.
pub(crate) fn open_stamped() -> Script {
    opened("S 0 win 65535 <mss 1012,sackok,ts 0 0>", "A 1 ack 1 <ts 100 0>")
}

/// The window, the threshold.
pub(crate) fn control(t: &Script) -> (u64, u64) {
    let info = t.stack.tcp_info(t.id()).unwrap();
    (info.cwnd, info.ssthresh)
}

/// Ten segments are written and sent.
pub(crate) fn ten(t: &mut Script) {
    t.write(10_000);
    assert_eq!(t.take_all().len(), 10);
}

#[test]
fn three_segments_reported_beyond_a_hole_have_it_sent_again_at_once() {
    //= RFC8985 1 alternative, 3.3.2 zero, 6.2 lost
    //= RFC9937 6.1 initialised, 6.4 end
    //= RFC2018 5 record, 5.1 congestion control
    let mut t = open();
    ten(&mut t);
    t.write(10_000);
    t.run(100);
    t.peer("A 1 ack 1 <sack 1001:2001>");
    t.expect("A 10001:11001 ack 1");
    t.peer("A 1 ack 1 <sack 1001:3001>");
    t.expect("A 11001:12001 ack 1");
    t.peer("A 1 ack 1 <sack 1001:4001>");
    t.expect("A 1:1001 ack 1");
    assert_eq!(t.stack.counters().tcp_fast_retransmits, 1);
    // The window is halved; PRR has something sent for every second segment that arrives.
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().ssthresh, 5_000);
    t.peer("A 1 ack 1 <sack 1001:5001>");
    t.expect_none();
    t.peer("A 1 ack 1 <sack 1001:6001>");
    t.expect("A 12001:13001 ack 1");
    t.peer("A 1 ack 1 <sack 1001:7001>");
    t.expect_none();
    t.peer("A 1 ack 1 <sack 1001:8001>");
    t.expect("A 13001:14001 ack 1");
    t.peer("A 1 ack 1 <sack 1001:9001>");
    t.expect_none();
    t.run(100);
    t.take_all();
    t.peer("A 1 ack 12001");
    assert_eq!(control(&t).0, 5_000);
    assert_eq!(t.stack.counters().tcp_timeouts, 0);
}

#[test]
fn fewer_are_waited_for_a_quarter_of_a_round_trip() {
    //= RFC8985 3.3.2 zero, 6.2 lost, 6.2 timer
    //= RFC2018 5.1 congestion control
    let mut t = open();
    t.write(2_000);
    t.take_all();
    t.run(100);
    // The second has come, the first not. A quarter of the shortest round trip later it is lost.
    t.peer("A 1 ack 1 <sack 1001:2001>");
    t.expect_in(25, "A 1:1001 ack 1");
    assert_eq!(t.stack.counters().tcp_reordering_timeouts, 1);
    // Unless it comes first.
    let mut t = open();
    t.write(2_000);
    t.take_all();
    t.run(100);
    t.peer("A 1 ack 1 <sack 1001:2001>");
    t.wait(24);
    t.peer("A 1 ack 2001");
    t.wait(2_000);
}

#[test]
fn where_reordering_was_seen_three_segments_beyond_a_hole_are_not_enough() {
    //= RFC8985 6.2 reordering, 3.3.2 zero
    let mut t = open();
    ten(&mut t);
    t.run(100);
    t.peer("A 1 ack 1 <sack 1001:2001>");
    t.peer("A 1 ack 2001");
    t.peer("A 1 ack 2001 <sack 3001:6001>");
    t.expect_none();
    t.expect_in(25, "A 2001:3001 ack 1");
}

#[test]
fn a_retransmission_that_is_lost_is_found() {
    //= RFC8985 6.1 recorded, 6.2 lost
    let mut t = open();
    ten(&mut t);
    t.write(20_000);
    t.run(100);
    t.inject("A 1 ack 1 <sack 1001:4001>");
    t.expect("A 1:1001 ack 1");
    t.run(10);
    t.inject("A 1 ack 1 <sack 1001:9001>");
    let new = t.take_all();
    assert!(!new.is_empty() && new.iter().all(|line| !line.contains("1:1001 ")), "{new:?}");
    // What was sent after the retransmission has come, and the retransmission not: it is lost again. No time-out was needed.
    t.run(100);
    t.inject("A 1 ack 1 <sack 1001:11001>");
    t.expect("A 1:1001 ack 1");
    assert_eq!(t.stack.counters().tcp_timeouts, 0);
}

#[test]
fn a_retransmission_that_is_lost_is_found_though_timestamps_echo_what_is_in_order() {
    //= RFC8985 6.2 lost
    // While the first is missing, what is echoed is older than any retransmission: it says nothing of what is reported.
    let mut t = open_stamped();
    ten(&mut t);
    t.run(100);
    t.inject("A 1 ack 1 <ts 200 100,sack 1001:4001>");
    t.inject("A 1 ack 1 <ts 200 100,sack 5001:10001 1001:4001>");
    assert!(t.take_all().iter().any(|line| line.contains(" 4001:5001")));
    // Of the two that were sent again, the second comes.
    t.run(100);
    t.inject("A 1 ack 1 <ts 300 100,sack 1001:10001>");
    t.expect("A 1:1001 ack 1");
    assert_eq!(t.stack.counters().tcp_timeouts, 0);
}

#[test]
fn the_last_segments_lost_are_found_by_a_probe() {
    //= RFC8985 7.2 two SRTT, 7.2 scheduled, 7.3 last segment, 7.3 transmission
    // The RFC's own example (section 3.4): four segments, of which only the first arrives.
    let mut t = open();
    t.write(4_000);
    t.take_all();
    t.run(100);
    t.peer("A 1 ack 1001");
    // Two round trips later the last goes again.
    t.expect_in(202, "PA 3001:4001 ack 1");
    t.run(100);
    t.peer("A 1 ack 1001 <sack 3001:4001>");
    // It tells that the two before it are lost. They may have been sent before a quarter of a round trip: long ago.
    t.expect("A 1001:2001 ack 1");
    t.run(100);
    t.peer("A 1 ack 2001 <sack 3001:4001>");
    t.expect("A 2001:3001 ack 1");
    t.run(100);
    t.peer("A 1 ack 4001");
    t.wait(3_000);
    let counters = t.stack.counters();
    assert_eq!((counters.tcp_timeouts, counters.tcp_loss_probes, counters.tcp_fast_retransmits), (0, 1, 1));
}

#[test]
fn a_probe_is_new_text_if_there_is_any() {
    //= RFC8985 7.3 new data, 7.3 both, 7.3 timer after
    let mut t = open();
    t.write(12_000);
    assert_eq!(t.take_all().len(), 10);
    // What the window holds back goes, a segment of it.
    t.expect_in(202, "A 10001:11001 ack 1");
    // And no other before the retransmission time-out, which has begun anew: 300 ms after three measurements of 100 ms.
    t.expect_in(300, "A 1:1001 ack 1");
}

#[test]
fn a_lone_segment_is_probed_for_only_after_its_acknowledgement_may_have_been_delayed() {
    //= RFC8985 7.2 two SRTT, 7.2 delayed ACK
    let mut t = open();
    t.write(1_000);
    t.expect("PA 1:1001 ack 1");
    // 2 x 100 + 200 ms would be later than the time-out: the probe goes instead of it, and leaves the window alone.
    t.expect_in(300, "PA 1:1001 ack 1");
    assert_eq!((t.stack.counters().tcp_loss_probes, t.stack.counters().tcp_timeouts), (1, 0));
    t.expect_in(300, "PA 1:1001 ack 1");
    assert_eq!((t.stack.counters().tcp_loss_probes, t.stack.counters().tcp_timeouts), (1, 1));
}

#[test]
fn a_probe_that_made_good_for_a_loss_has_the_window_reduced() {
    //= RFC8985 7.4.2 loss assumed, 7.4.2 response
    let mut t = open();
    ten(&mut t);
    t.run(100);
    t.peer("A 1 ack 9001");
    // Two round trips and the delay are more than the time-out, which it takes the place of.
    t.expect_in(250, "PA 9001:10001 ack 1");
    t.run(100);
    t.peer("A 1 ack 10001");
    let before = control(&t).0;
    t.write(1_000);
    t.take_all();
    t.run(100);
    t.peer("A 1 ack 11001");
    assert!(control(&t).0 < before, "{} of {before}", control(&t).0);
    assert_eq!(t.stack.counters().tcp_loss_probes_repaired, 1);

    // It was needless: the original has come as well.
    let mut t = open();
    ten(&mut t);
    t.run(100);
    t.peer("A 1 ack 9001");
    // Two round trips and the delay are more than the time-out, which it takes the place of.
    t.expect_in(250, "PA 9001:10001 ack 1");
    t.run(10);
    t.peer("A 1 ack 10001");
    t.run(90);
    t.peer("A 1 ack 10001 <sack 9001:10001>");
    let before = control(&t).0;
    t.write(1_000);
    t.take_all();
    t.run(100);
    t.peer("A 1 ack 11001");
    assert!(control(&t).0 >= before);
    assert_eq!(t.stack.counters().tcp_loss_probes_repaired, 0);
}

#[test]
fn a_timeout_has_what_was_sent_just_before_it_left_in_flight() {
    //= RFC8985 6.3 first
    let mut t = open();
    t.write(1_000);
    t.expect("PA 1:1001 ack 1");
    // The probe has been sent, and two new segments just before the time-out.
    t.expect_in(300, "PA 1:1001 ack 1");
    t.run(290);
    t.write(2_000);
    t.expect("A 1001:2001 ack 1");
    t.expect("PA 2001:3001 ack 1");
    t.expect_in(10, "A 1:1001 ack 1");
    assert_eq!(t.stack.counters().tcp_timeouts, 1);
    t.run(100);
    t.peer("A 1 ack 3001");
    t.wait(3_000);
}

#[test]
fn a_peer_that_has_thrown_away_what_it_reported_is_sent_all_of_it() {
    //= RFC2018 8 kept, 8 reneging
    let mut t = open();
    ten(&mut t);
    t.run(100);
    t.peer("A 1 ack 1 <sack 1001:10001>");
    t.expect("A 1:1001 ack 1");
    t.run(100);
    // It has the first now, and says nothing of the others.
    t.peer("A 1 ack 1001");
    let mut next = 1_001;
    for _ in 0..200 {
        t.run(50);
        for line in t.take_all() {
            if line.contains(&format!(" {next}:")) {
                next += 1_000;
            }
        }
        t.inject(&format!("A 1 ack {next}"));
    }
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().unacknowledged, 0);
    assert_eq!(t.stack.counters().tcp_timeouts, 1);
}

#[test]
fn a_recovery_that_was_needless_is_undone_when_a_timestamp_tells() {
    //= RFC3522 3.2 use, 3.2 timestamp, 3.2 older echo
    //= RFC4015 3.1 use
    let mut t = open_stamped();
    ten(&mut t);
    let before = control(&t);
    t.run(100);
    t.inject("A 1 ack 1 <ts 200 100,sack 1001:4001>");
    t.expect("A 1:1001 ack 1");
    assert_ne!(control(&t), before);
    t.run(10);
    // The original has come after all: what is echoed was sent before the retransmission.
    t.inject("A 1 ack 4001 <ts 210 100>");
    let (cwnd, ssthresh) = control(&t);
    assert_eq!(ssthresh, before.1, "to the byte");
    assert_eq!(cwnd, before.0 + 4_000, "to the byte, and what has been acknowledged");
    assert_eq!(t.stack.counters().tcp_undone_by_timestamp, 1);
    t.run(10);
    // One that echoes the retransmission tells of a loss.
    let mut t = open_stamped();
    ten(&mut t);
    t.run(100);
    t.inject("A 1 ack 1 <ts 200 100,sack 1001:4001>");
    t.expect("A 1:1001 ack 1");
    t.run(100);
    t.inject("A 1 ack 4001 <ts 300 200>");
    assert_eq!(t.stack.counters().tcp_undone_by_timestamp, 0);
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().ssthresh, 5_000);
}

#[test]
fn a_recovery_that_was_needless_is_undone_when_all_that_was_sent_again_came_twice() {
    //= RFC2883 5 undo
    //= RFC4015 3.1 use
    let mut t = open();
    ten(&mut t);
    let before = control(&t);
    t.run(100);
    t.inject("A 1 ack 1 <sack 1001:4001>");
    t.expect("A 1:1001 ack 1");
    t.inject("A 1 ack 4001");
    t.take_all();
    t.run(100);
    assert_ne!(control(&t).1, before.1);
    t.inject("A 1 ack 10001 <sack 1:1001>");
    assert_eq!(control(&t).1, before.1, "to the byte");
    assert!(control(&t).0 >= before.0);
    assert_eq!(t.stack.counters().tcp_undone_by_dsack, 1);
}

#[test]
fn a_timeout_that_was_needless_is_undone() {
    //= RFC5682 2.1 steps, 2.1 new data, 2.1 spurious
    //= RFC5682 3.1 steps, 3.1 SACK, 3.1 spurious
    for syn in ["S 0 win 65535 <mss 1000>", "S 0 win 65535 <mss 1000,sackok>"] {
        let mut t = opened(syn, "A 1 ack 1");
        ten(&mut t);
        t.write(10_000);
        let before = control(&t);
        // The path has become slow: everything is late. (With SACK a probe goes first, and the timer runs anew.)
        while t.stack.counters().tcp_timeouts == 0 {
            t.run(1);
        }
        let probed = t.take_all().iter().filter(|line| line.contains("10001:")).count();
        // Acknowledgements of the originals come. Two new segments go, and nothing that was on its way is sent again.
        t.inject("A 1 ack 2001");
        let new = t.take_all();
        assert_eq!(new.len(), 2, "{new:?}");
        assert!(new[0].contains(&format!("{}:", 10_001 + 1_000 * probed)), "{new:?}");
        t.inject("A 1 ack 3001");
        assert_eq!(t.stack.counters().tcp_undone_by_frto, 1, "{syn}");
        let (cwnd, ssthresh) = control(&t);
        assert_eq!(ssthresh, before.1, "to the byte");
        assert!(cwnd >= before.0 && cwnd <= before.0 + 1_000, "{cwnd} after {before:?}");
        for ack in 4..=10 {
            t.inject(&format!("A 1 ack {ack}001"));
        }
        let sent = t.take_all();
        assert!(sent.iter().all(|line| !line.starts_with("A   1:") && !line.contains(" 2001:")), "{sent:?}");
        assert_eq!(t.stack.counters().tcp_retransmits, 1);
    }
}

#[test]
fn a_timeout_that_was_not_needless_is_followed_by_slow_start() {
    //= RFC5682 2.1 second duplicate, 3.1 beyond
    for (syn, duplicate) in [
        ("S 0 win 65535 <mss 1000>", "A 1 ack 1001"),
        ("S 0 win 65535 <mss 1000,sackok>", "A 1 ack 1001 <sack 11001:12001>"),
    ] {
        let mut t = opened(syn, "A 1 ack 1");
        ten(&mut t);
        t.write(10_000);
        while t.stack.counters().tcp_timeouts == 0 {
            t.run(1);
        }
        t.take_all();
        t.run(100);
        t.inject("A 1 ack 1001");
        assert_eq!(t.take_all().len(), 2);
        t.run(100);
        t.inject(duplicate);
        let again = t.take_all();
        assert!(!again.is_empty() && again[0].starts_with("A   1001:2001"), "{again:?}");
        assert!(control(&t).0 <= 3_000);
        assert_eq!(t.stack.counters().tcp_undone_by_frto, 0);
    }
}

#[test]
fn a_probe_acknowledged_together_with_what_was_sent_before_it_tells_of_no_reordering() {
    //= RFC8985 6.2 reordering
    let mut t = open();
    ten(&mut t);
    t.run(100);
    t.peer("A 1 ack 5001");
    while t.stack.counters().tcp_loss_probes == 0 {
        t.run(1);
    }
    t.take_all();
    // It was needless: everything comes, in order, and one acknowledgement says so.
    t.inject("A 1 ack 10001");
    ten(&mut t);
    t.run(100);
    // Three segments beyond a hole are enough as long as no reordering has been seen.
    t.peer("A 1 ack 10001 <sack 11001:14001>");
    t.expect("A 10001:11001 ack 1");
}

#[test]
fn a_probe_keeps_to_a_window_that_has_shrunk() {
    //= RFC8985 7.3 last segment
    let mut t = open();
    ten(&mut t);
    t.run(100);
    // All but the first four segments are beyond what the peer offers now.
    t.peer("A 1 ack 1 win 4000");
    let before = t.stack.counters().tcp_loss_probes;
    while t.stack.counters().tcp_loss_probes == before && t.stack.counters().tcp_timeouts == 0 {
        t.run(1);
    }
    for line in t.take_all() {
        let end: u64 = line.split([' ', ':']).filter_map(|word| word.parse().ok()).nth(1).unwrap();
        assert!(end <= 4_001, "{line}");
    }
}

#[test]
fn a_loss_on_a_steady_path_is_no_reason_for_a_timeout() {
    //= RFC6298 5.1 start
    // A round trip of 400 ms that hardly varies, so that the time-out comes to be no longer than that.
    let mut t = opened_over(400, "S 0 win 65535 <mss 1000,sackok>", "A 1 ack 1");
    let mut next = 1;
    for _ in 0..40 {
        t.write(1_000);
        t.take_all();
        t.run(400);
        next += 1_000;
        t.inject(&format!("A 1 ack {next}"));
    }
    // Segments go every 20 ms; the third is lost, and so each acknowledgement comes 400 ms after its segment.
    let at = |nth: u64| next + 1_000 * nth;
    for _ in 0..20 {
        t.write(1_000);
        t.run(20);
    }
    t.take_all();
    for nth in 1..=20 {
        if nth <= 2 {
            t.inject(&format!("A 1 ack {}", at(nth)));
        } else if nth > 3 {
            t.inject(&format!("A 1 ack {} <sack {}:{}>", at(2), at(3), at(nth)));
        }
        t.run(20);
    }
    t.run(60);
    // The third was sent again 60 ms after the acknowledgement before it: that is how late its own comes.
    t.inject(&format!("A 1 ack {}", at(20)));
    assert_eq!(t.stack.counters().tcp_fast_retransmits, 1);
    assert_eq!(t.stack.counters().tcp_timeouts, 0);
}

#[test]
fn a_probe_does_not_take_the_place_of_a_second_look() {
    //= RFC8985 8 timers
    let mut t = open();
    ten(&mut t);
    t.run(100);
    // Reordering: from now on a quarter of a round trip is waited for everything.
    t.peer("A 1 ack 1 <sack 1001:2001>");
    t.peer("A 1 ack 10001");
    ten(&mut t);
    t.run(100);
    t.peer("A 1 ack 10001 <sack 11001:15001>");
    t.expect_in(25, "A 10001:11001 ack 1");
    t.run(20);
    t.peer("A 1 ack 10001 <sack 11001:16001 17001:20001>");
    t.run(5);
    t.write(1_000);
    t.expect("PA 20001:21001 ack 1");
    t.expect_in(20, "A 16001:17001 ack 1");
    t.run(100);
    // That ends the recovery. What was sent again last has come, and what was sent new 20 ms before it may have been lost.
    t.peer("A 1 ack 20001");
    t.expect_in(5, "PA 20001:21001 ack 1");
    assert_eq!(t.stack.counters().tcp_loss_probes, 0);
}

#[test]
fn what_comes_late_tells_of_reordering_though_it_was_believed_lost() {
    //= RFC8985 6.2 reordering
    let mut t = open();
    ten(&mut t);
    t.run(100);
    // Both of the first two are lost; one of them goes again. Then both come, the second for the first time.
    t.peer("A 1 ack 1 <sack 2001:5001>");
    t.expect("A 1:1001 ack 1");
    t.expect_none();
    t.peer("A 1 ack 5001");
    t.peer("A 1 ack 10001");
    t.write(5_000);
    assert_eq!(t.take_all().len(), 5);
    t.run(100);
    t.peer("A 1 ack 10001 <sack 11001:14001>");
    t.expect_none();
    t.expect_in(25, "A 10001:11001 ack 1");
}
