use super::*;
use crate::proto::counters::DropReason::*;
use crate::proto::ip::input;
use crate::proto::ip::testing::{TUN, Taken, World, accept, datagram, header};
use crate::proto::packet::{ChecksumState, Packet};
use crate::proto::wire;
use crate::proto::wire::icmp::{Message, v4, v6};
use crate::proto::wire::ip::{IpHeader, PROTOCOL_UDP};
use alloc::collections::BTreeSet;
use alloc::vec;
use core::time::Duration;
use proptest::prelude::*;

mod model;

const V4: (&str, &str) = ("10.9.0.1", "10.9.0.2");
const V6: (&str, &str) = ("fd09::1", "fd09::2");
/// A protocol without a header that IPv6's first fragments would have to hold.
const PROTOCOL: u8 = 99;

type Verdict = Result<Option<Vec<u8>>, DropReason>;

/// A world in which fragments arrive.
struct Host {
    world: World,
    reassembly: Reassembly,
}

impl Host {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let reassembly = Reassembly::new(&config, [7; 16]);
        Host { world: World::with(config), reassembly }
    }

    /// Gives a fragment; the answer tells the payload of what became whole.
    fn give(&mut self, bytes: &[u8]) -> Verdict {
        self.give_whole(bytes)
            .map(|whole| whole.map(|whole| wire::ip::parse(&whole).unwrap().payload.to_vec()))
    }

    fn give_whole(&mut self, bytes: &[u8]) -> Verdict {
        let now = self.world.now;
        let ctx = self.world.ctx();
        match accept(ctx, TUN, &Packet::plain(bytes, now))? {
            Taken::Part(part) => {
                let verdict = self.reassembly.add(ctx, &part);
                self.check_invariants();
                verdict
            }
            Taken::Local(read) => Ok(Some(read.whole.to_vec())),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.world.now += time;
        while let Some(key) = self.world.timers.pop_due(self.world.now) {
            assert_eq!(key, TimerKey::Reassembly);
            self.reassembly.timer(self.world.ctx());
        }
        self.check_invariants();
    }

    fn check_invariants(&self) {
        let it = &self.reassembly;
        let charged: usize = it
            .pending
            .values()
            .map(|pending| Pending::CHARGE + pending.parts.as_ref().map_or(0, |parts| parts.charge))
            .sum();
        assert_eq!(charged, it.bytes);
        assert!(it.bytes <= it.limits.bytes && it.pending.len() <= it.limits.datagrams);
        let ages: usize = it.by_age.iter().map(BTreeMap::len).sum();
        assert_eq!(ages, it.pending.len());
        assert_eq!(it.timer.is_some(), !it.pending.is_empty());
        for parts in it.pending.values().filter_map(|pending| pending.parts.as_ref()) {
            assert!(parts.by_offset.len() <= it.limits.parts);
        }
    }

    /// Type and code of the ICMP error that was sent, and what it quotes.
    fn complaint(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let (_, bytes) = self.world.sent()?;
        let read = wire::ip::parse(&bytes).unwrap();
        let message = wire::icmp::parse(read.payload, read.src, read.dst, ChecksumState::Unverified);
        let Ok(Message::Error(error)) = message else { panic!("not an error: {message:?}") };
        Some((error.kind, error.code, error.word, error.quoted.to_vec()))
    }
}

/// A part as it may come: `whole` tells family, protocol, TOS.
#[derive(Clone, Copy)]
struct Bit<'a> {
    whole: IpHeader,
    ident: u32,
    start: usize,
    data: &'a [u8],
    more: bool,
}

