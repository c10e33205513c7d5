//! Loss recovery and congestion control (RFC 5681, 6582, 6928), and the receiver's side of it: delayed and
//! duplicate acknowledgements.

use tunstack::proto::Error;
use tunstack::proto::tcp::closing::State;

use crate::harness::script::Script;

#[test]
fn the_initial_window_is_ten_segments() {
    //= RFC5681 3.1 initial window
    let mut t = Script::new();
    t.open();
    t.write(100_000);
    assert_eq!(t.take_all().len(), 10);
    // Large segments: 14,600 bytes, but never fewer than two (RFC 6928).
    for (mtu, mss, segments) in [(9_000, 8_960, 2), (3_000, 2_960, 4), (576, 536, 10)] {
        let mut t = Script::with(crate::harness::script::Setup { mtu, ..Default::default() });
        t.open_passive(&format!("S 0 win 65535 <mss {mss}>"));
        t.write(100_000);
        assert_eq!(t.take_all().len(), segments, "mss {mss}");
    }
}

#[test]
fn slow_start_doubles_the_window_each_round() {
    //= RFC5681 3.1 slow start
    let mut t = Script::with(crate::harness::script::Setup::default());
    t.open_passive("S 0 win 65535 <mss 1000,ws 7>");
    t.write(500_000);
    let mut acked = 1;
    for expected in [10, 20, 40, 80] {
        let sent = t.take_all().len();
        assert_eq!(sent, expected);
        t.run(50);
        acked += 1_000 * sent;
        t.inject(&format!("A 1 ack {acked} win 65535"));
    }
}

#[test]
fn congestion_avoidance_adds_a_segment_each_round() {
    //= RFC5681 3.1 congestion avoidance
    let mut t = Script::new();
    t.open_passive("S 0 win 65535 <mss 1000,ws 7>");
    t.write(500_000);
    t.take_all();
    // A loss halves the window: ten segments in flight, five remain.
    for _ in 0..3 {
        t.inject("A 1 ack 1");
    }
    t.take_all();
    t.inject("A 1 ack 20001");
    t.inject("A 1 ack 14001");
    let mut acked = t.stack.tcp_info(t.id()).unwrap().bytes_acked + 1;
    let mut windows = Vec::new();
    for _ in 0..6 {
        t.run(50);
        let info = t.stack.tcp_info(t.id()).unwrap();
        windows.push(info.cwnd);
        acked += info.unacknowledged;
        t.take_all();
        t.inject(&format!("A 1 ack {acked}"));
    }
    let tail: Vec<u64> = windows.iter().rev().take(4).rev().copied().collect();
    for pair in tail.windows(2) {
        assert!(pair[1] > pair[0] && pair[1] - pair[0] <= 1_000, "{windows:?}");
    }
}

/// Three duplicate ACKs resend the first segment at once; each further one inflates the window; a partial ACK
/// resends the next hole; a full one ends the recovery (RFC 5681 section 3.2, RFC 6582). The first two have something new sent
/// each (RFC 3042).
#[test]
fn fast_recovery() {
    //= RFC5681 3.2 fast retransmit, 3.2 inflation, 3.2 deflation, 3.2 limited transmit
    //= RFC3042 2 limited transmit
    //= RFC6582 3.2 initial, 3.2 partial ACK, 3.2 partial deflation, 3.2 full ACK
    let mut t = Script::new();
    t.open_passive("S 0 win 65535 <mss 1000>");
    t.remark("ten segments; the first and the fourth are lost");
    t.write(30_000);
    t.run(20);
    for _ in 0..2 {
        t.inject("A 1 ack 1");
    }
    t.remark("the third duplicate");
    t.inject("A 1 ack 1");
    t.remark("segments six to ten cause five more");
    for _ in 0..5 {
        t.inject("A 1 ack 1");
    }
    t.run(20);
    t.remark("a partial ACK: the fourth is missing, too");
    t.inject("A 1 ack 3001");
    t.run(20);
    t.remark("all that was sent before the recovery has come");
    t.inject("A 1 ack 12001");
    t.run(20);
    t.inject("A 1 ack 14001");
    t.snapshot("fast_recovery");
    assert_eq!(t.stack.counters().tcp_fast_retransmits, 1);
    assert_eq!(t.stack.counters().tcp_timeouts, 0);
}

