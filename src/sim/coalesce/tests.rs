//! What is merged is what can be taken apart again, and what is taken apart is what was merged.

use core::net::SocketAddr;

use alloc::vec;
use etherparse::{IpNumber, Ipv4Header, Ipv6Header, TcpHeader};
use proptest::prelude::*;

use super::*;
use crate::proto::Packet;
use crate::proto::ip::segment::Unfinished;
use crate::time::Instant;

/// What a segment says, as far as it matters here.
#[derive(Clone, Debug)]
struct Says {
    from: SocketAddr,
    to: SocketAddr,
    seq: u32,
    ack: u32,
    window: u16,
    psh: bool,
    fin: bool,
    ident: u16,
    text: Vec<u8>,
}

impl Says {
    fn text(seq: u32, len: usize) -> Says {
        Says {
            from: "10.9.0.1:1000".parse().unwrap(),
            to: "10.9.0.2:7".parse().unwrap(),
            seq,
            ack: 5,
            window: 1000,
            psh: false,
            fin: false,
            ident: seq as u16,
            text: (0..len).map(|at| (seq as usize + at) as u8).collect(),
        }
    }

    fn over_ipv6(self) -> Says {
        Says { from: "[fd09::1]:1000".parse().unwrap(), to: "[fd09::2]:7".parse().unwrap(), ..self }
    }

    fn packet(&self) -> Vec<u8> {
        let mut tcp = TcpHeader::new(self.from.port(), self.to.port(), self.seq, self.window);
        (tcp.ack, tcp.acknowledgment_number, tcp.psh, tcp.fin) = (true, self.ack, self.psh, self.fin);
        let len = (tcp.header_len() + self.text.len()) as u16;
        let ip = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut ip = Ipv4Header::new(len, 64, IpNumber::TCP, from.octets(), to.octets()).unwrap();
                (ip.identification, ip.dont_fragment) = (self.ident, true);
                ip.header_checksum = ip.calc_header_checksum();
                tcp.checksum = tcp.calc_checksum_ipv4(&ip, &self.text).unwrap();
                ip.to_bytes().to_vec()
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let ip = Ipv6Header {
                    payload_length: len,
                    next_header: IpNumber::TCP,
                    hop_limit: 64,
                    source: from.octets(),
                    destination: to.octets(),
                    ..Ipv6Header::default()
                };
                tcp.checksum = tcp.calc_checksum_ipv6(&ip, &self.text).unwrap();
                ip.to_bytes().to_vec()
            }
            _ => unreachable!("one family"),
        };
        [ip, tcp.to_bytes().to_vec(), self.text.clone()].concat()
    }
}

/// How many packets each arrival stands for, by its text's length and its `gso_size`.
fn merged(segments: &[Says]) -> Vec<(usize, Option<u16>)> {
    let header = if segments[0].from.is_ipv4() { 40 } else { 60 };
    let arrivals = merge(segments.iter().map(Says::packet));
    arrivals
        .iter()
        .map(|arrival| (arrival.bytes.len() - header, arrival.gso_size.map(NonZeroU16::get)))
        .collect()
}

#[test]
fn segments_in_order_become_one_and_a_shorter_one_is_its_last() {
    let says = |seq, len| Says::text(seq, len);
    let segments = [says(1, 100), says(101, 100), says(201, 40), says(241, 100)];
    assert_eq!(merged(&segments), [(240, Some(100)), (100, None)]);
    let over_ipv6 = segments.map(Says::over_ipv6);
    assert_eq!(merged(&over_ipv6), [(240, Some(100)), (100, None)]);
}

#[test]
fn what_says_something_else_stands_alone() {
    let next = || Says::text(101, 100);
    let others = [
        Says { ack: 6, ..next() },
        Says { window: 999, ..next() },
        Says { fin: true, ..next() },
        Says { to: "10.9.0.2:8".parse().unwrap(), ..next() },
        Says { from: "10.9.0.3:1000".parse().unwrap(), ..next() },
        Says::text(102, 100),
        Says::text(1, 100),
        Says::text(101, 101),
        Says::text(101, 0),
    ];
    for other in others {
        let len = other.text.len();
        assert_eq!(merged(&[Says::text(1, 100), other.clone()]), [(100, None), (len, None)], "{other:?}");
    }
    let pushed = Says { psh: true, ..Says::text(1, 100) };
    assert_eq!(merged(&[pushed, next()]), [(100, None), (100, None)]);
}

#[test]
fn a_damaged_segment_is_left_as_it_is() {
    let first = Says::text(1, 100).packet();
    for at in 0..first.len() {
        let mut damaged = first.clone();
        damaged[at] ^= 0x10;
        let arrivals = merge([damaged.clone(), Says::text(101, 100).packet()]);
        assert_eq!(arrivals.len(), 2, "octet {at}");
        assert_eq!(arrivals[0].bytes, damaged);
        assert_eq!(arrivals[0].checksum, ChecksumState::Unverified);
    }
}

fn any_segments() -> impl Strategy<Value = Vec<Says>> {
    let next = (0u32..3, 0usize..4, any::<bool>(), any::<bool>(), 0u32..2);
    (any::<bool>(), any::<u32>(), proptest::collection::vec(next, 1..12)).prop_map(|(ipv6, start, steps)| {
        let mut seq = start;
        let mut segments = Vec::new();
        for (number, (gap, size, psh, fin, ack)) in steps.into_iter().enumerate() {
            seq = seq.wrapping_add(if gap == 2 { 7 } else { 0 });
            let len = [0, 50, 100, 100][size];
            let says = Says { psh, fin: fin && psh, ack, ident: number as u16, ..Says::text(seq, len) };
            seq = seq.wrapping_add(len as u32);
            segments.push(if ipv6 { says.over_ipv6() } else { says });
        }
        segments
    })
}

proptest! {
    /// Cutting brings back every packet as it was, but for IPv4's identifications, which count on from the first.
    #[test]
    fn cutting_brings_back_what_was_merged(segments in any_segments()) {
        let packets: Vec<Vec<u8>> = segments.iter().map(Says::packet).collect();
        let mut cut = vec![];
        for arrival in merge(packets.clone()) {
            let Arrival { bytes, checksum, gso_size } = &arrival;
            let packet = Packet { bytes, at: Instant::ZERO, checksum: *checksum, gso_size: *gso_size };
            match Unfinished::of(&packet).unwrap() {
                None => cut.push(bytes.clone()),
                Some(unfinished) => unfinished.finish(|headers, data| cut.push([headers, data].concat())),
            }
        }
        prop_assert_eq!(cut.len(), packets.len());
        for ((got, sent), says) in cut.iter().zip(&packets).zip(&segments) {
            let mut got = got.clone();
            if got[0] >> 4 == 4 && got[4..6] != sent[4..6] {
                // Nothing but the identification and its checksum may differ.
                got[4..6].copy_from_slice(&sent[4..6]);
                got[10..12].copy_from_slice(&sent[10..12]);
            }
            prop_assert_eq!(&got, sent, "{:?}", says);
        }
    }
}