impl Bit<'_> {
    fn bytes(&self) -> Vec<u8> {
        let Bit { whole, ident, start, data, more } = *self;
        let word = (start / 8) as u16;
        if whole.src.is_ipv4() {
            let mut bytes = datagram(&IpHeader { ident: ident as u16, ..whole }, data);
            bytes[6..8].copy_from_slice(&(word | u16::from(more) << 13).to_be_bytes());
            bytes[10..12].fill(0);
            let mut sum = crate::proto::wire::checksum::Sum::new();
            sum.add(&bytes[..20]);
            let sum = sum.finish().to_be_bytes();
            bytes[10..12].copy_from_slice(&sum);
            return bytes;
        }
        let mut inner = vec![whole.protocol, 0];
        inner.extend_from_slice(&(word << 3 | u16::from(more)).to_be_bytes());
        inner.extend_from_slice(&ident.to_be_bytes());
        inner.extend_from_slice(data);
        datagram(&IpHeader { protocol: 44, ..whole }, &inner)
    }
}

/// A part of datagram number 7.
fn bit((src, dst): (&str, &str), start: usize, data: &[u8], more: bool) -> Vec<u8> {
    Bit { whole: header(src, dst, PROTOCOL), ident: 7, start, data, more }.bytes()
}

const A: [u8; 8] = *b"aaaaaaaa";
const B: [u8; 8] = *b"bbbbbbbb";

//= RFC1122 3.2.1.4 reassembly
//= RFC791 3.2 reassembly
//= RFC1812 4.2.2.8 reassembly
//= RFC8200 4.5 reassembly
#[test]
fn parts_in_any_order_become_the_datagram() {
    for ends in [V4, V6] {
        let parts = [bit(ends, 0, &A, true), bit(ends, 8, &B, true), bit(ends, 16, b"end", false)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut host = Host::new();
            assert_eq!(host.give(&parts[order[0]]), Ok(None));
            assert_eq!(host.give(&parts[order[1]]), Ok(None));
            assert_eq!(host.give(&parts[order[2]]), Ok(Some(b"aaaaaaaabbbbbbbbend".to_vec())));
            assert_eq!((host.reassembly.held(), host.world.counters.reassembled), ((0, 0), 1));
            assert!(host.world.timers.is_empty());
        }
    }
}

#[test]
fn what_joins_parts_are_addresses_identification_and_over_ipv4_the_protocol() {
    //= RFC791 3.2 identification: identification, source, destination and protocol.
    let first = Bit { whole: header(V4.0, V4.1, PROTOCOL), ident: 7, start: 0, data: &A, more: true };
    let last = Bit { start: 8, data: &B, more: false, ..first };
    for other in [
        Bit { whole: header("10.9.0.9", V4.1, PROTOCOL), ..last },
        Bit { whole: header(V4.0, V4.1, 98), ..last },
        Bit { ident: 8, ..last },
    ] {
        let mut host = Host::new();
        assert_eq!((host.give(&first.bytes()), host.give(&other.bytes())), (Ok(None), Ok(None)));
        assert!(host.give(&last.bytes()).unwrap().is_some());
    }
    //= RFC8200 4.5 identification, 4.5 first header: the next headers of fragments may differ; only that of the
    //# first counts.
    let mut host = Host::new();
    let first = Bit { whole: header(V6.0, V6.1, PROTOCOL), ..first };
    assert_eq!(host.give(&Bit { whole: header(V6.0, V6.1, 98), ..last }.bytes()), Ok(None));
    let whole = host.give_whole(&first.bytes()).unwrap().unwrap();
    assert_eq!(wire::ip::parse(&whole).unwrap().protocol, PROTOCOL);
}

//= RFC8200 4.5 first header
#[test]
fn the_whole_has_the_first_part_s_header_whoever_comes_first() {
    for ends in [V4, V6] {
        let whole = IpHeader { tos: 0xb8, hop_limit: 9, ..header(ends.0, ends.1, PROTOCOL) };
        let first = Bit { whole, ident: 7, start: 0, data: &A, more: true };
        let other = IpHeader { tos: 0x20, hop_limit: 5, ..whole };
        let last = Bit { whole: other, start: 8, data: &B, more: false, ..first };
        let mut host = Host::new();
        assert_eq!(host.give(&last.bytes()), Ok(None));
        let bytes = host.give_whole(&first.bytes()).unwrap().unwrap();
        let read = wire::ip::parse(&bytes).unwrap();
        assert_eq!((read.tos, read.hop_limit, read.fragment), (0xb8, 9, None));
        assert_eq!((read.protocol, read.payload.len(), read.whole.len()), (PROTOCOL, 16, bytes.len()));
    }
}

