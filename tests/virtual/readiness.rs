//! When the application hears of its sockets: an event for what has changed, and none for what has not.

use tunstack::proto::stack::{Progress, Shutdown};
use tunstack::proto::{Egress, Packet, Readiness, Sent};

use crate::harness::script::Script;

/// An open connection whose events so far are taken.
fn quiet() -> Script {
    let mut t = Script::new();
    t.open();
    t.readiness();
    t
}

#[test]
fn text_in_order_makes_readable_and_text_ahead_of_its_turn_does_not() {
    let mut t = quiet();
    t.peer("A 101:201 ack 1");
    t.expect("A 1 ack 1");
    assert!(t.readiness().is_empty(), "nothing can be read yet");
    t.peer("A 1:101 ack 1");
    t.expect("A 1 ack 201");
    assert_eq!(t.readiness(), Readiness::READABLE);
    t.peer("A 1:101 ack 1");
    t.expect("A 1 ack 201");
    assert!(t.readiness().is_empty(), "a duplicate brings nothing to read");
    t.read(200);
}

#[test]
fn a_fin_alone_makes_readable() {
    let mut t = quiet();
    t.peer("FA 1 ack 1");
    t.expect("A 1 ack 2");
    assert_eq!(t.readiness(), Readiness::READABLE);
    t.expect_eof();
}

#[test]
fn the_acknowledgement_of_our_fin_is_told_to_who_waits_for_it() {
    let mut t = quiet();
    t.shutdown(Shutdown::Write);
    t.expect("FA 1 ack 1");
    t.readiness();
    t.peer("A 1 ack 2");
    assert_eq!(t.readiness(), Readiness::WRITABLE);
}

#[test]
fn who_answers_in_time_has_a_turn_and_is_told_to_acknowledge_after_the_delay_all_the_same() {
    let mut t = quiet();
    let request = |t: &mut Script, line: &str| {
        let request = t.build(line).encode();
        t.stack.receive(t.device, &Packet::plain(&request, t.now()));
        t.stack.wants_transmit()
    };
    assert!(!request(&mut t, "A 1:101 ack 1"), "whether it answers is not known yet");
    t.read(100);
    t.write(10);
    t.expect("PA 1:11 ack 101");
    assert!(request(&mut t, "A 101:201 ack 11"));
    // With more to come, it does not wait for company: it has nothing to send.
    let now = t.now();
    let progress = t.stack.transmit_mid_batch(now, &mut |_: Egress<'_>| Sent::Taken);
    assert_eq!((progress, t.stack.wants_transmit()), (Progress::Idle, false));
    t.expect_in(40, "A 11 ack 201");
}

#[test]
fn a_segment_that_needs_no_answer_leaves_nothing_to_send() {
    let mut t = quiet();
    t.write(100);
    t.expect("PA 1:101 ack 1");
    let ack = t.build("A 1 ack 101").encode();
    t.stack.receive(t.device, &Packet::plain(&ack, t.now()));
    assert!(!t.stack.wants_transmit());
    // One that needs one stands in the queue, once, however many come.
    for line in ["A 101:201 ack 101", "A 201:301 ack 101"] {
        let ahead = t.build(line).encode();
        t.stack.receive(t.device, &Packet::plain(&ahead, t.now()));
        assert!(t.stack.wants_transmit());
    }
    t.flush();
    assert_eq!(t.take_all().len(), 2);
}