#[test]
fn what_is_no_duplicate_ack_starts_no_recovery() {
    let mut t = Script::new();
    t.open_passive("S 0 win 20000 <mss 1000>");
    t.write(5_000);
    assert_eq!(t.take_all().len(), 5);
    //= RFC5681 2 duplicate: with text, or with another window, it is none.
    for round in 0..4 {
        t.inject(&format!("PA {}:{} ack 1 win 20000", 1 + round * 10, 11 + round * 10));
        t.inject(&format!("A {} ack 1 win {}", 11 + round * 10, 20_001 + round));
        t.inject(&format!("A {} ack 1 win 20000", 11 + round * 10));
    }
    assert_eq!(t.stack.counters().tcp_fast_retransmits, 0);
    t.take_all();
    t.run(50);
    t.take_all();
}

#[test]
fn duplicates_after_a_timeout_start_no_second_recovery() {
    //= RFC6582 3.2 once, 3.2 time-out
    let mut t = Script::new();
    t.open_passive("S 0 win 65535 <mss 1000>");
    t.write(10_000);
    t.take_all();
    t.expect_in(200, "A 1:1001 ack 1");
    for _ in 0..5 {
        t.inject("A 1 ack 1");
    }
    assert_eq!(t.stack.counters().tcp_fast_retransmits, 0);
    t.take_all();
}

#[test]
fn a_second_timeout_leaves_the_threshold_as_it_is() {
    //= RFC5681 3.1 RTO ssthresh, 3.1 loss window, 3.1 lost again
    // What was in flight when the first one struck counts.
    let mut t = Script::new();
    t.open_passive("S 0 win 65535 <mss 1000>");
    t.write(10_000);
    t.take_all();
    for wait in [200, 400, 800] {
        t.expect_in(wait, "A 1:1001 ack 1");
        let info = t.stack.tcp_info(t.id()).unwrap();
        assert_eq!((info.ssthresh, info.cwnd), (5_000, 1_000));
    }
}

#[test]
fn after_a_silence_the_window_is_no_larger_than_at_first() {
    //= RFC5681 4.1 idle
    let mut t = Script::new();
    t.open_passive("S 0 win 65535 <mss 1000,ws 7>");
    t.write(30_000);
    assert_eq!(t.take_all().len(), 10);
    t.inject("A 1 ack 10001 win 65535");
    assert_eq!(t.take_all().len(), 20);
    t.inject("A 1 ack 30001 win 65535");
    assert!(t.stack.tcp_info(t.id()).unwrap().cwnd > 20_000);
    // Not longer than the retransmission time-out, then longer.
    t.run(100);
    t.write(20_000);
    assert_eq!(t.take_all().len(), 20);
    t.inject("A 1 ack 50001 win 65535");
    t.run(1_000);
    t.write(50_000);
    assert_eq!(t.take_all().len(), 10);
}

#[test]
fn echoes_of_the_last_recovery_start_no_new_one() {
    //= RFC6582 3.2 once: the duplicates must be for more than `recover`.
    let mut t = Script::new();
    t.open_passive("S 0 win 65535 <mss 1000>");
    t.write(10_000);
    t.take_all();
    t.expect_in(200, "A 1:1001 ack 1");
    t.peer("A 1 ack 10001");
    t.write(3_000);
    t.take_all();
    for _ in 0..3 {
        t.inject("A 1 ack 10001");
    }
    assert_eq!(t.stack.counters().tcp_fast_retransmits, 0);
    // Later ones count.
    t.run(20);
    t.inject("A 1 ack 11001");
    t.write(5_000);
    t.take_all();
    for _ in 0..3 {
        t.inject("A 1 ack 11001");
    }
    assert_eq!(t.stack.counters().tcp_fast_retransmits, 1);
    t.take_all();
}

#[test]
fn a_fast_retransmit_measures_nothing() {
    //= RFC9293 MUST-18 (Karn)
    //= RFC6298 3 Karn
    let mut t = Script::new();
    t.connect();
    t.expect("S 0");
    t.wait(100);
    t.peer("SA 0 ack 1 <mss 1000>");
    t.expect("A 1 ack 1");
    t.write(5_000);
    assert_eq!(t.take_all().len(), 5);
    t.wait(50);
    for _ in 0..3 {
        t.inject("A 1 ack 1");
    }
    t.expect("A 1:1001 ack 1");
    t.run(10);
    t.inject("A 1 ack 5001");
    let info = t.stack.tcp_info(t.id()).unwrap();
    assert_eq!(info.srtt, Some(std::time::Duration::from_millis(100)), "neither 60 nor 10 ms");
}

