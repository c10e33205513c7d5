//! What is undone, and what is not: timestamps (RFC 3522), duplicates (RFC 2883) and what comes after a time-out (RFC 5682)
//! tell of a needless recovery, and the window is what it was (RFC 4015).

use std::time::Duration;

use crate::harness::script::Script;
use crate::rack::{control, open, open_stamped, opened, ten};

/// A connection without SACK, and one with.
fn both() -> [Script; 2] {
    ["S 0 win 65535 <mss 1000>", "S 0 win 65535 <mss 1000,sackok>"].map(|syn| opened(syn, "A 1 ack 1"))
}

/// Nothing is heard until the retransmission timer has expired so often.
fn until_timeouts(t: &mut Script, count: u64) {
    while t.stack.counters().tcp_timeouts < count {
        t.run(1);
    }
    t.take_all();
}

#[test]
fn a_time_out_after_a_time_out_is_asked_about_anew() {
    //= RFC5682 2.1 again, 3.1 again, 2.1 not twice
    //= RFC4015 3.1 not again
    for mut t in both() {
        ten(&mut t);
        t.write(10_000);
        let before = control(&t);
        until_timeouts(&mut t, 2);
        t.inject("A 1 ack 2001");
        assert_eq!(t.take_all().len(), 2);
        t.inject("A 1 ack 3001");
        assert_eq!(t.stack.counters().tcp_undone_by_frto, 1);
        assert_eq!(control(&t).1, before.1, "what it was before the first");
    }
}

#[test]
fn a_time_out_while_new_segments_are_on_their_way_ends_the_question() {
    //= RFC5682 2.1 not twice, 3.1 not in recovery
    for mut t in both() {
        ten(&mut t);
        t.write(10_000);
        until_timeouts(&mut t, 1);
        t.inject("A 1 ack 1001");
        assert_eq!(t.take_all().len(), 2);
        until_timeouts(&mut t, 2);
        t.inject("A 1 ack 2001");
        let next = t.take_all();
        assert!(
            next.iter().all(|line| line.starts_with("A   2001:") || line.starts_with("A   3001:")),
            "{next:?}"
        );
        t.inject("A 1 ack 3001");
        assert_eq!(t.stack.counters().tcp_undone_by_frto, 0);
    }
}

#[test]
fn an_acknowledgement_without_news_leaves_the_question_open() {
    //= RFC5682 3.1 spurious
    let mut t = opened("S 0 win 65535 <mss 1000,sackok>", "A 1 ack 1");
    ten(&mut t);
    t.write(10_000);
    until_timeouts(&mut t, 1);
    t.inject("A 1 ack 1001");
    assert_eq!(t.take_all().len(), 2);
    // Another window makes it no duplicate.
    t.inject("A 1 ack 1001 win 60000");
    assert_eq!(t.stack.counters().tcp_undone_by_frto, 0);
    t.inject("A 1 ack 2001 win 60000");
    assert_eq!(t.stack.counters().tcp_undone_by_frto, 1);
}

#[test]
fn a_time_out_in_fast_recovery_is_not_asked_about() {
    //= RFC5682 2.1 not in recovery, 3.1 not in recovery, 6 fast recovery
    for (mut t, duplicates) in
        both().into_iter().zip([&["A 1 ack 1"; 3][..], &["A 1 ack 1 <sack 1001:4001>"]])
    {
        ten(&mut t);
        t.write(20_000);
        t.run(100);
        for duplicate in duplicates {
            t.inject(duplicate);
        }
        assert_eq!(t.stack.counters().tcp_fast_retransmits, 1);
        until_timeouts(&mut t, 1);
        let reduced = control(&t).1;
        t.inject("A 1 ack 4001");
        t.inject("A 1 ack 5001");
        assert_eq!(t.stack.counters().tcp_undone_by_frto, 0);
        assert_eq!(control(&t).1, reduced);
    }
}

