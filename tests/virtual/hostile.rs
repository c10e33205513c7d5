//! Peers that lie about what they have, to make us work, keep, send more than we should, or stand still.
//!
//! Whatever they say, nothing panics, hangs or grows, and the connection goes on or is given up.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tunstack::proto::Config;
use tunstack::proto::tcp::closing::State;

use crate::harness::script::{Script, Setup};

const SYN: &str = "S 0 win 65535 <mss 1000,sackok>";

/// A connection over a round trip of 100 ms, with segments of 1000 bytes.
fn open() -> Script {
    opened(Setup::default(), SYN, "A 1 ack 1")
}

fn opened(setup: Setup, syn: &str, ack: &str) -> Script {
    let mut t = Script::with(setup);
    t.listen();
    t.inject(syn);
    t.take();
    t.run(100);
    t.inject(ack);
    t.accept();
    t.options(|options| options.nodelay = true);
    t
}

fn window(t: &Script) -> u64 {
    t.stack.tcp_info(t.id()).unwrap().cwnd
}

/// From now on the peer takes everything and says so: all of `written` bytes arrive before long.
fn goes_on(t: &mut Script, written: u64) {
    goes_on_with(t, written, "");
}

/// The same with these options in each acknowledgement.
fn goes_on_with(t: &mut Script, written: u64, options: &str) {
    for _ in 0..2_000 {
        t.run(10);
        t.take_all();
        let info = t.stack.tcp_info(t.id()).unwrap();
        let end = 1 + written - info.unsent;
        t.inject(&format!("A 1 ack {end} {options}"));
        if end == 1 + written {
            break;
        }
    }
    t.take_all();
    let info = t.stack.tcp_info(t.id()).unwrap();
    assert_eq!((info.unacknowledged, info.unsent, info.lost, info.sacked), (0, 0, 0, 0));
}

#[test]
fn blocks_that_cannot_be_true_change_nothing() {
    let mut t = open();
    t.write(10_000);
    t.take_all();
    t.run(100);
    let before = format!("{:?}", t.stack.tcp_info(t.id()).unwrap());
    // Never sent, beyond what was sent, before the first octet, from the end to the beginning, empty, half a sequence space away.
    for lie in ["20001:21001", "9001:10002", "-1000:-1", "5001:4001", "5001:5001", "-2147483647:2147483647"] {
        for _ in 0..5 {
            t.inject(&format!("A 1 ack 1 <sack {lie}>"));
            t.inject(&format!("A 1 ack 1 <sack {lie} {lie} {lie} {lie}>"));
        }
        assert!(t.take_all().is_empty(), "{lie}");
        let info = t.stack.tcp_info(t.id()).unwrap();
        assert_eq!((info.sacked, info.lost), (0, 0), "{lie}");
        assert_eq!(format!("{info:?}"), before, "{lie}");
    }
    // True and untrue, overlapping and nested, in one.
    t.inject("A 1 ack 1 <sack 3001:5001 4001:6001 3501:4501 9001:10002>");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().sacked, 3_000);
    goes_on(&mut t, 10_000);
}

#[test]
fn what_was_never_sent_cannot_be_acknowledged() {
    let mut t = open();
    t.write(10_000);
    t.take_all();
    t.run(100);
    for ack in [10_002, 20_001, 1_000_001] {
        t.inject(&format!("A 1 ack {ack} <sack 5001:6001>"));
        let info = t.stack.tcp_info(t.id()).unwrap();
        assert_eq!((info.unacknowledged, info.sacked, info.cwnd), (10_000, 0, 10_000), "{ack}");
    }
    goes_on(&mut t, 10_000);
}

