//! Datagrams larger than their path: cut, put together, and what routers on the way say about it.

use std::net::{IpAddr, SocketAddr};

use tunstack::proto::{Config, Egress, Error, MtuDiscover, Owner, Packet, Secrets, Sent, Stack};
use tunstack::time::Instant;

use crate::harness::script::{Script, Setup};
use crate::support::seeds::pattern_bytes;
use crate::support::wire;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Two stacks, one link.
struct Pair {
    stacks: [Stack; 2],
    now: Instant,
    /// The longest packet that crossed the link, and how many did.
    longest: usize,
    crossed: usize,
}

impl Pair {
    fn new(mtu: usize) -> Pair {
        let now = Instant::from_millis(1_000);
        let stacks = [1, 2].map(|host| {
            let mut stack = Stack::new(Config::default(), &Secrets::from_number(host), now);
            let device = stack.add_interface(mtu);
            stack.add_address(device, format!("10.9.0.{host}/24").parse().unwrap()).unwrap();
            stack.add_address(device, format!("fd09::{host}/64").parse().unwrap()).unwrap();
            stack
        });
        Pair { stacks, now, longest: 0, crossed: 0 }
    }

    /// Carries packets until none is left.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            for from in 0..2 {
                let mut packets = Vec::new();
                let mut sink = |egress: Egress<'_>| {
                    let mut bytes = Vec::new();
                    egress.copy_to(&mut bytes);
                    packets.push(bytes);
                    Sent::Taken
                };
                let _ = self.stacks[from].transmit(self.now, &mut sink);
                for bytes in packets {
                    moved = true;
                    self.longest = self.longest.max(bytes.len());
                    self.crossed += 1;
                    let device = tunstack::proto::DeviceId(0);
                    self.stacks[1 - from].receive(device, &Packet::plain(&bytes, self.now));
                }
            }
            if !moved {
                return;
            }
        }
    }
}

//= RFC1122 3.2.2.6 data, 3.3.2 reassembly, 3.3.2 size
//= RFC791 3.1 datagrams of 576 octets
//= RFC792 echo
//= RFC1812 4.3.3.6 echo
//= RFC4443 4.2 data
//= RFC8200 5 packets of 1500 octets
//= RFC8504 5.1 fragment headers
#[test]
fn the_largest_ping_is_answered_in_both_families() {
    for (from, to, len, parts) in [
        ("10.9.0.1", "10.9.0.2", 65_507, 45),
        ("fd09::1", "fd09::2", 65_507, 46),
        ("fd09::1", "fd09::2", 65_527, 46),
    ] {
        let mut pair = Pair::new(1_500);
        let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let id = pair.stacks[0].ping_bind(pair.now, from, 7, Owner::APPLICATION).unwrap();
        let mut options = pair.stacks[0].ping_options(id).unwrap();
        options.mtu_discover = MtuDiscover::Do;
        pair.stacks[0].ping_set_options(id, options).unwrap();
        let data = pattern_bytes(1, 0, len);
        assert_eq!(pair.stacks[0].ping_send_to(pair.now, id, 1, &data, Some(to)), Err(Error::MessageTooLong));
        options.mtu_discover = MtuDiscover::Want;
        pair.stacks[0].ping_set_options(id, options).unwrap();
        assert_eq!(pair.stacks[0].ping_send_to(pair.now, id, 1, &data, Some(to)), Ok(len));
        pair.settle();
        let mut out = vec![0; 70_000];
        let reply = pair.stacks[0].ping_recv(id, &mut out).unwrap();
        assert_eq!((reply.from, reply.seq), (to, 1));
        assert!(out[..reply.len] == data[..]);
        assert!(pair.longest <= 1_500);
        assert_eq!(pair.crossed, 2 * parts);
        let counters = pair.stacks[1].counters();
        assert_eq!((counters.reassembled, counters.fragmented, counters.dropped_total()), (1, 1, 0));
        assert_eq!(counters.packets_in, counters.packets_delivered);
    }
}

#[test]
fn a_datagram_of_any_size_crosses_a_link_of_any_size() {
    for mtu in [1_280, 1_281, 1_287, 1_500, 9_000, 65_535] {
        for (from, to, max) in [("10.9.0.1:9", "10.9.0.2:7", 65_507), ("[fd09::1]:9", "[fd09::2]:7", 65_527)]
        {
            let mut pair = Pair::new(mtu);
            let [a, b] = &mut pair.stacks;
            let sender = a.udp_bind(pair.now, addr(from), Owner::APPLICATION).unwrap();
            let receiver = b.udp_bind(pair.now, addr(to), Owner::APPLICATION).unwrap();
            for len in [0, 1, mtu - 49, mtu - 48, mtu - 28, mtu - 27, 2 * mtu, 30_001, max - 1, max] {
                let data = pattern_bytes(1, 0, len.min(max));
                pair.stacks[0].udp_send_to(pair.now, sender, &data, Some(addr(to))).unwrap();
                pair.settle();
                let mut out = vec![0; 70_000];
                let (got, _) = pair.stacks[1].udp_recv_from(receiver, &mut out).unwrap();
                assert!(out[..got] == data[..], "{mtu} {len}");
            }
            assert!(pair.longest <= mtu);
            let over = vec![0; max + 1];
            let refused = pair.stacks[0].udp_send_to(pair.now, sender, &over, Some(addr(to)));
            assert_eq!(refused, Err(Error::MessageTooLong));
        }
    }
}

