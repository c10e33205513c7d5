//! The tail loss probe (RFC 8985 section 7): when there is none, and what it leaves behind.

use crate::rack::{open, ten};

#[test]
fn a_recovery_forgets_the_probe_that_led_to_it() {
    //= RFC8985 7.1 reset
    let mut t = open();
    ten(&mut t);
    t.expect_in(202, "PA 9001:10001 ack 1");
    t.run(100);
    t.peer("A 1 ack 1 <sack 9001:10001>");
    t.expect("A 1:1001 ack 1");
    t.run(100);
    t.inject("A 1 ack 10001");
    // The window has been reduced for this loss: the probe is not what made good for it.
    t.write(1_000);
    t.expect("PA 10001:11001 ack 1");
    t.run(100);
    t.peer("A 1 ack 11001");
    assert_eq!(t.stack.counters().tcp_loss_probes_repaired, 0);
    // And the next tail has a probe of its own.
    t.write(2_000);
    assert_eq!(t.take_all().len(), 2);
    t.expect_in(202, "PA 12001:13001 ack 1");
    assert_eq!(t.stack.counters().tcp_loss_probes, 2);
}

#[test]
fn where_something_is_reported_there_is_no_probe() {
    //= RFC8985 7.2 scheduled, 8 timers
    let mut t = open();
    t.write(2_000);
    assert_eq!(t.take_all().len(), 2);
    t.run(100);
    // The probe would be due at 202 ms. Instead there is a second look, a recovery, and at last the time-out.
    t.peer("A 1 ack 1 <sack 1001:2001>");
    t.expect_in(25, "A 1:1001 ack 1");
    // It runs anew from the retransmission on: 300 ms.
    t.expect_in(300, "A 1:1001 ack 1");
    assert_eq!((t.stack.counters().tcp_timeouts, t.stack.counters().tcp_loss_probes), (1, 0));
}

#[test]
fn a_probe_is_not_followed_by_another_and_the_time_out_comes_a_whole_one_after_it() {
    //= RFC8985 7.3 both, 7.3 skipped, 7.3 timer after
    let mut t = open();
    ten(&mut t);
    t.expect_in(202, "PA 9001:10001 ack 1");
    t.expect_in(300, "A 1:1001 ack 1");
    assert_eq!((t.stack.counters().tcp_timeouts, t.stack.counters().tcp_loss_probes), (1, 1));
}

#[test]
fn a_probe_is_sent_like_anything_else_and_what_came_before_it_is_lost() {
    //= RFC8985 7.3 transmission
    let mut t = open();
    ten(&mut t);
    t.expect_in(202, "PA 9001:10001 ack 1");
    t.run(100);
    // Had it kept its first time, nothing could be told of what went in the same burst but by its place.
    t.peer("A 1 ack 1 <sack 9001:10001>");
    t.expect("A 1:1001 ack 1");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().lost, 8_000);
    assert_eq!(
        t.stack.counters().tcp_reordering_timeouts,
        0,
        "at once, and not a quarter of a round trip later"
    );
}
