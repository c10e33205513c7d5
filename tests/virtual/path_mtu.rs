//! TCP and the MTU of its path: what a router has found too big goes again at once (RFC 1191, RFC 8201), and where nobody
//! says anything the MTU is searched for (RFC 4821).

use std::net::SocketAddr;

use tunstack::proto::config::MtuProbing;
use tunstack::proto::{DropReason, Owner, TcpId};

use crate::harness::script::{Script, Setup};
use crate::support::wire;

/// A script of IPv4 or IPv6, and what is not text in its datagrams.
fn script(ipv6: bool) -> (Script, usize) {
    (Script::with(Setup { ipv6, ..Setup::default() }), if ipv6 { 60 } else { 40 })
}

fn with_mode(mode: MtuProbing) -> Script {
    Script::config(|config| config.mtu_probing = mode)
}

/// A router on the way says that a segment was too big.
fn too_big(t: &mut Script, mtu: u32, quoted: &str) {
    let (from, to) = (t.peer_ip, t.stack_ip);
    let quoted = t.as_sent(quoted);
    let (kind, code) = if to.is_ipv4() { (3, 4) } else { (2, 0) };
    t.receive(&wire::icmp_error(from, to, kind, code, mtu, &quoted));
}

fn cwnd_of(t: &Script) -> (u64, u64) {
    let info = t.stack.tcp_info(t.id()).unwrap();
    (info.cwnd, info.ssthresh)
}

/// A receiver behind a path on which larger datagrams vanish. It acknowledges each segment that comes.
struct Hole {
    mtu: usize,
    arrived: Vec<bool>,
    /// The first byte that has not come, counted from 1 as in segments.
    next: usize,
    /// Datagrams that have vanished.
    swallowed: Vec<usize>,
}

impl Hole {
    fn new(mtu: usize) -> Hole {
        Hole { mtu, arrived: Vec::new(), next: 1, swallowed: Vec::new() }
    }

    /// What was sent so far meets the path; the acknowledgements come after so many milliseconds.
    fn pass(&mut self, t: &mut Script, ms: u64) -> usize {
        let headers = if t.stack_ip.is_ipv4() { 40 } else { 60 };
        let mut acks = Vec::new();
        for line in t.take_all() {
            let Some((from, to)) = line.split_whitespace().nth(1).and_then(|text| text.split_once(':'))
            else {
                continue;
            };
            let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
            if to - from + headers > self.mtu {
                self.swallowed.push(to - from + headers);
                continue;
            }
            if self.arrived.len() < to {
                self.arrived.resize(to, false);
            }
            self.arrived[from..to].fill(true);
            while self.arrived.get(self.next) == Some(&true) {
                self.next += 1;
            }
            acks.push(self.next);
        }
        t.run(ms);
        for ack in &acks {
            t.inject(&format!("A 1 ack {ack} win 65535"));
        }
        acks.len()
    }

    /// So many bytes are written, as there is room, and all arrive. Returns how long that has taken, in milliseconds.
    fn carry(&mut self, t: &mut Script, bytes: usize) -> u64 {
        let (begun, end) = (t.now(), self.next + bytes);
        let mut left = bytes;
        while self.next < end {
            assert!(t.now() - begun < std::time::Duration::from_secs(60), "no end");
            if left > 0 {
                left -= t.write_some(left).unwrap_or(0);
            }
            self.pass(t, 50);
        }
        (t.now() - begun).as_millis() as u64
    }
}

fn open(t: &mut Script, mss: usize) -> TcpId {
    t.open_passive(&format!("S 0 win 65535 <mss {mss},ws 7>"))
}