#[test]
fn headers_before_the_fragment_header_stay_and_the_next_one_is_named_again() {
    let padding: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
    let chain = |fragment: &[u8], data: &[u8]| {
        let chain: &[(u8, &[u8])] = &[(0, padding), (60, padding), (44, fragment)];
        wire::testing::ipv6_chain(chain, PROTOCOL, data)
    };
    let mut host = Host::new();
    let first = chain(&[0, 0, 1, 0, 0, 0, 9], &A);
    assert_eq!(host.give(&first), Ok(None));
    let whole = host.give_whole(&chain(&[0, 0, 8, 0, 0, 0, 9], b"end")).unwrap().unwrap();
    let plain: &[(u8, &[u8])] = &[(0, padding), (60, padding)];
    assert_eq!(whole, wire::testing::ipv6_chain(plain, PROTOCOL, b"aaaaaaaaend"));
}

//= RFC5722 section 4
#[test]
fn a_part_of_a_datagram_that_came_in_parts_is_no_datagram() {
    // Parts within parts: the inner one says that more follows, or that something came before.
    for (inner_offset, inner_more) in [(0_u16, true), (8, true), (8, false)] {
        let word = (inner_offset | u16::from(inner_more)).to_be_bytes();
        let inner = [&[PROTOCOL, 0, word[0], word[1], 0, 0, 0, 9][..], &A[..], &B[..]].concat();
        let (begin, rest) = inner.split_at(16);
        let whole = IpHeader { protocol: 44, ..header(V6.0, V6.1, PROTOCOL) };
        let first = Bit { whole, ident: 7, start: 0, data: begin, more: true };
        let last = Bit { start: 16, data: rest, more: false, ..first };
        let mut host = Host::new();
        assert_eq!(host.give_whole(&first.bytes()), Ok(None));
        let Ok(Some(bytes)) = host.give_whole(&last.bytes()) else { panic!("not whole") };
        let parsed = wire::ip::parse(&bytes).unwrap();
        let part = Part {
            device: TUN,
            cast: Cast::Unicast,
            parsed,
            checksum: ChecksumState::Unverified,
            at: host.world.now,
        };
        let read = input::reassembled(host.world.ctx(), &part, &bytes).map(|read| read.payload.to_vec());
        assert_eq!(read, Err(FragmentMalformed));
        // As Linux says it: an erroneous field, where the second fragment header is.
        let (kind, code, pointer, _) = host.complaint().unwrap();
        assert_eq!((kind, code, pointer), (4, 0, 40));
    }
}

//= RFC8200 4.5 overlap
//= RFC8504 5.1 overlap
#[test]
fn overlapping_parts_refuse_the_datagram_and_all_that_comes_of_it() {
    for ends in [V4, V6] {
        for (start, data) in [(8, &[0; 16][..]), (0, &[0; 16]), (16, &[0; 8]), (0, &[0; 64]), (24, &[1; 8])] {
            let mut host = Host::new();
            assert_eq!(host.give(&bit(ends, 16, &[0; 16], true)), Ok(None));
            let verdict = host.give(&bit(ends, start, data, true));
            if start == 0 && data.len() == 16 {
                assert_eq!(verdict, Ok(None));
                continue;
            }
            assert_eq!(verdict, Err(FragmentOverlap), "{start} {}", data.len());
            for (start, more) in [(0, true), (32, false), (16, true)] {
                assert_eq!(host.give(&bit(ends, start, &[0; 16], more)), Err(FragmentRefused));
            }
            assert_eq!(host.world.counters.reassembly_overlaps, 1);
            assert_eq!(host.reassembly.held(), (1, Pending::CHARGE));
            // Silently, and until its time is over.
            host.pass(Duration::from_secs(60));
            assert!(host.world.sent().is_none());
            assert_eq!(host.world.counters.reassembly_timeouts, 0);
            assert_eq!(host.give(&bit(ends, 0, &A, true)), Ok(None));
        }
    }
}

