//! SYN cookies (RFC 4987 section 3.6): a listener whose SYN queue is full.

use std::net::SocketAddr;
use std::time::Duration;

use tunstack::proto::tcp::TcpInfo;
use tunstack::proto::tcp::closing::State;
use tunstack::proto::{Config, DropReason, Packet};

use crate::harness::script::{Script, Setup};

/// A listener whose SYN queue is full of those who will never answer, from clients 100 on.
fn full_with(change: impl FnOnce(&mut Config), ipv6: bool, backlog: Option<usize>) -> Script {
    let mut setup = Setup { ipv6, ..Setup::default() };
    setup.config.syn_queue = 4;
    setup.config.syn_ack_retransmits = 10;
    change(&mut setup.config);
    let mut t = Script::with(setup);
    t.listen_with(backlog);
    for client in 100..104 {
        t.client(client).peer("S 0 <mss 1460>");
        t.expect("SA 0 ack 1");
    }
    t
}

fn full() -> Script {
    full_with(|_| (), false, None)
}

/// The SYN-ACKs of those in the queue are none of the test's business.
fn run(t: &mut Script, ms: u64) {
    t.run(ms);
    t.take_all();
}

/// Cookies sent, taken back and refused.
fn counts(t: &Script) -> (u64, u64, u64) {
    let counters = t.stack.counters();
    (counters.tcp_syn_cookies_sent, counters.tcp_syn_cookies_received, counters.tcp_syn_cookies_failed)
}

fn info(t: &Script) -> TcpInfo {
    t.stack.tcp_info(t.id()).unwrap()
}

#[test]
fn a_full_syn_queue_keeps_nobody_out_and_nothing_is_lost_where_there_are_timestamps() {
    //= RFC4987 3.6 cookies, 3.7 hybrid, 4 defence
    for ipv6 in [false, true] {
        let mut t = full_with(|config| config.recv_buffer = 1 << 20, ipv6, None);
        let mss = if ipv6 { 1440 } else { 1460 };
        t.client(0).peer(&format!("S 0 win 500 <mss {mss},sackok,ts 70 0,ws 7>"));
        t.expect(&format!("SA 0 ack 1 win 65535 <mss {mss},sackok,ts 0 70,ws 5>"));
        assert_eq!(counts(&t), (1, 0, 0));
        assert_eq!(t.stack.tcp_census().half_open, 4, "nothing is remembered");
        t.run(80);
        t.peer("A 1 ack 1 win 400 <ts 150 0>");
        t.expect_none();
        assert_eq!(counts(&t), (1, 1, 0));
        t.accept();
        t.expect_state(State::Established);
        let info = info(&t);
        assert_eq!((info.snd_wscale, info.rcv_wscale, info.snd_wnd), (7, 5, 400 << 7));
        assert_eq!(info.snd_mss, mss - 12);
        // Known to 32 ms, and not underestimated.
        let rtt = info.srtt.unwrap();
        assert!((80..112).contains(&rtt.as_millis()), "{rtt:?}");
        assert_eq!(info.cwnd, 10 * u64::from(mss - 12));
        // What is out of order is reported.
        t.peer("A 101:201 ack 1 <ts 151 0>");
        let report = t.take_all();
        assert!(report[0].contains("sack 101:201"), "{report:?}");
        t.peer("PA 1:101 ack 1 <ts 152 0>");
        t.read(200);
        if !ipv6 {
            t.snapshot("syn_cookie");
        }
    }
}

#[test]
fn each_option_is_kept_for_itself() {
    for (offer, sack, scale) in [
        ("mss 1460,ts 70 0", false, None),
        ("mss 1460,sackok,ts 70 0", true, None),
        ("mss 1460,ts 70 0,ws 0", false, Some(0)),
        ("mss 1460,sackok,ts 70 0,ws 14", true, Some(14)),
        ("mss 1460,ts 70 0,ws 200", false, Some(14)),
    ] {
        let mut t = full();
        t.client(0).peer(&format!("S 0 win 1000 <{offer}>"));
        t.take();
        t.peer("A 1 ack 1 win 2 <ts 71 0>");
        t.accept();
        assert_eq!(info(&t).snd_wnd, 2 << scale.unwrap_or(0), "{offer}");
        t.peer("A 101:201 ack 1 <ts 72 0>");
        let report = t.take_all();
        assert_eq!(report[0].contains("sack 101:201"), sack, "{offer}: {report:?}");
    }
}

