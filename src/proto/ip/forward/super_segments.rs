//! Super-segments and unfinished checksums in transit, against the model of what a device makes of them.

use alloc::vec::Vec;
use core::num::NonZeroU16;

use proptest::prelude::*;

use super::tests::{LEFT, NARROW, RIGHT, Router};
use crate::proto::ip::segment::model::{
    self, ALL_OFFLOADS, ENDS, FLAG_CWR, SUM_ONLY, assert_good, checksums, pattern, tcp, udp,
};
use crate::proto::ip::testing::{datagram, header, ip, seal};
use crate::proto::packet::{ChecksumState, DeviceId, EgressChecksum, Offloads, Packet};
use crate::proto::wire::checksum::Sum;
use crate::proto::wire::icmp::{v4, v6};
use crate::proto::wire::ip::{self as wire, PROTOCOL_TCP};
use crate::proto::wire::tcp::{FLAG_ACK, FLAG_FIN, FLAG_PSH, Segment};
use crate::proto::{DropReason, Egress, Sent};
use crate::time::Instant;

/// A packet that has left the router.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Left {
    device: DeviceId,
    bytes: Vec<u8>,
    gso_size: Option<NonZeroU16>,
    checksum: EgressChecksum,
}

/// What a link behind an offloading device carries.
fn device(left: &Left) -> Vec<Vec<u8>> {
    model::device(&left.bytes, left.gso_size, left.checksum)
}

/// Gives a packet to a router whose devices have these offloads.
fn route(bytes: &[u8], gso_size: u16, checksum: ChecksumState, offloads: Offloads) -> (Router, Vec<Left>) {
    let mut router = Router::new();
    for device in [LEFT, RIGHT, NARROW] {
        router.stack.set_offloads(device, offloads);
    }
    let mut left = Vec::new();
    let packet =
        Packet { checksum, gso_size: NonZeroU16::new(gso_size), ..Packet::plain(bytes, Instant::ZERO) };
    router.stack.receive_and_forward(LEFT, &packet, &mut |egress: Egress<'_>| {
        let mut bytes = Vec::new();
        egress.copy_to(&mut bytes);
        let Egress { device, gso_size, checksum, .. } = egress;
        left.push(Left { device, bytes, gso_size, checksum });
        Sent::Taken
    });
    (router, left)
}

const TO_NARROW: [(&str, &str); 2] = [("10.1.0.9", "10.3.0.9"), ("fd01::9", "fd03::9")];

#[test]
fn a_super_segment_goes_whole_where_the_device_takes_it() {
    for ends in ENDS {
        let bytes = tcp(ends, FLAG_ACK | FLAG_PSH, &[1, 1, 1, 1], &pattern(60_000));
        let (_, left) = route(&bytes, 1400, ChecksumState::Partial, ALL_OFFLOADS);
        let [whole] = &left[..] else { panic!("{} packets", left.len()) };
        let start = if ends.0.contains(':') { 40 } else { 20 };
        assert_eq!(whole.checksum, EgressChecksum::Partial { start, offset: 16 });
        assert_eq!(
            (whole.device, whole.gso_size, whole.bytes.len()),
            (RIGHT, NonZeroU16::new(1400), bytes.len())
        );
        let on_the_link = device(whole);
        assert_eq!(on_the_link.len(), 43);
        on_the_link.iter().for_each(|packet| assert_good(packet));
    }
}

#[test]
fn a_seed_that_is_wrong_shows_on_the_link() {
    // The test of the test: the model of the device believes the seed, as hardware does.
    let mut bytes = tcp(ENDS[0], FLAG_ACK, &[], &pattern(5000));
    bytes[37] ^= 1;
    let (_, left) = route(&bytes, 1400, ChecksumState::Partial, ALL_OFFLOADS);
    let (held, computed) = checksums(&device(&left[0])[0]);
    assert_ne!(held, computed);
}

#[test]
fn a_super_segment_is_cut_where_the_device_does_not_take_it() {
    for offloads in [Offloads::default(), SUM_ONLY] {
        for ends in ENDS {
            let data = pattern(5000);
            let flags = FLAG_ACK | FLAG_PSH | FLAG_FIN | FLAG_CWR;
            let bytes = tcp(ends, flags, &[1, 1, 1, 1], &data);
            let (router, left) = route(&bytes, 1400, ChecksumState::Partial, offloads);
            assert_eq!(router.stack.counters().packets_forwarded, 1);
            assert_eq!(router.stack.counters().packets_out, 4);
            let mut joined = Vec::new();
            for (index, packet) in left.iter().enumerate() {
                assert_eq!((packet.device, packet.gso_size), (RIGHT, None));
                assert_eq!(packet.checksum, EgressChecksum::Complete);
                assert_good(&packet.bytes);
                let read = wire::parse(&packet.bytes).unwrap();
                let segment =
                    Segment::parse(read.payload, read.src, read.dst, ChecksumState::Unverified).unwrap();
                assert_eq!(segment.seq.0, 0xffff_f000_u32.wrapping_add(joined.len() as u32));
                let expected = match index {
                    0 => FLAG_ACK | FLAG_CWR,
                    3 => FLAG_ACK | FLAG_PSH | FLAG_FIN,
                    _ => FLAG_ACK,
                };
                assert_eq!(segment.flags, expected, "{index}");
                assert_eq!(read.hop_limit, 63);
                if read.src.is_ipv4() {
                    assert_eq!(read.ident, 0xfffe_u16.wrapping_add(index as u16));
                }
                joined.extend_from_slice(segment.payload);
            }
            assert_eq!(joined, data);
        }
    }
}