/// A peer that reports every other octet of a window of `window` bytes: four stretches of one octet in each of `acks`
/// acknowledgements, from the end to the beginning, so that whatever searches from either end has far to go. Tells how long
/// that took.
fn fragment_bomb(window: usize, mss: usize, acks: usize) -> Duration {
    let config =
        Config { send_buffer: window, initial_window_segments: 10, pages: 1 << 14, ..Config::default() };
    let setup = Setup { config, ..Setup::default() };
    let mut t = opened(setup, &format!("S 0 win 65535 <mss {mss},sackok,ws 10>"), "A 1 ack 1 win 65535");
    let mut written = 0;
    // The window grows until it holds everything.
    while self::window(&t) < window as u64 {
        written += t.write_some(window).unwrap();
        t.run(1);
        t.take_all();
        let sent = 1 + written as u64 - t.stack.tcp_info(t.id()).unwrap().unsent;
        t.run(1);
        t.inject(&format!("A 1 ack {sent} win 65535"));
    }
    let una = 1 + written as u64 - t.stack.tcp_info(t.id()).unwrap().unsent;
    t.inject(&format!("A 1 ack {una} win 65535"));
    t.write_some(window).unwrap();
    t.run(1);
    t.take_all();
    let info = t.stack.tcp_info(t.id()).unwrap();
    let end = una + info.unacknowledged;
    assert!(info.unacknowledged as usize > window / 2, "{info:?}");
    let mut lines = Vec::new();
    for nth in 0..acks as u64 {
        let at = |block: u64| end - 2 * (4 * nth + block) - 1;
        let mut line = format!("A 1 ack {una} win 65535 <sack");
        for block in 0..4 {
            let _ = write!(line, " {}:{}", at(block), at(block) + 1);
        }
        lines.push(line + ">");
    }
    let began = Instant::now();
    for line in &lines {
        t.inject(line);
        assert!(t.stack.tcp_info(t.id()).unwrap().sacked <= Config::default().sack_ranges as u64);
    }
    let took = began.elapsed();
    t.take_all();
    goes_on_with(&mut t, end - 1, "win 65535");
    took
}

#[test]
fn a_window_of_fragments_costs_no_more_for_each_acknowledgement_than_a_small_one() {
    // CVE-2019-11478. The smallest of several, since others use the machine, too.
    let best = |window: usize| (0..3).map(|_| fragment_bomb(window, 1000, 400)).min().unwrap();
    let (small, large) = (best(100 << 10), best(1 << 20));
    assert!(large < 5 * small + Duration::from_millis(5), "{large:?} for ten times the window of {small:?}");
}

#[test]
fn the_smallest_segments_cost_no_more_for_each_acknowledgement_in_a_large_window() {
    // CVE-2019-11477, CVE-2019-11479: an MSS of 48.
    // In turn, so that what else the machine does meets both.
    let rounds = (0..8).map(|_| [20 << 10, 200 << 10].map(|window| fragment_bomb(window, 48, 400)));
    let [small, large] =
        rounds.reduce(|best, took| [0, 1].map(|size| best[size].min(took[size]))).expect("several rounds");
    assert!(large < 5 * small + Duration::from_millis(5), "{large:?} for ten times the window of {small:?}");
}

#[test]
fn a_peer_with_the_smallest_segments_that_sends_text_out_of_order_still_gets_text() {
    // Our own blocks take the room of text, but never all of it.
    let mut t = opened(Setup::default(), "S 0 win 65535 <mss 48,sackok,ts 1 0>", "A 1 ack 1 <ts 2 0>");
    for from in [101, 301, 501, 701] {
        t.inject(&format!("A {from}:{} ack 1 <ts 3 0,sack 2:3 4:5>", from + 1));
    }
    t.take_all();
    t.write(1_000);
    let mut end = 1;
    for _ in 0..1_000 {
        for line in t.take_all() {
            let places = line.split_whitespace().nth(1).unwrap();
            let (from, to) = places
                .split_once(':')
                .map_or((0, 0), |(from, to)| (from.parse::<u64>().unwrap(), to.parse::<u64>().unwrap()));
            assert!(to == 0 || (from..from + 48).contains(&to), "{line}");
            end = end.max(if from <= end { to } else { 0 });
        }
        t.inject(&format!("A 1 ack {end} <ts 4 0>"));
        t.run(5);
    }
    assert_eq!(end, 1_001);
}