#[test]
fn without_timestamps_only_the_largest_segment_is_kept_and_that_rounded_down() {
    //= RFC4987 3.6 cookies
    for (mss, kept) in [("<mss 1460,sackok,ws 7>", 1460), ("<mss 1459>", 1440), ("<mss 700>", 536), ("", 536)]
    {
        let mut t = full();
        t.client(0).peer(&format!("S 0 {mss}"));
        t.expect("SA 0 ack 1 <mss 1460>");
        // A timestamp that was not agreed upon is none.
        t.peer("A 1 ack 1 win 3000 <ts 5 31>");
        t.accept();
        let info = info(&t);
        assert_eq!((info.snd_mss, info.snd_wnd, info.snd_wscale, info.rcv_wscale), (kept, 3000, 0, 0));
        // Nobody knows whether the SYN-ACK was the first.
        assert_eq!((info.srtt, info.cwnd), (None, u64::from(kept)));
        t.peer("A 101:201 ack 1");
        t.expect("A 1 ack 1 <>");
    }
}

#[test]
fn config_decides_what_is_offered() {
    let mut t = full_with(|config| config.sack = false, false, None);
    t.client(0).peer("S 0 <mss 1460,sackok,ts 70 0,ws 7>");
    t.expect("SA 0 ack 1 <mss 1460,ts 0 70,ws 0>");
    // It claims what it was not given.
    t.peer("A 1 ack 1 <ts 71 16>");
    t.accept();
    t.peer("A 101:201 ack 1 <ts 72 0>");
    assert!(!t.take_all()[0].contains("sack"));

    let mut t = full_with(|config| config.timestamps = false, false, None);
    t.client(0).peer("S 0 <mss 1460,sackok,ts 70 0,ws 7>");
    t.expect("SA 0 ack 1 <mss 1460>");
    t.peer("A 1 ack 1");
    t.accept();
    assert_eq!(info(&t).snd_wscale, 0);
}

#[test]
fn the_first_text_brings_the_cookie_back_where_the_ack_was_lost() {
    let mut t = full();
    t.client(0).peer("S 0 <mss 1460,ts 70 0>");
    t.expect("SA 0 ack 1");
    t.peer("PA 1:101 ack 1 <ts 71 0>");
    t.accept();
    t.read(100);
    t.expect_in(40, "A 1 ack 101");
    // A FIN does it as well.
    t.client(1).peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t.peer("FA 1:11 ack 1");
    t.expect("A 1 ack 12");
    t.accept();
    t.read(10);
    t.expect_eof();
}

#[test]
fn text_that_comes_before_the_first_is_met_with_silence_and_the_first_opens_the_connection() {
    //= RFC4987 3.6 later text
    for what in ["A 1001:2001 ack 1 <ts 71 0>", "FA 2001 ack 1 <ts 71 0>", "A 2001 ack 1 <ts 71 0>"] {
        let mut t = full();
        t.client(0).peer("S 0 <mss 1460,sackok,ts 70 0>");
        t.expect("SA 0 ack 1");
        // The ACK and the first segment are lost, or late.
        t.peer(what);
        t.expect_none();
        assert_eq!((counts(&t), t.dropped(DropReason::TcpUnexpected)), ((1, 0, 1), 1), "{what}");
        run(&mut t, 1_000);
        t.peer("A 1:1001 ack 1 <ts 1071 0>");
        t.accept();
        t.read(1_000);
        t.take_all();
        t.peer("FA 1001 ack 1 <ts 1072 0>");
        t.expect_eof();
        // Once it is over, the peer has to hear of it.
        t.abort();
        t.take_all();
        t.peer("A 1002 ack 1 <ts 1073 0>");
        assert_eq!(t.take().flags, 0x04);
    }
}

