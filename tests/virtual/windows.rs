//! Windows: zero-window probes, silly-window avoidance on both sides, Nagle's algorithm, shrinking (RFC 9293
//! sections 3.7.4 and 3.8.6). The snapshots hold every segment and its time.

use std::time::Duration;

use tunstack::proto::stack::Shutdown;
use tunstack::proto::tcp::closing::State;
use tunstack::proto::{Error, Readiness};

use crate::harness::script::Script;

fn config(recv_buffer: usize) -> Script {
    Script::config(|config| config.recv_buffer = recv_buffer)
}

//= RFC9293 MUST-36, MUST-37, SHLD-29, SHLD-30
#[test]
fn persist() {
    let mut t = Script::new();
    t.open();
    t.remark("the peer takes 100 bytes and shuts its window");
    t.write(100);
    t.inject("A 1 ack 101 win 0");
    t.remark("the application writes; nothing may go, but probes after one RTO, ever later");
    t.write(3_000);
    t.run(7_000);
    t.remark("a probe is answered: the byte is not taken, the back-off goes on");
    t.inject("A 1 ack 101 win 0");
    t.run(20_000);
    t.remark("the window opens: what was probed with goes out in full segments");
    t.inject("A 1 ack 101 win 65535");
    t.run(100);
    t.inject("A 1 ack 3021 win 65535");
    t.run(100);
    t.inject("A 1 ack 3101 win 65535");
    t.run(10_000);
    t.snapshot("persist");
}

//= RFC9293 MUST-38: the sender waits for a worthwhile window, but not for ever.
#[test]
fn silly_window_avoidance_of_the_sender() {
    let mut t = Script::new();
    t.open_passive("S 0 win 5000 <mss 1000>");
    t.remark("a full segment fits: it goes; the peer's window is 5000, and 5000 are in flight");
    t.write(10_000);
    t.remark("300 bytes of room: too silly to use");
    t.inject("A 1 ack 4701 win 600");
    t.remark("1000 bytes of room: worth a segment");
    t.inject("A 1 ack 5001 win 1000");
    t.remark("less than a segment and less than half of the largest window, nothing in flight: after 200 ms it goes anyway");
    t.inject("A 1 ack 6001 win 700");
    t.run(300);
    t.inject("A 1 ack 6701 win 1700");
    t.remark("room for one segment and 700 bytes: the rest waits for the acknowledgement of the first");
    t.run(50);
    t.inject("A 1 ack 7701 win 5000");
    t.run(50);
    t.inject("A 1 ack 9701 win 5000");
    t.run(50);
    t.inject("A 1 ack 10001 win 5000");
    t.run(1_000);
    t.snapshot("silly_window_avoidance_of_the_sender");
}

#[test]
fn half_of_the_largest_window_is_worth_a_segment() {
    // RFC 9293 section 3.8.6.2.1 (3): with windows that never hold a full segment.
    let mut t = Script::new();
    t.open_passive("S 0 win 1000 <mss 1460>");
    t.write(5_000);
    t.expect("A 1:1001 ack 1");
    t.peer("A 1 ack 1001 win 500");
    t.expect("A 1001:1501 ack 1");
    t.peer("A 1 ack 1501 win 499");
    t.expect_in(200, "A 1501:2000 ack 1");
}

//= RFC9293 MUST-39: the window opens by a full segment or half the buffer, or not at all.
#[test]
fn silly_window_avoidance_of_the_receiver() {
    let mut t = config(4_000);
    t.open_passive("S 0 win 65535 <mss 1000>");
    t.remark("the window fills");
    for seq in [1, 1_001, 2_001, 3_001] {
        t.inject(&format!("A {seq}:{} ack 1", seq + 1_000));
    }
    t.run(100);
    t.remark("the application reads in small bites: the window stays shut until a segment fits");
    for bite in 0..6 {
        t.read(300);
        t.run(100);
        t.remark(&format!("{} bytes read, a probe of one octet", 300 * (bite + 1)));
        t.inject("A 4001:4002 ack 1");
        t.run(50);
        if t.stack.tcp_info(t.id()).unwrap().bytes_received > 4_000 {
            break;
        }
    }
    t.remark("all is read");
    let unread = t.stack.tcp_info(t.id()).unwrap().unread as usize;
    t.read(unread);
    t.run(100);
    t.snapshot("silly_window_avoidance_of_the_receiver");
}

