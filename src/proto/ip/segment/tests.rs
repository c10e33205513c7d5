//! What is cut and completed, against the model of a device and by what an independent parser says of it.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::model::{
    ALL_OFFLOADS, ENDS, FLAG_CWR, SUM_ONLY, assert_good, checksums, device, pattern, tcp, udp,
};
use super::*;
use crate::proto::ip::testing::{datagram, header};
use crate::proto::wire::tcp::{FLAG_ACK, Segment};
use crate::time::Instant;

fn packet(bytes: &[u8], gso_size: u16, checksum: ChecksumState) -> Packet<'_> {
    Packet { checksum, gso_size: NonZeroU16::new(gso_size), ..Packet::plain(bytes, Instant::ZERO) }
}

fn partial(bytes: &[u8], gso_size: u16) -> Unfinished<'_> {
    Unfinished::of(&packet(bytes, gso_size, ChecksumState::Partial)).unwrap().unwrap()
}

fn finished(unfinished: &Unfinished<'_>) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    unfinished.finish(|headers, data| packets.push([headers, data].concat()));
    packets
}

#[test]
fn a_packet_of_a_wire_is_left_alone_good_or_bad() {
    let bytes = tcp(ENDS[0], FLAG_ACK, &[], b"data");
    for checksum in [ChecksumState::Unverified, ChecksumState::Trusted] {
        for (bytes, gso_size) in [(&bytes[..], 0), (&bytes, 4), (b"no datagram", 0), (b"", 0)] {
            assert!(Unfinished::of(&packet(bytes, gso_size, checksum)).unwrap().is_none());
        }
    }
}

#[test]
fn what_holds_neither_tcp_nor_udp_can_t_be_finished() {
    let sctp = datagram(&header(ENDS[0].0, ENDS[0].1, 132), &[0; 40]);
    let cut_off = tcp(ENDS[0], FLAG_ACK, &[], &pattern(3000));
    for bytes in [&sctp[..], &cut_off[..50], b"no datagram", b""] {
        for gso_size in [0, 10] {
            let said = Unfinished::of(&packet(bytes, gso_size, ChecksumState::Partial));
            assert_eq!(said.err(), Some(Unfinishable));
        }
    }
}