#[test]
fn an_acknowledgement_of_all_after_a_time_out_tells_nothing() {
    //= RFC5682 2.1 duplicate, 3.1 two segments
    for mut t in both() {
        ten(&mut t);
        until_timeouts(&mut t, 1);
        t.run(100);
        t.peer("A 1 ack 10001");
        t.wait(1_000);
        assert_eq!(t.stack.counters().tcp_undone_by_frto, 0);
        assert_eq!(control(&t), (2_000, 5_000));
    }
}

#[test]
fn an_acknowledgement_of_a_part_of_what_went_again_tells_nothing() {
    //= RFC5682 2.1 duplicate
    for mut t in both() {
        ten(&mut t);
        t.write(10_000);
        until_timeouts(&mut t, 1);
        t.inject("A 1 ack 501");
        let again = t.take_all();
        assert!(again[0].starts_with("A   1001:2001 "), "nothing new: {again:?}");
        t.inject("A 1 ack 2001");
        assert_eq!(t.stack.counters().tcp_undone_by_frto, 0);
    }
}

#[test]
fn a_duplicate_first_after_a_time_out_tells_nothing_without_sack() {
    //= RFC5682 2.1 duplicate
    let [mut t, _] = both();
    ten(&mut t);
    t.write(10_000);
    until_timeouts(&mut t, 1);
    t.peer("A 1 ack 1");
    t.peer("A 1 ack 1001");
    let again = t.take_all();
    assert!(again[0].starts_with("A   1001:2001 "), "{again:?}");
}

#[test]
fn where_there_is_nothing_new_to_send_recovery_goes_on() {
    //= RFC5682 2.1 none
    for mut t in both() {
        ten(&mut t);
        until_timeouts(&mut t, 1);
        t.run(100);
        t.peer("A 1 ack 1001");
        t.expect("A 1001:2001 ack 1");
        t.expect("A 2001:3001 ack 1");
        t.expect_none();
    }
}

#[test]
fn a_small_segment_that_is_new_does_not_wait_for_nagle() {
    //= RFC5682 2.1 Nagle
    for mut t in both() {
        t.options(|options| options.nodelay = false);
        t.write(5_100);
        assert_eq!(t.take_all().len(), 5);
        until_timeouts(&mut t, 1);
        let probed = t.stack.counters().tcp_loss_probes;
        t.inject("A 1 ack 2001");
        let next = t.take_all();
        // With SACK it has been the probe.
        assert_eq!(next[0].starts_with("PA  5001:5101 "), probed == 0, "{next:?}");
    }
}

#[test]
fn after_a_needless_time_out_duplicates_count_at_once() {
    //= RFC5682 2.1 spurious, 4 new data
    //= RFC4015 4 NewReno, 3.1 new data
    let [mut t, _] = both();
    ten(&mut t);
    t.write(20_000);
    until_timeouts(&mut t, 1);
    t.inject("A 1 ack 2001");
    t.inject("A 1 ack 3001");
    assert_eq!(t.stack.counters().tcp_undone_by_frto, 1);
    let new = t.take_all();
    assert!(new.iter().all(|line| line.starts_with("A   1")), "{new:?}");
    // The fourth is lost. All of this was sent before the time-out.
    for _ in 0..3 {
        t.inject("A 1 ack 3001");
    }
    assert_eq!(t.stack.counters().tcp_fast_retransmits, 1);
    let again = t.take_all();
    assert!(again.iter().any(|line| line.starts_with("A   3001:4001 ")), "{again:?}");
}

