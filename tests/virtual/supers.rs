//! Super-segments of ours: where a device cuts them, what goes at once goes as one, and what it is cut into are the segments
//! that a device without offloads would have been given.

use std::num::NonZeroU16;

use tunstack::proto::stack::Shutdown;
use tunstack::proto::trace::{Direction, Record, TraceLevel};
use tunstack::proto::{ChecksumState, Config, Offloads, Packet};

use crate::harness::device::ALL;
use crate::harness::script::{Script, Setup};
use crate::support::wire;

fn with(offloads: Offloads, change: impl FnOnce(&mut Config)) -> Script {
    let mut setup = Setup { offloads, ..Setup::default() };
    change(&mut setup.config);
    Script::with(setup)
}

/// A connection over a round trip of 100 ms, with segments of 1000 bytes.
fn opened(offloads: Offloads, syn: &str, ack: &str) -> Script {
    let mut t = with(offloads, |_| ());
    t.listen();
    t.inject(syn);
    t.take();
    t.run(100);
    t.inject(ack);
    t.accept();
    t
}

fn open() -> Script {
    opened(ALL, "S 0 win 65535 <mss 1000,sackok>", "A 1 ack 1")
}

#[test]
fn what_goes_at_once_goes_as_one() {
    let mut t = open();
    // The congestion window ends in the middle of a segment.
    t.write(10_500);
    t.expect("A 1:10001/1000 ack 1");
    t.wait(100);
    // And here the queue: Nagle keeps the short tail back.
    t.peer("A 1 ack 9001");
    t.expect_none();
    t.write(3_400);
    t.expect("A 10001:13001/1000 ack 1");
    t.wait(50);
    t.options(|options| options.nodelay = true);
    t.expect("PA 13001:13901 ack 1");
    // Without Nagle it goes with the rest.
    t.write(2_100);
    t.expect("PA 13901:16001/1000 ack 1");
    // What is one segment, or less, is no super-segment.
    t.write(1_000);
    t.expect("PA 16001:17001 ack 1");
    assert_eq!(t.stack.counters().tcp_segments_out, 1 + 10 + 3 + 1 + 3 + 1);
}

#[test]
fn a_wire_sees_what_it_would_have_seen_without() {
    let seen = |offloads, sees_pieces| {
        let mut t = opened(offloads, "S 0 win 65535 <mss 1012,sackok,ts 9 0>", "A 1 ack 1 <ts 100 0>");
        t.sees_pieces = sees_pieces;
        t.write(25_700);
        t.run(100);
        t.inject("A 1 ack 4001 <ts 200 100>");
        t.inject("A 1 ack 4001 <sack 5001:10001,ts 200 100>");
        t.run(100);
        t.inject("A 1 ack 10001 win 4700 <ts 300 200>");
        t.shutdown(Shutdown::Write);
        t.run(300);
        t.inject("A 1 ack 14701 <ts 300 200>");
        t.run(1);
        t.take_all()
    };
    let plain = seen(Offloads::default(), false);
    assert_eq!(seen(ALL, true), plain);
    assert!(seen(ALL, false).len() < plain.len() / 2, "{plain:?}");
}

#[test]
fn the_fin_goes_with_the_last_piece() {
    let mut t = open();
    t.busy = true;
    t.write(4_000);
    t.shutdown(Shutdown::Write);
    t.busy = false;
    t.sees_pieces = true;
    t.flush();
    t.expect("A 1:1001 ack 1");
    t.expect("A 1001:2001 ack 1");
    t.expect("A 2001:3001 ack 1");
    t.expect("FPA 3001:4001 ack 1");
    t.wait(50);
    t.peer("A 1 ack 4002");
    t.expect_none();
}

#[test]
fn the_peers_window_may_end_in_the_middle() {
    let mut t = open();
    t.inject("A 1 ack 1 win 4300");
    t.write(10_000);
    t.expect("A 1:4001/1000 ack 1");
    t.wait(100);
    t.peer("A 1 ack 4001 win 2300");
    t.expect("A 4001:6001/1000 ack 1");
    t.wait(100);
    // Of a window that is less than a segment all is used in the end.
    t.peer("A 1 ack 6001 win 300");
    t.expect_in(200, "A 6001:6301 ack 1");
}

#[test]
fn one_piece_lost_in_the_middle_is_found_by_time_and_goes_again_alone() {
    //= RFC8985 6.2 lost
    let mut t = open();
    t.write(10_000);
    t.expect("PA 1:10001/1000 ack 1");
    t.wait(100);
    t.peer("A 1 ack 4001 <sack 5001:6001>");
    // A quarter of the round trip later than what was sent with it.
    t.expect_in(25, "A 4001:5001 ack 1");
    assert_eq!(t.stack.counters().tcp_retransmits, 1);
    t.peer("A 1 ack 10001");
    t.expect_none();
}

