//! How much is sent while what was lost is recovered (RFC 9937), and before that on the first duplicates (RFC 3042).

use crate::harness::script::Script;
use crate::rack::{control, open, opened, ten};

/// Twenty segments are on their way, from 10001 on, and nothing waits behind them.
fn twenty() -> Script {
    let mut t = open();
    t.write(30_000);
    assert_eq!(t.take_all().len(), 10);
    t.run(100);
    t.peer("A 1 ack 10001");
    assert_eq!(t.take_all().len(), 20);
    t.run(100);
    t
}

#[test]
fn of_many_lost_segments_one_goes_for_each_that_arrives_and_two_once_they_arrive() {
    //= RFC9937 3 congestion window, 5 with RACK-TLP, 6.2 in flight, 6.2 conservative bound, 6.2 slow start bound, 6.2 window
    //= RFC8985 9.3 congestion control, 9.3 PRR
    let mut t = twenty();
    // The first fifteen are lost, which is known with the third that has come.
    t.peer("A 1 ack 10001 <sack 25001:26001>");
    t.peer("A 1 ack 10001 <sack 25001:27001>");
    t.peer("A 1 ack 10001 <sack 25001:28001>");
    t.expect("A 10001:11001 ack 1");
    t.expect_none();
    assert_eq!(control(&t).1, 10_000);
    t.peer("A 1 ack 10001 <sack 25001:29001>");
    t.expect("A 11001:12001 ack 1");
    t.expect_none();
    t.peer("A 1 ack 10001 <sack 25001:30001>");
    t.expect("A 12001:13001 ack 1");
    t.expect_none();
    // As the copies arrive nothing more turns out to be lost.
    t.run(100);
    t.peer("A 1 ack 11001 <sack 25001:30001>");
    t.expect("A 13001:14001 ack 1");
    t.expect("A 14001:15001 ack 1");
    t.expect_none();
    // An acknowledgement that brings nothing lets nothing go.
    t.peer("A 1 ack 11001 <sack 25001:30001>");
    t.expect_none();
}

#[test]
fn what_recovery_allows_the_peers_window_may_forbid() {
    //= RFC9937 3 receiver's window
    let mut t = opened("S 0 win 10000 <mss 1000,sackok>", "A 1 ack 1 win 10000");
    ten(&mut t);
    t.write(10_000);
    t.run(100);
    t.peer("A 1 ack 1 win 10000 <sack 1001:4001>");
    t.expect("A 1:1001 ack 1");
    for end in 5..=10 {
        t.peer(&format!("A 1 ack 1 win 10000 <sack 1001:{end}001>"));
        t.expect_none();
    }
    t.peer("A 1 ack 10001 win 10000");
    t.expect("A 10001:11001 ack 1");
    t.take_all();
}

#[test]
fn who_reports_in_small_parts_is_sent_no_more() {
    //= RFC9937 13 octets
    // While little is on its way: the window leads up to the threshold.
    let sent = |part: usize| {
        let mut t = twenty();
        t.inject("A 1 ack 10001 <sack 25001:26001>");
        t.inject("A 1 ack 10001 <sack 25001:27001>");
        for end in (27_001 + part..=30_001).step_by(part) {
            t.inject(&format!("A 1 ack 10001 <sack 25001:{end}>"));
        }
        let conservative = t.take_all().len();
        t.run(100);
        for ack in (10_001 + part..=12_001).step_by(part) {
            t.inject(&format!("A 1 ack {ack} <sack 25001:30001>"));
        }
        (conservative, t.take_all().len())
    };
    assert_eq!(sent(1_000), (3, 4));
    let (conservative, safe) = sent(100);
    assert!(conservative <= 3 && safe <= 4, "{conservative} and {safe}");
    let (conservative, safe) = sent(1);
    assert!(conservative <= 3 && safe <= 4, "{conservative} and {safe}");

    // While much is, and it leads down: where the one ends and the other begins may lie between two segments.
    let sent = |part: usize| {
        let mut t = open();
        ten(&mut t);
        t.write(10_000);
        t.run(100);
        t.inject("A 1 ack 1 <sack 1001:4001>");
        for end in (4_001 + part..=8_001).step_by(part) {
            t.inject(&format!("A 1 ack 1 <sack 1001:{end}>"));
        }
        t.take_all().len()
    };
    assert_eq!((sent(1_000), sent(100), sent(1)), (3, 4, 4));
}

#[test]
fn the_first_duplicates_let_something_new_go_and_leave_the_window_alone() {
    //= RFC3042 2 limited transmit, 2 window unchanged
    //= RFC5681 3.2 limited transmit
    let mut t = opened("S 0 win 65535 <mss 1000>", "A 1 ack 1");
    ten(&mut t);
    t.write(10_000);
    t.run(100);
    for new in ["A 10001:11001 ack 1", "A 11001:12001 ack 1"] {
        t.peer("A 1 ack 1");
        t.expect(new);
        t.expect_none();
        assert_eq!(control(&t).0, 10_000);
    }
    t.peer("A 1 ack 1");
    t.expect("A 1:1001 ack 1");
    assert_eq!(control(&t).1, 5_000, "half of ten, not of twelve");
}

#[test]
fn duplicates_that_report_nothing_let_nothing_go() {
    //= RFC3042 2 new reports
    let mut t = open();
    ten(&mut t);
    t.write(10_000);
    t.run(100);
    for _ in 0..10 {
        t.peer("A 1 ack 1");
        t.expect_none();
    }
    assert_eq!(t.stack.counters().tcp_fast_retransmits, 0);
}
