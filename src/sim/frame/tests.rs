//! What passes whole, what is cut, and that no fault ever meets anything but a packet of a wire.

use alloc::vec;
use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::proto::packet::ChecksumState;
use crate::proto::wire::HeaderBuf;
use crate::proto::wire::checksum::Sum;
use crate::proto::wire::ip::{self, IpHeader, PROTOCOL_TCP};
use crate::proto::wire::tcp::{FLAG_ACK, FLAG_PSH, Segment};
use crate::sim::{LinkConfig, LinkCounters, Loss, Ppm};
use crate::time::Instant;

const ALL: Offloads = Offloads { checksum: true, tso4: true, tso6: true, uso: true };
const SIZE: u16 = 1000;
const MSS: usize = SIZE as usize;

/// A packet of TCP as a kernel hands it to an offloading device, whose sender takes part in ECN.
fn tcp(is_v6: bool, data: &[u8]) -> Vec<u8> {
    let (src, dst) = if is_v6 { ("fd00::1", "fd00::2") } else { ("10.0.0.1", "10.0.0.2") };
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    let header = IpHeader {
        src,
        dst,
        protocol: PROTOCOL_TCP,
        hop_limit: 9,
        tos: 2,
        ident: 0xffff,
        dont_fragment: true,
        flow_label: 0,
    };
    let mut fields = [0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 5 << 4, FLAG_ACK | FLAG_PSH, 1, 0, 0, 0, 0, 0];
    let seed = !Sum::pseudo_header(src, dst, PROTOCOL_TCP, fields.len() + data.len()).finish();
    fields[16..18].copy_from_slice(&seed.to_be_bytes());
    let mut bytes = HeaderBuf::new();
    header.write(fields.len() + data.len(), &mut bytes);
    [&bytes[..], &fields, data].concat()
}

fn packet(bytes: &[u8], gso_size: u16) -> Packet<'_> {
    let gso_size = NonZeroU16::new(gso_size);
    Packet { checksum: ChecksumState::Partial, gso_size, ..Packet::plain(bytes, Instant::from_millis(1)) }
}

fn arrived(link: &mut Link<Frame>) -> Vec<Frame> {
    core::iter::from_fn(|| link.deadline().and_then(|at| link.receive(at))).collect()
}

/// The data of a packet of a wire, whose checksums have to be good.
fn data_of(frame: &Frame) -> Vec<u8> {
    assert_eq!((frame.gso_size, frame.checksum), (None, EgressChecksum::Complete));
    let read = ip::parse(&frame.bytes).unwrap();
    Segment::parse(read.payload, read.src, read.dst, ChecksumState::Unverified).unwrap().payload.to_vec()
}

#[test]
fn where_nothing_but_time_passes_it_arrives_as_it_was_taken() {
    for (is_v6, start) in [(false, 20), (true, 40)] {
        let delay = Duration::from_millis(7);
        let mut link = Link::new(LinkConfig { delay, ..LinkConfig::default() }, 1);
        let bytes = tcp(is_v6, &[7; 3500]);
        link.take(&packet(&bytes, SIZE), ALL).unwrap();
        assert_eq!(link.deadline(), Some(Instant::from_millis(8)));
        let [frame] = &arrived(&mut link)[..] else { panic!("one comes") };
        let egress = frame.egress(DeviceId(3));
        assert_eq!((egress.header, egress.gso_size), (&bytes[..], NonZeroU16::new(SIZE)));
        assert_eq!(egress.checksum, EgressChecksum::Partial { start, offset: 16 });
        let counters = link.counters();
        assert_eq!((counters.sent, counters.whole, counters.cut), (1, 1, 0));
        assert_eq!((counters.arrived, counters.arrived_bytes), (1, bytes.len() as u64));
    }
}

#[test]
fn a_queue_marks_and_drops_packets_of_a_wire() {
    let config = LinkConfig {
        rate: core::num::NonZeroU64::new(8_000_000),
        queue: 5 * 1040,
        ecn_threshold: Some(2 * 1040),
        ..LinkConfig::default()
    };
    let mut link = Link::new(config, 1);
    link.take(&packet(&tcp(false, &[7; 10_000]), SIZE), ALL).unwrap();
    let counters = link.counters();
    assert_eq!((counters.sent, counters.overflowed, counters.marked, counters.cut), (10, 5, 3, 1));
    let frames = arrived(&mut link);
    assert!(frames.iter().all(|frame| data_of(frame).len() == MSS));
    let ecn: Vec<u8> = frames.iter().map(|frame| frame.bytes[1] & 3).collect();
    assert_eq!(ecn, [2, 2, 3, 3, 3]);
}