//= RFC791 3.2 duplicates
#[test]
fn an_exact_copy_is_dropped_alone() {
    for ends in [V4, V6] {
        let mut host = Host::new();
        let (first, last) = (bit(ends, 0, &A, true), bit(ends, 8, &B, false));
        assert_eq!(host.give(&first), Ok(None));
        assert_eq!(host.give(&first), Err(FragmentDuplicate));
        assert!(host.give(&last).unwrap().is_some());
        assert_eq!(host.give(&last), Ok(None));
        assert_eq!(host.give(&last), Err(FragmentDuplicate));
        assert!(host.give(&first).unwrap().is_some());
        // The same place, other bytes.
        assert_eq!(host.give(&first), Ok(None));
        assert_eq!(host.give(&bit(ends, 0, &B, true)), Err(FragmentOverlap));
    }
}

#[test]
fn parts_that_disagree_about_the_end_refuse_the_datagram() {
    for ends in [V4, V6] {
        let contradictions = [
            // Two ends; a part behind the end; an end before a part; the last as one that isn't.
            [bit(ends, 16, &A, false), bit(ends, 24, &A, false)],
            [bit(ends, 16, &A, false), bit(ends, 8, b"end", false)],
            [bit(ends, 16, &A, false), bit(ends, 24, &A, true)],
            [bit(ends, 16, &A, true), bit(ends, 8, &A, false)],
            [bit(ends, 16, &A, false), bit(ends, 16, &A, true)],
        ];
        for [one, other] in contradictions {
            let mut host = Host::new();
            assert_eq!(host.give(&one), Ok(None));
            assert_eq!(host.give(&other), Err(FragmentContradiction));
            assert_eq!(host.give(&bit(ends, 0, &A, true)), Err(FragmentRefused));
            assert_eq!(host.world.counters.reassembly_contradictions, 1);
        }
    }
}

//= RFC791 3.2 fragment size
#[test]
fn parts_that_can_be_part_of_nothing_are_dropped_alone() {
    let mut host = Host::new();
    for ends in [V4, V6] {
        assert_eq!(host.give(&bit(ends, 0, &[], true)), Err(FragmentMalformed));
        assert_eq!(host.give(&bit(ends, 8, &[], false)), Err(FragmentMalformed));
        assert_eq!(host.give(&bit(ends, 8, &[], true)), Err(FragmentMalformed));
    }
    assert_eq!(host.give(&bit(V4, 0, &[0; 9], true)), Err(FragmentMalformed));
    assert!(host.world.sent().is_none());
    assert_eq!(host.give(&bit(V6, 0, &[0; 9], true)), Err(FragmentMalformed));
    assert_eq!(host.complaint().map(|(kind, code, at, _)| (kind, code, at)), Some((4, 0, 4)));
    assert_eq!(host.give(&bit(V6, 65_528, &[0; 8], false)), Err(FragmentMalformed));
    assert_eq!(host.complaint().map(|(kind, code, at, _)| (kind, code, at)), Some((4, 0, 42)));
    assert_eq!(host.reassembly.held(), (0, 0));
}