#[test]
fn a_checksum_is_completed_where_the_device_does_not() {
    for ends in ENDS {
        for bytes in [tcp(ends, FLAG_ACK, &[], b"odd"), tcp(ends, FLAG_ACK, &[], b""), udp(ends, b"odd")] {
            let (_, left) = route(&bytes, 0, ChecksumState::Partial, Offloads::default());
            assert_eq!((left.len(), left[0].checksum), (1, EgressChecksum::Complete));
            assert_good(&left[0].bytes);
            let (_, offloaded) = route(&bytes, 0, ChecksumState::Partial, ALL_OFFLOADS);
            assert!(matches!(offloaded[0].checksum, EgressChecksum::Partial { .. }));
            assert_eq!(device(&offloaded[0]), [left[0].bytes.clone()]);
        }
    }
}

#[test]
fn a_checksum_that_comes_out_as_zero_is_sent_as_its_other_zero_over_udp() {
    //= RFC768: if the computed checksum is zero, it is transmitted as all ones.
    let mut bytes = udp(ENDS[0], &[0, 0]);
    let mut sum = Sum::new();
    sum.add(&bytes[20..]);
    let missing = sum.finish().to_be_bytes();
    bytes[28..30].copy_from_slice(&missing);
    let (_, left) = route(&bytes, 0, ChecksumState::Partial, Offloads::default());
    assert_eq!(left[0].bytes[26..28], [0xff, 0xff]);
}

#[test]
fn what_is_known_to_be_right_stays_as_it_is() {
    let bytes = crate::proto::ip::testing::udp("10.1.0.9:1", "10.2.0.9:2", b"text");
    for checksum in [ChecksumState::Trusted, ChecksumState::Unverified] {
        for offloads in [Offloads::default(), ALL_OFFLOADS] {
            let (_, left) = route(&bytes, 0, checksum, offloads);
            assert_eq!((left[0].checksum, &left[0].bytes[20..]), (EgressChecksum::Complete, &bytes[20..]));
        }
    }
}

#[test]
fn a_super_segment_whose_checksum_is_known_gets_a_seed() {
    let partial = tcp(ENDS[0], FLAG_ACK, &[], &pattern(5000));
    let mut trusted = partial.clone();
    let mut sum = Sum::new();
    sum.add(&partial[20..]);
    trusted[36..38].copy_from_slice(&sum.finish().to_be_bytes());
    let (_, left) = route(&trusted, 1400, ChecksumState::Trusted, ALL_OFFLOADS);
    let (_, expected) = route(&partial, 1400, ChecksumState::Partial, ALL_OFFLOADS);
    assert_eq!(left, expected);
}

#[test]
fn what_has_to_fit_is_each_packet_of_a_super_segment() {
    for ends in TO_NARROW {
        let headers = if ends.0.contains(':') { 60 } else { 40 };
        let bytes = tcp(ends, FLAG_ACK, &[], &pattern(10_000));
        let fitting = 1280 - headers;
        let (_, left) = route(&bytes, fitting, ChecksumState::Partial, ALL_OFFLOADS);
        assert_eq!((left[0].gso_size, left.len()), (NonZeroU16::new(fitting), 1));
        for offloads in [ALL_OFFLOADS, Offloads::default()] {
            let (mut router, left) = route(&bytes, fitting + 1, ChecksumState::Partial, offloads);
            assert!(left.is_empty());
            assert_eq!(router.stack.counters().dropped(DropReason::ForwardTooBig), 1);
            router.drain();
            let expected = if ends.0.contains(':') {
                (v6::TYPE_PACKET_TOO_BIG, 0, 1280)
            } else {
                (v4::TYPE_DEST_UNREACH, 4, 1280)
            };
            assert_eq!(router.complaint(LEFT, &bytes), expected);
        }
    }
}

#[test]
fn without_df_the_packets_of_a_super_segment_are_fragmented() {
    let mut bytes = tcp(TO_NARROW[0], FLAG_ACK, &[], &pattern(2800));
    bytes[6] = 0;
    seal(&mut bytes);
    let (router, left) = route(&bytes, 1400, ChecksumState::Partial, ALL_OFFLOADS);
    assert_eq!((left.len(), router.stack.counters().packets_forwarded), (4, 1));
    for pair in left.chunks(2) {
        let parts: Vec<_> = pair.iter().map(|part| wire::parse(&part.bytes).unwrap()).collect();
        assert!(parts.iter().all(|part| part.fragment.is_some() && part.whole.len() <= 1280));
        let joined = [parts[0].payload, parts[1].payload].concat();
        Segment::parse(&joined, ip("10.1.0.9"), ip("10.3.0.9"), ChecksumState::Unverified).unwrap();
    }
}