#[test]
fn a_timestamp_tells_of_needless_time_outs_however_many_there_were() {
    //= RFC3522 3.2 at the beginning, 3.2 not again, 3.2 timestamp, 3.2 older echo
    //= RFC4015 3.1 at the beginning, 3.1 not again, 3.1 new data, 2 with detection
    let mut t = open_stamped();
    ten(&mut t);
    t.write(10_000);
    let before = control(&t);
    until_timeouts(&mut t, 2);
    assert_ne!(control(&t).1, before.1);
    // Sent after the first retransmission, before the second: no original.
    t.inject("A 1 ack 2001 <ts 200 100>");
    assert_eq!(t.stack.counters().tcp_undone_by_timestamp, 1);
    assert_eq!(control(&t).1, before.1, "what it was before the first");
    let next = t.take_all();
    assert!(next.iter().all(|line| line.starts_with("A   1")), "nothing of what is on its way: {next:?}");

    let mut t = open_stamped();
    ten(&mut t);
    t.write(10_000);
    until_timeouts(&mut t, 1);
    let first = t.now();
    until_timeouts(&mut t, 2);
    let between = 100 + 202 + 300 + t.now().since(first).as_millis() / 2;
    t.inject(&format!("A 1 ack 1001 <ts 200 {between}>"));
    assert_eq!(t.stack.counters().tcp_undone_by_timestamp, 0, "the first retransmission's time counts");
}

#[test]
fn the_situations_of_rfc_2883() {
    //= RFC2883 5 undo
    // Section 5.1: the network has doubled something. It was never sent again, and nothing is undone.
    let mut t = open();
    ten(&mut t);
    t.run(100);
    t.peer("A 1 ack 10001");
    let before = control(&t);
    t.peer("A 1 ack 10001 <sack 1:1001>");
    assert_eq!((control(&t), t.stack.counters().tcp_undone_by_dsack), (before, 0));

    // Section 5.2, reordering: see `rack`. Section 5.3: all acknowledgements were lost, and a time-out had the first sent again.
    let mut t = open();
    t.write(5_000);
    assert_eq!(t.take_all().len(), 5);
    let before = control(&t);
    until_timeouts(&mut t, 1);
    assert_ne!(control(&t), before);
    t.peer("A 1 ack 5001 <sack 1:1001>");
    assert_eq!((control(&t), t.stack.counters().tcp_undone_by_dsack), (before, 1));

    // Section 5.4, a time-out too early: the acknowledgement of all comes first, what tells of the copy later.
    let mut t = open();
    t.write(5_000);
    assert_eq!(t.take_all().len(), 5);
    let before = control(&t);
    until_timeouts(&mut t, 1);
    t.peer("A 1 ack 5001");
    assert_ne!(control(&t), before);
    t.run(100);
    t.peer("A 1 ack 5001 <sack 4001:5001>");
    t.peer("A 1 ack 5001 <sack 1:1001>");
    assert_eq!((control(&t), t.stack.counters().tcp_undone_by_dsack), (before, 1));
}

#[test]
fn an_echo_measures_only_if_it_comes_with_progress() {
    //= RFC7323 4.1 RTTM
    let srtt = |t: &Script| t.stack.tcp_info(t.id()).unwrap().srtt.unwrap();
    let mut t = open_stamped();
    t.write(1_000);
    t.take_all();
    until_timeouts(&mut t, 1);
    t.run(50);
    t.inject("A 1 ack 1 <ts 300 100>");
    assert_eq!(srtt(&t), Duration::from_millis(100));
    t.inject("A 1 ack 1001 <ts 310 100>");
    // 650 ms: the probe's 300, the time-out's, and 50.
    assert_eq!(srtt(&t), Duration::from_micros(100_000 * 7 / 8 + 650_000 / 8));
}

#[test]
fn a_round_trip_is_measured_once_however_many_acknowledgements_it_brings() {
    //= RFC7323 4.2 history
    for (mut t, stamps) in [(open(), ""), (open_stamped(), " <ts 280 100>")] {
        ten(&mut t);
        t.run(180);
        for segment in 1..=10 {
            t.inject(&format!("A 1 ack {segment}001{stamps}"));
        }
        assert_eq!(t.stack.tcp_info(t.id()).unwrap().srtt, Some(Duration::from_millis(110)));
    }
}