//= RFC7112 section 5
//= RFC8200 4.5 all headers
//= RFC8504 5.2 headers missing
#[test]
fn a_first_part_without_all_headers_draws_a_parameter_problem() {
    let first = |protocol, data: &[u8]| {
        Bit { whole: header(V6.0, V6.1, protocol), ident: 7, start: 0, data, more: true }.bytes()
    };
    let (udp, tcp, icmp, options) = (17, 6, 58, 60);
    let mut tcp_header = [0; 24];
    tcp_header[12] = 0x60;
    let mut options_then_tcp = vec![6, 0, 1, 4, 0, 0, 0, 0];
    options_then_tcp.extend([0; 16]);
    let short = [
        first(tcp, &tcp_header[..16]),
        first(options, &options_then_tcp),
        first(options, &[17, 0, 1, 4, 0, 0, 0, 0]),
        first(options, &[17, 9, 1, 4, 0, 0, 0, 0]),
    ];
    for bytes in short {
        let mut host = Host::new();
        assert_eq!(host.give(&bytes), Err(FragmentHeaders));
        assert_eq!(host.complaint(), Some((v6::TYPE_PARAMETER_PROBLEM, 3, 0, bytes)));
        assert_eq!(host.reassembly.held(), (0, 0));
    }
    options_then_tcp.resize(8 + 24, 0);
    let none_follows = first(59, &[0; 8]);
    for bytes in [
        first(tcp, &tcp_header),
        first(options, &options_then_tcp),
        first(udp, &A),
        first(icmp, &A),
        none_follows,
    ] {
        assert_eq!(Host::new().give(&bytes), Ok(None));
    }
    // IPv4 has no such rule.
    assert_eq!(
        Host::new()
            .give(&Bit { whole: header(V4.0, V4.1, tcp), ident: 7, start: 0, data: &A, more: true }.bytes()),
        Ok(None)
    );
}

//= RFC3168 section 5.3
#[test]
fn one_part_s_congestion_mark_is_the_whole_s_and_mixed_capability_is_refused() {
    for ends in [V4, V6] {
        let expected = |a, b| match (a, b) {
            (0, 0) => Some(0),
            (0, _) | (_, 0) => None,
            (3, _) | (_, 3) => Some(3),
            (1, 1) => Some(1),
            _ => Some(2),
        };
        for (a, b) in (0..4_u8).flat_map(|a| (0..4_u8).map(move |b| (a, b))) {
            let mut host = Host::new();
            let whole = |ecn| IpHeader { tos: 0x50 | ecn, ..header(ends.0, ends.1, PROTOCOL) };
            let first = Bit { whole: whole(a), ident: 7, start: 0, data: &A, more: true };
            assert_eq!(host.give(&first.bytes()), Ok(None));
            let last = Bit { whole: whole(b), start: 8, more: false, ..first };
            let verdict = host.give_whole(&last.bytes());
            match expected(a, b) {
                Some(ecn) => {
                    let bytes = verdict.unwrap().unwrap();
                    assert_eq!(wire::ip::parse(&bytes).unwrap().tos, 0x50 | ecn, "{a} {b}");
                }
                None => assert_eq!(verdict, Err(FragmentContradiction), "{a} {b}"),
            }
        }
    }
}

//= RFC3168 section 5.3
#[test]
fn mixed_capability_is_refused_before_the_last_part_has_come() {
    for (ends, (a, b)) in
        [V4, V6].into_iter().flat_map(|ends| [(0, 2), (2, 0), (0, 1), (3, 0)].map(|it| (ends, it)))
    {
        let mut host = Host::new();
        let whole = |ecn| IpHeader { tos: ecn, ..header(ends.0, ends.1, PROTOCOL) };
        let first = Bit { whole: whole(a), ident: 7, start: 0, data: &A, more: true };
        assert_eq!(host.give(&first.bytes()), Ok(None));
        let second = Bit { whole: whole(b), start: 8, ..first };
        assert_eq!(host.give(&second.bytes()), Err(FragmentContradiction), "{a} {b}");
        assert_eq!(host.reassembly.held(), (1, Pending::CHARGE), "only its name is kept");
    }
}

