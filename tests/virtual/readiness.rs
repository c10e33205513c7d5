//! When the application hears of its sockets: an event for what has changed, and none for what has not.

use tunstack::proto::Readiness;
use tunstack::proto::stack::Shutdown;

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