//= RFC9293 SHLD-7, SHLD-27, MAY-16: small segments wait while anything is unacknowledged, and go as one.
#[test]
fn nagle() {
    let mut t = Script::new();
    t.open();
    t.remark("the first small write goes at once, the next ones wait for its acknowledgement, together");
    for _ in 0..5 {
        t.write(10);
        t.run(20);
    }
    t.inject("A 1 ack 11");
    t.remark("a full segment never waits; its rest does");
    t.write(1_500);
    t.run(100);
    t.inject("A 1 ack 51");
    t.inject("A 1 ack 1511");
    t.run(10);
    t.inject("A 1 ack 1551");
    t.remark("nothing is in flight: at once");
    t.write(1);
    t.run(10);
    t.snapshot("nagle");
}

//= RFC9293 MUST-17
#[test]
fn nodelay() {
    let mut t = Script::new();
    t.open();
    t.options(|options| options.nodelay = true);
    t.remark("every write goes at once");
    for _ in 0..5 {
        t.write(10);
        t.run(20);
    }
    t.inject("A 1 ack 51");
    t.write(1_500);
    t.run(10);
    t.inject("A 1 ack 1551");
    t.remark("switched off again while something waits");
    t.options(|options| options.nodelay = false);
    t.write(10);
    t.write(10);
    t.run(10);
    t.remark("and on: what waits goes");
    t.options(|options| options.nodelay = true);
    t.run(10);
    t.snapshot("nodelay");
}

#[test]
fn a_window_that_is_shut_for_hours_keeps_the_connection_while_probes_are_answered() {
    //= RFC9293 MUST-37
    let mut t = Script::new();
    t.open();
    t.write(10);
    t.expect("PA 1:11 ack 1");
    t.peer("A 1 ack 11 win 0");
    t.write(10);
    let mut probes = 0;
    let mut last_gap = Duration::ZERO;
    let mut last = t.now();
    while t.now() < tunstack::time::Instant::from_millis(1_000_000 + 6 * 3_600_000) {
        t.run(100);
        let sent = t.take_all();
        assert!(sent.len() <= 1);
        if sent.len() == 1 {
            probes += 1;
            assert!(t.now() - last + Duration::from_millis(100) >= last_gap, "the gaps grow");
            (last_gap, last) = (t.now() - last, t.now());
            t.peer("A 1 ack 11 win 0");
        }
    }
    t.expect_state(State::Established);
    assert!((180..220).contains(&probes), "{probes} probes in six hours: every two minutes in the end");
    assert_eq!(t.stack.counters().tcp_window_probes, probes);
    // The probe's byte does not travel alone.
    t.peer("A 1 ack 11 win 100");
    t.expect("PA 11:21 ack 1");
}

#[test]
fn unanswered_probes_end_the_connection_after_r2() {
    let mut t = Script::new();
    t.open();
    t.options(|options| options.r2 = Duration::from_secs(60));
    t.write(10);
    t.expect("PA 1:11 ack 1");
    t.peer("A 1 ack 11 win 0");
    t.write(10);
    t.run(59_000);
    t.expect_state(State::Established);
    t.run(3_000);
    t.expect_read_error(Error::TimedOut);
    assert!(t.take_all().len() >= 8);
    assert_eq!(t.stack.tcp_census().pages, 0);
}

#[test]
fn a_probe_whose_byte_is_taken_moves_on() {
    let mut t = Script::new();
    t.open();
    t.write(10);
    t.expect("PA 1:11 ack 1");
    t.peer("A 1 ack 11 win 0");
    t.write(3);
    t.expect_in(200, "A 11:12 ack 1");
    t.peer("A 1 ack 12 win 0");
    // The next probe begins anew with the next byte.
    t.run(3_000);
    let first = t.take_all().remove(0);
    assert!(first.starts_with("A   12:13 "), "{first}");
    t.peer("A 1 ack 13 win 500");
    t.expect("PA 13:14 ack 1");
}

#[test]
fn a_fin_alone_probes_a_shut_window() {
    let mut t = Script::new();
    t.open();
    t.write(10);
    t.expect("PA 1:11 ack 1");
    t.peer("A 1 ack 11 win 0");
    t.close();
    let mut sent = t.take_all();
    if sent.is_empty() {
        t.run(1_000);
        sent = t.take_all();
    }
    assert!(sent[0].starts_with("FA  11 "), "{sent:?}");
    t.peer("A 1 ack 12 win 0");
    t.wait(10_000);
}