//= RFC1122 3.3.2 timeout
//= RFC8200 4.5 timeout
//= RFC1812 4.3.3.4 reassembly
#[test]
fn a_time_out_is_told_if_the_first_part_has_come() {
    for (ends, kind, seconds) in [(V4, v4::TYPE_TIME_EXCEEDED, 30), (V6, v6::TYPE_TIME_EXCEEDED, 60)] {
        let mut host = Host::new();
        let first = bit(ends, 0, &A, true);
        assert_eq!(host.give(&first), Ok(None));
        host.pass(Duration::from_secs(seconds) - Duration::from_nanos(1));
        assert_eq!(host.reassembly.held().0, 1);
        host.pass(Duration::from_millis(1));
        assert_eq!(host.reassembly.held(), (0, 0));
        assert_eq!(host.complaint(), Some((kind, 1, 0, first)));
        assert_eq!(host.give(&bit(ends, 8, &A, false)), Ok(None));
        host.pass(Duration::from_secs(seconds));
        assert_eq!((host.complaint(), host.world.counters.reassembly_timeouts), (None, 2));
        assert!(host.world.timers.is_empty());
    }
}

#[test]
fn later_parts_do_not_put_off_the_time_out() {
    //= RFC1122 3.3.2 not put off: the time-out is a fixed value.
    let mut host = Host::new();
    assert_eq!(host.give(&bit(V6, 0, &A, true)), Ok(None));
    host.pass(Duration::from_secs(10));
    assert_eq!(host.give(&bit(V4, 0, &A, true)), Ok(None));
    host.pass(Duration::from_secs(19));
    assert_eq!(host.give(&bit(V4, 8, &A, true)), Ok(None));
    host.pass(Duration::from_secs(11));
    assert_eq!(host.world.counters.reassembly_timeouts, 1);
    host.pass(Duration::from_secs(20));
    assert_eq!(host.world.counters.reassembly_timeouts, 2);
}

#[test]
fn the_oldest_datagram_makes_room_for_the_newest() {
    let limits = Config { reassembly_datagrams: 3, ..Config::default() };
    let mut host = Host::with(limits);
    let first = |ident| Bit { ident, whole: header(V4.0, V4.1, PROTOCOL), start: 0, data: &A, more: true };
    for ident in 1..=4 {
        assert_eq!(host.give(&first(ident).bytes()), Ok(None));
    }
    assert_eq!(host.world.counters.reassembly_evicted, 1);
    let last = |ident| Bit { start: 8, more: false, ..first(ident) };
    assert!(host.give(&last(2).bytes()).unwrap().is_some());
    assert_eq!(host.give(&last(1).bytes()), Ok(None));
    assert!(host.world.sent().is_none());
}

/// What a flood of fragments from many sources leaves: no more than the limits, and no answer.
fn flood(config: Config, count: u32, fragment: impl Fn(u32) -> Vec<u8>) -> Host {
    let mut host = Host::with(config);
    for n in 0..count {
        let _ = host.give(&fragment(n));
    }
    assert!(host.reassembly.bytes <= host.reassembly.limits.bytes);
    host
}

/// Small limits, so that a flood reaches them soon.
fn small() -> Config {
    Config { reassembly_bytes: 64 << 10, reassembly_datagrams: 64, ..Config::default() }
}

#[test]
fn teardrop_ends_with_the_first_overlap() {
    for ends in [V4, V6] {
        let mut host = Host::new();
        assert_eq!(host.give(&bit(ends, 0, &[0; 40], true)), Ok(None));
        assert_eq!(host.give(&bit(ends, 24, &[0; 4], false)), Err(FragmentOverlap));
        assert_eq!(host.reassembly.held(), (1, Pending::CHARGE));
    }
}

#[test]
fn nestea_and_newtear_are_teardrops() {
    // A part that ends in the middle of the first; a third that begins in it.
    let mut host = Host::new();
    assert_eq!(host.give(&bit(V4, 0, &[0; 24], true)), Ok(None));
    assert_eq!(host.give(&bit(V4, 48, &[0; 136], false)), Ok(None));
    assert_eq!(host.give(&bit(V4, 8, &[0; 264], true)), Err(FragmentOverlap));
    assert_eq!(host.give(&bit(V4, 0, &[0; 264], true)), Err(FragmentRefused));
}

