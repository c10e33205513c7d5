//! Receiving when there is little memory: less is offered, what was offered is taken, what is in order goes before what is
//! ahead of its turn, and what finds no page (since one pool has more borrowers than pages) is dropped and told so.

use std::time::Duration;

use tunstack::proto::stack::Shutdown;
use tunstack::proto::{Config, DropReason};

use crate::harness::script::Script;

/// Where the first page of a stream ends: positions are page-aligned, and the peer's SYN stands at 1,000,000.
const FIRST_PAGE_END: u32 = 3_520;

fn pages(count: usize) -> Script {
    let mut t = Script::config(|config| config.pages = count);
    t.open();
    t
}

/// What the peer may still send.
fn window(t: &Script) -> u32 {
    t.stack.tcp_info(t.id()).unwrap().rcv_wnd
}

fn unread(t: &Script) -> u64 {
    t.stack.tcp_info(t.id()).unwrap().unread
}

/// The peer sends all that it may.
fn fill(t: &mut Script) {
    while window(t) > 0 {
        let info = t.stack.tcp_info(t.id()).unwrap();
        let (from, len) = (info.bytes_received as u32 + 1, info.rcv_wnd.min(30_000));
        t.inject(&format!("A {from}:{} ack 1", from + len));
        t.take_all();
        let taken = t.stack.tcp_info(t.id()).unwrap().bytes_received - info.bytes_received;
        assert!(taken > 0, "{info:?}");
    }
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
    t.expect("A 1 ack 2921");
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
    t.peer("A 3601:4001 ack 1");
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
    let mut t = pages(1);
    t.peer("A 3601:4001 ack 1");
    t.expect("A 1 ack 1");
    assert_eq!(held(&t), 1);
    t.peer("A 1:1461 ack 1");
    t.expect("A 1 ack 1461");
    assert_eq!((held(&t), t.dropped(DropReason::NoMemory)), (1, 0));
    t.read(1_460);
    // What was given up was never acknowledged, and comes again.
    t.peer("A 1461:3520 ack 1");
    t.take_all();
    t.read(2_059);
    t.take_all();
    t.peer("A 3520:4001 ack 1");
    t.take_all();
    t.read(481);
    t.take_all();
}

#[test]
fn the_less_memory_is_left_the_less_a_syn_offers_and_what_it_offered_is_taken() {
    let mut t = Script::config(|config| config.pages = 64);
    let mut offered = Vec::new();
    for client in 0..11 {
        t.client(client).open();
        offered.push(window(&t));
    }
    // 64 KiB while half of the pool is left, 12 KiB down to an eighth, and a page where there is next to nothing.
    let (plenty, scarce, least) = (65_535, 12_288, 4_096);
    assert_eq!(
        offered,
        [plenty, plenty, scarce, scarce, scarce, scarce, scarce, scarce, least, least, least]
    );
    for client in 0..11 {
        t.client(client);
        fill(&mut t);
        assert_eq!((window(&t), unread(&t)), (0, u64::from(offered[usize::from(client)])));
    }
    assert_eq!((t.dropped(DropReason::NoMemory), held(&t)), (0, 64));

    // Who had much gets as much as the others once it is read.
    t.client(0).read(65_535);
    assert_eq!(window(&t), scarce);
    t.client(10).read(4_096);
    assert_eq!(window(&t), scarce, "there is more now");
    // When the others are gone, there is enough again.
    for client in 1..10 {
        t.client(client).abort();
    }
    t.take_all();
    t.client(0).peer("A 65536:66536 ack 1");
    t.read(1_000);
    t.take_all();
    assert_eq!(window(&t), plenty);
}

#[test]
fn a_thousand_stalled_readers_keep_what_they_were_offered_and_another_goes_on() {
    const STALLED: u16 = 1_000;
    let mut t = Script::config(|config| {
        // None of them is given up for idle while the others come.
        let promise_timeout = Duration::from_secs(3_600);
        *config = Config { backlog: 2_000, pages: 6_000, promise_timeout, ..Config::default() };
    });
    for client in 0..STALLED {
        t.client(client).open();
        // All of them read for a while, and their windows grow.
        for _ in 0..4 {
            t.run(1);
            let info = t.stack.tcp_info(t.id()).unwrap();
            let (from, len) = (info.bytes_received as u32 + 1, info.rcv_wnd.min(30_000));
            t.inject(&format!("A {from}:{} ack 1", from + len));
            t.read(len as usize);
            t.run(50);
        }
        t.take_all();
    }
    for client in 0..STALLED {
        t.client(client);
        let offered = window(&t);
        assert!(offered >= 4_096, "{client} was offered {offered}");
        // They stop reading, and their peers send all that they may.
        fill(&mut t);
        assert!(window(&t) == 0 && unread(&t) >= u64::from(offered), "{client}");
    }
    assert_eq!(t.dropped(DropReason::NoMemory), 0);
    let census = t.stack.tcp_census();
    assert!(census.pages <= 6_000 && census.pages_committed <= 6_000, "{census:?}");

    // One more is as alive as ever, in both directions.
    t.client(STALLED).open();
    for round in 0..100 {
        let from = 1 + round * 4_000;
        t.peer(&format!("A {from}:{} ack {}", from + 4_000, 1 + round * 1_000));
        t.read(4_000);
        t.write(1_000);
        t.take_all();
    }
    assert_eq!(t.dropped(DropReason::NoMemory), 0);
    // And those that stalled are, too, once they read.
    for client in [0, 1, 499, STALLED - 1] {
        let waiting = unread(t.client(client)) as usize;
        t.read(waiting);
        assert!(window(&t) >= 4_096, "{client}");
        fill(&mut t);
        assert!(unread(&t) >= 4_096, "{client}");
    }
    assert_eq!(t.dropped(DropReason::NoMemory), 0);
}

#[test]
fn a_large_window_that_nobody_uses_lapses_and_is_good_again_when_there_is_memory() {
    const PAGES: usize = 512;
    let mut t = Script::config(|config| {
        (config.pages, config.recv_buffer) = (PAGES, 200_000);
    });
    let committed = |t: &Script| t.stack.tcp_census().pages_committed;
    // Windows grow as far as what is left allows: there is nothing to be had for one who comes later.
    for client in 0..20 {
        t.client(client).open_passive("S 0 win 65535 <mss 1460,ws 7>");
        t.inject("A 1:1001 ack 1");
        t.read(1_000);
        t.take_all();
    }
    assert!(committed(&t) > PAGES / 2);
    let late = |t: &mut Script, client| {
        t.client(client).open();
        window(t)
    };
    assert_eq!(late(&mut t, 20), 12_288);
    t.run(30_000);
    t.take_all();
    assert!(committed(&t) < PAGES / 2);
    assert_eq!(late(&mut t, 21), 65_535);
    fill(&mut t);
    for client in 0..20 {
        // The window stays, and what is sent into it is taken for as long as it is read.
        t.client(client);
        let offered = window(&t);
        assert!(offered >= 11_288, "{client} {offered}");
        for nth in 0..10 {
            let seq = 1_001 + 5_000 * nth;
            t.inject(&format!("A {seq}:{} ack 1", seq + 5_000));
            t.read(5_000);
        }
        t.run(100);
        t.take_all();
    }
    assert_eq!(t.dropped(DropReason::NoMemory), 0);
    assert!(committed(&t) <= PAGES, "{}", committed(&t));
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
