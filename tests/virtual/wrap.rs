//! Sequence numbers wrap at 2^32, on either side, in every place where one is compared.

use tunstack::proto::stack::Shutdown;
use tunstack::proto::tcp::closing::State;
use tunstack::time::Instant;

use crate::harness::script::{Script, Setup};

/// A script whose stack numbers its passive connection so that its SYN stands `before` octets before the wrap.
/// RFC 6528 adds one every 4 microseconds, so that the right moment is easily found.
fn with_our_isn(before: u32) -> Script {
    let start = Instant::from_millis(1_000_000);
    let isn = {
        let mut probe = Script::with(Setup { start, ..Setup::default() });
        probe.listen();
        probe.peer("S 0");
        probe.take().seq
    };
    let wait_us = u64::from(before.wrapping_neg().wrapping_sub(isn)) * 4;
    let start = Instant::from_nanos(start.as_nanos() + wait_us * 1_000);
    let mut t = Script::with(Setup { start, ..Setup::default() });
    t.listen();
    t.peer("S 0 <mss 1460>");
    let syn_ack = t.take();
    assert_eq!(syn_ack.seq, before.wrapping_neg(), "the number that was waited for");
    t.peer("A 1 ack 1");
    t.accept();
    t
}

#[test]
fn what_we_send_crosses_the_wrap_at_every_offset() {
    for before in [0, 1, 2, 100, 1_459, 1_460, 1_461, 1_462, 5_000] {
        let mut t = with_our_isn(before);
        t.write(14_600);
        let mut ack = 1;
        while ack < 14_601 {
            for line in t.take_all() {
                let end = line.split_whitespace().nth(1).unwrap().split(':').nth(1).unwrap().to_string();
                ack = end.parse().unwrap();
            }
            t.run(10);
            t.inject(&format!("A 1 ack {ack}"));
        }
        assert_eq!(t.stack.counters().tcp_retransmits, 0);
        t.shutdown(Shutdown::Write);
        t.expect("FA 14601 ack 1");
        t.peer("FA 1 ack 14602");
        t.expect("A 14602 ack 2");
        t.expect_state(State::TimeWait);
    }
}

#[test]
fn a_loss_at_the_wrap_is_recovered() {
    for before in [1, 500, 1_461, 2_000, 2_921, 4_000] {
        let mut t = with_our_isn(before);
        t.write(14_600);
        assert_eq!(t.take_all().len(), 10);
        // The second segment is lost.
        t.inject("A 1 ack 1461");
        for _ in 0..3 {
            t.inject("A 1 ack 1461");
        }
        let again = t.take_all();
        assert!(again[0].starts_with("A   1461:2921 "), "{again:?}");
        t.inject("A 1 ack 14601");
        t.run(5_000);
        assert!(t.take_all().is_empty());
        assert_eq!(t.stack.counters().tcp_timeouts, 0);
    }
}

#[test]
fn a_timeout_at_the_wrap_resends_from_before_it() {
    let mut t = with_our_isn(1_000);
    t.write(3_000);
    t.expect("A 1:1461 ack 1");
    t.expect("A 1461:2921 ack 1");
    t.expect_in(200, "A 1:1461 ack 1");
    t.peer("A 1 ack 1461");
    // It may have been needless: something new tells (RFC 5682). A duplicate says that it was not.
    t.expect("PA 2921:3001 ack 1");
    t.peer("A 1 ack 1461");
    t.expect("A 1461:2921 ack 1");
    t.peer("A 1 ack 3001");
    t.wait(2_000);
}

fn with_peer_isn(before: u32) -> Script {
    Script::with(Setup { peer_iss: before.wrapping_neg(), ..Setup::default() })
}

#[test]
fn what_we_receive_crosses_the_wrap_at_every_offset() {
    for before in [0, 1, 2, 50, 100, 101, 102, 1_000] {
        let mut t = with_peer_isn(before);
        t.open();
        for number in 0..20 {
            t.inject(&format!("A {}:{} ack 1", 1 + number * 100, 101 + number * 100));
        }
        t.read(2_000);
        t.take_all();
        t.inject("FA 2001 ack 1");
        t.expect("A 1 ack 2002");
        t.expect_eof();
    }
}

#[test]
fn reassembly_works_across_the_wrap() {
    for before in [1, 100, 500, 501, 999] {
        let mut t = with_peer_isn(before);
        t.open();
        for seq in [901, 701, 801, 301, 501, 101, 201, 401, 601] {
            t.inject(&format!("A {seq}:{} ack 1", seq + 100));
        }
        t.expect_no_data();
        t.take_all();
        t.peer("A 1:101 ack 1");
        t.expect("A 1 ack 1001");
        t.read(1_000);
    }
}

#[test]
fn resets_and_windows_are_judged_across_the_wrap() {
    let mut t = with_peer_isn(1_000);
    t.open();
    // In the window, though the number is small.
    t.peer("R 5000");
    t.expect("A 1 ack 1");
    // Outside, though near.
    t.peer("R -10");
    t.expect_none();
    t.peer("R 70000");
    t.expect_none();
    t.expect_state(State::Established);
    t.peer("R 1");
    t.expect_state(State::Closed);
}

#[test]
fn urgent_marks_stand_across_the_wrap() {
    let mut t = with_peer_isn(5);
    t.open();
    t.peer("UA 1:3 ack 1 urg 10");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().urgent_unread, Some(10));
    t.run(50);
    t.take_all();
    let mut t = with_our_isn(5);
    t.write_urgent(10);
    t.expect("PUA 1:11 ack 1 urg 10");
}

#[test]
fn time_wait_is_reopened_across_the_wrap() {
    let mut t = with_peer_isn(3);
    t.open();
    t.close();
    t.expect("FA 1 ack 1");
    t.peer("FA 1 ack 2");
    t.expect("A 2 ack 2");
    t.peer("S -100");
    t.expect("A 2 ack 2");
    let syn = t.build("S 100 <mss 1460>");
    t.receive(&syn.encode());
    assert_eq!(t.take().flags, 0x12);
    t.run(100_000);
    t.take_all();
}
