//! What is late and what is lost (RFC 8985 section 6): the reordering window, what widens it, and what is no evidence.

use crate::harness::script::Script;
use crate::rack::{control, open, opened, ten};

/// Five segments more go; of the first of them nothing is heard, of three beyond it something.
fn three_beyond_a_hole(t: &mut Script, una: u32) {
    t.write(5_000);
    assert_eq!(t.take_all().len(), 5);
    t.run(100);
    t.peer(&format!("A 1 ack {una} <sack {}:{}>", una + 1_000, una + 4_000));
}

#[test]
fn what_a_late_acknowledgement_covers_beside_a_probe_has_not_been_reordered() {
    //= RFC8985 6.2 reordering
    let mut t = open();
    ten(&mut t);
    t.expect_in(202, "PA 9001:10001 ack 1");
    // All was late, the probe's original included: one acknowledgement is for all of it.
    t.run(10);
    t.peer("A 1 ack 10001");
    three_beyond_a_hole(&mut t, 10_001);
    t.expect("A 10001:11001 ack 1");
}

#[test]
fn what_was_believed_lost_and_comes_before_it_is_sent_again_has_been_reordered() {
    //= RFC8985 6.2 reordering
    let mut t = open();
    ten(&mut t);
    t.run(100);
    t.peer("A 1 ack 1 <sack 5001:8001>");
    // Five are believed lost, of which the window lets three go.
    assert_eq!(t.take_all().len(), 3);
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().lost, 2_000);
    // The originals come. Those of the three can't be told from what was sent again; those of the two can.
    t.run(10);
    t.peer("A 1 ack 8001");
    t.peer("A 1 ack 10001");
    three_beyond_a_hole(&mut t, 10_001);
    t.expect_none();
    t.expect_in(25, "A 10001:11001 ack 1");
}

#[test]
fn what_comes_twice_widens_the_window_once_a_round_trip() {
    //= RFC8985 3.3.2 grows, 4 D-SACK adaptation
    let mut t = open();
    ten(&mut t);
    t.run(100);
    t.peer("A 1 ack 1 <sack 1001:2001>");
    t.peer("A 1 ack 2001");
    t.peer("A 1 ack 3001 <sack 1:1001>");
    t.peer("A 1 ack 3001 <sack 1001:2001>");
    t.peer("A 1 ack 3001 <sack 4001:5001>");
    // Two quarters of the shortest round trip instead of one.
    t.expect_in(50, "A 3001:4001 ack 1");
}

#[test]
fn what_may_be_the_originals_acknowledgement_is_no_evidence() {
    //= RFC8985 6.2 spurious
    let mut t = open();
    ten(&mut t);
    t.run(100);
    t.peer("A 1 ack 1 <sack 1001:4001>");
    t.expect("A 1:1001 ack 1");
    // A millisecond after the retransmission, over a round trip of 100: if it were the retransmission's, six that were sent
    // before it would be lost.
    t.run(1);
    t.peer("A 1 ack 4001");
    t.wait(50);
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().lost, 0);
    assert_eq!(t.stack.counters().tcp_retransmits, 1);
    // What comes a round trip after it is: the six were sent before it.
    let mut t = open();
    ten(&mut t);
    t.run(100);
    t.peer("A 1 ack 1 <sack 1001:4001>");
    t.expect("A 1:1001 ack 1");
    t.run(100);
    t.peer("A 1 ack 4001");
    let again = t.take_all();
    assert!(again[0].starts_with("A   4001:5001 "), "{again:?}");
}

#[test]
fn one_look_settles_all_that_is_late() {
    //= RFC8985 6.2 timer, 6.2 lost
    let mut t = open();
    t.write(2_000);
    t.run(10);
    t.write(2_000);
    assert_eq!(t.take_all().len(), 4);
    t.run(100);
    // The first of each pair is missing. The later one decides when to look, and then both are lost.
    t.peer("A 1 ack 1 <sack 1001:2001 3001:4001>");
    t.expect_in(25, "A 1:1001 ack 1");
    assert_eq!(t.stack.counters().tcp_reordering_timeouts, 1);
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().lost, 1_000);
}

#[test]
fn without_selective_acknowledgements_time_tells_nothing() {
    //= RFC8985 4 SACK
    let mut t = opened("S 0 win 65535 <mss 1000>", "A 1 ack 1");
    ten(&mut t);
    t.run(100);
    t.peer("A 1 ack 1");
    t.peer("A 1 ack 1");
    // Neither a second look nor a probe, only the time-out.
    t.expect_in(200, "A 1:1001 ack 1");
    assert_eq!((t.stack.counters().tcp_timeouts, t.stack.counters().tcp_loss_probes), (1, 0));
}

#[test]
fn what_was_reported_is_not_sent_again() {
    //= RFC2018 5 record, 5 sender
    let mut t = open();
    t.write(8_000);
    assert_eq!(t.take_all().len(), 8);
    t.run(100);
    t.inject("A 1 ack 1 <sack 1001:2001 3001:8001>");
    t.run(150);
    let again = t.take_all();
    assert_eq!(again.len(), 2, "{again:?}");
    assert!(again[0].starts_with("A   1:1001 ") && again[1].starts_with("A   2001:3001 "), "{again:?}");
}

#[test]
fn what_is_reported_moves_no_edge_and_the_first_segment_goes_again_though_it_was_reported() {
    //= RFC2018 3 advisory, 5 left edge
    //= RFC8985 7.2 scheduled: no probe in between.
    let mut t = open();
    ten(&mut t);
    t.run(100);
    t.peer("A 1 ack 1 <sack 1:1001>");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().unacknowledged, 10_000);
    t.expect_in(200, "A 1:1001 ack 1");
    t.run(100);
    // It meant it: only what it acknowledges is gone.
    t.inject("A 1 ack 1001");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().unacknowledged, 9_000);
    assert_eq!(control(&t).1, 5_000);
}