#[test]
fn a_flood_of_duplicate_reports_makes_the_reordering_window_no_wider_than_a_round_trip() {
    //= RFC8985 3.3.2 bounded
    let mut t = open();
    let mut una = 1;
    for _ in 0..200 {
        t.write(1_000);
        t.take_all();
        t.run(100);
        una += 1_000;
        for _ in 0..3 {
            t.inject(&format!("A 1 ack {una} <sack 1:{}>", una - 500));
        }
    }
    t.write(4_000);
    t.take_all();
    t.run(100);
    t.inject(&format!("A 1 ack {una} <sack {}:{}>", una + 1_000, una + 2_000));
    // 100 ms is SRTT: a little more since the peer's acknowledgements were not that punctual.
    t.expect_none();
    t.run(102);
    let sent = t.take_all();
    assert!(sent.iter().any(|line| line.contains(&format!(" {una}:"))), "{sent:?}");
    goes_on(&mut t, una - 1 + 4_000);
}

#[test]
fn what_is_said_to_have_come_twice_gives_back_no_more_than_was_taken() {
    //= RFC4015 3.1 window
    let mut t = open();
    t.write(10_000);
    t.take_all();
    t.run(100);
    let before = window(&t);
    t.inject("A 1 ack 1 <sack 1001:4001>");
    assert_eq!(t.stack.counters().tcp_fast_retransmits, 1);
    for _ in 0..50 {
        t.inject("A 1 ack 1 <sack 1001:1501 1001:4001>");
        t.inject("A 1 ack 1001 <sack 1:1001 1001:4001>");
        t.inject("A 1 ack 4001 <sack 1:4001>");
        // What is acknowledged lets it grow as ever.
        assert!(window(&t) <= before + 4_000, "{} after {before}", window(&t));
    }
    assert_eq!(t.stack.counters().tcp_undone_by_dsack, 1);
    goes_on(&mut t, 10_000);
}

#[test]
fn timestamps_that_lie_hold_nothing_up() {
    let stamped = "S 0 win 65535 <mss 1012,sackok,ts 1 0>";
    for echo in [0_i64, 1, -1, 1_000_000, -1_000_000, i64::from(i32::MAX), i64::from(i32::MIN)] {
        let mut t = opened(Setup::default(), stamped, "A 1 ack 1 <ts 2 0>");
        t.write(20_000);
        t.take_all();
        t.run(100);
        t.inject(&format!("A 1 ack 1 <ts 3 {echo},sack 1001:4001>"));
        t.inject(&format!("A 1 ack 1001 <ts 3 {echo},sack 2001:4001>"));
        t.run(100);
        t.inject(&format!("A 1 ack 1001 <ts 4 {echo},sack 2001:6001>"));
        let info = t.stack.tcp_info(t.id()).unwrap();
        assert!(info.rto <= Duration::from_secs(2), "{echo}: {info:?}");
        assert!(info.cwnd <= 20_000, "{echo}: {info:?}");
        goes_on_with(&mut t, 20_000, &format!("<ts 5 {echo}>"));
    }
}

#[test]
fn acknowledgements_of_single_octets_have_no_more_sent_than_they_acknowledge() {
    // RFC 3465 section 2: bytes count. RFC 8985 section 10: nor is anything lost by it.
    let mut t = open();
    t.write(60_000);
    t.take_all();
    t.run(100);
    let before = window(&t);
    for octet in 1..=1_000 {
        t.inject(&format!("A 1 ack {}", 1 + octet));
    }
    assert!(window(&t) <= before + 1_000, "{} after {before}", window(&t));
    // The same by SACK: a segment octet by octet.
    for octet in 0..1_000 {
        t.inject(&format!("A 1 ack 1001 <sack 2001:{}>", 2_002 + octet));
    }
    let info = t.stack.tcp_info(t.id()).unwrap();
    assert_eq!((info.lost, info.in_recovery), (0, false));
    goes_on(&mut t, 60_000);
}