#[test]
fn what_is_lost_goes_again_in_super_segments_as_the_window_of_the_recovery_lets_it() {
    //= RFC9937 6.2 conservative bound, 3 congestion window
    let mut t = open();
    t.write(10_000);
    t.expect("PA 1:10001/1000 ack 1");
    t.wait(100);
    // Six are lost: no more goes again than has arrived.
    t.peer("A 1 ack 1 <sack 6001:10001>");
    t.expect("A 1:4001/1000 ack 1");
    t.wait(100);
    t.peer("A 1 ack 4001 <sack 6001:10001>");
    t.expect("A 4001:6001/1000 ack 1");
    let counters = t.stack.counters();
    assert_eq!((counters.tcp_retransmits, counters.tcp_segments_out), (6, 1 + 10 + 6));
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().retransmits, 6);
    t.wait(100);
    t.peer("A 1 ack 10001");
    t.expect_none();
}

#[test]
fn a_path_that_turns_out_narrower_has_all_pieces_go_again_in_smaller_ones() {
    //= RFC1191 6.4 retransmit, 6.4 no congestion
    let mut t = open();
    t.write(10_900);
    t.expect("A 1:10001/1000 ack 1");
    t.wait(50);
    let (from, to) = (t.peer_ip, t.stack_ip);
    let quoted = t.as_sent("A 2001:3001 ack 1");
    t.receive(&wire::icmp_error(from, to, 3, 4, 640, &quoted));
    // New text fills the last of them up, for which the window has no room yet.
    t.expect("A 1:9601/600 ack 1");
    assert_eq!(t.stack.counters().tcp_retransmits, 16);
    t.wait(100);
    t.peer("A 1 ack 9601");
    t.expect("A 9601:10201 ack 1");
    t.expect("A 10201:10801 ack 1");
    t.wait(100);
    t.peer("A 1 ack 10801");
    t.expect("PA 10801:10901 ack 1");
}

#[test]
fn pieces_that_would_have_to_be_cut_again_go_one_by_one() {
    //= RFC4821 5.1 DF
    let mut t = open();
    t.write(2_000);
    t.expect("PA 1:2001/1000 ack 1");
    let (from, to) = (t.peer_ip, t.stack_ip);
    let quoted = t.as_sent("A 1:1001 ack 1");
    t.receive(&wire::icmp_error(from, to, 3, 4, 300, &quoted));
    let again = t.take();
    assert_eq!((again.payload.len(), again.gso_size, again.dont_fragment), (512, None, false));
    let others: Vec<usize> = std::iter::from_fn(|| t.try_take()).map(|tcp| tcp.payload.len()).collect();
    assert_eq!(others, [512, 512, 464]);
    t.peer("A 1 ack 2001");
}

#[test]
fn a_window_of_zero_is_probed_with_one_octet() {
    let mut t = open();
    t.write(3_000);
    t.expect("PA 1:3001/1000 ack 1");
    t.wait(100);
    t.peer("A 1 ack 3001 win 0");
    t.write(4_000);
    t.expect_in(250, "A 3001:3002 ack 1");
    t.peer("A 1 ack 3001 win 0");
    t.expect_in(500, "A 3001:3002 ack 1");
    // The probe's octet goes again, and new text fills its segment up; what follows that is new.
    t.peer("A 1 ack 3001 win 8000");
    t.expect("A 3001:4001 ack 1");
    t.expect("PA 4001:7001/1000 ack 1");
}

#[test]
fn each_segment_tells_how_far_an_urgent_mark_is() {
    //= RFC9293 MUST-62
    let mut t = open();
    t.busy = true;
    t.write(1_500);
    t.write_urgent(1_000);
    t.write(3_500);
    t.busy = false;
    t.flush();
    t.expect("UA 1:1001 ack 1 urg 2500");
    t.expect("UA 1001:2001 ack 1 urg 1500");
    t.expect("UA 2001:3001 ack 1 urg 500");
    // Behind it there is nothing more to tell.
    t.expect("PA 3001:6001/1000 ack 1");
}

#[test]
fn what_came_twice_is_reported_by_one_segment_and_what_is_missing_by_each() {
    //= RFC2883 4 once
    //= RFC2018 4 all circumstances
    let mut t = open();
    t.sees_pieces = true;
    t.inject("A 1:1001 ack 1");
    t.inject("A 2001:3001 ack 1");
    t.run(50);
    t.take_all();
    t.busy = true;
    t.peer("A 2001:3001 ack 1");
    t.options(|options| options.nodelay = true);
    t.write(3_000);
    t.busy = false;
    t.flush();
    t.expect("A 1:981 ack 1001 <sack 2001:3001 2001:3001>");
    t.expect("A 981:1969 ack 1001 <sack 2001:3001>");
    t.expect("A 1969:2957 ack 1001 <sack 2001:3001>");
    t.expect("PA 2957:3001 ack 1001 <sack 2001:3001>");
}