//= RFC1191 6.4 retransmit, 6.4 no congestion, 6.4 decreases, 3 reduce
//= RFC8201 5.4 retransmit, 5.4 no congestion, 5.4 decreases, 4 reduce
#[test]
fn what_was_too_big_goes_again_at_once_in_segments_that_fit() {
    for ipv6 in [false, true] {
        let (mut t, headers) = script(ipv6);
        open(&mut t, 1_400);
        t.write(2_800);
        t.expect("A 1:1401 ack 1");
        t.expect("PA 1401:2801 ack 1");
        t.options(|options| options.nodelay = true);
        t.write(100);
        t.expect("PA 2801:2901 ack 1");
        t.run(50);
        let before = cwnd_of(&t);
        too_big(&mut t, 1_300, "A 1:1401 ack 1");
        let room = 1_300 - headers;
        // The small segment has got through, and its like will.
        t.expect(&format!("A 1:{} ack 1", 1 + room));
        t.expect(&format!("A {}:{} ack 1", 1 + room, 1 + 2 * room));
        t.expect(&format!("A {}:2801 ack 1", 1 + 2 * room));
        t.expect_none();
        assert_eq!(cwnd_of(&t), before);
        // Complaints about the others of the flight come later, and are no news.
        too_big(&mut t, 1_300, "A 1401:2801 ack 1");
        t.expect_none();
        assert_eq!(t.dropped(DropReason::IcmpIgnored), 1);
        // What was sent again has a time-out of its own.
        t.wait(190);
        t.peer("A 1 ack 2901");
        assert_eq!((t.stack.counters().tcp_timeouts, cwnd_of(&t).1), (0, u64::MAX));
    }
}

#[test]
fn duplicate_acks_for_what_was_too_big_are_no_sign_of_congestion() {
    let mut t = Script::new();
    open(&mut t, 1_460);
    t.options(|options| options.nodelay = true);
    t.write(1_460);
    for _ in 0..5 {
        t.write(50);
    }
    t.take_all();
    t.peer("A 1 ack 1");
    t.peer("A 1 ack 1");
    too_big(&mut t, 1_400, "A 1:1461 ack 1");
    t.expect("A 1:1361 ack 1");
    t.expect("A 1361:1461 ack 1");
    for _ in 0..3 {
        t.peer("A 1 ack 1");
    }
    t.expect_none();
    assert_eq!((t.stack.counters().tcp_fast_retransmits, cwnd_of(&t)), (0, (14_600, u64::MAX)));
    t.peer("A 1 ack 1711");
}

#[test]
fn a_narrower_hop_behind_the_first_is_heard_as_well() {
    let mut t = Script::new();
    open(&mut t, 1_460);
    t.write(1_460);
    t.expect("PA 1:1461 ack 1");
    too_big(&mut t, 1_400, "A 1:1461 ack 1");
    t.expect("A 1:1361 ack 1");
    t.expect("PA 1361:1461 ack 1");
    too_big(&mut t, 1_300, "A 1:1361 ack 1");
    t.expect("A 1:1261 ack 1");
    t.expect("A 1261:1361 ack 1");
    t.expect_none();
}

#[test]
fn a_connection_hears_what_another_has_heard_before() {
    let mut t = Script::new();
    open(&mut t, 1_460);
    t.client(1);
    open(&mut t, 1_460);
    for client in [0, 1] {
        t.client(client).write(1_460);
        t.expect("PA 1:1461 ack 1");
    }
    for client in [0, 1] {
        too_big(t.client(client), 1_400, "A 1:1461 ack 1");
        t.expect("A 1:1361 ack 1");
        t.expect("PA 1361:1461 ack 1");
    }
    assert_eq!((t.stack.counters().path_mtus_learnt, t.stack.counters().icmp_errors_in), (1, 2));
}