#[test]
fn text_that_comes_before_the_first_does_not_end_a_half_open_connection_either() {
    //= RFC4987 3.6 later text
    let mut t = full();
    t.client(0).peer("S 0 <mss 1460,ts 70 0>");
    let cookie = t.take();
    // The peer's second SYN finds room in the queue, while the first answer is only late.
    t.client(100).peer("R 1");
    t.client(0).peer("S 0 <mss 1460,ts 1070 0>");
    t.take();
    let mut text = t.build("A 1001:2001 ack 1 <ts 1080 0>");
    text.ack = cookie.seq.wrapping_add(1);
    t.receive(&text.encode());
    t.expect_none();
    let mut first = t.build("A 1:1001 ack 1 <ts 1080 0>");
    first.ack = text.ack;
    t.receive(&first.encode());
    t.accept();
    t.read(1_000);
}

#[test]
fn forged_cookies_open_nothing_and_foreign_ones_are_answered_by_a_reset() {
    let mut t = full();
    t.client(0).peer("S 0 <mss 1460,ts 70 0>");
    t.expect("SA 0 ack 1");
    // Numbers close by, another SYN's, one without the timestamps that were agreed upon: for all we know, of the peer's later text.
    let near = [
        "A 1 ack 200 <ts 71 0>",
        "A 1 ack -200 <ts 71 0>",
        "A 2 ack 1 <ts 71 0>",
        "A 0 ack 1 <ts 71 0>",
        "A 1 ack 1",
    ];
    for line in near {
        t.peer(line);
        t.expect_none();
    }
    // Of another time.
    let far = ["A 1 ack 16777217 <ts 71 0>", "A 1 ack 1000000000 <ts 71 0>", "A 1 ack -33554432 <ts 71 0>"];
    for line in far {
        t.peer(line);
        assert_eq!(t.take().flags, 0x04, "{line}");
    }
    assert_eq!(counts(&t), (1, 0, (near.len() + far.len()) as u64));
    // The right one from another port.
    let right = t.build("A 1 ack 1 <ts 71 0>");
    let mut stolen = right.clone();
    stolen.src.set_port(41_234);
    t.receive(&stolen.encode());
    assert_eq!(t.take().flags, 0x04);
    // Neither a reset nor a SYN brings one back.
    t.peer("RA 1 ack 1 <ts 71 0>");
    t.expect_none();
    t.peer("SA 1 ack 1 <ts 71 0>");
    assert_eq!(t.take().flags, 0x04);
    assert!(t.try_accept().is_none());
    // Yet the right one is still good.
    t.receive(&right.encode());
    t.accept();
}

#[test]
fn a_cookie_is_good_for_two_minutes_or_so() {
    //= RFC4987 3.6 cookies
    for (seconds, is_good) in [(66, true), (135, false)] {
        let mut t = full();
        t.client(0).peer("S 0 <mss 1460,ts 70 0>");
        t.expect("SA 0 ack 1");
        let ack = t.build("A 1 ack 1 <ts 71 0>");
        run(&mut t, seconds * 1_000);
        t.receive(&ack.encode());
        assert_eq!(t.stack.counters().tcp_syn_cookies_received, u64::from(is_good));
        if is_good {
            t.accept();
        } else {
            assert_eq!(t.take().flags, 0x04);
        }
    }
    // Outdated while others are not: looked at, and refused.
    let mut t = full();
    t.client(0).peer("S 0 <mss 1460,ts 70 0>");
    t.expect("SA 0 ack 1");
    run(&mut t, 100_000);
    t.client(1).peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    run(&mut t, 40_000);
    t.client(0).peer("A 1 ack 1 <ts 71 0>");
    assert_eq!((t.take().flags, counts(&t)), (0x04, (2, 0, 1)));
}

#[test]
fn who_was_given_no_cookie_lately_brings_none_back() {
    let mut t = Script::new();
    t.listen();
    t.peer("A 1 ack 1 <ts 71 0>");
    assert_eq!((t.take().flags, counts(&t)), (0x04, (0, 0, 0)));
}