#[test]
fn a_shut_receive_window_still_hears_resets_acks_and_urgency() {
    //= RFC9293 MUST-66
    let mut t = config(2_000);
    t.open();
    t.inject("A 1:1461 ack 1");
    t.inject("A 1461:2001 ack 1");
    t.run(100);
    t.take_all();
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().rcv_wnd, 0);
    t.write(10);
    t.expect("PA 1:11 ack 2001 win 0");
    t.peer("A 2001 ack 11");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().unacknowledged, 0);
    t.readiness();
    t.peer("UA 2001 ack 11 urg 500");
    assert!(t.readiness().contains(Readiness::URGENT));
    // A segment with text: its ACK counts, its text doesn't.
    t.write(10);
    t.expect("PA 11:21 ack 2001 win 0");
    t.peer("PA 2001:2100 ack 21");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().unacknowledged, 0);
    t.expect("A 21 ack 2001 win 0");
    t.peer("R 2001");
    t.expect_state(State::Closed);
    t.read(2_000);
    t.expect_read_error(Error::ConnectionReset);
}

#[test]
fn a_window_probe_is_answered_with_the_window_as_it_is() {
    //= RFC9293 MAY-8
    let mut t = config(2_000);
    t.open();
    t.inject("A 1:1461 ack 1");
    t.inject("A 1461:2001 ack 1");
    t.run(100);
    t.take_all();
    for _ in 0..3 {
        t.peer("A 2001:2002 ack 1");
        t.expect("A 1 ack 2001 win 0");
        t.run(1_000);
    }
    t.read(2_000);
    t.expect("A 1 ack 2001 win 2000");
    t.peer("A 2001:2002 ack 1");
    t.read(1);
    t.expect_in(40, "A 1 ack 2002");
}

#[test]
fn a_shrinking_window_breaks_nothing() {
    //= RFC9293 MUST-34, SHLD-15, SHLD-16, SHLD-17
    //= RFC7323 2.4 within, 2.4 later retransmissions, 2.4 shrinking
    let mut t = Script::new();
    t.open_passive("S 0 win 10000 <mss 1000>");
    t.write(20_000);
    assert_eq!(t.take_all().len(), 10);
    // The right edge goes back from 10001 to 5001: usable window is negative, and nothing new is sent.
    t.peer("A 1 ack 2001 win 3000");
    t.expect_none();
    // What still fits is sent again as usual, segment by segment, and nothing past the edge.
    t.expect_in(200, "A 2001:3001 ack 1");
    t.peer("A 1 ack 3001 win 2000");
    t.run(2_000);
    let again = t.take_all();
    assert!(!again.is_empty());
    for line in again {
        let end: u32 = line.split_whitespace().nth(1).unwrap().split(':').nth(1).unwrap().parse().unwrap();
        assert!(end <= 5_001, "past the edge: {line}");
    }
    t.expect_state(State::Established);
    // The peer had kept all of it: the edge is where it says.
    t.peer("A 1 ack 10001 win 10000");
    let fresh = t.take_all();
    assert!(fresh[0].starts_with("A   10001:11001 "), "{fresh:?}");
}

#[test]
fn a_window_that_shrinks_to_zero_is_probed() {
    //= RFC9293 MUST-35
    let mut t = Script::new();
    t.open_passive("S 0 win 10000 <mss 1000>");
    t.write(5_000);
    assert_eq!(t.take_all().len(), 5);
    t.peer("A 1 ack 1001 win 0");
    t.run(2_000);
    let probes = t.take_all();
    assert!(probes.len() >= 2, "{probes:?}");
    for probe in &probes {
        assert!(probe.starts_with("A   1001:1002 "), "{probe}");
    }
    t.peer("A 1 ack 1001 win 10000");
    let sent = t.take_all();
    assert!(sent[0].starts_with("A   1001:2001 "), "{sent:?}");
}