/// Attack: a "too big" that quotes what is not in flight, or what was no larger than it says goes through.
//= RFC1191 3 no increase
//= RFC8201 4 no increase
#[test]
fn who_says_too_big_of_what_is_not_in_flight_or_not_too_big_is_not_believed() {
    for ipv6 in [false, true] {
        let (mut t, headers) = script(ipv6);
        open(&mut t, 1_400);
        t.options(|options| options.nodelay = true);
        t.write(1_400);
        t.write(500);
        t.take_all();
        for quoted in ["A 1901:1902 ack 1", "A 500000:500001 ack 1", "A -20:-19 ack 1", "A 0:1 ack 1"] {
            too_big(&mut t, 1_300, quoted);
        }
        assert_eq!(t.dropped(DropReason::IcmpUnrelated), 4);
        // The quoted segment has 500 bytes of text.
        for mtu in [1_300, 1_281, 500 + headers as u32] {
            too_big(&mut t, mtu, "PA 1401:1901 ack 1");
        }
        too_big(&mut t, 1_400 + headers as u32, "A 1:1401 ack 1");
        assert_eq!((t.stack.counters().path_mtus_learnt, t.dropped(DropReason::IcmpIgnored)), (0, 4));
        t.expect_none();
        t.peer("A 1 ack 1901");
        too_big(&mut t, 1_300, "A 1:1401 ack 1");
        assert_eq!(t.dropped(DropReason::IcmpUnrelated), 5);
        t.write(1_400);
        t.expect("PA 1901:3301 ack 1");
    }
}

/// Attack: whoever sees our segments says that each is a byte too large.
//= RFC8201 4 never below 1280, 4 discard
//= RFC1191 3 never below 68
#[test]
fn lies_that_shrink_the_mtu_byte_by_byte_are_bounded() {
    for ipv6 in [false, true] {
        let (mut t, headers) = script(ipv6);
        open(&mut t, 1_400);
        t.write(14_000);
        t.take_all();
        let mut resent = 0;
        for mtu in (0..1_400 + headers as u32).rev() {
            too_big(&mut t, mtu, "A 1:2 ack 1");
            resent += t.take_all().len();
        }
        // Four times the flight, not a thousand times.
        assert!((40..=4 * 11).contains(&resent), "{resent}");
        let least = if ipv6 { 1_280 } else { 552 };
        assert_eq!(t.stack.tcp_info(t.id()).unwrap().snd_mss as usize, least - headers);
        // The flight is not lost for it.
        t.run(250);
        t.take_all();
        t.peer("A 1 ack 14001");
        t.write(least - headers);
        t.expect(&format!("PA 14001:{} ack 1", 14_001 + least - headers));
    }
}

//= RFC4821 7.7 full stop
//= RFC8504 5.7 without ICMP
#[test]
fn where_large_segments_vanish_smaller_ones_go_after_two_time_outs() {
    for (ipv6, base) in [(false, 1_200), (true, 1_280)] {
        let (mut t, headers) = script(ipv6);
        open(&mut t, 1_400);
        t.write(2_800);
        t.expect("A 1:1401 ack 1");
        t.expect("PA 1401:2801 ack 1");
        t.expect_in(200, "A 1:1401 ack 1");
        let room = base - headers;
        t.expect_in(400, &format!("A 1:{} ack 1", 1 + room));
        assert_eq!(t.stack.counters().tcp_black_holes, 1);
        t.peer(&format!("A 1 ack {}", 1 + room));
        t.expect(&format!("A {}:{} ack 1", 1 + room, 1 + 2 * room));
        t.expect(&format!("PA {}:2801 ack 1", 1 + 2 * room));
        t.peer("A 1 ack 2801");
        if !ipv6 {
            t.snapshot("black_hole");
        }
        // The next connection begins with what gets through.
        t.client(1);
        open(&mut t, 1_400);
        t.write(room);
        t.expect(&format!("PA 1:{} ack 1", 1 + room));
        t.write(room + 1);
        t.expect(&format!("A {}:{} ack 1", 1 + room, 1 + 2 * room));
    }
}