#[test]
fn a_cookie_that_is_replayed_does_nothing_to_the_connection_that_it_opened() {
    let mut t = full();
    t.client(0).peer("S 0 <mss 1460,ts 70 0>");
    t.expect("SA 0 ack 1");
    t.peer("A 1 ack 1 <ts 71 0>");
    t.accept();
    t.peer("PA 1:101 ack 1 <ts 72 0>");
    t.read(100);
    t.expect_in(40, "A 1 ack 101");
    for _ in 0..3 {
        t.inject("A 1 ack 1 <ts 71 0>");
    }
    t.take_all();
    assert!(t.try_accept().is_none());
    assert_eq!((counts(&t), t.dropped(DropReason::TcpOldTimestamp)), ((1, 1, 0), 3));
    t.peer("PA 101:201 ack 1 <ts 73 0>");
    t.read(100);
}

#[test]
fn a_cookie_opens_one_connection_and_no_other_when_that_is_over() {
    let mut t = full();
    t.client(0).peer("S 0 <mss 1460,ts 70 0>");
    t.expect("SA 0 ack 1");
    let first = t.build("PA 1:101 ack 1 <ts 71 0>");
    t.receive(&first.encode());
    t.accept();
    t.read(100);
    t.peer("FA 101 ack 1 <ts 72 0>");
    t.expect("A 1 ack 102");
    t.close();
    t.expect("FA 1 ack 102");
    t.peer("A 102 ack 2 <ts 73 0>");
    // The peer closed first: nothing of it is left here. A duplicate of its text would be heard a second time.
    for ms in [0, 60_000, 60_000] {
        run(&mut t, ms);
        t.receive(&first.encode());
        assert_eq!(t.take().flags, 0x04);
        assert!(t.try_accept().is_none());
    }
    assert_eq!(counts(&t).1, 1);
}

#[test]
fn what_acknowledges_more_than_the_cookie_does_not_open_the_connection_again_once_it_is_over() {
    // The octets that we have sent since make one cookie look like another, of a SYN that offered something else.
    for sent in 1..=20 {
        let mut t = full();
        t.client(0).peer("S 0 <mss 1460,ts 70 0>");
        t.expect("SA 0 ack 1");
        t.peer("A 1 ack 1 <ts 71 0>");
        t.accept();
        t.write(sent);
        t.take_all();
        t.peer(&format!("A 1 ack {} <ts 72 0>", sent + 1));
        t.abort();
        t.take_all();
        // The peer's first text took its time, and the reset is lost.
        t.peer(&format!("A 1:101 ack {} <ts 72 0>", sent + 1));
        assert_eq!((t.take().flags, counts(&t).1), (0x04, 1), "{sent} octets");
        assert!(t.try_accept().is_none());
    }
}

#[test]
fn a_full_accept_queue_lets_no_cookie_in_until_there_is_room() {
    let mut t = full_with(|_| (), false, Some(0));
    for client in 0..2 {
        t.client(client).peer("S 0 <mss 1460,ts 70 0>");
        t.expect("SA 0 ack 1");
    }
    t.client(0).peer("A 1 ack 1 <ts 71 0>");
    // Full when more than none wait. No SYN is answered any more, and no cookie taken.
    t.client(1).peer("A 1 ack 1 <ts 71 0>");
    t.expect_none();
    assert_eq!(t.dropped(DropReason::TcpAcceptQueueFull), 1);
    t.client(2).peer("S 0 <mss 1460,ts 70 0>");
    t.expect_none();
    assert_eq!(t.dropped(DropReason::TcpBacklogFull), 1);
    assert_eq!(counts(&t), (2, 1, 0));
    t.client(0).accept();
    t.client(1).peer("PA 1:101 ack 1 <ts 72 0>");
    t.accept();
    t.read(100);
    assert_eq!(counts(&t), (2, 2, 0));
}