#[test]
fn a_peer_that_reports_what_it_has_not_got_has_only_itself_to_blame() {
    // It says it has everything but the first segment, and throws all of it away, again and again.
    let mut t = open();
    t.write(40_000);
    t.take_all();
    t.run(100);
    let mut una = 1;
    let mut rounds = 0;
    while una < 40_001 {
        rounds += 1;
        assert!(rounds <= 41, "it stands still at {una}");
        let info = t.stack.tcp_info(t.id()).unwrap();
        let nxt = una + info.unacknowledged;
        if nxt > una + 1_000 {
            t.inject(&format!("A 1 ack {una} <sack {}:{nxt}>", una + 1_000));
        }
        // It takes the next segment in order, when that comes: after a time-out, since nothing else tells of the lie. There
        // is no measurement in all this that would end the back-off.
        for _ in 0..1_300 {
            t.run(100);
            if t.take_all().iter().any(|line| line.contains(&format!(" {una}:"))) {
                una += 1_000;
                t.inject(&format!("A 1 ack {una}"));
                break;
            }
        }
    }
    goes_on(&mut t, 40_000);
}

#[test]
fn a_peer_that_acknowledges_nothing_is_given_up_and_is_sent_ever_less() {
    //= RFC6298 5.5 doubling
    let mut t = open();
    t.write(10_000);
    t.take_all();
    // It says a lot all the same.
    t.inject("A 1 ack 1 <sack 5001:6001>");
    let began = t.now();
    let mut sent = Vec::new();
    while t.state() != State::Closed {
        assert!(t.now() - began < Duration::from_secs(2_000), "never given up");
        t.run(1_000);
        if !t.take_all().is_empty() {
            sent.push(t.now() - began);
        }
    }
    assert!(t.now() - began >= Duration::from_secs(900), "{:?}", t.now() - began);
    let late = sent.iter().filter(|at| **at > Duration::from_secs(300)).count();
    assert!(sent.len() < 30 && late < 8, "{sent:?}");
}

#[test]
fn a_window_that_is_taken_back_amid_a_recovery_holds_it_up_no_longer_than_that() {
    //= RFC9293 SHLD-16
    for shrunk in [0_u64, 1, 500, 2_000, 5_000] {
        let mut t = open();
        t.write(20_000);
        t.take_all();
        t.run(100);
        t.inject("A 1 ack 1 <sack 2001:5001>");
        assert_eq!(t.stack.counters().tcp_fast_retransmits, 1);
        t.take_all();
        t.run(10);
        t.inject(&format!("A 1 ack 1 win {shrunk} <sack 2001:6001>"));
        // Nothing goes beyond it but a probe of a window of nothing.
        for _ in 0..300 {
            t.run(10);
            for line in t.take_all() {
                let places = line.split_whitespace().nth(1).unwrap();
                let end: u64 = places.split_once(':').map_or(0, |(_, end)| end.parse().unwrap());
                assert!(end <= 1 + shrunk.max(1), "{line} in a window of {shrunk}");
            }
        }
        // The peer is alive: it says so now and then.
        t.inject(&format!("A 1 ack 1 win {shrunk} <sack 2001:6001>"));
        t.run(1_000);
        t.take_all();
        goes_on_with(&mut t, 20_000, "win 65535");
    }
}

#[test]
fn a_receiver_that_stops_reading_gets_what_is_left_when_it_reads_again() {
    let mut t = open();
    t.write(20_000);
    t.take_all();
    t.run(100);
    // All that is on its way has come but one, and there is no room for more.
    t.inject("A 1 ack 1001 win 9000 <sack 2001:10001>");
    t.run(100);
    t.take_all();
    t.inject("A 1 ack 10001 win 0");
    for _ in 0..60 {
        t.run(10_000);
        t.take_all();
        t.inject("A 1 ack 10001 win 0");
    }
    goes_on_with(&mut t, 20_000, "win 65535");
}

#[test]
fn a_window_that_shuts_and_opens_does_not_have_everything_sent_again_each_time() {
    for syn in [SYN, "S 0 win 65535 <mss 1000>"] {
        let mut t = opened(Setup::default(), syn, "A 1 ack 1");
        t.write(10_000);
        t.take_all();
        for _ in 0..20 {
            t.run(1);
            t.inject("A 1 ack 1 win 0");
            t.run(1);
            t.inject("A 1 ack 1 win 65535");
        }
        // All of it is on its way for 40 ms of a round trip of 100.
        let sent = t.take_all();
        assert!(sent.is_empty(), "{} segments for 40 acknowledgements", sent.len());
        goes_on(&mut t, 10_000);
    }
}