//= RFC4821 5.2 shared
#[test]
fn who_was_open_before_a_black_hole_was_found_and_has_sent_nothing_begins_with_what_gets_through() {
    for ipv6 in [false, true] {
        let (mut t, headers) = script(ipv6);
        open(&mut t, 1_400);
        t.client(1);
        open(&mut t, 1_400);
        t.client(0).write(1_400);
        t.expect("PA 1:1401 ack 1");
        t.expect_in(200, "PA 1:1401 ack 1");
        let room = if ipv6 { 1_280 } else { 1_200 } - headers;
        t.expect_in(400, &format!("A 1:{} ack 1", 1 + room));
        t.peer(&format!("A 1 ack {}", 1 + room));
        t.expect(&format!("PA {}:1401 ack 1", 1 + room));
        t.client(1).write(1_400);
        t.expect(&format!("A 1:{} ack 1", 1 + room));
        t.expect_none();
    }
}

//= RFC4821 7.7 lower bound
#[test]
fn where_even_those_vanish_the_smallest_that_every_host_takes_go() {
    let mut t = Script::new();
    open(&mut t, 1_460);
    t.write(1_460);
    t.expect("PA 1:1461 ack 1");
    t.expect_in(200, "PA 1:1461 ack 1");
    t.expect_in(400, "A 1:1161 ack 1");
    t.expect_in(800, "A 1:1161 ack 1");
    t.expect_in(1_600, "A 1:537 ack 1");
    t.expect_in(3_200, "A 1:537 ack 1");
}

#[test]
fn small_segments_that_are_lost_make_no_black_hole() {
    let mut t = Script::new();
    open(&mut t, 1_460);
    t.write(500);
    t.expect("PA 1:501 ack 1");
    for wait in [200, 400, 800, 1_600] {
        t.expect_in(wait, "PA 1:501 ack 1");
    }
    t.peer("A 1 ack 501");
    t.write(1_460);
    t.expect("PA 501:1961 ack 1");
    assert_eq!(t.stack.counters().tcp_black_holes, 0);
}

//= RFC4821 7.2 switch
#[test]
fn the_search_can_be_switched_off() {
    let mut t = with_mode(MtuProbing::Off);
    open(&mut t, 1_460);
    t.write(1_460);
    t.expect("PA 1:1461 ack 1");
    for wait in [200, 400, 800, 1_600, 3_200] {
        t.expect_in(wait, "PA 1:1461 ack 1");
    }
}

/// Brings a connection to where it may probe: a black hole was found, and its window has grown to more than eight segments.
/// Returns where what is sent next begins.
fn after_black_hole(t: &mut Script) -> usize {
    open(t, 1_460);
    t.write(1_460);
    t.expect("PA 1:1461 ack 1");
    t.expect_in(200, "PA 1:1461 ack 1");
    t.expect_in(400, "A 1:1161 ack 1");
    t.peer("A 1 ack 1161");
    t.expect("PA 1161:1461 ack 1");
    t.peer("A 1 ack 1461");
    grow(t, 1_461)
}

/// Segments are written one by one, so that there is never enough to probe with, until the window holds nine.
fn grow(t: &mut Script, mut acked: usize) -> usize {
    loop {
        let segments = cwnd_of(t).0 as usize / 1_160;
        if segments >= 9 {
            return acked;
        }
        (0..segments).for_each(|_| t.write(1_160));
        let sent = t.take_all();
        assert_eq!(sent.len(), segments, "{sent:?}");
        acked += 1_160 * segments;
        t.peer(&format!("A 1 ack {acked}"));
    }
}

/// The line of the segment at `start`.
fn segment(start: usize, len: usize) -> String {
    format!("A {start}:{} ack 1", start + len)
}