#[test]
fn what_lies_past_the_edge_of_a_shrunk_window_may_stay_unacknowledged_for_longer_than_r2() {
    //= RFC9293 SHLD-17
    let mut t = Script::new();
    t.open_passive("S 0 win 10000 <mss 1000>");
    t.options(|options| options.r2 = Duration::from_secs(60));
    t.write(5_000);
    assert_eq!(t.take_all().len(), 5);
    t.peer("A 1 ack 1001 win 0");
    for _ in 0..600 {
        t.run(1_000);
        if !t.take_all().is_empty() {
            t.peer("A 1 ack 1001 win 0");
        }
    }
    t.expect_state(State::Established);
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().unacknowledged, 4_000);
    t.peer("A 1 ack 5001 win 10000");
    t.write(10);
    t.expect("PA 5001:5011 ack 1");
}

#[test]
fn a_window_of_more_than_half_of_what_the_field_can_say_is_not_negative() {
    //= RFC9293 MUST-1
    for window in [32_767, 32_768, 40_000, 65_535] {
        let mut t = Script::new();
        t.open_passive(&format!("S 0 win {window} <mss 8000>"));
        assert_eq!(t.stack.tcp_info(t.id()).unwrap().snd_wnd, window);
        t.write(1_000);
        t.expect("PA 1:1001 ack 1");
        t.peer(&format!("A 1 ack 1001 win {window}"));
        assert_eq!(t.stack.tcp_info(t.id()).unwrap().snd_wnd, window);
    }
}

#[test]
fn the_window_we_offer_never_shrinks() {
    //= RFC9293 SHLD-14
    //= RFC7323 2.4 retraction
    let mut t = config(30_000);
    t.open();
    let mut edge = 30_001;
    let mut seq = 1;
    for round in 0..60 {
        let len = 1 + (round * 379) % 1_460;
        if seq + len > edge {
            break;
        }
        t.inject(&format!("A {seq}:{} ack 1", seq + len));
        seq += len;
        if round % 3 == 0 {
            let _ = t.read_some(700);
        }
        t.run(50);
        while t.stack.tcp_info(t.id()).is_ok() {
            let Some(line) = t.take_all().pop() else { break };
            let words: Vec<&str> = line.split_whitespace().collect();
            let (ack, win): (u32, u32) = (words[3].parse().unwrap(), words[5].parse().unwrap());
            assert!(ack + win >= edge, "{line}, but {edge} was offered");
            edge = ack + win;
        }
    }
    assert!(edge > 30_001, "and it does move");
}

#[test]
fn an_ack_of_new_data_brings_its_window_though_its_text_is_old() {
    // RFC 9293 would look at SEG.SEQ first; the edge would then move on with SND.UNA, past what was offered.
    let mut t = Script::new();
    t.open_passive("S 0 win 1000 <mss 1460>");
    t.peer("PA 1:101 ack 1 win 1000");
    t.peer("PA 101:201 ack 1 win 1000");
    t.write(5_000);
    t.expect("A 1:1001 ack 201");
    t.peer("PA 51:251 ack 501 win 500");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().snd_wnd, 500);
    t.expect_in(40, "A 1001 ack 251");
    // An ACK that says nothing new must not bring back an older window.
    t.peer("A 151 ack 501 win 9000");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().snd_wnd, 500);
    t.take_all();
    t.read(250);
}

#[test]
fn rounding_does_not_let_the_offer_creep_past_the_buffer() {
    // Scaled by 2^11: rounding up at every ACK would add up to 2,047 bytes each time, read or not.
    let capacity = 1 << 26;
    let mut t = config(capacity);
    t.open_passive("S 0 win 65535 <mss 1460,ws 7>");
    for number in 0..300 {
        t.inject(&format!("PA {}:{} ack 1", 1 + number * 1_000, 1_001 + number * 1_000));
        t.inject("A -1000:1 ack 1");
        let info = t.stack.tcp_info(t.id()).unwrap();
        let offered = info.unread + u64::from(info.rcv_wnd);
        assert!(offered <= capacity as u64 + 2_048, "{offered} bytes offered after {number} segments");
    }
    t.take_all();
}

#[test]
fn a_reader_that_catches_up_tells_so_at_once() {
    let mut t = config(20_000);
    t.open();
    for segment in 0..13 {
        t.inject(&format!("A {}:{} ack 1", 1 + segment * 1_460, 1 + (segment + 1) * 1_460));
    }
    t.run(100);
    t.take_all();
    t.read(13 * 1_460);
    let update = t.take();
    assert_eq!(update.window, 20_000);
    t.expect_none();
}

