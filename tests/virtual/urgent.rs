//! Urgent data (RFC 9293 section 3.8.5): a mark in the stream, not a second stream.

use tunstack::proto::Readiness;
use tunstack::proto::tcp::closing::State;

use crate::harness::script::Script;

fn urgent_unread(t: &Script) -> Option<u64> {
    t.stack.tcp_info(t.id()).unwrap().urgent_unread
}

#[test]
fn the_pointer_names_the_octet_after_the_last_urgent_one() {
    //= RFC9293 MUST-62
    let mut t = Script::new();
    t.open();
    t.write_urgent(5);
    t.expect("PUA 1:6 ack 1 urg 5");
    t.peer("A 1 ack 6");
    // Acknowledged: what follows is not urgent any more.
    t.write(5);
    t.expect("PA 6:11 ack 1");
}

#[test]
fn urgent_data_may_be_of_any_length() {
    //= RFC9293 MUST-31
    let mut t = Script::new();
    t.open();
    t.write_urgent(4_000);
    t.expect("UA 1:1461 ack 1 urg 4000");
    t.expect("UA 1461:2921 ack 1 urg 2540");
    // Nagle's algorithm does not hold urgent data back.
    t.expect("PUA 2921:4001 ack 1 urg 1080");
}

#[test]
fn every_segment_before_the_mark_tells_of_it() {
    let mut t = Script::new();
    t.open();
    t.write(100);
    t.expect("PA 1:101 ack 1");
    t.write_urgent(10);
    t.expect("PUA 101:111 ack 1 urg 10");
    // What is resent tells of it as well, counted from where it stands.
    t.expect_in(200, "PUA 1:111 ack 1 urg 110");
    t.peer("A 1 ack 101");
    t.expect_in(400, "PUA 101:111 ack 1 urg 10");
}

#[test]
fn a_mark_too_far_ahead_is_told_as_far_as_the_field_goes() {
    let mut t = Script::config(|config| config.send_buffer = 1 << 20);
    t.open_passive("S 0 win 65535 <mss 1460,ws 7>");
    t.write_urgent(100_000);
    let first = t.take();
    assert_eq!(first.urgent, 65_535);
    t.take_all();
}

#[test]
fn the_application_hears_of_a_mark_and_how_far_it_is() {
    //= RFC9293 MUST-30, MUST-32, MUST-33
    let mut t = Script::new();
    t.open();
    t.readiness();
    assert_eq!(urgent_unread(&t), None);
    t.peer("UA 1:11 ack 1 urg 30");
    assert!(t.readiness().contains(Readiness::URGENT));
    assert_eq!(urgent_unread(&t), Some(30), "ten are here, twenty still to come");
    t.read(10);
    assert_eq!(urgent_unread(&t), Some(20));
    t.run(50);
    t.take_all();
    t.peer("A 11:41 ack 1");
    t.read(20);
    assert_eq!(urgent_unread(&t), None, "the mark is reached");
    t.read(10);
    t.run(50);
    t.take_all();
}

#[test]
fn a_mark_that_moves_ahead_is_news_and_one_that_does_not_is_none() {
    let mut t = Script::new();
    t.open();
    t.readiness();
    t.peer("UA 1:11 ack 1 urg 10");
    assert!(t.readiness().contains(Readiness::URGENT));
    t.peer("UA 11:21 ack 1 urg 10");
    assert!(t.readiness().contains(Readiness::URGENT));
    assert_eq!(urgent_unread(&t), Some(20));
    // An old segment, an old mark.
    t.inject("UA 1:11 ack 1 urg 10");
    assert!(!t.readiness().contains(Readiness::URGENT));
    assert_eq!(urgent_unread(&t), Some(20));
    // A bare segment may move it, too, and so may one ahead of its turn.
    t.inject("UA 21 ack 1 urg 5");
    assert!(t.readiness().contains(Readiness::URGENT));
    t.inject("UA 31:41 ack 1 urg 100");
    assert!(t.readiness().contains(Readiness::URGENT));
    assert_eq!(urgent_unread(&t), Some(130));
    t.run(50);
    t.take_all();
}

#[test]
fn the_pointer_means_nothing_without_the_flag() {
    let mut t = Script::new();
    t.open();
    t.readiness();
    t.peer("PA 1:11 ack 1 urg 10");
    assert!(!t.readiness().contains(Readiness::URGENT));
    assert_eq!(urgent_unread(&t), None);
    t.read(10);
    t.run(50);
    t.take_all();
}

#[test]
fn urgency_after_their_fin_means_nothing() {
    let mut t = Script::new();
    t.open();
    t.peer("FA 1 ack 1");
    t.expect("A 1 ack 2");
    t.readiness();
    t.peer("UA 2 ack 1 urg 9");
    assert!(!t.readiness().contains(Readiness::URGENT));
    t.expect_state(State::CloseWait);
    assert_eq!(urgent_unread(&t), None);
    t.take_all();
}

#[test]
fn a_pointer_of_zero_or_past_everything_breaks_nothing() {
    let mut t = Script::new();
    t.open();
    for urgent in [0, 1, 65_535] {
        t.inject(&format!("UA 1 ack 1 urg {urgent}"));
    }
    t.peer("PA 1:101 ack 1");
    t.read(100);
    t.expect_no_data();
    t.run(50);
    t.take_all();
    t.peer("FA 101 ack 1");
    t.expect("A 1 ack 102");
    t.expect_eof();
}

#[test]
fn once_the_mark_is_acknowledged_small_segments_wait_again() {
    //= RFC9293 SHLD-7
    let mut t = Script::new();
    t.open();
    t.write_urgent(10);
    t.expect("PUA 1:11 ack 1 urg 10");
    t.peer("A 1 ack 11");
    t.write(10);
    t.expect("PA 11:21 ack 1");
    t.write(10);
    t.expect_none();
    t.peer("A 1 ack 21");
    t.expect("PA 21:31 ack 1");
}

#[test]
fn text_after_the_mark_is_not_urgent() {
    //= RFC9293 MUST-62
    let mut t = Script::new();
    t.open();
    t.options(|options| options.nodelay = true);
    t.write_urgent(10);
    t.expect("PUA 1:11 ack 1 urg 10");
    t.write(10);
    t.expect("PA 11:21 ack 1");
}

#[test]
fn a_mark_told_again_or_by_a_segment_that_was_overtaken_is_no_news() {
    let mut t = Script::new();
    t.open();
    t.peer("UA 11:21 ack 1 urg 20");
    t.expect("A 1 ack 1");
    assert_eq!(urgent_unread(&t), Some(30));
    t.readiness();
    // The one before it, late, with the mark of its own time; and the last mark, told once more.
    t.inject("UA 1:6 ack 1 urg 5");
    t.inject("UA 6:11 ack 1 urg 25");
    assert!(!t.readiness().contains(Readiness::URGENT));
    assert_eq!(urgent_unread(&t), Some(30));
    t.run(40);
    t.take_all();
    t.read(20);
}