//= RFC4821 7.4 preconditions, 7.5 in-band, 7.6.1 success
#[test]
fn a_probe_is_a_larger_segment_of_what_there_is_to_send() {
    let mut t = Script::new();
    let at = after_black_hole(&mut t);
    // Three segments have to follow, or nobody would tell of its loss.
    t.write(1_460 + 3 * 1_160 - 1);
    for nth in 0..4 {
        t.expect(&segment(at + nth * 1_160, 1_160));
    }
    let at = at + 1_460 + 3 * 1_160 - 1;
    t.peer(&format!("A 1 ack {}", at - 299));
    t.expect(&format!("P{}", segment(at - 299, 299)));
    t.peer(&format!("A 1 ack {at}"));
    t.write(1_460 + 3 * 1_160);
    t.expect(&segment(at, 1_460));
    t.expect(&segment(at + 1_460, 1_160));
    t.expect(&segment(at + 2_620, 1_160));
    t.expect(&format!("P{}", segment(at + 3_780, 1_160)));
    t.peer(&format!("A 1 ack {}", at + 1_460));
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().snd_mss, 1_460);
    let at = at + 4_940;
    t.peer(&format!("A 1 ack {at}"));
    t.write(2_920);
    t.expect(&segment(at, 1_460));
    t.expect(&format!("P{}", segment(at + 1_460, 1_460)));
    assert_eq!(t.stack.counters().tcp_path_probes, 1);
}

/// Writes what makes a probe of `len` bytes go, and the four segments behind it.
fn probe(t: &mut Script, at: usize, len: usize) -> usize {
    t.write(len + 4 * 1_160);
    t.expect(&segment(at, len));
    assert_eq!(t.take_all().len(), 4);
    at + len + 4 * 1_160
}

//= RFC4821 7.6.2 failure, 7.6.2 no congestion
#[test]
fn the_loss_of_a_probe_alone_is_no_sign_of_congestion() {
    let mut t = Script::new();
    let at = after_black_hole(&mut t);
    let end = probe(&mut t, at, 1_460);
    t.run(20);
    let before = cwnd_of(&t);
    for _ in 0..2 {
        t.peer(&format!("A 1 ack {at}"));
        t.expect_none();
    }
    t.peer(&format!("A 1 ack {at}"));
    t.expect(&segment(at, 1_160));
    t.expect(&segment(at + 1_160, 300));
    t.peer(&format!("A 1 ack {at}"));
    t.expect_none();
    assert_eq!(cwnd_of(&t), before);
    // The time-out is that of what was sent again.
    t.wait(199);
    t.peer(&format!("A 1 ack {end}"));
    assert_eq!((t.stack.counters().tcp_fast_retransmits, t.stack.counters().tcp_timeouts), (0, 2));
    // The next would be of the middle, and it doesn't go at once.
    t.write(5 * 1_160);
    for nth in 0..5 {
        t.expect(&format!("{}{}", if nth == 4 { "P" } else { "" }, segment(end + nth * 1_160, 1_160)));
    }
    let at = end + 5 * 1_160;
    t.peer(&format!("A 1 ack {at}"));
    t.run(200);
    probe(&mut t, at, 1_310);
}

//= RFC1191 3 DF
//= RFC4821 5.1 DF
#[test]
fn nobody_may_cut_a_segment_nor_a_probe() {
    let mut t = Script::new();
    let at = after_black_hole(&mut t);
    t.write(1_160);
    assert!(t.take().dont_fragment);
    t.peer(&format!("A 1 ack {}", at + 1_160));
    t.write(20_000);
    let probe = t.take();
    assert_eq!((probe.payload.len(), probe.dont_fragment), (1_460, true));
    t.take_all();
}

/// Where DF would make a black hole of a path, what gets through says nothing of its MTU.
#[test]
fn a_path_that_may_cut_our_segments_is_not_probed() {
    let mut t = Script::new();
    let at = after_black_hole(&mut t);
    t.write(1_160);
    t.expect(&format!("P{}", segment(at, 1_160)));
    too_big(&mut t, 300, &segment(at, 1_160));
    t.take_all();
    t.peer(&format!("A 1 ack {}", at + 1_160));
    t.write(100_000);
    let sent: Vec<(usize, bool)> =
        std::iter::from_fn(|| t.try_take()).map(|tcp| (tcp.payload.len(), tcp.dont_fragment)).collect();
    assert!(sent.len() > 5 && sent.iter().all(|it| *it == (512, false)), "{sent:?}");
}