#[test]
fn a_cookie_that_comes_back_late_is_taken_though_the_syn_came_again_meanwhile() {
    let mut t = full();
    t.client(0).peer("S 0 <mss 1460,ts 70 0>");
    let cookie = t.take();
    // Someone leaves the queue, and the peer's second SYN finds room in it.
    t.client(100).peer("R 1");
    t.client(0).peer("S 0 <mss 1460,ts 1070 0>");
    let syn_ack = t.take();
    assert_ne!(cookie.seq, syn_ack.seq);
    assert_eq!(t.stack.tcp_census().half_open, 4);
    // The first answer was only late.
    let mut ack = t.build("A 1 ack 1 <ts 1080 0>");
    ack.ack = cookie.seq.wrapping_add(1);
    t.receive(&ack.encode());
    t.expect_none();
    t.accept();
    t.expect_state(State::Established);
    assert_eq!((t.stack.tcp_census().half_open, counts(&t)), (3, (1, 1, 0)));
    // One that is wrong is refused as ever.
    t.client(1).peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t.peer("A 1 ack 1000000000");
    t.expect("R 1000000000");
    assert_eq!(t.dropped(DropReason::TcpBadAck), 1);
}

#[test]
fn time_wait_is_not_reopened_by_a_cookie() {
    // Its number could not be above all the old ones.
    let mut t = Script::config(|config| config.syn_queue = 1);
    t.open();
    t.close();
    t.expect("FA 1 ack 1");
    t.peer("FA 1 ack 2");
    t.expect("A 2 ack 2");
    t.client(1).peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t.client(0).peer("S 1000 <mss 1460>");
    t.expect_none();
    assert_eq!(t.stack.tcp_census().time_wait, 1);
    assert_eq!((counts(&t).0, t.dropped(DropReason::TcpSynQueueFull)), (0, 1));
}

#[test]
fn a_flood_of_a_hundred_thousand_syns_takes_no_memory_and_keeps_nobody_out() {
    //= RFC4987 3.2 backlog, 3.6 cookies
    let mut t = Script::new();
    t.listen();
    let mut syn = t.build("S 0 win 65535 <mss 1460,sackok,ts 9 0,ws 7>");
    let mut answers = 0;
    for number in 0..100_000u32 {
        syn.src = SocketAddr::new([10, 9, 0, (3 + number % 250) as u8].into(), (1_000 + number / 250) as u16);
        syn.seq = number.wrapping_mul(2_654_435_761);
        t.stack.receive(t.device, &Packet::plain(&syn.encode(), t.now()));
        if number % 100 == 99 {
            t.flush();
            answers += t.take_all().len();
        }
    }
    let queue = t.stack.config().syn_queue;
    let census = t.stack.tcp_census();
    assert_eq!((census.half_open, census.pages, census.sockets), (queue, 0, 0));
    assert!(census.timers <= queue + 1);
    // Each has its answer, so that nobody among them is left out.
    assert_eq!((answers, counts(&t)), (100_000, (100_000 - queue as u64, 0, 0)));
    for client in 0..10 {
        t.client(client).peer("S 0 win 65535 <mss 1460,sackok,ts 70 0,ws 7>");
        t.expect("SA 0 ack 1 <mss 1460,sackok,ts 0 70,ws 0>");
        t.peer("A 1 ack 1 <ts 71 0>");
        t.accept();
        t.peer("PA 1:101 ack 1 <ts 72 0>");
        t.read(100);
    }
    assert_eq!(counts(&t).1, 10);
    assert_eq!(t.stack.tcp_census().sockets, 10);
    t.run(100);
    t.take_all();
    let srtt = t.stack.tcp_info(t.id()).unwrap().srtt.unwrap();
    assert!(srtt < Duration::from_millis(32), "{srtt:?}");
}

#[test]
fn the_window_that_came_with_a_cookie_is_kept_however_little_memory_there_is() {
    // Nothing remembers what was offered, so it is the same always.
    let mut t = full_with(|config| config.pages = 8, false, None);
    t.client(0).peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1 win 65535");
    t.peer("A 1 ack 1");
    t.accept();
    t.peer("A 65436:65536 ack 1");
    t.expect("A 1 ack 1 win 65535");
    assert_eq!(t.stack.counters().dropped(DropReason::TcpOutOfWindow), 0);
}