#[test]
fn urgent_data_goes_through_a_shut_window_as_news_only() {
    // The pointer may be told of, the octets may not be sent.
    let mut t = Script::new();
    t.open();
    t.write(10);
    t.expect("PA 1:11 ack 1");
    t.peer("A 1 ack 11 win 0");
    t.write_urgent(5);
    t.run(1_000);
    for line in t.take_all() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words[1] == "11:12" || words[1] == "11", "{line}");
    }
    t.peer("A 1 ack 11 win 100");
    t.expect("UPA 11:16 ack 1 urg 5");
}

#[test]
fn a_window_told_earlier_does_not_replace_one_told_later() {
    // RFC 9293 section 3.10.7.4: SND.WL1 < SEG.SEQ, or SND.WL1 = SEG.SEQ and SND.WL2 =< SEG.ACK.
    let mut t = Script::new();
    t.open();
    let wnd = |t: &Script| t.stack.tcp_info(t.id()).unwrap().snd_wnd;
    // It has overtaken the text before it, which was sent with a smaller window.
    t.peer("A 101 ack 1 win 6000");
    assert_eq!(wnd(&t), 6_000);
    t.peer("A 1:101 ack 1 win 100");
    assert_eq!(wnd(&t), 6_000);
    t.expect_in(40, "A 1 ack 101");
    t.peer("A 101 ack 1 win 7000");
    assert_eq!(wnd(&t), 7_000);
}

#[test]
fn a_window_that_stays_shut_does_not_make_lost_what_is_on_its_way() {
    let mut t = Script::new();
    t.open_passive("S 0 win 65535 <mss 1000>");
    t.write(10_000);
    assert_eq!(t.take_all().len(), 10);
    t.peer("A 1 ack 1 win 0");
    t.peer("A 1 ack 1 win 0");
    t.peer("A 1 ack 10001 win 65535");
    t.expect_none();
    // All of the congestion window was in use, so it grows.
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().cwnd, 20_000);
}

#[test]
fn a_fin_is_not_sent_past_the_window() {
    let mut t = Script::new();
    t.open_passive("S 0 win 100 <mss 1460>");
    t.write(50);
    t.expect("PA 1:51 ack 1");
    t.write(50);
    t.shutdown(Shutdown::Write);
    // The text fills the window to its last position; the FIN takes one, too.
    t.expect("PA 51:101 ack 1");
    t.peer("A 1 ack 51 win 50");
    t.expect_none();
    t.peer("A 1 ack 101 win 100");
    t.expect("FA 101 ack 1");
}

#[test]
fn a_retransmission_takes_the_fin_along_if_the_window_has_room_for_it() {
    //= RFC9293 SHLD-16
    for (window, expected) in [(101, "FPA 1:101 ack 1"), (100, "PA 1:101 ack 1")] {
        let mut t = Script::new();
        t.open();
        t.write(100);
        t.expect("PA 1:101 ack 1");
        t.shutdown(Shutdown::Write);
        t.expect("FA 101 ack 1");
        // It shrinks, and both segments are lost.
        t.peer(&format!("A 1 ack 1 win {window}"));
        t.expect_in(200, expected);
    }
}

#[test]
fn a_fin_that_follows_lost_text_goes_with_it() {
    let mut t = Script::new();
    t.open_passive("S 0 win 100 <mss 1460>");
    t.write(100);
    t.expect("PA 1:101 ack 1");
    t.shutdown(Shutdown::Write);
    t.expect_none();
    t.peer("A 1 ack 1 win 1000");
    t.expect("FA 101 ack 1");
}

#[test]
fn what_counts_as_a_retransmission_is_what_was_sent_before() {
    let retransmits = |t: &Script| t.stack.tcp_info(t.id()).unwrap().retransmits;
    let mut t = Script::new();
    t.open_passive("S 0 win 0 <mss 1460>");
    t.write(10);
    t.expect_in(200, "A 1:2 ack 1");
    assert_eq!(retransmits(&t), 0, "the probe's octet goes for the first time");
    t.run(10_000);
    let probes = t.take_all().len() as u64;
    assert!(probes >= 2);
    assert_eq!(retransmits(&t), probes);
}