#[test]
fn text_out_of_order_is_kept_and_each_such_segment_draws_a_duplicate_ack() {
    //= RFC9293 SHLD-31, MAY-13
    //= RFC5681 3.2 duplicate ACK, 3.2 gap
    let mut t = Script::new();
    t.open();
    for seq in [1_001, 3_001, 2_001] {
        t.peer(&format!("A {seq}:{} ack 1", seq + 1_000));
        t.expect("A 1 ack 1 win 65535");
    }
    t.expect_no_data();
    // The gap closes: all of it is acknowledged, at once.
    t.peer("A 1:1001 ack 1");
    t.expect("A 1 ack 4001");
    t.read(4_000);
    assert_eq!(t.stack.counters().tcp_out_of_order, 3);
}

#[test]
fn a_gap_that_closes_in_part_moves_on_in_part() {
    //= RFC5681 3.2 gap
    //= RFC6582 5 immediate
    let mut t = Script::new();
    t.open();
    t.peer("A 1001:2001 ack 1");
    t.expect("A 1 ack 1");
    t.peer("A 3001:4001 ack 1");
    t.expect("A 1 ack 1");
    t.peer("A 1:1501 ack 1");
    t.expect("A 1 ack 2001");
    t.read(2_000);
    t.peer("A 1501:3501 ack 1");
    t.expect("A 1 ack 4001");
    t.read(2_000);
}

#[test]
fn overlapping_segments_give_each_byte_once() {
    let mut t = Script::new();
    t.open();
    for (from, to) in [(50, 150), (100, 200), (40, 60), (300, 310), (190, 305), (1, 45)] {
        t.inject(&format!("A {from}:{to} ack 1"));
    }
    t.read(309);
    t.expect_no_data();
    t.run(50);
    t.take_all();
}

#[test]
fn a_duplicate_is_acknowledged_at_once() {
    let mut t = Script::new();
    t.open();
    t.peer("PA 1:101 ack 1");
    t.expect_in(40, "A 1 ack 101");
    t.peer("PA 1:101 ack 1");
    t.expect("A 1 ack 101");
    t.read(100);
    t.expect_no_data();
}

#[test]
fn a_lone_small_segment_is_acknowledged_after_40_ms() {
    //= RFC9293 SHLD-18, MUST-40
    let mut t = Script::new();
    t.open();
    t.peer("PA 1:11 ack 1");
    t.wait(20);
    t.peer("PA 11:21 ack 1");
    t.expect_in(20, "A 1 ack 21");
    t.wait(1_000);
}

#[test]
fn every_second_full_segment_is_acknowledged_at_once() {
    //= RFC9293 SHLD-19
    let mut t = Script::config(|config| config.quick_acks = 0);
    t.open();
    for pair in 0..4 {
        let seq = 1 + pair * 2_920;
        t.peer(&format!("A {seq}:{} ack 1", seq + 1_460));
        t.expect_none();
        t.peer(&format!("A {}:{} ack 1", seq + 1_460, seq + 2_920));
        t.expect(&format!("A 1 ack {}", seq + 2_920));
    }
}

#[test]
fn segments_of_one_batch_draw_one_ack() {
    //= RFC9293 MUST-58, MUST-59
    let mut t = Script::new();
    t.open();
    let segments: Vec<_> = (0..20)
        .map(|number| t.build(&format!("A {}:{} ack 1", 1 + number * 1_000, 1_001 + number * 1_000)).encode())
        .collect();
    for bytes in &segments {
        t.stack.receive(t.device, &tunstack::proto::Packet::plain(bytes, t.now()));
    }
    t.flush();
    t.expect("A 1 ack 20001");
    t.expect_none();
}

//= RFC9293 MUST-58
#[test]
fn an_answer_carries_the_acknowledgement() {
    let mut t = Script::new();
    t.open();
    t.peer("PA 1:11 ack 1");
    t.wait(10);
    t.write(5);
    t.expect("PA 1:6 ack 11");
    t.wait(100);
}

#[test]
fn psh_stands_on_the_last_segment_only() {
    //= RFC9293 MUST-60, MUST-61, SHLD-28
    let mut t = Script::new();
    t.open();
    t.write(4_000);
    t.expect("A 1:1461 ack 1");
    t.expect("A 1461:2921 ack 1");
    t.peer("A 1 ack 2921");
    t.expect("PA 2921:4001 ack 1");
}