#[test]
fn what_is_said_once_is_said_in_the_first_packet_or_the_last() {
    //= RFC3168 section 6.1.2: CWR is set in the first new data packet after the reduction.
    for ends in ENDS {
        let bytes = tcp(ends, FLAG_ACK | FLAG_PSH | FLAG_FIN | FLAG_CWR, &[1; 12], &pattern(3001));
        let packets = finished(&partial(&bytes, 1000));
        let read = |bytes: &Vec<u8>| {
            let parsed = wire::parse(bytes).unwrap();
            let segment =
                Segment::parse(parsed.payload, parsed.src, parsed.dst, ChecksumState::Unverified).unwrap();
            (segment.seq.0, segment.flags, segment.payload.len(), parsed.ident)
        };
        let ident = |index: u16| if ends.0.contains(':') { 0 } else { 0xfffe_u16.wrapping_add(index) };
        // The sequence numbers go on from 0xffff_f000, and past zero.
        let expected = [
            (0xffff_f000, FLAG_ACK | FLAG_CWR, 1000, ident(0)),
            (0xffff_f3e8, FLAG_ACK, 1000, ident(1)),
            (0xffff_f7d0, FLAG_ACK, 1000, ident(2)),
            (0xffff_fbb8, FLAG_ACK | FLAG_PSH | FLAG_FIN, 1, ident(3)),
        ];
        assert_eq!(packets.iter().map(read).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_device_takes_what_it_has_an_offload_for() {
    let [v4, v6] = ENDS.map(|ends| tcp(ends, FLAG_ACK, &[], &pattern(3000)));
    let [udp4, udp6] = ENDS.map(|ends| udp(ends, &pattern(3000)));
    let without = |tso4, tso6, uso| Offloads { checksum: true, tso4, tso6, uso };
    for (bytes, lacking) in [
        (&v4, without(false, true, true)),
        (&v6, without(true, false, true)),
        (&udp4, without(true, true, false)),
        (&udp6, without(true, true, false)),
    ] {
        let whole = partial(bytes, 1000);
        assert!(whole.is_super() && whole.is_taken_by(ALL_OFFLOADS));
        for offloads in [lacking, SUM_ONLY, Offloads { checksum: false, ..ALL_OFFLOADS }] {
            assert!(!whole.is_taken_by(offloads), "{offloads:?}");
        }
        // A single one needs no more than its checksum.
        let single = partial(bytes, 3000);
        assert!(!single.is_super() && single.is_taken_by(lacking) && single.is_taken_by(SUM_ONLY));
        assert!(!single.is_taken_by(Offloads::default()));
    }
}

#[test]
fn padding_behind_the_datagram_is_not_part_of_it() {
    let bytes = tcp(ENDS[0], FLAG_ACK, &[], &pattern(1001));
    let padded = [&bytes[..], &[0xee; 9]].concat();
    for gso_size in [0, 500] {
        assert_eq!(finished(&partial(&padded, gso_size)), finished(&partial(&bytes, gso_size)));
        assert_eq!(partial(&padded, gso_size).whole(), bytes);
    }
}

#[test]
fn datagrams_that_had_no_checksum_still_have_none() {
    //= RFC768: an all zero transmitted checksum value means that the transmitter generated no checksum.
    let mut bytes = udp(ENDS[0], &pattern(2500));
    bytes[26..28].fill(0);
    let trusted = packet(&bytes, 1000, ChecksumState::Trusted);
    let packets = finished(&Unfinished::of(&trusted).unwrap().unwrap());
    assert_eq!(packets.len(), 3);
    assert!(packets.iter().all(|packet| checksums(packet).0 == 0));
}

proptest! {
    #[test]
    fn what_it_becomes_is_the_same_data_in_good_packets(
        is_v6: bool,
        is_udp: bool,
        options in 0_usize..=10,
        data in prop::collection::vec(any::<u8>(), 0..6000),
        size in 0_u16..3000,
        was_summed: bool,
    ) {
        let ends = ENDS[usize::from(is_v6)];
        let flags = FLAG_ACK | FLAG_PSH;
        let bytes = if is_udp { udp(ends, &data) } else { tcp(ends, flags, &vec![1; options * 4], &data) };
        let is_super = size > 0 && data.len() > usize::from(size);
        // Of what is complete only a super-segment is unfinished.
        let checksum = if was_summed && is_super { ChecksumState::Trusted } else { ChecksumState::Partial };
        let received = packet(&bytes, size, checksum);
        let unfinished = Unfinished::of(&received).unwrap().unwrap();
        prop_assert_eq!(unfinished.is_super(), is_super);
        let packets = finished(&unfinished);

        let data_at = bytes.len() - data.len();
        let mut joined = Vec::new();
        for (index, packet) in packets.iter().enumerate() {
            // etherparse has the last word on lengths and checksums.
            assert_good(packet);
            let piece = &packet[data_at..];
            let is_last = index + 1 == packets.len();
            prop_assert!(is_last || piece.len() == usize::from(size));
            prop_assert!(!is_super || piece.len() <= usize::from(size));
            joined.extend_from_slice(piece);
        }
        prop_assert_eq!(&joined, &data);
        // A device that is given the whole makes the same of it.
        prop_assert_eq!(device(&unfinished.whole(), unfinished.gso_size(), unfinished.egress_checksum()), packets);
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        protocol in prop::sample::select(vec![6_u8, 17, 0, 43, 44, 60, 132]),
        version in prop::option::of(0_usize..2),
        gso_size: u16,
        is_partial: bool,
    ) {
        let made = version.map(|at| datagram(&header(ENDS[at].0, ENDS[at].1, protocol), &bytes));
        let bytes = made.unwrap_or(bytes);
        let checksum = if is_partial { ChecksumState::Partial } else { ChecksumState::Trusted };
        if let Ok(Some(unfinished)) = Unfinished::of(&packet(&bytes, gso_size, checksum)) {
            let packets = finished(&unfinished);
            prop_assert_eq!(packets.len() > 1, unfinished.is_super());
            for packet in packets {
                prop_assert!(wire::parse(&packet).is_ok());
            }
            prop_assert_eq!(unfinished.whole().len(), bytes.len());
        }
    }
}