//= RFC4821 7.6.4 inconclusive
#[test]
fn a_probe_lost_with_all_that_follows_is_congestion_and_proves_nothing() {
    let mut t = Script::new();
    let at = after_black_hole(&mut t);
    let end = probe(&mut t, at, 1_460);
    t.expect_in(200, &segment(at, 1_160));
    assert_eq!(cwnd_of(&t).0, 1_160);
    t.peer(&format!("A 1 ack {}", at + 1_160));
    t.expect(&segment(at + 1_160, 1_160));
    t.expect(&segment(at + 2_320, 1_160));
    t.peer(&format!("A 1 ack {end}"));
    // When the window has grown, the same size is tried once more.
    let at = grow(&mut t, end);
    t.run(1_000);
    probe(&mut t, at, 1_460);
}

//= RFC4821 7.6.4 congestion
#[test]
fn a_probe_lost_after_another_segment_is_congestion() {
    let mut t = Script::new();
    let at = after_black_hole(&mut t);
    t.write(1_160);
    t.expect(&format!("P{}", segment(at, 1_160)));
    let end = probe(&mut t, at + 1_160, 1_460);
    let (cwnd, _) = cwnd_of(&t);
    for _ in 0..3 {
        t.inject(&format!("A 1 ack {at}"));
    }
    t.expect(&segment(at, 1_160));
    assert_eq!(t.stack.counters().tcp_fast_retransmits, 1);
    assert!(cwnd_of(&t).1 < cwnd);
    t.run(20);
    t.inject(&format!("A 1 ack {}", at + 1_160));
    t.expect(&segment(at + 1_160, 1_160));
    t.run(20);
    t.inject(&format!("A 1 ack {}", at + 2_320));
    // What was lost of the probe, and as much as a segment holds: without SACK nobody knows where the hole ends.
    t.expect(&segment(at + 2_320, 1_160));
    t.run(20);
    t.inject(&format!("A 1 ack {end}"));
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().snd_mss, 1_160);
}

//= RFC4821 7.4 delay
#[test]
fn a_probe_waits_for_room_in_the_congestion_window_and_nothing_goes_before_it() {
    let mut t = Script::new();
    let at = after_black_hole(&mut t);
    // Of the window, a hundred bytes are left.
    t.options(|options| options.nodelay = true);
    let cwnd = cwnd_of(&t).0 as usize;
    (0..cwnd / 1_160).for_each(|_| t.write(1_160));
    t.write(cwnd % 1_160 - 100);
    assert_eq!(t.take_all().len(), cwnd / 1_160 + 1);
    t.write(20_000);
    t.expect_none();
    t.peer(&format!("A 1 ack {}", at + 1_160));
    assert_eq!(cwnd_of(&t).0 as usize, cwnd);
    t.expect_none();
    t.peer(&format!("A 1 ack {}", at + 2_320));
    t.expect(&segment(at + cwnd - 100, 1_460));
    t.take_all();
}

//= RFC4821 7.3 converged, 7.3 raise, 5.2 shared
#[test]
fn the_search_finds_the_mtu_keeps_it_for_others_and_looks_again_after_ten_minutes() {
    for ipv6 in [false, true] {
        let (mut t, headers) = script(ipv6);
        open(&mut t, 1_500 - headers);
        let mut hole = Hole::new(1_400);
        let took = hole.carry(&mut t, 1_500_000);
        assert!(took < 4_000, "{took} ms");
        let found = t.stack.tcp_info(t.id()).unwrap().snd_mss as usize + headers;
        assert!((1_393..=1_400).contains(&found), "{found}");
        let (probes, swallowed) = (t.stack.counters().tcp_path_probes, hole.swallowed.len());
        assert!(probes <= 8, "{probes} probes");
        hole.carry(&mut t, 200_000);
        assert_eq!((t.stack.counters().tcp_path_probes, hole.swallowed.len()), (probes, swallowed));
        // It is proven, so that others know it, too.
        let udp = t.stack.udp_bind(t.now(), SocketAddr::new(t.stack_ip, 5_000), Owner::APPLICATION).unwrap();
        t.stack.udp_connect(t.now(), udp, SocketAddr::new(t.peer_ip, 5_000)).unwrap();
        assert_eq!(t.stack.udp_path_mtu(udp), Ok(found));
        t.stack.udp_close(t.now(), udp);
        t.client(1);
        open(&mut t, 1_500 - headers);
        t.write(5_000);
        assert_eq!(t.take().payload.len(), found - headers);
        t.take_all();
        t.peer("A 1 ack 5001");
        // The path is better now. The connection that has searched finds it out.
        t.client(0);
        t.run(600_000);
        t.take_all();
        hole.mtu = 1_500;
        hole.carry(&mut t, 200_000);
        assert_eq!(t.stack.tcp_info(t.id()).unwrap().snd_mss as usize, 1_500 - headers);
        assert_eq!(t.stack.counters().tcp_path_probes, probes + 1);
    }
}