//= RFC791 3.1 largest datagram
#[test]
fn the_ping_of_death_is_no_datagram() {
    let mut host = Host::new();
    for n in 0..44 {
        assert_eq!(host.give(&bit(V4, n * 1480, &[0; 1480], true)), Ok(None));
    }
    // The last part would end at 65,536 with its header, and behind 65,535 without it.
    assert_eq!(host.give(&bit(V4, 65_120, &[0; 396], false)), Err(FragmentMalformed));
    assert_eq!(host.give(&bit(V4, 65_120, &[0; 416], false)), Err(FragmentMalformed));
    assert_eq!(host.give(&bit(V4, 65_120, &[0; 395], false)).unwrap().map(|data| data.len()), Some(65_515));
}

#[test]
fn a_first_header_that_makes_the_whole_too_long_refuses_the_datagram() {
    let padding: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
    let first_chain: &[(u8, &[u8])] = &[(60, padding), (44, &[0, 0, 1, 0, 0, 0, 7])];
    let mut host = Host::new();
    assert_eq!(host.give(&wire::testing::ipv6_chain(first_chain, PROTOCOL, &A)), Ok(None));
    for at in (8..65_520).step_by(1400) {
        let (len, more) = (1400.min(65_520 - at), at + 1400 < 65_520);
        let data = vec![0; len + 8 * usize::from(!more)];
        let whole = IpHeader { tos: 0xab, ..header(V6.0, V6.1, PROTOCOL) };
        let verdict = host.give(&Bit { whole, ident: 7, start: at, data: &data, more }.bytes());
        // The last ends at 65,528, which fits without the first one's options, but not with them.
        assert_eq!(verdict, if more { Ok(None) } else { Err(FragmentContradiction) });
    }
    assert_eq!(host.reassembly.held(), (1, Pending::CHARGE));
}

#[test]
fn jolt_floods_with_last_parts_are_bounded() {
    // One name, the same part without the rest, again and again.
    let host = flood(small(), 10_000, |_| bit(V4, 65_504, &[0; 9], false));
    assert_eq!(host.reassembly.held(), (1, Pending::CHARGE + Piece::CHARGE + 9));
    assert_eq!(host.world.counters.reassembly_evicted, 0);
}

#[test]
fn rose_floods_with_first_and_last_parts_are_bounded() {
    let mut host = flood(small(), 10_000, |n| {
        let whole = header(V4.0, V4.1, PROTOCOL);
        let (start, more) = if n % 2 == 0 { (0, true) } else { (65_400, false) };
        Bit { whole, ident: n / 2, start, data: &[0; 32], more }.bytes()
    });
    assert!(host.reassembly.held().0 <= 64 && host.world.counters.reassembly_evicted > 4000);
    host.pass(Duration::from_secs(31));
    assert_eq!(host.reassembly.held(), (0, 0));
    assert!(host.world.counters.icmp_errors_out <= 64);
}

#[test]
fn fragment_smack_s_tiny_parts_of_one_datagram_are_counted_out() {
    // CVE-2018-5391: eight bytes each, with gaps, from the back, or at random.
    for order in [|n: u32| n, |n| 4000 - n, |n| n * 1663 % 4001] {
        let host = flood(Config::default(), 4000, |n| bit(V4, order(n) as usize * 16, &A, true));
        assert_eq!(host.reassembly.held(), (1, Pending::CHARGE));
        assert_eq!(host.world.counters.reassembly_too_many, 1);
    }
}

#[test]
fn a_flood_of_datagrams_leaves_no_more_than_the_limit_of_bytes() {
    let host = flood(small(), 5000, |n| {
        Bit { whole: header(V6.0, V6.1, PROTOCOL), ident: n, start: 0, data: &[0; 1232], more: true }.bytes()
    });
    assert!((30..=36).contains(&host.reassembly.held().0));
}

/// The naive model: a byte per place, and a flag that all is over.
#[derive(Default)]
struct Model {
    bytes: alloc::collections::BTreeMap<usize, u8>,
    pieces: BTreeSet<(usize, Vec<u8>, bool)>,
    end: Option<usize>,
    is_refused: bool,
}