#[test]
fn a_black_hole_takes_what_is_too_large_on_the_wire() {
    let config = LinkConfig { mtu: Some(1040), ..LinkConfig::default() };
    let mut link = Link::new(config, 1);
    link.take(&packet(&tcp(false, &[7; 3000]), SIZE), ALL).unwrap();
    // A byte more in each, but not in the last.
    link.take(&packet(&tcp(false, &[7; 3000]), SIZE + 1), ALL).unwrap();
    assert_eq!((link.counters().sent, link.counters().too_large), (6, 2));
    let lens: Vec<usize> = arrived(&mut link).iter().map(|frame| data_of(frame).len()).collect();
    assert_eq!(lens, [1000, 1000, 1000, 998]);
}

#[test]
fn no_octet_is_changed_before_the_checksum_is_complete() {
    let config = LinkConfig { corrupt: Ppm::ALWAYS, ..LinkConfig::default() };
    let mut link = Link::new(config, 1);
    for size in [0, SIZE] {
        link.take(&packet(&tcp(true, &[7; 2000]), size), ALL).unwrap();
    }
    let frames = arrived(&mut link);
    assert_eq!(frames.len(), 3);
    for frame in &frames {
        let is_good = ip::parse(&frame.bytes).is_ok_and(|read| {
            Segment::parse(read.payload, read.src, read.dst, ChecksumState::Unverified).is_ok()
        });
        // Of this seed none hits what the checksum of TCP over IPv6 does not cover.
        assert!(!is_good, "{frame:?}");
    }
}

#[test]
fn what_nobody_can_finish_goes_nowhere() {
    let mut link = Link::new(LinkConfig::default(), 1);
    let taken = link.take(&packet(b"no datagram", SIZE), ALL);
    assert_eq!((taken, link.counters().sent, link.under_way()), (Err(Unfinishable), 0, 0));
    // Whatever claims nothing is carried.
    link.take(&Packet::plain(b"no datagram", Instant::ZERO), ALL).unwrap();
    assert_eq!(arrived(&mut link), [Frame::from(b"no datagram".to_vec())]);
}

fn faults() -> impl Strategy<Value = LinkConfig> {
    let faulty = [
        LinkConfig { jitter: Duration::from_millis(1), ..LinkConfig::default() },
        LinkConfig { loss: Loss::Every(3), ..LinkConfig::default() },
        LinkConfig { duplicate: Ppm::percent(30), ..LinkConfig::default() },
        LinkConfig { reorder: Ppm::percent(30), ..LinkConfig::default() },
        LinkConfig { rate: core::num::NonZeroU64::new(1_000_000), queue: 9_000, ..LinkConfig::default() },
        LinkConfig { mtu: Some(1500), ..LinkConfig::default() },
    ];
    prop::sample::select(faulty.to_vec())
}

proptest! {
    #[test]
    fn through_faults_go_the_very_packets_that_would_have_gone_without_offloads(
        config in faults(),
        is_v6: bool,
        lens in prop::collection::vec(0_usize..9000, 1..10),
        seed: u64,
    ) {
        let (mut whole, mut plain) = (Link::new(config.clone(), seed), Link::new(config, seed));
        let mut cut = 0;
        for (number, len) in lens.iter().enumerate() {
            let data = vec![number as u8; *len];
            let bytes = tcp(is_v6, &data);
            let packet = packet(&bytes, SIZE);
            whole.take(&packet, ALL).unwrap();
            cut += u64::from(*len > MSS);
            let unfinished = Unfinished::of(&packet).unwrap().unwrap();
            unfinished.finish(|headers, data| plain.send(packet.at, [headers, data].concat()));
        }
        let came = arrived(&mut whole);
        let model = core::iter::from_fn(|| plain.deadline().and_then(|at| plain.receive(at)));
        prop_assert!(came.iter().all(|frame| data_of(frame).len() <= MSS));
        prop_assert_eq!(came, model.map(Frame::from).collect::<Vec<_>>());
        prop_assert_eq!((whole.counters().whole, whole.counters().cut), (0, cut));
        prop_assert_eq!(whole.counters(), LinkCounters { cut, ..plain.counters() });
    }
}