#[test]
fn an_unfinished_checksum_is_completed_before_a_datagram_is_fragmented() {
    let mut bytes = udp(TO_NARROW[0], &pattern(1400));
    bytes[6] = 0;
    seal(&mut bytes);
    let (_, left) = route(&bytes, 0, ChecksumState::Partial, ALL_OFFLOADS);
    assert_eq!(left.len(), 2);
    let parts: Vec<_> = left.iter().map(|part| wire::parse(&part.bytes).unwrap().payload).collect();
    let joined = parts.concat();
    let read =
        crate::proto::wire::udp::parse(&joined, ip("10.1.0.9"), ip("10.3.0.9"), ChecksumState::Unverified);
    assert_eq!(read.unwrap().payload, pattern(1400));
}

#[test]
fn what_nobody_knows_how_to_finish_is_dropped_and_counted() {
    let bytes = datagram(&header("10.1.0.9", "10.2.0.9", 132), &[0; 40]);
    for (gso_size, checksum) in [(0, ChecksumState::Partial), (10, ChecksumState::Trusted)] {
        let (router, left) = route(&bytes, gso_size, checksum, ALL_OFFLOADS);
        assert!(left.is_empty());
        assert_eq!(router.stack.counters().dropped(DropReason::ForwardOffload), 1);
    }
}

#[test]
fn the_transport_is_found_behind_extension_headers() {
    let plain = tcp(ENDS[1], FLAG_ACK, &[], &pattern(3000));
    let destination_options = [PROTOCOL_TCP, 0, 1, 4, 0, 0, 0, 0];
    let ip_header = header(ENDS[1].0, ENDS[1].1, 60);
    let bytes = datagram(&ip_header, &[&destination_options, &plain[40..]].concat());
    let (_, left) = route(&bytes, 1000, ChecksumState::Partial, ALL_OFFLOADS);
    assert_eq!(left[0].checksum, EgressChecksum::Partial { start: 48, offset: 16 });
    let (_, left) = route(&bytes, 1000, ChecksumState::Partial, Offloads::default());
    assert_eq!(left.len(), 3);
    for packet in left {
        let read = wire::parse(&packet.bytes).unwrap();
        Segment::parse(read.payload, read.src, read.dst, ChecksumState::Unverified).unwrap();
    }
}

proptest! {
    #[test]
    fn what_is_cut_here_is_what_a_device_cuts(
        v6: bool,
        is_udp: bool,
        flags in prop::sample::select(alloc::vec![
            FLAG_ACK, FLAG_ACK | FLAG_PSH, FLAG_ACK | FLAG_FIN | FLAG_PSH, FLAG_ACK | FLAG_CWR,
        ]),
        options in 0usize..=10,
        data in prop::collection::vec(any::<u8>(), 0..6000),
        size in 1u16..1400,
    ) {
        let size = size.max(data.len() as u16 / 60 + 1);
        let ends = ENDS[usize::from(v6)];
        let bytes = if is_udp { udp(ends, &data) } else { tcp(ends, flags, &alloc::vec![1; options * 4], &data) };
        let (_, offloaded) = route(&bytes, size, ChecksumState::Partial, ALL_OFFLOADS);
        let (_, cut) = route(&bytes, size, ChecksumState::Partial, Offloads::default());
        prop_assert_eq!(offloaded.len(), 1);
        let expected = device(&offloaded[0]);
        for packet in &expected {
            assert_good(packet);
        }
        let cut: Vec<Vec<u8>> = cut.into_iter().map(|packet| packet.bytes).collect();
        prop_assert_eq!(cut, expected);
    }

    #[test]
    fn no_bytes_that_claim_to_be_a_super_segment_make_it_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 20..120),
        v6: bool,
        protocol in prop::sample::select(alloc::vec![6u8, 17, 0, 43, 44, 60, 132]),
        gso_size: u16,
        partial: bool,
        offload: bool,
    ) {
        let ends = ENDS[usize::from(v6)];
        let made = datagram(&header(ends.0, ends.1, protocol), &bytes);
        bytes = made;
        let checksum = if partial { ChecksumState::Partial } else { ChecksumState::Trusted };
        let offloads = if offload { ALL_OFFLOADS } else { Offloads::default() };
        let (router, left) = route(&bytes, gso_size, checksum, offloads);
        let counters = router.stack.counters();
        prop_assert_eq!(counters.packets_forwarded + counters.dropped_total(), 1);
        for packet in left {
            prop_assert!(wire::parse_fixed(&packet.bytes).is_ok());
        }
    }
}