#[test]
fn a_guess_binds_no_datagrams_of_others() {
    let mut t = Script::new();
    after_black_hole(&mut t);
    let udp = t.stack.udp_bind(t.now(), SocketAddr::new(t.stack_ip, 5_000), Owner::APPLICATION).unwrap();
    t.stack.udp_connect(t.now(), udp, SocketAddr::new(t.peer_ip, 5_000)).unwrap();
    assert_eq!(t.stack.udp_path_mtu(udp), Ok(1_500));
    t.stack.udp_close(t.now(), udp);
}

//= RFC4821 7.2 initial
#[test]
fn a_connection_may_search_from_its_start() {
    let mut t = with_mode(MtuProbing::Always);
    open(&mut t, 1_460);
    t.write(1_160);
    t.expect("PA 1:1161 ack 1");
    t.peer("A 1 ack 1161");
    t.write(20_000);
    t.expect("A 1161:2621 ack 1");
    assert!(t.take_all().len() > 5);
    t.peer("A 1 ack 2621");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().snd_mss, 1_460);
    t.take_all();
}

#[test]
fn too_big_shortens_the_search() {
    let mut t = Script::new();
    let at = after_black_hole(&mut t);
    let end = probe(&mut t, at, 1_460);
    // It comes for the probe: what was lost goes again, and what the router names is tried next.
    too_big(&mut t, 1_440, &segment(at, 1_460));
    t.expect(&segment(at, 1_160));
    t.expect(&segment(at + 1_160, 300));
    t.peer(&format!("A 1 ack {end}"));
    let end = probe(&mut t, end, 1_400);
    t.peer(&format!("A 1 ack {end}"));
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().snd_mss, 1_400);
}

#[test]
fn a_false_alarm_is_over_when_what_seemed_lost_is_acknowledged() {
    let mut t = Script::new();
    open(&mut t, 1_460);
    t.write(1_460);
    t.expect("PA 1:1461 ack 1");
    t.expect_in(200, "PA 1:1461 ack 1");
    t.expect_in(400, "A 1:1161 ack 1");
    // The peer was away for a moment. What it has now is the large segment.
    t.peer("A 1 ack 1461");
    t.write(1_460);
    t.expect("PA 1461:2921 ack 1");
}

#[test]
fn a_probe_is_no_larger_than_its_size_though_there_is_something_to_report() {
    //= RFC2018 3 room
    let mut t = Script::config(|config| config.mtu_probing = MtuProbing::Always);
    t.open_passive("S 0 win 65535 <mss 1460,sackok>");
    t.peer("A 101:201 ack 1");
    t.expect("A 1 ack 1 <sack 101:201>");
    let mut end = 1;
    for _ in 0..20 {
        t.write(20_000);
        while let Some(tcp) = t.try_take() {
            let datagram = 40 + tcp.options.len() + tcp.payload.len();
            assert!(datagram <= 1500, "{datagram} bytes where 1500 fit");
            end += tcp.payload.len();
        }
        t.run(10);
        t.inject(&format!("A 1 ack {end}"));
    }
}