#[test]
fn a_datagram_is_never_too_long_and_stands_for_no_more_than_so_many_segments() {
    for (syn, size) in
        [("S 0 win 65535 <mss 1012,ws 7,sackok,ts 9 0>", 1_000), ("S 0 win 65535 <mss 100>", 100)]
    {
        let mut t = opened(ALL, syn, "A 1 ack 1 win 65535 <ts 100 0>");
        let mut longest = 0;
        t.write(400_000);
        let mut acked = 1;
        for _ in 0..14 {
            let mut end = acked;
            while let Some(tcp) = t.try_take() {
                end = end.max(acked_end(&t, &tcp));
                longest = longest.max(tcp.payload.len());
                assert!(tcp.gso_size.is_none_or(|of| of == size));
            }
            acked = end;
            t.run(100);
            t.peer(&format!("A 1 ack {acked} win 65535 <ts 100 0>"));
        }
        let most = (65_535 - 40 - 12) / size.min(1_000) * size;
        assert_eq!(longest, most.min(64 * size), "{syn}");
        t.take_all();
    }
}

fn acked_end(t: &Script, tcp: &wire::Tcp) -> u32 {
    // The first octet of text stands at 1.
    tcp.seq.wrapping_sub(t.stack_iss()).wrapping_add(tcp.payload.len() as u32)
}

#[test]
fn only_a_device_that_takes_them_is_given_any() {
    let checksums = Offloads { checksum: true, ..Offloads::default() };
    for (offloads, ipv6) in [
        (checksums, false),
        (checksums, true),
        (Offloads { tso6: true, ..checksums }, false),
        (Offloads { tso4: true, ..checksums }, true),
        // Without checksums there are no super-segments.
        (Offloads { checksum: false, ..ALL }, false),
    ] {
        let mut t = Script::with(Setup { offloads, ipv6, ..Setup::default() });
        t.open_passive("S 0 win 65535 <mss 1000>");
        t.write(2_000);
        t.expect("A 1:1001 ack 1");
        t.expect("PA 1001:2001 ack 1");
    }
    let mut t = Script::with(Setup { offloads: ALL, ipv6: true, ..Setup::default() });
    t.open_passive("S 0 win 65535 <mss 1000>");
    t.write(2_000);
    t.expect("PA 1:2001/1000 ack 1");
}

#[test]
fn turns_are_counted_in_segments() {
    let mut t = with(ALL, |config| (config.transmit_quantum, config.super_segment_max) = (4, 3));
    for number in 0..3 {
        t.client(number).open_passive("S 0 win 65535 <mss 1000>");
    }
    t.busy = true;
    for number in 0..3 {
        t.client(number).write(10_000);
    }
    t.busy = false;
    t.flush();
    let mut sent: Vec<(u16, usize)> = Vec::new();
    while let Some(tcp) = t.try_take() {
        sent.push((tcp.dst.port() - 40_000, tcp.payload.len() / 1000));
    }
    // One of them finds out that the device has room again. Three are less than a turn's four, six are more.
    let (first, others) = sent.split_at(4);
    assert_eq!(first, [(1, 3), (1, 3), (1, 3), (1, 1)]);
    assert_eq!(others, [(0, 3), (0, 3), (2, 3), (2, 3), (0, 3), (0, 1), (2, 3), (2, 1)]);
}

#[test]
fn a_trace_tells_what_a_super_segment_stands_for() {
    let mut t = open();
    t.stack.trace().set_level(TraceLevel::Trace);
    t.write(3_000);
    t.expect("PA 1:3001/1000 ack 1");
    let bytes = t.build("A 1:2501 ack 3001").encode();
    let packet = Packet {
        checksum: ChecksumState::Trusted,
        gso_size: NonZeroU16::new(1_000),
        ..Packet::plain(&bytes, t.now())
    };
    t.stack.receive(t.device, &packet);
    let (records, _) = t.stack.trace().take();
    let segments: Vec<_> = records
        .iter()
        .filter_map(|(_, record)| match record {
            Record::Segment { direction, segment, .. } => Some((*direction, segment.len, segment.gso_size)),
            _ => None,
        })
        .collect();
    let size = NonZeroU16::new(1_000);
    assert_eq!(segments, [(Direction::Out, 3_000, size), (Direction::In, 2_500, size)]);
    t.flush();
    t.take_all();
}