#[test]
fn the_largest_datagrams_reach_ourselves() {
    for (ipv6, to, len) in [
        (false, "127.0.0.1:7", 65_507),
        (false, "10.9.0.2:7", 65_507),
        (true, "[::1]:7", 65_527),
        (true, "[fd09::2]:7", 65_527),
    ] {
        let mut t = Script::with(Setup { ipv6, ..Setup::default() });
        let now = t.now();
        let id = t.stack.udp_bind(now, addr(to), Owner::APPLICATION).unwrap();
        let data = pattern_bytes(1, 0, len);
        assert_eq!(t.stack.udp_send_to(now, id, &data, Some(addr(to))), Ok(len));
        t.flush();
        let mut out = vec![0; 70_000];
        assert_eq!(t.stack.udp_recv_from(id, &mut out), Ok((len, addr(to))));
        assert!(out[..len] == data[..]);
        t.expect_none();
        t.stack.udp_close(now, id);
    }
}

/// A router on the way says that a segment was too big.
fn too_big(t: &mut Script, mtu: u32, quoted: &str) {
    let (from, to) = (t.peer_ip, t.stack_ip);
    let quoted = t.as_sent(quoted);
    let (kind, code) = if to.is_ipv4() { (3, 4) } else { (2, 0) };
    t.receive(&wire::icmp_error(from, to, kind, code, mtu, &quoted));
}

/// First and last position of a segment's text.
fn text_of(line: &str) -> Option<(usize, usize)> {
    let (from, to) = line.split_whitespace().nth(1)?.split_once(':')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

//= RFC8504 5.7 path MTU
#[test]
fn a_connection_goes_on_in_segments_that_the_path_lets_through() {
    //= RFC1191 6.4 retransmit
    for (ipv6, mss) in [(false, 1_460), (true, 1_440)] {
        let mut t = Script::with(Setup { ipv6, ..Setup::default() });
        t.open_passive(&format!("S 0 win 65535 <mss {mss}>"));
        t.write(3 * mss);
        let first = t.take_all();
        assert_eq!(first.len(), 3, "{first:?}");
        too_big(&mut t, 1_300, &format!("A 1:{} ack 1", 1 + mss));
        assert_eq!(t.stack.counters().path_mtus_learnt, 1);
        assert_eq!(t.stack.counters().icmp_errors_in, 1);
        // What is lost comes again in smaller segments, until all has come.
        let room = 1_300 - if ipv6 { 60 } else { 40 };
        let end = 1 + 3 * mss;
        let mut arrived = vec![false; end];
        let acknowledged = |arrived: &[bool]| 1 + arrived[1..].iter().take_while(|it| **it).count();
        for _ in 0..20 {
            t.run(1_000);
            for (from, to) in t.take_all().iter().filter_map(|line| text_of(line)) {
                assert!(to - from <= room, "{from}:{to}");
                arrived[from..to].fill(true);
            }
            t.peer(&format!("A 1 ack {} win 65535", acknowledged(&arrived)));
        }
        assert_eq!(acknowledged(&arrived), end);
        t.write(room);
        assert_eq!(t.take().payload.len(), room);
        // After ten minutes the path is tried anew.
        t.peer(&format!("A 1 ack {} win 65535", end + room));
        t.run(600_000);
        t.take_all();
        t.write(5_000);
        assert_eq!(t.take().payload.len(), mss);
        t.take_all();
    }
}

#[test]
fn who_quotes_nothing_in_flight_or_asks_for_crumbs_changes_nothing() {
    //= RFC5927 section 7.2
    for ipv6 in [false, true] {
        let mut t = Script::with(Setup { ipv6, ..Setup::default() });
        t.open_passive("S 0 win 65535 <mss 1440>");
        t.write(1_440);
        t.take_all();
        for quoted in ["A 1441:1442 ack 1", "A 90000:90001 ack 1", "A -5:1 ack 1"] {
            too_big(&mut t, 1_300, quoted);
        }
        // No smaller than the link's, or larger.
        for mtu in [1_500, 9_000, 65_535] {
            too_big(&mut t, mtu, "A 1:1441 ack 1");
        }
        if ipv6 {
            for mtu in [0, 68, 1_279] {
                too_big(&mut t, mtu, "A 1:1441 ack 1");
            }
        }
        assert_eq!(t.stack.counters().path_mtus_learnt, 0);
        t.peer("A 1 ack 1441 win 65535");
        t.write(1_440);
        assert_eq!(t.take().payload.len(), 1_440);
        t.take_all();
    }
}

#[test]
fn a_path_that_is_too_narrow_to_be_believed_may_cut_our_segments() {
    let mut t = Script::new();
    t.open_passive("S 0 win 65535 <mss 1460>");
    t.write(1_460);
    t.take_all();
    too_big(&mut t, 296, "A 1:1461 ack 1");
    t.run(3_000);
    // 552 bytes, not the 296 that a stranger could ask for as well.
    let segment = t.take();
    assert_eq!((segment.payload.len(), segment.dont_fragment), (512, false));
    t.take_all();
}
