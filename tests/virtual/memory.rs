//! Receiving when the pool is empty: what is in order goes before what is ahead of its turn, and what finds no page
//! is dropped and told so.

use tunstack::proto::DropReason;
use tunstack::proto::stack::Shutdown;

use crate::harness::script::Script;

/// Where the first page of a stream ends: positions are page-aligned, and the peer's SYN stands at 1,000,000.
const FIRST_PAGE_END: u32 = 3_520;

fn pages(count: usize) -> Script {
    let mut t = Script::config(|config| config.pages = count);
    t.open();
    t
}

fn held(t: &Script) -> usize {
    t.stack.tcp_census().pages
}

#[test]
fn text_that_finds_half_of_its_room_is_acknowledged_at_once_as_far_as_it_was_taken() {
    let mut t = pages(1);
    t.peer("A 1:1461 ack 1");
    t.expect("A 1 ack 1461");
    t.peer("A 1461:2921 ack 1");
    t.expect_none();
    t.peer("A 2921:4381 ack 1");
    t.expect(&format!("A 1 ack {FIRST_PAGE_END}"));
    assert_eq!(t.dropped(DropReason::NoMemory), 1);
    t.read(FIRST_PAGE_END as usize - 1);
    t.take_all();
}

#[test]
fn text_ahead_of_its_turn_that_finds_no_room_is_dropped_and_not_counted_as_kept() {
    //= RFC5681 3.2 duplicate ACK
    let mut t = pages(1);
    t.peer("A 1:101 ack 1");
    t.expect_in(40, "A 1 ack 101");
    t.peer("A 8001:9001 ack 1");
    t.expect("A 1 ack 101");
    assert_eq!(t.dropped(DropReason::NoMemory), 1);
    assert_eq!(t.stack.counters().tcp_out_of_order, 0);
    t.peer("A 201:301 ack 1");
    t.expect("A 1 ack 101");
    assert_eq!(t.dropped(DropReason::NoMemory), 1);
    assert_eq!(t.stack.counters().tcp_out_of_order, 1);
}

#[test]
fn text_in_order_takes_the_room_of_text_ahead_of_its_turn() {
    let mut t = pages(2);
    t.peer("A 1:1461 ack 1");
    t.expect("A 1 ack 1461");
    t.peer("A 1461:2921 ack 1");
    t.expect_in(40, "A 1 ack 2921");
    t.peer("A 9001:10001 ack 1");
    t.expect("A 1 ack 2921");
    assert_eq!(held(&t), 2);
    // The first part of it fits into the page that is there, and the rest into the one that the other gives up.
    t.peer("A 2921:4381 ack 1");
    t.run(40);
    assert_eq!(t.take_all().last().unwrap().split_whitespace().nth(3), Some("4381"));
    t.read(4_380);
    t.take_all();
    // What was given up was never acknowledged, and comes again.
    t.peer("A 4381:5381 ack 1");
    t.expect_in(40, "A 1 ack 5381");
}

#[test]
fn who_is_reset_keeps_what_was_in_order_and_no_page_of_what_was_not() {
    let mut t = pages(64);
    t.peer("A 8001:9001 ack 1");
    t.expect("A 1 ack 1");
    assert_eq!(held(&t), 1);
    t.peer("R 1");
    assert_eq!(held(&t), 0);
}

#[test]
fn a_peer_that_writes_into_a_window_of_zero_is_counted() {
    let mut t = Script::config(|config| config.recv_buffer = 1_000);
    t.open();
    t.peer("A 1:1001 ack 1");
    t.run(40);
    t.take_all();
    let duplicates = |t: &Script| {
        let info = t.stack.tcp_info(t.id()).unwrap();
        assert_eq!(info.duplicates_in, t.stack.counters().tcp_duplicates);
        info.duplicates_in
    };
    assert_eq!(duplicates(&t), 0);
    for count in 1..=3 {
        t.peer("A 1001:1002 ack 1");
        t.expect("A 1 ack 1001 win 0");
        assert_eq!(duplicates(&t), count);
    }
}

#[test]
fn the_largest_segment_that_came_is_told() {
    let mut t = Script::new();
    t.open();
    let told = |t: &Script| t.stack.tcp_info(t.id()).unwrap().rcv_mss;
    assert_eq!(told(&t), 536, "assumed until a larger one comes");
    for (line, mss) in [("A 1:1001 ack 1", 1_000), ("A 1001:1101 ack 1", 1_000), ("A 1101:2561 ack 1", 1_460)]
    {
        t.inject(line);
        assert_eq!(told(&t), mss);
    }
    t.run(40);
    t.take_all();
    t.shutdown(Shutdown::Read);
    t.run(40);
    t.take_all();
}
