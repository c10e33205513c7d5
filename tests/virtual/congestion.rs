//! When the congestion window grows: only where it was what held the sender back. `new_reno` says by how much.

use std::time::Duration;

use crate::harness::script::Script;

const MSS: usize = 1_000;

/// An open connection with segments of 1000 bytes, and thus an initial window of 10,000.
fn opened() -> Script {
    let mut t = Script::new();
    t.open_passive("S 0 win 65535 <mss 1000>");
    t.options(|options| options.nodelay = true);
    assert_eq!(cwnd(&t), 10_000);
    t
}

fn cwnd(t: &Script) -> u64 {
    t.stack.tcp_info(t.id()).unwrap().cwnd
}

/// Writes `len` bytes after the first `sent`, sees them sent, and acknowledges all of them at once.
fn round(t: &mut Script, sent: &mut usize, len: usize) {
    t.write(len);
    t.take_all();
    *sent += len;
    t.peer(&format!("A 1 ack {}", *sent + 1));
}

#[test]
fn a_window_that_the_application_does_not_fill_does_not_grow() {
    let mut t = opened();
    let mut sent = 0;
    for _ in 0..20 {
        round(&mut t, &mut sent, MSS);
        t.run(10);
    }
    assert_eq!(cwnd(&t), 10_000);
}

#[test]
fn in_slow_start_more_than_half_of_the_window_must_be_used() {
    let mut t = opened();
    let mut sent = 0;
    round(&mut t, &mut sent, 5_000);
    assert_eq!(cwnd(&t), 10_000);
    round(&mut t, &mut sent, 5_001);
    assert_eq!(cwnd(&t), 15_001);
}

#[test]
fn in_congestion_avoidance_all_of_the_window_but_a_part_of_a_segment_must_be_used() {
    //= RFC5681 3.1 congestion avoidance
    let mut t = opened();
    t.write(10_000);
    t.take_all();
    // All of it is lost: half of the flight becomes the threshold, and slow start leads up to it.
    t.expect_in(200, "A 1:1001 ack 1");
    for acked in (1..=10).map(|segment| segment * MSS) {
        t.peer(&format!("A 1 ack {}", acked + 1));
        t.take_all();
    }
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().ssthresh, 5_000);
    // One segment more, for the five that were acknowledged from the threshold on.
    let window = cwnd(&t);
    assert_eq!(window, 6_000);
    let mut sent = 10_000;
    for _ in 0..20 {
        round(&mut t, &mut sent, 5_000);
    }
    assert_eq!(cwnd(&t), 6_000);
    for _ in 0..2 {
        round(&mut t, &mut sent, 5_001);
    }
    assert_eq!(cwnd(&t), 7_000);
    assert!(t.stack.tcp_info(t.id()).unwrap().srtt < Some(Duration::from_millis(1)));
}

#[test]
fn after_more_than_a_time_out_of_silence_the_initial_window_is_all_there_is() {
    //= RFC5681 4.1 idle
    let mut t = opened();
    let mut sent = 0;
    round(&mut t, &mut sent, 10_000);
    assert_eq!(cwnd(&t), 20_000);
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().rto, Duration::from_millis(200));
    t.run(200);
    round(&mut t, &mut sent, 1_000);
    assert_eq!(cwnd(&t), 20_000, "no more than a time-out has passed");
    t.run(201);
    t.write(1_000);
    t.take_all();
    assert_eq!(cwnd(&t), 10_000);
}

#[test]
fn at_the_threshold_congestion_avoidance_has_begun() {
    let mut t = opened();
    t.write(10_000);
    t.take_all();
    t.expect_in(200, "A 1:1001 ack 1");
    for acked in [1_000, 2_000, 3_000, 10_000] {
        t.peer(&format!("A 1 ack {}", acked + 1));
        t.take_all();
    }
    assert_eq!((cwnd(&t), t.stack.tcp_info(t.id()).unwrap().ssthresh), (5_000, 5_000));
    // More than half of the window, but a whole segment less than all of it.
    let mut sent = 10_000;
    for _ in 0..5 {
        round(&mut t, &mut sent, 4_000);
    }
    assert_eq!(cwnd(&t), 5_000);
}