impl Model {
    fn give(&mut self, start: usize, data: &[u8], more: bool) -> Verdict {
        if self.is_refused {
            return Err(FragmentRefused);
        }
        if self.pieces.contains(&(start, data.to_vec(), more)) {
            return Err(FragmentDuplicate);
        }
        let end = start + data.len();
        let same_but_for_more = self.pieces.contains(&(start, data.to_vec(), !more));
        let trouble = if !same_but_for_more && (start..end).any(|at| self.bytes.contains_key(&at)) {
            Some(FragmentOverlap)
        } else {
            let beyond = self.end.is_some_and(|known| !more || end > known);
            let behind = !more && self.bytes.keys().any(|at| *at >= end);
            (same_but_for_more || beyond || behind).then_some(FragmentContradiction)
        };
        if let Some(trouble) = trouble {
            self.is_refused = true;
            return Err(trouble);
        }
        self.pieces.insert((start, data.to_vec(), more));
        self.bytes.extend((start..end).zip(data.iter().copied()));
        if !more {
            self.end = Some(end);
        }
        if self.end != Some(self.bytes.len()) {
            return Ok(None);
        }
        let whole = core::mem::take(self).bytes.into_values().collect();
        Ok(Some(whole))
    }
}

/// Start and length in units of eight bytes, what the bytes are, how many are missing at the end, and `more`.
fn any_piece() -> impl Strategy<Value = (usize, Vec<u8>, bool)> {
    (0..6_usize, 1..3_usize, prop::sample::select(vec![0, 0, 0, 1]), any::<bool>(), 0..8_usize).prop_map(
        |(start, len, fill, more, cut)| {
            let len = len * 8 - if more { 0 } else { cut };
            (start * 8, vec![fill; len], more)
        },
    )
}

proptest! {
    #[test]
    fn any_parts_do_what_the_naive_model_says(
        is_v4: bool,
        pieces in prop::collection::vec(any_piece(), 1..24),
    ) {
        let ends = if is_v4 { V4 } else { V6 };
        let (mut host, mut model) = (Host::new(), Model::default());
        for (start, data, more) in pieces {
            // Both not cut and the only one: no fragment.
            if start == 0 && !more {
                continue;
            }
            prop_assert_eq!(host.give(&bit(ends, start, &data, more)), model.give(start, &data, more));
        }
    }

    //= RFC8200 4.5 cut, 4.5 no overlap
    //= RFC8504 5.1 no overlap sent
    #[test]
    fn a_datagram_that_was_split_is_itself_again(
        is_v4: bool,
        len in prop_oneof![1..3000_usize, 60_000..65_516_usize],
        mtu in prop_oneof![68..1500_usize, 1280..9000_usize],
        shuffled in any::<prop::sample::Index>(),
        copies: bool,
    ) {
        let (src, dst) = if is_v4 { V4 } else { V6 };
        let mtu = if is_v4 { mtu } else { mtu.max(1280) };
        let data: Vec<u8> = (0..len).map(|n| (n * 7 / 3) as u8).collect();
        let sent = datagram(&header(src, dst, PROTOCOL_UDP), &data);
        let mut parts = Vec::new();
        let count = fragment::split(&sent, mtu, 0xdead_beef, |part| {
            parts.push(part.to_vec());
            true
        });
        prop_assert_eq!(count, parts.len());
        prop_assert!(parts.iter().all(|part| part.len() <= mtu));
        prop_assert!(is_v4 || len >= 8 || count == 1);
        let by = shuffled.index(parts.len());
        parts.rotate_left(by);
        let mut host = Host::new();
        let mut wholes = Vec::new();
        for part in &parts {
            for _ in 0..if copies { 2 } else { 1 } {
                match host.give_whole(part) {
                    Ok(whole) => wholes.extend(whole),
                    Err(reason) => prop_assert_eq!(reason, FragmentDuplicate),
                }
            }
        }
        prop_assert!(!wholes.is_empty());
        prop_assert_eq!(&wholes[0], &sent);
    }
}