#[test]
fn the_send_buffer_bounds_what_is_taken() {
    let mut t = Script::config(|config| config.send_buffer = 5_000);
    t.open_passive("S 0 win 1000 <mss 500>");
    assert_eq!(t.write_some(10_000), Ok(5_000));
    assert_eq!(t.write_some(1), Err(Error::WouldBlock));
    t.take_all();
    t.readiness();
    t.peer("A 1 ack 501 win 1000");
    t.take_all();
    assert!(t.readiness().is_empty(), "500 bytes of room are no reason to wake a writer");
    t.peer("A 1 ack 1501 win 1000");
    t.take_all();
    t.peer("A 1 ack 2501 win 1000");
    t.take_all();
    assert!(t.readiness().contains(tunstack::proto::Readiness::WRITABLE));
    assert_eq!(t.write_some(10_000), Ok(2_500));
}

#[test]
fn an_empty_page_pool_loses_text_but_no_connection() {
    let mut t = Script::config(|config| config.pages = 1);
    t.open();
    for segment in 0..10 {
        t.inject(&format!("A {}:{} ack 1", 1 + segment * 1_000, 1_001 + segment * 1_000));
    }
    t.run(50);
    t.take_all();
    assert!(t.dropped(tunstack::proto::DropReason::NoMemory) > 0);
    t.expect_state(State::Established);
    let received = t.stack.tcp_info(t.id()).unwrap().unread as usize;
    assert!((3_000..=4_096).contains(&received), "{received}");
    t.read(received);
    let next = received + 1;
    t.inject(&format!("A {next}:{} ack 1", next + 1_000));
    t.read(1_000);
    t.run(50);
    t.take_all();
}

#[test]
fn too_many_gaps_are_bounded() {
    let mut t = Script::config(|config| config.reassembly_ranges = 8);
    t.open();
    for gap in 0..100 {
        t.inject(&format!("A {}:{} ack 1", 11 + gap * 20, 21 + gap * 20));
    }
    t.take_all();
    assert_eq!(t.dropped(tunstack::proto::DropReason::NoMemory), 92);
    for gap in 0..100 {
        t.inject(&format!("A {}:{} ack 1", 1 + gap * 20, 21 + gap * 20));
    }
    t.read(2_000);
    t.run(50);
    t.take_all();
}

#[test]
fn a_partial_acknowledgement_sends_the_next_hole_whatever_the_congestion_window_says() {
    //= RFC6582 3.2 partial ACK, 3.2 partial deflation
    // Of ten segments, the first and the fifth are lost.
    let mut t = Script::new();
    t.open_passive("S 0 win 65535 <mss 1000>");
    t.write(10_000);
    assert_eq!(t.take_all().len(), 10);
    t.peer("A 1 ack 1");
    t.peer("A 1 ack 1");
    t.peer("A 1 ack 1");
    t.expect("A 1:1001 ack 1");
    // Five segments are on their way, and the window is deflated to as many.
    t.peer("A 1 ack 4001");
    t.expect("A 4001:5001 ack 1");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().cwnd, 5_000);
}

/// Ten segments are on their way over a round trip of 100 ms, the first is lost, and three duplicates have told so.
fn in_recovery() -> Script {
    let mut t = Script::new();
    t.listen();
    t.inject("S 0 win 65535 <mss 1000>");
    t.take();
    t.run(100);
    t.inject("A 1 ack 1");
    t.accept();
    t.write(10_000);
    assert_eq!(t.take_all().len(), 10);
    t.run(100);
    for _ in 0..3 {
        t.inject("A 1 ack 1");
    }
    t.expect("A 1:1001 ack 1");
    t
}

#[test]
fn a_partial_acknowledgement_restarts_the_timer() {
    //= RFC6582 3.2 timer
    let mut t = in_recovery();
    t.run(100);
    // The timer would expire 100 ms from now.
    t.peer("A 1 ack 4001");
    t.expect("A 4001:5001 ack 1");
    t.expect_in(300, "A 4001:5001 ack 1");
}

#[test]
fn a_recovery_that_ends_with_little_on_its_way_leaves_a_window_without_a_burst() {
    //= RFC6582 3.2 full ACK, 3.2 burst, 6 no update
    let mut t = in_recovery();
    t.run(100);
    t.peer("A 1 ack 10001");
    let info = t.stack.tcp_info(t.id()).unwrap();
    assert_eq!((info.cwnd, info.ssthresh), (2_000, 5_000));
    // What has come in the meantime goes in two segments, not in five.
    t.write(10_000);
    assert_eq!(t.take_all().len(), 2);
}
